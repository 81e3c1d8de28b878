"""Keep instances registered while nodes fail and return.

The registrar renews all instances that are due in one request, a third of their ttl after the last renewal. This time
varies a little at random, so that a thousand registrars do not send requests in the same moment. An instance that the
node does not know is registered again. A request that fails is repeated soon, at any node that answers, without a
limit: an unreachable registry is only logged.
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

#: Time limit for an answer, as a part of the ttl: if two nodes hang, the answer of a third must still be in time.
ANSWER_TTLS_MAX = 0.25

#: The largest part of the time between two renewals by which a renewal is early or late, at random.
JITTER_PART = 0.1

#: Instances that are due within this part of the time between two renewals are renewed together with those due now. So
#: one request renews all instances with about the same ttl, no matter when they were added.
EARLY_PART = 0.9

#: Limits for the ids in one request and for their bytes; a node accepts 1,000 ids and 256 KiB.
IDS_MAX = 1000
IDS_BYTES_MAX = 200 * 1024

#: Instances that are registered or deregistered at the same time.
CONCURRENT_MAX = 8

#: Seconds before a failed request is repeated: the first wait, and the longest. The wait is also limited to a part of
#: the ttl, so that an instance does not expire when the registry is unreachable for a moment.
RETRY_S_MIN = 0.2
RETRY_S_MAX = 5.0
RETRY_TTLS_MAX = 1 / 6

#: The default ttl of nodes in seconds, assumed until a node answers with the actual ttl.
DEFAULT_TTL_S = 10.0

#: Seconds between two searches for other nodes.
LEARN_INTERVAL_S = 60.0

#: Time limit for deregistering all instances when the service stops.
STOP_S_MAX = 5.0

#: Random bytes in the token of an instance.
TOKEN_BYTES = 8

#: Limit for removed instances whose tokens are remembered.
REMOVED_TOKENS_MAX = 10_000

#: Seconds that each node has to deregister an instance: the program ends soon, and may have to ask another node first.
DEREGISTER_S_MAX = 1.0


@define(eq=False)
class _Instance:
    """An instance that the registrar keeps registered, due at `due_at` on the reactor's clock.

    `token` distinguishes it from other instances that register under the same id. `is_known` is True if nodes probably
    know the instance. `waiters` fire when it is registered.
    """

    spec: InstanceSpec
    token: str
    ttl_s: float
    due_at: float
    is_known: bool = False
    registration: Registration | None = None
    waiters: list[Deferred[Registration]] = field(factory=list)

    def settle(self, outcome: Registration | BaseException) -> None:
        """Fire all `waiters` with the registration or the error."""
        waiters, self.waiters = self.waiters, []
        for each in waiters:
            if not each.called:
                each.callback(outcome) if isinstance(outcome, Registration) else each.errback(outcome)


class Registrar(Service):
    """Keep any number of instances registered while the service runs, and deregister them when it stops.

    A registrar is a Twisted service: make it part of an application, or call `startService` and `stopService`. `chance`
    is a function that returns random numbers between 0 and 1.
    """

    _log = Logger()

    def __init__(self, client: Client, *, chance: Callable[[], float] = random.random) -> None:
        self._client = client
        self._clock: IReactorTime = client.reactor
        self._chance = chance
        self._instances: dict[str, _Instance] = {}
        # The tokens of instances that were removed but may still be registered, by id.
        self._removed_tokens: dict[str, str] = {}
        # A lock for each id that is being registered or deregistered.
        self._locks: WeakValueDictionary[str, DeferredLock] = WeakValueDictionary()
        self._keeping: Deferred[None] | None = None
        self._until_woken: Deferred[None] | None = None
        self._learning: Deferred[None] | None = None
        self._learned_at = float("-inf")
        #: The reason why no node answered the last request; None while a node answers.
        self.problem: str | None = None
        self._jitter_factor = 1.0
        self._answer_s_max = ANSWER_TTLS_MAX * DEFAULT_TTL_S

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
        """Keep an instance registered from now on, or from the start of the service, and return its id.

        The arguments are as in `Client.register`. Adding an instance again replaces its terms. The registrar chooses a
        token for the instance, so that `remove` does not deregister another instance with the same id.
        """
        return self.add_spec(InstanceSpec(app, version, host, port, ttl_s, weight, meta))

    def add_spec(self, spec: InstanceSpec) -> str:
        """Do the same as `add`, with the instance and its terms in one value."""
        id_ = spec.id
        token = secrets.token_hex(TOKEN_BYTES)
        if id_ in self._instances:
            token = self._instances[id_].token
            self._instances[id_].settle(CancelledError())
        self._removed_tokens.pop(id_, None)
        self._instances[id_] = _Instance(spec, token, spec.ttl_s or DEFAULT_TTL_S, self._clock.seconds())
        self._wake()
        return id_

    async def registered(self, id_: str) -> Registration:
        """Wait until an instance that was added is registered, and return its registration.

        Raises `Refused` if nodes refuse the instance, which the registrar then no longer keeps. Raises Twisted's
        `CancelledError` if the instance is removed or added again, or if the service stops. Raises `KeyError` for an id
        that the registrar does not keep.
        """
        instance = self._instances[id_]
        if instance.registration is not None:
            return instance.registration
        waiting: Deferred[Registration] = Deferred()
        instance.waiters.append(waiting)
        return await waiting

    async def remove(self, id_: str, *, reason: str | None = None, wait_s: float | None = None) -> Applied | None:
        """Stop keeping an instance registered, and deregister it.

        `reason`, `wait_s` and the result are as in `Client.deregister`. Returns None if the instance is not registered,
        which is not an error. Raises `Unavailable` if no node answers; the instance then expires after its ttl. Raises
        `Succeeded` if another instance has registered under the id since, such as a process that was started to replace
        this one.
        """
        instance = self._instances.pop(id_, None)
        if instance is not None:
            instance.settle(CancelledError())
            self._remember_token(id_, instance)
        token = self._removed_tokens.get(id_)
        applied = None
        async with self._lock_of(id_):
            with suppress(NotFound):
                applied = await self._client.deregister(
                    id_, instance=token, reason=reason, wait_s=wait_s, within_s=DEREGISTER_S_MAX
                )
        if self._removed_tokens.get(id_) == token:
            self._removed_tokens.pop(id_, None)
        return applied

    def _remember_token(self, id_: str, instance: _Instance) -> None:
        """Remember the token of a removed instance, because its removal may be cancelled and repeated."""
        self._removed_tokens[id_] = instance.token
        if len(self._removed_tokens) > REMOVED_TOKENS_MAX:
            del self._removed_tokens[next(iter(self._removed_tokens))]

    def _lock_of(self, id_: str) -> DeferredLock:
        """Return the lock of an id: a request for an id must not overtake an earlier one."""
        return self._locks.setdefault(id_, DeferredLock())

    @property
    def ids(self) -> list[str]:
        """The ids of all instances that the registrar keeps, as `add` returned them."""
        return [*self._instances]

    # The service.

    def startService(self) -> None:
        super().startService()
        self._keeping = Deferred.fromCoroutine(self._keep_registered())

    def stopService(self) -> Deferred[None]:
        """Stop renewing, and deregister all instances as far as nodes answer within 5 s."""
        super().stopService()
        for doing in (self._keeping, self._learning):
            if doing is not None:
                doing.cancel()
        kept, self._instances = self._instances, {}
        ending = self._run_for_each(kept, lambda id_: self._try_to_deregister(id_, kept[id_]))
        ending.addTimeout(STOP_S_MAX, self._clock)
        for instance in kept.values():
            instance.settle(CancelledError())
        return ending.addErrback(lambda _: None)

    async def _try_to_deregister(self, id_: str, instance: _Instance) -> None:
        with suppress(BenderError):
            await self._client.deregister(id_, instance=instance.token, within_s=DEREGISTER_S_MAX)

    def _run_for_each(self, ids: Iterable[str], do: Callable[[str], Any]) -> Deferred[None]:
        turns = DeferredSemaphore(CONCURRENT_MAX)
        doing = [turns.run(lambda id_: Deferred.fromCoroutine(do(id_)), id_) for id_ in ids]
        done: Deferred[Any] = gatherResults(doing, consumeErrors=True)
        return done.addCallbacks(lambda _: None, _first_failure, errbackArgs=(doing,))

    # Keeping.

    async def _keep_registered(self) -> None:
        retry_s = RETRY_S_MIN
        with suppress(CancelledError):
            while True:
                try:
                    await self._renew_those_due()
                except (Unavailable, Refused) as problem:
                    self._note_unreachable(problem)
                except CancelledError:
                    raise
                except Exception:
                    self._log.failure("Renewing failed; retrying.")
                else:
                    retry_s = RETRY_S_MIN
                    await self._wait_until_due()
                    continue
                await deferLater(self._clock, retry_s * (0.5 + self._chance()))
                retry_s = min(2 * retry_s, RETRY_S_MAX, RETRY_TTLS_MAX * self._shortest_ttl_s)

    async def _renew_those_due(self) -> None:
        # The same for all instances, which would drift apart otherwise.
        self._jitter_factor = 1 + JITTER_PART * (2 * self._chance() - 1)
        due = self._due_ids()
        # Also for requests that register, because registered instances wait for these, and may be due soon.
        self._answer_s_max = ANSWER_TTLS_MAX * self._shortest_ttl_s
        for ids in request_batches([id_ for id_ in due if self._instances[id_].is_known]):
            try:
                unknown = await self._client.renew_all(ids, within_s=self._answer_s_max)
            except Refused as refused:
                if refused.status != HTTPStatus.FORBIDDEN or len(ids) == 1:
                    raise
                # The client's token no longer permits some instances. The others must not expire because of this.
                await self._run_for_each(ids, self._register)
                continue
            for id_ in unknown:
                self._note_unknown(id_)
            self._schedule_renewed(ids)
        await self._run_for_each([id_ for id_ in due if not self._is_known(id_)], self._register)
        if due:
            self._note_reachable()
            self._learn_sometimes()

    @property
    def _shortest_ttl_s(self) -> float:
        return min((each.ttl_s for each in self._instances.values()), default=DEFAULT_TTL_S)

    def _is_known(self, id_: str) -> bool:
        instance = self._instances.get(id_)
        return instance is None or instance.is_known

    def _due_ids(self) -> list[str]:
        now = self._clock.seconds()
        due_now = [each.ttl_s for each in self._instances.values() if each.due_at <= now]
        if not due_now:
            return []
        soon = now + EARLY_PART * min(due_now) / RENEWALS_PER_TTL
        return [id_ for id_, instance in self._instances.items() if instance.due_at <= soon]

    def _schedule_renewed(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            instance = self._instances.get(id_)
            if instance is not None and instance.is_known:
                self._schedule(instance)

    def _schedule(self, instance: _Instance) -> None:
        """Set the next time at which an instance is due."""
        instance.due_at = self._clock.seconds() + self._jitter_factor * instance.ttl_s / RENEWALS_PER_TTL

    def _note_unknown(self, id_: str) -> None:
        instance = self._instances.get(id_)
        if instance is not None:
            self._log.warn("{id} was no longer registered; registering it again.", id=id_)
            instance.is_known = False

    async def _register(self, id_: str) -> None:
        instance = self._instances.get(id_)
        if instance is None:
            return
        try:
            async with self._lock_of(id_) as turn:
                if self._instances.get(id_) is not instance:
                    return  # it was removed or added again while another request had the lock
                registration = await self._client.register_spec(
                    instance.spec, instance=instance.token, within_s=self._answer_s_max
                )
                if id_ not in self._instances and not turn.waiting:
                    await self._try_to_deregister(id_, instance)  # `remove` was cancelled while it waited for the lock
        except Refused as refused:
            self._handle_refusal(id_, instance, refused)
            return
        if self._instances.get(id_) is not instance:
            return  # it will be deregistered, or registered with its new terms
        if instance.registration is None:
            self._log.info("{id} is registered at {node}.", id=escaped(registration.id), node=self._client.nodes.last)
        instance.is_known = True
        instance.ttl_s = registration.ttl_s
        instance.registration = registration
        self._schedule(instance)
        instance.settle(registration)

    def _handle_refusal(self, id_: str, instance: _Instance, refused: Refused) -> None:
        if self._instances.get(id_) is not instance:
            return  # it was added again, and a node may accept its new terms
        self._log.error("{node} refuses {id}: {reason}.", node=refused.node, id=id_, reason=escaped(str(refused)))
        if instance.registration is None:
            del self._instances[id_]
            self._remember_token(id_, instance)
            instance.settle(refused)
        else:
            self._schedule(instance)

    def _learn_sometimes(self) -> None:
        """Find the other nodes from time to time, in the background."""
        now = self._clock.seconds()
        if now >= self._learned_at + LEARN_INTERVAL_S:
            self._learned_at = now
            self._learning = Deferred.fromCoroutine(self._client.learn())
            self._learning.addErrback(_unless_cancelled)

    # Waiting.

    async def _wait_until_due(self) -> None:
        """Wait until an instance is due, or was added."""
        now = self._clock.seconds()
        due_in_s = min((each.due_at - now for each in self._instances.values()), default=LEARN_INTERVAL_S)
        waiting = self._until_woken = deferLater(self._clock, max(0.0, due_in_s))
        with suppress(CancelledError):
            await waiting
        self._until_woken = None
        if self._keeping is not None and not self.running:
            raise CancelledError

    def _wake(self) -> None:
        if self._until_woken is not None:
            self._until_woken.cancel()

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


def request_batches(ids: list[str]) -> Iterable[list[str]]:
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


def _first_failure(failure: Failure, doing: Iterable[Deferred[Any]]) -> Failure:
    """Return the first failure. If no node answers, cancel the other requests, which are repeated later."""
    error = failure.value
    first: Failure = error.subFailure if isinstance(error, FirstError) else failure
    if first.check(Unavailable):
        for each in doing:
            each.cancel()
    return first


def _unless_cancelled(failure: Failure) -> None:
    failure.trap(CancelledError)
