"""Deploy a version in steps, watch each step, and roll back if the version performs worse.

`plan` (the steps) and `analysis` (the judgement) are pure. `deploy` sends requests to nodes, and waits between steps.
"""

from bender.deploy.analysis import REQUESTS_MIN, Observation
from bender.deploy.deploy import OBSERVATION_INTERVAL_S, Deploy, DeployOutcome, DeployProgress
from bender.deploy.plan import DeployPlan, Step

__all__ = [
    "OBSERVATION_INTERVAL_S",
    "REQUESTS_MIN",
    "Deploy",
    "DeployOutcome",
    "DeployPlan",
    "DeployProgress",
    "Observation",
    "Step",
]
