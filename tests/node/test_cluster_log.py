"""The log has the readiness of a node and the states of its peers, once for each change."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from bender.core.ledger import Claim, Ledger
from bender.core.messages import ConfigSetting, Counter, Message, Sender
from bender.core.model import RegistrationRequest
from bender.node.cluster_log import (
    CONFLICT_IDS_MAX,
    CONFLICTS_SHOWN_MAX,
    CONSUMERS_LOGGED_APART_S,
    CONSUMERS_LOGGED_MAX,
)
from bender.node.event_selection import Selection
from bender.node.node import Node
from tests.api.conversation import Network, a_node


class ChronicleCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)

    def pass_time(self, seconds: float, *nodes: Node) -> None:
        """Let time pass: each node has a round every interval and a sweep every quarter of it."""
        for step in range(round(seconds * 4)):
            self.clock.advance(0.25)
            for node in nodes:
                node.sweep()
                if step % 4 == 0:
                    node.begin_round()

    def lines(self, seconds: float, *nodes: Node, of: Node) -> list[str]:
        """Return the lines that the cluster log of `of` writes in this time."""
        with capturedLogs() as logs:
            self.pass_time(seconds, *nodes)
        return [formatEvent(event) for event in logs if event["log_source"] is of._cluster_log]


class Readiness(ChronicleCase):
    def test_a_node_alone(self) -> None:
        """A node alone is ready from the beginning, and logs this."""
        node = a_node(self.clock)
        self.assertEqual(self.lines(3, node, of=node), ["Ready, 0.25 s after its start or a pause."])

    def test_a_peer_that_never_answers(self) -> None:
        """A node that becomes ready without an answer of its seed names the seed."""
        node = a_node(self.clock, seeds=("second:1730",))
        (line,) = self.lines(6, node, of=node)
        self.assertEqual(
            line, "Ready, but second:1730 did not answer: registrations that only they know may be missing here."
        )

    def test_a_pause(self) -> None:
        """A paused node logs the length of the pause and its readiness, however often it is asked meanwhile."""
        network = Network(self.clock)
        self.pass_time(3, network.first, network.second)
        network.connected = False
        for _ in range(7):
            self.clock.advance(1)
            network.second.sweep()
        with capturedLogs() as logs:
            for _ in range(3):
                self.assertFalse(network.first.ready)
            network.reconnect()
        logged = [formatEvent(event) for event in logs if event["log_source"] is network.first._cluster_log]
        self.assertEqual(
            logged,
            [
                "This node was paused for 7.0 s: it asks its peers for what it missed.",
                "Ready, 0.00 s after its start or a pause.",
            ],
        )


class Peers(ChronicleCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = Network(self.clock)
        self.first, self.second = self.network.first, self.network.second

    def test_heard(self) -> None:
        """A peer that is heard is logged once."""
        lines = self.lines(5, self.first, self.second, of=self.second)
        self.assertEqual([line for line in lines if "Peer" in line], ["Peer first at first:1730 is heard."])

    def test_silent_and_heard_again(self) -> None:
        self.pass_time(3, self.first, self.second)
        self.network.connected = False
        self.assertEqual(self.lines(5, self.second, of=self.second), ["Peer first at first:1730 is silent."])
        self.network.reconnect()
        self.assertEqual(self.lines(2, self.first, self.second, of=self.second), ["Peer first at first:1730 is heard."])

    def test_left(self) -> None:
        """A peer that left is logged, and stays in the status until it is forgotten."""
        self.pass_time(3, self.first, self.second)
        self.first.leave()
        self.assertEqual(self.lines(2, self.second, of=self.second), ["Peer first at first:1730 has left."])
        self.assertEqual([peer["state"] for peer in self.second.status()["peers"]], ["left"])

    def test_started_again(self) -> None:
        """The incarnation before a restart is logged as replaced, and is not in the status."""
        self.pass_time(3, self.first, self.second)
        again = self.network.start(self.clock, "first", seeds=("second:1730",))
        again.set_seed_addresses("second:1730", ["second:1730"])
        self.network.replace_first(again)
        lines = self.lines(3, again, self.second, of=self.second)
        self.assertEqual(
            sorted(lines),
            [
                "Peer first at first:1730 is heard.",
                "Peer first at first:1730 was replaced: a node that started later has its address.",
            ],
        )
        self.assertEqual([peer["state"] for peer in self.second.status()["peers"]], ["heard"])

    def test_who_was_gone_before(self) -> None:
        """A node that starts logs nothing about peers that had left before."""
        self.pass_time(3, self.first, self.second)
        self.second.leave()
        self.pass_time(1, self.first)
        newcomer = a_node(self.clock, "third")
        newcomer.receive(self.first.replica.gossip._greeting(self.clock.seconds()))
        lines = self.lines(1, newcomer, of=newcomer)
        self.assertEqual([line for line in lines if "Peer" in line], ["Peer first at first:1730 is heard."])


class BesideEachOther(ChronicleCase):
    """A node that receives the heartbeats of two peers."""

    def setUp(self) -> None:
        super().setUp()
        self.node = a_node(self.clock, "n1")
        self.heard = [Sender(1001, "n2", "10.0.0.2:1730"), Sender(1002, "n3", "10.0.0.2:1730")]
        self.beats = 0

    def pass_time(self, seconds: float, *nodes: Node) -> None:
        for _ in range(round(seconds)):
            self.beats += 1
            for sender in self.heard:
                own = Counter(sender.incarnation, sender.name, sender.address, self.beats, 0.0)
                self.node.receive(Message(sender, heads={}, counters=(own,)))
            super().pass_time(1, *nodes)

    def logged(self, seconds: float) -> list[str]:
        return [
            line for line in self.lines(seconds, self.node, of=self.node) if "shared" in line or "advertised" in line
        ]


class Addresses(BesideEachOther):
    """Two live nodes advertise the same address."""

    def test_shared(self) -> None:
        """The shared address is logged once with the remedy, and is in the status as long as it is shared."""
        problem = "is advertised by the nodes n2 and n3: give each node its own address with --advertise"
        self.assertEqual(self.logged(10), [f"Address 10.0.0.2:1730 {problem}."])
        self.assertEqual(self.node.status()["problems"], {"10.0.0.2:1730": problem})
        del self.heard[1]
        self.assertEqual(self.logged(6), ["Address 10.0.0.2:1730 is advertised by at most one node now."])
        self.assertEqual(self.node.status()["problems"], {})

    def test_its_own(self) -> None:
        self.heard = [Sender(1001, "n2", "n1:1730")]
        problem = "is advertised by the nodes n1 and n2: give each node its own address with --advertise"
        self.assertEqual(self.logged(10), [f"Address n1:1730 {problem}."])

    def test_a_restart(self) -> None:
        """An earlier incarnation of a restarted node does not count as sharing its address."""
        other = self.heard.pop()
        self.pass_time(10, self.node)
        self.heard = [other]
        self.assertEqual(self.logged(10), [])


class Names(BesideEachOther):
    """Two live nodes have the same name."""

    def setUp(self) -> None:
        super().setUp()
        self.heard = [Sender(1001, "n2", "10.0.0.2:1730"), Sender(1002, "n2", "10.0.0.3:1730")]

    def test_shared(self) -> None:
        """The shared name is logged once with the remedy, and is in the status as long as it is shared."""
        problem = "the nodes at 10.0.0.2:1730 and 10.0.0.3:1730 have the same name: give each its own with --name"
        self.assertEqual(self.logged(10), [f"Node name n2 is shared: {problem}."])
        self.assertEqual(self.node.status()["problems"], {"node/n2": problem})
        del self.heard[1]
        self.assertEqual(self.logged(6), ["Node name n2 is not shared any more."])
        self.assertEqual(self.node.status()["problems"], {})

    def test_its_own(self) -> None:
        self.heard = [Sender(1001, "n1", "10.0.0.2:1730")]
        problem = "the nodes at 10.0.0.2:1730 and n1:1730 have the same name: give each its own with --name"
        self.assertEqual(self.logged(10), [f"Node name n1 is shared: {problem}."])

    def test_a_restart(self) -> None:
        """An earlier incarnation of a restarted node at another address does not count as sharing its name."""
        other = self.heard.pop()
        self.pass_time(10, self.node)
        self.heard = [other]
        self.assertEqual(self.logged(10), [])


class SameAddress(ChronicleCase):
    """Registrations of different apps or versions have the same host and port."""

    def setUp(self) -> None:
        super().setUp()
        self.node = a_node(self.clock)
        self.pass_time(1, self.node)

    def logged(self, seconds: int, *instances: RegistrationRequest) -> list[str]:
        """Return the logged lines while these registrations are renewed every five seconds."""
        lines = []
        for _ in range(0, seconds, 5):
            for each in instances:
                self.node.register(each)
            lines += self.lines(5, self.node, of=self.node)
        return lines

    def at(self, app: str, port: int = 80) -> RegistrationRequest:
        return RegistrationRequest(app, "1", "::5", port)

    def test_side_by_side(self) -> None:
        """The conflict is logged once when both have been renewed, and is in the status as long as it lasts."""
        web, api = self.at("web"), self.at("api")
        self.assertEqual(self.logged(30, web), [])
        self.assertEqual(self.logged(15, web, api), [])
        self.assertEqual(self.node.status()["problems"], {})
        problem = (
            f"{api.key} and {web.key} are all renewed with this address, but only one process can answer there: stop "
            "renewing the wrong ones"
        )
        self.assertEqual(self.logged(20, web, api), [f"Several registrations have the address [::5]:80: {problem}."])
        self.assertEqual(self.node.status()["problems"], {"address/[::5]:80": problem})
        self.assertEqual(self.logged(15, api), ["Only one registration has the address [::5]:80 now."])
        self.assertEqual(self.node.status()["problems"], {})

    def test_a_new_version_at_the_same_port(self) -> None:
        """A new version at the port of an old one is not a conflict, because the old one is no longer renewed."""
        old, new = self.at("web"), RegistrationRequest("web", "2", "::5", 80)
        self.assertEqual(self.logged(20, old) + self.logged(60, new), [])

    def test_very_many(self) -> None:
        """The status names a few addresses and the number of the others, and a few ids for one address."""
        many = [self.at(app, port) for port in range(1, CONFLICTS_SHOWN_MAX + 4) for app in ("web", "api")]
        several = [self.at(f"app{number}", 1) for number in range(CONFLICT_IDS_MAX)]
        self.assertEqual(len(self.logged(25, *several, *many)), CONFLICTS_SHOWN_MAX + 3)
        problems = self.node.status()["problems"]
        self.assertEqual(len(problems), CONFLICTS_SHOWN_MAX + 1)
        self.assertIn("app2/1/::5/1 and 2 more are all renewed", problems["address/[::5]:1"])
        self.assertTrue(problems["address/…"].startswith("3 more addresses have several registrations"))


class Consumers(ChronicleCase):
    """Several consumers have the same name."""

    def setUp(self) -> None:
        super().setUp()
        self.node = a_node(self.clock)

    def share(self, name: str) -> None:
        for instance in ("a", "b"):
            self.node.consumers.connect(name, Selection(), instance=instance).end()
            self.node.consumers.connect(name, Selection(), instance=instance)

    def logged(self, seconds: float) -> list[str]:
        return [line for line in self.lines(seconds, self.node, of=self.node) if "shared" in line]

    def test_shared(self) -> None:
        """The shared name is logged once with the remedy, and again only if it was not shared for a long time."""
        problem = "the consumers edge (a) and edge (b) have the same name: give each program a name of its own"
        for end_s, logged in ((5, 1), (5, 0), (CONSUMERS_LOGGED_APART_S + 1, 0), (1, 1)):
            streams = [self.node.consumers.connect("edge", Selection(), instance=each) for each in ("a", "b")]
            self.assertEqual(self.logged(1), [f"Consumer name edge is shared: {problem}."] * logged)
            for stream in streams:
                stream.end()
            self.assertEqual(self.logged(end_s), [])

    def test_many(self) -> None:
        """The log has at most a hundred shared names."""
        for number in range(CONSUMERS_LOGGED_MAX + 10):
            self.share(f"edge-{number}")
        self.assertEqual(len(self.logged(2)), CONSUMERS_LOGGED_MAX)

    def test_many_of_one_name(self) -> None:
        """The line names the first few consumers, and the number of the others."""
        for number in range(8):
            self.node.consumers.connect("edge", Selection(), instance=f"i{number}")
        self.assertIn("edge (i0), edge (i1), edge (i2), edge (i3), edge (i4) and 3 more have", self.logged(1)[0])


class Invalid(ChronicleCase):
    """A peer sends or holds entries or settings that are not valid."""

    def setUp(self) -> None:
        super().setUp()
        self.node = a_node(self.clock, "n1")
        self.peer = Sender(1001, "n2", "10.0.0.2:1730")
        self.ledger = Ledger(1001)
        self.settings: tuple[ConfigSetting, ...] = ()
        self.beats = 0

    def pass_time(self, seconds: float, *nodes: Node) -> None:
        for _ in range(round(seconds)):
            self.beats += 1
            own = Counter(1001, "n2", "10.0.0.2:1730", self.beats, 0.0)
            delta = self.ledger.delta(self.node.replica.claims.copies.head(1001))
            heads = {1001: self.ledger.head}
            self.node.receive(Message(self.peer, heads=heads, counters=(own,), deltas=(delta,), settings=self.settings))
            super().pass_time(1, *nodes)

    def logged(self, seconds: float) -> list[str]:
        return [line for line in self.lines(seconds, self.node, of=self.node) if "ignored" in line]

    def hold(self, key: str) -> None:
        n = self.ledger.next_n
        self.ledger.add(Claim(1001, n, key, b"{}", 10.0, 1, 1001, n))

    def test_entries(self) -> None:
        """Invalid entries are logged once, however many there are, and are in the status as long as they exist."""
        self.hold("x")
        problem = "has 1 invalid entries, which are ignored; in one, its id 'x' is not that of a registration"
        self.assertEqual(self.logged(5), [f"Peer 10.0.0.2:1730 {problem}."])
        self.assertEqual(self.node.status()["problems"], {"10.0.0.2:1730": problem})
        self.hold("y")
        self.assertEqual(self.logged(5), [])
        problem = "has 2 invalid entries, which are ignored; in one, its id 'y' is not that of a registration"
        self.assertEqual(self.node.status()["problems"], {"10.0.0.2:1730": problem})
        self.ledger.remove(1)
        self.assertEqual(self.logged(5), [])
        self.ledger.remove(2)
        problem = "has 1 invalid entries, which are ignored; in one, its id 'y' is not that of a registration"
        self.assertEqual(self.logged(5), [f'Solved for peer 10.0.0.2:1730: "{problem}" is no longer the case.'])
        self.assertEqual((self.node.status()["problems"], self.logged(5)), ({}, []))

    def test_settings(self) -> None:
        """An invalid setting is logged once, however often it is sent, and is over a minute after the last one."""
        self.settings = (ConfigSetting("x", 1, 1001, 0, "ops", b"{}"),)
        problem = "sends an invalid setting, which is ignored: its key 'x' is not that of a setting"
        self.assertEqual(self.logged(100), [f"Peer 10.0.0.2:1730 {problem}."])
        self.settings = ()
        self.assertEqual(self.logged(58), [])
        self.assertEqual(self.node.status()["problems"], {"10.0.0.2:1730": problem})
        self.assertEqual(self.logged(4), [f'Solved for peer 10.0.0.2:1730: "{problem}" is no longer the case.'])
        self.assertEqual(self.node.status()["problems"], {})

    def test_forgotten(self) -> None:
        """The problem is over when its peer is forgotten."""
        self.hold("x")
        self.logged(5)
        with capturedLogs() as logs:
            super().pass_time(700, self.node)
        lines = [formatEvent(event) for event in logs if event["log_source"] is self.node._cluster_log]
        self.assertEqual(
            [line.split(" invalid entries")[0] for line in lines if "ignored" in line],
            ['Solved for peer 10.0.0.2:1730: "has 1'],
        )
        self.assertEqual(self.node.status()["problems"], {})

    def test_valid(self) -> None:
        """Valid entries are not logged, and are used."""
        n, key = self.ledger.next_n, "registration/web/1/10.0.0.5/80"
        body = b'{"ttl":10.0,"weight":1,"meta":{},"registered":5,"node":"n2"}'
        self.ledger.add(Claim(1001, n, key, body, 10.0, 1, 1001, n))
        self.assertEqual((self.logged(3), self.node.status()["problems"]), ([], {}))
        self.assertIsNotNone(self.node.registration(key))
