"""Run the command and all processes that it starts: signal them together, follow them, and reap them.

The command runs in a session of its own. So it does not get Ctrl-C from the terminal before its instance is
deregistered, is not stopped when it reads from there or writes to it, and what it starts is one process group that can
be signalled. Its input and output are this process's own: nothing is copied, however much it prints.

On Linux this process is the parent of all that the command leaves behind (see PR_SET_CHILD_SUBREAPER in prctl(2)), as
the first process of a container always is. So a command that goes into the background is followed there, nothing is
left running at the end, and whatever ends is reaped.
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

#: Signals that Python ignores, and commands expect to have their default effect.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

#: These go to all processes of the command. Others go to the command itself, which knows what they mean: SIGHUP and
#: SIGUSR1 would end those of its processes that do not expect them.
TO_ALL = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT)

#: A process that starts another one and ends while /proc is read hides that one, so it is looked again.
LOOKS_MAX = 5

#: These end a process, or ask it to end.
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)


class CannotStart(Exception):
    """The command cannot be started. `status` is what a shell would end with."""

    def __init__(self, command: str, error: OSError) -> None:
        super().__init__(f"{command or repr(command)} cannot be started: {error.strerror}")
        self.status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


class ProcessGroup:
    """A command that runs. `on_exit` is called with its exit status, 128 + N if signal N has ended it.

    If it is then followed into the background, `on_exit` is called again with the status of each process that ends
    there and has no other parent to wait for it. Call `reap` when a child of this process may have ended.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], on_exit: Callable[[int], None]
    ) -> None:
        """Start it. Raises `CannotStart`."""
        self._on_exit = on_exit
        self._processes = ProcessTable()
        # A shell that becomes this process by `exec` leaves it its children.
        self._not_its_own = {child.pid for child in self._processes.children(os.getpid())}
        #: Whether it can be followed into the background.
        self.can_follow = adopt_orphans() and self._processes.is_own()
        if not arguments[0]:  # which `posix_spawnp` takes for a mistake of ours
            raise CannotStart("", FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        try:
            self.pid = os.posix_spawnp(
                arguments[0], [*arguments], environment, setsid=True, setsigdef=_IGNORED_BY_PYTHON, setsigmask=()
            )
        except OSError as error:
            raise CannotStart(arguments[0], error) from error
        self._has_exited = self._is_followed = False
        #: The signal that has ended it, or what was followed of it; None as long as it runs, and if it has exited.
        self.ended_by: int | None = None
        # Processes that were already asked to end.
        self._asked_to_end: set[int] = set()

    def processes(self) -> list[Process]:
        """Return its processes that run, parents first: the command, and all that it has started."""
        if self.can_follow:
            for _ in range(LOOKS_MAX):
                found = self._processes.descendants(os.getpid(), self._not_its_own)
                if found or not _has_children():
                    return found
            return []
        with suppress(ProcessLookupError, PermissionError):  # nothing is known but whether there is any
            os.killpg(self.pid, 0)
            return [Process(-self.pid, os.getpid(), self.pid, "its process group")]
        return []

    def follow(self) -> None:
        """Follow the processes that it has left in the background; call this when it has exited."""
        self._is_followed = True

    def signal(self, number: int) -> None:
        """Pass a signal on: one of `TO_ALL` to all of its process group, or else to the command alone."""
        if self._has_exited:
            for process in self.processes():
                if number in TO_ALL or process.parent == os.getpid():
                    self._signal(process.pid, number)
                    self._note_asked(process, number)
            return
        for process in self.processes():
            if process.group == self.pid:
                self._note_asked(process, number)
        self._signal(-self.pid if number in TO_ALL else self.pid, number)

    def end_rest(self) -> list[Process]:
        """Send SIGTERM to its processes that still run and got no such signal yet; return those processes."""
        found = [process for process in self.processes() if process.pid not in self._asked_to_end]
        for process in found:
            self._note_asked(process, signal.SIGTERM)
            self._signal(process.pid, signal.SIGTERM)
        return found

    def reap(self) -> None:
        """Reap every child that has ended: the command, and processes that it started."""
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
            elif not self._is_followed or pid in self._not_its_own:
                continue
            self.ended_by = -status if status < 0 else None
            self._on_exit(128 - status if status < 0 else status)

    def _note_asked(self, process: Process, number: int) -> None:
        if number in _ENDS:
            self._asked_to_end.add(process.pid)

    def _signal(self, pid: int, number: int) -> None:
        """Send a signal to a process, or to a group whose number is negative."""
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _has_children() -> bool:
    """Return True if this process has children, of which some may have ended and wait to be reaped."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def on_child_ended(reactor: IReactorFromThreads, call: Callable[[], None]) -> None:
    """Have `call` called in the reactor's turn whenever a child of this process has ended."""
    signal.signal(signal.SIGCHLD, lambda *_: reactor.callFromThread(call))
    reactor.callFromThread(call)  # for one that ended before


def suspend() -> None:
    """Stop this process, as Ctrl-Z does, until it gets SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)
