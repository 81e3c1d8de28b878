"""A command and its registration, on a network in memory."""

from __future__ import annotations

import signal

from twisted.web.server import Site

from tests.client.cluster import ALL, ONE, THREE, TWO
from tests.run.cases import HOST, ID, Page, ReportingCase, RunnerCase


class Registering(RunnerCase):
    def test_when_it_serves(self) -> None:
        """The instance is registered with its terms when its port answers, and not before."""
        self.run_it(ttl_s=30, weight=3, meta={"zone": "a"})
        self.network.pass_time(1)
        self.assertFalse(self.listed())
        self.serve()
        self.network.pass_time(1)
        made = self.result(self.client(ONE).registration(ID))
        self.assertEqual((made.ttl_s, made.weight, made.meta), (30.0, 3, {"zone": "a"}))

    def test_when_its_page_is_fine(self) -> None:
        """With a page, the instance is not registered before the page has a good status."""
        self.run_it(check_path="/health")
        self.page.code = 500
        self.serve()
        self.network.pass_time(1)
        self.assertFalse(self.listed())
        self.page.code = 302
        self.network.pass_time(1)
        self.assertTrue(self.listed())

    def test_what_was_there_before(self) -> None:
        """If the port belonged to another process before, the new command is only registered after a wait."""
        self.serve()
        self.run_it()
        self.network.pass_time(0.9)
        self.assertFalse(self.listed())
        self.network.pass_time(0.2)
        self.assertTrue(self.listed())

    def test_at_the_address_by_which_a_node_is_reached(self) -> None:
        """Without a host, the local address of the connection to a node is registered."""
        self.network.listening["10.0.0.9", 8080] = Site(Page(), reactor=self.network)
        self.run_it(host=None)
        self.network.pass_time(1.5)
        self.assertEqual([claim.key for claim in self.node(ONE).claims()], ["registration/web/1/10.0.0.9/8080"])

    def test_at_that_address_when_there_is_a_node(self) -> None:
        """The command runs before a node answers, and is registered when one does."""
        for host in ALL:
            self.machines[host].kill()
        self.network.listening["10.0.0.9", 8080] = Site(Page(), reactor=self.network)
        self.run_it(host=None)
        self.network.pass_time(5)
        self.start(TWO)
        self.network.pass_time(14)
        self.assertEqual(len(self.node(TWO).claims()), 1)

    def test_for_as_long_as_it_runs(self) -> None:
        """The instance stays registered while nodes fail and return."""
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
        """`fall` failed checks in a row deregister the instance, and `rise` good ones register it again."""
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
        """The instance stays registered as long as there are good checks among the failed ones."""
        for _ in range(5):
            self.page.code = 500
            self.network.pass_time(2)
            self.page.code = 200
            self.network.pass_time(1)
            self.assertTrue(self.listed())

    def test_no_answer_at_all(self) -> None:
        """A check fails if the port is closed, or does not answer."""
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
        """The status of a page counts, and the rest of it is read only for the time limit."""
        self.page.endless = True
        self.network.pass_time(10)
        self.assertTrue(self.listed())
        reading = [end for end in self.network.ends if end.peerAddress.host == HOST and not end.disconnected]
        self.assertLessEqual(len(reading), 2)

    def test_the_command_is_left_alone(self) -> None:
        """A command is not ended because its checks fail."""
        self.page.code = 500
        self.network.pass_time(10)
        self.assertEqual(self.command.signals, [])


class Reporting(ReportingCase):
    """The reason why the instance is not registered is logged after 5 s, and then less often."""

    def test_a_port_that_does_not_open(self) -> None:
        """The reason is logged after 5 s and a minute later, until the instance is registered."""
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
        """No line is logged about a command that serves soon."""
        self.run_it()
        self.assertEqual(self.lines_in(4), [])
        self.serve()
        self.assertEqual(self.lines_in(20), [])

    def test_a_page_that_fails(self) -> None:
        """A page that fails is logged with its reason, and a new reason is logged at once."""
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
        """The log reports that neither the command nor a node has answered yet."""
        self.network.cut = {HOST}
        self.run_it(check_path="/health", check_s_max=60)
        self.serve()
        self.assertEqual(self.lines_in(7), [f"not registered yet: {HOST}:8080 has not answered yet."])
        self.command.end(0)
        self.network.cut = {*ALL}
        self.run_it(host=None)
        self.assertEqual(self.lines_in(5.75), ["not registered yet: no node has answered yet."])

    def test_a_port_that_is_bound_elsewhere(self) -> None:
        """The log names the address at which the port can be reached."""
        self.port.bound = ["127.0.0.1", "::1"]
        self.run_it()
        (line,) = self.lines_in(7)
        self.assertEqual(
            line, f"not registered yet: {HOST}:8080 refuses connections: port 8080 is bound to 127.0.0.1, ::1."
        )

    def test_no_node_while_the_address_is_not_known(self) -> None:
        """If no node answers while the address is unknown, the log names each node with its reason."""
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
        """The log also names each node with its reason if the host is given."""
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
        """A refused instance is never registered, and the reason is repeated like any other."""
        self.run_it(ttl_s=2)
        self.serve()
        line = "not registered yet: 10.0.0.1:1729 refuses the registration: ttl: must be 4 to 3600 seconds."
        self.assertEqual(self.lines_in(8), [line])
        self.assertEqual(self.lines_in(65), [line])

    def test_what_a_node_says_of_it(self) -> None:
        """The text of the node is logged unchanged."""
        self.run_it(app="..")
        self.serve()
        (line,) = self.lines_in(8)
        self.assertTrue(line.endswith("and neither . nor ..."), line)

    def test_when_it_was_deregistered_for_its_health(self) -> None:
        """The deregistration is logged and repeated; the new registration is one line."""
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
        """After a signal, no line is logged about the missing registration."""
        self.run_it()
        self.runner.handle_signal(signal.SIGTERM)
        self.assertEqual(self.lines_in(10), [])


class Ends(ReportingCase):
    """An unexpected end of the command is logged in one line."""

    def end(self, status: int, by: int | None = None) -> list[str]:
        self.lines.clear()
        self.command.end(status, by)
        return self.lines_of_end()

    def lines_of_end(self) -> list[str]:
        self.network.pass_time(1)
        return [line for line in self.lines if "command" in line]

    def test_without_a_registration(self) -> None:
        """If a command ends without a registration, the log has the reason, the kind of end, and the time."""
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
        """If a command ends and no node has answered, the log has the reason for that."""
        self.network.cut = {*ALL}
        self.serve()
        self.run_it()
        self.network.pass_time(30)
        (line,) = self.end(0)
        self.assertIn("after 30 s and was never registered: no node answers: 10.0.0.1:1729 does not answer", line)

    def test_another_port(self) -> None:
        """The log names the port at which the command listens, while it runs and at its end."""
        self.port.others = [24024]
        self.run_it()
        reason = f"{HOST}:8080 refuses connections, but the command listens at 24024"
        self.assertEqual(self.lines_in(6), [f"not registered yet: {reason}."])
        (line,) = self.end(0)
        self.assertTrue(line.endswith(f"never registered: {reason}."), line)

    def test_one_that_was_registered(self) -> None:
        """The end of a registered command is not logged, except if a signal ended it."""
        self.serve()
        for end, lines in (((1,), []), ((137, 9), ["The command was ended by signal 9 (SIGKILL)."])):
            self.run_it()
            self.network.pass_time(2)
            self.assertTrue(self.listed())
            self.assertEqual(self.end(*end), lines)

    def test_before_it_is_deregistered(self) -> None:
        """Another supervisor has also sent the signal to the command, so the wait for --drain had no effect."""
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
        """After a signal, it is not logged that the command was never registered."""
        self.run_it(drain_s=3)
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(1)
        self.assertEqual(self.end(143, 15), [])
