"""The registrations and settings that clients see, and an event for each of their changes.

An event is made only when the view changes, so for one id `online` and `offline` always alternate. Reasons are derived
from the entries and not sent with them, so every node reports the same reasons.

This module does not decide whether a claim counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Literal

import msgspec

from bender.core.address_conflicts import AddressIndex
from bender.core.admin_state import registration_of, state_in
from bender.core.ledger import Claim, Dot, End, Entry
from bender.core.messages import ConfigSetting
from bender.core.model import registration
from bender.core.name_lookup import NameLookup
from bender.core.reasons import CHECK_FAILED
from bender.core.registration_status import UP, USUAL, RegistrationStatus, State, status_of

Change = Literal["online", "offline", "changed", "created", "removed"]
Reason = Literal["registered", "expired", "deregistered", "check-failed", "node-lost", "restored", "configured"]


# A Struct, like claims: a node that starts makes 100,000 at once.
class ViewEvent(msgspec.Struct, frozen=True, gc=False):
    """One change of the view. `body` is the body of the claim or setting; after a removal, the last one it had.

    `status` is the status of the registration at that moment; `USUAL` for a setting.
    """

    change: Change
    key: str
    body: bytes
    reason: Reason
    status: RegistrationStatus = USUAL


Group = dict[str, Claim]

#: The keys of backends begin with this.
_BACKEND = "backend/"


def sorted_claims(group: Group) -> list[Claim]:
    """Return the claims of a group in order of key."""
    return sorted(group.values(), key=attrgetter("key"))


class _App:
    """The listed groups of an app by name, and the stamp of its last change."""

    __slots__ = ("groups", "stamp")

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.stamp = 0


class View:
    """The listed registrations and settings, and the events since `take_events` was last called."""

    def __init__(self) -> None:
        # By the key without host and port, because clients list registrations by app and version.
        self._groups: dict[str, Group] = {}
        self._apps: dict[str, _App] = {}
        self._settings: dict[str, ConfigSetting] = {}
        # The statuses other than `USUAL`. A registration that is not listed can have one: a state set by an operator.
        self._statuses: dict[str, RegistrationStatus] = {}
        # The roots of registrations that were hidden as `node-lost`, by key. They tell `restored` from `registered`.
        self._hidden: dict[str, Dot] = {}
        #: The events that `take_events` has not returned yet.
        self.events: list[ViewEvent] = []
        #: The keys of all listed registrations, by host and port.
        self.addresses = AddressIndex()
        #: The names of apps with listed registrations, and of backends.
        self.app_names = NameLookup(self._apps.__contains__)
        self.backend_names = NameLookup(self._is_backend)
        self._stamp = 0
        #: The number of listed registrations.
        self.count = 0

    def take_events(self) -> list[ViewEvent]:
        """Return the events since the last call."""
        events, self.events = self.events, []
        return events

    def claim(self, key: str) -> Claim | None:
        """Return the claim by which a registration is listed; None if it is not listed."""
        group = self._groups.get(_group(key))
        return group.get(key) if group else None

    def status(self, key: str) -> RegistrationStatus:
        """Return the status of a registration; `USUAL` if it is unknown."""
        return self._statuses.get(key, USUAL)

    def statuses(self) -> dict[str, RegistrationStatus]:
        """Return the statuses other than `USUAL`, by key, of registrations that are listed or not."""
        return self._statuses.copy()

    def all_up(self, app: str, version: str) -> bool:
        """Whether all listed members of a version are in state `up`."""
        groups = self.groups(app, version) if self._statuses else []
        return not any(self.status(key).state != UP for group in groups for key in group)

    def registration(self, claim: Claim) -> bytes:
        """Return a listed registration as clients see it now, as JSON."""
        return registration(claim.key, claim.body, self.status(claim.key))

    def hidden_root(self, key: str) -> Dot | None:
        """Return the root of a registration that is hidden as `node-lost`; None if it is not hidden."""
        return self._hidden.get(key)

    def groups(self, app: str | None = None, version: str | None = None) -> list[Group]:
        """Return the groups of an app, of a version, of both, or all of them, in the order of their keys."""
        if app is None:
            names = [*self._groups] if version is None else [n for n in self._groups if n.endswith(f"/{version}")]
        elif app in self._apps:
            names = [n for n in self._apps[app].groups if version is None or n.endswith(f"/{version}")]
        else:
            names = []
        # Compare names with the slash that follows in a key: "a-b/" sorts before "a/", although "a" sorts before "a-b".
        return [self._groups[name] for name in sorted(names, key=lambda name: f"{name}/")]

    def apps(self) -> list[str]:
        """Return the names of all apps that have listed registrations, in no particular order."""
        return [*self._apps]

    @property
    def hidden_count(self) -> int:
        """The number of registrations that are hidden as `node-lost`."""
        return len(self._hidden)

    def member_keys(self, app: str) -> list[str]:
        """Return the keys of all listed registrations of an app."""
        return [key for group in self.groups(app) for key in group]

    def count_of(self, app: str | None = None, version: str | None = None) -> int:
        """Return the number of listed registrations of an app, of a version, of both, or in total."""
        if app is None and version is None:
            return self.count
        return sum(len(group) for group in self.groups(app, version))

    def stamp(self, app: str | None = None) -> int:
        """Return a number that differs after each change of the listed registrations of an app, or of all apps.

        It is 0 for an app that has none.
        """
        if app is None:
            return self._stamp
        return self._apps[app].stamp if app in self._apps else 0

    def listed_keys(self) -> list[str]:
        """Return the keys of all listed registrations."""
        return [key for group in self._groups.values() for key in group]

    def known_keys(self) -> list[str]:
        """Return the keys of all registrations that are listed, or hidden as `node-lost`."""
        return [*self.listed_keys(), *self._hidden]

    def setting(self, key: str) -> ConfigSetting | None:
        return self._settings.get(key)

    def _is_backend(self, name: str) -> bool:
        return _BACKEND + name in self._settings

    def settings(self, kind: str) -> list[ConfigSetting]:
        """Return the listed settings of a kind (`backend`, `frontend`) in order of key."""
        return [self._settings[key] for key in sorted(self._settings) if key.startswith(kind + "/")]

    def show(
        self, key: str, winner: Claim | None, entries: Iterable[Entry], *, lost: bool = False, suspect: bool = False
    ) -> None:
        """List `winner` for a key, or stop listing the key if it is None.

        `entries` are the known ends of the key, and its claims that may still be renewed; they decide the reason of the
        event. If `lost`, no node that could know the key was heard, and it is hidden as `node-lost`. If `suspect`, the
        winner was listed before and stays listed, although it does not count.
        """
        old = self.claim(key)
        if winner is None:
            if old is not None:
                self._unlist(old, "node-lost" if lost else _reason_gone(old, entries))
                self._set_status(key, self.status(key).state, suspect=False)
            elif key in self._hidden and not lost and self._hidden[key] not in _roots(entries):
                del self._hidden[key]
            return
        if old is winner and suspect == self.status(key).suspect:
            return
        self._list_claim(winner, old)
        turned = self._set_status(key, self.status(key).state, suspect=suspect)
        hidden_root = self._hidden.pop(key, None)
        if old is None:
            reason: Reason = "restored" if hidden_root == winner.root else "registered"
            self._announce("online", key, winner.body, reason)
        elif old.body != winner.body:
            same = [entry for entry in entries if isinstance(entry, End) or entry.rank == old.rank]
            reason = "registered" if winner.rank > old.rank else _reason_gone(old, same)
            self._announce("changed", key, winner.body, reason)
        elif turned:
            self._announce("changed", key, winner.body, "node-lost" if suspect else "restored")

    def configure(self, key: str, setting: ConfigSetting | None) -> None:
        """List a setting, or remove it if None. A registration's state becomes part of the registration's status."""
        of = registration_of(key)
        if of is not None:
            self._set_state(of, state_in(setting))
            return
        old = self._settings.get(key)
        if setting is None or setting.body is None:
            if old is not None and old.body is not None:
                del self._settings[key]
                if key.startswith(_BACKEND):
                    self.backend_names.discard(key.removeprefix(_BACKEND))
                self.events.append(ViewEvent("removed", key, old.body, "configured"))
            return
        self._settings[key] = setting
        if old is None:
            if key.startswith(_BACKEND):
                self.backend_names.add(key.removeprefix(_BACKEND))
            self.events.append(ViewEvent("created", key, setting.body, "configured"))
        elif old.body != setting.body:
            self.events.append(ViewEvent("changed", key, setting.body, "configured"))

    def _set_state(self, key: str, state: State) -> None:
        claim = self.claim(key)
        if self._set_status(key, state, suspect=self.status(key).suspect) and claim is not None:
            self._announce("changed", key, claim.body, "configured")

    def _set_status(self, key: str, state: State, *, suspect: bool) -> bool:
        """Set the status of a registration; return True if it changed."""
        before, status = self.status(key), status_of(state, suspect=suspect)
        if status is before:
            return False
        if status is USUAL:
            del self._statuses[key]
        else:
            self._statuses[key] = status
        if self.claim(key) is not None:
            self._note_change(self._apps[_app(_group(key))])
        return True

    def _announce(self, what: Change, key: str, body: bytes, reason: Reason) -> None:
        """Make an event for a registration."""
        self.events.append(ViewEvent(what, key, body, reason, self.status(key)))

    def _unlist(self, old: Claim, reason: Reason) -> None:
        name = _group(old.key)
        group, app = self._groups[name], self._apps[_app(name)]
        del group[old.key]
        self.addresses.discard(old.key, old.key[len(name) + 1 :])
        self._note_change(app)
        self.count -= 1
        if not group:
            del self._groups[name], app.groups[name]
            if not app.groups:
                del self._apps[_app(name)]
                self.app_names.discard(_app(name))
        if reason == "node-lost":
            self._hidden[old.key] = old.root
        self._announce("offline", old.key, old.body, reason)

    def _list_claim(self, claim: Claim, old: Claim | None) -> None:
        name = _group(claim.key)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = {}
            app = self._apps.get(_app(name))
            if app is None:
                app = self._apps[_app(name)] = _App()
                self.app_names.add(_app(name))
            app.groups[name] = group
        group[claim.key] = claim
        if old is None:
            self.addresses.add(claim.key, claim.key[len(name) + 1 :])
        if old is None or old.body != claim.body:
            self._note_change(self._apps[_app(name)])
        self.count += old is None

    def _note_change(self, app: _App) -> None:
        self._stamp += 1
        app.stamp = self._stamp


def _group(key: str) -> str:
    return key.rsplit("/", 2)[0]


def _app(group: str) -> str:
    return group.split("/", 2)[1]


def _roots(entries: Iterable[Entry]) -> set[Dot]:
    return {entry.root for entry in entries if isinstance(entry, Claim)}


def _reason_gone(old: Claim, entries: Iterable[Entry]) -> Reason:
    """Return why `old` is no longer listed: it was ended, its nodes are silent, or it was not renewed."""
    known = [*entries]
    ends = [entry for entry in known if isinstance(entry, End) and old.root in entry.roots]
    if ends:  # an end without a reason prevails, because a client or an operator asked for it
        return CHECK_FAILED if all(end.reason == CHECK_FAILED for end in ends) else "deregistered"
    ended = {root for entry in known if isinstance(entry, End) for root in entry.roots}
    return "node-lost" if _roots(known) - ended else "expired"
