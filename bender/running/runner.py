"""What happens when, between a command and its place in the registry.

The instance is registered once it serves, and deregistered before it does not: first the registry is told, then all
nodes have it, then what is under way may end (`drain_s`), and only then the command gets the signal. A second signal
skips what is left of that. Whatever the registry does, the command's own end is never waited for in vain, and its
status is what is returned. As long as the instance is not registered, the log says why, now and then.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as Connection
from twisted.internet.task import deferLater
from twisted.logger import Logger

from bender.addresses import NoAnswer, host_port, split_host_port
from bender.client import BenderError, Client, NotFound, Refused, Registrar, Succeeded, Unavailable
from bender.reaching import endpoint_of, in_time
from bender.running.checks import Check, Failed, HttpCheck, RefusesConnections, TcpCheck
from bender.running.listening import bound_addresses
from bender.running.plan import Plan
from bender.running.reminding import Reminder

#: These end the command, after its instance; all others that can be are passed on at once.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

#: Before the instance serves for the first time it is looked at so often.
LOOK_S = 0.1

#: What answers at once may be another process, in whose way the command is about to fail. It is given so long for that.
DOUBT_S = 1.0

#: How often it is looked at whether it is time to say why the instance is not registered.
REMIND_S = 0.5

#: What the registry has to answer beyond the time that it was asked to wait for; then the command comes first.
REGISTRY_S_MAX = 3.0

#: To find out by which address of this machine a node is reached: for one, and before all are tried again.
CONNECT_S_MAX = 2.0
RETRY_S = 1.0


class Runs(Protocol):
    """A command that runs, of which `status` is None as long as it does."""

    status: int | None

    def signal(self, number: int) -> None: ...


Ended = Callable[[int], None]


class Runner:
    """Runs one command as planned. `done` fires with the status to end with.

    The caller passes signals to `signalled`.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        client: Client,
        plan: Plan,
        start: Callable[[Ended], Runs],
        *,
        bound: Callable[[int], list[str]] = bound_addresses,
    ) -> None:
        """Start the command by calling `start` with what is to be told its status. Raises what that does.

        `bound` returns the addresses of this machine to which a port is bound, as far as that is known.
        """
        self.done: Deferred[int] = Deferred()
        self._reactor = reactor
        self._client = client
        self._plan = plan
        self._registrar = Registrar(client)
        self._id: str | None = None
        self._ending: Deferred[None] | None = None
        self._preparing: Deferred[None] | None = None
        self._told: list[int] = []
        self._bound = bound
        # What keeps the instance out of the registry, as far as that is known here and not to the registrar.
        self._obstacle: str | None = None
        self._is_registered = self._was_registered = False
        self._reminder = Reminder(reactor, self._say_why)
        self.command = start(self._ended)
        self._registrar.startService()
        self._serving = self._in_background(self._serve())
        self._reminding = self._in_background(self._remind())

    # While it runs.

    async def _serve(self) -> None:
        """Register the instance when it serves, and for as long as it does."""
        host = self._plan.host or await self._local_address()
        check = self._check(host)
        where = host_port(host, self._plan.port)
        await self._until_served(check, where)
        self._register(host)
        if self._plan.check_path is None:
            return
        passed = failed = 0
        while True:
            await deferLater(self._reactor, self._plan.check_apart_s)
            problem = await self._problem(check)
            passed, failed = (0, failed + 1) if problem else (passed + 1, 0)
            if problem is not None and (self._id is None or failed >= self._plan.fall):
                self._obstacle = self._account(where, problem)
            if self._id is not None and failed >= self._plan.fall:
                self._log.warn(
                    "It {problem}, {count} times in a row: it is deregistered.", problem=problem, count=failed
                )
                self._reminder.was_said(self._obstacle or "")
                await self._deregister(0)
            elif self._id is None and passed >= self._plan.rise:
                self._log.info("It serves again: it is registered.")
                self._register(host)

    def _check(self, host: str) -> Check:
        plan = self._plan
        if plan.check_path is None:
            return TcpCheck(self._reactor, host, plan.port, plan.check_s_max)
        return HttpCheck(self._reactor, host, plan.port, plan.check_path, plan.check_s_max)

    async def _until_served(self, check: Check, where: str) -> None:
        self._obstacle = f"{where} has not answered yet"
        if not await self._problem(check):  # so soon it is hardly the command
            self._log.warn("{where} answered before the command could: is something else running there?", where=where)
            await deferLater(self._reactor, DOUBT_S)
        while problem := await self._problem(check):
            self._obstacle = self._account(where, problem)
            await deferLater(self._reactor, LOOK_S)

    async def _problem(self, check: Check) -> Failed | None:
        try:
            await check.check()
        except Failed as failed:
            return failed
        except CancelledError:
            raise
        except Exception as error:
            self._log.failure("This should not have happened; it is checked again.")
            return Failed(f"cannot be checked ({error})")
        return None

    def _account(self, where: str, problem: Failed) -> str:
        """Return the problem as a sentence without its end, with the addresses to which the port is bound instead."""
        addresses = self._bound(self._plan.port) if isinstance(problem, RefusesConnections) else []
        bound = f": port {self._plan.port} is bound to {', '.join(addresses)}" if addresses else ""
        return f"{where} {problem}{bound}"

    async def _local_address(self) -> str:
        """By which address of this machine a node is reached."""
        factory = Factory.forProtocol(Connection)
        factory.noisy = False
        self._obstacle = "no node has answered yet"
        while True:
            problems = {}
            for node in self._client.nodes.in_turn():
                endpoint = endpoint_of(self._reactor, *split_host_port(node.rpartition("//")[2]), CONNECT_S_MAX)
                try:
                    connection: Any = await in_time(self._reactor, endpoint.connect(factory), CONNECT_S_MAX)
                except NoAnswer as no_answer:
                    problems[node] = str(no_answer)
                    continue
                local: str = connection.transport.getHost().host
                connection.transport.loseConnection()
                return local
            self._obstacle = f"no node answers: {Unavailable(problems)}"
            await deferLater(self._reactor, RETRY_S)

    def _register(self, host: str) -> None:
        plan = self._plan
        self._id = self._registrar.add(
            plan.app,
            plan.version,
            host,
            plan.port,
            ttl_s=plan.ttl_s,
            weight=plan.weight,
            meta=plan.meta,
        )
        self._obstacle = None
        self._is_registered = False
        self._in_background(self._await_registration(self._id))

    async def _await_registration(self, id_: str) -> None:
        try:
            await self._registrar.registered(id_)
        except Refused as refused:
            self._obstacle = f"{refused.node} refuses it: {refused}"
        else:
            self._is_registered = self._was_registered = True

    async def _deregister(self, wait_s: float) -> None:
        """Take the instance out of the registry, in bounded time."""
        id_, self._id = self._id, None
        if id_ is None:
            return
        removing = Deferred.fromCoroutine(self._registrar.remove(id_, wait_s=wait_s or None))
        try:
            applied = await removing.addTimeout(wait_s + REGISTRY_S_MAX, self._reactor)
        except CancelledError:
            self._id = id_  # it may be listed still, and `_leave` sees to that
            raise
        except (TimedOut, Unavailable):
            self._log.warn("{id} could not be deregistered: no node answers. It ends with its ttl.", id=id_)
        except NotFound:
            self._log.info("{id} was not registered any more.", id=id_)
        except Succeeded:
            self._log.info("{id} stays registered: another instance has registered under that id since.", id=id_)
        except BenderError as error:
            self._log.warn("{id} could not be deregistered: {error}.", id=id_, error=str(error))
        except Exception:
            self._log.failure("{id} could not be deregistered.", id=id_)
        else:
            missing = applied.missing if applied else ()
            also = f", but {', '.join(missing)} did not say so" if missing else ""
            self._log.info("{id} is deregistered{also}.", id=id_, also=also)

    # What is said as long as it is not registered.

    async def _remind(self) -> None:
        while True:
            await deferLater(self._reactor, REMIND_S)
            reason = self._obstacle
            if reason is None and self._id is not None and not self._is_registered and self._registrar.problem:
                reason = f"no node answers: {self._registrar.problem}"
            if reason is not None:
                self._reminder.note(reason)

    def _say_why(self, reason: str) -> None:
        yet = "" if self._was_registered else " yet"
        self._log.warn("not registered{yet}: {reason}.", yet=yet, reason=reason)

    # Its end.

    def signalled(self, number: int) -> None:
        """Act upon a signal that this process got."""
        if number not in ENDING:
            self.command.signal(number)
            return
        self._told.append(number)
        if self._ending is None:
            self._ending = self._in_background(self._end())
        elif self._preparing is not None:
            self._preparing.cancel()  # whoever says so twice is in a hurry
        else:
            self.command.signal(number)

    async def _end(self) -> None:
        """Deregister the instance, and then end the command by the signal that came last."""
        self._serving.cancel()
        self._reminding.cancel()
        preparing = self._preparing = Deferred.fromCoroutine(self._prepare())
        with suppress(CancelledError):
            await preparing
        self._preparing = None
        if self.command.status is not None:
            return
        self.command.signal(self._told[-1])
        if self._plan.kill_s is not None:
            await deferLater(self._reactor, self._plan.kill_s)
            self._log.warn("It did not end within {limit:g} s, and is killed.", limit=self._plan.kill_s)
            self.command.signal(signal.SIGKILL)

    async def _prepare(self) -> None:
        if self._id is not None:
            await self._deregister(self._plan.wait_s)
            await deferLater(self._reactor, self._plan.drain_s)

    def _ended(self, status: int) -> None:
        """The command is over."""
        self._serving.cancel()
        self._reminding.cancel()
        if self._preparing is not None:
            self._preparing.cancel()
        if self._ending is not None:
            self._ending.cancel()
        Deferred.fromCoroutine(self._leave()).addBoth(lambda _: self.done.callback(status))

    async def _leave(self) -> None:
        await self._deregister(0)
        await self._registrar.stopService()

    def _in_background(self, doing: Coroutine[Any, Any, None]) -> Deferred[None]:
        return Deferred.fromCoroutine(doing).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError, ConnectingCancelledError):
            self._log.failure("This should not have happened; the command goes on.", failure)
