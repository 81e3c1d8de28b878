"""Rule 3: when a claim may lapse."""

from __future__ import annotations

from attrs import evolve

from tests.core.cluster import BODY, TTL_S, update
from tests.core.cluster import Cluster as ByHand
from tests.simulation.scenarios import KEY, Lossy, Stage


def the_answer_to_an_older_question_is_none() -> None:
    """b is renewed at in the last moment; what it had said before does not count, late as it comes."""
    cluster = ByHand("ab")
    cluster.register("a")
    cluster.run(TTL_S - 0.1)
    a, b = cluster["a"], cluster["b"]
    a.start_round(cluster.now)
    (question,) = a.take_requests()
    answer = b.receive(cluster.now, question.message)
    assert b.renew(cluster.now, KEY)
    for push in b.take_requests():
        b.note_failure(cluster.now, push)
    cluster.now += 0.3
    a.sweep(cluster.now)
    a.receive_answer(cluster.now, question, answer)
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


def a_claim_lapses_beside_one_that_was_ended() -> None:
    """b died; of its claim, which does not say what a's says, it is known that it was ended: a need not wait."""
    cluster = ByHand("abc")
    cluster.cut = {"a"}
    cluster.register("a")
    cluster.register("a", body=BODY + b" ")
    cluster.register("b")
    cluster.deregister("c")
    cluster.cut = {"b"}
    cluster.run(TTL_S + 0.75)
    assert cluster.happened("a")[-1] == ("offline", "expired"), "a waits because of a claim that was ended"


def a_claim_without_its_ledger_was_not_seen() -> None:
    """c has the first page of b's ledger, with a claim in it that does not count yet: a's must stay until then."""
    cluster = Lossy("abc", page_entries_max=3)
    # From b nothing comes to c, and from a only what it asks and pushes.
    cluster.loses = lambda asker, request: (
        asker == "c"
        or (request.address == "c" and (asker == "b" or (request.message.heads is None and not request.push)))
    )
    cluster.register("a")
    cluster.renew("b")
    for i in range(9):
        cluster.register("b", f"{KEY}{i}", ttl_s=60.0)
    cluster.run(5.0)
    cluster.renew("a")
    cluster.run(9.0)
    cluster.renew("b")
    cluster.run(0.75)
    a, c = cluster["a"], cluster["c"]
    c.start_round(cluster.now)
    for request in c.take_requests():
        if request.address == "a":
            c.receive_answer(cluster.now, request, a.receive(cluster.now, request.message))
    for request in c.take_requests():
        c.note_failure(cluster.now, request)
    head = c.claims.copies.head(2)
    assert (head.version, head.reach) == (0, 3), f"c has {head}"
    cluster.run(1.5)
    cluster.loses = lambda asker, request: False
    cluster.run(1.0)
    assert cluster.happened("c") == [("online", "registered")], f"c: {cluster.happened('c')}"


def a_node_heard_by_way_of_another_is_waited_for() -> None:
    """a hears c by way of b only. c was renewed at in time, and cannot tell b at once: a waits for c's word."""
    stage = Stage("abc")
    stage.cut("ac", "ca")
    stage.register("a")
    stage.run_until(9.9)
    cut = stage.cut("cb", "bc")
    stage.renew("c")
    stage.run(0.9)
    stage.heal(cut)
    stage.run(4)
    stage.expect("a: online registered", "b: online registered")


def a_node_that_sent_anything_is_waited_for() -> None:
    """c was cut off and asks a, with a counter that a does not believe before it has c's ledger: a waits for c."""
    cluster = Lossy("abc")
    cluster.register("a")
    cluster.cut = {"c"}
    cluster.register("c", KEY + "1")
    cluster.run(9.0)
    assert cluster.renew("a")
    cluster.run(9.5)
    cluster.cut = set()
    a, c = cluster["a"], cluster["c"]
    c.start_round(cluster.now)
    for request in c.take_requests():
        if request.address == "a":
            a.receive(cluster.now, request.message)
    for request in a.take_requests():
        a.note_failure(cluster.now, request)
    asked = [peer.incarnation for peer in a.peers.confirming_peers(cluster.now + 0.1)]
    assert c.identity.incarnation in asked, "a does not wait for c"


def an_answer_that_does_not_fit_is_none() -> None:
    """b's answer builds on what a has not got: it brings nothing, so it does not show what b has heard either."""
    cluster = ByHand("ab")
    cluster.register("b")
    a, b = cluster["a"], cluster["b"]
    cluster.run(2.0)
    b.register(cluster.now, KEY + "1", update(BODY, TTL_S))
    for push in b.take_requests():
        b.note_failure(cluster.now, push)
    cluster.now += 0.1
    a.start_round(cluster.now)
    (question,) = a.take_requests()
    answer = b.receive(cluster.now, question.message)
    assert answer.deltas and answer.echo == cluster.now, "b does not answer"
    deltas = tuple(evolve(delta, base=delta.base + 5, since=delta.since + 5) for delta in answer.deltas)
    a.receive_answer(cluster.now, question, evolve(answer, deltas=deltas))
    (peer,) = a.peers
    assert peer.echoed_at < cluster.now, "a took what did not fit for an answer"
