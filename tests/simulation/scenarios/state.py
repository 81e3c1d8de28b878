"""The state: ledgers, deltas and copies."""

from __future__ import annotations

from bender.core.ledger import Claim, Copy, Delta, Gap, Ledger
from tests.core.cluster import BODY, TTL_S, update
from tests.core.cluster import Cluster as ByHand
from tests.simulation.scenarios import KEY, OTHER_KEY, Lossy, Stage


def a_copy_is_of_what_is_there() -> None:
    """b sends a copy of a's claim, which c does not have any more. b has to send the claim again, as a whole."""
    of = Claim(1, 1, KEY, BODY, TTL_S, 1, 1, 1)
    delta = Delta(2, 0, 0, 1, 1, (Copy(2, 1, 1, 1),))
    ledger = Ledger(2)
    try:
        ledger.join(delta.with_copies_resolved(lambda node, n: None))
    except Gap:
        ledger.join(delta.with_copies_resolved(lambda node, n: of))
    assert [entry.key for entry in ledger.entries.values()] == [KEY], "the copy is not there"


def a_copy_says_what_it_is_of() -> None:
    """c has another claim under the dot that b's copy names, since two processes wrote as a. c refuses the copy."""
    of = Claim(1, 1, KEY, BODY, TTL_S, 1, 1, 1)
    other = Claim(1, 1, KEY, BODY + b" ", TTL_S, 2, 1, 1)
    delta = Delta(2, 0, 0, 1, 1, (of.copied_by(2, 1),))
    try:
        delta.with_copies_resolved(lambda node, n: other)
    except Gap:
        return
    raise AssertionError("a copy was made of something else")


def a_copy_is_of_what_the_other_has() -> None:
    """c has not heard from a. b must send c the whole claim at first, or c would receive it a round later."""
    stage = Stage("abc")
    stage.cut("ac", "ca")
    stage.register("a")
    stage.run(0.02)
    stage.renew("b")
    stage.run(0.05)
    stage.expect("c: online registered")


# The state.


def a_copy_is_of_a_claim_that_says_the_same() -> None:
    """a's claim has the same registration but the terms from before b's change: b must not send its claim as a copy."""
    stage = Stage("ab")
    stage.register("a")
    stage.run(1)
    stage.register("b", meta=1)
    stage.run(2)
    stage.expect("a: online registered, changed registered")


def a_push_builds_on_what_was_shown() -> None:
    """The first push got lost, and its repair is still on its way. The second push must fit nevertheless."""
    cluster = ByHand("ab")
    a, b = cluster["a"], cluster["b"]
    a.register(cluster.now, KEY, update(BODY, TTL_S))
    (first,) = a.take_requests()
    a.note_failure(cluster.now, first)
    a.start_round(cluster.now)
    (question,) = a.take_requests()
    a.receive_answer(cluster.now, question, b.receive(cluster.now, question.message))
    a.take_requests()
    a.register(cluster.now, OTHER_KEY, update(BODY, TTL_S))
    (second,) = a.take_requests()
    b.receive(cluster.now, second.message)
    assert b.view.count == 2, f"b lists {b.view.count} of 2"


def pages_that_nobody_asked_for_follow_each_other_at_once() -> None:
    """b cannot send rounds to a, which has seven pages for it. All of them come with one round of a's."""
    cluster = Lossy("ab", page_entries_max=3)
    cluster.loses = lambda asker, request: asker == "b"
    cluster.cut = {"b"}
    for i in range(20):
        cluster.register("a", f"{KEY}{i}")
    cluster.cut = set()
    cluster["a"].start_round(cluster.now)
    cluster.settle()
    assert cluster["b"].view.count == 20, f"b lists {cluster['b'].view.count} of 20"


def the_rest_of_the_pages_never_comes() -> None:
    """a dies while it sends pages.

    c accepts b's copy of a's ledger as soon as a is silent, and loses nothing by that.
    """
    cluster = _dies_while_paging(had_by_b=5)
    for _ in range(6):
        cluster.run(1)
        assert cluster["c"].view.count == 5, f"c lists {cluster['c'].view.count} of 5"
    assert cluster["c"].claims.copies.head(1) == cluster["b"].claims.copies.head(1), "c waits for the rest of the pages"


def pages_are_kept_as_long_as_they_count() -> None:
    """Entries from pages that b lacks stay listed at c as long as a's claims count."""
    cluster = _dies_while_paging(had_by_b=4)
    for _ in range(12):
        cluster.run(1)
        assert cluster["c"].view.count == 5, f"c lists {cluster['c'].view.count} of 5"
    cluster.run(4)
    assert cluster["c"].view.count == 0, f"c lists {cluster['c'].view.count} of none"
    assert cluster["c"].claims.copies.head(1) == cluster["b"].claims.copies.head(1), "c waits for the rest of the pages"


def _dies_while_paging(had_by_b: int) -> Lossy:
    """Let a die while it sends pages to c.

    b has the first `had_by_b` of a's 8 registrations. c has the first two, and a page with the next three, which a
    sent when it had more than it ever sent to b.
    """
    cluster = Lossy("abc", page_entries_max=3)
    a, c = cluster["a"], cluster["c"]
    for reached, count in (("abc", 2), ("b", had_by_b), ("", 8)):
        cluster.loses = lambda asker, request, reached=reached: request.address not in reached  # type: ignore[misc]
        for i in range(a.view.count, count):
            cluster.register("a", f"{KEY}{i}")
    c.start_round(cluster.now)
    for request in c.take_requests():
        if request.address == "a":
            c.receive_answer(cluster.now, request, a.receive(cluster.now, request.message))
    c.take_requests()
    cluster.cut = {"a"}
    cluster.loses = lambda asker, request: False
    return cluster


def claim(n: int) -> Claim:
    return Claim(1, n, f"registration/web/1.0/h{n}/80", BODY, TTL_S, 1, 1, n)


def a_delta_needs_its_base() -> None:
    """A copy refuses a delta if it lacks what the delta builds on."""
    copy = Ledger(1)
    _refused(copy, Delta(1, since=0, base=1, version=2, reach=2, added=(claim(2),)))


def a_delta_needs_its_removals() -> None:
    """A copy refuses a delta if it is behind the removals that the delta names."""
    ledger, copy = Ledger(1), Ledger(1)
    ledger.add(claim(1))
    ledger.add(claim(2))
    copy.join(ledger.delta(copy.head))
    ledger.remove(1)
    before = ledger.head
    ledger.remove(2)
    delta = ledger.delta(before)
    _refused(copy, Delta(1, delta.since, copy.reach, delta.version, delta.reach, (), delta.removed))


def _refused(copy: Ledger, delta: Delta) -> None:
    try:
        copy.join(delta)
    except Gap:
        return
    raise AssertionError("a gap was joined over")
