"""The propagation of a change: which peers have this node's ledger, and which nodes and consumers have applied it.

A node knows only its own consumers, so it asks the other nodes for theirs. Each answers when all of its consumers have
confirmed the change. The wait for a node ends when the node becomes silent.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from heapq import heappop, heappush
from itertools import chain, count
from math import inf
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from bender.core.consumers import AwaitedChange, ConsumerState, labels, shared_names
from bender.core.messages import Sender
from bender.core.peers import Peer
from bender.core.replica import Replica
from bender.node.consumers import Consumers
from bender.node.journal import Journal

#: Asks the node at an address for its consumers; returns None if the node does not answer.
AskConsumers = Callable[[str, AwaitedChange], Coroutine[Any, Any, tuple[ConsumerState, ...] | None]]

#: Seconds between two questions for the consumers of other nodes, and the same after this node got a new consumer.
LOOK_INTERVAL_S = 30.0
LOOK_INTERVAL_S_MIN = 5.0

#: An id without a registration. In an answer about an id, peers leave out the reports of their consumers.
NO_KEY = "registration/-/-/localhost/1"

#: Seconds by which a program's last sign of life may seem later than its restart, because answers take a while.
LATER_S_MAX = 1.0


@frozen
class ReachedPeers:
    """The peers that have confirmed a version, those that have not, and the seeds that were never reached."""

    confirmed: tuple[Peer, ...]
    unconfirmed: tuple[Peer, ...]
    unanswered_seeds: tuple[str, ...]


class LedgerPropagation:
    """Waits until the peers of one replica have its ledger, for example before a deregistered instance is stopped.

    The waits are checked after everything that may have changed the peers' state. The cost of a check does not grow
    with the number of waits.
    """

    def __init__(self, replica: Replica, clock: IReactorTime, monotonic: Callable[[], float]) -> None:
        self._replica = replica
        self._clock = clock
        self._monotonic = monotonic
        # A heap by version; the number keeps waits for the same version in order.
        self._waiting: list[tuple[int, int, Deferred[None]]] = []
        self._numbers = count()
        # Waits for a version of another node's ledger: incarnation, version and wait.
        self._waiting_for_versions: list[tuple[int, int, Deferred[None]]] = []

    async def until_reached(self, version: int, within_s: float) -> ReachedPeers:
        """Wait until all peers that are not silent have this node's ledger up to `version`, for `within_s` at most."""
        if self._reached_version() < version and within_s > 0:
            waiting: Deferred[None] = Deferred()
            heappush(self._waiting, (version, next(self._numbers), waiting))
            await self._wait(waiting, within_s)
        return self._split(version)

    async def until_shown(self, incarnation: int, version: int, within_s: float) -> bool:
        """Wait until this node shows another node's ledger at `version`, for `within_s` at most; return if it does."""
        if not self._is_shown(incarnation, version) and within_s > 0:
            waiting: Deferred[None] = Deferred()
            self._waiting_for_versions.append((incarnation, version, waiting))
            await self._wait(waiting, within_s)
        return self._is_shown(incarnation, version)

    async def _wait(self, waiting: Deferred[None], within_s: float) -> None:
        giving_up = self._clock.callLater(within_s, _wake, waiting)
        try:
            await waiting
        finally:
            if giving_up.active():
                giving_up.cancel()

    def end_finished_waits(self) -> None:
        """End the waits that are over. Call this after each change of the ledgers here, at peers, or of heard peers."""
        if self._waiting_for_versions:
            finished = [
                each for each in self._waiting_for_versions if each[2].called or self._is_shown(each[0], each[1])
            ]
            self._waiting_for_versions = [each for each in self._waiting_for_versions if each not in finished]
            for _, _, waiting in finished:
                _wake(waiting)
        if not self._waiting:
            return
        reached = self._reached_version()
        while self._waiting and (self._waiting[0][0] <= reached or self._waiting[0][2].called):
            _wake(heappop(self._waiting)[2])

    def end(self) -> None:
        """End all waiting, because this node stops."""
        for _, _, waiting in (*self._waiting, *self._waiting_for_versions):
            _wake(waiting)
        self._waiting, self._waiting_for_versions = [], []

    def _is_shown(self, incarnation: int, version: int) -> bool:
        return self._replica.is_ready and self._replica.shows_version(incarnation, version)

    def _reached_version(self) -> float:
        """Return the version up to which all heard peers have this node's ledger."""
        return self._replica.version_reached(self._monotonic())

    def _split(self, version: int) -> ReachedPeers:
        replica = self._replica
        having, lacking = replica.split_peers(version)
        return ReachedPeers(tuple(having), tuple(lacking), tuple(replica.unanswered_seeds()))


def _wake(waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(None)


@frozen
class AppliedBy:
    """The names of the nodes and consumers that have applied a change, this node first, and of those that have not.

    Nodes with the same name have their address after it in parentheses, consumers their instance. A seed that was
    never reached is in `missing` by its address.
    """

    nodes: tuple[str, ...]
    consumers: tuple[str, ...]
    missing: tuple[str, ...]


@frozen
class _Found:
    """A consumer at some node, first seen there at `began_at` and last at `alive_at`, by this node's clock."""

    consumer: ConsumerState
    began_at: float
    alive_at: float


_Asking = Deferred[list[_Found] | None]


class ChangePropagation:
    """Finds out, for one node, which nodes and consumers have applied its changes."""

    _log = Logger()

    def __init__(
        self,
        replica: Replica,
        journal: Journal,
        consumers: Consumers,
        ledger_propagation: LedgerPropagation,
        monotonic: Callable[[], float],
    ) -> None:
        self._replica = replica
        self._journal = journal
        self._consumers = consumers
        self._ledger_propagation = ledger_propagation
        self._monotonic = monotonic
        # The instances of connected consumers at other nodes by name, as of the last look; the time of that look, and
        # how many consumers this node had added by then.
        self._instances_elsewhere: dict[str, set[str]] = {}
        self._looked_at = -inf
        self._looked_after = 0
        self._looking: Deferred[None] | None = None

    async def until_applied(self, ask: AskConsumers, key: str, within_s: float) -> AppliedBy:
        """Wait until all nodes that are not silent, and their consumers, have applied this node's change of a key.

        Waits for `within_s` at most.
        """
        replica = self._replica
        version = replica.version
        awaited = AwaitedChange(key, replica.identity.incarnation, version, within_s)
        own, asking = self._start(self.wait_for_own_consumers(awaited)), self._ask(ask, awaited)
        try:
            reached = await self._ledger_propagation.until_reached(version, within_s)
            for peer, answer in asking.items():
                if peer not in reached.confirmed or replica.has_left:
                    answer.cancel()
            found, unanswered = await _gather_answers(own, asking)
        finally:
            _cancel(own, *asking.values())
        consumers = [each.consumer for each in _merge_consumers(found)]
        called = labels([(each.name, each.instance) for each in consumers])
        done = [each.connected and each.applied for each in consumers]
        lacking = dict.fromkeys(label for label, applied in zip(called, done, strict=True) if not applied)
        name = node_names(replica.identity, [*reached.confirmed, *reached.unconfirmed, *unanswered])
        return AppliedBy(
            (name(None), *(name(peer) for peer in reached.confirmed if peer not in unanswered)),
            tuple(dict.fromkeys(label for label in called if label not in lacking)),
            tuple(
                dict.fromkeys([*map(name, [*reached.unconfirmed, *unanswered]), *reached.unanswered_seeds, *lacking])
            ),
        )

    async def all_consumers(self, ask: AskConsumers) -> list[ConsumerState]:
        """Return the consumers of all nodes that answer, sorted by name."""
        own, asking = self._start(self.wait_for_own_consumers(AwaitedChange())), self._ask(ask, AwaitedChange())
        try:
            found, _ = await _gather_answers(own, asking)
        finally:
            _cancel(own, *asking.values())
        return [each.consumer for each in _merge_consumers(found)]

    def shared_consumers(self, name: str | None = None) -> dict[str, list[str]]:
        """Return the instances of each name that several connected consumers share, one of them here; or of `name`.

        The consumers of other nodes are those of the last look.
        """
        candidates = self._consumers.shared_names().union(self._instances_elsewhere) if name is None else {name}
        here = [*self._consumers.connected_instances(candidates)]
        names = {each for each, _ in here}
        elsewhere = ((each, instance) for each in names for instance in self._instances_elsewhere.get(each, ()))
        return shared_names(chain(here, elsewhere))

    def look_for_shared_names(self, ask: AskConsumers) -> None:
        """Ask other nodes for their consumers, if the last look is old enough; call this with each sweep."""
        now, added = self._monotonic(), self._consumers.added_count
        apart_s = LOOK_INTERVAL_S if added == self._looked_after else LOOK_INTERVAL_S_MIN
        if now < self._looked_at + apart_s or self._looking is not None or not self._consumers.any_connected:
            return
        self._looked_at, self._looked_after = now, added
        self._looking = Deferred.fromCoroutine(self._look(ask))
        self._looking.addErrback(self._failed)
        self._looking.addBoth(self._looked)

    async def _look(self, ask: AskConsumers) -> None:
        found = [each for answer in self._ask(ask, AwaitedChange(NO_KEY)).values() for each in await answer or ()]
        self._instances_elsewhere = {}
        for each in found:
            if each.consumer.connected:
                self._instances_elsewhere.setdefault(each.consumer.name, set()).add(each.consumer.instance)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("Asking other nodes for their consumers failed; trying again.", failure)

    def _looked(self, _: None) -> None:
        self._looking = None

    async def wait_for_own_consumers(self, awaited: AwaitedChange) -> tuple[ConsumerState, ...]:
        """Return this node's consumers when all have confirmed the awaited change, or its time limit is over."""
        until = self._monotonic() + awaited.within_s
        await self._ledger_propagation.until_shown(awaited.incarnation, awaited.version, awaited.within_s)
        left_s = max(0.0, until - self._monotonic())
        return await self._consumers.until_applied(awaited.key, self._journal.last_number, left_s)

    def _ask(self, ask: AskConsumers, awaited: AwaitedChange) -> dict[Peer, _Asking]:
        """Ask the heard peers. An address that never answered is not asked, because its peer is unknown."""
        now, replica, peers = self._monotonic(), self._replica, self._replica.peers
        heard = (peer for peer in peers if not peers.is_silent(peer, now))
        return {
            peer: self._start(ask(peer.address, awaited)) if replica.has_reached(peer.address) else succeed(None)
            for peer in heard
        }

    def _start(self, asking: Coroutine[Any, Any, tuple[ConsumerState, ...] | None]) -> _Asking:
        """Start a question and return its result; None if it is cancelled or not answered."""

        async def unless_cancelled() -> list[_Found] | None:
            try:
                consumers = await asking
            except CancelledError:
                return None
            # Clocks of nodes differ, so peers send ages, which are converted to times on this node's clock.
            now = self._monotonic()
            return (
                None if consumers is None else [_Found(each, now - each.age_s, now - each.idle_s) for each in consumers]
            )

        return Deferred.fromCoroutine(unless_cancelled())


def node_names(identity: Sender, peers: Iterable[Peer]) -> Callable[[Peer | None], str]:
    """Return a function that returns the name of a peer, or of this node for None; with its address if it is shared."""
    addresses: dict[str, set[str]] = {identity.name: {identity.address}}
    for peer in peers:
        addresses.setdefault(peer.name, set()).add(peer.address)

    def name(peer: Peer | None) -> str:
        node = identity if peer is None else peer
        return node.name if len(addresses[node.name]) == 1 else f"{node.name} ({node.address})"

    return name


def shared_consumer_names(consumers: Iterable[ConsumerState]) -> dict[str, list[str]]:
    """Return the instances of each name that several connected consumers share, by name."""
    return shared_names((each.name, each.instance) for each in consumers if each.connected)


async def _gather_answers(own: _Asking, asking: Mapping[Peer, _Asking]) -> tuple[list[_Found], list[Peer]]:
    """Return the consumers of all nodes that answered, and the peers that did not."""
    known = [*(await own or ())]
    unanswered = []
    for peer, answer in asking.items():
        consumers = await answer
        known += consumers or ()
        unanswered += [peer] if consumers is None else []
    return known, unanswered


def _merge_consumers(found: Iterable[_Found]) -> list[_Found]:
    """Return the consumers of several nodes sorted by name, without those that ended and were started again.

    A consumer that moved to another node is listed at that node alone. An ended consumer is left out if another
    instance of its name began after its last sign of life: the program was restarted. If the two overlapped in time,
    they are two programs, and both are listed.
    """
    of_name: dict[str, list[_Found]] = {}
    for each in found:
        of_name.setdefault(each.consumer.name, []).append(each)
    return [each for name in sorted(of_name) for each in _without_restarted(of_name[name])]


def _without_restarted(found: list[_Found]) -> list[_Found]:
    """Return the consumers of one name without the restarted ones, sorted by instance and node."""
    began_at: dict[str, float] = {}
    for each in found:
        instance = each.consumer.instance
        began_at[instance] = min(each.began_at, began_at.get(instance, each.began_at))
    ended = sorted((each for each in found if not each.consumer.connected), key=_end_order, reverse=True)
    kept = [each for each in found if each.consumer.connected]
    instances = {each.consumer.instance for each in kept}
    last_began_at = max((began_at[instance] for instance in instances), default=-inf)
    for each in ended:
        instance = each.consumer.instance
        # A node of an earlier release sends no instance: such a consumer may be any of them.
        is_restarted = instance in instances or (instances and ("" in instances or not instance))
        if not (is_restarted or last_began_at + LATER_S_MAX >= each.alive_at):
            kept.append(each)
        instances.add(instance)
        last_began_at = max(last_began_at, began_at[instance])
    return sorted(kept, key=lambda each: (each.consumer.instance, each.consumer.node))


def _end_order(found: _Found) -> tuple[float, str, str]:
    """Return the sort key of ended consumers: their last sign of life, then instance and node."""
    return found.alive_at, found.consumer.instance, found.consumer.node


def _cancel(*deferreds: _Asking) -> None:
    for deferred in deferreds:
        deferred.cancel()
