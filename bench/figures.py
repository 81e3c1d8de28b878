"""The common functions of all measurements: percentiles, targets, tables, and files of figures.

All figures of one run are written to one JSON file, with the machine and its load, because figures depend on these.
`python -m bench` reads these files for the table of all targets.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import attrs
from attrs import frozen

#: The default folder for results.
RESULTS = Path("build/bench")


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median, with the extremes in brackets if there are several values."""
    middle = f"{median(values):,.{digits}f}"
    return middle if len(values) < 2 else f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def print_line(text: str = "") -> None:
    """Print a line and flush the output."""
    print(text, flush=True)  # noqa: T201


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    print_line(f"\n{title}\n")
    for first, *others in (columns, ["-" * width for width in widths], *rows):
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print_line("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    print_line()


@frozen
class Target:
    """A figure, with one value for each repetition, and the bound for their median: `most` or `least`."""

    what: str
    values: Sequence[float]
    unit: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def value(self) -> float:
        return median(self.values)

    @property
    def is_met(self) -> bool:
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def verdict(self) -> str:
        return "met" if self.is_met else "MISSED"

    @property
    def bound(self) -> str:
        """The bound, as text."""
        side, bound = ("at most", self.most or 0.0) if self.least is None else ("at least", self.least)
        return (
            f"{side} {bound:,.0f} {self.unit}".rstrip() if bound >= 1000 else f"{side} {bound:g} {self.unit}".rstrip()
        )

    @property
    def measured(self) -> str:
        """The measured value, with the extremes."""
        size = max(map(abs, self.values))
        whole = all(value == int(value) for value in self.values)
        digits = 0 if whole or size >= 1000 else 2 if size < 10 else 1
        return f"{spread(self.values, digits)} {self.unit}".rstrip()

    def document(self) -> dict[str, Any]:
        """Return the target as JSON, for `from_document`."""
        return {**attrs.asdict(self), "median": self.value, "met": self.is_met}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Target:
        return cls(**{field.name: document[field.name] for field in attrs.fields(cls)})


def print_targets(targets: Sequence[Target]) -> None:
    """Print whether the targets are met."""
    for target in targets:
        print_line(f"{target.verdict:6}  {target.what}: {target.measured}, {target.bound}")


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every measurement. From now on SIGTERM raises `SystemExit`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("This measurement was ended."))
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3, help="how often to measure (default: %(default)s)")
    parser.add_argument("--json", type=Path, help=f"where the figures go (default: {RESULTS}/NAME.json)")
    return parser


def write(
    name: str,
    path: Path | None,
    figures: Mapping[str, Any],
    targets: Sequence[Target] = (),
    turns_ms: Mapping[str, float] | None = None,
) -> None:
    """Print the targets and write all figures of one run into a file. Values of attrs classes become objects.

    `turns_ms` has the longest turns of reactors in milliseconds of processor time, by a description of node and load.
    """
    print_targets(targets)
    for what, turn_ms in (turns_ms or {}).items():
        print_line(f"        longest turn, {what}: {turn_ms:.1f} ms")
    path = path or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "measurement": name,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "targets": [target.document() for target in targets],
        "turns_ms": turns_ms or {},
    }
    path.write_text(json.dumps({**document, **figures}, indent=1, default=attrs.asdict) + "\n")
    print_line(f"written to {path}")


def machine() -> dict[str, Any]:
    """Return the machine of the figures, and its load at their end."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "processors": os.cpu_count(),
        "python": sys.version.split()[0],
        "kernel": platform.release(),
        "load": os.getloadavg(),
    }
