"""Exchanges with TLS: peers with certificates of one CA reach each other, and what is wrong with others is in words."""

from __future__ import annotations

from bender.exchange.client import UNDER_WAY_MAX
from bender.node.node import Node
from bender.tls.connections import PeersTls
from tests.exchange.network import Stranger
from tests.exchange.test_exchange import KEY, WEB, ExchangeOfNodes
from tests.tls.in_memory import DAY, an_authority, an_identity, now

FIRST, SECOND = "10.0.0.1", "10.0.0.2"


class TlsCase(ExchangeOfNodes):
    def setUp(self) -> None:
        super().setUp()
        self.authority = an_authority()

    def a_peer(self, **made: object) -> PeersTls:
        """A certificate of the CA that the first node has as well."""
        return PeersTls(an_identity(self.authority, **made))  # type: ignore[arg-type]

    def pair(self, first: PeersTls | None, second: PeersTls | None) -> tuple[Node, Node]:
        """Two nodes, of which the second was told of the first."""
        nodes = self.node_at(FIRST, tls=first), self.node_at(SECOND, f"{FIRST}:1730", tls=second)
        self.network.settle()
        return nodes

    def ids(self, node: Node) -> list[str]:
        return [claim.key for claim in node.claims()]


class SameAuthority(TlsCase):
    def test_peers(self) -> None:
        """What changes at one node is known at the other, in both directions."""
        first, second = self.pair(self.a_peer(hosts=["n1"]), self.a_peer(hosts=["n2"]))
        self.pass_time(3)
        first.register(WEB)
        self.network.settle()
        self.assertEqual(self.ids(second), [KEY])
        second.deregister(KEY)
        self.pass_time(1)
        self.assertEqual(self.ids(first), [])
        self.assertEqual((first.status()["problems"], second.status()["problems"]), ({}, {}))

    def test_replaced_certificates(self) -> None:
        """A cluster changes its CA without an interruption, node by node."""
        tls = [self.a_peer(), self.a_peer()]
        first, second = self.pair(*tls)
        self.pass_time(2)
        new = an_authority()
        for each in tls:
            each.replace(an_identity(new))
            self.pass_time(1)
        first.register(WEB)
        self.pass_time(1)
        self.assertEqual(self.ids(second), [KEY])


class Refused(TlsCase):
    """Nothing passes between these, and each states why."""

    def problems(self, first: PeersTls | None, second: PeersTls | None) -> tuple[str, str]:
        """What the second node, which knows the first, has as a problem of it; and what is in its log."""
        one, other = self.pair(first, second)
        one.register(WEB)
        self.pass_time(10, [one, other])
        self.assertEqual(self.ids(other), [])
        lines = [line for line in self.lines if f"{FIRST}:1730" in line]
        return other.status()["problems"][f"{FIRST}:1730"], lines[0]

    def test_another_authority(self) -> None:
        problem, line = self.problems(self.a_peer(), PeersTls(an_identity(an_authority())))
        self.assertEqual(problem, "cannot be reached with TLS: its certificate is signed by another CA")
        self.assertIn(problem, line)

    def test_a_peer_that_another_authority_has_certified(self) -> None:
        """It learns that it is refused, although it accepts the node."""
        stranger = PeersTls(an_identity(an_authority(), trusting=self.authority))
        problem, _ = self.problems(self.a_peer(), stranger)
        self.assertEqual(
            problem,
            "cannot be reached with TLS: it does not accept this side's certificate: another CA has signed it",
        )

    def test_an_expired_certificate(self) -> None:
        """On either side."""
        expired = self.a_peer(at=now() - 10 * DAY, lasts=DAY)
        problem, _ = self.problems(expired, self.a_peer())
        self.assertEqual(problem, "cannot be reached with TLS: its certificate has expired")

    def test_a_peer_without_tls(self) -> None:
        """A node with TLS answers it in plain HTTP, with what to do."""
        problem, _ = self.problems(self.a_peer(), None)
        self.assertIn("this port uses TLS: start the sender with --peer-tls DIR", problem)

    def test_a_node_without_tls(self) -> None:
        problem, _ = self.problems(None, self.a_peer())
        self.assertEqual(problem, "cannot be reached with TLS: it does not use TLS")

    def test_a_silent_stranger(self) -> None:
        """Its connections do not pile up: a node gives them up, as without TLS."""
        stranger = Stranger()
        self.network.listening[FIRST, 1730] = stranger
        node = self.node_at(SECOND, f"{FIRST}:1730", tls=self.a_peer())
        self.addCleanup(self.network.listening.pop, (FIRST, 1730))
        for _ in range(30):
            self.pass_time(1)
            self.assertLessEqual(stranger.connected, UNDER_WAY_MAX)
        self.assertIn("does not answer", node.status()["problems"][f"{FIRST}:1730"])
        self.assertGreater(self.network.connections, 10)
