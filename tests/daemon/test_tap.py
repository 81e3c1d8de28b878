"""The command line of `twistd bender`, and the node that is built from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.internet.interfaces import IReactorUDP
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from bender.core.model import RegistrationRequest
from bender.daemon.service import CLIENT_SHELLS, NodeService
from bender.daemon.tap import NodeCommandLine, build_service
from bender.net.machine_names import machine_names
from bender.node.node import Node
from bender.node.sources import Sources
from bender.process.lifecycle import StartRefused
from tests.api.conversation import Connection


def parsed(*arguments: str) -> NodeCommandLine:
    options = NodeCommandLine()
    options.parseOptions(list(arguments))
    return options


class Parsing(SynchronousTestCase):
    def refused(self, *arguments: str) -> str:
        """Return the sentence with which these arguments end the process."""
        sentence = str(self.assertRaises(StartRefused, parsed, *arguments))
        self.assertTrue(sentence.startswith("bender: ") and sentence.endswith("."), sentence)
        self.assertNotIn("\n", sentence)
        return sentence

    def test_options_are_those_of_the_documentation(self) -> None:
        """The command line accepts every option in the documentation."""
        options = parsed(
            *("--api", "tcp:9"),
            *("--exchange", "tcp:10:interface=127.0.0.1"),
            *("--events", "unix:/run/events"),
            *("--peers", "a,b:1740", "--peers", "10.0.0.5"),
            *("--cluster", "c"),
            *("--name", "n1"),
            *("--advertise", "box"),
            *("--ttl", "20", "--interval", "0.5"),
            *("--guard", "60"),
            *("--allow-host", "b.example,a.example", "--allow-host", "c.example"),
            "--insecure",
        ).validated
        self.assertEqual((options.api.port, options.exchange.port, options.events.path), (9, 10, "/run/events"))
        self.assertEqual(options.peers, ("a:1730", "b:1740", "10.0.0.5:1730"))
        self.assertEqual((options.cluster, options.name, options.address), ("c", "n1", "box:10"))
        self.assertEqual((options.timing.ttl_s, options.timing.interval_s, options.insecure), (20.0, 0.5, True))
        self.assertEqual(options.guard_s, 60.0)
        self.assertEqual(options.allowed_hosts, ("a.example", "b.example", "c.example"))
        self.assertLessEqual(machine_names(os.uname().nodename) | {"box"}, options.own_names)

    def test_the_command_line_wins_over_the_file(self) -> None:
        """Options that only the file has are used. The peers of the file and the command line are not mixed."""
        path = self.mktemp()
        Path(path).write_text('ttl = 20\ninterval = 2\npeers = ["a"]\ninsecure = true\n')
        options = parsed("--config", path, "--ttl", "30", "--peers", "b").validated
        self.assertEqual((options.timing.ttl_s, options.timing.interval_s), (30.0, 2.0))
        self.assertEqual((options.peers, options.insecure), (("b:1730",), True))

    def test_a_mistake_is_refused_wherever_it_is_found(self) -> None:
        """Mistakes are refused in options, arguments and values, and in combinations of options."""
        self.assertIn("--bogus", self.refused("--bogus"))
        self.assertIn("--ttl", self.refused("--ttl"))
        self.assertIn("'now'", self.refused("now"))
        self.assertIn("--ttl must be", self.refused("--ttl", "ten"))
        self.assertIn("--name must be", self.refused("--name", ""))
        self.assertIn("--config", self.refused("--config", ""))
        self.assertIn("--interval 5", self.refused("--interval", "5"))

    def test_the_sentence_is_what_the_interpreter_prints(self) -> None:
        """The interpreter prints the code of a `SystemExit` that is a text, so the code is the sentence."""
        refusal = self.assertRaises(StartRefused, parsed, "--bogus")
        self.assertEqual(refusal.code, str(refusal))


class Plugin(SynchronousTestCase):
    def test_twisted_finds_bender(self) -> None:
        """`twistd` and `twist` find the plugin and its module by this name."""
        (maker,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "bender"]
        assert isinstance(maker, ServiceMaker)
        self.assertEqual(maker.module, "bender.daemon.tap")
        self.assertIs(maker.options, NodeCommandLine)


@implementer(IReactorUDP)
class Reactor(MemoryReactorClock):
    """A reactor in memory, with UDP."""

    def __init__(self) -> None:
        super().__init__()
        self.udpServers: list[tuple[int, str]] = []

    def listenUDP(self, port: int, protocol: Any, interface: str, maxPacketSize: int) -> Any:
        self.udpServers.append((port, interface))
        return self.listenTCP(port, protocol)


UNPROTECTED = "can be reached from other machines and is not protected"


class Building(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()

    def service(self, *arguments: str) -> NodeService:
        sources = Sources(monotonic=self.reactor.seconds, wall_ms=lambda: 1_795_447_942_248, incarnation=lambda: 7)
        service, _ = build_service(parsed(*arguments).validated, self.reactor, sources)
        return service

    def test_nothing_listens_before_it_is_started(self) -> None:
        """No port is opened before the start, because a mistake found later must not leave some ports open."""
        self.service()
        self.assertEqual(self.reactor.tcpServers, [])

    def test_each_endpoint_is_listened_on(self) -> None:
        """The node listens on all three endpoints, at the interface in its options."""
        service = self.service("--events", "tcp:9:interface=127.0.0.2")
        service.privilegedStartService()
        service.startService()
        places = [(port, interface) for port, _, _, interface in self.reactor.tcpServers]
        self.assertEqual(sorted(places), [(9, "127.0.0.2"), (1729, "127.0.0.1"), (1730, "127.0.0.1")])

    def test_protocols_of_other_programs(self) -> None:
        """Each protocol listens at its own endpoint, and a leaving node closes it with the other ports of clients."""
        arguments = ("--agent", "tcp:9:interface=127.0.0.2", "--thalassa", "10:11:interface=127.0.0.3", "--dns", "53")
        with capturedLogs() as logs:
            service = self.service(*arguments)
        self.assertIn(
            "Further protocols are served at --agent tcp:9:interface=127.0.0.2, --thalassa tcp:10:interface=127.0.0.3, "
            "--thalassa events tcp:11:interface=127.0.0.3, --dns 53:interface=127.0.0.1.",
            [*map(formatEvent, logs)],
        )
        service.privilegedStartService()
        service.startService()
        places = [(port, interface) for port, _, _, interface in self.reactor.tcpServers]
        for place in ((9, "127.0.0.2"), (10, "127.0.0.3"), (11, "127.0.0.3"), (53, "127.0.0.1")):
            self.assertIn(place, places)
        self.assertEqual(self.reactor.udpServers, [(53, "127.0.0.1")])
        self.assertEqual({*parsed(*arguments).validated.endpoints} - {"exchange"}, {*CLIENT_SHELLS})

    def test_names_for_browsers(self) -> None:
        """`Host` headers are checked at both HTTP APIs; --allow-host adds names."""
        for names, refused in (((), (True, True)), (("--allow-host", "a.example"), (False, True))):
            self.reactor = Reactor()
            service = self.service("--thalassa", "10", *names)
            service.privilegedStartService()
            service.startService()
            factories: dict[int, Any] = {port: factory for port, factory, _, _ in self.reactor.tcpServers}
            for port in (1729, 10):
                for host, is_refused in zip((b"a.example", b"b.example"), refused, strict=True):
                    connection = Connection(factories[port])
                    connection.send(b"GET /status HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
                    self.assertEqual(b"HTTP/1.1 403 Forbidden" in connection.received(), is_refused, (port, host))

    def test_a_node_alone_is_ready_and_says_who_it_is(self) -> None:
        """The node has the name and the times of its options, and is ready."""
        service = self.service("--name", "n1", "--cluster", "c", "--ttl", "20", "--interval", "2")
        service.startService()
        self.reactor.advance(0.5)
        assert isinstance(service.node, Node)
        self.assertTrue(service.node.ready)
        status = service.node.status()
        self.assertEqual((status["node"], status["cluster"], status["address"]), ("n1", "c", "127.0.0.1:1730"))
        self.assertEqual((status["ttl"], status["interval"]), (20.0, 2.0))

    def test_what_is_not_renewed_goes_offline(self) -> None:
        """The node sweeps, so a registration without renewals expires."""
        service = self.service("--ttl", "4")
        service.startService()
        self.reactor.advance(0.5)
        assert isinstance(service.node, Node)
        service.node.register(RegistrationRequest("web", "1.0.0", "127.0.0.1", 80))
        self.reactor.pump([0.25] * 15)
        self.assertEqual(len(service.node.claims()), 1)
        self.reactor.pump([0.25] * 5)
        self.assertEqual(service.node.claims(), [])

    def test_the_lag_of_the_reactor(self) -> None:
        """The lag of the reactor is in the metrics."""
        service = self.service()
        service.startService()
        assert isinstance(service.node, Node)
        self.reactor.advance(0.3)
        self.assertEqual(service.node.load.lag.count, 1)
        self.assertAlmostEqual(service.node.load.longest.value, 0.25)

    def test_the_log_says_who_it_is_and_what_is_open_to_others(self) -> None:
        """The log warns of endpoints that are open to other machines, perhaps by mistake."""
        with capturedLogs() as events:
            self.service("--name", "n1", "--api", "tcp:1729", "--insecure")
        lines = [formatEvent(event) for event in events]
        self.assertIn("Node n1 of cluster bender", lines[0])
        self.assertEqual(
            lines[1:],
            [f"--api tcp:1729 {UNPROTECTED}: add --tls DIR and --tokens FILE."],
        )

    def test_the_log_names_peers_that_cannot_reach_it(self) -> None:
        """The log names peers that cannot reach the node. They are not refused, because a tunnel may exist."""
        with capturedLogs() as events:
            self.service("--peers", "127.0.0.1:1731,localhost:1732,10.0.0.2,[::1]:1733")
        lines = [formatEvent(event) for event in events]
        self.assertIn(
            "10.0.0.2:1730 cannot reach this node, because --exchange listens at 127.0.0.1:1730 only", lines[1]
        )
        self.assertEqual(len(lines), 2)
        with capturedLogs() as events:
            self.service("--peers", "10.0.0.2", "--advertise", "10.0.0.1")
        self.assertEqual(len(events), 1)

    def test_it_ends_connections_of_every_http_api_when_it_leaves(self) -> None:
        """When a node leaves, idle connections are closed, also at the ports of other protocols."""
        service = self.service("--thalassa", "9000")
        service.startService()
        self.reactor.advance(0.5)
        factories: dict[int, Any] = {port: factory for port, factory, _, _ in self.reactor.tcpServers}
        kept = [Connection(factories[port]) for port in (1729, 9000)]
        service.stopService()
        self.reactor.pump([0, 0, 0])
        self.assertEqual([each.closed for each in kept], [True, True])

    def test_it_leaves_when_nobody_waits_for_anything(self) -> None:
        """When a node leaves, all listeners are closed, and no timer is left."""
        service = self.service()
        service.startService()
        self.reactor.advance(0.5)
        left = service.stopService()
        self.reactor.pump([0, 0, 0])
        self.successResultOf(left)
        assert isinstance(service.node, Node)
        self.assertFalse(service.node.ready)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
