"""Cached results of identical earlier requests: most instances send the same request again and again."""

from __future__ import annotations

import msgspec

from bender.core import model
from bender.core.model import RegistrationRequest
from bender.core.registration_status import USUAL, RegistrationStatus
from bender.node.node import Node


class RepeatedRequest(msgspec.Struct):
    """A registration or renewal that was parsed before, with its last result.

    `requested` is the parsed registration, None for a renewal. `registration_json` is the instance after the last
    request, made from `terms` and `status`.
    """

    key: str
    headers: tuple[tuple[bytes, bytes], ...]
    requested: RegistrationRequest | None = None
    terms: bytes = b""
    status: RegistrationStatus = USUAL
    registration_json: bytes = b""

    def register(self, node: Node, at: float | None = None) -> bool:
        """Register the instance. Return True if it was not registered here.

        `at` is a time that `Node.now` has just returned; without it, the node reads its clock.
        """
        if self.terms and node.renew_as_is(self.key, self.terms, at):
            self._note(node, self.terms)
            return False
        assert self.requested is not None
        created, terms = node.register(self.requested)
        self._note(node, terms)
        return created

    def renew(self, node: Node, at: float | None = None) -> bool:
        """Renew the instance; return False if it is not registered. `at` is as in `register`."""
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
            self.terms, self.status, self.registration_json = terms, status, model.registration(self.key, terms, status)
