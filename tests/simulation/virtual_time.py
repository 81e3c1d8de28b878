"""Virtual time: calls happen in the order of their times, and nothing waits."""

from __future__ import annotations

from collections.abc import Callable, Sized
from heapq import heappop, heappush
from typing import Any


class VirtualTime:
    """The present time in seconds, and the future calls.

    Calls for the same time happen in the order in which they were made.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    def at(self, time: float, call: Callable[..., None], *arguments: Any) -> None:
        """Plan a call at a time."""
        self._sequence += 1
        heappush(self._heap, (time, self._sequence, call, arguments))

    def after(self, delay_s: float, call: Callable[..., None], *arguments: Any) -> None:
        """Plan a call after a delay."""
        self.at(self.now + delay_s, call, *arguments)

    def advance(self, time: float, broken: Sized = ()) -> None:
        """Make all calls up to `time`, but stop at once when `broken` is not empty."""
        heap = self._heap
        while heap and heap[0][0] <= time and not broken:
            self.now, _, call, arguments = heappop(heap)
            call(*arguments)
        if not broken:
            self.now = time
