"""Rule 9: the guard."""

from __future__ import annotations

from tests.simulation import front
from tests.simulation.front import Wanted
from tests.simulation.scenarios import KEY, Stage


def what_is_suspect_can_be_renewed_and_deregistered() -> None:
    """Two instances are known to a node that died: one of them comes to a, and one is deregistered there."""
    other = KEY.replace("10.0.0.5", "10.0.0.6")
    stage = Stage("abc", guard_s=20.0)
    stage.register("b")
    stage.register("b", other)
    stage.run_until(0.5)
    stage.crash("b")
    stage.run_until(15)
    stage.renew("a")
    assert front.deregister(stage.cluster, stage["a"], other), "a knows nothing of it"
    stage.run_until(18)
    stage.expect(*(f"{name}: online registered, changed node-lost, changed restored" for name in "ac"))
    for name in "ac":
        happened = stage.happened(name, other)
        assert happened == ["online registered", "changed node-lost", "offline deregistered"], happened


def a_guard_is_lifted_for_a_while() -> None:
    """What b had heard from is suspect until an operator says otherwise at c; what d had heard from later is again."""
    other = KEY.replace("10.0.0.5", "10.0.0.6")
    stage = Stage("abcd", guard_s=8.0)
    stage.register("b")
    stage.run_until(0.5)
    stage.crash("b")
    stage.run_until(15)
    stage.expect("a: online registered, changed node-lost")
    front.lift_guard(stage.cluster, stage["c"], "web")
    stage.run(0.1)
    stage.expect(*(f"{name}: online registered, changed node-lost, offline node-lost" for name in "ac"))
    stage.register("d", other)
    stage.run(0.5)
    stage.crash("d")
    stage.run(14)
    assert stage.happened("a", other) == ["online registered", "changed node-lost"], stage.happened("a", other)


def half_of_an_app_is_no_mass_loss() -> None:
    """Of four instances two are known to b alone, which dies: they are hidden as ever."""
    stage = Stage("abc", guard_s=20.0)
    keys = [KEY.replace("10.0.0.5", f"10.0.0.{i}") for i in range(4)]
    for name, key in zip("abab", keys, strict=True):
        front.register(stage.cluster, stage[name], key, Wanted(60.0 if name == "a" else 10.0))
    stage.run_until(0.5)
    stage.crash("b")
    stage.run_until(14.5)
    for name in "ac":
        happened = [stage.happened(name, key)[-1] for key in keys]
        assert happened == ["online registered", "offline node-lost"] * 2, f"{name}: {happened}"


def what_came_back_is_not_lost() -> None:
    """Of three one is hidden and restored; when the next is lost, that is one of three again."""
    other = KEY.replace("10.0.0.5", "10.0.0.6")
    stage = Stage("abc", guard_s=20.0)
    front.register(stage.cluster, stage["a"], KEY.replace("10.0.0.5", "10.0.0.7"), Wanted(60.0))
    stage.register("b")
    stage.run_until(0.5)
    cut = stage.cut("ab", "ba", "bc", "cb")
    stage.run_until(9)
    stage.renew("b")
    front.register(stage.cluster, stage["c"], other, Wanted(4.0))
    stage.run_until(11.5)
    stage.crash("c")
    stage.run_until(14.2)
    stage.heal(cut)
    stage.run_until(15.5)
    stage.expect("a: online registered, offline node-lost, online restored")
    stage.run_until(19)
    assert stage.happened("a", other) == ["online registered", "offline node-lost"], stage.happened("a", other)
