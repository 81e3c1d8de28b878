"""Rules 1 to 4: how claims come, follow, lapse and end."""

from __future__ import annotations

from tests.core.cluster import TTL_S
from tests.core.cluster import Cluster as ByHand
from tests.simulation import front
from tests.simulation.scenarios import KEY, Lossy, Stage

# Rule 1.


def the_end_of_a_session_comes_before_its_ttl() -> None:
    """An instance registered at a with a session, which ends: a second later everybody sees it, and not before."""
    stage = Stage("abc")
    stage.register("a")
    stage.run_until(4)
    front.shorten(stage.cluster, stage["a"], KEY, stage.interval_s)
    stage.run_until(4.9)
    stage.expect("a: online registered", "b: online registered")
    stage.run_until(6)
    stage.expect(*(f"{name}: online registered, offline expired" for name in "abc"))


def the_end_of_a_session_is_no_word_about_others() -> None:
    """The session at a has ended, and the instance was renewed at b just before: a asks before it says anything."""
    stage = Stage("abc")
    stage.register("a")
    stage.run_until(4)
    cut = stage.cut("ab", "ba", asking=True)
    stage.renew("b")
    front.shorten(stage.cluster, stage["a"], KEY, 0.0)
    stage.heal(cut)
    stage.run_until(12)
    stage.expect("a: online registered", "b: online registered", "c: online registered")


# Rule 2.


def what_changed_does_not_change_back() -> None:
    """b, renewed at last, was away when a took a change, and outlives a's claim: it has the change all the same."""
    stage = Stage("ab")
    stage.register("a")
    stage.run(0.1)
    stage.renew("b")
    stage.register("a", meta=1)
    stage.run(0.5)
    stage.pause("b")
    stage.run(7)
    stage.resume("b")
    stage.run_until(16.5)
    stage.expect("a: online registered, changed registered", "b: online registered, changed registered")


def what_changed_does_not_change_back_where_nobody_has_followed() -> None:
    """a took a change when it was cut off from b, whose claim says the old and counts for longer (seed 8425)."""
    stage = Stage("ab")
    stage.register("a")
    stage.run_until(5)
    stage.renew("b")
    stage.run_until(5.5)
    stage.cut("ab", "ba")
    stage.register("a", meta=1)
    stage.run_until(20)
    stage.expect("a: online registered, changed registered, offline node-lost")


def who_follows_is_not_renewed_by_it() -> None:
    """b hears late of the last word at a: its claim says the same from then on, and ends when it would have."""
    stage = Stage("ab")
    stage.register("a")
    stage.run_until(8)
    stage.renew("b")
    cut = stage.cut("ab", "ba")
    stage.run(1)
    stage.register("a", meta=1)
    stage.run_until(12)
    stage.heal(cut)
    stage.run_until(20)
    stage.expect("a: online registered, changed registered, offline expired")


# Rule 3.


def the_answer_to_an_older_question_is_none() -> None:
    """b is renewed at in the last moment; what it had said before does not count, late as it comes."""
    cluster = ByHand("ab")
    cluster.register("a")
    cluster.run(TTL_S - 0.1)
    a, b = cluster["a"], cluster["b"]
    a.round(cluster.now)
    (question,) = a.take_requests()
    answer = b.receive(cluster.now, question.message)
    assert b.renew(cluster.now, KEY)
    for push in b.take_requests():
        b.failed(cluster.now, push)
    cluster.now += 0.3
    a.sweep(cluster.now)
    a.answered(cluster.now, question, answer)
    assert a.view.claim(KEY) is not None, "a took an older answer for one"
    cluster.run(1.0)
    assert cluster.listed() == "ab"
    assert cluster.happened("a") == [("online", "registered")]


def who_was_heard_of_lately_is_asked() -> None:
    """c, out of touch for four intervals, was renewed at, and is back before a's patience ends."""
    stage = Stage("abc")
    stage.register("a")
    stage.run_until(6)
    cut = stage.cut("ac", "ca", "bc", "cb")
    stage.run_until(9)
    stage.renew("c")
    stage.run_until(11.5)
    stage.heal(cut)
    stage.run_until(15)
    stage.expect("a: online registered", "b: online registered", "c: online registered")


def asking_begins_at_once() -> None:
    """What ends is offline everywhere half an interval later, not after the next round."""
    stage = Stage("ab")
    keys = [f"registration/web/1.0/10.0.0.{i}/80" for i in range(20)]
    for key in keys:
        stage.register("a", key)
        stage.run(0.05)
    for i, key in enumerate(keys):
        stage.run_until(0.05 * i + 10 + 0.5)
        assert [stage.happened(name, key)[-1] for name in "ab"] == ["offline expired"] * 2, f"{key} waits"


def every_other_claim_must_have_been_seen() -> None:
    """c has d's claim, which soon counts no more, and lacks b's: a's stays until c has that one too."""
    cluster = Lossy("abcd")
    cluster.register("a")
    cluster.renew("d")
    cluster.cut = {"d"}
    cluster.run(2.5)
    assert cluster.renew("a")
    cluster.run(9.9)
    # c hears nothing from b, and from a only what it is asked and what is pushed.
    cluster.loses = lambda asker, request: (
        {asker, request.address} == {"b", "c"}
        or ({asker, request.address} == {"a", "c"} and request.message.heads is None and not request.push)
    )
    assert cluster.renew("b")
    cluster.run(1.5)
    cluster.loses = lambda asker, request: False
    cluster.run(1.0)
    assert cluster.happened("c") == [("online", "registered")], f"c: {cluster.happened('c')}"


def who_was_replaced_is_not_waited_for() -> None:
    """c starts again just before the lease ends: nobody waits for the c of before."""
    stage = Stage("abc")
    stage.register("a")
    stage.run_until(8)
    stage.crash("c")
    stage.run(0.1)
    stage.start("c")
    stage.run_until(11)
    stage.expect("a: online registered, offline expired", "b: online registered, offline expired")


# Rule 4.


def an_ended_claim_goes_when_all_have_the_end() -> None:
    """c cannot hear the end from b itself: a must not let go before c has it, or c would say that it expired."""
    stage = Stage("abc")
    stage.register("a")
    stage.run(1)
    stage.cut("bc", "cb")
    stage.deregister("b")
    stage.run(3)
    stage.expect("c: online registered, offline deregistered")


def an_end_outlives_what_it_ends() -> None:
    """b deregistered what is renewed at a, cut off, for longer than ends are kept: it stays gone."""
    stage = Stage("ab")
    stage.register("a")
    stage.run(0.5)
    cut = stage.cut("ab", "ba")
    stage.deregister("b")
    for _ in range(10):
        stage.run(4)
        stage.renew("a")
    stage.heal(cut)
    stage.run(3)
    stage.expect("a: online registered, offline deregistered", "b: online registered, offline deregistered")


def a_deregistration_ends_a_change_that_it_does_not_know() -> None:
    """b takes the deregistration before it hears of the change at c, which was answered already."""
    stage = Stage("abc")
    stage.register("a")
    stage.run(1)
    stage.register("c", meta=1)
    stage.deregister("b")
    stage.run(1)
    for name in "abc":
        happened = stage.happened(name)
        assert happened[-1] == "offline deregistered", f"{name}: {happened}"
        assert happened.count("online registered") == 1, f"{name}: {happened}"
    stage.run(13)
    assert not stage.listed(), f"{stage.listed()} list it again"


def an_end_is_kept_by_the_longest_ttl() -> None:
    """c, cut off, goes on with a ttl of 30 that was changed to 4 elsewhere: the end at b must be there for so long."""
    stage = Stage("abc")
    stage.register("a", ttl=30.0)
    stage.run(0.5)
    cut = stage.cut("ac", "ca", "bc", "cb")
    stage.renew("c")
    stage.register("b", meta=1, ttl=4.0)
    stage.run(1)
    stage.deregister("b")
    for _ in range(4):
        stage.run(6)
        stage.renew("c")
    stage.heal(cut)
    stage.run(3)
    assert not stage.listed(), f"{stage.listed()} list it"
