"""Deploys with drivers that report whether they have applied each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bender.client import Consumer
from bender.core.consumers import digest_of
from bender.deploy import DeployPlan
from tests.client.cluster import THREE
from tests.deploy.deploy_case import DeployCase, consumer


class Drivers(DeployCase):
    """Drivers of load balancers that report the applied settings."""

    def setUp(self) -> None:
        super().setUp()
        self.troubles: list[dict[str, Any]] = []
        #: The versions that the driver takes, alone or as a canary.
        self.taken = ["1", "2"]
        self.load_balancer.reports = self.reports  # type: ignore[method-assign]

    async def reports(self) -> Sequence[Consumer]:
        settings = (await self.client(THREE).backend("shop")).settings
        versions = [settings["version"], (settings.get("canary") or {}).get("version", "1")]
        applied = all(version in self.taken for version in versions)
        held = {"id": "backend/shop", "digest": digest_of(settings), "applied": applied}
        return [consumer("edge", {"problems": [] if applied else self.troubles, "settings": [held]})]

    def test_all_have_it(self) -> None:
        """There is nothing to report, and no wait."""
        self.begin(DeployPlan("shop", "2"))
        self.network.pass_time(0.1)
        self.assertIn("1/1 takes 100", self.progress.lines)
        self.assertEqual(self.outcome(6).text, "backend/shop serves web 2")

    def test_one_refuses(self) -> None:
        """The deploy rolls back at once, with the reason of the load balancer."""
        self.taken = ["1"]
        self.troubles = [{"kind": "refused", "why": "line 3: no", "since": 1}]
        self.begin()
        why = "cannot serve at all load balancers: edge refuses the change: line 3: no"
        said = f"web 2 {why}: backend/shop is back at web 1"
        self.assertEqual((self.failed(1), self.shop), (said, {"version": "1"}))

    def test_one_does_not_have_it(self) -> None:
        """The deploy continues, reports the driver, and fails at the end."""
        self.taken = ["1"]
        self.begin(DeployPlan("shop", "2"))
        self.network.pass_time(4)
        self.assertNotIn("1/1 takes 100", self.progress.lines)
        self.network.pass_time(4)
        self.assertEqual(self.progress.lines[-2:], ["edge has not applied the change after 5 s.", "1/1 takes 100"])
        said = "backend/shop serves web 2, but not at all load balancers: edge has not applied the change yet"
        self.assertEqual((self.failed(10), self.shop), (said, {"version": "2"}))

    def test_one_has_it_later(self) -> None:
        """The deploy succeeds when the driver has applied the last step."""
        self.taken = ["1"]
        self.begin(DeployPlan("shop", "2"))
        self.network.pass_time(8)
        self.taken = ["1", "2"]
        self.assertTrue(self.outcome(10).succeeded)
