"""The commands without any front: every request has an answer, whatever comes of it."""

from __future__ import annotations

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.api.answers import Answer, Asked
from bender.api.commands import ROUTES, answer
from bender.node import Node
from tests.api.conversation import WEB, a_node

ROUTE_AT = {route.path: route for route in ROUTES}


class Commands(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def register(self, node: Node, **changed: object) -> Answer:
        return self.answer(node, Asked("POST", body=msgspec.json.encode({**WEB, **changed})))

    def answer(self, node: Node, asked: Asked) -> Answer:
        answered = answer(node, ROUTE_AT["/registrations"], asked)
        assert isinstance(answered, Answer)
        return answered

    def test_done(self) -> None:
        """A command that can be done is answered with what came of it."""
        done = self.register(a_node(self.clock))
        self.assertEqual((done.status, {*dict(done.headers)}), (201, {b"Content-Type", b"Location"}))

    def test_refused(self) -> None:
        """One that cannot is answered with what hinders it; nothing is raised."""
        node, full = a_node(self.clock), a_node(self.clock, registrations_max=0)
        starting = a_node(self.clock, seeds=("peer:1730",))
        for refused, code in (
            (self.register(node, port=0), "INVALID"),
            (self.register(node, meta={"x": "y" * 4096}), "TOO_LARGE"),
            (self.register(full), "BUSY"),
            (self.register(starting), "NOT_READY"),
            (self.answer(node, Asked("BREW")), "METHOD_NOT_ALLOWED"),
        ):
            self.assertEqual(msgspec.json.decode(refused.body)["code"], code)
            self.assertEqual(dict(refused.headers)[b"Content-Type"], b"application/json")

    def test_retry(self) -> None:
        """Who asks a node that is not ready learns when to ask again."""
        refused = self.register(a_node(self.clock, seeds=("peer:1730",)))
        self.assertEqual(dict(refused.headers)[b"Retry-After"], b"1")
