"""Running a command whose instance is registered for as long as it serves.

`CommandSupervisor` is the whole of it: the command, its checks, and its place in the registry. The command comes first:
that the registry is away, slow or refuses never keeps it from starting, going on or ending.
"""

from bender.run.plan import RunPlan
from bender.run.process_group import CannotStart, ProcessGroup, on_child_ended
from bender.run.supervisor import CommandSupervisor

__all__ = ["CannotStart", "CommandSupervisor", "ProcessGroup", "RunPlan", "on_child_ended"]
