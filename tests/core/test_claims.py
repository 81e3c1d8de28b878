"""Rules 1 to 4 at one node, to which others' ledgers are told by hand."""

from __future__ import annotations

from bender.core.claims import Claims, RegistrationUpdate
from bender.core.ledger import Claim, End, Head
from bender.core.peers import Peers
from bender.core.timing import Timing
from tests.core.claims_case import NOW, OTHER_KEY, ClaimsCase
from tests.core.cluster import BODY, KEY, TTL_S, update


class Merging:
    """Returns an update, and notes the bodies that it is given."""

    def __init__(self, update: RegistrationUpdate | None) -> None:
        self._update = update
        self.bodies: list[tuple[bytes | None, bytes | None]] = []

    def __call__(self, registered: bytes | None, hidden: bytes | None) -> RegistrationUpdate | None:
        self.bodies.append((registered, hidden))
        return self._update


class Beginning(ClaimsCase):
    def test_at_first(self) -> None:
        """Nothing is held back, there is no guard, and nobody was heard."""
        self.assertEqual(
            (self.claims.is_frozen, self.claims.all_peers_answered, self.claims.guard.is_on), (False, False, False)
        )
        self.assertTrue(self.claims.is_settled)

    def test_inherited(self) -> None:
        """What the incarnation before knew is remembered for as long as others' ledgers are, by the usual ttl."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        claims = Claims(9, Timing(0.1, 0.5), Peers("n1:1730", Timing()), self.view, NOW, 1)
        claims.all_peers_answered = True
        self.assertFalse(claims.guard.is_on)
        claims.settle(NOW + Timing(0.1, 0.5).ledger_kept_s(0.0))
        self.assertFalse(claims.is_settled)
        claims.settle(NOW + 600.85)
        self.assertTrue(claims.is_settled)

    def test_inherited_and_told(self) -> None:
        """What somebody has told of is not waited for any more."""
        self.hear(2)
        self.tell(2)
        self.claims.refresh(KEY, NOW)
        claims = Claims(9, Timing(), self.peers, self.view, NOW, 1)
        self.assertFalse(claims.is_settled)
        claims.join(self.others[2].delta(Head()))
        claims.settle(NOW)
        self.assertTrue(claims.is_settled)

    def test_inherited_hidden(self) -> None:
        """What it had hidden stays so as long as somebody may tell of it."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.view.show(KEY, None, (), lost=True)
        claims = Claims(9, Timing(), self.peers, self.view, NOW, 1)
        claims.settle(NOW)
        self.assertEqual(self.view.known_keys(), [KEY])
        for _ in range(2):
            claims.settle(NOW + 614.0)
        self.assertEqual(self.view.known_keys(), [])

    def test_taken_along_unseen(self) -> None:
        """A claim that was not shown yet is shown by the incarnation that goes on with it."""
        self.claims.is_frozen = True
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        claims = Claims(9, Timing(), self.peers, self.view, NOW, 1)
        claims.take_over(self.claims.leases)
        claims.settle(NOW)
        self.assertEqual(self.view.listed_keys(), [KEY])


class Winning(ClaimsCase):
    """Which claim speaks for a key."""

    def test_not_shown_yet(self) -> None:
        """It does before anybody has looked at what came."""
        self.hear(2)
        claim = self.tell(2)
        self.assertEqual((self.claims.winner(KEY, NOW), self.claims.listed_claim(KEY)), (claim, None))

    def test_not_hidden_yet(self) -> None:
        """One that has stopped counting does not, though it is shown for a moment."""
        self.hear(2)
        claim = self.tell(2)
        self.claims.refresh(KEY, NOW)
        self.assertEqual(self.claims.winner(KEY, NOW + 12.9), claim)
        self.assertEqual((self.claims.winner(KEY, NOW + 13.0), self.claims.listed_claim(KEY)), (None, claim))

    def test_largest(self) -> None:
        """Of several that count the one of the largest rank does, wherever it stands."""
        for number in (2, 3, 4):
            self.hear(number)
        self.tell(2)
        claim = self.tell(3, rev=2, root=(2, 1))
        self.tell(4, root=(2, 1))
        self.assertEqual(self.claims.winner(KEY, NOW), claim)

    def test_hidden(self) -> None:
        """Of those that are hidden it would be the largest."""
        for number in (2, 3, 4):
            self.hear(number)
        self.tell(2)
        claim = self.tell(3, rev=2, root=(2, 1))
        self.tell(4, root=(2, 1))
        self.claims.refresh(KEY, NOW)
        self.claims.refresh(KEY, NOW + 13.0)
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "node-lost")])
        self.assertEqual(self.claims.hidden_claim(KEY), claim)


class Registering(ClaimsCase):
    def test_again(self) -> None:
        """The same again moves the deadline by the time that has gone."""
        self.assertTrue(self.claims.register(KEY, update(BODY, TTL_S), NOW)[0])
        self.assertFalse(self.claims.register(KEY, update(BODY, TTL_S), NOW + 4.0)[0])
        self.assertEqual((self.lease().deadline, self.claims.ledger.version), (NOW + 14.0, 1))

    def test_rev(self) -> None:
        """A change has a larger rev than all that is known, whether or not it counts."""
        self.hear(2)
        self.tell(2)
        self.tell(3, rev=5)
        self.claims.register(KEY, update(b"new", TTL_S), NOW)
        self.assertEqual(self.own(), [Claim(1, 1, KEY, b"new", TTL_S, 6, 2, 1)])

    def test_new(self) -> None:
        """What begins has rev 1, and its own dot as its root."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.assertEqual(self.own(), [Claim(1, 1, KEY, BODY, TTL_S, 1, 1, 1)])

    def test_another_instance(self) -> None:
        """A registration begins, with a larger rev than all that is known, so that all claims follow it."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.assertFalse(self.claims.register(KEY, update(b"new", TTL_S, succeeds=True), NOW)[0])
        self.assertEqual(self.own(), [Claim(1, 3, KEY, b"new", TTL_S, 2, 1, 3)])
        self.assertEqual(self.happened(), [("online", "registered"), ("changed", "registered")])

    def test_merged_with_what_is_registered(self) -> None:
        """The update is made of the body that is registered; without one the registration is renewed as it is."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        merge = Merging(None)
        self.assertEqual(self.claims.register(KEY, merge, NOW + 4.0), (False, BODY))
        self.assertEqual((merge.bodies, self.lease().deadline), ([(BODY, None)], NOW + 4.0 + TTL_S))

    def test_merged_with_what_is_hidden(self) -> None:
        """The update is made of the body that is hidden, because it may live elsewhere."""
        self.hear(2)
        self.tell(2)
        self.claims.refresh(KEY, NOW)
        self.claims.refresh(KEY, NOW + 13.0)
        merge = Merging(RegistrationUpdate(b"new", TTL_S))
        self.assertEqual(self.claims.register(KEY, merge, NOW + 13.0), (True, b"new"))
        self.assertEqual(merge.bodies, [(None, BODY)])

    def test_refused_by_the_merge(self) -> None:
        """Nothing is changed where the terms cannot be made."""

        def refuse(_registered: bytes | None, _hidden: bytes | None) -> RegistrationUpdate:
            raise ValueError("no")

        self.assertRaises(ValueError, self.claims.register, KEY, refuse, NOW)
        self.assertEqual((self.own(), self.happened()), ([], []))

    def test_another_instance_where_none_is_listed(self) -> None:
        self.assertTrue(self.claims.register(KEY, update(BODY, TTL_S, succeeds=True), NOW)[0])
        self.assertEqual(self.own(), [Claim(1, 1, KEY, BODY, TTL_S, 1, 1, 1)])

    def test_another_instance_and_the_end_of_the_one_before(self) -> None:
        """Who deregisters the one before, and does not know of this one, ends that alone."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.claims.register(KEY, update(b"new", TTL_S, succeeds=True), NOW)
        self.hear(2)
        self.end(2, (1, 1))
        self.claims.refresh(KEY, NOW)
        claim = self.claims.listed_claim(KEY)
        self.assertEqual((claim and claim.body, self.happened()[-1]), (b"new", ("changed", "registered")))

    def test_shorter_ttl(self) -> None:
        """The longer one, and 8·I, is remembered by an end that ends nothing. It is looked at 4.5·I before."""
        self.claims.register(KEY, update(BODY, 20.0), NOW)
        self.claims.register(KEY, update(BODY, TTL_S), NOW + 1.0)
        self.assertEqual(self.own(), [Claim(1, 3, KEY, BODY, TTL_S, 2, 1, 1), End(1, 4, KEY, 28.0, 2, ())])
        (lease,) = (lease for lease in self.claims.leases if isinstance(lease.entry, End))
        self.assertEqual(lease.deadline, NOW + 29.0 - 4.5)

    def test_longer_ttl(self) -> None:
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.claims.register(KEY, update(BODY, 20.0), NOW)
        self.assertEqual([type(entry) for entry in self.own()], [Claim])


class RenewingAsIs(ClaimsCase):
    """The short way of nearly all requests."""

    def test_renewed(self) -> None:
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.assertTrue(self.claims.renew_as_is(KEY, BODY, NOW + 4.0))
        self.assertEqual(self.lease().deadline, NOW + 14.0)

    def test_not_registered_here(self) -> None:
        self.hear(2)
        self.tell(2)
        self.claims.refresh(KEY, NOW)
        self.assertFalse(self.claims.renew_as_is(KEY, BODY, NOW))

    def test_another_body(self) -> None:
        """Nothing is done, and the long way has to be taken."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.assertFalse(self.claims.renew_as_is(KEY, b"new", NOW + 4.0))
        self.assertEqual(self.lease().deadline, NOW + TTL_S)

    def test_not_current(self) -> None:
        """Its claim does not say what the winner says."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.lease().is_current = False
        self.assertFalse(self.claims.renew_as_is(KEY, BODY, NOW + 4.0))
        self.assertEqual(self.lease().deadline, NOW + TTL_S)


class Deregistering(ClaimsCase):
    def test_end(self) -> None:
        """It names all roots, has the largest rev, and is kept for the longest ttl and 8·I; one's own claim goes."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.tell(2, rev=4, ttl_s=30.0)
        self.assertTrue(self.claims.deregister(KEY, NOW))
        self.assertEqual(self.own(), [End(1, 3, KEY, 38.0, 4, ((1, 1), (2, 1)))])
        self.assertEqual([lease.deadline for lease in self.claims.leases], [NOW + 38.0 - 4.5])
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "deregistered")])

    def test_after_an_end(self) -> None:
        """An end says itself how long it is kept."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.end(2, (2, 9), ttl_s=50.0)
        self.claims.deregister(KEY, NOW)
        self.assertEqual(self.own()[-1].ttl_s, 50.0)

    def test_elsewhere(self) -> None:
        """It may be registered at others alone."""
        self.hear(2)
        self.tell(2)
        self.assertTrue(self.claims.deregister(KEY, NOW))
        self.assertIsNone(self.claims.winner(KEY, NOW))


class Shortening(ClaimsCase):
    def test_own(self) -> None:
        """One's own claim ends earlier; of what others have heard nothing is changed."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.hear(2)
        self.tell(2, OTHER_KEY)
        for key in (KEY, OTHER_KEY):
            self.claims.shorten(key, NOW + 2.0)
        self.assertEqual([lease.deadline for lease in self.claims.leases], [NOW + 2.0])


class Following(ClaimsCase):
    """Rule 2."""

    def setUp(self) -> None:
        super().setUp()
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.hear(2)

    def test_follows(self) -> None:
        """One's own claim says what the winner says, and keeps its own renewal."""
        self.tell(2, body=b"new", ttl_s=30.0, rev=2, root=(1, 1))
        self.claims.refresh(KEY, NOW + 1.0)
        self.assertEqual(self.own(), [Claim(1, 3, KEY, b"new", 30.0, 2, 1, 1)])
        self.assertEqual((self.lease().deadline, self.lease().is_current), (NOW + 30.0, True))
        self.assertEqual(self.happened(), [("online", "registered"), ("changed", "registered")])

    def test_follows_a_shorter_ttl(self) -> None:
        """By that it may be over already: it is due now then, or since when it was due before."""
        for at, deadline in ((3.0, 5.0), (7.0, 7.0), (10.0, 10.0), (12.0, 10.0)):
            self.setUp()
            self.tell(2, body=b"new", ttl_s=5.0, rev=2, root=(1, 1))
            self.claims.refresh(KEY, NOW + at)
            self.assertEqual(self.lease().deadline, NOW + deadline)

    def test_follows_once(self) -> None:
        self.tell(2, root=(1, 1))
        self.claims.refresh(KEY, NOW)
        self.assertEqual((self.claims.ledger.version, self.lease().is_current), (1, True))

    def test_lower(self) -> None:
        """Not what ranks lower."""
        self.tell(2, body=b"old", root=(0, 9))
        self.claims.refresh(KEY, NOW)
        self.assertEqual((self.claims.ledger.version, self.lease().is_current), (1, True))

    def test_ended(self) -> None:
        """What was ended is due from that moment on, and no winner to be followed is left."""
        self.end(2, (1, 1))
        self.claims.refresh(KEY, NOW + 1.0)
        self.assertEqual((self.claims.leases.due, self.lease().is_current), ({self.lease(): NOW + 1.0}, False))
        self.claims.refresh(KEY, NOW + 2.0)
        self.assertEqual(self.claims.leases.due, {self.lease(): NOW + 1.0})
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "deregistered")])
