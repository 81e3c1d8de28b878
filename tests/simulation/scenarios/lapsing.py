"""Rule 3: when a claim may lapse."""

from __future__ import annotations

from tests.core.cluster import TTL_S
from tests.core.cluster import Cluster as ByHand
from tests.simulation.scenarios import KEY, Lossy, Stage


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
