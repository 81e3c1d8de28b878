"""Suspects over HTTP: they are marked wherever a registration is shown, and an operator can end the guard."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from bender.api import site
from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis
from bender.node.event_selection import Selection, Subscription
from bender.node.node import Node
from tests.api.conversation import WEB, WEB_ID, WEB_PATH, Connection, Network, Response, carrier_of, parsed, request

#: A name that has to be escaped in every place.
ODD = 'a "b" %2F; ü'
ODD_PATH = "/guard/a%20%22b%22%20%252F%3B%20%C3%BC"


class GuardCase(SynchronousTestCase):
    """Two nodes with a guard of a minute, and a client of the first node, which no longer hears the second."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, guard_s=60.0)
        self.node = self.network.first
        carrier_of(self.node).ask_diagnosis = self.account_of
        self.pass_time(2)
        for wanted in ({**WEB, "meta": {"zone": "a"}}, {**WEB, "app": ODD, "port": 8081}):
            self.assertEqual(self.ask("POST", "/registrations", wanted, to=self.network.second).status, 201)
        self.cursor = self.ask("GET", "/events").json["cursor"]
        self.network.connected = False
        with capturedLogs() as logs:
            self.pass_time(13.5)
        self.logged = [
            formatEvent(event) for event in logs if event["log_namespace"] == "bender.node.cluster_log.ClusterLog"
        ]

    async def account_of(self, address: str, key: str) -> NodeDiagnosis | NoDiagnosis:
        return NoDiagnosis(address, address, "does not answer within 1 s")

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(4 * seconds)):
            self.clock.advance(0.25)
            self.network.second.renew(WEB_ID)
            for node in (self.network.first, self.network.second):
                node.sweep()
                if self.clock.seconds() % 1 == 0:
                    node.begin_round()

    def ask(self, method: str, path: str, body: object = None, *, to: Node | None = None) -> Response:
        connection = Connection(site(to or self.network.first, self.clock))
        connection.send(request(method, path, body))
        (response,) = parsed(connection.received())
        return response

    def events(self) -> list[dict[str, Any]]:
        """Return the events of the instance since the second node is silent."""
        events = self.ask("GET", f"/events?since={self.cursor}").json["events"]
        return [event for event in events if event.get("registration", {}).get("id") == WEB_ID]


class Showing(GuardCase):
    def test_wherever_a_registration_is(self) -> None:
        """`suspect` follows the state of a suspect, and is absent from other registrations."""
        found = [self.ask("GET", WEB_PATH), self.ask("GET", "/registrations/web/1.2.0")]
        found += [self.ask("GET", "/registrations"), self.ask("GET", "/registrations?meta.zone=a")]
        for response in found:
            self.assertIn(b'"state":"up","suspect":true}', response.body)
        elsewhere = self.ask("GET", WEB_PATH, to=self.network.second)
        self.assertNotIn("suspect", elsewhere.json)
        self.assertNotEqual(elsewhere.headers["etag"], found[0].headers["etag"])

    def test_snapshots(self) -> None:
        """The events of a snapshot have `suspect`, too."""
        entries = Subscription(self.node, Selection(app="web", snapshot=True)).take(100_000)
        online = json.loads(entries[0].line)
        self.assertEqual((online["event"], online["registration"]["suspect"]), ("online", True))

    def test_members(self) -> None:
        """Suspects serve a backend as before, and an operator can drain them."""
        self.ask("POST", "/backends", {"name": "site", "app": "web", "version": "1.2.0"})
        self.assertEqual([each["suspect"] for each in self.ask("GET", "/backends/site/members").json], [True])
        self.ask("PUT", f"{WEB_PATH}/state?force", {"state": "drain"})
        (drained,) = self.ask("GET", "/backends/site/members").json
        self.assertEqual((drained["state"], drained["weight"], drained["suspect"]), ("drain", 0, True))
        self.assertEqual(self.events()[-1]["registration"]["suspect"], True)

    def test_events(self) -> None:
        """A registration has a `changed` event when it becomes suspect, and another when it is heard again."""
        self.network.reconnect()
        self.pass_time(2)
        told = [(each["event"], each["reason"], each["registration"].get("suspect")) for each in self.events()]
        self.assertEqual(told, [("changed", "node-lost", True), ("changed", "restored", None)])

    def test_status(self) -> None:
        """`/status` and `/guard` have the apps, the numbers of suspects and the time left; the log has the apps."""
        status = self.ask("GET", "/status").json
        expected = [{"app": app, "suspects": 1, "left": 59.5} for app in (ODD, "web")]
        self.assertEqual((status["guard"], status["guarded"]), (60.0, expected))
        self.assertEqual(self.ask("GET", "/guard").json, expected)
        self.assertEqual(self.ask("GET", "/guard/web").json, expected[1])
        self.assertEqual(self.ask("GET", ODD_PATH).json, expected[0])
        self.assertEqual(
            self.logged[-2:],
            [
                f"Most instances of {app} renewed at nodes that are unreachable now: they stay listed as suspect "
                "(--guard)."
                for app in (ODD, "web")
            ],
        )

    def test_explained(self) -> None:
        """The explanation states why a suspect is listed, and for how long."""
        explained = self.ask("GET", f"/explain/{WEB_ID}").json
        self.assertEqual(
            explained["why"],
            "suspect (node-lost): first does not hear the nodes at which the instance renewed: second (last heard 13.5 "
            "s ago); a guard keeps it listed for another 59.5 s (to end this: bender guard end); second did not answer",
        )
        self.assertEqual(explained["nodes"][0]["suspect"], 59.5)
        self.assertIs(explained["registration"]["suspect"], True)

    def test_renewed(self) -> None:
        """Every way to renew a suspect works, and ends its suspicion."""
        self.assertEqual(self.ask("POST", "/renewals", {"ids": [WEB_ID]}).json["unknown"], [])
        self.assertNotIn("suspect", self.ask("PUT", WEB_PATH).json)
        response = self.ask("POST", "/registrations", WEB)
        self.assertEqual((response.status, "suspect" in response.json), (200, False))
        self.assertEqual([event["reason"] for event in self.events()], ["node-lost", "restored"])


class Ending(GuardCase):
    def test_one_app(self) -> None:
        """The suspects of an app are hidden at once when its guard is ended."""
        self.assertEqual(self.ask("DELETE", "/guard/web").status, 204)
        self.assertEqual(self.ask("GET", WEB_PATH).status, 404)
        self.assertEqual([(each["event"], each["reason"]) for each in self.events()][1:], [("offline", "node-lost")])
        self.assertEqual([each["app"] for each in self.ask("GET", "/guard").json], [ODD])
        self.assertEqual(self.ask("DELETE", ODD_PATH).status, 204)
        self.assertEqual(self.ask("GET", "/status").json["guarded"], [])

    def test_what_is_not_guarded(self) -> None:
        """An app without suspects gets 404 with its name, and nothing is recorded."""
        for method in ("GET", "DELETE"):
            response = self.ask(method, "/guard/api")
            self.assertEqual((response.status, response.json["code"]), (404, "NOT_FOUND"))
            self.assertIn("no member of api", response.json["message"])
            response = self.ask(method, "/guard/..%20%00")
            self.assertEqual((response.status, response.json["message"].split(":")[0]), (400, "app"))
        self.assertEqual(len(self.node.replica.configuration), 0)

    def test_methods(self) -> None:
        """A guard cannot be created over HTTP."""
        for path, allowed in (("/guard", "GET, HEAD, OPTIONS"), ("/guard/web", "GET, HEAD, DELETE, OPTIONS")):
            response = self.ask("PUT", path, {})
            self.assertEqual((response.status, response.headers["allow"]), (405, allowed))
