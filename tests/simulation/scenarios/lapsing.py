"""Rule 3: the conditions for a claim to lapse."""

from __future__ import annotations

from attrs import evolve

from tests.core.cluster import BODY, TTL_S, update
from tests.core.cluster import Cluster as ByHand
from tests.simulation.scenarios import KEY, Lossy, Stage


def the_answer_to_an_older_question_is_none() -> None:
    """The instance is renewed at b in the last moment.

    b's answer from before the renewal must not make a's claim lapse.
    """
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
    """c was unreachable for four intervals and accepted a renewal.

    It is reachable again before a stops waiting for it.
    """
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
    """Each instance that ends is offline everywhere half an interval later. Nodes do not wait for the next round."""
    stage = Stage("ab")
    keys = [f"registration/web/1.0/10.0.0.{i}/80" for i in range(20)]
    for key in keys:
        stage.register("a", key)
        stage.run(0.05)
    for i, key in enumerate(keys):
        stage.run_until(0.05 * i + 10 + 0.5)
        assert [stage.happened(name, key)[-1] for name in "ab"] == ["offline expired"] * 2, f"{key} waits"


def every_other_claim_must_have_been_seen() -> None:
    """c has d's claim, which does not count for long any more, and lacks b's.

    a's claim stays until c has b's claim too.
    """
    cluster = Lossy("abcd")
    cluster.register("a")
    cluster.renew("d")
    cluster.cut = {"d"}
    cluster.run(2.5)
    assert cluster.renew("a")
    cluster.run(9.9)
    # c receives nothing from b, and from a only requests with heads and pushes.
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
    """c starts again shortly before the ttl is over: no node waits for its earlier incarnation."""
    stage = Stage("abc")
    stage.register("a")
    stage.run_until(8)
    stage.crash("c")
    stage.run(0.1)
    stage.start("c")
    stage.run_until(11)
    stage.expect("a: online registered, offline expired", "b: online registered, offline expired")


def what_changed_does_not_change_back_where_nobody_has_followed() -> None:
    """a accepts a change while it is cut off from b, whose claim keeps the old terms for longer (seed 8425)."""
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
    """b died, and its claim has other terms than a's. a knows that b's claim was ended, so it need not wait."""
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
    """c has the first page of b's ledger, with a claim that does not count at c yet.

    a's claim must stay until it does.
    """
    cluster = Lossy("abc", page_entries_max=3)
    # c receives nothing from b, and from a only requests with heads and pushes.
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
    """a hears c only through b.

    A renewal at c is in time, but c cannot send it to b at once: a waits for c's answer.
    """
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
    """c was cut off and asks a.

    a does not believe its counter before it has c's ledger, and waits for c nevertheless.
    """
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
    """b's answer builds on a version that a lacks. a cannot use it, so it does not show a which claims b has."""
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
