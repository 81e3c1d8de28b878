"""`/status` and `/ready` of a driver."""

from __future__ import annotations

from http import HTTPStatus

from bender.haproxy.status import readiness, status
from tests.haproxy.driver_case import NODE, SHOP, SYNCED, DriverCase
from tests.haproxy.events import backend, frontend, offline, online


class Status(DriverCase):
    def why(self) -> str:
        """Return the reason why the driver is not ready."""
        code, said = readiness(self.driver)
        self.assertEqual((code, said["code"]), (HTTPStatus.SERVICE_UNAVAILABLE, "NOT_READY"))
        return str(said["message"])

    def test_before_bender_has_said_all(self) -> None:
        """A driver without the full state is not ready, with the reason."""
        self.assertIn("full state yet", self.why())

    def test_all_is_well(self) -> None:
        """The status has the member and the state of each server."""
        self.send(*SHOP, online(1, state="drain"), SYNCED)
        self.settle(3)
        self.assertEqual(readiness(self.driver)[0], HTTPStatus.OK)
        said = status(self.driver)
        self.assertEqual((said["ready"], said["bender"]["node"], said["bender"]["lag"]), (True, NODE, 0.0))
        self.assertEqual((said["haproxy"]["reloads"], said["haproxy"]["refused"], said["held"]), (0, None, None))
        (server,) = said["backends"]["shop"]["servers"]
        self.assertEqual(
            (server["haproxy"], server["id"], server["weight"]),
            ("shop/1:10.0.0.1:1", "registration/web/1/10.0.0.1/1", 0),
        )
        self.assertEqual(said["frontends"]["www"]["binds"], ["*:80"])

    def test_what_cannot_be_used(self) -> None:
        """The status has the reason for each unusable object, and the ids of kept objects that bender does not list."""
        self.send(*SHOP, online(1), frontend("b", bind="*:80 ssl"), backend("c", balance="x"), SYNCED)
        self.send(offline(1, "node-lost"), online(2, host="a.example"))
        self.settle(0.5)
        said = status(self.driver)
        self.assertEqual([*said["problems"]], ["backend/c", "frontend/b", "registration/web/1/a.example/2"])
        self.assertEqual(said["kept"], ["registration/web/1/10.0.0.1/1"])

    def test_haproxy_does_not_answer(self) -> None:
        """The driver is not ready any more."""
        self.serve(1)
        self.haproxy.running = False
        self.settle(3)
        self.assertIn("HAProxy does not answer", self.why())
        said = status(self.driver)["haproxy"]
        self.assertEqual((said["answers"], said["pid"]), (False, None))

    def test_what_haproxy_refuses(self) -> None:
        """The status has the refusal, and HAProxy keeps its servers."""
        self.serve(1)
        self.settle(2)
        self.bad = "bad"
        self.send(backend("bad"))
        self.settle(2)
        said = status(self.driver)["haproxy"]
        self.assertEqual((said["refused"]["why"], said["settled"]), ("it has bad words", False))
        self.assertEqual(readiness(self.driver)[0], HTTPStatus.OK)
