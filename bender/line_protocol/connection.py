"""The line protocol: a client that connects gets one event per line, and may send lines to select events.

It is for people with `nc` and for programs of ten lines: a client need not send anything, and a client that closes its
sending side still receives events. A line is acted upon only when the client was sent everything it is owed. So a new
subscription begins exactly where the old one ends, and a client that sends much and reads little delays only itself.

A consumer subscribes with a name, and confirms events in lines with `ack`.

Agents register and renew many instances here, in lines that are answered by lines. An instance that was registered or
renewed with `session` goes offline soon after its connection has ended, unless another connection has taken over
the session: the system closes the connection when the agent's process dies, which is noticed long before a ttl ends.
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
from bender.line_protocol.admission import AdmissionGate, error_line, refusal_line, require_admission
from bender.line_protocol.browser_lines import is_from_browser
from bender.line_protocol.connection_limits import LinePlaces, RefusedConnection
from bender.line_protocol.incomplete_lines import LineTimer
from bender.line_protocol.messages import (
    LINE_BYTES_MAX,
    NO_REGISTRATION,
    ClientMessage,
    decode_line,
    parse_registration,
)
from bender.net.client_address import UNIX
from bender.net.eager_write import close_when_unresponsive, eager_writer, limit_unsent
from bender.net.fair_turns import Turns, Urgency
from bender.net.held_bytes import NOTED_BYTES_MIN
from bender.node.consumer_limits import Origin, origin_of
from bender.node.event_selection import Selection, Subscription
from bender.node.journal import Entry, event_line
from bender.node.node import Full, Node, NotReady
from bender.node.watcher_stream import EventStream

#: The bytes that are read while lines wait for their turn; above this, reading stops.
HELD_BYTES_MAX = 64 * 1024

#: Seconds that a client has to read the reason why its connection is closed for another client.
DISPLACED_S_MAX = 2

#: The line for a client that does not use TLS, at a node that does.
NO_TLS = event_line("error", code="INVALID", message="this port uses TLS: connect with TLS, and give the CA")

#: The first bytes of a line in which its kind is searched.
_KIND_BYTES = 64

Sessions = dict[str, "Subscriber"]


class EventsFactory(Factory):
    """The factory of connections, which get the events of `node`. Closing the port ends the streams of all watchers."""

    noisy = False

    def __init__(
        self, node: Node, reactor: IReactorTime, turns: Turns | None = None, tokens: Tokens | None = None
    ) -> None:
        """Create the factory. `turns` share the reactor among all work of the node, `tokens` admit clients."""
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
            return self._places.place(AdmissionGate(self._node, self._tokens, self._reactor, subscriber), client)
        return self._places.place(subscriber(self._tokens.access(None)), client)

    def stopFactory(self) -> None:
        self._node.journal.close()


@implementer(IHalfCloseableProtocol)
class Subscriber(Protocol):
    """One connection."""

    _log = Logger()
    transport: Any  # ITransport, and a consumer and a producer as well, as all of Twisted's are
    #: Called when the connection is lost; `client` is the client whose connections are counted together.
    on_lost: Callable[[], None] | None = None
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
        self.client = origin.client
        self._places = places
        self._noted_bytes = 0
        self._line_timer = LineTimer(clock, lambda: node.limits.values.client_timeout_s, self._end_slow)
        self._ending: IDelayedCall | None = None
        self._stream = EventStream(node, turns, clock, self, origin, ticks=True)
        self._sessions = sessions
        # The ids of this connection's sessions, with the seconds that each stays listed after it.
        self._graces_s: dict[str, float] = {}
        # The token that each of these instances had when its session began here.
        self._instance_tokens: dict[str, str | None] = {}
        # The next line to act on, and the bytes that were read after it, whose first `_searched` bytes have no end of a
        # line. While a line waits, no more is read.
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
        """Act on the last lines. The client sends no more, but may still read."""
        self._reading = False
        self._turns.run(self)

    def writeConnectionLost(self) -> None:
        """Do nothing: this node never closes its sending side alone."""

    def connectionLost(self, reason: object = None) -> None:
        del reason
        self._closed = True
        self._held.clear()
        self._note_held()
        if self.on_lost is not None:
            self.on_lost()
        if self._ending is not None:
            self._ending.cancel()
        self._line_timer.end()
        self._tokens.remove_listener(self._tokens_changed)
        self._turns.forget(self)
        self._stream.close()
        self._end_sessions()

    # What the stream calls.

    def send(self, entries: Sequence[Entry]) -> None:
        # For a single entry, `join` returns the line itself: the same bytes object for every subscriber.
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
        self._take_sessions()  # the sessions must not end, because this node closes the connection, not the client
        self._stream.close()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def displace(self, reason: str) -> None:
        """End the connection, because another client needs its place. Its sessions go on, as its client still runs."""
        self._refuse("BUSY", reason)
        self._end_in_time(DISPLACED_S_MAX)

    def _note_held(self) -> None:
        """Note the bytes of lines that were not acted upon yet, if they are many."""
        size = len(self._held) if len(self._held) >= NOTED_BYTES_MIN else 0
        if size or self._noted_bytes:
            self._noted_bytes = size
            self._places.note_held(self, self.client, size)

    def _end_slow(self) -> None:
        seconds = self._node.limits.values.client_timeout_s
        self._refuse("INVALID", f"the line was not complete within {seconds:g} s (--client-timeout)")
        self._end_in_time()

    def _end_browser(self) -> None:
        """Refuse a client that speaks HTTP or TLS. Its next lines, such as the body of a request, are ignored."""
        self._log.info(
            "The client at {peer} speaks HTTP or TLS: closing its connection.", peer=self.transport.getPeer()
        )
        text = "this port speaks lines of JSON, and neither HTTP nor TLS: HTTP is at the port of --api, 1729 by default"
        self._refuse("INVALID", text)
        self._closed = True
        self._end_in_time()

    def _end_in_time(self, within_s: float | None = None) -> None:
        """Close the connection when all is sent, at the latest after `within_s`, by default the client's time limit."""
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
        """The urgency of the next line: most lines are renewals of agents."""
        line = self._line if self._line is not None else self._held[:_KIND_BYTES]
        return Urgency.RENEWAL if b'"renew"' in line else Urgency.CHANGE

    def work(self) -> bool:
        """Act on one line, if the client was sent everything it is owed. Return False if the next line must wait."""
        if self._closed or self._acting:
            return False
        if self._line is None:
            self._line = self._next_line()
        if self._line is None or not self._stream.catch_up():
            self._continue()
            return False
        line, self._line = self._line, None
        self._acting = True
        self._acting = self._act_or_wait(line)
        return not self._acting

    def idle(self) -> None:
        """Do nothing: there are no more lines, or they wait for the stream."""

    # The rest.

    def _continue(self) -> None:
        """Continue reading, unless a line waits. If the client sends no more, end its sessions and its consumer."""
        self._note_held()
        if self._reading:
            self._stop_reading(self._line is not None)
        elif self._line is None:
            # A client that sends no more cannot renew or confirm anything. A killed process looks the same.
            self._end_sessions()
            self._stream.end_consumer()

    def _stop_reading(self, stop: bool) -> None:
        if stop is not self._stopped:
            self._stopped = stop
            (self.transport.pauseProducing if stop else self.transport.resumeProducing)()

    def _next_line(self) -> bytes | None:
        """Return the next line that is complete or too long; None if there is none."""
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

    def _act_or_wait(self, line: bytes) -> bool:
        """Act on a line. Return True if it must wait instead, because the node is not ready after a pause."""
        try:
            message = decode_line(line)
        except Invalid as error:
            if is_from_browser(line):
                self._end_browser()
            else:
                self._refuse("INVALID", str(error))
            return False
        changes = message.renew is not None or message.register != NO_REGISTRATION
        if changes and self._node.limits.rate.take(self.client):
            self._refuse("BUSY", self._node.limits.rate_problem(self.client))
            return False
        if changes and not self._node.ready:
            self._stop_reading(True)
            Deferred.fromCoroutine(self._act_when_ready(message))
            return True
        self._act(message)
        return False

    async def _act_when_ready(self, message: ClientMessage) -> None:
        with suppress(NotReady):  # `_act` raises it again, and sends the client the error
            await self._node.until_ready()
        self._acting = False
        if not self._closed:
            self._act(message)
            self._turns.run(self)

    def _act(self, message: ClientMessage) -> None:
        try:
            if message.token is not None:
                self._access = require_admission(self._tokens.access(message.token.encode()))
            elif message.renew is not None:
                self._renew(message.renew, message)
            elif message.ack is not None:
                self._confirm(message.ack, message.report)
            elif message.subscribe is None:
                self._register(message.register, message)
            elif message.subscribe:
                subscribe = message.subscribe
                snapshot = subscribe.snapshot or False
                self._follow(
                    Selection(
                        subscribe.app, subscribe.version, snapshot, subscribe.since, subscribe.name, subscribe.instance
                    )
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
            self._begin_sessions(
                [id_ if id_ in self._graces_s else canonical_id(id_) for id_ in known], message.grace_s
            )
        self._write(event_line("renewed", renewed=len(ids) - len(unknown), unknown=unknown))

    def _register(self, document: msgspec.Raw, message: ClientMessage) -> None:
        requested = parse_registration(document, self._node.timing)
        self._access.require_register_ids([requested.key])
        session = message if message.session else requested
        created, body = self._node.register(requested)
        registration_json = registration(requested.key, body, self._node.registration_status(requested.key))
        if session.session:
            self._instance_tokens.pop(requested.key, None)
            self._begin_sessions([requested.key], session.grace_s)
        self._write(event_line("registered", created=created, registration=msgspec.Raw(registration_json)))

    # Sessions.

    def _begin_sessions(self, keys: Iterable[str], grace_s: float) -> None:
        """Let instances end with this connection, and not with another one any more."""
        for key in keys:
            self._sessions[key] = self
            self._graces_s[key] = grace_s
            if key not in self._instance_tokens:
                self._instance_tokens[key] = self._node.instance_token(key)

    def _end_sessions(self) -> None:
        """End this connection's sessions, except those whose id another instance has registered meanwhile."""
        by_grace: dict[float, list[str]] = {}
        instances = self._instance_tokens.copy()
        for key, grace_s in self._take_sessions():
            if self._node.instance_token(key) == instances[key]:
                by_grace.setdefault(grace_s, []).append(key)
        for grace_s, keys in by_grace.items():
            self._node.shorten(keys, grace_s)

    def _take_sessions(self) -> list[tuple[str, float]]:
        """Remove and return the sessions that still belong to this connection: their ids and graces."""
        taken = [(key, grace_s) for key, grace_s in self._graces_s.items() if self._sessions.get(key) is self]
        for key, _ in taken:
            del self._sessions[key]
        self._graces_s.clear()
        self._instance_tokens.clear()
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
            require_admission(self._access)
        except AccessDenied as error:
            self._tokens.remove_listener(self._tokens_changed)
            self._write(error_line(error))
            self._end_in_time()
            self._closed = True  # lines that wait are not acted upon

    def _refuse(self, code: str, message: str) -> None:
        self._write(event_line("error", code=code, message=message))
