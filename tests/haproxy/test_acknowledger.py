"""Confirmations and reports of a driver to real nodes in memory."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.web.server import Site

from bender.client import Stand
from bender.core.model import RegistrationRequest
from bender.haproxy.acknowledger import RETRY_S, Acknowledger
from tests.client.cluster import ALL, ONE, TWO, ClientCase, Page, Watcher


class Confirming(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.client_of_all = self.client(*ALL)
        self.watcher = Watcher(self.client_of_all.watch(name="edge 1"))
        self.acknowledger = Acknowledger(self.client_of_all, "edge 1", self.watcher.watch.instance)
        self.addCleanup(self.end)
        self.network.pass_time(1)

    def end(self) -> None:
        self.acknowledger.close()
        self.result(self.watcher.watch.aclose())
        self.successResultOf(self.watcher.taking)

    def up(self, port: int) -> Stand:
        """Register an instance, and return the watcher's position after its event."""
        self.node(ONE).register(RegistrationRequest("web", "1", "10.9.9.9", port))
        self.network.settle()
        stand = self.watcher.watch.taken
        assert stand is not None
        return stand

    def test_how_far_it_is(self) -> None:
        """The node knows the consumer and the events that it has confirmed."""
        self.acknowledger.acknowledge(self.up(1))
        self.network.settle()
        (shown,) = self.node(ONE).consumers.states()
        self.assertEqual((shown.name, shown.connected, shown.behind), ("edge 1", True, 0))
        self.assertEqual(self.acknowledger.acknowledged, self.watcher.watch.taken)
        self.up(2)
        (shown,) = self.node(ONE).consumers.states()
        self.assertEqual(shown.behind, 1)

    def test_another_driver_of_the_same_name(self) -> None:
        """Each driver confirms its own events, and logs a problem once while the other one is connected."""
        other = Watcher(self.client_of_all.watch(name="edge 1"))
        acknowledger = Acknowledger(self.client_of_all, "edge 1", other.watch.instance)
        self.network.pass_time(1)
        with capturedLogs() as logs:
            for port in (1, 2):
                self.acknowledger.acknowledge(self.up(port))
                self.network.settle()
        problem = "another program uses the name edge 1: give each driver its own --name"
        self.assertEqual(self.acknowledger.problem, problem)
        said = [formatEvent(event) for event in logs if "--name" in str(formatEvent(event))]
        self.assertEqual(
            said, [f"Clients that wait for a deregistration wait for two programs with one name: {problem}."]
        )
        behind = {each.instance: each.behind for each in self.node(ONE).consumers.states()}
        self.assertEqual(behind, {self.acknowledger.instance: 0, acknowledger.instance: 2})
        self.result(other.watch.aclose())
        self.successResultOf(other.taking)
        self.network.pass_time(1)
        self.acknowledger.acknowledge(self.up(3))
        self.network.settle()
        self.assertIsNone(self.acknowledger.problem)

    def test_what_is_reported(self) -> None:
        """A confirmation contains the report."""
        self.acknowledger.report = lambda: {"down": ["a"], "backends": {"shop": {"1": {"requests": 7, "errors": 1}}}}
        self.acknowledger.acknowledge(self.up(1))
        self.network.settle()
        (shown,) = self.node(ONE).consumers.states()
        assert shown.report is not None
        self.assertEqual(shown.report.found_down, ("a",))

    def test_a_report_before_anything_is_done(self) -> None:
        """The report goes to the followed node, and confirms no event."""
        self.acknowledger.report = lambda: {"problems": [{"kind": "unreachable", "why": "gone", "since": 7}]}
        self.acknowledger.send()
        self.network.settle()
        self.assertEqual([each.report for each in self.node(ONE).consumers.states()], [None])
        stand = self.up(1)
        self.acknowledger.followed = stand.node
        self.acknowledger.send()
        self.network.settle()
        (shown,) = self.node(ONE).consumers.states()
        assert shown.report is not None
        self.assertEqual(([each.why for each in shown.report.problems], shown.cursor), (["gone"], None))
        self.assertEqual((self.acknowledger.acknowledged, self.acknowledger.problem), (None, None))
        self.acknowledger.acknowledge(stand)
        self.network.settle()
        self.assertEqual(self.acknowledger.acknowledged, stand)

    def test_a_report_after_another_node_is_followed(self) -> None:
        """The new node gets the report before any of its events is applied."""
        self.acknowledger.report = lambda: {"problems": [{"kind": "unreachable", "why": "gone", "since": 7}]}
        self.acknowledger.acknowledge(self.up(1))
        self.network.settle()
        self.acknowledger.followed = f"{TWO}:1729"
        self.acknowledger.send()
        self.network.settle()
        (shown,) = self.node(TWO).consumers.states()
        assert shown.report is not None
        self.assertEqual((shown.report.problems[0].kind, shown.cursor), ("unreachable", None))

    def test_many_at_once(self) -> None:
        """One request is under way at a time; the next one confirms the last position."""
        before = self.client_of_all.requests
        for port in range(1, 20):
            self.acknowledger.acknowledge(self.up(port))
        stand = self.watcher.watch.taken
        for _ in range(10):
            assert stand is not None
            self.acknowledger.acknowledge(stand)
        self.network.settle()
        self.assertEqual(self.acknowledger.acknowledged, stand)
        self.assertLess(self.client_of_all.requests - before, 25)

    def test_a_node_that_does_not_answer(self) -> None:
        """The confirmation is sent again, because a deregistration may wait for it."""
        stand = self.up(1)
        self.network.cut = {ONE}
        self.acknowledger.acknowledge(stand)
        self.network.pass_time(3)
        self.assertIsNone(self.acknowledger.acknowledged)
        self.assertIn("does not answer", str(self.acknowledger.problem))
        self.network.cut = set()
        self.network.pass_time(2 + 2 * RETRY_S)
        self.assertEqual((self.acknowledger.acknowledged, self.acknowledger.problem), (stand, None))

    def test_another_node(self) -> None:
        """Each node gets its own cursors."""
        self.network.pass_time(6)
        self.up(1)
        self.machines[ONE].kill()
        self.network.pass_time(1)
        stand = self.watcher.watch.taken
        assert stand is not None
        self.assertEqual(stand.node, f"{TWO}:1729")
        self.acknowledger.acknowledge(stand)
        self.network.settle()
        (shown,) = self.node(TWO).consumers.states()
        self.assertEqual((shown.name, shown.behind), ("edge 1", 0))


class Older(ClientCase):
    def test_a_node_that_does_not_know_of_consumers(self) -> None:
        """The driver sends it no request for a while, and logs that once."""
        page = Page(404, b'{"code": "NOT_FOUND", "message": "there is no such page"}')
        self.network.listenTCP(80, Site(page, reactor=self.network), interface="10.0.0.8")
        acknowledger = Acknowledger(self.client(ONE), "edge")
        self.addCleanup(acknowledger.close)
        for cursor in ("1", "2", "3"):
            acknowledger.acknowledge(Stand("10.0.0.8:80", cursor))
            self.network.pass_time(1)
        self.assertIn("does not support consumers", str(acknowledger.problem))
        self.assertLessEqual(acknowledger._client.requests, 1)
