"""DNS over UDP.

A query with a cached answer is answered at once. Other queries wait for their turn, after renewals and changes. A query
is dropped if too many queries wait, or if it has waited for longer than clients do: its client repeats the query, or
sends it to another server.

The source address of a datagram may be forged. An answer is therefore never longer than its client permits. An answer
to another machine is also short enough that it is not fragmented. Above `--max-rate`, the answer is empty and
truncated, which makes a real client use TCP. Queries over UDP have their own rate, so that forged queries do not use up
the rate of other requests from the same address.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.udp import Port

from bender.net.client_address import client_at
from bender.net.fair_turns import Turns, Urgency
from bender.net.request_rate import RequestRate
from bender.node.limits import Limits, LimitUse
from bender.node.node import Node
from bender.protocols.dns.responder import Responder

#: Queries that wait for their turn. The system buffers some hundreds more.
WAITING_MAX = 1000

#: Bytes of the system's buffer for queries that are not read yet: with overhead, it is enough for some 1,300 queries.
RECEIVED_BYTES_MAX = 1024 * 1024

#: Seconds after which resolvers repeat a query.
WAITED_S_MAX = 1.0

_Address = tuple[str, int]


class DatagramQueries(DatagramProtocol):
    """Answers the queries that arrive at one port."""

    noisy = False
    urgency = Urgency.QUERY
    transport: Any  # Twisted's type for it has no socket
    _send: Callable[[bytes, _Address], object]

    def __init__(self, node: Node, responder: Responder, turns: Turns, clock: IReactorTime) -> None:
        self._node = node
        self._rate = RequestRate(clock.seconds)
        node.limits.follow(self._apply_limits)
        node.limits.uses["dns_rate"] = self._use_of_rate
        self._responder = responder
        self._turns = turns
        self._clock = clock
        # Each query with its source address and its time of arrival.
        self._waiting: deque[tuple[bytes, _Address, float]] = deque()

    def logPrefix(self) -> str:
        return "--dns over UDP"

    def startProtocol(self) -> None:
        if isinstance(self.transport, Port):
            # The buffer holds queries while the node is busy. The system may lower its size.
            self.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES_MAX)
        self._send = _sender(self.transport)

    def stopProtocol(self) -> None:
        self._waiting.clear()
        self._turns.forget(self)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self._node.counters.dns_queries += 1
        if self._rate.per_s and self._rate.take(client_at(addr[0])):
            self._answer(addr, self._responder.over_rate_answer(datagram))
            return
        cached_answer = self._responder.cached_answer(datagram)
        if cached_answer is not None:
            self._answer(addr, cached_answer)
        elif len(self._waiting) >= WAITING_MAX:
            self._node.counters.dns_dropped += 1
        else:
            self._waiting.append((datagram, addr, self._clock.seconds()))
            self._turns.run(self)

    def _apply_limits(self, limits: Limits) -> None:
        self._rate.per_s = limits.rate

    def _use_of_rate(self) -> LimitUse:
        return LimitUse(self._rate.per_s or None, self._rate.highest_recent, self._rate.peak, self._rate.refused)

    # What the turns call.

    def work(self) -> bool:
        """Answer one query."""
        if not self._waiting:
            return False
        datagram, address, came_at = self._waiting.popleft()
        if self._clock.seconds() > came_at + WAITED_S_MAX:
            self._node.counters.dns_dropped += 1
        else:
            self._responder.respond(datagram, partial(self._answer, address))
        return bool(self._waiting)

    def idle(self) -> None:
        """Do nothing: all queries are answered."""

    def _answer(self, address: _Address, answer: bytes | None) -> None:
        if answer is None or self.transport is None:
            self._node.counters.dns_dropped += 1
            return
        try:
            self._send(answer, address)
        except (OSError, OverflowError):  # the socket is full, or the system cannot send to this address
            self._node.counters.dns_dropped += 1


def _sender(transport: Any) -> Callable[[bytes, _Address], object]:
    """Return a function that sends a datagram. That of Twisted first checks the address, which takes 3 µs."""
    if isinstance(transport, Port):
        sendto: Callable[[bytes, _Address], object] = transport.socket.sendto
        return sendto
    write: Callable[[bytes, _Address], object] = transport.write
    return write
