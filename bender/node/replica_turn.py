"""The beginning and end of every call of a node into its replica."""

from __future__ import annotations

from collections.abc import Callable


class ReplicaTurn:
    """A call into the replica: it begins with the time, and ends with passing on what the replica has made.

    Nothing passes on where nothing can have been made: where a node is ready, or renews what is registered as it is.
    """

    __slots__ = ("_begin", "_end")

    def __init__(self, begin: Callable[[], float], end: Callable[[], None]) -> None:
        self._begin = begin
        self._end = end

    def __enter__(self) -> float:
        return self._begin()

    def __exit__(self, *_: object) -> None:
        self._end()
