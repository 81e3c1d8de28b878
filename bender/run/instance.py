"""Keep the instance registered while it serves, at the address where it serves.

The instance is registered when its port or its health page answers, unless the process that answers is certainly not
the command. It is deregistered while its checks fail, and registered at the new address when the address of this
machine changes. While it is not registered, the log gives the reason from time to time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel

from bender.client import BenderError, Client, Refused, Registrar, Succeeded, Unavailable
from bender.core.hosts import is_loopback
from bender.net.addresses import host_port
from bender.net.escaping import escaped
from bender.net.reactor import Reactor
from bender.run.background import in_background
from bender.run.health_checks import Check, CheckFailed, HttpCheck, RefusesConnections, TcpCheck
from bender.run.local_address import LocalAddress
from bender.run.plan import RunPlan
from bender.run.port_holder import Holder, Holding, PortHolder
from bender.run.registry_view import RegistryView
from bender.run.reminders import Reminder

#: Seconds of the first pause between two checks before the instance serves for the first time, and the factor by which
#: the pause grows up to `check_apart_s`. An instance that starts in a second is registered in the same second, and an
#: instance that takes a minute is checked about thirty times.
FIRST_CHECK_PAUSE_S = 0.1
CHECK_PAUSE_GROWTH = 1.3

#: Seconds to wait if the port answers at once: it may belong to another process, and the command may be about to fail.
EARLY_ANSWER_WAIT_S = 1.0

#: Seconds between two searches for the holder of the port while the instance is registered, if the holder is not
#: certainly the command. Each search can take some milliseconds of processor time.
HOLDER_CHECK_INTERVAL_S = 60.0

#: Holders of the port that may or may not be a process of the command.
_UNCERTAIN_HOLDERS = (Holder.UNKNOWN, Holder.OTHER_SINCE, Holder.OTHER_BEFORE_IT)

#: Seconds between two checks whether the reason should be logged.
REMINDER_CHECK_INTERVAL_S = 0.5

#: Seconds that the registry has to answer, in addition to the requested wait. After that, the command has priority.
REGISTRY_S_MAX = 3.0


#: The largest number of ports that one line names.
_NAMED_PORTS_MAX = 3


@frozen
class _Obstacle:
    """The reason why the instance cannot be registered, as a clause and as the beginning of a sentence."""

    reason: str
    sentence: str

    @classmethod
    def of(cls, clause: str) -> _Obstacle:
        """Return the obstacle with a reason that is a whole clause."""
        return cls(clause, clause[:1].upper() + clause[1:])


class InstanceKeeper:
    """Keep the instance of a plan registered while it serves, from `start` to `stop`.

    `command_pids` returns the ids of all processes of the command, or None if they are unknown.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        client: Client,
        plan: RunPlan,
        command_pids: Callable[[], Iterable[int] | None],
        port: PortHolder,
        address: LocalAddress,
    ) -> None:
        self._reactor = reactor
        self._plan = plan
        self._command_pids = command_pids
        self._port = port
        self._address = address
        self._registrar = Registrar(client)
        self._registry = RegistryView(client)
        self._id: str | None = None
        #: Whether the instance has served at any time.
        self.has_served = False
        # The reason why the instance is not registered, if it is not one that the registrar knows.
        self._obstacle: str | None = None
        self._is_registered = self._was_registered = self._has_warned = False
        self._holding = Holding(Holder.UNKNOWN)
        self._next_holder_check_at = 0.0
        self._reminder = Reminder(reactor, self._log_reason)
        self._tasks: list[Deferred[None]] = []

    def start(self) -> None:
        self._registrar.startService()
        self._tasks = [in_background(self._keep_registered()), in_background(self._log_reminders())]

    def stop(self) -> None:
        """Stop checking and logging. The registration does not change."""
        for doing in self._tasks:
            doing.cancel()

    @property
    def is_kept(self) -> bool:
        """Whether the instance is registered or will be soon."""
        return self._id is not None

    @property
    def is_registered(self) -> bool:
        """Whether a node has confirmed the registration, and the instance was not deregistered since."""
        return self._is_registered

    @property
    def never_registered_reason(self) -> str | None:
        """The reason why the instance was never registered, as a clause; None if it was registered."""
        if self._was_registered:
            return None
        return self._unregistered_reason() or "no node has confirmed the registration yet"

    async def deregister(self, wait_s: float, reason: str | None = None, *, is_logged: bool = False) -> None:
        """Deregister the instance in bounded time, and wait at most `wait_s` until all nodes have removed it.

        `reason` is as in `Client.deregister`. If `is_logged` is True, a success is not logged again.
        """
        id_, self._id = self._id, None
        if id_ is None:
            return
        was_registered, self._is_registered = self._is_registered, False
        try:
            await self._remove(id_, wait_s, was_registered=was_registered, reason=reason, is_logged=is_logged)
        except CancelledError:
            # It may still be listed, so `deregister_finally` has to deregister it.
            self._id, self._is_registered = id_, was_registered
            raise

    async def deregister_finally(self) -> None:
        """Deregister the instance, and stop the registrar."""
        await self.deregister(0)
        await self._registrar.stopService()

    # Checks and registration.

    async def _keep_registered(self) -> None:
        """Keep the instance registered while it serves, at the current address of this machine."""
        if self._plan.host is not None:
            await self._keep_registered_at(self._plan.host)
            return
        host = await self._address.find(self._note_obstacle)
        while True:
            serving = in_background(self._keep_registered_at(host))
            try:
                before, host = host, await self._next_address(host)
            finally:
                serving.cancel()
            self._log.info("The address of this machine has changed from {before} to {now}.", now=host, before=before)
            id_, self._id = self._id, None
            if id_ is not None:
                was_registered, self._is_registered = self._is_registered, False
                in_background(self._remove(id_, 0, was_registered=was_registered))

    async def _next_address(self, host: str) -> str:
        """Wait until the machine loses this address, or the instance also serves at another one; return the other."""
        while True:
            found = await self._address.wait_for_change(host)
            if not self._address.is_local(host) or await self._obstacle_at(found) is None:
                return found

    async def _keep_registered_at(self, host: str) -> None:
        await self._wait_until_served(host)
        self.has_served = True
        self._register(host)
        passed = failed = 0
        while True:
            await deferLater(self._reactor, self._plan.check_apart_s)
            obstacle = await self._obstacle_at(host)
            passed, failed = (0, failed + 1) if obstacle else (passed + 1, 0)
            if obstacle is not None and (self._id is None or failed >= self._plan.fall):
                self._obstacle = obstacle.reason
            if obstacle is not None and self._id is not None and failed >= self._plan.fall:
                if self._is_registered:
                    self._log.warn(
                        "{sentence}, {count} times in a row: the instance is deregistered.",
                        sentence=obstacle.sentence,
                        count=failed,
                    )
                    self._reminder.note_logged(obstacle.reason)
                await self.deregister(0, "check-failed", is_logged=True)
            elif self._id is None and passed >= self._plan.rise:
                if self._was_registered:
                    self._log.info("The instance serves again and is registered again.")
                self._register(host)

    async def _wait_until_served(self, host: str) -> None:
        where = host_port(host, self._plan.port)
        self._obstacle = f"{where} has not answered yet"
        obstacle = await self._obstacle_at(host)
        if obstacle is None and self._holding.holder in (Holder.UNKNOWN, Holder.OTHER_SINCE):
            # The command itself can hardly answer so early.
            self._log.warn(
                "{where} answered before the command can have started: does another process listen there?", where=where
            )
            await deferLater(self._reactor, EARLY_ANSWER_WAIT_S)
            obstacle = await self._obstacle_at(host)
        wait_s = FIRST_CHECK_PAUSE_S
        while obstacle is not None:
            self._obstacle = obstacle.reason
            await deferLater(self._reactor, wait_s)
            wait_s = min(wait_s * CHECK_PAUSE_GROWTH, self._plan.check_apart_s)
            obstacle = await self._obstacle_at(host)
        if self._holding.holder is Holder.OTHER_BEFORE_IT:
            self._log.warn(
                "{clause}: that process is assumed to be a proxy in front of the command.", clause=self._holding.clause
            )

    async def _obstacle_at(self, host: str) -> _Obstacle | None:
        """Return the reason why the instance cannot be registered at a host, or None.

        If the plan has no health page, the port is checked only while the instance is not registered.
        """
        if self._id is None or self._plan.check_path is not None:
            problem = await self._failure_of(self._check(host))
            if problem is not None:
                return _Obstacle(self._describe(host, problem), f"The instance {problem}")
        now = self._reactor.seconds()
        if not self._plan.any_process and (self._id is None or now >= self._next_holder_check_at):
            self._holding = self._port.find_holder(host, self._command_pids)
            self._next_holder_check_at = (
                now + HOLDER_CHECK_INTERVAL_S if self._holding.holder in _UNCERTAIN_HOLDERS else now
            )
        if self._holding.holder is Holder.OTHER:
            return _Obstacle.of(self._holding.clause)
        return await self._other_app_at(host) if self._id is None else None

    async def _other_app_at(self, host: str) -> _Obstacle | None:
        """Return the obstacle if another app is registered at the address, and the command may not hold the port.

        If the command holds the port, the other registration is an old one that has not ended yet.
        """
        if self._holding.holder not in (Holder.OTHER_SINCE, Holder.OTHER_BEFORE_IT):
            return None
        plan = self._plan
        other = await self._registry.other_app_at(host, plan.port, plan.app)
        if other is None:
            return None
        owner = f"port {plan.port} belongs to {other.app} {other.version} ({other.id})"
        return _Obstacle.of(escaped(f"{owner}; is --port wrong? (to register nevertheless: --any-process)"))

    def _check(self, host: str) -> Check:
        plan = self._plan
        if plan.check_path is None:
            return TcpCheck(self._reactor, host, plan.port, plan.check_s_max)
        return HttpCheck(self._reactor, host, plan.port, plan.check_path, plan.check_s_max)

    async def _failure_of(self, check: Check) -> CheckFailed | None:
        try:
            await check.check()
        except CheckFailed as failed:
            return failed
        except CancelledError:
            raise
        except Exception as error:
            self._log.failure("Unexpected error in a check; the check is repeated.")
            return CheckFailed(f"cannot be checked ({error})")
        return None

    def _describe(self, host: str, problem: CheckFailed) -> str:
        """Return a sentence about the problem without its full stop, with the address at which the command listens."""
        port = self._plan.port
        text = f"{host_port(host, port)} {problem}"
        if not isinstance(problem, RefusesConnections):
            return text
        addresses = self._port.bound_addresses()
        if addresses:
            return f"{text}: port {port} is bound to {', '.join(addresses)}"
        ports = [str(each) for each in self._port.other_ports(self._command_pids)[:_NAMED_PORTS_MAX]]
        return f"{text}, but the command listens at {', '.join(ports)}" if ports else text

    def _register(self, host: str) -> None:
        self._id = self._registrar.add_spec(self._plan.spec_at(host))
        self._obstacle = None
        self._is_registered = False
        in_background(self._await_registration(self._id))

    async def _await_registration(self, id_: str) -> None:
        try:
            await self._registrar.registered(id_)
        except Refused as refused:
            self._obstacle = f"{refused.node} refuses the registration: {refused}"
        else:
            self._is_registered = self._was_registered = True
            await self._warn_of_loopback(id_.split("/")[3])

    async def _warn_of_loopback(self, host: str) -> None:
        """Log one warning if only this machine can reach the address, and the registry has nodes on others."""
        if self._has_warned or not is_loopback(host) or not await self._registry.has_other_machines():
            return
        self._has_warned = True
        what = (
            "give --host, or name a node by its IP address in --node"
            if self._plan.host is None
            else "give another --host"
        )
        self._log.warn(
            "registered with the address {host}, which other machines cannot reach: {what}.", host=host, what=what
        )

    async def _remove(
        self, id_: str, wait_s: float, *, was_registered: bool, reason: str | None = None, is_logged: bool = False
    ) -> None:
        """Deregister an id, and log the outcome unless the id was never registered."""
        removing = Deferred.fromCoroutine(self._registrar.remove(id_, reason=reason, wait_s=wait_s or None))
        level = LogLevel.warn
        try:
            applied = await removing.addTimeout(wait_s + REGISTRY_S_MAX, self._reactor)
        except (TimedOut, Unavailable):
            outcome = "could not be deregistered: no node answers. It expires after its ttl."
        except Succeeded:
            level, outcome = LogLevel.info, "stays registered: another process has registered it in the meantime."
        except BenderError as error:
            outcome = f"could not be deregistered: {error}."
        except CancelledError:
            raise
        except Exception:
            self._log.failure(
                "{id} could not be deregistered because of a defect in bender: it expires after its ttl.", id=id_
            )
            return
        else:
            level = LogLevel.info
            missing = applied.missing if applied else ()
            also = f", but {', '.join(missing)} did not confirm it" if missing else ""
            outcome = "was no longer registered." if wait_s and applied is None else f"is deregistered{also}."
            if is_logged and not also:
                return
        if was_registered:
            self._log.emit(level, "{id} {outcome}", id=id_, outcome=outcome)

    # The log while the instance is not registered.

    def _note_obstacle(self, obstacle: str) -> None:
        self._obstacle = obstacle

    async def _log_reminders(self) -> None:
        while True:
            await deferLater(self._reactor, REMINDER_CHECK_INTERVAL_S)
            reason = self._unregistered_reason()
            if reason is not None:
                self._reminder.note(reason)

    def _unregistered_reason(self) -> str | None:
        """Return the reason why the instance is not registered, as a clause; None if it is, or will be soon."""
        if self._obstacle is None and self._id is not None and not self._is_registered and self._registrar.problem:
            return f"no node answers: {self._registrar.problem}"
        return self._obstacle

    def _log_reason(self, reason: str) -> None:
        yet = "" if self._was_registered else " yet"
        self._log.warn("not registered{yet}: {reason}.", yet=yet, reason=reason)
