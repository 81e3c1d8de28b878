"""Replacing parts of the core for a while: to break rules on purpose, and to read along.

The core has no switches for either. A patch is undone whatever happens, also in the middle of a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Patch = tuple[object, str, Callable[[Any], Any]]


@contextmanager
def patched(patches: list[Patch]) -> Iterator[None]:
    """Have attributes replaced by what each patch makes of the original."""
    originals = []
    try:
        for owner, name, change in patches:
            original = vars(owner)[name]
            originals.append((owner, name, original))
            setattr(owner, name, change(original))
        yield
    finally:
        for owner, name, original in reversed(originals):
            setattr(owner, name, original)
