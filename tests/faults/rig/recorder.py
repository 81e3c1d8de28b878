"""The recorder of facts, and the clock that all of them share."""

from __future__ import annotations

import time

from tests.faults.facts import Fact


def now() -> float:
    """Return the time on the clock of all facts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Recorder:
    """Collects facts in the order in which they became known."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        #: Whether the seed is over, so that what ends everything is not judged.
        self.is_over = False

    def add(self, fact: Fact) -> None:
        if not self.is_over:
            self.facts.append(fact)
