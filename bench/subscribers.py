"""How long one change takes to 10,000 subscribers of one node, until the last of them has its line.

All are connected to `--events` and send nothing, so they get every event. Now and then an instance registers: the time
is from just before the request is sent until each subscriber has read the `online` line, which must be the same bytes
for all. They are 10,000 sockets in one process that waits for all of them at once; its share of a processor is shown.
"""

from __future__ import annotations

import os
import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import frozen

from bench.figures import Target, arguments, print_table, spread, write
from bench.nodes import LOOPBACK, PATIENCE_S, Connection, Node, cluster, id_of, register_request

#: Connections that are made at a time; the node's backlog takes more.
AT_ONCE = 500

#: The number of first changes, which do not count.
WARM_UP = 2

#: Seconds between two changes.
APART_S = 0.2

TARGET_MS = 400.0


@frozen
class Change:
    """The times until the first, the middle and the last subscriber had a change, and the shares of a processor."""

    first_ms: float
    middle_ms: float
    last_ms: float
    node_percent: float
    client_percent: float


class Subscribers:
    """Many connections to the events of one node."""

    def __init__(self, port: int, count: int) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._port = port
        while len(self._sockets) < count:
            self._connect(min(AT_ONCE, count - len(self._sockets)))

    def _connect(self, count: int) -> None:
        """Connect some more, and wait until the node has greeted them."""
        for _ in range(count):
            connect = socket.create_connection((LOOPBACK, self._port), PATIENCE_S)
            connect.setblocking(False)
            self._sockets[connect.fileno()] = connect
            self._poll.register(connect, select.EPOLLIN)
        self._until_all_have(b'"hello"', count)

    def wait_for_event(self, word: bytes) -> list[int]:
        """Return when each subscriber had the line with this text, in nanoseconds. All must have the same line."""
        times = self._until_all_have(word, len(self._sockets))
        if len(self._lines) != 1:
            raise SystemExit(f"Not all subscribers got the same line: {[*self._lines][:3]}")
        return times

    def _until_all_have(self, word: bytes, count: int) -> list[int]:
        """Read until `count` subscribers have a line with this text. A tick may come before it."""
        times: list[int] = []
        begun: dict[int, bytes] = {}
        self._lines: set[bytes] = set()
        until = time.monotonic() + PATIENCE_S
        while len(times) < count:
            if time.monotonic() > until:
                raise SystemExit(f"{count - len(times)} of {count} subscribers did not get a line with {word!r}.")
            for file, _ in self._poll.poll(1.0, AT_ONCE):
                data = begun.pop(file, b"") + self._receive(file)
                *lines, rest = data.split(b"\n")
                if rest:
                    begun[file] = rest
                for line in lines:
                    if word in line:
                        times.append(time.monotonic_ns())
                        self._lines.add(line)
                    elif b'"tick"' not in line:
                        raise SystemExit(f"A subscriber got an unexpected line: {line!r}")
        return times

    def _receive(self, file: int) -> bytes:
        data = os.read(file, 1 << 16)
        if not data:
            raise SystemExit("The node closed the connection of a subscriber.")
        return data

    def close(self) -> None:
        for connect in self._sockets.values():
            connect.close()
        self._poll.close()


@contextmanager
def subscribed(count: int, *, instrumented: bool = False) -> Iterator[tuple[Node, Subscribers]]:
    """Yield a node with this number of subscribers."""
    _allow_open_files(count)
    with cluster(1, instrumented=instrumented) as (node,):
        subscribers = Subscribers(node.events, count)
        try:
            yield node, subscribers
        finally:
            subscribers.close()


def _allow_open_files(count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 100:
        raise SystemExit(f"The system allows {hard} open files, too few for {count} subscribers: see ulimit -H -n.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def change(node: Node, subscribers: Subscribers, number: int) -> Change:
    """Register an instance, and wait for all subscribers."""
    request, id_ = register_request(number, 3600), f'"id":"{id_of(number)}"'.encode()
    with Connection(node.api) as connection:
        node_s, own_s, began = node.cpu_s, time.process_time(), time.monotonic_ns()
        connection.send(request)
        times = subscribers.wait_for_event(id_)
        took_s = (time.monotonic_ns() - began) / 1e9
        node_s, own_s = node.cpu_s - node_s, time.process_time() - own_s
        status, body = connection.receive()
    if status != 201:
        raise SystemExit(f"A registration was answered {status}: {body!r}")
    times_ms = [(at - began) / 1e6 for at in times]
    middle_ms = times_ms[len(times_ms) // 2]
    return Change(times_ms[0], middle_ms, times_ms[-1], node_s / took_s * 100, own_s / took_s * 100)


def changes(node: Node, subscribers: Subscribers, count: int) -> list[Change]:
    """Make a number of changes, one after the other."""
    done = []
    for number in range(WARM_UP + count):
        done.append(change(node, subscribers, number))
        time.sleep(APART_S)
    return done[WARM_UP:]


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=20)
    parser.add_argument("--subscribers", type=int, default=10_000, help="(default: %(default)s)")
    options = parser.parse_args()
    count = options.subscribers
    with subscribed(count) as (node, subscribers):
        done = changes(node, subscribers, options.repetitions)
    with subscribed(count, instrumented=True) as (node, subscribers):
        turns_ms = {f"{count:,} subscribers come": node.longest_turn_ms()}
        changes(node, subscribers, options.repetitions)
        turns_ms[f"one change for {count:,} subscribers"] = node.longest_turn_ms()
    rows = [
        ["until the first has it, ms", spread([each.first_ms for each in done], 1)],
        ["until half of them have it, ms", spread([each.middle_ms for each in done], 1)],
        ["until the last has it, ms", spread([each.last_ms for each in done], 1)],
        ["CPU % node", spread([each.node_percent for each in done], 0)],
        ["CPU % of the subscribers' process", spread([each.client_percent for each in done], 0)],
    ]
    print_table(f"One change for {count:,} subscribers, median of {options.repetitions} changes", ["", "median"], rows)
    what = f"one change until the last of {count:,} line subscribers has it"
    targets = [Target(what, [each.last_ms for each in done], "ms", most=TARGET_MS)]
    write("subscribers", options.json, {"subscribers": count, "changes": done}, targets, turns_ms)


if __name__ == "__main__":
    main()
