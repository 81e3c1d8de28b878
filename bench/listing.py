"""How many lists of an app with 100 instances a node answers per second, beside Twisted's web with the same bytes.

wrk sends `GET /registrations/APP` on 32 connections that are kept alive, from one thread. Nothing changes meanwhile.
Twisted's web server only sends the bytes of the node's answer. The two take turns several times, and at the end of each
turn the answer must be unchanged.
"""

from __future__ import annotations

from bench.figures import Target, arguments, write
from bench.nodes import Connection, Node, cluster, fill, get, processes_in_folder
from bench.peers import Run, Server, bare, load, print_runs, ratios, run

#: In 20 apps of 100 each.
REGISTRATIONS = 2_000
MEMBERS = 100
ASKING = get("/registrations/app-7")

TARGET_TIMES = 2.0


def measure(server: Node | Server, expected: bytes, seconds: int) -> Run:
    done = run(server, [ASKING], seconds)
    if ask(server.api) != expected:
        raise SystemExit("The answer has changed during the measurement.")
    return done


def ask(port: int) -> bytes:
    with Connection(port) as connection:
        status, body = connection.ask(ASKING)
    if status != 200:
        raise SystemExit(f"The request for a list was answered {status}.")
    return body


def measure_both(seconds: int, repetitions: int) -> tuple[dict[str, list[Run]], int]:
    """Return the runs of each, and the size of the answer in bytes."""
    runs: dict[str, list[Run]] = {"bender": [], "twisted.web": []}
    with cluster(1) as (node,), processes_in_folder() as (place, processes):
        fill(node, REGISTRATIONS)
        body = ask(node.api)
        if body.count(b'"id":"registration/') != MEMBERS:
            raise SystemExit(f"The list does not have {MEMBERS} members: {body[:200]!r}")
        server = bare(place, body)
        processes.append(server)
        server.wait_until_ready()
        for _ in range(repetitions):
            runs["bender"].append(measure(node, body, seconds))
            runs["twisted.web"].append(measure(server, body, seconds))
    return runs, len(body)


def longest_turn_ms(seconds: int) -> float:
    """Return the longest turn of a node, in a run of its own."""
    with cluster(1, instrumented=True) as (node,):
        fill(node, REGISTRATIONS)
        node.take_figures()
        load(node.api, [ASKING], seconds)
        return node.longest_turn_ms()


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(repetitions=5)
    parser.add_argument("--seconds", type=int, default=4, help="length of one run (default: %(default)s)")
    options = parser.parse_args()
    runs, size = measure_both(options.seconds, options.repetitions)
    title = f"Lists of {MEMBERS} members, {size:,} bytes, median of {options.repetitions} runs of {options.seconds} s"
    print_runs(title, runs)
    what = f"GET of an app with {MEMBERS} members, in terms of twisted.web"
    targets = [Target(what, ratios(runs["bender"], runs["twisted.web"]), "times", least=TARGET_TIMES)]
    turns_ms = {"listing an app": longest_turn_ms(options.seconds)}
    write("listing", options.json, {"bytes": size, "seconds": options.seconds, "runs": runs}, targets, turns_ms)


if __name__ == "__main__":
    main()
