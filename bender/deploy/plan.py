"""Plan the steps of a deploy, and its rollback.

A deploy has no state except the backend: the remaining steps follow from the backend's settings, so that a deploy that
was stopped can continue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from bender.core.members import canary_of

#: The share at which a version is no longer a canary.
ALL = 100

Settings = Mapping[str, Any]


@frozen
class DeployPlan:
    """The options of a deploy.

    `steps` are increasing percentages of the traffic. If there are none, the backend is switched at once. Each step is
    watched for `every_s` seconds, and the switch to the version for `watch_s`. `members_min` is the number of members
    that the version must have; None means one. `errors_max` is the largest allowed difference, in percentage points,
    between the shares of failed requests of the new and the previous version. `force` allows the version to serve
    without members, and the deploy to begin after a recent change by another operator. `operator` is the name that
    histories show for the changes of the deploy.
    """

    name: str
    version: str
    steps: tuple[float, ...] = ()
    every_s: float = 60.0
    watch_s: float = 5.0
    members_min: int | None = None
    errors_max: float = 2.0
    force: bool = False
    operator: str = ""

    @property
    def allows_no_members(self) -> bool:
        """Whether the options allow the version to serve without members."""
        return self.force or self.members_min == 0

    @property
    def members_needed(self) -> int:
        """The number of members that the version needs: `members_min`, or one, or none with `force`."""
        if self.members_min is not None:
            return self.members_min
        return 0 if self.force else 1

    def remaining_steps(self, settings: Settings) -> tuple[Step, ...]:
        """Return the remaining steps for a backend with these settings; none if the deploy is complete.

        If the version serves already, but beside a canary, the only step is to end the canary.
        """
        if settings["version"] == self.version:
            return () if canary_of(settings) is None else (self._step(ALL),)
        present_share = self.share(settings)
        percents = [percent for percent in self.steps or (ALL,) if percent > present_share or percent == ALL]
        return tuple(self._step(percent) for percent in percents)

    def share(self, settings: Settings) -> float:
        """Return the share of the traffic that the version gets as a canary, in percent."""
        canary = canary_of(settings)
        return float(canary.percent) if canary is not None and canary.version == self.version else 0.0

    def _step(self, percent: float) -> Step:
        return Step(self.version, percent, self.watch_s if percent == ALL else self.every_s)


@frozen
class Step:
    """A share of the traffic for a version, in percent, and the seconds for which the version is then watched."""

    version: str
    percent: float
    watched_s: float

    @property
    def is_switch(self) -> bool:
        """Whether the version gets all of the traffic in this step."""
        return self.percent == ALL

    def change(self, settings: Settings) -> dict[str, Any]:
        """Return the fields to change in a backend with these settings."""
        if not self.is_switch:
            return {"canary": {"version": self.version, "percent": self.percent}}
        ended = {"canary": None} if settings.get("canary") is not None else {}
        return {"version": self.version, **ended}


def rollback_change(plan: DeployPlan, found: Settings) -> dict[str, Any]:
    """Return the fields to change to restore the settings from before the deploy.

    If the version was a canary already, because of an earlier deploy, the rollback also removes this canary.
    """
    resumed = plan.share(found) > 0
    return {"version": found["version"], "canary": None if resumed else found.get("canary")}


def are_same(one: Settings, other: Settings) -> bool:
    """Return True if two settings are the same; a null field counts as missing."""
    return {k: v for k, v in one.items() if v is not None} == {k: v for k, v in other.items() if v is not None}


def percent_text(percent: float) -> str:
    """Return a percentage as text with its sign."""
    return f"{percent:g} %"
