"""Writing to a connection at once.

Twisted puts down what is written and sends it in its next turn, after the system has said that the socket takes it,
which it nearly always does. For a small answer that is half of all the work: three system calls where one would do. So
what is small is sent at once here, and only what the system does not take then goes Twisted's way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.tcp import Connection
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


def prompt_writer(transport: Any) -> Callable[[bytes], None]:
    """What to call in place of `transport.write`. For anything but a bare TCP connection it is the same."""
    if not isinstance(transport, Connection):
        write: Callable[[bytes], None] = transport.write
        return write
    return _Prompt(transport).write


class _Prompt:
    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> None:
        connection = self._connection
        # Never before what was written already and waits, and never to a connection that is gone or being closed.
        waits = connection.dataBuffer or connection._tempDataBuffer  # noqa: SLF001 - it has no other name
        if waits or not connection.connected or connection.disconnecting:
            connection.write(data)
            return
        try:
            sent = connection.socket.send(data)
        except OSError:  # it takes nothing now, or is lost, which it finds out in its turn
            sent = 0
        if sent < len(data):
            connection.write(data[sent:])


@implementer(IBodyProducer)
class PromptBody:
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
