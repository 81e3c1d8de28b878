"""Commands of a node that the replica alone cannot process."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from msgspec.json import decode
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis
from bender.core.ledger import Head
from bender.core.messages import Counter, Message, OutgoingMessage, Sender
from bender.core.model import RegistrationRequest, registration
from bender.core.node_report import NodeReport, NoNodeReport
from bender.node.inquiries import all_claims, all_reports, peer_diagnoses
from tests.api.conversation import Network, a_node

WEB = RegistrationRequest("web", "1", "10.0.0.5", 80)
WEIGHTLESS = RegistrationRequest("web", "1", "10.0.0.5", 80, weight=0, meta={"zone": "a"})


class Hidden(SynchronousTestCase):
    """A registration is listed at one node, and hidden at another that is cut off from it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.pass_time(2)
        _, self.body = self.network.first.register(WEIGHTLESS)
        self.network.connected = False
        for _ in range(4):
            self.pass_time(4)
            self.network.first.renew(WEB.key)
        assert self.network.second.registration(WEB.key) is None

    def pass_time(self, seconds: int) -> None:
        for _ in range(4 * seconds):
            self.clock.advance(0.25)
            for node in (self.network.first, self.network.second):
                node.sweep()
                if self.clock.seconds() % 1 == 0:
                    node.begin_round()

    def test_registered_where_it_is_hidden(self) -> None:
        """A registration at the other node keeps the values of unsent fields, so the heal changes nothing."""
        created, body = self.network.second.register(WEB)
        self.assertEqual((created, decode(body)), (True, decode(self.body)))
        before = self.network.first.journal.last_number
        self.network.reconnect()
        self.pass_time(2)
        self.assertEqual(self.network.first.registration(WEB.key), registration(WEB.key, self.body))
        self.assertEqual(self.network.first.journal.last_number, before)

    def test_registered_after_it_has_expired(self) -> None:
        """An expired registration begins again with the defaults."""
        self.network.reconnect()
        self.pass_time(2)
        self.assertEqual(self.network.second.registration(WEB.key), registration(WEB.key, self.body))
        self.pass_time(12)
        self.assertIsNone(self.network.second.registration(WEB.key))
        _, body = self.network.second.register(WEB)
        self.assertEqual((decode(body)["weight"], decode(body)["meta"]), (1, {}))


class Checked(SynchronousTestCase):
    """Nodes check the messages of peers, and still list everything that clients may send to a peer."""

    def test_anything_in_meta(self) -> None:
        clock = Clock()
        network = Network(clock)
        network.first.begin_round()
        clock.advance(0.25)
        for node in (network.first, network.second):
            node.sweep()
        meta = {"\x7f\x00\u2028": ["\\ud800", "\U0001f600", "}}\n{", 2**64, 1e308, -0.5, None]}
        _, body = network.first.register(RegistrationRequest("web", "1", "10.0.0.5", 80, meta=meta))
        self.assertEqual(network.second.registration(WEB.key), registration(WEB.key, body))
        self.assertEqual(network.second.status()["problems"], {})


class Surpassed(SynchronousTestCase):
    """A peer reports more heartbeats of a node than it sent: it was set back to a snapshot of its memory, or cloned."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.node = self.network.second
        self.pass_time(2)
        self.node.register(WEB)
        self.before = self.node.replica.identity.incarnation

    def pass_time(self, seconds: float) -> None:
        for step in range(round(4 * seconds)):
            self.clock.advance(0.25)
            for node in (self.network.first, self.network.second):
                node.sweep()
                if step % 4 == 0:
                    node.begin_round()

    def tell_of(self, beats: int) -> list[str]:
        """Return the log lines of the node when a peer reports this number of its heartbeats."""
        own = Counter(self.before, "second", "second:1730", beats, 0.0)
        with capturedLogs() as logs:
            self.node.receive(Message(self.network.first.replica.identity, heads={}, counters=(own,)))
            self.pass_time(2)
        return [formatEvent(event) for event in logs if event["log_source"] is self.node]

    def test_goes_on_as_another(self) -> None:
        """The node logs the change, keeps its registrations, and no node waits for the earlier incarnation."""
        (line,) = self.tell_of(500)
        self.assertEqual(
            line,
            "The identity of this node is in use twice, because a second process or a restored snapshot has it: this "
            "node takes a new identity and keeps its registrations.",
        )
        self.assertNotEqual(self.node.replica.identity.incarnation, self.before)
        self.assertTrue(self.node.ready)
        self.assertEqual(self.node.status()["counts"]["held"], 1)
        for node in (self.network.first, self.node):
            self.assertIsNotNone(node.registration(WEB.key))
            self.assertEqual([event.event for event in node.journal.past_events(WEB.key, 9)], ["online"])
        states = [(peer["node"], peer["state"]) for peer in self.network.first.status()["peers"]]
        self.assertEqual(states, [("second", "heard")])

    def test_the_other_process_hears_of_it(self) -> None:
        """The earlier incarnation has left at all nodes, with more heartbeats than any process can have sent."""
        self.tell_of(500)
        before = self.network.first.replica.peers.get(self.before)
        assert before is not None
        self.assertEqual((before.left, before.beats), (True, 1500))

    def test_what_it_said_itself(self) -> None:
        """A peer that repeats a heartbeat of this node does not surpass it."""
        self.assertEqual(self.tell_of(2), [])
        self.assertEqual(self.node.replica.identity.incarnation, self.before)

    def test_renewed_and_expired(self) -> None:
        """The registrations that the node kept are renewed, and expire, like any others."""
        self.tell_of(500)
        for _ in range(3):
            self.pass_time(6)
            self.assertIsNotNone(self.node.renew(WEB.key))
        self.pass_time(9.5)
        self.assertIsNotNone(self.network.first.registration(WEB.key))
        self.pass_time(1.5)
        self.assertIsNone(self.network.first.registration(WEB.key))


class Unreached(SynchronousTestCase):
    """A peer sends messages to this node, but the address that it advertises has never answered."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.asked: list[str] = []
        self.node = a_node(self.clock, exchange=lambda _: self)
        self.node.sweep()
        self.node.register(WEB)
        own = self.node.replica.identity.incarnation
        # The peer lacks the registration of this node, gets it, and confirms it.
        for beats, heads in ((1, {}), (2, {own: Head(1, 1)})):
            counter = Counter(1001, "n2", "10.0.0.2:1730", beats, 0.0)
            self.node.receive(Message(Sender(1001, "n2", "10.0.0.2:1730"), heads=heads, counters=(counter,)))

    def send(self, requests: list[OutgoingMessage]) -> None:
        pass

    async def ask_diagnosis(self, address: str, key: str) -> NodeDiagnosis | NoDiagnosis:
        self.asked.append(address)
        return NoDiagnosis(address, address, "does not answer within 1 s")

    async def ask_claims(self, address: str, keys: Sequence[str]) -> list[ClaimLease | None] | None:
        self.asked.append(address)
        return [None for _ in keys]

    async def ask_report(self, address: str) -> NodeReport | str:
        self.asked.append(address)
        return "does not answer within 1 s"

    async def ask_consumers(self, address: str, awaited: AwaitedChange) -> tuple[ConsumerState, ...] | None:
        self.asked.append(address)
        return ()

    def test_account(self) -> None:
        """The peer is named, but not asked."""
        accounts = self.successResultOf(Deferred.fromCoroutine(peer_diagnoses(self.node, WEB.key)))
        self.assertEqual(accounts, [NoDiagnosis("n2", "10.0.0.2:1730", "was never reached from this node")])
        self.assertEqual(self.asked, [])

    def test_account_when_it_was_found(self) -> None:
        """A peer that has answered before is asked, even if it does not answer now."""
        self.node.replica.links.note_answer("10.0.0.2:1730", 1001)
        accounts = self.successResultOf(Deferred.fromCoroutine(peer_diagnoses(self.node, WEB.key)))
        self.assertEqual(accounts, [NoDiagnosis("n2", "10.0.0.2:1730", "does not answer within 1 s")])

    def test_claims(self) -> None:
        """The peer is missing, and is not asked until it has answered once."""
        for missing in (["n2"], []):
            found = self.successResultOf(Deferred.fromCoroutine(all_claims(self.node, [WEB.key])))
            self.assertEqual(([each.node for each in found.claims[WEB.key]], found.missing), (["n1"], missing))
            self.node.replica.links.note_answer("10.0.0.2:1730", 1001)
        self.assertEqual(self.asked, ["10.0.0.2:1730"])

    def test_nodes(self) -> None:
        """The peer is listed, but is not asked until it has answered once."""
        for problem in ("was never reached from this node", "does not answer within 1 s"):
            found = self.successResultOf(Deferred.fromCoroutine(all_reports(self.node)))
            self.assertEqual(found, [self.node.own_report(), NoNodeReport("n2", "10.0.0.2:1730", problem)])
            self.node.replica.links.note_answer("10.0.0.2:1730", 1001)
        self.assertEqual(self.asked, ["10.0.0.2:1730"])

    def test_nodes_where_it_was_never_heard(self) -> None:
        """A peer that has answered, but was never heard, is not asked."""
        self.node.replica.links.note_answer("10.0.0.2:1730", 1001)
        (peer,) = self.node.replica.peers
        peer.beats, peer.heard_at = -1, -inf
        found = self.successResultOf(Deferred.fromCoroutine(all_reports(self.node)))
        self.assertEqual((found[1:], self.asked), ([NoNodeReport("n2", "10.0.0.2:1730", "was never heard")], []))

    def test_applied(self) -> None:
        """The peer has the change, but its consumers are unknown, so it is missing."""
        waiting = Deferred.fromCoroutine(self.node.until_applied(WEB.key, 5))
        applied = self.successResultOf(waiting)
        self.assertEqual((self.asked, applied.nodes, applied.missing), ([], ("n1",), ("n2",)))

    def test_applied_when_it_was_found(self) -> None:
        self.node.replica.links.note_answer("10.0.0.2:1730", 1001)
        applied = self.successResultOf(Deferred.fromCoroutine(self.node.until_applied(WEB.key, 5)))
        self.assertEqual((self.asked, applied.nodes, applied.missing), (["10.0.0.2:1730"], ("n1", "n2"), ()))

    def test_consumers(self) -> None:
        """The peer is not asked for its consumers."""
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.node.all_consumers())), [])
        self.assertEqual(self.asked, [])
