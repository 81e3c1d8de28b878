"""One node: when it is ready, what it reports about itself and its peers, and when it forgets peers."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from bender.core.claims import KEYS_PER_SLICE
from bender.core.ledger import Claim, End
from bender.core.messages import ConfigSetting, Counter, Message
from bender.core.replica import NotReady
from tests.core.cluster import BODY, KEY, TTL_S, Cluster, update
from tests.core.replica_case import NOW, OTHER_KEY, ReplicaCase, sender


class Commands(ReplicaCase):
    def test_not_ready(self) -> None:
        """A node that is not ready refuses all commands, and nothing is changed."""
        self.begin("n2:1730")
        commands: list[Callable[[], object]] = [
            lambda: self.replica.register(NOW, KEY, update(BODY, TTL_S)),
            lambda: self.replica.renew(NOW, KEY),
            lambda: self.replica.renew_as_is(NOW, KEY, BODY),
            lambda: self.replica.renew_all(NOW, [KEY]),
            lambda: self.replica.deregister(NOW, KEY),
            lambda: self.replica.configure(NOW, "backend/web", b"{}", "ops", 0),
        ]
        for command in commands:
            self.assertRaises(NotReady, command)
        self.assertEqual((self.replica.claims.ledger.version, len(self.replica.configuration)), (0, 0))

    def test_usual(self) -> None:
        """A node without seeds is ready, was not paused, and has no guard."""
        self.assertTrue(self.replica.check_ready(NOW))
        self.assertEqual(
            (self.replica.readiness.away_s, self.replica.guard_s, self.replica.readiness.is_starting), (0.0, 0.0, False)
        )
        self.assertEqual((self.replica.is_surpassed, self.replica.readiness.waited_s(NOW + 3.0)), (False, 3.0))

    def test_many(self) -> None:
        """Many renewals return the unknown ids, and new claims are pushed at once."""
        cluster = Cluster("ab")
        cluster.register("a")
        self.assertEqual(cluster["b"].renew_all(cluster.now, [KEY, OTHER_KEY]), [OTHER_KEY])
        self.assertEqual([request.push for request in cluster["b"].take_requests()], [True])
        self.assertEqual(cluster["b"].renew_all(cluster.now, [KEY]), [])
        self.assertEqual(cluster["b"].take_requests(), [])

    def test_as_is(self) -> None:
        self.replica.register(NOW, KEY, update(BODY, TTL_S))
        self.assertTrue(self.replica.renew_as_is(NOW + 1.0, KEY, BODY))
        self.assertFalse(self.replica.renew_as_is(NOW + 1.0, KEY, b"new"))

    def test_answers(self) -> None:
        """Renewals return the body, and deregistrations return whether there was a registration."""
        self.assertTrue(self.replica.register(NOW, KEY, update(BODY, TTL_S))[0])
        self.assertFalse(self.replica.register(NOW, KEY, update(BODY, TTL_S))[0])
        self.assertEqual((self.replica.renew(NOW, KEY), self.replica.winner(NOW, KEY)), (BODY, BODY))
        self.assertEqual((self.replica.deregister(NOW, KEY), self.replica.deregister(NOW, KEY)), (True, False))
        self.assertEqual((self.replica.renew(NOW, KEY), self.replica.winner(NOW, KEY)), (None, None))

    def test_shortened(self) -> None:
        """A shortened lease has the given time left; the call notices a pause, too."""
        self.replica.register(NOW, KEY, update(BODY, TTL_S))
        self.replica.shorten_lease(NOW + 1.0, KEY, 2.0)
        (lease,) = self.replica.claims.leases
        self.assertEqual(lease.deadline, NOW + 3.0)
        self.meet(2, NOW + 1.0)
        self.replica.shorten_lease(NOW + 3.0, KEY, 2.0)
        self.assertFalse(self.replica.is_ready)

    def test_lasting(self) -> None:
        """A setting with a duration has the remaining time, and ends by itself; other settings are not returned."""
        self.replica.configure(NOW, "backend/web", b"{}", "ops", 7)
        self.replica.configure(NOW, "state/web/1.0/h/80", b"drain", "ops", 7, 60.0)
        word = self.replica.expiring_setting(NOW + 1.5, "state/web/1.0/h/80")
        assert word is not None
        setting, left_s = word
        self.assertEqual((setting.rev, setting.incarnation, setting.at_ms, setting.author), (1, 1, 7, "ops"))
        self.assertEqual((setting.body, setting.lasts_s, left_s), (b"drain", 60.0, 58.5))
        self.assertIsNone(self.replica.expiring_setting(NOW, "backend/web"))
        self.assertIsNone(self.replica.expiring_setting(NOW, "backend/other"))
        self.assertIsNone(self.replica.expiring_setting(NOW + 60.0, "state/web/1.0/h/80"))

    def test_left(self) -> None:
        """A node that has left accepts no commands, counts no heartbeats, and sends its last counter again."""
        self.meet(2)
        self.replica.leave(NOW)
        (request,) = self.replica.take_requests()
        beats = [counter.beats for counter in request.message.counters if counter.left]
        self.assertEqual((len(beats), self.replica.is_ready), (1, False))
        self.replica.sweep(NOW + 1.0)
        self.replica.start_round(NOW + 1.0)
        told = [c.beats for each in self.replica.take_requests() for c in each.message.counters if c.incarnation == 1]
        self.assertEqual(({*told}, self.replica.is_ready), ({*beats}, False))


class Starting(ReplicaCase):
    """A start is like a pause: it ends when all peers have answered and agree, or after 4.5·I."""

    def setUp(self) -> None:
        self.begin("n2:1730")

    def sweep_until(self, seconds: float) -> None:
        while self.replica._noticed_at < NOW + seconds:
            self.replica.sweep(self.replica._noticed_at + 0.25)

    def test_answered(self) -> None:
        self.replica.start_round(NOW)
        (request,) = self.replica.take_requests()
        readiness = self.replica.readiness
        self.assertEqual(
            (readiness.is_ready, readiness.is_starting, readiness.unanswered_addresses(NOW)),
            (False, True, ["n2:1730"]),
        )
        self.answer(request, 2, NOW + 0.1)
        self.assertEqual(
            (readiness.is_ready, readiness.is_starting, readiness.unanswered_addresses(NOW)),
            (True, False, []),
        )
        self.assertEqual(self.sent(), ["n2:1730"])

    def test_all_of_several(self) -> None:
        """Each seed has to answer completely, even if it is silent since then, unless it has left."""
        self.begin("n2:1730", "n3:1730")
        self.replica.start_round(NOW)
        two, three = self.replica.take_requests()
        self.answer(two, 2, NOW)
        self.assertFalse(self.replica.is_ready)
        part = Message(sender(3), {}, (Counter(3, "n3", "n3:1730", 1, 0.0),), digest=self.replica.configuration.digest)
        self.replica.receive_answer(NOW, three, part)
        self.sweep_until(4.25)
        self.assertFalse(self.replica.is_ready)
        self.peer(3).left = True
        self.replica.sweep(NOW + 4.25)
        self.assertTrue(self.replica.is_ready)

    def test_settings_wait(self) -> None:
        """Settings that arrive before the node is ready are shown when it is, once."""
        web = ConfigSetting("backend/web", 1, 2, 0, "ops", b"{}")
        self.replica.receive(NOW, Message(sender(2), settings=(web,)))
        self.assertEqual((self.replica.settings("backend"), self.replica.take_events()), ([], []))
        self.sweep_until(4.5)
        self.assertEqual((self.replica.settings("backend"), len(self.replica.take_events())), ([web], 1))
        self.assertEqual(self.replica._shown_settings._stale, {})

    def test_no_backlog(self) -> None:
        """Messages at a start cannot have waited."""
        self.say(3, NOW + 0.1)
        self.assertIn(3, self.replica.peers)

    def test_much_to_show(self) -> None:
        """The node is not ready before all changed keys are evaluated."""
        self.replica.start_round(NOW)
        (request,) = self.replica.take_requests()
        self.replica.claims.stale_keys |= {f"{KEY}{i}": None for i in range(KEYS_PER_SLICE + 1)}
        self.answer(request, 2, NOW)
        self.assertFalse(self.replica.is_ready)
        self.replica.sweep(NOW)
        self.assertTrue(self.replica.is_ready)

    def test_much_to_forget(self) -> None:
        """The node is not ready before all entries of a forgotten node are removed."""
        self.replica.start_round(NOW)
        (request,) = self.replica.take_requests()
        claims = [Claim(9, n + 1, f"{KEY}{n}", BODY, TTL_S, 1, 9, n + 1) for n in range(KEYS_PER_SLICE + 1)]
        self.replica.claims._forgotten = [*claims]
        self.answer(request, 2, NOW)
        self.assertFalse(self.replica.is_ready)
        self.replica.sweep(NOW)
        self.assertTrue(self.replica.is_ready)

    def test_not_agreed(self) -> None:
        """The node is not ready before a peer has the same configuration."""
        self.replica.start_round(NOW)
        (request,) = self.replica.take_requests()
        counter = Counter(2, "n2", "n2:1730", 1, 0.0)
        self.replica.receive_answer(
            NOW, request, Message(sender(2), {}, (counter,), echo=request.message.ask, digest=1)
        )
        self.assertFalse(self.replica.is_ready)

    def test_not_echoed(self) -> None:
        """The node is not ready after an answer without an echo, which is a page."""
        self.replica.start_round(NOW)
        (request,) = self.replica.take_requests()
        counter = Counter(2, "n2", "n2:1730", 1, 0.0)
        self.replica.receive_answer(
            NOW, request, Message(sender(2), {}, (counter,), digest=self.replica.configuration.digest)
        )
        self.assertEqual(
            (self.replica.is_ready, self.replica.readiness.unanswered_addresses(NOW)), (False, ["n2:1730"])
        )

    def test_found_but_not_met(self) -> None:
        """The node waits for a peer that has answered without its own counter."""
        self.replica.start_round(NOW)
        (request,) = self.replica.take_requests()
        digest = self.replica.configuration.digest
        self.replica.receive_answer(NOW, request, Message(sender(2), {}, echo=request.message.ask, digest=digest))
        self.assertFalse(self.replica.is_ready)

    def test_no_answer(self) -> None:
        """The node asks every quarter of an interval until it is ready, or its time is over."""
        asked = []
        for quarter in range(18):
            self.replica.sweep(NOW + quarter / 4)
            asked += [request.message.ask for request in self.replica.take_requests()]
            for link in self.replica.links:
                link.open_rounds.clear()
        self.assertEqual((len(asked), self.replica.is_ready), (18, False))
        self.replica.sweep(NOW + 4.1)
        self.assertEqual((self.sent(), self.replica.is_ready), ([], False))
        self.replica.sweep(NOW + 4.5)
        self.assertTrue(self.replica.is_ready)
        self.sent()
        self.replica.sweep(NOW + 4.75)
        self.assertEqual(self.sent(), [])

    def test_failed(self) -> None:
        """A failed request is enough to end the wait when its time is over."""
        self.replica.start_round(NOW)
        (request,) = self.replica.take_requests()
        self.sweep_until(4.25)
        self.replica.note_failure(NOW + 4.5, request)
        self.assertTrue(self.replica.is_ready)

    def test_pages(self) -> None:
        """The node waits while pages come."""
        self.replica.gossip.paged_at = NOW + 3.0
        self.sweep_until(7.25)
        self.assertFalse(self.replica.is_ready)
        self.sweep_until(7.5)
        self.assertTrue(self.replica.is_ready)

    def test_becoming_ready(self) -> None:
        """A node that becomes ready counts a heartbeat at once, so that its claims count elsewhere."""
        self.sweep_until(4.25)
        for link in self.replica.links:
            link.open_rounds.clear()
        self.sweep_until(4.5)
        counters = [c for request in self.replica.take_requests() for c in request.message.counters]
        self.assertEqual(max(counter.beats for counter in counters), 1)


class Reading(ReplicaCase):
    def test_reached(self) -> None:
        """The reached version is the one that all peers have shown, except for peers that are gone."""
        self.assertEqual(self.replica.version_reached(NOW), inf)
        for number in (2, 3):
            self.meet(number)
        self.assertEqual(self.replica.version_reached(NOW), 0)
        self.peer(2).shown_versions[1], self.peer(3).shown_versions[1] = 4, 7
        self.assertEqual(self.replica.version_reached(NOW), 4)
        self.peer(2).left = True
        self.assertEqual(self.replica.version_reached(NOW), 7)

    def test_split(self) -> None:
        """Peers are split into those with the version and those without it; peers that are gone are in neither."""
        two, three, four = (self.meet(number) for number in (2, 3, 4))
        two.shown_versions[1] = 4
        four.left = True
        self.assertEqual(self.replica.split_peers(4), ([two], [three]))
        self.assertEqual(self.replica.split_peers(5), ([], [two, three]))
        self.assertEqual(self.replica.split_peers(1), ([two], [three]))
        self.assertEqual(self.replica.split_peers(0), ([two, three], []))

    def test_shows(self) -> None:
        """A version is shown if it is here and no key waits for its evaluation."""
        self.replica.register(NOW, KEY, update(BODY, TTL_S))
        self.assertEqual([self.replica.shows_version(1, version) for version in (0, 1, 2)], [True, True, False])
        self.replica.claims.stale_keys[KEY] = None
        self.assertFalse(self.replica.shows_version(1, 1))

    def test_digest(self) -> None:
        """The digest differs after each change, and does not depend on known peers."""
        digests = [self.replica.digest()]
        self.meet(2)
        self.assertEqual(self.replica.digest(), digests[0])
        self.replica.register(NOW, KEY, update(BODY, TTL_S))
        digests.append(self.replica.digest())
        self.replica.configure(NOW, "backend/web", b"{}", "ops", 0)
        digests.append(self.replica.digest())
        self.assertEqual((len({*digests}), max(digests) < 2**64), (3, True))

    def test_hidden(self) -> None:
        """A hidden registration keeps its body, and a listed one is not hidden."""
        cluster = Cluster("ab")
        cluster.register("a")
        cluster.cut = {"a"}
        self.assertIsNone(cluster["b"].claims.hidden_claim(KEY))
        cluster.run(TTL_S + 4.0)
        hidden = cluster["b"].claims.hidden_claim(KEY)
        self.assertEqual((cluster["b"].winner(cluster.now, KEY), hidden and hidden.body), (None, BODY))

    def test_partners(self) -> None:
        """A round goes to all peers, or to the given ones."""
        for number in (2, 3):
            self.meet(number)
        self.replica.start_round(NOW)
        self.assertEqual(self.sent(), ["n2:1730", "n3:1730"])
        self.replica.start_round(NOW, ["n3:1730"])
        self.assertEqual(self.sent(), ["n3:1730"])


class Forgetting(ReplicaCase):
    """Rule 8: when peers are forgotten."""

    def test_forgotten(self) -> None:
        """A peer is forgotten with its link after T + 3·I and ten minutes."""
        self.meet(2)
        self.replica._noticed_at = NOW + 613.0
        self.replica.sweep(NOW + 613.0)
        self.assertIn(2, self.replica.peers)
        self.replica.sweep(NOW + 613.25)
        self.assertEqual((len(self.replica.peers), [*self.replica.links]), (0, []))

    def test_not_met_yet(self) -> None:
        """A link stays while a request to it is unanswered."""
        self.replica.gossip.ask(["n7:1730"], NOW)
        self.replica.sweep(NOW)
        self.assertEqual([link.address for link in self.replica.links], ["n7:1730"])

    def test_failed(self) -> None:
        """A failed request is not repeated at once."""
        self.meet(2)
        self.replica.start_round(NOW)
        (request,) = self.replica.take_requests()
        self.replica.note_failure(NOW, request)
        self.assertEqual((self.replica.links["n2:1730"].has_failed, self.sent()), (True, []))

    def test_many(self) -> None:
        """A sweep returns whether there is more to do at once."""
        for i in range(KEYS_PER_SLICE + 1):
            self.replica.register(NOW, f"{KEY}{i}", update(BODY, TTL_S))
        self.replica._noticed_at = NOW + 10.25
        self.assertEqual([self.replica.sweep(NOW + 10.25) for _ in range(2)], [True, False])
        self.replica.claims._forgotten = [End(9, n, KEY, 18.0, 1, ()) for n in range(KEYS_PER_SLICE + 1)]
        self.assertEqual([self.replica.sweep(NOW + 10.25) for _ in range(2)], [True, False])

    def test_ends(self) -> None:
        """Ends are removed by sweeps when their time is over."""
        self.replica.register(NOW, KEY, update(BODY, TTL_S))
        self.replica.deregister(NOW, KEY)
        for at in (NOW + 13.75, NOW + 18.5):
            self.replica._noticed_at = at
            self.replica.sweep(at)
        self.assertEqual([e for e in self.replica.claims.ledger.entries.values() if isinstance(e, End)], [])
