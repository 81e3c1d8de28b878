"""Exchanges with TLS: peers with certificates of one CA reach each other; other peers get a clear problem."""

from __future__ import annotations

from collections.abc import Sequence

from bender.exchange.client import UNDER_WAY_MAX
from bender.node.node import Node
from bender.tls.connections import PeersTls, PeerTlsMode
from tests.exchange.network import Stranger
from tests.exchange.test_exchange import KEY, WEB, ExchangeOfNodes
from tests.tls.in_memory import DAY, an_authority, an_identity, now

FIRST, SECOND = "10.0.0.1", "10.0.0.2"

#: The address from which all connections come in these tests.
CLIENT = "10.0.0.9"

ALLOW, PREFER, REQUIRE = PeerTlsMode

NOT_YET = "does not use TLS yet: start it with --peer-tls-mode prefer"


class TlsCase(ExchangeOfNodes):
    def setUp(self) -> None:
        super().setUp()
        self.authority = an_authority()

    def a_peer(self, **made: object) -> PeersTls:
        """Return a certificate of the CA that the first node has as well."""
        return PeersTls(an_identity(self.authority, **made))  # type: ignore[arg-type]

    def pair(
        self,
        first: PeersTls | None,
        second: PeersTls | None,
        modes: Sequence[PeerTlsMode] = (REQUIRE, REQUIRE),
    ) -> tuple[Node, Node]:
        """Start two nodes, the second of which has the first as its seed."""
        nodes = (
            self.node_at(FIRST, tls=first, tls_mode=modes[0]),
            self.node_at(SECOND, f"{FIRST}:1730", tls=second, tls_mode=modes[1]),
        )
        self.network.settle()
        return nodes

    def ids(self, node: Node) -> list[str]:
        return [claim.key for claim in node.claims()]


class SameAuthority(TlsCase):
    def test_peers(self) -> None:
        """A change at one node reaches the other, in both directions."""
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
        first, second = self.pair(tls[0], tls[1])
        self.pass_time(2)
        new = an_authority()
        for each in tls:
            each.replace(an_identity(new))
            self.pass_time(1)
        first.register(WEB)
        self.pass_time(1)
        self.assertEqual(self.ids(second), [KEY])


class Modes(TlsCase):
    """Nodes that are moved to TLS one after the other; None is a node without TLS."""

    def meet(self, first: PeerTlsMode | None, second: PeerTlsMode | None) -> tuple[Node, Node]:
        """Start two nodes in these modes, and expect that registrations at each node reach the other one."""
        tls = [None if mode is None else self.a_peer() for mode in (first, second)]
        nodes = self.pair(tls[0], tls[1], (first or REQUIRE, second or REQUIRE))
        self.pass_time(3, nodes)
        for here, there in (nodes, nodes[::-1]):
            here.register(WEB)
            self.pass_time(1, nodes)
            self.assertEqual(self.ids(there), [KEY], (first, second))
            here.deregister(KEY)
            self.pass_time(1, nodes)
            self.assertEqual(self.ids(there), [], (first, second))
        return nodes

    def test_each_step_with_the_one_before_and_itself(self) -> None:
        """Nodes in the same step or in neighbouring steps exchange, so a cluster can be moved node by node."""
        for pair in ((None, ALLOW), (ALLOW, ALLOW), (ALLOW, PREFER), (PREFER, PREFER), (PREFER, REQUIRE)):
            for first, second in (pair, pair[::-1]):
                nodes = self.meet(first, second)
                problems = [problem for node in nodes for problem in node.status()["problems"].values()]
                left = {ALLOW, PREFER} == {*pair}
                self.assertEqual(problems, [NOT_YET] * left, pair)
                self.stop_all()

    def test_who_is_left(self) -> None:
        """A node that prefers TLS names the peers without TLS, until some seconds after they use it."""
        nodes = self.meet(PREFER, ALLOW)
        self.assertEqual(nodes[0].status()["problems"], {CLIENT: NOT_YET})
        self.exchanges[SECOND].stopService()
        self.pass_time(2, nodes[:1])
        second = self.node_at(SECOND, f"{FIRST}:1730", tls=self.a_peer(), tls_mode=PREFER)
        self.assertEqual(nodes[0].status()["problems"], {CLIENT: NOT_YET})
        self.pass_time(5, [nodes[0], second])
        self.assertEqual(nodes[0].status()["problems"], {})

    def test_a_step_left_out(self) -> None:
        """If a step is left out, one node refuses the other with the reason."""
        one, other = self.pair(self.a_peer(), self.a_peer(), (REQUIRE, ALLOW))
        self.pass_time(10, [one, other])
        problem = other.status()["problems"][f"{FIRST}:1730"]
        self.assertIn("this port uses TLS: start the sender with --peer-tls DIR", problem)

    def test_a_peer_with_another_authority(self) -> None:
        """A certificate is checked in each mode."""
        for mode in (ALLOW, PREFER):
            one, other = self.pair(self.a_peer(), PeersTls(an_identity(an_authority())), (mode, REQUIRE))
            one.register(WEB)
            self.pass_time(10, [one, other])
            self.assertEqual(self.ids(other), [])
            self.assertIn("is signed by another CA", other.status()["problems"][f"{FIRST}:1730"])
            self.stop_all()


class Refused(TlsCase):
    """These nodes exchange nothing, and each has the reason as a problem."""

    def problems(self, first: PeersTls | None, second: PeersTls | None) -> tuple[str, str]:
        """Return the problem that the second node has with the first, and its log line."""
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
        """A node learns that its certificate is refused, although it accepts that of the peer."""
        stranger = PeersTls(an_identity(an_authority(), trusting=self.authority))
        problem, _ = self.problems(self.a_peer(), stranger)
        self.assertEqual(
            problem,
            "cannot be reached with TLS: it does not accept this side's certificate: another CA has signed it",
        )

    def test_an_expired_certificate(self) -> None:
        """A peer with an expired certificate is refused."""
        expired = self.a_peer(at=now() - 10 * DAY, lasts=DAY)
        problem, _ = self.problems(expired, self.a_peer())
        self.assertEqual(problem, "cannot be reached with TLS: its certificate has expired")

    def test_a_peer_without_tls(self) -> None:
        """A node with TLS answers a peer without TLS in plain HTTP, with the remedy."""
        problem, _ = self.problems(self.a_peer(), None)
        self.assertIn("this port uses TLS: start the sender with --peer-tls DIR", problem)

    def test_a_node_without_tls(self) -> None:
        problem, _ = self.problems(None, self.a_peer())
        self.assertEqual(problem, "cannot be reached with TLS: it does not use TLS")

    def test_a_silent_stranger(self) -> None:
        """Connections to a peer that never answers are given up, so their number stays limited."""
        stranger = Stranger()
        self.network.listening[FIRST, 1730] = stranger
        node = self.node_at(SECOND, f"{FIRST}:1730", tls=self.a_peer())
        self.addCleanup(self.network.listening.pop, (FIRST, 1730))
        for _ in range(30):
            self.pass_time(1)
            self.assertLessEqual(stranger.connected, UNDER_WAY_MAX)
        self.assertIn("does not answer", node.status()["problems"][f"{FIRST}:1730"])
        self.assertGreater(self.network.connections, 10)
