"""`python preloaded.py SOCKET`: forks commands of this checkout off a process that has imported all of them.

SOCKET is the number of a descriptor on which requests arrive. Each request has five descriptors: a file with
`{"command", "arguments", "variables", "folder"}` as JSON, the standard input, output and error of the command, and a
socket on which this process sends the pid, and later the exit status as in `subprocess`. Each command is the leader of
a new process group. When the other end of SOCKET is closed, all commands are killed.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.scripts import twistd

import bender
import bender.cli

COMMANDS: dict[str, Callable[[], Any]] = {"bender": bender.cli.main, "twistd": twistd.run}

#: Modules that others import only when they run.
MORE = ["treq", "twisted.application.strports", "twisted.logger", "twisted.web.client"]

REACTOR = "twisted.internet.reactor"

DESCRIPTORS = 5

#: More descriptors than a forked process has at its start.
DESCRIPTORS_MAX = 4096


class Forking:
    """The loop of the parent. A forked command leaves it as the result of `run`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._reports: dict[int, int] = {}
        self._wakes, wakes = os.pipe2(os.O_NONBLOCK)
        signal.set_wakeup_fd(wakes)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> Callable[[], Any]:
        """Serve until the other end is closed. Returns in each child, with the command to run."""
        looks = select.poll()
        for descriptor in (self._control.fileno(), self._wakes):
            looks.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in looks.poll():
                if descriptor == self._wakes:
                    os.read(self._wakes, 4096)
                    self._reap()
                elif (command := self._fork()) is not None:
                    return command

    def _reap(self) -> None:
        while self._reports:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            report = self._reports.pop(pid)
            with suppress(BrokenPipeError):
                os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
            os.close(report)

    def _fork(self) -> Callable[[], Any] | None:
        said, descriptors, _, _ = socket.recv_fds(self._control, 1, DESCRIPTORS)
        if not said:
            self._end()
        request, *streams, report = descriptors
        with open(request, "rb") as file:  # noqa: PTH123 - it has no path
            wanted = json.load(file)
        pid = os.fork()
        if pid == 0:
            self._become(wanted, streams)
            return COMMANDS[wanted["command"]]
        for stream in streams:
            os.close(stream)
        self._reports[pid] = report
        os.write(report, b"%d\n" % pid)
        return None

    def _become(self, wanted: dict[str, Any], streams: list[int]) -> None:
        """Make this child equal to a fresh process."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        # Opening a stream detects its kind (a file, a pipe, a terminal).
        ends = {
            "stdin": open(0, encoding=sys.stdin.encoding, closefd=False),  # noqa: SIM115
            "stdout": open(1, "w", encoding=sys.stdout.encoding, closefd=False),  # noqa: SIM115
            "stderr": open(2, "w", 1, sys.stderr.encoding, "backslashreplace", closefd=False),  # noqa: SIM115
        }
        vars(sys).update({**ends, **{f"__{name}__": end for name, end in ends.items()}})
        self._control.detach()
        os.closerange(3, DESCRIPTORS_MAX)
        os.chdir(wanted["folder"])
        os.environ.clear()
        os.environ.update(wanted["variables"])
        sys.argv = [wanted["command"], *wanted["arguments"]]

    def _end(self) -> None:
        for pid in self._reports:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os._exit(0)


def preload() -> None:
    """Import all of `bender`, and everything that `twistd` loads.

    Klein imports the reactor, for a method that is not used here. It gets a substitute, because each command has to
    make its own reactor.
    """
    other = sys.modules[REACTOR] = ModuleType(REACTOR)
    names = [each.name for each in pkgutil.walk_packages(bender.__path__, "bender.")]
    for name in [*names, *MORE]:
        if not name.endswith(".__main__"):
            import_module(name)
    list(getPlugins(IServiceMaker))
    del sys.modules[REACTOR]
    given = [name for name, module in sys.modules.items() if getattr(module, "reactor", None) is other]
    assert given == ["klein._app"], f"{given} have to import the reactor later"


def main() -> None:
    preload()
    gc.freeze()
    Forking(socket.socket(fileno=int(sys.argv[1]))).run()()


if __name__ == "__main__":
    main()
