"""What programs of Thalassa cost: updates per second beside the native call, and a subscriber's first minute.

Updates of 2,000 instances are sent by wrk to the port of --thalassa, and the same registrations to the API, in turns at
one node, as in `bench.registering`. Then a subscriber connects to a node with 10,000 registrations of which as many
more went lately, and reads until it has all of them; the longest turn of the node says how long others had to wait.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from attrs import frozen

from bench.figures import Target, arguments, print_table, spread, write
from bench.nodes import Connection, Node, cluster, connect, delete, fill, free_ports, path_of, post
from bench.peers import CONNECTIONS, WARM_UP_S, load

INSTANCES = 2_000
META = {"zone": "a", "pid": 31_895}
TTL_S = 60

NATIVE = [post(path_of(number), {"ttl": TTL_S, "meta": META}) for number in range(INSTANCES)]
UPDATES = [post(path_of(number), {"secondsToExpire": TTL_S, **META}) for number in range(INSTANCES)]

#: The part of the native call's rate that updates have at least.
LEAST_TIMES = 0.8


@frozen
class FirstFrames:
    """The time until a new subscriber had everything, and the frames and bytes of that."""

    took_ms: float
    frames: int
    size: int


def rates(seconds: int) -> tuple[float, float]:
    """Return the registrations and the updates per second of one node."""
    port, events = free_ports(2)
    with cluster(1, options=[f"--thalassa={port}:{events}"]) as (node,):
        load(node.api, NATIVE, WARM_UP_S)
        native = load(node.api, NATIVE, seconds).per_s
        return native, load(port, UPDATES, seconds).per_s


def first_frames(count: int) -> tuple[FirstFrames, float]:
    """Return what a new subscriber gets, and the longest turn of the node meanwhile, in milliseconds."""
    port, events = free_ports(2)
    with cluster(1, instrumented=True, options=[f"--thalassa={port}:{events}"]) as (node,):
        fill(node, 2 * count)
        _remove(node, range(count))
        node.longest_turn_ms()
        frames = _read(events, 2 * count)
        return frames, node.longest_turn_ms()


def _remove(node: Node, numbers: Sequence[int]) -> None:
    with Connection(node.api) as connection:
        for number in numbers:
            status, _ = connection.ask(delete(path_of(number)))
            if status != 204:
                raise SystemExit(f"A deregistration was answered {status}.")


def _read(port: int, frames: int) -> FirstFrames:
    """Connect, and read this number of frames."""
    began, held, read, size = time.monotonic(), b"", 0, 0
    connection = connect(port)
    while read < frames:
        received = connection.recv(1 << 20)
        if not received:
            raise SystemExit(f"The node closed the connection of a subscriber after {read} of {frames} frames.")
        size += len(received)
        held += received
        at = 0
        while len(held) - at >= 4 and len(held) - at >= (end := 4 + int.from_bytes(held[at + 1 : at + 4], "big")):
            at += end
            read += 1
        held = held[at:]
    took_ms = (time.monotonic() - began) * 1000
    connection.close()
    return FirstFrames(took_ms, read, size)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="length of one run (default: %(default)s)")
    parser.add_argument("--registrations", type=int, default=10_000, help="of the subscriber (default: %(default)s)")
    options = parser.parse_args()
    runs = [rates(options.seconds) for _ in range(options.repetitions)]
    native, updates = [each[0] for each in runs], [each[1] for each in runs]
    subscribed = [first_frames(options.registrations) for _ in range(options.repetitions)]
    frames, turns_ms = [each[0] for each in subscribed], [each[1] for each in subscribed]
    print_table(
        f"Programs of Thalassa on {CONNECTIONS} connections, and a subscriber with {options.registrations:,}",
        ["", "median"],
        [
            ["registrations/s over the API", spread(native, 0)],
            ["updates/s over --thalassa", spread(updates, 0)],
            [f"ms until a subscriber has {frames[0].frames:,} frames", spread([each.took_ms for each in frames], 0)],
            ["MB of these", spread([each.size / 1e6 for each in frames], 1)],
        ],
    )
    times = [one / other for one, other in zip(updates, native, strict=True)]
    targets = [Target("updates/s, in terms of the API's", times, "times", least=LEAST_TIMES)]
    figures = {"seconds": options.seconds, "native": native, "updates": updates, "frames": frames}
    write("thalassa", options.json, figures, targets, {"a new subscriber": max(turns_ms)})


if __name__ == "__main__":
    main()
