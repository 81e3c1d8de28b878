"""The line protocol: whoever connects gets one event per line, and may send lines to say which.

It is made for people with `nc` and for programs of ten lines, so nothing has to be sent, and a client that closes its
sending side goes on receiving. Lines of a client are acted upon only when it has been given all that it was owed:
so a new subscription begins exactly where the old one ends, and one that sends much and reads little waits for itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IReactorTime, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from bender import __version__
from bender.core.model import Invalid
from bender.journal import Entry, said
from bender.node import Full, Node
from bender.stream import Stream
from bender.subscription import Selection, Subscription

#: One line of a client; a subscription with the longest names is a fifth of it.
LINE_BYTES_MAX = 16 * 1024


class EventsFactory(Factory):
    """Serves the events of `node` to every connection; when it no longer listens, the node's watchers are sent away."""

    noisy = False

    def __init__(self, node: Node, reactor: IReactorTime) -> None:
        self._node = node
        self._reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> Subscriber:
        del addr
        return Subscriber(self._node, self._reactor)

    def stopFactory(self) -> None:
        self._node.journal.close()


@implementer(IHalfCloseableProtocol)
class Subscriber(Protocol):
    """One connection."""

    _log = Logger()
    transport: Any  # ITransport, and a consumer and a producer as well, as all of Twisted's are

    def __init__(self, node: Node, clock: IReactorTime) -> None:
        self._node = node
        self._stream = Stream(node, clock, self, ticks=True)
        # Lines not yet acted upon, and the beginning of one more. While there are any, no more is read.
        self._lines: deque[bytes] = deque()
        self._unfinished = b""
        self._passing_over = False
        self._acting = False
        self._reading = True

    # What Twisted calls.

    def connectionMade(self) -> None:
        tcp = ITCPTransport(self.transport, None)
        if tcp is not None:
            tcp.setTcpNoDelay(True)  # an event must not wait for the client to confirm the one before
        self.transport.registerProducer(self._stream, streaming=True)
        try:
            self._follow(Selection())
        except Full as error:
            self._refuse("BUSY", str(error))
            self.end()
        else:
            self._write(said("hello", cursor=self._node.journal.cursor, node=self._node.name, version=__version__))

    def dataReceived(self, data: bytes) -> None:
        *lines, unfinished = (self._unfinished + data).split(b"\n")
        if self._passing_over and lines:
            del lines[0]
            self._passing_over = False
        self._lines.extend(lines)
        if len(unfinished) > LINE_BYTES_MAX:
            if not self._passing_over:
                self._lines.append(unfinished)  # which is refused for its length
            self._passing_over = True
        self._unfinished = b"" if self._passing_over else unfinished
        self._act()

    def readConnectionLost(self) -> None:
        """The client sends no more, which does not mean that it does not read."""
        self._reading = False
        if self._unfinished:
            self._lines.append(self._unfinished)
            self._unfinished = b""
        self._act()

    def writeConnectionLost(self) -> None:
        """Only comes where this side ends its sending alone, which it never does."""

    def connectionLost(self, reason: object = None) -> None:
        del reason
        self._stream.close()

    # What the stream calls.

    def send(self, entries: Sequence[Entry]) -> None:
        # Of a single line this is the line itself: the same bytes for every subscriber.
        self._write(b"".join([entry.line for entry in entries]))

    def caught_up(self) -> None:
        self._act()

    def drop(self) -> None:
        self._log.info("The subscriber at {peer} does not read and is dropped.", peer=self.transport.getPeer())
        self.transport.abortConnection()

    def end(self) -> None:
        self._stream.close()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # The rest.

    def _act(self) -> None:
        """Do what the client's lines say, as long as it is owed nothing, and read more of them when none is left."""
        if self._acting:
            return
        self._acting = True
        while self._lines and self._stream.live:
            self._do(self._lines.popleft())
        self._acting = False
        if self._reading:
            (self.transport.pauseProducing if self._lines else self.transport.resumeProducing)()

    def _do(self, line: bytes) -> None:
        try:
            selection = _selection(line)
        except Invalid as error:
            self._refuse("INVALID", str(error))
        else:
            self._follow(selection)

    def _follow(self, selection: Selection) -> None:
        self._stream.follow(Subscription(self._node, selection))

    def _refuse(self, code: str, message: str) -> None:
        self._write(said("error", code=code, message=message))

    def _write(self, data: bytes) -> None:
        self.transport.write(data)


class _Subscribe(msgspec.Struct, forbid_unknown_fields=True):
    app: str | None = None
    version: str | None = None
    snapshot: bool | None = None
    since: str | None = None


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    subscribe: _Subscribe


_line = msgspec.json.Decoder(_Line)


def _selection(line: bytes) -> Selection:
    """What a line of a client asks for. Raises `Invalid`."""
    if len(line) > LINE_BYTES_MAX:
        raise Invalid("line", f"must not be longer than {LINE_BYTES_MAX} bytes")
    try:
        wanted = _line.decode(line).subscribe
    except msgspec.ValidationError as error:
        raise Invalid("line", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("line", f"is not JSON: {error}") from None
    return Selection(wanted.app, wanted.version, bool(wanted.snapshot), wanted.since)
