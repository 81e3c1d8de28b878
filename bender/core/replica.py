"""One node's state and rules, without input and output: the caller passes in commands, messages and the time.

Call `start_round` every interval and `sweep` at least four times as often. Send the requests that `take_requests`
returns, and report the outcome of each once, to `receive_answer` or `note_failure`. All times are seconds on one
monotonic clock. Any call with a time may detect that this node was paused (rule 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import inf

from attrs import evolve

from bender.core.address_conflicts import address_of
from bender.core.claims import Claims
from bender.core.diagnosis import NodeDiagnosis, VersionTimes, diagnose
from bender.core.entry_validation import UNCHECKED, Validity
from bender.core.gossip import AppliedRequest, Gossip
from bender.core.gossip_targets import Links
from bender.core.last_writer_wins import KEYS_MAX, Configuration
from bender.core.ledger import DELTA_ENTRIES_MAX, NUMBER_MAX
from bender.core.messages import ConfigSetting, Counter, Message, OutgoingMessage, Sender
from bender.core.node_loss_guard import LIFTED, GuardedApp, key_of_guard
from bender.core.peers import BEATS_BEYOND, Peer, Peers
from bender.core.readiness import Readiness
from bender.core.registration_update import Merge
from bender.core.shown_settings import ShownSettings
from bender.core.timing import ABSENCE_S_MAX, Timing
from bender.core.view import View, ViewEvent


class NotReady(Exception):
    """This node has not heard from all of its peers since its start or a pause. Nothing was changed."""


class Full(Exception):
    """There are as many configuration keys as can be kept. Nothing was changed."""


class Replica:
    """One node's copy of the state, and its part in keeping all copies equal."""

    def __init__(
        self,
        identity: Sender,
        timing: Timing,
        now: float,
        seeds: Sequence[str] = (),
        *,
        keys_max: int = KEYS_MAX,
        guard_s: float = 0.0,
        page_entries_max: int = DELTA_ENTRIES_MAX,
        validity: Validity = UNCHECKED,
    ) -> None:
        """Start with `seeds`: addresses of some peers as people wrote them; `set_seed_addresses` resolves them.

        `keys_max` limits the names that may be set here, removed names included, and separately the states. If most of
        an app would be hidden at once, its members stay listed for `guard_s`. A message has at most `page_entries_max`
        entries. `validity` checks the entries and settings of peers.
        """
        self.timing = timing
        self.guard_s = guard_s
        self._page_entries_max = page_entries_max
        self._validity = validity
        self.view = View()
        self.configuration = Configuration(keys_max)
        self._noticed_at = now
        self._begin(identity, now, dict.fromkeys(seeds, ()), ())

    def _begin(
        self,
        identity: Sender,
        now: float,
        seeds: dict[str, tuple[str, ...]],
        expected: Sequence[str],
        previous: int | None = None,
    ) -> None:
        """Start an incarnation that has received nothing yet.

        It replaces the incarnation `previous`, if any; `expected` are the addresses of the peers known to that one.
        """
        self.identity = identity
        self.peers = Peers(identity.address, self.timing)
        self.claims = Claims(
            identity.incarnation,
            self.timing,
            self.peers,
            self.view,
            now,
            previous,
            guard_s=self.guard_s,
            validity=self._validity,
        )
        self.links = Links(identity.incarnation, identity.address, seeds)
        self.links.expected_addresses = tuple(expected)
        parts = (self.peers, self.claims, self.configuration, self.links)
        self.gossip = Gossip(identity, *parts, self.timing.interval_s, now, self._page_entries_max, self._validity)
        self.readiness = Readiness(self.timing, self.peers, self.links, self.claims, now)
        self._shown_settings = ShownSettings(self.configuration, self.claims, self.view)
        # The heartbeats of another process that uses this incarnation, if there is one.
        self._surpassed_by: int | None = None
        self._marks = VersionTimes(now)
        self._asked_at = -inf

    def continue_as(self, incarnation: int, now: float) -> None:
        """Continue as another incarnation (rule 6), as `is_forgotten` and `is_surpassed` require.

        A surpassed node keeps its claims and ends, and ends its former incarnation at all nodes.
        """
        gap_s = now - self._noticed_at
        self._noticed_at = now
        before, surpassed_by, leases = self.identity, self._surpassed_by, self.claims.leases
        # Addresses that only other peers reported are left out: a peer may have made them up.
        reached = self.links.has_reached
        peers = [each.address for each in self.peers if not each.is_gone and reached(each.address)]
        self._begin(evolve(before, incarnation=incarnation), now, self.links.seeds, peers, before.incarnation)
        self.readiness.away_s = gap_s
        if surpassed_by is not None:
            self.claims.take_over(leases)
            beats = min(surpassed_by + BEATS_BEYOND, NUMBER_MAX)
            ended = Counter(before.incarnation, before.name, before.address, beats, 0.0, left=True)
            self.peers.meet(ended, now)
            self.peers.hear(ended, now)

    def is_forgotten(self, now: float) -> bool:
        """Whether this node was paused for so long that its peers have forgotten it: call `continue_as`."""
        return now - self._noticed_at > ABSENCE_S_MAX

    @property
    def is_surpassed(self) -> bool:
        """Whether another process uses, or once used, this incarnation: call `continue_as`."""
        return self._surpassed_by is not None

    # Commands. They raise `NotReady`, and change nothing, if this node is not ready.

    def register(self, now: float, key: str, merge: Merge) -> tuple[bool, bytes]:
        """Register, change or renew an instance as `merge` says. Return True if it was not registered, and its body.

        `merge` is called once, on a node that is ready; nothing is changed if it raises.
        """
        self._require_ready(now)
        registered = self.claims.register(key, merge, now)
        self.gossip.push(now)
        return registered

    def renew(self, now: float, key: str) -> bytes | None:
        """Renew an instance and return its body; None if it is not registered."""
        self._require_ready(now)
        version = self.claims.ledger.version
        claim = self.claims.renew(key, now)
        if self.claims.ledger.version != version:
            self.gossip.push(now)
        return claim.body if claim else None

    def renew_as_is(self, now: float, key: str, body: bytes) -> bool:
        """Renew an instance that is registered here with this body; else return False. Makes no event or message."""
        self._require_ready(now)
        return self.claims.renew_as_is(key, body, now)

    def renew_all(self, now: float, keys: Iterable[str]) -> list[str]:
        """Renew many instances at once and return the keys that are not registered."""
        self._require_ready(now)
        version = self.claims.ledger.version
        unknown = self.claims.renew_all(keys, now)
        if self.claims.ledger.version != version:
            self.gossip.push(now)
        return unknown

    def deregister(self, now: float, key: str, reason: str | None = None) -> bool:
        """Deregister an instance, with a reason if one is given; return False if it is not registered."""
        self._require_ready(now)
        removed = self.claims.deregister(key, now, reason)
        self.gossip.push(now)
        return removed

    def shorten_lease(self, now: float, key: str, left_s: float) -> None:
        """Let this node's claim of an instance lapse in `left_s` unless it is renewed, even while it is not ready."""
        self._notice_pause(now)
        self.claims.shorten(key, now + left_s)

    def configure(
        self, now: float, key: str, body: bytes | None, author: str, at_ms: int, lasts_s: float | None = None
    ) -> None:
        """Set a configuration key, or remove it with None. Raises `Full` beyond the limits for all and for `author`.

        A setting with `lasts_s` ends by itself after that many seconds. All settings of a key have `lasts_s`, or none
        has: the removal of a key is kept forever if it has no `lasts_s`.
        """
        self._require_ready(now)
        rev = self.configuration.next_rev(key)
        setting = ConfigSetting(key, rev, self.identity.incarnation, at_ms, author, body, lasts_s)
        if (obstacle := self.configuration.refusal_reason(setting)) is not None:
            raise Full(obstacle)
        self.configuration.join(setting, now)
        self._shown_settings.show(key, now)
        self.gossip.announce(setting, now)

    def lift_guard(self, now: float, app: str, author: str, at_ms: int) -> None:
        """Hide the suspects of an app on all nodes, and turn its guard off for the guard's duration."""
        self.configure(now, key_of_guard(app), LIFTED, author, at_ms, self.guard_s)
        self._settle(now)

    def leave(self, now: float) -> None:
        """Send the last heartbeat to all peers, which then treat this node as silent (rule 7)."""
        self._notice_pause(now)
        self.readiness.is_ready = False
        self.gossip.leave(now)
        self.gossip.ask(self.addresses(), now)

    def _require_ready(self, now: float) -> None:
        if not self.check_ready(now):
            raise NotReady

    # Reading.

    @property
    def is_ready(self) -> bool:
        """Whether this node can answer clients: all peers have answered since it started or was paused (rule 6)."""
        return self.readiness.is_ready

    @property
    def version(self) -> int:
        """The version of this node's own ledger."""
        return self.claims.ledger.version

    @property
    def own_entry_count(self) -> int:
        """The number of claims and ends that this node wrote."""
        return len(self.claims.ledger.entries)

    @property
    def entry_count(self) -> int:
        """The number of claims and ends of all nodes."""
        return sum(len(ledger.entries) for ledger in self.claims.ledgers.values())

    @property
    def pending_lapse_count(self) -> int:
        """The number of this node's claims and ends that are due and wait for the peers' confirmation."""
        return len(self.claims.leases.due)

    @property
    def has_left(self) -> bool:
        """Whether this node has sent its last heartbeat."""
        return self.gossip.has_left

    @property
    def guarded_app_names(self) -> set[str]:
        """The names of the apps with suspect members."""
        return {*self.claims.guard.apps}

    def unanswered_seeds(self) -> list[str]:
        """Return the configured seeds at which no node has answered."""
        return self.links.unanswered_seeds()

    def has_reached(self, address: str) -> bool:
        """Whether a node ever answered at an address."""
        return self.links.has_reached(address)

    def invalid_input(self, now: float) -> dict[str, str]:
        """Return the problems with what peers send or hold, by their addresses."""
        found = {
            address: f"sends an invalid setting, which is ignored: {problem}"
            for address, problem in self.gossip.invalid_settings.problems(now).items()
        }
        for incarnation, (count, problem) in self.claims.copies.invalid_entries.items():
            if (peer := self.peers.get(incarnation)) is not None:
                found[peer.address] = f"has {count} invalid entries, which are ignored; in one, {problem}"
        return found

    def winner(self, now: float, key: str) -> bytes | None:
        """Return the body of a registration, even before the view lists it; None if it is not registered."""
        claim = self.claims.winner(key, now)
        return claim.body if claim else None

    def keys_at_same_address(self, key: str) -> list[str]:
        """Return the keys of the other registrations that are listed with the host and port of this one."""
        return [other for other in self.view.addresses.at(address_of(key)) if other != key]

    def setting(self, key: str) -> ConfigSetting | None:
        return self.view.setting(key)

    def settings(self, kind: str) -> list[ConfigSetting]:
        return self.view.settings(kind)

    def expiring_setting(self, now: float, key: str) -> tuple[ConfigSetting, float] | None:
        """Return the current setting of a key and the seconds left of it; None if no setting with a duration is set."""
        return self.configuration.expiring(key, now)

    def history(self, key: str) -> tuple[ConfigSetting, ...]:
        """Return the settings of a configuration key, newest first."""
        return self.configuration.settings(key)

    def set_guard_duration(self, guard_s: float) -> None:
        """Set for how many seconds members stay suspect if most of an app would be hidden; 0 turns the guard off."""
        self.guard_s = guard_s
        self.claims.set_guard_duration(guard_s)

    def guarded_apps(self, now: float) -> list[GuardedApp]:
        """Return the apps with suspect members, in order of name."""
        return self.claims.guard.guarded_apps(now)

    def diagnose(self, now: float, key: str) -> NodeDiagnosis:
        """Return what this node knows of an id."""
        return diagnose(key, self.identity, self.claims, self.peers, self._marks, now, ready=self.is_ready)

    def version_reached(self, now: float) -> float:
        """Return the version of this node's ledger that every peer has, except silent ones; inf without peers."""
        return self.peers.version_reached(self.identity.incarnation, now)

    def split_peers(self, version: int) -> tuple[list[Peer], list[Peer]]:
        """Return the peers that have this node's ledger at `version`, as far as they have shown, and the others."""
        return self.peers.split_by_version(self.identity.incarnation, version)

    def shows_version(self, incarnation: int, version: int) -> bool:
        """Whether this node has received the ledger of an incarnation up to `version`, and lists its registrations."""
        is_listed = self.claims.is_settled and not self.claims.is_frozen
        return is_listed and self.claims.copies.head(incarnation).version >= version

    def digest(self) -> int:
        """Return a digest that is equal on all nodes with the same ledgers and configuration.

        Ledgers of incarnations whose heartbeats are not believed yet are left out: their claims do not count.
        """
        state = repr((self.claims.copies.versions(), self.configuration.digest)).encode()
        return int.from_bytes(blake2b(state, digest_size=8).digest(), "big")

    # Time.

    def check_ready(self, now: float) -> bool:
        """Return True if this node is ready; detect first whether it was paused."""
        self._notice_pause(now)
        return self.readiness.is_ready

    def _notice_pause(self, now: float) -> None:
        gap_s = now - self._noticed_at
        self._noticed_at = max(self._noticed_at, now)
        if gap_s > self.timing.pause_s:
            self._come_back(now, gap_s)

    def _come_back(self, now: float, gap_s: float) -> None:
        """Prolong leases and the times of peers by a pause of this node, and wait for all peers again (rule 6)."""
        self.claims.leases.shift(gap_s, gap_s)
        self.peers.shift(gap_s)
        if self.gossip.has_left or not (self.links.seeds or self.peers):
            return
        self.readiness.wait_again(now, gap_s)
        self._ask(now)

    def start_round(self, now: float, addresses: Iterable[str] | None = None) -> None:
        """Count a heartbeat and begin a round with `addresses`, or all that are known. Call this every interval."""
        self._notice_pause(now)
        if not (self.readiness.is_mute or self.gossip.has_left):
            self.gossip.beat(now)
        self._marks.note(self.claims.ledger.version, now)
        # In each round, not only when a peer is forgotten: a peer may send each message from another address.
        self.links.forget(self.peers)
        self.gossip.invalid_settings.forget(now)
        self.gossip.ask(self.addresses() if addresses is None else addresses, now)

    def sweep(self, now: float, unheard_s: float = 0.0) -> bool:
        """Do due work; return True if there is more. The oldest unread request has waited here for `unheard_s`."""
        self._notice_pause(now)
        more = self.readiness.is_ready and self.claims.lapse(now - unheard_s)
        if self.gossip.awaits_answers(now) or not self.readiness.is_ready:
            self._ask_again(now)
        self.claims.hide(now)
        for key in self.configuration.take_due_keys(now):
            self._shown_settings.show(key, now)
        self._forget(now)
        more = self._settle(now) or more
        more = self.claims.judge(now) or more
        self.gossip.push(now)
        return more

    def _settle(self, now: float) -> bool:
        """Do a slice of the waiting work, and become ready when none is left; return True if there is more."""
        if self.readiness.is_ready and self.claims.is_settled and not self._shown_settings.are_stale:
            return False
        overdue = self.readiness.is_overdue(now, self.gossip.paged_at)
        if self.claims.is_frozen:
            self.readiness.unfreeze(now, overdue=overdue)
        if not self.claims.is_frozen:
            self._shown_settings.show_stale(now)
        more = self.claims.settle(now)
        if not (self.readiness.is_ready or self.claims.is_frozen or self.gossip.has_left):
            # Remove lapsed claims first: the heartbeat would make them count again at other nodes.
            more = self.claims.lapse(now) or more
            more = self.claims.judge(now) or more
            if overdue or not more:
                self._become_ready(now)
        return more

    def _become_ready(self, now: float) -> None:
        self.readiness.become_ready()
        # Send a heartbeat at once: claims of clients that are answered from now on must count at the other nodes.
        self.start_round(now)

    def _ask_again(self, now: float) -> None:
        if now >= self._asked_at + self.timing.asks_apart_s:
            self._ask(now)

    def _ask(self, now: float) -> None:
        self._asked_at = now
        self.gossip.ask(self.addresses(), now)

    def _forget(self, now: float) -> None:
        gone = [peer for peer in self.peers if self.claims.copies.is_forgettable(peer, now)]
        for peer in gone:
            self.peers.forget(peer)
            self.claims.forget(peer)
        if gone:
            self.links.forget(self.peers)

    # Messages.

    def set_seed_addresses(self, seed: str, addresses: Sequence[str]) -> None:
        """Set the addresses to which a seed resolves now; pass none if it does not resolve."""
        self.links.seeds[seed] = tuple(addresses)

    def remove_seed(self, seed: str) -> None:
        """Remove a seed: its addresses are no longer tried, except those of known peers, nor waited for at a start."""
        self.links.seeds.pop(seed, None)
        self.links.forget(self.peers)

    def addresses(self) -> list[str]:
        """Return the addresses to which rounds go."""
        return self.links.addresses(self.peers)

    def take_requests(self) -> list[OutgoingMessage]:
        """Return the requests to send now, each once. Report each outcome to `receive_answer` or `note_failure`."""
        return self.gossip.take_requests()

    def take_events(self) -> list[ViewEvent]:
        return self.view.take_events()

    def receive(self, now: float, message: Message) -> Message:
        """Apply a peer's request and return the answer to it."""
        return self.answer(now, self.apply_request(now, message))

    def apply_request(self, now: float, message: Message) -> AppliedRequest | None:
        """Apply a peer's request, which may make events. Pass the result to `answer` before any other call.

        Return None, and change nothing, if the request shows that this node was surpassed.
        """
        self._notice_pause(now)
        if self._note_surpassed(message):
            return None
        return self.gossip.apply_request(message, now, waited_s=self.readiness.request_waited_s(now))

    def answer(self, now: float, received: AppliedRequest | None) -> Message:
        """Return the answer to a request that was applied, and do the work that it has made possible."""
        if received is None:
            return Message(self.identity)
        answer = self.gossip.answer(received, now, ask=not self.readiness.is_ready)
        self._progress(now, received.new_setting_keys)
        return answer

    def receive_answer(self, now: float, request: OutgoingMessage, answer: Message) -> None:
        """Apply the answer to a request of this node."""
        self._notice_pause(now)
        if not self._is_own(request):
            return
        if self._note_surpassed(answer):
            self.links[request.address].note_failure(request)
            return
        waited_s = self.readiness.answer_waited_s(request.message.ask)
        self._progress(now, self.gossip.receive_answer(request, answer, now, waited_s=waited_s))

    def _is_own(self, request: OutgoingMessage) -> bool:
        """Whether this incarnation made a request, and not the previous one."""
        return request.message.sender.incarnation == self.identity.incarnation

    def _note_surpassed(self, message: Message) -> bool:
        beats = self.gossip.surpassing_beats(message)
        if beats is not None:
            self._surpassed_by = max(beats, self._surpassed_by or 0)
        return beats is not None

    def note_failure(self, now: float, request: OutgoingMessage) -> None:
        """Note that a request of this node was refused, not answered in time, or not answered validly."""
        self._notice_pause(now)
        if not self._is_own(request):
            return
        self.links[request.address].note_failure(request)
        self._progress(now, ())

    def _progress(self, now: float, settings: Iterable[str]) -> None:
        """Do at once the work that a message has made possible."""
        for key in settings:
            self._shown_settings.show(key, now)
        self._settle(now)
        if self.readiness.is_ready:
            self.claims.remove_due(now)
        self.claims.judge(now)
        self.gossip.push(now)
