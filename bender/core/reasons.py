"""Reasons of events and of ends that are more than a word to people."""

from __future__ import annotations

from typing import Final

#: The reason of an end that a failed check of the instance led to. A later release may have others.
CHECK_FAILED: Final = "check-failed"
