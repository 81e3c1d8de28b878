"""Rules 7 and 8: nodes that leave, are replaced, and are forgotten."""

from __future__ import annotations

from attrs import evolve

from bender.core.replica import Replica
from tests.core.cluster import TTL_S
from tests.core.cluster import Cluster as ByHand
from tests.simulation.scenarios import LONG_INTERVAL_S, Stage

# Rules 7 and 8.


def who_left_is_not_waited_for() -> None:
    """a leaves shortly before the claim at b is due, and b does not wait for a."""
    stage = Stage("abc")
    stage.register("b")
    stage.run_until(8)
    stage.leave("a")
    stage.run_until(11)
    stage.expect("b: online registered, offline expired", "c: online registered, offline expired")


def what_stops_after_a_node_left_has_expired() -> None:
    """a had a claim too when it left. No client can renew there, so the registration expires."""
    stage = Stage("abc")
    stage.register("a")
    stage.run(0.1)
    stage.renew("b")
    stage.run(0.5)
    stage.leave("a")
    for _ in range(3):
        stage.run(5)
        stage.renew("b")
    stage.run(12)
    stage.expect("b: online registered, offline expired", "c: online registered, offline expired")


def who_was_forgotten_is_not_met_again() -> None:
    """a has just forgotten c.

    A message of b's, which has not swept yet, still has c's counter: a does not add c again.
    """
    cluster = ByHand("abc")
    cluster.cut = {"c"}
    cluster.run(TTL_S + 3.0 + 599.5)
    a, b = cluster["a"], cluster["b"]
    cluster.now += 1.0
    a.sweep(cluster.now)
    assert 3 not in a.peers
    b.start_round(cluster.now)
    for request in b.take_requests():
        if request.address == "a":
            assert 3 in {counter.incarnation for counter in request.message.counters}
            a.receive(cluster.now, request.message)
    assert 3 not in a.peers, "a has met c again"


def a_newcomer_remembers_for_as_long_as_the_others() -> None:
    """c had a claim with a ttl of a minute when it died.

    A node that joins ten minutes later keeps c's ledger as long as a.
    """
    cluster = ByHand("ac")
    cluster.register("c", ttl_s=60.0)
    cluster.cut = {"c"}
    cluster.run(630.0)
    cluster.start("b", 9, "a")
    cluster.run(3.0)
    assert cluster["a"].digest() == cluster["b"].digest(), "they remember differently"


def who_died_during_a_pause_is_forgotten_when_the_others_do() -> None:
    """c's last messages waited at a, which was paused. b sends a the age of c's last heartbeat."""
    stage = Stage("abc", interval_s=LONG_INTERVAL_S)
    stage.pause("a")
    stage.run(2)
    stage.crash("c")
    stage.run(13)
    stage.resume("a")
    stage.run_until(2 + 10 + 3 + 20 + 1)
    assert [len(stage[name].replica.peers) for name in "ab"] == [1, 1], "c is remembered"


def what_was_listed_before_a_long_absence_is_lost_not_expired() -> None:
    """a was paused for over ten minutes and is cut off.

    It reports its registrations as lost, since they may be alive.
    """
    stage = Stage("ab", interval_s=LONG_INTERVAL_S)
    stage.register("b")
    stage.run(1)
    stage.pause("a")
    for _ in range(6):
        stage.run(5)
        stage.renew("b")
    cut = stage.cut("ab", "ba")
    stage.resume("a")
    stage.run(7)
    stage.expect("a: online registered, offline node-lost")
    stage.renew("b")
    stage.heal(cut)
    stage.run(2)
    stage.expect("a: online registered, offline node-lost, online restored", "b: online registered")


def another_node_at_the_address_of_b(cluster: ByHand) -> Replica:
    """Let another node answer at b's address until a takes b for replaced. b itself continues without being heard."""
    b = cluster["b"]
    cluster.start("b", 9, "a")
    for _ in range(3):
        cluster.now += 1.0
        cluster.rounds()
    peer = cluster["a"].peers.get(b.identity.incarnation)
    assert peer is not None and peer.replaced, "a does not take b for replaced"
    return b


def that_a_node_was_replaced_is_not_passed_on() -> None:
    """a takes b for replaced, and sends b's counter to c, which starts: c must not conclude that b has left."""
    cluster = ByHand("ab")
    b = another_node_at_the_address_of_b(cluster)
    c = cluster.start("c", 3, "a")
    c.start_round(cluster.now)
    cluster.settle()
    peer = c.peers.get(b.identity.incarnation)
    assert peer is not None and not peer.left, "c believes that b has left"


def a_message_from_a_node_shows_that_it_was_not_replaced() -> None:
    """a takes b for replaced, and receives a request of b's. From then on a lapse at a waits for b's answer."""
    cluster = ByHand("ab")
    b, a = another_node_at_the_address_of_b(cluster), cluster["a"]
    b.start_round(cluster.now)
    for request in b.take_requests():
        if request.address == "a":
            a.receive(cluster.now, request.message)
    asked = [peer.incarnation for peer in a.peers.confirming_peers(cluster.now)]
    assert b.identity.incarnation in asked, "a does not wait for b"


def a_late_answer_of_an_earlier_start_replaces_nobody() -> None:
    """An answer of b's earlier incarnation arrives at a after a message of the present one."""
    cluster = ByHand("ab")
    a = cluster["a"]
    a.start_round(cluster.now)
    (question,) = a.take_requests()
    answer = cluster["b"].receive(cluster.now, question.message)
    cluster.now += 0.1
    cluster.start("b", 9, "ab").start_round(cluster.now)
    cluster.settle()
    cluster.now += 0.1
    a.receive_answer(cluster.now, question, answer)
    peer = a.peers.get(9)
    assert peer is not None and not peer.is_gone, "a takes the present b for replaced"


def a_node_that_moved_is_asked_at_its_new_address() -> None:
    """b continues at another address, and sends a request from there to a."""
    cluster = ByHand("ab", seeds=False)
    a, b = cluster["a"], cluster.replicas.pop("b")
    b.set_seed_addresses("a", ["a"])
    b.start_round(cluster.now)
    (question,) = b.take_requests()
    a.receive(cluster.now, question.message)
    a.receive(cluster.now, evolve(question.message, sender=evolve(b.identity, address="x")))
    assert a.addresses() == ["x"], f"a asks at {a.addresses()}"


def a_long_ttl_keeps_the_ledger_of_its_node() -> None:
    """b died with a claim whose ttl is longer than usual: a keeps b's ledger for longer than other ledgers."""
    stage = Stage("ab", interval_s=LONG_INTERVAL_S)
    stage.register("b", ttl=120.0)
    stage.run(1)
    stage.crash("b")
    stage.run(40)
    assert stage.listed() == "a", "a has forgotten it"


def the_address_of_a_node_is_forgotten_with_it() -> None:
    """z is not a seed of any node. After its death the other nodes forget its address together with it."""
    stage = Stage("ab", interval_s=LONG_INTERVAL_S)
    stage.cluster.start("z", ("a", "b"))
    stage.run(3)
    stage.crash("z")
    stage.run(40)
    addresses = [link.address for link in stage["a"].replica.links]
    assert "z" not in addresses, "a keeps what it knew of the way to z"
