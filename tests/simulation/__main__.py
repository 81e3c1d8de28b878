"""`python -m tests.simulation`: runs many seeds, or replays one, or shows what catches each mutation.

Odd seeds are hard and even ones normal; with `--hard` all are hard. A seed that breaks a promise is printed with the
command that replays it.

With `--hours` seeds are whole nodes for as long, of which nothing may grow (see `tests.simulation.soak`).
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from functools import partial
from multiprocessing import Pool
from time import monotonic

from tests.simulation.choosing import chosen, reached
from tests.simulation.delays import delay_table
from tests.simulation.hunt import Caught, hunt
from tests.simulation.mutations import MUTATIONS
from tests.simulation.seeds import Outcome, simulate
from tests.simulation.soak.day import live, report
from tests.simulation.trace import trace


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if options.hours:
        return soak([options.seed] if options.seed is not None else _seeds(options, 1), options.hours, options.jobs)
    if options.mutations:
        return show_mutations(options.seeds or 30, options.jobs)
    if options.seed is not None:
        return replay(options.seed, hard=options.hard or options.seed % 2 == 1, key=options.trace)
    seeds = _seeds(options, 100)
    if options.choose:
        return choose(seeds, options.jobs)
    return summarise(run(seeds, hard=options.hard, jobs=options.jobs), hard=options.hard)


def _seeds(options: Namespace, usual: int) -> range:
    return range(options.first, options.first + (options.seeds or usual))


def _options(arguments: list[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m tests.simulation", description="Simulated clusters with an oracle.")
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="how many seeds (100; with --mutations 30 at most, with --hours 1)"
    )
    parser.add_argument("--from", type=int, default=0, metavar="N", dest="first", help="the first seed (0)")
    parser.add_argument("--hard", action="store_true", help="all seeds hard, not only the odd ones")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--seed", type=int, metavar="N", help="replay this one")
    parser.add_argument("--trace", default="", metavar="KEY", help="with --seed: print what happened to this key")
    parser.add_argument("--mutations", action="store_true", help="break each rule on purpose and print what notices it")
    parser.add_argument("--choose", action="store_true", help="the fewest seeds that reach what all of these do")
    parser.add_argument("--hours", type=float, metavar="N", help="run whole nodes for N hours and look for growth")
    return parser.parse_args(arguments)


# Seeds.


def run(seeds: Iterable[int], *, hard: bool, jobs: int) -> Iterator[Outcome]:
    """Yield the outcomes of seeds, as they come."""
    wanted = [(seed, hard or seed % 2 == 1) for seed in seeds]
    if jobs == 1:
        yield from map(_simulate, wanted)
        return
    with Pool(jobs) as pool:
        yield from pool.imap_unordered(_simulate, wanted, chunksize=4)


def _simulate(wanted: tuple[int, bool]) -> Outcome:
    seed, hard = wanted
    return simulate(seed, hard=hard)


def summarise(outcomes: Iterable[Outcome], *, hard: bool) -> int:
    """Print broken promises at once, and figures in the end. Return the exit status."""
    began_at = monotonic()
    counts: Counter[str] = Counter()
    delays: dict[str, list[float]] = defaultdict(list)
    seeds, broken, cpu_s, virtual_s = 0, 0, 0.0, 0.0
    for outcome in outcomes:
        seeds += 1
        cpu_s += outcome.cpu_s
        virtual_s += outcome.virtual_s
        counts.update(outcome.counts)
        for delay in outcome.delays:
            delays[delay.case].append(delay.intervals)
        if outcome.broken:
            broken += 1
            print(f"seed {outcome.seed}: {outcome.broken[0]}\n    {_command(outcome, hard=hard)}", flush=True)
    print(f"{seeds} seeds, {broken} with a broken promise, in {monotonic() - began_at:.0f} s")
    print(f"{cpu_s / max(seeds, 1):.3f} s of CPU and {virtual_s / max(seeds, 1):.0f} s of virtual time per seed")
    print(", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())))
    print()
    for line in delay_table(delays):
        print(line)
    return 1 if broken else 0


def _command(outcome: Outcome, *, hard: bool) -> str:
    words = [word.strip(",:") for word in outcome.broken[0].what.split()]
    key = next((word for word in words if word.startswith(("registration/", "backend/", "frontend/", "state/"))), "")
    traced = f" --trace {key}" if key else ""
    return f"python -m tests.simulation --seed {outcome.seed}{' --hard' if hard else ''}{traced}"


def replay(seed: int, *, hard: bool, key: str) -> int:
    """Run one seed and print what happened. Return the exit status."""
    broken = trace(seed, key, hard=hard)
    return 1 if broken else 0


def choose(seeds: Iterable[int], jobs: int) -> int:
    """Print which of these seeds, hard and normal, reach together what all of them do."""
    wanted = [(seed, hard) for hard in (False, True) for seed in seeds]
    with Pool(jobs) as pool:
        found = pool.map(reached, wanted, chunksize=2)
    few = [*chosen(found)]
    everything = frozenset[Hashable]().union(*(each.reached for each in found))
    so_far: frozenset[Hashable] = frozenset()
    cpu_s = 0.0
    for each in few:
        so_far |= each.reached
        cpu_s += each.cpu_s
        share = 100 * len(so_far) / len(everything)
        print(f"{'hard' if each.hard else 'normal'} {each.seed}: {cpu_s:.1f} s of CPU, {share:.1f} % reached")
    print(f"{len(few)} of {len(found)}, {sum(e.cpu_s for e in few):.1f} of {sum(e.cpu_s for e in found):.1f} s of CPU")
    return 0


# Soaks.


def soak(seeds: Iterable[int], hours: float, jobs: int) -> int:
    """Print what grows in each of these seeds. Return the exit status."""
    grows = False
    with Pool(jobs) as pool:
        for outcome in pool.imap_unordered(partial(live, hours=hours), seeds):
            grows = grows or any(outcome.growths.values())
            print("\n".join(report(outcome)), flush=True)
    return 1 if grows else 0


# Mutations.


def show_mutations(seeds_max: int, jobs: int) -> int:
    """Print what catches each mutation: the first seed that notices it, and its scenario. Return the exit status."""
    uncaught = 0
    print(f"{'rule':7}{'mutation':48}{'seeds':>6}  {'broken promise, or else':62}scenario")
    with Pool(jobs) as pool:
        for name, caught in zip(MUTATIONS, pool.imap(_hunt, [(name, seeds_max) for name in MUTATIONS]), strict=True):
            uncaught += not (caught.seeds or caught.shown)
            row = f"{MUTATIONS[name].rule:7}{name:48}{caught.seeds or '-':>6}  {caught.broken[:60]:62}{caught.shown}"
            print(row.rstrip(), flush=True)
    print(f"{len(MUTATIONS)} mutations, {uncaught} of them caught by nothing")
    return 1 if uncaught else 0


def _hunt(wanted: tuple[str, int]) -> Caught:
    name, seeds_max = wanted
    return hunt(name, seeds_max)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
