"""Rules 1 to 4 at one node, to which others' ledgers are told by hand."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.claims import KEYS_PER_SLICE, Claims, RegistrationUpdate
from bender.core.guard import GuardedApp
from bender.core.leases import Lease
from bender.core.ledger import Claim, Copy, Delta, Dot, End, Gap, Head, Ledger
from bender.core.messages import Counter
from bender.core.peers import Peer, Peers
from bender.core.timing import TTL_S_MAX, Timing
from bender.core.validity import VALIDITY
from bender.core.view import View
from tests.core.cluster import BODY, KEY, TTL_S, update

NOW = 1000.0
OTHER_KEY = KEY.replace("10.0.0.5", "10.0.0.6")


class ClaimsCase(SynchronousTestCase):
    """Node 1; rounds are a second apart, so claims of the others count for ttl + 3 s after these were heard."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, guard_s: float = 0.0, interval_s: float = 1.0) -> None:
        timing = Timing(interval_s, 10.0)
        self.contacts = Peers("n1:1730", timing)
        self.view = View()
        self.claims = Claims(1, timing, self.contacts, self.view, NOW, guard_s=guard_s)
        self.others: dict[int, Ledger] = {}

    def hear(self, number: int, at: float = NOW) -> Peer:
        counter = Counter(number, f"n{number}", f"n{number}:1730", int(10 * at), 0.0)
        self.contacts.meet(counter, at)
        self.contacts.hear(counter, at)
        contact = self.contacts.get(number)
        assert contact is not None
        return contact

    def tell(
        self,
        number: int,
        key: str = KEY,
        body: bytes = BODY,
        ttl_s: float = TTL_S,
        rev: int = 1,
        root: Dot | None = None,
    ) -> Claim:
        """Another node has heard from an instance, and its ledger has come here."""
        ledger = self.others.setdefault(number, Ledger(number))
        claim = Claim(number, ledger.next_n, key, body, ttl_s, rev, *(root or (number, ledger.next_n)))
        ledger.add(claim)
        self.join(number)
        return claim

    def end(self, number: int, *roots: Dot, ttl_s: float = 18.0, key: str = KEY) -> None:
        """Another node has deregistered it."""
        ledger = self.others.setdefault(number, Ledger(number))
        ledger.add(End(number, ledger.next_n, key, ttl_s, 1, roots))
        self.join(number)

    def join(self, number: int) -> dict[str, None]:
        return self.claims.join(self.others[number].delta(self.claims.head(number)))

    def lease(self, key: str = KEY) -> Lease:
        lease = self.claims.index.lease(key)
        assert lease is not None
        return lease

    def own(self) -> list[Claim | End]:
        return [*self.claims.ledger.entries.values()]

    def happened(self, key: str = KEY) -> list[tuple[str, str]]:
        return [(e.what, e.reason) for e in self.view.take_events() if e.key == key]


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
        self.assertEqual((self.claims.holding, self.claims.informed, self.claims.guard.on), (False, False, False))
        self.assertTrue(self.claims.settled)

    def test_inherited(self) -> None:
        """What the incarnation before knew is remembered for as long as others' ledgers are, by the usual ttl."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        claims = Claims(9, Timing(0.1, 0.5), Peers("n1:1730", Timing()), self.view, NOW, 1)
        claims.informed = True
        self.assertFalse(claims.guard.on)
        claims.settle(NOW + Timing(0.1, 0.5).ledger_kept_s(0.0))
        self.assertFalse(claims.settled)
        claims.settle(NOW + 600.85)
        self.assertTrue(claims.settled)

    def test_inherited_and_told(self) -> None:
        """What somebody has told of is not waited for any more."""
        self.hear(2)
        self.tell(2)
        self.claims.refresh(KEY, NOW)
        claims = Claims(9, Timing(), self.contacts, self.view, NOW, 1)
        self.assertFalse(claims.settled)
        claims.join(self.others[2].delta(Head()))
        claims.settle(NOW)
        self.assertTrue(claims.settled)

    def test_inherited_hidden(self) -> None:
        """What it had hidden stays so as long as somebody may tell of it."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.view.show(KEY, None, (), lost=True)
        claims = Claims(9, Timing(), self.contacts, self.view, NOW, 1)
        claims.settle(NOW)
        self.assertEqual(self.view.known(), [KEY])
        for _ in range(2):
            claims.settle(NOW + 614.0)
        self.assertEqual(self.view.known(), [])

    def test_taken_along_unseen(self) -> None:
        """A claim that was not shown yet is shown by the incarnation that goes on with it."""
        self.claims.holding = True
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        claims = Claims(9, Timing(), self.contacts, self.view, NOW, 1)
        claims.take_along(self.claims.leases)
        claims.settle(NOW)
        self.assertEqual(self.view.shown(), [KEY])


class Winning(ClaimsCase):
    """Which claim speaks for a key."""

    def test_not_shown_yet(self) -> None:
        """It does before anybody has looked at what came."""
        self.hear(2)
        claim = self.tell(2)
        self.assertEqual((self.claims.winner(KEY, NOW), self.claims.shown(KEY)), (claim, None))

    def test_not_hidden_yet(self) -> None:
        """One that has stopped counting does not, though it is shown for a moment."""
        self.hear(2)
        claim = self.tell(2)
        self.claims.refresh(KEY, NOW)
        self.assertEqual(self.claims.winner(KEY, NOW + 12.9), claim)
        self.assertEqual((self.claims.winner(KEY, NOW + 13.0), self.claims.shown(KEY)), (None, claim))

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
        self.assertEqual(self.claims.hidden(KEY), claim)


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
        claim = self.claims.shown(KEY)
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
        self.lease().current = False
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
        self.assertEqual((self.lease().deadline, self.lease().current), (NOW + 30.0, True))
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
        self.assertEqual((self.claims.ledger.version, self.lease().current), (1, True))

    def test_lower(self) -> None:
        """Not what ranks lower."""
        self.tell(2, body=b"old", root=(0, 9))
        self.claims.refresh(KEY, NOW)
        self.assertEqual((self.claims.ledger.version, self.lease().current), (1, True))

    def test_ended(self) -> None:
        """What was ended is due from that moment on, and no winner to be followed is left."""
        self.end(2, (1, 1))
        self.claims.refresh(KEY, NOW + 1.0)
        self.assertEqual((self.claims.leases.due, self.lease().current), ({self.lease(): NOW + 1.0}, False))
        self.claims.refresh(KEY, NOW + 2.0)
        self.assertEqual(self.claims.leases.due, {self.lease(): NOW + 1.0})
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "deregistered")])


class Lapsing(ClaimsCase):
    """Rule 3: a claim is over at NOW + 10."""

    def setUp(self) -> None:
        super().setUp()
        self.claims.register(KEY, update(BODY, TTL_S), NOW)

    def is_there(self) -> bool:
        return self.claims.index.lease(KEY) is not None

    def test_alone(self) -> None:
        """With nobody to be asked it goes at once."""
        self.assertFalse(self.claims.lapse(NOW + 10.0))
        self.assertTrue(self.is_there())
        self.assertFalse(self.claims.lapse(NOW + 10.25))
        self.assertFalse(self.is_there())
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "expired")])

    def test_just_now(self) -> None:
        """A deadline that has just come is over."""
        self.claims.leases.due[self.lease()] = None
        self.claims.end_due(NOW + 9.9)
        self.assertEqual((self.is_there(), self.claims.leases.due), (True, {}))
        self.claims.leases.due[self.lease()] = None
        self.claims.end_due(NOW + 10.0)
        self.assertFalse(self.is_there())

    def test_asked(self) -> None:
        """It waits for an answer to what was asked after its deadline."""
        contact = self.hear(2, NOW + 9.0)
        self.hear(3, NOW + 9.0).echoed = NOW + 30.0
        contact.echoed = NOW + 9.9
        self.claims.lapse(NOW + 10.25)
        self.assertEqual((self.is_there(), self.claims.unconfirmed(NOW + 10.25)), (True, True))
        contact.echoed = NOW + 10.0
        self.assertFalse(self.claims.unconfirmed(NOW + 10.25))
        self.claims.end_due(NOW + 10.25)
        self.assertFalse(self.is_there())

    def test_asked_about_one(self) -> None:
        """Ends, and claims that were ended, need no question; what is due from now on needs one."""
        self.hear(2, NOW + 9.0)
        self.claims.register(OTHER_KEY, update(BODY, TTL_S), NOW)
        self.claims.leases.due[self.lease(OTHER_KEY)] = NOW
        self.assertFalse(self.claims.unconfirmed(NOW + 10.0))
        self.claims.leases.due[self.lease()] = None
        self.assertFalse(self.claims.unconfirmed(NOW + 9.9))
        self.assertTrue(self.claims.unconfirmed(NOW + 10.0))

    def test_no_answer(self) -> None:
        """It waits for 4.5·I at most."""
        self.hear(2, NOW + 9.0)
        self.claims.lapse(NOW + 14.4)
        self.assertTrue(self.is_there())
        self.claims.lapse(NOW + 14.5)
        self.assertFalse(self.is_there())

    def test_renewed_while_due(self) -> None:
        contact = self.hear(2, NOW + 9.0)
        self.claims.lapse(NOW + 10.25)
        self.lease().deadline = NOW + 20.0
        contact.echoed = NOW + 30.0
        self.claims.lapse(NOW + 10.5)
        self.assertEqual((self.is_there(), self.claims.leases.due), (True, {}))
        self.assertFalse(self.claims.unconfirmed(NOW + 10.5))
        self.claims.lapse(NOW + 20.25)
        self.assertFalse(self.is_there())

    def test_another_of_the_same(self) -> None:
        """Another claim of the key keeps it until all who were asked have shown that they have that one."""
        two, three = self.hear(2, NOW + 9.0), self.hear(3, NOW + 9.0)
        self.tell(2, root=(1, 1))
        two.echoed = three.echoed = NOW + 10.0
        self.claims.lapse(NOW + 10.25)
        self.assertTrue(self.is_there())
        three.heads[2] = 1
        self.claims.lapse(NOW + 10.25)
        self.assertFalse(self.is_there())

    def test_another_of_less(self) -> None:
        """One that says less has to follow first."""
        two = self.hear(2, NOW + 9.0)
        self.tell(2, root=(0, 9))
        two.echoed = NOW + 10.0
        self.claims.lapse(NOW + 10.25)
        self.assertTrue(self.is_there())

    def test_another_that_does_not_count(self) -> None:
        """Claims that were ended, or whose node is not heard, are none."""
        two = self.hear(2, NOW + 9.0)
        self.tell(2, root=(0, 9))
        self.end(2, (0, 9))
        self.tell(3, root=(0, 8))
        two.echoed = NOW + 10.0
        self.claims.lapse(NOW + 10.25)
        self.assertFalse(self.is_there())

    def test_slices(self) -> None:
        """No more than a slice goes at once."""
        for i in range(KEYS_PER_SLICE):
            self.claims.register(f"{KEY}{i}", update(BODY, TTL_S), NOW)
        self.assertTrue(self.claims.lapse(NOW + 10.25))
        self.assertEqual(len(self.own()), 1)
        self.assertFalse(self.claims.lapse(NOW + 10.25))
        self.assertEqual(self.own(), [])


class Ending(ClaimsCase):
    """Rule 4: what is over of what was ended."""

    def test_own_claim(self) -> None:
        """One's own claim goes when all have the end."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        two, three = self.hear(2), self.hear(3)
        two.echoed = three.echoed = NOW + 90.0
        self.end(2, (1, 1))
        self.claims.refresh(KEY, NOW)
        self.claims.end_due(NOW + 0.25)
        self.assertEqual(len(self.own()), 1)
        three.heads[2] = 1
        self.claims.end_due(NOW + 0.25)
        self.assertEqual(self.own(), [])

    def test_own_claim_at_last(self) -> None:
        """Or 4.5·I after it was seen."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.hear(2)
        self.hear(3)
        self.end(2, (1, 1))
        self.claims.refresh(KEY, NOW + 1.0)
        self.claims.end_due(NOW + 5.4)
        self.assertEqual(len(self.own()), 1)
        self.claims.end_due(NOW + 5.5)
        self.assertEqual(self.own(), [])

    def test_the_end_itself(self) -> None:
        """An end goes when its time is over, and not before what it ends has been gone for 4.5·I."""
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
        """What an end ends may come back after it was looked at, from a node that was cut off."""
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
        """A claim of another root keeps no end."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.claims.deregister(KEY, NOW)
        self.tell(2)
        self.claims.lapse(NOW + 13.75)
        self.claims.lapse(NOW + 18.5)
        self.assertEqual(self.own(), [])


class Telling(ClaimsCase):
    """What is taken from others, and handed on."""

    def test_join(self) -> None:
        """The keys of all that came or went, and the ttls are looked up again."""
        contact = self.hear(2)
        self.tell(2)
        self.assertEqual(self.claims.ttl_max_s(contact), TTL_S)
        self.others[2].remove(1)
        self.others[2].add(Claim(2, 3, OTHER_KEY, BODY, 30.0, 1, 2, 3))
        self.assertEqual([*self.join(2)], [KEY, OTHER_KEY])
        self.assertEqual(self.claims.ttl_max_s(contact), 30.0)
        self.assertEqual(self.claims.index.entries(KEY), ())

    def test_two_contents_of_a_version(self) -> None:
        """Of one that another node has with a larger checksum everything is taken in again; nothing is of the own."""
        self.tell(2)
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        checksums = {number: self.claims.head(number).checksum or 0 for number in (1, 2)}
        for version, off, expected in ((1, 0, 1), (1, -1, 1), (2, 1, 1), (1, 1, 0)):
            heads = {number: Head(version, version, checksum + off) for number, checksum in checksums.items()}
            self.claims.compare({**heads, 9: Head(1, 1, 1)}, NOW)
            self.assertEqual([self.claims.head(number).version for number in (1, 2)], [1, expected])
        self.claims.compare({2: Head(0, 0, 2**64 - 1)}, NOW)
        self.assertEqual([entry.node for entry in self.claims.index.entries(KEY)], [2, 1])

    def test_content_that_is_not_told(self) -> None:
        """Releases before this one do not say what is in their copies."""
        self.tell(2)
        self.claims.compare({2: Head(1, 1)}, NOW)
        self.assertEqual(self.claims.head(2), Head(1, 1))

    def test_pages_of_the_dead(self) -> None:
        """They are given up for a delta that has as much, or when nothing of them counts any more."""
        for later_s, gone in ((0.0, False), (12.9, False), (13.0, True)):
            self.begin()
            contact = self.hear(2)
            ledger = self.others[2] = Ledger(2)
            for n in range(1, 5):
                ledger.add(Claim(2, n, f"{KEY}{n}", BODY, TTL_S, 1, 2, n))
            self.claims.join(ledger.delta(Head(), 2))
            for version in (1, 2):
                self.assertEqual(self.claims.head(2), Head(0, 2))
                self.claims.give_up_pages(Delta(2, 0, 0, version, version), contact, NOW + later_s)
                given_up = gone or version == 2
                self.assertEqual(self.claims.head(2), Head(0, 0) if given_up else Head(0, 2))
                if given_up:
                    break

    def test_ttl_max(self) -> None:
        """Ends have none."""
        contact = self.hear(2)
        self.assertEqual(self.claims.ttl_max_s(contact), 0.0)
        contact.ttls = None
        self.tell(2, ttl_s=20.0)
        self.tell(2, OTHER_KEY)
        self.end(2, (2, 1), ttl_s=90.0)
        self.assertEqual(self.claims.ttl_max_s(contact), 20.0)

    def test_ttl_beyond_all_that_are_valid(self) -> None:
        """Peers would refuse a counter with it."""
        contact = self.hear(2)
        self.tell(2, ttl_s=3 * TTL_S_MAX)
        self.assertEqual(self.claims.ttl_max_s(contact), TTL_S_MAX)

    def test_ttl_of_a_claim_that_no_client_can_have(self) -> None:
        """It is not valid: an end of it would be kept for longer than peers take."""
        self.claims._validity = VALIDITY
        self.hear(2)
        for ttl_s, invalid in ((TTL_S_MAX, 0), (TTL_S_MAX + 1, 1)):
            body = b'{"ttl":%.1f,"weight":1,"meta":{},"registered":1,"node":"n2"}' % ttl_s
            self.tell(2, body=body, ttl_s=ttl_s)
            self.assertEqual(sum(count for count, _ in self.claims.invalid.values()), invalid)

    def test_brief(self) -> None:
        """What says the same as a claim that the receiver has goes as a copy of that."""
        claim = self.tell(2)
        self.tell(3, root=(2, 1))
        self.tell(4, body=b"new", root=(2, 1))
        contact = self.hear(5)
        told = self.others[3].delta(self.claims.head(9))
        self.assertEqual(self.claims.brief(told, contact), told)
        contact.heads[2] = 1
        copy = claim.copied_by(3, 1)
        self.assertIsInstance(copy, Copy)
        self.assertEqual(self.claims.brief(told, contact).added, (copy,))
        self.end(6, (9, 9))
        for number in (4, 6):
            other = self.others[number].delta(self.claims.head(9))
            self.assertEqual(self.claims.brief(other, contact), other)

    def test_copy_of_nothing(self) -> None:
        """What is a copy of a claim in a ledger that is not here does not fit."""
        copied = Delta(3, 0, 0, 1, 1, (Claim(2, 1, KEY, BODY, TTL_S, 1, 2, 1).copied_by(3, 1),))
        self.assertRaises(Gap, self.claims.join, copied)

    def test_heads(self) -> None:
        """Of ledgers of which anything is here; others know less of those where their head is lower."""
        self.tell(2)
        self.assertEqual([*self.claims.heads()], [2])
        self.assertEqual([ledger.incarnation for ledger in self.claims.ahead_of({})], [2])
        self.assertEqual(self.claims.ahead_of(self.claims.heads()), [])


class Hiding(ClaimsCase):
    """Rule 5: claims of a silent node stop counting by their ttl."""

    def setUp(self) -> None:
        super().setUp()
        self.contact = self.hear(2)
        self.tell(2)
        self.tell(2, OTHER_KEY, ttl_s=20.0)
        for key in (KEY, OTHER_KEY):
            self.claims.refresh(key, NOW)

    def hide(self, at: float) -> list[str]:
        self.claims.hide(at)
        self.claims.settle(at)
        return self.view.shown()

    def test_one_after_the_other(self) -> None:
        self.assertEqual(self.hide(NOW + 12.9), [KEY, OTHER_KEY])
        self.assertEqual(self.hide(NOW + 13.0), [OTHER_KEY])
        self.assertEqual(self.hide(NOW + 22.9), [OTHER_KEY])
        self.assertEqual(self.hide(NOW + 23.0), [])

    def test_looked_at_once(self) -> None:
        """What is hidden is not looked at again."""
        self.hide(NOW + 13.0)
        self.claims.hide(NOW + 13.25)
        self.assertTrue(self.claims.settled)

    def test_heard_again(self) -> None:
        self.hide(NOW + 13.0)
        self.hear(2, NOW + 14.0)
        self.claims.heard_again(self.contact, 11.0, NOW + 14.0)
        self.assertEqual([*self.claims.stale], [KEY])
        self.assertEqual(self.hide(NOW + 14.0), [OTHER_KEY, KEY])
        self.assertEqual(self.hide(NOW + 27.0), [OTHER_KEY])

    def test_shortest(self) -> None:
        """The shortest ttl there can be, four intervals, is hidden in time and comes back in time."""
        self.begin(interval_s=0.5)
        contact = self.hear(2)
        self.tell(2, ttl_s=2.0)
        self.claims.refresh(KEY, NOW)
        self.assertEqual(self.hide(NOW + 3.25), [KEY])
        self.assertEqual(self.hide(NOW + 3.5), [])
        self.hear(2, NOW + 4.0)
        self.claims.heard_again(contact, 2.0, NOW + 4.0)
        self.assertEqual([*self.claims.stale], [KEY])

    def test_nothing_to_hide(self) -> None:
        """A contact of which no ledger is here has nothing to hide, to show or to forget."""
        self.begin()
        contact = self.hear(3)
        self.claims.hide(NOW + 20.0)
        self.claims.heard_again(contact, 17.0, NOW + 20.0)
        self.claims.forget(contact)
        self.assertTrue(self.claims.settled)

    def test_forgotten(self) -> None:
        """A ledger goes whole, and its entries with it."""
        self.contacts.forget(self.contact)
        self.claims.forget(self.contact)
        self.assertFalse(self.claims.settled)
        self.assertFalse(self.claims.settle(NOW))
        self.assertEqual((self.view.shown(), len(self.claims.index), [*self.claims.ledgers]), ([], 0, [1]))


class Settling(ClaimsCase):
    """What may concern many is done in slices."""

    def test_held_back(self) -> None:
        """While nothing may be shown, what changes is put down."""
        self.claims.holding = True
        self.hear(2)
        self.tell(2)
        self.claims.refresh(KEY, NOW)
        self.assertFalse(self.claims.settle(NOW))
        self.assertEqual((self.view.shown(), self.claims.settled, self.claims.judge(NOW)), ([], False, False))
        self.claims.holding = False
        self.assertFalse(self.claims.settle(NOW))
        self.assertEqual((self.view.shown(), self.claims.settled), ([KEY], True))

    def test_slices(self) -> None:
        self.hear(2)
        for i in range(KEYS_PER_SLICE + 1):
            self.claims.stale |= dict.fromkeys([self.tell(2, f"{KEY}{i}").key])
        self.assertTrue(self.claims.settle(NOW))
        self.assertEqual(self.view.count, KEYS_PER_SLICE)
        self.assertFalse(self.claims.settle(NOW))
        self.assertEqual(self.view.count, KEYS_PER_SLICE + 1)

    def test_taken_along(self) -> None:
        """Claims and ends of the incarnation before go on, with their deadlines, before anything is hidden."""
        for i in range(KEYS_PER_SLICE):
            self.claims.register(f"{KEY}{i}", update(BODY, TTL_S), NOW)
        self.claims.deregister(f"{KEY}0", NOW)
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        claims = Claims(9, Timing(), self.contacts, self.view, NOW, 1)
        claims.take_along(self.claims.leases)
        self.assertTrue(claims.settle(NOW))
        self.assertEqual((len(claims.ledger.entries), self.view.count), (KEYS_PER_SLICE, KEYS_PER_SLICE))
        self.assertFalse(claims.settled)
        while claims.settle(NOW):
            pass
        self.assertEqual(len(claims.ledger.entries), KEYS_PER_SLICE + 1)
        self.assertEqual({entry.node for entry in claims.ledger.entries.values()}, {9})
        self.assertEqual({lease.deadline for lease in claims.leases}, {NOW + TTL_S, NOW + 18.0 - 4.5})
        self.assertEqual(self.view.count, KEYS_PER_SLICE)


class Guarding(ClaimsCase):
    """Rule 9, with twenty seconds on suspicion."""

    def setUp(self) -> None:
        self.begin(guard_s=20.0)

    def pass_on_to(self, at: float) -> None:
        self.claims.hide(at)
        while self.claims.settle(at) or self.claims.judge(at):
            pass

    def told(self, number: int, at: float, key: str = KEY, ttl_s: float = TTL_S) -> Peer:
        contact = self.hear(number, at)
        self.tell(number, key, ttl_s=ttl_s)
        self.claims.refresh(key, at)
        return contact

    def test_until_when(self) -> None:
        """The last of its nodes that was heard decides."""
        self.told(2, NOW)
        self.told(3, NOW + 2.0)
        self.pass_on_to(NOW + 15.0)
        self.assertEqual(self.claims.guard.guarded(NOW + 15.0), [GuardedApp("web", 1, 20.0)])

    def test_beside_an_end(self) -> None:
        """An end of another registration has no part in that."""
        self.told(2, NOW)
        self.end(2, (2, 9))
        self.pass_on_to(NOW + 13.0)
        self.assertEqual(self.claims.guard.guarded(NOW + 13.0), [GuardedApp("web", 1, 20.0)])

    def test_where_its_node_has_left(self) -> None:
        """Nobody can be renewing there, so it has expired."""
        self.told(2, NOW).left = True
        self.pass_on_to(NOW + 13.0)
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "expired")])

    def test_looked_at_again(self) -> None:
        """What was hidden counts as lost, however often it is looked at."""
        first, second, third = (KEY.replace("10.0.0.5", f"10.0.0.{i}") for i in (1, 2, 3))
        self.claims.register(first, update(BODY, 60.0), NOW)
        self.told(2, NOW, second)
        self.told(3, NOW + 11.0, third, 4.0)
        self.pass_on_to(NOW + 13.0)
        self.assertEqual(self.view.shown(), [first, third])
        self.claims.refresh(second, NOW + 14.0)
        self.pass_on_to(NOW + 18.0)
        self.assertEqual(self.claims.guard.guarded(NOW + 18.0), [GuardedApp("web", 1, 20.0)])

    def test_one_of_its_nodes_is_forgotten(self) -> None:
        """That may have a claim still, and so it stays."""
        two = self.told(2, NOW)
        self.told(3, NOW)
        self.pass_on_to(NOW + 13.0)
        self.others[3].remove(1)
        self.join(3)
        self.contacts.forget(two)
        self.claims.forget(two)
        self.pass_on_to(NOW + 14.0)
        self.assertEqual(self.claims.guard.guarded(NOW + 14.0), [GuardedApp("web", 1, 19.0)])

    def test_the_last_of_its_nodes_is_forgotten(self) -> None:
        """When the others have let go, it is over when the time of that one was to be."""
        two = self.told(2, NOW)
        self.told(3, NOW + 2.0)
        self.pass_on_to(NOW + 15.0)
        self.contacts.forget(two)
        self.claims.forget(two)
        self.others[3].remove(1)
        self.join(3)
        self.claims.refresh(KEY, NOW + 15.0)
        self.assertEqual(self.claims.guard.guarded(NOW + 15.0), [GuardedApp("web", 1, 18.0)])

    def test_heard_of_again_without_its_ledger(self) -> None:
        """Who was forgotten may have the claim still; that of another, which had left, has no part in the time."""
        contacts = (self.told(2, NOW), self.told(3, NOW))
        contacts[1].left = True
        self.pass_on_to(NOW + 13.0)
        for contact in contacts:
            self.contacts.forget(contact)
            self.claims.forget(contact)
        self.pass_on_to(NOW + 14.0)
        self.contacts.meet(Counter(2, "n2", "n2:1730", 1, 0.0), NOW + 14.0)
        self.claims.refresh(KEY, NOW + 14.0)
        self.assertEqual(self.claims.guard.guarded(NOW + 14.0), [GuardedApp("web", 1, 19.0)])

    def test_registered_again_elsewhere(self) -> None:
        """What this node knows of an earlier registration says nothing of this one."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.claims.deregister(KEY, NOW)
        self.told(2, NOW)
        self.pass_on_to(NOW + 13.0)
        self.assertEqual(self.claims.guard.guarded(NOW + 13.0), [GuardedApp("web", 1, 20.0)])

    def test_beside_one_whose_node_has_left(self) -> None:
        """That is not out of sight: it is known to go, so the other is only half of them."""
        self.told(2, NOW, OTHER_KEY, 20.0).left = True
        self.told(3, NOW)
        self.pass_on_to(NOW + 13.0)
        self.assertEqual((self.claims.guard.guarded(NOW + 13.0), self.view.shown()), ([], [OTHER_KEY]))

    def first_slice(self, size: int) -> dict[str, int]:
        """The suspects of two apps of that size after one call."""
        self.setUp()
        for app in "ab":
            for i in range(size):
                self.told(2, NOW, f"registration/{app}/1.0/10.0.0.{i}/80")
        self.claims.hide(NOW + 13.0)
        while self.claims.settle(NOW + 13.0):
            pass
        self.assertTrue(self.claims.judge(NOW + 13.0))
        found = {each.app: each.suspects for each in self.claims.guard.guarded(NOW + 13.0)}
        self.pass_on_to(NOW + 13.0)
        self.assertEqual([each.suspects for each in self.claims.guard.guarded(NOW + 13.0)], [size, size])
        return found

    def test_slices(self) -> None:
        """A call looks at 300 members, those that are to be shown as suspect included; the others follow."""
        self.assertEqual([self.first_slice(size) for size in (100, 150, 200)], [{"a": 100}, {"a": 150}, {"a": 100}])
