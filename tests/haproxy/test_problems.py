"""The problems of a driver, as reported at `/ready`, to bender and in the log."""

from __future__ import annotations

from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from bender.core.consumers import digest_of
from bender.haproxy.core.condition import HELD, LEFT_OUT, REFUSED, REPEAT_S, UNREACHABLE, UNWRITABLE
from bender.haproxy.core.topology import Door, Topology
from bender.haproxy.driver import CHECK_S
from bender.haproxy.problems import served_instead
from bender.haproxy.reloader import WRITE_RETRY_S_MAX
from bender.haproxy.status import readiness
from tests.haproxy.driver_case import SHOP, SYNCED, B, DriverCase
from tests.haproxy.events import backend, frontend, online

#: The reason why HAProxy is not changed while bender's configuration is restored.
AGAIN = "backends and frontends are being set again; waiting until none has changed for 3 s"


class TroubleCase(DriverCase):
    def problems(self) -> dict[str, dict[str, Any]]:
        """Return the problems of the last report, by kind."""
        return (
            {each["kind"]: each for each in self.acknowledger.reports[-1]["problems"]}
            if self.acknowledger.reports
            else {}
        )

    def applied(self, id_: str) -> bool:
        """Return True if HAProxy has the last setting of this id, according to the last report."""
        return bool({each["id"]: each["applied"] for each in self.acknowledger.reports[-1]["settings"]}[id_])

    def not_ready(self) -> str:
        code, said = readiness(self.driver)
        self.assertEqual((code, said["code"]), (HTTPStatus.SERVICE_UNAVAILABLE, "NOT_READY"))
        return str(said["message"])

    def assert_ready(self) -> None:
        self.assertEqual(readiness(self.driver), (HTTPStatus.OK, {"ready": True}))


class Serving(SynchronousTestCase):
    """The clause that describes the configuration that HAProxy keeps."""

    def serving(self, topology: Topology | None) -> str:
        reloader: Any = SimpleNamespace(loaded=topology, loaded_ms=0)
        return served_instead(reloader)

    def test_what_is_not_known(self) -> None:
        """The configuration is unknown if HAProxy was started before the driver."""
        self.assertEqual(self.serving(None), "HAProxy keeps the configuration that it started with")

    def test_frontends(self) -> None:
        """The clause names some frontends, and counts the others."""
        doors = tuple(Door(f"w{i}:in", f"w{i}", "http", (f"*:{i}",), "p", ()) for i in range(1, 8))
        begins = "HAProxy keeps the configuration of 1970-01-01 00:00:00 UTC, which has"
        self.assertEqual(self.serving(Topology()), f"{begins} no frontend")
        self.assertEqual(self.serving(Topology(doors[:1])), f"{begins} frontend w1 (*:1)")
        named = "frontends w1 (*:1), w2 (*:2), w3 (*:3), w4 (*:4), w5 (*:5)"
        self.assertEqual(self.serving(Topology(doors[:5])), f"{begins} {named}")
        self.assertEqual(self.serving(Topology(doors)), f"{begins} {named}, 2 more")


class FullDisk(TroubleCase):
    def test_servers_that_cannot_be_written(self) -> None:
        """HAProxy has the new servers, but the driver is not ready until they are in the file, too; it retries."""
        self.serve(1)
        self.settle(2)
        self.assert_ready()
        self.full = True
        with capturedLogs() as logs:
            self.send(online(2))
            self.settle(60)
            self.assertEqual(self.servers()[B], (0, 1))
            why = f"{self.output} cannot be written (No space left on device)"
            self.assertIn(why, self.not_ready())
            problem = self.problems()[UNWRITABLE]
            self.assertEqual((problem["why"], "older ones after a restart" in problem["instead"]), (why, True))
            self.full = False
            self.settle(WRITE_RETRY_S_MAX)
        self.assert_ready()
        self.assertIn(f"server {B} ", self.output.read_text())
        self.assertEqual(self.problems(), {})
        lines = [line for line in map(formatEvent, logs) if line and "written" in line]
        unchanged = f"The configuration file stays unchanged: {why}"
        self.assertEqual(lines, [unchanged, f"{self.output} can be written again."])

    def test_room_that_comes_soon(self) -> None:
        """When a disk is full only for a moment, the driver is ready again soon."""
        self.serve(1)
        self.settle(2)
        self.full = True
        self.send(online(2))
        self.settle(1)
        self.assertIn("cannot be written", self.not_ready())
        self.full = False
        self.settle(2)
        self.assert_ready()

    def test_a_frontend_that_cannot_be_written(self) -> None:
        """The report has the configuration that HAProxy keeps; the new frontend is applied when there is room."""
        self.serve(1)
        self.settle(2)
        self.full = True
        self.send(frontend("new", backend="shop", bind="*:81"))
        self.settle(5)
        self.assertIn("No space left on device", self.not_ready())
        self.assertEqual([*self.problems()], [UNWRITABLE])
        self.assertIn("which has frontend www (*:80)", self.problems()[UNWRITABLE]["instead"])
        self.assertFalse(self.applied("frontend/new"))
        self.full = False
        self.settle(WRITE_RETRY_S_MAX + 1)
        self.assert_ready()
        self.assertTrue(self.applied("frontend/new"))
        self.assertEqual(self.reload.reload_count, 1)

    def test_the_states_of_servers(self) -> None:
        """The driver is not ready without the states file, because HAProxy would start with all servers up."""
        self.serve(1)
        self.settle(2)
        self.full = True
        self.files.states = "others"  # so that the states differ and are written
        self.settle(CHECK_S)
        self.assertIn(".states cannot be written", self.not_ready())
        self.full = False
        self.settle(CHECK_S)
        self.assert_ready()


class Reported(TroubleCase):
    def test_what_haproxy_refuses(self) -> None:
        """The refusal is reported with HAProxy's reason, and the driver stays ready with the last accepted file."""
        self.serve(1)
        self.settle(2)
        self.bad = "bad"
        self.send(backend("bad"))
        self.settle(2)
        problem = self.problems()[REFUSED]
        self.assertEqual((problem["why"], problem["since"]), ("it has bad words", 0))
        self.assertIn("frontend www (*:80)", problem["instead"])
        self.assertFalse(self.applied("backend/bad"))
        self.assert_ready()

    def test_another_change_meanwhile(self) -> None:
        """A valid change is applied although another setting is refused."""
        self.serve(1)
        self.settle(2)
        self.bad = "bad"
        self.send(backend("bad"))
        self.settle(2)
        self.send(backend("shop", "changed", version="2"))
        self.settle(1)
        self.assertEqual((self.applied("backend/shop"), self.applied("backend/bad")), (True, False))

    def test_a_setting(self) -> None:
        """A setting is reported by its digest, as soon as HAProxy has it."""
        self.serve(1)
        said = backend("shop", "changed", version="2")
        self.send(said)
        self.settle(0.2)
        (first, *_) = self.acknowledger.reports[-1]["settings"]
        self.assertEqual(first, {"id": "backend/shop", "digest": digest_of(said.body), "applied": True})
        self.send(frontend("www", "removed"))
        self.settle(2)
        (first, *_) = self.acknowledger.reports[-1]["settings"]
        self.assertEqual(first, {"id": "frontend/www", "digest": "", "applied": True})

    def test_what_cannot_be_used(self) -> None:
        """A frontend that is left out is reported with the reason."""
        self.serve(1)
        self.send(frontend("other", backend="shop", bind="*:80"))
        self.settle(2)
        problem = self.problems()[LEFT_OUT]
        self.assertEqual((problem["id"], problem["why"]), ("frontend/other", "bind: *:80 is used by frontend/www"))

    def test_a_part_that_is_left_out(self) -> None:
        """Each report in which the setting is applied also has the problem with the missing part."""
        self.serve(1)
        self.send(frontend("other", backend="shop", bind="*:82"))
        self.settle(2)
        said = frontend("www", "changed", backend="shop", bind="*:80,*:82")
        self.send(said)
        self.settle(2)
        digest = digest_of(said.body)
        applied = [
            [problem["why"] for problem in report["problems"]]
            for report in self.acknowledger.reports
            if {"id": "frontend/www", "digest": digest, "applied": True} in report["settings"]
        ]
        why = "frontend/www is served at *:80 only: *:82 is used by frontend/other"
        self.assertEqual({*map(tuple, applied)}, {(why,)})

    def test_haproxy_that_is_not_started_yet(self) -> None:
        """A HAProxy that does not answer before its first configuration is not a problem."""
        self.send(*SHOP, SYNCED)
        self.settle(3)
        self.assertEqual([each for report in self.acknowledger.reports for each in report["problems"]], [])
        self.assert_ready()

    def test_haproxy_does_not_answer(self) -> None:
        """The driver is not ready, and repeats its report, because a node forgets reports when their stream ends."""
        self.serve(1)
        self.haproxy.running = False
        self.settle(3)
        self.assertIn("HAProxy does not answer", self.not_ready())
        self.assertIn("HAProxy does not answer", self.problems()[UNREACHABLE]["why"])
        before = len(self.acknowledger.reports)
        self.settle(4 * REPEAT_S)
        self.assertLessEqual(3, len(self.acknowledger.reports) - before)
        self.assertLessEqual(len(self.acknowledger.reports) - before, 5)

    def test_bender_has_lost_everything(self) -> None:
        """HAProxy stays unchanged, and no setting is reported as applied."""
        self.serve(1)
        self.restart_driver()
        self.send(backend("shop"), SYNCED)
        self.settle(3)
        self.assertIn("bender has no frontend", self.problems()[HELD]["why"])
        self.assertFalse(self.applied("backend/shop"))
        self.assertEqual([*self.problems()], [HELD])
        self.send(*SHOP[1:], online(1))
        self.settle(0.2)
        self.assertEqual(self.problems()[HELD]["why"], AGAIN)
        self.assertEqual(self.not_ready(), AGAIN)
        self.settle(10)
        self.assertEqual((self.problems(), self.applied("backend/shop")), ({}, True))
