"""The reports of drivers: which drivers have applied a change, which have not, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from bender.client import Consumer, NotFound
from bender.client.drivers import (
    APPLIED_S_MAX,
    LOOK_INTERVAL_S,
    drivers_unable_to_drain,
    main_problem_kind,
    problem_clauses,
    wait_until_applied,
)
from bender.core.consumers import digest_of

SHOP = {"id": "backend/shop", "name": "shop", "app": "web", "version": "1"}
REFUSED = {"kind": "refused", "why": "line 3: no", "since": 1000, "instead": "HAProxy keeps the old one"}
SILENT = {"kind": "unreachable", "why": "HAProxy does not answer", "since": 1000}


def driver(
    name: str, *problems: dict[str, Any], applied: bool | None = None, settings: object = SHOP, **more: Any
) -> Consumer:
    """Return a driver that has received these settings of the shop; `applied` is None if it has received none."""
    held = [] if applied is None else [{"id": "backend/shop", "digest": digest_of(settings), "applied": applied}]  # type: ignore[arg-type]
    report = {"problems": [*problems], "settings": held}
    return Consumer(name, "n1", True, "x-1", 0, 1, report, **more)


class Waiting(SynchronousTestCase):
    """The result of waiting while drivers send one report after the other."""

    def wait(
        self, *looks: Sequence[Consumer], settings: dict[str, Any] | None = SHOP, within_s: float = APPLIED_S_MAX
    ) -> list[str]:
        seen = iter(looks)
        self.pauses: list[float] = []
        self.last: Sequence[Consumer] = ()

        async def consumers() -> Sequence[Consumer]:
            self.last = next(seen, self.last)
            return self.last

        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)

        waiting = Deferred.fromCoroutine(wait_until_applied(consumers, pause, "backend/shop", settings, within_s))
        self.unapplied = self.successResultOf(waiting)
        return [each.text for each in self.unapplied]

    def test_nobody(self) -> None:
        """Without drivers there is no wait."""
        self.assertEqual((self.wait([]), self.pauses), ([], []))

    def test_all_have_it(self) -> None:
        """The wait ends when the last driver has applied the change."""
        one, other = driver("a", applied=True), driver("b", applied=False)
        self.assertEqual(self.wait([one, driver("b")], [one, other], [one, driver("b", applied=True)]), [])
        self.assertEqual(self.pauses, [LOOK_INTERVAL_S, LOOK_INTERVAL_S])

    def test_refused(self) -> None:
        """A driver that refuses a change is returned at once, with the reason and the setting it serves instead."""
        texts = self.wait([driver("a", REFUSED, applied=False), driver("b", applied=True)])
        self.assertEqual(texts, ["a refuses the change: line 3: no; HAProxy keeps the old one"])
        self.assertEqual((self.pauses, [each.is_refused for each in self.unapplied]), ([], [True]))

    def test_another_problem(self) -> None:
        """Other problems do not matter if the driver has applied this change, or has not received it yet."""
        self.assertEqual(self.wait([driver("a", REFUSED, applied=True)]), [])
        self.assertEqual(self.wait([driver("a", REFUSED)], [driver("a", REFUSED, applied=True)]), [])

    def test_late(self) -> None:
        """A driver that does not report the change is returned when the time is over."""
        self.assertEqual(self.wait([driver("a")]), ["a has not applied the change after 5 s"])
        self.assertAlmostEqual(sum(self.pauses), APPLIED_S_MAX)
        self.assertEqual([each.is_refused for each in self.unapplied], [False])
        self.assertEqual(self.wait([driver("a", applied=True, settings=SHOP | {"version": "0"})])[0][:9], "a has not")

    def test_what_passes(self) -> None:
        """A load balancer that does not answer may be starting, so the wait continues until the end."""
        silent = driver("a", SILENT, applied=False)
        self.assertEqual(self.wait([silent], [driver("a", applied=True)]), [])
        self.assertEqual(self.wait([silent]), ["a cannot apply the change: HAProxy does not answer"])

    def test_without_time(self) -> None:
        """Without time to wait, only drivers with a reason are returned."""
        self.assertEqual(self.wait([driver("a"), driver("b", SILENT, applied=False)], within_s=0),
                         ["b cannot apply the change: HAProxy does not answer"])  # fmt: skip
        self.assertEqual(self.pauses, [])

    def test_a_part_of_it(self) -> None:
        """A part that is left out is returned, although the rest is applied."""
        problem = {"kind": "left-out", "why": "balance: uri needs mode http", "since": 1, "id": "backend/shop"}
        other = {"kind": "left-out", "why": "no", "since": 1, "id": "backend/other"}
        texts = self.wait([driver("a", other, problem, applied=True)])
        self.assertEqual(texts, ["a leaves out backend/shop, or a part of it: balance: uri needs mode http"])
        self.assertEqual([(each.is_refused, each.is_partly_applied) for each in self.unapplied], [(False, True)])

    def test_what_was_removed(self) -> None:
        """Removals are handled like changes."""
        self.assertEqual(self.wait([driver("a", applied=True, settings=None)], settings=None), [])

    def test_who_is_not_waited_for(self) -> None:
        """The wait ignores consumers that are gone, report nothing, or do not report settings."""
        gone = Consumer("gone", "n1", False, "x-1", 0, 1, {"problems": [], "settings": []})
        older = Consumer("older", "n1", True, "x-1", 0, 1, {"down": [], "backends": {}})
        strange = Consumer("strange", "n1", True, "x-1", 0, 1, {"settings": "all"})
        watcher = Consumer("watcher", "n1", True, "x-1", 0, 1, None)
        self.assertEqual((self.wait([gone, older, strange, watcher]), self.pauses), ([], []))

    def test_an_older_node(self) -> None:
        """A node that does not list consumers has no drivers to wait for."""

        async def consumers() -> Sequence[Consumer]:
            raise NotFound(404, "NOT_FOUND", "the API has no such path", "n1")

        async def pause(_seconds: float) -> None:
            raise AssertionError("there is nothing to wait for")

        waiting = Deferred.fromCoroutine(wait_until_applied(consumers, pause, "backend/shop", SHOP))
        self.assertEqual(self.successResultOf(waiting), [])

    def test_two_of_one_name(self) -> None:
        """Drivers with the same name are distinguished by their instances."""
        one, other = driver("a", applied=True, instance="1"), driver("a", REFUSED, applied=False, instance="2")
        self.assertEqual([text[:14] for text in self.wait([one, other])], ["a (2) refuses "])


class Problems(SynchronousTestCase):
    def test_in_words(self) -> None:
        """Each clause has the effect of a problem, its duration and the reason."""
        left_out = {"kind": "left-out", "why": "bind: no", "since": 2000, "id": "frontend/www"}
        novel = {"kind": "novel", "why": "who knows", "since": 3000}
        said = [*problem_clauses(driver("a", REFUSED, left_out, novel), lambda at_ms: f"{at_ms // 1000} s")]
        self.assertEqual(
            said,
            [
                "refuses the configuration, for 1 s: line 3: no; HAProxy keeps the old one",
                "leaves out frontend/www, or a part of it, for 2 s: bind: no",
                "has a problem, for 3 s: who knows",
            ],
        )

    def test_the_kind(self) -> None:
        """A problem with the whole load balancer comes before a part that is left out."""
        left_out = {"kind": "left-out", "why": "bind: no", "since": 2000, "id": "frontend/www"}
        self.assertEqual(main_problem_kind(driver("a", left_out, SILENT)), "unreachable")
        self.assertEqual(main_problem_kind(driver("a", left_out)), "left-out")
        self.assertIsNone(main_problem_kind(driver("a")))
        self.assertIsNone(main_problem_kind(Consumer("a", "n1", True, None, 0, 1)))

    def test_who_cannot_change_members(self) -> None:
        """Only drivers that cannot reach their load balancers are returned, not those with a refused configuration."""
        self.assertEqual(
            drivers_unable_to_drain([driver("a", SILENT), driver("b", REFUSED)]),
            ["a cannot apply the change now: HAProxy does not answer"],
        )
