"""Commands without HTTP: every request gets an answer, done or refused."""

from __future__ import annotations

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.api.responses import ApiRequest, ApiResponse
from bender.api.routes import ROUTES, answer
from bender.node.limits import Limits
from bender.node.node import Node
from tests.api.conversation import WEB, WEB_PATH, ApiCase, a_node

ROUTE_AT = {route.path: route for route in ROUTES}


class Commands(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def register(self, node: Node, **changed: object) -> ApiResponse:
        return self.answer(node, ApiRequest("POST", body=msgspec.json.encode({**WEB, **changed})))

    def answer(self, node: Node, asked: ApiRequest) -> ApiResponse:
        answered = answer(node, ROUTE_AT["/registrations"], asked)
        assert isinstance(answered, ApiResponse)
        return answered

    def test_done(self) -> None:
        """A registration is answered with 201 and its location."""
        done = self.register(a_node(self.clock))
        self.assertEqual((done.status, {*dict(done.headers)}), (201, {b"Content-Type", b"Location"}))

    def test_refused(self) -> None:
        """A refused command is answered with the cause; no exception is raised."""
        node, full = a_node(self.clock), a_node(self.clock, limits=Limits(registrations=0))
        starting = a_node(self.clock, seeds=("peer:1730",))
        for refused, code in (
            (self.register(node, port=0), "INVALID"),
            (self.register(node, meta={"x": "y" * 4096}), "TOO_LARGE"),
            (self.register(full), "BUSY"),
            (self.register(starting), "NOT_READY"),
            (self.answer(node, ApiRequest("BREW")), "METHOD_NOT_ALLOWED"),
        ):
            self.assertEqual(msgspec.json.decode(refused.body)["code"], code)
            self.assertEqual(dict(refused.headers)[b"Content-Type"], b"application/json")

    def test_retry(self) -> None:
        """A node that is not ready answers with the time after which to try again."""
        refused = self.register(a_node(self.clock, seeds=("peer:1730",)))
        self.assertEqual(dict(refused.headers)[b"Retry-After"], b"1")


class Queries(ApiCase):
    """An unknown parameter gets 400 if it could do harm to ignore it."""

    def message(self, method: str, path: str, body: object = None) -> str:
        return self.refused("INVALID", self.ask(method, path, body))

    def test_of_requests_that_change_something(self) -> None:
        """A request that changes something gets 400 for any unknown parameter, and nothing is changed."""
        self.ask("POST", "/registrations", WEB)
        hint = "wiat: is not a parameter of this request, did you mean wait?"
        self.assertEqual(self.message("DELETE", f"{WEB_PATH}?wiat=5"), hint)
        takes = "x: is not a parameter of this request; its parameters are instance, reason, wait"
        self.assertEqual(self.message("DELETE", f"{WEB_PATH}?x"), takes)
        self.assertEqual(len(self.ask("GET", "/registrations").json), 1)
        backend = {"app": "web", "version": "1"}
        self.assertIn("did you mean force?", self.message("PUT", "/backends/site?forced", backend))
        self.assertEqual(self.ask("GET", "/backends").json, [])
        for method, path in (
            ("DELETE", "/backends/site"),
            ("DELETE", "/frontends/x"),
            ("POST", "/backends/x/rollback"),
        ):
            self.assertIn("must have no value, or 1 or true", self.message(method, f"{path}?force=2"))

    def test_of_requests_that_know_none(self) -> None:
        """A request without any parameters of its own ignores unknown ones."""
        self.assertEqual(self.ask("POST", "/renewals?x", {"ids": []}).status, 200)

    def test_of_requests_that_change_nothing(self) -> None:
        """A query that only reads gets 400 for a misspelled `meta.KEY`, and ignores other parameters."""
        for query in ("mta.zone=a", "meta=a", "Meta.zone=a", "met.zone=a"):
            message = self.message("GET", f"/registrations/web?{query}")
            self.assertIn("is not a parameter of this request, did you mean meta.KEY?", message)
        for path in (
            "/registrations?_=17&pretty&zone=a",
            "/registrations?meta.zone=a",
            "/backends?force",
            "/status?wait",
        ):
            self.assertEqual(self.ask("GET", path).status, 200)
            self.assertEqual(self.ask("HEAD", path).status, 200)

    def test_of_events(self) -> None:
        """`/events` gets 400 for an unknown parameter, because a misspelled filter would admit all events.

        Parameters that JavaScript libraries add are ignored.
        """
        self.assertIn(
            "snapshto: is not a parameter of this request, did you mean snapshot?",
            self.message("GET", "/events?snapshto"),
        )
        self.assertIn("zone: is not a parameter", self.message("GET", "/events?zone=a"))
        self.assertEqual(self.ask("GET", "/events?_=17&lastEventId=").status, 200)
