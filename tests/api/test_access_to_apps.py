"""Scopes for registrations: the instances that a client may register, renew and deregister."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.api.guarded import API, ID, INSTANCE, OTHER_ID, Guarded


class Apps(SynchronousTestCase):
    """A scope for registrations permits the apps that it matches, wherever a request names them."""

    def setUp(self) -> None:
        self.fronts = [Guarded(fast=fast) for fast in (True, False)]
        for front in self.fronts:
            front.response("POST", "/registrations", API, "root")

    def both(self, method: str, path: str, body: object = None, name: str = "web") -> Any:
        """Return the status and the body of the answer, which is the same both ways."""
        first, second = (front.response(method, path, body, name) for front in self.fronts)
        self.assertEqual((first.status, first.body), (second.status, second.body))
        return first.status, first.json if first.body else None

    def pass_time(self, seconds: int) -> None:
        for front in self.fronts:
            for _ in range(seconds):
                front.clock.advance(1)
                front.node.sweep()

    def ids(self) -> list[str]:
        first, second = ([claim.key for claim in front.node.claims()] for front in self.fronts)
        self.assertEqual(first, second)
        return sorted(first)

    def test_another_app(self) -> None:
        """A token may not send any request about the instances of another app."""
        other = INSTANCE.replace("web-shop", "api")
        for method, path, body in (
            ("POST", "/registrations", API),
            ("POST", other, None),
            ("PUT", other, None),
            ("DELETE", other, None),
            ("DELETE", f"{other}?wait=1", None),
            ("POST", "/renewals", {"ids": [OTHER_ID]}),
            ("POST", other.replace("/api/", "/%61pi/"), None),
        ):
            self.assertEqual(self.both(method, path, body)[0], 403, (method, path))
        self.assertEqual(self.ids(), [OTHER_ID, ID])

    def test_an_app_that_is_encoded(self) -> None:
        """A percent-encoded app is matched in its decoded form."""
        self.assertEqual(self.both("POST", INSTANCE.replace("web", "%77eb"))[0], 200)
        self.assertEqual(self.both("POST", INSTANCE.replace("web-shop", "%77ew-shop"))[0], 403)

    def test_renewals_of_another_app(self) -> None:
        """One id of another app refuses the whole request: nothing is renewed, and all registrations expire."""
        self.pass_time(6)
        status, refusal = self.both("POST", "/renewals", {"ids": [ID, OTHER_ID]})
        self.assertEqual((status, refusal["code"]), (403, "FORBIDDEN"))
        self.pass_time(6)
        self.assertEqual(self.ids(), [])

    def test_renewals(self) -> None:
        """Ids of permitted apps are renewed; invalid ids, and ids of absent registrations, are returned as unknown."""
        self.pass_time(6)
        answer = (200, {"renewed": 1, "unknown": ["nothing", "registration/web-x/1/h/1"]})
        self.assertEqual(self.both("POST", "/renewals", {"ids": [ID, "nothing", "registration/web-x/1/h/1"]}), answer)
        self.pass_time(6)
        self.assertEqual(self.ids(), [ID])

    def test_a_refused_deregistration(self) -> None:
        """After a refused deregistration the instance stays listed; a permitted token deregisters it."""
        self.assertEqual(self.both("DELETE", INSTANCE, name="deployer")[0], 403)
        self.assertIn(ID, self.ids())
        self.assertEqual(self.both("DELETE", INSTANCE)[0], 204)
        self.assertNotIn(ID, self.ids())
