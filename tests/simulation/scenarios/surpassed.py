"""Rule 10: a node that is set back to a snapshot of its memory, and a clone, go on as new incarnations."""

from __future__ import annotations

from tests.simulation.cluster import Cluster
from tests.simulation.scenarios import KEY, OTHER_KEY, Stage


def a_node_set_back_to_a_snapshot_begins_anew() -> None:
    """a is set back and does not know the claim that it wrote. It writes another one, and b accepts both.

    As the same incarnation, a would give both claims the same number, and b would take the second for the first.
    """
    next_key = KEY.replace("10.0.0.5", "10.0.0.7")
    stage = Stage("ab")
    stage.register("a")
    stage.run(1)
    snapshot = stage.cluster.snapshot("a")
    stage.register("a", OTHER_KEY)
    stage.run(2)
    stage.set_back("a", snapshot)
    stage.run(1)
    stage.register("a", next_key)
    stage.run(1)
    assert stage.listed(OTHER_KEY) == stage.listed(next_key) == "ab", "a and b list different instances"


def a_clone_begins_anew() -> None:
    """The clone sends a a request in a's name, before b could report the other's heartbeats to one of them."""
    cluster = Cluster(1, "ab", drifting=False)
    cluster.clone("a", "z")
    cluster.run_for(3)
    assert not cluster.oracle.broken, cluster.oracle.broken[0]
    incarnations = {node.replica.identity.incarnation for node in cluster.nodes.values()}
    assert len(incarnations) == 3, "a and its clone speak as the same incarnation"


def a_node_whose_clone_was_heard_begins_anew() -> None:
    """b hears only the clone, which dies, and then a, which has written more and counted more heartbeats by then.

    As the same incarnation, a would make b add its new entries to those of the clone.
    """
    stage = Stage("ab")
    cut = stage.cut("ab", "ba", "az", "za")
    stage.cluster.clone("a", "z")
    incarnation = stage["a"].replica.identity.incarnation
    stage.register("z", OTHER_KEY)
    for key in (KEY, KEY + "80"):
        stage.register("a", key)
    stage.run(1)
    stage.crash("z")
    stage.run(3)
    stage.heal(cut)
    stage.run(2)
    assert stage["a"].replica.identity.incarnation != incarnation, "b takes the clone's entry for that of a"
    assert stage.listed(KEY) == "ab", "a and b list different instances"
    assert stage.listed(OTHER_KEY) in ("", "ab"), "a and b list different instances"


def copies_of_clones_become_the_same() -> None:
    """b hears only a, and c only a's clone, until both die. So neither of them can begin a new incarnation."""
    stage = Stage("abc")
    cut = stage.cut("ac", "ca", "bc", "cb", "az", "za", "bz", "zb")
    stage.cluster.clone("a", "z")
    stage.register("a")
    stage.register("z", OTHER_KEY)
    stage.run(0.3)
    assert (stage.listed(KEY), stage.listed(OTHER_KEY)) == ("ab", "cz"), "the play begins otherwise"
    stage.crash("a")
    stage.crash("z")
    stage.heal(cut)
    stage.run(3)
    assert {stage.listed(KEY), stage.listed(OTHER_KEY)} == {"bc", ""}, "b and c list different instances"


def a_node_that_begins_anew_takes_its_claims_along() -> None:
    """a was set back and is cut off when an instance registers there, and no other node knows of this instance."""
    stage = Stage("ab")
    snapshot = stage.cluster.snapshot("a")
    stage.run(4)
    cut = stage.cut("ab", "ba")
    stage.set_back("a", snapshot)
    stage.register("a")
    stage.run(0.5)
    stage.heal(cut)
    stage.run(3)
    assert stage["a"].replica.identity.incarnation != snapshot.life.incarnation, "a has not noticed it"
    stage.expect("a: online registered", "b: online registered")
