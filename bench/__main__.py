"""Run all measurements, one after the other, and print one table of results: `make bench`, or `python -m bench`.

With names of measurements, only these are run. `--quick` makes few and short runs, which check that everything works,
but whose figures mean nothing. Each measurement is a process that writes a file of figures. A comparison with another
system is one measurement, in which the systems take turns. If a measurement fails, the others are still run, and the
exit status is not 0.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from bench.figures import RESULTS, Target, machine, print_line, print_table
from bench.peers import set_up

TARGET_TURN_MS = 20.0


@frozen
class Measurement:
    """A module `bench.NAME`, its arguments, the arguments for a quick run, and the programs that it needs."""

    name: str
    arguments: Sequence[str] = ()
    quick: Sequence[str] = ()
    peers: Sequence[str] = field(default=())


#: All measurements, in the order of the table.
MEASUREMENTS = (
    Measurement("registering", quick=["--repetitions=1", "--seconds=1"], peers=["debian", "original"]),
    Measurement("renewals", quick=["--repetitions=1", "--seconds=1", "--registrations=10000"]),
    Measurement("listing", quick=["--repetitions=1", "--seconds=1"], peers=["debian"]),
    Measurement("pipelining", quick=["--seconds=1"]),
    Measurement("propagation", quick=["--repetitions=1", "--seconds=3"], peers=["original"]),
    Measurement("encryption", quick=["--repetitions=1", "--seconds=1"], peers=["debian"]),
    Measurement("storm", quick=["--repetitions=1", "--seconds=2"]),
    Measurement("overload", quick=["--repetitions=1", "--seconds=2"], peers=["debian"]),
    Measurement("resolving", quick=["--repetitions=1", "--seconds=1"], peers=["dns"]),
    Measurement("subscribers", quick=["--repetitions=3", "--subscribers=1000"]),
    Measurement("thalassa", quick=["--repetitions=1", "--seconds=1", "--registrations=1000"], peers=["debian"]),
    Measurement("memory", quick=["--repetitions=1", "--registrations=10000"]),
    Measurement("million", quick=["--repetitions=1", "--registrations=20000", "--seconds=1"]),
    Measurement("joining", quick=["--repetitions=1", "--registrations=10000"]),
    Measurement("healing", quick=["--repetitions=1", "--registrations=10000", "--more=1000"]),
    Measurement(
        "idle",
        ["--only", "1,000 sticky", "100,000 sticky", "--repetitions=2", "--seconds=20"],
        ["--only", "1,000 sticky", "2,000 sticky", "--seconds=5"],
    ),
    Measurement("scale", quick=["--sizes", "5", "20", "--seconds=1", "--rotating=100"]),
    Measurement("top", quick=["--repetitions=1", "--registrations=500", "--seconds=3"]),
    Measurement("page", ["--seconds=60"], ["--registrations=500", "--seconds=10"], peers=["chromium"]),
    Measurement("scraping", quick=["--repetitions=1", "--scrapes=2", "--apps", "10", "100"]),
    Measurement("agent_checks", quick=["--repetitions=1", "--seconds=1", "--servers=100"]),
    Measurement("balancing", quick=["--repetitions=1", "--seconds=3"], peers=["haproxy"]),
)


@frozen
class Result:
    """The figures of a measurement, None if it failed, and its duration."""

    name: str
    figures: Mapping[str, Any] | None
    took_s: float

    @property
    def targets(self) -> list[Target]:
        return [Target.from_document(document) for document in self.figures["targets"]] if self.figures else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [measurement.name for measurement in MEASUREMENTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(names)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="short runs, which check that everything works")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for figures (default: %(default)s)")
    parser.add_argument("--picture", type=Path, help="where to draw the table as SVG, such as docs/performance.svg")
    options = parser.parse_args()
    unknown = {*options.names} - {*names}
    if unknown:
        parser.error(f"there is no measurement {', '.join(sorted(unknown))}, only {', '.join(names)}")
    chosen = [each for each in MEASUREMENTS if not options.names or each.name in options.names]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for peer in sorted({peer for each in chosen for peer in each.peers}):
        set_up(peer)
    done = [run(each, options.results, quick=options.quick) for each in chosen]
    targets = [target for each in done for target in each.targets] + longest_turn(done)
    print_and_save(done, targets, options)
    if not all(each.figures for each in done):
        sys.exit(1)


def run(measurement: Measurement, results: Path, *, quick: bool) -> Result:
    """Run one measurement, which prints its own table."""
    print_line(f"\n--- {measurement.name}")
    file = results / f"{measurement.name}.json"
    file.unlink(missing_ok=True)
    arguments = measurement.quick if quick else measurement.arguments
    command = [sys.executable, "-m", f"bench.{measurement.name}", *arguments, f"--json={file}"]
    began = time.monotonic()
    status = _status(command)
    took_s = time.monotonic() - began
    if status:
        print_line(f"FAILED  {measurement.name}: see above")
        return Result(measurement.name, None, took_s)
    return Result(measurement.name, json.loads(file.read_text()), took_s)


def _status(command: Sequence[str]) -> int:
    """Run a command. End it before this process ends, so that its child processes end as well."""
    process = subprocess.Popen(command)  # noqa: S603 - our own words
    try:
        return process.wait()
    except KeyboardInterrupt:  # the command has received it too
        process.wait()
        sys.exit(130)
    except SystemExit:
        process.terminate()
        process.wait()
        raise


def longest_turns(done: Sequence[Result]) -> list[tuple[float, str]]:
    """Return the longest turns of reactors and their measurements, the longest first."""
    turns = [
        (turn_ms, f"{each.name}, {what}")
        for each in done
        if each.figures
        for what, turn_ms in each.figures["turns_ms"].items()
    ]
    return sorted(turns, reverse=True)


def longest_turn(done: Sequence[Result]) -> list[Target]:
    """Return the target for the longest turn in all measurements."""
    return [
        Target(f"longest reactor turn in all of these ({where})", [turn_ms], "ms", most=TARGET_TURN_MS)
        for turn_ms, where in longest_turns(done)[:1]
    ]


def print_and_save(done: Sequence[Result], targets: Sequence[Target], options: argparse.Namespace) -> None:
    """Print the table of targets; write the summary and the picture."""
    rows = [[target.what, target.bound, target.measured, target.verdict] for target in targets]
    rows += [[f"{each.name} failed", "", "", "MISSED"] for each in done if not each.figures]
    title = "All targets, and the measured medians, with the extremes of the repetitions in brackets"
    print_table(title, ["what", "target", "measured", "met or MISSED"], rows)
    for turn_ms, where in longest_turns(done):
        if turn_ms > TARGET_TURN_MS:
            print_line(f"over {TARGET_TURN_MS:g} ms: a turn of {turn_ms:,.1f} ms in {where}")
    if options.quick:
        print_line("This was a quick run, which only checks that everything works: its figures mean nothing.")
    print_line(
        f"{sum(target.is_met for target in targets)} of {len(rows)} met, in {sum(each.took_s for each in done):,.0f} s"
    )
    summary = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": options.quick,
        "machine": machine(),
        "took_s": {each.name: each.took_s for each in done},
        "failed": [each.name for each in done if not each.figures],
        "targets": [target.document() for target in targets],
        "turns_ms": {each.name: each.figures["turns_ms"] for each in done if each.figures},
    }
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / "summary.json"
    file.write_text(json.dumps(summary, indent=1) + "\n")
    print_line(f"written to {file}")
    if options.picture:
        from bench.picture import draw  # noqa: PLC0415 - it needs matplotlib, and nothing else does

        draw(targets, options.picture)
        print_line(f"written to {options.picture}")


if __name__ == "__main__":
    main()
