"""The times and addresses of registrations: checks, moves, and other holders of the port."""

from __future__ import annotations

import signal
from typing import Any

from twisted.logger import LogLevel
from twisted.web.server import Site

from bender.run.port_holder import Holder, Holding
from tests.client.cluster import ALL, ONE, THREE, TWO
from tests.run.cases import HOST, ID, Page, ReportingCase

CLAUSE = "port 8080 is held by process 4711 (nginx), which this command did not start"
OLD, NEW = "10.0.0.9", "10.0.0.8"


class Pacing(ReportingCase):
    """A starting command is checked soon, and then less and less often."""

    def checks_in(self, seconds: float) -> int:
        before = len(self.network.tcpClients)
        self.network.pass_time(seconds)
        checks = self.network.tcpClients[before:]
        return sum(1 for host, *_ in checks if host == HOST)

    def test_one_that_takes_long(self) -> None:
        """After some time, a slow command is checked about as often as one that serves."""
        self.run_it(check_path="/health", check_apart_s=2)
        self.assertIn(self.checks_in(1), range(4, 8))
        self.assertIn(self.checks_in(9), range(6, 12))
        self.assertIn(self.checks_in(60), range(28, 32))

    def test_a_check_that_is_rare(self) -> None:
        """The first checks are sooner, and no check is later than the interval for a serving command."""
        self.run_it(check_path="/health", check_apart_s=20)
        self.assertIn(self.checks_in(20), range(12, 20))
        self.assertIn(self.checks_in(200), range(9, 20))

    def test_a_check_that_is_frequent(self) -> None:
        """A short interval is used from the beginning."""
        self.run_it(check_apart_s=0.125)
        self.assertIn(self.checks_in(10), range(70, 82))


class Moving(ReportingCase):
    """If the plan has no host, the instance has the address of this machine."""

    least = LogLevel.info

    def setUp(self) -> None:
        super().setUp()
        self.page = Page()
        self.begin_at(OLD)
        self.run_it(host=None, check_path="/", check_apart_s=1)
        self.network.pass_time(2)
        assert self.hosts() == [OLD], self.hosts()

    def begin_at(self, *addresses: str) -> None:
        """Give the machine these addresses from now on; the connection to the nodes begins at the first one."""
        for host in (OLD, NEW):
            self.network.listening.pop((host, 8080), None)
        for host in addresses:
            self.network.listening[host, 8080] = Site(self.page, reactor=self.network)
        self.addresses = [*addresses]

    def hosts(self) -> list[str]:
        return [registration.host for registration in self.result(self.client(ONE).registrations("web"))]

    def test_an_address_that_is_gone(self) -> None:
        """The instance is registered at the new address within seconds, and deregistered at the old one."""
        self.begin_at(NEW)
        lines = self.lines_in(7)
        self.assertEqual(self.hosts(), [NEW])
        self.assertIn(f"The address of this machine has changed from {OLD} to {NEW}.", lines)
        self.assertIn(f"registration/web/1/{OLD}/8080 is deregistered.", lines)

    def test_a_second_address(self) -> None:
        """The instance moves only when it also serves at the second address."""
        self.begin_at(NEW, OLD)
        del self.network.listening[NEW, 8080]
        self.network.pass_time(20)
        self.assertEqual(self.hosts(), [OLD])
        self.begin_at(NEW, OLD)
        self.network.pass_time(7)
        self.assertEqual(self.hosts(), [NEW])

    def test_no_way_to_the_nodes(self) -> None:
        """Without a route to the nodes, the instance keeps its address."""
        self.begin_at()
        self.network.listening[OLD, 8080] = Site(self.page, reactor=self.network)
        self.addresses = [""]  # an empty text means no address
        self.network.pass_time(20)
        self.assertEqual(self.hosts(), [OLD])

    def test_back_again(self) -> None:
        """An instance can move back and forth, and is deregistered at its last address."""
        for address in (NEW, OLD, NEW):
            self.begin_at(address)
            self.network.pass_time(8)
            self.assertEqual(self.hosts(), [address])
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(1)
        self.assertEqual((self.hosts(), self.command.signals), ([], [signal.SIGTERM]))

    def test_a_host_that_was_given(self) -> None:
        """With a given host, the registration stays when the machine moves."""
        self.command.end(0)
        self.network.pass_time(2)
        self.run_it()
        self.serve()
        self.network.pass_time(2)
        self.begin_at(NEW)
        self.network.pass_time(20)
        self.assertEqual(self.hosts(), [HOST])


class Holders(ReportingCase):
    """The answers of another process prove nothing about the command."""

    def test_a_port_that_is_held_before(self) -> None:
        """The log names the holder after 5 s, and nothing is registered before the command holds the port."""
        self.port.holding = Holding(Holder.OTHER, CLAUSE)
        self.serve()
        self.run_it()
        self.assertEqual(self.lines_in(4.5), [])
        self.assertEqual(self.lines_in(1), [f"not registered yet: {CLAUSE}."])
        self.assertEqual(self.lines_in(50), [])
        self.assertFalse(self.listed())
        self.assertEqual(self.lines_in(15), [f"not registered yet: {CLAUSE}."])
        self.port.holding = Holding(Holder.COMMAND)
        self.network.pass_time(3)
        self.assertTrue(self.listed())

    def test_a_process_that_is_about_to_end(self) -> None:
        """No line is logged about a process that the command replaces at the same port, as with SO_REUSEPORT."""
        self.port.holding = Holding(Holder.OTHER, CLAUSE)
        self.serve()
        self.run_it()
        self.network.pass_time(0.5)
        self.port.holding = Holding(Holder.COMMAND)
        self.network.pass_time(2)
        self.assertTrue(self.listed())
        self.assertEqual(self.lines, [])

    def test_a_command_that_holds_it_at_once(self) -> None:
        """A command that holds the port at once is registered without a wait."""
        self.port.holding = Holding(Holder.COMMAND)
        self.serve()
        self.run_it()
        self.assertTrue(self.listed(ONE))
        self.assertEqual(self.lines, [])

    def test_a_proxy_in_front(self) -> None:
        """A command behind a proxy is registered, and the log has a line about the proxy."""
        self.port.holding = Holding(Holder.OTHER_BEFORE_IT, CLAUSE)
        self.serve()
        self.run_it()
        self.assertEqual(self.lines, [f"{CLAUSE}: that process is assumed to be a proxy in front of the command."])
        self.network.pass_time(1)
        self.assertTrue(self.listed())

    def test_a_port_that_is_lost(self) -> None:
        """The instance is deregistered as after failed checks, also without a page, and registered again like then."""
        for plan in ({}, {"check_path": "/"}):
            self.port.holding = Holding(Holder.COMMAND)
            self.serve()
            self.run_it(check_apart_s=1, fall=2, rise=2, **plan)
            self.port.holding = Holding(Holder.OTHER, CLAUSE)
            self.network.pass_time(1.5)
            self.assertTrue(self.listed())
            self.network.pass_time(1)
            self.assertFalse(self.listed())
            self.assertEqual(self.lines, [f"{CLAUSE.capitalize()}, 2 times in a row: the instance is deregistered."])
            self.port.holding = Holding(Holder.COMMAND)
            self.network.pass_time(3)
            self.assertTrue(self.listed())
            self.command.end(0)
            self.lines_in(2)

    def test_how_often_it_is_looked(self) -> None:
        """The holder is found at each check, but rarely if this may take long and seldom changes anything."""
        for holder, looks in (
            (Holder.COMMAND, range(55, 62)),
            (Holder.NOBODY, range(55, 62)),
            (Holder.UNKNOWN, range(3)),
            (Holder.OTHER_BEFORE_IT, range(3)),
        ):
            self.port.holding = Holding(holder, CLAUSE)
            self.serve()
            self.run_it(check_apart_s=1)
            self.network.pass_time(2)
            self.port.looks = 0
            self.network.pass_time(60)
            self.assertIn(self.port.looks, looks)
            self.command.end(0)
            self.network.pass_time(1)

    def test_a_port_that_is_nobody_s(self) -> None:
        """Without a page, a free port does not deregister the instance, and only the command's end does."""
        self.serve()
        self.run_it(check_apart_s=1)
        self.network.pass_time(2)
        del self.network.listening[HOST, 8080]
        self.network.pass_time(10)
        self.assertTrue(self.listed())

    def test_who_says_that_there_is_a_proxy(self) -> None:
        """With `any_process`, the holder of the port is not looked for."""
        self.port.holding = Holding(Holder.OTHER, CLAUSE)
        self.serve()
        self.run_it(any_process=True)
        self.network.pass_time(2)
        self.assertTrue(self.listed())


class OtherApps(ReportingCase):
    """Another app is registered at the address, and its process may hold the port: --port is probably wrong."""

    least = LogLevel.info
    OWNER = f"shop 1 (registration/shop/1/{HOST}/8080)"
    REASON = f"port 8080 belongs to {OWNER}; is --port wrong? (to register nevertheless: --any-process)"

    def begin(self, holder: Holder, app: str = "shop", **plan: Any) -> None:
        self.result(self.client(ONE).register(app, "1", HOST, 8080, ttl_s=20))
        self.port.holding = Holding(holder, CLAUSE)
        self.serve()
        self.run_it(**plan)
        self.network.pass_time(6)

    def test_a_process_that_is_not_the_command(self) -> None:
        """The instance is not registered while the other one is, and the log gives the reason."""
        for holder in (Holder.OTHER_BEFORE_IT, Holder.OTHER_SINCE):
            self.lines.clear()
            self.begin(holder)
            self.assertIn(f"not registered yet: {self.REASON}.", self.lines)
            self.assertFalse(self.listed())
            self.network.pass_time(60)
            self.assertTrue(self.listed())
            self.command.end(0)
            self.network.pass_time(2)

    def test_who_may_be_there(self) -> None:
        """Accepted holders: the command, an unknown process, any process with --any-process, and the same app."""
        for holder, app, plan in (
            (Holder.COMMAND, "shop", {}),
            (Holder.UNKNOWN, "shop", {}),
            (Holder.OTHER_SINCE, "shop", {"any_process": True}),
            (Holder.OTHER_SINCE, "web", {"version": "2"}),
        ):
            self.begin(holder, app, **plan)
            mine = [each.id for each in self.result(self.client(ONE).registrations("web", self.runner._plan.version))]
            self.assertEqual(len(mine), 1, (holder, app, plan))
            self.command.end(0)
            self.network.pass_time(30)


class Loopback(ReportingCase):
    """Only this machine can reach the address of the instance, but nodes are on other machines."""

    least = LogLevel.info

    def begin(self, host: str | None) -> list[str]:
        for address in ("127.0.0.1", "localhost"):
            self.network.listening[address, 8080] = Site(Page(), reactor=self.network)
        self.port.holding = Holding(Holder.COMMAND)
        self.lines.clear()
        self.run_it(host=host)
        self.network.pass_time(3)
        return [line for line in self.lines if "cannot reach" in line]

    def test_one_that_was_given(self) -> None:
        """A given loopback address causes one warning."""
        line = "registered with the address 127.0.0.1, which other machines cannot reach: give another --host."
        self.assertEqual(self.begin("127.0.0.1"), [line])
        self.network.pass_time(20)
        self.assertEqual([each for each in self.lines if "cannot reach" in each], [line])

    def test_one_that_was_found(self) -> None:
        """The warning for a found address has the option for another address."""
        self.network.local = "127.0.0.1"
        line = (
            "registered with the address 127.0.0.1, which other machines cannot reach: "
            "give --host, or name a node by its IP address in --node."
        )
        self.assertEqual(self.begin(None), [line])

    def test_a_node_alone(self) -> None:
        """There is no warning if the only node may be on this machine."""
        for host in (TWO, THREE):
            self.machines[host].leave()
        self.network.pass_time(2)
        self.assertEqual(self.begin("127.0.0.1"), [])
        hosts = [each.host for each in self.result(self.client(ONE).registrations("web"))]
        self.assertEqual(hosts, ["127.0.0.1"])

    def test_another_address(self) -> None:
        """There is no warning for an address that other machines can reach."""
        self.serve()
        self.assertEqual(self.begin(HOST), [])


class NeverRegistered(ReportingCase):
    """The log does not report that an instance was deregistered that was never registered."""

    least = LogLevel.info

    def test_while_no_node_answers(self) -> None:
        """The log does not report that the instance could not be deregistered."""
        self.network.cut = {*ALL}
        self.run_it()
        self.serve()
        self.network.pass_time(3)
        self.command.end(0)
        self.lines_in(10)
        self.assertEqual([line for line in self.lines if "deregistered" in line], [])
        self.assertEqual(self.successResultOf(self.done), 0)

    def test_when_a_node_refuses_it(self) -> None:
        """A refused instance is not registered."""
        self.run_it(ttl_s=2)
        self.serve()
        self.network.pass_time(3)
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(1)
        self.assertEqual([line for line in self.lines if "deregistered" in line], [])

    def test_checks_that_fail_before_it_is_registered(self) -> None:
        """After failed checks before the registration, no instance is deregistered or registered again."""
        self.run_it(ttl_s=2, check_path="/health", check_apart_s=1, fall=1, rise=1)
        self.serve()
        for code in (200, 500, 200):
            self.page.code = code
            self.network.pass_time(3)
        self.assertEqual([line for line in self.lines if "deregistered" in line or "again" in line], [])
        self.assertTrue([line for line in self.lines if "/health with 500" in line], self.lines)

    def test_what_was_removed_by_others(self) -> None:
        """The log reports that the instance was no longer registered."""
        self.run_it(ttl_s=600)
        self.serve()
        self.network.pass_time(2)
        self.result(self.client(ONE).deregister(ID))
        self.runner.handle_signal(signal.SIGTERM)
        self.network.pass_time(1)
        self.assertEqual(self.lines[-1], f"{ID} was no longer registered.")


class OnceSaid(ReportingCase):
    least = LogLevel.info

    def test_a_deregistration_for_its_health(self) -> None:
        """One line has the reason and the deregistration."""
        self.run_it(check_path="/", check_apart_s=1, fall=2)
        self.serve()
        self.network.pass_time(2)
        self.page.code = 500
        self.assertEqual(
            self.lines_in(4), ["The instance answers / with 500, 2 times in a row: the instance is deregistered."]
        )
        self.assertFalse(self.listed())
