"""HTTP connections that share the reactor: a server answers one request, and then lets other connections work.

Twisted's channel answers all requests in the received data at once, even if the client does not read the answers. Here,
received data are held, and processed request by request: as long as the client reads the answers, and as long as the
connection has time in this turn (`bender.net.fair_turns`). A subclass may answer a request itself. Any other
request is passed to Twisted, which returns the data after it.

No client can keep a connection without using it, or take all connections. A connection is closed when its client has
sent no complete request, or has read nothing of its answer, for the time that the site allows. If all places are taken
(`bender.net.fair_shares`), a new connection is answered with the reason, and closed.

A line may also end with a bare LF, as RFC 9112 (2.2) allows and nginx, Apache, HAProxy and Go accept. Otherwise a
client that sends such lines would wait for an answer, and the node for the end of the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.resource import IResource

from bender.net.client_address import UNIX, client_at, host_of
from bender.net.eager_write import eager_writer, unsent_bytes
from bender.net.fair_shares import REFUSED_AT_ONCE_MAX, FairShares, NoPlace
from bender.net.fair_turns import Turns, Urgency
from bender.net.held_bytes import NOTED_BYTES_MIN, HeldBytes

#: Bytes of waiting requests up to which a connection reads more. They wait for their turn, or for an earlier answer.
HELD_BYTES_MAX = 64 * 1024

#: A connection with fewer bytes of unread answers is not counted.
UNSENT_NOTED_BYTES_MIN = 256 * 1024

#: Bytes that all answers together may take while they are made, sent and read.
ANSWER_BYTES_MAX = 512 * 1024 * 1024

#: Bytes of request heads that are passed to Twisted at a time.
PART_BYTES = 4 * 1024

#: Seconds in which a client without a place must send its request, and read the answer.
REFUSED_S_MAX = 2

#: The headers, in lower case, with which browsers name the page that causes a request. No other client sends them.
BROWSER_HEADERS = frozenset({b"origin", b"sec-fetch-site"})

# The states in which Twisted's decoder of chunks reads lines.
_LINES_OF_CHUNKS = ("CHUNK_LENGTH", "TRAILER")


class PlainRequest(server.Request):
    """A request on a `PacedChannel`, for Klein."""

    def getRequestHostname(self) -> bytes:
        """Return any name: Klein uses it to build URLs, which are not needed here, and fails on many a Host header."""
        return b"localhost"


class PacedChannel(http.HTTPChannel):
    """One connection. A subclass may answer requests itself; `site.turns` divides the reactor's time."""

    delimiter = b"\n"  # `lineReceived` removes a CR before it
    MAX_LENGTH = http.HTTPChannel.MAX_LENGTH + 1
    transport: Any
    site: PacedSite
    #: Received data. The part before `_offset` is processed.
    _held = b""
    _offset = 0
    #: Whether a part of the next request has been received.
    _is_partly_read = False
    #: Whether Twisted has received the beginning of a request, and has not completed it.
    _in_twisted = False
    #: Whether data are being passed to Twisted at the moment, and the data after the request, which Twisted returns.
    _is_feeding = False
    _returned = b""
    #: Whether reading is paused because too many bytes wait for their turn.
    _is_reading_paused = False
    _lost = False
    #: The client that limits apply to.
    client = UNIX
    #: Whether the connection has no place, and whether its client was sent the reason.
    _placeless = False
    _refusal_sent = False
    #: Whether data have arrived since the time limit was over.
    _received = False
    #: Bytes that count for the limits: of requests, of answers that are written, and of answers that are made.
    _noted_bytes = 0
    _unsent_bytes = 0
    _answer_bytes = 0
    #: Set while the client does not read.
    _stall_timer: IDelayedCall | None = None

    @property
    def urgency(self) -> Urgency:
        """The urgency of the next request."""
        raise NotImplementedError

    def answer_at_once(self, held: bytes, at: int) -> int | None:
        """Answer the request that begins at `held[at]`, and return the position of its end.

        Return `at` if the request is not complete, and None if Twisted is to answer it.
        """
        raise NotImplementedError

    def line(self, line: bytes) -> None:
        """Process a line of the head of a request, without its end."""
        super().lineReceived(line)

    # What Twisted calls.

    def connectionMade(self) -> None:
        super().connectionMade()
        self.write_at_once = eager_writer(self.transport)
        self.client = client_at(host_of(self.transport.getPeer()))
        if not self.site.admit(self):
            self._placeless = True
            self.persistent = 0
            self.setTimeout(REFUSED_S_MAX)

    def dataReceived(self, data: bytes) -> None:
        self._received = True
        if self._placeless:
            self._refuse()
            return
        if self._is_feeding:
            self._returned += data
            return
        self._held = self._held[self._offset :] + data if self._held else data
        self._offset = 0
        self.site.turns.run(self)
        if self._held or self._in_twisted:
            self._note_held()
        if len(self._held) - self._offset > HELD_BYTES_MAX:
            self._is_reading_paused = True
            self.transport.pauseProducing()

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._note_unsent(unsent_bytes(self.transport))
        if self._stall_timer is None:
            self._stall_timer = self.callLater(self.site.timeOut, self._stalled)

    def resumeProducing(self) -> None:
        self._cancel_stall_timer()
        if self._unsent_bytes:
            self._note_unsent(0)
        super().resumeProducing()
        self._pause_again()
        self.site.turns.run(self)

    def requestDone(self, request: Any) -> None:
        self._in_twisted = False
        self.paused = True  # Twisted's loop ends here
        passing, self._is_feeding = self._is_feeding, True
        super().requestDone(request)
        self._pause_again()
        self._is_feeding = passing
        if not passing:
            self.paused = self._is_partly_read = False
            self._held, self._offset, self._returned = self._returned + self._held[self._offset :], 0, b""
            self.site.turns.run(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self._held = b""
        self._unsent_bytes = 0
        self.site.turns.forget(self)
        self.site.release(self)
        self._cancel_stall_timer()
        super().connectionLost(reason)

    def loseConnection(self) -> None:
        """Close after all data are sent, or when the time limit for the client to read them is over."""
        super().loseConnection()
        if self._abortingCall is None and not self._lost:
            self._abortingCall = self.callLater(self.site.timeOut, self.forceAbortClient)

    def timeoutConnection(self) -> None:
        """Close a connection whose time is over, unless data have arrived that the node was too busy to read."""
        self._received = False
        self.callLater(0, self._time_out)

    def lineReceived(self, line: bytes) -> None:
        self.line(line.removesuffix(b"\r"))

    def rawDataReceived(self, data: bytes) -> None:
        super().rawDataReceived(data)
        decoder: Any = self._transferDecoder
        if self.transport.disconnecting or getattr(decoder, "state", None) not in _LINES_OF_CHUNKS:
            return
        if b"\n" in decoder._buffer:  # noqa: SLF001 - the decoder waits for CR LF, which does not come
            self._respondToBadRequestAndDisconnect()

    # Time limits, places, and bytes.

    def _note_held(self) -> None:
        """Record the bytes of incomplete requests that this connection holds, unless they are few."""
        size = len(self._held) - self._offset
        if self._in_twisted and not self._handlingRequest and self.requests:
            content = self.requests[-1].content
            size += 0 if content is None else content.tell()
        if size < NOTED_BYTES_MIN:
            size = 0
        if (size or self._noted_bytes) and not self._lost:
            self._noted_bytes = size
            self.site.note_held(self, size)

    def _time_out(self) -> None:
        if self._lost or self._handlingRequest:
            return
        if self._placeless:
            self.transport.abortConnection()
        elif self._received:
            self.setTimeout(self.site.timeOut)
        else:
            super().timeoutConnection()

    def reserve_answer_bytes(self, size: int) -> bool:
        """Reserve the bytes that an answer takes while it is made and sent. Return False if the limit forbids it.

        In that case, nothing is reserved. A size of 0 frees the bytes.
        """
        if self._lost:
            return True
        self._answer_bytes = size
        if self in self.site.note_unsent(self, self._unsent_bytes + size):
            self._answer_bytes = 0
            return False
        return True

    def _note_unsent(self, size: int) -> None:
        """Record the bytes of answers that the client has not read, unless they are few."""
        size = size if size >= UNSENT_NOTED_BYTES_MIN else 0
        if size != self._unsent_bytes and not self._lost:
            self._unsent_bytes = size
            if self in self.site.note_unsent(self, size + self._answer_bytes):
                self.transport.abortConnection()

    def _stalled(self) -> None:
        self._stall_timer = None
        self._log.info(
            "The client at {peer} does not read its answers: closing its connection.", peer=self.transport.getPeer()
        )
        self.transport.abortConnection()

    def _cancel_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _refuse(self) -> None:
        """Answer the first bytes of a client without a place, and ignore all others.

        The client would not get the answer if the connection was closed while it still sends.
        """
        if self._refusal_sent:
            return
        self._refusal_sent = True
        self.write_at_once(self.site.no_place_response())
        if ISSLTransport.providedBy(self.transport):
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    # What the turns call.

    def work(self) -> bool:
        """Process one request."""
        more = not self._lost and self._act()
        if self._noted_bytes:
            self._note_held()
        if (
            self._is_reading_paused
            and not self._waitingForTransport
            and len(self._held) - self._offset <= HELD_BYTES_MAX
        ):
            self._is_reading_paused = False
            self.transport.resumeProducing()
        return more

    def idle(self) -> None:
        """Do nothing: all received requests are processed, or wait for something else."""

    def _act(self) -> bool:
        """Process one request. Return True if there may be another one."""
        if not self._held or self._handlingRequest:
            return False
        if self.transport.disconnecting or not (self.persistent or self._in_twisted):
            self._held, self._offset = b"", 0  # the last answer has announced the end of the connection
        elif self._in_twisted:
            self._feed_twisted()
        elif self._waitingForTransport:
            return False
        else:
            end = self.answer_at_once(self._held, self._offset)
            if end is None:
                self._feed_twisted()
            elif end == self._offset:
                self._is_partly_read = True
                return False
            else:
                self._is_partly_read = False
                self._offset = end
        if self._offset == len(self._held):
            self._held, self._offset = b"", 0
        return bool(self._held)

    def _pause_again(self) -> None:
        """Pause reading again if necessary, because Twisted resumes it after an answer."""
        if self._is_reading_paused:
            self.transport.pauseProducing()

    def _feed_twisted(self) -> None:
        """Pass held data to Twisted, up to the end of a request."""
        if not self._in_twisted:
            self._in_twisted = True
            if not self._is_partly_read:  # a client that sends a request byte by byte gets no more time
                self.resetTimeout()
        # In small parts, because Twisted copies all the data that it has not processed for each line.
        part = self._held[self._offset : self._offset + PART_BYTES if self.line_mode else None]
        self._offset += len(part)
        self._is_feeding = True
        try:
            LineReceiver.dataReceived(self, part)
        finally:
            self._is_feeding = self.paused = False
        if not self._in_twisted:
            self._is_partly_read = False
            self._offset -= len(self.clearLineBuffer()) + len(self._returned)
            self._returned = b""


class PacedSite(server.Site):
    """Makes `PacedChannel` connections. It logs no requests: hundreds of equal ones arrive in a second."""

    noisy = False
    _log = Logger()

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        turns: Turns,
        idle_s_max: float,
        *,
        connections_max: int,
        held_bytes_max: int,
    ) -> None:
        """`idle_s_max` limits the seconds that a connection may be idle, and that a request may take to arrive.

        `connections_max` connections may be open at a time, and may together hold `held_bytes_max` of incomplete
        requests.
        """
        self.turns = turns
        self.places: FairShares[PacedChannel] = FairShares(connections_max)
        self.held: HeldBytes[PacedChannel] = HeldBytes(held_bytes_max)
        self.unsent: HeldBytes[PacedChannel] = HeldBytes(ANSWER_BYTES_MAX)
        self._placeless: set[PacedChannel] = set()
        super().__init__(resource, timeout=idle_s_max, parsePOSTFormSubmission=False, reactor=reactor)

    def no_place_response(self) -> bytes:
        """Return the response to a client that gets no place."""
        raise NotImplementedError

    def admit(self, channel: PacedChannel) -> bool:
        """Give a new connection a place; another one may lose it, and is closed. Return False if there is no place."""
        try:
            loser = self.places.take(channel, channel.client)
        except NoPlace:
            self._log.warn(
                "All {places} connections to this port are in use: refusing one of {client}.",
                places=self.places.used,
                client=channel.client,
            )
            self._placeless.add(channel)
            if len(self._placeless) > REFUSED_AT_ONCE_MAX:
                channel.transport.abortConnection()
            return False
        if loser is not None:
            self._log.warn(
                "All {places} connections to this port are in use: closing the newest of {client}, which has the most.",
                places=self.places.maximum,
                client=loser.client,
            )
            loser.transport.abortConnection()
        return True

    def release(self, channel: PacedChannel) -> None:
        """Free the place of a connection that is lost."""
        self.places.release(channel)
        self.held.forget(channel)
        self.unsent.forget(channel)
        self._placeless.discard(channel)

    def note_unsent(self, channel: PacedChannel, size: int) -> Sequence[PacedChannel]:
        """Record the bytes of an answer. Return the connections that exceed the limit; all but `channel` are closed."""
        losers = self.unsent.note(channel, channel.client, size)
        for loser in losers:
            self._log.warn(
                "Answers that clients have not read yet take more than {bytes} bytes, the maximum: cutting off the "
                "largest answer to {client}, whose answers take the most.",
                bytes=self.unsent.maximum,
                client=loser.client,
            )
            if loser is not channel:
                loser.transport.abortConnection()
        return losers

    def note_held(self, channel: PacedChannel, size: int) -> None:
        """Record the bytes that a connection holds, and close connections if the limit is exceeded."""
        for loser in self.held.note(channel, channel.client, size):
            self._log.warn(
                "Incomplete requests take more than {bytes} bytes, the maximum: closing the connection with the "
                "largest request of {client}, whose requests take the most.",
                bytes=self.held.maximum,
                client=loser.client,
            )
            loser.transport.abortConnection()

    def log(self, request: http.Request) -> None:
        """Do nothing. Twisted would log a line."""

    def acceptableProtocols(self) -> list[bytes]:
        """Return only HTTP/1.1. Twisted would offer HTTP/2, to which the limits of this module do not apply."""
        return [b"http/1.1"]
