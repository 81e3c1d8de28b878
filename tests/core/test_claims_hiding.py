"""Rules 1 to 4: registrations that are hidden while their nodes are silent, or kept by the guard."""

from __future__ import annotations

from bender.core.claims import KEYS_PER_SLICE, Claims
from bender.core.messages import Counter
from bender.core.node_loss_guard import GuardedApp
from bender.core.peers import Peer
from bender.core.timing import Timing
from tests.core.claims_case import NOW, OTHER_KEY, ClaimsCase
from tests.core.cluster import BODY, KEY, TTL_S, update


class Hiding(ClaimsCase):
    """Rule 5: claims of a silent node stop counting after their ttl and three intervals."""

    def setUp(self) -> None:
        super().setUp()
        self.peer = self.hear(2)
        self.tell(2)
        self.tell(2, OTHER_KEY, ttl_s=20.0)
        for key in (KEY, OTHER_KEY):
            self.claims.refresh(key, NOW)

    def hide(self, at: float) -> list[str]:
        self.claims.hide(at)
        self.claims.settle(at)
        return self.view.listed_keys()

    def test_one_after_the_other(self) -> None:
        self.assertEqual(self.hide(NOW + 12.9), [KEY, OTHER_KEY])
        self.assertEqual(self.hide(NOW + 13.0), [OTHER_KEY])
        self.assertEqual(self.hide(NOW + 22.9), [OTHER_KEY])
        self.assertEqual(self.hide(NOW + 23.0), [])

    def test_looked_at_once(self) -> None:
        """A hidden registration is evaluated once."""
        self.hide(NOW + 13.0)
        self.claims.hide(NOW + 13.25)
        self.assertTrue(self.claims.is_settled)

    def test_heard_again(self) -> None:
        self.hide(NOW + 13.0)
        self.hear(2, NOW + 14.0)
        self.claims.refresh_heard_again(self.peer, 11.0, NOW + 14.0)
        self.assertEqual([*self.claims.stale_keys], [KEY])
        self.assertEqual(self.hide(NOW + 14.0), [OTHER_KEY, KEY])
        self.assertEqual(self.hide(NOW + 27.0), [OTHER_KEY])

    def test_shortest(self) -> None:
        """A registration with the shortest ttl, four intervals, is hidden and shown again in time."""
        self.begin(interval_s=0.5)
        peer = self.hear(2)
        self.tell(2, ttl_s=2.0)
        self.claims.refresh(KEY, NOW)
        self.assertEqual(self.hide(NOW + 3.25), [KEY])
        self.assertEqual(self.hide(NOW + 3.5), [])
        self.hear(2, NOW + 4.0)
        self.claims.refresh_heard_again(peer, 2.0, NOW + 4.0)
        self.assertEqual([*self.claims.stale_keys], [KEY])

    def test_nothing_to_hide(self) -> None:
        """A peer without a ledger here has no claims to hide, show or forget."""
        self.begin()
        peer = self.hear(3)
        self.claims.hide(NOW + 20.0)
        self.claims.refresh_heard_again(peer, 17.0, NOW + 20.0)
        self.claims.forget(peer)
        self.assertTrue(self.claims.is_settled)

    def test_forgotten(self) -> None:
        """A forgotten ledger is removed with all its entries."""
        self.peers.forget(self.peer)
        self.claims.forget(self.peer)
        self.assertFalse(self.claims.is_settled)
        self.assertFalse(self.claims.settle(NOW))
        self.assertEqual((self.view.listed_keys(), len(self.claims.index), [*self.claims.ledgers]), ([], 0, [1]))


class Settling(ClaimsCase):
    """Evaluations of many keys are done in slices."""

    def test_held_back(self) -> None:
        """While events are held back, changed keys are collected."""
        self.claims.is_frozen = True
        self.hear(2)
        self.tell(2)
        self.claims.refresh(KEY, NOW)
        self.assertFalse(self.claims.settle(NOW))
        self.assertEqual((self.view.listed_keys(), self.claims.is_settled, self.claims.judge(NOW)), ([], False, False))
        self.claims.is_frozen = False
        self.assertFalse(self.claims.settle(NOW))
        self.assertEqual((self.view.listed_keys(), self.claims.is_settled), ([KEY], True))

    def test_slices(self) -> None:
        self.hear(2)
        for i in range(KEYS_PER_SLICE + 1):
            self.claims.stale_keys |= dict.fromkeys([self.tell(2, f"{KEY}{i}").key])
        self.assertTrue(self.claims.settle(NOW))
        self.assertEqual(self.view.count, KEYS_PER_SLICE)
        self.assertFalse(self.claims.settle(NOW))
        self.assertEqual(self.view.count, KEYS_PER_SLICE + 1)

    def test_taken_along(self) -> None:
        """Claims and ends of the former incarnation are taken over with their deadlines, before any key is hidden."""
        for i in range(KEYS_PER_SLICE):
            self.claims.register(f"{KEY}{i}", update(BODY, TTL_S), NOW)
        self.claims.deregister(f"{KEY}0", NOW)
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        claims = Claims(9, Timing(), self.peers, self.view, NOW, 1)
        claims.take_over(self.claims.leases)
        self.assertTrue(claims.settle(NOW))
        self.assertEqual((len(claims.ledger.entries), self.view.count), (KEYS_PER_SLICE, KEYS_PER_SLICE))
        self.assertFalse(claims.is_settled)
        while claims.settle(NOW):
            pass
        self.assertEqual(len(claims.ledger.entries), KEYS_PER_SLICE + 1)
        self.assertEqual({entry.node for entry in claims.ledger.entries.values()}, {9})
        self.assertEqual({lease.deadline for lease in claims.leases}, {NOW + TTL_S, NOW + 18.0 - 4.5})
        self.assertEqual(self.view.count, KEYS_PER_SLICE)


class Guarding(ClaimsCase):
    """Rule 9, with a guard of twenty seconds."""

    def setUp(self) -> None:
        self.begin(guard_s=20.0)

    def pass_on_to(self, at: float) -> None:
        self.claims.hide(at)
        while self.claims.settle(at) or self.claims.judge(at):
            pass

    def told(self, number: int, at: float, key: str = KEY, ttl_s: float = TTL_S) -> Peer:
        peer = self.hear(number, at)
        self.tell(number, key, ttl_s=ttl_s)
        self.claims.refresh(key, at)
        return peer

    def test_until_when(self) -> None:
        """The node that was heard last decides how long a registration stays suspect."""
        self.told(2, NOW)
        self.told(3, NOW + 2.0)
        self.pass_on_to(NOW + 15.0)
        self.assertEqual(self.claims.guard.guarded_apps(NOW + 15.0), [GuardedApp("web", 1, 20.0)])

    def test_beside_an_end(self) -> None:
        """An end of another registration does not change this time."""
        self.told(2, NOW)
        self.end(2, (2, 9))
        self.pass_on_to(NOW + 13.0)
        self.assertEqual(self.claims.guard.guarded_apps(NOW + 13.0), [GuardedApp("web", 1, 20.0)])

    def test_where_its_node_has_left(self) -> None:
        """A registration whose node has left has expired, because it cannot be renewed there."""
        self.told(2, NOW).left = True
        self.pass_on_to(NOW + 13.0)
        self.assertEqual(self.happened(), [("online", "registered"), ("offline", "expired")])

    def test_looked_at_again(self) -> None:
        """A hidden registration counts as lost, however often it is evaluated."""
        first, second, third = (KEY.replace("10.0.0.5", f"10.0.0.{i}") for i in (1, 2, 3))
        self.claims.register(first, update(BODY, 60.0), NOW)
        self.told(2, NOW, second)
        self.told(3, NOW + 11.0, third, 4.0)
        self.pass_on_to(NOW + 13.0)
        self.assertEqual(self.view.listed_keys(), [first, third])
        self.claims.refresh(second, NOW + 14.0)
        self.pass_on_to(NOW + 18.0)
        self.assertEqual(self.claims.guard.guarded_apps(NOW + 18.0), [GuardedApp("web", 1, 20.0)])

    def test_one_of_its_nodes_is_forgotten(self) -> None:
        """A forgotten node may still hold a claim, so the registration stays suspect."""
        two = self.told(2, NOW)
        self.told(3, NOW)
        self.pass_on_to(NOW + 13.0)
        self.others[3].remove(1)
        self.join(3)
        self.peers.forget(two)
        self.claims.forget(two)
        self.pass_on_to(NOW + 14.0)
        self.assertEqual(self.claims.guard.guarded_apps(NOW + 14.0), [GuardedApp("web", 1, 19.0)])

    def test_the_last_of_its_nodes_is_forgotten(self) -> None:
        """When the other nodes have removed their claims, the time of the forgotten node decides."""
        two = self.told(2, NOW)
        self.told(3, NOW + 2.0)
        self.pass_on_to(NOW + 15.0)
        self.peers.forget(two)
        self.claims.forget(two)
        self.others[3].remove(1)
        self.join(3)
        self.claims.refresh(KEY, NOW + 15.0)
        self.assertEqual(self.claims.guard.guarded_apps(NOW + 15.0), [GuardedApp("web", 1, 18.0)])

    def test_heard_of_again_without_its_ledger(self) -> None:
        """A forgotten node that is known again may still hold its claim; a node that had left does not count."""
        peers = (self.told(2, NOW), self.told(3, NOW))
        peers[1].left = True
        self.pass_on_to(NOW + 13.0)
        for peer in peers:
            self.peers.forget(peer)
            self.claims.forget(peer)
        self.pass_on_to(NOW + 14.0)
        self.peers.meet(Counter(2, "n2", "n2:1730", 1, 0.0), NOW + 14.0)
        self.claims.refresh(KEY, NOW + 14.0)
        self.assertEqual(self.claims.guard.guarded_apps(NOW + 14.0), [GuardedApp("web", 1, 19.0)])

    def test_registered_again_elsewhere(self) -> None:
        """The end of an earlier registration does not affect a later one at another node."""
        self.claims.register(KEY, update(BODY, TTL_S), NOW)
        self.claims.deregister(KEY, NOW)
        self.told(2, NOW)
        self.pass_on_to(NOW + 13.0)
        self.assertEqual(self.claims.guard.guarded_apps(NOW + 13.0), [GuardedApp("web", 1, 20.0)])

    def test_beside_one_whose_node_has_left(self) -> None:
        """A registration whose node has left is not lost, so the other one is only half of the app."""
        self.told(2, NOW, OTHER_KEY, 20.0).left = True
        self.told(3, NOW)
        self.pass_on_to(NOW + 13.0)
        self.assertEqual((self.claims.guard.guarded_apps(NOW + 13.0), self.view.listed_keys()), ([], [OTHER_KEY]))

    def first_slice(self, size: int) -> dict[str, int]:
        """Return the numbers of suspects of two apps of this size after one call."""
        self.setUp()
        for app in "ab":
            for i in range(size):
                self.told(2, NOW, f"registration/{app}/1.0/10.0.0.{i}/80")
        self.claims.hide(NOW + 13.0)
        while self.claims.settle(NOW + 13.0):
            pass
        self.assertTrue(self.claims.judge(NOW + 13.0))
        found = {each.app: each.suspects for each in self.claims.guard.guarded_apps(NOW + 13.0)}
        self.pass_on_to(NOW + 13.0)
        self.assertEqual([each.suspects for each in self.claims.guard.guarded_apps(NOW + 13.0)], [size, size])
        return found

    def test_slices(self) -> None:
        """A call evaluates about 300 members, with those that become suspect; later calls evaluate the others."""
        self.assertEqual([self.first_slice(size) for size in (100, 150, 200)], [{"a": 100}, {"a": 150}, {"a": 100}])
