"""How far a change has come: the peers with the ledger of this node, and the nodes and consumers that applied it.

A node knows only its own consumers, so it asks the others for theirs, and each answers when all of its consumers have
confirmed the change. A node that turns out to be silent meanwhile is not waited for.
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

from bender.core.consumers import Awaited, ConsumerState, labels, shared_names
from bender.core.messages import Sender
from bender.core.peers import Peer
from bender.core.replica import Replica
from bender.node.consumers import Consumers
from bender.node.journal import Journal

#: Asks the node at an address for its consumers; None if it does not answer.
Ask = Callable[[str, Awaited], Coroutine[Any, Any, tuple[ConsumerState, ...] | None]]

#: Seconds between two looks at the consumers of other nodes: at most, and at least, where this node has a new one.
LOOKS_APART_S = 30.0
LOOKS_APART_S_MIN = 5.0

#: An id without a registration. Peers that are asked about an id leave out the reports of their consumers.
NO_KEY = "registration/-/-/localhost/1"

#: Seconds by which the last sign of life of a program may seem later than the first one after its restart, because
#: answers take a while.
LATER_S_MAX = 1.0


@frozen
class ReachedPeers:
    """The peers that have a version, and those that did not confirm it; `unanswered` are seeds never found."""

    having: tuple[Peer, ...]
    lacking: tuple[Peer, ...]
    unanswered: tuple[str, ...]


class LedgerPropagation:
    """Waits until the peers of one replica have its ledger, for example before a deregistered instance is stopped.

    What is waited for is looked at after everything that may have brought the peers on; what that costs does not grow
    with the number of requests that wait.
    """

    def __init__(self, replica: Replica, clock: IReactorTime, monotonic: Callable[[], float]) -> None:
        self._replica = replica
        self._clock = clock
        self._monotonic = monotonic
        # By the version waited for; the number keeps those in order that wait for the same one.
        self._waiting: list[tuple[int, int, Deferred[None]]] = []
        self._numbers = count()
        # By the incarnation and version of another node's ledger that is to come.
        self._expecting: list[tuple[int, int, Deferred[None]]] = []

    async def until_reached(self, version: int, within_s: float) -> ReachedPeers:
        """Wait until all peers that are not silent have this node's ledger up to `version`."""
        if self._reached() < version and within_s > 0:
            waiting: Deferred[None] = Deferred()
            heappush(self._waiting, (version, next(self._numbers), waiting))
            await self._wait(waiting, within_s)
        return self._split(version)

    async def until_here(self, incarnation: int, version: int, within_s: float) -> bool:
        """Wait until this node shows another node's ledger at `version`; return True if it does."""
        if not self._is_here(incarnation, version) and within_s > 0:
            waiting: Deferred[None] = Deferred()
            self._expecting.append((incarnation, version, waiting))
            await self._wait(waiting, within_s)
        return self._is_here(incarnation, version)

    async def _wait(self, waiting: Deferred[None], within_s: float) -> None:
        giving_up = self._clock.callLater(within_s, _wake, waiting)
        try:
            await waiting
        finally:
            if giving_up.active():
                giving_up.cancel()

    def note(self) -> None:
        """Call this after everything that may have changed what this node has and the peers, or who is heard."""
        if self._expecting:
            came = [each for each in self._expecting if each[2].called or self._is_here(each[0], each[1])]
            self._expecting = [each for each in self._expecting if each not in came]
            for _, _, waiting in came:
                _wake(waiting)
        if not self._waiting:
            return
        reached = self._reached()
        while self._waiting and (self._waiting[0][0] <= reached or self._waiting[0][2].called):
            _wake(heappop(self._waiting)[2])

    def end(self) -> None:
        """End all waiting, because this node stops."""
        for _, _, waiting in (*self._waiting, *self._expecting):
            _wake(waiting)
        self._waiting, self._expecting = [], []

    def _is_here(self, incarnation: int, version: int) -> bool:
        return self._replica.ready and self._replica.shows(incarnation, version)

    def _reached(self) -> float:
        """Return the version up to which all peers that are heard have this node's ledger."""
        return self._replica.reached(self._monotonic())

    def _split(self, version: int) -> ReachedPeers:
        replica = self._replica
        having, lacking = replica.split(version)
        return ReachedPeers(tuple(having), tuple(lacking), tuple(replica.unanswered()))


def _wake(waiting: Deferred[None]) -> None:
    if not waiting.called:
        waiting.callback(None)


@frozen
class AppliedBy:
    """The nodes, this one first, and consumers that applied a change, and those that did not confirm it, by name.

    Nodes of the same name have their address after it, and consumers their instance, in parentheses. A peer that was
    configured and never found has no name, but is missing under its address.
    """

    nodes: tuple[str, ...]
    consumers: tuple[str, ...]
    missing: tuple[str, ...]


@frozen
class _Found:
    """A consumer at some node; it was first there at `began_at`, and last alive at `alive_at`, by this node's clock."""

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
        spreading: LedgerPropagation,
        monotonic: Callable[[], float],
    ) -> None:
        self._replica = replica
        self._journal = journal
        self._consumers = consumers
        self._spreading = spreading
        self._monotonic = monotonic
        # The instances of connected consumers at other nodes by name, as of the last look: when it was, and how many
        # consumers this node had added by then.
        self._elsewhere: dict[str, set[str]] = {}
        self._looked_at = -inf
        self._looked_after = 0
        self._looking: Deferred[None] | None = None

    async def until_applied(self, ask: Ask, key: str, within_s: float) -> AppliedBy:
        """Wait for `within_s` at most until all that are not silent have applied what was done to a key here."""
        replica = self._replica
        version = replica.version
        awaited = Awaited(key, replica.identity.incarnation, version, within_s)
        own, asking = self._begun(self.awaited(awaited)), self._ask(ask, awaited)
        try:
            reached = await self._spreading.until_reached(version, within_s)
            for peer, answer in asking.items():
                if peer not in reached.having or replica.has_left:
                    answer.cancel()
            found, untold = await _gathered(own, asking)
        finally:
            _cancel(own, *asking.values())
        consumers = [each.consumer for each in _together(found)]
        called = labels([(each.name, each.instance) for each in consumers])
        done = [each.connected and each.applied for each in consumers]
        lacking = dict.fromkeys(label for label, applied in zip(called, done, strict=True) if not applied)
        name = node_names(replica.identity, [*reached.having, *reached.lacking, *untold])
        return AppliedBy(
            (name(None), *(name(peer) for peer in reached.having if peer not in untold)),
            tuple(dict.fromkeys(label for label in called if label not in lacking)),
            tuple(dict.fromkeys([*map(name, [*reached.lacking, *untold]), *reached.unanswered, *lacking])),
        )

    async def consumers(self, ask: Ask) -> list[ConsumerState]:
        """Return the consumers of all nodes that answer, in order of name."""
        own, asking = self._begun(self.awaited(Awaited())), self._ask(ask, Awaited())
        try:
            found, _ = await _gathered(own, asking)
        finally:
            _cancel(own, *asking.values())
        return [each.consumer for each in _together(found)]

    def shared(self, name: str | None = None) -> dict[str, list[str]]:
        """Return the instances of each name of this node that several connected consumers have, by name, or of one.

        Those of other nodes are known as they were at the last look.
        """
        candidates = self._consumers.several().union(self._elsewhere) if name is None else {name}
        here = [*self._consumers.connected(candidates)]
        names = {each for each, _ in here}
        elsewhere = ((each, instance) for each in names for instance in self._elsewhere.get(each, ()))
        return shared_names(chain(here, elsewhere))

    def look(self, ask: Ask) -> None:
        """Ask other nodes now and then for consumers with names that are used here, too; call this with each sweep."""
        now, added = self._monotonic(), self._consumers.added
        apart_s = LOOKS_APART_S if added == self._looked_after else LOOKS_APART_S_MIN
        if now < self._looked_at + apart_s or self._looking is not None or not self._consumers.any_connected:
            return
        self._looked_at, self._looked_after = now, added
        self._looking = Deferred.fromCoroutine(self._look(ask))
        self._looking.addErrback(self._failed)
        self._looking.addBoth(self._looked)

    async def _look(self, ask: Ask) -> None:
        found = [each for answer in self._ask(ask, Awaited(NO_KEY)).values() for each in await answer or ()]
        self._elsewhere = {}
        for each in found:
            if each.consumer.connected:
                self._elsewhere.setdefault(each.consumer.name, set()).add(each.consumer.instance)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("Asking other nodes for their consumers failed; trying again.", failure)

    def _looked(self, _: None) -> None:
        self._looking = None

    async def awaited(self, awaited: Awaited) -> tuple[ConsumerState, ...]:
        """Return this node's consumers, once they have confirmed what is awaited or its time is over."""
        until = self._monotonic() + awaited.within_s
        await self._spreading.until_here(awaited.incarnation, awaited.version, awaited.within_s)
        left_s = max(0.0, until - self._monotonic())
        return await self._consumers.until_applied(awaited.key, self._journal.number, left_s)

    def _ask(self, ask: Ask, awaited: Awaited) -> dict[Peer, _Asking]:
        """Ask the peers that are heard. An address that never answered is not tried: its peer is unknown."""
        now, replica, peers = self._monotonic(), self._replica, self._replica.peers
        heard = (peer for peer in peers if not peers.silent(peer, now))
        return {
            peer: self._begun(ask(peer.address, awaited)) if replica.has_reached(peer.address) else succeed(None)
            for peer in heard
        }

    def _begun(self, asking: Coroutine[Any, Any, tuple[ConsumerState, ...] | None]) -> _Asking:
        """Return the result of a question; None once it is cancelled."""

        async def unless_cancelled() -> list[_Found] | None:
            try:
                consumers = await asking
            except CancelledError:
                return None
            # No clocks are compared: ages are sent, and counted from here on.
            now = self._monotonic()
            return (
                None if consumers is None else [_Found(each, now - each.age_s, now - each.idle_s) for each in consumers]
            )

        return Deferred.fromCoroutine(unless_cancelled())


def node_names(identity: Sender, peers: Iterable[Peer]) -> Callable[[Peer | None], str]:
    """Return what gives the name of a peer, or of this node for None, with its address where several have the name."""
    addresses: dict[str, set[str]] = {identity.name: {identity.address}}
    for peer in peers:
        addresses.setdefault(peer.name, set()).add(peer.address)

    def name(peer: Peer | None) -> str:
        node = identity if peer is None else peer
        return node.name if len(addresses[node.name]) == 1 else f"{node.name} ({node.address})"

    return name


def shared_by(consumers: Iterable[ConsumerState]) -> dict[str, list[str]]:
    """Return the instances of the names that several connected consumers have, by name."""
    return shared_names((each.name, each.instance) for each in consumers if each.connected)


async def _gathered(own: _Asking, asking: Mapping[Peer, _Asking]) -> tuple[list[_Found], list[Peer]]:
    """Return the consumers of all nodes that answered, and the peers that did not."""
    known = [*(await own or ())]
    untold = []
    for peer, answer in asking.items():
        consumers = await answer
        known += consumers or ()
        untold += [peer] if consumers is None else []
    return known, untold


def _together(found: Iterable[_Found]) -> list[_Found]:
    """Return the consumers of several nodes in order of name, without those that ended and were started again.

    A consumer that went from one node to another is where it is now. One that ended was succeeded by another instance
    of its name that began after its last sign of life: the program was started again. Where it lived beside that one,
    there are two programs.
    """
    of_name: dict[str, list[_Found]] = {}
    for each in found:
        of_name.setdefault(each.consumer.name, []).append(each)
    return [each for name in sorted(of_name) for each in _not_succeeded(of_name[name])]


def _not_succeeded(found: list[_Found]) -> list[_Found]:
    """Return the same for one name, in order of instance and node."""
    began_at: dict[str, float] = {}
    for each in found:
        instance = each.consumer.instance
        began_at[instance] = min(each.began_at, began_at.get(instance, each.began_at))
    ended = sorted((each for each in found if not each.consumer.connected), key=_lasting, reverse=True)
    kept = [each for each in found if each.consumer.connected]
    instances = {each.consumer.instance for each in kept}
    last_began_at = max((began_at[instance] for instance in instances), default=-inf)
    for each in ended:
        instance = each.consumer.instance
        # If its node does not know instances, it cannot be known which one it is.
        again = instance in instances or (instances and ("" in instances or not instance))
        if not (again or last_began_at + LATER_S_MAX >= each.alive_at):
            kept.append(each)
        instances.add(instance)
        last_began_at = max(last_began_at, began_at[instance])
    return sorted(kept, key=lambda each: (each.consumer.instance, each.consumer.node))


def _lasting(found: _Found) -> tuple[float, str, str]:
    """How long something was alive; the rest decides between equal durations."""
    return found.alive_at, found.consumer.instance, found.consumer.node


def _cancel(*deferreds: _Asking) -> None:
    for deferred in deferreds:
        deferred.cancel()
