"""The error that is raised for invalid input of a client or a peer."""

from __future__ import annotations


class Invalid(ValueError):
    """A client or peer sent something invalid. `field` names the invalid part, and the message says what is wrong."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
