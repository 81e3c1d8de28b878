"""The tool that mutates the core: its changes, and their outcomes."""

from __future__ import annotations

import ast

from twisted.trial.unittest import SynchronousTestCase

from tests.mutants.__main__ import equivalents
from tests.mutants.operators import mutants
from tests.mutants.run import CORE, Outcome, Trial, attempt, mutants_of

SOURCE = '''
"""What is changed, and what is not."""

MOST: int = 3

@frozen(order=True)
class Room:
    """A room."""

    __slots__ = ("left",)

    def take(self, wanted: float = 1.0) -> bool:
        """Take some of what is left."""
        assert wanted > 0
        if wanted > self.left and not self.open:
            raise ValueError(f"{wanted - self.left} too many")
        self.left -= wanted
        return any(each for each in self.left if each)
'''

CHANGES = """
MOST: MOST: int = 3 -> MOST: int = 4
Room.take: self, wanted: float=1.0 -> self, wanted: float=2.0
Room.take: if wanted > self.left and (not self.open) -> if True
Room.take: if wanted > self.left and (not self.open) -> if False
Room.take: wanted > self.left and (not self.open) -> wanted > self.left or not self.open
Room.take: wanted > self.left -> wanted >= self.left
Room.take: not self.open -> self.open
Room.take: raise ValueError(f'{wanted - self.left} too many') -> pass
Room.take: self.left -= wanted -> pass
Room.take: self.left -= wanted -> self.left += wanted
Room.take: return any((each for each in self.left if each)) -> return None
Room.take: any((each for each in self.left if each)) -> all((each for each in self.left if each))
Room.take: if each -> if True
"""


class Operators(SynchronousTestCase):
    def test_changes(self) -> None:
        """Operators, constants, conditions and statements are changed; docstrings, asserts and error texts are not."""
        found = [mutant.name for mutant in mutants("room", ast.parse(SOURCE))]
        self.assertEqual(found, CHANGES.strip().splitlines())

    def test_equal_changes(self) -> None:
        """Equal changes in the same function are distinguished by a number."""
        found = [mutant.key for mutant in mutants("m", ast.parse("def f(a):\n    g()\n    g()\n"))]
        self.assertEqual(found, ["m.f: g() -> pass", "m.f: g() -> pass (2)"])


class Attempts(SynchronousTestCase):
    def attempt(self, module: str, name: str, test: str) -> Outcome:
        mutant = next(each for each in mutants_of(module) if each.name == name)
        return attempt(mutant, [Trial(test, "unit", 0.1, frozenset())])

    def test_killed(self) -> None:
        """A test that fails on a mutant kills it. The function in this process stays unchanged."""
        test = "tests.core.test_gossip_targets.Limits.test_answered_again"
        outcome = self.attempt(
            "gossip_targets", "Link.note_answer: now - request.message.ask -> now + request.message.ask", test
        )
        self.assertEqual(outcome, Outcome("unit", test))

    def test_outside_functions(self) -> None:
        """All users of a constant see its change, also modules that imported it."""
        test = "tests.core.test_gossip_targets.Limits.test_unanswered"
        outcome = self.attempt("gossip_targets", "ROUNDS_OPEN_MAX: ROUNDS_OPEN_MAX = 4 -> ROUNDS_OPEN_MAX = 5", test)
        self.assertEqual(outcome, Outcome("unit", test))

    def test_survived(self) -> None:
        test = "tests.core.test_gossip_targets.Limits.test_unanswered"
        outcome = self.attempt(
            "gossip_targets", "Link.note_answer: now - request.message.ask -> now + request.message.ask", test
        )
        self.assertEqual(outcome, Outcome("survived"))

    def test_without_end(self) -> None:
        """An endless loop is stopped by the time limit."""
        test = "tests.core.test_leases.DueTests.test_soon_after"
        outcome = self.attempt("leases", "Leases.turn: self._turned_to += 1 -> pass", test)
        self.assertEqual(outcome, Outcome("timeout", test))


class Equivalents(SynchronousTestCase):
    def test_they_are_there(self) -> None:
        """Every recorded equivalent is a mutant of the present core."""
        keys = {mutant.key for path in CORE.glob("*.py") for mutant in mutants_of(path.stem)}
        self.assertEqual([key for key in equivalents() if key not in keys], [])
