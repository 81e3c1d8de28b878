"""The end of a command and of its registration, on a network in memory."""

from __future__ import annotations

import signal
from typing import Any

from tests.client.cluster import ALL, ONE, TWO
from tests.run.cases import ID, RunnerCase


class Faults(RunnerCase):
    """Unexpected errors are logged."""

    def test_of_a_check(self) -> None:
        """A check with an unexpected error is logged and repeated."""
        self.run_it(check_path="/\udcff", check_apart_s=1)
        self.serve()
        self.network.pass_time(2)
        self.assertGreater(len(self.flushLoggedErrors(UnicodeError)), 1)
        self.assertFalse(self.listed())

    def test_of_the_deregistration(self) -> None:
        """If the deregistration fails unexpectedly, the command still gets the signal, and its status is returned."""
        self.run_it()
        self.serve()
        self.network.pass_time(1)
        self.runner._instance._registrar.remove = self.broken  # type: ignore[method-assign]
        self.runner.handle_signal(signal.SIGTERM)
        self.network.settle()
        self.assertEqual(self.command.signals, [signal.SIGTERM])
        self.command.end(3)
        self.network.pass_time(1)
        self.assertEqual(self.successResultOf(self.done), 3)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))

    async def broken(self, id_: str, *, reason: str | None = None, wait_s: float | None = None) -> None:
        raise RuntimeError(f"a fault with {id_} within {wait_s}")


class Ending(RunnerCase):
    """The command is ended by a signal."""

    def begin(self, **plan: Any) -> None:
        self.run_it(**plan)
        self.serve()
        self.network.pass_time(1)
        assert self.listed()

    def test_the_registry_is_told_first(self) -> None:
        """All nodes have removed the instance before the command gets the signal."""
        self.begin()
        self.runner.handle_signal(signal.SIGTERM)
        self.assertEqual(self.command.signals, [])
        self.network.settle()
        self.assertEqual([self.listed(host) for host in ALL], [False] * 3)
        for account in self.result(self.client(ONE).explain(ID))["nodes"]:
            self.assertEqual(account["events"][0]["reason"], "deregistered")
        self.network.advance(0)
        self.assertEqual(self.command.signals, [signal.SIGTERM])
        self.command.end(0)
        self.network.settle()
        self.assertEqual(self.successResultOf(self.done), 0)

    def test_what_is_under_way_may_end(self) -> None:
        """After the deregistration, the command continues for `drain_s`."""
        self.begin(drain_s=3)
        self.runner.handle_signal(signal.SIGINT)
        self.network.pass_time(2.5)
        self.assertEqual((self.listed(), self.command.signals), (False, []))
        self.network.pass_time(1)
        self.assertEqual(self.command.signals, [signal.SIGINT])

    def test_a_node_that_hangs(self) -> None:
        """The supervisor waits for the nodes for at most `wait_s`."""
        self.begin(wait_s=1)
        self.network.cut = {TWO}
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(0.5)
        self.assertEqual(self.command.signals, [])
        self.network.pass_time(1)
        self.assertEqual(self.command.signals, [signal.SIGTERM])

    def test_the_node_that_it_speaks_with_hangs(self) -> None:
        """If a node hangs, another node deregisters the instance before the command gets the signal."""
        self.begin(wait_s=2, ttl_s=60)
        self.network.cut = {ONE}
        self.runner.handle_signal(signal.SIGTERM)
        for _ in range(100):
            if self.command.signals:
                break
            self.network.pass_time(0.125)
        self.assertEqual((self.listed(), self.command.signals), (False, [signal.SIGTERM]))

    def test_somebody_in_a_hurry_while_the_node_hangs(self) -> None:
        """After a second signal while a node hangs, another node deregisters the instance after the command's end."""
        self.begin(ttl_s=60)
        self.network.cut = {ONE}
        for _ in range(2):
            self.runner.handle_signal(signal.SIGTERM)
        self.network.settle()
        self.assertEqual((self.listed(), self.command.signals), (True, [signal.SIGTERM]))
        self.command.end(0)
        self.network.pass_time(2)
        self.assertEqual((self.listed(), self.successResultOf(self.done)), (False, 0))

    def test_while_it_is_deregistered_for_its_health(self) -> None:
        """The command gets no signal before a deregistration for failed checks is complete."""
        self.begin(ttl_s=60, check_path="/health", check_apart_s=1, fall=1, wait_s=1)
        self.network.cut = {ONE}
        self.page.code = 500
        self.network.pass_time(0.5)
        self.runner.handle_signal(signal.SIGTERM)
        self.network.settle()
        self.assertEqual(self.command.signals, [])
        self.network.pass_time(5)
        self.assertEqual((self.listed(), self.command.signals), (False, [signal.SIGTERM]))

    def test_a_registry_that_hangs(self) -> None:
        """If all nodes hang, the command still gets the signal."""
        self.begin(wait_s=1)
        self.network.cut = {*ALL}
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(4.5)
        self.assertEqual(self.command.signals, [signal.SIGTERM])
        self.command.end(1)
        self.network.pass_time(1)
        self.assertEqual(self.successResultOf(self.done), 1)

    def test_said_twice(self) -> None:
        """A second signal ends all waits, and the command gets the last signal."""
        self.begin(drain_s=60)
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(1)
        self.runner.handle_signal(signal.SIGINT)
        self.network.settle()
        self.assertEqual(self.command.signals, [signal.SIGINT])
        self.runner.handle_signal(signal.SIGTERM)
        self.assertEqual(self.command.signals, [signal.SIGINT, signal.SIGTERM])

    def test_before_it_served(self) -> None:
        """A command that does not serve yet gets the signal at once, and is not registered any more."""
        self.run_it(drain_s=60)
        self.runner.handle_signal(signal.SIGTERM)
        self.network.settle()
        self.assertEqual(self.command.signals, [signal.SIGTERM])
        self.serve()
        self.network.pass_time(5)
        self.assertFalse(self.listed())

    def test_one_that_does_not_end(self) -> None:
        """With `kill_s`, a command that does not end is killed."""
        self.begin(kill_s=2)
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(1.5)
        self.runner.handle_signal(signal.SIGTERM)
        self.assertEqual(self.command.signals, [signal.SIGTERM] * 2)
        self.network.pass_time(1)
        self.assertEqual(self.command.signals, [signal.SIGTERM, signal.SIGTERM, signal.SIGKILL])

    def test_one_that_takes_its_time(self) -> None:
        """Without `kill_s`, a command is not killed."""
        self.begin()
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(100)
        self.assertEqual(self.command.signals, [signal.SIGTERM])

    def test_other_signals(self) -> None:
        """Other signals are passed on at once, and change nothing."""
        self.begin()
        self.runner.handle_signal(signal.SIGHUP)
        self.runner.handle_signal(signal.SIGUSR1)
        self.assertEqual((self.command.signals, self.listed()), ([signal.SIGHUP, signal.SIGUSR1], True))


class ItsOwnEnd(RunnerCase):
    """The command ends by itself."""

    def test_the_registry_is_told(self) -> None:
        """The instance is deregistered, and the status of the command is returned."""
        self.run_it()
        self.serve()
        self.network.pass_time(1)
        self.command.end(7)
        self.network.settle()
        self.assertEqual((self.listed(), self.successResultOf(self.done)), (False, 7))

    def test_before_it_served(self) -> None:
        """A command that ends before it serves needs no deregistration."""
        self.run_it()
        self.command.end(137)
        self.network.settle()
        self.assertEqual(self.successResultOf(self.done), 137)

    def test_while_the_registry_is_away(self) -> None:
        """If no node answers after the command's end, the deregistration is tried for some seconds."""
        self.run_it()
        self.serve()
        self.network.pass_time(1)
        self.network.cut = {*ALL}
        self.command.end(3)
        self.network.pass_time(9)
        self.assertEqual(self.successResultOf(self.done), 3)

    def test_in_the_middle_of_its_deregistration_while_a_node_hangs(self) -> None:
        """If the command ends while a node hangs in its deregistration, another node deregisters the instance."""
        self.run_it(ttl_s=60)
        self.serve()
        self.network.pass_time(1)
        self.network.cut = {ONE}
        self.runner.handle_signal(signal.SIGTERM)
        self.command.end(0)
        self.network.pass_time(2)
        self.assertEqual((self.listed(), self.successResultOf(self.done)), (False, 0))

    def test_in_the_middle_of_its_deregistration(self) -> None:
        """If the command ends during its deregistration, no signal is sent any more."""
        self.run_it(drain_s=60)
        self.serve()
        self.network.pass_time(1)
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(1)
        self.command.end(0)
        self.network.settle()
        self.assertEqual((self.successResultOf(self.done), self.command.signals), (0, []))
