"""Makes `twistd bender-haproxy` and `twist bender-haproxy` known to Twisted."""

from twisted.application.service import ServiceMaker

_SAID = "Keeps HAProxy as bender says, without a dropped request."
bender_haproxy = ServiceMaker("bender-haproxy", "bender.haproxy.tap", _SAID, "bender-haproxy")
