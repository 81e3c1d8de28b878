"""DNS listens over UDP and TCP at one address, or not at all."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorUDP
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from bender.core.model import RegistrationRequest
from bender.net.fair_turns import Turns
from bender.protocols.dns.service import READ_BYTES_MAX, DnsService
from tests.api.conversation import a_node


class Port:
    """A fake of a TCP or UDP port."""

    listening = True
    maxThroughput = 0

    def __init__(self, number: int) -> None:
        self._number = number

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self._number)

    def stopListening(self) -> Deferred[None]:
        self.listening = False
        return succeed(None)


@implementer(IReactorUDP)
class Reactor(MemoryReactorClock):
    """A reactor in memory, with UDP."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: dict[str, Port] = {}
        self.taken = False

    def listenTCP(self, port: int, *_: object) -> Any:
        self.ports["tcp"] = Port(port)
        return self.ports["tcp"]

    def listenUDP(self, port: int, protocol: Any, interface: str, maxPacketSize: int) -> Any:
        if self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        self.ports["udp"] = Port(port)
        return self.ports["udp"]


class Listening(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()

    def service(self, interface: str = "127.0.0.1") -> DnsService:
        node, turns = a_node(self.reactor), Turns(self.reactor)
        return DnsService(node, self.reactor, turns, lambda: 0.0, port=53, interface=interface, backlog=10)

    def test_start_and_stop(self) -> None:
        """Both ports are opened once, before the process gives up its privileges, and closed at the end."""
        service = self.service()
        self.assertEqual(self.reactor.ports, {})
        service.privilegedStartService()
        ports = dict(self.reactor.ports)
        service.startService()
        self.assertEqual((self.reactor.ports, [*ports]), (ports, ["tcp", "udp"]))
        self.successResultOf(service.stopService())
        self.assertFalse(any(port.listening for port in ports.values()))

    def test_a_turn_is_short(self) -> None:
        """A flood of queries is read in portions, between which other work has its turn."""
        self.service().startService()
        self.assertEqual(self.reactor.ports["udp"].maxThroughput, READ_BYTES_MAX)

    def test_a_port_in_use(self) -> None:
        """A port in use raises an error, and the other port is closed when the service stops."""
        self.reactor.taken = True
        service = self.service()
        self.assertRaises(CannotListenError, service.privilegedStartService)
        self.successResultOf(service.stopService())
        self.assertFalse(self.reactor.ports["tcp"].listening)

    def test_limits_of_answers(self) -> None:
        """Only clients on this machine get answers above the size that is never fragmented."""
        limits = {
            interface: self.service(interface)._datagrams._responder._limit.bytes_max
            for interface in ("127.0.0.1", "127.9.9.9", "::1", "10.0.0.5", "0.0.0.0", "::")
        }
        self.assertEqual([*limits.values()], 3 * [65_507] + 3 * [1232])

    def test_names_that_are_too_long(self) -> None:
        """The number of apps and backends with names that are too long is in `/status`."""
        service = self.service()
        node = service._datagrams._node
        self.assertEqual(node.status()["left_out"], {"dns": 0})
        node.register(RegistrationRequest(63 * "x", "1", "10.0.0.5", 80))
        node.register(RegistrationRequest(f"{50 * 'x'}.{50 * 'y'}", "1", "10.0.0.5", 81))
        node.configure(f"backend/{100 * 'z'}", b"{}", "operator")
        self.assertEqual(node.status()["left_out"], {"dns": 2})

    def test_the_address_of_the_server(self) -> None:
        """The address of the name server is known if the service listens at a single address."""
        addresses = [
            self.service(interface)._datagrams._responder._server_address
            for interface in ("127.0.0.1", "::1", "0.0.0.0")
        ]
        self.assertEqual(addresses, [b"\x7f\x00\x00\x01", bytes(15) + b"\x01", None])
