"""The error of everything that checks what a client or a peer has sent."""

from __future__ import annotations


class Invalid(ValueError):
    """What a client sent is not acceptable: `field` says which part of it, the message what is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
