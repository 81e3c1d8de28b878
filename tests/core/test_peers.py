"""Who has been heard, and when; how long claims count by that; who left, was replaced, and is forgotten."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from bender.core.messages import Counter, Sender
from bender.core.peers import Peer, Peers, covered
from bender.core.timing import Timing

HERE = "n1:1730"
NOW = 1000.0


def counter(beats: int, age_s: float = 0.0, number: int = 2, *, left: bool = False, ttl_max_s: float = 0.0) -> Counter:
    return Counter(number, f"n{number}", f"n{number}:1730", beats, age_s, left, ttl_max_s)


class ContactsCase(SynchronousTestCase):
    """A node whose rounds are two seconds apart: others are silent after six."""

    def setUp(self) -> None:
        self.contacts = Peers(HERE, Timing(2.0, 20.0))

    def meet(self, number: int, beats: int = 5, at: float = NOW, age_s: float = 0.0) -> Peer:
        """Somebody who is heard at once."""
        self.contacts.meet(counter(beats, age_s, number), at)
        self.contacts.hear(counter(beats, age_s, number), at)
        return self.contact(number)

    def contact(self, number: int) -> Peer:
        contact = self.contacts.get(number)
        assert contact is not None
        return contact

    def message(self, number: int, at: float) -> None:
        self.contacts.message_from(Sender(number, f"n{number}", f"n{number}:1730"), at)


class Meeting(ContactsCase):
    def test_at_first(self) -> None:
        """Nothing is known of a contact but who and where it is."""
        contact = Peer(2, "n2", "n2:1730", NOW)
        self.assertEqual((contact.api_port, contact.left, contact.known_beats), (0, False, -1))
        self.assertEqual((contact.known_at, contact.hidden_s, contact.ttls), (-inf, -inf, None))

    def test_unheard(self) -> None:
        """Who was met is known, and not heard before its ledger is here."""
        self.contacts.meet(Counter(2, "n2", "n2:1730", 5, 1.5, left=False, api_port=1729), NOW)
        contact = self.contact(2)
        self.assertEqual((contact.name, contact.address, contact.api_port), ("n2", "n2:1730", 1729))
        self.assertEqual((contact.beats, contact.heard_at), (-1, -inf))
        self.assertEqual((contact.known_beats, contact.known_at, contact.met_at), (5, 998.5, NOW))
        self.assertEqual((contact.message_at, contact.echoed, contact.agreed), (-inf, -inf, -inf))
        self.assertEqual((contact.gone, contact.shift_s, contact.heads), (False, 0.0, {}))
        self.assertEqual((len(self.contacts), 2 in self.contacts, 3 in self.contacts), (1, True, False))

    def test_too_old(self) -> None:
        """News that is to be forgotten at once introduces nobody: after T + 3·I and ten minutes."""
        self.contacts.meet(counter(5, 626.0), NOW)
        self.contacts.meet(counter(5, 625.0, 3), NOW)
        self.contacts.meet(counter(5, 665.0, 4, ttl_max_s=60.0), NOW)
        self.assertEqual([contact.incarnation for contact in self.contacts], [3, 4])

    def test_with_leave(self) -> None:
        self.contacts.meet(counter(5, left=True), NOW)
        self.assertTrue(self.contact(2).left)

    def test_at_this_address(self) -> None:
        """An incarnation at this node's address was there before it, and is none that lives."""
        self.contacts.meet(Counter(2, "n1", HERE, 5, 0.0, left=False), NOW)
        contact = self.contact(2)
        self.assertEqual((contact.replaced, contact.replaced_at, contact.gone), (True, NOW, True))

    def test_newer(self) -> None:
        """Of two heartbeats the later one is known, of two ages of one the larger."""
        self.contacts.meet(counter(5, 1.0), NOW)
        for beats, age_s, known in (
            (5, 3.0, (5, 997.0)),
            (5, 2.0, (5, 997.0)),
            (4, 9.0, (5, 997.0)),
            (6, 0.5, (6, 999.5)),
        ):
            self.contacts.meet(counter(beats, age_s), NOW)
            self.assertEqual((self.contact(2).known_beats, self.contact(2).known_at), known)

    def test_after_a_pause(self) -> None:
        """Times are taken to be as much later as this node was away."""
        self.contacts.meet(counter(5), NOW)
        self.contacts.shift(30.0)
        self.contacts.meet(counter(6, 4.0), NOW + 30.0)
        self.assertEqual(self.contact(2).known_at, NOW + 30.0 - 4.0 + 30.0)

    def test_forgotten(self) -> None:
        """With a contact goes what others have shown to have of it."""
        for number in (2, 3):
            self.meet(number)
        self.contact(3).heads.update({2: 7, 4: 1})
        self.contacts.forget(self.contact(2))
        self.assertEqual((len(self.contacts), self.contact(3).heads), (1, {4: 1}))


class Hearing(ContactsCase):
    """Rule 5."""

    def test_news(self) -> None:
        contact = self.meet(2)
        self.assertTrue(self.contacts.hear(counter(6, 0.5), NOW + 2.0))
        self.assertEqual((contact.beats, contact.heard_at), (6, NOW + 1.5))

    def test_no_news(self) -> None:
        """An equal counter can only make it earlier, a smaller one changes nothing."""
        contact = self.meet(2)
        for beats, age_s in ((5, 1.0), (5, 0.5), (4, 9.0)):
            self.assertFalse(self.contacts.hear(counter(beats, age_s), NOW))
            self.assertEqual((contact.beats, contact.heard_at), (5, NOW - 1.0))

    def test_slow_news(self) -> None:
        """News that took long says no more than what came before it."""
        contact = self.meet(2)
        self.assertFalse(self.contacts.hear(counter(6, 3.0), NOW + 2.0))
        self.assertEqual((contact.beats, contact.heard_at), (6, NOW - 1.0))
        self.assertFalse(self.contacts.hear(counter(7, 3.0), NOW + 2.0))

    def test_leaving(self) -> None:
        """A last counter says so, and a larger one takes it back."""
        contact = self.meet(2)
        self.contacts.hear(counter(6, left=True), NOW)
        self.assertEqual((contact.gone, self.contacts.silent(contact, NOW)), (True, True))
        self.contacts.hear(counter(6), NOW)
        self.assertTrue(contact.gone)
        self.contacts.hear(counter(7), NOW)
        self.assertFalse(contact.gone)

    def test_silent(self) -> None:
        """Three intervals after the last heartbeat."""
        contact = self.meet(2)
        self.assertFalse(self.contacts.silent(contact, NOW + 5.9))
        self.assertTrue(self.contacts.in_sight(2, NOW + 5.9))
        self.assertTrue(self.contacts.silent(contact, NOW + 6.0))
        self.assertEqual([self.contacts.in_sight(number, NOW + 6.0) for number in (2, 9)], [False, False])

    def test_counting(self) -> None:
        """Claims count for their ttl and three intervals; those of nobody known do not."""
        contact = self.meet(2)
        self.assertEqual(self.contacts.horizon_s(contact, NOW + 26.0), 20.0)
        self.assertEqual([self.contacts.counts(2, ttl_s, NOW + 26.0) for ttl_s in (20.0, 20.1)], [False, True])
        self.assertEqual((self.contacts.counts_until(2, 20.0), self.contacts.counts_until(9, 20.0)), (NOW + 26.0, -inf))
        self.assertFalse(self.contacts.counts(9, 20.0, NOW))

    def test_forgettable(self) -> None:
        """Longer after its last known heartbeat than T + 3·I and ten minutes."""
        contact = self.meet(2)
        self.assertEqual([self.contacts.forgettable(contact, 0.0, NOW + s) for s in (626.0, 626.1)], [False, True])
        self.assertFalse(self.contacts.forgettable(contact, 60.0, NOW + 666.0))


class Messages(ContactsCase):
    def test_known(self) -> None:
        """A message is a sign of life, and says where its sender is now."""
        contact = self.meet(2)
        contact.replace(NOW)
        sender = Sender(2, "n2", "n9:1730")
        self.assertIs(self.contacts.message_from(sender, NOW + 1.0), contact)
        self.assertEqual((contact.message_at, contact.address, contact.replaced), (NOW + 1.0, "n9:1730", False))

    def test_unknown(self) -> None:
        self.assertIsNone(self.contacts.message_from(Sender(2, "n2", "n2:1730"), NOW))
        self.assertEqual(len(self.contacts), 0)


class Replacing(ContactsCase):
    """Another incarnation answers at the address of one that was there before."""

    def found(self, since: float, number: int = 3) -> bool:
        self.contacts.found("n2:1730", number, since)
        return self.contact(2).replaced

    def test_not_met(self) -> None:
        """It is replaced if nothing came from it since the question was sent."""
        self.meet(2)
        self.assertFalse(self.found(NOW))
        self.assertTrue(self.found(NOW + 0.1))
        self.assertEqual(self.contact(2).replaced_at, NOW + 0.1)

    def test_others(self) -> None:
        """Neither itself, nor who is somewhere else."""
        self.meet(2)
        self.meet(4)
        self.assertFalse(self.found(NOW + 50.0, 2))
        self.found(NOW + 50.0)
        self.assertFalse(self.contact(4).replaced)

    def test_a_message_since(self) -> None:
        self.meet(2)
        self.message(2, NOW + 1.0)
        self.assertFalse(self.found(NOW + 0.5))

    def test_met_before(self) -> None:
        """One that is heard beside the other lives, unless it is silent for longer than a pause."""
        self.meet(3, at=NOW - 10.0)
        self.meet(2)
        self.assertFalse(self.found(NOW + 3.0))
        self.assertTrue(self.found(NOW + 3.1))

    def test_met_since(self) -> None:
        """One that was met after the last word of the other is in its place."""
        self.meet(2)
        self.meet(3, at=NOW + 0.5)
        self.assertTrue(self.found(NOW + 1.0))

    def test_taken_back(self) -> None:
        """A heartbeat of more than 1.5·I later takes it back."""
        contact = self.meet(2)
        contact.replace(NOW)
        self.contacts.hear(counter(6), NOW + 3.0)
        self.assertTrue(contact.replaced)
        self.contacts.hear(counter(7), NOW + 3.1)
        self.assertFalse(contact.replaced)


class Succeeding(ContactsCase):
    def test_succeeded(self) -> None:
        """A contact is succeeded when it is gone and its address has somebody else, maybe this node."""
        gone, other = self.meet(2), self.meet(3)
        self.assertFalse(self.contacts.succeeded(gone))
        gone.left = True
        self.assertFalse(self.contacts.succeeded(gone))
        other.address = gone.address
        self.assertEqual((self.contacts.succeeded(gone), self.contacts.succeeded(other)), (True, False))
        other.left = True
        self.assertFalse(self.contacts.succeeded(gone))
        gone.address = HERE
        self.assertTrue(self.contacts.succeeded(gone))


class State(ContactsCase):
    def test_state(self) -> None:
        """A peer is heard or silent while it is there; gone, it has left unless another one is at its address."""
        peer, other = self.meet(2), self.meet(3)
        states = [self.contacts.state(peer, NOW), self.contacts.state(peer, NOW + 60.0)]
        peer.left = True
        states.append(self.contacts.state(peer, NOW))
        other.address = peer.address
        states.append(self.contacts.state(peer, NOW))
        self.assertEqual(states, ["heard", "silent", "left", "replaced"])
        other.replace(NOW)
        self.assertEqual(self.contacts.state(other, NOW), "replaced")


class Sharing(ContactsCase):
    """Two that advertise one address are named when both are heard for three intervals after they were met."""

    def shared(self, *heard_at: float, address: str = "n5:1730", at: float = NOW + 7.0) -> dict[str, list[str]]:
        for number, each in zip((3, 2, 4), heard_at, strict=False):
            contact = self.meet(number)
            contact.address, contact.heard_at = address, each
        return self.contacts.sharing_addresses(at)

    def test_both_live(self) -> None:
        self.assertEqual(self.shared(NOW + 6.1, NOW + 6.5), {"n5:1730": ["n2", "n3"]})

    def test_one_not_since(self) -> None:
        self.assertEqual(self.shared(NOW + 6.0, NOW + 6.5), {})

    def test_one_silent(self) -> None:
        """Who is not heard any more shares nothing."""
        self.assertEqual(self.shared(NOW + 6.5, NOW + 19.0, at=NOW + 20.0), {})

    def test_alone(self) -> None:
        self.assertEqual(self.shared(NOW + 6.5), {})

    def test_met_lately(self) -> None:
        """It is the later of the two meetings from which time is counted."""
        self.shared(NOW + 6.5, NOW + 6.5)
        self.contact(2).met_at = NOW + 1.0
        self.assertEqual(self.contacts.sharing_addresses(NOW + 7.0), {})

    def test_with_this_node(self) -> None:
        self.assertEqual(self.shared(NOW + 6.5, address=HERE), {HERE: ["", "n3"]})


class SharingNames(ContactsCase):
    """The same of nodes that have one name, at different addresses."""

    def shared(self, *addresses: str, heard_at: float = NOW + 6.5, own: str = "n1") -> dict[str, list[str]]:
        for number, address in enumerate(addresses, 2):
            contact = self.meet(number)
            contact.name, contact.address, contact.heard_at = "n", address, heard_at
        return self.contacts.sharing_names(own, NOW + 7.0)

    def test_both_live(self) -> None:
        self.assertEqual(self.shared("n3:1730", "n2:1730"), {"n": ["n2:1730", "n3:1730"]})

    def test_not_since(self) -> None:
        self.assertEqual(self.shared("n3:1730", "n2:1730", heard_at=NOW + 6.0), {})

    def test_alone(self) -> None:
        self.assertEqual(self.shared("n2:1730"), {})

    def test_at_one_address(self) -> None:
        """That is reported as a shared address."""
        self.assertEqual(self.shared("n2:1730", "n2:1730"), {})

    def test_with_this_node(self) -> None:
        self.assertEqual(self.shared("n2:1730", own="n"), {"n": [HERE, "n2:1730"]})


class Waiting(ContactsCase):
    """Whose word is needed before this node speaks, and before a claim lapses."""

    def test_awaited(self) -> None:
        """Those known of, or heard from, within three intervals, whether or not they are believed."""
        self.contacts.meet(counter(5), NOW)
        self.assertEqual(len(self.contacts.awaited(NOW + 5.9)), 1)
        self.assertEqual(self.contacts.awaited(NOW + 6.0), [])
        self.message(2, NOW + 4.0)
        self.assertEqual(len(self.contacts.awaited(NOW + 9.9)), 1)
        self.contact(2).left = True
        self.assertEqual(self.contacts.awaited(NOW + 5.0), [])

    def test_asked(self) -> None:
        """Those heard, or heard from, within eight."""
        contact = self.meet(2)
        self.assertEqual((self.contacts.asked(NOW + 15.9), self.contacts.asked(NOW + 16.0)), ([contact], []))
        self.message(2, NOW + 1.0)
        self.assertEqual(self.contacts.asked(NOW + 16.0), [contact])
        contact.left = True
        self.assertEqual(self.contacts.asked(NOW + 5.0), [])


class Pausing(ContactsCase):
    """Rule 6: this node was away."""

    def test_shift(self) -> None:
        """All times are later by the gap, and by that of a second one."""
        contact = self.meet(2)
        self.message(2, NOW)
        for gap_s in (30.0, 5.0):
            self.contacts.shift(gap_s)
        shifted = (NOW + 35.0, NOW + 35.0, NOW + 35.0, 35.0)
        self.assertEqual((contact.heard_at, contact.known_at, contact.message_at, contact.shift_s), shifted)

    def test_unshift(self) -> None:
        """A contact was heard when it was; that something came from it stays where it is."""
        contact = self.meet(2)
        self.message(2, NOW)
        self.contacts.shift(30.0)
        self.contacts.unshift(contact)
        self.contacts.unshift(contact)
        self.assertEqual((contact.heard_at, contact.known_at, contact.shift_s), (NOW, NOW, 0.0))
        self.assertEqual(contact.message_at, NOW + 30.0)

    def test_heard_again(self) -> None:
        """The same heartbeat is as late as it was taken to be; news is compared with when it was really heard."""
        contact = self.meet(2)
        self.contacts.shift(30.0)
        self.contacts.hear(counter(5, 31.0), NOW + 30.0)
        self.assertEqual(contact.heard_at, NOW + 29.0)
        self.assertTrue(self.contacts.hear(counter(6, 20.0), NOW + 30.0))
        self.assertEqual((contact.heard_at, contact.shift_s), (NOW + 10.0, 0.0))


class Covering(ContactsCase):
    def test_covered(self) -> None:
        """All dots are shown by all contacts; one need not show what it wrote itself."""
        two, three = self.meet(2), self.meet(3)
        two.heads[4], three.heads[4] = 8, 7
        self.assertTrue(covered([(4, 7)], [two, three]))
        self.assertFalse(covered([(4, 8)], [two, three]))
        self.assertFalse(covered([(4, 7), (5, 1)], [two]))
        self.assertTrue(covered([(2, 9)], [two]))
        self.assertFalse(covered([(2, 9)], [two, three]))
        self.assertTrue(covered([], [two]))
        self.assertTrue(covered([], [two]))


class Dispensable(ContactsCase):
    """The contact that is forgotten early, if there are too many, is the one that is missed least."""

    def dispensable(self, at: float = NOW) -> int | None:
        contact = self.contacts.dispensable(at)
        return None if contact is None else contact.incarnation

    def test_none(self) -> None:
        """One that is heard and has spoken is needed."""
        self.assertIsNone(self.dispensable())
        self.meet(2)
        self.message(2, NOW)
        self.assertIsNone(self.dispensable())

    def test_never_spoke(self) -> None:
        """Of those that others speak of, the one of which there was no news for longest; others come after them."""
        for number, age_s in ((2, 5.0), (3, 1.0), (4, 3.0), (5, 2.0)):
            self.meet(number, age_s=age_s)
        self.message(2, NOW)
        self.assertEqual(self.dispensable(), 4)
        self.assertEqual(self.dispensable(NOW + 100.0), 4)
        for number, following in ((4, 5), (5, 3), (3, None)):
            self.message(number, NOW)
            self.assertEqual(self.dispensable(), following)

    def test_silent(self) -> None:
        """Of those that have spoken, one that is silent, or has left."""
        for number, age_s in ((2, 0.0), (3, 5.0), (4, 4.0)):
            self.meet(number, age_s=age_s)
            self.message(number, NOW)
        self.assertIsNone(self.dispensable(NOW + 0.9))
        self.assertEqual(self.dispensable(NOW + 1.0), 3)
        self.assertEqual(self.dispensable(NOW + 2.0), 3)
        self.contact(2).left = True
        self.assertEqual(self.dispensable(NOW + 0.9), 2)
