"""Requests and their answers. Each may be lost, late, doubled, overtaken, cut, refused, or wait in an inbox.

The replica that made a request learns its outcome exactly once: answered, if the answer arrives within the time
limit, else failed. A late request is processed nevertheless; a late answer is dropped. Each delivered message carries
its sender's knowledge (see `knowledge`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from bender.core.ledger import Head
from bender.core.messages import Message, OutgoingMessage
from tests.simulation.knowledge import Life, May

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster, Node


class Exchange:
    """A request on its way, and its answer."""

    __slots__ = ("boot", "life", "may", "must", "node", "over", "request", "sent_at", "settings", "to")

    def __init__(self, node: Node, to: str, request: OutgoingMessage, sent_at: float) -> None:
        """`to` is the name of the node at the request's address; without a node there, it is the address."""
        self.node = node
        self.to = to
        self.boot = node.boot
        self.life = node.life
        self.request = request
        self.sent_at = sent_at
        self.may, self.must = node.life.word(request.message, sent_at)
        self.settings = node.life.settings
        self.over = False


class Answer:
    """An answer on its way back, with the knowledge of its sender."""

    __slots__ = ("away", "ignored", "life", "made_at", "may", "message", "must", "settings")

    def __init__(self, life: Life, message: Message, now: float, *, ignored: bool) -> None:
        """`ignored`: the request had no effect, because it showed that the answering node was surpassed."""
        self.ignored = ignored
        self.life = life
        self.message = message
        self.made_at = now
        self.away = life.away
        self.may, self.must = life.word(message, now)
        self.settings = life.settings


class Network:
    """Carries requests to nodes, by name, and returns their answers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        #: The number of requests that were sent, to compare it with the allowed cost of a change.
        self.sent = 0
        #: What the answering node of a round knew of settings, by the second request that followed the round.
        self._compared: dict[OutgoingMessage, tuple[Life, frozenset[int]]] = {}

    def send(self, node: Node, request: OutgoingMessage) -> None:
        cluster, weather = self._cluster, self._cluster.weather
        target = cluster.behind(request.address)
        exchange = Exchange(node, target.name if target else request.address, request, cluster.now)
        self.sent += 1
        weather.asked(node.name, exchange.to, exchange.sent_at)
        random = cluster.random.random
        if not weather.can_ask(node.name, exchange.to) or (weather.loss and random() < weather.loss):
            self._give_up_later(exchange)
            return
        if weather.doubling and random() < weather.doubling:
            cluster.after(self._transit_s(), self._arrive, exchange)
        cluster.after(self._transit_s(), self._arrive, exchange)

    def _transit_s(self) -> float:
        """Return the seconds that a message is on its way. Other messages overtake slow ones."""
        random, weather = self._cluster.random, self._cluster.weather
        if weather.slow and random.random() < weather.slow:
            drawn_s = random.uniform(0, 0.6 * weather.interval_s)
        elif weather.very_slow and random.random() < weather.very_slow:
            drawn_s = random.uniform(0.6, 3.0) * weather.interval_s
        else:
            drawn_s = 0.0005 + 0.0095 * random.random()
        return weather.transit_s + drawn_s

    def _arrive(self, exchange: Exchange) -> None:
        target = self._cluster.behind(exchange.request.address)
        if target is None or not target.up or target.left:
            if target is None or target.refuses:
                self._fail_at(exchange, self._cluster.now + 0.001)
            else:
                self._give_up_later(exchange)
            return
        if target.paused_at is not None:
            self._give_up_later(exchange)
        if not target.full:
            self._cluster.deliver(target, target.boot, partial(self._process, exchange, target))

    def _process(self, exchange: Exchange, target: Node) -> None:
        """Let the other node process a request and answer it."""
        cluster, weather = self._cluster, self._cluster.weather
        now = cluster.clock(target)
        message = exchange.request.message
        answered = target.replica.receive(now, message)
        answer = Answer(target.life, answered, cluster.now, ignored=target.replica.is_surpassed)
        if target.life is not exchange.life:
            if any(not delta.is_final for delta in message.deltas):
                target.life.paged_at = cluster.now
            self._heard(target, exchange.life, exchange.may, cluster.now - exchange.sent_at, message)
        sender = exchange.node.name
        if not exchange.over:
            transit_s = self._transit_s()
            lost = not weather.passes(target.name, sender) or (weather.loss and cluster.random.random() < weather.loss)
            if lost or cluster.now + transit_s > self._deadline(exchange):
                self._give_up_later(exchange)
            else:
                cluster.after(transit_s, self._return, exchange, answer)
        cluster.drain(target)

    def _return(self, exchange: Exchange, answer: Answer) -> None:
        if exchange.node.paused_at is not None:
            self._give_up_later(exchange)
        self._cluster.deliver(exchange.node, exchange.boot, partial(self._answered, exchange, answer))

    def _answered(self, exchange: Exchange, answer: Answer) -> None:
        node, request = exchange.node, exchange.request
        if exchange.over or node.life is not exchange.life:
            return  # The node does not receive an answer that is too late.
        now = self._cluster.clock(node)
        exchange.over = True
        node.replica.receive_answer(now, request, answer.message)
        self._cluster.weather.answered(node.name, exchange.to, exchange.sent_at, self._cluster.now)
        if answer.life is not node.life:
            if answer.message.partial or any(not delta.is_final for delta in answer.message.deltas):
                node.life.paged_at = self._cluster.now
            self._heard(node, answer.life, answer.may, self._cluster.now - answer.made_at, answer.message)
            doubtful = exchange.life.doubled or answer.life.doubled
            if not (doubtful or answer.ignored or node.replica.is_surpassed):
                self._learned(exchange, answer)
        self._cluster.drain(node)

    # Failures.

    def _deadline(self, exchange: Exchange) -> float:
        """Return the end of a request's time limit, by the clock of its sender."""
        return exchange.sent_at + exchange.request.limit_s / exchange.node.rate

    def _give_up_later(self, exchange: Exchange) -> None:
        self._fail_at(exchange, max(self._deadline(exchange), self._cluster.now))

    def _fail_at(self, exchange: Exchange, at: float) -> None:
        cluster = self._cluster
        cluster.at(at, cluster.deliver, exchange.node, exchange.boot, partial(self._failed, exchange))

    def _failed(self, exchange: Exchange) -> None:
        node = exchange.node
        if exchange.over or node.life is not exchange.life:
            return
        now = self._cluster.clock(node)
        exchange.over = True
        node.replica.note_failure(now, exchange.request)
        self._cluster.weather.unanswered(node.name, exchange.to, exchange.sent_at)
        self._cluster.drain(node)

    # Knowledge.

    def _heard(self, node: Node, sender: Life, may: May, transit_s: float, message: Message) -> None:
        """Note that a message may bring everything that its sender may know."""
        life = node.life
        lives, peers = self._cluster.history.lives, node.replica.peers

        def believes(number: int, beats: int) -> bool:
            peer = peers.get(lives[number].incarnation)
            return peer is not None and peer.beats >= beats

        incarnations = {counter.incarnation for counter in message.counters}
        counted = {number for number in may if lives[number].incarnation in incarnations}
        life.hear(may, transit_s, believes, self._cluster.now, counted)
        if message.echo is not None:
            asked_at = node.true_time(message.echo)
            life.echoed[sender.number] = max(asked_at, life.echoed.get(sender.number, asked_at))

    def _learned(self, exchange: Exchange, answer: Answer) -> None:
        """Note that an answered round brings everything that the answering node had, for certain.

        If no second request has to follow, the answering node has everything that the asking node had. The same holds
        for settings, except that settings which differ are in the second request and its answer.
        """
        life, other = exchange.life, answer.life
        message = exchange.request.message
        if exchange.request.push:
            return
        if message.heads is None:
            if message.buckets:
                # Nothing was noted if another process used the incarnation of one of the two at that time.
                compared, settings = self._compared.pop(exchange.request, (None, frozenset()))
                # Pages have only a part, of which the node need not know anything.
                whole = exchange.request.comparison_ask is not None and not (message.known or answer.message.partial)
                if compared is other and whole:  # The incarnation itself answered, and not another one in its place.
                    _share_settings(life, other, exchange.settings | settings)
            return
        here = {
            number: exchange.node.replica.claims.copies.head(number).version for number in answer.message.heads or {}
        }
        if _has_all(here, answer.message.heads):
            life.learn(answer.must, self._cluster.now)
        requests = exchange.node.replica.gossip.requests
        to = exchange.request.address
        follows = [each for each in requests if each.address == to and each.message.heads is None]
        there = {number: head.version for number, head in (answer.message.heads or {}).items()}
        # A node that is away does not believe what may have waited for it.
        if not answer.away and _has_all(there, message.heads):
            other.learn(exchange.must, self._cluster.now)
        if not answer.message.bucket_digests:
            _share_settings(life, other, exchange.settings | answer.settings)
        for request in follows:
            if request.message.buckets:
                self._compared[request] = (other, answer.settings)


def _has_all(versions: Mapping[int, int], heads: Mapping[int, Head] | None) -> bool:
    """Return True if ledgers at these versions contain everything of other copies, whose heads are known."""
    return heads is not None and all(versions.get(number, 0) >= head.version for number, head in heads.items())


def _share_settings(one: Life, other: Life, settings: frozenset[int]) -> None:
    if not settings <= one.settings:
        one.settings |= settings
    if not settings <= other.settings:
        other.settings |= settings
