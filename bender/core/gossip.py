"""The messages that nodes exchange, and what they change.

A round compares heads: its answer brings what the asker lacks, and a second request what the answerer lacks. Its
stamp, the ask, comes back as an echo together with everything that the answerer had received by then, and never
without. A push sends what is new to the known peers at once. If any of these is lost, the next round repairs it.

Large differences come in pages. After a page the next round follows at once, until all is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import inf

from attrs import evolve, frozen

from bender.core.claims import Claims
from bender.core.entry_validation import UNCHECKED, Validity
from bender.core.gossip_targets import ROUNDS_OPEN_MAX, Link, Links
from bender.core.last_writer_wins import Configuration, digest_of
from bender.core.ledger import Delta, Gap, Head, Ledger, Outdated
from bender.core.messages import AGE_S_MAX, WHOLE, ConfigSetting, Counter, Message, OutgoingMessage, Sender
from bender.core.peers import PEERS_MAX, Peer, Peers
from bender.core.setting_pages import SETTINGS_PER_MESSAGE_MAX, SettingPages

#: How many of its latest asks a node remembers. It makes six in an interval at the most, so this is a minute or so.
ASKS_REMEMBERED_MAX = 256

#: Addresses of peers whose invalid settings are reported at the same time.
INVALID_REMEMBERED_MAX = 100

#: Seconds for which a peer that sends invalid settings is reported after the last of them.
INVALID_KEPT_S = 60.0


@frozen
class MessageEffect:
    """What a message changed: whether all deltas fitted, whether a ledger advanced, and which settings are new."""

    fits: bool
    advanced: bool
    settings: tuple[str, ...]


@frozen
class TakenRequest:
    """A peer's request that was taken in: which settings are new, and whether the way to the peer is not known yet."""

    message: Message
    settings: tuple[str, ...] = ()
    is_from_stranger: bool = False


@frozen
class Lacking:
    """The deltas that a peer lacks, and whether there is nothing beyond them."""

    deltas: tuple[Delta, ...]
    whole: bool


class Gossip:
    """This node's half of all conversations."""

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
        #: By the address of its sender: what is wrong with the last invalid setting, and when it came.
        self.invalid: dict[str, tuple[str, float]] = {}
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
        # The largest version of this node's own ledger that was handed out in a delta.
        self._version_sent = 0
        # If a seed is this node it receives its own asks, maybe late, when it has given them up.
        self._asks: deque[float] = deque(maxlen=ASKS_REMEMBERED_MAX)
        #: Requests that were not taken yet.
        self.requests: list[OutgoingMessage] = []
        #: When the last page came that was not the last of its ledger.
        self.paged_at = -inf
        #: Whether this node has sent its last heartbeat.
        self.left = False

    def take_requests(self) -> list[OutgoingMessage]:
        requests, self.requests = self.requests, []
        return requests

    def beat(self, now: float) -> None:
        """Count a heartbeat."""
        self._links.tried = 0
        self._beats += 1
        self._beat_at = now

    def leave(self, now: float) -> None:
        """Count the last one."""
        self.left = True
        self.beat(now)

    def surpassed(self, message: Message) -> int | None:
        """Return the heartbeats of another process that uses, or once used, this incarnation, if a message shows one.

        Either this machine was cloned, or it was set back to a snapshot of its memory and does not know what it sent
        since. None if the message shows no such process.
        """
        own = self._identity.incarnation
        head = (message.heads or {}).get(own, Head())
        beats = max((counter.beats for counter in message.counters if counter.incarnation == own), default=0)
        from_own = message.sender.incarnation == own
        doubled = from_own and message.ask is not None and message.ask not in self._asks
        # What this node asks itself comes back with a version that was never sent to anybody.
        known_version = self._claims.ledger.version if from_own else self._version_sent
        unknown = head.version > known_version or not self._claims.ledger.knows(head)
        if doubled or unknown or beats > self._beats:
            return max(beats, self._beats)
        return None

    def waiting(self, now: float) -> bool:
        """Whether something here waits for answers of all peers."""
        return self._claims.unconfirmed(now)

    # Requests.

    def ask(self, addresses: Iterable[str], now: float) -> None:
        """Begin a round with each of `addresses` that does not have too many open rounds already."""
        links = [link for link in map(self._links.__getitem__, addresses) if len(link.rounds) < ROUNDS_OPEN_MAX]
        if not links:
            return
        self._asks.append(now)
        greeting = evolve(self._greeting(now), ask=now)  # one for all, which is encoded once
        for link in links:
            self._send(link, greeting)

    def announce(self, setting: ConfigSetting, now: float) -> None:
        """Send a new setting with the next push to all known peers."""
        for link in self._links:
            if self._known(link) is not None:
                link.unsent.append(setting)
        self.push(now)

    def push(self, now: float) -> None:
        """Send what is new here to all known peers to which no push is under way."""
        ledger = self._claims.ledger
        # By its base, which is the same for most peers: each message is made, and encoded, once.
        made: dict[int, Message] = {}
        for link in self._links:
            if link.push is not None or not (link.unsent or ledger.version > link.pushed):
                continue
            peer = self._known(link)
            if peer is not None and (link.unsent or ledger.version > self._shown(peer)):
                version = self._shown(peer)
                message = made.get(version) if not link.unsent else None
                if message is None:
                    message = self._push_message(link, peer, now)
                    if message.for_all:
                        made[version] = message
                link.pushed = ledger.version
                link.push = OutgoingMessage(link.address, message, link.limit(self._interval_s), push=True)
                self.requests.append(link.push)

    def _known(self, link: Link) -> Peer | None:
        """Return the peer that takes pushes at a link, if one was found there and has answered since."""
        if link.failed or link.incarnation is None:
            return None
        peer = self._peers.get(link.incarnation)
        return None if peer is None or peer.gone else peer

    def _push_message(self, link: Link, peer: Peer, now: float) -> Message:
        ledger = self._claims.ledger
        version = self._shown(peer)
        # If the peer no longer has what the copies refer to, the next round repairs that.
        deltas: tuple[Delta, ...] = ()
        if ledger.version > version:
            delta = ledger.delta(Head(version, version), self._page_entries_max)
            deltas = (self._claims.copies.brief(delta, peer),)
            self._version_sent = ledger.version
        page = self._pages.fitting(link.unsent)
        settings = self._configuration.with_ages(page, now)
        del link.unsent[: len(page)]
        counters = self._counters_with(deltas, now)
        return Message(self._identity, counters=counters, deltas=deltas, settings=settings)

    def _send(self, link: Link, message: Message, compares: float | None = None) -> None:
        request = OutgoingMessage(link.address, message, link.limit(self._interval_s), compares=compares)
        link.rounds.add(request)
        self.requests.append(request)

    def _shown(self, peer: Peer) -> int:
        """Return the version of this node's own ledger that a peer has shown to have."""
        return peer.heads.get(self._identity.incarnation, 0)

    # Answers, to peers and from peers.

    def take_in(self, message: Message, now: float, *, late: bool) -> TakenRequest:
        """Take in a peer's request, which is to be answered at once.

        `late` says that the request may have waited here while this node was away, so that the ages in it say little.
        """
        if message.sender.incarnation == self._identity.incarnation:
            return TakenRequest(message)
        # Those that are known only by what others say of them are strangers, too, as far as the way to them goes.
        unknown_way = not self._links.has_reached(message.sender.address)
        stranger = message.sender.incarnation not in self._peers or unknown_way
        return TakenRequest(message, self._take(message, now, late=late).settings, stranger)

    def answer(self, received: TakenRequest, now: float, *, ask: bool) -> Message:
        """Return the answer to a request that was taken in.

        With `ask` it asks back, because this node waits for the answers of all peers.
        """
        message = received.message
        if message.sender.incarnation == self._identity.incarnation:
            return self._greeting(now)  # should the other be a clone of this node, it finds that out by this
        if received.is_from_stranger and self._links.may_try(message.sender.address):
            # Get to know the way there, so that pushes need not wait for the next round; or, if the request was late,
            # find out whether the peer is still there.
            self.ask([message.sender.address], now)
        if message.heads is None:
            return self._acknowledgement(message, now)
        return self._answer(message, message.heads, now, ask=ask or self.waiting(now))

    def answered(self, request: OutgoingMessage, answer: Message, now: float) -> tuple[str, ...]:
        """Take in the answer to a request. Return the keys of settings that are new here."""
        link = self._links.answered(request.address, answer.sender.incarnation)
        link.succeed(request, now)
        if answer.sender.incarnation == self._identity.incarnation:
            return ()
        if request.message.ask is not None:
            self._peers.found(request.address, answer.sender.incarnation, request.message.ask)
        taken = self._take(answer, now)
        if request.push:
            self._pushed(link, request)
        elif request.message.heads is None:
            if request.compares is not None and not answer.partial:
                self._agree(answer, request.compares)
            if answer.partial and taken.settings:
                self.paged_at = now
            self._bring(link, request, answer)
            self._continue(link, request, answer, now, again=bool(taken.settings))
        else:
            if request.message.ask is not None and answer.digest == self._configuration.digest:
                self._agree(answer, request.message.ask)
            self._second_request(link, request, answer, now)
            if taken.advanced and _is_paged(answer):
                self.paged_at = now
                self.ask([link.address], now)
        return taken.settings

    def _greeting(self, now: float) -> Message:
        """Return what every round and its answer begin with."""
        counters = [self._own_counter(now)]
        counters += [self._counter(peer, now) for peer in self._peers if peer.beats >= 0]
        heads = self._claims.copies.heads()
        return Message(self._identity, heads=heads, counters=tuple(counters), digest=self._configuration.digest)

    def _counters_with(self, deltas: Iterable[Delta], now: float) -> tuple[Counter, ...]:
        """Return the counters for deltas: a node with a ledger must have heard its node, or its claims do not count."""
        peers = [self._peers.get(delta.incarnation) for delta in deltas]
        return tuple(self._counter(peer, now) if peer else self._own_counter(now) for peer in peers)

    def _own_counter(self, now: float) -> Counter:
        own = self._identity
        age_s = now - self._beat_at
        return Counter(own.incarnation, own.name, own.address, self._beats, age_s, self.left, api_port=own.api_port)

    def _counter(self, peer: Peer, now: float) -> Counter:
        """Return the counter of a peer. A pause of this node does not make it younger."""
        age_s = min(max(0.0, now - (peer.heard_at - peer.shift_s)), AGE_S_MAX)
        ttl_max_s = self._claims.copies.ttl_max_s(peer) if self._peers.silent(peer, now) else 0.0
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
            echo=request.ask if lacking.whole else None,
            bucket_digests=self._configuration.bucket_digests if differs else (),
            ask=now if ask else None,
        )

    def _acknowledgement(self, request: Message, now: float) -> Message:
        """Return the heads after a push or second request, and settings that the sender lacks in the same buckets."""
        incarnations = {request.sender.incarnation, *(delta.incarnation for delta in request.deltas)}
        heads = {i: head for i in incarnations if (head := self._claims.copies.head(i)).reach}
        known = {*request.known, *map(digest_of, request.settings)} if request.buckets else set()
        window = request.window
        settings = [each for number in request.buckets for each in self._configuration.bucket(number, known, window)]
        page = self._pages.fitting(settings)
        there = self._configuration.digests(request.buckets[0], window) if request.known and request.buckets else ()
        return Message(
            self._identity,
            heads=heads,
            settings=self._configuration.with_ages(page, now),
            known=tuple(there),
            partial=len(page) < len(settings),
        )

    def _second_request(self, link: Link, request: OutgoingMessage, answer: Message, now: float) -> None:
        """Send the answerer of a round what it lacks."""
        lacking = self._lacking(answer.heads or {}, answer.sender.incarnation)
        echo = answer.ask if lacking.whole else None
        differing = self._configuration.differing(answer.bucket_digests) if answer.bucket_digests else []
        buckets, settings = self._pages.buckets_in_turn(link, differing)
        if lacking.deltas or echo is not None or buckets:
            window, known = (WHOLE, ()) if settings else self._pages.window_in_turn(link, buckets)
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
            whole = buckets and len(buckets) == len(differing) and window == WHOLE
            self._send(link, message, request.message.ask if whole else None)

    def _agree(self, answer: Message, asked_at: float) -> None:
        """Note that this node has all configuration that a peer had when it was asked."""
        peer = self._peers.get(answer.sender.incarnation)
        if peer is not None:
            peer.agreed = max(peer.agreed, asked_at)

    def _bring(self, link: Link, request: OutgoingMessage, answer: Message) -> None:
        """Push what the answerer has shown to lack, if a bucket was sent by its digests only."""
        if request.message.known and not link.unsent:
            shown = {*answer.known, *map(digest_of, answer.settings)}
            number, window = request.message.buckets[0], request.message.window
            link.unsent += self._pages.fitting(self._configuration.bucket(number, shown, window))

    def _continue(self, link: Link, request: OutgoingMessage, answer: Message, now: float, *, again: bool) -> None:
        """Begin the next round at once if a second request was a page that the peer took, or brought settings."""
        heads = answer.heads or {}
        pages = [delta for delta in request.message.deltas if not delta.whole]
        if again or any(heads.get(page.incarnation, Head()).reach > page.base for page in pages):
            self.ask([link.address], now)

    def _pushed(self, link: Link, request: OutgoingMessage) -> None:
        """Let the rest go with the next push if this one was a page."""
        peer = self._peers.get(link.incarnation or 0)
        for delta in request.message.deltas:
            if peer is not None and self._shown(peer) > delta.since:
                link.pushed = self._shown(peer)

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
        whole = len(deltas) == len(ahead) and all(delta.whole for delta in deltas)
        return Lacking(tuple(deltas), whole)

    def _may_pass_on(self, ledger: Ledger, recipient: int) -> bool:
        """Whether a ledger may be sent to a peer: together with a counter of its node, and never to its own node."""
        if ledger.incarnation == self._identity.incarnation:
            return True
        peer = self._peers.get(ledger.incarnation)
        return ledger.incarnation != recipient and peer is not None and peer.beats >= 0

    # What messages change here.

    def _take(self, message: Message, now: float, *, late: bool = False) -> MessageEffect:
        own = self._identity.incarnation
        heads = message.heads or {}
        for counter in message.counters:
            # A new peer introduces itself again; a forgotten one must not come back by a message that had waited.
            if counter.incarnation != own and not (late and counter.incarnation not in self._peers):
                self._meet(counter, now, itself=counter.incarnation == message.sender.incarnation)
        sender = self._peers.message_from(message.sender, now)
        if sender is not None:
            self._note_heads(sender, heads)
        self._claims.copies.compare(heads, now)
        versions = {delta.incarnation: delta.version for delta in message.deltas}  # where there are no heads
        fits, advanced, changed = self._join(message.deltas, now)
        settings = tuple(each.key for each in self._valid(message, now) if self._configuration.join(each, now))
        for counter in message.counters:
            head = heads.get(counter.incarnation)
            version = head.version if head else versions.get(counter.incarnation, 0)
            self._hear(counter, version, now)
        for key in changed:
            self._claims.refresh(key, now)
        if sender is not None and message.echo is not None and fits:
            sender.echoed = max(sender.echoed, message.echo)
        return MessageEffect(fits, advanced, settings)

    def _meet(self, counter: Counter, now: float, *, itself: bool) -> None:
        """Take in the counter of an incarnation, which may be unknown.

        If the limit is reached, no incarnation is met by what others report; one that sends `itself` takes the place
        of one that never sent anything, or is silent.
        """
        if counter.incarnation not in self._peers and len(self._peers) >= PEERS_MAX:
            dispensable = self._peers.dispensable(now) if itself else None
            if dispensable is None:
                return
            self._peers.forget(dispensable)
            self._claims.forget(dispensable)
        self._peers.meet(counter, now)

    def _valid(self, message: Message, now: float) -> list[ConfigSetting]:
        """Return the valid settings of a message, and note the problem with others by the sender's address."""
        valid = []
        for setting in message.settings:
            problem = self._validity.of_setting(setting)
            if problem is None:
                valid.append(setting)
            else:
                # The latest goes to the end, so that the oldest are dropped first.
                self.invalid.pop(message.sender.address, None)
                self.invalid[message.sender.address] = (problem, now)
                if len(self.invalid) > INVALID_REMEMBERED_MAX:
                    del self.invalid[next(iter(self.invalid))]
        return valid

    def forget_invalid(self, before: float) -> None:
        """Forget what was wrong with settings that came before a time."""
        for address in [address for address, (_, at) in self.invalid.items() if at <= before]:
            del self.invalid[address]

    def _note_heads(self, sender: Peer, heads: Mapping[int, Head]) -> None:
        """Remember what a peer has shown to have, but for the ledgers of nodes that are forgotten here."""
        for incarnation, head in heads.items():
            if incarnation == self._identity.incarnation or incarnation in self._peers:
                sender.heads[incarnation] = max(head.version, sender.heads.get(incarnation, 0))

    def _join(self, deltas: Iterable[Delta], now: float) -> tuple[bool, bool, dict[str, None]]:
        """Return whether all deltas fitted, whether any advanced a ledger, and the keys to be refreshed."""
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
                if not self._peers.lately_alive(peer, now):
                    self._claims.copies.give_up_pages(delta, peer, now)
            except Gap:
                fits = False
            advanced = advanced or self._claims.copies.head(delta.incarnation) != before
        return fits, advanced, changed

    def _hear(self, counter: Counter, version: int, now: float) -> None:
        """Believe a larger counter, but only together with the ledger version that it came with."""
        peer = self._peers.get(counter.incarnation)
        if peer is None:
            return
        is_news = counter.beats > peer.beats
        if is_news and version > self._claims.copies.head(counter.incarnation).version:
            return
        horizon_s = self._peers.horizon_s(peer, now) if is_news else 0.0
        if self._peers.hear(counter, now):
            self._claims.heard_again(peer, horizon_s, now)


def _is_paged(answer: Message) -> bool:
    return any(not delta.whole for delta in answer.deltas)
