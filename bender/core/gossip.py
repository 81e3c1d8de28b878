"""The messages that nodes exchange, and what they change.

A round compares heads: its answer has the entries that the asking node lacks, and a second request has those that the
answering node lacks. The request of a round is stamped with a time, the ask. The answering node returns it as the echo
only together with everything that it had received by then. A push sends changes to the known peers at once. The next
round repairs the loss of any message.

Large differences come in pages. After a page the next round follows at once, until the difference is gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import inf

from attrs import evolve, frozen

from bender.core.claims import Claims
from bender.core.entry_validation import UNCHECKED, Validity
from bender.core.gossip_targets import ROUNDS_OPEN_MAX, Link, Links
from bender.core.invalid_settings import InvalidSettings
from bender.core.last_writer_wins import Configuration, digest_of
from bender.core.ledger import Delta, Gap, Head, Ledger, Outdated
from bender.core.messages import AGE_S_MAX, ALL_DIGESTS, ConfigSetting, Counter, Message, OutgoingMessage, Sender
from bender.core.peers import PEERS_MAX, Peer, Peers
from bender.core.setting_pages import SETTINGS_PER_MESSAGE_MAX, SettingPages

#: How many of its latest asks a node remembers. It makes at most six in an interval: these are asks of 40 intervals.
ASKS_REMEMBERED_MAX = 256


@frozen
class MessageEffect:
    """What a message changed: whether all its deltas could be joined, whether a ledger advanced, and new settings."""

    deltas_fitted: bool
    ledger_advanced: bool
    new_setting_keys: tuple[str, ...]


@frozen
class AppliedRequest:
    """A peer's request that was applied. A stranger's incarnation is unknown, or its address has not answered yet."""

    message: Message
    new_setting_keys: tuple[str, ...] = ()
    is_from_stranger: bool = False


@frozen
class Lacking:
    """Deltas that a peer lacks, and whether they are all that it lacks."""

    deltas: tuple[Delta, ...]
    is_all: bool


class Gossip:
    """Makes this node's requests and answers, and applies those of its peers."""

    def __init__(
        self,
        identity: Sender,
        peers: Peers,
        claims: Claims,
        configuration: Configuration,
        links: Links,
        interval_s: float,
        now: float,
        page_entries_max: int,
        validity: Validity = UNCHECKED,
    ) -> None:
        self._validity = validity
        self.invalid_settings = InvalidSettings()
        self._identity = identity
        self._interval_s = interval_s
        self._page_entries_max = page_entries_max
        self._pages = SettingPages(configuration, min(SETTINGS_PER_MESSAGE_MAX, page_entries_max))
        self._peers = peers
        self._claims = claims
        self._configuration = configuration
        self._links = links
        self._beats = 0
        self._beat_at = now
        # The largest version of this node's own ledger that was sent in a delta.
        self._version_sent = 0
        # If a seed is this node, it receives its own asks, maybe after their time limit.
        self._asks: deque[float] = deque(maxlen=ASKS_REMEMBERED_MAX)
        #: Requests that `take_requests` has not returned yet.
        self.requests: list[OutgoingMessage] = []
        #: When the last page came that was not the last of its ledger.
        self.paged_at = -inf
        #: Whether this node has sent its last heartbeat.
        self.has_left = False

    def take_requests(self) -> list[OutgoingMessage]:
        requests, self.requests = self.requests, []
        return requests

    def beat(self, now: float) -> None:
        """Count a heartbeat."""
        self._links.tried_count = 0
        self._beats += 1
        self._beat_at = now

    def leave(self, now: float) -> None:
        """Count the last heartbeat."""
        self.has_left = True
        self.beat(now)

    def surpassing_beats(self, message: Message) -> int | None:
        """Return the heartbeats of another process that uses, or once used, this incarnation; None if there is no sign.

        A message shows such a process if this machine was cloned, or was set back to a snapshot of its memory.
        """
        own = self._identity.incarnation
        head = (message.heads or {}).get(own, Head())
        beats = max((counter.beats for counter in message.counters if counter.incarnation == own), default=0)
        from_own = message.sender.incarnation == own
        doubled = from_own and message.ask is not None and message.ask not in self._asks
        # A request of this node to itself has a version that may never have been sent to a peer.
        known_version = self._claims.ledger.version if from_own else self._version_sent
        unknown = head.version > known_version or not self._claims.ledger.matches(head)
        if doubled or unknown or beats > self._beats:
            return max(beats, self._beats)
        return None

    def awaits_answers(self, now: float) -> bool:
        """Whether a claim is due and waits for the answers of all peers."""
        return self._claims.awaits_confirmation(now)

    # Requests.

    def ask(self, addresses: Iterable[str], now: float) -> None:
        """Begin a round with each of `addresses` that does not have too many open rounds already."""
        links = [link for link in map(self._links.__getitem__, addresses) if len(link.open_rounds) < ROUNDS_OPEN_MAX]
        if not links:
            return
        self._asks.append(now)
        greeting = evolve(self._greeting(now), ask=now)  # one for all, which is encoded once
        for link in links:
            self._add_request(link, greeting)

    def announce(self, setting: ConfigSetting, now: float) -> None:
        """Send a new setting with the next push to all known peers."""
        for link in self._links:
            if self._push_recipient(link) is not None:
                link.unsent_settings.append(setting)
        self.push(now)

    def push(self, now: float) -> None:
        """Send changes of this node to all known peers to which no push is under way."""
        ledger = self._claims.ledger
        # By the version that the peers have, which most have in common: each message is made and encoded once.
        made: dict[int, Message] = {}
        for link in self._links:
            if link.open_push is not None or not (link.unsent_settings or ledger.version > link.pushed_version):
                continue
            peer = self._push_recipient(link)
            if peer is not None and (link.unsent_settings or ledger.version > self._version_shown_by(peer)):
                version = self._version_shown_by(peer)
                message = made.get(version) if not link.unsent_settings else None
                if message is None:
                    message = self._push_message(link, peer, now)
                    if message.is_same_for_all:
                        made[version] = message
                link.pushed_version = ledger.version
                link.open_push = OutgoingMessage(link.address, message, link.time_limit_s(self._interval_s), push=True)
                self.requests.append(link.open_push)

    def _push_recipient(self, link: Link) -> Peer | None:
        """Return the peer to push to at a link; None if no peer answered there, it failed since, or it is gone."""
        if link.has_failed or link.incarnation is None:
            return None
        peer = self._peers.get(link.incarnation)
        return None if peer is None or peer.is_gone else peer

    def _push_message(self, link: Link, peer: Peer, now: float) -> Message:
        ledger = self._claims.ledger
        version = self._version_shown_by(peer)
        # If the peer no longer has what the copies refer to, the next round repairs that.
        deltas: tuple[Delta, ...] = ()
        if ledger.version > version:
            delta = ledger.delta(Head(version, version), self._page_entries_max)
            deltas = (self._claims.copies.with_copies_for(delta, peer),)
            self._version_sent = ledger.version
        page = self._pages.fitting(link.unsent_settings)
        settings = self._configuration.with_ages(page, now)
        del link.unsent_settings[: len(page)]
        counters = self._counters_with(deltas, now)
        return Message(self._identity, counters=counters, deltas=deltas, settings=settings)

    def _add_request(self, link: Link, message: Message, compares: float | None = None) -> None:
        request = OutgoingMessage(link.address, message, link.time_limit_s(self._interval_s), comparison_ask=compares)
        link.open_rounds.add(request)
        self.requests.append(request)

    def _version_shown_by(self, peer: Peer) -> int:
        """Return the version of this node's own ledger that a peer has shown to have."""
        return peer.shown_versions.get(self._identity.incarnation, 0)

    # Answers, to peers and from peers.

    def apply_request(self, message: Message, now: float, *, waited_s: float) -> AppliedRequest:
        """Apply a peer's request. Pass the result to `answer` at once.

        The request may have waited here for `waited_s` while this node was paused: the ages in it are too small by up
        to that much.
        """
        if message.sender.incarnation == self._identity.incarnation:
            return AppliedRequest(message)
        # A peer that is known only from other peers' messages is a stranger too: its address was never tried.
        unknown_way = not self._links.has_reached(message.sender.address)
        stranger = message.sender.incarnation not in self._peers or unknown_way
        return AppliedRequest(message, self._apply(message, now, waited_s).new_setting_keys, stranger)

    def answer(self, received: AppliedRequest, now: float, *, ask: bool) -> Message:
        """Return the answer to a request that was applied.

        With `ask` the answer has an ask of its own, because this node waits for the answers of all peers.
        """
        message = received.message
        if message.sender.incarnation == self._identity.incarnation:
            return self._greeting(now)  # a clone of this node detects by this answer that it is one
        if received.is_from_stranger and self._links.may_try(message.sender.address):
            # Find out whether the address works, so that pushes need not wait for the next round; and after a late
            # request, whether the peer is still there.
            self.ask([message.sender.address], now)
        if message.heads is None:
            return self._acknowledgement(message, now)
        return self._answer(message, message.heads, now, ask=ask or self.awaits_answers(now))

    def receive_answer(
        self, request: OutgoingMessage, answer: Message, now: float, *, waited_s: float = 0.0
    ) -> tuple[str, ...]:
        """Apply the answer to a request, which may have waited here. Return the keys of settings that are new here."""
        link = self._links.note_answer(request.address, answer.sender.incarnation)
        link.note_answer(request, now)
        if answer.sender.incarnation == self._identity.incarnation:
            return ()
        if request.message.ask is not None:
            self._peers.note_answer_at(request.address, answer.sender.incarnation, request.message.ask)
        taken = self._apply(answer, now, waited_s)
        if request.push:
            self._note_push_answer(link, request)
        elif request.message.heads is None:
            if request.comparison_ask is not None and not answer.partial:
                self._note_agreement(answer, request.comparison_ask)
            if answer.partial and taken.new_setting_keys:
                self.paged_at = now
            self._push_lacking_settings(link, request, answer)
            self._ask_after_page(link, request, answer, now, again=bool(taken.new_setting_keys))
        else:
            if request.message.ask is not None and answer.digest == self._configuration.digest:
                self._note_agreement(answer, request.message.ask)
            self._second_request(link, request, answer, now)
            if taken.ledger_advanced and _is_paged(answer):
                self.paged_at = now
                self.ask([link.address], now)
        return taken.new_setting_keys

    def _greeting(self, now: float) -> Message:
        """Return the heads, counters and digest that every round and its answer begin with."""
        counters = [self._own_counter(now)]
        counters += [self._counter(peer, now) for peer in self._peers if peer.beats >= 0]
        heads = self._claims.copies.heads()
        return Message(self._identity, heads=heads, counters=tuple(counters), digest=self._configuration.digest)

    def _counters_with(self, deltas: Iterable[Delta], now: float) -> tuple[Counter, ...]:
        """Return the counters of the nodes whose deltas are sent: without its counter, a node's claims do not count."""
        peers = [self._peers.get(delta.incarnation) for delta in deltas]
        return tuple(self._counter(peer, now) if peer else self._own_counter(now) for peer in peers)

    def _own_counter(self, now: float) -> Counter:
        own = self._identity
        age_s = now - self._beat_at
        return Counter(own.incarnation, own.name, own.address, self._beats, age_s, self.has_left, api_port=own.api_port)

    def _counter(self, peer: Peer, now: float) -> Counter:
        """Return the counter of a peer. A pause of this node does not reduce its age."""
        age_s = min(max(0.0, now - (peer.heard_at - peer.shift_s)), AGE_S_MAX)
        ttl_max_s = self._claims.copies.ttl_max_s(peer) if self._peers.is_silent(peer, now) else 0.0
        return Counter(
            peer.incarnation,
            peer.name,
            peer.address,
            peer.beats,
            age_s,
            peer.left,
            ttl_max_s,
            peer.api_port,
        )

    def _answer(self, request: Message, heads: Mapping[int, Head], now: float, *, ask: bool) -> Message:
        lacking = self._lacking(heads, request.sender.incarnation)
        differs = request.digest != self._configuration.digest
        return evolve(
            self._greeting(now),
            deltas=lacking.deltas,
            echo=request.ask if lacking.is_all else None,
            bucket_digests=self._configuration.bucket_digests if differs else (),
            ask=now if ask else None,
        )

    def _acknowledgement(self, request: Message, now: float) -> Message:
        """Return the heads after a push or second request, and settings that the sender lacks in the same buckets."""
        incarnations = {request.sender.incarnation, *(delta.incarnation for delta in request.deltas)}
        heads = {i: head for i in incarnations if (head := self._claims.copies.head(i)).reach}
        buckets, window, configuration = request.buckets, request.window, self._configuration
        known = {*request.known, *map(digest_of, request.settings)} if buckets else set()
        settings = [each for number in buckets for each in configuration.settings_in_bucket(number, known, window)]
        page = self._pages.fitting(settings)
        here = configuration.digests_in_bucket(buckets[0], window) if request.known and buckets else ()
        return Message(
            self._identity,
            heads=heads,
            settings=self._configuration.with_ages(page, now),
            known=tuple(here),
            partial=len(page) < len(settings),
        )

    def _second_request(self, link: Link, request: OutgoingMessage, answer: Message, now: float) -> None:
        """Send the peer that answered a round the entries and settings that it lacks."""
        lacking = self._lacking(answer.heads or {}, answer.sender.incarnation)
        echo = answer.ask if lacking.is_all else None
        differing = self._configuration.differing_buckets(answer.bucket_digests) if answer.bucket_digests else []
        buckets, settings = self._pages.buckets_in_turn(link, differing)
        if lacking.deltas or echo is not None or buckets:
            window, known = (ALL_DIGESTS, ()) if settings else self._pages.window_in_turn(link, buckets)
            message = Message(
                self._identity,
                None,
                self._counters_with(lacking.deltas, now),
                lacking.deltas,
                echo=echo,
                buckets=buckets,
                settings=self._configuration.with_ages(settings, now),
                known=known,
                window=window,
            )
            whole = buckets and len(buckets) == len(differing) and window == ALL_DIGESTS
            self._add_request(link, message, request.message.ask if whole else None)

    def _note_agreement(self, answer: Message, asked_at: float) -> None:
        """Note that this node has all settings that a peer had when it was asked."""
        peer = self._peers.get(answer.sender.incarnation)
        if peer is not None:
            peer.agreed_at = max(peer.agreed_at, asked_at)

    def _push_lacking_settings(self, link: Link, request: OutgoingMessage, answer: Message) -> None:
        """Push the settings that the answer shows to be missing at the peer, if only a bucket's digests were sent."""
        if request.message.known and not link.unsent_settings:
            shown = {*answer.known, *map(digest_of, answer.settings)}
            number, window = request.message.buckets[0], request.message.window
            link.unsent_settings += self._pages.fitting(self._configuration.settings_in_bucket(number, shown, window))

    def _ask_after_page(
        self, link: Link, request: OutgoingMessage, answer: Message, now: float, *, again: bool
    ) -> None:
        """Begin the next round at once if a second request was a page that the peer took, or brought settings."""
        heads = answer.heads or {}
        pages = [delta for delta in request.message.deltas if not delta.is_final]
        if again or any(heads.get(page.incarnation, Head()).reach > page.base for page in pages):
            self.ask([link.address], now)

    def _note_push_answer(self, link: Link, request: OutgoingMessage) -> None:
        """Let the next push continue after this one if it was a page."""
        peer = self._peers.get(link.incarnation or 0)
        for delta in request.message.deltas:
            if peer is not None and self._version_shown_by(peer) > delta.since:
                link.pushed_version = self._version_shown_by(peer)

    def _lacking(self, heads: Mapping[int, Head], recipient: int) -> Lacking:
        """Return what `recipient` lacks, given its `heads`, as much as fits in one message."""
        ahead = [ledger for ledger in self._claims.copies.ahead_of(heads) if self._may_pass_on(ledger, recipient)]
        deltas: list[Delta] = []
        room = self._page_entries_max
        for ledger in ahead:
            if room <= 0:
                break
            deltas.append(ledger.delta(heads.get(ledger.incarnation, Head()), room))
            if ledger is self._claims.ledger:
                self._version_sent = ledger.version
            room -= len(deltas[-1].added)
        whole = len(deltas) == len(ahead) and all(delta.is_final for delta in deltas)
        return Lacking(tuple(deltas), whole)

    def _may_pass_on(self, ledger: Ledger, recipient: int) -> bool:
        """Whether a ledger may be sent to a peer: together with a counter of its node, and never to its own node."""
        if ledger.incarnation == self._identity.incarnation:
            return True
        peer = self._peers.get(ledger.incarnation)
        return ledger.incarnation != recipient and peer is not None and peer.beats >= 0

    # What messages change here.

    def _apply(self, message: Message, now: float, waited_s: float) -> MessageEffect:
        own = self._identity.incarnation
        heads = message.heads or {}
        for counter in message.counters:
            # A message that had waited must not bring a forgotten peer back; a new peer will send its counter again.
            if counter.incarnation != own and not (waited_s and counter.incarnation not in self._peers):
                self._learn_of(counter, now, itself=counter.incarnation == message.sender.incarnation)
        sender = self._peers.note_message_from(message.sender, now)
        if sender is not None:
            self._note_heads(sender, heads)
        self._claims.copies.compare(heads, now)
        versions = {delta.incarnation: delta.version for delta in message.deltas}  # where there are no heads
        fits, advanced, changed = self._join_deltas(message.deltas, now)
        settings = tuple(each.key for each in self._valid_settings(message, now) if self._configuration.join(each, now))
        for counter in message.counters:
            head = heads.get(counter.incarnation)
            version = head.version if head else versions.get(counter.incarnation, 0)
            self._hear(counter, version, now, waited_s)
        for key in changed:
            self._claims.refresh(key, now)
        if sender is not None and message.echo is not None and fits:
            sender.echoed_at = max(sender.echoed_at, message.echo)
        return MessageEffect(fits, advanced, settings)

    def _learn_of(self, counter: Counter, now: float, *, itself: bool) -> None:
        """Apply the counter of an incarnation, which may be unknown.

        At the limit of incarnations, an unknown one is added only if it sent the counter `itself`. It replaces a peer
        that never sent anything or is silent.
        """
        if counter.incarnation not in self._peers and len(self._peers) >= PEERS_MAX:
            dispensable = self._peers.dispensable_peer(now) if itself else None
            if dispensable is None:
                return
            self._peers.forget(dispensable)
            self._claims.forget(dispensable)
        self._peers.meet(counter, now)

    def _valid_settings(self, message: Message, now: float) -> list[ConfigSetting]:
        """Return the valid settings of a message, and note the problems of the others."""
        valid = []
        for setting in message.settings:
            problem = self._validity.problem_of_setting(setting)
            if problem is None:
                valid.append(setting)
            else:
                self.invalid_settings.note(message.sender.address, problem, now)
        return valid

    def _note_heads(self, sender: Peer, heads: Mapping[int, Head]) -> None:
        """Remember the versions that a peer has, except those of ledgers of nodes that are forgotten here."""
        for incarnation, head in heads.items():
            if incarnation == self._identity.incarnation or incarnation in self._peers:
                sender.shown_versions[incarnation] = max(head.version, sender.shown_versions.get(incarnation, 0))

    def _join_deltas(self, deltas: Iterable[Delta], now: float) -> tuple[bool, bool, dict[str, None]]:
        """Join deltas. Return whether all could be joined, whether any advanced a ledger, and the keys to refresh."""
        fits, advanced = True, False
        changed: dict[str, None] = {}
        for delta in deltas:
            peer = self._peers.get(delta.incarnation)
            if peer is None:
                continue
            before = self._claims.copies.head(delta.incarnation)
            try:
                changed |= self._claims.join(delta)
            except Outdated:
                fits = False
                if not self._peers.was_recently_alive(peer, now):
                    self._claims.copies.give_up_pages(delta, peer, now)
            except Gap:
                fits = False
            advanced = advanced or self._claims.copies.head(delta.incarnation) != before
        return fits, advanced, changed

    def _hear(self, counter: Counter, version: int, now: float, waited_s: float) -> None:
        """Believe a larger counter only if this node has the ledger version that the counter came with.

        Nor, while this node waits for its peers, if it may have waited for as long as the ttl of all claims that would
        count because of it: a peer that lives will answer with another.
        """
        peer = self._peers.get(counter.incarnation)
        if peer is None:
            return
        is_news = counter.beats > peer.beats
        copies = self._claims.copies
        is_too_old = self._claims.is_frozen and copies.are_outlasted(peer, waited_s)
        if is_news and (is_too_old or version > copies.head(counter.incarnation).version):
            return
        horizon_s = self._peers.horizon_s(peer, now) if is_news else 0.0
        if self._peers.hear(counter, now):
            self._claims.refresh_heard_again(peer, horizon_s, now)


def _is_paged(answer: Message) -> bool:
    return any(not delta.is_final for delta in answer.deltas)
