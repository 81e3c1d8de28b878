"""Chooses few seeds that reach together what many do: `python -m tests.simulation --choose --seeds 30`.

What a seed reaches are the branches of the core, of the oracle and of the simulated world that it takes, and what is
drawn for it beforehand. Seeds are taken one after the other, next the one that adds most for the time that it takes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path

from attrs import asdict, frozen
from coverage import Coverage

from tests.simulation.seeds import Simulation, simulate

ROOT = Path(__file__).parents[2]

WATCHED = [str(ROOT / "bender/core/*"), str(ROOT / "tests/simulation/*")]


@frozen
class Reached:
    """What a seed reaches, and the CPU time that it takes."""

    seed: int
    hard: bool
    reached: frozenset[Hashable]
    cpu_s: float


def reached(wanted: tuple[int, bool]) -> Reached:
    """Run a seed twice: watched, and to see how long it takes when it is not."""
    seed, hard = wanted
    coverage = Coverage(data_file=None, branch=True, include=WATCHED, config_file=False)
    with coverage.collect():
        simulation = Simulation(seed, hard=hard)
        simulation.run()
    data = coverage.get_data()
    taken: set[Hashable] = {(file, arc) for file in data.measured_files() for arc in data.arcs(file) or ()}
    drawn = asdict(simulation.settings, recurse=False)
    taken |= {(hard, name, drawn[name]) for name in ("size", "timing", "long", "days", "guard_s", "page_entries_max")}
    taken |= {(hard, name, drawn[name] > 0) for name in ("sharing", "moving", "copies")}
    return Reached(seed, hard, frozenset(taken), simulate(seed, hard=hard).cpu_s)


def chosen(found: Iterable[Reached]) -> Iterator[Reached]:
    """Yield those that reach all together what is reached by any."""
    left = list(found)
    missing = {each for one in left for each in one.reached}
    while missing:
        best = max(left, key=lambda one: len(one.reached & missing) / one.cpu_s)
        left.remove(best)
        missing -= best.reached
        yield best
