"""The line protocol: a client that connects gets one event per line, and may send lines to select them.

It is made for people with `nc` and for programs of ten lines, so nothing has to be sent, and a client that closes its
sending side goes on receiving. Lines of a client are acted upon only when it has been given all that it was owed:
so a new subscription begins exactly where the old one ends, and one that sends much and reads little waits for itself.

A consumer, which acts on events, subscribes with a name, and confirms them in lines with `ack`.

Agents that speak for many instances register and renew them here as well, in lines that are answered by lines. What
they do so with `session` ends soon after the connection, unless another connection has taken it over meanwhile: the
system closes it when the process dies, which says so much earlier than a ttl.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IReactorTime, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from bender import __version__
from bender.access.tokens import Access, AccessDenied, Tokens
from bender.core.consumers import Confirmation, Report
from bender.core.invalid import Invalid
from bender.core.model import RENEWALS_MAX, TooLarge, canonical_id, registration
from bender.line_protocol.admission import AdmissionGate, admitted, error_line, refusal_line
from bender.line_protocol.browser_lines import is_from_browser
from bender.line_protocol.connection_limits import LinePlaces, RefusedConnection
from bender.line_protocol.line_timer import LineTimer
from bender.line_protocol.messages import LINE_BYTES_MAX, NOT_GIVEN, ClientMessage, decode_line, parse_registration
from bender.net.client_address import UNIX
from bender.net.eager_write import close_when_unresponsive, eager_writer, limit_unsent
from bender.net.fair_turns import Turns, Urgency
from bender.net.held_bytes import NOTED_BYTES_MIN
from bender.node.consumer_limits import Origin, origin_of
from bender.node.event_selection import Selection, Subscription
from bender.node.journal import Entry, event_line
from bender.node.node import Full, Node, NotReady
from bender.node.watcher_stream import EventStream

#: What is read while lines wait for their turn, before the client has to wait.
HELD_BYTES_MAX = 64 * 1024

#: Seconds that a client has to read why its connection is ended for another one.
DISPLACED_S_MAX = 2

#: For a client that does not use TLS, at a node that does.
NO_TLS = event_line("error", code="INVALID", message="this port uses TLS: connect with it, and give the CA")

#: Bytes of a line in which its kind is looked for.
_LOOKED_AT_BYTES = 64

Sessions = dict[str, "Subscriber"]


class EventsFactory(Factory):
    """Serves the events of `node` to every connection; when it no longer listens, the node's watchers are sent away."""

    noisy = False

    def __init__(
        self, node: Node, reactor: IReactorTime, turns: Turns | None = None, tokens: Tokens | None = None
    ) -> None:
        """`turns` are those of all that takes time at the node, `tokens` those that clients must send."""
        self._node = node
        self._reactor = reactor
        self._turns = turns or Turns(reactor)
        self._tokens = tokens or Tokens()
        self._sessions: Sessions = {}
        self._places = LinePlaces(node.limits)

    def logPrefix(self) -> str:
        return "--events"

    def buildProtocol(self, addr: IAddress | None) -> Subscriber | AdmissionGate | RefusedConnection:
        def subscriber(access: Access) -> Subscriber:
            parts = (self._node, self._turns, self._reactor, self._sessions, self._places)
            return Subscriber(*parts, origin_of(addr), self._tokens, access)

        client = origin_of(addr).client
        if self._tokens.required:
            return self._places.placed(AdmissionGate(self._node, self._tokens, self._reactor, subscriber), client)
        return self._places.placed(subscriber(self._tokens.access(None)), client)

    def stopFactory(self) -> None:
        self._node.journal.close()


@implementer(IHalfCloseableProtocol)
class Subscriber(Protocol):
    """One connection."""

    _log = Logger()
    transport: Any  # ITransport, and a consumer and a producer as well, as all of Twisted's are
    #: Called when the connection is lost, and the client that has the place.
    lost: Callable[[], None] | None = None
    client = UNIX

    def __init__(
        self,
        node: Node,
        turns: Turns,
        clock: IReactorTime,
        sessions: Sessions,
        places: LinePlaces,
        origin: Origin,
        tokens: Tokens,
        access: Access,
    ) -> None:
        self._node = node
        self._tokens = tokens
        self._access = access
        self._turns = turns
        self._clock = clock
        self._client = origin.client
        self._places = places
        self._noted_bytes = 0
        self._line_timer = LineTimer(clock, lambda: node.limits.values.client_timeout_s, self._too_slow)
        self._ending: IDelayedCall | None = None
        self._stream = EventStream(node, turns, clock, self, origin, ticks=True)
        self._sessions = sessions
        # What this connection has sessions of, with the seconds that they have after it.
        self._graces_s: dict[str, float] = {}
        # The tokens that these had when it took them.
        self._instances: dict[str, str | None] = {}
        # The line that is acted upon next, and what was read after it; there is no end of a line in its first
        # `_searched` bytes. While a line has to wait, no more is read.
        self._line: bytes | None = None
        self._held = bytearray()
        self._searched = 0
        self._passing_over = False
        self._acting = False
        self._closed = False
        self._reading = True
        self._stopped = False

    # What Twisted calls.

    def connectionMade(self) -> None:
        tcp = ITCPTransport(self.transport, None)
        if tcp is not None:
            tcp.setTcpNoDelay(True)  # an event must not wait for the client to confirm the one before
        limit_unsent(self.transport)
        close_when_unresponsive(self.transport, self._node.limits.values.client_timeout_s)
        self._write = eager_writer(self.transport)
        self._tokens.add_listener(self._tokens_changed)
        self.transport.registerProducer(self._stream, streaming=True)
        try:
            self._follow(Selection())
        except Full as error:
            self._refuse("BUSY", str(error))
            self._end_in_time()
        else:
            self._write(
                event_line("hello", cursor=self._node.journal.cursor, node=self._node.name, version=__version__)
            )

    def dataReceived(self, data: bytes) -> None:
        if self._closed:
            return
        self._held += data
        self._turns.run(self)
        if len(self._held) >= NOTED_BYTES_MIN:
            self._note_held()
        if len(self._held) > HELD_BYTES_MAX and self._turns.is_waiting(self):
            self._stop_reading(True)

    def readConnectionLost(self) -> None:
        """The client sends no more, which does not mean that it does not read."""
        self._reading = False
        self._turns.run(self)

    def writeConnectionLost(self) -> None:
        """Only comes where this side ends its sending alone, which it never does."""

    def connectionLost(self, reason: object = None) -> None:
        del reason
        self._closed = True
        self._held.clear()
        self._note_held()
        if self.lost is not None:
            self.lost()
        if self._ending is not None:
            self._ending.cancel()
        self._line_timer.end()
        self._tokens.remove_listener(self._tokens_changed)
        self._turns.forget(self)
        self._stream.close()
        self._end_sessions()

    # What the stream calls.

    def send(self, entries: Sequence[Entry]) -> None:
        # Of a single line this is the line itself: the same bytes for every subscriber.
        self._write(b"".join([entry.line for entry in entries]))

    def on_caught_up(self) -> None:
        if not self._acting:
            self._turns.run(self)

    def drop(self) -> None:
        self._log.info(
            "The subscriber at {peer} does not read its events: closing its connection.", peer=self.transport.getPeer()
        )
        self.transport.abortConnection()

    def end(self) -> None:
        self._take_sessions()  # it is this node that goes, which says nothing about its clients
        self._stream.close()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def displace(self, reason: str) -> None:
        """End the connection, because another client needs its place. Its sessions go on: its client is not gone."""
        self._refuse("BUSY", reason)
        self._end_in_time(DISPLACED_S_MAX)

    def _note_held(self) -> None:
        """Note what is held of lines that are not acted upon yet, if that is not little."""
        size = len(self._held) if len(self._held) >= NOTED_BYTES_MIN else 0
        if size or self._noted_bytes:
            self._noted_bytes = size
            self._places.note_held(self, self._client, size)

    def _too_slow(self) -> None:
        seconds = self._node.limits.values.client_timeout_s
        self._refuse("INVALID", f"the line was not complete within {seconds:g} s (--client-timeout)")
        self._end_in_time()

    def _end_browser(self) -> None:
        """Refuse a client that speaks HTTP or TLS. What follows, such as the body of a request, is not acted upon."""
        self._log.info(
            "The client at {peer} speaks HTTP or TLS: closing its connection.", peer=self.transport.getPeer()
        )
        text = "this port speaks lines of JSON, and neither HTTP nor TLS: HTTP is at the port of --api, 1729 by default"
        self._refuse("INVALID", text)
        self._closed = True
        self._end_in_time()

    def _end_in_time(self, within_s: float | None = None) -> None:
        """Close the connection once all is sent, and in any case when the client has had its time to read it."""
        self.end()
        self._held.clear()
        self._note_held()
        if self._ending is None:
            limit_s = self._node.limits.values.client_timeout_s if within_s is None else within_s
            self._ending = self._clock.callLater(limit_s, self._abort)

    def _abort(self) -> None:
        self._ending = None
        self.transport.abortConnection()

    # What the turns call.

    @property
    def urgency(self) -> Urgency:
        """Return the urgency of the line that is acted upon next: most of them are renewals of agents."""
        line = self._line if self._line is not None else self._held[:_LOOKED_AT_BYTES]
        return Urgency.RENEWAL if b'"renew"' in line else Urgency.CHANGE

    def work(self) -> bool:
        """Act on one line, if the client was given all that it is owed."""
        if self._closed or self._acting:
            return False
        if self._line is None:
            self._line = self._next_line()
        if self._line is None or not self._stream.catch_up():
            self._settle()
            return False
        line, self._line = self._line, None
        self._acting = True
        self._acting = self._waits(line)
        return not self._acting

    def idle(self) -> None:
        """The lines are acted upon, or have to wait for the stream."""

    # The rest.

    def _settle(self) -> None:
        """Read on, unless a line has to wait; end what depends on a client that sends no more."""
        self._note_held()
        if self._reading:
            self._stop_reading(self._line is not None)
        elif self._line is None:
            # A client that sends no more renews and confirms nothing here; a killed process looks like this.
            self._end_sessions()
            self._stream.end_consumer()

    def _stop_reading(self, stop: bool) -> None:
        if stop is not self._stopped:
            self._stopped = stop
            (self.transport.pauseProducing if stop else self.transport.resumeProducing)()

    def _next_line(self) -> bytes | None:
        """Return the next line that is complete, or too long; None if there is none."""
        held = self._held
        end = held.find(b"\n", self._searched)
        if end < 0 and self._reading and (held or self._passing_over):
            self._line_timer.begin()
        else:
            self._line_timer.end()
        if end < 0 and len(held) <= LINE_BYTES_MAX and (self._reading or not held):
            self._searched = len(held)
            return None
        line = bytes(held if end < 0 else held[:end])
        del held[: len(line) + 1]
        self._searched = 0
        passed_over, self._passing_over = self._passing_over, end < 0 and self._reading
        return self._next_line() if passed_over else line

    def _waits(self, line: bytes) -> bool:
        """Act on a line. Return True if it has to wait, because the node is not ready after a pause."""
        try:
            message = decode_line(line)
        except Invalid as error:
            if is_from_browser(line):
                self._end_browser()
            else:
                self._refuse("INVALID", str(error))
            return False
        changes = message.renew is not None or message.register != NOT_GIVEN
        if changes and self._node.limits.rate.take(self._client):
            self._refuse("BUSY", self._node.limits.rate_problem(self._client))
            return False
        if changes and not self._node.ready:
            self._stop_reading(True)
            Deferred.fromCoroutine(self._do_later(message))
            return True
        self._do(message)
        return False

    async def _do_later(self, message: ClientMessage) -> None:
        with suppress(NotReady):  # which is what the client is told then
            await self._node.until_ready()
        self._acting = False
        if not self._closed:
            self._do(message)
            self._turns.run(self)

    def _do(self, message: ClientMessage) -> None:
        try:
            if message.token is not None:
                self._access = admitted(self._tokens.access(message.token.encode()))
            elif message.renew is not None:
                self._renew(message.renew, message)
            elif message.ack is not None:
                self._confirm(message.ack, message.report)
            elif message.subscribe is None:
                self._register(message.register, message)
            elif message.subscribe:
                wanted = message.subscribe
                snapshot = wanted.snapshot or False
                self._follow(
                    Selection(wanted.app, wanted.version, snapshot, wanted.since, wanted.name, wanted.instance)
                )
            else:
                self._stream.unsubscribe()
        except AccessDenied as error:
            self._write(refusal_line(self._node, error))
        except Invalid as error:
            self._refuse("INVALID", str(error))
        except TooLarge as error:
            self._refuse("TOO_LARGE", str(error))
        except Full as error:
            self._refuse("BUSY", str(error))
        except NotReady:
            self._refuse(
                "NOT_READY", "this node has not heard from all of its peers yet: ask another node, or try again"
            )

    def _renew(self, ids: list[str], message: ClientMessage) -> None:
        if len(ids) > RENEWALS_MAX:
            raise TooLarge(f"renew: at most {RENEWALS_MAX} ids in one line, this one has {len(ids)}")
        self._access.require_register_ids(ids)
        unknown = self._node.renew_all(ids)
        if message.session:
            missed = {*unknown}
            known = [id_ for id_ in ids if id_ not in missed]
            self._hold([id_ if id_ in self._graces_s else canonical_id(id_) for id_ in known], message.grace_s)
        self._write(event_line("renewed", renewed=len(ids) - len(unknown), unknown=unknown))

    def _register(self, document: msgspec.Raw, message: ClientMessage) -> None:
        wanted = parse_registration(document, self._node.timing)
        self._access.require_register_ids([wanted.key])
        session = message if message.session else wanted
        created, body = self._node.register(wanted)
        shown = registration(wanted.key, body, self._node.registration_status(wanted.key))
        if session.session:
            self._instances.pop(wanted.key, None)
            self._hold([wanted.key], session.grace_s)
        self._write(event_line("registered", created=created, registration=msgspec.Raw(shown)))

    # Sessions.

    def _hold(self, keys: Iterable[str], grace_s: float) -> None:
        """Let these end with this connection, and no longer with another."""
        for key in keys:
            self._sessions[key] = self
            self._graces_s[key] = grace_s
            if key not in self._instances:
                self._instances[key] = self._node.instance_token(key)

    def _end_sessions(self) -> None:
        """End the sessions of a client that is gone, unless another instance registered under the id since."""
        by_grace: dict[float, list[str]] = {}
        instances = self._instances.copy()
        for key, grace_s in self._take_sessions():
            if self._node.instance_token(key) == instances[key]:
                by_grace.setdefault(grace_s, []).append(key)
        for grace_s, keys in by_grace.items():
            self._node.shorten(keys, grace_s)

    def _take_sessions(self) -> list[tuple[str, float]]:
        """Remove and return the sessions that still belong to this connection."""
        taken = [(key, grace_s) for key, grace_s in self._graces_s.items() if self._sessions.get(key) is self]
        for key, _ in taken:
            del self._sessions[key]
        self._graces_s.clear()
        self._instances.clear()
        return taken

    def _follow(self, selection: Selection) -> None:
        self._stream.follow(Subscription(self._node, selection))

    def _confirm(self, cursor: str, report: Report | None) -> None:
        if self._stream.consumer is None:
            raise Invalid("ack", "needs a consumer: subscribe with a name first")
        self._stream.consumer.confirm(Confirmation(cursor, report))

    def _tokens_changed(self) -> None:
        """Close the connection of a client whose token may no longer read."""
        self._access = self._tokens.current_access(self._access)
        try:
            admitted(self._access)
        except AccessDenied as error:
            self._tokens.remove_listener(self._tokens_changed)
            self._write(error_line(error))
            self._end_in_time()
            self._closed = True  # lines that wait are not acted upon

    def _refuse(self, code: str, message: str) -> None:
        self._write(event_line("error", code=code, message=message))
