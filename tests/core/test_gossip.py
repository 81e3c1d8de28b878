"""The sending and the receiving half of conversations, message by message."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from bender.core.ledger import Head
from bender.core.messages import AGE_S_MAX, Message
from bender.core.setting_pages import SETTINGS_PER_MESSAGE_MAX
from tests.core.cluster import KEY, TTL_S
from tests.core.gossip_case import INTERVAL_S, NOW, RoundsCase, counter, ledger, sender, setting


class Asking(RoundsCase):
    def test_greeting(self) -> None:
        """A greeting has heads, and the counters of this node and of the peers that it believes."""
        self.register(KEY)
        self.meet(2, beats=0, age_s=1.0)
        self.peers.meet(counter(3, 5), NOW)
        self.gossip.beat(NOW - 0.5)
        request = self.asked()
        message = request.message
        self.assertEqual((request.address, request.limit_s, request.push), ("n2:1730", INTERVAL_S, False))
        self.assertEqual((message.sender, message.ask, message.heads), (sender(1), NOW, {1: Head(1, 1)}))
        self.assertEqual(message.counters, (counter(1, 1, 0.5), counter(2, 0, 1.0)))
        self.assertEqual(message.digest, self.configuration.digest)
        self.assertIn(request, self.links["n2:1730"].open_rounds)

    def test_nobody(self) -> None:
        self.gossip.ask([], NOW)
        self.assertEqual(self.sent(), [])

    def test_buried(self) -> None:
        """At most four rounds with a peer are open; requests to several peers share one message."""
        for _ in range(4):
            self.gossip.ask(["n2:1730"], NOW)
        self.sent()
        self.gossip.ask(["n2:1730", "n3:1730", "n4:1730"], NOW)
        three, four = self.gossip.take_requests()
        self.assertEqual((three.address, four.address), ("n3:1730", "n4:1730"))
        self.assertIs(three.message, four.message)

    def test_leaving(self) -> None:
        """The last counter is marked as that of a node that leaves."""
        self.gossip.beat(NOW)
        self.gossip.leave(NOW)
        (own,) = self.asked().message.counters
        self.assertEqual((self.gossip.has_left, own.left, own.beats), (True, True, 2))

    def test_a_silent_one(self) -> None:
        """The counter of a silent node has its longest ttl, and a pause of this node does not change its age."""
        self.meet(2)
        self.tell(ledger(2, KEY))
        self.peers.shift(7.0)
        told = [self.gossip._greeting(NOW + s).counters[1] for s in (12.75, 13.0)]
        self.assertEqual([each.age_s for each in told], [12.75, 13.0])
        self.assertEqual([each.ttl_max_s for each in told], [0.0, TTL_S])

    def test_a_very_old_heartbeat(self) -> None:
        """The age of a very old counter is cut to the maximum, because peers would refuse the greeting otherwise."""
        peer = self.meet(2)
        self.peers.hear(counter(2, 6, age_s=AGE_S_MAX), NOW)
        self.assertEqual(peer.beats, 6)
        self.gossip.ask(["n2:1730"], NOW + 1.0)
        (request,) = self.gossip.take_requests()
        self.assertEqual(request.message.counters[1].age_s, AGE_S_MAX)


class Surpassed(RoundsCase):
    """Another process uses the incarnation of this node."""

    def setUp(self) -> None:
        super().setUp()
        self.register(KEY)
        self.gossip.beat(NOW)
        self.meet(2)

    def found(
        self,
        *,
        heads: Mapping[int, Head] | None = None,
        beats: int | None = None,
        own: bool = False,
        ask: float | None = None,
    ) -> int | None:
        counters = () if beats is None else (counter(1, beats), counter(2, 99))
        return self.gossip.surpassing_beats(Message(sender(1 if own else 2), heads, counters, ask=ask))

    def test_not(self) -> None:
        self.assertIsNone(self.found())
        self.assertIsNone(self.found(heads={1: Head(0, 0), 2: Head(9, 9)}, beats=1))

    def test_a_version_that_was_not_sent(self) -> None:
        self.assertEqual(self.found(heads={1: Head(1, 1)}), 1)
        self.gossip.push(NOW)
        self.assertIsNone(self.found(heads={1: Head(1, 1)}))
        self.assertEqual(self.found(heads={1: Head(2, 2)}), 1)

    def test_heartbeats(self) -> None:
        self.assertEqual((self.found(beats=1), self.found(beats=2)), (None, 2))

    def test_own_questions(self) -> None:
        """A question of this node may come back through a seed; an unknown question shows another process."""
        self.gossip.ask(["n1:1730"], NOW)
        self.assertIsNone(self.found(own=True, ask=NOW, heads={1: Head(1, 1)}))
        self.assertEqual(self.found(own=True, ask=NOW + 0.1), 1)
        self.assertIsNone(self.found(own=True))
        self.assertEqual(self.found(own=True, heads={1: Head(2, 2)}), 1)

    def test_own_questions_that_come_late(self) -> None:
        """A question of this node is recognized after its request has failed."""
        self.gossip.ask(["n1:1730"], NOW)
        (request,) = self.gossip.take_requests()
        self.links["n1:1730"].note_failure(request)
        self.assertIsNone(self.gossip.surpassing_beats(request.message))

    def test_another_checksum(self) -> None:
        """A copy with another checksum at a remembered version shows another process."""
        self.gossip.push(NOW)
        head = self.claims.ledger.head
        other = evolve(head, checksum=(head.checksum or 0) + 1)
        for _ in range(2):
            found = [self.found(heads={1: each}) for each in (head, other, Head(1, 1))]
            self.assertEqual(found, [None, 1, None])
            self.register(KEY + "1")


class Pushing(RoundsCase):
    def setUp(self) -> None:
        super().setUp()
        self.two, self.three = self.meet(2), self.meet(3)
        self.register(KEY)

    def test_to_all(self) -> None:
        """A change is pushed to all peers at once, in one message with this node's counter, and once."""
        self.gossip.push(NOW)
        self.assertEqual([link.pushed_version for link in self.links], [1, 1])
        two, three = self.gossip.take_requests()
        self.assertIs(two.message, three.message)
        self.assertEqual((two.address, two.push, two.limit_s), ("n2:1730", True, INTERVAL_S))
        self.assertEqual((two.message.heads, two.message.counters), (None, (counter(1, 0),)))
        self.assertEqual([delta.added for delta in two.message.deltas], [tuple(self.claims.ledger.entries.values())])
        self.gossip.push(NOW)
        self.assertEqual(self.sent(), [])

    def test_from_what_they_have(self) -> None:
        """Each peer gets the entries that it has not shown to have; a peer with all entries gets no push."""
        self.two.shown_versions[1], self.three.shown_versions[1] = 1, 0
        self.gossip.push(NOW)
        self.assertEqual(self.sent(), ["n3:1730"])
        self.register(KEY + "1")
        self.gossip.push(NOW)
        (request,) = self.gossip.take_requests()
        (delta,) = request.message.deltas
        self.assertEqual((request.address, delta.since, [entry.n for entry in delta.added]), ("n2:1730", 1, [2]))

    def test_to_whom(self) -> None:
        """A push does not go to a failed, unanswered, left or unknown address."""
        self.links["n2:1730"].has_failed = True
        self.three.left = True
        self.links["n4:1730"]
        self.links.note_answer("n5:1730", 5)
        self.gossip.push(NOW)
        self.assertEqual(self.sent(), [])

    def test_settings(self) -> None:
        """Settings go with a push, and wait while one is open; a push has a limited number of them."""
        told = [setting(f"backend/b{i}") for i in range(SETTINGS_PER_MESSAGE_MAX + 1)]
        self.links["n3:1730"].has_failed = True
        for each in told:
            self.configuration.join(each, NOW)
            self.gossip.announce(each, NOW)
        (request,) = self.gossip.take_requests()
        self.assertEqual((request.message.settings, len(request.message.deltas)), ((told[0],), 1))
        self.assertEqual((len(self.links["n2:1730"].unsent_settings), self.links["n3:1730"].unsent_settings), (256, []))
        self.two.shown_versions[1] = 1
        self.links["n2:1730"].note_answer(request, NOW)
        self.links["n2:1730"].unsent_settings.append(told[0])
        self.gossip.push(NOW)
        (request,) = self.gossip.take_requests()
        self.assertEqual((len(request.message.settings), request.message.deltas), (SETTINGS_PER_MESSAGE_MAX, ()))
        self.assertEqual(self.links["n2:1730"].unsent_settings, [told[0]])

    def test_pages(self) -> None:
        """After a page was accepted, the next push has the rest."""
        self.begin(page_entries_max=1)
        peer = self.meet(2)
        self.register(KEY, KEY + "1")
        self.gossip.push(NOW)
        (request,) = self.gossip.take_requests()
        peer.shown_versions[1] = 1
        self.gossip.receive_answer(request, Message(sender(2), heads={1: Head(1, 1)}), NOW)
        self.assertEqual(self.links["n2:1730"].pushed_version, 1)
        self.gossip.push(NOW)
        (request,) = self.gossip.take_requests()
        self.assertEqual([entry.n for entry in request.message.deltas[0].added], [2])

    def test_refused(self) -> None:
        """Entries that a peer did not accept are left to the next round."""
        self.gossip.push(NOW)
        request = self.gossip.take_requests()[0]
        self.gossip.receive_answer(request, Message(sender(2)), NOW)
        self.assertEqual(self.links["n2:1730"].pushed_version, 1)
        self.gossip.push(NOW)
        self.assertEqual(self.sent(), [])

    def test_settings_for_one(self) -> None:
        """A setting that waits for one peer goes to that peer only, whichever link is served first."""
        for number in (2, 3):
            link = self.links[f"n{number}:1730"]
            link.unsent_settings.append(setting())
            self.gossip.push(NOW)
            told = {request.address: request.message.settings for request in self.gossip.take_requests()}
            self.assertEqual([address for address, settings in told.items() if settings], [link.address])
            self.begin()
            self.meet(2)
            self.meet(3)
            self.register(KEY)

    def test_answered_by_another(self) -> None:
        """An answer of another node to a push replaces no peer, because the time of the question is unknown."""
        self.gossip.push(NOW)
        request = self.gossip.take_requests()[0]
        self.gossip.receive_answer(request, Message(sender(9)), NOW + 50.0)
        self.assertFalse(self.two.is_gone)
