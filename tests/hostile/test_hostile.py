"""A small storm: `python -m tests.hostile` sends a hundred times as many messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.messages import Counter, Message, Sender
from bender.core.timing import Timing
from bender.exchange.wire import Wire
from tests.effort import effort
from tests.hostile.cluster import Cluster
from tests.hostile.storm import Plan, Storm


class Storms(SynchronousTestCase):
    def test_a_small_one(self) -> None:
        """Nodes answer, watchers go on, honest nodes agree, and no memory is kept."""
        messages = effort(100, 2000)
        storm = Storm(Plan(messages, 1, shapes=15, instances=10, interval_s=5.0, ttl_max_s=20.0, crowd=0))
        figures = storm.run()
        self.assertEqual(dict(storm.faults.counts), {}, storm.faults.details)
        self.assertGreaterEqual(figures.messages, messages)
        self.assertGreater(storm.api.request_count, messages / 2)
        self.assertGreater(min(watcher.count for watcher in storm.watchers), 10)


class Checks(SynchronousTestCase):
    """The checks of the storm find faults."""

    def setUp(self) -> None:
        self.cluster = Cluster(Timing())
        self.addCleanup(self.cluster.close)
        self.node = self.cluster.nodes[0]

    def test_what_peers_refuse(self) -> None:
        """A message of an honest node that others would refuse is found."""
        counters = (Counter(9, "n9", "10.0.0.9:1730", 1, 0.0, ttl_max_s=3601.0),)
        self.cluster.network.check(Wire("bender", 1.0).encode(Message(Sender(1, "n1", "a:1"), counters=counters)), "it")
        (fault,) = self.cluster.faults.counts
        self.assertIn("an honest node sends what others refuse", fault)

    def test_what_is_raised(self) -> None:
        """A message that makes a node fail is found."""
        self.node.node.replica.gossip = None  # type: ignore[assignment]
        status = self.node.take(Wire("bender", 1.0).encode(Message(Sender(1, "n1", "a:1"))), "10.0.0.9")
        self.assertEqual((status, len(self.cluster.faults.counts)), (500, 1))
