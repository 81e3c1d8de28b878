"""The lines of `bender status` about nodes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.nodes import limits_in_use, missing_peers
from bender.client.responses import LimitInUse, NodeCounts, NodeStatus


class MissingPeers(SynchronousTestCase):
    def status(self, uptime_s: float, *, ready: bool) -> NodeStatus:
        return NodeStatus(
            "n1", "0.1", ready, uptime_s, "0" * 16, NodeCounts(0, 0, 0), peers=[], unanswered=["10.0.0.2:1730"]
        )

    def test_just_after_a_start(self) -> None:
        """Soon after a start, missing peers are not reported, because they may be found in the next moment."""
        self.assertEqual(missing_peers(self.status(9.9, ready=False)), [])
        self.assertEqual(missing_peers(self.status(9.9, ready=True)), [])

    def test_later(self) -> None:
        """Later, missing peers are reported, with another verb when the node no longer waits for them."""
        (line,) = missing_peers(self.status(10, ready=False))
        self.assertEqual(line, "10.0.0.2:1730, one of --peers, was not found yet by n1.")
        (line,) = missing_peers(self.status(10, ready=True))
        self.assertEqual(line, "10.0.0.2:1730, one of --peers, was never found by n1.")


class LimitsInUse(SynchronousTestCase):
    def lines(self, **limits: LimitInUse) -> list[str]:
        status = NodeStatus("n1", "0.1", True, 10, "0" * 16, NodeCounts(0, 0, 0), peers=[], limits=limits)
        return limits_in_use(status)

    def test_more_than_four_fifths(self) -> None:
        """Only a limit that is used by more than 80% is reported, with its numbers."""
        lines = self.lines(line_connections=LimitInUse(10_000, 8001), subscribers=LimitInUse(10_000, 8000))
        self.assertEqual(lines, ["n1 uses 80% of its line connections: 8,001 of 10,000."])
        self.assertEqual(self.lines(rate=LimitInUse(2.5, 2.25)), ["n1 uses 90% of its rate: 2.25 of 2.5."])

    def test_what_says_nothing(self) -> None:
        """The largest body so far is not a use, and a limit that is not set cannot be reached."""
        self.assertEqual(self.lines(body=LimitInUse(10, 10), entry=LimitInUse(10, 10), rate=LimitInUse(None, 0)), [])
