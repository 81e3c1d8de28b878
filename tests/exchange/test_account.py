"""Questions to peers: about ids, about themselves, and about their consumers."""

from __future__ import annotations

from msgspec import msgpack
from twisted.internet.defer import Deferred

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import AwaitedChange, Confirmation, ConsumerState
from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis
from bender.core.node_report import HeardPeer, NodeReport, NoNodeReport
from bender.core.peers import PEERS_MAX
from bender.exchange.client import GossipClient
from bender.exchange.transport import PeerTransport
from bender.exchange.wire import WIRE_VERSION, Wire
from bender.exchange.wire_errors import Malformed
from bender.node.event_selection import Selection
from bender.node.inquiries import ClaimsFound, all_claims, all_reports, peer_diagnoses
from tests.exchange.network import LISTED, ExchangeCase, http_answer
from tests.exchange.test_exchange import KEY, WEB, ExchangeOfNodes
from tests.exchange.test_server import ServerCase

AWAITED = AwaitedChange(KEY, 1, 1, 3.0)

#: The encoded report of the double of a node.
REPORT = [
    *(1, "n1", "10.0.0.1:1730", 1729, "0.2.0", True, 123.4, 2**64 - 1, 3),
    [["n2", "10.0.0.2:1730", "heard", 0.4], ["n3", "10.0.0.3:1730", "silent", None]],
]


class Asked(ServerCase):
    """The answers of a node to questions."""

    def test_an_id_is_answered_with_an_account(self) -> None:
        """A question about an id is answered with the node's diagnosis of the id."""
        status, media_type, body = self.call("POST", "/account", self.wire.encode_inquiry(LISTED))
        self.assertEqual((status, media_type), (200, "application/msgpack"))
        self.assertEqual(self.wire.decode_diagnosis(body), self.node.diagnose(LISTED))

    def test_another_cluster_is_refused(self) -> None:
        """A question of another cluster gets 409."""
        status, _, body = self.call("POST", "/account", Wire("other", 1.0).encode_inquiry(LISTED))
        self.assertEqual((status, b"belongs to cluster 'other'" in body), (409, True))

    def test_rubbish_is_refused(self) -> None:
        """A question of an invalid form gets 400."""
        for rubbish in (b"", b"\xc1", msgpack.encode([WIRE_VERSION, "bender"]), msgpack.encode([1, "bender", ""])):
            self.assertEqual(self.call("POST", "/account", rubbish)[0], 400)

    def test_many_ids_are_answered_with_claims(self) -> None:
        """Each id has a place in the answer, whether the node holds a claim of it or not."""
        keys = ["a", LISTED, "b"]
        status, media_type, body = self.call("POST", "/claims", self.wire.encode_inquiry(keys))
        self.assertEqual((status, media_type), (200, "application/msgpack"))
        self.assertEqual(msgpack.decode(body), [None, [10.0, 7.5, True], None])
        self.assertEqual(self.wire.decode_leases(body, 3), self.node.claim_leases(keys))

    def test_ids_that_no_peer_sends_are_refused(self) -> None:
        """More than a hundred ids, or an id of an impossible length, get 400."""
        for keys in (["a"] * 101, ["a", ""], ["a" * 1025], [1], "a", None, {"a": 1}):
            body = msgpack.encode([WIRE_VERSION, "bender", keys])
            self.assertEqual(self.call("POST", "/claims", body)[0], 400, keys)
        for rubbish in (b"", b"\xc1", msgpack.encode([WIRE_VERSION, "bender"])):
            self.assertEqual(self.call("POST", "/claims", rubbish)[0], 400)
        self.assertEqual(self.call("POST", "/claims", self.wire.encode_inquiry(["a" * 1024] * 100))[0], 200)
        self.assertEqual(self.call("POST", "/claims", Wire("other", 1.0).encode_inquiry(["a"]))[0], 409)

    def test_a_node_reports_about_itself(self) -> None:
        """A node answers questions about itself to peers of its cluster, also to those of a later release."""
        status, media_type, body = self.call("POST", "/nodes", self.wire.encode_question())
        self.assertEqual((status, media_type), (200, "application/msgpack"))
        self.assertEqual(msgpack.decode(self.wire.encode_question()), [WIRE_VERSION, "bender"])
        self.assertEqual(msgpack.decode(body), REPORT)
        self.assertEqual(self.wire.decode_report(body), self.node.own_report())
        self.assertEqual(self.call("POST", "/nodes", msgpack.encode([2, "bender", "more"]))[0], 200)

    def test_others_that_ask_a_node_about_itself_are_refused(self) -> None:
        """Questions of another cluster or an unknown wire version get 409, and those of an invalid form 400."""
        for rubbish in (b"", b"\xc1", msgpack.encode([WIRE_VERSION]), msgpack.encode(["bender", 1])):
            self.assertEqual(self.call("POST", "/nodes", rubbish)[0], 400)
        for question in (Wire("other", 1.0).encode_question(), msgpack.encode([3, "bender"])):
            self.assertEqual(self.call("POST", "/nodes", question)[0], 409)

    def test_what_is_awaited_is_answered_with_consumers(self) -> None:
        """The answer has the consumers that the node returns."""
        status, media_type, body = self.call("POST", "/consumers", self.wire.encode_inquiry(AWAITED))
        self.assertEqual((status, media_type), (200, "application/msgpack"))
        self.assertEqual([each.name for each in self.wire.decode_consumers(body)], [KEY])

    def test_rubbish_that_awaits_nothing_is_refused(self) -> None:
        """An invalid question about consumers gets 400, also for too long a wait; one of another cluster gets 409."""
        late = AWAITED.__class__(KEY, 1, 1, 61.0)
        for rubbish in (b"", msgpack.encode([WIRE_VERSION, "bender", KEY]), self.wire.encode_inquiry(late)):
            self.assertEqual(self.call("POST", "/consumers", rubbish)[0], 400)
        self.assertEqual(self.call("POST", "/consumers", Wire("other", 1.0).encode_inquiry(AWAITED))[0], 409)


class Asking(ExchangeOfNodes):
    """Questions of a node to its peers."""

    def test_consumers_of_all_nodes_are_waited_for(self) -> None:
        """Each node waits until it has the change itself, and then for its own consumers."""
        nodes = [self.node_at("10.0.0.1"), self.node_at("10.0.0.2", "10.0.0.1:1730")]
        self.pass_time(2, nodes)
        nodes[0].register(WEB)
        self.network.settle()
        nodes[1].consumers.connect("edge", Selection())
        nodes[0].deregister(KEY)
        waiting = Deferred.fromCoroutine(nodes[0].until_applied(KEY, 5))
        self.network.settle()
        self.assertNoResult(waiting)
        nodes[1].consumers.confirm("edge", Confirmation(nodes[1].journal.cursor))
        self.network.settle()
        applied = self.successResultOf(waiting)
        self.assertEqual((applied.nodes, applied.consumers, applied.missing), (("10.0.0.1", "10.0.0.2"), ("edge",), ()))

    def test_consumers_of_one_name_at_two_nodes(self) -> None:
        """A name with a consumer that has not applied the change at one of the nodes is missing."""
        nodes = [self.node_at("10.0.0.1"), self.node_at("10.0.0.2", "10.0.0.1:1730")]
        self.pass_time(2, nodes)
        nodes[0].register(WEB)
        self.network.settle()
        for node in nodes:
            node.consumers.connect("edge", Selection())
        nodes[0].deregister(KEY)
        waiting = Deferred.fromCoroutine(nodes[0].until_applied(KEY, 2))
        self.network.settle()
        nodes[0].consumers.confirm("edge", Confirmation(nodes[0].journal.cursor))
        self.pass_time(1.75, nodes)
        self.network.advance(0.21)  # when the other node answers in time that its wait was in vain
        self.network.settle()
        applied = self.successResultOf(waiting)
        self.assertEqual((applied.consumers, applied.missing), ((), ("edge",)))

    def test_instances_of_one_name_at_two_nodes(self) -> None:
        """The change waits for both instances of a name; the status of both nodes has the shared name."""
        nodes = [self.node_at("10.0.0.1"), self.node_at("10.0.0.2", "10.0.0.1:1730")]
        self.pass_time(2, nodes)
        nodes[0].register(WEB)
        self.network.settle()
        for node, instance in zip(nodes, ("a", "b"), strict=True):
            node.consumers.connect("edge", Selection(), instance=instance)
            node.consumers.connect("rim", Selection(), instance="c")
        nodes[0].deregister(KEY)
        waiting = Deferred.fromCoroutine(nodes[0].until_applied(KEY, 2))
        self.network.settle()
        for node in nodes:
            node.consumers.confirm("rim", Confirmation(node.journal.cursor, instance="c"))
        nodes[0].consumers.confirm("edge", Confirmation(nodes[0].journal.cursor, instance="a"))
        self.pass_time(1.75, nodes)
        self.network.advance(0.21)
        self.network.settle()
        applied = self.successResultOf(waiting)
        self.assertEqual((applied.consumers, applied.missing), (("edge (a)", "rim"), ("edge (b)",)))
        self.pass_time(1, nodes)
        problem = "the consumers edge (a) and edge (b) have the same name: give each program a name of its own"
        self.assertEqual([node.status()["problems"] for node in nodes], [{"consumer/edge": problem}] * 2)

    def test_nodes_of_one_name(self) -> None:
        """Nodes of one name are listed with their addresses."""
        nodes = [self.node_at("10.0.0.1", name="n"), self.node_at("10.0.0.2", "10.0.0.1:1730", name="n")]
        nodes.append(self.node_at("10.0.0.3", "10.0.0.1:1730"))
        self.pass_time(3, nodes)
        nodes[0].register(WEB)
        self.pass_time(1, nodes)
        nodes[0].deregister(KEY)
        waiting = Deferred.fromCoroutine(nodes[0].until_applied(KEY, 2))
        self.network.settle()
        applied = self.successResultOf(waiting)
        self.assertEqual(applied.nodes, ("n (10.0.0.1:1730)", "n (10.0.0.2:1730)", "10.0.0.3"))

    def test_every_node_gives_its_account(self) -> None:
        """A peer answers with its own diagnosis, which has its claim and its events."""
        nodes = [self.node_at("10.0.0.1"), self.node_at("10.0.0.2", "10.0.0.1:1730")]
        self.pass_time(2, nodes)
        nodes[1].register(WEB)
        self.network.settle()
        asking = Deferred.fromCoroutine(peer_diagnoses(nodes[0], KEY))
        self.network.settle()
        (other,) = self.successResultOf(asking)
        own = nodes[0].diagnose(KEY)
        assert isinstance(other, NodeDiagnosis)
        self.assertEqual((own.node, own.listed, own.claim), ("10.0.0.1", True, None))
        self.assertEqual((other.node, other.claim is not None, len(other.events)), ("10.0.0.2", True, 1))

    def test_claims_of_every_node(self) -> None:
        """Each node that the instance renewed at holds a claim; an unreachable node is missing."""
        nodes = [self.node_at("10.0.0.1")] + [self.node_at(f"10.0.0.{n}", "10.0.0.1:1730") for n in (2, 3)]
        self.pass_time(3, nodes)
        nodes[1].register(WEB)
        self.pass_time(2, nodes)
        nodes[2].renew(KEY)
        self.network.settle()

        def found() -> ClaimsFound:
            asking = Deferred.fromCoroutine(all_claims(nodes[0], [KEY, "registration/a/1/h/1"]))
            self.network.settle()
            self.pass_time(1, nodes)
            return self.successResultOf(asking)

        here = found()
        self.assertEqual(
            [(each.node, each.left_s) for each in here.claims[KEY]], [("10.0.0.3", 10.0), ("10.0.0.2", 8.0)]
        )
        self.assertEqual((here.claims["registration/a/1/h/1"], here.missing), ([], []))
        self.network.cut = {"10.0.0.3"}
        there = found()
        self.assertEqual(([each.node for each in there.claims[KEY]], there.missing), (["10.0.0.2"], ["10.0.0.3"]))
        self.network.cut = set()

    def test_reports_of_every_node(self) -> None:
        """Each node reports the peers that it hears; an unreachable node is listed with the reason."""
        nodes = [self.node_at("10.0.0.1")] + [self.node_at(f"10.0.0.{n}", "10.0.0.1:1730") for n in (2, 3)]
        self.pass_time(3, nodes)
        nodes[1].register(WEB)
        self.network.settle()

        def found() -> list[NodeReport | NoNodeReport]:
            asking = Deferred.fromCoroutine(all_reports(nodes[0]))
            self.network.settle()
            self.pass_time(1, nodes)
            return self.successResultOf(asking)

        reports = [each for each in found() if isinstance(each, NodeReport)]
        self.assertEqual([each.name for each in reports], ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
        self.assertEqual([(each.registrations, each.ready) for each in reports], [(1, True)] * 3)
        self.assertEqual([sorted(heard.node for heard in each.hears) for each in reports][2], ["10.0.0.1", "10.0.0.2"])
        self.assertEqual([each.incarnation for each in reports], [each.replica.identity.incarnation for each in nodes])
        self.network.cut = {"10.0.0.3"}
        self.assertEqual(found()[2], NoNodeReport("10.0.0.3", "10.0.0.3:1730", "does not answer within 1 s"))
        self.network.cut = set()


class Answers(ExchangeCase):
    """Answers of peers, valid and invalid ones."""

    def claims(self, saying: bytes | None) -> list[ClaimLease | None] | None:
        self.stranger(saying)
        poster = PeerTransport(self.network, 1000)
        client = GossipClient(self.network, self.node, self.wire, poster, self.conditions, lambda: 0.5)
        asking = Deferred.fromCoroutine(client.ask_claims("10.0.0.2:1730", [LISTED, KEY]))
        self.network.pass_time(1)
        answer = self.successResultOf(asking)
        poster.close()
        self.network.settle()
        return answer

    def said(self, *leases: object) -> bytes:
        return http_answer("200 OK", "application/msgpack", msgpack.encode(leases))

    def test_claims(self) -> None:
        """The answer has a claim for each id; fields that a later release adds are ignored."""
        self.assertEqual(self.claims(self.said(None, None)), [None, None])
        leases = [ClaimLease(10.0, 0.0, speaks=False), ClaimLease(20.0, 19.0, speaks=True)]
        self.assertEqual(self.claims(self.said([10, 0, False], [20.0, 19.0, True, "more"])), leases)

    def test_no_claims(self) -> None:
        """The claims of a peer are unknown if it does not answer in time, or its answer is invalid."""
        self.assertIsNone(self.claims(None))
        nan, infinite = float("nan"), float("inf")
        odd = ([0, 1, True], [10, -1, True], [10, 1e9, True], [1e9, 1, True], [nan, 1, True], [10, nan, True])
        for lease in (*odd, [10, infinite, True], [10, 1], [10, 1, 1], [10, "1", True], 1, {"ttl": 10}):
            self.assertIsNone(self.claims(self.said(None, lease)), lease)
        for count in (0, 1, 3, 101):
            self.assertIsNone(self.claims(self.said(*[None] * count)), count)
        self.assertIsNone(self.claims(http_answer("200 OK", "application/msgpack", b"\xc1")))

    def test_more_claims_than_can_be_asked_for(self) -> None:
        """An answer with more claims than a question can have ids is refused."""
        self.assertRaises(Malformed, self.wire.decode_leases, msgpack.encode([None] * 101), 101)
        self.assertEqual(len(self.wire.decode_leases(msgpack.encode([None] * 100), 100)), 100)

    def test_a_node_that_does_not_know_of_claims(self) -> None:
        """A node of an earlier release refuses the request, so its claims are unknown."""
        body = b'{"code": "NOT_FOUND", "message": "this port is for peers alone, which POST to /exchange"}'
        self.assertIsNone(self.claims(http_answer("404 Not Found", "application/json", body)))

    def report(self, saying: bytes | None) -> NodeReport | str:
        self.stranger(saying)
        poster = PeerTransport(self.network, 1_000_000)
        client = GossipClient(self.network, self.node, self.wire, poster, self.conditions, lambda: 0.5)
        asking = Deferred.fromCoroutine(client.ask_report("10.0.0.2:1730"))
        self.network.pass_time(1)
        answer = self.successResultOf(asking)
        poster.close()
        self.network.settle()
        return answer

    def reported(self, **changed: object) -> NodeReport | str:
        """Return the result of a report in which these fields are changed."""
        fields = dict(zip(NodeReport.__struct_fields__, REPORT, strict=True)) | changed
        return self.report(self.said(*fields.values()))

    def test_a_report(self) -> None:
        """A later release may add fields to the report and to its peers; they are ignored."""
        self.assertEqual(self.reported(), self.node.own_report())
        more = self.report(self.said(*REPORT[:-1], [["n2", "n2:1", "left", 1, "more"]], "more"))
        assert isinstance(more, NodeReport)
        self.assertEqual(more.hears, (HeardPeer("n2", "n2:1", "left", 1.0),))

    def test_reports_that_no_node_sends(self) -> None:
        """A report with an invalid field is refused as a whole, with the reason."""
        odd: dict[str, tuple[object, ...]] = {
            "incarnation": (-1, None, "1"),
            "name": ("n" * 256, "a\nb", "a\x1bb", 1),
            "address": ("", "n1", "n1:1/path", f"{'n' * 300}:1730", None),
            "api_port": (-1, 65536, None),
            "version": ("1" * 65, "1\n", None),
            "ready": (1, None, "yes"),
            "uptime_s": (-1, 2e9, float("nan"), float("inf"), None),
            "digest": (-1, 1.5),
            "registrations": (-1, 2**63, None),
            "hears": (None, {}, [None], [["n2", "n2:1", "heard"]]),
        }
        for name, values in odd.items():
            for value in values:
                answer = self.reported(**{name: value})
                assert isinstance(answer, str), (name, value)
                self.assertTrue(answer.startswith("sends an invalid report ("), answer)

    def test_hearing_what_no_node_hears(self) -> None:
        """Each peer in a report must have a name, an address, a state and a lag within the limits."""
        for index, values in enumerate((("n" * 256, "a\n"), ("n2", ""), ("replaced", "x"), (-1, float("nan"), "1"))):
            for value in values:
                heard = ["n2", "n2:1", "heard", 0.4]
                heard[index] = value
                self.assertIsInstance(self.reported(hears=[heard]), str, heard)

    def test_hearing_more_than_a_node_knows(self) -> None:
        """A report has at most as many peers as a node keeps."""
        heard = ["n2", "n2:1", "heard", 0.4]
        self.assertRaises(Malformed, self.wire.decode_report, msgpack.encode([*REPORT[:-1], [heard] * (PEERS_MAX + 1)]))
        most = self.wire.decode_report(msgpack.encode([*REPORT[:-1], [heard] * PEERS_MAX]))
        self.assertEqual(len(most.hears), PEERS_MAX)

    def test_no_report(self) -> None:
        """The reason states how the peer failed to report."""
        self.assertEqual(self.report(None), "does not answer within 1 s")
        self.assertEqual(self.report(b"SSH-2.0-OpenSSH\r\n"), "does not speak HTTP")
        refusal = b'{"code": "CONFLICT", "message": "belongs to cluster x"}'
        self.assertEqual(
            self.report(http_answer("409 Conflict", "application/json", refusal)),
            "refuses this node: belongs to cluster x",
        )

    def test_a_node_that_cannot_report(self) -> None:
        """A node of an earlier release refuses the request, and the reason states this."""
        body = b'{"code": "NOT_FOUND", "message": "this port is for peers alone, which POST to /exchange"}'
        self.assertEqual(
            self.report(http_answer("404 Not Found", "application/json", body)),
            "runs an earlier release, which does not know this request",
        )

    def consumers(self, saying: bytes | None) -> tuple[ConsumerState, ...] | None:
        self.stranger(saying)
        poster = PeerTransport(self.network, 1000)
        client = GossipClient(self.network, self.node, self.wire, poster, self.conditions, lambda: 0.5)
        asking = Deferred.fromCoroutine(client.ask_consumers("10.0.0.2:1730", AWAITED))
        self.network.pass_time(3)
        answer = self.successResultOf(asking)
        poster.close()
        self.network.settle()
        return answer

    def test_no_consumers_are_told(self) -> None:
        """The consumers of a peer are unknown if it does not answer in time, or its answer is invalid."""
        self.assertIsNone(self.consumers(None))
        rubbish = http_answer("200 OK", "application/msgpack", msgpack.encode([{"name": "edge"}]))
        self.assertIsNone(self.consumers(rubbish))

    def ask(self, saying: bytes | None, *, hanging_up: bool = False) -> str:
        self.stranger(saying, hanging_up=hanging_up)
        poster = PeerTransport(self.network, 1000)
        client = GossipClient(self.network, self.node, self.wire, poster, self.conditions, lambda: 0.5)
        asking = Deferred.fromCoroutine(client.ask_diagnosis("10.0.0.2:1730", LISTED))
        self.network.pass_time(1)
        answer = self.successResultOf(asking)
        poster.close()
        self.network.settle()
        assert isinstance(answer, NoDiagnosis)
        return answer.problem

    def test_no_answer_at_all(self) -> None:
        """A peer has an interval for its answer."""
        self.assertEqual(self.ask(None), "does not answer within 1 s")

    def test_a_closed_connection(self) -> None:
        """A connection that the peer closes is reported as no answer."""
        self.assertIn("does not answer", self.ask(None, hanging_up=True))

    def test_no_account(self) -> None:
        """An invalid diagnosis is reported as such."""
        said = http_answer("200 OK", "application/msgpack", msgpack.encode({"node": "n2"}))
        self.assertIn("sends an invalid diagnosis", self.ask(said))

    def test_a_node_that_does_not_know_of_accounts(self) -> None:
        """A node of an earlier release refuses the request, and the problem states this."""
        body = b'{"code": "NOT_FOUND", "message": "peers POST to /exchange, there is nothing else here"}'
        self.assertIn("runs an earlier release", self.ask(http_answer("404 Not Found", "application/json", body)))
