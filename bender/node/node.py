"""One node: a replica with a clock and a journal.

This is where time and randomness enter. The shells (HTTP for clients, HTTP among peers, the event listener, the sweep)
know a node and not each other. A node does no input or output of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from bender.core.address_conflicts import AddressConflicts
from bender.core.admin_state import Override, key_of_state, registration_of
from bender.core.claim_leases import ClaimLease, claim_leases
from bender.core.claims import RegistrationUpdate
from bender.core.consumers import Awaited, ConsumerState
from bender.core.diagnosis import NodeDiagnosis
from bender.core.entry_validation import VALIDITY
from bender.core.ledger import Claim
from bender.core.messages import ConfigSetting, Message, OutgoingMessage, Sender
from bender.core.model import RegistrationRequest, canonical_id, instance_of
from bender.core.node_report import NodeReport
from bender.core.registration_status import RegistrationStatus
from bender.core.replica import Full, NotReady, Replica
from bender.core.timing import Timing
from bender.core.view import in_order
from bender.node.cluster_log import ClusterLog
from bender.node.consumers import Consumers
from bender.node.counters import Counters, ReactorLoad
from bender.node.journal import Journal
from bender.node.limits import DEFAULTS, Limits, NodeLimits
from bender.node.listings import Listings
from bender.node.peer_exchange import NoExchange, PeerExchange
from bender.node.propagation import AppliedBy, ChangePropagation, LedgerPropagation
from bender.node.replica_turn import ReplicaTurn
from bender.node.request_counts import RequestCounts
from bender.node.sources import Sources
from bender.node.status import describe, own_report

__all__ = ["Full", "InstanceReplaced", "Node", "NotReady"]

#: Events of one id that a diagnosis of it has.
EVENTS_TOLD_MAX = 20


class InstanceReplaced(Exception):
    """Another instance has registered under the id since. Nothing was changed."""


class Node:
    """A replica that clients and peers can talk to through the shells."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        sources: Sources,
        *,
        name: str,
        address: str,
        api_port: int = 0,
        timing: Timing,
        cluster: str = "bender",
        seeds: Sequence[str] = (),
        limits: Limits = DEFAULTS,
        guard_s: float = 0.0,
        exchange: Callable[[Node], PeerExchange] = NoExchange,
    ) -> None:
        """`name` is for people, `address` the `host:port` where peers reach this node, `seeds` that of some peers.

        `api_port` is where clients reach it at that host, 0 if they do not. What would be hidden, and is most of an
        app, stays listed for `guard_s`. `exchange` makes what reaches the peers of this node.
        """
        self._clock = clock
        self._sources = sources
        self._waiting: list[Deferred[None]] = []
        self.peer_problems: dict[str, dict[str, str]] = {"peer": {}, "peer-unreachable": {}}
        #: When the certificates of this node expire, in ms since the epoch, by option; and what is wrong with them.
        self.certificates: dict[str, int] = {}
        self.certificate_problems: dict[str, str] = {}
        self.started_at = sources.monotonic()
        self.name = name
        self.cluster = cluster
        self.timing = timing
        incarnation = sources.incarnation()
        identity = Sender(incarnation, name, address, api_port)
        self.replica = Replica(identity, timing, self.started_at, seeds, guard_s=guard_s, validity=VALIDITY)
        self.journal = Journal(f"{incarnation:016x}", sources.wall_ms, partial(clock.callLater, 0))
        self.consumers = Consumers(name, self.journal, clock)
        self.listings = Listings(self.replica.view, f"{incarnation:016x}")
        self._cluster_log = ClusterLog(self.replica, sources.monotonic)
        self._ledger_propagation = LedgerPropagation(self.replica, clock, sources.monotonic)
        self.conflicts = AddressConflicts(self.replica.view.addresses, self._ttl_s, timing)
        self._change_propagation = ChangePropagation(
            self.replica, self.journal, self.consumers, self._ledger_propagation, sources.monotonic
        )
        self.counters = Counters()
        #: Kept by the shells: the requests of clients over HTTP, and the lag of the reactor.
        self.requests, self.load = RequestCounts(), ReactorLoad(sources.monotonic)
        self.limits = NodeLimits(limits, sources.monotonic)
        self.limits.bind("subscribers", self.journal.places, lambda values: values.subscribers)
        self._turn = ReplicaTurn(self.now, self._pass_on)
        self.exchange = exchange(self)

    # Readiness.

    @property
    def ready(self) -> bool:
        """Whether this node may answer for the cluster. Notices first whether the node was away."""
        return self.ready_at(self.now())

    def ready_at(self, now: float) -> bool:
        """Return whether it may do so at a time that `now` has just returned."""
        if self.replica.notice(now):
            return True
        self._pass_on()  # it may have begun to ask its peers
        return False

    async def until_ready(self) -> None:
        """Wait for up to an interval on a node that is back from a pause; on any other raise `NotReady` at once."""
        if self.ready:
            return
        if self.replica.readiness.is_starting or self.replica.has_left:
            raise NotReady
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        giving_up = self._clock.callLater(self.timing.interval_s, self._give_up, waiting)
        try:
            await waiting
        finally:
            if giving_up.active():
                giving_up.cancel()
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _give_up(self, waiting: Deferred[None]) -> None:
        self._waiting.remove(waiting)
        waiting.errback(NotReady())

    # Commands. All raise `NotReady`, and change nothing, on a node that is not ready.

    def renew_as_is(self, key: str, terms: bytes, at: float | None = None) -> bool:
        """Renew an instance that is registered here with these encoded terms, at a time that `now` has just returned.

        Return False if it is not registered so.
        """
        try:
            renewed = self.replica.renew_as_is(self.now() if at is None else at, key, terms)
        except NotReady:
            self._pass_on()
            raise
        self.counters.renewed += renewed
        return renewed

    def register(self, wanted: RegistrationRequest) -> tuple[bool, bytes]:
        """Register, change or renew an instance. Return True if it was not registered here, and its encoded terms.

        Raises `Full` where too many registrations were made at this node already.
        """
        with self._turn as now:
            created, terms = self.replica.register(now, wanted.key, partial(self._merged, wanted))
            self.counters.count_registration(created=created)
            return created, terms

    def _merged(
        self, wanted: RegistrationRequest, registered: bytes | None, hidden: bytes | None
    ) -> RegistrationUpdate | None:
        """Return what a registration becomes by a request; None to renew it as it is."""
        if registered is not None and wanted.says_nothing:
            return None
        if registered is None:
            self.limits.require_room(self.replica.own_entry_count)
        terms = wanted.applied_to(
            # A registration that is hidden here may live elsewhere, and a heal must not give it the defaults.
            registered or hidden,
            ttl_s=self.timing.ttl_s,
            node=self.name,
            now_ms=self._sources.wall_ms(),
        )
        succeeds = registered is not None and wanted.succeeds(registered)
        body = self.limits.entry(terms.encode, wanted.key)
        return RegistrationUpdate(body, terms.ttl_s, succeeds)

    def renew(self, key: str) -> bytes | None:
        """Renew an instance and return its encoded terms; None if it is not registered."""
        with self._turn as now:
            terms = self.replica.renew(now, key)
            self.counters.renewed += terms is not None
            return terms

    def renew_all(self, ids: Sequence[str]) -> list[str]:
        """Renew many instances and return the ids that are not registered, as they were spelled."""
        with self._turn as now:
            unknown = self.replica.renew_all(now, ids)
            if unknown:
                # Only for these it is worth the time to find out whether they are spelled in another way.
                spelled = {id_: canonical_id(id_) for id_ in unknown}
                respelled = [canonical for id_, canonical in spelled.items() if canonical != id_]
                gone = {*self.replica.renew_all(now, respelled)} if respelled else set()
                unknown = [id_ for id_ in unknown if spelled[id_] == id_ or spelled[id_] in gone]
            self.counters.renewed += len(ids) - len(unknown)
            return unknown

    def shorten(self, keys: Iterable[str], left_s: float) -> None:
        """Let instances that are not renewed expire here in `left_s`, whatever their ttl. Never raises `NotReady`."""
        with self._turn as now:
            for key in keys:
                self.replica.shorten(now, key, left_s)

    def deregister(self, key: str, *, instance: str | None = None, reason: str | None = None) -> bool:
        """Deregister an instance; return False if it is not registered. All nodes announce the `reason` if given.

        Raises `InstanceReplaced` if the registration has another token than `instance`. A registration without a token
        is removed, because it may be this instance's, renewed at a node that knows no tokens.
        """
        with self._turn as now:
            if not self.replica.notice(now):
                raise NotReady
            existing = None if instance is None else self.replica.winner(now, key)
            if existing is not None and instance_of(existing) not in (None, instance):
                raise InstanceReplaced(
                    f"another instance of {key} has registered under that id since: nothing was removed"
                )
            return self.replica.deregister(now, key, reason)

    async def until_applied(self, key: str, within_s: float) -> AppliedBy:
        """Wait until all nodes that are heard, and their consumers, have applied what was done to a key here before.

        Waits for `within_s` at most.
        """
        return await self._change_propagation.until_applied(self.exchange.ask_consumers, key, within_s)

    async def all_consumers(self) -> list[ConsumerState]:
        """Return the consumers of all nodes that answer, in order of name."""
        return await self._change_propagation.consumers(self.exchange.ask_consumers)

    def shared_consumers(self, name: str | None = None) -> Mapping[str, list[str]]:
        """Return the instances of each name, or of one, that several connected consumers have, one of them here."""
        return self._change_propagation.shared(name)

    async def awaited_consumers(self, awaited: Awaited) -> tuple[ConsumerState, ...]:
        """Return this node's consumers, once they have confirmed what is awaited or its time is over."""
        return await self._change_propagation.awaited(awaited)

    def configure(self, key: str, body: bytes | None, author: str) -> None:
        """Set a backend or frontend, or remove it with None. Raises `Full` where too many names were ever used."""
        with self._turn as now:
            self.replica.configure(now, key, body, author, self._sources.wall_ms())

    def set_state(self, registration: str, override: Override, author: str) -> None:
        """Set the state of a registration for an operator. Raises `Full` if too many states are kept."""
        self._set_state(registration, override.state.encode(), author, override.lasts_s)

    def take_back_state(self, registration: str, author: str) -> bool:
        """Remove the state that an operator set; return False if there is none."""
        if self.override(registration) is None:
            return False
        # Remembered for as long as any node may know the state that it takes back.
        left_s = self.replica.configuration.left_s(key_of_state(registration), self.now())
        self._set_state(registration, None, author, left_s)
        return True

    def _set_state(self, registration: str, body: bytes | None, author: str, lasts_s: float) -> None:
        key = key_of_state(registration)
        with self._turn as now:
            self.replica.configure(now, key, body, author, self._sources.wall_ms(), lasts_s)

    def lift_guard(self, app: str, author: str) -> bool:
        """Hide the suspect members of an app on all nodes; return False if this node has none."""
        if app not in self.replica.guarded_apps:
            return False
        with self._turn as now:
            self.replica.lift_guard(now, app, author, self._sources.wall_ms())
        return True

    def leave(self) -> None:
        """Notify all peers that this node stops."""
        with self._turn as now:
            self.replica.leave(now)
            self._ledger_propagation.end()
            self.consumers.end()

    # Reading.

    @property
    def listed(self) -> int:
        """The number of registrations that are listed."""
        return self.replica.view.count

    def claim(self, key: str) -> Claim | None:
        """Return the claim by which a registration is listed; None if it is not listed."""
        return self.replica.view.claim(key)

    def registration(self, key: str) -> bytes | None:
        """Return a registration as clients see it; None if it is not listed."""
        claim = self.claim(key)
        return self.shown(claim) if claim else None

    def shown(self, claim: Claim) -> bytes:
        """Return the registration that a claim lists, as clients see it."""
        return self.replica.view.registration(claim)

    def registration_status(self, key: str) -> RegistrationStatus:
        """Return the state of a registration and whether it is suspect, listed or not."""
        return self.replica.view.status(key)

    def registration_statuses(self) -> dict[str, RegistrationStatus]:
        """Return the present status of every registration that is not simply up."""
        return self.replica.view.statuses()

    def all_up(self, app: str, version: str) -> bool:
        """Whether all listed members of a version are in state `up`."""
        return self.replica.view.all_up(app, version)

    def override(self, key: str) -> tuple[ConfigSetting, float] | None:
        """Return the state that an operator set for a registration, and the seconds left of it, or None."""
        return self.replica.expiring_setting(self.now(), key_of_state(key))

    def keys_of_states(self) -> list[str]:
        """Return in order the ids whose state was ever set and is not forgotten, also of what is not listed."""
        return sorted(filter(None, map(registration_of, self.replica.configuration)))

    def claims(self, app: str | None = None, version: str | None = None, *, ordered: bool = True) -> list[Claim]:
        """Return the claims of all listed registrations, of an app or version if given; in order of id if `ordered`."""
        if not ordered:
            return [*self.each_claim(app, version)]
        return [claim for group in self.replica.view.groups(app, version) for claim in in_order(group)]

    def each_claim(self, app: str | None = None, version: str | None = None) -> Iterator[Claim]:
        """Return the same claims one by one, in no order. Nothing may change before the last one is read."""
        return (claim for group in self.replica.view.groups(app, version) for claim in group.values())

    def instance(self, key: str) -> str | None:
        """Return the token of the instance that is listed under an id; None if it sent none, or is not listed."""
        claim = self.claim(key)
        return None if claim is None else instance_of(claim.body)

    def configured(self, key: str) -> bytes | None:
        setting = self.replica.setting(key)
        return setting.body if setting else None

    def history(self, key: str) -> tuple[ConfigSetting, ...]:
        """Return the settings of a configuration key, newest first. A removal has no body."""
        return self.replica.history(key)

    def count(self, app: str, version: str | None = None) -> int:
        """Return the number of listed registrations of a version, or of all of an app."""
        return self.replica.view.count_of(app, version)

    def configuration(self, kind: str) -> list[bytes]:
        """Return all objects of a kind (`backend`, `frontend`) in order of id."""
        return [setting.body for setting in self.replica.settings(kind) if setting.body is not None]

    def guarded(self) -> list[dict[str, Any]]:
        """Return the apps with suspect members: how many, and for how many seconds at most."""
        return [
            {"app": each.app, "suspects": each.suspects, "left": round(max(0.0, each.left_s), 3)}
            for each in self.replica.guarded(self.now())
        ]

    def same_address(self, key: str) -> list[str]:
        """Return the ids of the other registrations that are listed with the host and port of this one."""
        return self.replica.same_address(key)

    def _ttl_s(self, key: str) -> float:
        claim = self.claim(key)
        return self.timing.ttl_s if claim is None else claim.ttl_s

    def account(self, key: str) -> NodeDiagnosis:
        """Return all that this node knows of an id."""
        events = self.journal.happened(key, EVENTS_TOLD_MAX)
        return msgspec.structs.replace(self.replica.account(self.now(), key), events=events)

    def claim_leases(self, keys: Iterable[str]) -> list[ClaimLease | None]:
        """Return this node's own claim of each key, with the time that it has left; None where it holds none."""
        return claim_leases(keys, self.replica.claims, self.now())

    def status(self) -> dict[str, Any]:
        """Return what `GET /status` shows; durations in seconds."""
        return describe(self, self.now())

    def own_report(self) -> NodeReport:
        """Return what this node reports about itself in `GET /nodes` of any node."""
        return own_report(self, self.now())

    # For the exchange and the sweep.

    def begin_round(self, addresses: Iterable[str] | None = None) -> None:
        """Begin a round: send a heartbeat to `addresses`, or to all peers that are known."""
        self.counters.rounds += 1
        with self._turn as now:
            self.replica.round(now, addresses)

    def sweep(self, unheard_s: float = 0.0) -> bool:
        """Do what is due by now; return True if there is more. Requests of clients have waited for `unheard_s`."""
        self.counters.sweeps += 1
        with self._turn as now:
            more = self.replica.sweep(now, unheard_s)
            self._note_changes(now)
            return more

    def _note_changes(self, now: float) -> None:
        self._cluster_log.note_peers()
        self._cluster_log.note_addresses()
        self._cluster_log.note_names()
        self._change_propagation.look(self.exchange.ask_consumers)
        self._cluster_log.note_consumers(self.shared_consumers())
        self._cluster_log.note_guard()
        self._cluster_log.note_invalid()
        if self.replica.ready:  # before that it may list what has ended elsewhere
            self._cluster_log.note_conflicts(self.conflicts, self.conflicts.look(now))

    def receive(self, message: Message) -> Message:
        """Take in a peer's request and return the answer to it."""
        with self._turn as now:
            received = self.replica.take_in(now, message)
            self._append_events()  # watchers need not wait for the answer
            return self.replica.answer(now, received)

    def answered(self, request: OutgoingMessage, answer: Message) -> None:
        self.counters.answered += 1
        with self._turn as now:
            self.replica.answered(now, request, answer)

    def failed(self, request: OutgoingMessage) -> None:
        self.counters.failed += 1
        with self._turn as now:
            self.replica.failed(now, request)

    def addresses(self) -> list[str]:
        return self.replica.addresses()

    def located(self, seed: str, addresses: Sequence[str]) -> None:
        """Set the addresses to which a seed's name resolves at present."""
        self.replica.located(seed, addresses)

    def remove_seed(self, seed: str) -> None:
        """Stop trying a seed. A peer that was found there stays known for as long as it is heard."""
        self.replica.remove_seed(seed)

    def set_guard_duration(self, guard_s: float) -> None:
        """Change for how long members stay suspect when most of an app would be hidden; 0 turns the guard off."""
        self.replica.set_guard_duration(guard_s)

    def peer_problem(self, address: str, problem: str | None, unreachable: bool) -> None:
        """Show a problem of a peer in `/status`, or remove it with None. `unreachable`: it just does not answer."""
        for problems in self.peer_problems.values():
            problems.pop(address, None)
        if problem is not None:
            self.peer_problems["peer-unreachable" if unreachable else "peer"][address] = problem

    # Beginning and end of every call.

    def now(self) -> float:
        """Return the time on this node's clock. Notices first whether it must go on as another incarnation."""
        now = self._sources.monotonic()
        if self.replica.surpassed:
            self._log.warn(
                "Another process runs as this incarnation of this node, or the machine was restored from a snapshot: "
                "this node continues as a new incarnation and keeps its registrations."
            )
            self.replica.anew(self._sources.incarnation(), now)
        elif self.replica.outlived(now):
            self._log.warn("This node was paused for over ten minutes: it continues as a new incarnation.")
            self.replica.anew(self._sources.incarnation(), now)
        return now

    def _append_events(self) -> None:
        if self.replica.view.events:
            self.journal.append(self.replica.take_events())

    def _pass_on(self) -> None:
        """Pass on what the replica has made: requests, events and its readiness."""
        self._cluster_log.note_readiness()
        # Requests come first: watchers at other nodes wait for them.
        if requests := self.replica.take_requests():
            self.counters.requests += len(requests)
            self.exchange.send(requests)
        self._append_events()
        self._ledger_propagation.note()
        if self._waiting and self.replica.ready:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)
