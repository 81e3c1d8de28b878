"""A table of the times after which keys went offline, beside the bounds of P3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.simulation.oracle.p3_nothing_dead_stays import BOUNDS

#: The moment from which each bound of P3 counts.
SINCE = {
    "calm": "last renewal + T",
    "calm, with loss": "last renewal + T",
    "peer failing": "last renewal + T",
    "holder died": "last renewal + 2·T",
    "holder died, peer failing": "last renewal + 2·T",
    "after its last heartbeat": "last heartbeat + T",
}


def delay_table(delays: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Yield the lines of the table. `delays` are in intervals, by case."""
    yield "Offline after …, in intervals, without the pauses of the nodes that held it:"
    yield f"{'case':28}{'counted from':22}{'count':>9}{'min':>8}{'median':>8}{'p99':>8}{'max':>8}{'bound':>8}"
    for case, bound in BOUNDS.items():
        found = sorted(delays.get(case, ()))
        if found:
            figures = (found[0], found[len(found) // 2], found[len(found) * 99 // 100], found[-1], bound)
            yield f"{case:28}{SINCE[case]:22}{len(found):9,}" + "".join(f"{figure:8.2f}" for figure in figures)
