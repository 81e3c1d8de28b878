"""Breadth-first search over all schedules: the first schedule that breaks a promise is one of the shortest.

Equal states are explored once. Nodes differ only by the order of their incarnations, so a schedule names `a` before
it names `b`, and `b` before `c`. The same ending follows each new state: all links are healed, and time passes until
the key must be gone everywhere.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from time import process_time

from attrs import define, frozen

from tests.model.canonical import digest
from tests.model.promises import INTERVAL_S, Broken
from tests.model.world import Step, World, told

Schedule = tuple[Step, ...]

#: The largest number of intervals that the ending of a schedule takes, unless the core is broken.
ENDING_INTERVALS_MAX = 100


@frozen
class Failure:
    """A promise that was broken at the end of a schedule, or in the ending that follows it."""

    promise: str
    what: str
    schedule: Schedule
    in_ending: bool

    def __str__(self) -> str:
        steps = [f"  {i}. {told(step)}" for i, step in enumerate(self.schedule, 1)]
        ending = ["     The links are healed, and time passes"] * self.in_ending
        return "\n".join([f"{self.promise}: {self.what}", *steps, *ending])


@define
class Level:
    """The results of one depth: the numbers of new states and of steps that were tried, and the CPU seconds."""

    states: int = 0
    steps: int = 0
    seconds: float = 0.0


class Search:
    """One search with these kinds of steps and nodes of these names; see `World`."""

    def __init__(self, names: str, kinds: set[str]) -> None:
        world = World(names)
        self._kinds = kinds
        self._names = world.names
        self._seen = {digest(world)}
        self._ended: set[bytes] = set()
        self._states: list[tuple[bytes, Schedule]] = [(pickle.dumps(world), ())]
        #: The results of each depth that has begun.
        self.levels: list[Level] = []

    def deepen(self, *, is_last: bool = False) -> Iterator[Failure]:
        """Take one more step from every state of the depth before.

        After the last depth this must not be called again.
        """
        level, states, self._states = Level(), self._states, []
        self.levels.append(level)
        began_at = process_time()
        for frozen_world, schedule in states:
            yield from self._expand(frozen_world, schedule, level, is_last=is_last)
        level.seconds = process_time() - began_at

    def _expand(self, frozen_world: bytes, before: Schedule, level: Level, *, is_last: bool) -> Iterator[Failure]:
        for step in [*_thawed(frozen_world).steps()]:
            schedule = (*before, step)
            if step[0] not in self._kinds or not self._names_in_order(schedule):
                continue
            level.steps += 1
            world, in_ending = _thawed(frozen_world), False
            try:
                world.take(step)
                found = digest(world)
                if found in self._seen:
                    continue
                self._seen.add(found)
                level.states += 1
                if not is_last:
                    self._states.append((pickle.dumps(world), schedule))
                in_ending = True
                self._end(world)
            except Broken as broken:
                yield Failure(broken.promise, broken.what, schedule, in_ending)

    def _names_in_order(self, schedule: Schedule) -> bool:
        named = {name for _, where in schedule for name in where if name in self._names}
        return named == {*self._names[: len(named)]}

    def _end(self, world: World) -> None:
        """Add the ending, up to a state whose ending is known."""
        for link in sorted(world.cut_links):
            world.heal(*link)
        for _ in range(ENDING_INTERVALS_MAX):
            found = digest(world)
            if found in self._ended or world.is_over:
                return
            self._ended.add(found)
            world.take(("wait", f"{INTERVAL_S}"))


def _thawed(frozen_world: bytes) -> World:
    world = pickle.loads(frozen_world)
    assert isinstance(world, World)
    return world
