"""How many registrations a node takes per second, beside other systems.

wrk sends the registrations of 2,000 instances over and over, on 32 connections that are kept alive, from one thread:
the first ones are new, the others are renewals. The systems take turns, several times
over, each freshly started and with a second to warm up: a node, in both forms that a registration has; Twisted's web
with nothing behind it, which answers everything with the bytes that the node answers, as it comes and without its log
(see `bench.bare`); the original; etcd through its HTTP gateway. What they list is counted in the end of each turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen

from bench.figures import Target, arguments, write
from bench.nodes import Connection, Node, cluster, get, id_of, instance, path_of, post, processes_in_folder
from bench.peers import (
    CONNECTIONS,
    Run,
    Server,
    bare,
    etcd,
    etcd_count,
    etcd_put,
    load,
    original,
    print_runs,
    ratios,
    run,
)

INSTANCES = 2_000

#: The ttl of the original, as long as that of bender.
TTL_S = 10

#: How many times faster than each: the target. The original is asked as its own client does, for whom it was made; it
#: takes twice as many requests of the plainer form, which has a row of its own.
TIMES = {"twisted.web": 3.0, "original": 8.0, "etcd": 4.0}


def _object(number: int) -> dict[str, object]:
    app, version, host, port = instance(number)
    return {"app": app, "version": version, "host": host, "port": port}


def _chunked(path: str) -> bytes:
    """Return the request of the original's published client, but on kept connections, which is in its favour."""
    return f"POST {path} HTTP/1.1\r\nHost: bench\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()


NUMBERS = range(INSTANCES)
IDS = {id_of(number) for number in NUMBERS}
AS_PATHS = [post(path_of(number)) for number in NUMBERS]
AS_OBJECTS = [post("/registrations", _object(number)) for number in NUMBERS]
AS_CHUNKS = [_chunked(path_of(number)) for number in NUMBERS]
AS_KEYS = [etcd_put(id_of(number), json.dumps(_object(number)).encode()) for number in NUMBERS]


@frozen
class System:
    """How to start a system, its requests, and a function that returns how many registrations it lists, if it can."""

    start: Callable[[Path], Node | Server]
    requests: Sequence[bytes]
    listed: Callable[[int], int] | None


def systems(body: bytes) -> dict[str, System]:
    """Return all systems; `body` is the answer of a node."""
    return {
        "bender": System(Node, AS_PATHS, _listed),
        "bender, JSON": System(Node, AS_OBJECTS, _listed),
        "twisted.web": System(lambda place: bare(place, body), AS_PATHS, None),
        "twisted.web, silent": System(lambda place: bare(place, body, "silent"), AS_PATHS, None),
        "original": System(lambda place: original(place, TTL_S), AS_CHUNKS, _listed),
        "original, plain": System(lambda place: original(place, TTL_S), AS_PATHS, _listed),
        "etcd": System(etcd, AS_KEYS, etcd_count),
    }


def _listed(port: int) -> int:
    """Return how many of the instances are listed. No others may be, except those of the original itself."""
    with Connection(port) as connection:
        registrations = json.loads(connection.ask(get("/registrations"))[1])
    listed = [each["id"] for each in registrations if each["app"] not in ("bender-api", "bender-crdt")]
    if len({*listed}) != len(listed) or not IDS.issuperset(listed):
        raise SystemExit("A registration is listed twice, or was never made.")
    return len(listed)


def measure(name: str, system: System, seconds: int) -> Run:
    """Run a system once."""
    with processes_in_folder() as (place, processes):
        server = system.start(place)
        processes.append(server)
        server.wait_until_ready()
        done = run(server, system.requests, seconds)
        if system.listed is not None and (listed := system.listed(server.api)) != INSTANCES:
            raise SystemExit(f"{name} lists {listed} registrations, and should list {INSTANCES}.")
        return done


def answer() -> bytes:
    """Return the answer of a node to a registration."""
    with cluster(1) as (node,), Connection(node.api) as connection:
        return connection.ask(AS_PATHS[0])[1]


def longest_turns_ms(seconds: int) -> dict[str, float]:
    """Return the longest turns of a node, in runs of their own."""
    turns_ms = {}
    with cluster(1, instrumented=True) as (node,):
        for name, requests in (("registrations by path", AS_PATHS), ("registrations as JSON", AS_OBJECTS)):
            load(node.api, requests, seconds)
            turns_ms[name] = node.longest_turn_ms()
    return turns_ms


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=5)
    parser.add_argument("--seconds", type=int, default=4, help="length of one run (default: %(default)s)")
    options = parser.parse_args()
    compared = systems(answer())
    runs: dict[str, list[Run]] = {name: [] for name in compared}
    for _ in range(options.repetitions):
        for name, system in compared.items():
            runs[name].append(measure(name, system, options.seconds))
    title = f"Registrations on {CONNECTIONS} connections, median of {options.repetitions} runs of {options.seconds} s"
    print_runs(title, runs)
    targets = [
        Target(f"registrations/s, in terms of {name}", ratios(runs["bender"], runs[name]), "times", least=times)
        for name, times in TIMES.items()
    ]
    figures = {"instances": INSTANCES, "connections": CONNECTIONS, "seconds": options.seconds, "runs": runs}
    write("registering", options.json, figures, targets, longest_turns_ms(options.seconds))


if __name__ == "__main__":
    main()
