"""The command: started in a session of its own, signalled, and reaped with whatever it leaves behind.

In a session of its own it does not get Ctrl-C from the terminal before its instance is deregistered, and can still read
and write there. Its input and output are this process's own: nothing is copied, however much it prints.

As the first process of a container this one is the parent of all orphans there, so it reaps whatever ends.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

#: What a shell answers for a command that is not there, and for one that cannot be executed.
NOT_FOUND = 127
NOT_EXECUTABLE = 126

#: What Python ignores, and a command expects not to be.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class CannotStart(Exception):
    """The command cannot be started. `status` is what a shell would end with."""

    def __init__(self, command: str, error: OSError) -> None:
        super().__init__(f"{command or repr(command)} cannot be started: {error.strerror}")
        self.status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


class Command:
    """A command that runs. `on_end` is called with its exit status, 128 + N if signal N has ended it.

    Call `reap` when a child of this process may have ended.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], on_end: Callable[[int], None]) -> None:
        """Start it. Raises `CannotStart`."""
        self._on_end = on_end
        if not arguments[0]:  # which `posix_spawnp` takes for a mistake of ours
            raise CannotStart("", FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        try:
            self.pid = os.posix_spawnp(
                arguments[0], [*arguments], environment, setsid=True, setsigdef=_IGNORED_BY_PYTHON, setsigmask=()
            )
        except OSError as error:
            raise CannotStart(arguments[0], error) from error
        #: What it ended with; None as long as it runs.
        self.status: int | None = None

    def signal(self, number: int) -> None:
        """Pass a signal on to it, if it still runs."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def reap(self) -> None:
        """Take note of every child that has ended; the command is one, and the others were its own."""
        while True:
            try:
                pid, ended = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                status = os.waitstatus_to_exitcode(ended)
                self.status = 128 - status if status < 0 else status
                self._on_end(self.status)


def on_child_ended(reactor: Any, call: Callable[[], None]) -> None:
    """Have `call` called in the reactor's turn whenever a child of this process has ended."""
    signal.signal(signal.SIGCHLD, lambda *_: reactor.callFromThread(call))
    reactor.callFromThread(call)  # for one that ended before
