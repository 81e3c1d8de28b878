"""Select the smallest set of a target's inputs that reaches the same code as all of them.

Reached code means pairs of lines that run one after the other, in bender and in the parsers that it uses. Atheris has
an option `-merge` for this, but it starts a new process, which does not work for a Python module.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

#: A file, two lines of it that ran one after the other, and how often: 1, 2 or 3, 4 to 7, and so on. A function begins
#: after line 0.
Step = tuple[str, int, int, int]

#: Parts of the paths of the files whose lines count.
_FOLDERS = ("/bender/", "/tomllib/", "/h11/", "/twisted/web/http.py")


def smallest(run: Callable[[bytes], None], inputs: Iterable[bytes]) -> list[bytes]:
    """Return the inputs to keep, the shortest first. Raises any error of `run`."""
    run(b"")  # the first run reaches code that runs only once, whatever the input
    kept: dict[bytes, set[Step]] = {}
    times: Counter[Step] = Counter()
    for sent in sorted({*inputs}, key=lambda sent: (len(sent), sent)):
        steps = _steps(run, sent)
        if not steps <= times.keys():
            kept[sent] = steps
            times.update(steps)
    for sent, steps in [*kept.items()]:
        if all(times[step] > 1 for step in steps):  # longer ones reach all of it
            del kept[sent]
            times.subtract(steps)
    return [*kept]


def _steps(run: Callable[[bytes], None], sent: bytes) -> set[Step]:
    """Return the steps that an input reaches."""
    found: Counter[tuple[str, int, int]] = Counter()

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not any(folder in file for folder in _FOLDERS) or "/tests/" in file:
            return None
        before = 0

        def line(frame: FrameType, event: str, _argument: Any) -> Any:
            nonlocal before
            if event == "line":
                found[Path(file).name, before, frame.f_lineno] += 1
                before = frame.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        run(sent)
    finally:
        sys.settrace(None)
    return {(*step, count.bit_length()) for step, count in found.items()}
