"""The option `--thalassa`: its forms, and the errors for invalid values."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from bender.daemon.options import validate_options
from bender.daemon.thalassa_option import format_thalassa, parse_thalassa
from bender.process.options import OptionError, RawOption


def shown(value: Any) -> str:
    return format_thalassa(*parse_thalassa(RawOption("--thalassa", value)))


class Forms(SynchronousTestCase):
    def test_ports(self) -> None:
        """The event socket has a port or does not exist; in a file, one port may be a number."""
        for value in ("9000", 9000):
            self.assertEqual(shown(value), "9000:interface=127.0.0.1")
        self.assertEqual(shown("9000:5001"), "9000:5001:interface=127.0.0.1")

    def test_an_interface(self) -> None:
        """The interface is for both ports. Colons in it may be escaped, as in other endpoints."""
        self.assertEqual(shown("9000:interface=0.0.0.0"), "9000:interface=0.0.0.0")
        for address in ("::1", "\\:\\:1", "0:0::1"):
            self.assertEqual(shown(f"9000:5001:interface={address}"), "9000:5001:interface=::1")

    def test_where_twisted_listens(self) -> None:
        """Twisted listens at the ports and the interface in the option."""
        for interface in ("127.0.0.2", "::1"):
            reactor = MemoryReactorClock()
            for endpoint in parse_thalassa(RawOption("--thalassa", f"9000:5001:interface={interface}")):
                assert endpoint is not None
                serverFromString(reactor, endpoint.listen_description).listen(Factory())
            self.assertEqual(
                [(port, at) for port, _, _, at in reactor.tcpServers], [(9000, interface), (5001, interface)]
            )

    def test_everything_else(self) -> None:
        for value in (
            *("", "0", "9000:", "9000:0", "70000", "9000:70000", ":5001", "9000:5001:5002", "tcp:9000", "http"),
            *("9000:interface=", "9000:interface=localhost", "interface=127.0.0.1", "9000:interface=1:5001", "-1"),
            *("٩٠٠٠", True, None, 9000.0, [9000], 0, 70000, -1),
        ):
            with self.assertRaises(OptionError) as caught:
                shown(value)
            self.assertIn("--thalassa must be HTTP_PORT or HTTP_PORT:EVENTS_PORT (such as", str(caught.exception))

    def test_off(self) -> None:
        self.assertEqual(format_thalassa(None, None), "off")

    def test_ports_that_are_used_twice(self) -> None:
        """Two listeners of the node must not have the same port."""
        for value, other in (("9000:9000", "thalassa events"), ("1729", "thalassa"), ("9000:1731", "thalassa events")):
            with self.assertRaises(OptionError) as caught:
                validate_options({"thalassa": RawOption("--thalassa", value)}, "box")
            self.assertIn("use the same address: give each a port of its own.", str(caught.exception))
            self.assertIn(f"--{other} tcp:", str(caught.exception))
