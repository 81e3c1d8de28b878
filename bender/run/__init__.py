"""Run a command, and keep its instance registered as long as it serves.

`CommandSupervisor` combines the parts: the command, its checks, and its registration. The command has priority: it
starts, continues and ends even if the registry is unreachable, is slow or refuses the instance.
"""

from bender.run.plan import RunPlan
from bender.run.process_group import CannotStart, ProcessGroup, call_on_child_exit
from bender.run.supervisor import CommandSupervisor

__all__ = ["CannotStart", "CommandSupervisor", "ProcessGroup", "RunPlan", "call_on_child_exit"]
