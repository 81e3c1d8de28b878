"""Chooses a few seeds that together reach what many seeds do: `python -m tests.simulation --choose --seeds 30`.

A seed reaches the branches of the core, of the oracle and of the simulated world that it executes, and the settings
that are drawn for it. Seeds are chosen one after the other: next comes the seed that adds most for the time that it
takes.
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
    """The branches and drawn settings that a seed reaches, and the CPU time that it takes."""

    seed: int
    hard: bool
    reached: frozenset[Hashable]
    cpu_s: float


def reached(wanted: tuple[int, bool]) -> Reached:
    """Run a seed twice: once with its branches recorded, and once to measure its time without the recording."""
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
    """Yield seeds that together reach everything that any of the seeds reaches."""
    left = list(found)
    missing = {each for one in left for each in one.reached}
    while missing:
        best = max(left, key=lambda one: len(one.reached & missing) / one.cpu_s)
        left.remove(best)
        missing -= best.reached
        yield best
