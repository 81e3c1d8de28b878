"""Rule 5: the nodes that are heard, and the claims that count."""

from __future__ import annotations

from tests.core.cluster import Cluster as ByHand
from tests.simulation.scenarios import KEY, OTHER_KEY, Lossy, Stage


def a_counter_without_its_ledger_is_not_believed() -> None:
    """After a long cut, c receives b's counter from a before it has b's ledger, in which the claim has lapsed."""
    cluster = ByHand("abc")
    cluster.register("b")
    cluster.cut = {"c"}
    cluster.run(20.0)
    cluster.cut = set()
    c, a = cluster["c"], cluster["a"]
    a.start_round(cluster.now)
    for request in a.take_requests():
        if request.address == "c":
            c.receive(cluster.now, request.message)
    c.sweep(cluster.now)
    assert c.view.claim(KEY) is None, "c lists what has lapsed"


def a_heartbeat_is_as_old_as_it_is() -> None:
    """The news of b's last heartbeat takes 0.9 intervals to reach a.

    a counts this time, and hides the instance in time.
    """
    stage = Stage("ab")
    stage.register("b", meta=1)
    stage.run_until(0.5)
    cut = stage.cut("ba", "ab")
    beats = len(stage["b"].life.beats)
    while len(stage["b"].life.beats) == beats:
        stage.run(0.01)
    beat_at = stage.cluster.now
    stage.run(0.9)
    stage.heal(cut)
    stage.register("b", OTHER_KEY)
    stage.run(0.05)
    stage.crash("b")
    stage.run(beat_at + 10 + 3 + 0.5 - stage.cluster.now)
    stage.expect("a: online registered, offline node-lost")


def a_message_is_looked_at_as_a_whole() -> None:
    """One message of a's says that a's claim has lapsed and that b has a claim: c keeps the instance listed."""
    stage = Stage("abc")
    stage.register("a")
    stage.run(1)
    stage.cut("bc", "cb")
    cut = stage.cut("ac", "ca")
    stage.run_until(9)
    stage.renew("b")
    stage.run_until(11)
    assert stage["a"].replica.claims.index.lease(KEY) is None, "a has not let go"
    stage.heal(cut)
    stage.run(3)
    stage.expect("c: online registered")


def a_ledger_brings_its_counter() -> None:
    """b returns and gets a renewal.

    a's claim is due, and c has b's claim: it must count at c before a removes its own.
    """
    cluster = ByHand("abc")
    cluster.register("a")
    cluster.cut = {"b"}
    cluster.register("b", KEY + "80")  # So c has an old copy of b's ledger.
    cluster.run(9.0)
    cluster.renew("a")
    cluster.run(9.75)
    cluster.cut = set()
    cluster["b"].start_round(cluster.now)
    cluster.settle()
    cluster.now += 0.05
    cluster.renew("b")
    cluster.now += 0.35
    cluster["a"].sweep(cluster.now)
    cluster.settle()
    cluster.run(2.0)
    assert cluster.happened("c") == [("online", "registered")], f"c: {cluster.happened('c')}"


def nodes_whose_answers_take_long_hear_each_other() -> None:
    """Answers take 1.2 intervals. a and b find out that they have to wait for longer than an interval."""
    stage = Stage("ab")
    stage.cluster.weather.transit_s = 0.6 * stage.interval_s
    stage.run(4)
    stage.register("a")
    stage.run(4)
    assert stage.listed() == "ab", f"only {stage.listed()} lists it"


def an_instance_that_was_restored_is_hidden_again() -> None:
    """b is cut off from a twice, each time for longer than its claims count."""
    stage = Stage("ab")
    stage.register("b")
    for _ in range(2):
        cut = stage.cut("ab", "ba")
        for _ in range(2):
            stage.run(7)
            stage.renew("b")
        stage.heal(cut)
        stage.run(3)
        stage.renew("b")
    stage.expect(f"a: online registered{', offline node-lost, online restored' * 2}")


def a_second_request_brings_counters() -> None:
    """b has not heard c for long when it gets c's ledger from a. The claim in this ledger counts at once."""
    cluster = Lossy("abc")
    cluster.loses = lambda asker, request: asker == "b" or {asker, request.address} == {"b", "c"}
    cluster.cut = {"b"}
    cluster.register("c")
    for _ in range(2):
        cluster.run(9.0)
        cluster.renew("c")
    cluster.cut = set()
    cluster["a"].start_round(cluster.now)
    cluster.settle()
    assert cluster.listed() == "abc", f"only {cluster.listed()} list it"


def a_node_that_was_not_heard_is_no_news() -> None:
    """c starts and knows b only from a's message, without b's ledger: it sends no counter of b to others."""
    cluster = ByHand("ab")
    cluster.register("b")
    c = cluster.start("c", 3, "")
    cluster["a"].start_round(cluster.now)
    (question,) = cluster["a"].take_requests()
    c.receive(cluster.now, question.message)
    assert 2 in c.peers, "c does not know b"
    c.start_round(cluster.now)
    counters = [counter for request in c.take_requests() for counter in request.message.counters]
    assert counters and all(counter.beats >= 0 for counter in counters), f"c sends {counters}"
