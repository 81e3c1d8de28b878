"""Rule 9: the guard."""

from __future__ import annotations

from tests.core.cluster import BODY, TTL_S, update
from tests.core.cluster import Cluster as ByHand
from tests.simulation import front
from tests.simulation.scenarios import KEY, LONG_INTERVAL_S, OTHER_KEY, Stage


def what_is_suspect_can_be_renewed_and_deregistered() -> None:
    """Two instances are known only to a node that crashed.

    One of them is renewed at a, the other is deregistered there.
    """
    stage = Stage("abc", guard_s=20.0)
    stage.register("b")
    stage.register("b", OTHER_KEY)
    stage.run_until(0.5)
    stage.crash("b")
    stage.run_until(15)
    stage.renew("a")
    stage.deregister("a", OTHER_KEY)
    stage.run_until(18)
    stage.expect(*(f"{name}: online registered, changed node-lost, changed restored" for name in "ac"))
    for name in "ac":
        happened = stage.happened(name, OTHER_KEY)
        assert happened == ["online registered", "changed node-lost", "offline deregistered"], happened


def a_guard_is_lifted_for_a_while() -> None:
    """b's instance is suspect until an operator lifts the guard at c.

    d's instance, which is lost later, is guarded again.
    """
    stage = Stage("abcd", guard_s=8.0)
    stage.register("b")
    stage.run_until(0.5)
    stage.crash("b")
    stage.run_until(15)
    stage.expect("a: online registered, changed node-lost")
    front.lift_guard(stage.cluster, stage["c"], "web")
    stage.run(0.1)
    stage.expect(*(f"{name}: online registered, changed node-lost, offline node-lost" for name in "ac"))
    stage.register("d", OTHER_KEY)
    stage.run(0.5)
    stage.crash("d")
    stage.run(14)
    assert stage.happened("a", OTHER_KEY) == ["online registered", "changed node-lost"], stage.happened("a", OTHER_KEY)


def half_of_an_app_is_no_mass_loss() -> None:
    """Two of four instances are known only to b, which crashes: they are hidden as without a guard."""
    stage = Stage("abc", guard_s=20.0)
    keys = [KEY.replace("10.0.0.5", f"10.0.0.{i}") for i in range(4)]
    for name, key in zip("abab", keys, strict=True):
        stage.register(name, key, ttl=60.0 if name == "a" else 10.0)
    stage.run_until(0.5)
    stage.crash("b")
    stage.run_until(14.5)
    for name in "ac":
        happened = [stage.happened(name, key)[-1] for key in keys]
        assert happened == ["online registered", "offline node-lost"] * 2, f"{name}: {happened}"


def what_came_back_is_not_lost() -> None:
    """One of three instances is hidden and restored. When the next one is lost, only one of three is lost, not two."""
    stage = Stage("abc", guard_s=20.0)
    stage.register("a", KEY.replace("10.0.0.5", "10.0.0.7"), ttl=60.0)
    stage.register("b")
    stage.run_until(0.5)
    cut = stage.cut("ab", "ba", "bc", "cb")
    stage.run_until(9)
    stage.renew("b")
    stage.register("c", OTHER_KEY, ttl=4.0)
    stage.run_until(11.5)
    stage.crash("c")
    stage.run_until(14.2)
    stage.heal(cut)
    stage.run_until(15.5)
    stage.expect("a: online registered, offline node-lost, online restored")
    stage.run_until(19)
    assert stage.happened("a", OTHER_KEY) == ["online registered", "offline node-lost"], stage.happened("a", OTHER_KEY)


def the_time_of_a_suspect_is_shortened_when_holders_change() -> None:
    """c had a claim and crashed; a had a later one. When b learns that a's claim lapsed, c's last heartbeat counts."""
    stage = Stage("abc", guard_s=30.0)
    stage.register("c")
    stage.run_until(5)
    stage.renew("c")
    stage.run_until(7.5)
    stage.crash("c")
    stage.run_until(8.5)
    stage.renew("a")
    stage.run_until(15)
    stage.renew("a")
    stage.run_until(16.7)
    cut = stage.cut("ab", "ba")
    stage.run_until(52.4)
    assert stage.listed() == "b", "b has hidden it already"
    stage.heal(cut)
    stage.run_until(56)
    assert not stage.listed(), "b lists it for longer than the guard after c was last heard"


def a_restarted_node_counts_for_the_time_of_a_suspect() -> None:
    """c and a had claims; c was cut off first, then a was restarted without its state. b's claim lapses (seed 900574).

    b forgets c and the earlier a before the guard is over. It is a, heard last, whose last heartbeat counts.
    """
    stage = Stage("abc", interval_s=LONG_INTERVAL_S, guard_s=30 * LONG_INTERVAL_S)
    stage.register("c")
    stage.run_until(2)
    stage.renew("a")
    stage.run_until(3)
    stage.cut("ac", "ca", "bc", "cb")
    stage.run_until(8)
    stage.renew("a")
    stage.run_until(10)
    stage.crash("a")
    stage.run_until(13)
    stage.start("a")
    stage.run_until(14)
    stage.renew("b")
    stage.run_until(52)
    assert "b" in stage.listed(), "b has hidden it already"
    stage.run_until(54)
    stage.expect("b: online registered, changed node-lost, offline node-lost")


class MassLoss(ByHand):
    """An app of which 400 of 700 instances are known only to b, which crashes.

    The guard counts them in slices, one for each sweep, and marks the suspects in slices too.
    """

    def __init__(self) -> None:
        super().__init__("ab", guard_s=30.0)
        self.keys = [f"registration/web/1.0/h{i}/80" for i in range(700)]
        for i, key in enumerate(self.keys):
            self["a" if i < 300 else "b"].register(self.now, key, update(BODY, 60.0 if i < 300 else TTL_S))
        self.rounds()
        self.cut = {"b"}
        self.run(TTL_S + 2.5)

    def suspects(self) -> list[str]:
        return [key for key in self.keys if self["a"].view.status(key).suspect]

    def expect(self, suspects: int) -> None:
        found = (self["a"].view.count, len(self.suspects()))
        assert found == (700, suspects), f"a lists {found[0]}, {found[1]} of them as suspect"


def a_mass_loss_is_judged_as_a_whole() -> None:
    """All 400 are suspects, although no slice of them is a mass loss by itself."""
    loss = MassLoss()
    loss.run(2.0)
    loss.expect(suspects=400)


def a_verdict_holds_for_all_that_was_lost_at_once() -> None:
    """The judgement holds for all that were lost together.

    When 200 of them are suspects, 60 are renewed at a, so the others are not most of the app any more.
    """
    loss = MassLoss()
    while not loss.suspects():
        loss.run(0.25)
    loss.expect(suspects=200)
    for key in loss.suspects()[:60]:
        loss.renew("a", key)
    loss.run(2.0)
    loss.expect(suspects=340)
