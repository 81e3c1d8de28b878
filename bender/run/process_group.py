"""Run the command and all processes that it starts: signal them together, follow them, and reap them.

The command runs in its own session. So it does not get Ctrl-C from the terminal before its instance is deregistered,
and it is not stopped when it reads from the terminal or writes to it. The processes that it starts are in one process
group, which can be signalled. The command uses the input and output of this process: nothing is copied.

On Linux, this process becomes the parent of all processes that the command leaves running (see PR_SET_CHILD_SUBREAPER
in prctl(2)), as the first process of a container always is. So it can follow a command that goes into the background,
leave no process running at the end, and reap every process that ends.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from twisted.internet.interfaces import IReactorFromThreads

from bender.run.process_table import Process, ProcessTable, adopt_orphans

#: The exit status of a shell for a command that does not exist, and for one that cannot be executed.
NOT_FOUND = 127
NOT_EXECUTABLE = 126

#: Signals that Python ignores, but that should have their default effect in a command.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

#: Signals that go to all processes of the command. Other signals go only to the command itself, which knows their
#: meaning: SIGHUP and SIGUSR1 would end its other processes if these do not expect them.
GROUP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT)

#: Limit for reading /proc again. A process that starts another one and ends while /proc is read may hide that process.
READS_MAX = 5

#: Signals that end a process, or request its end.
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)


class CannotStart(Exception):
    """The command cannot be started. `status` is the exit status of a shell in this case."""

    def __init__(self, command: str, error: OSError) -> None:
        super().__init__(f"{command or repr(command)} cannot be started: {error.strerror}")
        self.status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


class ProcessGroup:
    """A running command. `on_exit` is called with its exit status, which is 128 + N if signal N has ended it.

    After `follow`, `on_exit` is also called with the status of each process of the command that ends in the background
    and has no other parent. Call `reap` when a child of this process may have ended.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], on_exit: Callable[[int], None]
    ) -> None:
        """Start the command. Raises `CannotStart` if this fails."""
        self._on_exit = on_exit
        self._processes = ProcessTable()
        # If a shell has become this process by `exec`, the children of the shell are children of this process.
        self._unrelated_pids = {child.pid for child in self._processes.children(os.getpid())}
        #: Whether the command can be followed into the background.
        self.can_follow = adopt_orphans() and self._processes.shows_this_process()
        if not arguments[0]:  # `posix_spawnp` would raise `ValueError`
            raise CannotStart("", FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        try:
            self.pid = os.posix_spawnp(
                arguments[0], [*arguments], environment, setsid=True, setsigdef=_IGNORED_BY_PYTHON, setsigmask=()
            )
        except OSError as error:
            raise CannotStart(arguments[0], error) from error
        self._has_exited = self._is_followed = False
        #: The signal that has ended the command, or its last followed process; None while it runs or if it exited.
        self.ended_by: int | None = None
        # Processes that have got one of `_ENDING_SIGNALS`.
        self._requested_to_end: set[int] = set()

    def processes(self) -> list[Process]:
        """Return the running processes of the command and of all its descendants, parents first."""
        if self.can_follow:
            for _ in range(READS_MAX):
                found = self._processes.descendants(os.getpid(), self._unrelated_pids)
                if found or not _has_children():
                    return found
            return []
        with suppress(ProcessLookupError, PermissionError):  # it is only known whether the group has a process
            os.killpg(self.pid, 0)
            return [Process(-self.pid, os.getpid(), self.pid, "its process group")]
        return []

    def follow(self) -> None:
        """Follow the processes that the command has left in the background. Call this when it has exited."""
        self._is_followed = True

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group if it is one of `GROUP_SIGNALS`, otherwise only to the command."""
        if self._has_exited:
            for process in self.processes():
                if number in GROUP_SIGNALS or process.parent == os.getpid():
                    self._signal(process.pid, number)
                    self._note_end_requested(process, number)
            return
        for process in self.processes():
            if process.group == self.pid:
                self._note_end_requested(process, number)
        self._signal(-self.pid if number in GROUP_SIGNALS else self.pid, number)

    def end_remaining(self) -> list[Process]:
        """Send SIGTERM to the running processes that have not got an ending signal yet, and return them."""
        found = [process for process in self.processes() if process.pid not in self._requested_to_end]
        for process in found:
            self._note_end_requested(process, signal.SIGTERM)
            self._signal(process.pid, signal.SIGTERM)
        return found

    def reap(self) -> None:
        """Reap every child that has ended: the command, and processes that the command started."""
        while True:
            try:
                pid, ended = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            status = os.waitstatus_to_exitcode(ended)
            if pid == self.pid:
                self._has_exited = True
            elif not self._is_followed or pid in self._unrelated_pids:
                continue
            self.ended_by = -status if status < 0 else None
            self._on_exit(128 - status if status < 0 else status)

    def _note_end_requested(self, process: Process, number: int) -> None:
        if number in _ENDING_SIGNALS:
            self._requested_to_end.add(process.pid)

    def _signal(self, pid: int, number: int) -> None:
        """Send a signal to a process, or to a group whose number is negative."""
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _has_children() -> bool:
    """Return True if this process has children, including ended children that were not reaped."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def call_on_child_exit(reactor: IReactorFromThreads, call: Callable[[], None]) -> None:
    """Make the reactor call `call` whenever a child of this process has ended."""
    signal.signal(signal.SIGCHLD, lambda *_: reactor.callFromThread(call))
    reactor.callFromThread(call)  # for a child that has ended already


def suspend() -> None:
    """Stop this process, as Ctrl-Z does, until it gets SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)
