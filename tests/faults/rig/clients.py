"""Instances like those of the simulator: they register, renew at changing nodes, fail over, change and end.

A client knows only its answers. Each of its requests is recorded with its begin, its end and its answer. Every
registration and every change has its own `unit` in `meta`, so that the listed and announced registrations tell which
request they are from. Renewals are `PUT`s, which have no terms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, Literal

from attrs import define, evolve, field, frozen

from tests.faults.facts import ClientRequest, Operation, description_of
from tests.faults.plan import Plan
from tests.faults.rig.http import FAILURES, Reply, Unreached, ask
from tests.faults.rig.network import CLIENTS, address_of
from tests.faults.rig.recorder import Recorder, now

#: The node of the next renewal: always the same, the next one after a failure, the next one each time, or any.
Habit = Literal["stick", "fail over", "rotate", "wander"]

#: The status in a fact of a request that cannot have had an effect, because no connection was made.
UNREACHED = 0


#: The number of instances of a burden, and the size of each; a node accepts entries of 4 KiB.
BURDEN, BALLAST_BYTES = 200, 3500


@frozen
class Terms:
    """The terms of a registration, without its place."""

    ttl_s: float
    weight: int = 1


@define
class Requests:
    """Sends the requests of one client, and records them."""

    name: str
    key: str
    source: str
    plan: Plan
    recorder: Recorder
    _units: int = field(default=0, init=False)

    @property
    def path(self) -> str:
        return f"/{self.key.replace('registration', 'registrations', 1)}"

    async def register(self, node: int, terms: Terms, ballast: str = "") -> Reply | None:
        """Register at a node. `ballast` takes memory there."""
        self._units += 1
        unit = f"{self.name}.{self._units}"
        body = {"ttl": terms.ttl_s, "weight": terms.weight, "meta": {"unit": unit, "ballast": ballast}}
        return await self._send(node, "register", "POST", self.path, body, unit=unit, ttl_s=terms.ttl_s)

    async def renew(self, node: int) -> Reply | None:
        return await self._send(node, "renew", "PUT", self.path)

    async def deregister(self, node: int, reason: str = "deregistered") -> Reply | None:
        query = "?reason=check-failed" if reason == "check-failed" else ""
        return await self._send(node, "deregister", "DELETE", self.path + query, reason=reason)

    async def _send(
        self,
        node: int,
        operation: Operation,
        method: str,
        path: str,
        body: Any = None,
        *,
        unit: str = "",
        ttl_s: float = 0.0,
        reason: str = "",
    ) -> Reply | None:
        """Send a request, and return its answer; None if there was no answer, or the node was not ready."""
        sent_at, reply, status = now(), None, None
        try:
            within_s = 3 * self.plan.interval_s
            reply = await ask(address_of(node), method, path, body, source=self.source, within_s=within_s)
            status = reply.status
        except Unreached:
            status = UNREACHED
        except FAILURES:
            pass
        finally:
            answered = (
                description_of(reply.body) if reply and isinstance(reply.body, dict) and "id" in reply.body else ""
            )
            asked = ClientRequest(
                at=now(),
                sent_at=sent_at,
                client=self.name,
                node=f"n{node + 1}",
                operation=operation,
                key=self.key,
                status=status,
                unit=unit,
                ttl_s=ttl_s,
                body=answered,
                reason=reason,
            )
            self.recorder.add(asked)
        return reply if reply is not None and reply.status != 503 else None


class Client:
    """Registers one instance after another, each for its number of lives, until the task is cancelled."""

    def __init__(self, number: int, plan: Plan, recorder: Recorder) -> None:
        self._random = random = Random(f"client {plan.seed} {number}")
        self._number = number
        self._plan = plan
        self._recorder = recorder
        hard = plan.seed % 2 == 1
        habits: tuple[Habit, ...] = ("stick", "stick", "fail over", "rotate", "rotate", "wander")
        self.habit: Habit = random.choice(habits[2:] if hard else habits)
        self._home = random.randrange(16)
        self._source = CLIENTS[number % 2]
        ttl_s = plan.ttl_s if random.random() < 0.85 else max(plan.ttl_s * random.choice([0.5, 2.0]), self._ttl_s_min)
        self._terms = Terms(ttl_s)
        self._period = random.choice([0.3, 0.4, 0.5, 0.7, 0.8])
        self._doubles = random.random() < 0.1
        self._requests = self._instance()

    @property
    def _ttl_s_min(self) -> float:
        return 4 * self._plan.interval_s

    def _instance(self) -> Requests:
        key = f"registration/web/{self._number % 3}/10.1.{self._number // 200}.{self._number % 200 + 1}/80"
        return Requests(f"c{self._number}", key, self._source, self._plan, self._recorder)

    def _some(self, least: float, most: float) -> float:
        return self._random.uniform(least, most) * self._plan.interval_s

    async def run(self) -> None:
        await asyncio.sleep(self._some(0, 8))
        while True:
            await self._live()
            await asyncio.sleep(self._some(1, 25))
            if self._random.random() < 0.4:
                self._number += 1000
                self._requests = self._instance()

    async def _live(self) -> None:
        """Register, renew, and end the registration in some way."""
        random, ends_at, fate = self._random, now() + self._some(4, 60), self._random.random()
        await self._registered(also_at=self._any() if self._doubles else None)
        while True:
            due_at = now() + self._period * self._terms.ttl_s
            if due_at > ends_at:
                await asyncio.sleep(max(0.0, ends_at - now()))
                if fate < 0.3:
                    return
                if fate < 0.6:
                    await self._deregister()
                    return
                self._want_something_else()
                await self._registered()
                ends_at, fate = now() + self._some(4, 60), random.random()
                continue
            await asyncio.sleep(due_at - now())
            await self._renewed()

    async def _registered(self, also_at: int | None = None) -> None:
        """Register at any node, and retry until a node accepts the registration."""
        requests = self._requests
        if also_at is not None:
            twice = (requests.register(self._next(), self._terms), requests.register(also_at, self._terms))
            if any(await asyncio.gather(*twice)):
                return
        while not await requests.register(self._next(), self._terms):
            await self._after_failure()

    async def _renewed(self) -> None:
        """Renew at a node, and register again if the node does not know the registration."""
        while True:
            node = self._next()
            reply = await self._requests.renew(node)
            if reply is not None and reply.status == 404:
                reply = await self._requests.register(node, self._terms)
            if reply is not None:
                return
            await self._after_failure()

    async def _after_failure(self) -> None:
        if self.habit == "fail over":
            self._home += 1
        await asyncio.sleep(self._some(0.2, 0.4))

    async def _deregister(self) -> None:
        random = self._random
        if random.random() < 0.3:
            await self._requests.renew(self._next())
        elif random.random() < 0.4:  # the other node may not have received the change at the deregistration
            self._want_something_else()
            await self._requests.register(self._any(), self._terms)
        await asyncio.sleep(random.choice([0.001, 0.02, 0.05, 0.5]) * self._plan.interval_s)
        reason = "check-failed" if random.random() < 0.2 else "deregistered"
        while await self._requests.deregister(self._next(), reason) is None:
            await self._after_failure()

    def _want_something_else(self) -> None:
        random, ttl_s = self._random, self._terms.ttl_s
        if random.random() < 0.2:
            ttl_s = min(max(ttl_s * random.choice([0.5, 2.0]), self._ttl_s_min), 2 * self._plan.ttl_s)
        self._terms = evolve(self._terms, ttl_s=ttl_s, weight=random.randint(1, 200))

    def _next(self) -> int:
        if self.habit == "rotate":
            self._home += 1
        elif self.habit == "wander":
            self._home = self._random.randrange(16)
        return self._home % self._plan.nodes

    def _any(self) -> int:
        return self._random.randrange(self._plan.nodes)


class Operator:
    """Changes two backends at any nodes; each backend gets at most 20 settings."""

    def __init__(self, plan: Plan, recorder: Recorder) -> None:
        self._random = Random(f"operator {plan.seed}")
        self._plan = plan
        self._recorder = recorder

    async def run(self) -> None:
        random, plan = self._random, self._plan
        for number in range(30):
            await asyncio.sleep(random.uniform(0, 2) * plan.faults_s / 30)
            name, unit, node = f"b{number % 2}", f"w{number}", random.randrange(plan.nodes)
            body = {"app": "shop", "version": "1", "meta": {"unit": unit}}
            sent_at, status = now(), None
            try:
                address = address_of(node)
                status = (await ask(address, "PUT", f"/backends/{name}", body, within_s=3 * plan.interval_s)).status
            except Unreached:
                status = UNREACHED
            except FAILURES:
                pass
            finally:
                asked = ClientRequest(
                    at=now(),
                    sent_at=sent_at,
                    client="operator",
                    node=f"n{node + 1}",
                    operation="configure",
                    key=f"backend/{name}",
                    status=status,
                    unit=unit,
                )
                self._recorder.add(asked)


async def burden(node: int, number: int, plan: Plan, recorder: Recorder) -> None:
    """Register many large instances at a node, which are never renewed; `number` distinguishes the burdens."""

    async def register(index: int) -> None:
        key = f"registration/ballast/1/10.3.{number}.{index + 1}/80"
        requests = Requests(f"burden{number}.{index}", key, CLIENTS[index % 2], plan, recorder)
        await requests.register(node, Terms(plan.ttl_s), "x" * BALLAST_BYTES)

    for begin in range(0, BURDEN, 10):
        await asyncio.gather(*map(register, range(begin, begin + 10)))


def crowd(plan: Plan, recorder: Recorder) -> Sequence[Client]:
    return [Client(number, plan, recorder) for number in range(plan.clients)]
