"""What `bender status` says of nodes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.nodes import missing_peers
from bender.client.responses import NodeCounts, NodeStatus


class MissingPeers(SynchronousTestCase):
    def status(self, uptime_s: float, *, ready: bool) -> NodeStatus:
        return NodeStatus(
            "n1", "0.1", ready, uptime_s, "0" * 16, NodeCounts(0, 0, 0), peers=[], unanswered=["10.0.0.2:1730"]
        )

    def test_just_after_a_start(self) -> None:
        """Nothing is said of a peer that may be found in the next moment."""
        self.assertEqual(missing_peers(self.status(9.9, ready=False)), [])
        self.assertEqual(missing_peers(self.status(9.9, ready=True)), [])

    def test_later(self) -> None:
        """It is said that the peer is missing, and never was there if the node has ceased to wait for it."""
        (line,) = missing_peers(self.status(10, ready=False))
        self.assertEqual(line, "10.0.0.2:1730, one of --peers, was not found yet by n1.")
        (line,) = missing_peers(self.status(10, ready=True))
        self.assertEqual(line, "10.0.0.2:1730, one of --peers, was never found by n1.")
