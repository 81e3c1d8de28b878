"""Deploys that look at what they do: the steps to a version, and back where it turns out worse.

What the steps are (`plan`) and what is worse (`judging`) is pure; `deploy` asks nodes and takes its time between.
"""

from bender.deploying.deploy import LOOK_S, Deploy, Outcome, Progress
from bender.deploying.judging import REQUESTS_MIN, Look
from bender.deploying.plan import Plan, Step

__all__ = ["LOOK_S", "REQUESTS_MIN", "Deploy", "Look", "Outcome", "Plan", "Progress", "Step"]
