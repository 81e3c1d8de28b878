"""`twistd` with an instrumented reactor: measure the processor time of single turns, and the bytes through its sockets.

Use: python -m bench.instrumented FILE TWISTD-ARGUMENTS. SIGUSR1 writes the figures since the last SIGUSR1 to FILE.
bender itself has no code for this. Measuring costs about a microsecond per turn.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import thread_time
from typing import Any

from twisted.internet import reactor, tcp
from twisted.scripts.twistd import run

#: The key for all connections that this process opened itself, in place of a port at which it listens.
OUTGOING = 0


class Probe:
    """The figures since the last report. Times are in seconds of processor time of the reactor's thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._collection_began = 0.0
        self.begin()

    def begin(self) -> None:
        """Begin new figures."""
        self._turn_began = thread_time()
        self._turns = 0
        self._longest: list[float] = []
        self._collections_s = 0.0
        self._longest_collection_s = 0.0
        #: By the port that accepted a connection: bytes received and sent.
        self._passed: dict[int, list[int]] = {}

    def turned(self) -> None:
        """Note the end of a turn of the reactor."""
        now = thread_time()
        turn_s = now - self._turn_began
        self._turn_began = now
        self._turns += 1
        if turn_s > 0.002:
            self._longest.append(turn_s)

    def collected(self, phase: str, _info: dict[str, int]) -> None:
        """Note that the garbage collector began or ended."""
        if phase == "start":
            self._collection_began = thread_time()
            return
        took_s = thread_time() - self._collection_began
        self._collections_s += took_s
        self._longest_collection_s = max(self._longest_collection_s, took_s)

    def passed(self, connection: tcp.Connection, received: int, sent: int) -> None:
        """Note bytes that passed a connection."""
        port = connection.getHost().port if isinstance(connection, tcp.Server) else OUTGOING
        counts = self._passed.setdefault(port, [0, 0])
        counts[0] += received
        counts[1] += sent

    def report(self, *_: Any) -> None:
        """Write the figures in one step, and begin new ones."""
        figures = {
            "turns": self._turns,
            "longest_turns_s": sorted(self._longest, reverse=True)[:20],
            "turns_over_20_ms": sum(turn_s > 0.020 for turn_s in self._longest),
            "collections_s": self._collections_s,
            "longest_collection_s": self._longest_collection_s,
            "collections": sum(generation["collections"] for generation in gc.get_stats()),
            "objects": len(gc.get_objects()) + gc.get_freeze_count(),
            "passed": self._passed,
        }
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(figures))
        new.rename(self._path)
        self.begin()


def instrument(probe: Probe) -> None:
    """Wrap the methods of Twisted that the probe measures."""
    iterate: Callable[[float | None], None] = reactor.doIteration  # type: ignore[attr-defined]

    def turn(timeout_s: float | None) -> None:
        iterate(timeout_s)
        probe.turned()

    reactor.doIteration = turn  # type: ignore[attr-defined]
    reactor.callWhenRunning(probe.begin)  # not from the start of the process
    sockets: Any = tcp.Connection
    received, write = sockets._dataReceived, sockets.writeSomeData  # noqa: SLF001 - there is no other way to see it

    def data_received(connection: tcp.Connection, data: bytes) -> Any:
        probe.passed(connection, len(data), 0)
        return received(connection, data)

    def write_some_data(connection: tcp.Connection, data: bytes) -> Any:
        sent = write(connection, data)
        if isinstance(sent, int) and sent > 0:
            probe.passed(connection, 0, sent)
        return sent

    sockets._dataReceived, sockets.writeSomeData = data_received, write_some_data  # noqa: SLF001
    gc.callbacks.append(probe.collected)


def main() -> None:
    probe = Probe(Path(sys.argv[1]))
    instrument(probe)
    signal.signal(signal.SIGUSR1, probe.report)
    sys.argv = ["twistd", *sys.argv[2:]]
    run()


if __name__ == "__main__":
    main()
