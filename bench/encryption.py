"""What TLS costs: registrations per second on kept connections, and the time from registering to the event elsewhere.

Nodes with TLS for clients and peers take turns with nodes without it, each freshly started, several times over. The
first figure is taken as in `bench.registering`, by wrk on 32 connections. For the second, three nodes get a new
instance every few milliseconds, each in its turn, on connections that are kept; threads read the `online` lines of the
two other nodes. The client encrypts on the same machine, so the figures are those of both ends.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen

from bench.figures import Target, arguments, percentile, print_table, spread, write
from bench.nodes import LOOPBACK, Connection, Node, cluster, connect, id_of, path_of, post, processes_in_folder
from bench.peers import Run, print_runs, ratios, run
from bench.registering import AS_PATHS
from bender.tls import issuing
from tests.waiting import holds_within

NODES = 3

#: New registrations in a second.
PER_S = 200

#: Seconds at the start of a run that do not count, and the wait for the last events.
WARM_UP_S = 1.0
LAST_EVENTS_S = 5.0

LEAST_TIMES = 0.5
MOST_TIMES = 2.0


@frozen
class Latencies:
    """The milliseconds from a registration to its events elsewhere, in one run."""

    at_ms: Sequence[float]

    def percent(self, percent: float) -> float:
        return percentile(self.at_ms, percent)


class Reader:
    """Reads the events of a node in a thread, and notes when each instance came online."""

    def __init__(self, node: Node) -> None:
        self.seen_at: dict[bytes, float] = {}
        self._connection = connect(node.events, node.context)
        self._connection.settimeout(None)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        rest = b""
        try:
            while piece := self._connection.recv(1 << 16):
                now = time.monotonic()
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if b'"online"' in line:
                        self.seen_at.setdefault(line.partition(b'"id":"')[2].partition(b'"')[0], now)
        except (OSError, ssl.SSLError):
            return  # the measurement is over

    def close(self) -> None:
        self._connection.close()


def latencies(tls: Path | None, seconds: float) -> Latencies:
    """Register at three nodes in turn, and return how long the events elsewhere took."""
    with cluster(NODES, tls=tls) as nodes:
        readers = [Reader(node) for node in nodes]
        clients = [Connection(node.api, node.context) for node in nodes]
        sent_at: list[float] = []
        began = time.monotonic()
        for number in range(int((WARM_UP_S + seconds) * PER_S)):
            time.sleep(max(0.0, began + number / PER_S - time.monotonic()))
            sent_at.append(time.monotonic())
            clients[number % NODES].ask_all([post(path_of(number))])
        ids = [id_of(number).encode() for number in range(len(sent_at))]
        awaited = [
            (reader, number) for number in range(len(ids)) for at, reader in enumerate(readers) if at != number % NODES
        ]
        holds_within(LAST_EVENTS_S, lambda: all(ids[number] in reader.seen_at for reader, number in awaited), 0.05)
        for reader in readers:
            reader.close()
        for client in clients:
            client.socket.close()
    first = int(WARM_UP_S * PER_S)
    try:
        return Latencies(
            [(reader.seen_at[ids[number]] - sent_at[number]) * 1000 for reader, number in awaited if number >= first]
        )
    except KeyError as error:
        raise SystemExit(f"No event came of {error}.") from error


def registrations(tls: Path | None, seconds: int) -> Run:
    """Run a node once under the load of wrk."""
    with processes_in_folder() as (place, processes):
        node = Node(place, tls=tls)
        processes.append(node)
        node.wait_until_ready()
        return run(node, AS_PATHS, seconds)


def certificates(directory: Path) -> Path:
    """Make a CA and a certificate for this machine."""
    now = datetime.now(UTC)
    authority = issuing.make_authority("bench", now)
    issuing.write_certificate(directory, authority, *issuing.issue(authority, [LOOPBACK], now, timedelta(days=1)))
    return directory


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=5)
    parser.add_argument("--seconds", type=int, default=4, help="length of one run (default: %(default)s)")
    options = parser.parse_args()
    with processes_in_folder() as (place, _):
        kinds = {"plain": None, "TLS": certificates(place)}
        runs: dict[str, list[Run]] = {name: [] for name in kinds}
        delays: dict[str, list[Latencies]] = {name: [] for name in kinds}
        for _ in range(options.repetitions):
            for name, tls in kinds.items():
                runs[name].append(registrations(tls, options.seconds))
            for name, tls in kinds.items():
                delays[name].append(latencies(tls, options.seconds))
    print_runs(f"Registrations by path, median of {options.repetitions} runs of {options.seconds} s", runs)
    rows = [
        [name, *(spread([each.percent(percent) for each in done]) for percent in (50, 90, 99))]
        for name, done in delays.items()
    ]
    print_table(f"Registration to event elsewhere at {PER_S}/s, ms", ["", "p50", "p90", "p99"], rows)
    p99 = [ours.percent(99) / theirs.percent(99) for ours, theirs in zip(delays["TLS"], delays["plain"], strict=True)]
    targets = [
        Target(
            "registrations/s with TLS, in terms of plain",
            ratios(runs["TLS"], runs["plain"]),
            "times",
            least=LEAST_TIMES,
        ),
        Target("register to event p99 with TLS, in terms of plain", p99, "times", most=MOST_TIMES),
    ]
    figures = {"seconds": options.seconds, "runs": runs, "p99_times": p99}
    write("encryption", options.json, figures, targets, {})


if __name__ == "__main__":
    main()
