"""Write to a connection at once, and set the options of its socket.

Twisted buffers what is written, waits until the system reports that the socket is writable, and sends in its next turn.
The socket is nearly always writable. So a small answer takes three system calls instead of one, which is half of all
the work. Writers from this module send at once, and pass only the bytes that the system does not accept to Twisted.
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

#: Bytes of a stream that the system buffers before it can send them.
UNSENT_BYTES_MAX = 64 * 1024

#: Seconds between two keep-alive probes of an idle connection.
PROBE_INTERVAL_S = 15


def _tcp_socket(transport: Any) -> socket.socket | None:
    """Return the socket of a TCP connection, with or without TLS; None for any other transport."""
    if not isinstance(transport, Connection):
        transport = getattr(transport, "transport", None)
    if not isinstance(transport, Connection) or transport.socket.family not in _TCP_FAMILIES:
        return None
    found: socket.socket = transport.socket
    return found


def close_when_unresponsive(transport: Any, seconds: float) -> None:
    """Make the system close a TCP connection whose other end has acknowledged nothing for about `seconds`.

    Otherwise, if the machine or network of a client fails, the connection lasts for a quarter of an hour after the node
    sends something, and without an end if it sends nothing. So does the connection of a client that never reads.
    """
    connected = _tcp_socket(transport)
    if connected is None:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    probes = max(1, round(seconds / PROBE_INTERVAL_S) - 1)
    options = {
        "TCP_KEEPIDLE": min(PROBE_INTERVAL_S, max(1, int(seconds))),
        "TCP_KEEPINTVL": min(PROBE_INTERVAL_S, max(1, int(seconds))),
        "TCP_KEEPCNT": probes,
        "TCP_USER_TIMEOUT": int(seconds * 1000),
    }
    for name, value in options.items():
        option = getattr(socket, name, None)
        if option is not None:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)


def limit_unsent(transport: Any) -> None:
    """Make the system buffer at most `UNSENT_BYTES_MAX` of a stream that the client has not read.

    Otherwise Linux buffers up to 4 MiB, and accepts more only when a third of this has been read: a client that reads
    1 MB in a second then seems to read nothing in that second. Applies to TCP, on systems that have the option.
    """
    option, connected = getattr(socket, "TCP_NOTSENT_LOWAT", None), _tcp_socket(transport)
    if option is not None and connected is not None:
        connected.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES_MAX)


def unsent_bytes(transport: Any) -> int:
    """Return the number of written bytes that are still in the buffer of a connection, with or without TLS."""
    waiting = 0
    if not isinstance(transport, Connection):
        waiting = sum(map(len, getattr(transport, "_appSendBuffer", ())))
        transport = getattr(transport, "transport", None)
    if isinstance(transport, Connection):
        waiting += len(transport.dataBuffer) - transport.offset + transport._tempDataLen  # noqa: SLF001 - no other name
    return waiting


def eager_writer(transport: Any) -> Callable[[bytes], None]:
    """Return a function that writes to a TCP connection at once; `transport.write` itself for any other transport."""
    if not isinstance(transport, Connection):
        write: Callable[[bytes], None] = transport.write
        return write
    return _EagerWriter(transport).write


class _EagerWriter:
    __slots__ = ("_connection", "_write_later")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._write_later = connection.write  # kept now, because the caller may replace it by `self.write`

    def write(self, data: bytes) -> None:
        connection = self._connection
        # Never sent before bytes that wait in the buffer, and never on a connection that is lost or being closed.
        waits = connection.dataBuffer or connection._tempDataBuffer  # noqa: SLF001 - it has no other name
        if waits or not connection.connected or connection.disconnecting:
            self._write_later(data)
            return
        try:
            sent = connection.socket.send(data)
        except OSError:  # the socket is full, or the connection is lost, which Twisted detects in its next turn
            sent = 0
        if sent < len(data):
            self._write_later(data[sent:])


@implementer(IBodyProducer)
class EagerBody:
    """The body of a request, written at once. The body of treq would use the global reactor."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: the whole body is already written."""

    def resumeProducing(self) -> None:
        """Do nothing: the whole body is already written."""

    def stopProducing(self) -> None:
        """Do nothing: the whole body is already written."""
