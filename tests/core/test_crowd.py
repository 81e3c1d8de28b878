"""Many peers, and addresses without a node: large clusters, and peers that do not exist."""

from __future__ import annotations

from random import Random

from attrs import evolve

from bender.core.gossip_targets import UNREACHED_MAX, partners
from bender.core.ledger import Head
from bender.core.messages import Counter, Message, OutgoingMessage
from bender.core.peers import PEERS_MAX
from tests.core.cluster import KEY, Cluster
from tests.core.gossip_case import NOW, RoundsCase, counter, ledger, sender


class Full(RoundsCase):
    """The largest number of peers: 2,000."""

    def setUp(self) -> None:
        super().setUp()
        self.two = self.meet(2)
        self.take(2)
        others = tuple(counter(number, 5, 1.0 + number / 1e6) for number in range(3, PEERS_MAX + 2))
        self.receive(Message(sender(2), {}, others))
        self.assertEqual((len(self.peers), PEERS_MAX), (2000, 2000))

    def take(self, number: int, *counters: Counter, at: float = NOW) -> None:
        self.receive(Message(sender(number), None, (counter(number, 6), *counters)), at)

    def test_of_others(self) -> None:
        """No further peer is added because of a counter, but counters of known peers are accepted."""
        self.take(2, counter(5000, 5), counter(3, 9))
        three = self.peers.get(3)
        self.assertEqual((5000 in self.peers, len(self.peers), three and three.beats), (False, PEERS_MAX, 9))

    def test_one_that_speaks(self) -> None:
        """A node that sends a message replaces the peer without messages that was heard least recently."""
        self.take(5000)
        self.assertEqual((5000 in self.peers, len(self.peers)), (True, PEERS_MAX))
        self.assertNotIn(PEERS_MAX + 1, self.peers)
        self.take(5001, counter(5002, 5))
        self.assertEqual([number in self.peers for number in (5000, 5001, 5002, PEERS_MAX)], [True, True, False, False])

    def test_its_ledger(self) -> None:
        """The ledger of a replaced peer is removed with its registrations."""
        last = PEERS_MAX + 1
        self.receive(Message(sender(2), {}, (counter(last, 5),), (ledger(last, KEY).delta(Head()),)))
        self.assertIsNotNone(self.claims.listed_claim(KEY))
        self.take(5000)
        self.claims.settle(NOW)
        self.assertIsNone(self.claims.listed_claim(KEY))
        self.assertEqual(self.claims.copies.head(last), Head())

    def test_all_have_spoken(self) -> None:
        """A peer that has sent a message is replaced only if it is silent."""
        for number in range(3, PEERS_MAX + 2):
            self.take(number)
        self.take(5000)
        self.assertNotIn(5000, self.peers)
        for number in range(3, PEERS_MAX + 2):
            self.receive(Message(sender(number), None, (counter(number, 7),)), NOW + 6.0)
        self.take(5000, at=NOW + 6.0)
        self.assertEqual((5000 in self.peers, 2 in self.peers), (True, False))


class Strangers(RoundsCase):
    """Nodes that send a message are asked at once, because their address is unknown, but they may not exist."""

    def spoke(self, numbers: range) -> list[str]:
        for number in numbers:
            self.receive(Message(sender(number), {}, (counter(number, 6),)))
        return self.sent()

    def test_asked(self) -> None:
        """Twenty of these nodes are asked until the next heartbeat, and others after it."""
        self.assertEqual(self.spoke(range(2, 50)), [f"n{number}:1730" for number in range(2, 2 + UNREACHED_MAX)])
        self.assertEqual(self.spoke(range(50, 60)), [])
        self.gossip.beat(NOW)
        self.assertEqual(len(self.spoke(range(60, 90))), 20)

    def test_reached(self) -> None:
        """A node that has answered before is asked, however many others have sent messages."""
        self.spoke(range(2, 50))
        self.links.note_answer("n99:1730", 99)
        self.assertEqual(self.spoke(range(99, 100)), ["n99:1730"])


class Large(RoundsCase):
    """A cluster whose nodes have one seed."""

    def test_gets_to_know_itself(self) -> None:
        """Fifty nodes know each other after three rounds, and most have reached each other after eight.

        Each node tries only a limited number of unreached ones in a round.
        """
        cluster = Acquainting([f"n{i}" for i in range(50)])
        ways = [cluster.round_with_partners() for _ in range(8)]
        self.assertEqual({len(replica.peers) for replica in cluster.replicas.values()}, {49})
        self.assertGreater(ways[-1], 0.95 * 50 * 49, ways)

    def test_a_start(self) -> None:
        """A node that starts in a cluster of fifty has reached all within an interval, as its readiness requires."""
        cluster = Acquainting([f"n{i}" for i in range(50)])
        for _ in range(4):
            cluster.round_with_partners()
        replica = cluster.start("z", 1000, ["n0"])
        began_at = cluster.now
        replica.start_round(cluster.now)
        cluster.settle()
        while not replica.is_ready:
            cluster.now += 0.05
            replica.sweep(cluster.now)
            cluster.settle()
            self.assertLess(cluster.now, began_at + 1.0)
        self.assertEqual(sum(replica.links.has_reached(name) for name in cluster.replicas), 50)

    def test_addresses_of_a_moment(self) -> None:
        """A peer that sends each message from another address leaves a limited number of links."""
        cluster = Cluster("ab")
        a, b = cluster["a"], cluster["b"]
        for i in range(300):
            cluster.now += 1.0
            for j in range(20):
                a.receive(cluster.now, Message(evolve(b.identity, address=f"y{i}.{j}")))
            a.start_round(cluster.now)
            a.sweep(cluster.now)
            for request in a.take_requests():
                a.note_failure(cluster.now, request)
        self.assertLess(len([*a.links]), 4100)
        self.assertIn("b", [link.address for link in a.links])

    def test_made_up(self) -> None:
        """Counters of a thousand nodes that do not exist cost twenty requests in a round."""
        cluster = Cluster("ab")
        made_up = tuple(Counter(100 + i, f"x{i}", f"x{i}:1730", 1, 0.0) for i in range(1000))
        b = cluster["b"]
        cluster["a"].receive(cluster.now, evolve(b.gossip._greeting(cluster.now), counters=made_up))
        cluster.settle()
        cluster.sent.clear()
        for _ in range(3):
            cluster.now += 1.0
            cluster["a"].start_round(cluster.now)
            cluster.settle()
        asked = [request.address for request in cluster.sent if request.address.startswith("x")]
        self.assertEqual((len(asked), len({*asked})), (60, 60))
        self.assertEqual(sum(request.address == "b" for request in cluster.sent), 3)


class Acquainting(Cluster):
    """Nodes that begin rounds with some of the nodes that they know, as real ones do."""

    def __init__(self, names: list[str]) -> None:
        self.chance = Random(1).random
        super().__init__("")
        for i, name in enumerate(names):
            self.start(name, i + 1, names[:1])

    def round_with_partners(self) -> int:
        """Let all begin a round, and return the number of pairs in which the first node has reached the second."""
        self.now += 1.0
        for replica in self.replicas.values():
            replica.start_round(self.now, partners(replica.addresses(), self.chance))
        self.settle()
        others = ((a.links, b) for a in self.replicas.values() for b in self.replicas if b != a.identity.name)
        return sum(links.has_reached(address) for links, address in others)

    def carry(self, name: str, request: OutgoingMessage) -> None:
        if request.address in self.replicas:
            super().carry(name, request)
