"""The report of a driver: its settings and its problems."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from bender.core.consumers import PROBLEMS_MAX, REPORT_BYTES_MAX, SETTINGS_MAX, Report, digest_of
from bender.haproxy.core.condition import LEFT_OUT, REFUSED, UNREACHABLE, Condition, DriverProblem

#: A text longer than any name, in characters of several bytes.
EUROS = "\u20ac" * 200

SHOP = {"id": "backend/shop", "name": "shop", "app": "web", "version": "1"}


class Settings(SynchronousTestCase):
    def setUp(self) -> None:
        self.condition = Condition()

    def settings(self, *, has: bool = True) -> list[tuple[str, str, bool]]:
        reported = self.condition.report(lambda _id: has)["settings"]
        return [(each["id"], each["digest"], each["applied"]) for each in reported]

    def test_what_haproxy_has(self) -> None:
        """A setting is applied after the servers are set, if the configuration also has all of the setting."""
        self.condition.receive("backend/shop", SHOP)
        digest = digest_of(SHOP)
        self.assertEqual(self.settings(), [("backend/shop", digest, False)])
        self.condition.note_servers_applied()
        self.assertEqual(self.settings(has=False), [("backend/shop", digest, False)])
        self.assertEqual(self.settings(), [("backend/shop", digest, True)])

    def test_what_was_removed(self) -> None:
        """A removed setting is reported with an empty digest."""
        self.condition.receive("backend/shop", SHOP)
        self.condition.receive("backend/shop", None)
        self.assertEqual(self.settings(), [("backend/shop", "", False)])

    def test_the_last_of_many(self) -> None:
        """The settings that changed last come first, and settings beyond the limit are not reported."""
        for number in range(SETTINGS_MAX + 5):
            self.condition.receive(f"backend/{number}", SHOP)
        self.condition.receive("backend/10", SHOP)
        ids = [id_ for id_, _, _ in self.settings()]
        self.assertEqual((len(ids), ids[:2]), (SETTINGS_MAX, ["backend/10", f"backend/{SETTINGS_MAX + 4}"]))


class Problems(SynchronousTestCase):
    def setUp(self) -> None:
        self.condition = Condition()

    def problems(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.condition.report(lambda _id: True)["problems"]
        return found

    def test_since_when(self) -> None:
        """A problem keeps its first time when its text changes, and gets a new time when it returns after its end."""
        self.condition.set_problems([DriverProblem(REFUSED, "line 3: no", instead="the old one")], 1000)
        self.condition.set_problems(
            [DriverProblem(REFUSED, "line 4: no"), DriverProblem(LEFT_OUT, "bind", "frontend/a")], 2000
        )
        refused = {"kind": "refused", "why": "line 4: no", "since": 1000}
        left_out = {"kind": "left-out", "why": "bind", "since": 2000, "id": "frontend/a"}
        self.assertEqual(self.problems(), [refused, left_out])
        self.condition.set_problems([], 3000)
        self.assertEqual(self.problems(), [])
        self.condition.set_problems([DriverProblem(REFUSED, "no", instead="the old one")], 4000)
        self.assertEqual(self.problems(), [{"kind": "refused", "why": "no", "since": 4000, "instead": "the old one"}])

    def test_a_report_that_fits(self) -> None:
        """A report is within the limits of a node, for any number of problems and any texts in them."""
        troubles = [DriverProblem(LEFT_OUT, EUROS * 25, f"frontend/{'x' * 200}{n}") for n in range(100)]
        self.condition.set_problems([DriverProblem(UNREACHABLE, "no answer"), *troubles], 1000)
        for number in range(100):
            self.condition.receive(f"backend/{EUROS}{number}", SHOP)
        encoded = msgspec.json.encode(self.condition.report(lambda _id: True))
        report = msgspec.json.decode(encoded, type=Report)
        self.assertLess(len(encoded), REPORT_BYTES_MAX // 3)
        self.assertLessEqual(len(report.problems), PROBLEMS_MAX)
        self.assertEqual(report.problems[0].kind, "unreachable")
        self.assertGreater(len(report.received or ()), 1)
