"""Exchanges of real nodes on one network: nodes find each other, and a change at one node reaches all nodes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from twisted.application.service import IService
from twisted.internet.error import CannotListenError

from bender.core.model import RegistrationRequest
from bender.core.timing import Timing
from bender.exchange import Exchange
from bender.node.node import Node
from bender.node.sources import Sources
from bender.tls.connections import PeersTls, PeerTlsMode
from tests.exchange.network import Double, ExchangeCase, Stranger

KEY = "registration/web/1/h/80"
WEB = RegistrationRequest("web", "1", "h", 80, None, None, None)


class ExchangeOfNodes(ExchangeCase):
    def setUp(self) -> None:
        super().setUp()
        self.exchanges: dict[str, Exchange] = {}
        self.incarnations = iter(range(1, 100))
        self.addCleanup(self.stop_all)

    def node_at(
        self,
        host: str,
        *seeds: str,
        cluster: str = "bender",
        interval_s: float = 1.0,
        start: bool = True,
        name: str | None = None,
        tls: PeersTls | None = None,
        tls_mode: PeerTlsMode = PeerTlsMode.REQUIRE,
    ) -> Node:
        """Return a node with an exchange at HOST:1730; its name is HOST unless another one is given."""
        sources = Sources(self.network.seconds, lambda: 0, lambda: next(self.incarnations))
        timing = Timing(interval_s=interval_s, ttl_s=10.0)
        endpoint = f"tcp:1730:interface={host}"
        exchange = partial(
            Exchange,
            self.network,
            endpoint=endpoint,
            cluster=cluster,
            seeds=seeds,
            tls=tls,
            tls_mode=tls_mode,
            chance=lambda: 0.5,
        )
        node = Node(
            self.network,
            sources,
            name=name or host,
            address=f"{host}:1730",
            timing=timing,
            seeds=seeds,
            exchange=exchange,
        )
        assert isinstance(node.exchange, Exchange)
        self.exchanges[host] = node.exchange
        if start:
            self.exchanges[host].startService()
        return node

    def stop_all(self) -> None:
        for exchange in self.exchanges.values():
            if exchange.running:
                exchange.stopService()
        self.network.pass_time(2)
        self.assertEqual((self.network.listening, self.network.open), ({}, 0))

    def pass_time(self, seconds: float, nodes: Sequence[Node] = ()) -> None:
        """Let time pass, with four sweeps of the nodes in each second."""
        for _ in range(round(seconds * 4)):
            self.network.pass_time(0.25)
            for node in nodes:
                node.sweep()

    def lines_of(self, *words: str) -> list[str]:
        return [line for line in self.lines if all(word in line for word in words)]


class Cluster(ExchangeOfNodes):
    def test_what_changes_at_one_node_is_known_at_the_others_without_delay(self) -> None:
        """A registration reaches all nodes before any time passes, also a node that knew only the seed at first."""
        nodes = [self.node_at("10.0.0.1"), self.node_at("10.0.0.2", "10.0.0.1:1730")]
        nodes.append(self.node_at("10.0.0.3", "10.0.0.1:1730"))
        self.pass_time(2, nodes)
        self.assertEqual([node.ready for node in nodes], [True] * 3)
        nodes[1].register(WEB)
        self.network.settle()
        self.assertTrue(all(node.registration(KEY) for node in nodes))
        self.assertEqual(len({node.replica.digest() for node in nodes}), 1)
        self.assertEqual(self.lines, [])

    def test_a_node_that_was_told_of_itself_and_of_one_twice_is_fine(self) -> None:
        """A node recognizes its own address among its seeds, and knows the other node once."""
        self.network.names.addresses["nodes.example"] = ["10.0.0.1", "10.0.0.2"]
        seeds = ("10.0.0.1:1730", "10.0.0.2:1730", "nodes.example:1730")
        nodes = [self.node_at("10.0.0.1", *seeds), self.node_at("10.0.0.2", *seeds)]
        self.pass_time(3, nodes)
        self.assertEqual([node.ready for node in nodes], [True, True])
        self.assertEqual([len(node.status()["peers"]) for node in nodes], [1, 1])
        self.assertEqual([line for line in self.lines if "resolves to" not in line], [])

    def test_a_peer_that_comes_later_is_found(self) -> None:
        """A peer that starts later is found, and the log has its absence once and its end once."""
        one = self.node_at("10.0.0.1", "10.0.0.2:1730")
        self.pass_time(10, [one])
        self.assertEqual(self.lines, ["Peer 10.0.0.2:1730 does not answer (connection was refused by other side)."])
        one.register(WEB)
        two = self.node_at("10.0.0.2")
        self.pass_time(3, [one, two])
        self.assertTrue(two.registration(KEY))
        self.assertEqual(len(self.lines_of("Solved for peer ")), 1)
        self.assertEqual(one.status()["problems"], {})


class Strangers(ExchangeOfNodes):
    def test_a_peer_of_another_cluster_is_refused_and_named_once_on_both_sides(self) -> None:
        """Nodes of two clusters refuse each other, which is logged once on each side, and share no registrations."""
        blue = self.node_at("10.0.0.1", "10.0.0.2:1730", cluster="blue")
        green = self.node_at("10.0.0.2", "10.0.0.1:1730", cluster="green")
        self.pass_time(10, [blue, green])
        blue.register(WEB)
        self.pass_time(5, [blue, green])
        self.assertIsNone(green.registration(KEY))
        self.assertEqual(
            sorted(self.lines),
            [
                "Peer 10.0.0.1:1730 belongs to cluster 'blue', but this node belongs to 'green'.",
                "Peer 10.0.0.2:1730 belongs to cluster 'green', but this node belongs to 'blue'.",
            ],
        )
        self.assertEqual(
            blue.status()["problems"], {"10.0.0.2:1730": "belongs to cluster 'green', but this node belongs to 'blue'"}
        )

    def test_a_peer_with_another_interval_is_named_once_on_both_sides(self) -> None:
        """Nodes with different intervals exchange registrations, and the difference is logged once on each side."""
        one = self.node_at("10.0.0.1", "10.0.0.2:1730")
        two = self.node_at("10.0.0.2", interval_s=1.25)
        self.pass_time(10, [one, two])
        one.register(WEB)
        self.pass_time(1, [one, two])
        self.assertTrue(two.registration(KEY))
        self.assertEqual(
            sorted(self.lines),
            [
                "Peer 10.0.0.1:1730 has an interval of 1 s, but this node has 1.25 s.",
                "Peer 10.0.0.2:1730 has an interval of 1.25 s, but this node has 1 s.",
            ],
        )
        self.assertEqual(
            one.status()["problems"], {"10.0.0.2:1730": "has an interval of 1.25 s, but this node has 1 s"}
        )

    def test_strangers_disturb_nobody(self) -> None:
        """A seed that hangs, one that sends invalid bytes and one that is absent are logged once each; nodes go on."""
        self.network.listening["10.0.0.7", 1730] = Stranger(None)
        self.network.listening["10.0.0.8", 1730] = Stranger(b"220 mail.example ESMTP\r\n")
        strangers = ["10.0.0.7:1730", "10.0.0.8:1730", "10.0.0.9:1730"]
        one = self.node_at("10.0.0.1", "10.0.0.2:1730", *strangers)
        two = self.node_at("10.0.0.2", "10.0.0.1:1730")
        self.pass_time(10, [one, two])
        self.assertTrue(one.ready)
        one.register(WEB)
        self.network.settle()
        self.assertTrue(two.registration(KEY))
        self.pass_time(10, [one, two])
        self.assertEqual([len(self.lines_of(stranger)) for stranger in strangers], [1, 1, 1])
        self.assertEqual(len(self.lines), 3)
        del self.network.listening["10.0.0.7", 1730], self.network.listening["10.0.0.8", 1730]


class Service(ExchangeOfNodes):
    def test_it_listens_before_it_asks(self) -> None:
        """The exchange listens before it sends, so that a port in use is found first."""
        self.node_at("10.0.0.1", "10.0.0.2:1730", start=False)
        self.exchanges["10.0.0.1"].privilegedStartService()
        self.assertEqual(list(self.network.listening), [("10.0.0.1", 1730)])
        self.network.settle()
        self.assertEqual(self.network.tcpClients, [])
        self.exchanges["10.0.0.1"].startService()
        self.network.settle()
        self.assertEqual(list(self.network.listening), [("10.0.0.1", 1730)])
        self.assertEqual(len(self.network.tcpClients), 1)

    def test_a_port_in_use_is_an_error(self) -> None:
        """A port in use is raised as an error, so that the process can end with it."""

        def in_use(*_: object, **__: object) -> None:
            raise CannotListenError("10.0.0.1", 1730, OSError("Address already in use"))

        self.network.listenTCP = in_use  # type: ignore[assignment,method-assign]
        self.node_at("10.0.0.1", start=False)
        self.assertRaises(CannotListenError, self.exchanges["10.0.0.1"].privilegedStartService)

    def test_a_node_that_leaves_is_known_to_have_left(self) -> None:
        """A node that leaves stops listening, tells its peers, waits for their answers, and closes its connections."""
        one, two = self.node_at("10.0.0.1", "10.0.0.2:1730"), self.node_at("10.0.0.2", "10.0.0.1:1730")
        self.pass_time(2, [one, two])
        one.leave()
        stopped = self.exchanges["10.0.0.1"].stopService()
        self.assertNotIn(("10.0.0.1", 1730), self.network.listening)
        self.network.settle()
        self.successResultOf(stopped)
        self.assertEqual([peer["state"] for peer in two.status()["peers"]], ["left"])
        self.assertEqual(self.lines, [])

    def test_a_peer_that_hangs_does_not_hold_up_the_end(self) -> None:
        """A peer that hangs delays the stop by an interval; after that no request and no look-up is under way."""
        hanging = self.network.listening["10.0.0.2", 1730] = Stranger(None)
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.node_at("10.0.0.1", "nodes.example:1730")
        self.network.pass_time(2.5)
        stopped = self.exchanges["10.0.0.1"].stopService()
        self.network.pass_time(0.25)
        self.assertNoResult(stopped)
        self.network.pass_time(0.75)
        self.successResultOf(stopped)
        self.assertEqual((hanging.connected, self.network.getDelayedCalls()), (0, []))
        del self.network.listening["10.0.0.2", 1730]

    def test_it_is_a_service(self) -> None:
        """An exchange is a service of Twisted."""
        self.assertTrue(IService.providedBy(Exchange(self.network, Double(), endpoint="tcp:1", cluster="c", seeds=[])))
