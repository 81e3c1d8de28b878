"""The servers that get no requests before a check has succeeded."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bender.core.routing import Health
from bender.haproxy.core.actual_state import ActualServer, HaproxyProcess, Unreadable
from bender.haproxy.core.health import Findings, held_back, parse_findings, state_file_text
from bender.haproxy.core.settings import BALANCE
from bender.haproxy.core.topology import Pool
from tests.haproxy.events import server

POOL = Pool("shop", "shop", "http", BALANCE, False, Health("/health", 0.5))
ONE, OTHER = (HaproxyProcess(pid, 7, (2, 6), "", False) for pid in (1, 2))

FAILED, PASSED = {"down": True, "check_status": 17, "check_result": 2}, {"check_status": 15, "check_result": 3}


def found(port: int, **more: Any) -> ActualServer:
    fields = {"pool_id": 3, "address": "10.0.0.1", "weight": 1, "maint": False, "drain": False, "checked": True}
    return ActualServer("shop", name=str(port), port=port, **{**fields, **more})


def desired(*ports: int, **more: Any) -> list[Any]:
    return [server(str(port), port=port, **more) for port in ports]


class HeldBack(SynchronousTestCase):
    """Servers 1 to 3 are desired; `last` are the servers that HAProxy had."""

    def held(self, *last: ActualServer, **more: Any) -> str:
        return "".join(sorted(held_back(POOL, desired(1, 2, 3, **more), last)))

    def test_those_that_checks_have_found_down(self) -> None:
        """A server whose last check failed waits, even if no other server is available."""
        self.assertEqual(self.held(found(1), found(2, **FAILED), found(3)), "2")
        self.assertEqual(self.held(*[found(port, **FAILED) for port in (1, 2, 3)]), "123")

    def test_new_ones_and_those_that_wait_already(self) -> None:
        """A new server, or one that waits already, waits only if another server takes requests."""
        self.assertEqual(self.held(found(1), found(2, down=True)), "23")
        self.assertEqual(self.held(found(2, down=True)), "")
        self.assertEqual(self.held(), "")
        self.assertEqual(self.held(found(1, **FAILED)), "1")

    def test_one_that_was_in_maintenance(self) -> None:
        """A server that leaves maintenance waits like a new one, and a server that enters maintenance does not wait."""
        self.assertEqual(self.held(found(1), found(2, maint=True, **FAILED), found(3)), "2")
        self.assertEqual(self.held(found(1), found(2, maint=True), found(3), state="maint"), "")

    def test_one_that_has_moved(self) -> None:
        """A server at a new address waits like a new one."""
        self.assertEqual(self.held(found(1), found(2, address="10.0.0.9"), found(3)), "2")

    def test_one_of_whom_it_is_not_known_where_it_is(self) -> None:
        """A server without a known address counts as the server of the same name, at its present address."""
        last = [found(1), found(2, address="10.0.0.9")]
        self.assertEqual(held_back(POOL, [*desired(1), *desired(2, address=None)], last), frozenset())
        self.assertEqual(held_back(POOL, [*desired(3), *desired(1, address=None)], last), {"3"})

    def test_who_takes_no_requests_is_not_another_one(self) -> None:
        """A drained server, or one with weight 0, does not count as another server that takes requests."""
        for nothing in ({"state": "drain"}, {"weight": 0}):
            self.assertEqual(self.held(found(1), found(2), **nothing), "")

    def test_without_checks(self) -> None:
        """In a backend without checks, no server waits."""
        self.assertEqual(held_back(evolve(POOL, health=None), desired(1, 2), [found(1)]), frozenset())


class Remembering(SynchronousTestCase):
    def setUp(self) -> None:
        self.findings = Findings()
        self.findings.remember(ONE, {"shop": [found(1), found(2, **FAILED)], "other": [found(3)]})

    def test_another_process(self) -> None:
        """For a server that the new process has not checked yet, the result of the previous process counts."""
        fresh = [found(1), found(2)]
        self.assertEqual(self.findings.last_known(OTHER, "shop", fresh), [found(1), found(2, **FAILED)])
        checked = [found(1, **FAILED), found(2, **PASSED)]
        self.assertEqual(self.findings.last_known(OTHER, "shop", checked), checked)

    def test_the_same_process(self) -> None:
        """The present result of the same process counts."""
        self.assertEqual(self.findings.last_known(ONE, "shop", [found(2)]), [found(2)])

    def test_what_is_not_there_any_more(self) -> None:
        """The servers of a removed pool are kept while the process is the same, and forgotten after a restart."""
        self.findings.remember(ONE, {"shop": [found(1)]})
        self.assertEqual({*self.findings.found}, {"shop", "other"})
        self.findings.remember(OTHER, {"shop": [found(1)]})
        self.assertEqual({*self.findings.found}, {"shop"})


class File(SynchronousTestCase):
    def written(self, pool: Pool, *last: ActualServer, **more: Any) -> str:
        findings = Findings(found={"shop": last})
        return state_file_text([pool], {"shop": desired(1, 2, 3, **more)}, findings)

    def test_what_is_down(self) -> None:
        """The file has a line for each server that is down, with the result of its last check, and can be read back."""
        text = self.written(POOL, found(1), found(2, **FAILED))
        self.assertEqual(
            text.splitlines()[2:],
            [
                "0 shop 0 2 10.0.0.1 0 0 1 1 0 17 2 0 6 0 0 0 - 2 -",
                "0 shop 0 3 10.0.0.1 0 0 1 1 0 1 0 0 6 0 0 0 - 3 -",
            ],
        )
        again = parse_findings(text)
        self.assertEqual([(each.name, each.failing) for each in again.found["shop"]], [("2", True), ("3", False)])
        self.assertEqual(
            state_file_text([POOL], {"shop": desired(1, 2)}, again).splitlines()[2:], text.splitlines()[2:3]
        )

    def test_the_weight_of_one_that_is_drained(self) -> None:
        """The line of a drained server has its configured weight, which is 0."""
        line = self.written(POOL, found(1), found(2, **FAILED), state="drain").splitlines()[2]
        self.assertIn(" 0 0 0 0 0 17 ", line)

    def test_slots(self) -> None:
        """With slots, servers are found by their addresses."""
        text = self.written(evolve(POOL, slots=8), found(1), found(2, **FAILED), found(3))
        self.assertEqual([line.split()[3] for line in text.splitlines()[2:]], ["slot2"])

    def test_one_that_cannot_be_read(self) -> None:
        """An unreadable file raises `Unreadable`."""
        self.assertRaises(Unreadable, parse_findings, "1\n# be_id\nno such line\n")
