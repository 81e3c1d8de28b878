"""The node-loss guard while nodes restart, are forgotten, or pause."""

from __future__ import annotations

from tests.core.guard_case import COUNTS_S, GUARD_S, GuardCase, member


class Restarts(GuardCase):
    """A lost node is restarted as another incarnation."""

    def restart(self, name: str, incarnation: int) -> None:
        self.cluster.start(name, incarnation, "abc")
        self.cluster.cut.discard(name)
        self.run_for(2)

    def test_suspects_wait_for_their_instances(self) -> None:
        """Suspects stay suspect until they register at the restarted node, or the guard is over."""
        self.live("b", 1, 2)
        self.cut("b")
        self.run_for(COUNTS_S + 0.5)
        self.homes.clear()
        self.restart("b", 9)
        self.cluster.register("b", member(1))
        self.assertEqual((self.listed(), self.told()[2:]), ("1 2?", ["changed restored"]))
        self.run_for(GUARD_S - 2)
        self.assertEqual(self.told(2)[2:], ["offline node-lost suspect"])

    def test_what_was_there_before(self) -> None:
        """A claim of an earlier incarnation does not keep an instance suspect whose last claim was removed."""
        self.live("b", 1)
        self.cut("b")
        self.run_for(1)
        self.homes.clear()
        self.restart("b", 9)
        self.live("c", 1)
        self.run_for(1)
        self.cut("c")
        self.homes.clear()
        self.run_for(COUNTS_S + 5)
        self.assertEqual(self.listed(), "1?")
        self.heal()
        self.run_for(2)
        self.assertEqual((self.listed(), self.told()[2:]), ("", ["offline expired suspect"]))


class Forgetting(GuardCase):
    """The guard may be longer than the time for which a silent node is remembered."""

    guard_s = 1800.0

    def setUp(self) -> None:
        super().setUp()
        self.live("b", 1, 2)
        self.cut("b")
        self.cluster.run(700.0)
        self.assertEqual((len(self.cluster["a"].peers), len(self.cluster["a"].claims.index)), (1, 0))

    def test_stays(self) -> None:
        """A suspect of a forgotten node stays until the guard is over, and leaves nothing behind then."""
        self.assertEqual((self.listed(), self.told()), ("1? 2?", ["online registered", "changed node-lost suspect"]))
        self.cluster.run(1800.0 - 680.0)
        self.assertEqual((self.listed(), self.told()[2:]), ("", ["offline node-lost suspect"]))
        self.assertEqual(self.cluster["a"].view.known_keys(), [])

    def test_known_again(self) -> None:
        """When the forgotten node is heard again, its lapsed registrations are gone at once."""
        self.heal()
        self.cluster.run(1.0)
        self.assertEqual((self.listed(), self.told()[2:]), ("", ["offline expired suspect"]))

    def test_renewed(self) -> None:
        """A suspect that renews is listed as before, and one that is deregistered is gone."""
        self.assertTrue(self.cluster.renew("a", member(1)))
        self.assertTrue(self.cluster.deregister("a", member(2)))
        self.assertEqual((self.listed(), self.listed("c")), ("1", "1"))
        self.assertEqual(self.told(2)[2:], ["offline deregistered suspect"])

    def test_changed(self) -> None:
        """A change of a suspect has the next rev."""
        self.cluster.register("a", member(1), b"new")
        shown = self.cluster["a"].claims.listed_claim(member(1))
        assert shown is not None
        self.assertEqual((shown.body, shown.rev), (b"new", 2))


class AtOnce(GuardCase):
    """A loss that a message causes is judged with the message, and not in the next sweep."""

    def test_judged(self) -> None:
        """The removal of the last counting claim by a message leads to a decision at once."""
        self.live("b", 1)
        self.cut("b")
        self.run_for(8.0)
        self.assertTrue(self.cluster.renew("a", member(1)))
        for _ in range(60):
            self.cluster.run(0.25)
            self.assertFalse(self.cluster["c"].claims.guard.has_undecided)
        self.assertEqual(self.listed("c"), "1?")


class ForgettingTheLiving(GuardCase):
    """The forgotten node is running, and its instances renew there."""

    guard_s = 1800.0

    def test_known_again(self) -> None:
        """The suspects are restored when the node is heard again."""
        self.live("b", 1, 2)
        self.cut("b")
        self.run_for(700.0)
        self.assertEqual(self.listed(), "1? 2?")
        self.heal()
        self.cluster.run(1.0)
        self.assertEqual((self.listed(), self.told()[2:]), ("1 2", ["changed restored"]))


class Away(GuardCase):
    """A pause of the node itself does not change the time of its suspects."""

    def test_back_from_a_pause(self) -> None:
        """Instances that were lost during the pause are suspect until the same time as without it."""
        self.live("b", 1, 2)
        self.cluster.run(1)
        died_at = self.cluster.now
        del self.cluster.replicas["b"]
        self.cluster.cut.add("a")
        self.homes.clear()
        replica = self.cluster.replicas.pop("a")
        self.cluster.run(20)
        self.cluster.replicas["a"] = replica
        self.cluster.cut.clear()
        self.cluster.run(6)
        self.assertEqual((replica.is_ready, self.listed()), (True, "1? 2?"))
        self.cluster.run(died_at + COUNTS_S + GUARD_S - 0.5 - self.cluster.now)
        self.assertEqual(self.listed(), "1? 2?")
        self.cluster.run(1)
        self.assertEqual((self.listed(), self.listed("c")), ("", ""))

    def test_started_anew(self) -> None:
        """After a long absence, a suspect is hidden if its node is unreachable."""
        self.live("b", 1, 2)
        self.cut("b")
        self.run_for(COUNTS_S + 0.5)
        self.cluster.now += 700.0
        self.cluster["a"].continue_as(77, self.cluster.now)
        self.cluster.cut.add("c")
        self.cluster.run(6)
        self.assertEqual(self.listed(), "")
        self.assertEqual(self.told()[1:], ["changed node-lost suspect", "offline node-lost suspect"])
