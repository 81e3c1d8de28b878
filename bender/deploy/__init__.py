"""Deploys that look at what they do: the steps to a version, and back where it turns out worse.

What the steps are (`plan`) and what is worse (`judging`) is pure; `deploy` asks nodes and takes its time between.
"""

from bender.deploy.analysis import REQUESTS_MIN, Observation
from bender.deploy.deploy import LOOK_S, Deploy, DeployOutcome, DeployProgress
from bender.deploy.plan import DeployPlan, Step

__all__ = ["LOOK_S", "REQUESTS_MIN", "Deploy", "DeployOutcome", "DeployPlan", "DeployProgress", "Observation", "Step"]
