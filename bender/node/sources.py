"""The sources of time and randomness of a node."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen


@frozen
class Sources:
    """The clocks and the random numbers of one node.

    `monotonic` returns seconds on a clock that never jumps, preferably one that runs while the machine sleeps.
    `wall_ms` returns milliseconds since the epoch, only for people to read. `incarnation` returns 64 random bits.
    """

    monotonic: Callable[[], float]
    wall_ms: Callable[[], int]
    incarnation: Callable[[], int]
