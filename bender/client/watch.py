"""Following what changes, whichever nodes come and go.

A watcher is connected to one node. When that connection ends it goes on at the same node where it stood, or at another
one: of those it has asked from time to time where they stand, so it can ask for all that they told since then, and
`bender.client.event_merge` finds out what of that is news. So nothing is missing and nothing is there twice, as far as
any node still knows what happened.
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
from bender.client.responses import refusal_of
from bender.client.sse import CURSOR_CHARACTERS_MAX, SseEvent, SseStream
from bender.client.transport import Transport
from bender.client.types import BenderError, Event, Refused, Reply
from bender.net.addresses import NoAnswer
from bender.net.endpoints import in_time
from bender.net.reactor import Reactor

#: What a node may take until its answer begins.
BEGINNING_S_MAX = 5.0

#: How often, of these looks, a node is asked where the others are.
LEARNED_EACH = 12

#: Seconds until the next look where not enough of them answer.
SOONER_S = 1.0

#: Seconds between two looks at where the other nodes stand, and for how long that is kept: longer than it takes to
#: notice that a node is gone.
STANDBY_APART_S = 5.0

#: What the node that is followed may take to answer at all, where there is another one to go on at.
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

#: Events that wait for who does not take them. Then the node is not read from, until there are none.
WAITING_MAX = 1000

#: What is listed at most, and changes that come before a node has said all that there is: ten times what a node takes.
#: More comes from no node, and would fill the memory.
LISTED_MAX = 1_000_000


class _Stands(msgspec.Struct):
    """Where a node stands, in its answer to who asks for no events."""

    cursor: Annotated[str, msgspec.Meta(max_length=CURSOR_CHARACTERS_MAX)]


@frozen
class Stand:
    """Where the node at an address stands."""

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


class Watch(AsyncIterator[Event]):
    """What is listed now, as events with the reason `snapshot`, then one called `synced`, then every change.

    `Client.watch` returns it, for one taker. Use it with `async for`, and within `async with`, or call `aclose` when it
    is not wanted any more. It goes on for ever, through any number of nodes that come and go, and through times in
    which there are none. `name` is what nodes know the watcher by, if they are to wait for it; confirm with its
    `instance`. Raises `Refused` where
    what is watched can be nothing, such as an app with a slash in it.
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
        #: What tells it apart from other programs with its name; None without a name.
        self.instance = None if name is None else instance or secrets.token_hex(INSTANCE_BYTES)
        self._name = {} if name is None else {"name": name, "instance": self.instance}
        self._wall_ms = wall_ms
        self._chance = chance
        self._history = History()
        self._waiting: deque[Event] = deque()
        self._told = 0
        # Where nodes stood, and how many events had been told by then.
        self._stands: deque[tuple[int, Stand]] = deque()
        #: Where the node that is followed stands, as far as all that it told was taken; None before there is one.
        self.taken: Stand | None = None
        #: Called when `taken` is another one, also where there was no event. Set it to your own.
        self.on_taken: Callable[[], None] = lambda: None
        self._taker: Deferred[None] | None = None
        self._room: Deferred[None] | None = None
        self._looking: Deferred[None] | None = None
        self._error: BenderError | None = None
        self._tasks: list[Deferred[None]] = []
        self._closed = False
        self._stream: SseStream | None = None
        #: Called where no node can be followed, with each and why not, once until one can again. Set it to your own.
        self.on_away: Callable[[dict[str, str]], None] = lambda _problems: None
        #: Called for each event that cannot be read, with the node that sent it, the id that it is about (empty if that
        #: is not known) and what is wrong. Set it to your own.
        self.on_unreadable: Callable[[str, str, str], None] = lambda _node, _id, _problem: None
        self._away = False
        #: The node that is followed, or was last; None before there was one.
        self.node: str | None = None
        # Where that node stands.
        self._cursor: str | None = None
        self._synced = False
        # Of other nodes, where they stood at which times, oldest first.
        self._standbys: dict[str, deque[tuple[float, str]]] = {}

    # For whoever watches.

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
        """Watch no more. A loop that waits for the next event ends."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._wake()

    def _make_room(self) -> None:
        """All was taken: go on reading."""
        if self._stream is not None:
            self._stream.resume()
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def _tell(self, event: Event) -> None:
        self._told += 1
        self._waiting.append(event)
        if len(self._waiting) > WAITING_MAX and self._stream is not None:
            self._stream.pause()
        self._wake()

    def _note_taken(self) -> None:
        """The events that were told and do not wait any more are taken."""
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
        """Follow the first node that lets itself be followed, to its end; whether one of them said anything."""
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
        """The node followed last, for it may have been the connection alone; then those where it is known where to."""
        in_turn = self._client.nodes.in_turn()
        known = sorted(in_turn, key=lambda node: node not in self._standbys)
        if self._cursor is not None and self.node in known:
            known.remove(self.node)
            known.insert(0, self.node)
        return known

    async def _follow(self, node: str) -> bool:
        """Be told by a node until that ends; whether it said anything. Raises `NoAnswer` where it does not begin."""
        while True:
            heard = await self._follow_once(node)
            if heard is not None:
                return heard
            if node not in self._standbys:
                raise NoAnswer("no longer knows the position to continue from")

    async def _follow_once(self, node: str) -> bool | None:
        """The same; None where the node was restarted, and it is better to ask again, or another one."""
        goes_on = node == self.node and self._cursor is not None
        stood_at, since = (0.0, self._cursor) if goes_on else self._stood(node)
        merging = _Merging(goes_on, stood_at) if self._history.shown or self._synced else None
        stream = SseStream(
            self._clock,
            lambda said, change: self._heard(said, change, node, merging),
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
        await in_time(self._clock, stream.ended, BEGINNING_S_MAX)
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            raise NoAnswer(
                "has no room for another watcher" if status == HTTPStatus.TOO_MANY_REQUESTS else "is not ready"
            )
        refusal = refusal_of(Reply(node, status, stream.unread))
        if refusal is None or status != HTTPStatus.BAD_REQUEST:
            raise NoAnswer(f"answers with status {status}")
        raise refusal

    # What a node says.

    def _heard(self, said: SseEvent, change: Change | None, node: str, merging: _Merging | None) -> None:
        if said.event == "reset":
            if merging is not None:
                self._begin_anew(merging, node)
            return
        if merging is not None and not merging.done:
            if not merging.take(said, change):
                return
            self._merge(merging, node)
        elif change is not None:
            self._change(change, node)
        self._away = False
        if not said.snapshot:  # to go on after half a snapshot is not possible
            self._cursor = said.cursor
        if said.event == "synced" and not self._synced:
            self._synced = True
            self._tell(Event("synced", "", "", "snapshot", self._wall_ms(), {}, node))
        if not said.snapshot:
            self._stand(Stand(node, said.cursor))

    def _stand(self, stand: Stand) -> None:
        """All that the node has told up to here is told."""
        if self._stands and self._stands[-1][0] == self._told:
            self._stands.pop()
        self._stands.append((self._told, stand))
        self._note_taken()

    def _begin_anew(self, merging: _Merging, node: str) -> None:
        """The node does not know where it stood: it was restarted since. So it is asked again from where it stood last.

        If that was before, too, there may be another node that knows, and tells what was missed.
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
            self._tell(Event(change.event, change.kind, change.id, change.reason, change.at_ms, body, node, previous))

    # Where to go on at other nodes.

    async def _stand_by(self) -> None:
        with suppress(CancelledError):
            for look in count():
                standing = False
                try:
                    standing = await self._look(learning=look % LEARNED_EACH == 0)
                except CancelledError:
                    raise
                except Exception:
                    self._log.failure("Asking other nodes for their position failed; retrying.")
                self._looking = deferLater(self._clock, STANDBY_APART_S if standing else SOONER_S)
                with suppress(CancelledError):
                    await self._looking
                if self._closed:
                    return

    def _look_around(self) -> None:
        """Another node is followed: see at once where the others stand, for that one may be gone as soon."""
        if self._looking is not None:
            self._looking.cancel()

    async def _look(self, *, learning: bool) -> bool:
        """Ask some other nodes where they stand; whether one of them said so."""
        if learning:
            await self._client.learn()
        known = self._client.nodes.in_turn()
        self._standbys = {node: stood for node, stood in self._standbys.items() if node in known}
        others = [node for node in known if node != self.node]
        standing = 0
        for node in others:
            if standing < STANDBYS_MAX:
                standing += await self._note_standby(node)
        if standing:
            await self._check_followed()
        return standing > 0

    async def _check_followed(self) -> None:
        """Follow another node where this one does not answer any more, as if it stood still, though it is connected.

        Such a node would be waited for until it has said nothing for so long that it cannot be there.
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
        """Whether it answered; where it does not, it will not know of before either."""
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
        """When a node stood where, as long ago as is known, if all that was told here since is remembered."""
        stood = self._standbys.get(node, ())
        return next(((at, cursor) for at, cursor in stood if self._history.covers(at)), (0.0, None))


class _Merging:
    """What a node says until it has said all that there is: what was missed, and what is there now.

    `exact` says that it goes on where the watcher stands, so there is nothing to compare; otherwise it goes on where it
    stood itself at the watcher's time `since`.
    """

    def __init__(self, exact: bool, since: float) -> None:
        self.exact = exact
        self.since = since
        self.done = False
        #: Whether another node may have more to tell.
        self.useless = False
        self.missed: list[Change] = []
        self.present: list[Change] = []

    def take(self, said: SseEvent, change: Change | None) -> bool:
        """Whether that was all."""
        if change is not None:
            (self.present if said.snapshot else self.missed).append(change)
            if len(self.present) + len(self.missed) > LISTED_MAX:
                raise NoAnswer("lists more objects than a node can have")
        self.done = said.event == "synced"
        return self.done
