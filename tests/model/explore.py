"""Breadth-first search over all schedules: the first one found that breaks a promise is a shortest one.

States that are alike are explored once. Nodes are alike too, but for the order of their incarnations: a schedule names
a first time `a` before `b` and `b` before `c`. After each new state the same ending follows, for which all links are
healed and time passes until the key must be gone everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import process_time

from attrs import define, frozen

from tests.model.canonical import digest
from tests.model.promises import Broken, I
from tests.model.world import Step, World

Schedule = tuple[Step, ...]

@frozen
class Failure:
    """A promise that is broken at the end of a schedule, or in the ending that follows it."""

    promise: str
    what: str
    schedule: Schedule
    in_ending: bool


@define
class Level:
    """What was found at one depth: new states, steps that were tried, and CPU seconds that it took."""

    depth: int
    failures: list[Failure]
    states: int = 0
    steps: int = 0
    seconds: float = 0.0


@frozen
class State:
    """A frozen world and the schedule that led there."""

    world: bytes
    schedule: Schedule


N=0
class Search:
    """One search over the steps of some kinds, with nodes of these names."""

    def __init__(self, names: str, kinds: set[str]) -> None:
        self._kinds = kinds
        world = World(names)
        self._seen = {digest(world)}
        self._ended: set[bytes] = set()
        self._frontier = [State(world.freeze(), ())]

    def levels(self, depth: int) -> Iterator[Level]:
        """Search to a depth, and report each level when it is complete."""
        for reached in range(1, depth + 1):
            began_at = process_time()
            level, states, self._frontier = Level(reached, []), self._frontier, []
            for state in states:
                self._expand(state, level, is_last=reached == depth)
            level.seconds = process_time() - began_at
            yield level

    def _expand(self, state: State, level: Level, *, is_last: bool) -> None:
        world = World.thaw(state.world)
        for step in [*world.steps()]:
            if step[0] not in self._kinds or not _is_first_of_its_like(state.schedule, step, world.names):
                continue
            level.steps += 1
            schedule = (*state.schedule, step)
            world, is_ending = World.thaw(state.world), False
            try:
                world.take(step)
                found = digest(world)
                if found in self._seen:
                    continue
                self._seen.add(found)
                level.states += 1
                if not is_last:
                    self._frontier.append(State(world.freeze(), schedule))
                is_ending = True
                self._end(world)
            except Broken as broken:
                level.failures.append(Failure(broken.promise, broken.what, schedule, is_ending))

    def _end(self, world: World) -> None:
        for link in sorted(world.cut_links):
            world.heal(*link)
        while (found := digest(world)) not in self._ended and not world.is_over():
            self._ended.add(found)
            global N; N+=1
            world.take(("wait", "1"))


def _is_first_of_its_like(schedule: Schedule, step: Step, names: str) -> bool:
    """Whether a schedule that goes on with this step names nodes in order when it names them for the first time."""
    named = {name for _, where in (*schedule, step) for name in where if name in names}
    return named == {*names[: len(named)]}
