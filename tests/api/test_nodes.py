"""`GET /nodes`: what each node of the cluster reports about itself."""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from bender import __version__
from bender.api.nodes import node_fields
from bender.core.node_report import NodeReport, NoNodeReport
from bender.node.node import Node
from tests.api.conversation import WEB, ApiCase, carrier_of
from tests.api.test_explain import PairCase


class OfTwoNodes(PairCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[str] = []
        self.changed: dict[str, Any] = {}
        carrier_of(self.network.first).ask_report = partial(self.report_of, self.network.second)

    async def report_of(self, node: Node, address: str) -> NodeReport | str:
        self.asked.append(address)
        return replace(node.own_report(), **self.changed) if self.network.connected else "does not answer within 1 s"

    def nodes(self) -> list[dict[str, Any]]:
        response = self.ask("GET", "/nodes")
        self.assertEqual(response.status, 200)
        answer: list[dict[str, Any]] = response.json
        return answer

    def unanswered(self, problem: str) -> dict[str, Any]:
        return {"answered": False, "node": "second", "address": "second:1730", "problem": problem}

    def test_both(self) -> None:
        """Each node has its own numbers, and hears the other."""
        self.ask("POST", "/registrations", WEB)
        self.pass_time(1)
        first, second = self.nodes()
        identity = self.network.first.replica.identity
        self.assertEqual(
            first,
            {
                "answered": True,
                "node": "first",
                "address": "first:1730",
                "api": None,
                "incarnation": f"{identity.incarnation:016x}",
                "version": __version__,
                "ready": True,
                "uptime": 3.0,
                "digest": self.network.first.status()["digest"],
                "registrations": 1,
                "hears": [{"node": "second", "address": "second:1730", "state": "heard", "lag": 0.0}],
            },
        )
        self.assertEqual((second["answered"], second["node"], second["registrations"]), (True, "second", 1))
        self.assertEqual(second["hears"], [{"node": "first", "address": "first:1730", "state": "heard", "lag": 0.0}])
        self.assertEqual((second["digest"], self.asked), (first["digest"], ["second:1730"]))

    def test_a_peer_that_does_not_answer(self) -> None:
        """A peer that does not answer is listed with the reason; this node still hears it."""
        self.network.connected = False
        first, second = self.nodes()
        self.assertEqual(second, self.unanswered("does not answer within 1 s"))
        self.assertEqual([heard["state"] for heard in first["hears"]], ["heard"])

    def test_a_silent_peer(self) -> None:
        """A silent peer is not asked."""
        self.network.connected = False
        self.pass_time(4)
        first, second = self.nodes()
        self.assertEqual(second, self.unanswered("was not heard for 4.0 s"))
        self.assertEqual((first["hears"][0]["state"], first["hears"][0]["lag"], self.asked), ("silent", 4.0, []))

    def test_a_peer_that_was_never_found(self) -> None:
        """A seed that was never reached is listed under its address, in order; a known peer is listed once."""
        for seed in ("fourth:1730", "first-of-all:1730", "second:1730"):
            self.network.first.set_seed_addresses(seed, [])
        problem = "was never reached from this node"
        first, second, *others = sorted(self.nodes(), key=lambda each: bool(each["answered"]), reverse=True)
        self.assertEqual((first["node"], second["node"]), ("first", "second"))
        self.assertEqual(
            others,
            [
                {"answered": False, "node": address, "address": address, "problem": problem}
                for address in ("first-of-all:1730", "fourth:1730")
            ],
        )
        self.assertEqual(
            [each["node"] for each in self.nodes()], ["first", "first-of-all:1730", "fourth:1730", "second"]
        )

    def test_a_peer_that_left(self) -> None:
        """A node that left is not listed any more, and the others report that it left."""
        self.network.second.leave()
        (first,) = self.nodes()
        self.assertEqual([(heard["node"], heard["state"]) for heard in first["hears"]], [("second", "left")])

    def test_names_that_are_the_same(self) -> None:
        """Nodes with one name are in order of their addresses."""
        for address, order in (("a:1730", ["a:1730", "first:1730"]), ("x:1730", ["first:1730", "x:1730"])):
            self.changed = {"name": "first", "address": address}
            self.assertEqual([each["address"] for each in self.nodes()], order)

    def test_a_peer_that_was_started_again(self) -> None:
        """A peer that was restarted is listed with the incarnation that answers."""
        self.changed = {"incarnation": 2**64 - 1}
        self.assertEqual([each["incarnation"] for each in self.nodes()][1], "f" * 16)

    def test_an_address_at_which_another_answers(self) -> None:
        """If this node itself answers at the address of a peer, the peer is listed with this problem."""
        self.changed = {"incarnation": self.network.first.replica.identity.incarnation}
        self.assertEqual(self.nodes()[1], self.unanswered("another node answers at its address"))

    def test_a_client_that_goes(self) -> None:
        """The question to the peer is cancelled when the client closes its connection."""
        cancelled: list[Deferred[None]] = []

        async def hanging(_address: str) -> None:
            await Deferred(cancelled.append)

        carrier_of(self.network.first).ask_report = hanging
        connection = self.send("GET", "/nodes")
        self.assertEqual((connection.received(), cancelled), (b"", []))
        connection.lose()
        self.assertEqual(len(cancelled), 1)


class Alone(ApiCase):
    def test_it_is_the_only_one(self) -> None:
        """A node alone lists only itself, and hears no peer."""
        (own,) = self.ask("GET", "/nodes").json
        self.assertEqual((own["node"], own["ready"], own["hears"]), ("n1", True, []))

    def test_not_modified(self) -> None:
        """An unchanged list is not sent again."""
        etag = self.ask("GET", "/nodes").headers["etag"]
        self.assertEqual(self.ask("GET", "/nodes", if_none_match=etag).status, 304)

    def test_while_it_is_not_ready(self) -> None:
        """A node that is not ready answers, and lists the seed that has not answered."""
        self.await_a_seed()
        own, peer = self.ask("GET", "/nodes").json
        self.assertEqual((own["node"], own["ready"], peer["node"], peer["answered"]), ("n1", False, "peer:1730", False))


class Fields(ApiCase):
    def test_what_clients_see(self) -> None:
        """Large numbers are text, because JSON readers may round them; the address of the API has a host and a port."""
        report = NodeReport(26, "n1", "10.0.0.1:1730", 1729, "0.2.0", False, 1.5, 27, 3, ())
        fields = node_fields(report)
        self.assertEqual(
            [fields[name] for name in ("api", "incarnation", "digest", "ready", "uptime")],
            ["10.0.0.1:1729", "000000000000001a", "000000000000001b", False, 1.5],
        )
        self.assertEqual(
            node_fields(NoNodeReport("n2", "n2:1", "hangs")),
            {"answered": False, "node": "n2", "address": "n2:1", "problem": "hangs"},
        )
