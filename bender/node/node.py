"""One node: a replica with a clock and a journal.

Time and randomness enter the core here. The shells (HTTP for clients, HTTP among peers, the line protocol, the sweep)
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
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import NodeDiagnosis
from bender.core.entry_validation import VALIDITY
from bender.core.ledger import Claim
from bender.core.messages import ConfigSetting, Message, OutgoingMessage, Sender
from bender.core.model import RegistrationRequest, canonical_id, instance_of
from bender.core.node_report import NodeReport
from bender.core.registration_status import RegistrationStatus
from bender.core.registration_update import RegistrationUpdate
from bender.core.replica import Full, NotReady, Replica
from bender.core.timing import Timing
from bender.core.view import sorted_claims
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
from bender.node.status import node_status, own_report

__all__ = ["Full", "InstanceReplaced", "Node", "NotReady"]

#: The most events of an id in its diagnosis.
DIAGNOSIS_EVENTS_MAX = 20


class InstanceReplaced(Exception):
    """Another instance has registered under this id meanwhile. Nothing was changed."""


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
        """Create a node that is not ready yet. Its peers reach it at `address`, a `host:port`.

        `name` is for people, `seeds` are addresses of peers. Clients reach the node at `api_port` of the same host,
        or not if it is 0. In a mass loss, members stay listed for `guard_s`. `exchange` connects it to its peers.
        """
        self._clock = clock
        self._sources = sources
        self._waiting: list[Deferred[None]] = []
        self.peer_problems: dict[str, dict[str, str]] = {"peer": {}, "peer-unreachable": {}}
        #: Expiry times of this node's certificates, in ms since the epoch, by option; and their problems.
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
        #: The shells update these: the requests of clients over HTTP, and the lag of the reactor.
        self.requests, self.load = RequestCounts(), ReactorLoad(sources.monotonic)
        self.limits = NodeLimits(limits, sources.monotonic)
        self.limits.bind("subscribers", self.journal.places, lambda values: values.subscribers)
        self._turn = ReplicaTurn(self.now, self._pass_on)
        self.exchange = exchange(self)

    # Readiness.

    @property
    def ready(self) -> bool:
        """Whether this node may answer for the cluster. Checks first whether the node was paused."""
        return self.ready_at(self.now())

    def ready_at(self, now: float) -> bool:
        """Return whether this node may answer for the cluster, at a time that `now()` has just returned."""
        if self.replica.check_ready(now):
            return True
        self._pass_on()  # the replica may have begun to ask its peers
        return False

    async def until_ready(self) -> None:
        """Wait for one interval at most until a paused node is ready. Raises `NotReady`, at once on any other node."""
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
        """Renew an instance that is registered here with these encoded terms; return False if it is not.

        `at` is a time that `now()` has just returned.
        """
        try:
            renewed = self.replica.renew_as_is(self.now() if at is None else at, key, terms)
        except NotReady:
            self._pass_on()
            raise
        self.counters.renewed += renewed
        return renewed

    def register(self, request: RegistrationRequest) -> tuple[bool, bytes]:
        """Register, change or renew an instance. Return True if it was not registered here, and its encoded terms.

        Raises `Full` if this node has the maximum number of registrations, and `TooLarge`.
        """
        with self._turn as now:
            created, terms = self.replica.register(now, request.key, partial(self._updated_terms, request))
            self.counters.count_registration(created=created)
            return created, terms

    def _updated_terms(
        self, request: RegistrationRequest, registered: bytes | None, hidden: bytes | None
    ) -> RegistrationUpdate | None:
        """Return the update of a registration by a request; None if the request renews it without a change."""
        if registered is not None and request.changes_nothing:
            return None
        if registered is None:
            self.limits.require_room(self.replica.own_entry_count)
        terms = request.applied_to(
            # A registration that is hidden here may be listed elsewhere: the end of the partition must not reset it.
            registered or hidden,
            ttl_s=self.timing.ttl_s,
            node=self.name,
            now_ms=self._sources.wall_ms(),
        )
        succeeds = registered is not None and request.is_from_another_instance(registered)
        body = self.limits.encode_entry(terms.encode, request.key)
        return RegistrationUpdate(body, terms.ttl_s, succeeds)

    def renew(self, key: str) -> bytes | None:
        """Renew an instance and return its encoded terms; None if it is not registered."""
        with self._turn as now:
            terms = self.replica.renew(now, key)
            self.counters.renewed += terms is not None
            return terms

    def renew_all(self, ids: Sequence[str]) -> list[str]:
        """Renew many instances. Return the ids that are not registered, as the client spelled them."""
        with self._turn as now:
            unknown = self.replica.renew_all(now, ids)
            if unknown:
                # Finding the canonical spelling takes time, so only these ids are looked up by it.
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
                self.replica.shorten_lease(now, key, left_s)

    def deregister(self, key: str, *, instance: str | None = None, reason: str | None = None) -> bool:
        """Deregister an instance; return False if it is not registered.

        The `reason`, if given, is in the event at all nodes. Raises `InstanceReplaced` if the registration has another
        token than `instance`. A registration without a token is removed: an older node drops the token on renewal.
        """
        with self._turn as now:
            if not self.replica.check_ready(now):
                raise NotReady
            existing = None if instance is None else self.replica.winner(now, key)
            if existing is not None and instance_of(existing) not in (None, instance):
                raise InstanceReplaced(
                    f"{key} was registered again by another process (its field instance differs): nothing was removed"
                )
            return self.replica.deregister(now, key, reason)

    async def until_applied(self, key: str, within_s: float) -> AppliedBy:
        """Wait until all heard nodes, and their consumers, have applied this node's last change of a key.

        Waits for `within_s` seconds at most.
        """
        return await self._change_propagation.until_applied(self.exchange.ask_consumers, key, within_s)

    async def all_consumers(self) -> list[ConsumerState]:
        """Return the consumers of all nodes that answer, in order of name."""
        return await self._change_propagation.all_consumers(self.exchange.ask_consumers)

    def shared_consumers(self, name: str | None = None) -> Mapping[str, list[str]]:
        """Return the instances of each name that several connected consumers share, one of them here; or of `name`."""
        return self._change_propagation.shared_consumers(name)

    async def wait_for_consumers(self, awaited: AwaitedChange) -> tuple[ConsumerState, ...]:
        """Return this node's consumers when all have confirmed the awaited change, or its time limit is over."""
        return await self._change_propagation.wait_for_own_consumers(awaited)

    def configure(self, key: str, body: bytes | None, author: str) -> None:
        """Set a backend or frontend, or remove it if `body` is None. Raises `Full` if too many names were ever used."""
        with self._turn as now:
            self.replica.configure(now, key, body, author, self._sources.wall_ms())

    def set_state(self, registration: str, override: Override, author: str) -> None:
        """Set the operator's state of a registration. Raises `Full` if this node has the maximum number of states."""
        self._set_state(registration, override.state.encode(), author, override.lasts_s)

    def remove_state(self, registration: str, author: str) -> bool:
        """Remove the operator's state of a registration; return False if it has none."""
        if self.override(registration) is None:
            return False
        # The removal is remembered as long as any node may still know the removed state.
        left_s = self.replica.configuration.removal_lasts_s(key_of_state(registration), self.now())
        self._set_state(registration, None, author, left_s)
        return True

    def _set_state(self, registration: str, body: bytes | None, author: str, lasts_s: float) -> None:
        key = key_of_state(registration)
        with self._turn as now:
            self.replica.configure(now, key, body, author, self._sources.wall_ms(), lasts_s)

    def lift_guard(self, app: str, author: str) -> bool:
        """Hide the suspect members of an app on all nodes; return False if this node lists none."""
        if app not in self.replica.guarded_app_names:
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
    def listed_count(self) -> int:
        """The number of listed registrations."""
        return self.replica.view.count

    def claim(self, key: str) -> Claim | None:
        """Return the claim whose terms a registration is listed with; None if it is not listed."""
        return self.replica.view.claim(key)

    def registration(self, key: str) -> bytes | None:
        """Return a registration as JSON for clients; None if it is not listed."""
        claim = self.claim(key)
        return self.registration_json(claim) if claim else None

    def registration_json(self, claim: Claim) -> bytes:
        """Return the registration of a listed claim as JSON for clients."""
        return self.replica.view.registration(claim)

    def registration_status(self, key: str) -> RegistrationStatus:
        """Return the state of a registration, and whether it is suspect. It need not be listed."""
        return self.replica.view.status(key)

    def registration_statuses(self) -> dict[str, RegistrationStatus]:
        """Return the status of every registration that is suspect or whose state is not `up`."""
        return self.replica.view.statuses()

    def all_up(self, app: str, version: str) -> bool:
        """Return True if all listed members of a version are in state `up`."""
        return self.replica.view.all_up(app, version)

    def override(self, key: str) -> tuple[ConfigSetting, float] | None:
        """Return the operator's state of a registration with the seconds that it lasts; None if there is none."""
        return self.replica.expiring_setting(self.now(), key_of_state(key))

    def keys_with_states(self) -> list[str]:
        """Return the sorted ids that have, or recently had, an operator's state; they need not be listed."""
        return sorted(filter(None, map(registration_of, self.replica.configuration)))

    def claims(self, app: str | None = None, version: str | None = None, *, ordered: bool = True) -> list[Claim]:
        """Return the claims of all listed registrations, or of an app or version; sorted by id if `ordered`."""
        if not ordered:
            return [*self.each_claim(app, version)]
        return [claim for group in self.replica.view.groups(app, version) for claim in sorted_claims(group)]

    def each_claim(self, app: str | None = None, version: str | None = None) -> Iterator[Claim]:
        """Iterate over the same claims in no particular order. The registry must not change during the iteration."""
        return (claim for group in self.replica.view.groups(app, version) for claim in group.values())

    def instance_token(self, key: str) -> str | None:
        """Return the token of the instance listed under an id; None if it sent no token, or is not listed."""
        claim = self.claim(key)
        return None if claim is None else instance_of(claim.body)

    def configured_object(self, key: str) -> bytes | None:
        """Return a backend or frontend as JSON; None if it is not set."""
        setting = self.replica.setting(key)
        return setting.body if setting else None

    def history(self, key: str) -> tuple[ConfigSetting, ...]:
        """Return the settings of a configuration key, newest first. The body of a removal is None."""
        return self.replica.history(key)

    def count(self, app: str, version: str | None = None) -> int:
        """Return the number of listed registrations of an app, or of one version of it."""
        return self.replica.view.count_of(app, version)

    def configured_objects(self, kind: str) -> list[bytes]:
        """Return all objects of a kind (`backend`, `frontend`) as JSON, sorted by id."""
        return [setting.body for setting in self.replica.settings(kind) if setting.body is not None]

    def guarded_apps(self) -> list[dict[str, Any]]:
        """Return each app with suspect members: their number, and the seconds (at most) that they stay listed."""
        return [
            {"app": each.app, "suspects": each.suspects, "left": round(max(0.0, each.left_s), 3)}
            for each in self.replica.guarded_apps(self.now())
        ]

    def ids_with_same_address(self, key: str) -> list[str]:
        """Return the ids of the other listed registrations with the host and port of this one."""
        return self.replica.keys_at_same_address(key)

    def _ttl_s(self, key: str) -> float:
        claim = self.claim(key)
        return self.timing.ttl_s if claim is None else claim.ttl_s

    def diagnose(self, key: str) -> NodeDiagnosis:
        """Return everything that this node knows about an id."""
        events = self.journal.past_events(key, DIAGNOSIS_EVENTS_MAX)
        return msgspec.structs.replace(self.replica.diagnose(self.now(), key), events=events)

    def claim_leases(self, keys: Iterable[str]) -> list[ClaimLease | None]:
        """Return this node's own claim of each key, with the time it has left; None for a key without one."""
        return claim_leases(keys, self.replica.claims, self.now())

    def status(self) -> dict[str, Any]:
        """Return the answer to `GET /status`; durations are in seconds."""
        return node_status(self, self.now())

    def own_report(self) -> NodeReport:
        """Return this node's own part of the answer to `GET /nodes` at any node."""
        return own_report(self, self.now())

    # For the exchange and the sweep.

    def begin_round(self, addresses: Iterable[str] | None = None) -> None:
        """Begin a round: send a heartbeat to `addresses`, or to all known peers."""
        self.counters.rounds += 1
        with self._turn as now:
            self.replica.start_round(now, addresses)

    def sweep(self, unheard_s: float = 0.0) -> bool:
        """Do the work that is due; return True if there is more. Clients' requests have waited for `unheard_s`."""
        self.counters.sweeps += 1
        with self._turn as now:
            more = self.replica.sweep(now, unheard_s)
            self._note_changes(now)
            return more

    def _note_changes(self, now: float) -> None:
        self._cluster_log.note_peers()
        self._cluster_log.note_addresses()
        self._cluster_log.note_names()
        self._change_propagation.look_for_shared_names(self.exchange.ask_consumers)
        self._cluster_log.note_consumers(self.shared_consumers())
        self._cluster_log.note_guard()
        self._cluster_log.note_invalid()
        if self.replica.is_ready:  # a node that is not ready may list registrations that ended elsewhere
            self._cluster_log.note_conflicts(self.conflicts, self.conflicts.find_changes(now))

    def receive(self, message: Message) -> Message:
        """Apply a peer's request and return the answer to it."""
        with self._turn as now:
            received = self.replica.apply_request(now, message)
            self._append_events()  # watchers get the events before the answer is made
            return self.replica.answer(now, received)

    def note_answer(self, request: OutgoingMessage, answer: Message) -> None:
        """Apply a peer's answer to a request of this node."""
        self.counters.answered += 1
        with self._turn as now:
            self.replica.receive_answer(now, request, answer)

    def note_failure(self, request: OutgoingMessage) -> None:
        """Note that a request of this node got no valid answer in time."""
        self.counters.failed += 1
        with self._turn as now:
            self.replica.note_failure(now, request)

    def addresses(self) -> list[str]:
        """Return the addresses of all peers and seeds to which a round can go."""
        return self.replica.addresses()

    def set_seed_addresses(self, seed: str, addresses: Sequence[str]) -> None:
        """Set the addresses to which a seed's name resolves now."""
        self.replica.set_seed_addresses(seed, addresses)

    def remove_seed(self, seed: str) -> None:
        """Send nothing to a seed any more. A peer that was found there stays known while this node hears it."""
        self.replica.remove_seed(seed)

    def set_guard_duration(self, guard_s: float) -> None:
        """Set the seconds for which members of an app stay suspect in a mass loss; 0 turns the guard off."""
        self.replica.set_guard_duration(guard_s)

    def set_peer_problem(self, address: str, problem: str | None, unreachable: bool) -> None:
        """Show a problem of a peer in `/status`; None removes it. `unreachable`: the peer only does not answer."""
        for problems in self.peer_problems.values():
            problems.pop(address, None)
        if problem is not None:
            self.peer_problems["peer-unreachable" if unreachable else "peer"][address] = problem

    # Beginning and end of every call.

    def now(self) -> float:
        """Return the time on this node's clock. Begins a new incarnation first if the node must have one."""
        now = self._sources.monotonic()
        if self.replica.is_surpassed:
            self._log.warn(
                "The identity of this node is in use twice, because a second process or a restored snapshot has it: "
                "this node takes a new identity and keeps its registrations."
            )
            self.replica.continue_as(self._sources.incarnation(), now)
        elif self.replica.is_forgotten(now):
            self._log.warn("This node was paused for over ten minutes: it takes a new identity, as after a restart.")
            self.replica.continue_as(self._sources.incarnation(), now)
        return now

    def _append_events(self) -> None:
        if self.replica.view.events:
            self.journal.append(self.replica.take_events())

    def _pass_on(self) -> None:
        """Pass on the replica's new requests, events and readiness."""
        self._cluster_log.note_readiness()
        # Requests go first, because watchers at other nodes wait for them.
        if requests := self.replica.take_requests():
            self.counters.requests += len(requests)
            self.exchange.send(requests)
        self._append_events()
        self._ledger_propagation.end_finished_waits()
        if self._waiting and self.replica.is_ready:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)
