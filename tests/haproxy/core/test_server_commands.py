"""The commands that change HAProxy's servers to the desired ones, and the parsing of HAProxy's answers."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bender.core.routing import Health
from bender.haproxy.core.actual_state import (
    ActualServer,
    HaproxyProcess,
    Unreadable,
    by_pool,
    master_in,
    process_in,
    rows_in,
    servers_in,
    version_in,
)
from bender.haproxy.core.server_commands import CommandPlan, deletion_commands, plan_commands, refusal_in
from bender.haproxy.core.settings import BALANCE
from bender.haproxy.core.topology import Pool
from tests.haproxy.events import server

POOL = Pool("shop", "shop", "http", BALANCE, False, None)
CHECKED = evolve(POOL, health=Health("/health", 0.5))
SLOTS = evolve(POOL, slots=3)


def found(name: str, **more: Any) -> ActualServer:
    fields: dict[str, Any] = {"pool_id": 3, "address": "10.0.0.1", "port": 80, "weight": 1}
    flags = {"maint": False, "drain": False, "checked": False}
    return ActualServer("shop", name=name, **{**fields, **flags, **more})


class Planning(SynchronousTestCase):
    def test_nothing_is_different(self) -> None:
        """Without a difference, there are no commands."""
        self.assertEqual(plan_commands(POOL, [server("a")], [found("a")]).commands, ())

    def test_a_new_server(self) -> None:
        """A new server is added, and made ready."""
        self.assertEqual(
            plan_commands(POOL, [server("a", address="::1", weight=5)], []).commands,
            ("add server shop/a [::1]:80 weight 5", "set server shop/a state ready"),
        )

    def test_a_new_server_that_is_checked(self) -> None:
        """The checks of a new server begin before it is ready."""
        self.assertEqual(
            plan_commands(CHECKED, [server("a")], []).commands,
            (
                "add server shop/a 10.0.0.1:80 weight 1 check inter 500ms rise 2 fall 3",
                "enable health shop/a",
                "set server shop/a state ready",
            ),
        )

    def test_a_new_server_beside_others_that_are_checked(self) -> None:
        """A new server beside checked servers is drained until it is marked as down, and then made ready."""
        commands = plan_commands(CHECKED, [server("a"), server("b", port=81)], [found("a", checked=True)]).commands
        self.assertEqual(
            commands[1:],
            (
                "enable health shop/b",
                "set server shop/b state drain",
                "set server shop/b health down",
                "set server shop/b state ready",
            ),
        )

    def test_one_that_comes_out_of_maintenance_beside_others(self) -> None:
        """A server that leaves maintenance beside checked servers is marked as down before it is ready."""
        there = [found("a", checked=True), found("b", port=81, checked=True, maint=True, down=True)]
        commands = ["set server shop/b state drain", "set server shop/b health down", "set server shop/b state ready"]
        for state, expected in (("up", commands), ("drain", commands[:2])):
            desired = [server("a"), server("b", port=81, state=state)]
            self.assertEqual([*plan_commands(CHECKED, desired, there).commands], expected)

    def test_one_that_moves_beside_others(self) -> None:
        """A server is marked as down before it gets its new address."""
        desired = [server("a"), server("b", port=81)]
        there = [found("a", checked=True), found("b", port=82, checked=True)]
        commands = ("set server shop/b health down", "set server shop/b addr 10.0.0.1 port 81")
        self.assertEqual(plan_commands(CHECKED, desired, there).commands, commands)

    def test_one_that_another_process_had_found_down(self) -> None:
        """A server that the previous process had found down is marked as down, unless it is down already."""
        desired = [server("a"), server("b", port=81)]
        there = [found("a", checked=True), found("b", port=81, checked=True)]
        last = [there[0], evolve(there[1], down=True, check_result=2)]
        self.assertEqual(plan_commands(CHECKED, desired, there, last).commands, ("set server shop/b health down",))
        self.assertEqual(plan_commands(CHECKED, desired, last, last).commands, ())

    def test_one_that_waits_for_its_checks_when_the_others_go(self) -> None:
        """A waiting server takes requests when the others leave, unless it has failed a check."""
        there = [found("a", checked=True), found("b", port=81, checked=True, down=True)]
        for result, commands in ((0, ("set server shop/b health up",)), (2, ())):
            there[1] = evolve(there[1], check_result=result)
            planned = plan_commands(CHECKED, [server("b", port=81)], there).commands
            self.assertEqual(planned, (*commands, "set server shop/a state drain"))

    def test_a_new_server_that_is_not_to_be_used(self) -> None:
        """A new server with the state `maint` stays in maintenance; one with the state `drain` is drained."""
        self.assertEqual(len(plan_commands(POOL, [server("a", state="maint")], []).commands), 1)
        self.assertEqual(
            plan_commands(POOL, [server("a", state="drain")], []).commands[1], "set server shop/a state drain"
        )

    def test_what_somebody_else_changed(self) -> None:
        """A server that was changed by another client is corrected, the address first."""
        commands = plan_commands(
            CHECKED, [server("a")], [found("a", address="10.9.9.9", weight=7, maint=True)]
        ).commands
        self.assertEqual(
            commands,
            (
                "set server shop/a addr 10.0.0.1 port 80",
                "set server shop/a weight 1",
                "set server shop/a state ready",
                "enable health shop/a",
            ),
        )

    def test_a_server_of_whom_nobody_knows_where_it_is(self) -> None:
        """A server without a known address keeps its present address, gets its new weight, and is not added."""
        nowhere = server("a", address=None, weight=3)
        self.assertEqual(plan_commands(POOL, [nowhere], [found("a")]), CommandPlan(("set server shop/a weight 3",)))
        self.assertEqual(plan_commands(POOL, [nowhere], []), CommandPlan(()))

    def test_states(self) -> None:
        """One command leads from each state to each other state."""
        for state, flags in {"up": {}, "drain": {"drain": True}, "maint": {"maint": True}}.items():
            for desired, word in {"up": "ready", "drain": "drain", "maint": "maint"}.items():
                commands = plan_commands(POOL, [server("a", state=desired)], [found("a", **flags)]).commands
                self.assertEqual(commands, () if desired == state else (f"set server shop/a state {word}",))

    def test_one_comes_and_one_goes(self) -> None:
        """The new server is added first; the old one is drained once, and deleted later."""
        desired, old = [server("b")], found("a")
        first = plan_commands(POOL, desired, [old])
        self.assertEqual((first.commands[-1], first.leaving), ("set server shop/a state drain", ("a",)))
        then = plan_commands(POOL, desired, [evolve(old, drain=True), found("b")])
        self.assertEqual((then.commands, then.leaving), ((), ("a",)))
        self.assertEqual(deletion_commands(POOL, ["a"]), ["set server shop/a state maint", "del server shop/a"])

    def test_one_that_comes_back_while_it_is_drained(self) -> None:
        """A drained server that comes back is made ready again."""
        self.assertEqual(
            plan_commands(POOL, [server("a")], [found("a", drain=True)]).commands, ("set server shop/a state ready",)
        )

    def test_what_is_no_refusal(self) -> None:
        """Some answers of HAProxy have a text although the command succeeded."""
        done = [
            "",
            "\n",
            "New server registered.\n",
            "Server deleted.\n",
            "no need to change the addr, port changed from '7009' to '8000' by 'stats socket command'\n",
            "IP changed from '::1' to '127.0.0.1', no need to change the port by 'stats socket command'\n",
        ]
        self.assertEqual([refusal_in(answer) for answer in done], [None] * len(done))
        self.assertEqual(refusal_in("No such\n server.\n"), "No such server.")


class Slots(SynchronousTestCase):
    """A HAProxy to which servers cannot be added."""

    def test_a_new_server_takes_a_free_slot(self) -> None:
        """A new server takes a slot that is in maintenance."""
        slots = [found("slot1"), found("slot2", maint=True, address="127.0.0.1", port=1)]
        self.assertEqual(
            plan_commands(SLOTS, [server("a"), server("b", port=81)], slots).commands,
            ("set server shop/slot2 addr 10.0.0.1 port 81", "set server shop/slot2 state ready"),
        )

    def test_a_server_finds_its_slot_again(self) -> None:
        """A server is found in its slot by its address, even if the slot is in maintenance."""
        slots = [found("slot1", maint=True, port=5), found("slot2", maint=True)]
        self.assertEqual(plan_commands(SLOTS, [server("a")], slots).commands, ("set server shop/slot2 state ready",))

    def test_one_that_goes_leaves_its_slot(self) -> None:
        """A server that leaves is drained, and its slot is put into maintenance instead of being deleted."""
        slots = [found("slot1"), found("slot2", maint=True)]
        planned = plan_commands(SLOTS, [], slots)
        self.assertEqual((planned.commands, planned.leaving), (("set server shop/slot1 state drain",), ("slot1",)))
        self.assertEqual(deletion_commands(SLOTS, ["slot1"]), ["set server shop/slot1 state maint"])

    def test_without_a_slot(self) -> None:
        """The plan names the registrations for which there is no slot."""
        planned = plan_commands(SLOTS, [server("a"), server("b", port=81)], [found("slot1", port=81)])
        self.assertEqual((planned.commands, planned.without_slot), ((), ("registration/a",)))


class Answers(SynchronousTestCase):
    def test_a_process(self) -> None:
        """The answer identifies the process, its version and its configuration."""
        answer = (
            "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 7\nnode: vm\ndescription: a: b\nStopping: 0\n"
            "Start_time_sec: 9\n"
        )
        self.assertEqual(process_in(answer), HaproxyProcess(7, 9, (2, 6, 12), "a: b", False))
        self.assertTrue(process_in(answer).is_the_same(process_in(answer)))
        self.assertFalse(process_in(answer).is_the_same(process_in(answer.replace("9", "10"))))
        self.assertFalse(process_in(answer).is_the_same(None))

    def test_servers(self) -> None:
        """Maintenance and drain are recognized, whether a command or the configuration has set them."""
        names = (
            "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
            "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state "
            "srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl "
            "srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
        )
        rest = "{} 7 3 615 8 2 0 {} 0 0 0 - 7001 - 0 0 - - 0"
        lines = [f"3 web {i} s{i} ::1 0 {rest.format(*flags)}" for i, flags in
                 enumerate([(0, 6), (8, 2), (12, 0), (5, 0), (4, 0)])]  # fmt: skip
        servers = servers_in("\n".join(["1", names, *lines, "", ""]))
        self.assertEqual([(each.maint, each.drain, each.checked) for each in servers],
                         [(False, False, True), (False, True, False), (False, True, False), (True, False, False),
                          (False, False, False)])  # fmt: skip
        self.assertEqual(
            (servers[0].address, servers[0].port, servers[0].weight, servers[0].pool_id), ("::1", 7001, 7, 3)
        )
        self.assertEqual([*by_pool(servers)], ["web"])

    def test_counts(self) -> None:
        """Only servers are counted; in mode tcp, sessions count as requests."""
        answer = (
            "# pxname,svname,qcur,scur,stot,econ,eresp,status,type,check_status,hrsp_5xx,req_tot,last_chk,uweight,"
            "addr\n"
            'web,a,1,2,9,1,2,DOWN,2,L4CON,3,8,"no, ""not"" now",7,[::1]:80\nweb,BACKEND,0,0,9,1,2,UP,1,,3,8,,\n'
            "db,b,0,0,9,1,2,no check,2,,,,,1,10.0.0.1:80\n\n"
        )
        one, other = rows_in(answer)
        self.assertEqual((one.sessions, one.requests, one.errors, one.down), (3, 8, 6, True))
        self.assertEqual((other.sessions, other.requests, other.errors, other.down), (0, 9, 3, False))

    def test_the_master(self) -> None:
        """The answer has the process id of the master and the number of its failed reloads."""
        answer = (
            "#<PID>          <type>          <reloads>       <uptime>\n"
            "11546           master          3 [failed: 2]   0d00h10m\n"
        )
        self.assertEqual((master_in(answer).pid, master_in(answer).failed_reloads), (11546, 2))

    def test_what_cannot_be_read(self) -> None:
        """The error of an unreadable answer names the command."""
        for read in (process_in, servers_in, rows_in, master_in):
            for answer in ("", "1\n", "Unknown command", "1\n# a b\n1 2 3\n", "Version: x\nPid: y\n", "# a,b\n1,2\n"):
                error = self.assertRaises(Unreadable, read, answer)
                self.assertIn("show ", str(error))
        # Digits that are not ASCII, and a line beyond the limit of the module `csv`.
        for read, answer in (
            (master_in, "\u00b2 master"),
            (master_in, f"{'9' * 5000} master"),
            (rows_in, "x" * 200_000),
        ):
            self.assertRaises(Unreadable, read, answer)
        self.assertEqual(master_in("1 master [failed: \u00b2]").failed_reloads, 0)
        self.assertRaises(ValueError, version_in, "x.y")
        self.assertEqual(version_in("2.7-dev3"), (2, 7))
