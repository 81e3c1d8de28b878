"""Order the steps between a command and its registration.

The instance is registered once it serves, and deregistered before it stops: first a node removes it, then all nodes
have removed it, then requests under way may end (`drain_s`), and only then the command gets the signal. A second signal
skips the remaining steps. Whatever the registry does, the end of the command is noticed at once, and its status is
returned. When the command has ended, the processes that it started are ended, too.
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

#: These end the command, after its instance; all others that can be are passed on at once.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

#: Time between two checks whether all processes that the command started have ended.
REST_LOOK_S = 0.1

#: Time limit for processes that the command leaves running when it ends by itself, unless `kill_s` is given.
REST_S_MAX = 10.0


class RunningCommand(Protocol):
    """A command that runs; see `ProcessGroup`."""

    @property
    def can_follow(self) -> bool: ...
    @property
    def ended_by(self) -> int | None: ...
    def processes(self) -> Sequence[Process]: ...
    def follow(self) -> None: ...
    def signal(self, number: int) -> None: ...
    def end_rest(self) -> Sequence[Process]: ...


Exited = Callable[[int], None]


class CommandSupervisor:
    """Runs one command as planned. `done` fires with the status to end with.

    The caller passes signals to `signalled`.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        client: Client,
        plan: RunPlan,
        start: Callable[[Exited], RunningCommand],
        *,
        port: PortHolder | None = None,
        address: LocalAddress | None = None,
        suspend: Callable[[], None] = suspend,
    ) -> None:
        """Start the command by calling `start` with a function that takes its status. Raises what `start` raises.

        `port` knows which process holds the port, `address` the address of this machine, and `suspend` stops it.
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
        self._drains = self._was_registered_then = False
        self._is_followed = self._is_over = False
        self._kill_at: float | None = None
        address = address or LocalAddress(reactor, client)
        self._instance = InstanceKeeper(reactor, client, plan, self._pids, self._port, address)
        self.command = start(self._exited)
        self._instance.start()

    def _pids(self) -> list[int] | None:
        if not self.command.can_follow:
            return None
        return [process.pid for process in self.command.processes()]

    # Its end, by a signal.

    def signalled(self, number: int) -> None:
        """Act upon a signal that this process got."""
        if number == signal.SIGTSTP:
            self.command.signal(signal.SIGSTOP)  # which an orphaned process group does not ignore
            self._suspend()
            return
        if number not in ENDING:
            self.command.signal(number)
            return
        self._signals.append(number)
        if self._is_over:
            self.command.signal(number)
        elif self._ending is None:
            self._ending = in_background(self._end())
        elif self._preparing is not None:
            self._preparing.cancel()  # a second signal means hurry
        else:
            self.command.signal(number)

    async def _end(self) -> None:
        """Deregister the instance, and then end the command by the signal that came last."""
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
            self._was_registered_then = self._instance.is_registered
            await self._instance.deregister(self._plan.wait_s)
            self._drains = True
            await deferLater(self._reactor, self._plan.drain_s)

    # Its end, by itself.

    def _exited(self, status: int) -> None:
        """Note that the command has exited, or a process that it had left in the background."""
        if self._is_over:
            return
        rest = self.command.processes()
        if not self._goes_on(status, rest):
            self._is_over = True
            self._log_unexpected_end(status)
            self._instance.stop()
            for doing in (self._preparing, self._ending):
                if doing is not None:
                    doing.cancel()
            in_background(self._leave()).addBoth(lambda _: self.done.callback(status))
        elif not self._is_followed:
            self._is_followed = True
            self.command.follow()
            self._log.info("The command has gone into the background and is followed there: {rest}.", rest=_names(rest))

    def _log_unexpected_end(self, status: int) -> None:
        """Log an end before the command was registered, by a signal, or before --drain was over."""
        if self._signals:
            early = _early(self._plan.drain_s, drains=self._drains) if self._preparing is not None else None
            if early is not None and self._was_registered_then:
                self._log.warn("The command ended {early} (under systemd, set KillMode=mixed).", early=early)
            return
        by = _signal_name(self.command.ended_by)
        reason = self._instance.never_registered
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

    def _goes_on(self, status: int, rest: Sequence[Process]) -> bool:
        """Return True if the command continues in a process that it has left running.

        A command that goes into the background exits with 0, and leaves a process that serves or is about to.
        """
        if not rest:
            return False
        if self._signals:
            return self._is_followed
        if not self._is_followed and status != 0:
            return False
        if self._instance.has_served and not self._port.is_held_by(process.pid for process in rest):
            return False
        if not self.command.can_follow:
            self._log.error(
                "The command has gone into the background, where it cannot be followed on this system: "
                "run it in the foreground."
            )
            return False
        return True

    async def _leave(self) -> None:
        await self._instance.leave()
        await self._end_rest()

    async def _end_rest(self) -> None:
        """End the processes that the command has left running, and wait for that."""
        now = self._reactor.seconds()
        limit_s = self._plan.kill_s if self._signals or self._plan.kill_s is not None else REST_S_MAX
        kill_at = self._kill_at or (None if limit_s is None else now + limit_s)
        while True:
            ending = self.command.end_rest()
            if ending:
                self._log.info("The command has left {rest} running: ending it.", rest=_names(ending))
            rest = self.command.processes()
            if not rest:
                return
            if kill_at is not None and self._reactor.seconds() >= kill_at:
                self._log.warn("{rest} did not end in time: killed.", rest=_names(rest))
                self.command.signal(signal.SIGKILL)
                kill_at = None
            await deferLater(self._reactor, REST_LOOK_S)


def _early(drain_s: float, *, drains: bool) -> str | None:
    """Return which step the end of the command preceded while it was being stopped, if that matters."""
    if drains:
        return "before --drain was over" if drain_s else None
    return "before it was deregistered" + (", so --drain had no effect" if drain_s else "")


def _signal_name(number: int | None) -> str | None:
    if number is None:
        return None
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:  # a real-time signal
        return f"signal {number}"


#: Processes that are named in one line.
_NAMED_MAX = 3


def _names(processes: Sequence[Process]) -> str:
    """Return their names for a sentence, of a few of them."""
    names = [str(process) for process in processes[:_NAMED_MAX]]
    more = len(processes) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
