"""Rules 1 to 4: how registrations lapse and end, and what a node sends to peers about them."""

from __future__ import annotations

from bender.core.claims import KEYS_PER_SLICE
from bender.core.entry_validation import VALIDITY
from bender.core.ledger import Claim, Copy, Delta, Gap, Head, Ledger
from bender.core.ttl_limits import TTL_S_MAX
from tests.core.claims_case import NOW, OTHER_KEY, ClaimsCase
from tests.core.cluster import BODY, KEY, TTL_S, update


class Lapsing(ClaimsCase):
    """Rule 3: a claim is over at NOW + 10."""

    def setUp(self) -> None:
        super().setUp()
        self.claims.register(KEY, update(BODY, TTL_S), NOW)

    def is_there(self) -> bool:
        return self.claims.index.lease(KEY) is not None

    def test_alone(self) -> None:
        """Without peers, a claim is removed as soon as it is due."""
        self.assertFalse(self.claims.lapse(NOW + 10.0))
        self.assertTrue(self.is_there())
        self.assertFalse(self.claims.lapse(NOW + 10.25))
        self.assertFalse(self.is_there())
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "expired")])

    def test_just_now(self) -> None:
        """A claim is over at its deadline, and not before."""
        self.claims.leases.due[self.lease()] = None
        self.claims.remove_due(NOW + 9.9)
        self.assertEqual((self.is_there(), self.claims.leases.due), (True, {}))
        self.claims.leases.due[self.lease()] = None
        self.claims.remove_due(NOW + 10.0)
        self.assertFalse(self.is_there())

    def test_asked(self) -> None:
        """A claim that is due waits for answers to questions that were sent after its deadline."""
        peer = self.hear(2, NOW + 9.0)
        self.hear(3, NOW + 9.0).echoed_at = NOW + 30.0
        peer.echoed_at = NOW + 9.9
        self.claims.lapse(NOW + 10.25)
        self.assertEqual((self.is_there(), self.claims.awaits_confirmation(NOW + 10.25)), (True, True))
        peer.echoed_at = NOW + 10.0
        self.assertFalse(self.claims.awaits_confirmation(NOW + 10.25))
        self.claims.remove_due(NOW + 10.25)
        self.assertFalse(self.is_there())

    def test_asked_about_one(self) -> None:
        """Ends and ended claims need no confirmation; a claim that is due from now on needs one."""
        self.hear(2, NOW + 9.0)
        self.claims.register(OTHER_KEY, update(BODY, TTL_S), NOW)
        self.claims.leases.due[self.lease(OTHER_KEY)] = NOW
        self.assertFalse(self.claims.awaits_confirmation(NOW + 10.0))
        self.claims.leases.due[self.lease()] = None
        self.assertFalse(self.claims.awaits_confirmation(NOW + 9.9))
        self.assertTrue(self.claims.awaits_confirmation(NOW + 10.0))

    def test_no_answer(self) -> None:
        """A claim that is due waits for 4.5·I at most."""
        self.hear(2, NOW + 9.0)
        self.claims.lapse(NOW + 14.4)
        self.assertTrue(self.is_there())
        self.claims.lapse(NOW + 14.5)
        self.assertFalse(self.is_there())

    def test_renewed_while_due(self) -> None:
        peer = self.hear(2, NOW + 9.0)
        self.claims.lapse(NOW + 10.25)
        self.lease().deadline = NOW + 20.0
        peer.echoed_at = NOW + 30.0
        self.claims.lapse(NOW + 10.5)
        self.assertEqual((self.is_there(), self.claims.leases.due), (True, {}))
        self.assertFalse(self.claims.awaits_confirmation(NOW + 10.5))
        self.claims.lapse(NOW + 20.25)
        self.assertFalse(self.is_there())

    def test_another_of_the_same(self) -> None:
        """A claim waits until all peers have shown that they have another claim of the key."""
        two, three = self.hear(2, NOW + 9.0), self.hear(3, NOW + 9.0)
        self.tell(2, root=(1, 1))
        two.echoed_at = three.echoed_at = NOW + 10.0
        self.claims.lapse(NOW + 10.25)
        self.assertTrue(self.is_there())
        three.shown_versions[2] = 1
        self.claims.lapse(NOW + 10.25)
        self.assertFalse(self.is_there())

    def test_another_of_less(self) -> None:
        """A claim waits as long as another claim of a lower rank has not followed it."""
        two = self.hear(2, NOW + 9.0)
        self.tell(2, root=(0, 9))
        two.echoed_at = NOW + 10.0
        self.claims.lapse(NOW + 10.25)
        self.assertTrue(self.is_there())

    def test_another_that_does_not_count(self) -> None:
        """An ended claim, or a claim of an unknown node, does not count as another claim."""
        two = self.hear(2, NOW + 9.0)
        self.tell(2, root=(0, 9))
        self.end(2, (0, 9))
        self.tell(3, root=(0, 8))
        two.echoed_at = NOW + 10.0
        self.claims.lapse(NOW + 10.25)
        self.assertFalse(self.is_there())

    def test_slices(self) -> None:
        """At most one slice of claims is removed at once."""
        for i in range(KEYS_PER_SLICE):
            self.claims.register(f"{KEY}{i}", update(BODY, TTL_S), NOW)
        self.assertTrue(self.claims.lapse(NOW + 10.25))
        self.assertEqual(len(self.own()), 1)
        self.assertFalse(self.claims.lapse(NOW + 10.25))
        self.assertEqual(self.own(), [])


class Ending(ClaimsCase):
    """Rule 4: when ended claims and ends are removed."""

    def test_own_claim(self) -> None:
        """An ended claim of this node is removed when all peers have the end."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        two, three = self.hear(2), self.hear(3)
        two.echoed_at = three.echoed_at = NOW + 90.0
        self.end(2, (1, 1))
        self.claims.refresh(KEY, NOW)
        self.claims.remove_due(NOW + 0.25)
        self.assertEqual(len(self.own()), 1)
        three.shown_versions[2] = 1
        self.claims.remove_due(NOW + 0.25)
        self.assertEqual(self.own(), [])

    def test_own_claim_at_last(self) -> None:
        """An ended claim of this node is removed 4.5·I after the end arrived, at the latest."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.hear(2)
        self.hear(3)
        self.end(2, (1, 1))
        self.claims.refresh(KEY, NOW + 1.0)
        self.claims.remove_due(NOW + 5.4)
        self.assertEqual(len(self.own()), 1)
        self.claims.remove_due(NOW + 5.5)
        self.assertEqual(self.own(), [])

    def test_the_end_itself(self) -> None:
        """An end is removed when its time is over, but not before its claims have been gone for 4.5·I."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.tell(2, root=(1, 1))
        self.claims.deregister(KEY, NOW)
        self.claims.lapse(NOW + 13.75)
        self.claims.lapse(NOW + 17.9)
        self.others[2].remove(1)
        self.join(2)
        for at in (18.5, 22.9):
            self.claims.lapse(NOW + at)
            self.assertEqual(len(self.own()), 1)
        self.claims.lapse(NOW + 23.25)
        self.assertEqual(self.own(), [])

    def test_back_for_a_while(self) -> None:
        """An ended claim may come back from a node that was cut off, and then its end stays longer."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.claims.deregister(KEY, NOW)
        self.claims.lapse(NOW + 13.75)
        self.tell(2, root=(1, 1))
        self.claims.lapse(NOW + 18.5)
        self.others[2].remove(1)
        self.join(2)
        self.claims.lapse(NOW + 23.25)
        self.assertEqual(len(self.own()), 1)
        self.claims.lapse(NOW + 28.0)
        self.assertEqual(self.own(), [])

    def test_the_end_of_another(self) -> None:
        """A claim of another root does not keep an end."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.claims.deregister(KEY, NOW)
        self.tell(2)
        self.claims.lapse(NOW + 13.75)
        self.claims.lapse(NOW + 18.5)
        self.assertEqual(self.own(), [])


class Telling(ClaimsCase):
    """Deltas that a node takes from peers, and sends to them."""

    def test_join(self) -> None:
        """A join returns the keys of all added and removed entries, and the largest ttl is computed again."""
        peer = self.hear(2)
        self.tell(2)
        self.assertEqual(self.claims.copies.ttl_max_s(peer), TTL_S)
        self.others[2].remove(1)
        self.others[2].add(Claim(2, 3, OTHER_KEY, BODY, 30.0, 1, 2, 3))
        self.assertEqual([*self.join(2)], [KEY, OTHER_KEY])
        self.assertEqual(self.claims.copies.ttl_max_s(peer), 30.0)
        self.assertEqual(self.claims.index.entries(KEY), ())

    def test_two_contents_of_a_version(self) -> None:
        """A copy is received again if a peer has the same version with a larger checksum; the own ledger is not."""
        self.tell(2)
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        checksums = {number: self.claims.copies.head(number).checksum or 0 for number in (1, 2)}
        for version, off, expected in ((1, 0, 1), (1, -1, 1), (2, 1, 1), (1, 1, 0)):
            heads = {number: Head(version, version, checksum + off) for number, checksum in checksums.items()}
            self.claims.copies.compare({**heads, 9: Head(1, 1, 1)}, NOW)
            self.assertEqual([self.claims.copies.head(number).version for number in (1, 2)], [1, expected])
        self.claims.copies.compare({2: Head(0, 0, 2**64 - 1)}, NOW)
        self.assertEqual([entry.node for entry in self.claims.index.entries(KEY)], [2, 1])

    def test_content_that_is_not_told(self) -> None:
        """A head without a checksum, as of an earlier release, is not compared."""
        self.tell(2)
        self.claims.copies.compare({2: Head(1, 1)}, NOW)
        self.assertEqual(self.claims.copies.head(2), Head(1, 1))

    def test_pages_of_the_dead(self) -> None:
        """Pages are given up for a delta that is as new, or when none of their claims counts any more."""
        for later_s, gone in ((0.0, False), (12.9, False), (13.0, True)):
            self.begin()
            peer = self.hear(2)
            ledger = self.others[2] = Ledger(2)
            for n in range(1, 5):
                ledger.add(Claim(2, n, f"{KEY}{n}", BODY, TTL_S, 1, 2, n))
            self.claims.join(ledger.delta(Head(), 2))
            for version in (1, 2):
                self.assertEqual(self.claims.copies.head(2), Head(0, 2))
                self.claims.copies.give_up_pages(Delta(2, 0, 0, version, version), peer, NOW + later_s)
                given_up = gone or version == 2
                self.assertEqual(self.claims.copies.head(2), Head(0, 0) if given_up else Head(0, 2))
                if given_up:
                    break

    def test_ttl_max(self) -> None:
        """Ends do not count for the largest ttl."""
        peer = self.hear(2)
        self.assertEqual(self.claims.copies.ttl_max_s(peer), 0.0)
        peer.ttls = None
        self.tell(2, ttl_s=20.0)
        self.tell(2, OTHER_KEY)
        self.end(2, (2, 1), ttl_s=90.0)
        self.assertEqual(self.claims.copies.ttl_max_s(peer), 20.0)

    def test_outlasted(self) -> None:
        """A time is compared with `--ttl` and with the longest ttl of the peer's claims."""
        peer = self.hear(2)
        outlasted = self.claims.copies.are_outlasted
        self.assertEqual([outlasted(peer, waited_s) for waited_s in (0.0, 9.9, 10.0)], [False, False, True])
        self.tell(2, ttl_s=20.0)
        self.assertEqual([outlasted(peer, waited_s) for waited_s in (10.0, 19.9, 20.0)], [False, False, True])

    def test_ttl_beyond_all_that_are_valid(self) -> None:
        """The largest ttl is cut to the valid maximum, because peers would refuse a counter with more."""
        peer = self.hear(2)
        self.tell(2, ttl_s=3 * TTL_S_MAX)
        self.assertEqual(self.claims.copies.ttl_max_s(peer), TTL_S_MAX)

    def test_ttl_of_a_claim_that_no_client_can_have(self) -> None:
        """A claim with a longer ttl than clients can have is invalid, because peers would refuse its end."""
        self.claims.copies._validity = VALIDITY
        self.hear(2)
        for ttl_s, invalid in ((TTL_S_MAX, 0), (TTL_S_MAX + 1, 1)):
            body = b'{"ttl":%.1f,"weight":1,"meta":{},"registered":1,"node":"n2"}' % ttl_s
            self.tell(2, body=body, ttl_s=ttl_s)
            self.assertEqual(sum(count for count, _ in self.claims.copies.invalid_entries.values()), invalid)

    def test_brief(self) -> None:
        """A claim with the terms of a claim that the receiver has is sent as a copy of that."""
        claim = self.tell(2)
        self.tell(3, root=(2, 1))
        self.tell(4, body=b"new", root=(2, 1))
        peer = self.hear(5)
        told = self.others[3].delta(self.claims.copies.head(9))
        self.assertEqual(self.claims.copies.with_copies_for(told, peer), told)
        peer.shown_versions[2] = 1
        copy = claim.copied_by(3, 1)
        self.assertIsInstance(copy, Copy)
        self.assertEqual(self.claims.copies.with_copies_for(told, peer).added, (copy,))
        self.end(6, (9, 9))
        for number in (4, 6):
            other = self.others[number].delta(self.claims.copies.head(9))
            self.assertEqual(self.claims.copies.with_copies_for(other, peer), other)

    def test_copy_of_nothing(self) -> None:
        """A delta with a copy of an unknown claim is a gap."""
        copied = Delta(3, 0, 0, 1, 1, (Claim(2, 1, KEY, BODY, TTL_S, 1, 2, 1).copied_by(3, 1),))
        self.assertRaises(Gap, self.claims.join, copied)

    def test_heads(self) -> None:
        """Heads are those of all ledgers with entries here; a peer with a lower head lacks entries."""
        self.tell(2)
        self.assertEqual([*self.claims.copies.heads()], [2])
        self.assertEqual([ledger.incarnation for ledger in self.claims.copies.ahead_of({})], [2])
        self.assertEqual(self.claims.copies.ahead_of(self.claims.copies.heads()), [])
