"""The judge finds every kind of broken promise in a recorded history, and none in a history without one."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.faults.facts import (
    Cut,
    Ended,
    Healed,
    Killed,
    Leaving,
    Paused,
    ReceivedEvent,
    Resumed,
    Starved,
    StatusAnswer,
    Synced,
)
from tests.faults.judge.judge import Judge, Verdict
from tests.faults.made_up_history import (
    BODY,
    INTERVAL_S,
    KEY,
    NEXT_BODY,
    NODES,
    OVER_AT,
    SETTLED_AT,
    TTL_S,
    History,
    clean,
)

#: The time of the instance's last renewal in the clean history.
LAST_AT = SETTLED_AT + 6


def judged(history: History) -> Verdict:
    return Judge(history.facts).run()


class JudgeCase(SynchronousTestCase):
    def assert_no_broken_promise(self, history: History) -> Verdict:
        verdict = judged(history)
        self.assertEqual([str(each) for each in verdict.broken], [])
        return verdict

    def assert_broken(self, history: History, promise: str, what: str) -> None:
        broken = [str(each) for each in judged(history).broken if each.promise == promise]
        self.assertTrue([each for each in broken if what in each], broken)


class Kept(JudgeCase):
    def test_nothing_is_reported_where_all_is_well(self) -> None:
        verdict = self.assert_no_broken_promise(clean())
        self.assertGreater(verdict.counts["obligations to list"], 30)
        self.assertEqual(verdict.counts["accepted"], 7)
        self.assertGreater(verdict.counts["digests compared"], 30)
        self.assertEqual([delay.case for delay in verdict.delays], ["calm"] * 3)

    def test_an_end_may_be_as_late_as_its_bound(self) -> None:
        history = History().start_nodes()
        history.run_instance(SETTLED_AT, LAST_AT)
        history.send_event(LAST_AT + TTL_S + 1.0 * INTERVAL_S, "offline", "expired")
        self.assert_no_broken_promise(history)

    def test_a_wait_for_a_processor_delays_what_is_seen(self) -> None:
        history = History().start_nodes()
        history.run_instance(SETTLED_AT, LAST_AT)
        late_at = LAST_AT + TTL_S + 1.8 * INTERVAL_S
        history.send_event(late_at, "offline", "expired")
        self.assert_broken(history, "P3", "showed")
        history.add(Starved(at=late_at - 0.1, began_at=late_at - 0.3, late_s=0.1, nodes={"n1": 0.2}))
        self.assert_no_broken_promise(history)


class PartitionCase(JudgeCase):
    def partitioned(self, hidden_after_s: float) -> History:
        """Return a history in which n1 is cut off from the others while an instance renews there alone."""
        history, cut_at, heal_at = History().start_nodes(), SETTLED_AT + 4, SETTLED_AT + 14
        history.run_instance(SETTLED_AT, SETTLED_AT + 18)
        pairs = [(a, b) for a in NODES for b in NODES if (a == "n1") != (b == "n1")]
        history.add(Cut(at=cut_at, began_at=cut_at - 0.01, name="it", pairs=pairs, requests=False))
        history.send_event(cut_at + hidden_after_s, "offline", "node-lost", ("n2", "n3"))
        history.add(Healed(at=heal_at, began_at=heal_at - 0.01, name="it"))
        history.send_event(heal_at + 0.3, "online", "restored", ("n2", "n3"))
        history.send_event(SETTLED_AT + 18 + TTL_S + 0.2, "offline", "expired")
        return history


class P1Convergence(JudgeCase):
    def test_nodes_that_stay_unlike(self) -> None:
        history = clean()
        history.drop_facts(StatusAnswer, "n3", 20.0, 24.0)
        history.answer_status("n3", 20.0, 24.0, digest="1")
        self.assert_broken(history, "P1", "connected, quiet and unlike")


class P2NothingAliveIsDropped(JudgeCase):
    def test_a_live_instance_goes_offline(self) -> None:
        history = clean()
        history.send_event(SETTLED_AT + 5.5, "offline", "expired", ("n2",))
        self.assert_broken(history, "P2", f"takes back {KEY}")

    def test_a_live_instance_is_never_announced(self) -> None:
        history = clean()
        history.drop_facts(ReceivedEvent, "n3", 0.0, OVER_AT)
        self.assert_broken(history, "P2", f"n3#2 does not show {KEY}")

    def test_a_renewal_finds_nothing(self) -> None:
        history = clean()
        history.ask(SETTLED_AT + 5.5, "renew", "n3", 404)
        self.assert_broken(history, "P2", f"n3#2 does not show {KEY}")

    def test_a_pause_of_another_node_takes_nothing_offline(self) -> None:
        history = clean()
        history.add(Paused(at=SETTLED_AT + 3, node="n3"), Resumed(at=SETTLED_AT + 5, node="n3"))
        history.drop_facts(StatusAnswer, "n3", SETTLED_AT + 3, SETTLED_AT + 5)
        self.assert_no_broken_promise(history)
        history.send_event(SETTLED_AT + 4, "offline", "node-lost", ("n1",))
        self.assert_broken(history, "P2", f"n1#0 takes back {KEY}")

    def test_an_end_that_is_seen_late_is_not_that_of_the_next_registration(self) -> None:
        """A late observation of an end does not count as the end of the next registration."""
        history, again_at = History().start_nodes(), LAST_AT + TTL_S + 2.0
        history.run_instance(SETTLED_AT, LAST_AT)
        history.send_event(LAST_AT + TTL_S + 0.2, "offline", "expired", ("n2", "n3"))
        history.ask(again_at, "register", "n1", 201, "c.2", NEXT_BODY)
        history.send_event(again_at + 0.01, "online", "registered", ("n2", "n3"), body=NEXT_BODY)
        history.send_event(again_at + 0.02, "offline", "expired", ("n1",))
        history.send_event(again_at + 0.03, "online", "registered", ("n1",), body=NEXT_BODY)
        history.send_event(again_at + TTL_S + 0.2, "offline", "expired", body=NEXT_BODY)
        history.add(Starved(at=again_at, began_at=again_at - 2, late_s=1.0, nodes={"n1": 1.0}))
        self.assert_no_broken_promise(history)


class P3NothingDeadStays(JudgeCase):
    def test_an_end_is_too_late(self) -> None:
        history = History().start_nodes()
        history.run_instance(SETTLED_AT, LAST_AT)
        history.send_event(LAST_AT + TTL_S + 0.2, "offline", "expired", ("n1", "n3"))
        history.send_event(LAST_AT + TTL_S + 2 * INTERVAL_S, "offline", "expired", ("n2",))
        self.assert_broken(history, "P3", f"n2#1 shows {KEY}")

    def test_a_request_in_doubt_may_have_been_accepted(self) -> None:
        """If a renewal has no answer, the ttl may count from the last moment at which a node may have accepted it."""
        history = History().start_nodes()
        history.run_instance(SETTLED_AT, LAST_AT)
        history.ask(LAST_AT + 1, "renew", "n1", None)
        history.send_event(LAST_AT + 1 + TTL_S + 1.5 * INTERVAL_S, "offline", "expired")
        self.assert_no_broken_promise(history)


class P4GoneIsGone(JudgeCase):
    def ended(self) -> History:
        """Return a history in which the instance is deregistered."""
        history = History().start_nodes()
        history.run_instance(SETTLED_AT, LAST_AT)
        history.ask(LAST_AT + 0.5, "deregister", "n1", 204)
        history.send_event(LAST_AT + 0.504, "offline", "deregistered")
        return history

    def test_an_end_is_no_fault(self) -> None:
        self.assert_no_broken_promise(self.ended())

    def test_a_registration_comes_back(self) -> None:
        history = self.ended()
        history.send_event(LAST_AT + 2, "online", "registered", ("n2",))
        self.assert_broken(history, "P4", f"n2#1 announces {KEY}")

    def test_an_end_may_be_that_of_what_its_node_hides(self) -> None:
        """A node that is cut off may hide one registration and list another; a deregistration there ends both."""
        history, cut_at = History().start_nodes(), SETTLED_AT + 3
        history.run_instance(SETTLED_AT, SETTLED_AT + 12)
        pairs = [(a, b) for a in NODES for b in NODES if (a == "n3") != (b == "n3")]
        history.add(Cut(at=cut_at, began_at=cut_at - 0.01, name="it", pairs=pairs, requests=False))
        history.send_event(cut_at + TTL_S + 3 * INTERVAL_S, "offline", "node-lost", ("n3",))
        history.ask(SETTLED_AT + 10, "register", "n3", 201, "c.2", NEXT_BODY)
        history.send_event(SETTLED_AT + 10.01, "online", "registered", ("n3",), body=NEXT_BODY)
        history.ask(SETTLED_AT + 11, "deregister", "n3", 204)
        history.send_event(SETTLED_AT + 11.01, "offline", "deregistered", ("n3",), body=NEXT_BODY)
        history.add(Healed(at=SETTLED_AT + 12.5, began_at=SETTLED_AT + 12.4, name="it"))
        history.send_event(SETTLED_AT + 12.7, "offline", "deregistered", ("n1", "n2"))
        self.assert_no_broken_promise(history)

    def test_what_begins_where_the_other_is_hidden_has_an_end_of_its_own(self) -> None:
        """A registration that began while another one was hidden is not ended by the end of the hidden one."""
        history, cut_at, heal_at = History().start_nodes(), SETTLED_AT + 3, SETTLED_AT + 12.5
        terms = BODY.replace("c.1", "c.2")
        history.run_instance(SETTLED_AT, SETTLED_AT + 12)
        pairs = [(a, b) for a in NODES for b in NODES if (a == "n3") != (b == "n3")]
        history.add(Cut(at=cut_at, began_at=cut_at - 0.01, name="it", pairs=pairs, requests=False))
        history.send_event(cut_at + TTL_S + 3 * INTERVAL_S, "offline", "node-lost", ("n3",))
        history.ask(SETTLED_AT + 10, "register", "n3", 201, "c.2", terms)
        history.send_event(SETTLED_AT + 10.01, "online", "registered", ("n3",), body=terms)
        history.ask(SETTLED_AT + 12, "renew", "n3", 200, body=terms)
        history.add(Healed(at=heal_at, began_at=heal_at - 0.1, name="it"))
        history.ask(heal_at + 0.1, "deregister", "n1", 204)
        history.send_event(heal_at + 0.11, "offline", "deregistered", ("n1", "n2"))
        history.send_event(heal_at + 0.3, "online", "registered", ("n1", "n2"), body=terms)
        history.send_event(SETTLED_AT + 12 + TTL_S + 0.2, "offline", "expired", body=terms)
        self.assert_no_broken_promise(history)

    def test_an_instance_comes_back_by_registering_again(self) -> None:
        history = self.ended()
        history.run_instance(LAST_AT + 4, LAST_AT + 6, body=NEXT_BODY)
        history.send_event(LAST_AT + 6 + TTL_S + 0.2, "offline", "expired", body=NEXT_BODY)
        self.assert_no_broken_promise(history)


class P5TruthfulEvents(JudgeCase):
    def test_a_node_that_was_paused_may_know_of_few_renewals(self) -> None:
        """When a paused node continues after the restart of another one, renewals that it has missed there are lost."""
        history, paused_at, killed_at = History().start_nodes(), SETTLED_AT + 1, SETTLED_AT + 6.5
        history.run_instance(SETTLED_AT, SETTLED_AT + 6)
        history.add(Paused(at=paused_at, node="n3"), Resumed(at=SETTLED_AT + 8, node="n3"))
        history.drop_facts(StatusAnswer, "n3", paused_at, SETTLED_AT + 8.3)
        history.add(Killed(at=killed_at, node="n1"), Ended(at=killed_at, node="n1", status=-9))
        history.drop_facts(StatusAnswer, "n1", killed_at, SETTLED_AT + 8.7)
        history.start("n1", SETTLED_AT + 7.4, life="b")
        history.send_event(SETTLED_AT + 8.6, "offline", "expired", ("n3",))
        history.send_event(killed_at + TTL_S + 3 * INTERVAL_S, "offline", "expired", ("n2",))
        self.assert_no_broken_promise(history)

    def test_an_event_comes_twice(self) -> None:
        history = clean()
        history.send_event(SETTLED_AT + 2, "online", "registered", ("n2",))
        self.assert_broken(history, "P5", "twice")

    def test_nobody_has_sent_a_body(self) -> None:
        history = clean()
        history.send_event(SETTLED_AT + 2, "changed", "registered", ("n2",), body="c.9 3.0 1 - n1 1000")
        self.assert_broken(history, "P5", "with a body that nobody sent")

    def test_nobody_has_deregistered(self) -> None:
        history = History().start_nodes()
        history.run_instance(SETTLED_AT, LAST_AT)
        history.send_event(LAST_AT + TTL_S + 0.2, "offline", "deregistered")
        self.assert_broken(history, "P5", "was deregistered")

    def test_a_list_differs_from_the_events(self) -> None:
        history = clean()
        history.answer_list(SETTLED_AT + 3, "n2", BODY)
        self.assert_no_broken_promise(history)
        history.answer_list(SETTLED_AT + 3.5, "n2")
        self.assert_broken(history, "P5", "lists something else")

    def test_a_cursor_is_repeated(self) -> None:
        history = clean()
        again = next(fact for fact in history.facts if isinstance(fact, ReceivedEvent) and fact.node == "n2")
        history.add(again)
        self.assert_broken(history, "P5", f"at {again.cursor} after {again.cursor}")

    def test_a_watcher_that_resumes_misses_events(self) -> None:
        history = clean()
        history.add(Synced(at=SETTLED_AT + 4, node="n2", life="a", reset=True))
        self.assert_broken(history, "P5", "no longer has the events")


class P6Partitions(PartitionCase):
    def test_a_side_hides_what_it_no_longer_hears_of(self) -> None:
        self.assert_no_broken_promise(self.partitioned(TTL_S + 3 * INTERVAL_S))

    def test_a_side_hides_too_early(self) -> None:
        """A node that hides earlier than any silence can explain breaks P2."""
        self.assert_broken(self.partitioned(TTL_S - 1 * INTERVAL_S), "P2", f"takes back {KEY}")

    def test_a_side_hides_too_late(self) -> None:
        self.assert_broken(self.partitioned(TTL_S + 4 * INTERVAL_S), "P3", f"n2#1 showed {KEY}")

    def test_a_heal_does_not_restore(self) -> None:
        history = self.partitioned(TTL_S + 3 * INTERVAL_S)
        history.drop_facts(ReceivedEvent, "n2", SETTLED_AT + 14, OVER_AT)
        self.assert_broken(history, "P2", f"n2#1 does not show {KEY}")


class P7ConfigurationIsKept(JudgeCase):
    def written(self) -> History:
        history = clean()
        history.ask(SETTLED_AT, "configure", "n1", 201, "w1")
        history.send_event(SETTLED_AT + 0.01, "created", "configured", key="backend/b", body="w1")
        for node in NODES:
            history.answer_histories(OVER_AT - 2, node, "w1")
        return history

    def test_a_setting_that_is_everywhere_is_kept(self) -> None:
        self.assert_no_broken_promise(self.written())

    def test_a_setting_is_lost(self) -> None:
        history = self.written()
        history.answer_histories(OVER_AT - 4, "n2")
        self.assert_broken(history, "P7", "n2#1 has lost w1 of backend/b")

    def test_a_setting_does_not_outlive_all_nodes(self) -> None:
        history = clean()
        history.ask(SETTLED_AT, "configure", "n1", 201, "w1")
        for node in NODES:
            history.drop_facts(StatusAnswer, node, 20.0, 21.7)
            history.add(Killed(at=20.0, node=node), Ended(at=20.01, node=node, status=-9))
            history.start(node, 20.5, life="b")
            history.answer_histories(OVER_AT - 1, node)
        self.assert_no_broken_promise(history)

    def test_nobody_has_made_a_setting(self) -> None:
        history = self.written()
        history.send_event(SETTLED_AT + 1, "changed", "configured", ("n2",), key="backend/b", body="w9")
        self.assert_broken(history, "P7", "which nobody sent")

    def test_nodes_show_different_settings_in_the_end(self) -> None:
        history = self.written()
        history.ask(OVER_AT - 0.5, "configure", "n1", 200, "w2")
        history.send_event(OVER_AT - 0.49, "changed", "configured", key="backend/b", body="w2")
        history.answer_histories(OVER_AT - 0.3, "n1", "w2", "w1")
        self.assert_broken(history, "P7", "different settings in the end")


class P8HonestReadiness(JudgeCase):
    def restarted(self, ready_at: float) -> History:
        """Return a history in which n1 is killed while n2 is paused, starts again, and is ready at `ready_at`."""
        history, at = clean(), 20.0
        history.add(Paused(at=at, node="n2"), Resumed(at=at + 5, node="n2"))
        history.add(Killed(at=at + 0.5, node="n1"), Ended(at=at + 0.51, node="n1", status=-9))
        for node in ("n1", "n2"):
            history.drop_facts(StatusAnswer, node, at, at + 5.5)
        history.start("n1", at + 1, life="b")
        history.answer_status("n1", at + 2.1, ready_at, ready=False)
        history.answer_status("n1", ready_at, at + 5.5)
        return history

    def test_a_node_waits_for_its_peers(self) -> None:
        self.assert_no_broken_promise(self.restarted(22.0 + 4.5 * INTERVAL_S))

    def test_a_node_does_not_wait(self) -> None:
        self.assert_broken(self.restarted(22.2), "P8", "n1#3 is ready after")

    def test_a_node_does_not_wait_after_a_pause(self) -> None:
        """After a short pause that a node may not notice, readiness at once is correct; after a longer one, wrong."""
        for pause_s, broken in ((1.4 * INTERVAL_S, False), (1.7 * INTERVAL_S, True)):
            history, at = clean(), 20.0
            history.add(Paused(at=at - 0.1, node="n2"), Resumed(at=at + 1.3, node="n2"))
            history.add(Paused(at=at, node="n3"), Resumed(at=at + pause_s, node="n3"))
            for node in ("n2", "n3"):
                history.drop_facts(StatusAnswer, node, at - 0.2, at + 1.3)
            history.answer_status("n3", at + pause_s + 0.05, at + 1.3)
            if broken:
                self.assert_broken(history, "P8", "n3#2 is ready after")
            else:
                self.assert_no_broken_promise(history)

    def test_a_node_is_not_ready_for_long(self) -> None:
        history: Any = History().start_nodes()
        history.drop_facts(StatusAnswer, "n3", 0.0, 8.0)
        history.answer_status("n3", 1.2, 8.0, ready=False)
        self.assert_broken(history, "P8", "n3#2 is not ready")


class Ends(JudgeCase):
    def test_a_node_keeps_claims_that_nobody_needs(self) -> None:
        history = clean()
        history.answer_status("n3", OVER_AT - 0.01, OVER_AT, held=1)
        self.assert_broken(history, "memory", "n3#2 lists [] and holds 1 claims")

    def test_a_node_does_not_answer_in_the_end(self) -> None:
        history = clean()
        history.add(StatusAnswer(at=OVER_AT, sent_at=OVER_AT - 1, node="n2"))
        self.assert_broken(history, "end", "n2 does not run")

    def test_a_node_ends_by_itself(self) -> None:
        history = clean()
        history.add(Ended(at=20.0, node="n2", status=1))
        self.assert_broken(history, "end", "n2#1 ended by itself with status 1")

    def test_a_node_fails_to_end(self) -> None:
        history = clean()
        history.add(Leaving(at=19.9, node="n2"), Ended(at=20.0, node="n2", status=0))
        history.drop_facts(StatusAnswer, "n2", 19.9, OVER_AT)
        self.assertEqual([each.what for each in judged(history).broken if "status" in each.what], [])
        history.add(Ended(at=20.0, node="n2", status=1))
        history.facts.remove(Ended(at=20.0, node="n2", status=0))
        self.assert_broken(history, "end", "n2#1 ended after SIGTERM with status 1")
