"""Plan the steps by which a version comes to serve a backend, and the way back.

The only state is the backend itself: the remaining steps follow from its settings, so a deploy that was stopped
continues where it was.
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

    `steps` are percentages of the traffic that rise; without any the backend is switched at once. Each share is watched
    for `every_s` seconds, and the switch for `watch_s`. `members_min` is how many members the version has to have, None
    for one. `errors_max` is by how many per cent of its requests more than of the other version's may fail. `force`
    lets the version serve without members, and begins although another operator has changed the backend just now.
    `operator` is the name under which histories show it.
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
    def members_wanted(self) -> int:
        """How many members the version needs; one if that is not given, whatever serves now."""
        if self.members_min is not None:
            return self.members_min
        return 0 if self.force else 1

    def ahead(self, settings: Settings) -> tuple[Step, ...]:
        """Return the remaining steps for a backend with these settings; none if the deploy is done.

        Where the version serves, but not alone, one step is left: to end the canary.
        """
        if settings["version"] == self.version:
            return () if canary_of(settings) is None else (self._step(ALL),)
        there = self.share(settings)
        percents = [percent for percent in self.steps or (ALL,) if percent > there or percent == ALL]
        return tuple(self._step(percent) for percent in percents)

    def share(self, settings: Settings) -> float:
        """Return the share of the traffic that the version gets as canary, in percent."""
        canary = canary_of(settings)
        return float(canary.percent) if canary is not None and canary.version == self.version else 0.0

    def _step(self, percent: float) -> Step:
        return Step(self.version, percent, self.watch_s if percent == ALL else self.every_s)


@frozen
class Step:
    """A share of the traffic for a version, and how long it is watched then."""

    version: str
    percent: float
    watched_s: float

    @property
    def switches(self) -> bool:
        return self.percent == ALL

    def change(self, settings: Settings) -> dict[str, Any]:
        """Return the change of a backend with these settings."""
        if not self.switches:
            return {"canary": {"version": self.version, "percent": self.percent}}
        ended = {"canary": None} if settings.get("canary") is not None else {}
        return {"version": self.version, **ended}


def way_back(plan: DeployPlan, found: Settings) -> dict[str, Any]:
    """Return the change that restores the settings found at the beginning.

    If they had the version as their canary already, from an earlier deploy, the change removes it.
    """
    resumed = plan.share(found) > 0
    return {"version": found["version"], "canary": None if resumed else found.get("canary")}


def are_same(one: Settings, other: Settings) -> bool:
    """Return True if two settings are the same; a null field counts as missing."""
    return {k: v for k, v in one.items() if v is not None} == {k: v for k, v in other.items() if v is not None}


def percentage(percent: float) -> str:
    """Return a percentage as text."""
    return f"{percent:g} %"
