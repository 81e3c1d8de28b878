"""The processes of this machine and their open sockets, as Linux reports them in /proc.

On other systems, the table is empty: no process has descendants or a name.
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
    """A running process. `parent` is the process id of its parent, and `group` the id of its process group."""

    pid: int
    parent: int
    group: int
    name: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


@frozen
class ProcessTable:
    """The processes under `root`, which is /proc except in tests."""

    root: Path = Path("/proc")

    def shows_this_process(self) -> bool:
        """Return True if the table has this process. After `unshare --pid`, /proc may be that of another namespace."""
        try:
            return os.readlink(self.root / "self") == str(os.getpid())  # noqa: PTH115
        except OSError:
            return False

    def processes(self) -> dict[int, Process]:
        """Return all running processes by their ids."""
        found = {}
        with suppress(OSError):
            for name in os.listdir(self.root):  # noqa: PTH208 - it takes a third of the time, and is done often
                process = self._process(name) if name.isdecimal() else None
                if process is not None:
                    found[process.pid] = process
        return found

    def children(self, pid: int) -> list[Process]:
        """Return the processes whose parent is this process."""
        return [process for process in self.processes().values() if process.parent == pid]

    def descendants(self, pid: int, excluded: Collection[int] = ()) -> list[Process]:
        """Return all descendants of a process, parents first, without those in `excluded` and their descendants."""
        children: dict[int, list[Process]] = {}
        for process in self.processes().values():
            children.setdefault(process.parent, []).append(process)
        found: list[Process] = []
        waiting = [pid]
        while waiting:
            for child in children.pop(waiting.pop(0), ()):
                if child.pid not in excluded:
                    found.append(child)
                    waiting.append(child.pid)
        return found

    def sockets(self, pid: int) -> dict[int, int] | None:
        """Return the descriptors of the sockets that a process holds open, by inode.

        Returns None if this process may not read them.
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

    def has_socket(self, pid: int, descriptor: int, inode: int) -> bool:
        """Return True if this descriptor of a process is the socket with this inode."""
        try:
            return os.readlink(self.root / str(pid) / "fd" / str(descriptor)) == f"socket:[{inode}]"  # noqa: PTH115
        except OSError:
            return False

    def holder(self, inodes: Collection[int]) -> Process | None:
        """Return a process that holds one of these sockets open, or None if this process cannot find one."""
        for pid, process in sorted(self.processes().items()):
            if (self.sockets(pid) or {}).keys() & {*inodes}:
                return process
        return None

    def _process(self, pid: str) -> Process | None:
        try:
            text = (self.root / pid / "stat").read_text("utf-8", "replace")
        except OSError:  # it has ended
            return None
        before, _, after = text.rpartition(")")  # the name may have any character, even a parenthesis
        try:
            state, parent, group, *_ = after.split()
        except ValueError:
            return None
        return None if state == _ZOMBIE else Process(int(pid), int(parent), int(group), before.partition("(")[2])


def adopt_orphans() -> bool:
    """Become the parent of all descendants whose parent ends. Return False if the system does not support this."""
    if sys.platform != "linux":
        return False
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    return False
