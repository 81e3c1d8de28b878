"""The claims that a node holds of several keys, with the time left."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.claim_leases import ClaimLease, claim_leases
from bender.core.messages import Sender
from bender.core.replica import Replica
from bender.core.timing import Timing
from tests.core.cluster import BODY, KEY, TTL_S, Cluster, update

OTHER = "registration/web/1.0/10.0.0.6/80"


class OfACluster(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster("abc")

    def leases(self, name: str, *keys: str) -> list[ClaimLease | None]:
        return claim_leases(keys or (KEY,), self.cluster[name].claims, self.cluster.now)

    def test_each_node_knows_of_its_own(self) -> None:
        """If an instance renewed at two nodes, each has a claim with its own time."""
        self.cluster.register("a")
        self.cluster.run(4)
        self.cluster.renew("b")
        self.assertEqual(self.leases("a"), [ClaimLease(10.0, 6.0, speaks=True)])
        self.assertEqual(self.leases("b"), [ClaimLease(10.0, 10.0, speaks=True)])
        self.assertEqual(self.leases("c"), [None])

    def test_in_the_order_of_the_keys(self) -> None:
        """A key without a claim has None at its place."""
        self.cluster.register("a")
        held = ClaimLease(10.0, 10.0, speaks=True)
        self.assertEqual(self.leases("a", OTHER, KEY, "nothing", KEY), [None, held, None, held])

    def test_a_claim_that_is_due(self) -> None:
        """A claim that is due has no time left while peers are asked."""
        self.cluster.register("a")
        self.cluster.run(7)
        self.cluster.cut = {"b"}
        self.cluster.run(4)
        self.assertEqual(self.leases("a"), [ClaimLease(10.0, 0.0, speaks=True)])

    def test_what_was_deregistered(self) -> None:
        """The node that was asked to deregister has no claim; a node that has not received this yet has one."""
        self.cluster.register("a")
        self.cluster.cut = {"a"}
        self.cluster.deregister("b")
        self.assertEqual((self.leases("b"), len(self.leases("a"))), ([None], 1))

    def test_a_claim_of_earlier_terms(self) -> None:
        """A claim of earlier terms does not speak, because another claim is listed."""
        self.cluster.register("a")
        self.cluster.replicas["b"].register(self.cluster.now, KEY, update(b"{}", 20.0))
        before = self.cluster["a"].claims
        self.assertEqual(self.leases("b"), [ClaimLease(20.0, 20.0, speaks=True)])
        # The newer claim has not arrived yet; later it has, but the key was not evaluated again.
        self.assertEqual(self.leases("a"), [ClaimLease(10.0, 10.0, speaks=True)])
        (newer,) = (entry for entry in self.cluster["b"].claims.index.entries(KEY) if entry.node == 2)
        lease = before.index.lease(KEY)
        assert lease is not None
        before.index.add(newer)
        lease.is_current = False
        self.assertEqual(self.leases("a"), [ClaimLease(10.0, 10.0, speaks=False)])


class ByHand(SynchronousTestCase):
    def test_to_the_millisecond(self) -> None:
        """Times are rounded to the millisecond."""
        replica = Replica(Sender(1, "a", "a"), Timing(), 1000.0)
        replica.register(1000.0, KEY, update(BODY, TTL_S))
        self.assertEqual(claim_leases([KEY], replica.claims, 1000.12344), [ClaimLease(10.0, 9.877, speaks=True)])
