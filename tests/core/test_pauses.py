"""One node after a pause, and as a new incarnation."""

from __future__ import annotations

from collections.abc import Callable

from bender.core.claims import KEYS_PER_SLICE
from bender.core.ledger import Claim, Head, Ledger
from bender.core.messages import Counter, Message, Sender
from bender.core.peers import BEATS_BEYOND
from bender.core.replica import Replica
from bender.core.timing import Timing
from tests.core.cluster import BODY, KEY, TTL_S, update
from tests.core.replica_case import NOW, OTHER_KEY, ReplicaCase, sender


class Pausing(ReplicaCase):
    """Rule 6: a pause is a gap of more than 1.5·I."""

    def setUp(self) -> None:
        super().setUp()
        self.meet(2)
        self.replica.register(NOW, KEY, update(BODY, TTL_S))
        self.sent()

    def test_gap(self) -> None:
        self.assertTrue(self.replica.check_ready(NOW + 1.5))
        self.assertFalse(self.replica.check_ready(NOW + 3.125))
        self.assertEqual((self.replica.readiness.away_s, self.replica.readiness.waited_s(NOW + 4.0)), (1.625, 0.875))
        self.assertIn("n2:1730", self.sent())
        self.assertEqual(self.replica.readiness.unanswered_addresses(NOW + 3.125), ["n2:1730"])

    def test_noticed_by_all(self) -> None:
        """The next call of any kind notices the pause."""
        self.replica.start_round(NOW)
        (request,) = self.replica.take_requests()
        done: list[Callable[[float], object]] = [
            lambda at: self.answer(request, 2, at),
            lambda at: self.replica.note_failure(at, request),
            self.replica.start_round,
            self.replica.sweep,
            self.replica.leave,
            lambda at: self.say(2, at),
        ]
        for do in done:
            self.replica.readiness.away_s, self.replica.gossip.has_left = 0.0, False
            do(self.replica._noticed_at + 5.0)
            self.assertEqual(self.replica.readiness.away_s, 5.0)

    def test_clock_set_back(self) -> None:
        """A clock that goes back causes no gap, neither then nor when it catches up."""
        self.replica.check_ready(NOW + 1.0)
        self.replica.check_ready(NOW - 5.0)
        self.assertTrue(self.replica.check_ready(NOW + 1.5))

    def test_back(self) -> None:
        """Deadlines move by the gap, and by the time until the node is ready; times of peers are restored."""
        self.replica.check_ready(NOW + 5.0)
        (lease,) = self.replica.claims.leases
        self.assertEqual((lease.deadline, self.peer(2).heard_at), (NOW + 15.0, NOW + 5.0))
        request = self.replica.take_requests()[0]
        self.answer(request, 2, NOW + 6.0)
        self.assertTrue(self.replica.is_ready)
        self.assertEqual((lease.deadline, self.peer(2).shift_s), (NOW + 16.0, 0.0))

    def test_much_to_judge(self) -> None:
        """The node judges losses of the pause before it is ready, when many claims of a dead node arrive."""
        self.replica = Replica(sender(1), Timing(), NOW, guard_s=20.0)
        two, three = Ledger(2), Ledger(3)
        for ledger in (two, three):
            for n in range(1, 2 * KEYS_PER_SLICE + 2):
                ledger.add(Claim(ledger.incarnation, n, f"{KEY}{n}", BODY, TTL_S, 1, 2, n))
        self.meet(2)
        counters = (Counter(2, "n2", "n2:1730", int(20 * NOW), 0.0), Counter(3, "n3", "n3:1730", 5, 15.0))
        digest = self.replica.configuration.digest
        self.replica.receive(NOW, Message(sender(2), {}, counters[:1], (two.delta(Head()),), digest=digest))
        at = NOW + 40.0
        self.replica.take_requests()
        self.replica.check_ready(at)
        for n in [*two.entries]:
            two.remove(n)
        deltas = (two.delta(Head(2 * KEYS_PER_SLICE + 1, 2 * KEYS_PER_SLICE + 1)), three.delta(Head()))
        (request,) = self.replica.take_requests()
        told = Message(sender(2), {}, counters, deltas, echo=request.message.ask, digest=digest)
        self.replica.receive_answer(at, request, told)
        self.assertFalse(self.replica.is_ready)
        while not self.replica.is_ready:
            at += 0.01
            self.replica.sweep(at)
        self.assertFalse(self.replica.claims.guard.has_undecided)
        (guarded,) = self.replica.guarded_apps(at)
        self.assertEqual(guarded.suspects, 2 * KEYS_PER_SLICE + 1)

    def test_back_late(self) -> None:
        """The deadline of an instance that could not renew for its ttl does not move, because it renews elsewhere."""
        self.replica.register(NOW, OTHER_KEY, update(BODY, 8.0))
        self.replica.check_ready(NOW + 5.0)
        request = self.replica.take_requests()[0]
        for at in (6.0, 7.0, 8.0):
            self.replica.check_ready(NOW + at)
        self.answer(request, 2, NOW + 9.0)
        self.assertEqual([lease.deadline for lease in self.replica.claims.leases], [NOW + 19.0, NOW + 13.0])

    def test_shorter_than_the_ttl(self) -> None:
        """The node counts heartbeats during a pause that is shorter than the ttl."""
        self.replica.check_ready(NOW + 9.0)
        before = self.beats(NOW + 9.0)
        self.replica.start_round(NOW + 9.25)
        self.assertEqual(self.beats(NOW + 9.25), before + 1)

    def test_as_long_as_the_ttl(self) -> None:
        """The node counts no heartbeats after a pause as long as the ttl until it knows its claims."""
        self.replica.check_ready(NOW + 10.0)
        before = self.beats(NOW + 10.0)
        self.replica.start_round(NOW + 10.25)
        self.assertEqual(self.beats(NOW + 10.25), before)
        self.replica.check_ready(NOW + 12.0)
        self.replica.start_round(NOW + 12.0)
        self.assertEqual(self.beats(NOW + 12.0), before)
        self.replica.gossip.ask(["n2:1730"], NOW + 12.0)
        self.answer(self.replica.take_requests()[0], 2, NOW + 12.0)
        self.assertEqual((self.replica.is_ready, self.beats(NOW + 12.0)), (True, before + 1))
        self.replica.start_round(NOW + 13.0)
        self.assertEqual(self.beats(NOW + 13.0), before + 2)

    def test_seeds_that_never_answered(self) -> None:
        """A node waits for seeds that never answered only at a start."""
        self.replica.set_seed_addresses("n9:1730", ["n9:1730"])
        self.replica.check_ready(NOW + 5.0)
        request = next(each for each in self.replica.take_requests() if each.address == "n2:1730")
        self.answer(request, 2, NOW + 5.0)
        self.assertTrue(self.replica.is_ready)

    def test_backlog_of_short_pauses(self) -> None:
        """Messages after a short pause may have waited, too."""
        self.replica = Replica(sender(1), Timing(0.5), NOW)
        self.meet(2)
        self.replica.check_ready(NOW + 0.875)
        self.say(3, NOW + 0.875)
        self.assertNotIn(3, self.replica.peers)

    def beats(self, at: float) -> int:
        self.replica.gossip.ask(["n2:1730"], at)
        request = self.replica.take_requests()[-1]
        for link in self.replica.links:
            link.open_rounds.clear()
        return request.message.counters[0].beats

    def test_backlog(self) -> None:
        """Messages in half an interval after a pause may have waited, and introduce no peer."""
        self.replica.check_ready(NOW + 5.0)
        self.say(3, NOW + 5.25)
        self.assertNotIn(3, self.replica.peers)
        self.say(3, NOW + 5.5)
        self.assertIn(3, self.replica.peers)

    def test_answer_to_an_ask_before_the_pause(self) -> None:
        """It may have waited, and introduces no peer; an answer to an ask after the pause does."""
        self.replica.start_round(NOW)
        (before,) = self.replica.take_requests()
        self.replica.check_ready(NOW + 5.0)
        after = self.replica.take_requests()[-1]
        self.answer(before, 3, NOW + 5.75)
        self.assertNotIn(3, self.replica.peers)
        self.answer(after, 3, NOW + 5.75)
        self.assertIn(3, self.replica.peers)

    def test_heartbeats_during_a_long_pause(self) -> None:
        """Heartbeats that may have waited for the ttl are not believed, from requests and from answers."""
        self.replica.start_round(NOW)
        (before,) = self.replica.take_requests()
        self.replica.check_ready(NOW + 10.0)
        after = self.replica.take_requests()[-1]
        peer = self.peer(2)
        believed = peer.beats
        self.say(2, NOW + 10.25)
        self.answer(before, 2, NOW + 10.75)
        self.assertEqual((peer.beats, peer.known_beats), (believed, 10107))
        self.answer(after, 2, NOW + 10.75)
        self.assertEqual((peer.beats, peer.heard_at), (10107, NOW + 10.75))

    def test_heartbeats_at_a_node_that_waits_for_nobody(self) -> None:
        """A node whose peers were silent before the pause is ready at once, and believes what waited."""
        for at in range(1, 5):
            self.replica.sweep(NOW + at)
        self.replica.sweep(NOW + 14.0)
        self.assertTrue(self.replica.is_ready)
        self.say(2, NOW + 14.25)
        self.assertEqual((self.peer(2).beats, self.peer(2).heard_at), (10142, NOW + 14.25))

    def test_heartbeats_during_a_shorter_pause(self) -> None:
        """Heartbeats that waited for less than the ttl are believed: claims of a peer that died may depend on them."""
        self.replica.check_ready(NOW + 9.0)
        self.say(2, NOW + 9.25)
        self.assertEqual((self.peer(2).beats, self.peer(2).heard_at), (10092, NOW + 9.25))

    def test_no_lapse(self) -> None:
        """A claim that was due before the pause stays until the node is ready."""
        (lease,) = self.replica.claims.leases
        self.replica.claims.leases.due[lease] = None
        self.say(2, NOW + 25.0)
        self.assertEqual(self.replica.claims.index.lease(KEY), lease)

    def test_asks_back(self) -> None:
        """Answers ask back as long as the node is not ready."""
        self.assertIsNone(self.say(2, NOW + 1.0).ask)
        self.assertEqual(self.say(2, NOW + 5.0).ask, NOW + 5.0)


class Anew(ReplicaCase):
    """The node continues as another incarnation."""

    def setUp(self) -> None:
        super().setUp()
        self.meet(2)
        self.replica.register(NOW, KEY, update(BODY, TTL_S))
        self.sent()

    def test_outlived(self) -> None:
        """A node is forgotten after an absence of more than ten minutes."""
        self.assertEqual([self.replica.is_forgotten(NOW + s) for s in (600.0, 600.5)], [False, True])

    def test_after_an_absence(self) -> None:
        """The next incarnation waits for the known peers that had not left, and has no state of the former one."""
        self.meet(3).left = True
        self.replica.set_seed_addresses("n4:1730", ["n4:1730"])
        self.replica.continue_as(9, NOW + 700.0)
        self.assertEqual((self.replica.identity, self.replica.readiness.away_s), (Sender(9, "n1", "n1:1730"), 700.0))
        self.assertEqual(self.replica.links.expected_addresses, ("n2:1730",))
        self.assertEqual((self.replica.claims.ledger.version, len(self.replica.peers)), (0, 0))
        self.assertFalse(self.replica.check_ready(NOW + 700.0))
        self.assertEqual(self.sent(), [])

    def test_what_nobody_tells_of(self) -> None:
        """A registration that no peer reports expires when all peers have answered."""
        self.replica.continue_as(9, NOW + 700.0)
        self.replica.take_events()
        self.replica.start_round(NOW + 700.0)
        (request,) = self.replica.take_requests()
        self.answer(request, 2, NOW + 700.1)
        self.assertEqual([(e.change, e.reason) for e in self.replica.take_events()], [("offline", "expired")])
        self.assertEqual(self.replica.links.expected_addresses, ())

    def test_surpassed(self) -> None:
        """The next incarnation takes over the claims, and marks the former one as left with more heartbeats."""
        self.say(2, NOW, heads={1: Head(9, 9)}, beats=99999)
        self.assertTrue(self.replica.is_surpassed)
        self.replica.continue_as(9, NOW + 0.5)
        former = self.peer(1)
        self.assertEqual((former.left, former.heard_at), (True, NOW + 0.5))
        self.assertEqual(former.beats, BEATS_BEYOND)
        self.assertFalse(self.replica.is_surpassed)
        for _ in range(2):
            self.replica.sweep(NOW + 5.0)
        self.assertEqual([(e.node, e.key) for e in self.replica.claims.ledger.entries.values()], [(9, KEY)])
        self.assertEqual((BEATS_BEYOND, [*self.replica.view.listed_keys()]), (1000, [KEY]))

    def test_surpassed_by_most(self) -> None:
        """The largest reported number of heartbeats counts, and nothing else of these messages is applied."""
        for beats in (50, 70, 60):
            counter = Counter(1, "n1", "n1:1730", beats, 0.0)
            answer = self.replica.receive(NOW, Message(sender(3), {}, (counter, Counter(3, "n3", "n3:1730", 1, 0.0))))
            self.assertEqual(answer, Message(sender(1)))
        self.assertNotIn(3, self.replica.peers)
        self.replica.continue_as(9, NOW)
        self.assertEqual(self.peer(1).beats, 1070)

    def test_surpassed_by_an_answer(self) -> None:
        """The request fails, and nothing of its answer is applied."""
        self.replica.start_round(NOW)
        (request,) = self.replica.take_requests()
        self.replica.receive_answer(
            NOW, request, Message(sender(2), {1: Head(9, 9)}, (Counter(3, "n3", "n3:1730", 1, 0.0),))
        )
        self.assertEqual((self.replica.is_surpassed, self.replica.links["n2:1730"].has_failed), (True, True))
        self.assertNotIn(3, self.replica.peers)
