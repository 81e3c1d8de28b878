"""Conversations of one node with peers whose messages a test writes by hand."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.claims import Claims
from bender.core.gossip import Gossip
from bender.core.gossip_targets import Links
from bender.core.last_writer_wins import Configuration
from bender.core.ledger import Claim, Ledger
from bender.core.messages import ConfigSetting, Counter, Message, OutgoingMessage, Sender
from bender.core.peers import Peer, Peers
from bender.core.timing import Timing
from bender.core.view import View
from tests.core.cluster import BODY, TTL_S, update

NOW = 1000.0
INTERVAL_S = 2.0


def sender(number: int) -> Sender:
    return Sender(number, f"n{number}", f"n{number}:1730", 1700 + number)


def setting(key: str = "backend/web", rev: int = 1) -> ConfigSetting:
    return ConfigSetting(key, rev, 9, 0, "ops", b"{}")


def counter(number: int, beats: int, age_s: float = 0.0) -> Counter:
    return Counter(number, f"n{number}", f"n{number}:1730", beats, age_s, api_port=1700 + number)


def ledger(number: int, *keys: str) -> Ledger:
    made = Ledger(number)
    for key in keys:
        made.add(Claim(number, made.next_n, key, BODY, TTL_S, 1, number, made.next_n))
    return made


class RoundsCase(SynchronousTestCase):
    """Node 1, which gets messages that the test writes."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, page_entries_max: int = 1000) -> None:
        timing = Timing(INTERVAL_S, 20.0)
        self.peers = Peers("n1:1730", timing)
        self.claims = Claims(1, timing, self.peers, View(), NOW)
        self.configuration = Configuration(1000)
        self.links = Links(1, "n1:1730", {})
        parts = (self.peers, self.claims, self.configuration, self.links)
        self.gossip = Gossip(sender(1), *parts, INTERVAL_S, NOW, page_entries_max)

    def meet(self, number: int, beats: int = 5, age_s: float = 0.0) -> Peer:
        """Add a peer that was heard, and has answered at its address."""
        self.peers.meet(counter(number, beats, age_s), NOW)
        self.peers.hear(counter(number, beats, age_s), NOW)
        self.links.note_answer(f"n{number}:1730", number)
        peer = self.peers.get(number)
        assert peer is not None
        return peer

    def register(self, *keys: str) -> None:
        for key in keys:
            self.claims.register(key, update(BODY, TTL_S), NOW)

    def tell(self, told: Ledger) -> None:
        self.claims.join(told.delta(self.claims.copies.head(told.incarnation)))

    def receive(
        self, message: Message, at: float = NOW, *, ask: bool = False, waited_s: float = 0.0
    ) -> tuple[Message, tuple[str, ...]]:
        received = self.gossip.apply_request(message, at, waited_s=waited_s)
        return self.gossip.answer(received, at, ask=ask), received.new_setting_keys

    def asked(self, number: int = 2) -> OutgoingMessage:
        """Begin a round with a peer, and return the request."""
        self.gossip.ask([f"n{number}:1730"], NOW)
        (request,) = self.gossip.take_requests()
        return request

    def sent(self) -> list[str]:
        return [request.address for request in self.gossip.take_requests()]
