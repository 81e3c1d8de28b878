"""The peers that a node hears."""

from __future__ import annotations

from bender.core.messages import AGE_S_MAX, Counter
from bender.core.node_report import HeardPeer, heard_peers
from tests.core.test_peers import HERE, NOW, ContactsCase, counter


class Hears(ContactsCase):
    def test_nobody(self) -> None:
        """A node without peers hears none."""
        self.assertEqual(heard_peers(self.peers, NOW), ())

    def test_each_with_its_state(self) -> None:
        """Each peer is listed with its state, except for replaced ones."""
        for number in (2, 3, 4, 5):
            self.meet(number)
        self.meet(2, beats=6, at=NOW + 5.5)
        self.peers.hear(counter(6, 0.0, 4, left=True), NOW)
        self.peer(5).mark_replaced(NOW)
        self.assertEqual(
            heard_peers(self.peers, NOW + 6),
            (
                HeardPeer("n2", "n2:1730", "heard", 0.5),
                HeardPeer("n3", "n3:1730", "silent", 6.0),
                HeardPeer("n4", "n4:1730", "left", 6.0),
            ),
        )

    def test_an_earlier_start_of_this_node(self) -> None:
        """The former incarnation of this node is not listed."""
        self.peers.meet(Counter(9, "n1", HERE, 5, 0.0, left=False), NOW)
        self.assertEqual(heard_peers(self.peers, NOW), ())

    def test_one_that_was_never_heard(self) -> None:
        """A peer that was never heard has no lag."""
        self.peers.meet(counter(5), NOW)
        self.assertEqual(heard_peers(self.peers, NOW), (HeardPeer("n2", "n2:1730", "silent", None),))

    def test_lags_are_such_as_others_accept(self) -> None:
        """Lags are neither negative nor above the maximum."""
        self.meet(2)
        self.assertEqual(heard_peers(self.peers, NOW - 1), (HeardPeer("n2", "n2:1730", "heard", 0.0),))
        self.assertEqual(
            heard_peers(self.peers, NOW + 2 * AGE_S_MAX), (HeardPeer("n2", "n2:1730", "silent", AGE_S_MAX),)
        )
