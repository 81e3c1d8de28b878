"""The sources of time and randomness of a node."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen


@frozen
class Sources:
    """The clocks and the random numbers of one node.

    `monotonic` gives seconds on a clock that never jumps, best one that goes on while the machine sleeps; `wall_ms`
    milliseconds since the epoch, shown to people only; `incarnation` 64 random bits.
    """

    monotonic: Callable[[], float]
    wall_ms: Callable[[], int]
    incarnation: Callable[[], int]
