"""The processes of this machine and what they hold open, as Linux reports them in /proc.

On other systems nothing is known: there are no descendants, and no process can be named.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from attrs import frozen

#: `prctl(PR_SET_CHILD_SUBREAPER, 1)`: see prctl(2).
_PR_SET_CHILD_SUBREAPER = 36

#: The state of a process that has ended and was not reaped.
_ZOMBIE = "Z"


@frozen
class Process:
    """A process that runs. Its children are those with its number as their `parent`."""

    pid: int
    parent: int
    group: int
    name: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


@frozen
class ProcessTable:
    """The processes under `root`, which is /proc but in tests."""

    root: Path = Path("/proc")

    def is_own(self) -> bool:
        """Return True if this process finds itself there: after `unshare --pid`, /proc may be that of others."""
        try:
            return os.readlink(self.root / "self") == str(os.getpid())  # noqa: PTH115
        except OSError:
            return False

    def processes(self) -> dict[int, Process]:
        """Return all processes that run, by their numbers."""
        found = {}
        with suppress(OSError):
            for name in os.listdir(self.root):  # noqa: PTH208 - a third of the time, for what is done often
                process = self._process(name) if name.isdecimal() else None
                if process is not None:
                    found[process.pid] = process
        return found

    def children(self, pid: int) -> list[Process]:
        """Return the processes that have this one as their parent."""
        return [process for process in self.processes().values() if process.parent == pid]

    def descendants(self, pid: int, except_: Collection[int] = ()) -> list[Process]:
        """Return all descendants of a process; parents come first.

        Those in `except_` are left out, with their descendants.
        """
        children: dict[int, list[Process]] = {}
        for process in self.processes().values():
            children.setdefault(process.parent, []).append(process)
        found: list[Process] = []
        waiting = [pid]
        while waiting:
            for child in children.pop(waiting.pop(0), ()):
                if child.pid not in except_:
                    found.append(child)
                    waiting.append(child.pid)
        return found

    def sockets(self, pid: int) -> dict[int, int] | None:
        """Return the sockets that a process holds open, each inode with its descriptor there.

        Returns None if this process may not read that.
        """
        folder = self.root / str(pid) / "fd"
        found = {}
        try:
            for name in os.listdir(folder):  # noqa: PTH208
                with suppress(FileNotFoundError):
                    target = os.readlink(folder / name)  # noqa: PTH115 - not a path, but `socket:[4711]`
                    if target.startswith("socket:["):
                        found[int(target[len("socket:[") : -1])] = int(name)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            return {}
        except OSError:
            return None
        return found

    def holds(self, pid: int, descriptor: int, inode: int) -> bool:
        """Return True if a process holds a socket open as this descriptor."""
        try:
            return os.readlink(self.root / str(pid) / "fd" / str(descriptor)) == f"socket:[{inode}]"  # noqa: PTH115
        except OSError:
            return False

    def holder(self, inodes: Collection[int]) -> Process | None:
        """Return a process that holds one of these sockets open, if this process may read that."""
        for pid, process in sorted(self.processes().items()):
            if (self.sockets(pid) or {}).keys() & {*inodes}:
                return process
        return None

    def _process(self, pid: str) -> Process | None:
        try:
            text = (self.root / pid / "stat").read_text("utf-8", "replace")
        except OSError:  # it has ended
            return None
        before, _, after = text.rpartition(")")  # the name may have any character, a parenthesis too
        try:
            state, parent, group, *_ = after.split()
        except ValueError:
            return None
        return None if state == _ZOMBIE else Process(int(pid), int(parent), int(group), before.partition("(")[2])


def adopt_orphans() -> bool:
    """Become the parent of all descendants whose own parent ends; return False on systems that do not support it."""
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    return False
