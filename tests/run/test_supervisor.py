"""A command and its place in the registry, on a network in memory."""

from __future__ import annotations

import signal

from twisted.web.server import Site

from tests.client.cluster import ALL, ONE, THREE, TWO
from tests.run.cases import HOST, ID, Page, ReportingCase, RunnerCase


class Registering(RunnerCase):
    def test_when_it_serves(self) -> None:
        """Not before its port answers; and with what was said of it."""
        self.run_it(ttl_s=30, weight=3, meta={"zone": "a"})
        self.network.pass_time(1)
        self.assertFalse(self.listed())
        self.serve()
        self.network.pass_time(1)
        made = self.result(self.client(ONE).registration(ID))
        self.assertEqual((made.ttl_s, made.weight, made.meta), (30.0, 3, {"zone": "a"}))

    def test_when_its_page_is_fine(self) -> None:
        """A port that answers is not enough then."""
        self.run_it(check_path="/health")
        self.page.code = 500
        self.serve()
        self.network.pass_time(1)
        self.assertFalse(self.listed())
        self.page.code = 302
        self.network.pass_time(1)
        self.assertTrue(self.listed())

    def test_what_was_there_before(self) -> None:
        """The port of another process says nothing of a command that has just begun, and may be about to fail."""
        self.serve()
        self.run_it()
        self.network.pass_time(0.9)
        self.assertFalse(self.listed())
        self.network.pass_time(0.2)
        self.assertTrue(self.listed())

    def test_at_the_address_by_which_a_node_is_reached(self) -> None:
        """Where nothing else was said; all connections of this network come from one address."""
        self.network.listening["10.0.0.9", 8080] = Site(Page(), reactor=self.network)
        self.run_it(host=None)
        self.network.pass_time(1.5)
        self.assertEqual([claim.key for claim in self.node(ONE).claims()], ["registration/web/1/10.0.0.9/8080"])

    def test_at_that_address_when_there_is_a_node(self) -> None:
        """Until then it just runs."""
        for host in ALL:
            self.machines[host].kill()
        self.network.listening["10.0.0.9", 8080] = Site(Page(), reactor=self.network)
        self.run_it(host=None)
        self.network.pass_time(5)
        self.start(TWO)
        self.network.pass_time(14)
        self.assertEqual(len(self.node(TWO).claims()), 1)

    def test_for_as_long_as_it_runs(self) -> None:
        """Whichever nodes come and go."""
        self.run_it()
        self.serve()
        for host in ALL:
            self.network.pass_time(6)
            self.machines[host].kill()
            self.network.pass_time(2)
            self.start(host)
        self.network.pass_time(12)
        self.assertTrue(self.listed())


class Checking(RunnerCase):
    def setUp(self) -> None:
        super().setUp()
        self.run_it(check_path="/health", check_apart_s=1, rise=2, fall=3)
        self.serve()
        self.network.pass_time(0.5)
        assert self.listed()

    def test_several_that_fail(self) -> None:
        """So many in a row take it out of rotation, and so many good ones bring it back."""
        self.page.code = 503
        self.network.pass_time(2.5)
        self.assertTrue(self.listed())
        self.network.pass_time(1)
        self.assertFalse(self.listed())
        for account in self.result(self.client(ONE).explain(ID))["nodes"]:
            self.assertEqual(account["events"][0]["reason"], "check-failed")
        self.page.code = 200
        self.network.pass_time(1)
        self.assertFalse(self.listed())
        self.network.pass_time(1)
        self.assertTrue(self.listed())

    def test_some_that_fail(self) -> None:
        """It stays where it is as long as there are good ones among them."""
        for _ in range(5):
            self.page.code = 500
            self.network.pass_time(2)
            self.page.code = 200
            self.network.pass_time(1)
            self.assertTrue(self.listed())

    def test_no_answer_at_all(self) -> None:
        """Neither by a closed port nor by one that says nothing."""
        del self.network.listening[HOST, 8080]
        self.network.pass_time(4)
        self.assertFalse(self.listed())
        self.serve()
        self.network.pass_time(3)
        self.assertTrue(self.listed())
        self.network.cut = {HOST}
        self.network.pass_time(12)
        self.assertFalse(self.listed())

    def test_a_page_without_an_end(self) -> None:
        """Its status counts, and the rest is waited for as long as for an answer, and no longer."""
        self.page.endless = True
        self.network.pass_time(10)
        self.assertTrue(self.listed())
        reading = [end for end in self.network.ends if end.peerAddress.host == HOST and not end.disconnected]
        self.assertLessEqual(len(reading), 2)

    def test_the_command_is_left_alone(self) -> None:
        """It may mend itself."""
        self.page.code = 500
        self.network.pass_time(10)
        self.assertEqual(self.command.signals, [])


class Reporting(ReportingCase):
    """What keeps the instance out of the registry is said: after 5 s, and then more rarely."""

    def test_a_port_that_does_not_open(self) -> None:
        """It is said after 5 s and a minute later, until it is registered."""
        self.run_it()
        line = f"not registered yet: {HOST}:8080 refuses connections."
        self.assertEqual(self.lines_in(4.5), [])
        self.assertEqual(self.lines_in(2), [line])
        self.assertEqual(self.lines_in(57), [])
        self.assertEqual(self.lines_in(3), [line])
        self.serve()
        self.assertEqual(self.lines_in(10), [])
        self.assertTrue(self.listed())

    def test_a_command_that_serves_soon(self) -> None:
        """There is nothing to say."""
        self.run_it()
        self.assertEqual(self.lines_in(4), [])
        self.serve()
        self.assertEqual(self.lines_in(20), [])

    def test_a_page_that_fails(self) -> None:
        """The reason is said, and a new one at once."""
        self.run_it(check_path="/health")
        self.page.code = 503
        self.serve()
        self.assertEqual(self.lines_in(7), [f"not registered yet: {HOST}:8080 answers /health with 503."])
        self.network.cut = {HOST}
        self.assertEqual(self.lines_in(7), [f"not registered yet: {HOST}:8080 does not answer within 2 s."])
        self.network.cut = set()
        del self.network.listening[HOST, 8080]
        self.assertEqual(self.lines_in(7), [f"not registered yet: {HOST}:8080 refuses connections."])

    def test_a_first_answer_that_takes_long(self) -> None:
        """It is said that there is none yet, of the command as of the nodes."""
        self.network.cut = {HOST}
        self.run_it(check_path="/health", check_s_max=60)
        self.serve()
        self.assertEqual(self.lines_in(7), [f"not registered yet: {HOST}:8080 has not answered yet."])
        self.command.end(0)
        self.network.cut = {*ALL}
        self.run_it(host=None)
        self.assertEqual(self.lines_in(5.75), ["not registered yet: no node has answered yet."])

    def test_a_port_that_is_bound_elsewhere(self) -> None:
        """The address at which the port can be reached is said."""
        self.port.bound = ["127.0.0.1", "::1"]
        self.run_it()
        (line,) = self.lines_in(7)
        self.assertEqual(
            line, f"not registered yet: {HOST}:8080 refuses connections: port 8080 is bound to 127.0.0.1, ::1."
        )

    def test_no_node_while_the_address_is_not_known(self) -> None:
        """Each node is named, with the reason."""
        for host in ALL:
            self.machines[host].kill()
        self.network.cut = {THREE}
        self.network.listening["10.0.0.9", 8080] = Site(self.page, reactor=self.network)
        self.run_it(host=None)
        (line,) = self.lines_in(8)
        self.assertEqual(
            line.replace("does not answer (connection was refused by other side)", "refuses"),
            "not registered yet: no node answers: 10.0.0.1:1729 refuses; 10.0.0.2:1729 refuses; "
            "10.0.0.3:1729 does not answer within 2 s.",
        )
        self.start(TWO)
        self.network.pass_time(14)
        self.assertEqual(self.lines_in(10), [])
        self.assertEqual(len(self.node(TWO).claims()), 1)

    def test_no_node_when_it_serves(self) -> None:
        """The same where the address was given."""
        for host in (ONE, TWO, THREE):
            self.machines[host].kill()
        self.run_it()
        self.serve()
        (line,) = self.lines_in(8)
        self.assertTrue(line.startswith("not registered yet: no node answers: 10.0.0.1:1729 "), line)
        self.assertEqual(len(self.lines_in(65)), 1)
        self.start(TWO)
        self.network.pass_time(14)
        self.assertEqual(self.lines_in(10), [])
        self.assertTrue(self.listed(TWO))

    def test_a_node_that_refuses_it(self) -> None:
        """It is never registered, and that is repeated like any other reason."""
        self.run_it(ttl_s=2)
        self.serve()
        line = "not registered yet: 10.0.0.1:1729 refuses the registration: ttl: must be 4 to 3600 seconds."
        self.assertEqual(self.lines_in(8), [line])
        self.assertEqual(self.lines_in(65), [line])

    def test_what_a_node_says_of_it(self) -> None:
        """Its text is passed on as it is."""
        self.run_it(app="..")
        self.serve()
        (line,) = self.lines_in(8)
        self.assertTrue(line.endswith("and neither . nor ..."), line)

    def test_when_it_was_deregistered_for_its_health(self) -> None:
        """That is said when it happens, and repeated; it is registered again without a line about reasons."""
        self.run_it(check_path="/health", check_apart_s=1, fall=3)
        self.serve()
        self.network.pass_time(1)
        self.page.code = 500
        self.assertEqual(
            self.lines_in(5), ["The instance answers /health with 500, 3 times in a row: the instance is deregistered."]
        )
        self.assertEqual(self.lines_in(65), [f"not registered: {HOST}:8080 answers /health with 500."])
        self.page.code = 200
        self.assertEqual(self.lines_in(10), [])
        self.assertTrue(self.listed())

    def test_when_it_ends(self) -> None:
        """Nothing is said of what was to be registered once the command is told to end."""
        self.run_it()
        self.runner.handle_signal(signal.SIGTERM)
        self.assertEqual(self.lines_in(10), [])


class Ends(ReportingCase):
    """What nobody expects of the end of a command is said, in a line."""

    def end(self, status: int, by: int | None = None) -> list[str]:
        self.lines.clear()
        self.command.end(status, by)
        return self.lines_of_end()

    def lines_of_end(self) -> list[str]:
        self.network.pass_time(1)
        return [line for line in self.lines if "command" in line]

    def test_without_a_registration(self) -> None:
        """The reason is said, with what ended the command and when."""
        for end, how in (((0,), "ended"), ((3,), "ended with status 3"), ((137, 9), "was ended by signal 9 (SIGKILL)")):
            self.run_it()
            self.network.pass_time(3)
            line = f"The command {how} after 3 s and was never registered: {HOST}:8080 refuses connections."
            self.assertEqual(self.end(*end), [line])
        for passed_s, after in ((0, "at once"), (0.25, "after 0.2 s")):
            self.run_it()
            self.network.pass_time(passed_s)
            (line,) = self.end(3)
            self.assertIn(f"ended with status 3 {after} and was never registered", line)

    def test_without_a_node(self) -> None:
        """The reason may be there."""
        self.network.cut = {*ALL}
        self.serve()
        self.run_it()
        self.network.pass_time(30)
        (line,) = self.end(0)
        self.assertIn("after 30 s and was never registered: no node answers: 10.0.0.1:1729 does not answer", line)

    def test_another_port(self) -> None:
        """The one at which the command listens is said, here and while it runs."""
        self.port.others = [24024]
        self.run_it()
        reason = f"{HOST}:8080 refuses connections, but the command listens at 24024"
        self.assertEqual(self.lines_in(6), [f"not registered yet: {reason}."])
        (line,) = self.end(0)
        self.assertTrue(line.endswith(f"never registered: {reason}."), line)

    def test_one_that_was_registered(self) -> None:
        """It may end as it likes; a signal is said."""
        self.serve()
        for end, lines in (((1,), []), ((137, 9), ["The command was ended by signal 9 (SIGKILL)."])):
            self.run_it()
            self.network.pass_time(2)
            self.assertTrue(self.listed())
            self.assertEqual(self.end(*end), lines)

    def test_before_it_is_deregistered(self) -> None:
        """A supervisor has sent the signal to both, and the time to drain was for nothing."""
        systemd = "(under systemd, set KillMode=mixed)."
        self.serve()
        for drain_s, passed_s, lines in (
            (3, 0, [f"The command ended before it was deregistered, so --drain had no effect {systemd}"]),
            (0, 0, [f"The command ended before it was deregistered {systemd}"]),
            (3, 1, [f"The command ended before --drain was over {systemd}"]),
            (3, 4, []),
        ):
            self.run_it(drain_s=drain_s)
            self.network.pass_time(2)
            self.assertTrue(self.listed())
            self.lines.clear()
            self.runner.handle_signal(signal.SIGTERM)
            if passed_s:
                self.network.pass_time(passed_s)
            self.command.end(143, 15)
            self.assertEqual(self.lines_of_end(), lines)

    def test_one_that_is_told_to_end(self) -> None:
        """That it was never registered does not matter then."""
        self.run_it(drain_s=3)
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(1)
        self.assertEqual(self.end(143, 15), [])
