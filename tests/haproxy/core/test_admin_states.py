"""The states that operators have set, and the events and answers that end them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.admin_state import LASTING_S
from bender.haproxy.core.admin_states import ASK_AGAIN_S, LOOK_AGAIN_S, AdminStates, StateAnswer

NOT_KNOWN = StateAnswer(removed=False)


class OperatorsCase(SynchronousTestCase):
    """An instance that an operator has set to maintenance at 10 for a minute."""

    def setUp(self) -> None:
        self.admin_states = AdminStates()
        self.admin_states.receive("a", "maint", 10, certain=True)
        self.admin_states.receive_answer("a", StateAnswer("maint", 60.0), 10, 10)

    def reported(self, state: str, now: float, *, certain: bool = False) -> str:
        return self.admin_states.receive("a", state, now, certain=certain)  # type: ignore[arg-type]

    def answered(self, answer: StateAnswer, now: float) -> str | None:
        return self.admin_states.receive_answer("a", answer, now, now)


class Events(OperatorsCase):
    def test_where_nothing_was_set(self) -> None:
        """The reported state holds, and no node is asked."""
        self.assertEqual(self.admin_states.receive("b", "up", 10, certain=False), "up")
        self.assertEqual(self.admin_states.ids_to_ask(10), [])

    def test_an_event_that_says_that_it_has_ended(self) -> None:
        """The state has ended after an event that certainly reports its end."""
        self.assertEqual(self.reported("up", 20, certain=True), "up")
        self.assertEqual((self.admin_states.lost(), self.admin_states.ids_to_ask(99)), ({}, []))

    def test_an_event_that_does_not(self) -> None:
        """After an uncertain event, the state holds until its duration is over, and a node is asked."""
        self.assertEqual(self.reported("up", 20), "maint")
        self.assertEqual((self.admin_states.lost(), self.admin_states.due_at()), ({"a": 70}, 70))
        self.assertEqual([*map(self.admin_states.known_state, "ab")], ["maint", "up"])
        self.assertEqual(self.admin_states.ids_to_ask(20), ["a"])
        self.assertEqual([*self.admin_states.lapse(69)], [])
        self.assertEqual([*self.admin_states.lapse(70)], ["a"])
        self.assertEqual((self.reported("up", 71), self.admin_states.due_at()), ("up", None))

    def test_another_state(self) -> None:
        """The new state holds; its duration is not known yet."""
        self.reported("up", 20)
        self.assertEqual(self.reported("drain", 21), "drain")
        self.assertEqual((self.admin_states.lost(), self.admin_states.ids_to_ask(21)), ({}, ["a"]))

    def test_one_that_was_lost_before_anybody_could_ask(self) -> None:
        """A state without a known duration lasts for the default duration."""
        self.admin_states.receive("b", "drain", 10, certain=True)
        self.admin_states.receive("b", "up", 11, certain=False)
        self.assertEqual(self.admin_states.lost(), {"b": 11 + LASTING_S})


class Answers(OperatorsCase):
    def test_it_is_set(self) -> None:
        """A node is asked from time to time, because no event reports another duration."""
        self.assertEqual(self.admin_states.ids_to_ask(9.9 + LOOK_AGAIN_S), [])
        self.assertEqual(self.admin_states.ids_to_ask(10 + LOOK_AGAIN_S), ["a"])
        self.assertIsNone(self.answered(StateAnswer("maint", 900.0), 40))
        self.reported("up", 50)
        self.assertEqual(self.admin_states.lost(), {"a": 940})

    def test_the_node_knows_nothing(self) -> None:
        """The state holds, and the node is asked again."""
        self.reported("up", 20)
        self.assertIsNone(self.answered(NOT_KNOWN, 20))
        self.assertEqual(self.admin_states.ids_to_ask(19.9 + ASK_AGAIN_S), [])
        self.assertEqual(self.admin_states.ids_to_ask(20 + ASK_AGAIN_S), ["a"])
        self.assertEqual(self.admin_states.lost(), {"a": 70})

    def test_the_node_knows_more(self) -> None:
        """The operator's state has ended, or another one has replaced it; the answer of an older node counts, too."""
        for answer, state in (
            (StateAnswer(removed=True), "up"),
            (StateAnswer(), "up"),
            (StateAnswer("up", 9.0), "up"),
            (StateAnswer("drain", 9.0), "drain"),
        ):
            self.setUp()
            self.reported("up", 20)
            self.assertEqual((self.answered(answer, 20), self.admin_states.lost()), (state, {}))

    def test_what_an_event_has_said_meanwhile(self) -> None:
        """An event that arrived after the question is newer than the answer."""
        self.reported("up", 20)
        self.reported("drain", 20.2)
        self.assertIsNone(self.admin_states.receive_answer("a", StateAnswer(removed=True), 20.1, 20.3))
        self.assertEqual(self.reported("up", 21), "drain")

    def test_an_instance_that_does_not_come_back(self) -> None:
        """The state is forgotten when its duration is over and the asked node does not know it."""
        self.assertIsNone(self.answered(NOT_KNOWN, 69))
        self.assertEqual([*self.admin_states.lapse(70)], [])
        self.assertEqual(self.admin_states.ids_to_ask(70), ["a"])
        self.assertIsNone(self.answered(NOT_KNOWN, 70))
        self.assertEqual(self.admin_states.ids_to_ask(999), [])
