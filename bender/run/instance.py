"""Keep the instance registered while it serves, at the address where it serves.

It is registered as soon as its port answers, or its page, unless the process that answers is known to be another one
than the command. It is deregistered while its checks fail, and moves with the address of this machine. As long as it is
not registered, the log gives the reason from time to time.
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

#: The first pause between two checks before the instance serves for the first time, and the factor by which the pause
#: grows up to `check_apart_s`: an instance that starts in a second is registered in the same second, and one that takes
#: a minute is checked about thirty times.
LOOK_S = 0.1
LOOK_GROWTH = 1.3

#: A port that answers at once may belong to another process, so that the command is about to fail: the wait for that.
DOUBT_S = 1.0

#: Seconds between two looks at the holder of the port while the instance is registered, if the holder is not certain to
#: be the command: each look can take some milliseconds of the processor.
LOOK_AGAIN_S = 60.0

#: Holders of the port that are not certain to be a process of the command.
_UNSURE = (Holder.UNKNOWN, Holder.OTHER_SINCE, Holder.OTHER_BEFORE_IT)

#: Time between two checks whether the reason is due to be logged.
REMIND_S = 0.5

#: Time limit for the registry beyond the wait that was asked for; then the command comes first.
REGISTRY_S_MAX = 3.0


#: Ports at which the command listens that are named in one line.
_PORTS_MAX = 3


@frozen
class _Obstacle:
    """The reason that keeps the instance out: as a clause, and as the beginning of a sentence."""

    reason: str
    sentence: str

    @classmethod
    def of(cls, clause: str) -> _Obstacle:
        """Return the obstacle of a clause."""
        return cls(clause, clause[:1].upper() + clause[1:])


class InstanceKeeper:
    """Keeps the instance of a plan registered while it serves, from `start` to `stop`.

    `command` returns the numbers of all processes of the command, or None where they are not known.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        client: Client,
        plan: RunPlan,
        command: Callable[[], Iterable[int] | None],
        port: PortHolder,
        address: LocalAddress,
    ) -> None:
        self._reactor = reactor
        self._plan = plan
        self._command = command
        self._port = port
        self._address = address
        self._registrar = Registrar(client)
        self._registry = RegistryView(client)
        self._id: str | None = None
        #: Whether it has served at any time.
        self.has_served = False
        # The reason that keeps the instance out of the registry, if it is known here and not to the registrar.
        self._obstacle: str | None = None
        self._is_registered = self._was_registered = self._was_warned = False
        self._holding = Holding(Holder.UNKNOWN)
        self._look_at = 0.0
        self._reminder = Reminder(reactor, self._log_reason)
        self._doing: list[Deferred[None]] = []

    def start(self) -> None:
        self._registrar.startService()
        self._doing = [in_background(self._serve()), in_background(self._remind())]

    def stop(self) -> None:
        """Stop checking and logging; the registration stays as it is."""
        for doing in self._doing:
            doing.cancel()

    @property
    def is_kept(self) -> bool:
        """Return True while it is registered, or about to be."""
        return self._id is not None

    @property
    def is_registered(self) -> bool:
        """Return True while a node has confirmed the registration and it was not deregistered."""
        return self._is_registered

    @property
    def never_registered(self) -> str | None:
        """The reason why it was never registered, as a clause; None if it was."""
        if self._was_registered:
            return None
        return self._reason() or "no node has confirmed it yet"

    async def deregister(self, wait_s: float, reason: str | None = None, *, is_logged: bool = False) -> None:
        """Deregister it in bounded time; wait at most `wait_s` until all nodes have removed it.

        `reason` is as in `Client.deregister`. With `is_logged` a success is not logged again.
        """
        id_, self._id = self._id, None
        if id_ is None:
            return
        was_registered, self._is_registered = self._is_registered, False
        try:
            await self._remove(id_, wait_s, was_registered=was_registered, reason=reason, is_logged=is_logged)
        except CancelledError:
            self._id, self._is_registered = id_, was_registered  # it may still be listed, and `leave` deregisters it
            raise

    async def leave(self) -> None:
        """Deregister it for good."""
        await self.deregister(0)
        await self._registrar.stopService()

    # While it runs.

    async def _serve(self) -> None:
        """Keep the instance registered while it serves, at the current address of this machine."""
        if self._plan.host is not None:
            await self._serve_at(self._plan.host)
            return
        host = await self._address.find(self._note)
        while True:
            serving = in_background(self._serve_at(host))
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
        """Return the next address, when this one is gone or the instance serves at the other one too."""
        while True:
            found = await self._address.change(host)
            if not self._address.is_local(host) or await self._obstacle_at(found) is None:
                return found

    async def _serve_at(self, host: str) -> None:
        await self._until_served(host)
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
                        "{sentence}, {count} times in a row: it is deregistered.",
                        sentence=obstacle.sentence,
                        count=failed,
                    )
                    self._reminder.note_logged(obstacle.reason)
                await self.deregister(0, "check-failed", is_logged=True)
            elif self._id is None and passed >= self._plan.rise:
                if self._was_registered:
                    self._log.info("The instance serves again and is registered again.")
                self._register(host)

    async def _until_served(self, host: str) -> None:
        where = host_port(host, self._plan.port)
        self._obstacle = f"{where} has not answered yet"
        obstacle = await self._obstacle_at(host)
        if obstacle is None and self._holding.holder in (Holder.UNKNOWN, Holder.OTHER_SINCE):
            # The command can hardly answer this soon.
            self._log.warn("{where} answered before the command could: is another process running there?", where=where)
            await deferLater(self._reactor, DOUBT_S)
            obstacle = await self._obstacle_at(host)
        wait_s = LOOK_S
        while obstacle is not None:
            self._obstacle = obstacle.reason
            await deferLater(self._reactor, wait_s)
            wait_s = min(wait_s * LOOK_GROWTH, self._plan.check_apart_s)
            obstacle = await self._obstacle_at(host)
        if self._holding.holder is Holder.OTHER_BEFORE_IT:
            self._log.warn(
                "{clause}: it is assumed to be a proxy in front of the command.", clause=self._holding.clause
            )

    async def _obstacle_at(self, host: str) -> _Obstacle | None:
        """Return the obstacle to registering it at a host, if there is one.

        Without a page the port is tried only as long as the instance is not registered.
        """
        if self._id is None or self._plan.check_path is not None:
            problem = await self._problem(self._check(host))
            if problem is not None:
                return _Obstacle(self._describe(host, problem), f"The instance {problem}")
        now = self._reactor.seconds()
        if not self._plan.any_process and (self._id is None or now >= self._look_at):
            self._holding = self._port.look(host, self._command)
            self._look_at = now + LOOK_AGAIN_S if self._holding.holder in _UNSURE else now
        if self._holding.holder is Holder.OTHER:
            return _Obstacle.of(self._holding.clause)
        return await self._other_app_at(host) if self._id is None else None

    async def _other_app_at(self, host: str) -> _Obstacle | None:
        """Return the obstacle if another app is registered at the address, and the command may not hold the port.

        Where the command holds the port, the other registration is one that has not ended yet.
        """
        if self._holding.holder not in (Holder.OTHER_SINCE, Holder.OTHER_BEFORE_IT):
            return None
        plan = self._plan
        other = await self._registry.other_app_at(host, plan.port, plan.app)
        if other is None:
            return None
        owner = f"port {plan.port} belongs to {other.app} {other.version} ({other.id})"
        return _Obstacle.of(escaped(f"{owner}; is --port wrong? (--any-process accepts that)"))

    def _check(self, host: str) -> Check:
        plan = self._plan
        if plan.check_path is None:
            return TcpCheck(self._reactor, host, plan.port, plan.check_s_max)
        return HttpCheck(self._reactor, host, plan.port, plan.check_path, plan.check_s_max)

    async def _problem(self, check: Check) -> CheckFailed | None:
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
        """Return the problem as a sentence without its end, with the place where the command listens instead."""
        port = self._plan.port
        text = f"{host_port(host, port)} {problem}"
        if not isinstance(problem, RefusesConnections):
            return text
        addresses = self._port.bound_addresses()
        if addresses:
            return f"{text}: port {port} is bound to {', '.join(addresses)}"
        ports = [str(each) for each in self._port.other_ports(self._command)[:_PORTS_MAX]]
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
            self._obstacle = f"{refused.node} refuses it: {refused}"
        else:
            self._is_registered = self._was_registered = True
            await self._warn_of_loopback(id_.split("/")[3])

    async def _warn_of_loopback(self, host: str) -> None:
        """Print a warning, once, if the address is of this machine alone and the registry is not."""
        if self._was_warned or not is_loopback(host) or not await self._registry.has_other_machines():
            return
        self._was_warned = True
        what = (
            "give --host, or name a node by its IP address in --node"
            if self._plan.host is None
            else "give another --host"
        )
        self._log.warn("registered at {host}, which other machines cannot reach: {what}.", host=host, what=what)

    async def _remove(
        self, id_: str, wait_s: float, *, was_registered: bool, reason: str | None = None, is_logged: bool = False
    ) -> None:
        """Deregister an id. Log nothing about an id that was never registered."""
        removing = Deferred.fromCoroutine(self._registrar.remove(id_, reason=reason, wait_s=wait_s or None))
        level = LogLevel.warn
        try:
            applied = await removing.addTimeout(wait_s + REGISTRY_S_MAX, self._reactor)
        except (TimedOut, Unavailable):
            outcome = "could not be deregistered: no node answers. It expires after its ttl."
        except Succeeded:
            level, outcome = LogLevel.info, "stays registered: another instance has registered under that id since."
        except BenderError as error:
            outcome = f"could not be deregistered: {error}."
        except CancelledError:
            raise
        except Exception:
            self._log.failure("{id} could not be deregistered.", id=id_)
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

    # The log while it is not registered.

    def _note(self, obstacle: str) -> None:
        self._obstacle = obstacle

    async def _remind(self) -> None:
        while True:
            await deferLater(self._reactor, REMIND_S)
            reason = self._reason()
            if reason is not None:
                self._reminder.note(reason)

    def _reason(self) -> str | None:
        """Return why it is not registered, as a clause; None if it is, or is about to be."""
        if self._obstacle is None and self._id is not None and not self._is_registered and self._registrar.problem:
            return f"no node answers: {self._registrar.problem}"
        return self._obstacle

    def _log_reason(self, reason: str) -> None:
        yet = "" if self._was_registered else " yet"
        self._log.warn("not registered{yet}: {reason}.", yet=yet, reason=reason)
