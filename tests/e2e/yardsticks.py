"""How late everything is on this machine at present, measured in the run that has to hold something against it.

A bound such as "offline within four seconds" says something of bender only beside what the machine does to all
programs alike. A yardstick asks the same nodes something simple all the while. If the answer takes long, an event may
be late by several times as much, since it comes by way of several processes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from attrs import define
from twisted.internet.defer import Deferred

from tests.e2e.nodes import Node, pause

#: Between two questions.
APART_S = 0.2

#: As many steps, each as late as the slowest answer, lie between what happens at one node and what is seen of it.
STEPS = 10


@define
class Yardstick:
    """The longest that an answer took."""

    slowest_s: float = 0.0
    is_over: bool = False

    @property
    def slack_s(self) -> float:
        """Return what a bound may be exceeded by: hundredths of a second where nothing else runs."""
        return STEPS * self.slowest_s

    async def measure(self, nodes: Sequence[Node]) -> None:
        while not self.is_over:
            for node in nodes:
                began_at_s = time.monotonic()
                await node.call("GET", "/ready")
                self.slowest_s = max(self.slowest_s, time.monotonic() - began_at_s)
            await pause(APART_S)


@asynccontextmanager
async def yardstick(nodes: Sequence[Node]) -> AsyncIterator[Yardstick]:
    """Measure as long as this context lasts, at nodes that run all the while."""
    measured = Yardstick()
    measuring = Deferred.fromCoroutine(measured.measure(nodes))
    try:
        yield measured
    finally:
        measured.is_over = True  # to cancel a request that connects would be an error of its own
        await measuring
