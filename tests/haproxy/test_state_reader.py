"""Answers of real nodes in memory about states."""

from __future__ import annotations

from bender.core.admin_state import Override
from bender.core.model import RegistrationRequest
from bender.haproxy.core.admin_states import StateAnswer
from bender.haproxy.state_reader import StateSource
from tests.client.cluster import ALL, ONE, TWO, ClientCase

ID = "registration/web/1/::1/80"


class Asking(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.states = StateSource(self.client(*ALL))
        self.network.pass_time(1)
        self.node(ONE).register(RegistrationRequest("web", "1", "::1", 80))

    def asked(self, node: str = TWO) -> StateAnswer:
        self.network.settle()
        answer: StateAnswer = self.result(self.states.ask(f"{node}:1729", ID))
        return answer

    def test_what_is_set(self) -> None:
        """The answer has the remaining time."""
        self.node(ONE).set_state(ID, Override("maint", 60.0), "operator")
        answer = self.asked()
        self.assertEqual((answer.state, answer.removed), ("maint", None))
        self.assertTrue(59 < answer.left_s <= 60)

    def test_what_is_not(self) -> None:
        """The answer tells whether a state was ever set, at any node."""
        self.assertEqual(self.asked(), StateAnswer(removed=False))
        self.node(ONE).set_state(ID, Override("maint", 60.0), "operator")
        self.node(ONE).remove_state(ID, "operator")
        self.assertEqual([self.asked(node) for node in (ONE, TWO)], [StateAnswer(removed=True)] * 2)

    def test_what_is_over(self) -> None:
        """A state whose duration is over has ended."""
        self.node(ONE).set_state(ID, Override("drain", 2.0), "operator")
        self.network.pass_time(3)
        self.assertEqual(self.asked(), StateAnswer(removed=True))
