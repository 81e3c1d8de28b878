"""The ground truth about registrations: what was accepted where, what it replaced, and what was deregistered.

The oracle keeps one record for each key. A `Registration` lasts from the request that begins it, at a node that does
not list the key, until it ends; a `Unit` is one body of it, from a change to the next. A `Hold` is a span in which an
instance renewed at one node in time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from math import inf

from attrs import frozen

from tests.simulation.knowledge import Life

#: The largest difference between clocks, relative to one another (each drifts by up to 5e-4), and a little more.
CLOCKS = 2e-3

#: After this time the rules forget (rule 8), and nothing is promised about earlier events.
FORGOTTEN_S = 590.0


@frozen
class Ended:
    """A deregistration: its life and time, its reason, and the time until which it is remembered for certain.

    It happened at `at` at the earliest, and for certain before `certain_at`, which is infinity if that is not known.
    If a real node is observed from outside, these are the times of a request and its answer.
    """

    life: Life
    at: float
    certain_at: float
    kept_until: float
    reason: str


class Registration:
    """A registration with all its changes (`units`), which one deregistration ends; `ends` are its deregistrations."""

    def __init__(self) -> None:
        self.units: list[Unit] = []
        self.ends: list[Ended] = []

    def known_ended(self, life: Life, now: float) -> bool:
        """Return True if a life knows for certain that this registration was deregistered."""
        return any(life.knows(end.life, now) > end.certain_at and now - end.at < FORGOTTEN_S for end in self.ends)

    def said_to_be_ended(self, life: Life, now: float) -> bool:
        """Return True if a life knows this for certain and must still remember it."""
        return any(life.knows(end.life, now) > end.certain_at and now < end.kept_until for end in self.ends)


class Unit:
    """The registration, or change of one, to which one body belongs. `before` are the units that it replaced.

    `known_since` has, for each life, the time since which that life knows the unit for certain while it counts there.
    From then on that life's own claim has this body or a later one.
    """

    __slots__ = ("before", "body", "born_at", "known_since", "life", "over", "registration", "succeeds", "ttl_s")

    def __init__(
        self, body: bytes, life: Life, born_at: float, replaced: Unit | None, *, succeeds: bool = False
    ) -> None:
        self.body = body
        self.ttl_s = float(body.split()[1])
        self.life = life
        self.born_at = born_at
        self.before: frozenset[Unit] = replaced.before | {replaced} if replaced else frozenset()
        self.registration: Registration = replaced.registration if replaced and not succeeds else Registration()
        self.registration.units.append(self)
        #: Whether it belongs to an instance that took the place of another one.
        self.succeeds = succeeds
        self.known_since = {life: born_at}
        #: Whether a unit that it replaced was accepted again, because this unit's claims ended earlier than earlier
        #: claims.
        self.over = False

    def note_who_knows(self, lives: Iterable[Life], interval_s: float, now: float) -> None:
        for life in () if self.over else lives:
            counts_until = life.counts_from(self.life, now) + self.ttl_s + 2.9 * interval_s
            knows = life.knows(self.life, now) > self.born_at and now < counts_until
            if life not in self.known_since and knows and not life.away:  # else it only notes the key
                self.known_since[life] = now


class Hold:
    """A span in which an instance renewed at one node in time; `shortened` if its session there has ended since.

    It `goes_on` from the hold before it if another instance took the place of that hold's instance in time.
    """

    __slots__ = ("begin", "end", "goes_on", "shortened", "unit")

    def __init__(self, begin: float, end: float, unit: Unit, *, goes_on: bool = False) -> None:
        self.goes_on = goes_on
        self.begin = begin
        self.end = end
        self.shortened = False
        self.unit = unit


class Record:
    """The history of one key, which may be listed for `guard_s` longer than its claims count."""

    def __init__(self, key: str, guard_s: float, end_kept_s: float) -> None:
        """`end_kept_s` is how long a deregistration is remembered beyond the ttl of what it ends."""
        self.key = key
        self.guard_s = guard_s
        self._end_kept_s = end_kept_s
        self.units: dict[bytes, Unit] = {}
        self.ttl_s_min = inf
        self.ttl_s_max = 0.0
        self.last_at = -inf
        self.ended_at = -inf
        #: The deregistrations: the life, the time, and the registrations that were known there.
        self.ends: list[tuple[Life, float, frozenset[Registration]]] = []
        #: The times at which the key was accepted, by life, and the holds that result.
        self.accepted: dict[Life, list[float]] = defaultdict(list)
        self.holds: dict[Life, list[Hold]] = defaultdict(list)
        #: Requests that wait at paused nodes: the time at which each was made.
        self.waiting: dict[Life, float] = {}

    @property
    def was_ended(self) -> bool:
        """Whether the key was ever deregistered."""
        return self.ended_at > -inf

    def hold(self, life: Life, moment: float, now: float) -> tuple[float, Unit] | None:
        """Return the end of the hold at a node that contains a moment, as far as it is known now, and its unit."""
        later_end = -inf
        for hold in reversed(self.holds.get(life, ())):
            end = max(hold.end, later_end)
            later_end = end if hold.goes_on else -inf
            if hold.begin < moment:
                asked_at = self.waiting.get(life)
                if asked_at is not None and asked_at <= end and not hold.shortened:
                    end = max(end, now)
                return (end, hold.unit) if moment <= end else None
        return None

    def ttl_in_force_s(self, life: Life, holder: Life, now: float) -> float:
        """Return the longest ttl that a claim of `holder` can have from the view of `life`.

        A replaced unit is not in force there once the holder has followed for certain, and `life` knows this.
        """
        if self.ttl_s_min == self.ttl_s_max:
            return self.ttl_s_max
        known = life.knows(holder, now)
        followed = [unit for unit in self.units.values() if known > unit.known_since.get(holder, inf)]
        replaced = frozenset[Unit]().union(*(unit.before for unit in followed))
        return max(unit.ttl_s for unit in self.units.values() if unit not in replaced)

    def due_by_following(self, holder: Life, renewed_at: float) -> float:
        """Return the latest time at which a claim of `holder` is due that was over when it followed a shorter ttl."""
        followed_at = max(unit.known_since.get(holder, -inf) for unit in self.units.values())
        return min(followed_at, renewed_at + self.ttl_s_max * (1 + CLOCKS))

    def accept(self, life: Life, unit: Unit, now: float) -> None:
        asked_at = self.waiting.pop(life, now)
        for later in self.units.values() if len(self.units) > 1 else ():
            if unit in later.before:
                later.over = True
                later.known_since.clear()
        if unit.ttl_s < self.ttl_s_min:
            self.ttl_s_min = unit.ttl_s
            for other, holds in self.holds.items():
                holds[-1].end = min(holds[-1].end, self._until(self.accepted[other][-1]))
        for holds in self.holds.values():
            if holds[-1].shortened and unit.ttl_s < holds[-1].unit.ttl_s:
                # A claim follows with the time that it has left: with a shorter one if that is less than was granted.
                holds[-1].end = min(holds[-1].end, now)
        self.ttl_s_max = max(self.ttl_s_max, unit.ttl_s)
        self.last_at = now
        self.accepted[life].append(now)
        # A node that does not know of the deregistration takes it for the same registration as before. Claims of a
        # registration that was ended count there for little more than their ttl.
        ends = [end for end in self.ends if not _has_succeeded(unit, end[2])]
        lately = [(where, at) for where, at, _ in ends if now < at + 3 * self.ttl_s_max + self.guard_s]
        ended = unit.registration.ends or any(unit.born_at <= at for _, at, _ in ends) or life.doubled
        if unit.registration.ends:
            self._keep_holds(lambda kept: unit in kept.before or unit is kept)
        if ended or not all(life.knows(where, now) > at for where, at in lately):
            return
        holds = self.holds[life]
        # A session that has ended does not wait for requests which came before the end.
        in_time = bool(holds) and (now if holds[-1].shortened else asked_at) <= holds[-1].end
        begins = bool(holds) and unit.succeeds and holds[-1].unit.registration is not unit.registration
        if in_time and not begins:
            holds[-1].end, holds[-1].unit, holds[-1].shortened = self._until(now), unit, False
        else:
            holds.append(Hold(now, self._until(now), unit, goes_on=in_time))

    def shorten(self, life: Life, until: float) -> None:
        """Let the last acceptance at a life hold only until this time."""
        for hold in self.holds.get(life, ())[-1:]:
            hold.end, hold.shortened = min(hold.end, until), True

    def end(
        self, life: Life, bodies: Iterable[bytes], now: float, reason: str, certain_at: float | None = None
    ) -> None:
        """Note a deregistration at a life that has claims with these bodies: it ends their registrations.

        It may happen later than now, but before `certain_at` (`Ended`). From now on no node is obliged to list the
        key, with one exception: an instance that is known to have taken the place of everything that is ended,
        because its claims follow nothing of that.
        """
        known = [self.units[body] for body in bodies]
        kept_until = now + (max(unit.ttl_s for unit in known) + self._end_kept_s) * (1 - CLOCKS)
        self.ended_at = now
        registrations = frozenset(unit.registration for unit in known)
        self.ends.append((life, now, registrations))
        for registration in registrations:
            ended = Ended(life, now, now if certain_at is None else certain_at, kept_until, reason)
            registration.ends.append(ended)
        self._keep_holds(lambda unit: _has_succeeded(unit, registrations))

    def _keep_holds(self, keeps: Callable[[Unit], bool]) -> None:
        for holder, holds in [*self.holds.items()]:
            holds[:] = [hold for hold in holds if keeps(hold.unit)]
            if not holds:
                del self.holds[holder]

    def set_back(self, life: Life, before: Life, at: float) -> None:
        """Let a life continue with what another one had accepted up to a time. This obliges no node to list the key."""
        self.holds.pop(before, None)
        accepted = [accepted_at for accepted_at in self.accepted.get(before, ()) if accepted_at <= at]
        if accepted:
            self.accepted[life] = accepted
        for unit in self.units.values():
            if unit.known_since.get(before, inf) <= at:
                unit.known_since[life] = unit.known_since[before]

    def _until(self, at: float) -> float:
        return at + self.ttl_s_min * (1 - CLOCKS)


def _has_succeeded(unit: Unit, registrations: Iterable[Registration]) -> bool:
    """Return True if a unit took the place of all units of these registrations, so that it follows none of them."""
    return all(unit.before.issuperset(registration.units) for registration in registrations)
