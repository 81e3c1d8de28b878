"""Problems with peers are logged once when they begin, and once when they are over."""

from __future__ import annotations

from bender.exchange.connection_problems import ADDRESSES_MAX, FORGOTTEN_INTERVALS
from bender.exchange.wire_errors import Malformed, OtherCluster
from tests.exchange.network import ExchangeCase

PEER = "10.0.0.2:1730"
OTHER = "10.0.0.3:1730"


class Naming(ExchangeCase):
    def test_a_condition_is_named_once(self) -> None:
        """A problem that is seen often is logged once, and is set at the node."""
        for _ in range(100):
            self.conditions.note_problem(PEER, "answers", "answers with rubbish")
            self.network.advance(1)
        self.assertEqual(self.lines, [f"Peer {PEER} answers with rubbish."])
        self.assertEqual(self.node.problems, {PEER: "answers with rubbish"})

    def test_it_is_the_same_condition_while_its_kind_is_the_same(self) -> None:
        """A problem is the same while its kind is the same, even if details differ."""
        self.conditions.note_problem(PEER, "answers", "answers with rubbish (at byte 3)", kind="rubbish")
        self.conditions.note_problem(PEER, "answers", "answers with rubbish (at byte 5)", kind="rubbish")
        self.assertEqual(len(self.lines), 1)

    def test_kinds_that_take_turns_are_named_once_each(self) -> None:
        """Two kinds of problems that take turns are logged once each."""
        for _ in range(50):
            self.conditions.note_problem(PEER, "answers", "answers with rubbish", kind="rubbish")
            self.network.advance(1)
            self.conditions.note_problem(PEER, "answers", "answers with HTML", kind="HTML")
            self.network.advance(1)
        self.assertEqual(self.lines, [f"Peer {PEER} answers with rubbish.", f"Peer {PEER} answers with HTML."])
        self.assertEqual(self.node.problems, {PEER: "answers with rubbish; answers with HTML"})

    def test_one_that_took_the_place_of_another_stands_alone(self) -> None:
        """A problem that was not seen for a while, during another one, is over."""
        self.conditions.note_problem(PEER, "answers", "answers with rubbish", kind="rubbish")
        for _ in range(4):
            self.conditions.note_problem(PEER, "answers", "answers with HTML", kind="HTML")
            self.network.advance(1)
        self.assertEqual(self.node.problems, {PEER: "answers with HTML"})

    def test_ever_new_kinds_are_not_named_without_end(self) -> None:
        """Problems of ever new kinds at one address are logged at most twenty times."""
        for i in range(200):
            self.conditions.note_problem(PEER, "cluster", f"belongs to cluster {i}", kind=f"{i}")
        self.assertEqual(len(self.lines), 20)

    def test_topics_stand_beside_each_other(self) -> None:
        """The node has all problems of a peer, and each peer has its own."""
        self.conditions.note_problem(PEER, "answers", "answers with rubbish")
        self.conditions.note_problem(PEER, "interval", "has an interval of 2 s")
        self.conditions.note_problem(OTHER, "interval", "has an interval of 3 s")
        self.assertEqual(
            self.node.problems,
            {PEER: "answers with rubbish; has an interval of 2 s", OTHER: "has an interval of 3 s"},
        )

    def test_the_cluster_is_one_topic_whoever_asks(self) -> None:
        """A peer of another cluster that sends requests and answers is logged once."""
        refused = OtherCluster("belongs to cluster 'green', but this node belongs to 'bender'")
        self.conditions.note_refusal(PEER, "asks", refused)
        self.conditions.note_refusal(PEER, "answers", refused)
        self.conditions.note_refusal(PEER, "answers", Malformed("sends an invalid message (1)"))
        self.conditions.note_refusal(PEER, "answers", Malformed("sends an invalid message (2)"))
        self.assertEqual(
            self.lines,
            [
                f"Peer {PEER} belongs to cluster 'green', but this node belongs to 'bender'.",
                f"Peer {PEER} sends an invalid message (1).",
            ],
        )


class Ending(ExchangeCase):
    def test_a_condition_is_over_when_it_was_absent_for_a_while(self) -> None:
        """A problem is over at the first valid message three intervals after it was last seen, and this is logged."""
        self.conditions.note_problem(PEER, "answers", "answers with rubbish")
        self.network.advance(2.9)
        self.conditions.note_no_problem(PEER, "answers")
        self.assertEqual(self.node.problems, {PEER: "answers with rubbish"})
        self.network.advance(0.1)
        self.conditions.note_no_problem(PEER, "answers")
        self.assertEqual(self.node.problems, {PEER: None})
        self.assertEqual(self.lines[1:], [f'Solved for peer {PEER}: "answers with rubbish" is no longer the case.'])

    def test_coming_and_going_is_one_condition(self) -> None:
        """A peer that alternates between valid and invalid messages is logged once."""
        for _ in range(50):
            self.conditions.note_problem(PEER, "answers", "answers with rubbish")
            self.network.advance(1)
            self.conditions.note_no_problem(PEER, "answers")
            self.network.advance(1)
        self.assertEqual(len(self.lines), 1)

    def test_another_topic_does_not_end_it(self) -> None:
        """A valid answer does not end the problem of an invalid request."""
        self.conditions.note_problem(PEER, "asks", "sends rubbish")
        self.network.advance(10)
        self.conditions.note_valid_message(PEER, "answers", 1.0, 1.0)
        self.assertEqual(self.node.problems, {PEER: "sends rubbish"})

    def test_what_is_not_seen_any_more_is_forgotten(self) -> None:
        """A problem that is not seen for a long time is forgotten."""
        self.conditions.note_problem(PEER, "asks", "sends rubbish")
        self.network.advance(FORGOTTEN_INTERVALS - 1)
        self.conditions.end_forgotten()
        self.assertEqual(self.node.problems, {PEER: "sends rubbish"})
        self.network.advance(1)
        self.conditions.end_forgotten()
        self.assertEqual(self.node.problems, {PEER: None})

    def test_made_up_addresses_do_not_pile_up(self) -> None:
        """The oldest problems are dropped if there are too many addresses."""
        for i in range(ADDRESSES_MAX + 1):
            self.conditions.note_problem(f"10.0.0.{i}:1730", "asks", "sends rubbish")
        self.assertIsNone(self.node.problems["10.0.0.0:1730"])
        self.assertEqual(len([text for text in self.node.problems.values() if text]), ADDRESSES_MAX)


class Reach(ExchangeCase):
    def test_a_short_absence_is_not_worth_a_word(self) -> None:
        """A peer that is unreachable for a short time is neither logged nor shown."""
        for _ in range(3):
            self.conditions.note_unreachable(PEER, "does not answer")
            self.network.advance(0.9)
        self.conditions.note_no_problem(PEER, "reach")
        self.network.advance(0.9)
        self.conditions.note_unreachable(PEER, "does not answer")
        self.assertEqual(self.lines, [])
        self.assertEqual(self.node.problems, {})

    def test_a_long_one_is_named_once(self) -> None:
        """A peer that is unreachable for two intervals is logged once, with the present reason."""
        for text in ("does not answer (lost)", "does not answer (refused)", "does not answer within 1 s") * 2:
            self.conditions.note_unreachable(PEER, text)
            self.network.advance(1)
        self.assertEqual(self.lines, [f"Peer {PEER} does not answer within 1 s."])

    def test_it_does_not_hide_what_else_is_wrong(self) -> None:
        """A peer that sends invalid answers and is unreachable has two problems, each of which is logged once."""
        for _ in range(5):
            self.conditions.note_problem(PEER, "answers", "answers with rubbish")
            self.conditions.note_unreachable(PEER, "does not answer")
            self.network.advance(1)
        self.assertEqual(self.lines, [f"Peer {PEER} answers with rubbish.", f"Peer {PEER} does not answer."])


class Intervals(ExchangeCase):
    def test_another_interval_is_named_while_it_differs(self) -> None:
        """Another interval of a peer is logged once, and is a problem until the intervals are equal."""
        for _ in range(5):
            self.conditions.note_valid_message(PEER, "asks", 2.0, 1.0)
        self.assertEqual(self.lines, [f"Peer {PEER} has an interval of 2 s, but this node has 1 s."])
        self.network.advance(3)
        self.conditions.note_valid_message(PEER, "asks", 1.0, 1.0)
        self.assertEqual(self.node.problems, {PEER: None})
