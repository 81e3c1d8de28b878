"""File descriptors, and the connections for which they are enough."""

from __future__ import annotations

from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from bender.daemon.open_files import RESERVED_DESCRIPTORS, UNLIMITED, DescriptorShares, fit_connection_limits
from bender.net.fair_shares import FairShares
from bender.node.limits import DEFAULTS, Limits, NodeLimits

#: The ports of clients at a node without protocols of other programs.
PORTS = ("--api", "--events")


class Shares(SynchronousTestCase):
    def test_peers_before_clients(self) -> None:
        """All connections and files of the node together never need more descriptors than the process may have."""
        for limit in (1024, 4096, 65_536, 1_048_576, UNLIMITED):
            for ports in (2, 3, 5):
                shares = DescriptorShares.of(limit, ports)
                self.assertLessEqual(RESERVED_DESCRIPTORS + shares.peers + ports * shares.clients, limit)
                self.assertGreater(shares.peers, 0.2 * (limit - RESERVED_DESCRIPTORS))
                self.assertGreater(ports * shares.clients, 0.7 * (limit - RESERVED_DESCRIPTORS))

    def test_the_usual_limits_are_enough_for_the_defaults(self) -> None:
        """The default limits of systemd (524,288) and Docker (1,048,576) are sufficient for the default options."""
        for limit in (524_288, 1_048_576):
            shares = DescriptorShares.of(limit, ports=5)
            self.assertGreater(shares.clients, DEFAULTS.connections)
            self.assertGreater(shares.peers, 8_000)

    def test_very_few(self) -> None:
        """Even with very few descriptors, there is a place for a client."""
        self.assertGreaterEqual(DescriptorShares.of(20, 2).clients, 1)


class Keeping(SynchronousTestCase):
    def setUp(self) -> None:
        self.limits = NodeLimits(DEFAULTS, lambda: 0.0)
        self.clients: FairShares[Any] = FairShares(1)
        self.peers: FairShares[Any] = FairShares(8000)
        self.limits.bind_connections("connections", self.clients)
        self.limits.bind_peer_connections(self.peers)

    def test_enough(self) -> None:
        """With enough descriptors, no limit changes, and nothing is logged."""
        with capturedLogs() as logs:
            fit_connection_limits(UNLIMITED, self.limits, PORTS)
        self.assertEqual((self.clients.maximum, self.peers.maximum, logs), (10_000, 8000, []))

    def test_too_few(self) -> None:
        """The limits are lowered. The log has the reason and the remedy, also after a change of the limits."""
        with capturedLogs() as logs:
            fit_connection_limits(1024, self.limits, PORTS)
            self.limits.change(Limits(connections=200))
            self.limits.change(Limits(connections=300))
        self.assertEqual((self.clients.maximum, self.peers.maximum), (234, 156))
        self.assertEqual(self.limits.uses["connections"]().maximum, 234)
        self.assertEqual(
            [*map(formatEvent, logs)],
            [
                f"The limit of open files (1024) is too low for --max-connections {number}: it allows only 234 "
                "connections to each of --api and --events. Raise the limit of open files (LimitNOFILE= of a systemd "
                "unit, ulimit -Hn of a shell), or lower --max-connections."
                for number in (10_000, 300)
            ],
        )

    def test_more_ports(self) -> None:
        """All ports share the descriptors, and the log names all ports."""
        with capturedLogs() as logs:
            fit_connection_limits(1024, self.limits, (*PORTS, "--agent"))
        self.assertEqual(self.clients.maximum, 156)
        self.assertIn("156 connections to each of --api, --events and --agent.", formatEvent(logs[0]))
