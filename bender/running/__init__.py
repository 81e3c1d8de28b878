"""Running a command whose instance is registered for as long as it serves.

`Runner` is the whole of it: the command, its checks, and its place in the registry. The command comes first: that the
registry is away, slow or refuses never keeps it from starting, going on or ending.
"""

from bender.running.command import CannotStart, Command, on_child_ended
from bender.running.plan import Plan
from bender.running.runner import Runner

__all__ = ["CannotStart", "Command", "Plan", "Runner", "on_child_ended"]
