"""Processes that a command leaves running when it exits are followed or ended."""

from __future__ import annotations

import signal

from twisted.logger import LogLevel

from bender.run.process_table import Process
from tests.run.cases import ReportingCase

DAEMON = Process(101, 1, 101, "serve")
WORKER = Process(102, 101, 101, "worker")


class Background(ReportingCase):
    """A command that goes into the background exits with 0, and leaves a process that serves or will serve soon."""

    least = LogLevel.info
    followed = "The command has gone into the background; its processes are watched there: process 101 (serve)."

    def exit_into_background(self) -> None:
        self.run_it()
        self.command.rest = [DAEMON, WORKER]
        self.command.end(0)

    def test_before_it_serves(self) -> None:
        """The process is registered when it serves, until it ends, and its status is returned."""
        self.run_it()
        self.port.is_held_by_rest = False
        self.command.rest = [DAEMON]
        self.command.end(0)
        self.assertEqual((self.command.follows, self.lines), (True, [self.followed]))
        self.serve()
        self.network.pass_time(2)
        self.assertTrue(self.listed())
        self.command.rest = []
        self.command.end(7)
        self.network.pass_time(1)
        self.assertEqual((self.successResultOf(self.done), self.listed()), (7, False))

    def test_when_it_serves(self) -> None:
        """The instance stays registered if a process in the background holds the port."""
        self.run_it()
        self.serve()
        self.network.pass_time(2)
        self.command.rest = [DAEMON]
        self.command.end(0)
        self.network.pass_time(10)
        self.assertTrue(self.listed())
        self.assertNoResult(self.done)

    def test_processes_that_serve_nothing(self) -> None:
        """If the command has served and no process holds the port any more, the remaining processes are ended."""
        self.run_it()
        self.serve()
        self.network.pass_time(2)
        self.port.is_held_by_rest = False
        self.command.rest = [DAEMON]
        self.command.end(0)
        self.network.pass_time(1)
        self.assertEqual((self.listed(), self.command.told_rest), (False, [DAEMON]))
        self.command.rest = []
        self.network.pass_time(1)
        self.assertEqual(self.successResultOf(self.done), 0)

    def test_one_of_several_that_ends(self) -> None:
        """The other processes are followed as long as one of them holds the port."""
        self.exit_into_background()
        self.serve()
        self.network.pass_time(2)
        self.command.rest = [WORKER]
        self.command.end(1)
        self.network.pass_time(2)
        self.assertTrue(self.listed())
        self.port.is_held_by_rest = False
        self.command.end(3)
        self.command.rest = []
        self.network.pass_time(2)
        self.assertEqual((self.successResultOf(self.done), self.listed()), (3, False))

    def test_by_a_signal(self) -> None:
        """The supervisor waits for all processes, and returns the status of the last one."""
        self.exit_into_background()
        self.runner.handle_signal(signal.SIGTERM)
        self.assertEqual(self.command.signals, [signal.SIGTERM])
        self.command.rest = [DAEMON]
        self.command.end(0)
        self.network.pass_time(20)
        self.assertNoResult(self.done)
        self.command.rest = []
        self.command.end(4)
        self.network.pass_time(1)
        self.assertEqual(self.successResultOf(self.done), 4)

    def test_where_it_cannot_be_followed(self) -> None:
        """If the system cannot follow the process, this is logged and the process is ended."""
        self.run_it()
        self.command.can_follow = False
        self.command.rest = [DAEMON]
        self.command.end(0)
        self.assertIn("cannot be watched on this system: run it in the foreground.", self.lines[0])
        self.network.pass_time(1)
        self.assertEqual(self.command.told_rest, [DAEMON])
        self.command.rest = []
        self.network.pass_time(1)
        self.assertEqual(self.successResultOf(self.done), 0)


class Rest(ReportingCase):
    """No process is left running after the end of the supervisor."""

    least = LogLevel.info

    def test_after_a_failure(self) -> None:
        """A remaining process gets SIGTERM, and is killed after ten seconds; the status is that of the command."""
        self.run_it()
        self.command.rest = [DAEMON, WORKER]
        self.command.end(1)
        self.network.pass_time(1)
        names = "process 101 (serve), process 102 (worker)"
        self.assertEqual(self.lines[1:], [f"The command has ended and left {names} running: ending these processes."])
        self.assertEqual((self.command.follows, self.command.signals), (False, []))
        self.network.pass_time(8)
        self.assertEqual(self.command.signals, [])
        self.network.pass_time(2)
        self.assertEqual(self.command.signals, [signal.SIGKILL])
        self.assertNoResult(self.done)
        self.command.rest = []
        self.network.pass_time(1)
        self.assertEqual(self.successResultOf(self.done), 1)
        self.assertEqual(self.lines[2:], [f"{names} did not end in time: sending SIGKILL."])

    def test_many(self) -> None:
        """Of many remaining processes, the log names a few."""
        self.run_it()
        self.command.rest = [Process(pid, 1, pid, "worker") for pid in range(5, 25)]
        self.command.end(1)
        self.network.pass_time(0.5)
        names = "process 5 (worker), process 6 (worker), process 7 (worker) and 17 more"
        self.assertEqual(self.lines[1:], [f"The command has ended and left {names} running: ending these processes."])
        self.command.rest = []

    def test_after_a_signal(self) -> None:
        """Remaining processes have no time limit without `kill_s`; another signal is passed on to them."""
        self.run_it()
        self.runner.handle_signal(signal.SIGTERM)
        self.command.rest = self.command.told_rest = [DAEMON]  # the processes are of the group that got the signal
        self.command.end(128 + signal.SIGTERM)
        self.network.pass_time(100)
        self.assertNoResult(self.done)
        self.runner.handle_signal(signal.SIGQUIT)
        self.assertEqual(self.command.signals, [signal.SIGTERM, signal.SIGQUIT])
        self.command.rest = []
        self.network.pass_time(1)
        self.assertEqual((self.successResultOf(self.done), self.lines), (128 + signal.SIGTERM, []))

    def test_after_a_signal_with_a_limit(self) -> None:
        """The limit `kill_s` counts from the signal."""
        self.run_it(kill_s=5)
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(3)
        self.command.rest = self.command.told_rest = [DAEMON]
        self.command.end(143)
        self.network.pass_time(1.5)
        self.assertEqual(self.command.signals, [signal.SIGTERM])
        self.network.pass_time(1)
        self.assertEqual(self.command.signals, [signal.SIGTERM, signal.SIGKILL])
        self.command.rest = []


class Suspending(ReportingCase):
    """Ctrl-Z in a terminal."""

    def test_all_is_stopped(self) -> None:
        """Ctrl-Z stops the command before the supervisor, by a signal that it cannot ignore; both continue together."""
        self.run_it()
        self.runner.handle_signal(signal.SIGTSTP)
        self.assertEqual((self.command.signals, self.suspended), ([signal.SIGSTOP], 1))
        self.runner.handle_signal(signal.SIGCONT)
        self.assertEqual((self.command.signals, self.suspended), ([signal.SIGSTOP, signal.SIGCONT], 1))
