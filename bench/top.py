"""What `bender top` costs on a terminal while the registry changes, and how soon it answers keys.

One node with 10,000 registrations, of which 100 change their weight each second. `bender top` shows them on a terminal
of 200 columns and 60 lines, sorted by their last change, so that every picture differs. In between the key `?` is
pressed: its time is until the help has been read from the terminal.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import pexpect
from attrs import frozen

from bench.figures import Target, arguments, percentile, print_line, print_table, spread, write
from bench.nodes import Connection, Node, cluster, cpu_s_of, fill, weight_request
from tests.twistd_command import environment

BENDER = str(Path(sys.executable).with_name("bender"))

COLUMNS, LINES = 200, 60
CHANGES_PER_S = 100
KEYS_APART_S = 0.5

TARGET_CORE_PERCENT = 25.0
TARGET_KEY_MS = 100.0

#: Time limit for the first picture, and for the answer to a key.
PATIENCE_S = 60.0

#: Its views are in this order: the last column but one is that of the last change.
ALL_BY_CHANGE = "iSS"


@frozen
class Run:
    """The processor time of the command, as a part of a core, its output, and the times of keys."""

    core_percent: float
    bytes_per_s: float
    keys_ms: list[float]


def read(command: pexpect.spawn[bytes], within_s: float) -> bytes:
    """Return what the command writes until there is a pause, or within this time."""
    received = b""
    with suppress(pexpect.TIMEOUT):
        received = command.read_nonblocking(1 << 16, within_s)
    return received


def press(command: pexpect.spawn[bytes], key: str, wanted: bytes) -> tuple[float, int]:
    """Press a key; return the seconds until this was shown, and the number of bytes until then."""
    began = time.monotonic()
    command.send(key)
    received = b""
    while wanted not in received:
        received += read(command, 0.001)
        if time.monotonic() > began + PATIENCE_S:
            raise SystemExit(f"The key {key} was not answered. Output:\n{received[-2000:]!r}")
    return time.monotonic() - began, len(received)


def watch(node: Node, count: int, seconds: float, run: int) -> Run:
    variables = {**environment(), "TERM": "xterm", "BENDER_NODES": f"127.0.0.1:{node.api}"}
    command: pexpect.spawn[bytes] = pexpect.spawn(
        BENDER, ["top"], env=variables, dimensions=(LINES, COLUMNS), timeout=PATIENCE_S, encoding=None
    )
    command.delaybeforesend = None
    try:
        command.expect_exact(f"registrations: {count:,}".encode())
        command.send(ALL_BY_CHANGE)
        command.expect_exact(b"by LAST CHANGE")
        with Connection(node.api) as connection:
            return change(command, connection, count, seconds, run)
    finally:
        command.close(force=True)


def change(command: pexpect.spawn[bytes], connection: Connection, count: int, seconds: float, run: int) -> Run:
    """Change registrations and press keys for this time. Each run sets weights that the one before did not set."""
    pid = command.pid
    assert pid is not None
    keys_s: list[float] = []
    written, changes = 0, 0
    began, cpu_s = time.monotonic(), cpu_s_of(pid)
    while (now := time.monotonic() - began) < seconds:
        for number in range(changes, int(now * CHANGES_PER_S)):
            status, _ = connection.ask(weight_request(number * 7919 % count, 2 + (number + 50 * run) % 200))
            if status != 200:
                raise SystemExit(f"A change was answered {status}.")
            changes += 1
        if now > (len(keys_s) + 1) * KEYS_APART_S:
            took_s, size = press(command, "?", b"reverse the order")
            keys_s.append(took_s)
            written += size
            command.send("?")  # any key leaves the help
        written += len(read(command, 0.001))
    took_s = time.monotonic() - began
    used = 100 * (cpu_s_of(pid) - cpu_s) / took_s
    return Run(used, written / took_s, [1000 * each for each in keys_s])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--registrations", type=int, default=10_000, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of one run (default: %(default)s)")
    options = parser.parse_args()
    count = options.registrations
    with cluster(1) as (node,):
        fill(node, count)
        runs = [watch(node, count, options.seconds, run) for run in range(options.repetitions)]
    keys_ms = [each for run in runs for each in run.keys_ms]
    rows = [
        ["core, percent", spread([run.core_percent for run in runs], 1)],
        ["written to the terminal, KB/s", spread([run.bytes_per_s / 1000 for run in runs], 1)],
        ["a key, ms: median", f"{percentile(keys_ms, 50):.1f}"],
        ["a key, ms: longest", f"{max(keys_ms):.1f}"],
    ]
    print_table(f"bender top, {count:,} registrations, {CHANGES_PER_S} changes/s", ["", ""], rows)
    print_line(f"{len(keys_ms)} keys")
    targets = [
        Target("bender top, part of a core", [run.core_percent for run in runs], "%", most=TARGET_CORE_PERCENT),
        Target("bender top, longest time until a key is answered", [max(keys_ms)], "ms", most=TARGET_KEY_MS),
    ]
    write("top", options.json, {"registrations": count, "runs": runs}, targets)


if __name__ == "__main__":
    main()
