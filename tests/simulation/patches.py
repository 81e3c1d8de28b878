"""Temporary replacements of parts of the core, which break rules on purpose or record calls.

The core has no switches for this. A patch is always undone, also if a test fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Patch = tuple[object, str, Callable[[Any], Any]]


@contextmanager
def patched(patches: list[Patch]) -> Iterator[None]:
    """Replace attributes with the results of patches, which are called with the original attributes."""
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
