"""The service that listens for DNS over UDP and TCP at one address."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorUDP
from twisted.logger import Logger

from bender.core.view import View
from bender.net.fair_turns import Turns
from bender.net.reactor import Reactor
from bender.node.node import Node
from bender.protocols.dns.connections import DnsConnections
from bender.protocols.dns.datagrams import DatagramQueries
from bender.protocols.dns.members import MemberRecordsCache
from bender.protocols.dns.message import PAYLOAD_BYTES
from bender.protocols.dns.names import has_owner
from bender.protocols.dns.responder import AnswerLimit, Responder

#: The longest datagram over IPv4, and the longest message over TCP.
DATAGRAM_BYTES_MAX = 65_507
MESSAGE_BYTES_MAX = 65_535

#: Bytes of datagrams that are read in one turn of the reactor: some 80 queries, which take a millisecond.
READ_BYTES_MAX = 4096

#: Bytes of a datagram that are read. A longer query is cut off, and is then malformed.
QUERY_BYTES_MAX = 4096


def _count_left_out(view: View) -> int:
    """Return the number of apps and backends that have no name in DNS for SRV queries."""
    names = (*view.app_names.long_names, *view.backend_names.long_names)
    return sum(not has_owner(name) for name in names)


class DnsService(Service):
    """The zone `bender.` at one address of this machine."""

    _log = Logger()

    def __init__(
        self,
        node: Node,
        reactor: Reactor,
        turns: Turns,
        random: Callable[[], float],
        *,
        port: int,
        interface: str,
        backlog: int,
    ) -> None:
        """`random` returns numbers from 0 to below 1."""
        self._reactor = reactor
        self._port = port
        self._interface = interface
        self._backlog = backlog
        address = ip_address(interface)
        datagram_bytes_max = DATAGRAM_BYTES_MAX if address.is_loopback else PAYLOAD_BYTES
        server_address = None if address.is_unspecified else address.packed
        members = MemberRecordsCache(node.replica.view, turns)
        node.limits.left_out["dns"] = partial(_count_left_out, node.replica.view)

        def responder(limit: AnswerLimit) -> Responder:
            return Responder(node, members, limit, random, server_address)

        over_udp = responder(AnswerLimit(datagram_bytes_max, client_decides=True))
        self._datagrams = DatagramQueries(node, over_udp, turns, reactor)
        over_tcp = responder(AnswerLimit(MESSAGE_BYTES_MAX, client_decides=False))
        self._connections = DnsConnections(node, over_tcp, turns, reactor)
        self._listening: list[Any] = []

    def privilegedStartService(self) -> None:
        self._listen()

    def startService(self) -> None:
        super().startService()
        self._listen()

    def _listen(self) -> None:
        """Open the ports, unless they are open. Raises `CannotListenError`."""
        if self._listening:
            return
        tcp: Any = self._reactor.listenTCP(self._port, self._connections, self._backlog, self._interface)
        self._listening.append(tcp)
        udp: Any = IReactorUDP(self._reactor).listenUDP(
            tcp.getHost().port, self._datagrams, self._interface, QUERY_BYTES_MAX
        )
        udp.maxThroughput = READ_BYTES_MAX
        self._listening.append(udp)

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        listening, self._listening = self._listening, []
        stopping = [maybeDeferred(port.stopListening) for port in listening]
        self._connections.end()
        return gatherResults(stopping)
