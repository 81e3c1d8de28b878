"""Supervise a command and its registration from the start to the end of the command.

The instance is registered when it serves, and deregistered before the command ends. After a signal, the instance is
deregistered first, then all nodes remove it, then requests that have begun may complete (`drain_s`), and only then the
command gets the signal. A second signal skips the remaining steps. The end of the command is noticed at once, even if
the registry does not answer, and its status is returned. After that, the processes that the command started are ended.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from bender.client import Client
from bender.net.reactor import Reactor
from bender.run.background import in_background
from bender.run.instance import InstanceKeeper
from bender.run.local_address import LocalAddress
from bender.run.plan import RunPlan
from bender.run.port_holder import PortHolder
from bender.run.process_group import suspend
from bender.run.process_table import Process

#: Signals that end the command, after its instance was deregistered. Other signals are passed on at once.
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

#: Seconds between two checks whether all processes that the command started have ended.
REMAINING_CHECK_INTERVAL_S = 0.1

#: Seconds that processes have to end that the command leaves running when it ends by itself, if `kill_s` is None.
REMAINING_S_MAX = 10.0


class RunningCommand(Protocol):
    """A running command: see `ProcessGroup`."""

    @property
    def can_follow(self) -> bool: ...
    @property
    def ended_by(self) -> int | None: ...
    def processes(self) -> Sequence[Process]: ...
    def follow(self) -> None: ...
    def signal(self, number: int) -> None: ...
    def end_remaining(self) -> Sequence[Process]: ...


#: A function that takes the exit status of the command.
OnExit = Callable[[int], None]


class CommandSupervisor:
    """Run one command as planned. `done` fires with the exit status for this process.

    The caller passes the signals that this process gets to `handle_signal`.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        client: Client,
        plan: RunPlan,
        start: Callable[[OnExit], RunningCommand],
        *,
        port: PortHolder | None = None,
        address: LocalAddress | None = None,
        suspend: Callable[[], None] = suspend,
    ) -> None:
        """Start the command by a call of `start`, which gets a function for the exit status. Errors of it are raised.

        `port` finds the process that holds the port, `address` finds the address of this machine, and `suspend` stops
        this process.
        """
        self.done: Deferred[int] = Deferred()
        self._reactor = reactor
        self._plan = plan
        self._port = port or PortHolder(plan.port)
        self._suspend = suspend
        self._ending: Deferred[None] | None = None
        self._preparing: Deferred[None] | None = None
        self._signals: list[int] = []
        self._started_at = reactor.seconds()
        self._is_draining = self._was_registered_at_signal = False
        self._is_followed = self._is_over = False
        self._kill_at: float | None = None
        address = address or LocalAddress(reactor, client)
        self._instance = InstanceKeeper(reactor, client, plan, self._pids, self._port, address)
        self.command = start(self._note_exit)
        self._instance.start()

    def _pids(self) -> list[int] | None:
        if not self.command.can_follow:
            return None
        return [process.pid for process in self.command.processes()]

    # The end of the command by a signal.

    def handle_signal(self, number: int) -> None:
        """Act on a signal that this process has got."""
        if number == signal.SIGTSTP:
            self.command.signal(signal.SIGSTOP)  # an orphaned process group would ignore SIGTSTP
            self._suspend()
            return
        if number not in ENDING_SIGNALS:
            self.command.signal(number)
            return
        self._signals.append(number)
        if self._is_over:
            self.command.signal(number)
        elif self._ending is None:
            self._ending = in_background(self._end_command())
        elif self._preparing is not None:
            self._preparing.cancel()  # a second signal skips the remaining steps
        else:
            self.command.signal(number)

    async def _end_command(self) -> None:
        """Deregister the instance, and then send the last signal to the command."""
        self._instance.stop()
        preparing = self._preparing = Deferred.fromCoroutine(self._prepare())
        with suppress(CancelledError):
            await preparing
        self._preparing = None
        if self._is_over:
            return
        self.command.signal(self._signals[-1])
        if self._plan.kill_s is not None:
            self._kill_at = self._reactor.seconds() + self._plan.kill_s
            await deferLater(self._reactor, self._plan.kill_s)
            self._log.warn("The command did not end within {limit:g} s and is killed.", limit=self._plan.kill_s)
            self.command.signal(signal.SIGKILL)

    async def _prepare(self) -> None:
        if self._instance.is_kept:
            self._was_registered_at_signal = self._instance.is_registered
            await self._instance.deregister(self._plan.wait_s)
            self._is_draining = True
            await deferLater(self._reactor, self._plan.drain_s)

    # The end of the command by itself.

    def _note_exit(self, status: int) -> None:
        """Note that the command has exited, or a process that it has left in the background."""
        if self._is_over:
            return
        remaining = self.command.processes()
        if not self._continues_in_background(status, remaining):
            self._is_over = True
            self._log_unexpected_end(status)
            self._instance.stop()
            for doing in (self._preparing, self._ending):
                if doing is not None:
                    doing.cancel()
            in_background(self._finish()).addBoth(lambda _: self.done.callback(status))
        elif not self._is_followed:
            self._is_followed = True
            self.command.follow()
            self._log.info(
                "The command has gone into the background; its processes are watched there: {rest}.",
                rest=_names_of(remaining),
            )

    def _log_unexpected_end(self, status: int) -> None:
        """Log the end of the command if it was never registered, if a signal ended it, or if --drain was not over."""
        if self._signals:
            interrupted_step = (
                _interrupted_step(self._plan.drain_s, is_draining=self._is_draining)
                if self._preparing is not None
                else None
            )
            if interrupted_step is not None and self._was_registered_at_signal:
                self._log.warn("The command ended {early} (under systemd, set KillMode=mixed).", early=interrupted_step)
            return
        by = _signal_name(self.command.ended_by)
        reason = self._instance.never_registered_reason
        if reason is not None:
            after_s = self._reactor.seconds() - self._started_at
            how = f"was ended by {by}" if by else f"ended with status {status}" if status else "ended"
            self._log.warn(
                "The command {how} {after} and was never registered: {reason}.",
                how=how,
                after="at once" if after_s < 0.1 else f"after {round(after_s, None if after_s >= 1 else 1)} s",
                reason=reason,
            )
        elif by is not None:
            self._log.warn("The command was ended by {by}.", by=by)

    def _continues_in_background(self, status: int, remaining: Sequence[Process]) -> bool:
        """Return True if the command continues in a process that it has left running.

        A command that goes into the background exits with 0, and leaves a process that serves or will serve soon.
        """
        if not remaining:
            return False
        if self._signals:
            return self._is_followed
        if not self._is_followed and status != 0:
            return False
        if self._instance.has_served and not self._port.is_held_by(process.pid for process in remaining):
            return False
        if not self.command.can_follow:
            self._log.error(
                "The command has gone into the background, where its processes cannot be watched on this system: "
                "run it in the foreground."
            )
            return False
        return True

    async def _finish(self) -> None:
        await self._instance.deregister_finally()
        await self._end_remaining()

    async def _end_remaining(self) -> None:
        """End the processes that the command has left running, and wait until they have ended."""
        now = self._reactor.seconds()
        limit_s = self._plan.kill_s if self._signals or self._plan.kill_s is not None else REMAINING_S_MAX
        kill_at = self._kill_at or (None if limit_s is None else now + limit_s)
        while True:
            ending = self.command.end_remaining()
            if ending:
                self._log.info(
                    "The command has ended and left {rest} running: ending these processes.", rest=_names_of(ending)
                )
            remaining = self.command.processes()
            if not remaining:
                return
            if kill_at is not None and self._reactor.seconds() >= kill_at:
                self._log.warn("{rest} did not end in time: sending SIGKILL.", rest=_names_of(remaining))
                self.command.signal(signal.SIGKILL)
                kill_at = None
            await deferLater(self._reactor, REMAINING_CHECK_INTERVAL_S)


def _interrupted_step(drain_s: float, *, is_draining: bool) -> str | None:
    """Return a phrase with the step that the end of the command interrupted; None if that does not matter."""
    if is_draining:
        return "before --drain was over" if drain_s else None
    return "before it was deregistered" + (", so --drain had no effect" if drain_s else "")


def _signal_name(number: int | None) -> str | None:
    if number is None:
        return None
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal
        return f"signal {number}"


#: The largest number of processes that one line names.
_NAMED_MAX = 3


def _names_of(processes: Sequence[Process]) -> str:
    """Return the names of some processes for a sentence, and the number of the others."""
    names = [str(process) for process in processes[:_NAMED_MAX]]
    more = len(processes) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
