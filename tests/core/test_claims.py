"""Rules 1 to 4 at one node, with the ledgers of other nodes written by hand."""

from __future__ import annotations

from bender.core.claims import Claims
from bender.core.ledger import Claim, End, Head
from bender.core.peers import Peers
from bender.core.registration_update import RegistrationUpdate
from bender.core.timing import Timing
from tests.core.claims_case import NOW, OTHER_KEY, ClaimsCase
from tests.core.cluster import BODY, KEY, TTL_S, update


class Merging:
    """A merge that returns an update, and records the bodies that it gets."""

    def __init__(self, update: RegistrationUpdate | None) -> None:
        self._update = update
        self.bodies: list[tuple[bytes | None, bytes | None]] = []

    def __call__(self, registered: bytes | None, hidden: bytes | None) -> RegistrationUpdate | None:
        self.bodies.append((registered, hidden))
        return self._update


class Beginning(ClaimsCase):
    def test_at_first(self) -> None:
        """At first no event is held back, the guard is off, and no peer has answered."""
        self.assertEqual(
            (self.claims.is_frozen, self.claims.all_peers_answered, self.claims.guard.is_on), (False, False, False)
        )
        self.assertTrue(self.claims.is_settled)

    def test_inherited(self) -> None:
        """The registrations of the former incarnation are remembered as long as ledgers of peers."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        claims = Claims(9, Timing(0.1, 0.5), Peers("n1:1730", Timing()), self.view, NOW, 1)
        claims.all_peers_answered = True
        self.assertFalse(claims.guard.is_on)
        claims.settle(NOW + Timing(0.1, 0.5).ledger_kept_s(0.0))
        self.assertFalse(claims.is_settled)
        claims.settle(NOW + 600.85)
        self.assertTrue(claims.is_settled)

    def test_inherited_and_told(self) -> None:
        """A registration that a peer has reported is not waited for any more."""
        self.hear(2)
        self.tell(2)
        self.claims.refresh(KEY, NOW)
        claims = Claims(9, Timing(), self.peers, self.view, NOW, 1)
        self.assertFalse(claims.is_settled)
        claims.join(self.others[2].delta(Head()))
        claims.settle(NOW)
        self.assertTrue(claims.is_settled)

    def test_inherited_hidden(self) -> None:
        """A registration that the former incarnation had hidden stays hidden as long as a peer may report it."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.view.show(KEY, None, (), lost=True)
        claims = Claims(9, Timing(), self.peers, self.view, NOW, 1)
        claims.settle(NOW)
        self.assertEqual(self.view.known_keys(), [KEY])
        for _ in range(2):
            claims.settle(NOW + 614.0)
        self.assertEqual(self.view.known_keys(), [])

    def test_taken_along_unseen(self) -> None:
        """A claim that was not shown yet is shown by the next incarnation."""
        self.claims.is_frozen = True
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        claims = Claims(9, Timing(), self.peers, self.view, NOW, 1)
        claims.take_over(self.claims.leases)
        claims.settle(NOW)
        self.assertEqual(self.view.listed_keys(), [KEY])


class Winning(ClaimsCase):
    """The claim that speaks for a key."""

    def test_not_shown_yet(self) -> None:
        """A claim that has arrived speaks before its key is evaluated."""
        self.hear(2)
        claim = self.tell(2)
        self.assertEqual((self.claims.winner(KEY, NOW), self.claims.listed_claim(KEY)), (claim, None))

    def test_not_hidden_yet(self) -> None:
        """A claim that has stopped counting does not speak, though it is still shown."""
        self.hear(2)
        claim = self.tell(2)
        self.claims.refresh(KEY, NOW)
        self.assertEqual(self.claims.winner(KEY, NOW + 12.9), claim)
        self.assertEqual((self.claims.winner(KEY, NOW + 13.0), self.claims.listed_claim(KEY)), (None, claim))

    def test_largest(self) -> None:
        """The counting claim of the largest rank speaks, whatever its node."""
        for number in (2, 3, 4):
            self.hear(number)
        self.tell(2)
        claim = self.tell(3, rev=2, root=(2, 1))
        self.tell(4, root=(2, 1))
        self.assertEqual(self.claims.winner(KEY, NOW), claim)

    def test_hidden(self) -> None:
        """The hidden claim of a key is that of the largest rank."""
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
        """A registration with the same terms moves the deadline."""
        self.assertTrue(self.claims.register(KEY, update(BODY, TTL_S), NOW)[0])
        self.assertFalse(self.claims.register(KEY, update(BODY, TTL_S), NOW + 4.0)[0])
        self.assertEqual((self.lease().deadline, self.claims.ledger.version), (NOW + 14.0, 1))

    def test_rev(self) -> None:
        """A change has a larger rev than all known claims, whether they count or not."""
        self.hear(2)
        self.tell(2)
        self.tell(3, rev=5)
        self.claims.register(KEY, update(b"new", TTL_S), NOW)
        self.assertEqual(self.own(), [Claim(1, 1, KEY, b"new", TTL_S, 6, 2, 1)])

    def test_new(self) -> None:
        """A new registration has rev 1, and its own dot as its root."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.assertEqual(self.own(), [Claim(1, 1, KEY, BODY, TTL_S, 1, 1, 1)])

    def test_another_instance(self) -> None:
        """Another instance begins a registration with a larger rev than all known claims, so that these follow it."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.assertFalse(self.claims.register(KEY, update(b"new", TTL_S, succeeds=True), NOW)[0])
        self.assertEqual(self.own(), [Claim(1, 3, KEY, b"new", TTL_S, 2, 1, 3)])
        self.assertEqual(self.happened(), [("online", "registered"), ("changed", "registered")])

    def test_merged_with_what_is_registered(self) -> None:
        """The merge gets the registered body; if it returns None, the registration is renewed as it is."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        merge = Merging(None)
        self.assertEqual(self.claims.register(KEY, merge, NOW + 4.0), (False, BODY))
        self.assertEqual((merge.bodies, self.lease().deadline), ([(BODY, None)], NOW + 4.0 + TTL_S))

    def test_merged_with_what_is_hidden(self) -> None:
        """The merge gets the hidden body, because the registration may be listed elsewhere."""
        self.hear(2)
        self.tell(2)
        self.claims.refresh(KEY, NOW)
        self.claims.refresh(KEY, NOW + 13.0)
        merge = Merging(RegistrationUpdate(b"new", TTL_S))
        self.assertEqual(self.claims.register(KEY, merge, NOW + 13.0), (True, b"new"))
        self.assertEqual(merge.bodies, [(None, BODY)])

    def test_refused_by_the_merge(self) -> None:
        """Nothing is changed if the merge raises."""

        def refuse(_registered: bytes | None, _hidden: bytes | None) -> RegistrationUpdate:
            raise ValueError("no")

        self.assertRaises(ValueError, self.claims.register, KEY, refuse, NOW)
        self.assertEqual((self.own(), self.happened()), ([], []))

    def test_another_instance_where_none_is_listed(self) -> None:
        self.assertTrue(self.claims.register(KEY, update(BODY, TTL_S, succeeds=True), NOW)[0])
        self.assertEqual(self.own(), [Claim(1, 1, KEY, BODY, TTL_S, 1, 1, 1)])

    def test_another_instance_and_the_end_of_the_one_before(self) -> None:
        """An end of the former instance from a node that does not know the new one does not end the new one."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.claims.register(KEY, update(b"new", TTL_S, succeeds=True), NOW)
        self.hear(2)
        self.end(2, (1, 1))
        self.claims.refresh(KEY, NOW)
        claim = self.claims.listed_claim(KEY)
        self.assertEqual((claim and claim.body, self.happened()[-1]), (b"new", ("changed", "registered")))

    def test_shorter_ttl(self) -> None:
        """After a shorter ttl, an end without roots keeps the longer one for 8·I more.

        Its lease is due 4.5·I before.
        """
        self.claims.register(KEY, update(BODY, 20.0), NOW)
        self.claims.register(KEY, update(BODY, TTL_S), NOW + 1.0)
        self.assertEqual(self.own(), [Claim(1, 3, KEY, BODY, TTL_S, 2, 1, 1), End(1, 4, KEY, 28.0, 2, ())])
        (lease,) = (lease for lease in self.claims.leases if isinstance(lease.entry, End))
        self.assertEqual(lease.deadline, NOW + 29.0 - 4.5)

    def test_longer_ttl(self) -> None:
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.claims.register(KEY, update(BODY, 20.0), NOW)
        self.assertEqual([type(entry) for entry in self.own()], [Claim])


class RenewingMany(ClaimsCase):
    """The renewal of many registrations in one request."""

    def test_many(self) -> None:
        """A claim of the winner's rank gets its ttl again; others get a claim; unknown keys are returned."""
        third = f"{KEY}0"
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.hear(2)
        self.tell(2, OTHER_KEY, ttl_s=20.0)
        self.claims.refresh(OTHER_KEY, NOW)
        self.assertEqual(self.claims.renew_all([KEY, third, OTHER_KEY], NOW + 4.0), [third])
        deadlines = [self.lease(key).deadline for key in (KEY, OTHER_KEY)]
        self.assertEqual((deadlines, self.claims.index.lease(third)), ([NOW + 14.0, NOW + 24.0], None))

    def test_not_current(self) -> None:
        """A claim whose terms differ from those of the winner follows the winner."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.lease().is_current = False
        self.assertEqual(self.claims.renew_all([KEY], NOW + 4.0), [])
        self.assertEqual(self.lease().deadline, NOW + 14.0)


class RenewingAsIs(ClaimsCase):
    """The fast renewal of nearly all requests."""

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
        """A registration with another body is not renewed, and has to take the other way."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.assertFalse(self.claims.renew_as_is(KEY, b"new", NOW + 4.0))
        self.assertEqual(self.lease().deadline, NOW + TTL_S)

    def test_not_current(self) -> None:
        """A claim whose terms differ from those of the winner is not renewed."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.lease().is_current = False
        self.assertFalse(self.claims.renew_as_is(KEY, BODY, NOW + 4.0))
        self.assertEqual(self.lease().deadline, NOW + TTL_S)


class Deregistering(ClaimsCase):
    def test_end(self) -> None:
        """An end has all roots and the largest rev, and is kept for the longest ttl and 8·I."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.tell(2, rev=4, ttl_s=30.0)
        self.assertTrue(self.claims.deregister(KEY, NOW))
        self.assertEqual(self.own(), [End(1, 3, KEY, 38.0, 4, ((1, 1), (2, 1)))])
        self.assertEqual([lease.deadline for lease in self.claims.leases], [NOW + 38.0 - 4.5])
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "deregistered")])

    def test_after_an_end(self) -> None:
        """A known end with a longer time extends the new end."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.end(2, (2, 9), ttl_s=50.0)
        self.claims.deregister(KEY, NOW)
        self.assertEqual(self.own()[-1].ttl_s, 50.0)

    def test_elsewhere(self) -> None:
        """A registration that only other nodes hold can be deregistered."""
        self.hear(2)
        self.tell(2)
        self.assertTrue(self.claims.deregister(KEY, NOW))
        self.assertIsNone(self.claims.winner(KEY, NOW))


class Shortening(ClaimsCase):
    def test_own(self) -> None:
        """Only the deadline of a claim of this node is shortened."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.hear(2)
        self.tell(2, OTHER_KEY)
        for key in (KEY, OTHER_KEY):
            self.claims.shorten(key, NOW + 2.0)
        self.assertEqual([lease.deadline for lease in self.claims.leases], [NOW + 2.0])


class Following(ClaimsCase):
    """Rule 2: a claim follows the winner."""

    def setUp(self) -> None:
        super().setUp()
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.hear(2)

    def test_follows(self) -> None:
        """The claim of this node takes the terms of the winner, and keeps its own time of renewal."""
        self.tell(2, body=b"new", ttl_s=30.0, rev=2, root=(1, 1))
        self.claims.refresh(KEY, NOW + 1.0)
        self.assertEqual(self.own(), [Claim(1, 3, KEY, b"new", 30.0, 2, 1, 1)])
        self.assertEqual((self.lease().deadline, self.lease().is_current), (NOW + 30.0, True))
        self.assertEqual(self.happened(), [("online", "registered"), ("changed", "registered")])

    def test_follows_a_shorter_ttl(self) -> None:
        """A claim that follows a shorter ttl may be due at once, or since it was due before."""
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
        """A claim does not follow another claim of a lower rank."""
        self.tell(2, body=b"old", root=(0, 9))
        self.claims.refresh(KEY, NOW)
        self.assertEqual((self.claims.ledger.version, self.lease().is_current), (1, True))

    def test_ended(self) -> None:
        """An ended claim is due from that moment on, and has no winner to follow."""
        self.end(2, (1, 1))
        self.claims.refresh(KEY, NOW + 1.0)
        self.assertEqual((self.claims.leases.due, self.lease().is_current), ({self.lease(): NOW + 1.0}, False))
        self.claims.refresh(KEY, NOW + 2.0)
        self.assertEqual(self.claims.leases.due, {self.lease(): NOW + 1.0})
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "deregistered")])
