"""What measurements have in common once the measuring is done: percentiles, tables, and files for other programs.

All figures of one run go to one JSON file, with the machine and its load, because a figure without them says little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import attrs

#: Where results go that are not asked for elsewhere.
RESULTS = Path("build/bench")


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and in brackets the extremes if there are several values."""
    middle = f"{median(values):,.{digits}f}"
    return middle if len(values) < 2 else f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def say(text: str = "") -> None:
    """Speak to people, at once."""
    print(text, flush=True)  # noqa: T201


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people: the first column to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    say(f"\n{title}\n")
    for first, *others in (columns, ["-" * width for width in widths], *rows):
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        say("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    say()


def print_target(what: str, value: float, *, most: float | None = None, least: float | None = None) -> None:
    """Whether a figure is within its target, which is one of the two."""
    met = (most is None or value <= most) and (least is None or value >= least)
    wanted = f"at least {least:,.2f}" if most is None else f"at most {most:,.2f}"
    say(f"{'met' if met else 'MISSED':6}  {what}: {value:,.2f}, {wanted}")


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """The options that every measurement has."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3, help="how often to measure (default: %(default)s)")
    parser.add_argument("--json", type=Path, help=f"where the figures go (default: {RESULTS}/NAME.json)")
    return parser


def write(name: str, path: Path | None, figures: Mapping[str, Any]) -> None:
    """Put the figures of one run into a file; attrs values become objects."""
    path = path or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"measurement": name, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine()}
    path.write_text(json.dumps({**document, **figures}, indent=1, default=attrs.asdict) + "\n")
    say(f"written to {path}")


def machine() -> dict[str, Any]:
    """What the figures were taken on, and what else it had to do at the end of them."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "processors": os.cpu_count(),
        "python": sys.version.split()[0],
        "kernel": platform.release(),
        "load": os.getloadavg(),
    }
