"""Keeping instances registered, through nodes that come and go.

All instances that are due are renewed in one request, a third of their ttl after the last time, a little sooner or
later at random, so that a thousand registrars do not ask in the same moment. What the node does not know is
registered; what fails is tried again soon, at whichever node answers, for as long as it takes: that the registry is
away ends nothing here. While it is, nobody is told but the log.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
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

#: What a node may take to answer, in ttls: after two that hang a third one must still be in time.
ANSWER_TTLS_MAX = 0.25

#: The part of the time between two renewals by which one is early or late, at random.
JITTER = 0.1

#: Who is due so soon, as a part of the time between the renewals of who is due now, is renewed along with that: so all
#: with about the same ttl come together, whenever they were added.
EARLY = 0.9

#: Ids in one request, and their bytes; a node takes 1,000 and 256 KiB.
IDS_MAX = 1000
IDS_BYTES_MAX = 200 * 1024

#: Instances that are registered or deregistered at the same time.
AT_ONCE_MAX = 8

#: Seconds before a failed request is tried again: the first, and what it grows to, if that is not too long for a ttl:
#: a registry that is away for a moment must not lose what it had.
RETRY_S_MIN = 0.2
RETRY_S_MAX = 5.0
RETRY_TTLS_MAX = 1 / 6

#: The ttl that nodes give to who asks for none, until they have said what it is.
TTL_S = 10.0

#: Seconds between two looks at where the nodes are.
LEARNED_APART_S = 60.0

#: What all is given to deregister when the service stops.
STOPPING_S_MAX = 5.0

#: Random bytes in the token of an instance.
TOKEN_BYTES = 8

#: Ids that are not kept any more and whose tokens are remembered.
LEFT_MAX = 10_000

#: What a node may take to deregister one: whoever does that ends soon, and another node must have been asked before.
ENDING_S_MAX = 1.0


@define(eq=False)
class _Instance:
    """One that is kept. `known` says whether the node is thought to know it, `waiting` is who waits for that.

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
        """Tell all who wait."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            if not each.called:
                each.callback(outcome) if isinstance(outcome, Registration) else each.errback(outcome)


class Registrar(Service):
    """Keeps any number of instances registered while it runs, and deregisters them when it is stopped.

    It is a service of Twisted's: make it part of an application, or call `startService` and `stopService`. `chance`
    gives numbers between 0 and 1, at random.
    """

    _log = Logger()

    def __init__(self, client: Client, *, chance: Callable[[], float] = random.random) -> None:
        self._client = client
        self._clock: IReactorTime = client.reactor
        self._chance = chance
        self._instances: dict[str, _Instance] = {}
        # Of ids that are not kept any more and may be registered still, the tokens; those of the last ones.
        self._left: dict[str, str] = {}
        # Of each id, held while it is registered or deregistered, for as long as somebody is about it.
        self._turns: WeakValueDictionary[str, DeferredLock] = WeakValueDictionary()
        self._keeping: Deferred[None] | None = None
        self._wakening: Deferred[None] | None = None
        self._learning: Deferred[None] | None = None
        self._learned_at = float("-inf")
        #: Why no node could be asked the last time; None as long as one answers.
        self.problem: str | None = None
        self._early_or_late = 1.0
        self._answer_s_max = ANSWER_TTLS_MAX * TTL_S

    # For whoever has instances.

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
        """Keep an instance registered from now on, or as soon as the service runs; returns its id.

        What is said of it is as in `Client.register`. One that was added before is kept as it is said now. The
        registrar chooses a token for it, so that `remove` does not deregister another instance with the same id.
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
        """Wait until an instance that was added is registered, if it is not yet.

        Raises `Refused` where it can be none, for then it is not kept; `CancelledError` (Twisted's) where it is removed
        or the service stops before; `KeyError` for an id that `add` did not give.
        """
        instance = self._instances[id_]
        if instance.registration is not None:
            return instance.registration
        waiting: Deferred[Registration] = Deferred()
        instance.waiting.append(waiting)
        return await waiting

    async def remove(self, id_: str, *, reason: str | None = None, wait_s: float | None = None) -> Applied | None:
        """Keep an instance no longer, and deregister it.

        `reason`, `wait_s` and what is returned are as in `Client.deregister`.
        Raises `Unavailable` where no node answers: then it ends with its ttl; and `Succeeded` where another instance,
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
        """Remember the token of an instance that is not kept any more: its removal may be given up, and repeated."""
        self._left[id_] = instance.token
        if len(self._left) > LEFT_MAX:
            del self._left[next(iter(self._left))]

    def _turn(self, id_: str) -> DeferredLock:
        """Whose turn it is: what is asked of nodes for one id must not overtake what was asked before."""
        return self._turns.setdefault(id_, DeferredLock())

    @property
    def ids(self) -> list[str]:
        """The ids of all that is kept, as `add` gave them."""
        return [*self._instances]

    # The service.

    def startService(self) -> None:
        super().startService()
        self._keeping = Deferred.fromCoroutine(self._keep())

    def stopService(self) -> Deferred[None]:
        """Renew no more, and deregister all, as far as nodes answer within 5 s."""
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
                except Unavailable as unavailable:
                    self._note_away(unavailable)
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
            for id_ in await self._client.renew_all(ids, within_s=self._answer_s_max):
                self._not_known(id_)
            self._renewed(ids)
        await self._some_at_once([id_ for id_ in due if not self._is_known(id_)], self._register)
        if due:
            self._note_back()
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
                self._seat(instance)

    def _seat(self, instance: _Instance) -> None:
        """See when it is due next."""
        instance.due_at = self._clock.seconds() + self._early_or_late * instance.ttl_s / RENEWALS_PER_TTL

    def _not_known(self, id_: str) -> None:
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
                    await self._end(id_, instance)  # who removed it did not wait so long
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
        self._seat(instance)
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
            self._seat(instance)

    def _learn(self) -> None:
        """Find out now and then where the nodes are; nothing waits for that."""
        now = self._clock.seconds()
        if now >= self._learned_at + LEARNED_APART_S:
            self._learned_at = now
            self._learning = Deferred.fromCoroutine(self._client.learn())
            self._learning.addErrback(_unless_cancelled)

    # Waiting.

    async def _until_due(self) -> None:
        """Wait until one is due, or there is a new one."""
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

    # What people are told.

    def _note_away(self, unavailable: Unavailable) -> None:
        was_away = self.problem is not None
        self.problem = str(unavailable)
        if not was_away:
            self._log.warn(
                "The registry is unreachable; retrying: {problems}.",
                problems=escaped(self.problem),
            )

    def _note_back(self) -> None:
        if self.problem is not None:
            self.problem = None
            self._log.info("The registry is reachable again: {node} answers.", node=self._client.nodes.last)


def _batches(ids: list[str]) -> Iterable[list[str]]:
    """As many in each as fit one request."""
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
    """What the first that failed has failed with; if no node answers the others are given up, to be tried again."""
    error = failure.value
    first: Failure = error.subFailure if isinstance(error, FirstError) else failure
    if first.check(Unavailable):
        for each in doing:
            each.cancel()
    return first


def _unless_cancelled(failure: Failure) -> None:
    failure.trap(CancelledError)
