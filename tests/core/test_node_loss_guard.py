"""The node-loss guard: the members that stay listed as suspect, their time, and the end of the guard."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.node_loss_guard import GUARD_S_MAX, Guard, GuardedApp, guarded_app, key_of_guard
from tests.core.cluster import BODY, Cluster, update
from tests.core.guard_case import COUNTS_S, GUARD_S, GuardCase, SuspectCase, member


class Threshold(GuardCase):
    """The guard applies if more than half of an app would be hidden at once."""

    def test_more_than_half(self) -> None:
        """Members that would be hidden stay listed, and are announced as suspect."""
        self.live("a", 4)
        self.live("b", 1, 2, 3)
        self.cut("b")
        self.run_for(COUNTS_S - 1)
        self.assertEqual(self.listed(), "1 2 3 4")
        self.run_for(1.5)
        self.assertEqual(self.listed(), "1? 2? 3? 4")
        self.assertEqual(self.listed("c"), "1? 2? 3? 4")
        self.assertEqual(self.told(), ["online registered", "changed node-lost suspect"])

    def test_half(self) -> None:
        """Half of the members are hidden as without a guard."""
        self.live("a", 3, 4)
        self.live("b", 1, 2)
        self.cut("b")
        self.run_for(COUNTS_S + 0.5)
        self.assertEqual(self.listed(), "3 4")
        self.assertEqual(self.told(), ["online registered", "offline node-lost"])

    def test_one_of_one(self) -> None:
        """The only member of an app is more than half of it."""
        self.live("b", 1)
        self.cut("b")
        self.run_for(COUNTS_S + 0.5)
        self.assertEqual(self.listed(), "1?")

    def test_of_two(self) -> None:
        """One of two members is half of them, and both are more."""
        self.live("b", 1)
        self.live("c", 2)
        self.live("b", 3, 4, app="api")
        self.cut("b")
        self.run_for(COUNTS_S + 0.5)
        self.assertEqual((self.listed(), self.listed(app="api")), ("2", "3? 4?"))

    def test_each_app_for_itself(self) -> None:
        """Each app is judged separately."""
        self.live("a", 3, 4)
        self.live("b", 1)
        self.live("a", 4, app="api")
        self.live("b", 1, 2, app="api")
        self.cut("b")
        self.run_for(COUNTS_S + 0.5)
        self.assertEqual((self.listed(), self.listed(app="api")), ("3 4", "1? 2? 4"))

    def test_off(self) -> None:
        """Without a guard all lost members are hidden."""
        self.guard_s = 0.0
        self.setUp()
        self.live("b", 1, 2)
        self.cut("b")
        self.run_for(COUNTS_S + 0.5)
        self.assertEqual((self.listed(), self.told()), ("", ["online registered", "offline node-lost"]))


class Duration(GuardCase):
    """The duration of the guard is changed while the node runs."""

    def lose(self) -> None:
        self.live("a", 3)
        self.live("b", 1, 2)
        self.cut("b")
        self.run_for(COUNTS_S + 0.5)

    def test_switched_on(self) -> None:
        """A guard that is switched on keeps members listed for its duration."""
        self.guard_s = 0.0
        self.setUp()
        self.cluster["a"].set_guard_duration(GUARD_S)
        self.lose()
        self.assertEqual((self.listed("a"), self.listed("c")), ("1? 2? 3", "3"))
        self.run_for(GUARD_S)
        self.assertEqual(self.listed("a"), "3")

    def test_switched_off(self) -> None:
        """If the guard is switched off, suspects are hidden at once."""
        self.lose()
        self.assertEqual(self.listed(), "1? 2? 3")
        self.cluster["a"].set_guard_duration(0.0)
        self.run_for(1.0)
        self.assertEqual((self.listed("a"), self.listed("c")), ("3", "1? 2? 3"))

    def test_longer(self) -> None:
        """A longer duration does not apply to present suspects."""
        self.lose()
        self.cluster["a"].set_guard_duration(10 * GUARD_S)
        self.run_for(GUARD_S)
        self.assertEqual(self.listed("a"), "3")

    def test_in_the_next_incarnation(self) -> None:
        """The next incarnation keeps the duration."""
        self.cluster["a"].set_guard_duration(7.0)
        self.cluster["a"].continue_as(99, self.cluster.now)
        self.assertEqual(self.cluster["a"].guard_s, 7.0)


class Nodes(GuardCase):
    """Several nodes are lost together, or one after the other."""

    names = "abcde"

    def setUp(self) -> None:
        super().setUp()
        for number, name in enumerate("bbccddee", 1):
            self.live(name, number)
        self.live("a", 9)

    def test_within_a_ttl(self) -> None:
        """When the first members would be hidden, all that will follow within the ttl count."""
        self.cut("b", "c")
        self.run_for(5)
        self.cut("d")
        self.run_for(COUNTS_S - 4.5)
        self.assertEqual(self.listed(), "1? 2? 3? 4? 5 6 7 8 9")
        self.run_for(5)
        self.assertEqual(self.listed(), "1? 2? 3? 4? 5? 6? 7 8 9")

    def test_further_apart(self) -> None:
        """Losses that are further apart are judged separately, and hidden members stay hidden."""
        self.cut("b", "c")
        self.run_for(12)
        self.cut("d")
        self.run_for(11)
        self.assertEqual(self.listed(), "5 6 7 8 9")
        self.run_for(COUNTS_S - 10)
        self.assertEqual(self.listed(), "7 8 9")
        self.cut("e")
        self.run_for(COUNTS_S + 1)
        self.assertEqual(self.listed(), "7? 8? 9")

    def test_shorter_ttls(self) -> None:
        """Members that were hidden within the last ttl count as lost, and stay hidden; later ones are suspect."""
        self.live("d", 5, 6, ttl_s=4.0)
        self.cut("b", "c")
        self.run_for(11.5)
        self.cut("d")
        self.run_for(2)
        self.assertEqual(self.listed(), "5 6 7 8 9")
        self.run_for(5)
        self.assertEqual(self.listed(), "5? 6? 7 8 9")


class Ending(SuspectCase):
    """The guard lasts for its duration, and news about an instance ends it at once."""

    def test_over(self) -> None:
        """After the guard suspects are hidden as lost, and a heal restores them."""
        self.run_for(GUARD_S - 1)
        self.assertEqual(self.listed(), "1? 2? 3")
        self.run_for(1.5)
        self.assertEqual(self.listed(), "3")
        self.assertEqual(self.told()[2:], ["offline node-lost suspect"])
        self.heal()
        self.run_for(2)
        self.assertEqual((self.listed(), self.told()[3:]), ("1 2 3", ["online restored"]))

    def test_heard_again(self) -> None:
        """Suspects that are heard again are announced as restored."""
        self.heal()
        self.run_for(2)
        self.assertEqual((self.listed(), self.told()[2:]), ("1 2 3", ["changed restored"]))

    def test_renewed_here(self) -> None:
        """A suspect that renews at this node continues its registration; the others stay suspect."""
        before = self.cluster["a"].claims.listed_claim(member(1))
        assert before is not None
        self.assertTrue(self.cluster.renew("a", member(1)))
        self.assertEqual((self.listed(), self.listed("c"), self.told()[2:]), ("1 2? 3", "1 2? 3", ["changed restored"]))
        after = self.cluster["a"].claims.listed_claim(member(1))
        assert after is not None
        self.assertEqual(after.root, before.root)

    def test_registered_here(self) -> None:
        """A suspect that registers at this node is not new; another body is announced as a change."""
        self.assertFalse(self.cluster.register("a", member(1)))
        self.assertFalse(self.cluster.register("a", member(2), b'{"new":1}'))
        self.assertEqual((self.listed(), self.told(1)[2:]), ("1 2 3", ["changed restored"]))
        self.assertEqual(self.told(2)[2:], ["changed registered"])
        self.heal()
        self.run_for(3)
        shown = self.cluster["b"].claims.listed_claim(member(2))
        assert shown is not None
        self.assertEqual(shown.body, b'{"new":1}')

    def test_deregistered(self) -> None:
        """A deregistered suspect is gone at once at all nodes, and stays so after the heal."""
        del self.homes[member(1)]
        self.assertTrue(self.cluster.deregister("a", member(1)))
        self.assertEqual((self.listed(), self.listed("c")), ("2? 3", "2? 3"))
        self.assertEqual(self.told()[2:], ["offline deregistered suspect"])
        self.heal()
        self.run_for(2)
        self.assertEqual((self.listed(), self.listed("b")), ("2 3", "2 3"))

    def test_expired(self) -> None:
        """A suspect is gone as expired when its node is heard again without the claim."""
        del self.homes[member(1)]
        self.run_for(COUNTS_S + 5)
        self.heal()
        self.run_for(2)
        self.assertEqual((self.listed(), self.told()[2:]), ("2 3", ["offline expired suspect"]))

    def test_not_lengthened(self) -> None:
        """A later loss does not prolong the time of earlier suspects, and has its own time."""
        self.run_for(10)
        self.cut("a")
        self.live("c", 4)
        self.run_for(COUNTS_S + 0.5)
        self.assertEqual(self.listed("c"), "1? 2? 3? 4")
        self.run_for(GUARD_S - 10 - COUNTS_S)
        self.assertEqual(self.listed("c"), "3? 4")
        self.run_for(COUNTS_S + 10)
        self.assertEqual(self.listed("c"), "4")

    def test_what_is_left(self) -> None:
        """The number of suspects and the longest remaining time are returned for each app."""
        self.assertEqual(self.cluster["a"].guarded_apps(self.cluster.now), [GuardedApp("web", 2, GUARD_S - 0.5)])
        self.run_for(GUARD_S)
        self.assertEqual(self.cluster["a"].guarded_apps(self.cluster.now), [])


class Lifting(SuspectCase):
    """An operator lifts the guard from an app."""

    def lift(self, name: str) -> None:
        self.cluster[name].lift_guard(self.cluster.now, "web", "ops", 0)
        self.cluster.settle()

    def test_at_once_on_all_nodes(self) -> None:
        """The suspects are hidden at all nodes at once."""
        self.lift("c")
        self.assertEqual((self.listed(), self.listed("c")), ("3", "3"))
        self.assertEqual(self.told()[2:], ["offline node-lost suspect"])
        self.heal()
        self.run_for(2)
        self.assertEqual(self.listed(), "1 2 3")

    def test_for_a_while(self) -> None:
        """For the duration of the guard, other lost members of the app are hidden, too."""
        self.lift("a")
        self.live("c", 4, 5)
        self.cut("c")
        self.run_for(COUNTS_S + 0.5)
        self.assertEqual(self.listed(), "3")
        self.heal()
        self.run_for(GUARD_S)
        self.assertEqual(self.listed(), "1 2 3 4 5")
        self.cut("b", "c")
        self.run_for(COUNTS_S + 0.5)
        self.assertEqual(self.listed(), "1? 2? 3 4? 5?")

    def test_by_itself(self) -> None:
        """The node that was asked hides the suspects before its peers answer."""
        self.cluster["c"].lift_guard(self.cluster.now, "web", "ops", 0)
        self.assertEqual(self.listed("c"), "3")

    def test_one_app(self) -> None:
        """The guards of other apps stay."""
        self.cluster["a"].lift_guard(self.cluster.now, "api", "ops", 0)
        self.assertEqual(self.listed(), "1? 2? 3")

    def test_keys(self) -> None:
        """The app of a guard's setting is found from its key; other keys have none."""
        self.assertEqual(guarded_app(key_of_guard('a "b" %;')), 'a "b" %;')
        self.assertEqual([guarded_app(key) for key in ("backend/guard", "guard", "guards/a")], [None] * 3)


class Many(SynchronousTestCase):
    """A large app is judged in slices, and all members that are lost together become suspect or are hidden together."""

    def test_slices(self) -> None:
        """A sweep evaluates a limited number of members, and none is hidden before all were counted."""
        for count_here, expected in ((600, 0), (1000, 0), (1001, 1001)):
            cluster = Cluster("ab", guard_s=GUARD_S)
            for number in range(1001):
                cluster["b"].register(cluster.now, f"registration/web/1.0/h{number}/80", update(BODY, 10.0))
            for number in range(count_here):
                cluster["a"].register(cluster.now, f"registration/web/1.0/k{number}/80", update(BODY, 3600.0))
            cluster.settle()
            cluster.run(3)
            cluster.cut.add("b")
            before = len(cluster.events["a"])
            slices = 0
            while slices < 100 and cluster.now < 1000 + 3 + COUNTS_S + 1:
                cluster.now += 0.25
                while cluster["a"].sweep(cluster.now):
                    slices += 1
                cluster.settle()
                cluster.rounds()
            told = {(event.change, event.status.suspect) for event in cluster.events["a"][before:]}
            self.assertEqual(told, {("offline", False)} if expected else {("changed", True)})
            self.assertEqual(cluster["a"].view.count_of("web"), count_here + (0 if expected else 1001))
            self.assertGreater(slices, 6)


class ByHand(SynchronousTestCase):
    """A guard of twenty seconds with a window of ten; the test reports the losses."""

    def setUp(self) -> None:
        self.guard = Guard(20.0, 10.0)

    def lose(self, number: int, hidden_at: float = 100.0, now: float = 100.0, members: int = 1) -> str:
        return self.guard.decide_on(member(number), members, hidden_at, {2: hidden_at}, {}, now)

    def judge(self, *numbers: int, looks: int = 100, out_of_sight: bool = True) -> tuple[int, list[str]]:
        members = [member(number) for number in numbers]
        looked_at, again = self.guard.judge(lambda app: members, lambda key: out_of_sight, looks, 100.0)
        return looked_at, [*again]

    def test_on(self) -> None:
        """A guard is on with any duration above zero."""
        self.assertEqual([Guard(s, 10.0).is_on for s in (0.0, 0.5)], [False, True])
        self.assertEqual(GUARD_S_MAX, 3600.0)

    def test_judged(self) -> None:
        """A lost member is undecided until all members are counted, and is then decided again."""
        self.assertEqual((self.lose(1), self.guard.has_undecided, self.guard.apps), ("undecided", True, []))
        self.assertEqual(self.judge(1), (1, [member(1)]))
        self.assertEqual((self.lose(1), self.guard.has_undecided, self.guard.apps), ("suspect", False, ["web"]))
        self.assertEqual(self.guard.guarded_apps(105.0), [GuardedApp("web", 1, 15.0)])

    def test_until_the_last(self) -> None:
        """The remaining time of an app is that of its last suspect."""
        for number in (1, 2):
            self.lose(number)
        self.judge(1, 2)
        self.lose(1, 100.0)
        self.lose(2, 97.0)
        self.assertEqual(self.guard.guarded_apps(105.0), [GuardedApp("web", 2, 15.0)])

    def test_over(self) -> None:
        """A suspect is hidden at the end of its time, which never becomes later."""
        self.lose(1)
        self.judge(1)
        self.lose(1)
        self.assertEqual((self.lose(1, 110.0, 119.9), self.guard.suspects_over(119.9)), ("suspect", {}))
        self.assertEqual(self.guard.suspects_over(120.0), {member(1): None})
        self.assertEqual(self.lose(1, 110.0, 120.0), "hidden")
        self.assertEqual(self.guard.apps, [])

    def test_forgotten_nodes(self) -> None:
        """The times of nodes that are not known any more are returned, of those that were gone too; they never change.

        Later decisions on a suspect are made when some of its nodes are forgotten.
        """
        for _ in range(2):
            self.guard.decide_on(member(1), 2, 110.0, {2: 110.0}, {3: 105.0}, 110.0)
            self.guard.decide_on(member(2), 2, 110.0, {2: 110.0}, {}, 110.0)
            if self.guard.has_undecided:
                self.judge(1, 2)
        for number, gone in ((1, {3: 105.0}), (2, {})):
            self.guard.decide_on(member(number), 2, 110.0, {}, {}, 111.0)
            suspect = self.guard.suspect(member(number))
            assert suspect is not None
            self.assertEqual(suspect.forgotten(lambda _: False), {2: 110.0, **gone})
            self.assertEqual(suspect.forgotten(lambda node: node == 2), gone)

    def test_forgotten(self) -> None:
        """A member that is heard again is not undecided."""
        self.lose(1)
        self.guard.forget(member(1))
        self.assertFalse(self.guard.has_undecided)

    def test_counted_anew(self) -> None:
        """Each judgement counts all members anew; one that takes several calls counts them once."""
        self.lose(1)
        self.assertEqual(self.judge(1, 2, 3, looks=2), (2, []))
        self.assertEqual(self.judge(1, 2, 3, looks=2), (1, [member(1)]))
        self.guard.forget_judgements()
        self.lose(2)
        self.assertEqual(self.judge(1, 2, 3, looks=2), (2, []))
        self.assertEqual(self.judge(1, 2, 3, looks=2), (1, [member(2)]))
        self.guard.forget_judgements()
        self.lose(3)
        self.assertEqual(self.judge(1, 2, 3, out_of_sight=False), (3, [member(3)]))
        self.assertEqual(self.lose(3), "hidden")

    def test_count_given_up(self) -> None:
        """A count is given up if no member is undecided."""
        self.lose(1)
        self.judge(1, 2, 3, looks=2)
        self.guard.forget(member(1))
        self.guard.forget_judgements()
        self.lose(2)
        self.assertEqual(self.judge(1, 2, 3, looks=2), (2, []))

    def test_one_after_the_other(self) -> None:
        """The time of each suspect ends separately."""
        hidden_at = {1: 110.0, 2: 105.0, 3: 120.0}
        for number in hidden_at:
            self.lose(number)
        self.judge(*hidden_at)
        for number, at in hidden_at.items():
            self.guard.forget(member(number))
            self.lose(number, at)
        self.assertEqual([*self.guard.suspects_over(125.0)], [member(2)])
        self.guard.forget(member(2))
        self.assertEqual([*self.guard.suspects_over(130.0)], [member(1)])

    def test_window(self) -> None:
        """A hidden member counts as lost for ten seconds."""
        for now, outcome in ((109.9, "suspect"), (110.0, "hidden")):
            self.setUp()
            self.lose(1)
            self.judge(1, 2, 3, out_of_sight=False)
            self.assertEqual(self.lose(1, members=3), "hidden")
            self.guard.forget_judgements()
            self.lose(2, now, now)
            self.guard.judge(lambda app: [member(2), member(3)], lambda key: key == member(2), 100, now)
            self.assertEqual(self.lose(2, now, now), outcome)
