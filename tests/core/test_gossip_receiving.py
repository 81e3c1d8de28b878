"""The receiving half of conversations, message by message."""

from __future__ import annotations

from collections.abc import Mapping

from bender.core.last_writer_wins import Configuration
from bender.core.ledger import Delta, Head
from bender.core.messages import Counter, Message, OutgoingMessage
from bender.core.setting_pages import SETTINGS_PER_MESSAGE_MAX
from tests.core.cluster import KEY, TTL_S
from tests.core.gossip_case import INTERVAL_S, NOW, RoundsCase, counter, ledger, sender, setting


class Answering(RoundsCase):
    """The answers of a node to the rounds of a peer."""

    def greeting(self, number: int = 2, heads: Mapping[int, Head] | None = None, digest: int | None = None) -> Message:
        digest = self.configuration.digest if digest is None else digest
        return Message(sender(number), heads or {}, (counter(number, 6),), ask=NOW - 0.1, digest=digest)

    def test_all_there_is(self) -> None:
        """The peer gets the entries that it lacks, the counters of their nodes, and the echo of its question."""
        self.meet(2)
        self.meet(3, beats=0)
        self.register(KEY, KEY + "1")
        self.tell(ledger(3, KEY))
        answer, settings = self.receive(self.greeting())
        self.assertEqual(([delta.incarnation for delta in answer.deltas], answer.echo), ([1, 3], NOW - 0.1))
        self.assertEqual([each.incarnation for each in answer.counters], [1, 2, 3])
        self.assertEqual((answer.ask, answer.bucket_digests, settings), (None, (), ()))
        self.assertEqual(answer.heads, {1: Head(2, 2), 3: Head(1, 1)})
        self.assertEqual(self.sent(), [])
        self.assertIsNone(self.gossip.surpassing_beats(Message(sender(2), {1: Head(2, 2)})))

    def test_others_alone(self) -> None:
        """Sent entries of other nodes do not count as sent entries of this node."""
        self.meet(2)
        self.meet(3)
        self.register(KEY)
        self.tell(ledger(3, KEY, KEY + "1"))
        self.receive(self.greeting(heads={1: Head(1, 1)}))
        self.assertEqual(self.gossip.surpassing_beats(Message(sender(2), {1: Head(1, 1)})), 0)

    def test_a_page(self) -> None:
        """An answer that is a page, or leaves a ledger out, has no echo."""
        for page_entries_max, found in ((1, [1]), (2, [1]), (3, [1, 3])):
            self.begin(page_entries_max)
            self.meet(2)
            self.meet(3)
            self.register(KEY, KEY + "1")
            self.tell(ledger(3, KEY))
            answer, _ = self.receive(self.greeting())
            self.assertEqual([delta.incarnation for delta in answer.deltas], found)
            self.assertEqual(answer.echo is None, page_entries_max < 3)

    def test_what_is_not_passed_on(self) -> None:
        """A peer does not get its own ledger, nor the ledgers of nodes that are not heard."""
        self.meet(2)
        self.peers.meet(counter(3, 5), NOW)
        self.tell(ledger(2, KEY))
        self.tell(ledger(3, KEY))
        answer, _ = self.receive(self.greeting())
        self.assertEqual((answer.deltas, answer.echo), ((), NOW - 0.1))

    def test_another_configuration(self) -> None:
        self.meet(2)
        answer, _ = self.receive(self.greeting(digest=1))
        self.assertEqual(answer.bucket_digests, self.configuration.bucket_digests)

    def test_asks_back(self) -> None:
        self.meet(2)
        self.assertEqual(self.receive(self.greeting(), ask=True)[0].ask, NOW)

    def test_asks_back_while_it_waits(self) -> None:
        """An answer asks back while a claim is due here."""
        self.meet(2)
        self.register(KEY)
        self.claims.lapse(NOW + TTL_S + 1.0)
        self.assertTrue(self.gossip.awaits_answers(NOW + TTL_S + 1.0))
        answer, _ = self.receive(self.greeting(), NOW + TTL_S + 1.0)
        self.assertEqual(answer.ask, NOW + TTL_S + 1.0)

    def test_stranger(self) -> None:
        """A new peer is asked in its turn, and so is a peer that is known only through counters of others."""
        self.receive(self.greeting(3))
        self.assertEqual(self.sent(), ["n3:1730"])
        self.peers.meet(counter(4, 5), NOW)
        self.receive(self.greeting(4))
        self.assertEqual(self.sent(), ["n4:1730"])

    def test_taken_in(self) -> None:
        """The message is applied before the answer is made, so that events do not wait for the answer."""
        self.gossip.apply_request(self.greeting(3), NOW, waited_s=0.0)
        self.assertEqual((3 in self.peers, self.sent()), (True, []))

    def test_late(self) -> None:
        """A message that may have waited here introduces no peer, but its sender is asked."""
        self.meet(2)
        self.receive(self.greeting(3, {1: Head(0, 0)}), waited_s=5.0)
        self.assertEqual((3 in self.peers, self.sent()), (False, ["n3:1730"]))
        self.receive(self.greeting(2), waited_s=5.0)
        peer = self.peers.get(2)
        assert peer is not None
        self.assertEqual((peer.beats, peer.known_beats), (6, 6))

    def test_itself(self) -> None:
        """A question of this node itself is answered with a greeting, and nothing of it is applied."""
        self.register(KEY)
        answer, settings = self.receive(Message(sender(1), {}, (counter(2, 5),)))
        self.assertEqual((answer.heads, answer.deltas, settings), ({1: Head(1, 1)}, (), ()))
        self.assertEqual(len(self.peers), 0)

    def test_push(self) -> None:
        """A push is answered with the reached versions, and with the other settings of its buckets."""
        self.meet(2)
        here = setting("backend/here")
        self.configuration.join(here, NOW)
        number = next(i for i in range(256) if self.configuration.settings_in_bucket(i))
        push = Message(
            sender(2), None, (counter(2, 6),), (ledger(2, KEY).delta(Head()),), buckets=(number,), settings=(setting(),)
        )
        answer, settings = self.receive(push)
        self.assertEqual((answer.heads, settings), ({2: Head(1, 1)}, ("backend/web",)))
        self.assertEqual(answer.settings, (here,))
        self.assertEqual(self.receive(push)[1], ())
        known = Message(sender(2), None, buckets=(number,), settings=(here,))
        self.assertEqual(self.receive(known)[0].settings, ())


class Taking(RoundsCase):
    """The effects of a message."""

    def take(self, message: Message, at: float = NOW) -> None:
        self.gossip.answer(self.gossip.apply_request(message, at, waited_s=0.0), at, ask=False)

    def test_counters(self) -> None:
        """A counter is believed together with the version of the ledger that it came with."""
        self.meet(2)
        self.peers.meet(counter(3, 4), NOW)
        three = self.peers.get(3)
        assert three is not None
        self.take(Message(sender(2), {3: Head(1, 1)}, (counter(3, 5),)))
        self.assertEqual((three.beats, three.known_beats), (-1, 5))
        told = ledger(3, KEY)
        self.take(Message(sender(2), {3: Head(1, 1)}, (counter(3, 5),), (told.delta(Head()),)))
        self.assertEqual((three.beats, self.claims.listed_claim(KEY)), (5, told.entries[1]))
        self.take(Message(sender(2), {3: Head(1, 1)}, (counter(3, 6),)))
        self.assertEqual(three.beats, 6)

    def test_no_news(self) -> None:
        """The same heartbeat may turn out to be older, even if the ledger is not here."""
        two = self.meet(2)
        self.take(Message(sender(2), {2: Head(5, 5)}, (counter(2, 5, 1.0),)))
        self.assertEqual(two.heard_at, NOW - 1.0)

    def test_without_heads(self) -> None:
        """In a push, a counter is believed with the version of its delta."""
        two = self.meet(2)
        told = ledger(2, KEY, KEY + "1")
        self.take(Message(sender(2), None, (counter(2, 6),), (told.delta(Head(1, 1)),)))
        self.assertEqual((two.beats, self.claims.copies.head(2)), (5, Head()))
        self.take(Message(sender(2), None, (counter(2, 6),), (told.delta(Head()),)))
        self.assertEqual((two.beats, self.claims.copies.head(2)), (6, Head(2, 2)))

    def test_own_counter(self) -> None:
        """A node is not its own peer."""
        self.meet(2)
        self.take(Message(sender(2), {}, (counter(1, 5),)))
        self.assertNotIn(1, self.peers)

    def test_heads(self) -> None:
        """The shown versions of known nodes are kept, and never decrease."""
        two = self.meet(2)
        self.meet(3)
        self.take(Message(sender(2), {1: Head(4, 4), 3: Head(7, 8), 9: Head(1, 1)}))
        self.take(Message(sender(2), {1: Head(3, 3), 3: Head(9, 9)}))
        self.assertEqual(two.shown_versions, {1: 4, 3: 9})
        two.shown_versions.clear()
        self.take(Message(sender(2), {1: Head(0, 2)}))
        self.assertEqual(two.shown_versions, {1: 0})

    def test_echo(self) -> None:
        """An echo counts if all deltas of its message fitted."""
        two = self.meet(2)
        gap = ledger(2, KEY, KEY + "1").delta(Head(1, 1))
        self.take(Message(sender(2), {}, (), (gap,), echo=NOW))
        self.assertEqual(two.echoed_at, float("-inf"))
        for echo, known in ((NOW, NOW), (NOW - 1.0, NOW), (NOW + 1.0, NOW + 1.0)):
            self.take(Message(sender(2), {}, echo=echo))
            self.assertEqual(two.echoed_at, known)

    def test_older_than_the_pages(self) -> None:
        """A message with an outdated delta is not an echo.

        When the ledger's node is silent, the pages are given up, and older deltas fit.
        """
        two, three = self.meet(2), self.meet(3)
        told = ledger(3, KEY, KEY + "1", KEY + "2")
        older = told.delta(Head())
        told.remove(1)
        self.claims.join(told.delta(Head(), 1))
        for at, head in ((NOW + 5.9, Head(0, 2)), (NOW + 6.0, Head())):
            self.take(Message(sender(2), {}, (), (older,), echo=NOW), at)
            self.assertEqual((two.echoed_at, self.claims.copies.head(3)), (float("-inf"), head))
        self.take(Message(sender(2), {}, (), (older,), echo=NOW), NOW + 6.0)
        self.assertEqual((two.echoed_at, self.claims.copies.head(3)), (NOW, Head(3, 3)))
        self.assertFalse(three.is_gone)

    def test_another_content(self) -> None:
        """If a peer has a version with a larger checksum, the whole ledger is requested."""
        self.meet(2)
        self.meet(3)
        self.tell(ledger(3, KEY))
        checksum = self.claims.copies.head(3).checksum or 0
        answer, _ = self.receive(Message(sender(2), {3: Head(1, 1, checksum + 1)}, ask=NOW))
        self.assertEqual(answer.heads, {})

    def test_ledgers_that_are_not_taken(self) -> None:
        """The own ledger, and those of unknown nodes, are not accepted."""
        self.meet(2)
        self.take(Message(sender(2), {}, (), (ledger(1, KEY).delta(Head()), ledger(9, KEY).delta(Head()))))
        self.assertEqual([*self.claims.copies.heads()], [])

    def test_gap_beside_others(self) -> None:
        """A delta that does not fit does not prevent others from being accepted."""
        self.meet(2)
        self.meet(3)
        deltas = (ledger(2, KEY, KEY + "1").delta(Head(1, 1)), ledger(3, KEY).delta(Head()))
        self.take(Message(sender(2), {}, (), deltas))
        self.assertEqual([*self.claims.copies.heads()], [3])

    def test_back_to_life(self) -> None:
        """The hidden claims of a node that is heard again are evaluated again."""
        two = self.meet(2)
        self.tell(ledger(2, KEY))
        self.claims.refresh(KEY, NOW)
        self.claims.refresh(KEY, NOW + 20.0)
        self.assertIsNone(self.claims.listed_claim(KEY))
        self.take(Message(sender(2), {2: Head(1, 1)}, (counter(2, 9),)), NOW + 20.0)
        self.claims.settle(NOW + 20.0)
        self.assertIsNotNone(self.claims.listed_claim(KEY))
        self.assertEqual(two.beats, 9)


class Answered(RoundsCase):
    """A peer answers a round, and gets the entries that it lacks."""

    def answer(self, request: OutgoingMessage, message: Message, at: float = NOW) -> list[Message]:
        self.gossip.receive_answer(request, message, at)
        return [request.message for request in self.gossip.take_requests()]

    def message(self, *deltas: Delta, heads: Mapping[int, Head] | None = None, digest: int | None = None) -> Message:
        digest = self.configuration.digest if digest is None else digest
        return Message(sender(2), heads or {}, (counter(2, 6),), deltas, digest=digest)

    def test_found(self) -> None:
        """The answering peer and the time of its answer are recorded; another peer at this address is replaced."""
        self.peers.meet(Counter(3, "n3", "n2:1730", 5, 9.0), NOW - 9.0)
        request = self.asked()
        self.assertEqual(self.answer(request, self.message(), NOW + 0.5), [])
        link, former = self.links["n2:1730"], self.peers.get(3)
        self.assertEqual((link.incarnation, link.open_rounds, link.answer_s), (2, set(), 0.5))
        self.assertEqual(former and former.replaced_at, NOW)
        self.assertIn(2, self.peers)

    def test_itself(self) -> None:
        """An answer of this node itself is recorded for the address, and not applied."""
        request = self.asked()
        self.assertEqual(self.gossip.receive_answer(request, Message(sender(1), {}, (counter(2, 6),)), NOW), ())
        self.assertEqual((self.links["n2:1730"].incarnation, len(self.peers)), (1, 0))

    def test_agreed(self) -> None:
        """A peer with the same configuration agrees, as of the time of the question."""
        two = self.meet(2)
        request = self.asked()
        self.answer(request, self.message(digest=1))
        self.assertEqual(two.agreed_at, float("-inf"))
        self.answer(request, self.message())
        self.assertEqual(two.agreed_at, NOW)
        self.gossip.ask(["n2:1730"], NOW - 5.0)
        (earlier,) = self.gossip.take_requests()
        self.answer(earlier, self.message())
        self.assertEqual(two.agreed_at, NOW)

    def test_second_request(self) -> None:
        """The second request has no heads, and a counter for each of its ledgers."""
        self.meet(2)
        self.meet(3)
        self.tell(ledger(3, KEY))
        (second,) = self.answer(self.asked(), self.message())
        self.assertEqual((second.heads, second.counters, second.echo), (None, (counter(3, 5),), None))
        self.assertEqual([delta.incarnation for delta in second.deltas], [3])
        taken = OutgoingMessage("n2:1730", second, INTERVAL_S)
        self.assertEqual(self.answer(taken, Message(sender(2), {3: Head(1, 1)})), [])
        self.assertEqual(self.answer(self.asked(), self.message(heads={3: Head(1, 1)})), [])

    def test_asked_back(self) -> None:
        """A peer that asks back gets its echo at once, unless it lacks more than a page."""
        self.begin(page_entries_max=1)
        self.meet(2)
        asking = Message(sender(2), {}, digest=self.configuration.digest, ask=77.0)
        (second,) = self.answer(self.asked(), asking)
        self.assertEqual((second.echo, second.deltas), (77.0, ()))
        self.register(KEY, KEY + "1")
        (second,) = self.answer(self.asked(), asking)
        self.assertEqual((second.echo, len(second.deltas)), (None, 1))

    def test_buckets(self) -> None:
        """All settings of differing buckets are sent, and the other node's settings of these come back."""
        self.meet(2)
        here = setting()
        other = Configuration(1000)
        self.configuration.join(here, NOW)
        answer = Message(sender(2), {}, digest=other.digest, bucket_digests=other.bucket_digests)
        (second,) = self.answer(self.asked(), answer)
        self.assertEqual((len(second.buckets), second.settings, second.deltas), (1, (here,), ()))
        self.assertEqual(self.configuration.settings_in_bucket(second.buckets[0]), [here])

    def test_many_buckets(self) -> None:
        """The second request has as many buckets as fit, and at least one."""
        self.meet(2)
        for i in range(2 * SETTINGS_PER_MESSAGE_MAX):
            self.configuration.join(setting(f"backend/b{i}"), NOW)
        other = Configuration(1000)
        answer = Message(sender(2), {}, digest=other.digest, bucket_digests=other.bucket_digests)
        (second,) = self.answer(self.asked(), answer)
        following = self.configuration.settings_in_bucket(
            self.configuration.differing_buckets(other.bucket_digests)[len(second.buckets)]
        )
        self.assertLessEqual(len(second.settings), SETTINGS_PER_MESSAGE_MAX)
        self.assertGreater(len(second.settings) + len(following), SETTINGS_PER_MESSAGE_MAX)

    def test_agreement(self) -> None:
        """If the second request has all differing buckets, its answer leads to agreement, as of the round."""
        two = self.meet(2)
        self.configuration.join(setting(), NOW)
        other = Configuration(1000)
        answer = Message(sender(2), {}, digest=other.digest, bucket_digests=other.bucket_digests)
        self.gossip.receive_answer(self.asked(), answer, NOW + 0.5)
        (second,) = self.gossip.take_requests()
        self.assertEqual((second.comparison_ask, two.agreed_at), (NOW, float("-inf")))
        self.gossip.receive_answer(second, Message(sender(2), {}), NOW + 1.0)
        self.assertEqual(two.agreed_at, NOW)

    def test_no_agreement(self) -> None:
        """A second request without buckets, or with a part of the differing ones, does not lead to agreement."""
        self.meet(2)
        self.register(KEY)
        self.gossip.receive_answer(self.asked(), self.message(), NOW)
        (without,) = self.gossip.take_requests()
        for i in range(2 * SETTINGS_PER_MESSAGE_MAX):
            self.configuration.join(setting(f"backend/b{i}"), NOW)
        other = Configuration(1000)
        answer = Message(sender(2), {}, digest=other.digest, bucket_digests=other.bucket_digests)
        self.gossip.receive_answer(self.asked(), answer, NOW)
        (partly,) = self.gossip.take_requests()
        self.assertEqual((without.message.buckets, len(without.message.deltas), without.comparison_ask), ((), 1, None))
        self.assertGreater(len(partly.message.buckets), 0)
        self.assertIsNone(partly.comparison_ask)

    def test_more_to_come(self) -> None:
        """After a page the next round follows at once, unless the page had nothing new."""
        self.meet(2)
        page = ledger(2, KEY, KEY + "1").delta(Head(), 1)
        request = self.asked()
        (following,) = self.answer(request, self.message(page, heads={2: Head(2, 2)}), NOW + 0.5)
        self.assertEqual((following.ask, self.gossip.paged_at), (NOW + 0.5, NOW + 0.5))
        self.assertEqual(self.answer(request, self.message(page, heads={2: Head(2, 2)})), [])

    def test_more_to_come_of_one(self) -> None:
        self.meet(2)
        self.meet(3)
        deltas = (ledger(3, KEY).delta(Head()), ledger(2, KEY, KEY + "1").delta(Head(), 1))
        (following,) = self.answer(self.asked(), self.message(*deltas, heads={3: Head(1, 1), 2: Head(2, 2)}))
        self.assertEqual(following.ask, NOW)

    def test_all_has_come(self) -> None:
        """After an answer that is not a page, no round follows."""
        self.meet(2)
        whole = ledger(2, KEY).delta(Head())
        self.assertEqual(self.answer(self.asked(), self.message(whole, heads={2: Head(1, 1)})), [])
        self.assertEqual(self.gossip.paged_at, float("-inf"))

    def test_a_page_was_taken(self) -> None:
        """A round follows a second request if its page was accepted, or if its answer had new settings."""
        self.begin(page_entries_max=1)
        self.meet(2)
        self.register(KEY, KEY + "1")
        self.gossip.receive_answer(self.asked(), self.message(), NOW)
        (second,) = self.gossip.take_requests()
        for heads, asks in (({1: Head(0, 1)}, 1), ({}, 0), (None, 0)):
            answer = Message(sender(2), heads)
            self.assertEqual(len(self.answer(second, answer)), asks)
        brought = Message(sender(2), {}, settings=(setting(),))
        self.assertEqual(self.gossip.receive_answer(second, brought, NOW), ("backend/web",))
        self.assertEqual(self.sent(), ["n2:1730"])
        self.assertEqual(self.gossip.receive_answer(second, brought, NOW), ())
        self.assertEqual(self.sent(), [])
