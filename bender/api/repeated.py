"""Requests of instances that come again unchanged: what was read of them, and what they came to."""

from __future__ import annotations

import msgspec

from bender.core import model
from bender.core.model import RegistrationRequest
from bender.core.registration_status import USUAL, RegistrationStatus
from bender.node.node import Node


class RepeatedRequest(msgspec.Struct):
    """A registration or renewal that was read before, with the instance as it was shown after the last time.

    `wanted` is what a registration asks for, None for a renewal; `terms` and `status` are those that `shown` is of.
    """

    key: str
    headers: tuple[tuple[bytes, bytes], ...]
    wanted: RegistrationRequest | None = None
    terms: bytes = b""
    status: RegistrationStatus = USUAL
    shown: bytes = b""

    def register(self, node: Node, at: float | None = None) -> bool:
        """Register, at a time that the node's clock has just shown. Return True if the instance was not listed."""
        if self.terms and node.renew_as_is(self.key, self.terms, at):
            self._note(node, self.terms)
            return False
        assert self.wanted is not None
        created, terms = node.register(self.wanted)
        self._note(node, terms)
        return created

    def renew(self, node: Node, at: float | None = None) -> bool:
        """Renew in the same way. Return True if the instance is listed."""
        if self.terms and node.renew_as_is(self.key, self.terms, at):
            self._note(node, self.terms)
            return True
        terms = node.renew(self.key)
        if terms is not None:
            self._note(node, terms)
        return terms is not None

    def _note(self, node: Node, terms: bytes) -> None:
        status = node.registration_status(self.key)
        if terms is not self.terms or status is not self.status:
            self.terms, self.status, self.shown = terms, status, model.registration(self.key, terms, status)
