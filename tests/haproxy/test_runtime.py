"""HAProxy's Runtime API."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.runtime import ANSWER_S_MAX, NOT_SENT, PORTION_BYTES_MAX, Conversation, Runtime, portions
from bender.net.addresses import NoAnswer
from tests.haproxy.standin import Endpoint, HAProxy, Server

_T = TypeVar("_T")


class Talking(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.haproxy = HAProxy(self.clock, running=True, pools={"shop": {"a": Server("10.0.0.1", 80, 1)}})
        self.runtime = Runtime(self.clock, Endpoint(self.haproxy))

    def talk(self, *commands: str) -> Deferred[list[str]]:
        async def talk() -> list[str]:
            async with self.runtime.conversation() as conversation:
                return await conversation.ask(commands)

        return self.begin(talk())

    def begin(self, coroutine: Coroutine[Any, Any, _T]) -> Deferred[_T]:
        deferred = Deferred.fromCoroutine(coroutine)
        for _ in range(10):
            self.clock.advance(0)
        return deferred

    def test_answers_come_in_order(self) -> None:
        """Each command has an answer, which may be empty or have several lines."""
        state, nothing, refused = self.successResultOf(
            self.talk("show servers state shop", "set server shop/a weight 7", "set server shop/b weight 7")
        )
        self.assertIn("10.0.0.1", state)
        self.assertEqual((nothing, refused), ("", "No such server.\n"))
        self.assertEqual(self.haproxy.servers("shop"), {"a": (0, 7)})

    def test_many_commands(self) -> None:
        """Commands are sent in portions that fit into HAProxy's buffer, and each is answered."""
        commands = [f"set server shop/a weight {i % 256}" for i in range(1000)]
        self.assertEqual(len(self.successResultOf(self.talk(*commands))), 1000)
        self.assertEqual(self.haproxy.changes, commands)
        sizes = [sum(len(command) + 1 for command in portion) for portion in portions(commands)]
        self.assertLessEqual(max(sizes), PORTION_BYTES_MAX)
        self.assertGreater(len(sizes), 2)
        self.assertEqual([*portions(["x" * PORTION_BYTES_MAX, "y"])], [["x" * PORTION_BYTES_MAX], ["y"]])

    def test_what_is_not_one_command(self) -> None:
        """A text that is not one command is not sent; each other one has its own answer."""
        commands = ("set server shop/a weight 7", "set server shop/a weight 9; show env", "set server shop/a\nshow env")
        answers = self.successResultOf(self.talk(*commands, "set server shop/b weight 7"))
        self.assertEqual(answers, ["", NOT_SENT, NOT_SENT, "No such server.\n"])
        self.assertEqual(self.haproxy.changes, [commands[0], "set server shop/b weight 7"])
        self.assertEqual(self.successResultOf(self.begin(self.runtime.ask("show proc; show env"))), NOT_SENT)

    def test_nobody_listens(self) -> None:
        """The error is a clause about HAProxy."""
        self.haproxy.running = False
        self.assertIn("refused", str(self.failureResultOf(self.talk("show info"), NoAnswer).value))

    def test_it_ends_meanwhile(self) -> None:
        """Commands without an answer fail at once."""

        def end(_command: str) -> None:
            self.haproxy.running = False

        self.haproxy.on_command = end
        talking = self.talk("set server shop/a weight 1", "set server shop/a weight 2")
        self.assertIn("closed the connection", str(self.failureResultOf(talking, NoAnswer).value))

    def test_it_does_not_answer(self) -> None:
        """The wait for an answer has a limit."""
        self.haproxy.silent = True
        talking = self.talk("show info")
        self.assertNoResult(talking)
        self.clock.advance(ANSWER_S_MAX)
        self.assertIn("within 3 s", str(self.failureResultOf(talking, NoAnswer).value))

    def test_after_it_has_ended(self) -> None:
        """Further commands fail."""
        conversation = Conversation(self.clock, Endpoint(self.haproxy))
        self.successResultOf(self.begin(conversation.__aenter__()))
        self.haproxy.running = False
        self.failureResultOf(self.begin(conversation.ask(["show info"])), NoAnswer)
        self.failureResultOf(self.begin(conversation.ask(["show info"])), NoAnswer)
