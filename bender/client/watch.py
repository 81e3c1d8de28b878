"""Follow changes while nodes fail and return.

A watcher is connected to one node, the followed node. When the connection ends, the watcher continues at the same
position of the same node, or at another node. For this, it asks two other nodes, the standbys, for their positions from
time to time: it can then ask one of them for all events since that position, and `bender.client.event_merge` finds the
new ones. So no event is missing or repeated as long as any node still has it.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from http import HTTPStatus
from itertools import count
from types import TracebackType
from typing import Annotated, NoReturn, Protocol, Self
from urllib.parse import urlencode

import msgspec
from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from bender.client.decoding import decode_json
from bender.client.event_merge import Change, History
from bender.client.node_list import NodeList
from bender.client.responses import DENIED, refusal_of, require_service
from bender.client.sse import CURSOR_CHARACTERS_MAX, SseEvent, SseStream
from bender.client.transport import Transport
from bender.client.types import BenderError, Event, Refused, Reply
from bender.net.addresses import NoAnswer
from bender.net.endpoints import wait_for_answer
from bender.net.reactor import Reactor

#: Seconds until the answer of a node must begin.
RESPONSE_S_MAX = 5.0

#: The number of looks at the standbys, in one of which the watcher also asks a node for the addresses of the others.
LOOKS_PER_LEARN = 12

#: Seconds until the next look at the standbys: normally, and if no standby answered.
STANDBY_INTERVAL_S = 5.0
NO_STANDBY_RETRY_S = 1.0

#: Seconds for which the positions of standbys are remembered: longer than it takes to notice that a node is gone.
STANDBY_REMEMBERED_S = 60.0

#: Time limit for any answer of the followed node, if there is a standby.
FOLLOWED_ANSWER_S_MAX = 3.0

#: The number of standbys: one to continue at, and another in case the first is gone too.
STANDBYS_MAX = 2

#: Seconds before all nodes are tried again if none answered, or the last one only for a moment: the first wait, and the
#: longest.
RETRY_S_MIN = 0.1
RETRY_S_MAX = 2.0

#: Random bytes of an instance, enough to distinguish any two programs.
INSTANCE_BYTES = 8

#: Limit for events that the program has not read yet. At more, the watcher stops reading until all of them are read.
UNREAD_EVENTS_MAX = 1000

#: Limit for listed objects, and for the events of a catch-up: ten times the limit of a node. It protects the memory; no
#: honest node sends more.
LISTED_MAX = 1_000_000


class _PositionAnswer(msgspec.Struct):
    """The answer of a node to a request for no events: its position."""

    cursor: Annotated[str, msgspec.Meta(max_length=CURSOR_CHARACTERS_MAX)]


@frozen
class Stand:
    """A position in the events of a node: the `cursor`, and the address of the `node` that numbers these events."""

    node: str
    cursor: str


class EventSource(Protocol):
    """The part of `Client` that a watch uses."""

    @property
    def reactor(self) -> Reactor: ...
    @property
    def nodes(self) -> NodeList: ...
    @property
    def http(self) -> Transport: ...
    @property
    def on_problem(self) -> Callable[[str, str], None]: ...
    async def learn(self) -> None: ...
    async def ask(self, node: str, method: str, path: str) -> Reply: ...
    def read_token_again(self) -> bool: ...


class Watch(AsyncIterator[Event]):
    """Iterate over events: first the objects that are listed now, then an event `synced`, then every change.

    The events of the first part have the reason `snapshot`. `Client.watch` returns a watch, for one reader: read it
    with `async for` within `async with`, or call `aclose` at the end. It does not end when nodes fail, even if no node
    is reachable for a time. A watch with a name is a consumer: confirm events with the name and `instance`. The
    iteration raises `Refused` if the selection is invalid, such as an app with a slash in it.
    """

    _log = Logger()

    def __init__(
        self,
        client: EventSource,
        app: str | None = None,
        version: str | None = None,
        *,
        name: str | None = None,
        instance: str | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._clock: IReactorTime = client.reactor
        self._selection = {key: value for key, value in (("app", app), ("version", version)) if value is not None}
        #: The token that distinguishes the watcher from other programs with its name; None without a name.
        self.instance = None if name is None else instance or secrets.token_hex(INSTANCE_BYTES)
        self._name = {} if name is None else {"name": name, "instance": self.instance}
        self._wall_ms = wall_ms
        self._chance = chance
        self._history = History()
        self._unread: deque[Event] = deque()
        self._delivered = 0
        # The positions of followed nodes, each with the number of events that were delivered before it.
        self._positions: deque[tuple[int, Stand]] = deque()
        #: The position of the followed node up to which the program has read all events; None before the first.
        self.taken: Stand | None = None
        #: Called when `taken` changes, even if there was no event. Assign your own.
        self.on_taken: Callable[[], None] = lambda: None
        self._next_event: Deferred[None] | None = None
        self._room_made: Deferred[None] | None = None
        self._until_next_look: Deferred[None] | None = None
        self._error: BenderError | None = None
        self._tasks: list[Deferred[None]] = []
        self._closed = False
        self._stream: SseStream | None = None
        #: Called once when no node can be followed any more, with the reason for each node. Assign your own.
        self.on_away: Callable[[dict[str, str]], None] = lambda _problems: None
        #: Called for each unreadable event, with the node that sent it, the id of its object (empty if unknown) and the
        #: problem. Assign your own.
        self.on_unreadable: Callable[[str, str, str], None] = lambda _node, _id, _problem: None
        self._is_away = False
        #: The followed node, or the last one; None before the first.
        self.node: str | None = None
        # The last position of that node.
        self._cursor: str | None = None
        self._synced = False
        # The times and positions at which standbys were, oldest first.
        self._standbys: dict[str, deque[tuple[float, str]]] = {}

    # For the program that watches.

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        if not self._tasks and not self._closed:
            self._tasks = [
                Deferred.fromCoroutine(self._keep_following()),
                Deferred.fromCoroutine(self._keep_standbys()),
            ]
        while not self._unread:
            self._make_room()
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._next_event = Deferred()
            await self._next_event
        event = self._unread.popleft()
        self._note_taken()
        return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop watching. A loop that waits for the next event ends."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._wake()

    def _make_room(self) -> None:
        """Continue reading from the node, because the program has read all events."""
        if self._stream is not None:
            self._stream.resume()
        room, self._room_made = self._room_made, None
        if room is not None:
            room.callback(None)

    def _deliver(self, event: Event) -> None:
        self._delivered += 1
        self._unread.append(event)
        if len(self._unread) > UNREAD_EVENTS_MAX and self._stream is not None:
            self._stream.pause()
        self._wake()

    def _note_taken(self) -> None:
        """Update `taken` to the last position before the unread events."""
        taken = None
        while self._positions and self._positions[0][0] <= self._delivered - len(self._unread):
            _, taken = self._positions.popleft()
        if taken is not None:
            self.taken = taken
            self.on_taken()

    def _wake(self) -> None:
        waiting, self._next_event = self._next_event, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    # The followed node.

    async def _keep_following(self) -> None:
        retry_s = RETRY_S_MIN
        with suppress(CancelledError):
            while not self._closed:
                if len(self._unread) > UNREAD_EVENTS_MAX:
                    self._room_made = Deferred()
                    await self._room_made
                began_at = self._clock.seconds()
                if await self._follow_any() and self._clock.seconds() > began_at + RETRY_S_MAX:
                    retry_s = RETRY_S_MIN
                    continue
                await deferLater(self._clock, retry_s * (0.5 + self._chance()))
                retry_s = min(2 * retry_s, RETRY_S_MAX)

    async def _follow_any(self) -> bool:
        """Follow the first node that can be followed, until its stream ends. Return True if it sent an event."""
        problems: dict[str, str] = {}
        for node in self._candidates():
            try:
                return await self._follow(node)
            except NoAnswer as no_answer:
                problems[node] = str(no_answer)
                self._client.on_problem(node, problems[node])
            except CancelledError:
                raise
            except Refused as error:
                self._error = error
                self._closed = True
                self._tasks[-1].cancel()
                self._wake()
                return True
            except Exception:
                self._log.failure("Following {node} failed; following another node.", node=node)
                problems[node] = "sent events that cannot be read"
        if not self._is_away:
            self._is_away = True
            self.on_away(problems)
        return False

    def _candidates(self) -> list[str]:
        """Return all nodes: first the last followed node, whose connection alone may be lost, then the standbys."""
        in_turn = self._client.nodes.in_turn()
        known = sorted(in_turn, key=lambda node: node not in self._standbys)
        if self._cursor is not None and self.node in known:
            known.remove(self.node)
            known.insert(0, self.node)
        return known

    async def _follow(self, node: str) -> bool:
        """Follow a node until its stream ends. Return True if it sent an event. Raises `NoAnswer` otherwise."""
        while True:
            has_sent = await self._follow_once(node)
            if has_sent is not None:
                return has_sent
            if node not in self._standbys:
                raise NoAnswer("no longer knows the position to continue from")

    async def _follow_once(self, node: str) -> bool | None:
        """Do the same, but return None if the node was restarted and an older position or another node may help."""
        is_continued = node == self.node and self._cursor is not None
        since_s, since = (0.0, self._cursor) if is_continued else self._resume_position(node)
        catchup = _Catchup(is_continued, since_s) if self._history.listed or self._synced else None
        stream = SseStream(
            self._clock,
            lambda event, change: self._process_event(event, change, node, catchup),
            lambda id_, problem: self.on_unreadable(node, id_, problem),
            node,
        )
        query = {**self._selection, **self._name, "snapshot": "true" if is_continued else "always"}
        query |= {} if since is None else {"since": since}
        self._stream = stream
        try:
            response = await self._client.http.follow(node, f"/events?{urlencode(query)}", stream, RESPONSE_S_MAX)
            if response.code != HTTPStatus.OK:
                await self._raise_refusal(node, response.code, stream)
            self._client.nodes.note_answer(node)
            self.node, self._cursor = node, self._cursor if is_continued else None
            self._look_now()
            await stream.ended
        finally:
            self._stream = None
            stream.end()
        if self._closed:
            raise CancelledError
        if stream.problem:
            self._cursor = None  # so that the other nodes are tried first
            raise NoAnswer(stream.problem)
        if catchup is not None and catchup.is_abandoned:
            return None
        self._standbys.pop(node, None)
        if not stream.has_event:
            raise NoAnswer(stream.first_unreadable or "sent no events")
        return True

    async def _raise_refusal(self, node: str, status: int, stream: SseStream) -> NoReturn:
        await wait_for_answer(self._clock, stream.ended, RESPONSE_S_MAX)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise NoAnswer("has no room for another watcher")
        require_service(status)
        refusal = refusal_of(Reply(node, status, stream.unparsed))
        if refusal is not None and status in DENIED:
            self._client.read_token_again()  # for the next attempt
            raise NoAnswer(f"denies access ({refusal})")
        if refusal is None or status != HTTPStatus.BAD_REQUEST:
            raise NoAnswer(f"answers with status {status}")
        raise refusal

    # The events of a node.

    def _process_event(self, event: SseEvent, change: Change | None, node: str, catchup: _Catchup | None) -> None:
        if event.event == "reset":
            if catchup is not None:
                self._handle_reset(catchup, node)
            return
        if catchup is not None and not catchup.is_synced:
            if not catchup.take(event, change):
                return
            self._merge(catchup, node)
        elif change is not None:
            self._apply(change, node)
        self._is_away = False
        if not event.snapshot:  # it is not possible to continue within a snapshot
            self._cursor = event.cursor
        if event.event == "synced" and not self._synced:
            self._synced = True
            self._deliver(Event("synced", "", "", "snapshot", self._wall_ms(), {}, node))
        if not event.snapshot:
            self._note_position(Stand(node, event.cursor))

    def _note_position(self, position: Stand) -> None:
        """Note the position of the followed node up to which all events were delivered."""
        if self._positions and self._positions[-1][0] == self._delivered:
            self._positions.pop()
        self._positions.append((self._delivered, position))
        self._note_taken()

    def _handle_reset(self, catchup: _Catchup, node: str) -> None:
        """End the catch-up if there is a standby, because the node no longer knows the position: it was restarted.

        Keep at most the newest position of the node, to ask it from there. Another node may know the missed events.
        """
        catchup.is_exact = False
        positions = self._standbys.pop(node, None)
        if positions is not None and len(positions) > 1:
            self._standbys[node] = deque([positions[-1]])
        if self._standbys and self._stream is not None:
            catchup.is_abandoned = True
            self._stream.end()

    def _merge(self, catchup: _Catchup, node: str) -> None:
        if catchup.is_exact:
            for change in catchup.missed:
                self._apply(change, node)
            return
        for change in self._history.new_changes(catchup.missed, catchup.since, catchup.present, self._wall_ms()):
            self._apply(change if self._synced else evolve(change, reason="snapshot"), node)

    def _apply(self, change: Change, node: str) -> None:
        if len(self._history.listed) >= LISTED_MAX and change.id not in self._history.listed:
            raise NoAnswer("lists more objects than a node can have")
        before = self._history.listed.get(change.id)
        if self._history.note(change, self._clock.seconds()):
            body = dict(change.body)
            previous = None if before is None or change.event != "changed" else dict(before.body)
            self._deliver(
                Event(change.event, change.kind, change.id, change.reason, change.at_ms, body, node, previous)
            )

    # The standbys.

    async def _keep_standbys(self) -> None:
        with suppress(CancelledError):
            for look in count():
                standbys = False
                try:
                    standbys = await self._look_at_others(learning=look % LOOKS_PER_LEARN == 0)
                except CancelledError:
                    raise
                except Exception:
                    self._log.failure("Asking other nodes for their position in the stream failed; retrying.")
                self._until_next_look = deferLater(self._clock, STANDBY_INTERVAL_S if standbys else NO_STANDBY_RETRY_S)
                with suppress(CancelledError):
                    await self._until_next_look
                if self._closed:
                    return

    def _look_now(self) -> None:
        """Look at the standbys at once, because the newly followed node may fail soon."""
        if self._until_next_look is not None:
            self._until_next_look.cancel()

    async def _look_at_others(self, *, learning: bool) -> bool:
        """Ask the standbys for their positions. Return True if one of them answered."""
        if learning:
            await self._client.learn()
        known = self._client.nodes.in_turn()
        self._standbys = {node: positions for node, positions in self._standbys.items() if node in known}
        others = [node for node in known if node != self.node]
        standbys = 0
        for node in others:
            if standbys < STANDBYS_MAX:
                standbys += await self._note_standby(node)
        if standbys:
            await self._check_followed()
        return standbys > 0

    async def _check_followed(self) -> None:
        """End the stream if the followed node no longer answers although it is connected.

        Otherwise the watch would wait for the node until the time limit for silence.
        """
        node, stream = self.node, self._stream
        if node is None or stream is None:
            return
        try:
            await self._client.http.ask(node, "GET", "/ready", None, {}, FOLLOWED_ANSWER_S_MAX)
        except NoAnswer:
            if stream is self._stream:
                self._cursor = None  # so that the other nodes are tried first
                stream.end()

    async def _note_standby(self, node: str) -> bool:
        """Note the position of a node. Return True if it answered; otherwise forget its earlier positions."""
        now = self._clock.seconds()
        try:
            reply = await self._client.ask(node, "GET", f"/events?{urlencode(self._selection)}")
            answer: _PositionAnswer = decode_json(reply.body, _PositionAnswer)
        except NoAnswer:
            self._standbys.pop(node, None)
            return False
        positions = self._standbys.setdefault(node, deque())
        positions.append((now, answer.cursor))
        while positions[0][0] < now - STANDBY_REMEMBERED_S:
            positions.popleft()
        return True

    def _resume_position(self, node: str) -> tuple[float, str | None]:
        """Return the time and cursor from which to resume at a node: the oldest since which all is remembered."""
        positions = self._standbys.get(node, ())
        return next(((at, cursor) for at, cursor in positions if self._history.covers(at)), (0.0, None))


class _Catchup:
    """The events of a node until it is synced: the `missed` events, and the objects that are `present` now.

    If `is_exact`, they continue at the watcher's position, so there is nothing to compare. Otherwise, they continue at
    the position that the node had at the watcher's time `since`.
    """

    def __init__(self, is_exact: bool, since: float) -> None:
        self.is_exact = is_exact
        self.since = since
        self.is_synced = False
        #: Whether the watcher ended the stream, because another position or node may know more.
        self.is_abandoned = False
        self.missed: list[Change] = []
        self.present: list[Change] = []

    def take(self, event: SseEvent, change: Change | None) -> bool:
        """Add an event. Return True if the node is synced."""
        if change is not None:
            (self.present if event.snapshot else self.missed).append(change)
            if len(self.present) + len(self.missed) > LISTED_MAX:
                raise NoAnswer("lists more objects than a node can have")
        self.is_synced = event.event == "synced"
        return self.is_synced
