"""The state of the view, which keys change: the table, its filter and order, the selected row, and the pause.

A selected row is identified by its key, and stays selected when rows move. Without a selection, the row at the top is
the current row, so that the newest events stay in view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from bender.cli.top.live_registry import AppVersion, ListedInstance, ListedSetting, SeenEvent
from bender.cli.top.views import APPS, BACKENDS, EVENTS, EVERYTHING, INSTANCES, NODES, VIEWS, Scope, TopState, TopView

#: The view that each of these keys shows.
VIEW_KEYS: Mapping[str, str] = {"a": APPS, "i": INSTANCES, "b": BACKENDS, "n": NODES, "e": EVENTS}

#: The longest filter.
FILTER_CHARACTERS_MAX = 100

_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1}
_PAGES = {"page-up": -1, "page-down": 1}
_ENDS = {"home": 0, "g": 0, "end": -1, "G": -1}
_BACK = ("escape", "backspace", "left", "h")


@frozen
class Place:
    """A table, the app and version to which it is limited, and the instance that is explained instead of it, if any."""

    view: str = APPS
    scope: Scope = EVERYTHING
    explained: str | None = None


@frozen
class Order:
    """The index of the column by which a view is sorted, and whether the order is reversed."""

    column: int = 0
    backwards: bool = False


@frozen
class _BackEntry:
    """A place to go back to, with its filter and selection."""

    place: Place
    filter: str
    selected: str | None
    line: int
    index: int


@define
class TopControls:
    """The state that keys have set. `press` handles a key."""

    place: Place = field(factory=Place)
    #: The app and version of the command line: no view shows others.
    scope: Scope = EVERYTHING
    filter: str = ""
    #: Whether keys are characters of the filter.
    is_typing: bool = False
    is_help: bool = False
    is_paused: bool = False
    is_quit_requested: bool = False
    #: Whether the whole screen must be drawn again, for example because another program has written to it.
    is_redraw_requested: bool = False
    #: The key of the selected row; None for the row at the top.
    selected: str | None = None
    #: The line of the selected row on the screen, and its last known index.
    line: int = 0
    index: int = 0
    _back_stack: list[_BackEntry] = field(factory=list)
    _orders: dict[str, Order] = field(factory=dict)

    @property
    def view(self) -> TopView[Any]:
        return VIEWS[self.place.view]

    @property
    def order(self) -> Order:
        return self._orders.get(self.place.view, Order())

    @property
    def filter_words(self) -> list[str]:
        """The words of the filter, in lower case. A row must have all of them."""
        return self.filter.lower().split()

    def rows(self, shown: TopState) -> list[Any]:
        """Return the rows of the present table."""
        order = self.order
        return self.view.sorted_rows(
            shown, self.place.scope, self.filter_words, order.column, backwards=order.backwards
        )

    def find(self, rows: Sequence[Any], height: int) -> int:
        """Find the selected row, and return the index of the first row on a screen with room for `height` rows."""
        if self.selected is not None:
            key = self.view.key
            found = next((at for at, row in enumerate(rows) if key(row) == self.selected), None)
            self.index = self.index if found is None else found
            if found is None and rows:  # the row is gone: select the row in its place
                self.selected = key(rows[min(self.index, len(rows) - 1)])
        self.index = max(0, min(self.index, len(rows) - 1))
        self.line = max(0, min(self.line, height - 1, self.index))
        return max(0, min(self.index - self.line, len(rows) - height))

    def press(self, key: str, rows: Sequence[Any], height: int) -> None:
        """Handle a key, with the rows of the present table and the number of rows that fit on the screen."""
        was_help, self.is_help = self.is_help, False
        if was_help and key not in (*VIEW_KEYS, "q", "ctrl-l"):
            return
        if self.is_typing:
            self._type(key)
        elif key in _STEPS or key in _PAGES or key in _ENDS:
            if self.place.explained is None:
                self._move(key, rows, height)
            else:
                self._scroll(key, len(rows), height)
        elif key in VIEW_KEYS:
            self._go(Place(VIEW_KEYS[key], self.scope))
            self._back_stack.clear()
        elif key in ("enter", "right", "l"):
            self._open(rows)
        elif key in _BACK:
            self._go_back()
        elif key in ("s", "S", "r") and self.place.explained is None:
            self._sort(key)
        else:
            self._switch(key)

    def _switch(self, key: str) -> None:
        if key == "q":
            self.is_quit_requested = True
        elif key == "?":
            self.is_help = True
        elif key in ("p", " "):
            self.is_paused = not self.is_paused
        elif key == "ctrl-l":
            self.is_redraw_requested = True
        elif key == "/" and self.place.explained is None:
            self.is_typing = True

    def _type(self, key: str) -> None:
        if key in ("enter", "escape"):
            self.is_typing = False
            self.filter = self.filter if key == "enter" else ""
        elif key == "backspace":
            self.is_typing = bool(self.filter)
            self.filter = self.filter[:-1]
        elif key == "ctrl-u":
            self.filter = ""
        elif len(key) == 1 and len(self.filter) < FILTER_CHARACTERS_MAX:
            self.filter += key
        self._select_first()

    def _sort(self, key: str) -> None:
        order, columns = self.order, len(self.view.fields)
        if key == "r":
            self._orders[self.place.view] = evolve(order, backwards=not order.backwards)
        else:
            step = 1 if key == "s" else -1
            self._orders[self.place.view] = Order((order.column + step) % columns)
        self._select_first()

    def _move(self, key: str, rows: Sequence[Any], height: int) -> None:
        self.find(rows, height)
        last = max(0, len(rows) - 1)
        if key in _STEPS:
            step = _STEPS[key]
            self.line += step if 0 <= self.index + step <= last else 0
            self.index += step
        elif key in _PAGES:
            self.index += _PAGES[key] * max(1, height - 1)
        else:
            self.index = last if _ENDS[key] else 0
            self.line = height - 1 if _ENDS[key] else 0
        self.index = max(0, min(self.index, last))
        self.line = max(0, min(self.line, height - 1))
        self.selected = self.view.key(rows[self.index]) if rows and self.index else None

    def _scroll(self, key: str, lines: int, height: int) -> None:
        """Scroll a text: `index` is its first line on the screen."""
        last = max(0, lines - height)
        steps = _STEPS.get(key, 0) + _PAGES.get(key, 0) * max(1, height - 1)
        to = self.index + steps if key not in _ENDS else last if _ENDS[key] else 0
        self.index = max(0, min(to, last))

    def _open(self, rows: Sequence[Any]) -> None:
        """Show the instances of the selected app or backend, or explain the selected instance."""
        if not rows or self.place.explained is not None:
            return
        place = self._inside(rows[min(self.index if self.selected is not None else 0, len(rows) - 1)])
        if place is not None:
            self._back_stack.append(_BackEntry(self.place, self.filter, self.selected, self.line, self.index))
            self.filter = ""
            self._go(place)

    def _inside(self, row: object) -> Place | None:
        if isinstance(row, AppVersion):
            return Place(INSTANCES, Scope(row.app, row.version))
        if isinstance(row, ListedSetting):
            canary = row.settings.get("canary") is not None
            return Place(INSTANCES, Scope(row.settings["app"], None if canary else row.settings["version"]))
        if isinstance(row, ListedInstance):
            return evolve(self.place, explained=row.id)
        if isinstance(row, SeenEvent) and row.event.kind == "registration":
            return evolve(self.place, explained=row.event.id)
        return None

    def _go_back(self) -> None:
        if self.filter and self.place.explained is None:
            self.filter = ""
            self._select_first()
        elif self._back_stack:
            left = self._back_stack.pop()
            self.place, self.filter = left.place, left.filter
            self.selected, self.line, self.index = left.selected, left.line, left.index

    def _go(self, place: Place) -> None:
        self.place = place
        self._select_first()

    def _select_first(self) -> None:
        self.selected, self.line, self.index = None, 0, 0
