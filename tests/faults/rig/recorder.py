"""The recorder of facts, and the clock of all facts."""

from __future__ import annotations

import time

from tests.faults.facts import Fact


def now() -> float:
    """Return the time on the clock of all facts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Recorder:
    """Collects facts in the order in which they become known."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        #: True if the seed is over; later facts are not recorded, so that the end of the processes is not judged.
        self.is_over = False

    def add(self, fact: Fact) -> None:
        if not self.is_over:
            self.facts.append(fact)
