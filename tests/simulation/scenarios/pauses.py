"""Rule 6: starts, pauses and long absences."""

from __future__ import annotations

from tests.core.cluster import BODY, TTL_S, update
from tests.core.cluster import Cluster as ByHand
from tests.simulation.scenarios import KEY, LONG_INTERVAL_S, Lossy, Stage


def configuration_comes_before_readiness() -> None:
    """A node that starts has the settings when it reports that it is ready."""
    cluster = ByHand("a", seeds=False)
    cluster["a"].configure(cluster.now, "backend/web", b"{}", "ops", 0)
    b = cluster.start("b", 2, "a")
    b.start_round(cluster.now)
    while not b.is_ready:
        for request in b.take_requests():
            cluster.carry("b", request)
            assert b.setting("backend/web") or not b.check_ready(cluster.now), "ready, and knows no backend"
        b.sweep(cluster.now)


def an_echo_comes_with_everything() -> None:
    """A node that starts has all registrations when it reports that it is ready, however many pages they fill."""
    cluster = ByHand("a", seeds=False)
    for i in range(2500):
        cluster["a"].register(cluster.now, f"registration/web/1.0/h{i}/80", update(BODY, TTL_S))
    b = cluster.start("b", 2, "a")
    b.start_round(cluster.now)
    while not b.is_ready:
        for request in b.take_requests():
            cluster.carry("b", request)
        while b.sweep(cluster.now):
            pass
    assert b.view.count == 2500, f"ready with {b.view.count} of 2500"


def the_wait_for_readiness_is_no_fault_of_the_instance() -> None:
    """a is paused, then waits for b. When a is ready, the instance is renewed there, within the ttl plus the wait."""
    stage = Stage("ab")
    stage.register("a")
    stage.run_until(8.6)
    stage.pause("a")
    cut = stage.cut("ab", "ba")
    stage.run(2)
    stage.resume("a")
    stage.run(1.6)
    stage.renew_when_ready("a")
    stage.run(0.3)
    stage.heal(cut)
    stage.run(3)
    stage.expect("a: online registered", "b: online registered")


def what_died_before_a_long_pause_stays_dead() -> None:
    """a is paused for longer than the ttl, and the client does not renew.

    When a returns, b must not list the instance.
    """
    stage = Stage("ab")
    stage.register("a")
    stage.run(1)
    stage.pause("a")
    stage.run(25)
    stage.resume("a")
    stage.run(3)
    stage.expect("b: online registered, offline node-lost", "a: online registered, offline expired")


def who_cannot_ask_is_asked_back() -> None:
    """b can answer a and cannot ask it. A claim that is due at b waits for a's next round, not for the time limit."""
    stage = Stage("ab")
    stage.register("b")
    stage.cut("ba", asking=True)
    stage.run_until(13)
    stage.expect("a: online registered, offline expired", "b: online registered, offline expired")


def news_at_the_end_of_a_pause_keeps_nobody_from_being_waited_for() -> None:
    """c hears a only through b, and is paused.

    A message of b's about a does not count as an answer of a's (seed 479).
    """
    stage = Stage("abc")
    stage.cut("ac", "ca")
    stage.run(4)
    stage.pause("c")
    stage.register("a")
    stage.run(3.5)
    stage.resume("c")
    stage.run(2)
    assert not stage["c"].replica.is_ready, "c is ready without word from a"
    stage.run(3)


def settings_outlive_the_incarnation_that_held_them_back() -> None:
    """b gets a setting while it is not ready, and continues as another incarnation before it is ready (seed 647)."""
    cluster = ByHand("a", seeds=False)
    cluster["a"].configure(cluster.now, "backend/web", b"{}", "ops", 0)
    b = cluster.start("b", 2, "az")
    b.start_round(cluster.now)
    cluster.settle()
    assert not b.check_ready(cluster.now)
    cluster.now += 700.0
    b.continue_as(99, cluster.now)
    cluster.run(6.0)
    assert b.is_ready
    assert b.setting("backend/web"), "b does not show what it has"


def who_came_during_a_pause_is_met_after_it() -> None:
    """b's first messages waited while a was paused. a asks b whether it is still there (seed 1307)."""
    stage = Stage("a")
    stage.pause("a")
    stage.run(5)
    stage.cluster.start("b", "a")
    stage.run(0.5)
    stage.resume("a", inputs_first=True)
    stage.run(0.1)
    assert [peer.name for peer in stage["a"].replica.peers] == ["b"], "a does not know b"


def what_waited_during_a_long_absence_brings_back_nobody() -> None:
    """After a's long absence, old messages of c, and of b's earlier incarnation, do not bring back these two."""
    stage = Stage("abc", interval_s=LONG_INTERVAL_S)
    stage.crash("c")
    stage.pause("a")
    stage.run(2)
    stage.crash("b")
    stage.start("b")
    stage.run(45)
    stage.resume("a")
    stage.run(6)
    known = [peer.incarnation for peer in stage["a"].replica.peers]
    assert known == [stage["b"].life.incarnation], f"a knows {len(known)} others"


def an_answer_that_waited_brings_back_nobody() -> None:
    """b asks a at its start, and is paused before a's answer arrives. a is restarted without its state (seed 821719).

    The old answer tells b of a's earlier incarnation, which nobody else remembers.
    """
    stage = Stage("a")
    stage.register("a")
    stage.cluster.start("b", "a")
    while not len(stage["a"].replica.peers):
        stage.run(0.0005)
    stage.pause("b")
    stage.run(1)
    stage.leave("a")
    stage.run(10)
    stage.start("a")
    stage.run(14)
    stage.resume("b", inputs_first=True)
    stage.run(5)
    assert [stage.happened(name) for name in "ab"] == [[], []], "what died with the earlier a is back"


def heartbeats_that_waited_for_the_ttl_bring_back_nothing() -> None:
    """b is paused for 40, with heartbeats of a unread. a leaves, and is restarted without its state.

    Nobody else knows that these heartbeats are old.
    """
    stage = Stage("ab")
    stage.register("a")
    stage.run(1)
    stage.pause("b")
    stage.run(4)
    stage.leave("a")
    stage.run(3)
    stage.start("a")
    stage.run(33)
    stage.resume("b", inputs_first=True)
    stage.run(5)
    assert stage.happened("a") == [], "a lists what died with its earlier incarnation"
    stage.expect("b: online registered, offline expired")


def heartbeats_that_waited_for_less_than_the_ttl_count() -> None:
    """b is paused. The instance renews at a, and a crashes 3.5 later. b must not drop it before it can renew again."""
    stage = Stage("ab")
    stage.register("a")
    stage.run(1)
    stage.pause("b")
    stage.run(4.5)
    stage.renew("a")
    stage.run(3.5)
    stage.crash("a")
    stage.run(1.5)
    stage.resume("b", inputs_first=True)
    stage.run_until(15.3)
    stage.renew("b")
    stage.run(1)
    stage.expect("b: online registered")


def a_node_that_waits_for_nobody_believes_what_waited() -> None:
    """b was cut off from a when it was paused, so it is ready at once. It lists at once what a answers to old requests.

    b cannot ask a, so it gets no counter that certainly did not wait.
    """
    stage = Stage("ab")
    cut = stage.cut("ab", "ba")
    stage.run(5)
    stage.pause("b")
    stage.heal(cut)
    stage.run(20)
    stage.register("a")
    stage.run(2)
    stage.cut("ba", asking=True)
    stage.resume("b")
    stage.run(0.1)
    assert stage["b"].replica.is_ready, "b waits for somebody"
    stage.expect("b: online registered")


def the_peers_of_the_incarnation_before_are_waited_for() -> None:
    """b has no other node as seed, and was away for over ten minutes.

    It is ready when a, which it knew before, has answered.
    """
    stage = Stage("b", interval_s=LONG_INTERVAL_S)
    stage.cluster.start("a", ("b",))
    stage.run(3)
    stage.register("a")
    stage.run(1)
    stage.pause("b")
    for _ in range(6):
        stage.run(5)
        stage.renew("a")
    stage.resume("b")
    stage.run(2)
    stage.expect("b: online registered")


def an_instance_hidden_before_a_pause_is_restored_after_it() -> None:
    """b's instance is hidden at a while they are cut off. a is paused, and the cut is healed during the pause."""
    stage = Stage("ab")
    stage.register("b")
    cut = stage.cut("ab", "ba")
    for _ in range(2):
        stage.run(7)
        stage.renew("b")
    stage.expect("a: online registered, offline node-lost")
    stage.pause("a")
    stage.run(4)
    stage.renew("b")
    stage.run(1)
    stage.heal(cut)
    stage.resume("a")
    stage.run(2)
    stage.renew("b")
    stage.run(2)
    stage.expect("a: online registered, offline node-lost, online restored")


def a_renewal_of_what_was_due_gets_the_pause_back() -> None:
    """A due claim at a waits for b, which is cut off. The claim is renewed, and a is paused in the same moment."""
    stage = Stage("ab")
    stage.register("a")
    stage.run(8.5)
    cut = stage.cut("ab", "ba")
    stage.run_until(11.3)
    claims = stage["a"].replica.claims
    assert claims.index.lease(KEY) in claims.leases.due, "it is not due"
    stage.renew("a")
    stage.pause("a")
    stage.run(8.7)
    stage.resume("a")
    stage.run_until(27)
    stage.renew("a")
    stage.heal(cut)
    stage.run(3)
    stage.expect("a: online registered")


def the_wait_after_a_long_pause_is_not_given_back() -> None:
    """a was paused for 8 and waits for b. Together this is longer than the ttl, so clients have gone to other nodes."""
    stage = Stage("ab")
    stage.register("a")
    stage.run(0.5)
    stage.cut("ab", "ba")
    stage.pause("a")
    stage.run(8)
    stage.resume("a")
    stage.run_until(19.5)
    stage.expect("a: online registered, offline expired")


def a_second_pause_does_not_let_a_node_beat() -> None:
    """a was away for 25, and again for 2 before it was ready. Its heartbeats must not bring back what died."""
    stage = Stage("ab")
    stage.register("a")
    stage.run(1)
    stage.pause("a")
    stage.run(25)
    cut = stage.cut("ab", "ba")
    stage.resume("a")
    stage.run(1)
    stage.pause("a")
    stage.run(2)
    stage.heal(cut)
    stage.resume("a")
    stage.run(4)
    stage.expect("b: online registered, offline node-lost", "a: online registered, offline expired")


def a_node_tells_at_once_that_it_is_ready() -> None:
    """a is paused, and waits for c, which has crashed, until b hides a's claim. b restores it when a is ready."""
    stage = Stage("abc")
    stage.register("a", ttl=30.0)
    beats = len(stage["a"].life.beats)
    while len(stage["a"].life.beats) == beats:
        stage.run(0.01)
    stage.run(0.9)
    stage.pause("a")
    stage.run(29.6)
    stage.crash("c")
    stage.resume("a")
    while not stage["a"].replica.is_ready:
        stage.run(0.01)
    stage.run(0.05)
    stage.expect("b: online registered, offline node-lost, online restored")


def configuration_is_agreed_on_again_after_a_pause() -> None:
    """b was paused while a accepted a setting: b is not ready before it has this setting."""
    cluster = Lossy("ab")
    a, b = cluster["a"], cluster["b"]
    cluster.run(3.0)
    for _ in range(20):
        cluster.now += 0.25
        a.sweep(cluster.now)
        cluster.lose("a")
    a.configure(cluster.now, "backend/web", b"{}", "ops", 0)
    cluster.lose("a")
    assert not b.check_ready(cluster.now), "b has not noticed its pause"
    while not b.is_ready:
        for request in b.take_requests():
            cluster.carry("b", request)
            assert b.setting("backend/web") or not b.is_ready, "ready, and knows no backend"
        cluster.now += 0.05
        b.sweep(cluster.now)


def an_echo_comes_with_all_ledgers() -> None:
    """A page of a's has only a's own ledger. b starts, and is ready only when it also has that of c, which died."""
    cluster = ByHand("ac", page_entries_max=3)
    for name in "ac":
        for i in range(3):
            cluster.register(name, f"registration/web/1.0/{name}{i}/80")
    cluster.run(1.0)
    cluster.cut = {"c"}
    cluster.run(4.5)
    b = cluster.start("b", 9, "a")
    b.start_round(cluster.now)
    while not b.is_ready:
        for request in b.take_requests():
            cluster.carry("b", request)
        b.sweep(cluster.now)
        cluster.now += 0.01
    assert b.view.count == 6, f"ready with {b.view.count} of 6"


def all_addresses_of_a_seed_are_waited_for() -> None:
    """A seed resolves to b, which answers, and to z, which does not: the node waits for both."""
    cluster = ByHand("b", seeds=False)
    a = cluster.start("a", 7, "s")
    a.set_seed_addresses("s", ["b", "z"])
    a.start_round(cluster.now)
    cluster.settle()
    cluster.now += 0.3
    a.sweep(cluster.now)
    cluster.settle()
    assert not a.is_ready, "ready without z"
