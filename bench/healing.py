"""How soon two nodes with 100,000 registrations agree again after a cut, in which 10,000 came at one of them.

The nodes reach each other only through a relay (see `bench.relay`), which forwards nothing for some seconds. Meanwhile
the registrations come; both nodes must find each other silent, and the second node must have none of the registrations.
Then the relay forwards again, and both nodes are asked for their `/status` every few milliseconds, until both list the
same number and have the same digest. In the end their lists must be the same bytes.

Nodes exchange once in an interval, and nothing tells them that the network has healed. So two times are shown: from the
heal, and from the first request that passes, for which the target is. The nodes are instrumented (see
`bench.instrumented`).
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from bench.figures import Target, arguments, print_table, spread, write
from bench.nodes import (
    LOOPBACK,
    PATIENCE_S,
    Connection,
    Node,
    Process,
    fill,
    free_ports,
    get,
    processes_in_folder,
    wait_for_copies,
)
from tests.waiting import holds_within

#: The shortest cut after which the nodes find each other silent: three intervals of a second, and the time to notice.
CUT_S = 5.0

#: Seconds between two looks at whether they agree.
LOOK_S = 0.004

#: The pause after they agree, before the next cut.
APART_S = 2.0

#: Addresses of this machine at which no program listens, for the nodes to advertise.
NOWHERE = ("127.0.9.1", "127.0.9.2")

TARGET_S = 0.5


@frozen
class Heal:
    """Seconds until the nodes agreed: from the heal, and from the first request that the relay forwarded after it."""

    from_resumption_s: float
    from_request_s: float
    turn_ms: float


class Relay(Process):
    """`bench.relay` between two nodes."""

    def __init__(self, place: Path, wires: dict[int, int]) -> None:
        (control,) = free_ports(1)
        words = [f"{begin}:{end}" for begin, end in wires.items()]
        super().__init__([sys.executable, "-m", "bench.relay", str(control), *words], place / "relay.log")
        self._control = control

    def ask(self, what: str) -> str:
        """Send a command, and return the answer."""
        until = time.monotonic() + PATIENCE_S
        while True:
            self.require_running()
            try:
                with socket.create_connection((LOOPBACK, self._control), PATIENCE_S) as connection:
                    connection.sendall(f"{what}\n".encode())
                    return connection.makefile().readline().strip()
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise SystemExit("The relay does not start.") from None
                time.sleep(0.02)


@contextmanager
def relayed() -> Iterator[tuple[list[Node], Relay]]:
    """Yield two ready nodes that can be cut from each other."""
    with processes_in_folder() as (place, processes):
        ports = free_ports(2)
        nodes = []
        for address, port in zip(NOWHERE, ports, strict=True):
            options = [f"--advertise={address}", f"--peers={LOOPBACK}:{port}"]
            nodes.append(Node(place, instrumented=True, options=options))
            processes.append(nodes[-1])
        first, second = nodes
        relay = Relay(place, {ports[0]: second.exchange, ports[1]: first.exchange})
        processes.append(relay)
        for node in nodes:
            node.wait_until_ready()
        yield nodes, relay


def heal(nodes: list[Node], relay: Relay, count: int, more: int) -> Heal:
    """Cut, register `more` instances beside the `count` present ones, and heal."""
    first, second = nodes
    _require_agreement(nodes, count)
    relay.ask("cut")
    cut_at = time.monotonic()
    fill(first, more, first=count)
    time.sleep(max(0.0, cut_at + CUT_S - time.monotonic()))
    for node in nodes:
        if [peer["state"] for peer in node.status()["peers"]] != ["silent"]:
            raise SystemExit(f"The cut has no effect; the peers of a node: {node.status()['peers']}")
        node.take_figures()
    if second.registration_count != count:
        raise SystemExit(
            f"The second node lists {second.registration_count} registrations, and not the {count} from before the cut."
        )
    healed_ns = int(relay.ask("heal"))
    agreed_ns = _wait_for_agreement(nodes, count + more)
    turn_ms = max(node.longest_turn_ms() for node in nodes)
    passed_ns = int(relay.ask("passed"))
    _require_agreement(nodes, count + more)
    if not healed_ns < passed_ns < agreed_ns:
        raise SystemExit("The nodes agree although the relay has forwarded nothing.")
    time.sleep(APART_S)
    return Heal((agreed_ns - healed_ns) / 1e9, (agreed_ns - passed_ns) / 1e9, turn_ms)


def _wait_for_agreement(nodes: list[Node], count: int) -> int:
    """Return when both nodes listed `count` registrations and had the same digest."""
    with Connection(nodes[0].api) as one, Connection(nodes[1].api) as other:

        def agree() -> bool:
            states = _state(one), _state(other)
            return states[0] == states[1] and states[0][0] == count

        if not holds_within(PATIENCE_S, agree, LOOK_S):
            raise SystemExit(
                f"The nodes do not agree: they list {[node.registration_count for node in nodes]} of {count}."
            )
        return time.monotonic_ns()


def _state(connection: Connection) -> tuple[int, str]:
    status: Any = json.loads(connection.ask(get("/status"))[1])
    return status["counts"]["registrations"], status["digest"]


def _require_agreement(nodes: list[Node], count: int) -> None:
    """Fail unless both nodes list the same bytes, with this number of registrations."""
    lists = []
    for node in nodes:
        with Connection(node.api) as connection:
            lists.append(connection.ask(get("/registrations"))[1])
    if lists[0] != lists[1] or lists[0].count(b'"id":"registration/') != count:
        raise SystemExit(f"The nodes' lists differ, or do not have {count} members.")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--registrations", type=int, default=100_000, help="on both (default: %(default)s)")
    parser.add_argument("--more", type=int, default=10_000, help="that come during the cut (default: %(default)s)")
    options = parser.parse_args()
    count, more = options.registrations, options.more
    with relayed() as (nodes, relay):
        fill(nodes[0], count)
        wait_for_copies(nodes[1], count)
        heals = [heal(nodes, relay, count + i * more, more) for i in range(options.repetitions)]
    rows = [
        ["s from the first request that passes", spread([each.from_request_s for each in heals])],
        ["s from the moment of the heal", spread([each.from_resumption_s for each in heals])],
    ]
    title = f"Two nodes with {count:,} registrations agree on {more:,} more, median of {options.repetitions} heals"
    print_table(title, ["", "median"], rows)
    what = f"{count:,} registrations: a heal after {more:,} differ"
    targets = [Target(what, [each.from_request_s for each in heals], "s", most=TARGET_S)]
    turns_ms = {"a heal": max(each.turn_ms for each in heals)}
    write("healing", options.json, {"registrations": count, "more": more, "heals": heals}, targets, turns_ms)


if __name__ == "__main__":
    main()
