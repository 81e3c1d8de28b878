"""Writing to a connection at once, and seeing at once that a client reads.

Twisted buffers what is written and sends it in its next turn, after the system has said that the socket takes it,
which it nearly always does. For a small answer that is half of all the work: three system calls where one would do. So
small writes are sent at once here, and only the bytes that the system does not take then go Twisted's way.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.tcp import Connection
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

_TCP_FAMILIES = (socket.AF_INET, socket.AF_INET6)

#: Bytes that the system takes of a stream and cannot send yet.
UNSENT_BYTES_MAX = 64 * 1024


#: Seconds between two probes of a connection on which nothing is sent.
PROBES_APART_S = 15


def _tcp_socket(transport: Any) -> socket.socket | None:
    """Return the socket of a TCP connection, also beneath TLS; None for any other transport."""
    if not isinstance(transport, Connection):
        transport = getattr(transport, "transport", None)
    if not isinstance(transport, Connection) or transport.socket.family not in _TCP_FAMILIES:
        return None
    found: socket.socket = transport.socket
    return found


def close_when_unresponsive(transport: Any, seconds: float) -> None:
    """Have the system end a connection whose other end has confirmed nothing for about this long.

    Without this, a client whose machine or network is gone stays connected for a quarter of an hour if anything is sent
    to it, else for ever; and one that takes nothing, for ever.
    """
    connected = _tcp_socket(transport)
    if connected is None:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    probes = max(1, round(seconds / PROBES_APART_S) - 1)
    options = {
        "TCP_KEEPIDLE": min(PROBES_APART_S, max(1, int(seconds))),
        "TCP_KEEPINTVL": min(PROBES_APART_S, max(1, int(seconds))),
        "TCP_KEEPCNT": probes,
        "TCP_USER_TIMEOUT": int(seconds * 1000),
    }
    for name, value in options.items():
        option = getattr(socket, name, None)
        if option is not None:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)


def limit_unsent(transport: Any) -> None:
    """Have the system take no more of a stream than `UNSENT_BYTES_MAX` while the client has not read what it has.

    Without this limit, Linux takes up to 4 MiB, and more of it only when a third of that has been read: a client that
    reads 1 MB in a second then seems to read nothing in that time. Only for TCP, on systems that have the option.
    """
    option, connected = getattr(socket, "TCP_NOTSENT_LOWAT", None), _tcp_socket(transport)
    if option is not None and connected is not None:
        connected.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES_MAX)


def unsent_bytes(transport: Any) -> int:
    """Return the bytes that were written to a connection and that the system has not taken yet, also beneath TLS."""
    waiting = 0
    if not isinstance(transport, Connection):
        waiting = sum(map(len, getattr(transport, "_appSendBuffer", ())))
        transport = getattr(transport, "transport", None)
    if isinstance(transport, Connection):
        waiting += len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # noqa: SLF001 - no other name
    return waiting


def eager_writer(transport: Any) -> Callable[[bytes], None]:
    """Return the function to call in place of `transport.write`; the same but for a bare TCP connection."""
    if not isinstance(transport, Connection):
        write: Callable[[bytes], None] = transport.write
        return write
    return _EagerWriter(transport).write


class _EagerWriter:
    __slots__ = ("_connection", "_later")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._later = connection.write  # of this moment: the caller may put this one in its place

    def write(self, data: bytes) -> None:
        connection = self._connection
        # Never before what was written already and waits, and never to a connection that is gone or being closed.
        waits = connection.dataBuffer or connection._tempDataBuffer  # noqa: SLF001 - it has no other name
        if waits or not connection.connected or connection.disconnecting:
            self._later(data)
            return
        try:
            sent = connection.socket.send(data)
        except OSError:  # it takes nothing now, or is lost, which it finds out in its turn
            sent = 0
        if sent < len(data):
            self._later(data[sent:])


@implementer(IBodyProducer)
class EagerBody:
    """The body of a request, written at once: treq's own would ask the global reactor for a turn."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All is written already."""

    def resumeProducing(self) -> None:
        """All is written already."""

    def stopProducing(self) -> None:
        """All is written already."""
