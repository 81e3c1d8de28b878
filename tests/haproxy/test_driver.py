"""The commands that a driver sends to HAProxy, and their order."""

from __future__ import annotations

from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from bender.client import Stand
from bender.haproxy.core.pending_acks import BUSY_S_MAX
from bender.haproxy.core.registry import KEEP_S, ReceivedEvent
from bender.haproxy.driver import CHECK_S, QUIET_S
from bender.haproxy.status import status
from tests.haproxy.driver_case import NODE, SHOP, SYNCED, A, B, C, DriverCase
from tests.haproxy.events import backend, frontend, instance, offline, online
from tests.haproxy.standin import Server


class Beginning(DriverCase):
    def test_nothing_happens_before_bender_has_said_all(self) -> None:
        """HAProxy is started only after the full state has come, with all members."""
        self.send(*SHOP, online(1))
        self.settle(5)
        self.assertEqual((self.reload.start_count, self.output.exists()), (0, False))
        self.send(SYNCED)
        self.settle(0.5)
        self.assertEqual((self.reload.start_count, self.reload.reload_count), (1, 0))
        self.assertEqual(self.servers(), {A: (0, 1)})
        self.assertTrue(self.driver.ready)
        self.assertEqual(self.acknowledger.acknowledged, Stand(NODE, "4"))

    def test_another_driver_finds_haproxy_as_it_is(self) -> None:
        """The new driver applies the missed changes without a reload."""
        self.serve(1, 2)
        self.restart_driver()
        self.send(*SHOP, online(2), online(3))
        self.settle(3)
        self.assertEqual(self.haproxy.commands(), [])
        self.send(SYNCED)
        self.settle(0.1)
        self.assertEqual(self.servers(), {B: (0, 1), C: (0, 1)})
        self.assertEqual((self.reload.start_count, self.reload.reload_count), (1, 0))

    def test_another_driver_does_not_know_yet_where_hosts_are(self) -> None:
        """Servers with host names stay while the names are looked up, however long that takes."""
        self.clock.nameResolver.addresses["shop.example"] = ["10.0.0.7"]
        said = (*SHOP, online(1, host="shop.example"), SYNCED)
        self.send(*said)
        self.settle(0.5)
        self.assertEqual([*self.servers()], ["1:shop.example:1"])
        self.haproxy.commands()
        self.driver.stopService()
        self.clock.nameResolver.addresses.clear()
        self.restart_driver()
        self.send(*said)
        self.settle(CHECK_S)
        self.assertEqual((self.haproxy.commands(), [*self.servers()]), ([], ["1:shop.example:1"]))

    def test_bender_has_lost_everything(self) -> None:
        """HAProxy stays unchanged until backends and frontends are set again."""
        self.serve(1)
        self.restart_driver()
        self.send(SYNCED)
        self.settle(10)
        self.assertEqual((self.haproxy.commands(), self.servers()), ([], {A: (0, 1)}))
        self.assertIn("has no frontend", str(self.driver.hold_reason))
        self.assertFalse(self.driver.ready)
        self.send(online(2), *SHOP)
        self.settle(QUIET_S + 0.5)
        self.assertEqual((self.servers(), self.driver.hold_reason), ({B: (0, 1)}, None))

    def test_an_operator_removes_the_file(self) -> None:
        """Without the file, the driver applies bender's empty configuration, without a restart."""
        self.serve(1)
        self.restart_driver()
        self.send(SYNCED)
        self.settle(10)
        self.assertIn("remove that file", str(self.driver.hold_reason))
        self.output.unlink()
        self.settle(CHECK_S + 1)
        self.assertEqual((self.driver.hold_reason, self.driver.ready), (None, True))
        self.assertNotIn("frontend www", self.output.read_text())
        self.assertNotIn("shop", self.haproxy.pools)

    def test_bender_is_set_up_again(self) -> None:
        """HAProxy stays unchanged until there is a frontend, and no further setting has come for a while."""
        self.serve(1)
        self.restart_driver()
        self.send(SYNCED, online(1))
        self.settle(1)
        shop, www = SHOP
        self.send(shop)
        self.settle(2 * QUIET_S)
        self.assertIn("has no frontend", str(self.driver.hold_reason))
        self.send(www)
        self.settle(QUIET_S - 1)
        self.send(frontend("second", backend="shop", bind="*:81"))
        self.settle(QUIET_S - 1)
        self.assertIsNotNone(self.driver.hold_reason)
        self.assertEqual(self.reload.reload_count, 0)
        self.settle(2)
        self.assertIsNone(self.driver.hold_reason)
        self.assertEqual({door.title for door in self.driver.reloader.topology.doors}, {"www", "second"})

    def test_a_file_that_is_not_ours(self) -> None:
        """A file that is not the driver's is replaced only when bender has a backend or frontend."""
        self.output.write_text("frontend x\n")
        self.restart_driver()
        self.send(SYNCED)
        self.settle(5)
        self.assertEqual(self.output.read_text(), "frontend x\n")
        self.send(*SHOP)
        self.settle(QUIET_S + 1)
        self.assertIn("backend shop", self.output.read_text())

    def test_it_ends(self) -> None:
        """The driver stops, and so does the HAProxy that it has started."""
        self.serve(1)
        self.successResultOf(self.driver.stopService())
        self.state_reader.stopService()
        self.assertTrue(self.reload.ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Members(DriverCase):
    def test_they_come_and_go(self) -> None:
        """Members come and go by commands, without a reload."""
        self.serve(1, 2)
        self.send(online(3))
        self.assertEqual(
            self.haproxy.commands(), [f"add server shop/{C} 10.0.0.1:3 weight 1", f"set server shop/{C} state ready"]
        )
        self.send(offline(1, "expired"))
        name = f"shop/{A}"
        self.assertEqual(
            self.haproxy.commands(),
            [f"set server {name} state drain", f"set server {name} state maint", f"del server {name}"],
        )
        self.assertEqual((self.reload.reload_count, self.acknowledger.acknowledged), (0, Stand(NODE, "7")))

    def test_one_with_requests(self) -> None:
        """A server with requests is deleted when they have ended; until then the event is not confirmed."""
        self.serve(1, 2)
        before = self.acknowledger.acknowledged
        self.haproxy.pools["shop"][A].sessions = 1
        self.send(offline(1, "deregistered"))
        self.settle(BUSY_S_MAX / 2)
        self.assertEqual((self.servers()[A], self.acknowledger.acknowledged), ((8, 1), before))
        self.haproxy.pools["shop"][A].sessions = 0
        self.settle(0.01)
        self.assertEqual(({*self.servers()}, self.acknowledger.acknowledged), ({B}, Stand(NODE, "6")))

    def test_one_with_a_request_that_does_not_end(self) -> None:
        """A server with long requests stays without new ones; its event is confirmed after a while."""
        self.serve(1, 2)
        self.haproxy.pools["shop"][A].sessions = 1
        self.send(offline(1, "deregistered"))
        self.send(online(3))
        self.assertEqual({*self.servers()}, {A, B, C})
        self.settle(BUSY_S_MAX + 0.01)
        self.assertEqual(self.acknowledger.acknowledged, Stand(NODE, "7"))
        self.settle(60)
        self.assertEqual(self.servers()[A], (8, 1))
        self.haproxy.pools["shop"][A].sessions = 0
        self.settle(CHECK_S)
        self.assertNotIn(A, self.servers())

    def test_a_deploy_and_back(self) -> None:
        """The servers of the new version are added before the old ones are removed."""
        self.serve(1)
        self.send(online(2, "2"), backend("shop", "changed", version="2"))
        commands = [command.rpartition("/")[0] + command[-5:] for command in self.haproxy.commands()]
        self.assertEqual(commands[:3], ["add server shopght 1", "set server shopready", "set server shopdrain"])
        self.send(backend("shop", "changed", version="1"))
        self.assertEqual(self.servers(), {A: (0, 1)})
        self.assertEqual(self.reload.reload_count, 0)

    def test_they_are_in_the_file_as_well(self) -> None:
        """The file gets new servers soon, but is written at most once a second."""
        self.serve(1)
        self.checked.clear()
        for port in range(2, 10):
            self.send(online(port))
            self.settle(0.2)
        self.settle(1)
        self.assertIn("10.0.0.1:9 ", self.output.read_text())
        self.assertLessEqual(len(self.checked), 4)

    def test_what_somebody_else_changes(self) -> None:
        """The next check corrects a server that an operator has changed."""
        self.serve(1, 2)
        self.haproxy.pools["shop"][A].admin = 1
        del self.haproxy.pools["shop"][B]
        self.haproxy.pools["shop"]["stranger"] = Server("10.0.0.9", 9, 1)
        self.settle(CHECK_S)
        self.assertEqual(self.servers(), {A: (0, 1), B: (0, 1)})

    def test_nothing_is_done_twice(self) -> None:
        """A check without differences sends no command that changes HAProxy."""
        self.serve(1, 2)
        self.settle(20)
        self.assertEqual((self.haproxy.commands(), self.reload.reload_count), ([], 0))

    def test_what_haproxy_does_not_carry_out(self) -> None:
        """A refused command is logged, and tried again."""
        self.serve(1)
        self.haproxy.on_command = self.delete
        self.send(online(1, weight=7))
        self.assertIn("No such server.", self.driver.refused_commands[0])
        self.haproxy.on_command = lambda _command: None
        self.settle(CHECK_S)
        self.assertEqual(self.servers(), {A: (0, 7)})

    def delete(self, _command: str) -> None:
        self.haproxy.pools["shop"].pop(A, None)


class Hostile(DriverCase):
    """Events that no node should send."""

    def test_it_is_left_out_and_said_once(self) -> None:
        """Other events are processed, and the log has a line for each invalid one."""
        self.serve(1)
        lines: list[str] = []

        @provider(ILogObserver)
        def observer(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        bad = instance(2, state="ready; show env")
        evil = ReceivedEvent(
            "created", "backend", "backend/a\nb", "configured", {"name": "a\nb", "app": "web", "version": "1"}
        )
        for _ in range(3):
            self.send(ReceivedEvent("online", "registration", bad["id"], "registered", bad), evil, online(3))
            self.settle(3)
        self.assertEqual({*self.servers()}, {A, C})
        said = [line for line in lines if "missing or incomplete" in line]
        name, state = said
        self.assertTrue(
            name.startswith("backend/a\\nb is missing or incomplete in HAProxy: name: must be printable"),
            name,
        )
        self.assertEqual(state, f"{bad['id']} is missing or incomplete in HAProxy: state: must be up, drain, maint.")
        self.assertEqual([*status(self.driver)["problems"]], ["backend/a\\nb", bad["id"]])

    def test_an_event_that_cannot_be_read(self) -> None:
        """The problem is reported for the object of the event, or for the node."""
        self.serve(1)
        self.watch.on_unreadable(NODE, "", "Expected `str`\x1b")
        self.watch.on_unreadable(NODE, "backend/a\n", "Expected `str`")
        self.settle()
        problem = "sent an event that cannot be read: Expected `str`"
        problems = {NODE: f"{problem}\\x1b", "backend/a\\n": f"{NODE} {problem}"}
        self.assertEqual(status(self.driver)["problems"], problems)


class Itself(DriverCase):
    """Members at places where HAProxy listens."""

    def problem(self, id_: str) -> str:
        problem: str = status(self.driver)["problems"][id_]
        return problem

    def test_one_that_registers(self) -> None:
        """A member at HAProxy's own address is reported, and is neither added nor in the file; other members are."""
        self.clock.nameResolver.addresses["localhost"] = ["127.0.0.1"]
        shop = backend("shop", servers=["127.0.0.2:80", "127.0.0.1:82"])
        here = [online(80, host="127.0.0.1"), online(80, host="localhost"), online(81, host="127.0.0.1"), online(80)]
        self.send(shop, SHOP[1], *here, SYNCED)
        self.settle(1)
        self.assertEqual([*self.servers()], ["127.0.0.1:82", "1:10.0.0.1:80", "1:127.0.0.1:81"])
        self.assertNotIn("127.0.0.1:80 ", self.output.read_text())
        said = "127.0.0.1, port 80, is where HAProxy itself listens (bind *:80)"
        self.assertEqual(self.problem("registration/web/1/127.0.0.1/80"), said)
        self.assertEqual(self.problem("registration/web/1/localhost/80"), said)
        self.assertIn("127.0.0.2, port 80", self.problem("server/127.0.0.2/80"))
        self.send(offline(80, "expired", host="127.0.0.1"))
        self.assertNotIn("registration/web/1/127.0.0.1/80", status(self.driver)["problems"])

    def test_a_frontend_that_comes_later(self) -> None:
        """A server at the address of a new frontend is removed before the reload, and added again after the removal."""
        loopback = "1:127.0.0.1:81"
        self.serve(1)
        self.send(online(81, host="127.0.0.1"))
        self.assertIn(loopback, self.servers())
        self.send(frontend("second", backend="shop", bind="127.0.0.1:81"))
        self.assertNotIn(loopback, self.servers())
        self.assertNotIn("bind 127.0.0.1:81", self.output.read_text())
        self.settle(2)
        self.assertIn("bind 127.0.0.1:81", self.output.read_text())
        self.assertNotIn(loopback, self.servers())
        self.send(frontend("second", "removed"))
        self.assertNotIn(loopback, self.servers())
        self.settle(2 * CHECK_S)
        self.assertIn(loopback, self.servers())
        self.assertEqual(status(self.driver)["problems"], {})


class WithoutBender(DriverCase):
    def test_no_node_can_be_followed(self) -> None:
        """HAProxy stays unchanged while no node can be followed."""
        self.serve(1, 2)
        self.send(offline(1, "node-lost"))
        self.watch.on_away({NODE: "does not answer"})
        self.settle(10 * KEEP_S)
        self.assertEqual({*self.servers()}, {A, B})
        self.watch.finish_batch()
        self.settle(KEEP_S - 1)
        self.assertEqual({*self.servers()}, {A, B})
        self.settle(2)
        self.assertEqual({*self.servers()}, {B})

    def test_who_is_not_heard_of(self) -> None:
        """A hidden instance stays for a minute, or until it is known to have ended."""
        self.serve(1, 2, 3)
        self.send(offline(1, "node-lost"), offline(2, "missed"), offline(3, "node-lost"))
        self.settle(1)
        self.assertEqual({*self.servers()}, {A, B, C})
        self.send(offline(1, "expired"), online(3))
        self.assertEqual({*self.servers()}, {B, C})
        self.settle(KEEP_S)
        self.assertEqual({*self.servers()}, {C})

    def test_configuration_that_is_missing(self) -> None:
        """A lost backend stays, because no client has removed it."""
        self.serve(1)
        self.send(backend("shop", "removed", "missed"), frontend("www", "removed", "missed"))
        self.settle(5)
        self.assertEqual((self.servers(), self.reload.reload_count), ({A: (0, 1)}, 0))
        self.send(*SHOP)
        self.send(frontend("www", "removed"), backend("shop", "removed"))
        self.settle(2)
        self.assertNotIn("shop", self.haproxy.pools)


class WithSlots(DriverCase):
    """A HAProxy to which servers cannot be added."""

    version = "2.4.22"

    def test_members_take_slots(self) -> None:
        """Members get free slots without a reload."""
        self.send(*SHOP, online(1), SYNCED)
        self.settle(0.5)
        self.assertEqual(len(self.servers()), 8)
        self.send(online(2), offline(1, "expired"))
        used = {(each.address, each.port) for each in self.haproxy.pools["shop"].values() if not each.admin & 1}
        self.assertEqual((used, self.reload.reload_count), ({("10.0.0.1", 2)}, 0))

    def test_more_members_than_slots(self) -> None:
        """If no slot is free, a reload adds slots."""
        self.send(*SHOP, online(1), SYNCED)
        self.settle(2)
        self.send(*map(online, range(2, 10)))
        self.settle(2)
        self.assertEqual((len(self.servers()), self.reload.reload_count), (32, 1))
        used = {each.port for each in self.haproxy.pools["shop"].values() if not each.admin & 1}
        self.assertEqual(used, {*range(1, 10)})


class Reporting(DriverCase):
    def test_what_haproxy_has_counted(self) -> None:
        """Each check reports the counts, without those from before the driver."""
        self.serve(1, 2)
        self.restart_driver(reporting=True)
        self.haproxy.pools["shop"][A].requests = 100
        self.send(*SHOP, online(1), online(2), SYNCED)
        self.settle(0.1)
        self.haproxy.pools["shop"][A].requests = 107
        self.haproxy.pools["shop"][B].status = "DOWN"
        self.settle(CHECK_S)
        report = self.acknowledger.reports[-1]
        self.assertEqual(report["backends"], {"shop": {"1": {"requests": 7, "errors": 0}}})
        self.assertEqual(report["down"], ["registration/web/1/10.0.0.1/2"])
        self.haproxy.pools["shop"][A].requests = 109
        self.send(offline(1, "expired"))
        self.settle(CHECK_S)
        self.assertEqual(self.acknowledger.reports[-1]["backends"]["shop"]["1"]["requests"], 9)
