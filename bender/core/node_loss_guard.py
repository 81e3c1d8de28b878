"""The mass-loss guard: what would be hidden, but is so much of an app that it stays listed for a while, as suspect.

That a registration is hidden means only that the nodes which heard from it are not heard. Where that befalls most of
an app at once, something between the nodes is a likelier cause than the death of all these instances, and a load
balancer that believed it would send everything to the few that are left. So:

- A member is *out of sight* when all nodes that have claims of it are silent. As soon as members of an app would be
  hidden, all members that are out of sight are counted, for with one ttl these are the ones that would be hidden within
  one ttl from now; and with them those that were hidden within the last ttl (`--ttl`) and still are. Where that is more
  than half of the members that the app had before the first of these was hidden, who would be hidden stays listed as
  suspect, and otherwise it is hidden as ever. Of one member or two, one and both are more than half.
- Nothing is suspect for longer than the guard: `guard_s` after a member would have been hidden, it is. That time is
  never lengthened and never judged again, whatever becomes of other members. It is shortened where the node that was
  heard last turns out to have let go of the member: what is left are claims of nodes that were heard earlier.
- What was hidden before the half was reached stays hidden. It was announced, and nobody has heard of it since.
- Only what is not known is held up. Who is renewed or heard of is suspect no more; who is deregistered or found expired
  is gone at once.
- An operator may lift the guard from an app: its suspects are hidden, and for a while nobody becomes one.

The guard is each node's own: it is about what this node hears. Nothing is written down for others, and a node that
starts does not list what others suspect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice, takewhile
from math import inf
from typing import Literal, TypeVar

import msgspec
from attrs import frozen

_Kept = TypeVar("_Kept")

Outcome = Literal["undecided", "suspect", "hidden"]

#: With more, what has died is listed for longer than anybody could wait.
GUARD_S_MAX = 3600.0

#: What an operator says to lift the guard from an app.
LIFTED = b"lifted"

_PREFIX = "guard/"


def key_of_guard(app: str) -> str:
    """The configuration key by which the guard is lifted from an app."""
    return _PREFIX + app


def guarded_app(key: str) -> str | None:
    """The app that a configuration key lifts the guard from, if it is such a key."""
    return key.removeprefix(_PREFIX) if key.startswith(_PREFIX) else None


def app_of(registration: str) -> str:
    return registration.split("/", 2)[1]


# Structs, like claims: there may be 100,000 at once, at which the collector need not look.
class Suspect(msgspec.Struct, frozen=True, gc=False):
    """A member that is listed though it would be hidden: until when, and the incarnations that may know more.

    Of each of these there is when its claim ceased to count, for such an incarnation may be forgotten meanwhile.
    """

    over_at: float
    holders: Mapping[int, float]


class Loss(msgspec.Struct, frozen=True, gc=False):
    """That a member was hidden: when, and how many members its app had before."""

    at: float
    members: int


@frozen
class GuardedApp:
    """An app with suspects: how many, and the seconds until the last of them is hidden."""

    app: str
    suspects: int
    left_s: float


class _Census:
    """A count of the members of an app that are out of sight, which may take several slices."""

    def __init__(self, app: str, keys: list[str]) -> None:
        self.app = app
        self.members = len(keys)
        self.out_of_sight = 0
        self.left = iter(keys)


class Guard:
    """The suspects of one node, and what it takes to judge who becomes one."""

    def __init__(self, guard_s: float, window_s: float) -> None:
        """There are suspects for `guard_s`, none at all with 0; a member counts as lost for `window_s`, one ttl."""
        #: Whether there can be suspects, or could be before the duration was changed.
        self.on = guard_s > 0
        self._guard_s = guard_s
        self._window_s = window_s
        # All by app: the suspects; those that would be hidden and wait for a judgement; what that was, as long as there
        # may be others of the same moment; and those that were hidden within the last ttl, in that order.
        self._suspects: dict[str, dict[str, Suspect]] = {}
        self._undecided: dict[str, dict[str, None]] = {}
        self._judged: dict[str, bool] = {}
        self._losses: dict[str, dict[str, Loss]] = {}
        self._census: _Census | None = None
        self._lifted: set[str] = set()
        self._first_over_at = inf

    def set_duration(self, guard_s: float) -> list[str]:
        """Change how long members stay suspect, and return the present suspects.

        Their time is shortened where the new duration is shorter, and never lengthened.
        """
        self.on = self.on or guard_s > 0
        self._guard_s = guard_s
        return [key for of_app in self._suspects.values() for key in of_app]

    def suspect(self, key: str) -> Suspect | None:
        """A member, if it is listed on suspicion."""
        return self._suspects.get(app_of(key), {}).get(key) if self._suspects else None

    def waiting_for(self, incarnation: int) -> dict[str, None]:
        """The suspects of which an incarnation may know more."""
        of_apps = self._suspects.values()
        return {key: None for of_app in of_apps for key, suspect in of_app.items() if incarnation in suspect.holders}

    @property
    def apps(self) -> list[str]:
        """Those that have suspects."""
        return [*self._suspects]

    def guarded(self, now: float) -> list[GuardedApp]:
        """The apps that have suspects, in order."""
        return [
            GuardedApp(app, len(of_app), max(suspect.over_at for suspect in of_app.values()) - now)
            for app, of_app in sorted(self._suspects.items())
        ]

    def lose(self, key: str, members: int, hidden_at: float, holders: Mapping[int, float], now: float) -> Outcome:
        """What becomes of a member of an app with so many, of which no claim has counted since `hidden_at`."""
        app = app_of(key)
        present = self.suspect(key)
        over_at = min(hidden_at + self._guard_s, present.over_at if present else inf)
        is_over = now >= over_at or app in self._lifted
        if not (present or is_over or app in self._judged):
            self._undecided.setdefault(app, {})[key] = None
            return "undecided"
        if is_over or not (present or self._judged[app]):
            self.forget(key)
            self._losses.setdefault(app, {})[key] = Loss(now, members)
            return "hidden"
        self._suspects.setdefault(app, {})[key] = Suspect(over_at, present.holders if present else holders)
        self._first_over_at = min(self._first_over_at, over_at)
        return "suspect"

    def forget(self, key: str) -> None:
        """A member is heard of again, or gone for good."""
        app = app_of(key)
        _discard(self._suspects, app, key)
        _discard(self._undecided, app, key)
        _discard(self._losses, app, key)

    # Judging.

    @property
    def undecided(self) -> bool:
        """Whether it has to be judged what becomes of somebody."""
        return bool(self._undecided)

    def judge(
        self, members: Callable[[str], list[str]], out_of_sight: Callable[[str], bool], looks: int, now: float
    ) -> tuple[int, dict[str, None]]:
        """Look at up to so many members of an app.

        Returns how many those were and, when all were seen, who waited for that: to be lost once more.
        """
        app = next(iter(self._undecided))
        if self._census is None or self._census.app != app:
            self._census = _Census(app, members(app))
        census = self._census
        looked_at = [*islice(census.left, looks)]
        census.out_of_sight += sum(map(out_of_sight, looked_at))
        if len(looked_at) == looks:
            return looks, {}
        self._census = None
        losses = self._losses_within_the_window(app, now)
        before = next((loss.members for loss in losses.values()), census.members)
        self._judged[app] = self._is_mass_loss(census.out_of_sight + len(losses), before)
        return len(looked_at), self._undecided.pop(app)

    @staticmethod
    def _is_mass_loss(lost: int, members: int) -> bool:
        return 2 * lost > members

    def judged(self) -> None:
        """All that was lost at the same moment has met the same fate: what is lost from now on is judged anew."""
        self._judged.clear()
        self._census = None

    def _losses_within_the_window(self, app: str, now: float) -> dict[str, Loss]:
        losses = self._losses.get(app, {})
        # One pass: to look for the first again after each that goes would take the square of their number.
        for key, _ in [*takewhile(lambda item: item[1].at <= now - self._window_s, losses.items())]:
            del losses[key]
        return losses

    # How it ends.

    def over(self, now: float) -> dict[str, None]:
        """The suspects whose time is over since this was called last."""
        for app in [*self._losses]:
            if not self._losses_within_the_window(app, now):
                del self._losses[app]
        if now < self._first_over_at:
            return {}
        over: dict[str, None] = {}
        self._first_over_at = inf
        for of_app in self._suspects.values():
            for key, suspect in of_app.items():
                if suspect.over_at <= now:
                    over[key] = None
                elif suspect.over_at < self._first_over_at:
                    self._first_over_at = suspect.over_at
        return over

    def lift(self, app: str, *, lifted: bool) -> Iterable[str]:
        """Take the guard from an app, or give it back; the suspects that are over by that."""
        if not lifted:
            self._lifted.discard(app)
            return ()
        self._lifted.add(app)
        return [*self._suspects.get(app, ()), *self._undecided.pop(app, ())]


def _discard(kept: dict[str, dict[str, _Kept]], app: str, key: str) -> None:
    of_app = kept.get(app, {})
    if key in of_app:
        del of_app[key]
        if not of_app:
            del kept[app]
