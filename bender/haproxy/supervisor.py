"""Starts HAProxy, and reloads it with another configuration.

`HaproxySupervisor` runs HAProxy as a master with workers, so that a reload breaks off no request. HAProxy has a session
of its own, so that it survives when this process is killed; the next driver finds it through the master's socket.
`ReloadCommand` is for an HAProxy that systemd or another supervisor runs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from bender.haproxy.core.actual_state import Master, Unreadable, master_in
from bender.haproxy.processes import CannotRun, ProcessWatch, run_program
from bender.haproxy.runtime import Runtime
from bender.net.addresses import NoAnswer

#: Seconds before HAProxy is restarted: at first, and at most if it ends again and again.
RESTART_S_MIN = 0.05
RESTART_S_MAX = 5.0

#: An HAProxy that ran for this many seconds counts as stable.
STABLE_S = 10.0

#: Time limit for the reload command; systemd waits until HAProxy is ready.
RELOAD_COMMAND_S_MAX = 60.0

#: Characters of the command's output in the message when it fails.
OUTPUT_CHARACTERS_MAX = 500

#: Time limits at the end of this process: for requests under way, and for HAProxy to end after a stronger signal.
GRACE_S = 3.0
END_S_MAX = 1.0

# Signals that Python ignores, and HAProxy must not.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

#: The suffix of the master's socket, after the path of the workers' socket.
MASTER_SUFFIX = ".master"


class ReloadFailed(Exception):
    """HAProxy was not started or reloaded. The message is a sentence without its full stop."""


class HaproxyControl(Protocol):
    """Starts or reloads HAProxy with the present configuration file."""

    #: How often this driver has started HAProxy.
    start_count: int

    @property
    def can_reload(self) -> bool:
        """Whether this driver can reload HAProxy; if not, an operator has to."""

    def start(self) -> None:
        """Start HAProxy if this driver runs it. A configuration file must exist."""

    async def reload(self, *, running: bool) -> None:
        """Make HAProxy, which may be `running`, load the file. Raises `ReloadFailed` if that fails at once."""

    async def check(self) -> None:
        """Raise `ReloadFailed` if HAProxy is known to have refused the file."""

    async def stop(self) -> None:
        """Stop HAProxy, if this driver runs it, because the driver ends."""


class ReloadCommand:
    """A command that reloads an HAProxy; without one, an operator has to reload it."""

    def __init__(self, reactor: IReactorTime, command: str | None) -> None:
        self._reactor = reactor
        self._command = command
        self.start_count = 0

    @property
    def can_reload(self) -> bool:
        return self._command is not None

    def start(self) -> None:
        """Do nothing, because another program starts HAProxy."""

    async def reload(self, *, running: bool) -> None:
        del running  # the command may be one that starts it
        if self._command is None:
            raise ReloadFailed("neither --reload nor --run is set: reload HAProxy by hand")
        try:
            ran = await run_program(self._reactor, ["/bin/sh", "-c", self._command], RELOAD_COMMAND_S_MAX)
        except CannotRun as error:
            raise ReloadFailed(f"--reload {self._command!r} {error}") from error
        if ran.status != 0:
            output = " ".join(ran.output.split())[:OUTPUT_CHARACTERS_MAX]
            raise ReloadFailed(f"--reload {self._command!r} ended with status {ran.status}{output and f': {output}'}")

    async def check(self) -> None:
        """Do nothing, because the outcome is not known here."""

    async def stop(self) -> None:
        """Do nothing, because HAProxy keeps running."""


class HaproxySupervisor:
    """Runs HAProxy. Awaits `before_start` before each start, and calls `on_start` after it."""

    _log = Logger()

    def __init__(self, reactor: IReactorTime, haproxy: str, output: Path, socket: Path, master: Runtime) -> None:
        self.start_count = 0
        self.before_start: Callable[[], Awaitable[None]] | None = None
        self.on_start: Callable[[], None] = lambda: None
        self._reactor = reactor
        self._arguments = [haproxy, "-W", "-S", f"{socket}{MASTER_SUFFIX}", "-f", str(output)]
        self._master = master
        self._pid: int | None = None
        self._failed_before = 0
        self._runner: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []

    @property
    def can_reload(self) -> bool:
        return True

    def start(self) -> None:
        if self._runner is None:
            self._runner = Deferred.fromCoroutine(self._keep_running())
            self._runner.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def reload(self, *, running: bool) -> None:
        if self._pid is None or not running:
            return  # it is about to start anyway
        with suppress(NoAnswer, Unreadable):
            self._failed_before = (await self._read_master()).failed_reloads
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGUSR2)

    async def check(self) -> None:
        with suppress(NoAnswer, Unreadable):  # during a reload there is no answer
            if (await self._read_master()).failed_reloads > self._failed_before:
                raise ReloadFailed(
                    "HAProxy could not start with the new configuration: HAProxy's own log has the reason"
                )

    async def stop(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
        for number, within_s in ((signal.SIGUSR1, GRACE_S), (signal.SIGTERM, END_S_MAX), (signal.SIGKILL, END_S_MAX)):
            if self._pid is None:
                return
            ended = self._until_ended()
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)
            with suppress(TimedOut):
                await ended.addTimeout(within_s, self._reactor)

    async def _read_master(self) -> Master:
        return master_in(await self._master.ask("show proc"))

    async def _keep_running(self) -> None:
        """Keep HAProxy running until this is cancelled."""
        again_s = 0.0
        while True:
            await deferLater(self._reactor, again_s)
            began_at = self._reactor.seconds()
            try:
                await self._run()
            except CancelledError:
                raise
            except OSError as error:
                self._log.error("HAProxy cannot be started ({error}).", error=error.strerror)
            except Exception:
                self._log.failure("Running HAProxy failed; trying again.")
            stayed = self._reactor.seconds() - began_at > STABLE_S
            again_s = RESTART_S_MIN if stayed or not again_s else min(2 * again_s, RESTART_S_MAX)
            self._log.warn("Restarting HAProxy in {seconds:g} s.", seconds=again_s)

    async def _run(self) -> None:
        """Adopt the running HAProxy, or start one, and wait for its end."""
        try:
            pid = (await self._read_master()).pid
            self._log.info("HAProxy already runs as process {pid}, which is kept.", pid=pid)
        except (NoAnswer, Unreadable):
            if self.before_start is not None:
                await self.before_start()
            pid = self._start()
            self.start_count += 1
            self._log.info("Started HAProxy as process {pid}.", pid=pid)
        ProcessWatch(self._reactor, pid, self._ended)
        self._pid = pid
        self.on_start()
        await self._until_ended()
        self._log.warn("HAProxy (process {pid}) has ended.", pid=pid)

    def _start(self) -> int:
        """Start HAProxy with no input, and with the output of this process."""
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        return os.posix_spawnp(
            self._arguments[0],
            self._arguments,
            os.environ,
            file_actions=[nothing],
            setsid=True,
            setsigdef=_IGNORED_BY_PYTHON,
        )

    def _until_ended(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def _ended(self) -> None:
        self._pid = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(None)
