"""Reasons of events and of ends on which code depends. All other reasons are only shown to people."""

from __future__ import annotations

from typing import Final

#: The reason of an end that was made because a check of the instance failed. A later release may know other reasons.
CHECK_FAILED: Final = "check-failed"
