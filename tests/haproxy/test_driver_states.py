"""The effects of HAProxy's checks, and of the states that operators set."""

from __future__ import annotations

from attrs import evolve

from bender.haproxy.config_file import states_file_of
from bender.haproxy.core.admin_states import StateAnswer
from bender.haproxy.core.registry import ReceivedEvent, kept_ids
from bender.haproxy.driver import CHECK_S
from tests.haproxy.driver_case import ID, SHOP, SYNCED, A, B, C, DriverCase
from tests.haproxy.events import backend, frontend, offline, online


class Checks(DriverCase):
    """A shop whose servers are checked: A is up, and B was found down."""

    def setUp(self) -> None:
        super().setUp()
        self.send(backend("shop", health={"path": "/health"}), SHOP[1], online(1), online(2), SYNCED)
        self.settle(0.5)
        for server, result in ((A, 3), (B, 2)):
            self.haproxy.pools["shop"][server].check_result = result
        self.haproxy.pools["shop"][B].down = True
        self.haproxy.commands()

    def down(self) -> list[str]:
        """Return the servers that would be down after a start of HAProxy."""
        lines = states_file_of(self.output).read_text().splitlines()
        return [line.split()[3] for line in lines[2:]]

    def test_what_is_down_is_in_a_file(self) -> None:
        """The file has the servers that are down, at the next check, and no longer has them when they are up."""
        self.assertEqual(self.down(), [])
        self.settle(CHECK_S)
        self.assertEqual(self.down(), [B])
        self.send(online(3))
        self.settle(CHECK_S)
        self.assertEqual(self.down(), [B, C])
        for server in (B, C):
            self.haproxy.pools["shop"][server].down = False
            self.haproxy.pools["shop"][server].check_result = 3
        self.settle(CHECK_S)
        self.assertEqual(self.down(), [])

    def test_before_a_reload_it_is_looked_again(self) -> None:
        """Before a reload, the states are read again; a new process that missed a state gets it by a command."""
        self.send(frontend("other", backend="shop", bind="*:81"))
        self.settle(1)
        self.assertEqual((self.reload.reload_count, self.down()), (1, [B]))
        self.assertEqual(self.haproxy.commands(), [f"set server shop/{B} health down"])
        self.settle(CHECK_S)
        self.assertEqual((self.haproxy.commands(), self.down()), ([], [B]))

    def test_another_driver_knows_what_was_down(self) -> None:
        """The next driver knows the servers that were down, also if HAProxy was restarted meanwhile."""
        self.settle(CHECK_S)
        self.driver.stopService()
        self.haproxy.load(self.output.read_text())
        self.restart_driver()
        self.send(backend("shop", health={"path": "/health"}), SHOP[1], online(1), online(2), SYNCED)
        self.settle(CHECK_S)
        self.assertEqual((self.haproxy.commands(), self.down()), ([f"set server shop/{B} health down"], [B]))

    def test_the_file_cannot_be_written(self) -> None:
        """A states file that cannot be written is reported, and reloads continue."""
        file = states_file_of(self.output)
        file.unlink()
        file.mkdir()
        self.settle(CHECK_S)
        self.assertIn(f"{file} cannot be written", str(self.reloader.states_problem))
        self.send(frontend("other", backend="shop", bind="*:81"))
        self.settle(1)
        self.assertEqual(self.reload.reload_count, 1)
        file.rmdir()
        self.settle(CHECK_S)
        self.assertEqual((self.reloader.states_problem, self.down()), (None, [B]))


class States(DriverCase):
    """A shop with A and B, of which an operator has set B to maintenance for a minute."""

    def setUp(self) -> None:
        super().setUp()
        self.states.answer = StateAnswer("maint", 60.0)
        self.serve(1, 2)
        self.send(self.changed("maint"))
        self.settle(2)
        self.haproxy.commands()

    def changed(self, state: str, reason: str = "configured") -> ReceivedEvent:
        return evolve(online(2, state=state), event="changed", reason=reason)

    def lose(self) -> None:
        """Simulate a restart of bender, after which B registers again."""
        self.states.answer = StateAnswer(removed=False)
        self.send(offline(2, "missed"), online(2))
        self.settle(2)

    def out(self) -> bool:
        return self.servers()[B][0] == 1

    def test_bender_has_lost_it(self) -> None:
        """The state stays until its duration is over, and is listed as kept until then."""
        self.lose()
        self.assertEqual((self.out(), [*kept_ids(self.driver.desired.registry)]), (True, [f"{ID}/state"]))
        self.settle(55)
        self.assertTrue(self.out())
        self.settle(4)
        self.assertEqual((self.out(), [*kept_ids(self.driver.desired.registry)]), (False, []))

    def test_what_a_node_says_positively(self) -> None:
        """A lost state ends when a node reports its removal or another state; if a node has it again, it stays."""
        for answer, out in (
            (StateAnswer(removed=True), False),
            (StateAnswer("up", 60.0), False),
            (StateAnswer("maint", 60.0), True),
            (StateAnswer(removed=None), False),
        ):
            self.send(self.changed("maint"))
            self.lose()
            self.assertTrue(self.out())
            self.states.answer = answer
            self.settle(4)
            self.assertEqual((self.out(), [*kept_ids(self.driver.desired.registry)]), (out, []), answer)
            self.send(self.changed("up"))
            self.settle(1)
            self.assertFalse(self.out())

    def test_no_node_answers(self) -> None:
        """The state stays until a node answers."""
        self.states.answer = None
        self.send(offline(2, "deregistered"), online(2))
        self.settle(10)
        self.assertTrue(self.out())
        self.states.answer = StateAnswer(removed=True)
        self.settle(2)
        self.assertFalse(self.out())
