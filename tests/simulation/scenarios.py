"""Schedules that chance does not find, one for each rule whose absence it took one to notice.

A scenario raises `AssertionError` where what it shows is not so, and returns nothing. Most are told on a `Stage`, with
real time between nodes and the oracle looking on; those that need a message at a certain moment carry it by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bender.core.ledger import Claim, Copy, Delta, Gap, Ledger
from bender.core.messages import Request
from bender.core.timing import Timing
from tests.core.cluster import BODY, TTL_S
from tests.core.cluster import Cluster as ByHand
from tests.simulation import front
from tests.simulation.cluster import Cluster, Node
from tests.simulation.front import Wanted
from tests.simulation.weather import Cut

Scenario = Callable[[], None]

KEY = "registration/web/1.0/10.0.0.5/80"

#: With rounds this far apart ten minutes, after which nodes are forgotten, are a few of them.
LONG_INTERVAL_S = 30.0


class Stage:
    """A few nodes that know one another, a network that loses nothing, and an instance that does as it is told.

    Times are in intervals; the play begins when all nodes are ready.
    """

    def __init__(self, names: str, *, interval_s: float = 1.0, guard_s: float = 0.0) -> None:
        timing = Timing(interval_s, 10 * interval_s)
        self.cluster = Cluster(1, names, timing=timing, drifting=False, guard_s=guard_s)
        self.interval_s = interval_s
        self.began_at = 0.0
        self.run(3)
        self.began_at = self.cluster.now

    def __getitem__(self, name: str) -> Node:
        return self.cluster.nodes[name]

    def run(self, intervals: float) -> None:
        self.cluster.run_for(intervals * self.interval_s)
        assert not self.cluster.oracle.broken, self.cluster.oracle.broken[0]

    def run_until(self, intervals: float) -> None:
        self.run(intervals - (self.cluster.now - self.began_at) / self.interval_s)

    # What the instance does.

    def register(self, name: str, key: str = KEY, *, meta: int = 0) -> None:
        """Register with a lease of ten intervals."""
        front.register(self.cluster, self[name], key, Wanted(10 * self.interval_s, meta))

    def renew(self, name: str) -> None:
        assert front.renew(self.cluster, self[name], KEY), f"{name} knows nothing of it"

    def renew_when_ready(self, name: str) -> None:
        """Renew as a client does whose request waits for a node that is back from a pause."""
        front.when_ready(self.cluster, self[name], partial(self._renew, name))

    def _renew(self, name: str, ready: bool) -> None:
        assert ready, f"{name} was not ready in time"
        self.renew(name)

    def deregister(self, name: str) -> None:
        assert front.deregister(self.cluster, self[name], KEY), f"{name} knows nothing of it"

    # What befalls the nodes.

    def cut(self, *pairs: str, asking: bool = False) -> Cut:
        """Cut the way from the first to the second node of each pair; with `asking` only for requests."""
        cut = Cut(frozenset((pair[0], pair[1]) for pair in pairs), asking)
        self.cluster.weather.cut(cut, self.cluster.now)
        return cut

    def heal(self, cut: Cut) -> None:
        self.cluster.weather.heal(cut, self.cluster.now)

    def crash(self, name: str) -> None:
        self.cluster.crash(name)

    def start(self, name: str) -> None:
        self.cluster.start(name, self[name].seeds)

    def leave(self, name: str) -> None:
        self.cluster.leave(name)

    def pause(self, name: str) -> None:
        self.cluster.pause(name)

    def resume(self, name: str) -> None:
        self.cluster.resume(name, inputs_first=False)

    # What came of it.

    def happened(self, name: str, key: str = KEY) -> list[str]:
        return [f"{event.what} {event.reason}" for event in self[name].life.events if event.key == key]

    def expect(self, *expected: str) -> None:
        """Each node announced this, one after the other: `a: online registered, offline expired`."""
        for line in expected:
            name, _, events = line.partition(": ")
            assert self.happened(name) == events.split(", "), f"{name}: {', '.join(self.happened(name))}"


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


def a_copy_is_of_what_is_there() -> None:
    """b tells c of a copy of a's claim, and c does not have that any more: it has to be told again, and all of it."""
    of = Claim(1, 1, KEY, BODY, TTL_S, 1, 1, 1)
    delta = Delta(2, 0, 0, 1, 1, (Copy(2, 1, 1, 1),))
    ledger = Ledger(2)
    try:
        ledger.join(delta.resolved(lambda node, n: None))
    except Gap:
        ledger.join(delta.resolved(lambda node, n: of))
    assert [entry.key for entry in ledger.entries.values()] == [KEY], "the copy is not there"


def a_copy_is_of_what_the_other_has() -> None:
    """c heard nothing from a: b's first word of the instance to it must have all of it, or c hears it a round late."""
    stage = Stage("abc")
    stage.cut("ac", "ca")
    stage.register("a")
    stage.run(0.02)
    stage.renew("b")
    stage.run(0.05)
    stage.expect("c: online registered")


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


class Lossy(ByHand):
    """A cluster by hand in which some requests get lost."""

    def __init__(self, names: str) -> None:
        self.loses: Callable[[str, Request], bool] = lambda asker, request: False
        super().__init__(names)

    def carry(self, name: str, request: Request) -> None:
        if self.loses(name, request):
            self.replicas[name].failed(self.now, request)
        else:
            super().carry(name, request)


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


# Rule 5.


def a_counter_without_its_ledger_is_not_believed() -> None:
    """c, back from a long cut, hears of b from a before it has b's ledger, in which the claim has lapsed."""
    cluster = ByHand("abc")
    cluster.register("b")
    cluster.cut = {"c"}
    cluster.run(20.0)
    cluster.cut = set()
    c, a = cluster["c"], cluster["a"]
    a.round(cluster.now)
    for request in a.take_requests():
        if request.address == "c":
            c.receive(cluster.now, request.message)
    c.sweep(cluster.now)
    assert c.view.claim(KEY) is None, "c lists what has lapsed"


def a_heartbeat_is_as_old_as_it_is() -> None:
    """News of b's last heartbeat gets to a when that is .9 intervals old: the instance is hidden in its time."""
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
    stage.register("b", KEY.replace("10.0.0.5", "10.0.0.6"))
    stage.run(0.05)
    stage.crash("b")
    stage.run(beat_at + 10 + 3 + 0.5 - stage.cluster.now)
    stage.expect("a: online registered, offline node-lost")


def a_message_is_looked_at_as_a_whole() -> None:
    """a tells c in one message that it has let go itself, and that b has heard from it."""
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
    """b is back and renewed at, and a, whose lease ends, sees that c has b's claim: it must count there as well."""
    cluster = ByHand("abc")
    cluster.register("a")
    cluster.cut = {"b"}
    cluster.register("b", KEY + "80")  # so that c's copy of its ledger is an old one
    cluster.run(9.0)
    cluster.renew("a")
    cluster.run(9.75)
    cluster.cut = set()
    cluster["b"].round(cluster.now)
    cluster.settle()
    cluster.now += 0.05
    cluster.renew("b")
    cluster.now += 0.35
    cluster["a"].sweep(cluster.now)
    cluster.settle()
    cluster.run(2.0)
    assert cluster.happened("c") == [("online", "registered")], f"c: {cluster.happened('c')}"


# Rule 6.


def configuration_comes_before_readiness() -> None:
    """A node that starts knows the settings when it says that it is ready, and not a moment later."""
    cluster = ByHand("a", seeds=False)
    cluster["a"].configure(cluster.now, "backend/web", b"{}", "ops", 0)
    b = cluster.start("b", 2, "a")
    b.round(cluster.now)
    while not b.ready:
        for request in b.take_requests():
            cluster.carry("b", request)
            assert b.setting("backend/web") or not b.notice(cluster.now), "ready, and knows no backend"
        b.sweep(cluster.now)


def an_echo_comes_with_everything() -> None:
    """A node that starts knows all registrations when it says that it is ready, however many pages they fill."""
    cluster = ByHand("a", seeds=False)
    for i in range(2500):
        cluster["a"].register(cluster.now, f"registration/web/1.0/h{i}/80", BODY, TTL_S)
    b = cluster.start("b", 2, "a")
    b.round(cluster.now)
    while not b.ready:
        for request in b.take_requests():
            cluster.carry("b", request)
        while b.sweep(cluster.now):
            pass
    assert b.view.count == 2500, f"ready with {b.view.count} of 2500"


def the_wait_for_readiness_is_no_fault_of_the_instance() -> None:
    """a is paused, then waits for b, and is renewed at when it is ready: within ttl of what was possible."""
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
    """a is paused for longer than the lease, which nobody renews: its return does not bring it back at b."""
    stage = Stage("ab")
    stage.register("a")
    stage.run(1)
    stage.pause("a")
    stage.run(25)
    stage.resume("a")
    stage.run(3)
    stage.expect("b: online registered, offline node-lost", "a: online registered, offline expired")


def who_cannot_ask_is_asked_back() -> None:
    """b can answer a and not ask it: what ends at b waits for a's next round, not for the end of all patience."""
    stage = Stage("ab")
    stage.register("b")
    stage.cut("ba", asking=True)
    stage.run_until(13)
    stage.expect("a: online registered, offline expired", "b: online registered, offline expired")


def news_at_the_end_of_a_pause_keeps_nobody_from_being_waited_for() -> None:
    """c hears of a by way of b alone, and is paused: what b tells of a is no word of a's own (seed 479)."""
    stage = Stage("abc")
    stage.cut("ac", "ca")
    stage.run(4)
    stage.pause("c")
    stage.register("a")
    stage.run(3.5)
    stage.resume("c")
    stage.run(2)
    assert not stage["c"].replica.ready, "c is ready without word from a"
    stage.run(3)


def settings_outlive_the_incarnation_that_held_them_back() -> None:
    """b got a setting before it was ready, and goes on as another incarnation before it is (seed 647)."""
    cluster = ByHand("a", seeds=False)
    cluster["a"].configure(cluster.now, "backend/web", b"{}", "ops", 0)
    b = cluster.start("b", 2, "az")
    b.round(cluster.now)
    cluster.settle()
    assert not b.notice(cluster.now)
    cluster.now += 700.0
    b.anew(99, cluster.now)
    cluster.run(6.0)
    assert b.ready
    assert b.setting("backend/web"), "b does not show what it has"


def who_came_during_a_pause_is_met_after_it() -> None:
    """b, whose first words waited for a, is asked whether it is still there (seed 1307)."""
    stage = Stage("a")
    stage.pause("a")
    stage.run(5)
    stage.cluster.start("b", "a")
    stage.run(0.5)
    stage.cluster.resume("a", inputs_first=True)
    stage.run(0.1)
    assert [contact.name for contact in stage["a"].replica.contacts] == ["b"], "a does not know b"


def what_waited_during_a_long_absence_brings_back_nobody() -> None:
    """a was away for so long that nobody remembers c, or b as it was: what they told a meanwhile is news no more."""
    stage = Stage("abc", interval_s=LONG_INTERVAL_S)
    stage.crash("c")
    stage.pause("a")
    stage.run(2)
    stage.crash("b")
    stage.start("b")
    stage.run(45)
    stage.resume("a")
    stage.run(6)
    known = [contact.incarnation for contact in stage["a"].replica.contacts]
    assert known == [stage["b"].life.incarnation], f"a knows {len(known)} others"


def what_was_listed_before_a_long_absence_is_lost_not_expired() -> None:
    """a was away for over ten minutes, and is cut off: what it had listed may well live, and it says so."""
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


# Rules 7 and 8.


def who_left_is_not_waited_for() -> None:
    """a leaves shortly before the lease at b ends, and b does not wait for it."""
    stage = Stage("abc")
    stage.register("b")
    stage.run_until(8)
    stage.leave("a")
    stage.run_until(11)
    stage.expect("b: online registered, offline expired", "c: online registered, offline expired")


def what_stops_after_a_node_left_has_expired() -> None:
    """a, which left, heard from it too; nobody can be renewing there."""
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
    """b has not swept yet and still tells of c when a has just forgotten it."""
    cluster = ByHand("abc")
    cluster.cut = {"c"}
    cluster.run(TTL_S + 3.0 + 599.5)
    a, b = cluster["a"], cluster["b"]
    cluster.now += 1.0
    a.sweep(cluster.now)
    assert 3 not in a.contacts
    b.round(cluster.now)
    for request in b.take_requests():
        if request.address == "a":
            assert 3 in {counter.incarnation for counter in request.message.counters}
            a.receive(cluster.now, request.message)
    assert 3 not in a.contacts, "a has met c again"


def a_newcomer_remembers_for_as_long_as_the_others() -> None:
    """c held a lease of a minute when it died: who comes ten minutes later keeps its ledger as long as a does."""
    cluster = ByHand("ac")
    cluster.register("c", ttl_s=60.0)
    cluster.cut = {"c"}
    cluster.run(630.0)
    cluster.start("b", 9, "a")
    cluster.run(3.0)
    assert cluster["a"].digest() == cluster["b"].digest(), "they remember differently"


def who_died_during_a_pause_is_forgotten_when_the_others_do() -> None:
    """c's last words waited for a, which was paused; b tells it how old they are."""
    stage = Stage("abc", interval_s=LONG_INTERVAL_S)
    stage.pause("a")
    stage.run(2)
    stage.crash("c")
    stage.run(13)
    stage.resume("a")
    stage.run_until(2 + 10 + 3 + 20 + 1)
    assert [len(stage[name].replica.contacts) for name in "ab"] == [1, 1], "c is remembered"


# Rule 9: the guard.


def what_is_suspect_can_be_renewed_and_deregistered() -> None:
    """Two instances are known to a node that died: one of them comes to a, and one is deregistered there."""
    other = KEY.replace("10.0.0.5", "10.0.0.6")
    stage = Stage("abc", guard_s=20.0)
    stage.register("b")
    stage.register("b", other)
    stage.run_until(0.5)
    stage.crash("b")
    stage.run_until(15)
    stage.renew("a")
    assert front.deregister(stage.cluster, stage["a"], other), "a knows nothing of it"
    stage.run_until(18)
    stage.expect(*(f"{name}: online registered, changed node-lost, changed restored" for name in "ac"))
    for name in "ac":
        happened = stage.happened(name, other)
        assert happened == ["online registered", "changed node-lost", "offline deregistered"], happened


def a_guard_is_lifted_for_a_while() -> None:
    """What b had heard from is suspect until an operator says otherwise at c; what d had heard from later is again."""
    other = KEY.replace("10.0.0.5", "10.0.0.6")
    stage = Stage("abcd", guard_s=8.0)
    stage.register("b")
    stage.run_until(0.5)
    stage.crash("b")
    stage.run_until(15)
    stage.expect("a: online registered, changed node-lost")
    front.lift_guard(stage.cluster, stage["c"], "web")
    stage.run(0.1)
    stage.expect(*(f"{name}: online registered, changed node-lost, offline node-lost" for name in "ac"))
    stage.register("d", other)
    stage.run(0.5)
    stage.crash("d")
    stage.run(14)
    assert stage.happened("a", other) == ["online registered", "changed node-lost"], stage.happened("a", other)


def half_of_an_app_is_no_mass_loss() -> None:
    """Of four instances two are known to b alone, which dies: they are hidden as ever."""
    stage = Stage("abc", guard_s=20.0)
    keys = [KEY.replace("10.0.0.5", f"10.0.0.{i}") for i in range(4)]
    for name, key in zip("abab", keys, strict=True):
        front.register(stage.cluster, stage[name], key, Wanted(60.0 if name == "a" else 10.0))
    stage.run_until(0.5)
    stage.crash("b")
    stage.run_until(14.5)
    for name in "ac":
        happened = [stage.happened(name, key)[-1] for key in keys]
        assert happened == ["online registered", "offline node-lost"] * 2, f"{name}: {happened}"


def what_came_back_is_not_lost() -> None:
    """Of three one is hidden and restored; when the next is lost, that is one of three again."""
    other = KEY.replace("10.0.0.5", "10.0.0.6")
    stage = Stage("abc", guard_s=20.0)
    front.register(stage.cluster, stage["a"], KEY.replace("10.0.0.5", "10.0.0.7"), Wanted(60.0))
    stage.register("b")
    stage.run_until(0.5)
    cut = stage.cut("ab", "ba", "bc", "cb")
    stage.run_until(9)
    stage.renew("b")
    front.register(stage.cluster, stage["c"], other, Wanted(4.0))
    stage.run_until(11.5)
    stage.crash("c")
    stage.run_until(14.2)
    stage.heal(cut)
    stage.run_until(15.5)
    stage.expect("a: online registered, offline node-lost, online restored")
    stage.run_until(19)
    assert stage.happened("a", other) == ["online registered", "offline node-lost"], stage.happened("a", other)


# The state.


def claim(n: int) -> Claim:
    return Claim(1, n, f"registration/web/1.0/h{n}/80", BODY, TTL_S, 1, 1, n)


def a_delta_needs_its_base() -> None:
    """A copy that lacks what a delta builds on refuses it."""
    copy = Ledger(1)
    _refused(copy, Delta(1, since=0, base=1, version=2, reach=2, added=(claim(2),)))


def a_delta_needs_its_removals() -> None:
    """A copy that is behind the removals of a delta refuses it."""
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
