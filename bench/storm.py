"""How long a registration takes to the other nodes at thousands per second, and whether any event gets lost.

As `bench.propagation`, without the original, which cannot take this rate. Every registration, from the first on, must
arrive at both other nodes. The client's share of a processor and its delay are shown: it shares the machine with three
nodes, and events that it reads late count against them.
"""

from __future__ import annotations

from bench.figures import Target, arguments, print_table, write
from bench.propagation import COLUMNS, NODES, Client, Run, longest_turn_ms_of_ours, ours, row

TARGET_P99_MS = 25.0


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rate", type=float, default=5_000.0, help="registrations per second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one run (default: %(default)s)")
    options = parser.parse_args()
    rate = f"{options.rate:,g}/s"
    runs: list[Run] = []
    for _ in range(options.repetitions):
        with ours() as system:
            runs.append(Client(system, options.rate, options.seconds).run())
    title = f"Registration to event elsewhere in ms, {NODES} nodes, {rate}, median of {options.repetitions}"
    print_table(title, COLUMNS, [row("bender", runs)])
    targets = [
        Target(f"register to event elsewhere, {rate}: p99", [run.at_ms[99] for run in runs], "ms", most=TARGET_P99_MS),
        Target(f"register to event elsewhere, {rate}: lost", [sum(run.missing for run in runs)], "events", most=0),
    ]
    turns_ms = {f"{rate[:-2]} registrations/s": longest_turn_ms_of_ours(options.rate, options.seconds)}
    write("storm", options.json, {"rate": options.rate, "seconds": options.seconds, "runs": runs}, targets, turns_ms)


if __name__ == "__main__":
    main()
