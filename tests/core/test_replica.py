"""The rules of a node, one at a time, with peers that answer at once."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from bender.core.ledger import Claim, Delta, End, Head
from bender.core.messages import Counter, Message, Sender
from bender.core.replica import Full, Replica
from bender.core.timing import Timing
from tests.core.cluster import BODY, KEY, TTL_S, Cluster, update
from tests.effort import effort


class RegisteringTests(SynchronousTestCase):
    """Rule 1: an instance may register and renew anywhere."""

    def setUp(self) -> None:
        self.cluster = Cluster("abc")

    def test_everywhere_at_once(self) -> None:
        """A registration at one node is online at all nodes, with its body and reason."""
        self.assertTrue(self.cluster.register("a"))
        for name in "abc":
            self.assertEqual(self.cluster.happened(name), [("online", "registered")])
            claim = self.cluster[name].view.claim(KEY)
            self.assertEqual(claim and claim.body, BODY)

    def test_again(self) -> None:
        """A registration with the same terms at the same node is a renewal, and sends nothing."""
        self.cluster.register("a")
        del self.cluster.sent[:]
        self.assertFalse(self.cluster.register("a"))
        self.assertEqual(self.cluster.sent, [])

    def test_renewal_here(self) -> None:
        """A renewal at a node with a claim moves the deadline, and changes and sends nothing."""
        self.cluster.register("a")
        version = self.cluster["a"].claims.ledger.version
        del self.cluster.sent[:]
        self.cluster.now += 0.5
        self.assertTrue(self.cluster.renew("a"))
        self.assertEqual((self.cluster.sent, self.cluster["a"].claims.ledger.version), ([], version))

    def test_renewal_elsewhere(self) -> None:
        """A renewal at another node adds a claim of the same root there, once."""
        self.cluster.register("a")
        self.assertTrue(self.cluster.renew("b"))
        self.assertTrue(self.cluster.renew("b"))
        roots = [(entry.node, entry.root) for entry in self.cluster["c"].claims.index.entries(KEY)]  # type: ignore[union-attr]
        self.assertEqual(roots, [(1, (1, 1)), (2, (1, 1))])
        self.assertEqual(self.cluster.happened("c"), [("online", "registered")])

    def test_renewal_of_nothing(self) -> None:
        """An unregistered id cannot be renewed."""
        self.assertFalse(self.cluster.renew("a"))
        self.assertEqual(self.cluster["a"].renew_all(self.cluster.now, [KEY]), [KEY])

    def test_changed_body(self) -> None:
        """Another body is announced at all nodes, and claims of other nodes follow it."""
        self.cluster.register("a")
        self.cluster.renew("b")
        self.assertFalse(self.cluster.register("c", body=b"new"))
        for name in "abc":
            self.assertEqual(self.cluster.happened(name), [("online", "registered"), ("changed", "registered")])
        bodies = [entry.body for entry in self.cluster["a"].claims.index.entries(KEY)]  # type: ignore[union-attr]
        self.assertEqual(bodies, [b"new"] * 3)

    def test_follower_keeps_its_own_renewal(self) -> None:
        """A claim that follows keeps its own deadline."""
        self.cluster.register("a")
        self.cluster.run(5.0)
        self.cluster.register("b", body=b"new")
        lease = self.cluster["a"].claims.index.lease(KEY)
        assert lease is not None
        self.assertEqual(lease.deadline, 1000.0 + TTL_S)

    def test_changed_ttl(self) -> None:
        """Claims of other nodes follow another ttl, too."""
        self.cluster.register("a")
        self.cluster.register("b", ttl_s=30.0)
        self.cluster.run(25.0)
        self.assertEqual(self.cluster.listed(), "abc")


class LapsingTests(SynchronousTestCase):
    """Rule 3: a claim lapses if its instance does not renew."""

    def setUp(self) -> None:
        self.cluster = Cluster("abc")
        self.cluster.register("a")

    def test_not_before(self) -> None:
        """A registration is listed at all nodes within its ttl."""
        self.cluster.run(TTL_S - 0.1)
        self.assertEqual(self.cluster.listed(), "abc")

    def test_soon_after(self) -> None:
        """A registration has expired at all nodes an interval after its ttl."""
        self.cluster.run(TTL_S + 1.0)
        self.assertEqual(self.cluster.listed(), "")
        for name in "abc":
            self.assertEqual(self.cluster.happened(name), [("online", "registered"), ("offline", "expired")])

    def test_renewed_anywhere(self) -> None:
        """A registration that renews at another node each time stays online, without any events."""
        for i in range(12):
            self.cluster.run(TTL_S * 0.9)
            self.assertTrue(self.cluster.renew("abc"[i % 3]))
        self.assertEqual([self.cluster.happened(name) for name in "abc"], [[("online", "registered")]] * 3)

    def test_waits_for_an_answer(self) -> None:
        """A claim waits for a peer that does not answer, for five intervals at most."""
        self.cluster.run(TTL_S - 2.0)
        self.cluster.cut = {"c"}
        self.cluster.run(2.0 + 4.25)
        self.assertEqual(self.cluster.listed(), "abc")
        self.cluster.run(1.0)
        self.assertNotIn("a", self.cluster.listed())

    def test_leaves_nothing(self) -> None:
        """An expired registration leaves no entries and leases behind."""
        self.cluster.run(3 * TTL_S)
        for replica in self.cluster.replicas.values():
            self.assertEqual((len(replica.claims.index), len(replica.claims.leases)), (0, 0))


class DeregisteringTests(SynchronousTestCase):
    """Rule 4: a deregistered registration does not come back."""

    def setUp(self) -> None:
        self.cluster = Cluster("abc")
        self.cluster.register("a")

    def test_everywhere_at_once(self) -> None:
        """A deregistration at any node is announced at all nodes."""
        self.assertTrue(self.cluster.deregister("b"))
        for name in "abc":
            self.assertEqual(self.cluster.happened(name)[1:], [("offline", "deregistered")])

    def test_nothing_to_deregister(self) -> None:
        """An unregistered id cannot be deregistered."""
        self.cluster.deregister("b")
        self.assertFalse(self.cluster.deregister("a"))

    def test_who_was_away(self) -> None:
        """A node that was cut off does not bring back a registration that was deregistered meanwhile."""
        self.cluster.cut = {"a"}
        self.cluster.run(1.0)
        self.cluster.deregister("b")
        self.cluster.cut = set()
        self.cluster.run(2.0)
        self.assertEqual(self.cluster.listed(), "")
        self.assertEqual(self.cluster.happened("a")[1:], [("offline", "deregistered")])

    def test_again(self) -> None:
        """An instance may register again, and the earlier end does not end it."""
        self.cluster.deregister("b")
        self.assertTrue(self.cluster.register("c"))
        self.cluster.run(5.0)
        self.assertEqual(self.cluster.listed(), "abc")

    def test_renewed_as_it_was(self) -> None:
        """An ended claim cannot be renewed, though it stays until all peers have the end."""
        self.cluster.cut = {"c"}
        self.cluster.deregister("b")
        a = self.cluster["a"]
        self.assertIsNotNone(a.claims.index.lease(KEY))
        self.assertFalse(a.renew_as_is(self.cluster.now, KEY, BODY))

    def test_leaves_nothing(self) -> None:
        """An end is removed when its time is over."""
        self.cluster.deregister("b")
        self.cluster.run(TTL_S + 8 + 2)
        for replica in self.cluster.replicas.values():
            self.assertEqual((len(replica.claims.index), len(replica.claims.leases)), (0, 0))

    def test_outlives_what_it_ends(self) -> None:
        """An end stays for a while after the last claim that it ends, even if its time is over."""
        timing, cluster = self.cluster.timing, self.cluster
        cluster.register("a")
        cluster.renew("b")
        cluster.cut = {"b"}
        cluster.deregister("a")
        ended_at = cluster.now
        kept_s = TTL_S + timing.end_kept_s
        while cluster.now < ended_at + kept_s - 2 * timing.interval_s:
            cluster["b"].renew(cluster.now, KEY)
            cluster.run(timing.interval_s)
        cluster.cut = set()
        cluster.run(timing.interval_s)
        self.assertEqual([type(entry) for entry in cluster["a"].claims.index.entries(KEY)], [End])
        cluster.run(timing.patience_s)
        self.assertEqual(len(cluster["a"].claims.index.entries(KEY)), 1)
        cluster.run(kept_s)
        self.assertEqual(len(cluster["a"].claims.index.entries(KEY)), 0)


class ConfigurationTests(SynchronousTestCase):
    """Settings reach all nodes."""

    def setUp(self) -> None:
        self.cluster = Cluster("ab")

    def configure(self, name: str, body: bytes | None) -> None:
        self.cluster[name].configure(self.cluster.now, "backend/web", body, "ops", 0)

    def test_pushed(self) -> None:
        """A setting is announced at all nodes at once."""
        self.configure("a", b"1")
        self.cluster.settle()
        for name in "ab":
            self.assertEqual(self.cluster.happened(name, "backend/web"), [("created", "configured")])

    def test_one_winner(self) -> None:
        """Of two simultaneous settings the same one is current at all nodes, and the other is in the history."""
        self.configure("a", b"1")
        self.configure("b", b"2")
        self.cluster.settle()
        for name in "ab":
            self.assertEqual([each.body for each in self.cluster[name].history("backend/web")], [b"2", b"1"])
            setting = self.cluster[name].setting("backend/web")
            self.assertEqual(setting and setting.body, b"2")

    def test_repaired(self) -> None:
        """Settings and removals that were not pushed are sent in the next round."""
        self.cluster.cut = {"b"}
        self.configure("a", b"1")
        self.cluster.settle()
        self.configure("a", None)
        self.cluster.settle()
        self.cluster.cut = set()
        self.cluster.rounds()
        self.assertEqual(self.cluster["b"].digest(), self.cluster["a"].digest())
        self.assertIsNone(self.cluster["b"].setting("backend/web"))

    def test_full(self) -> None:
        """At the limit a new key is refused, and known keys can be set."""
        single = Replica(Sender(1, "x", "x"), Timing(), 0.0, keys_max=1)
        single.configure(0.0, "backend/web", b"1", "ops", 0)
        self.assertRaises(Full, single.configure, 0.0, "backend/other", b"{}", "ops", 0)
        single.configure(0.0, "backend/web", b"2", "ops", 0)
        self.assertEqual(len(single.configuration), 1)


class RoundTests(SynchronousTestCase):
    """The addresses of rounds, and the messages that are sent."""

    def test_itself(self) -> None:
        """A seed that is the node itself gets no further rounds."""
        cluster = Cluster("ab")
        self.assertEqual(cluster["a"].addresses(), ["b"])

    def test_idle(self) -> None:
        """Without changes, only one request per peer and round is sent, whatever is renewed."""
        cluster = Cluster("abc")
        for i in range(50):
            cluster.register("a", f"registration/web/1.0/h{i}/80")
        del cluster.sent[:]
        for i in range(50):
            cluster.renew("a", f"registration/web/1.0/h{i}/80")
        cluster.rounds()
        self.assertEqual(len(cluster.sent), 6)
        self.assertEqual([request.message.deltas for request in cluster.sent], [()] * 6)

    def test_learned_from_others(self) -> None:
        """A node that knows one peer finds all others."""
        cluster = Cluster("ab")
        cluster.start("c", 3, "a")
        cluster.run(2.5)
        self.assertEqual(sorted(cluster["c"].addresses()), ["a", "b"])
        self.assertEqual(sorted(cluster["b"].addresses()), ["a", "c"])

    def test_restarted(self) -> None:
        """A node that is restarted at its address gets one round from each peer, and not two."""
        cluster = Cluster("ab")
        cluster.start("b", 9, "ab")
        cluster.rounds()
        del cluster.sent[:]
        cluster["a"].start_round(cluster.now)
        self.assertEqual([request.address for request in cluster["a"].take_requests()], ["b"])

    def test_one_push_at_a_time(self) -> None:
        """Changes wait while a push is open, and are then sent together."""
        cluster = Cluster("ab")
        for i in range(3):
            cluster["a"].register(cluster.now, f"registration/web/1.0/h{i}/80", update(BODY, TTL_S))
        cluster.settle()
        pushes = [len(request.message.deltas[0].added) for request in cluster.sent if request.push]
        self.assertEqual(pushes, [1, 2])

    def test_lost_push(self) -> None:
        """Entries of a lost push are sent in the next round."""
        cluster = Cluster("ab")
        cluster.cut = {"b"}
        cluster.register("a")
        self.assertEqual(cluster.listed(), "a")
        cluster.cut = set()
        cluster.rounds()
        self.assertEqual(cluster.listed(), "ab")

    def test_buried(self) -> None:
        """At most four rounds to a peer are open at a time."""
        cluster = Cluster("ab")
        for _ in range(10):
            cluster["a"].start_round(cluster.now)
        self.assertEqual(len(cluster["a"].take_requests()), 4)


class Life(RuleBasedStateMachine):
    """One node is compared with a model of its list."""

    keys = st.sampled_from([f"registration/web/1/h{i}/80" for i in range(3)])

    def __init__(self) -> None:
        super().__init__()
        self.now = 50.0
        self.replica = Replica(Sender(1, "a", "a"), Timing(), self.now)
        self.deadlines: dict[str, float] = {}
        self.bodies: dict[str, bytes] = {}
        self.online: dict[str, bool] = {}

    @rule(key=keys, body=st.sampled_from([b"1", b"2"]), ttl_s=st.sampled_from([4.0, 10.0]))
    def register(self, key: str, body: bytes, ttl_s: float) -> None:
        created = key not in self.bodies
        assert self.replica.register(self.now, key, update(body, ttl_s)) == (created, body)
        self.deadlines[key] = self.now + ttl_s
        self.bodies[key] = body
        self.ttl_s = {**getattr(self, "ttl_s", {}), key: ttl_s}

    @rule(key=keys)
    def renew(self, key: str) -> None:
        assert self.replica.renew(self.now, key) == self.bodies.get(key)
        if key in self.bodies:
            self.deadlines[key] = self.now + self.ttl_s[key]

    @rule(key=keys)
    def deregister(self, key: str) -> None:
        assert self.replica.deregister(self.now, key) == (key in self.bodies)
        self.bodies.pop(key, None)

    @rule(sweeps=st.integers(1, 60))
    def pass_time(self, sweeps: int) -> None:
        # A registration just after its deadline may be listed or not, so time passes until it may not.
        while sweeps > 0 or self.settling():
            sweeps -= 1
            self.now += 0.25
            self.replica.sweep(self.now)
        for key in [key for key in self.bodies if self.deadlines[key] + 0.5 <= self.now]:
            del self.bodies[key]

    @rule(gap_s=st.floats(2.0, 3.5))
    def be_away(self, gap_s: float) -> None:
        """Pass a gap shorter than any ttl, which moves all deadlines."""
        self.now += gap_s
        for key in self.bodies:
            self.deadlines[key] += gap_s
        self.replica.check_ready(self.now)

    @invariant()
    def lists_what_lives(self) -> None:
        listed = {key: claim.body for group in self.replica.view.groups() for key, claim in group.items()}
        assert listed == self.bodies
        assert self.replica.view.count == len(listed)

    @invariant()
    def events_alternate(self) -> None:
        for event in self.replica.take_events():
            assert self.online.get(event.key, False) == (event.change != "online")
            self.online[event.key] = event.change != "offline"

    def settling(self) -> bool:
        return any(self.deadlines[key] <= self.now < self.deadlines[key] + 0.5 for key in self.bodies)

    def teardown(self) -> None:
        for _ in range(200):
            self.now += 0.25
            self.replica.sweep(self.now)
        assert len(self.replica.claims.index) == len(self.replica.claims.leases) == self.replica.view.count == 0


class StrangersTests(SynchronousTestCase):
    """An unknown peer sends messages to a node."""

    def test_anew_among_crowds(self) -> None:
        """The next incarnation waits for nodes that have answered, and not for counters of a peer."""
        cluster = Cluster("ab", seeds=False)
        replica = cluster["a"]
        cluster["b"].set_seed_addresses("a", ["a"])
        cluster.rounds()
        cluster.rounds()
        crowd = tuple(Counter(100 + number, "x", f"x{number}", 1, 0.0) for number in range(50))
        replica.receive(cluster.now, Message(Sender(99, "x", "x"), counters=crowd))
        cluster.settle()
        replica.continue_as(7, cluster.now)
        self.assertEqual(replica.links.expected_addresses, ("b",))


class UnknownTests(SynchronousTestCase):
    """An unknown peer sends messages to a node."""

    def setUp(self) -> None:
        self.cluster = Cluster("ab")
        self.replica = self.cluster["a"]

    def test_from_ever_new_addresses(self) -> None:
        """The addresses of a sender without a counter are forgotten in the next round."""
        for number in range(5):
            self.replica.receive(self.cluster.now, Message(Sender(9, "x", f"x{number}")))
        self.assertEqual(len([*self.replica.links]), 2 + 5)
        self.cluster.settle()
        self.cluster.rounds()
        self.assertEqual([link.address for link in self.replica.links], ["a", "b"])

    def test_a_ledger_without_a_heartbeat(self) -> None:
        """A ledger whose node was not heard is not passed on, so the digests of two nodes stay equal."""
        added = (Claim(9, 1, KEY, BODY, TTL_S, 1, 9, 1),)
        counters, heads = (Counter(9, "x", "x", 1, 0.0),), {9: Head(2, 2)}
        told = Message(Sender(9, "x", "x"), heads, counters, (Delta(9, 0, 0, 1, 1, added),))
        self.replica.receive(self.cluster.now, told)
        self.assertEqual(self.replica.claims.copies.head(9).version, 1)
        self.cluster.rounds()
        self.assertEqual(self.cluster["b"].claims.copies.head(9).version, 0)
        self.assertEqual(self.replica.digest(), self.cluster["b"].digest())


class LifeTests(SynchronousTestCase):
    """One node keeps its promises whatever its clients do."""

    def test_any_life(self) -> None:
        """The node lists each registration until it is deregistered or expires."""
        run_state_machine_as_test(
            Life, settings=settings(max_examples=effort(60, 150), stateful_step_count=40, deadline=None)
        )
