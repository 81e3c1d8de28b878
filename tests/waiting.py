"""Waits with a time limit, without an event loop, for measurements and the demo. Tests use `e2e.nodes.until`."""

from __future__ import annotations

import time
from collections.abc import Callable


def holds_within(limit_s: float, condition: Callable[[], bool], apart_s: float = 0.02) -> bool:
    """Return True as soon as a condition holds, or False after the time limit. It is checked every `apart_s`."""
    ends_at = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > ends_at:
            return False
        time.sleep(apart_s)
    return True
