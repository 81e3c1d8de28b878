"""Rules 1, 2 and 4: how claims come, follow and end."""

from __future__ import annotations

from bender.core.reasons import CHECK_FAILED
from tests.core.cluster import BODY
from tests.core.cluster import Cluster as ByHand
from tests.simulation import front
from tests.simulation.scenarios import KEY, Stage

# Rule 1.


def the_end_of_a_session_comes_before_its_ttl() -> None:
    """An instance registers at a with a session. When the session ends, all nodes hide the instance a second later."""
    stage = Stage("abc")
    stage.register("a")
    stage.run_until(4)
    front.shorten(stage.cluster, stage["a"], KEY, stage.interval_s)
    stage.run_until(4.9)
    stage.expect("a: online registered", "b: online registered")
    stage.run_until(6)
    stage.expect(*(f"{name}: online registered, offline expired" for name in "abc"))


def the_end_of_a_session_is_no_word_about_others() -> None:
    """The session at a ends just after the instance was renewed at b: a asks b before it reports an end."""
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
    """b is paused while a accepts a change. b's claim lasts longer than a's, and takes the change over nevertheless."""
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


def what_follows_a_shorter_ttl_waits_for_the_others() -> None:
    """b follows a change, and its claim is already due then.

    c has the change only from b, so b's claim must wait for c.
    """
    stage = Stage("abc")
    stage.register("a")
    stage.run(0.1)
    stage.renew("b")
    stage.run_until(8)
    stage.renew("a")
    stage.run_until(9.64)
    stage.cut("ac", "ca")
    stage.register("a", meta=1, ttl=5.0)
    stage.run_until(12)
    stage.expect("c: online registered, changed registered")


def who_follows_is_not_renewed_by_it() -> None:
    """b receives a change of a's late.

    Its claim takes the change over, and still ends ttl after the last renewal at b.
    """
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


def a_claim_that_follows_a_shorter_ttl_ends_by_that() -> None:
    """The instance was renewed at b with a ttl of 40.

    a accepts a change to a ttl of 4, and there is no further renewal.
    """
    stage = Stage("ab")
    stage.register("a", ttl=40.0)
    stage.run(0.1)
    stage.renew("b")
    stage.run(1)
    stage.register("a", meta=1, ttl=4.0)
    stage.run(5.5)
    for name in "ab":
        assert stage.happened(name)[-1] == "offline expired", f"{name}: {stage.happened(name)}"


# Rule 4.


def an_ended_claim_goes_when_all_have_the_end() -> None:
    """c cannot receive the end from b. a must keep its claim until c has the end, or c would report `expired`."""
    stage = Stage("abc")
    stage.register("a")
    stage.run(1)
    stage.cut("bc", "cb")
    stage.deregister("b")
    stage.run(3)
    stage.expect("c: online registered, offline deregistered")


def an_end_outlives_what_it_ends() -> None:
    """b deregisters a registration that is renewed at a.

    They are cut off for longer than the end's ttl, and it stays ended.
    """
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
    """b accepts the deregistration before it receives the change that c has accepted."""
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


def a_deregistration_ends_no_successor_that_it_does_not_know() -> None:
    """The former instance deregisters at b, which does not know yet that another instance took its place at c."""
    stage = Stage("abc")
    stage.register("a", instance=1)
    stage.run(1)
    stage.register("c", instance=2)
    stage.deregister("b", instance=1)
    for _ in range(5):
        stage.run(4)
        assert stage.listed() == "abc", f"only {stage.listed() or 'nobody'} lists it"
        stage.renew("a")
    stage.expect("c: online registered, changed registered")
    stage.deregister("a", instance=2)
    stage.run(1)
    assert not stage.listed(), f"{stage.listed()} list what was deregistered"


def an_end_is_kept_by_the_longest_ttl() -> None:
    """c is cut off and keeps a ttl of 30, which was changed to 4 elsewhere. b must keep the end for the longer ttl."""
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


def an_end_is_kept_for_the_ttl_and_eight_intervals() -> None:
    """c is cut off, and no other node knows of renewals there. The end reaches c shortly before it is forgotten."""
    stage = Stage("abc")
    stage.register("a")
    stage.run(1)
    cut = stage.cut("ac", "ca", "bc", "cb")
    stage.renew("c")
    stage.run(0.2)
    stage.deregister("b")
    stage.run(9)
    stage.renew("c")
    stage.run(8.3)
    stage.renew("c")
    stage.heal(cut)
    stage.run(3)
    assert not stage.listed(), f"{stage.listed()} list it"


def a_deregistration_at_a_node_that_left_is_known_as_one() -> None:
    """b accepts a deregistration and leaves. c receives both from a only."""
    stage = Stage("abc")
    stage.register("a")
    stage.run(1)
    cut = stage.cut("ac", "ca", "bc", "cb")
    stage.deregister("b")
    stage.run(0.3)
    stage.leave("b")
    stage.run(0.7)
    stage.heal(cut)
    stage.run(3)
    stage.expect("c: online registered, offline deregistered")


def why_a_check_ended_it_is_known_everywhere() -> None:
    """b accepts a deregistration with the reason `check-failed`, and crashes.

    c receives the end and its reason from a.
    """
    stage = Stage("abc")
    stage.register("a")
    stage.run(1)
    cut = stage.cut("ac", "ca", "bc", "cb")
    stage.deregister("b", reason=CHECK_FAILED)
    stage.run(0.3)
    stage.crash("b")
    stage.run(0.7)
    stage.heal(cut)
    stage.run(3)
    for name in "abc":
        assert stage.happened(name) == ["online registered", "offline check-failed"], f"{name}: {stage.happened(name)}"


def a_registration_that_was_ended_does_not_outrank_another() -> None:
    """The registration that c deregistered had a larger rank than a's, which c did not know."""
    cluster = ByHand("abc")
    cluster.cut = {"a"}
    cluster.register("a")
    cluster.register("b")
    cluster.register("b", body=BODY + b" ")
    cluster.deregister("c")
    cluster.cut = {"b"}
    cluster.run(1.0)
    assert cluster.listed() == "ac", f"only {cluster.listed() or 'nobody'} lists it"


def a_registration_outranks_what_was_deregistered_before_it() -> None:
    """a has claims of revs 1 and 2 when it writes the end. c, cut off, renews rev 2 for longer than the end lasts.

    A registration at a in this time must get a larger rev than c's claim, and not just one more than the smaller rev.
    """
    cluster = ByHand("abcd")
    cluster.register("d")
    cluster.renew("b")
    cluster.cut = {"b"}
    cluster.register("d", body=BODY + b" changed")
    cluster.cut = {"b", "c"}
    assert cluster.renew("c")
    cluster.deregister("a")
    cluster.run(2.0)
    cluster.cut = {"c"}
    cluster.run(6.0)
    cluster.register("a", body=BODY + b" again")
    for _ in range(3):
        assert cluster.renew("c")
        cluster.run(5.0)
        assert cluster.renew("a")
    cluster.cut = set()
    cluster.run(3.0)
    for name in "abcd":
        claim = cluster[name].view.claim(KEY)
        assert claim is not None and claim.body == BODY + b" again", f"{name} lists what was deregistered"
