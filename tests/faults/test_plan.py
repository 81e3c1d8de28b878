"""The plan of a seed depends on the seed alone, and all plans together have all faults."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.plan import NETWORK, Kind, plan_of, upgrade_plan

SEEDS = range(300)


class Plans(SynchronousTestCase):
    def test_a_seed_has_one_plan(self) -> None:
        self.assertEqual([*plan_of(17).lines()], [*plan_of(17).lines()])
        self.assertNotEqual([*plan_of(17).lines()], [*plan_of(18).lines()])

    def test_every_kind_of_fault_is_drawn(self) -> None:
        kinds = Counter(step.kind for seed in SEEDS for step in plan_of(seed).steps)
        self.assertEqual({*kinds}, {*get_args(Kind)})
        self.assertGreater(min(kinds.values()), 10)

    def test_pauses_are_from_a_tenth_of_a_second_to_three_ttls(self) -> None:
        pauses = [
            (step.lasting_s, plan.ttl_s) for plan in map(plan_of, SEEDS) for step in plan.steps if step.kind == "pause"
        ]
        self.assertTrue(all(0.1 <= lasting_s <= 3 * ttl_s for lasting_s, ttl_s in pauses))
        self.assertLess(min(lasting_s for lasting_s, _ in pauses), 0.3)
        self.assertGreater(max(lasting_s / ttl_s for lasting_s, ttl_s in pauses), 2.5)

    def test_one_fault_of_the_network_is_in_force_at_a_time(self) -> None:
        for seed in SEEDS:
            free_at = 0.0
            for step in plan_of(seed).steps:
                if step.kind in NETWORK:
                    self.assertGreaterEqual(step.at, free_at)
                    free_at = step.at + step.lasting_s

    def test_faults_strike_nodes_that_exist(self) -> None:
        for plan in map(plan_of, SEEDS):
            for step in plan.steps:
                self.assertLess(max(step.nodes, default=0), plan.nodes)
                self.assertLess(step.at, plan.faults_s)

    def test_a_relay_is_there_where_it_is_needed(self) -> None:
        for plan in map(plan_of, SEEDS):
            self.assertTrue(plan.relayed or not any(step.kind == "relay" for step in plan.steps))

    def test_only_nodes_of_the_previous_release_are_upgraded(self) -> None:
        """Only plans with the previous release have upgrades, and the plan of an upgrade replaces each node in turn."""
        for plan in map(plan_of, SEEDS):
            self.assertTrue(plan.release == "previous" or not any(step.kind == "upgrade" for step in plan.steps))
        (step,) = upgrade_plan(1).steps
        self.assertEqual((step.kind, step.nodes), ("upgrade", (0, 1, 2, 3)))

    def test_without_the_previous_release_all_nodes_run_this_one(self) -> None:
        self.assertEqual({plan_of(seed, previous=False).release for seed in SEEDS}, {"this"})

    def test_a_plan_can_be_read(self) -> None:
        lines = [*upgrade_plan(1, faults_s=20.0).lines()]
        self.assertIn("seed 1: 4 nodes of previous release, interval 0.5 s", lines[0])
        self.assertEqual(lines[1:], ["   4.00 upgrade n1, n2, n3, n4 (2)"])
