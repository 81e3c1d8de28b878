"""`GET /explain/…` and `DELETE …?wait` include the state of the other nodes."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.api import site
from bender.core.consumers import AwaitedChange, Confirmation, ConsumerState
from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis
from bender.node.event_selection import Selection
from bender.node.node import Node
from tests.api.conversation import (
    NOW_MS,
    WEB,
    WEB_ID,
    WEB_PATH,
    ApiCase,
    Connection,
    Network,
    Response,
    carrier_of,
    parsed,
    request,
)

EXPLAIN = f"/explain/{WEB_ID}"


class PairCase(SynchronousTestCase):
    """Two nodes, and a client of the first."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        first, second = self.network.first, self.network.second
        carrier_of(first).ask_diagnosis = partial(self.account_of, second)
        carrier_of(first).ask_consumers = partial(self.consumers_of, second)
        self.pass_time(2)

    async def account_of(self, node: Node, address: str, key: str) -> NodeDiagnosis | NoDiagnosis:
        if self.network.connected:
            return node.diagnose(key)
        return NoDiagnosis(address, address, "does not answer within 1 s")

    async def consumers_of(self, node: Node, address: str, awaited: AwaitedChange) -> tuple[ConsumerState, ...] | None:
        return await node.wait_for_consumers(awaited)

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(4 * seconds)):
            self.clock.advance(0.25)
            for node in (self.network.first, self.network.second):
                node.sweep()
                if self.clock.seconds() % 1 == 0:
                    node.begin_round()

    def send(self, method: str, path: str, body: object = None, *, to: Node | None = None) -> Connection:
        connection = Connection(site(to or self.network.first, self.clock))
        connection.send(request(method, path, body))
        return connection

    def ask(self, method: str, path: str, body: object = None, *, to: Node | None = None) -> Response:
        (response,) = parsed(self.send(method, path, body, to=to).received())
        return response


class Explaining(PairCase):
    def why(self) -> str:
        why: str = self.ask("GET", EXPLAIN).json["why"]
        return why

    def test_a_weight_of_zero(self) -> None:
        """A member of weight 0 is listed, and the explanation states that it gets no traffic."""
        self.ask("POST", "/registrations", {**WEB, "weight": 0})
        self.assertTrue(self.why().endswith("; its weight is 0, so it gets no traffic"), self.why())

    def test_what_is_listed(self) -> None:
        """The explanation has the node that the instance renewed at, the time left, and a report of each node."""
        self.ask("POST", "/registrations", WEB, to=self.network.second)
        self.ask("POST", "/backends", {"name": "shop", "app": "web", "version": "1.2.0"})
        self.ask("POST", "/frontends", {"name": "www", "backend": "shop"})
        self.pass_time(2)
        explained = self.ask("GET", EXPLAIN).json
        self.assertEqual((explained["id"], explained["listed"]), (WEB_ID, True))
        self.assertEqual(
            explained["why"], "listed: second heard from it 2.0 s ago, and it has 8.0 s left of its ttl of 10 s"
        )
        self.assertEqual(explained["registration"], self.ask("GET", WEB_PATH).json)
        self.assertEqual(explained["backends"], [{"name": "shop", "as": "version", "frontends": ["www"]}])
        first, second = explained["nodes"]
        self.assertEqual((first["node"], first["claim"], first["sees"][0]["node"]), ("first", None, "second"))
        self.assertEqual((second["node"], second["claim"]["left"], second["sees"]), ("second", 8.0, []))
        self.assertEqual(
            [node["events"] for node in (first, second)],
            [[{"event": "online", "at": NOW_MS, "reason": "registered"}]] * 2,
        )

    def test_what_load_balancers_find(self) -> None:
        """The explanation names the load balancers that find the instance down; the instance stays listed."""
        self.ask("POST", "/registrations", WEB)

        def report(name: str, *down: str, to: Node) -> None:
            said = {"cursor": to.journal.cursor, "report": {"down": down}}
            self.assertEqual(self.ask("PUT", f"/consumers/{name}", said, to=to).status, 200)

        report("edge", WEB_ID, to=self.network.second)
        report("rim", to=self.network.first)
        self.ask("PUT", "/consumers/silent", {"cursor": self.network.first.journal.cursor})
        explained = self.ask("GET", EXPLAIN).json
        self.assertEqual(explained["checks"], [{"consumer": "edge", "down": True}, {"consumer": "rim", "down": False}])
        self.assertTrue(explained["why"].endswith("; edge says that it is down"), explained["why"])
        report("rim", WEB_ID, to=self.network.first)
        explained = self.ask("GET", EXPLAIN).json
        everybody = "; all load balancers that send reports say that it is down (edge and rim)"
        self.assertTrue(explained["why"].endswith(everybody), explained["why"])
        self.assertTrue(explained["listed"])

    def test_what_an_operator_says(self) -> None:
        """The explanation has an operator's state, its author and its end; the state `up` is not mentioned."""
        self.ask("POST", "/registrations", WEB)
        self.assertIsNone(self.ask("GET", EXPLAIN).json["word"])
        self.ask("PUT", f"{WEB_PATH}/state", {"state": "drain", "for": 60}, to=self.network.second)
        explained = self.ask("GET", EXPLAIN).json
        self.assertEqual(explained["word"]["state"], "drain")
        drained = "; set to drain by 10.9.9.9, no new requests for another 60.0 s (to end this: bender up)"
        self.assertTrue(explained["why"].endswith(drained), explained["why"])
        self.ask("PUT", f"{WEB_PATH}/state", {"state": "up"})
        self.assertNotIn("set to", self.why())

    def test_a_canary(self) -> None:
        """The explanation lists a backend that sends a part of its traffic to this version as a canary."""
        self.ask("POST", "/registrations", WEB)
        canary = {"name": "shop", "app": "web", "version": "1", "canary": {"version": "1.2.0", "percent": 10}}
        self.ask("POST", "/backends", canary)
        self.ask("POST", "/backends", {"name": "other", "app": "web", "version": "2"})
        expected = [{"name": "shop", "as": "canary", "frontends": []}]
        self.assertEqual(self.ask("GET", EXPLAIN).json["backends"], expected)

    def test_what_has_expired(self) -> None:
        """An expired registration is explained with the time of its end, as long as the event is known."""
        self.ask("POST", "/registrations", WEB)
        self.pass_time(13)
        self.assertIn("expired since 20", self.why())
        self.assertTrue(self.why().endswith("UTC: the instance was not renewed within its ttl"))

    def test_what_was_deregistered(self) -> None:
        """The explanation of a deregistration names the node that received the request."""
        self.ask("POST", "/registrations", WEB)
        self.ask("DELETE", WEB_PATH, to=self.network.second)
        self.assertIn("deregistered since 20", self.why())
        self.assertTrue(self.why().endswith("by a request to second"))

    def test_what_was_deregistered_because_a_check_failed(self) -> None:
        """Both nodes give the reason `check-failed`, and the explanation has it while the event or the end is known."""
        for query in ("?reason=check-failed", "?reason=check-failed&wait=1"):
            self.ask("POST", "/registrations", WEB)
            connection = self.send("DELETE", f"{WEB_PATH}{query}", to=self.network.second)
            self.pass_time(1)
            self.assertIn(parsed(connection.received())[0].status, (200, 204))
            for node in (self.network.first, self.network.second):
                last = node.journal.entry(node.journal.last_number)
                assert last is not None
                self.assertIn(b'"reason":"check-failed"', last.line)
        self.assertIn("deregistered since 20", self.why())
        self.assertTrue(self.why().endswith("by a request to second, because a health check failed"))
        self.pass_time(30)
        self.assertTrue(self.why().endswith("UTC, because a health check failed"))

    def test_another_at_its_address(self) -> None:
        """Two registrations with one address name each other; that of a removed one names the present one."""
        other = {**WEB, "app": "api"}
        id_ = WEB_ID.replace("web", "api")
        self.ask("POST", "/registrations", WEB)
        self.assertEqual(self.ask("GET", EXPLAIN).json["same_address"], [])
        self.ask("POST", "/registrations", other, to=self.network.second)
        means = ", where one process answers: only one of them can be right"
        for path, named in ((EXPLAIN, id_), (f"/explain/{id_}", WEB_ID)):
            explained = self.ask("GET", path).json
            self.assertEqual(explained["same_address"], [named])
            said = f"; {named} is also listed with the address 10.0.0.5:8080{means}"
            self.assertTrue(explained["why"].endswith(said), explained["why"])
        self.ask("DELETE", WEB_PATH)
        self.assertTrue(self.why().endswith(f"; {id_} is listed with the address 10.0.0.5:8080"))

    def test_many_at_its_address(self) -> None:
        """The explanation names a few registrations with the same address; `same_address` has all of them."""
        self.ask("POST", "/registrations", WEB)
        for number in range(6):
            self.ask("POST", "/registrations", {**WEB, "app": f"app{number}"})
        self.assertIn("/8080 and 2 more are also listed with the address 10.0.0.5:8080", self.why())
        self.assertEqual(len(self.ask("GET", EXPLAIN).json["same_address"]), 6)

    def test_what_is_hidden(self) -> None:
        """The explanation of a hidden registration names the silent nodes, and the node that did not answer."""
        self.ask("POST", "/registrations", WEB, to=self.network.second)
        self.network.connected = False
        self.pass_time(15)
        why = self.why()
        self.assertIn("hidden since", why)
        self.assertIn(
            "(node-lost): first does not hear the nodes at which the instance renewed: second (last heard 15.", why
        )
        self.assertIn("; second did not answer", why)
        first, second = self.ask("GET", EXPLAIN).json["nodes"]
        self.assertTrue(first["answered"] and first["hidden"])
        self.assertEqual(
            second, {"answered": False, "node": "second", "address": "second:1730",
                     "problem": "does not answer within 1 s"}
        )  # fmt: skip

    def test_nodes_that_disagree(self) -> None:
        """The explanation names the nodes that list the registration, or do not, in contrast to this node."""
        self.network.connected = False
        self.ask("POST", "/registrations", WEB)
        self.network.connected = True  # for questions, while no message is delivered
        self.assertTrue(self.why().endswith("; second does not list it"), self.why())
        first, second = carrier_of(self.network.first), carrier_of(self.network.second)
        first.ask_diagnosis, second.ask_diagnosis = second.ask_diagnosis, partial(self.account_of, self.network.first)
        why = self.ask("GET", EXPLAIN, to=self.network.second).json["why"]
        self.assertEqual(why, "not listed at second, which does not know the instance; first does list it")

    def test_what_nobody_knows(self) -> None:
        """A registration that is unknown to all nodes gets 404."""
        self.assertEqual(self.ask("GET", EXPLAIN).status, 404)

    def test_what_expires_while_others_are_asked(self) -> None:
        """`why` and `listed` describe the same moment, even if the registration expires while peers are asked."""
        self.ask("POST", WEB_PATH)
        waiting: Deferred[None] = Deferred()

        async def account_later(address: str, key: str) -> NodeDiagnosis | NoDiagnosis:
            await waiting
            return self.network.second.diagnose(key)

        carrier_of(self.network.first).ask_diagnosis = account_later
        connection = Connection(site(self.network.first, self.clock))
        connection.send(request("GET", EXPLAIN))
        self.pass_time(12)
        waiting.callback(None)
        self.pass_time(1)
        (response,) = parsed(connection.received())
        explained = response.json
        self.assertEqual((explained["listed"], explained["why"].split()[0]), (False, "expired"))

    def test_a_client_that_goes(self) -> None:
        """The questions to peers are cancelled when the client closes its connection."""
        cancelled: list[Deferred[None]] = []

        async def hanging(_address: str, _key: object) -> None:
            await Deferred(cancelled.append)

        carrier_of(self.network.first).ask_diagnosis = hanging
        carrier_of(self.network.first).ask_consumers = hanging
        connection = self.send("GET", EXPLAIN)
        connection.lose()
        self.assertEqual((connection.received(), len(cancelled)), (b"", 2))

    def test_what_can_be_none(self) -> None:
        """An invalid id gets 400, and the message names the field."""
        response = self.ask("GET", "/explain/registration/web/1/10.0.0.5/70000")
        self.assertEqual((response.status, response.json["message"][:5]), (400, "port:"))


class Names(ApiCase):
    def test_with_quotes_and_such(self) -> None:
        """The events of an id are found in each form that JSON has for the id."""
        name = 'a"b\\c'
        self.ask("POST", "/registrations", {**WEB, "version": name})
        path = f"/explain/registration/web/{name.replace(chr(34), '%22').replace(chr(92), '%5C')}/10.0.0.5/8080"
        untold = self.ask("GET", path).json["nodes"][0]["events"]
        self.ask("GET", "/events?since=0000000000000001-0")  # the event is encoded from now on
        self.assertEqual(len(untold), 1)
        self.assertEqual(self.ask("GET", path).json["nodes"][0]["events"], untold)


class DeregisteringEverywhere(PairCase):
    def setUp(self) -> None:
        super().setUp()
        self.ask("POST", "/registrations", WEB)

    def answer(self, connection: Connection) -> Any:
        return parsed(connection.received())[0].json

    def test_all_nodes_have_it(self) -> None:
        """The answer is sent when the last node has the deregistration."""
        response = self.ask("DELETE", f"{WEB_PATH}?wait=5")
        expected = {"applied": ["first", "second"], "consumers": [], "missing": []}
        self.assertEqual((response.status, response.json), (200, expected))
        self.assertIsNone(self.network.second.registration(WEB_ID))

    def test_consumers_have_applied_it(self) -> None:
        """The deregistration waits for the connected consumers of all nodes; disconnected ones are missing."""
        first, second = self.network.first, self.network.second
        ends = [second.consumers.connect(name, Selection()) for name in ("edge", "gone")]
        first.consumers.connect("rim", Selection())
        ends[1].end()
        connection = self.send("DELETE", f"{WEB_PATH}?wait=5")
        self.assertEqual(connection.received(), b"")
        for name, node in (("edge", second), ("rim", first)):
            node.consumers.confirm(name, Confirmation(node.journal.cursor))
        answer = self.answer(connection)
        self.assertEqual(answer, {"applied": ["first", "second"], "consumers": ["edge", "rim"], "missing": ["gone"]})

    def test_consumers_that_went_elsewhere(self) -> None:
        """A consumer that moved to another node is listed there only."""
        first, second = self.network.first, self.network.second
        first.consumers.connect("edge", Selection()).end()
        second.consumers.connect("edge", Selection())
        (consumer,) = self.ask("GET", "/consumers").json
        self.assertEqual((consumer["node"], consumer["connected"]), ("second", True))

    def test_consumers_that_do_not_confirm(self) -> None:
        """The deregistration waits for consumers until its time is over, and names those that have not confirmed."""
        before = self.network.second.journal.cursor
        self.network.second.consumers.connect("edge", Selection())
        connection = self.send("DELETE", f"{WEB_PATH}?wait=2")
        self.network.second.consumers.confirm("edge", Confirmation(before))
        self.pass_time(1.75)
        self.assertEqual(connection.received(), b"")
        self.pass_time(0.5)
        self.assertEqual(
            self.answer(connection), {"applied": ["first", "second"], "consumers": [], "missing": ["edge"]}
        )

    def test_a_node_that_does_not_say_who_its_consumers_are(self) -> None:
        """A node that does not answer about its consumers is missing, even if it has the deregistration."""

        async def nothing(_address: str, _awaited: AwaitedChange) -> None:
            return None

        carrier_of(self.network.first).ask_consumers = nothing
        answer = self.ask("DELETE", f"{WEB_PATH}?wait=5").json
        self.assertEqual(answer, {"applied": ["first"], "consumers": [], "missing": ["second"]})

    def test_it_waits(self) -> None:
        """The deregistration waits for a node that does not have it yet."""
        self.network.connected = False
        connection = self.send("DELETE", f"{WEB_PATH}?wait=5")
        self.pass_time(1)
        self.assertEqual(connection.received(), b"")
        self.network.reconnect()
        self.assertEqual(self.answer(connection)["applied"], ["first", "second"])

    def test_no_longer_than_it_may(self) -> None:
        """When the time is over, the nodes that do not have the deregistration are named."""
        self.network.connected = False
        connection = self.send("DELETE", f"{WEB_PATH}?wait=1.5")
        self.pass_time(1.25)
        self.assertEqual(connection.received(), b"")
        self.pass_time(0.5)
        self.assertEqual(self.answer(connection), {"applied": ["first"], "consumers": [], "missing": ["second"]})

    def test_not_for_the_silent(self) -> None:
        """The deregistration does not wait for a silent node, which is missing."""
        self.network.connected = False
        connection = self.send("DELETE", f"{WEB_PATH}?wait=60")
        self.pass_time(4)
        self.assertEqual(self.answer(connection)["missing"], ["second"])

    def test_not_at_all(self) -> None:
        """With `wait=0` the answer has the state of this moment."""
        self.network.connected = False
        self.assertEqual(self.ask("DELETE", f"{WEB_PATH}?wait=0").json["missing"], ["second"])

    def test_what_is_not_there(self) -> None:
        """An absent registration gets 404, with and without `wait`."""
        self.ask("DELETE", WEB_PATH)
        self.assertEqual(self.ask("DELETE", f"{WEB_PATH}?wait=5").status, 404)

    def test_what_is_no_time(self) -> None:
        """An invalid `wait` gets 400, and nothing is deregistered."""
        for wait in ("", "-1", "soon", "1e3", "5&wait=6"):
            response = self.ask("DELETE", f"{WEB_PATH}?wait={wait}")
            self.assertEqual((response.status, response.json["message"][:5]), (400, "wait:"), wait)
        self.assertIsNotNone(self.network.first.registration(WEB_ID))

    def test_a_node_that_leaves(self) -> None:
        """Waiting requests are answered when the node leaves."""
        self.network.connected = False
        connection = self.send("DELETE", f"{WEB_PATH}?wait=60")
        self.network.first.leave()
        self.assertEqual(self.answer(connection)["missing"], ["second"])

    def test_a_client_that_goes(self) -> None:
        """A cancelled wait is removed."""
        self.network.connected = False
        self.network.first.deregister(WEB_ID)
        waiting = Deferred.fromCoroutine(self.network.first.until_applied(WEB_ID, 60))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.pass_time(4)
        self.assertEqual(len(self.network.first._ledger_propagation._waiting), 0)

    def test_many_in_their_order(self) -> None:
        """A request for a registration that is absent gets 404 at once, while an earlier request waits."""
        first = self.network.first
        early = Deferred.fromCoroutine(first.until_applied(WEB_ID, 60))
        self.assertTrue(self.successResultOf(early).nodes)
        self.network.connected = False
        waiting = [self.send("DELETE", f"{WEB_PATH}?wait=2"), self.send("DELETE", f"{WEB_PATH}?wait=2")]
        self.assertEqual(parsed(waiting[1].received())[0].status, 404)
        self.network.reconnect()
        self.assertEqual(self.answer(waiting[0])["missing"], [])


class Status(PairCase):
    def test_what_was_done_since_the_start(self) -> None:
        """`/status` has the numbers of rounds, sweeps and requests, and the API addresses of the nodes."""
        status = self.ask("GET", "/status").json
        counted = status["since_start"]
        self.assertGreater(counted["rounds"], 1)
        self.assertEqual((counted["sweeps"], counted["failed"]), (8, 0))
        self.assertGreaterEqual(counted["requests"], counted["answered"])
        self.assertEqual((status["api"], status["peers"][0]["api"]), (None, None))
