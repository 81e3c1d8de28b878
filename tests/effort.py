"""The amount of work of the larger tests: moderate by default, many times more in a thorough run of `.ci/run`."""

from __future__ import annotations

import os
from typing import TypeVar

_T = TypeVar("_T")


def effort(daily: _T, thorough: _T) -> _T:
    """Return the second amount if the variable BENDER_TESTS is `thorough`, as set by `tests/suite.py outside`."""
    return thorough if os.environ.get("BENDER_TESTS") == "thorough" else daily
