"""One node, and peers whose messages a test writes by hand."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.ledger import Head
from bender.core.messages import Counter, Message, OutgoingMessage, Sender
from bender.core.peers import Peer
from bender.core.replica import Replica
from bender.core.timing import Timing
from tests.core.cluster import KEY

NOW = 1000.0
OTHER_KEY = KEY.replace("10.0.0.5", "10.0.0.6")


def sender(number: int) -> Sender:
    return Sender(number, f"n{number}", f"n{number}:1730")


class ReplicaCase(SynchronousTestCase):
    """Node 1 of a cluster with rounds of one second, and peers written by hand."""

    def setUp(self) -> None:
        self.replica = Replica(sender(1), Timing(), NOW)

    def begin(self, *seeds: str) -> None:
        """Start with seeds whose addresses are known."""
        self.replica = Replica(sender(1), Timing(), NOW, seeds)
        for seed in seeds:
            self.replica.set_seed_addresses(seed, [seed])

    def meet(self, number: int, at: float = NOW) -> Peer:
        """Let a peer be heard, and answer the requests that this node sends to it."""
        self.say(number, at)
        for request in self.replica.take_requests():
            self.answer(request, number, at)
        return self.peer(number)

    def say(self, number: int, at: float, *, heads: dict[int, Head] | None = None, beats: int | None = None) -> Message:
        beats = int(10 * at) if beats is None else beats
        counter = Counter(number, f"n{number}", f"n{number}:1730", beats, 0.0)
        digest = self.replica.configuration.digest
        return self.replica.receive(at, Message(sender(number), heads or {}, (counter,), digest=digest))

    def answer(self, request: OutgoingMessage, number: int, at: float) -> None:
        """Let a peer answer a request, with an equal configuration."""
        counter = Counter(number, f"n{number}", f"n{number}:1730", int(10 * at), 0.0)
        digest = self.replica.configuration.digest
        told = Message(sender(number), {}, (counter,), echo=request.message.ask, digest=digest)
        self.replica.receive_answer(at, request, told)

    def peer(self, number: int) -> Peer:
        peer = self.replica.peers.get(number)
        assert peer is not None
        return peer

    def sent(self) -> list[str]:
        return [request.address for request in self.replica.take_requests()]
