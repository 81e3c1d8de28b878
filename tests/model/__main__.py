"""`python -m tests.model --depth 5`: tries all schedules of this number of steps, and prints broken promises."""

from __future__ import annotations

import gc
import sys
from argparse import ArgumentParser
from collections import Counter

from tests.model.explore import Search
from tests.model.world import STEPS

#: The number of new objects after which Python looks for cycles. A search makes many objects, but few cycles.
GARBAGE_MAX = 200_000


def main(arguments: list[str]) -> int:
    parser = ArgumentParser(prog="python -m tests.model", description="All schedules of a few steps, up to a depth.")
    parser.add_argument("--depth", type=int, default=4, metavar="N", help="steps in a schedule (4)")
    parser.add_argument("--nodes", default="abc", help="their names in the order of their incarnations (abc)")
    parser.add_argument(
        "--steps", default=",".join(STEPS), metavar="KIND,…", help=f"kinds of steps ({','.join(STEPS)})"
    )
    options = parser.parse_args(arguments)
    kinds = {*options.steps.split(",")}
    if not kinds <= {*STEPS}:
        parser.error(f"unknown kinds of steps: {', '.join(sorted(kinds - {*STEPS}))}")
    gc.set_threshold(GARBAGE_MAX)
    return explore(Search(options.nodes, kinds), options.depth)


def explore(search: Search, depth_max: int) -> int:
    """Print each depth when it is complete, and each promise when it is first broken. Return the exit status."""
    counts: Counter[str] = Counter()
    print(f"{'depth':>5}{'states':>12}{'steps':>12}{'seconds':>10}  broken", flush=True)
    for depth in range(1, depth_max + 1):
        broken = 0
        for failure in search.deepen(is_last=depth == depth_max):
            broken += 1
            counts[failure.promise] += 1
            if counts[failure.promise] == 1:
                print(failure, flush=True)
        level = search.levels[-1]
        print(f"{depth:5}{level.states:12,}{level.steps:12,}{level.seconds:10.1f}  {broken or 'nothing'}", flush=True)
    for promise, count in sorted(counts.items()):
        print(f"{promise} is broken by {count:,} schedules.")
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
