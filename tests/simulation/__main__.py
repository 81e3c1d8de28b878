"""`python -m tests.simulation --seeds 1000 [--from 1] [--hard] [--jobs 2]`, or `--seed 17 [--hard] --trace KEY`.

Runs seeds and says which promises they broke, with the line that replays each; how long after their ttl keys went
offline, beside the bound of P3 for each case; and what a seed cost.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import partial
from multiprocessing import Pool
from time import monotonic

from tests.simulation.oracle import BOUNDS
from tests.simulation.seeds import Outcome, simulate
from tests.simulation.trace import trace


def main() -> int:
    chosen = _arguments()
    if chosen.trace is not None:
        trace(chosen.seed, chosen.trace, hard=chosen.hard)
        return 0
    seeds = [chosen.seed] if chosen.seed is not None else range(chosen.first, chosen.first + chosen.seeds)
    began_at = monotonic()
    summary = Summary()
    with Pool(chosen.jobs) as pool:
        for outcome in pool.imap_unordered(partial(simulate, hard=chosen.hard), seeds, chunksize=4):
            summary.add(outcome)
    summary.print(monotonic() - began_at)
    return 1 if summary.broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--from", type=int, default=1, dest="first", metavar="SEED", help="the first of them")
    parser.add_argument("--hard", action="store_true", help="more faults at a time, and worse networks")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--seed", type=int, help="one seed alone")
    parser.add_argument("--trace", metavar="KEY", help="print what happened to a key in that seed")
    chosen = parser.parse_args()
    if chosen.trace is not None and chosen.seed is None:
        parser.error("--trace needs --seed")
    return chosen


class Summary:
    """What came of all seeds."""

    def __init__(self) -> None:
        self.broken = 0
        self._seeds = 0
        self._cpu_s = 0.0
        self._virtual_s = 0.0
        self._counts: Counter[str] = Counter()
        self._delays: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, outcome: Outcome) -> None:
        self._seeds += 1
        self._cpu_s += outcome.cpu_s
        self._virtual_s += outcome.virtual_s
        self._counts.update(outcome.counts)
        for delay in outcome.delays:
            self._delays[delay.case].append(delay.intervals)
        if outcome.broken:
            self.broken += 1
            first, hard = outcome.broken[0], " --hard" if outcome.hard else ""
            print(f"{first}\n  python -m tests.simulation --seed {outcome.seed}{hard}", flush=True)

    def print(self, took_s: float) -> None:
        """The tables."""
        print(f"{self._seeds} seeds, {self.broken} with a broken promise; {took_s:.0f} s")
        print(
            f"a seed: {self._virtual_s / self._seeds:.0f} s of virtual time, {self._cpu_s / self._seeds:.2f} s of CPU"
        )
        print(", ".join(f"{name} {count}" for name, count in sorted(self._counts.items())))
        print("offline after the ttl, in intervals (bound: min, median, p99, max; number)")
        for case, delays in sorted(self._delays.items()):
            print(f"  {case} ({BOUNDS[case]:g}): {_spread(delays)}")


def _spread(delays: Iterable[float]) -> str:
    ordered = sorted(delays)
    last = len(ordered) - 1
    picked = (ordered[round(share * last)] for share in (0, 0.5, 0.99, 1))
    return ", ".join(f"{value:.2f}" for value in picked) + f"; {len(ordered)}"


if __name__ == "__main__":
    sys.exit(main())
