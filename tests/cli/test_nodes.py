"""The lines of `bender status` about nodes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.nodes import limits_in_use, missing_peers, problem_sentence
from bender.client.responses import LimitInUse, NodeCounts, NodeStatus, PeerStatus


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


class Problems(SynchronousTestCase):
    def sentence(self, about: str, problem: str) -> str:
        places = {"n2": "10.0.0.2:1730", "n3": "10.0.0.3:1730", "n4": "10.0.0.3:1730"}
        peers = [PeerStatus(name, "heard", address=address) for name, address in places.items()]
        return problem_sentence(NodeStatus("n1", "0.1", True, 10, "0" * 16, NodeCounts(0, 0, 0), peers), about, problem)

    def test_an_address(self) -> None:
        """The problem is a clause about the peer with this address, which is named if there is exactly one."""
        self.assertEqual(
            self.sentence("10.0.0.2:1730", "does not answer"), "n1 reports: n2 (10.0.0.2:1730) does not answer."
        )
        shared = "is advertised by the nodes n3 and n4: give each node its own address with --advertise"
        self.assertEqual(self.sentence("10.0.0.3:1730", shared), f"n1 reports: 10.0.0.3:1730 {shared}.")
        self.assertEqual(self.sentence("10.0.0.9", "sends too much"), "n1 reports: 10.0.0.9 sends too much.")

    def test_another_subject(self) -> None:
        """The problem is a sentence of its own."""
        problem = "the nodes at a and b have the same name"
        self.assertEqual(self.sentence("node/n1", problem), f"n1 reports for node/n1: {problem}.")
