"""`python -m tests.hostile --messages 200000 --seed 1`: prints the figures of a storm, and every fault."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from tests.hostile.storm import Figures, Plan, Storm


def main(arguments: list[str]) -> int:
    parser = ArgumentParser(prog="python -m tests.hostile", description="A hostile peer against three nodes.")
    parser.add_argument("--messages", type=int, default=200_000, metavar="N", help="messages that it sends (200000)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is drawn at random (1)")
    parser.add_argument("--shapes", type=int, default=300, metavar="N", help="shapes drawn of each type (300)")
    parser.add_argument("--crowd", type=int, default=2500, metavar="N", help="messages of a crowd at the end (2500)")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds between rounds (1)")
    parser.add_argument("--ttl-max", type=float, default=10_800, metavar="S", help="longest ttl that it sends (10800)")
    options = parser.parse_args(arguments)
    plan = Plan(
        options.messages,
        options.seed,
        options.shapes,
        interval_s=options.interval,
        ttl_max_s=options.ttl_max,
        crowd=options.crowd,
    )
    plan.on_progress = lambda line: print(line, flush=True)
    storm = Storm(plan)
    print_figures(storm.run())
    for fault, count in storm.faults.counts.most_common():
        print(f"\nWRONG, {count} times: {fault}\n{storm.faults.details.get(fault, '')}")
    return 1 if storm.faults.counts else 0


def print_figures(figures: Figures) -> None:
    print(f"{figures.messages} messages ({figures.requests} requests, {figures.answers} answers), ", end="")
    print(f"{len(figures.distinct)} of them distinct, and {figures.others} other requests, in {figures.seconds:.0f} s")
    for kind, count in figures.kinds.most_common():
        print(f"{count:9} {kind}")
    print(f"peers at most: {figures.peers}; to strangers in an interval at most: {dict(figures.to_strangers)}")
    print(f"began anew: {dict(figures.began_anew)}; looks that found a node not ready: {figures.unready}")
    print(f"instances not listed: {dict(figures.absences)} of {dict(figures.looks)} looks")
    print(f"agreed after {figures.rounds_to_agree} rounds of silence, after the crowd on honest instances alone")
    for name, (before, after) in figures.memory.items():
        print(f"{name:>18}: {before} before, {after} after")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
