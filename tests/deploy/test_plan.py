"""The steps of a deploy, and its rollback."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.deploy.plan import DeployPlan, are_same, percent_text, rollback_change

SHOP: dict[str, Any] = {"id": "backend/shop", "name": "shop", "app": "web", "version": "1"}


def with_canary(version: str, percent: float) -> dict[str, Any]:
    return {**SHOP, "canary": {"version": version, "percent": percent}}


def percents(plan: DeployPlan, settings: dict[str, Any]) -> list[float]:
    return [step.percent for step in plan.remaining_steps(settings)]


class Steps(SynchronousTestCase):
    def test_at_once(self) -> None:
        """Without steps there is one step, which is watched like a switch."""
        (step,) = DeployPlan("shop", "2", watch_s=7).remaining_steps(SHOP)
        self.assertEqual((step.percent, step.watched_s, step.is_switch), (100, 7, True))

    def test_one_after_the_other(self) -> None:
        """Each share is watched for its time, and the switch for its own."""
        steps = DeployPlan("shop", "2", steps=(5, 25, 100), every_s=60, watch_s=7).remaining_steps(SHOP)
        self.assertEqual([(step.percent, step.watched_s) for step in steps], [(5, 60), (25, 60), (100, 7)])
        self.assertEqual([step.is_switch for step in steps], [False, False, True])

    def test_gone_on_with(self) -> None:
        """Steps that a stopped deploy has done are not repeated."""
        plan = DeployPlan("shop", "2", steps=(5, 25, 100))
        for share, remaining_steps in ((1, [5, 25, 100]), (5, [25, 100]), (24.9, [25, 100]), (25, [100]), (100, [100])):
            self.assertEqual(percents(plan, with_canary("2", share)), remaining_steps)
        self.assertEqual(percents(DeployPlan("shop", "2", steps=(5, 25)), with_canary("2", 25)), [])
        self.assertEqual(percents(DeployPlan("shop", "2"), with_canary("2", 25)), [100])

    def test_another_s_canary(self) -> None:
        """Another version's canary does not count: the deploy begins with the first step."""
        self.assertEqual(percents(DeployPlan("shop", "2", steps=(5, 100)), with_canary("3", 50)), [5, 100])

    def test_what_serves_already(self) -> None:
        """The only remaining step is to end a canary, if there is one."""
        self.assertEqual(percents(DeployPlan("shop", "1", steps=(5, 100)), SHOP), [])
        self.assertEqual(percents(DeployPlan("shop", "1", steps=(5, 100)), with_canary("2", 5)), [100])

    @given(st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(sorted), st.integers(0, 5))
    def test_stopped_anywhere(self, steps: list[int], succeeded: int) -> None:
        """The steps before and after a stop are together all steps."""
        plan = DeployPlan("shop", "2", steps=tuple(steps))
        before = [step for step in plan.remaining_steps(SHOP) if not step.is_switch][:succeeded]
        settings = SHOP
        for step in before:
            settings = {**settings, **step.change(settings)}
        after = plan.remaining_steps(settings)
        self.assertEqual([step.percent for step in (*before, *after)], steps)
        for step in after:
            settings = {**settings, **step.change(settings)}
        self.assertEqual(settings["version"], "2" if steps[-1] == 100 else "1")
        self.assertEqual(plan.remaining_steps(settings), ())


class Changes(SynchronousTestCase):
    def test_a_share(self) -> None:
        """A share makes the version a canary."""
        (step, *_) = DeployPlan("shop", "2", steps=(2.5, 100)).remaining_steps(SHOP)
        self.assertEqual(step.change(SHOP), {"canary": {"version": "2", "percent": 2.5}})

    def test_the_switch(self) -> None:
        """The switch ends a canary, if there is one."""
        (step,) = DeployPlan("shop", "2").remaining_steps(SHOP)
        self.assertEqual(step.change(SHOP), {"version": "2"})
        self.assertEqual(step.change(with_canary("3", 5)), {"version": "2", "canary": None})

    def test_back(self) -> None:
        """A rollback restores another version's canary, but not an earlier share of the same version."""
        plan = DeployPlan("shop", "2")
        self.assertEqual(rollback_change(plan, SHOP), {"version": "1", "canary": None})
        other = with_canary("3", 50)
        self.assertEqual(rollback_change(plan, other), {"version": "1", "canary": other["canary"]})
        self.assertEqual(rollback_change(plan, with_canary("2", 5)), {"version": "1", "canary": None})

    def test_the_same(self) -> None:
        """A null field counts as missing."""
        self.assertTrue(are_same(SHOP, {**SHOP, "canary": None}))
        self.assertFalse(are_same(SHOP, {**SHOP, "balance": "source"}))
        self.assertFalse(are_same(SHOP, {**SHOP, "version": "2"}))

    def test_in_words(self) -> None:
        """Whole percentages have no decimal point."""
        self.assertEqual([percent_text(percent) for percent in (5, 5.0, 2.5)], ["5 %", "5 %", "2.5 %"])
