"""Asks a node for the states that operators have set, because events do not distinguish removed and lost states."""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from bender.client import BenderError, Client
from bender.client.decoding import decode_json
from bender.client.paths import path_of
from bender.client.types import Seconds
from bender.core.registration_status import State
from bender.haproxy.core.admin_states import StateAnswer
from bender.haproxy.driver import Driver
from bender.net.addresses import NoAnswer

#: Seconds between two checks whether questions to a node are due.
LOOK_S = 0.25

#: Time limit for an answer.
ANSWER_S_MAX = 2.0


class _Set(msgspec.Struct, rename={"left_s": "left"}):
    state: State
    left_s: Seconds


class _NotSet(msgspec.Struct):
    code: str
    removed: bool | None = None


class StateSource:
    """Reads the states of instances from any node."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, node: str, id_: str) -> StateAnswer:
        """Return the state of an instance at one node. Raises `NoAnswer`, also for an unusable answer."""
        reply = await self._client.ask(node, "GET", f"{path_of(id_)}/state", within_s=ANSWER_S_MAX)
        if reply.status == HTTPStatus.OK:
            found: _Set = decode_json(reply.body, _Set)
            return StateAnswer(found.state, found.left_s)
        if reply.status == HTTPStatus.NOT_FOUND:
            not_set: _NotSet = decode_json(reply.body, _NotSet)
            return StateAnswer(removed=not_set.removed)
        raise NoAnswer(f"answers with status {reply.status}")


class StateQuery(Protocol):
    """The part of `StateSource` that the reader calls."""

    async def ask(self, node: str, id_: str) -> StateAnswer: ...


class StateReader(Service):
    """Asks the node that a driver follows each question of the driver's `AdminStates`."""

    _log = Logger()

    def __init__(self, reactor: IReactorTime, states: StateQuery, driver: Driver) -> None:
        self._reactor = reactor
        self._states = states
        self._driver = driver
        # Instances whose lost state was logged.
        self._warned: set[str] = set()
        self._running: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def stopService(self) -> None:
        super().stopService()
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self._ask()
            except (NoAnswer, BenderError) as error:
                self._log.debug(
                    "The state that an operator set on an instance could not be read; trying again: {why}.",
                    why=str(error),
                )
            except CancelledError:
                raise
            except Exception:
                self._log.failure(
                    "Reading the states that operators set on instances (drain, maint) failed; trying again."
                )
            await deferLater(self._reactor, LOOK_S)

    async def _ask(self) -> None:
        driver = self._driver
        for id_ in driver.desired.registry.admin_states.ids_to_ask(driver.now()):
            if driver.watch.node is None or driver.unreachable_nodes:
                return
            asked_at = driver.now()
            answer = await self._states.ask(driver.watch.node, id_)
            driver.desired.receive_state_answer(id_, answer, asked_at, driver.now())
            driver.wake()
            self._warn_of_loss(id_)

    def _warn_of_loss(self, id_: str) -> None:
        states = self._driver.desired.registry.admin_states
        until = states.lost().get(id_)
        if until is None:
            self._warned.discard(id_)
        elif id_ not in self._warned:
            self._warned.add(id_)
            self._log.warn(
                "bender has lost the state that was set for {id}, and reports it as up. The driver keeps the old state "
                "for another {left_s:.0f} s. To keep it longer, set it again: bender drain {instance}{maint}. To end "
                "it now: bender up {instance} --for 60",
                id=id_,
                maint=" --maint" if states.known_state(id_) == "maint" else "",
                instance=id_.removeprefix("registration/"),
                left_s=until - self._driver.now(),
            )
