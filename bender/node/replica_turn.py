"""The beginning and end of every call from a node into its replica."""

from __future__ import annotations

from collections.abc import Callable


class ReplicaTurn:
    """A context manager for a call into the replica: it returns the time, and passes on new requests and events after.

    Calls that make neither do without it, to save time: the check of a ready node, and a renewal without a change.
    """

    __slots__ = ("_begin", "_end")

    def __init__(self, begin: Callable[[], float], end: Callable[[], None]) -> None:
        self._begin = begin
        self._end = end

    def __enter__(self) -> float:
        return self._begin()

    def __exit__(self, *_: object) -> None:
        self._end()
