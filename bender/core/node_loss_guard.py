"""Rule 9, the guard: members stay listed for a while, as suspects, if most members of an app would be hidden at once.

A registration is hidden when all nodes with claims of it are silent. If this happens to most members of an app at once,
a fault between the nodes is a more likely cause than the death of all these instances. A load balancer that removed
them would send all requests to the few members that are left. So these rules hold:

- A member is *out of sight* when all nodes that have claims of it are silent. As soon as members of an app would be
  hidden, the node adds two numbers: the members that are out of sight (if all have one ttl, those that would be hidden
  within one ttl from now), and the members that were hidden within the last ttl (`--ttl`) and still are. If the sum is
  more than half of the members that the app had before the first of them was hidden, the members that would be hidden
  now stay listed as suspects. Else they are hidden at once. So an app with two members must lose both.
- A suspect is hidden `guard_s` after it would have been hidden without the guard. This time never becomes later, and
  is not judged again when other members change. It becomes earlier if the node that was heard last is heard again and
  has removed its claim: the nodes of the other claims were heard earlier.
- Members that were hidden before the half was reached stay hidden. Their `offline` was announced, and no node has
  heard from them since.
- The guard never delays certain knowledge. A member that is renewed, or whose claim counts again, is no longer suspect.
  A member that was deregistered, or has certainly expired, is removed at once.
- An operator can lift the guard from an app. This hides the app's suspects, and for a while no member becomes suspect.

Each node decides for itself, from what it hears, and sends nothing about suspects. A node that starts does not list
the suspects of other nodes.
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

#: The longest duration of the guard, in seconds. A longer one would list dead instances for too long.
GUARD_S_MAX = 3600.0

#: The body of the setting that lifts the guard from an app.
LIFTED = b"lifted"

_PREFIX = "guard/"

# One for nearly all suspects.
_NOBODY: Mapping[int, float] = {}


def key_of_guard(app: str) -> str:
    """Return the configuration key by which the guard is lifted from an app."""
    return _PREFIX + app


def guarded_app(key: str) -> str | None:
    """Return the app from which a configuration key lifts the guard; None if it is not such a key."""
    return key.removeprefix(_PREFIX) if key.startswith(_PREFIX) else None


def app_of(registration: str) -> str:
    """Return the app in the key of a registration."""
    return registration.split("/", 2)[1]


# Structs, like claims: there may be 100,000 at once, which the garbage collector does not visit.
class Suspect(msgspec.Struct, frozen=True, gc=False):
    """A member that only the guard keeps listed, until `over_at`.

    `holders` are the incarnations that have claims of the member and may still renew them, and `gone` those that have
    claims and were replaced or have left, each with the time at which its claim stopped counting. The time is kept here
    because the incarnation may be forgotten before `over_at`.
    """

    over_at: float
    holders: Mapping[int, float]
    gone: Mapping[int, float]

    def forgotten(self, is_known: Callable[[int], bool]) -> dict[int, float]:
        """Return the times of the incarnations that are not known any more."""
        return {node: at for node, at in (*self.holders.items(), *self.gone.items()) if not is_known(node)}


class Loss(msgspec.Struct, frozen=True, gc=False):
    """A member that was hidden at the time `at`, when its app had `members` members, this one included."""

    at: float
    members: int


@frozen
class GuardedApp:
    """An app with suspects: their number, and the seconds until the last of them is hidden."""

    app: str
    suspects: int
    left_s: float


class _Census:
    """A count of the members of an app that are out of sight. It may take several calls of `Guard.judge`."""

    def __init__(self, app: str, keys: list[str]) -> None:
        self.app = app
        self.members = len(keys)
        self.out_of_sight = 0
        self.left = iter(keys)


class Guard:
    """The suspects of one node, and the counts that decide which members become suspects."""

    def __init__(self, guard_s: float, window_s: float) -> None:
        """Members stay suspect for `guard_s`; 0 turns the guard off. A hidden member counts for `window_s`, one ttl."""
        #: Whether the guard is on, or was on before its duration was changed: there may be suspects.
        self.is_on = guard_s > 0
        self._guard_s = guard_s
        self._window_s = window_s
        # All by app: the suspects; the members that would be hidden and wait for a judgement; the judgement (True: they
        # become suspects), kept while other members lost at the same moment may follow; and the members that were
        # hidden within the last ttl, in the order in which they were hidden.
        self._suspects: dict[str, dict[str, Suspect]] = {}
        self._undecided: dict[str, dict[str, None]] = {}
        self._is_mass_loss_by_app: dict[str, bool] = {}
        self._losses: dict[str, dict[str, Loss]] = {}
        self._census: _Census | None = None
        self._lifted: set[str] = set()
        self._first_over_at = inf

    def set_duration(self, guard_s: float) -> list[str]:
        """Change how long members stay suspect. Return the present suspects: call `decide_on` for each again.

        A present suspect is hidden earlier if the new duration is shorter, and never later.
        """
        self.is_on = self.is_on or guard_s > 0
        self._guard_s = guard_s
        return [key for of_app in self._suspects.values() for key in of_app]

    def suspect(self, key: str) -> Suspect | None:
        """Return the suspect with this key; None if the member is not suspect."""
        return self._suspects.get(app_of(key), {}).get(key) if self._suspects else None

    def suspects_held_by(self, incarnation: int) -> dict[str, None]:
        """Return the suspects of which an incarnation is a holder (see `Suspect`)."""
        of_apps = self._suspects.values()
        return {key: None for of_app in of_apps for key, suspect in of_app.items() if incarnation in suspect.holders}

    @property
    def apps(self) -> list[str]:
        """The names of the apps that have suspects."""
        return [*self._suspects]

    def guarded_apps(self, now: float) -> list[GuardedApp]:
        """Return the apps that have suspects, in order of name."""
        return [
            GuardedApp(app, len(of_app), max(suspect.over_at for suspect in of_app.values()) - now)
            for app, of_app in sorted(self._suspects.items())
        ]

    def decide_on(
        self,
        key: str,
        members: int,
        hidden_at: float,
        holders: Mapping[int, float],
        gone: Mapping[int, float],
        now: float,
    ) -> Outcome:
        """Return the decision on a member of which no claim has counted since `hidden_at`.

        It becomes or stays suspect, is hidden, or waits for `judge` (`undecided`). `members` is the number of members
        of its app; `holders` and `gone` are as in `Suspect`.
        """
        app = app_of(key)
        present = self.suspect(key)
        over_at = min(hidden_at + self._guard_s, present.over_at if present else inf)
        is_over = now >= over_at or app in self._lifted
        if not (present or is_over or app in self._is_mass_loss_by_app):
            self._undecided.setdefault(app, {})[key] = None
            return "undecided"
        if is_over or not (present or self._is_mass_loss_by_app[app]):
            self.forget(key)
            self._losses.setdefault(app, {})[key] = Loss(now, members)
            return "hidden"
        if present:
            holders, gone = present.holders, present.gone
        self._suspects.setdefault(app, {})[key] = Suspect(over_at, holders, gone or _NOBODY)
        self._first_over_at = min(self._first_over_at, over_at)
        return "suspect"

    def forget(self, key: str) -> None:
        """Forget a member, because a claim of it counts again or it has certainly ended."""
        app = app_of(key)
        _discard(self._suspects, app, key)
        _discard(self._undecided, app, key)
        _discard(self._losses, app, key)

    # Judging.

    @property
    def has_undecided(self) -> bool:
        """Whether a member waits for a judgement."""
        return bool(self._undecided)

    def judge(
        self, members: Callable[[str], list[str]], out_of_sight: Callable[[str], bool], keys_max: int, now: float
    ) -> tuple[int, dict[str, None]]:
        """Count up to `keys_max` members of one app of which members wait for a judgement.

        Return how many were counted and, when all members of the app have been, the keys of those that waited: call
        `decide_on` for each again. `members` returns the members of an app, `out_of_sight` whether one is out of sight.
        """
        app = next(iter(self._undecided))
        if self._census is None or self._census.app != app:
            self._census = _Census(app, members(app))
        census = self._census
        looked_at = [*islice(census.left, keys_max)]
        census.out_of_sight += sum(map(out_of_sight, looked_at))
        if len(looked_at) == keys_max:
            return keys_max, {}
        self._census = None
        losses = self._losses_within_the_window(app, now)
        before = next((loss.members for loss in losses.values()), census.members)
        self._is_mass_loss_by_app[app] = self._is_mass_loss(census.out_of_sight + len(losses), before)
        return len(looked_at), self._undecided.pop(app)

    @staticmethod
    def _is_mass_loss(lost: int, members: int) -> bool:
        return 2 * lost > members

    def forget_judgements(self) -> None:
        """Forget the judgements: members lost from now on belong to a later moment and are judged anew."""
        self._is_mass_loss_by_app.clear()
        self._census = None

    def _losses_within_the_window(self, app: str, now: float) -> dict[str, Loss]:
        losses = self._losses.get(app, {})
        # In one pass: `next(iter(losses))` after each removal would make the time grow with the square of their number.
        for key, _ in [*takewhile(lambda item: item[1].at <= now - self._window_s, losses.items())]:
            del losses[key]
        return losses

    # The end of a suspicion.

    def suspects_over(self, now: float) -> dict[str, None]:
        """Return the suspects whose time is over since the last call: call `decide_on` for each again.

        Also forget the losses that are older than the window.
        """
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

    def set_lifted(self, app: str, *, lifted: bool) -> Iterable[str]:
        """Lift the guard from an app, or restore it. Return the members for which `decide_on` must be called again."""
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
