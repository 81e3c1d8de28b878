"""Follow changes while nodes fail and return.

A watcher is connected to one node. When that connection ends it continues at the same position of the same node, or at
another node: it asks two other nodes for their positions from time to time, so it can ask one of them for all events
since then, and `bender.client.event_merge` finds the news among them. So no event is missing and none is repeated, as
far as any node still has them.
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
from typing import Annotated, Protocol, Self
from urllib.parse import urlencode

import msgspec
from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from bender.client.decoding import decoded
from bender.client.event_merge import Change, History
from bender.client.node_list import NodeList
from bender.client.responses import DENIED, refusal_of, require_service
from bender.client.sse import CURSOR_CHARACTERS_MAX, SseEvent, SseStream
from bender.client.transport import Transport
from bender.client.types import BenderError, Event, Refused, Reply
from bender.net.addresses import NoAnswer
from bender.net.endpoints import wait_for_answer
from bender.net.reactor import Reactor

#: Time limit until the answer of a node begins.
BEGINNING_S_MAX = 5.0

#: One in this number of looks also asks a node for the addresses of the others.
LEARNED_EACH = 12

#: Seconds until the next look if not enough of them answer.
SOONER_S = 1.0

#: Seconds between two looks at where the other nodes stand, and for how long that is kept: longer than it takes to
#: notice that a node is gone.
STANDBY_APART_S = 5.0

#: Time limit for any answer of the followed node, if there is another node to continue at.
FOLLOWED_S_MAX = 3.0
STANDBY_KEPT_S = 60.0

#: Other nodes that are looked at: one to go on at, and another if that is gone by then as well.
STANDBYS_MAX = 2

#: Seconds before all nodes are tried again where none answered, or not for longer than that: the first, and what it
#: grows to.
RETRY_S_MIN = 0.1
RETRY_S_MAX = 2.0

#: Random bytes of an instance, as many as tell any two programs apart.
INSTANCE_BYTES = 8

#: Events that wait to be taken. With more, the node is not read from until all are taken.
WAITING_MAX = 1000

#: Limit for listed objects, and for changes before a node has sent its full state: ten times the limit of a node. More
#: would fill the memory, and no honest node sends it.
LISTED_MAX = 1_000_000


class _Stands(msgspec.Struct):
    """The position of a node, in its answer to a request for no events."""

    cursor: Annotated[str, msgspec.Meta(max_length=CURSOR_CHARACTERS_MAX)]


@frozen
class Stand:
    """The position in the events of the node at an address."""

    node: str
    cursor: str


class EventSource(Protocol):
    """What a watch needs of a client: see `Client`."""

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
    """Events: what is listed now, with the reason `snapshot`, then one called `synced`, then every change.

    `Client.watch` returns it, for one reader. Use it with `async for` within `async with`, or call `aclose` at the end.
    It never ends by itself, whichever nodes fail and return, even if none is reachable for a time. `name` is the name
    by which nodes know the watcher, if they are to wait for it; confirm with its `instance`. Raises `Refused` if the
    selection is invalid, such as an app with a slash in it.
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
        #: The token that tells it apart from other programs with its name; None without a name.
        self.instance = None if name is None else instance or secrets.token_hex(INSTANCE_BYTES)
        self._name = {} if name is None else {"name": name, "instance": self.instance}
        self._wall_ms = wall_ms
        self._chance = chance
        self._history = History()
        self._waiting: deque[Event] = deque()
        self._told = 0
        # Positions of nodes, each with the number of events that had been passed on by then.
        self._stands: deque[tuple[int, Stand]] = deque()
        #: The position of the followed node up to which all events were taken; None before there is one.
        self.taken: Stand | None = None
        #: Called when `taken` changes, also without an event. Assign your own.
        self.on_taken: Callable[[], None] = lambda: None
        self._taker: Deferred[None] | None = None
        self._room: Deferred[None] | None = None
        self._looking: Deferred[None] | None = None
        self._error: BenderError | None = None
        self._tasks: list[Deferred[None]] = []
        self._closed = False
        self._stream: SseStream | None = None
        #: Called once when no node can be followed, with the reason for each node. Assign your own.
        self.on_away: Callable[[dict[str, str]], None] = lambda _problems: None
        #: Called for each event that cannot be read, with the node that sent it, the id that it is about (empty if that
        #: is not known) and what is wrong. Assign your own.
        self.on_unreadable: Callable[[str, str, str], None] = lambda _node, _id, _problem: None
        self._away = False
        #: The node that is followed, or was last; None before there was one.
        self.node: str | None = None
        # The position of that node.
        self._cursor: str | None = None
        self._synced = False
        # The positions of other nodes with their times, oldest first.
        self._standbys: dict[str, deque[tuple[float, str]]] = {}

    # For the program that watches.

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        if not self._tasks and not self._closed:
            self._tasks = [Deferred.fromCoroutine(self._follow_on()), Deferred.fromCoroutine(self._stand_by())]
        while not self._waiting:
            self._make_room()
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._taker = Deferred()
            await self._taker
        event = self._waiting.popleft()
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
        """Continue reading, because all events were taken."""
        if self._stream is not None:
            self._stream.resume()
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def _deliver(self, event: Event) -> None:
        self._told += 1
        self._waiting.append(event)
        if len(self._waiting) > WAITING_MAX and self._stream is not None:
            self._stream.pause()
        self._wake()

    def _note_taken(self) -> None:
        """Update `taken` to the last position before the events that still wait."""
        taken = None
        while self._stands and self._stands[0][0] <= self._told - len(self._waiting):
            _, taken = self._stands.popleft()
        if taken is not None:
            self.taken = taken
            self.on_taken()

    def _wake(self) -> None:
        taker, self._taker = self._taker, None
        if taker is not None and not taker.called:
            taker.callback(None)

    # Following one node after the other.

    async def _follow_on(self) -> None:
        retry_s = RETRY_S_MIN
        with suppress(CancelledError):
            while not self._closed:
                if len(self._waiting) > WAITING_MAX:
                    self._room = Deferred()
                    await self._room
                began_at = self._clock.seconds()
                if await self._follow_any() and self._clock.seconds() > began_at + RETRY_S_MAX:
                    retry_s = RETRY_S_MIN
                    continue
                await deferLater(self._clock, retry_s * (0.5 + self._chance()))
                retry_s = min(2 * retry_s, RETRY_S_MAX)

    async def _follow_any(self) -> bool:
        """Follow the first node that can be followed, to its end. Return True if a node sent anything."""
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
        if not self._away:
            self._away = True
            self.on_away(problems)
        return False

    def _candidates(self) -> list[str]:
        """Return the node followed last, as only its connection may have ended; then those with known positions."""
        in_turn = self._client.nodes.in_turn()
        known = sorted(in_turn, key=lambda node: node not in self._standbys)
        if self._cursor is not None and self.node in known:
            known.remove(self.node)
            known.insert(0, self.node)
        return known

    async def _follow(self, node: str) -> bool:
        """Follow a node to its end. Return True if it sent anything. Raises `NoAnswer` if it does not begin."""
        while True:
            heard = await self._follow_once(node)
            if heard is not None:
                return heard
            if node not in self._standbys:
                raise NoAnswer("no longer knows the position to continue from")

    async def _follow_once(self, node: str) -> bool | None:
        """Do the same; return None if the node was restarted, and asking again, or another node, is better."""
        goes_on = node == self.node and self._cursor is not None
        stood_at, since = (0.0, self._cursor) if goes_on else self._stood(node)
        merging = _Merging(goes_on, stood_at) if self._history.shown or self._synced else None
        stream = SseStream(
            self._clock,
            lambda event, change: self._heard(event, change, node, merging),
            lambda id_, problem: self.on_unreadable(node, id_, problem),
        )
        query = {**self._selection, **self._name, "snapshot": "true" if goes_on else "always"}
        query |= {} if since is None else {"since": since}
        path = f"/events?{urlencode(query)}"
        self._stream = stream
        try:
            response = await self._client.http.follow(node, path, stream, BEGINNING_S_MAX)
            if response.code != HTTPStatus.OK:
                await self._refused(node, response.code, stream)
            self._client.nodes.answered(node)
            self.node, self._cursor = node, self._cursor if goes_on else None
            self._look_around()
            await stream.ended
        finally:
            self._stream = None
            stream.end()
        if self._closed:
            raise CancelledError
        if stream.problem:
            self._cursor = None  # or it would be tried again before the others
            raise NoAnswer(stream.problem)
        if merging is not None and merging.useless:
            return None
        self._standbys.pop(node, None)
        if not stream.heard:
            raise NoAnswer(stream.unreadable or "sent no events")
        return True

    async def _refused(self, node: str, status: int, stream: SseStream) -> None:
        await wait_for_answer(self._clock, stream.ended, BEGINNING_S_MAX)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise NoAnswer("has no room for another watcher")
        require_service(status)
        refusal = refusal_of(Reply(node, status, stream.unread))
        if refusal is not None and status in DENIED:
            self._client.read_token_again()  # for the next attempt
            raise NoAnswer(f"denies access ({refusal})")
        if refusal is None or status != HTTPStatus.BAD_REQUEST:
            raise NoAnswer(f"answers with status {status}")
        raise refusal

    # The events of a node.

    def _heard(self, event: SseEvent, change: Change | None, node: str, merging: _Merging | None) -> None:
        if event.event == "reset":
            if merging is not None:
                self._begin_anew(merging, node)
            return
        if merging is not None and not merging.done:
            if not merging.take(event, change):
                return
            self._merge(merging, node)
        elif change is not None:
            self._change(change, node)
        self._away = False
        if not event.snapshot:  # to go on after half a snapshot is not possible
            self._cursor = event.cursor
        if event.event == "synced" and not self._synced:
            self._synced = True
            self._deliver(Event("synced", "", "", "snapshot", self._wall_ms(), {}, node))
        if not event.snapshot:
            self._stand(Stand(node, event.cursor))

    def _stand(self, stand: Stand) -> None:
        """Note the position up to which all events of the node were passed on."""
        if self._stands and self._stands[-1][0] == self._told:
            self._stands.pop()
        self._stands.append((self._told, stand))
        self._note_taken()

    def _begin_anew(self, merging: _Merging, node: str) -> None:
        """The node does not know its old position: it was restarted. So ask it again from its last known position.

        If that is unknown as well, another node may know what was missed.
        """
        merging.exact = False
        stood = self._standbys.pop(node, None)
        if stood is not None and len(stood) > 1:
            self._standbys[node] = deque([stood[-1]])
        if self._standbys and self._stream is not None:
            merging.useless = True
            self._stream.end()

    def _merge(self, merging: _Merging, node: str) -> None:
        if merging.exact:
            for change in merging.missed:
                self._change(change, node)
            return
        for change in self._history.news(merging.missed, merging.since, merging.present, self._wall_ms()):
            self._change(change if self._synced else evolve(change, reason="snapshot"), node)

    def _change(self, change: Change, node: str) -> None:
        if len(self._history.shown) >= LISTED_MAX and change.id not in self._history.shown:
            raise NoAnswer("lists more objects than a node can have")
        before = self._history.shown.get(change.id)
        if self._history.note(change, self._clock.seconds()):
            body = dict(change.body)
            previous = None if before is None or change.event != "changed" else dict(before.body)
            self._deliver(
                Event(change.event, change.kind, change.id, change.reason, change.at_ms, body, node, previous)
            )

    # Where to go on at other nodes.

    async def _stand_by(self) -> None:
        with suppress(CancelledError):
            for look in count():
                standbys = False
                try:
                    standbys = await self._look(learning=look % LEARNED_EACH == 0)
                except CancelledError:
                    raise
                except Exception:
                    self._log.failure("Asking other nodes for their position in the stream failed; retrying.")
                self._looking = deferLater(self._clock, STANDBY_APART_S if standbys else SOONER_S)
                with suppress(CancelledError):
                    await self._looking
                if self._closed:
                    return

    def _look_around(self) -> None:
        """Ask for the positions of the other nodes at once, because the newly followed node may fail soon."""
        if self._looking is not None:
            self._looking.cancel()

    async def _look(self, *, learning: bool) -> bool:
        """Ask some other nodes for their positions. Return True if one of them answered."""
        if learning:
            await self._client.learn()
        known = self._client.nodes.in_turn()
        self._standbys = {node: stood for node, stood in self._standbys.items() if node in known}
        others = [node for node in known if node != self.node]
        standbys = 0
        for node in others:
            if standbys < STANDBYS_MAX:
                standbys += await self._note_standby(node)
        if standbys:
            await self._check_followed()
        return standbys > 0

    async def _check_followed(self) -> None:
        """Follow another node if this one no longer answers although it is connected.

        Otherwise the watch would wait for it until the limit for silence.
        """
        node, stream = self.node, self._stream
        if node is None or stream is None:
            return
        try:
            await self._client.http.ask(node, "GET", "/ready", None, {}, FOLLOWED_S_MAX)
        except NoAnswer:
            if stream is self._stream:
                self._cursor = None  # or it would be tried again before the others
                stream.end()

    async def _note_standby(self, node: str) -> bool:
        """Note the position of a node. Return True if it answered; if not, its earlier positions are forgotten."""
        now = self._clock.seconds()
        try:
            reply = await self._client.ask(node, "GET", f"/events?{urlencode(self._selection)}")
            stands: _Stands = decoded(reply.body, _Stands)
        except NoAnswer:
            self._standbys.pop(node, None)
            return False
        stood = self._standbys.setdefault(node, deque())
        stood.append((now, stands.cursor))
        while stood[0][0] < now - STANDBY_KEPT_S:
            stood.popleft()
        return True

    def _stood(self, node: str) -> tuple[float, str | None]:
        """Return the oldest known position of a node, with its time, since which all events here are remembered."""
        stood = self._standbys.get(node, ())
        return next(((at, cursor) for at, cursor in stood if self._history.covers(at)), (0.0, None))


class _Merging:
    """The events of a node until it is synced: those that were missed, and the objects that exist now.

    If `exact`, it continues at the watcher's position, so there is nothing to compare; otherwise it continues at its
    own position at the watcher's time `since`.
    """

    def __init__(self, exact: bool, since: float) -> None:
        self.exact = exact
        self.since = since
        self.done = False
        #: Whether another node may know more.
        self.useless = False
        self.missed: list[Change] = []
        self.present: list[Change] = []

    def take(self, event: SseEvent, change: Change | None) -> bool:
        """Add an event. Return True if the node is synced."""
        if change is not None:
            (self.present if event.snapshot else self.missed).append(change)
            if len(self.present) + len(self.missed) > LISTED_MAX:
                raise NoAnswer("lists more objects than a node can have")
        self.done = event.event == "synced"
        return self.done
