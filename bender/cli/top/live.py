"""Follow the registry and draw it until a key or a signal ends the program.

Events and answers of nodes change the state and schedule a picture. Keys change the view and schedule a picture sooner.
Rows are listed and sorted again only after such a change, so that an idle screen only has to update its ages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from bender.cli.explanation import explanation_lines
from bender.cli.styled_text import Styled, styled
from bender.cli.top.controls import Place, TopControls
from bender.cli.top.frame import Size, frame, wrapped
from bender.cli.top.link import NodeLink
from bender.cli.top.live_registry import LiveRegistry
from bender.cli.top.views import INSTANCES, NODES, Moment, Scope, TopState
from bender.client import BenderError, Client
from bender.client.paths import explain_path
from bender.client.responses import Explanation, NodeStatus, api_addresses, reader
from bender.client.watch import Watch
from bender.net.addresses import NoAnswer
from bender.net.reactor import Reactor

#: The smallest number of seconds between two pictures: after a change of the state, and after a key.
CHANGE_INTERVAL_S = 0.25
KEY_INTERVAL_S = 0.04

#: Time limit for the status of a node.
STATUS_S_MAX = 1.5


class Screen(Protocol):
    """The screen on which pictures are drawn: see `ScreenTerminal`."""

    @property
    def size(self) -> Size: ...
    def start(
        self, on_key: Callable[[str], None], on_size: Callable[[], None], on_lost: Callable[[], None]
    ) -> None: ...
    def stop(self) -> None: ...
    def clear(self) -> None: ...
    def draw(self, lines: Sequence[str]) -> None: ...


class LiveTop:
    """Show the registry live on a screen.

    `styles` are the styles that the terminal can show. Every `interval_s` seconds, nodes are asked for their status and
    ages are updated.
    """

    def __init__(
        self,
        reactor: Reactor,
        client: Client,
        scope: Scope,
        *,
        screen: Screen,
        interval_s: float,
        styles: frozenset[str],
        wall_ms: Callable[[], int],
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._scope = scope
        self._screen = screen
        self._interval_s = interval_s
        self._styles = styles
        self._wall_ms = wall_ms
        client.on_problem = lambda _node, _problem: None  # the header shows the important problems
        self._registry = LiveRegistry()
        self._link = NodeLink(configured_nodes=tuple(client.nodes.in_turn()))
        place = Place() if scope.app is None else Place(INSTANCES, scope)
        self._controls = TopControls(place=place, scope=scope)
        self._watch: Watch = client.watch(scope.app, scope.version)
        self._watch.on_away = self._note_away
        self._watch.on_taken = self._note_taken
        self._ended: Deferred[None] = Deferred()
        self._pausing: Deferred[None] | None = None
        self._scheduled: IDelayedCall | None = None
        self._drawn_at = float("-inf")
        self._paused: TopState | None = None
        self._explanation: list[Styled] = []
        # The number of changes of the state, to notice that the rows are no longer current.
        self._revision = 0
        self._rows: list[Any] = []
        self._rows_basis: object = None

    async def run(self) -> None:
        """Show the registry until a key ends the program. Raises `Refused` if the selection is invalid."""
        self._screen.start(self.press, self.resized, self.end)
        tasks = [Deferred.fromCoroutine(self._follow()), Deferred.fromCoroutine(self._poll())]
        try:
            for task in tasks:
                task.addErrback(self._fail)
            await self._ended
        finally:
            for task in tasks:
                task.cancel()
            if self._scheduled is not None and self._scheduled.active():
                self._scheduled.cancel()
            self._screen.stop()
            await self._watch.aclose()

    def _fail(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None and not self._ended.called:
            self._ended.errback(failure)

    def end(self) -> None:
        if not self._ended.called:
            self._ended.callback(None)

    # The state.

    async def _follow(self) -> None:
        async for event in self._watch:
            self._registry.apply(event, self._reactor.seconds())
            self._state_changed()

    def _note_taken(self) -> None:
        """Note that the followed node has sent something."""
        node, link = self._watch.node, self._link
        if link.is_stale or node != link.address:
            link.note_events_from(node, self._reactor.seconds())
            self._poll_now()
            self._state_changed()
        link.heard_at = self._reactor.seconds()

    def _note_away(self, problems: dict[str, str]) -> None:
        self._link.follow_problem = "; ".join(f"{node} {problem}" for node, problem in problems.items())
        self._state_changed()

    async def _poll(self) -> None:
        while True:
            if self._watch.node is not None:
                await self._ask_status(self._watch.node)
            if self._controls.place.view == NODES:
                await self._ask_others()
            if self._controls.place.explained is not None:
                await self._explain(self._controls.place.explained)
            self._state_changed()
            self._pausing = deferLater(self._reactor, self._interval_s)
            with suppress(CancelledError):
                await self._pausing
            self._pausing = None
            if self._ended.called:
                return

    def _poll_now(self) -> None:
        if self._pausing is not None:
            self._pausing.cancel()

    async def _status(self, node: str) -> NodeStatus | str:
        """Return the status of a node, or the reason why it does not answer."""
        try:
            return reader(NodeStatus)(await self._client.ask(node, "GET", "/status", within_s=STATUS_S_MAX))
        except NoAnswer as no_answer:
            return str(no_answer)

    async def _ask_status(self, node: str) -> None:
        found = await self._status(node)
        if node != self._watch.node or node != self._link.address:
            return
        if isinstance(found, NodeStatus):
            self._link.update_status(found, self._reactor.seconds())
        else:
            self._link.status_problem = f"{node} {found}"

    async def _ask_others(self) -> None:
        known = [] if self._link.status is None else api_addresses(self._link.status)
        asked = [node for node in dict.fromkeys([*self._link.configured_nodes, *known]) if node != self._link.address]
        asking = [Deferred.fromCoroutine(self._status(node)) for node in asked]
        try:
            self._link.others = {node: await each for node, each in zip(asked, asking, strict=True)}
        finally:
            for each in asking:
                each.addErrback(lambda failure: failure.trap(CancelledError))
                each.cancel()

    async def _explain(self, id_: str) -> None:
        try:
            explained, _ = await self._client.read(reader(Explanation), "GET", explain_path(id_))
        except BenderError as error:
            lines = [styled(f"{error}.")]
        else:
            lines = explanation_lines(explained)
        if id_ == self._controls.place.explained:
            self._explanation = lines

    # The picture.

    def press(self, key: str) -> None:
        """Handle a key."""
        maybeDeferred(self._press, key).addErrback(self._fail)

    def _press(self, key: str) -> None:
        controls = self._controls
        place, was_paused = controls.place, controls.is_paused
        controls.press(
            key, self._present_rows(self._table_state()), self._screen.size.rows + (place.explained is not None)
        )
        if controls.is_quit_requested:
            self.end()
            return
        if controls.is_paused != was_paused:
            now = self._live_state()
            frozen = TopState(self._registry.frozen(), evolve(self._link), now.moment)
            self._paused = frozen if controls.is_paused else None
            self._revision += 1
        if controls.place != place:
            self._explanation = [styled("asking…", "dim")]
            if controls.place.view == NODES or controls.place.explained is not None:
                self._poll_now()
        if controls.is_redraw_requested:
            controls.is_redraw_requested = False
            self._screen.clear()
        self._schedule(KEY_INTERVAL_S)

    def resized(self) -> None:
        """Draw the screen for its new size."""
        self._schedule(KEY_INTERVAL_S)

    def _state_changed(self) -> None:
        self._revision += 1
        self._schedule(CHANGE_INTERVAL_S)

    def _schedule(self, apart_s: float) -> None:
        """Schedule a picture, at least `apart_s` seconds after the last one."""
        now = self._reactor.seconds()
        at = max(now, self._drawn_at + apart_s)
        if self._scheduled is None or not self._scheduled.active():
            self._scheduled = self._reactor.callLater(at - now, self._draw)
        elif self._scheduled.getTime() > at:
            self._scheduled.reset(at - now)

    def _live_state(self) -> TopState:
        return TopState(self._registry, self._link, Moment(self._reactor.seconds(), self._wall_ms()))

    def _table_state(self) -> TopState:
        return self._paused or self._live_state()

    def _present_rows(self, table: TopState) -> Sequence[Any]:
        """Return the rows of the present table, or the lines of an explanation."""
        controls = self._controls
        if controls.place.explained is not None:
            return wrapped(self._explanation, self._screen.size.columns)
        revision = None if self._paused is not None else self._revision
        basis = (revision, table.registry is self._registry, controls.place, controls.filter, controls.order)
        if basis != self._rows_basis:
            self._rows_basis = basis
            self._rows = controls.rows(table)
        return self._rows

    def _draw(self) -> None:
        """Draw the screen. An unexpected error ends the program, and is printed after the terminal was restored."""
        maybeDeferred(self._draw_picture).addErrback(self._fail)

    def _draw_picture(self) -> None:
        self._drawn_at = self._reactor.seconds()
        if self._registry.forget(self._drawn_at):
            self._revision += 1
        table = self._table_state()
        lines = frame(self._live_state(), table, self._controls, self._screen.size, self._present_rows(table))
        self._screen.draw([line.for_terminal(self._styles) for line in lines])
