"""How much the larger tests do: enough for every day, or many times that, for which `.ci/run` takes its time."""

from __future__ import annotations

import os
from typing import TypeVar

_T = TypeVar("_T")


def effort(daily: _T, thorough: _T) -> _T:
    """Return the second amount where the variable BENDER_TESTS is `thorough`, as `tests/suite.py outside` sets it."""
    return thorough if os.environ.get("BENDER_TESTS") == "thorough" else daily
