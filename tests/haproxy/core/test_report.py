"""The counts of HAProxy's traffic, over its restarts and changes of its servers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from bender.core.consumers import REPORT_BYTES_MAX, REPORTED_MAX, Report
from bender.haproxy.core.actual_state import Row
from bender.haproxy.core.report import TrafficCounts
from bender.haproxy.core.settings import BALANCE
from bender.haproxy.core.topology import Pool
from tests.haproxy.events import HOSTILE, server

POOL = Pool("shop:tcp", "shop", "tcp", BALANCE, False, None)


def row(requests: int, errors: int = 10, name: str = "a", **more: str) -> Row:
    return Row("shop:tcp", name, 0, more.get("status", "UP"), 1, "", more.get("check", "L4OK"), requests, errors)


class Counting(SynchronousTestCase):
    def setUp(self) -> None:
        self.counts = TrafficCounts()
        self.set_owners("a", "b")
        self.counts.add_all_rows([row(100)])

    def set_owners(self, *names: str, leaving: Sequence[str] = (), version: str = "1") -> None:
        servers = [server(name, version=version) for name in names]
        self.counts.set_owners(POOL, servers)
        self.counts.forget_deleted({"shop:tcp": servers}, {("shop:tcp", name) for name in leaving})

    def total(self, version: str = "1") -> tuple[int, int]:
        total = self.counts.report()["backends"]["shop"][version]
        return total["requests"], total["errors"]

    def test_from_the_beginning(self) -> None:
        """Requests from before the start of the driver do not count."""
        self.counts.add_rows([row(103, 11), row(7, 1, "b")])
        self.assertEqual(self.total(), (10, 2))

    def test_by_version(self) -> None:
        """The counts are by version, and include servers that are leaving."""
        self.set_owners("c", version="2", leaving=["a"])
        self.counts.add_rows([row(103), row(5, 1, "c")])
        self.assertEqual((self.total(), self.total("2")), ((3, 0), (5, 1)))

    def test_after_haproxy_has_begun_again(self) -> None:
        """After a restart of HAProxy, the counts continue, and never decrease."""
        self.counts.add_rows([row(103)])
        self.counts.note_restart()
        self.counts.add_all_rows([row(104)])
        self.assertEqual(self.total(), (107, 10))

    def test_when_that_was_not_noticed(self) -> None:
        """An unnoticed restart is detected by a smaller number."""
        self.counts.add_rows([row(103, 12)])
        self.counts.add_rows([row(2, 1)])
        self.assertEqual(self.total(), (5, 3))

    def test_a_server_that_was_deleted_and_came_back(self) -> None:
        """A server that was deleted and added again counts from 0, as HAProxy's own counter does."""
        self.counts.add_rows([row(103)])
        self.set_owners("b")
        self.set_owners("a", "b")
        self.counts.add_rows([row(203)])
        self.assertEqual(self.total(), (206, 10))

    def test_others_servers(self) -> None:
        """Servers that are not bender's do not count."""
        self.counts.add_rows([row(7, 0, "stranger")])
        self.assertEqual(self.total(), (0, 0))

    def test_more_than_a_report_can_hold(self) -> None:
        """A report that is too large has the first servers that are down, and the versions that were used last."""
        names = [f"{HOSTILE}{number:04}{'é' * 200}" for number in range(1200)]
        for some in (["x"], names):
            self.set_owners(*some)
            self.counts.add_all_rows([row(1, name=name, status="DOWN", check="L4CON") for name in some])
        for name in names:
            self.set_owners(name, version=name)
            self.counts.add_all_rows([row(1, name=name), row(2, name=name)])
        self.set_owners(*names)
        self.counts.add_all_rows([row(2, name=name, status="DOWN", check="L4CON") for name in names])
        report = self.counts.report()
        encoded = msgspec.json.encode(report)
        self.assertLessEqual(len(encoded), REPORT_BYTES_MAX)
        self.assertGreater(len(encoded), REPORT_BYTES_MAX // 2)
        self.assertEqual(len(msgspec.json.decode(encoded, type=Report).found_down or ()), len(report["down"]))
        self.assertEqual(report["down"], [f"registration/{name}" for name in names[: len(report["down"])]])
        self.assertEqual({*report["backends"]["shop"]}, {"1", *names[1 - len(report["backends"]["shop"]) :]})

    def test_many_that_are_down(self) -> None:
        """A report has at most as many servers that are down as bender accepts."""
        names = [f"{number:04}" for number in range(1200)]
        self.set_owners(*names)
        self.counts.add_all_rows([row(1, name=name, status="DOWN", check="L4CON") for name in names])
        self.assertEqual(len(self.counts.report()["down"]), REPORTED_MAX)

    def test_versions_of_long_ago(self) -> None:
        """The oldest versions are forgotten when there are too many."""
        for version in map(str, range(2 * REPORTED_MAX)):
            self.set_owners("a", version=version)
            self.counts.add_rows([row(int(version) + 200)])
        self.assertNotIn("5", self.counts.report()["backends"]["shop"])
        self.assertIn("1999", self.counts.report()["backends"]["shop"])
        self.assertLessEqual(len(self.counts.report()["backends"]["shop"]), REPORTED_MAX)

    def test_who_is_down(self) -> None:
        """A server is reported as down, once, only if a check has found it down."""
        self.counts.add_all_rows([row(1, status="DOWN", check="L4CON"), row(1, name="b", status="DOWN", check="")])
        self.assertEqual(self.counts.report()["down"], ["registration/a"])
        self.counts.add_all_rows([row(1)])
        self.assertEqual(self.counts.report()["down"], [])
