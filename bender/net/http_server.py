"""HTTP connections that share the reactor: a server answers one request at a time, and then lets others go on.

Twisted's channel answers all requests in what was read before anything else happens, whether the client reads the
answers or not. Here what was read is held, and acted upon request by request: as long as the client takes the answers,
and as long as the connection has time in this turn (`bender.net.fair_turns`). Each request goes to Twisted alone, which
gives back what follows it, unless a server can answer it by itself.

No client can keep a connection for nothing, or take all of them. A connection is closed when its client has sent
nothing, not all of a request, or has read nothing of its answer for as long as the site allows. Where all places are
taken (`bender.net.fair_shares`), a new connection is answered with the reason, and closed.

Lines end as RFC 9112 (2.2) allows: with a bare LF too, as nginx, Apache, HAProxy and Go read them. Otherwise a client
that sends them would wait for an answer, and the node for the end of the line.
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

#: Bytes that are held while requests wait for their turn, or for the answer to the one before, and still more is read.
HELD_BYTES_MAX = 64 * 1024

#: Bytes of answers that a connection may hold without being counted, while its client has not read them.
UNSENT_NOTED_BYTES_MIN = 256 * 1024

#: What answers that are made, or not read yet, may take together.
ANSWER_BYTES_MAX = 512 * 1024 * 1024

#: Bytes of heads that Twisted is given at a time.
PART_BYTES = 4 * 1024

#: Seconds that a client which gets no place has for its request, and to read the answer.
REFUSED_S_MAX = 2

#: The headers, in lower case, in which browsers say what has made them send a request. No other client sends them.
BROWSER_HEADERS = frozenset({b"origin", b"sec-fetch-site"})

# Of a decoder of chunks, where it reads lines.
_LINES_OF_CHUNKS = ("CHUNK_LENGTH", "TRAILER")


class PlainRequest(server.Request):
    """A request on such a connection, for Klein."""

    def getRequestHostname(self) -> bytes:
        """Return any name: Klein uses it to build URLs, which are not needed here, and fails on many a Host header."""
        return b"localhost"


class PacedChannel(http.HTTPChannel):
    """One connection. A subclass says what it answers itself, and its site which `turns` it takes."""

    delimiter = b"\n"  # of which a CR before it is no part, see `lineReceived`
    MAX_LENGTH = http.HTTPChannel.MAX_LENGTH + 1
    transport: Any
    site: PacedSite
    #: What was read and is not acted upon yet begins at `_at`.
    _held = b""
    _at = 0
    #: Whether a part of a request was read before.
    _begun = False
    #: Whether Twisted has had the beginning of a request, and is not done with it.
    _passed = False
    #: Whether Twisted is being given something at the moment, and what followed a request in that.
    _passing = False
    _given_back = b""
    #: Whether reading was stopped because too much waits for its turn.
    _stopped = False
    _lost = False
    #: The client that limits count.
    client = UNIX
    #: Whether the connection has no place, and whether its client was sent the reason.
    _placeless = False
    _refused = False
    #: Whether anything has come since the time limit was over.
    _received = False
    #: The bytes that it is noted to hold of requests, and of answers: those that are written, and all others.
    _noted_bytes = 0
    _unsent_bytes = 0
    _answer_bytes = 0
    #: Set while the client reads nothing.
    _stalling: IDelayedCall | None = None

    @property
    def urgency(self) -> Urgency:
        """Return the urgency of the request that is acted upon next."""
        raise NotImplementedError

    def answer_at_once(self, held: bytes, at: int) -> int | None:
        """Answer the request that begins at `at`, and return where it ends.

        Return `at` where more of it has to come first, and None where it is for Twisted.
        """
        raise NotImplementedError

    def line(self, line: bytes) -> None:
        """Read a line of the head of a request, without its end."""
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
        if self._passing:
            self._given_back += data
            return
        self._held = self._held[self._at :] + data if self._held else data
        self._at = 0
        self.site.turns.run(self)
        if self._held or self._passed:
            self._note_held()
        if len(self._held) - self._at > HELD_BYTES_MAX:
            self._stopped = True
            self.transport.pauseProducing()

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._note_unsent(unsent_bytes(self.transport))
        if self._stalling is None:
            self._stalling = self.callLater(self.site.timeOut, self._stalled)

    def resumeProducing(self) -> None:
        self._end_stalling()
        if self._unsent_bytes:
            self._note_unsent(0)
        super().resumeProducing()
        self._stop_again()
        self.site.turns.run(self)

    def requestDone(self, request: Any) -> None:
        self._passed = False
        self.paused = True  # Twisted's loop ends here
        passing, self._passing = self._passing, True
        super().requestDone(request)
        self._stop_again()
        self._passing = passing
        if not passing:
            self.paused = self._begun = False
            self._held, self._at, self._given_back = self._given_back + self._held[self._at :], 0, b""
            self.site.turns.run(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self._held = b""
        self._unsent_bytes = 0
        self.site.turns.forget(self)
        self.site.leave(self)
        self._end_stalling()
        super().connectionLost(reason)

    def loseConnection(self) -> None:
        """Close once all is sent, and in any case when the client has had its time to read it."""
        super().loseConnection()
        if self._abortingCall is None and not self._lost:
            self._abortingCall = self.callLater(self.site.timeOut, self.forceAbortClient)

    def timeoutConnection(self) -> None:
        """Close a connection whose time is over, unless data have waited meanwhile: this node was paused, or busy."""
        self._received = False
        self.callLater(0, self._time_out)

    def lineReceived(self, line: bytes) -> None:
        self.line(line.removesuffix(b"\r"))

    def rawDataReceived(self, data: bytes) -> None:
        super().rawDataReceived(data)
        decoder: Any = self._transferDecoder
        if self.transport.disconnecting or getattr(decoder, "state", None) not in _LINES_OF_CHUNKS:
            return
        if b"\n" in decoder._buffer:  # noqa: SLF001 - it takes lines that end with CR LF, and waits for the end of this
            self._respondToBadRequestAndDisconnect()

    # Time limits, places, and bytes.

    def _note_held(self) -> None:
        """Note what is held of requests that have not come completely, if that is not little."""
        size = len(self._held) - self._at
        if self._passed and not self._handlingRequest and self.requests:
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
        """Note how much memory an answer takes while it is made and sent; return False if there is not enough for it.

        Then nothing is noted.
        """
        if self._lost:
            return True
        self._answer_bytes = size
        if self in self.site.note_unsent(self, self._unsent_bytes + size):
            self._answer_bytes = 0
            return False
        return True

    def _note_unsent(self, size: int) -> None:
        """Note what the client has not read of an answer, if that is not little."""
        size = size if size >= UNSENT_NOTED_BYTES_MIN else 0
        if size != self._unsent_bytes and not self._lost:
            self._unsent_bytes = size
            if self in self.site.note_unsent(self, size + self._answer_bytes):
                self.transport.abortConnection()

    def _stalled(self) -> None:
        self._stalling = None
        self._log.info("The client at {peer} does not read: closing its connection.", peer=self.transport.getPeer())
        self.transport.abortConnection()

    def _end_stalling(self) -> None:
        if self._stalling is not None:
            self._stalling.cancel()
            self._stalling = None

    def _refuse(self) -> None:
        """Answer the first bytes of a client without a place, and pass over all others.

        The answer would be lost if the connection was closed while the client still sends.
        """
        if self._refused:
            return
        self._refused = True
        self.write_at_once(self.site.no_place_response())
        if ISSLTransport.providedBy(self.transport):
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()

    # What the turns call.

    def work(self) -> bool:
        """Act on one request."""
        more = not self._lost and self._act()
        if self._noted_bytes:
            self._note_held()
        if self._stopped and not self._waitingForTransport and len(self._held) - self._at <= HELD_BYTES_MAX:
            self._stopped = False
            self.transport.resumeProducing()
        return more

    def idle(self) -> None:
        """All that is held is acted upon, or has to wait for something else."""

    def _act(self) -> bool:
        """Return True if there may be another request to act on."""
        if not self._held or self._handlingRequest:
            return False
        if self.transport.disconnecting or not (self.persistent or self._passed):
            self._held, self._at = b"", 0  # the client was told that nothing follows
        elif self._passed:
            self._pass_on()
        elif self._waitingForTransport:
            return False
        else:
            end = self.answer_at_once(self._held, self._at)
            if end is None:
                self._pass_on()
            elif end == self._at:
                self._begun = True
                return False
            else:
                self._begun = False
                self._at = end
        if self._at == len(self._held):
            self._held, self._at = b"", 0
        return bool(self._held)

    def _stop_again(self) -> None:
        """Twisted reads on after an answer."""
        if self._stopped:
            self.transport.pauseProducing()

    def _pass_on(self) -> None:
        """Let Twisted go on with what is held, up to the end of a request."""
        if not self._passed:
            self._passed = True
            if not self._begun:  # in the middle of a request a byte now and then buys no more time
                self.resetTimeout()
        # Twisted copies what it has not read yet with each line.
        part = self._held[self._at : self._at + PART_BYTES if self.line_mode else None]
        self._at += len(part)
        self._passing = True
        try:
            LineReceiver.dataReceived(self, part)
        finally:
            self._passing = self.paused = False
        if not self._passed:
            self._begun = False
            self._at -= len(self.clearLineBuffer()) + len(self._given_back)
            self._given_back = b""


class PacedSite(server.Site):
    """The factory of such connections. It logs no requests: hundreds come in a second, all of them alike."""

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
        """`idle_s_max` are the seconds for which a connection may be idle, and a request may take to arrive.

        `connections_max` may be open at a time, and hold `held_bytes_max` of requests that have not come completely.
        """
        self.turns = turns
        self.places: FairShares[PacedChannel] = FairShares(connections_max)
        self.held: HeldBytes[PacedChannel] = HeldBytes(held_bytes_max)
        self.unsent: HeldBytes[PacedChannel] = HeldBytes(ANSWER_BYTES_MAX)
        self._placeless: set[PacedChannel] = set()
        super().__init__(resource, timeout=idle_s_max, parsePOSTFormSubmission=False, reactor=reactor)

    def no_place_response(self) -> bytes:
        """Return the response to a client for which there is no place."""
        raise NotImplementedError

    def admit(self, channel: PacedChannel) -> bool:
        """Give a new connection a place, if need be that of another one, which is closed; return False without one."""
        try:
            loser = self.places.take(channel, channel.client)
        except NoPlace:
            self._log.warn(
                "{places} connections are open here, the maximum: that of {client} is refused.",
                places=self.places.used,
                client=channel.client,
            )
            self._placeless.add(channel)
            if len(self._placeless) > REFUSED_AT_ONCE_MAX:
                channel.transport.abortConnection()
            return False
        if loser is not None:
            self._log.warn(
                "{places} connections are open here, the maximum, most of them of {client}: closing its newest.",
                places=self.places.maximum,
                client=loser.client,
            )
            loser.transport.abortConnection()
        return True

    def leave(self, channel: PacedChannel) -> None:
        """Free the place of a connection that is lost."""
        self.places.release(channel)
        self.held.forget(channel)
        self.unsent.forget(channel)
        self._placeless.discard(channel)

    def note_unsent(self, channel: PacedChannel, size: int) -> Sequence[PacedChannel]:
        """Note what an answer takes, and return those that must make room; all but `channel` itself are closed."""
        losers = self.unsent.note(channel, channel.client, size)
        for loser in losers:
            self._log.warn(
                "Answers take more than {bytes} bytes, the maximum, most of them to {client}: ending its largest.",
                bytes=self.unsent.maximum,
                client=loser.client,
            )
            if loser is not channel:
                loser.transport.abortConnection()
        return losers

    def note_held(self, channel: PacedChannel, size: int) -> None:
        """Note the bytes that a connection holds, and close the one that must make room for others, if any."""
        for loser in self.held.note(channel, channel.client, size):
            self._log.warn(
                "Requests that have not come completely take more than {bytes} bytes, the maximum, most of them of "
                "{client}: closing the connection with the largest.",
                bytes=self.held.maximum,
                client=loser.client,
            )
            loser.transport.abortConnection()

    def log(self, request: http.Request) -> None:
        """Log nothing, where Twisted would write a line."""

    def acceptableProtocols(self) -> list[bytes]:
        """Return HTTP/1.1 alone: Twisted would offer HTTP/2, which knows none of the limits here."""
        return [b"http/1.1"]
