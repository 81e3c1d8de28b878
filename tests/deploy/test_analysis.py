"""The conditions under which a version counts as performing worse."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.consumers import Counted, Report, down_by_most, report_of
from bender.deploy.analysis import (
    REQUESTS_MIN,
    Observation,
    Rates,
    RequestCount,
    counts_by_version,
    members_phrase,
    regression,
)

LEAST = REQUESTS_MIN


class Worse(SynchronousTestCase):
    def regression(self, look: Observation, **limits: Any) -> str | None:
        return regression(look, **{"members_min": 3, "errors_max": 2.0, **limits})

    def test_members(self) -> None:
        """Fewer members than required are too few."""
        self.assertIsNone(self.regression(Observation(3)))
        self.assertEqual(self.regression(Observation(2)), "has 2 members left of 3")
        self.assertEqual(self.regression(Observation(0)), "has no members left of 3")

    def test_members_that_cannot_be_reached(self) -> None:
        """A version is worse if most members cannot be reached, but not if half of them cannot."""
        self.assertIsNone(self.regression(Observation(4, down=2)))
        self.assertEqual(self.regression(Observation(4, down=3)), "has 4 members, of which 3 cannot be reached")
        self.assertIsNone(self.regression(Observation(0), members_min=0))

    def test_errors(self) -> None:
        """A version is worse if its share of errors exceeds the baseline by more than the limit."""
        baseline = RequestCount(1000, 10)
        self.assertIsNone(self.regression(Observation(3, errors=RequestCount(1000, 30), baseline=baseline)))
        why = self.regression(Observation(3, errors=RequestCount(1000, 31), baseline=baseline))
        self.assertEqual(why, "fails 3.1 % of its requests, and the other version fails 1.0 %")
        self.assertIsNone(
            self.regression(Observation(3, errors=RequestCount(1000, 31), baseline=baseline), errors_max=3.0)
        )
        self.assertIsNone(
            self.regression(Observation(3, errors=RequestCount(1000, 500), baseline=RequestCount(1000, 600)))
        )

    def test_too_few_requests(self) -> None:
        """Few requests count only if several of them failed, far more than usual."""
        self.assertIsNone(self.regression(Observation(3, errors=RequestCount(LEAST - 1, LEAST // 3))))
        self.assertTrue(self.regression(Observation(3, errors=RequestCount(LEAST, 3))))
        self.assertIsNone(self.regression(Observation(3, errors=RequestCount(LEAST, 2))))
        self.assertIsNone(self.regression(Observation(3, errors=RequestCount(4, 4))))
        why = self.regression(Observation(3, errors=RequestCount(6, 6), baseline=RequestCount(4, 0)))
        self.assertEqual(why, "fails 100.0 % of its requests, and the other version fails 0.0 %")
        self.assertIsNone(self.regression(Observation(3, errors=RequestCount(20, 10), baseline=RequestCount(10, 1))))
        self.assertEqual(
            [Observation(3, errors=RequestCount(number)).has_enough_requests for number in (LEAST - 1, LEAST)],
            [False, True],
        )


class RatesOverTime(SynchronousTestCase):
    def test_what_was_before_does_not_count(self) -> None:
        """Counting begins at the first report of a load balancer."""
        rates = Rates().with_reports({"edge": {"1": RequestCount(500, 50), "2": RequestCount(9, 9)}})
        self.assertEqual(rates.since("1"), RequestCount())
        rates = rates.with_reports({"edge": {"1": RequestCount(700, 51), "2": RequestCount(9, 9)}})
        self.assertEqual(
            (rates.since("1"), rates.since("2"), rates.since("3")),
            (RequestCount(200, 1), RequestCount(), RequestCount()),
        )

    def test_several_who_report(self) -> None:
        """The counts of several reporters are added, even if one reports later or stops reporting."""
        rates = Rates().with_reports({"a": {"2": RequestCount(10, 1)}})
        rates = rates.with_reports({"a": {"2": RequestCount(20, 2)}, "b": {"2": RequestCount(1000, 100)}})
        rates = rates.with_reports({"b": {"2": RequestCount(1005, 101)}})
        self.assertEqual(rates.since("2"), RequestCount(15, 2))

    def test_who_begins_anew(self) -> None:
        """If a reporter has restarted, all that it counts is new."""
        rates = (
            Rates().with_reports({"a": {"2": RequestCount(100, 10)}}).with_reports({"a": {"2": RequestCount(30, 3)}})
        )
        self.assertEqual(rates.since("2"), RequestCount(30, 3))

    def test_from_now(self) -> None:
        """Counting begins again at zero, and counts nothing twice."""
        rates = (
            Rates()
            .with_reports({"a": {"2": RequestCount(10, 1)}})
            .with_reports({"a": {"2": RequestCount(20, 2)}})
            .restarted()
        )
        self.assertEqual(rates.since("2"), RequestCount())
        self.assertEqual(rates.with_reports({"a": {"2": RequestCount(25, 2)}}).since("2"), RequestCount(5, 0))

    def test_what_is_usual(self) -> None:
        """The baseline has the requests since the moment or, if these are too few, all requests."""
        rates = Rates().with_reports({"a": {"1": RequestCount(1000, 10)}})
        self.assertEqual(rates.baseline("1"), RequestCount(1000, 10))
        rates = rates.with_reports({"a": {"1": RequestCount(1000 + LEAST - 1, 10)}})
        self.assertEqual(rates.baseline("1"), RequestCount(1000 + LEAST - 1, 10))
        rates = rates.with_reports({"a": {"1": RequestCount(1000 + LEAST, 10)}})
        self.assertEqual(rates.baseline("1"), RequestCount(LEAST, 0))

    @given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 19))
    def test_nothing_is_lost(self, growths: list[int], restarted_at: int) -> None:
        """The sum is the same for any number of reports, even if a counter restarts once."""
        rates, total = Rates().with_reports({"a": {"2": RequestCount()}}), 0
        for i, growth in enumerate(growths):
            total = growth if i == restarted_at and total > growth else total + growth
            rates = rates.with_reports({"a": {"2": RequestCount(total)}})
        self.assertEqual(rates.since("2").requests, sum(growths))


class Reports(SynchronousTestCase):
    def test_as_they_are_sent(self) -> None:
        """Reports have the unreachable members and the counts; other fields are ignored."""
        said = {"down": ["a"], "backends": {"shop": {"2": {"requests": 5, "errors": 1, "more": 0}}}, "more": []}
        self.assertEqual(report_of(said), Report(("a",), {"shop": {"2": Counted(5, 1)}}))
        self.assertEqual(report_of({}), Report())

    def test_counts_of_a_backend(self) -> None:
        """Counts are by version; a version without traffic has none."""
        report = Report(backends={"shop": {"1": Counted(5, 1), "2": Counted(7, 0)}})
        self.assertEqual(counts_by_version(report, "shop"), {"1": RequestCount(5, 1), "2": RequestCount(7, 0)})
        self.assertEqual(counts_by_version(report, "other"), {})

    def test_what_is_none(self) -> None:
        """An invalid report counts as no report."""
        said: tuple[Any, ...] = (
            None,
            [],
            "x",
            {"down": [1]},
            {"backends": {"shop": 1}},
            {"down": None},
            {"backends": {"shop": {"2": {"requests": -1, "errors": 0}}}},
        )
        for each in said:
            self.assertIsNone(report_of(each))

    def test_whom_most_cannot_reach(self) -> None:
        """A member is down if most load balancers cannot reach it: a single one may be cut off itself."""
        one, other, third = Report(("a", "b")), Report(("b",)), Report(())
        self.assertEqual(down_by_most([one], "abc"), ["a", "b"])
        self.assertEqual(down_by_most([one, other], "abc"), ["b"])
        self.assertEqual(down_by_most([one, other, third], "abc"), ["b"])
        self.assertEqual(down_by_most([one, third], "abc"), [])
        self.assertEqual(down_by_most([], "abc"), [])


class Words(SynchronousTestCase):
    def test_numbers_of_members(self) -> None:
        """Numbers of members are phrases."""
        self.assertEqual([members_phrase(n) for n in (0, 1, 2)], ["no members", "1 member", "2 members"])
