"""The tables of `bender top`: the rows of each view, and the text and order of their columns.

A column has a `rank`: on a narrow screen, columns with the highest ranks are left out first. The texts of cells come
unchanged from the registry; `fitting` escapes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from attrs import frozen

from bender.cli.output import COLOURS, time_text
from bender.cli.styled_text import Styled, styled
from bender.cli.top.fitting import age
from bender.cli.top.link import NodeLink
from bender.cli.top.live_registry import (
    AppVersion,
    ListedInstance,
    ListedSetting,
    LiveRegistry,
    SeenChange,
    SeenEvent,
)
from bender.client.responses import NodeStatus

#: The widths of columns for changes such as `deregistered 59 min ago`, and for ages.
CHANGE_WIDTH = 23
AGE_WIDTH = 6

_Row = TypeVar("_Row")


@frozen
class Moment:
    """The time of a picture, by the steady clock (`now`) and by the wall clock, in milliseconds since the epoch."""

    now: float
    wall_ms: int


@frozen
class TopState:
    """The state that a picture shows: the registry, the connection to the node that lists it, and the time."""

    registry: LiveRegistry
    link: NodeLink
    moment: Moment


@frozen
class Scope:
    """The app and version to which a view is limited; None means all."""

    app: str | None = None
    version: str | None = None

    def admits(self, app: str, version: str) -> bool:
        return self.app in (None, app) and self.version in (None, version)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.app, self.version)))


EVERYTHING = Scope()


@frozen
class Field(Generic[_Row]):
    """A column: its name, the text of its cells and the key by which they are sorted."""

    name: str
    text: Callable[[TopState, _Row], str]
    sort_key: Callable[[TopState, _Row], Any]
    rank: int = 0
    #: Whether the largest value comes first.
    is_descending: bool = False
    #: Whether cells are aligned to the right, as numbers are.
    is_right_aligned: bool = False
    width_max: int = 40
    #: The smallest width, which keeps columns in their places when ages grow.
    width_min: int = 0
    #: Returns the style of a cell with this text.
    styles: Callable[[str], str] = lambda _text: ""

    def styled(self, shown: TopState, row: _Row) -> Styled:
        """Return the cell of a row."""
        text = self.text(shown, row)
        return styled(text, self.styles(text))


@frozen
class TopView(Generic[_Row]):
    """A table: its columns and rows, and for each row a unique key, the text that a filter searches, and the change."""

    name: str
    fields: Sequence[Field[_Row]]
    rows: Callable[[TopState, Scope], Iterable[_Row]]
    key: Callable[[_Row], str]
    searched_text: Callable[[TopState, _Row], str]
    change: Callable[[_Row], SeenChange | None]

    def sorted_rows(
        self, shown: TopState, scope: Scope, words: Sequence[str], sort: int, *, backwards: bool
    ) -> list[_Row]:
        """Return the rows that have all words, sorted by a column, and by their keys if its values are equal."""
        rows = list(self.rows(shown, scope))
        if words:
            rows = [row for row in rows if all(word in self.searched_text(shown, row) for word in words)]
        by = self.fields[sort]
        if self.name != EVENTS:  # events are in order already
            rows.sort(key=self.key)
        rows.sort(key=lambda row: by.sort_key(shown, row), reverse=by.is_descending != backwards)
        return rows


APPS, INSTANCES, BACKENDS, NODES, EVENTS = "apps", "instances", "backends", "nodes", "events"

#: The name of the column with the last change that this program has received.
LAST_CHANGE = "LAST CHANGE"


def _colour(text: str) -> str:
    return COLOURS.get(text, "")


def _text(name: str, text: Callable[[Any], str], rank: int = 0, **more: Any) -> Field[Any]:
    """Return a column of texts, sorted by them."""
    return Field(name, lambda _shown, row: text(row), lambda _shown, row: text(row), rank, **more)


def _number(name: str, number: Callable[[Any], float], rank: int = 0) -> Field[Any]:
    """Return a column of whole numbers. Zeros are left out, so that other numbers are easy to find."""
    return Field(
        name,
        lambda _shown, row: f"{number(row):,.0f}" if number(row) else "",
        lambda _shown, row: number(row),
        rank,
        is_descending=True,
        is_right_aligned=True,
    )


def _change(rank: int = 1) -> Field[Any]:
    """Return the column of the last change. The latest change comes first."""

    def text(shown: TopState, row: Any) -> str:
        change = row.change
        return "" if change is None else f"{change.reason} {age(shown.moment.now - change.at)} ago"

    return Field(
        LAST_CHANGE,
        text,
        lambda _shown, row: row.change.at if row.change is not None else -1.0,
        rank,
        is_descending=True,
        width_min=CHANGE_WIDTH,
    )


def _since(shown: TopState, at_ms: int) -> str:
    return age((shown.moment.wall_ms - at_ms) / 1000)


def _changed(row: Any) -> SeenChange | None:
    change: SeenChange | None = row.change
    return change


def _apps(shown: TopState, scope: Scope) -> Iterable[AppVersion]:
    return [each for each in shown.registry.versions.values() if scope.admits(each.app, each.version)]


def _backends_of(shown: TopState, row: AppVersion) -> str:
    return ", ".join(shown.registry.served_by(row))


_APPS: TopView[AppVersion] = TopView(
    APPS,
    (
        _text("APP", lambda row: row.app),
        _text("VERSION", lambda row: row.version, width_max=24),
        _number("LISTED", lambda row: row.listed),
        _number("UP", lambda row: row.up),
        _number("DRAIN", lambda row: row.drain, 2),
        _number("MAINT", lambda row: row.maint, 2),
        _number("SUSPECT", lambda row: row.suspect, 3),
        _number("WEIGHT", lambda row: row.weight, 4),
        Field("BACKENDS", _backends_of, _backends_of, 2, width_max=60),
        _change(),
    ),
    _apps,
    lambda row: f"{row.app}/{row.version}",
    lambda shown, row: f"{row.app}/{row.version} {_backends_of(shown, row)}".lower(),
    _changed,
)


def _instances(shown: TopState, scope: Scope) -> Iterable[ListedInstance]:
    found = shown.registry.instances.values()
    if scope == EVERYTHING:
        return found
    return [row for row in found if scope.admits(row.registration.app, row.registration.version)]


_INSTANCES: TopView[ListedInstance] = TopView(
    INSTANCES,
    (
        _text("APP", lambda row: row.registration.app),
        _text("VERSION", lambda row: row.registration.version, width_max=24),
        _text("HOST", lambda row: row.registration.host),
        Field(
            "PORT",
            lambda _shown, row: str(row.registration.port),
            lambda _shown, row: row.registration.port,
            is_right_aligned=True,
        ),
        _text("STATE", lambda row: row.state, styles=_colour),
        Field(
            "WEIGHT",
            lambda _shown, row: str(row.registration.weight),
            lambda _shown, row: row.registration.weight,
            3,
            is_descending=True,
            is_right_aligned=True,
        ),
        Field(
            "TTL",
            lambda _shown, row: f"{row.registration.ttl_s:g}",
            lambda _shown, row: row.registration.ttl_s,
            5,
            is_descending=True,
            is_right_aligned=True,
        ),
        Field(
            "SINCE",
            lambda shown, row: _since(shown, row.registration.registered_ms),
            lambda _shown, row: row.registration.registered_ms,
            3,
            width_min=AGE_WIDTH,
            is_descending=True,
            is_right_aligned=True,
        ),
        _text("NODE", lambda row: row.registration.node, 4, width_max=16),
        _change(),
        _text("META", lambda row: row.meta, 6, width_max=80),
    ),
    _instances,
    lambda row: row.id,
    lambda _shown, row: row.searched_text,
    _changed,
)


def _canary(row: ListedSetting) -> str:
    canary = row.settings.get("canary")
    if not isinstance(canary, dict):
        return ""
    return f"{canary.get('version', '')} {canary.get('percent', '')} %"


def _frontends_of(shown: TopState, row: ListedSetting) -> str:
    found = shown.registry.frontends.values()
    return ", ".join(each.name for each in found if not each.is_gone and each.settings.get("backend") == row.name)


def _backends(shown: TopState, scope: Scope) -> Iterable[ListedSetting]:
    found = shown.registry.backends.values()
    return [row for row in found if scope.app in (None, row.settings["app"])]


_BACKENDS: TopView[ListedSetting] = TopView(
    BACKENDS,
    (
        _text("NAME", lambda row: row.name),
        _text("APP", lambda row: row.settings["app"]),
        _text("VERSION", lambda row: row.settings["version"], width_max=24),
        Field(
            "MEMBERS",
            lambda shown, row: f"{shown.registry.members(row):,}",
            lambda shown, row: shown.registry.members(row),
            is_descending=True,
            is_right_aligned=True,
            styles=lambda text: "red" if text == "0" else "",
        ),
        _text("CANARY", _canary, 2, width_max=24),
        Field("FRONTENDS", _frontends_of, _frontends_of, 3, width_max=60),
        _change(),
    ),
    _backends,
    lambda row: row.name,
    lambda shown, row: (
        f"{row.name} {row.settings['app']}/{row.settings['version']} {_frontends_of(shown, row)}".lower()
    ),
    _changed,
)


@frozen
class NodeRow:
    """A node, as the followed node and the node itself describe it. `lag_s` and `status` are None if unknown."""

    name: str
    api: str
    state: str
    lag_s: float | None = None
    status: NodeStatus | None = None


def _nodes(shown: TopState, _scope: Scope) -> Iterable[NodeRow]:
    """Yield the followed node, the other nodes that it knows, and configured nodes that it does not know."""
    link = shown.link
    own = link.status
    if own is not None:
        state = "unreachable" if link.is_stale else "ready" if own.ready else "not ready"
        yield NodeRow(own.node, link.address or "", state, None, own)
    shown_apis = {link.address}
    for peer in own.peers if own is not None else ():
        other = link.others.get(peer.api or "")
        status = other if isinstance(other, NodeStatus) else None
        state = "unreachable" if isinstance(other, str) else peer.state
        if status is not None and not status.ready:
            state = "not ready"
        elif status is not None and state != "silent":
            state = "ready"
        shown_apis.add(peer.api)
        yield NodeRow(peer.node, peer.api or "", state, peer.lag, status)
    known = set() if own is None else {own.node, *(peer.node for peer in own.peers)}
    for address in dict.fromkeys([*link.configured_nodes, *link.others]):
        if address in shown_apis:
            continue
        found = link.others.get(address)
        if isinstance(found, NodeStatus) and found.node not in known:
            yield NodeRow(found.node, address, "ready" if found.ready else "not ready", None, found)
        elif isinstance(found, str) or own is None:
            yield NodeRow("", address, "unreachable" if found is not None or link.is_stale else "")


def _of_status(name: str, text: Callable[[NodeStatus], str], rank: int, *, numeric: bool = False) -> Field[NodeRow]:
    def shown_text(_shown: TopState, row: NodeRow) -> str:
        return "" if row.status is None else text(row.status)

    def sort_key(_shown: TopState, row: NodeRow) -> Any:
        found = shown_text(_shown, row)
        return (float(found.replace(",", "")) if found else -1.0) if numeric else found

    return Field(name, shown_text, sort_key, rank, is_descending=numeric, is_right_aligned=numeric)


_NODES: TopView[NodeRow] = TopView(
    NODES,
    (
        _text("NODE", lambda row: row.name),
        _text("API", lambda row: row.api, 1),
        _text("STATE", lambda row: row.state, styles=_colour),
        Field(
            "LAG",
            lambda _shown, row: "" if row.lag_s is None else f"{row.lag_s:.1f} s",
            lambda _shown, row: -1.0 if row.lag_s is None else row.lag_s,
            is_descending=True,
            is_right_aligned=True,
        ),
        _of_status("DIGEST", lambda status: status.digest[:8], 2),
        _of_status("LISTED", lambda status: f"{status.counts.registrations:,}", 2, numeric=True),
        _of_status("CLAIMS", lambda status: f"{status.counts.claims:,}", 4, numeric=True),
        Field(
            "UP FOR",
            lambda _shown, row: "" if row.status is None else age(row.status.uptime_s),
            lambda _shown, row: -1.0 if row.status is None else row.status.uptime_s,
            3,
            width_min=AGE_WIDTH,
            is_descending=True,
            is_right_aligned=True,
        ),
        _of_status("VERSION", lambda status: status.version, 5),
    ),
    _nodes,
    lambda row: f"{row.name} {row.api}",  # two nodes may have the same name by mistake
    lambda _shown, row: f"{row.name} {row.api} {row.state}".lower(),
    lambda _row: None,
)


def _events(shown: TopState, _scope: Scope) -> Iterable[SeenEvent]:
    return reversed(shown.registry.events)


_EVENTS: TopView[SeenEvent] = TopView(
    EVENTS,
    (
        Field(
            "TIME", lambda _shown, row: time_text(row.event.at_ms), lambda _shown, row: row.number, is_descending=True
        ),
        _text("EVENT", lambda row: row.event.event, styles=_colour),
        _text("ID", lambda row: row.event.id, width_max=80),
        _text("REASON", lambda row: row.event.reason),
        Field(
            "SEEN",
            lambda shown, row: f"{age(shown.moment.now - row.at)} ago",
            lambda _shown, row: row.number,
            2,
            is_descending=True,
            width_min=AGE_WIDTH + len(" ago"),
        ),
        _text("AT NODE", lambda row: row.event.node, 3),
    ),
    _events,
    lambda row: str(row.number),
    lambda _shown, row: f"{row.event.event} {row.event.id} {row.event.reason} {row.event.node}".lower(),
    lambda row: SeenChange(row.event.event, row.event.reason, row.at),
)

VIEWS: dict[str, TopView[Any]] = {view.name: view for view in (_APPS, _INSTANCES, _BACKENDS, _NODES, _EVENTS)}
