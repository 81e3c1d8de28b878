"""Keep instances registered while nodes fail and return.

All instances that are due are renewed in one request, a third of their ttl after the last time, a little sooner or
later at random, so that a thousand registrars do not ask in the same moment. An instance that the node does not know is
registered. A request that fails is repeated soon, at any node that answers, without a limit: an unreachable registry
ends nothing here, and is only logged.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from weakref import WeakValueDictionary

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, DeferredSemaphore, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from bender.client.client import Client
from bender.client.types import Applied, BenderError, InstanceSpec, NotFound, Refused, Registration, Unavailable
from bender.net.escaping import escaped

#: Renewals within one ttl, of which all but one may be lost.
RENEWALS_PER_TTL = 3

#: Time limit for an answer, in ttls: after two nodes that hang, a third one must still be in time.
ANSWER_TTLS_MAX = 0.25

#: The part of the time between two renewals by which one is early or late, at random.
JITTER = 0.1

#: Instances that are due within this part of the time between two renewals are renewed along with those due now: so all
#: with about the same ttl come together, whenever they were added.
EARLY = 0.9

#: Ids in one request, and their bytes; a node takes 1,000 and 256 KiB.
IDS_MAX = 1000
IDS_BYTES_MAX = 200 * 1024

#: Instances that are registered or deregistered at the same time.
AT_ONCE_MAX = 8

#: Seconds before a failed request is tried again: the first, and what it grows to, if that is not too long for a ttl:
#: a registry that is unreachable for a moment must not lose the instance.
RETRY_S_MIN = 0.2
RETRY_S_MAX = 5.0
RETRY_TTLS_MAX = 1 / 6

#: The ttl of nodes by default, until a node has answered with the ttl in force.
TTL_S = 10.0

#: Seconds between two searches for other nodes.
LEARNED_APART_S = 60.0

#: Time limit for deregistering all instances when the service stops.
STOPPING_S_MAX = 5.0

#: Random bytes in the token of an instance.
TOKEN_BYTES = 8

#: Ids that are no longer kept and whose tokens are remembered.
LEFT_MAX = 10_000

#: Time limit for a node to deregister one: the program ends soon, and another node must have been asked before.
ENDING_S_MAX = 1.0


@define(eq=False)
class _Instance:
    """An instance that is kept. `known` is True if nodes probably know it; `waiting` are the waits for that.

    `token` tells it apart from other instances that register under the same id.
    """

    spec: InstanceSpec
    token: str
    ttl_s: float
    due_at: float
    known: bool = False
    registration: Registration | None = None
    waiting: list[Deferred[Registration]] = field(factory=list)

    def settle(self, outcome: Registration | BaseException) -> None:
        """Fire all that wait, with the registration or the error."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            if not each.called:
                each.callback(outcome) if isinstance(outcome, Registration) else each.errback(outcome)


class Registrar(Service):
    """Keep any number of instances registered while the service runs, and deregister them when it stops.

    It is a Twisted service: make it part of an application, or call `startService` and `stopService`. `chance` returns
    random numbers between 0 and 1.
    """

    _log = Logger()

    def __init__(self, client: Client, *, chance: Callable[[], float] = random.random) -> None:
        self._client = client
        self._clock: IReactorTime = client.reactor
        self._chance = chance
        self._instances: dict[str, _Instance] = {}
        # The tokens of the last ids that are no longer kept and may still be registered.
        self._left: dict[str, str] = {}
        # A lock for each id that is being registered or deregistered.
        self._turns: WeakValueDictionary[str, DeferredLock] = WeakValueDictionary()
        self._keeping: Deferred[None] | None = None
        self._wakening: Deferred[None] | None = None
        self._learning: Deferred[None] | None = None
        self._learned_at = float("-inf")
        #: Why no node answered the last time; None while a node answers.
        self.problem: str | None = None
        self._early_or_late = 1.0
        self._answer_s_max = ANSWER_TTLS_MAX * TTL_S

    # For the program that has instances.

    def add(
        self,
        app: str,
        version: str,
        host: str,
        port: int,
        *,
        ttl_s: float | None = None,
        weight: int | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> str:
        """Keep an instance registered from now on, or as soon as the service runs, and return its id.

        The arguments are as in `Client.register`. Adding an instance again replaces its terms. The registrar chooses a
        token for it, so that `remove` does not deregister another instance with the same id.
        """
        return self.add_spec(InstanceSpec(app, version, host, port, ttl_s, weight, meta))

    def add_spec(self, spec: InstanceSpec) -> str:
        """Do the same as `add` for an instance that is described by one value."""
        id_ = spec.id
        token = secrets.token_hex(TOKEN_BYTES)
        if id_ in self._instances:
            token = self._instances[id_].token
            self._instances[id_].settle(CancelledError())
        self._left.pop(id_, None)
        self._instances[id_] = _Instance(spec, token, spec.ttl_s or TTL_S, self._clock.seconds())
        self._wake()
        return id_

    async def registered(self, id_: str) -> Registration:
        """Wait until an instance that was added is registered, and return the registration.

        Raises `Refused` if nodes refuse the instance, which is then not kept; `CancelledError` (Twisted's) if it is
        removed or the service stops before; `KeyError` for an id that `add` did not return.
        """
        instance = self._instances[id_]
        if instance.registration is not None:
            return instance.registration
        waiting: Deferred[Registration] = Deferred()
        instance.waiting.append(waiting)
        return await waiting

    async def remove(self, id_: str, *, reason: str | None = None, wait_s: float | None = None) -> Applied | None:
        """Stop keeping an instance, and deregister it.

        `reason`, `wait_s` and the result are as in `Client.deregister`.
        Raises `Unavailable` if no node answers: then it expires after its ttl; and `Succeeded` if another instance,
        such as a process that was started in its place, has registered under the id since. Returns None for an instance
        that is not kept or not registered, which is not an error.
        """
        instance = self._instances.pop(id_, None)
        if instance is not None:
            instance.settle(CancelledError())
            self._leave(id_, instance)
        token = self._left.get(id_)
        applied = None
        async with self._turn(id_):
            with suppress(NotFound):
                applied = await self._client.deregister(
                    id_, instance=token, reason=reason, wait_s=wait_s, within_s=ENDING_S_MAX
                )
        if self._left.get(id_) == token:
            self._left.pop(id_, None)
        return applied

    def _leave(self, id_: str, instance: _Instance) -> None:
        """Remember the token of an instance that is no longer kept: its removal may be cancelled and repeated."""
        self._left[id_] = instance.token
        if len(self._left) > LEFT_MAX:
            del self._left[next(iter(self._left))]

    def _turn(self, id_: str) -> DeferredLock:
        """Return the lock of an id: a request for it must not overtake an earlier one."""
        return self._turns.setdefault(id_, DeferredLock())

    @property
    def ids(self) -> list[str]:
        """The ids of all instances that are kept, as `add` returned them."""
        return [*self._instances]

    # The service.

    def startService(self) -> None:
        super().startService()
        self._keeping = Deferred.fromCoroutine(self._keep())

    def stopService(self) -> Deferred[None]:
        """Stop renewing, and deregister all, as far as nodes answer within 5 s."""
        super().stopService()
        for doing in (self._keeping, self._learning):
            if doing is not None:
                doing.cancel()
        kept, self._instances = self._instances, {}
        ending = self._some_at_once(kept, lambda id_: self._end(id_, kept[id_]))
        ending.addTimeout(STOPPING_S_MAX, self._clock)
        for instance in kept.values():
            instance.settle(CancelledError())
        return ending.addErrback(lambda _: None)

    async def _end(self, id_: str, instance: _Instance) -> None:
        with suppress(BenderError):
            await self._client.deregister(id_, instance=instance.token, within_s=ENDING_S_MAX)

    def _some_at_once(self, ids: Iterable[str], do: Callable[[str], Any]) -> Deferred[None]:
        turns = DeferredSemaphore(AT_ONCE_MAX)
        doing = [turns.run(lambda id_: Deferred.fromCoroutine(do(id_)), id_) for id_ in ids]
        done: Deferred[Any] = gatherResults(doing, consumeErrors=True)
        return done.addCallbacks(lambda _: None, _first, errbackArgs=(doing,))

    # Keeping.

    async def _keep(self) -> None:
        retry_s = RETRY_S_MIN
        with suppress(CancelledError):
            while True:
                try:
                    await self._keep_those_due()
                except (Unavailable, Refused) as problem:
                    self._note_unreachable(problem)
                except CancelledError:
                    raise
                except Exception:
                    self._log.failure("Renewing failed; retrying.")
                else:
                    retry_s = RETRY_S_MIN
                    await self._until_due()
                    continue
                await deferLater(self._clock, retry_s * (0.5 + self._chance()))
                retry_s = min(2 * retry_s, RETRY_S_MAX, RETRY_TTLS_MAX * self._shortest_ttl_s)

    async def _keep_those_due(self) -> None:
        self._early_or_late = 1 + JITTER * (2 * self._chance() - 1)  # the same for all, or they would drift apart
        due = self._due()
        # Also to register: those that are registered wait for that, and may have to be renewed soon.
        self._answer_s_max = ANSWER_TTLS_MAX * self._shortest_ttl_s
        for ids in _batches([id_ for id_ in due if self._instances[id_].known]):
            try:
                unknown = await self._client.renew_all(ids, within_s=self._answer_s_max)
            except Refused as refused:
                if refused.status != HTTPStatus.FORBIDDEN or len(ids) == 1:
                    raise
                # The token no longer permits some of them, for which the others must not lapse.
                await self._some_at_once(ids, self._register)
                continue
            for id_ in unknown:
                self._note_unknown(id_)
            self._renewed(ids)
        await self._some_at_once([id_ for id_ in due if not self._is_known(id_)], self._register)
        if due:
            self._note_reachable()
            self._learn()

    @property
    def _shortest_ttl_s(self) -> float:
        return min((each.ttl_s for each in self._instances.values()), default=TTL_S)

    def _is_known(self, id_: str) -> bool:
        instance = self._instances.get(id_)
        return instance is None or instance.known

    def _due(self) -> list[str]:
        now = self._clock.seconds()
        due_now = [each.ttl_s for each in self._instances.values() if each.due_at <= now]
        if not due_now:
            return []
        soon = now + EARLY * min(due_now) / RENEWALS_PER_TTL
        return [id_ for id_, instance in self._instances.items() if instance.due_at <= soon]

    def _renewed(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            instance = self._instances.get(id_)
            if instance is not None and instance.known:
                self._schedule(instance)

    def _schedule(self, instance: _Instance) -> None:
        """Set when it is due next."""
        instance.due_at = self._clock.seconds() + self._early_or_late * instance.ttl_s / RENEWALS_PER_TTL

    def _note_unknown(self, id_: str) -> None:
        instance = self._instances.get(id_)
        if instance is not None:
            self._log.warn("{id} was no longer registered; registering it again.", id=id_)
            instance.known = False

    async def _register(self, id_: str) -> None:
        instance = self._instances.get(id_)
        if instance is None:
            return
        try:
            async with self._turn(id_) as turn:
                if self._instances.get(id_) is not instance:
                    return  # removed, or replaced, while another one had the turn
                registration = await self._client.register_spec(
                    instance.spec, instance=instance.token, within_s=self._answer_s_max
                )
                if id_ not in self._instances and not turn.waiting:
                    await self._end(id_, instance)  # the wait of `remove` was cancelled
        except Refused as refused:
            self._refused(id_, instance, refused)
            return
        if self._instances.get(id_) is not instance:
            return  # about to be deregistered, or to be registered as it is wanted now
        if instance.registration is None:
            self._log.info("{id} is registered at {node}.", id=escaped(registration.id), node=self._client.nodes.last)
        instance.known = True
        instance.ttl_s = registration.ttl_s
        instance.registration = registration
        self._schedule(instance)
        instance.settle(registration)

    def _refused(self, id_: str, instance: _Instance, refused: Refused) -> None:
        if self._instances.get(id_) is not instance:
            return  # what was added in its place may be better
        self._log.error("{node} refuses {id}: {reason}.", node=refused.node, id=id_, reason=escaped(str(refused)))
        if instance.registration is None:
            del self._instances[id_]
            self._leave(id_, instance)
            instance.settle(refused)
        else:
            self._schedule(instance)

    def _learn(self) -> None:
        """Find the other nodes from time to time, in the background."""
        now = self._clock.seconds()
        if now >= self._learned_at + LEARNED_APART_S:
            self._learned_at = now
            self._learning = Deferred.fromCoroutine(self._client.learn())
            self._learning.addErrback(_unless_cancelled)

    # Waiting.

    async def _until_due(self) -> None:
        """Wait until an instance is due, or a new one was added."""
        now = self._clock.seconds()
        due_in_s = min((each.due_at - now for each in self._instances.values()), default=LEARNED_APART_S)
        waiting = self._wakening = deferLater(self._clock, max(0.0, due_in_s))
        with suppress(CancelledError):
            await waiting
        self._wakening = None
        if self._keeping is not None and not self.running:
            raise CancelledError

    def _wake(self) -> None:
        if self._wakening is not None:
            self._wakening.cancel()

    # The log.

    def _note_unreachable(self, problem: Unavailable | Refused) -> None:
        was_unreachable = self.problem is not None
        self.problem = str(problem)
        if not was_unreachable:
            what = "unreachable" if isinstance(problem, Unavailable) else "refusing renewals"
            self._log.warn("The registry is {what}; retrying: {problems}.", what=what, problems=escaped(self.problem))

    def _note_reachable(self) -> None:
        if self.problem is not None:
            self.problem = None
            self._log.info("The registry is reachable again: {node} answers.", node=self._client.nodes.last)


def _batches(ids: list[str]) -> Iterable[list[str]]:
    """Split ids into batches that fit one request."""
    batch: list[str] = []
    size = 0
    for id_ in ids:
        bytes_ = len(id_.encode()) + 3
        if batch and (len(batch) >= IDS_MAX or size + bytes_ > IDS_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(id_)
        size += bytes_
    if batch:
        yield batch


def _first(failure: Failure, doing: Iterable[Deferred[Any]]) -> Failure:
    """Return the first failure; if no node answers, cancel the others, which are repeated later."""
    error = failure.value
    first: Failure = error.subFailure if isinstance(error, FirstError) else failure
    if first.check(Unavailable):
        for each in doing:
            each.cancel()
    return first


def _unless_cancelled(failure: Failure) -> None:
    failure.trap(CancelledError)
