"""What clients see: which registrations and settings are shown, and the events that changes of it make.

The index holds every entry of every ledger by key; `shown` is what was last announced. An event is made when, and only
when, `shown` changes, so for one id `online` and `offline` alternate whatever happens below. Reasons are read off the
entries and not carried along, so that every node gives the same ones.

Whether a claim counts is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from attrs import frozen

from bender.core.ledger import Claim, Dot, End, Entry
from bender.core.messages import Setting

What = Literal["online", "offline", "changed", "created", "removed"]
Reason = Literal["registered", "expired", "deregistered", "node-lost", "restored", "configured"]


@frozen
class Event:
    """One change of what is shown. `body` is the object as clients get it; of what went, as it was last."""

    what: What
    key: str
    body: bytes
    reason: Reason


class Index:
    """Every entry of every ledger, by key."""

    def __init__(self) -> None:
        # Nearly all keys have one entry, which stands here itself: a tuple for each would cost 64 bytes more.
        self._entries: dict[str, Entry | tuple[Entry, ...]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self, key: str) -> tuple[Entry, ...]:
        found = self._entries.get(key, ())
        return found if isinstance(found, tuple) else (found,)

    def add(self, entry: Entry) -> None:
        present = self.entries(entry.key)
        self._entries[entry.key] = (*present, entry) if present else entry

    def discard(self, entry: Entry) -> None:
        left = tuple(other for other in self.entries(entry.key) if other is not entry)
        if len(left) > 1:
            self._entries[entry.key] = left
        elif left:
            self._entries[entry.key] = left[0]
        else:
            self._entries.pop(entry.key, None)


class View:
    """What is shown, and the events since they were last taken."""

    def __init__(self) -> None:
        # By the key without host and port, that is by app and version: this is what people list.
        self._groups: dict[str, dict[str, Claim]] = {}
        self._apps: dict[str, set[str]] = {}
        self._settings: dict[str, Setting] = {}
        # Roots of what was hidden as `node-lost`, to tell `restored` from `registered`.
        self._hidden: dict[str, Dot] = {}
        self._events: list[Event] = []
        #: How many registrations are shown.
        self.count = 0

    def take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def claim(self, key: str) -> Claim | None:
        """The claim that speaks for a registration that is shown."""
        group = self._groups.get(_group(key))
        return group.get(key) if group else None

    def hidden_root(self, key: str) -> Dot | None:
        """The root of a registration that is hidden as `node-lost`."""
        return self._hidden.get(key)

    def claims(self, app: str | None = None, version: str | None = None, *, in_order: bool = True) -> list[Claim]:
        """What is shown of an app, of a version, or all; in order of key, which costs most of the time it takes."""
        found = [claim for group in self._group_names(app, version) for claim in self._groups[group].values()]
        return sorted(found, key=lambda claim: claim.key) if in_order else found

    def shown(self) -> list[str]:
        """The keys of all registrations that are shown."""
        return [key for group in self._groups.values() for key in group]

    def known(self) -> list[str]:
        """The keys of all registrations that are shown, or hidden."""
        return [*self.shown(), *self._hidden]

    def setting(self, key: str) -> Setting | None:
        return self._settings.get(key)

    def settings(self, kind: str) -> list[Setting]:
        """The settings of a kind (`backend`, `frontend`) that are shown, in order of key."""
        return [self._settings[key] for key in sorted(self._settings) if key.startswith(kind + "/")]

    def show(self, key: str, winner: Claim | None, entries: Iterable[Entry], *, lost: bool = False) -> None:
        """Show `winner` for a key, or nothing.

        `entries` are the ends that are known of the key, and those of its claims that may still be renewed somewhere.
        `lost` says that there are none only because nobody could be asked.
        """
        old = self.claim(key)
        if winner is None:
            if old is not None:
                self._take_away(old, "node-lost" if lost else _reason_gone(old, entries))
            elif key in self._hidden and not lost and self._hidden[key] not in _roots(entries):
                del self._hidden[key]
            return
        if old is winner:
            return
        self._put(winner)
        hidden_root = self._hidden.pop(key, None)
        if old is None:
            reason: Reason = "restored" if hidden_root == winner.root else "registered"
            self._events.append(Event("online", key, winner.body, reason))
        elif old.body != winner.body:
            its_own = [entry for entry in entries if isinstance(entry, End) or entry.root == old.root]
            reason = "registered" if winner.rank > old.rank else _reason_gone(old, its_own)
            self._events.append(Event("changed", key, winner.body, reason))

    def configure(self, key: str, setting: Setting | None) -> None:
        """Show a setting, or none."""
        old = self._settings.get(key)
        if setting is None or setting.body is None:
            if old is not None and old.body is not None:
                del self._settings[key]
                self._events.append(Event("removed", key, old.body, "configured"))
            return
        self._settings[key] = setting
        if old is None:
            self._events.append(Event("created", key, setting.body, "configured"))
        elif old.body != setting.body:
            self._events.append(Event("changed", key, setting.body, "configured"))

    def _take_away(self, old: Claim, reason: Reason) -> None:
        name = _group(old.key)
        group = self._groups[name]
        del group[old.key]
        self.count -= 1
        if not group:
            del self._groups[name]
            groups = self._apps[_app(name)]
            groups.discard(name)
            if not groups:
                del self._apps[_app(name)]
        if reason == "node-lost":
            self._hidden[old.key] = old.root
        self._events.append(Event("offline", old.key, old.body, reason))

    def _put(self, claim: Claim) -> None:
        name = _group(claim.key)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = {}
            self._apps.setdefault(_app(name), set()).add(name)
        self.count += claim.key not in group
        group[claim.key] = claim

    def _group_names(self, app: str | None, version: str | None) -> Iterable[str]:
        names = self._groups if app is None else self._apps.get(app, ())
        return [name for name in names if version is None or name.endswith(f"/{version}")]


def _group(key: str) -> str:
    return key.rsplit("/", 2)[0]


def _app(group: str) -> str:
    return group.split("/", 2)[1]


def _roots(entries: Iterable[Entry]) -> set[Dot]:
    return {entry.root for entry in entries if isinstance(entry, Claim)}


def _reason_gone(old: Claim, entries: Iterable[Entry]) -> Reason:
    """Why `old` no longer speaks: somebody ended it, its nodes are not heard, or nobody renewed it."""
    known = [*entries]
    if any(isinstance(entry, End) and old.root in entry.roots for entry in known):
        return "deregistered"
    ended = {root for entry in known if isinstance(entry, End) for root in entry.roots}
    return "node-lost" if _roots(known) - ended else "expired"
