"""The present delays of this machine, which are added to a bound in the same run.

A bound such as "offline within four seconds" would also measure the delays of the machine for all programs. A yardstick
sends a simple request to the same nodes all the time. If the answer is slow, an event may be late by several times as
much, since it passes through several processes.
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
    """The longest time until an answer."""

    slowest_s: float = 0.0
    is_over: bool = False

    @property
    def slack_s(self) -> float:
        """Return the allowance for a bound: hundredths of a second on an idle machine."""
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
    """Measure during this context, at nodes that run during all of it."""
    measured = Yardstick()
    measuring = Deferred.fromCoroutine(measured.measure(nodes))
    try:
        yield measured
    finally:
        measured.is_over = True  # cancelling a request that is still connecting would be another error
        await measuring
