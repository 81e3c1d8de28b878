"""Deploy a version in steps, watch each step, and roll back if the version performs worse.

The steps (`plan`) and the judgement (`analysis`) are pure; `deploy` asks nodes and waits between the steps.
"""

from bender.deploy.analysis import REQUESTS_MIN, Observation
from bender.deploy.deploy import LOOK_S, Deploy, DeployOutcome, DeployProgress
from bender.deploy.plan import DeployPlan, Step

__all__ = ["LOOK_S", "REQUESTS_MIN", "Deploy", "DeployOutcome", "DeployPlan", "DeployProgress", "Observation", "Step"]
