"""When peers were heard, how long their claims count, and when peers have left, are replaced or are forgotten."""

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
    """A node with rounds of two seconds, so peers are silent after six."""

    def setUp(self) -> None:
        self.peers = Peers(HERE, Timing(2.0, 20.0))

    def meet(self, number: int, beats: int = 5, at: float = NOW, age_s: float = 0.0) -> Peer:
        """Add a peer that is heard at once."""
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
        """A new peer has a name and an address, and nothing else is known of it."""
        peer = Peer(2, "n2", "n2:1730", NOW)
        self.assertEqual((peer.api_port, peer.left, peer.known_beats), (0, False, -1))
        self.assertEqual((peer.known_at, peer.hidden_ttl_s, peer.ttls), (-inf, -inf, None))

    def test_unheard(self) -> None:
        """A peer that was added is known, and is not heard before its ledger is here."""
        self.peers.meet(Counter(2, "n2", "n2:1730", 5, 1.5, left=False, api_port=1729), NOW)
        peer = self.peer(2)
        self.assertEqual((peer.name, peer.address, peer.api_port), ("n2", "n2:1730", 1729))
        self.assertEqual((peer.beats, peer.heard_at), (-1, -inf))
        self.assertEqual((peer.known_beats, peer.known_at, peer.met_at), (5, 998.5, NOW))
        self.assertEqual((peer.message_at, peer.echoed_at, peer.agreed_at), (-inf, -inf, -inf))
        self.assertEqual((peer.is_gone, peer.shift_s, peer.shown_versions), (False, 0.0, {}))
        self.assertEqual((len(self.peers), 2 in self.peers, 3 in self.peers), (1, True, False))

    def test_too_old(self) -> None:
        """A counter that is older than T + 3·I and ten minutes introduces no peer."""
        self.peers.meet(counter(5, 626.0), NOW)
        self.peers.meet(counter(5, 625.0, 3), NOW)
        self.peers.meet(counter(5, 665.0, 4, ttl_max_s=60.0), NOW)
        self.assertEqual([peer.incarnation for peer in self.peers], [3, 4])

    def test_with_leave(self) -> None:
        self.peers.meet(counter(5, left=True), NOW)
        self.assertTrue(self.peer(2).left)

    def test_at_this_address(self) -> None:
        """A peer with this node's address was there before, and is replaced."""
        self.peers.meet(Counter(2, "n1", HERE, 5, 0.0, left=False), NOW)
        peer = self.peer(2)
        self.assertEqual((peer.replaced, peer.replaced_at, peer.is_gone), (True, NOW, True))

    def test_newer(self) -> None:
        """The later of two heartbeats is known, and the larger age of one heartbeat."""
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
        """After a pause of this node, times of peers are later by the gap."""
        self.peers.meet(counter(5), NOW)
        self.peers.shift(30.0)
        self.peers.meet(counter(6, 4.0), NOW + 30.0)
        self.assertEqual(self.peer(2).known_at, NOW + 30.0 - 4.0 + 30.0)

    def test_forgotten(self) -> None:
        """A peer is forgotten with the versions that others have shown of it."""
        for number in (2, 3):
            self.meet(number)
        self.peer(3).shown_versions.update({2: 7, 4: 1})
        self.peers.forget(self.peer(2))
        self.assertEqual((len(self.peers), self.peer(3).shown_versions), (1, {4: 1}))


class Hearing(ContactsCase):
    """Rule 5: when a peer is heard."""

    def test_news(self) -> None:
        peer = self.meet(2)
        self.assertTrue(self.peers.hear(counter(6, 0.5), NOW + 2.0))
        self.assertEqual((peer.beats, peer.heard_at), (6, NOW + 1.5))

    def test_no_news(self) -> None:
        """An equal counter can only make the time earlier, and a smaller one changes nothing."""
        peer = self.meet(2)
        for beats, age_s in ((5, 1.0), (5, 0.5), (4, 9.0)):
            self.assertFalse(self.peers.hear(counter(beats, age_s), NOW))
            self.assertEqual((peer.beats, peer.heard_at), (5, NOW - 1.0))

    def test_slow_news(self) -> None:
        """A counter that took long to arrive does not make the time later."""
        peer = self.meet(2)
        self.assertFalse(self.peers.hear(counter(6, 3.0), NOW + 2.0))
        self.assertEqual((peer.beats, peer.heard_at), (6, NOW - 1.0))
        self.assertFalse(self.peers.hear(counter(7, 3.0), NOW + 2.0))

    def test_leaving(self) -> None:
        """A last counter marks a peer as left, and a larger one undoes this."""
        peer = self.meet(2)
        self.peers.hear(counter(6, left=True), NOW)
        self.assertEqual((peer.is_gone, self.peers.is_silent(peer, NOW)), (True, True))
        self.peers.hear(counter(6), NOW)
        self.assertTrue(peer.is_gone)
        self.peers.hear(counter(7), NOW)
        self.assertFalse(peer.is_gone)

    def test_silent(self) -> None:
        """A peer is silent three intervals after its last heartbeat."""
        peer = self.meet(2)
        self.assertFalse(self.peers.is_silent(peer, NOW + 5.9))
        self.assertTrue(self.peers.is_in_sight(2, NOW + 5.9))
        self.assertTrue(self.peers.is_silent(peer, NOW + 6.0))
        self.assertEqual([self.peers.is_in_sight(number, NOW + 6.0) for number in (2, 9)], [False, False])

    def test_counting(self) -> None:
        """Claims count for their ttl and three intervals; those of unknown nodes do not count."""
        peer = self.meet(2)
        self.assertEqual(self.peers.horizon_s(peer, NOW + 26.0), 20.0)
        self.assertEqual([self.peers.counts(2, ttl_s, NOW + 26.0) for ttl_s in (20.0, 20.1)], [False, True])
        self.assertEqual((self.peers.counts_until(2, 20.0), self.peers.counts_until(9, 20.0)), (NOW + 26.0, -inf))
        self.assertFalse(self.peers.counts(9, 20.0, NOW))

    def test_forgettable(self) -> None:
        """A peer is forgotten T + 3·I and ten minutes after its last known heartbeat."""
        peer = self.meet(2)
        self.assertEqual([self.peers.is_forgettable(peer, 0.0, NOW + s) for s in (626.0, 626.1)], [False, True])
        self.assertFalse(self.peers.is_forgettable(peer, 60.0, NOW + 666.0))


class Messages(ContactsCase):
    def test_known(self) -> None:
        """A message shows that its sender is alive, and has its present address."""
        peer = self.meet(2)
        peer.mark_replaced(NOW)
        sender = Sender(2, "n2", "n9:1730")
        self.assertIs(self.peers.note_message_from(sender, NOW + 1.0), peer)
        self.assertEqual((peer.message_at, peer.address, peer.replaced), (NOW + 1.0, "n9:1730", False))

    def test_unknown(self) -> None:
        self.assertIsNone(self.peers.note_message_from(Sender(2, "n2", "n2:1730"), NOW))
        self.assertEqual(len(self.peers), 0)


class Replacing(ContactsCase):
    """Another incarnation answers at the address of a peer."""

    def found(self, since: float, number: int = 3) -> bool:
        self.peers.note_answer_at("n2:1730", number, since)
        return self.peer(2).replaced

    def test_not_met(self) -> None:
        """A peer is replaced if it has sent no message since the question."""
        self.meet(2)
        self.assertFalse(self.found(NOW))
        self.assertTrue(self.found(NOW + 0.1))
        self.assertEqual(self.peer(2).replaced_at, NOW + 0.1)

    def test_others(self) -> None:
        """The answering node itself, and peers at other addresses, are not replaced."""
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
        """A peer that is heard beside the answering node is replaced only after 1.5·I without a heartbeat."""
        self.meet(3, at=NOW - 10.0)
        self.meet(2)
        self.assertFalse(self.found(NOW + 3.0))
        self.assertTrue(self.found(NOW + 3.1))

    def test_met_since(self) -> None:
        """A peer is replaced by one that was added after its last message."""
        self.meet(2)
        self.meet(3, at=NOW + 0.5)
        self.assertTrue(self.found(NOW + 1.0))

    def test_taken_back(self) -> None:
        """A heartbeat that is later by more than 1.5·I undoes the replacement."""
        peer = self.meet(2)
        peer.mark_replaced(NOW)
        self.peers.hear(counter(6), NOW + 3.0)
        self.assertTrue(peer.replaced)
        self.peers.hear(counter(7), NOW + 3.1)
        self.assertFalse(peer.replaced)


class Succeeding(ContactsCase):
    def test_succeeded(self) -> None:
        """A peer has a successor if it is gone and another peer, or this node, has its address."""
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
        """A peer is heard or silent; if it is gone, it has left, or is replaced by another peer at its address."""
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
    """Two peers share an address if both are heard more than three intervals after they were added."""

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
        """A silent peer does not share its address."""
        self.assertEqual(self.shared(NOW + 6.5, NOW + 19.0, at=NOW + 20.0), {})

    def test_alone(self) -> None:
        self.assertEqual(self.shared(NOW + 6.5), {})

    def test_met_lately(self) -> None:
        """The three intervals begin when the later of the two was added."""
        self.shared(NOW + 6.5, NOW + 6.5)
        self.peer(2).met_at = NOW + 1.0
        self.assertEqual(self.peers.names_by_shared_address(NOW + 7.0), {})

    def test_with_this_node(self) -> None:
        self.assertEqual(self.shared(NOW + 6.5, address=HERE), {HERE: ["", "n3"]})


class SharingNames(ContactsCase):
    """Two peers at different addresses share a name under the same condition."""

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
        """Peers of one name at one address share the address, and not the name."""
        self.assertEqual(self.shared("n2:1730", "n2:1730"), {})

    def test_with_this_node(self) -> None:
        self.assertEqual(self.shared("n2:1730", own="n"), {"n": [HERE, "n2:1730"]})


class Waiting(ContactsCase):
    """The peers for which this node waits before it is ready, and before a claim lapses."""

    def test_awaited(self) -> None:
        """A node waits for peers that were known or sent a message within three intervals."""
        self.peers.meet(counter(5), NOW)
        self.assertEqual(len(self.peers.awaited_peers(NOW + 5.9)), 1)
        self.assertEqual(self.peers.awaited_peers(NOW + 6.0), [])
        self.message(2, NOW + 4.0)
        self.assertEqual(len(self.peers.awaited_peers(NOW + 9.9)), 1)
        self.peer(2).left = True
        self.assertEqual(self.peers.awaited_peers(NOW + 5.0), [])

    def test_asked(self) -> None:
        """A claim waits for peers that were heard or sent a message within eight intervals."""
        peer = self.meet(2)
        self.assertEqual(
            (self.peers.confirming_peers(NOW + 15.9), self.peers.confirming_peers(NOW + 16.0)), ([peer], [])
        )
        self.message(2, NOW + 1.0)
        self.assertEqual(self.peers.confirming_peers(NOW + 16.0), [peer])
        peer.left = True
        self.assertEqual(self.peers.confirming_peers(NOW + 5.0), [])


class Pausing(ContactsCase):
    """Rule 6: this node was paused."""

    def test_shift(self) -> None:
        """All times are later by the gap, and by that of a second pause."""
        peer = self.meet(2)
        self.message(2, NOW)
        for gap_s in (30.0, 5.0):
            self.peers.shift(gap_s)
        shifted = (NOW + 35.0, NOW + 35.0, NOW + 35.0, 35.0)
        self.assertEqual((peer.heard_at, peer.known_at, peer.message_at, peer.shift_s), shifted)

    def test_unshift(self) -> None:
        """The times of heartbeats are restored, and the time of the last message is not."""
        peer = self.meet(2)
        self.message(2, NOW)
        self.peers.shift(30.0)
        self.peers.unshift(peer)
        self.peers.unshift(peer)
        self.assertEqual((peer.heard_at, peer.known_at, peer.shift_s), (NOW, NOW, 0.0))
        self.assertEqual(peer.message_at, NOW + 30.0)

    def test_heard_again(self) -> None:
        """The same heartbeat keeps its later time; a new one is compared with the original time."""
        peer = self.meet(2)
        self.peers.shift(30.0)
        self.peers.hear(counter(5, 31.0), NOW + 30.0)
        self.assertEqual(peer.heard_at, NOW + 29.0)
        self.assertTrue(self.peers.hear(counter(6, 20.0), NOW + 30.0))
        self.assertEqual((peer.heard_at, peer.shift_s), (NOW + 10.0, 0.0))


class Covering(ContactsCase):
    def test_covered(self) -> None:
        """Dots are known if all peers have shown them; a peer knows its own dots."""
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
    """If there are too many peers, the one that is needed least is forgotten early."""

    def dispensable(self, at: float = NOW) -> int | None:
        peer = self.peers.dispensable_peer(at)
        return None if peer is None else peer.incarnation

    def test_none(self) -> None:
        """A peer that is heard and has sent a message is needed."""
        self.assertIsNone(self.dispensable())
        self.meet(2)
        self.message(2, NOW)
        self.assertIsNone(self.dispensable())

    def test_never_spoke(self) -> None:
        """The peer without messages that was heard least recently is forgotten first."""
        for number, age_s in ((2, 5.0), (3, 1.0), (4, 3.0), (5, 2.0)):
            self.meet(number, age_s=age_s)
        self.message(2, NOW)
        self.assertEqual(self.dispensable(), 4)
        self.assertEqual(self.dispensable(NOW + 100.0), 4)
        for number, following in ((4, 5), (5, 3), (3, None)):
            self.message(number, NOW)
            self.assertEqual(self.dispensable(), following)

    def test_silent(self) -> None:
        """A peer with messages is forgotten if it is silent or has left."""
        for number, age_s in ((2, 0.0), (3, 5.0), (4, 4.0)):
            self.meet(number, age_s=age_s)
            self.message(number, NOW)
        self.assertIsNone(self.dispensable(NOW + 0.9))
        self.assertEqual(self.dispensable(NOW + 1.0), 3)
        self.assertEqual(self.dispensable(NOW + 2.0), 3)
        self.peer(2).left = True
        self.assertEqual(self.dispensable(NOW + 0.9), 2)
