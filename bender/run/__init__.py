"""Run a command whose instance is registered for as long as it serves.

`CommandSupervisor` joins the parts: the command, its checks, and its registration. The command comes first: a registry
that is unreachable, is slow or refuses never keeps it from starting, continuing or ending.
"""

from bender.run.plan import RunPlan
from bender.run.process_group import CannotStart, ProcessGroup, on_child_ended
from bender.run.supervisor import CommandSupervisor

__all__ = ["CannotStart", "CommandSupervisor", "ProcessGroup", "RunPlan", "on_child_ended"]
