"""The rules of a node, one at a time, while others fail, pause, or restart."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.messages import Message, Sender
from bender.core.replica import NotReady
from tests.core.cluster import BODY, KEY, TTL_S, Cluster, update


class LossTests(SynchronousTestCase):
    """Rules 5, 7 and 8: nodes that fall silent, leave, and are forgotten."""

    def setUp(self) -> None:
        self.cluster = Cluster("abc")
        self.cluster.register("a")
        self.cluster.run(1.0)

    def test_hidden(self) -> None:
        """A registration that only a lost node holds is hidden a ttl and three intervals after that was last heard."""
        self.cluster.cut = {"a"}
        self.cluster.run(TTL_S + 2.5)
        self.assertEqual(self.cluster.listed()[-2:], "bc")
        self.cluster.run(1.5)
        self.assertEqual(self.cluster.happened("b")[1:], [("offline", "node-lost")])

    def test_restored(self) -> None:
        """The registration is restored with its node, if it was renewed there."""
        self.cluster.cut = {"a"}
        for _ in range(4):
            self.cluster.run(4.0)
            self.cluster["a"].renew(self.cluster.now, KEY)
        self.cluster.cut = set()
        self.cluster.run(1.0)
        self.assertEqual(self.cluster.happened("b")[1:], [("offline", "node-lost"), ("online", "restored")])
        self.assertEqual(self.cluster.happened("a"), [("online", "registered")])

    def test_survives_elsewhere(self) -> None:
        """A registration that renews at another node stays online."""
        self.cluster.cut = {"a"}
        for _ in range(8):
            self.cluster.run(4.0)
            self.cluster.renew("b")
        self.assertEqual(self.cluster.happened("c"), [("online", "registered")])

    def test_leaving(self) -> None:
        """A node that leaves is silent at once, and its claims count on until clients renew elsewhere."""
        self.cluster["a"].leave(self.cluster.now)
        self.cluster.settle()
        self.cluster.cut = {"a"}
        peer = self.cluster["b"].peers.get(1)
        assert peer is not None
        self.assertTrue(self.cluster["b"].peers.is_silent(peer, self.cluster.now))
        self.assertIn("b", self.cluster.listed())
        self.assertRaises(NotReady, self.cluster["a"].renew, self.cluster.now, KEY)

    def test_expired_after_a_restart(self) -> None:
        """A registration that stops after its first node was restarted has expired, and is not lost."""
        self.cluster.renew("b")
        self.cluster.cut = {"a"}
        self.cluster.run(1.0)
        self.cluster.start("a", 9, "abc")
        self.cluster.cut = set()
        for _ in range(5):
            self.cluster.run(4.0)
            self.cluster.renew("b")
        self.cluster.run(TTL_S + 1.0)
        for name in "bc":
            self.assertEqual(self.cluster.happened(name)[1:], [("offline", "expired")])

    def test_forgotten(self) -> None:
        """A node that was not heard for ten more minutes is forgotten with its ledger."""
        self.cluster.cut = {"a"}
        self.cluster.run(TTL_S + 3 + 600 + 2)
        self.assertEqual((len(self.cluster["b"].peers), len(self.cluster["b"].claims.ledgers)), (1, 1))
        self.assertEqual(len(self.cluster["b"].claims.index), 0)

    def test_anew(self) -> None:
        """A node that was paused for over ten minutes continues as another incarnation; its events alternate."""
        self.cluster.cut = {"a"}
        self.cluster.run(30.0)
        self.cluster.now += 601.0
        replica = self.cluster["a"]
        self.assertTrue(replica.is_forgotten(self.cluster.now))
        replica.continue_as(99, self.cluster.now)
        self.cluster.cut = set()
        self.cluster.run(3.0)
        self.assertTrue(replica.is_ready)
        self.assertEqual(replica.identity.incarnation, 99)
        self.assertEqual(self.cluster.happened("a"), [("online", "registered"), ("offline", "expired")])

    def test_anew_and_alone(self) -> None:
        """Registrations of the former incarnation are lost if no peer answers, and forgotten ten minutes later."""
        self.cluster.register("b", KEY + "80")
        self.cluster.cut = {"b", "c"}
        self.cluster.now += 601.0
        replica = self.cluster["a"]
        replica.continue_as(99, self.cluster.now)
        self.cluster.run(5.0)
        self.assertTrue(replica.is_ready)
        for key in (KEY, KEY + "80"):
            self.assertEqual(self.cluster.happened("a", key)[-1], ("offline", "node-lost"))
        self.cluster.run(TTL_S + 3 + 600)
        self.assertEqual(replica.view.known_keys(), [])


class PauseTests(SynchronousTestCase):
    """Rule 6: a paused node does not hide registrations, and is not ready before its peers have answered."""

    def setUp(self) -> None:
        self.cluster = Cluster("ab")
        self.cluster.register("a")
        self.cluster.run(1.0)

    def test_not_ready(self) -> None:
        """After a gap a node refuses commands until all peers have answered."""
        self.cluster.now += 3.0
        self.assertRaises(NotReady, self.cluster["a"].renew, self.cluster.now, KEY)
        self.cluster.settle()
        self.assertTrue(self.cluster.renew("a"))

    def test_noticed_at_any_input(self) -> None:
        """A received message is enough to notice the gap."""
        self.cluster.now += 3.0
        self.cluster["a"].receive(self.cluster.now, Message(Sender(2, "b", "b")))
        self.assertFalse(self.cluster["a"].is_ready)

    def test_alone(self) -> None:
        """A node without peers is ready at once after a gap."""
        single = Cluster("x", seeds=False)
        single.now += 100.0
        self.assertTrue(single["x"].check_ready(single.now))

    def test_what_it_missed(self) -> None:
        """Events wait until the node is ready, and are then the difference."""
        self.cluster.cut = {"a"}
        self.cluster["b"].deregister(self.cluster.now, KEY)
        self.cluster["b"].register(self.cluster.now, KEY, update(b"new", TTL_S))
        self.cluster.cut = set()
        self.cluster.now += 2.0
        self.cluster["a"].sweep(self.cluster.now)
        self.cluster.settle()
        self.cluster.run(1.0)
        self.assertEqual(self.cluster.happened("a"), [("online", "registered"), ("changed", "registered")])

    def test_leases_wait(self) -> None:
        """A registration whose instance could not renew during the pause keeps its remaining time."""
        self.cluster.run(8.0)
        self.cluster.now += 5.0
        self.cluster.run(0.5)
        self.assertEqual(self.cluster.listed(), "ab")

    def test_inputs_out_of_order(self) -> None:
        """An input with an earlier time than the one before does not make the next gap longer."""
        a, now = self.cluster["a"], self.cluster.now
        for later_s in (1.0, 0.5, 2.25):
            self.assertTrue(a.check_ready(now + later_s))


class ReadinessTests(SynchronousTestCase):
    """A start is like a pause."""

    def test_single(self) -> None:
        """A node without seeds is ready at once."""
        self.assertTrue(Cluster("a", seeds=False)["a"].is_ready)

    def test_not_before_the_seeds(self) -> None:
        """A node waits for each of its seeds, five intervals at most."""
        cluster = Cluster("a", seeds=False)
        replica = cluster.start("b", 2, "abz")
        cluster.run(4.25)
        self.assertFalse(replica.is_ready)
        self.assertEqual(replica.links.unanswered_seeds(), ["z"])
        cluster.run(0.5)
        self.assertTrue(replica.is_ready)

    def test_unlocated_seed(self) -> None:
        """A node also waits for a seed whose name does not resolve."""
        replica = Cluster("a", seeds=False).start("b", 2, "")
        replica.set_seed_addresses("some.name:1730", [])
        self.assertEqual(replica.links.unanswered_seeds(), ["some.name:1730"])

    def test_knows_everything(self) -> None:
        """A node that becomes ready has all registrations and settings, however many there are."""
        cluster = Cluster("a", seeds=False)
        for i in range(2500):
            cluster["a"].register(cluster.now, f"registration/web/1.0/h{i}/80", update(BODY, TTL_S))
        for i in range(600):
            cluster["a"].configure(cluster.now, f"backend/b{i}", b"{}", "ops", 0)
        cluster.settle()
        replica = cluster.start("b", 2, "a")
        replica.start_round(cluster.now)
        cluster.settle()
        for _ in range(20):
            if replica.sweep(cluster.now):
                cluster.settle()
        self.assertTrue(replica.is_ready)
        self.assertEqual((replica.view.count, len(replica.settings("backend"))), (2500, 600))
        self.assertEqual(replica.digest(), cluster["a"].digest())

    def test_waits_while_pages_come(self) -> None:
        """A node waits while pages of the first contact come, and does not list a part of the registrations."""
        cluster = Cluster("a", seeds=False)
        for i in range(7000):
            cluster["a"].register(cluster.now, f"registration/web/1.0/h{i}/80", update(BODY, 60.0))
        replica = cluster.start("b", 2, "a")
        replica.start_round(cluster.now)
        seconds = 0
        while not replica.is_ready and seconds < 20:
            seconds += 1
            cluster.now += 1.0
            one, *others = replica.take_requests()
            cluster.carry("b", one)
            for request in others:
                replica.note_failure(cluster.now, request)
            while replica.sweep(cluster.now):
                pass
        self.assertEqual((replica.view.count, seconds > 6), (7000, True))


class AnewTests(SynchronousTestCase):
    """A node continues as another incarnation, which has received nothing."""

    def setUp(self) -> None:
        self.cluster = Cluster("ab")
        self.a, self.b = self.cluster["a"], self.cluster["b"]
        self.cluster.register("b")
        self.a.start_round(self.cluster.now)
        (self.question,) = self.a.take_requests()
        self.answer = self.b.receive(self.cluster.now, self.question.message)
        self.cluster.now += 1.0
        self.a.continue_as(9, self.cluster.now)

    def test_waits_for_peers(self) -> None:
        self.assertFalse(self.a.check_ready(self.cluster.now))
        self.cluster.run(1.0)
        self.assertTrue(self.a.check_ready(self.cluster.now))

    def test_waits_for_peers_that_are_no_seeds(self) -> None:
        """A node without seeds waits for the peers that the former incarnation knew."""
        cluster = Cluster("ab", seeds=False)
        cluster["b"].set_seed_addresses("a", ["a"])
        cluster["b"].links.seeds["a"] = ("a",)
        cluster.rounds()
        self.assertEqual(len(cluster["a"].peers), 1)
        cluster.now += 700.0
        cluster["a"].continue_as(9, cluster.now)
        self.assertFalse(cluster["a"].check_ready(cluster.now))

    def test_nobody_could_say(self) -> None:
        """If a peer sends requests but its answers do not arrive, its registrations are lost, and not expired."""
        self.cluster.now += self.cluster.timing.interval_s
        self.b.start_round(self.cluster.now)
        for request in self.b.take_requests():
            self.a.receive(self.cluster.now, request.message)
        self.assertEqual({peer.incarnation for peer in self.a.peers}, {1, 2})
        for _ in range(20):
            self.cluster.now += self.cluster.timing.interval_s / 4
            self.a.sweep(self.cluster.now)
        events = [(event.change, event.reason) for event in self.a.take_events()]
        self.assertEqual((self.a.is_ready, events), (True, [("offline", "node-lost")]))

    def test_answers_to_the_one_before(self) -> None:
        """Answers to the former incarnation are ignored, and do not mark an address as failed."""
        self.a.receive_answer(self.cluster.now, self.question, self.answer)
        self.assertEqual((self.a.check_ready(self.cluster.now), len(self.a.peers)), (False, 0))
        self.a.note_failure(self.cluster.now, self.question)
        self.assertFalse(self.a.links["b"].has_failed)
