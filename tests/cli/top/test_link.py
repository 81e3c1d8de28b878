"""The followed node, and the state of the connection to it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.top.link import NOTICE_S, NodeLink
from tests.cli.top.shown import status


class Link(SynchronousTestCase):
    def test_it_is_stale_until_it_is_heard(self) -> None:
        """The state is stale until events arrive; the reason why no node can be followed has priority."""
        link = NodeLink(("a:1",))
        self.assertFalse(link.is_stale)
        link.status_problem = "a:1 does not answer"
        self.assertEqual((link.is_stale, link.problem), (True, "a:1 does not answer"))
        link.follow_problem = "a:1 refused"
        self.assertEqual(link.problem, "a:1 refused")
        link.note_events_from("a:1", 3.0)
        self.assertEqual((link.is_stale, link.heard_at), (False, 3.0))

    def test_a_status_alone_is_no_event(self) -> None:
        """A status does not end the staleness while the node refuses to be followed."""
        link = NodeLink(("a:1",))
        link.note_events_from("a:1", 3.0)
        link.follow_problem, link.status_problem = "a:1 has no room for another watcher", "x"
        link.update_status(status(), 9.0)
        self.assertEqual((link.problem, link.heard_at), ("a:1 has no room for another watcher", 3.0))
        link.follow_problem = ""
        link.update_status(status(), 10.0)
        self.assertEqual((link.is_stale, link.heard_at), (False, 10.0))

    def test_another_node_is_noticed_for_a_while(self) -> None:
        """The change to another node is shown for a while, and the status of the first node is forgotten."""
        link = NodeLink(("a:1", "b:1"))
        link.note_events_from("a:1", 1.0)
        self.assertEqual(link.current_notice(1.0), "")
        link.update_status(status("n1"), 1.0)
        link.note_events_from("a:1", 2.0)
        self.assertIsNotNone(link.status)
        link.note_events_from("b:1", 5.0)
        self.assertEqual((link.current_notice(5.0 + NOTICE_S - 0.1), link.name), ("lost n1, now following b:1", "b:1"))
        self.assertIsNone(link.status)
        self.assertEqual(link.current_notice(5.0 + NOTICE_S), "")

    def test_renewals_are_those_between_two_answers(self) -> None:
        """The rate needs two answers of one node that counts renewals; after a restart it is 0."""
        link = NodeLink(("a:1",))
        link.note_events_from("a:1", 0.0)
        rates = []
        for now, renewed in ((0.0, 100), (2.0, 300), (4.0, 310), (6.0, 5)):
            link.update_status(status(since_start={"renewed": renewed}), now)
            rates.append(link.renewals_per_s)
        self.assertEqual(rates, [None, 100.0, 5.0, 0.0])
        link.note_events_from("b:1", 7.0)
        self.assertIsNone(link.renewals_per_s)
        link.update_status(status(since_start={"renewed": "many"}), 8.0)
        self.assertIsNone(link.renewals_per_s)
