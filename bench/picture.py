"""Draw the table of targets: a bar for each figure shows how many times better it is than its target.

Use: python -m bench.picture SUMMARY.json PICTURE.svg, or `python -m bench --picture PICTURE.svg`. It has
its own background, so that it is legible on light and dark pages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.figures import Target

GROUND, INK, FAINT = "#fbfaf7", "#22272e", "#8b949e"
MET, MISSED = "#2f7d5b", "#c0562f"

#: The limits of the bars; their labels have the figures.
SHORTEST, LONGEST = 0.1, 30.0

ROW_INCHES = 0.36


def times_better(target: Target) -> float:
    """Return how many times better than its target a figure is; 1 just meets it."""
    if target.least is not None:
        times = target.value / target.least
    elif target.value:
        times = (target.most or 0.0) / target.value
    else:
        times = LONGEST if target.most else 1.0
    return min(max(times, SHORTEST), LONGEST)


def draw(targets: Sequence[Target], path: Path) -> None:
    """Write the picture; replace an existing file."""
    # Text stays text, and the same figures make the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bender", "font.family": "sans-serif"})
    figure = Figure(figsize=(11, 1.1 + ROW_INCHES * len(targets)), facecolor=GROUND, layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor(GROUND)
    places = range(len(targets))
    widths = [times_better(target) for target in targets]
    colours = [MET if target.is_met else MISSED for target in targets]
    # Bars begin at the target: to the right for better figures, to the left for worse ones.
    axes.barh(places, [width - 1 for width in widths], left=1, color=colours, height=0.55)
    for place, target, width in zip(places, targets, widths, strict=True):
        label = f"{target.measured}   ({target.bound})"
        axes.text(max(width, 1) * 1.06, place, label, va="center", color=INK, fontsize=8.5)
    axes.set_xscale("log")
    axes.set_xlim(SHORTEST, LONGEST * 40)
    axes.set_xticks([0.1, 0.5, 1, 2, 5, 10, 30], ["0.1", "½", "target", "2 ×", "5 ×", "10 ×", "30 ×"])  # noqa: RUF001
    axes.minorticks_off()
    axes.set_yticks(places, [target.what for target in targets])
    axes.invert_yaxis()
    axes.axvline(1, color=INK, linewidth=1)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.4, alpha=0.5)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title("bender: figures beside their targets; green is met", color=INK, fontsize=11, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", facecolor=GROUND, metadata={"Date": None})


def main() -> None:
    summary = json.loads(Path(sys.argv[1]).read_text())
    draw([Target.from_document(document) for document in summary["targets"]], Path(sys.argv[2]))


if __name__ == "__main__":
    main()
