"""The present delays of this machine, measured in the same run as the bound that they are added to.

A bound such as "offline within four seconds" measures bender only together with the delays that the machine causes for
all programs. A yardstick sends a simple request to the same nodes all the time. If the answer takes long, an event may
be late by several times as much, since it comes by way of several processes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from attrs import define
from twisted.internet.defer import Deferred

from tests.e2e.nodes import Node, pause

#: The pause between two requests.
APART_S = 0.2

#: The number of steps between an event at a node and its observation, each as late as the slowest answer.
STEPS = 10


@define
class Yardstick:
    """The longest time that an answer took."""

    slowest_s: float = 0.0
    is_over: bool = False

    @property
    def slack_s(self) -> float:
        """Return the allowance on a bound: hundredths of a second if nothing else runs."""
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
    """Measure as long as this context lasts, at nodes that run all that time."""
    measured = Yardstick()
    measuring = Deferred.fromCoroutine(measured.measure(nodes))
    try:
        yield measured
    finally:
        measured.is_over = True  # cancelling a request that still connects would be another error
        await measuring
