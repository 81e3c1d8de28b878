"""Who has been heard, and when; how long claims count by that; who left, was replaced, and is forgotten."""

from __future__ import annotations

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from bender.core.messages import Counter, Sender
from bender.core.peers import Peer, Peers, are_known_to_all
from bender.core.timing import Timing

HERE = "n1:1730"
NOW = 1000.0


def counter(beats: int, age_s: float = 0.0, number: int = 2, *, left: bool = False, ttl_max_s: float = 0.0) -> Counter:
    return Counter(number, f"n{number}", f"n{number}:1730", beats, age_s, left, ttl_max_s)


class ContactsCase(SynchronousTestCase):
    """A node whose rounds are two seconds apart: others are silent after six."""

    def setUp(self) -> None:
        self.peers = Peers(HERE, Timing(2.0, 20.0))

    def meet(self, number: int, beats: int = 5, at: float = NOW, age_s: float = 0.0) -> Peer:
        """Somebody who is heard at once."""
        self.peers.meet(counter(beats, age_s, number), at)
        self.peers.hear(counter(beats, age_s, number), at)
        return self.peer(number)

    def peer(self, number: int) -> Peer:
        peer = self.peers.get(number)
        assert peer is not None
        return peer

    def message(self, number: int, at: float) -> None:
        self.peers.note_message_from(Sender(number, f"n{number}", f"n{number}:1730"), at)


class Meeting(ContactsCase):
    def test_at_first(self) -> None:
        """Nothing is known of a peer but who and where it is."""
        peer = Peer(2, "n2", "n2:1730", NOW)
        self.assertEqual((peer.api_port, peer.left, peer.known_beats), (0, False, -1))
        self.assertEqual((peer.known_at, peer.hidden_ttl_s, peer.ttls), (-inf, -inf, None))

    def test_unheard(self) -> None:
        """Who was met is known, and not heard before its ledger is here."""
        self.peers.meet(Counter(2, "n2", "n2:1730", 5, 1.5, left=False, api_port=1729), NOW)
        peer = self.peer(2)
        self.assertEqual((peer.name, peer.address, peer.api_port), ("n2", "n2:1730", 1729))
        self.assertEqual((peer.beats, peer.heard_at), (-1, -inf))
        self.assertEqual((peer.known_beats, peer.known_at, peer.met_at), (5, 998.5, NOW))
        self.assertEqual((peer.message_at, peer.echoed_at, peer.agreed_at), (-inf, -inf, -inf))
        self.assertEqual((peer.is_gone, peer.shift_s, peer.shown_versions), (False, 0.0, {}))
        self.assertEqual((len(self.peers), 2 in self.peers, 3 in self.peers), (1, True, False))

    def test_too_old(self) -> None:
        """News that is to be forgotten at once introduces nobody: after T + 3·I and ten minutes."""
        self.peers.meet(counter(5, 626.0), NOW)
        self.peers.meet(counter(5, 625.0, 3), NOW)
        self.peers.meet(counter(5, 665.0, 4, ttl_max_s=60.0), NOW)
        self.assertEqual([peer.incarnation for peer in self.peers], [3, 4])

    def test_with_leave(self) -> None:
        self.peers.meet(counter(5, left=True), NOW)
        self.assertTrue(self.peer(2).left)

    def test_at_this_address(self) -> None:
        """An incarnation at this node's address was there before it, and is none that lives."""
        self.peers.meet(Counter(2, "n1", HERE, 5, 0.0, left=False), NOW)
        peer = self.peer(2)
        self.assertEqual((peer.replaced, peer.replaced_at, peer.is_gone), (True, NOW, True))

    def test_newer(self) -> None:
        """Of two heartbeats the later one is known, of two ages of one the larger."""
        self.peers.meet(counter(5, 1.0), NOW)
        for beats, age_s, known in (
            (5, 3.0, (5, 997.0)),
            (5, 2.0, (5, 997.0)),
            (4, 9.0, (5, 997.0)),
            (6, 0.5, (6, 999.5)),
        ):
            self.peers.meet(counter(beats, age_s), NOW)
            self.assertEqual((self.peer(2).known_beats, self.peer(2).known_at), known)

    def test_after_a_pause(self) -> None:
        """Times are taken to be as much later as this node was away."""
        self.peers.meet(counter(5), NOW)
        self.peers.shift(30.0)
        self.peers.meet(counter(6, 4.0), NOW + 30.0)
        self.assertEqual(self.peer(2).known_at, NOW + 30.0 - 4.0 + 30.0)

    def test_forgotten(self) -> None:
        """With a peer goes what others have shown to have of it."""
        for number in (2, 3):
            self.meet(number)
        self.peer(3).shown_versions.update({2: 7, 4: 1})
        self.peers.forget(self.peer(2))
        self.assertEqual((len(self.peers), self.peer(3).shown_versions), (1, {4: 1}))


class Hearing(ContactsCase):
    """Rule 5."""

    def test_news(self) -> None:
        peer = self.meet(2)
        self.assertTrue(self.peers.hear(counter(6, 0.5), NOW + 2.0))
        self.assertEqual((peer.beats, peer.heard_at), (6, NOW + 1.5))

    def test_no_news(self) -> None:
        """An equal counter can only make it earlier, a smaller one changes nothing."""
        peer = self.meet(2)
        for beats, age_s in ((5, 1.0), (5, 0.5), (4, 9.0)):
            self.assertFalse(self.peers.hear(counter(beats, age_s), NOW))
            self.assertEqual((peer.beats, peer.heard_at), (5, NOW - 1.0))

    def test_slow_news(self) -> None:
        """News that took long says no more than what came before it."""
        peer = self.meet(2)
        self.assertFalse(self.peers.hear(counter(6, 3.0), NOW + 2.0))
        self.assertEqual((peer.beats, peer.heard_at), (6, NOW - 1.0))
        self.assertFalse(self.peers.hear(counter(7, 3.0), NOW + 2.0))

    def test_leaving(self) -> None:
        """A last counter says so, and a larger one takes it back."""
        peer = self.meet(2)
        self.peers.hear(counter(6, left=True), NOW)
        self.assertEqual((peer.is_gone, self.peers.is_silent(peer, NOW)), (True, True))
        self.peers.hear(counter(6), NOW)
        self.assertTrue(peer.is_gone)
        self.peers.hear(counter(7), NOW)
        self.assertFalse(peer.is_gone)

    def test_silent(self) -> None:
        """Three intervals after the last heartbeat."""
        peer = self.meet(2)
        self.assertFalse(self.peers.is_silent(peer, NOW + 5.9))
        self.assertTrue(self.peers.is_in_sight(2, NOW + 5.9))
        self.assertTrue(self.peers.is_silent(peer, NOW + 6.0))
        self.assertEqual([self.peers.is_in_sight(number, NOW + 6.0) for number in (2, 9)], [False, False])

    def test_counting(self) -> None:
        """Claims count for their ttl and three intervals; those of nobody known do not."""
        peer = self.meet(2)
        self.assertEqual(self.peers.horizon_s(peer, NOW + 26.0), 20.0)
        self.assertEqual([self.peers.counts(2, ttl_s, NOW + 26.0) for ttl_s in (20.0, 20.1)], [False, True])
        self.assertEqual((self.peers.counts_until(2, 20.0), self.peers.counts_until(9, 20.0)), (NOW + 26.0, -inf))
        self.assertFalse(self.peers.counts(9, 20.0, NOW))

    def test_forgettable(self) -> None:
        """Longer after its last known heartbeat than T + 3·I and ten minutes."""
        peer = self.meet(2)
        self.assertEqual([self.peers.is_forgettable(peer, 0.0, NOW + s) for s in (626.0, 626.1)], [False, True])
        self.assertFalse(self.peers.is_forgettable(peer, 60.0, NOW + 666.0))


class Messages(ContactsCase):
    def test_known(self) -> None:
        """A message is a sign of life, and says where its sender is now."""
        peer = self.meet(2)
        peer.mark_replaced(NOW)
        sender = Sender(2, "n2", "n9:1730")
        self.assertIs(self.peers.note_message_from(sender, NOW + 1.0), peer)
        self.assertEqual((peer.message_at, peer.address, peer.replaced), (NOW + 1.0, "n9:1730", False))

    def test_unknown(self) -> None:
        self.assertIsNone(self.peers.note_message_from(Sender(2, "n2", "n2:1730"), NOW))
        self.assertEqual(len(self.peers), 0)


class Replacing(ContactsCase):
    """Another incarnation answers at the address of one that was there before."""

    def found(self, since: float, number: int = 3) -> bool:
        self.peers.note_answer_at("n2:1730", number, since)
        return self.peer(2).replaced

    def test_not_met(self) -> None:
        """It is replaced if nothing came from it since the question was sent."""
        self.meet(2)
        self.assertFalse(self.found(NOW))
        self.assertTrue(self.found(NOW + 0.1))
        self.assertEqual(self.peer(2).replaced_at, NOW + 0.1)

    def test_others(self) -> None:
        """Neither itself, nor who is somewhere else."""
        self.meet(2)
        self.meet(4)
        self.assertFalse(self.found(NOW + 50.0, 2))
        self.found(NOW + 50.0)
        self.assertFalse(self.peer(4).replaced)

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
        peer = self.meet(2)
        peer.mark_replaced(NOW)
        self.peers.hear(counter(6), NOW + 3.0)
        self.assertTrue(peer.replaced)
        self.peers.hear(counter(7), NOW + 3.1)
        self.assertFalse(peer.replaced)


class Succeeding(ContactsCase):
    def test_succeeded(self) -> None:
        """A peer is succeeded when it is gone and its address has somebody else, maybe this node."""
        gone, other = self.meet(2), self.meet(3)
        self.assertFalse(self.peers.has_successor(gone))
        gone.left = True
        self.assertFalse(self.peers.has_successor(gone))
        other.address = gone.address
        self.assertEqual((self.peers.has_successor(gone), self.peers.has_successor(other)), (True, False))
        other.left = True
        self.assertFalse(self.peers.has_successor(gone))
        gone.address = HERE
        self.assertTrue(self.peers.has_successor(gone))


class State(ContactsCase):
    def test_state(self) -> None:
        """A peer is heard or silent while it is there; gone, it has left unless another one is at its address."""
        peer, other = self.meet(2), self.meet(3)
        states = [self.peers.state(peer, NOW), self.peers.state(peer, NOW + 60.0)]
        peer.left = True
        states.append(self.peers.state(peer, NOW))
        other.address = peer.address
        states.append(self.peers.state(peer, NOW))
        self.assertEqual(states, ["heard", "silent", "left", "replaced"])
        other.mark_replaced(NOW)
        self.assertEqual(self.peers.state(other, NOW), "replaced")


class Sharing(ContactsCase):
    """Two that advertise one address are named when both are heard for three intervals after they were met."""

    def shared(self, *heard_at: float, address: str = "n5:1730", at: float = NOW + 7.0) -> dict[str, list[str]]:
        for number, each in zip((3, 2, 4), heard_at, strict=False):
            peer = self.meet(number)
            peer.address, peer.heard_at = address, each
        return self.peers.names_by_shared_address(at)

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
        self.peer(2).met_at = NOW + 1.0
        self.assertEqual(self.peers.names_by_shared_address(NOW + 7.0), {})

    def test_with_this_node(self) -> None:
        self.assertEqual(self.shared(NOW + 6.5, address=HERE), {HERE: ["", "n3"]})


class SharingNames(ContactsCase):
    """The same of nodes that have one name, at different addresses."""

    def shared(self, *addresses: str, heard_at: float = NOW + 6.5, own: str = "n1") -> dict[str, list[str]]:
        for number, address in enumerate(addresses, 2):
            peer = self.meet(number)
            peer.name, peer.address, peer.heard_at = "n", address, heard_at
        return self.peers.addresses_by_shared_name(own, NOW + 7.0)

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
        self.peers.meet(counter(5), NOW)
        self.assertEqual(len(self.peers.awaited_peers(NOW + 5.9)), 1)
        self.assertEqual(self.peers.awaited_peers(NOW + 6.0), [])
        self.message(2, NOW + 4.0)
        self.assertEqual(len(self.peers.awaited_peers(NOW + 9.9)), 1)
        self.peer(2).left = True
        self.assertEqual(self.peers.awaited_peers(NOW + 5.0), [])

    def test_asked(self) -> None:
        """Those heard, or heard from, within eight."""
        peer = self.meet(2)
        self.assertEqual(
            (self.peers.confirming_peers(NOW + 15.9), self.peers.confirming_peers(NOW + 16.0)), ([peer], [])
        )
        self.message(2, NOW + 1.0)
        self.assertEqual(self.peers.confirming_peers(NOW + 16.0), [peer])
        peer.left = True
        self.assertEqual(self.peers.confirming_peers(NOW + 5.0), [])


class Pausing(ContactsCase):
    """Rule 6: this node was away."""

    def test_shift(self) -> None:
        """All times are later by the gap, and by that of a second one."""
        peer = self.meet(2)
        self.message(2, NOW)
        for gap_s in (30.0, 5.0):
            self.peers.shift(gap_s)
        shifted = (NOW + 35.0, NOW + 35.0, NOW + 35.0, 35.0)
        self.assertEqual((peer.heard_at, peer.known_at, peer.message_at, peer.shift_s), shifted)

    def test_unshift(self) -> None:
        """A peer was heard when it was; that something came from it stays where it is."""
        peer = self.meet(2)
        self.message(2, NOW)
        self.peers.shift(30.0)
        self.peers.unshift(peer)
        self.peers.unshift(peer)
        self.assertEqual((peer.heard_at, peer.known_at, peer.shift_s), (NOW, NOW, 0.0))
        self.assertEqual(peer.message_at, NOW + 30.0)

    def test_heard_again(self) -> None:
        """The same heartbeat is as late as it was taken to be; news is compared with when it was really heard."""
        peer = self.meet(2)
        self.peers.shift(30.0)
        self.peers.hear(counter(5, 31.0), NOW + 30.0)
        self.assertEqual(peer.heard_at, NOW + 29.0)
        self.assertTrue(self.peers.hear(counter(6, 20.0), NOW + 30.0))
        self.assertEqual((peer.heard_at, peer.shift_s), (NOW + 10.0, 0.0))


class Covering(ContactsCase):
    def test_covered(self) -> None:
        """All dots are shown by all peers; one need not show what it wrote itself."""
        two, three = self.meet(2), self.meet(3)
        two.shown_versions[4], three.shown_versions[4] = 8, 7
        self.assertTrue(are_known_to_all([(4, 7)], [two, three]))
        self.assertFalse(are_known_to_all([(4, 8)], [two, three]))
        self.assertFalse(are_known_to_all([(4, 7), (5, 1)], [two]))
        self.assertTrue(are_known_to_all([(2, 9)], [two]))
        self.assertFalse(are_known_to_all([(2, 9)], [two, three]))
        self.assertTrue(are_known_to_all([], [two]))
        self.assertTrue(are_known_to_all([], [two]))


class Dispensable(ContactsCase):
    """The peer that is forgotten early, if there are too many, is the one that is missed least."""

    def dispensable(self, at: float = NOW) -> int | None:
        peer = self.peers.dispensable_peer(at)
        return None if peer is None else peer.incarnation

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
        self.peer(2).left = True
        self.assertEqual(self.dispensable(NOW + 0.9), 2)
