"""Makes `twistd bender` and `twist bender` known to Twisted."""

from twisted.application.service import ServiceMaker

bender = ServiceMaker("bender", "bender.daemon.tap", "A node of the masterless service registry.", "bender")
