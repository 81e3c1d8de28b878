"""HAProxy's agent-check: the answers to lines, and the connections of checks."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from bender.core.admin_state import Override
from bender.core.model import RegistrationRequest
from bender.net.fair_turns import OVERLOAD_LAG_S, Turns
from bender.node.limits import Limits
from bender.protocols.agent_check import (
    CHECK_S_MAX,
    LINE_BYTES_MAX,
    AgentCheckFactory,
    answer_about,
    key_in,
    state_line,
)
from tests.api.conversation import a_node

WEB = "registration/web/1.2.0/10.0.0.5/8080"
WEB_LINE = b"web/1.2.0/10.0.0.5/8080\n"


class Keys(SynchronousTestCase):
    """A line names an instance by its path."""

    def test_forms(self) -> None:
        """An id is valid with or without its kind, percent-encoded or not, with any end of line."""
        for line in (
            b"web/1.2.0/10.0.0.5/8080",
            b"web/1.2.0/10.0.0.5/8080\r",
            b" web/1.2.0/10.0.0.5/8080 ",
            b"registration/web/1.2.0/10.0.0.5/8080",
            b"w%65b/1.2.0/10.0.0.5/8080",
        ):
            self.assertEqual(key_in(line), WEB)

    def test_hosts(self) -> None:
        """Hosts are those of ids, in their canonical form."""
        for host, canonical in (("::1", "::1"), ("%3A%3A1", "::1"), ("0:0::1", "::1"), ("A.Example.", "a.example")):
            self.assertEqual(key_in(f"web/1/{host}/80".encode()), f"registration/web/1/{canonical}/80")

    def test_names(self) -> None:
        """Names may have any printable characters; `%` is percent-encoded."""
        for name, decoded in (
            (b"a b", "a b"),
            (b"caf\xc3\xa9", "café"),
            (b"caf%C3%A9", "café"),
            (b"100%25", "100%"),
            (b"registration", "registration"),
        ):
            self.assertEqual(key_in(name + b"/1/10.0.0.5/80"), f"registration/{decoded}/1/10.0.0.5/80")

    def test_others(self) -> None:
        """Other lines name no instance."""
        for line in (
            b"",
            b"web",
            b"web/1.2.0/10.0.0.5",
            b"web/1.2.0/10.0.0.5/8080/state",
            b"backend/web/1.2.0/10.0.0.5/8080",
            b"/web/1.2.0/10.0.0.5/8080",
            b"web/1.2.0/[::1]/8080",
            b"web/1.2.0/10.0.0.5/0",
            b"web/../10.0.0.5/80",
            b"a%2Fb/1/10.0.0.5/80",
            b"w\xffb/1/10.0.0.5/80",
            b"w%FFb/1/10.0.0.5/80",
            b"w\0b/1/10.0.0.5/80",
            b"GET / HTTP/1.1",
        ):
            self.assertIsNone(key_in(line), line)


class Lines(SynchronousTestCase):
    """The answer sets the state and the weight of a server."""

    def test_up(self) -> None:
        """A server whose configured weight is 1, the default, gets the weight of the instance."""
        for weight, line in ((1, b"ready up 100%\n"), (0, b"ready up 0%\n"), (256, b"ready up 25600%\n")):
            self.assertEqual(state_line("up", weight), line)

    def test_others(self) -> None:
        """States other than `up` do not change the weight in HAProxy."""
        self.assertEqual((state_line("drain", 5), state_line("maint", 5)), (b"drain\n", b"maint\n"))


class AgentCheckCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.begin()
        self.node.register(RegistrationRequest("web", "1.2.0", "10.0.0.5", 8080, weight=3))

    def begin(self, **options: Any) -> None:
        self.node = a_node(self.clock, **options)
        self.turns = Turns(self.clock)
        self.factory = AgentCheckFactory(self.node, self.clock, self.turns)

    def use(self) -> dict[str, Any]:
        return self.node.limits.uses["agent_connections"]().as_fields()


class Answers(AgentCheckCase):
    """Only listed instances are answered, with their state and weight."""

    def answer(self) -> bytes | None:
        return answer_about(self.node, WEB)

    def test_listed(self) -> None:
        self.assertEqual(self.answer(), b"ready up 300%\n")
        self.node.register(RegistrationRequest("web", "1.2.0", "10.0.0.5", 8080, weight=0))
        self.assertEqual(self.answer(), b"ready up 0%\n")

    def test_states_of_operators(self) -> None:
        for state, answer in (("drain", b"drain\n"), ("maint", b"maint\n"), ("up", b"ready up 300%\n")):
            self.node.set_state(WEB, Override(state, 60.0), "somebody")  # type: ignore[arg-type]
            self.assertEqual(self.answer(), answer)

    def test_not_listed(self) -> None:
        """An instance that is not listed gets no answer, even if an operator has set its state."""
        self.node.set_state(WEB, Override("maint", 60.0), "somebody")
        self.node.deregister(WEB)
        self.assertIsNone(self.answer())
        self.assertIsNone(answer_about(self.node, "registration/web/1.2.1/10.0.0.5/8080"))

    def test_not_ready(self) -> None:
        """A node that is not ready gives no answers, because its list may be out of date."""
        self.node.replica.leave(self.clock.seconds())
        self.assertIsNotNone(self.node.claim(WEB))
        self.assertIsNone(self.answer())


class HaproxyCheck:
    """The connection of one check."""

    def __init__(self, factory: AgentCheckFactory, client: str = "10.9.9.9") -> None:
        address = IPv4Address("TCP", client, 40_000)
        self.transport = StringTransport(peerAddress=address)
        self.protocol: Any = factory.buildProtocol(address)
        self.lost = False
        if self.protocol is not None:
            self.protocol.makeConnection(self.transport)

    def send(self, sent: bytes) -> None:
        self.protocol.dataReceived(sent)

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def closed(self) -> bool:
        return self.transport.disconnecting or self.transport.disconnected

    def outcome(self) -> tuple[bytes, bool]:
        """Return what the node has sent, and whether it has closed the connection."""
        return self.transport.value(), self.closed


class Connections(AgentCheckCase):
    """A connection has one line, one answer, and its end."""

    def check(self, client: str = "10.9.9.9") -> HaproxyCheck:
        return HaproxyCheck(self.factory, client)

    def test_a_line(self) -> None:
        """A line is answered when its end arrives, in any number of pieces."""
        check = self.check()
        for at in range(len(WEB_LINE)):
            self.assertEqual(check.outcome(), (b"", False))
            check.send(WEB_LINE[at : at + 1])
        self.assertEqual(check.outcome(), (b"ready up 300%\n", True))

    def test_more_than_a_line(self) -> None:
        """A connection has only one answer, even if more than a line is sent."""
        check = self.check()
        check.send(2 * WEB_LINE)
        check.send(WEB_LINE)
        check.protocol.readConnectionLost()
        self.assertEqual(check.outcome(), (b"ready up 300%\n", True))

    def test_a_line_without_an_end(self) -> None:
        """A line without its end is answered when the client closes its side."""
        check = self.check()
        check.send(WEB_LINE.strip())
        check.protocol.readConnectionLost()
        self.assertEqual(check.outcome(), (b"ready up 300%\n", True))

    def test_an_unknown_id(self) -> None:
        """The connection is closed without an answer, at once."""
        check = self.check()
        check.send(b"web/1.2.0/10.0.0.5/8081\n")
        self.assertEqual(check.outcome(), (b"", True))

    def test_a_line_that_is_too_long(self) -> None:
        """The connection of a line that is too long is closed before the end of the line."""
        longest = b"web/1.2.0/10.0.0.5/8080".ljust(LINE_BYTES_MAX)
        check = self.check()
        check.send(longest + b"\n")
        self.assertEqual(check.outcome(), (b"ready up 300%\n", True))
        check = self.check()
        check.send(longest)
        self.assertEqual(check.outcome(), (b"", False))
        check.send(b" ")
        self.assertEqual(check.outcome(), (b"", True))

    def test_a_client_that_sends_nothing(self) -> None:
        """A client that sends nothing is disconnected in time, and the log has the remedy."""
        check = self.check()
        with capturedLogs() as logs:
            self.clock.advance(CHECK_S_MAX - 0.1)
            self.assertEqual(check.outcome(), (b"", False))
            self.clock.advance(0.2)
            self.assertEqual(check.outcome(), (b"", True))
            check.lose()
        (line,) = map(formatEvent, logs)
        self.assertIn("A check from 10.9.9.9 at --agent has sent nothing: add agent-send", line)

    def test_haproxy_gives_up_a_check_without_a_line(self) -> None:
        """HAProxy may close such a check before the node does, and the log has the remedy."""
        half_closed, closed = self.check(), self.check()
        with capturedLogs() as logs:
            half_closed.protocol.readConnectionLost()
            half_closed.lose()
            closed.lose()
        self.assertEqual([("has sent nothing" in formatEvent(event)) for event in logs], [True, True])

    def test_a_line_that_names_no_instance(self) -> None:
        """A line that names no instance is logged, because it is a mistake in HAProxy's configuration."""
        with capturedLogs() as logs:
            for line in (b"web\n", b"web/1.2.0/10.0.0.5/8081\n"):
                check = self.check()
                check.send(line)
                self.assertEqual(check.outcome(), (b"", True))
                check.lose()
        (logged,) = map(formatEvent, logs)
        self.assertIn("A check from 10.9.9.9 at --agent names no instance: 'web'.", logged)

    def test_a_client_that_is_slow(self) -> None:
        """Single bytes do not extend the time limit."""
        self.begin(limits=Limits(client_timeout_s=2.0))
        check = self.check()
        for _ in range(4):
            check.send(b"w")
            self.clock.advance(0.5)
        self.assertEqual(check.outcome(), (b"", True))

    def test_a_line_without_its_end(self) -> None:
        """For a line without a newline, the log has the remedy."""
        check = self.check()
        with capturedLogs() as logs:
            check.send(b"web/1.2.0/10.0.0.5/8080")
            check.lose()
        (logged,) = map(formatEvent, logs)
        self.assertIn("has sent 'web/1.2.0/10.0.0.5/8080' without a newline:", logged)

    def test_nothing_is_left_of_a_check(self) -> None:
        """After a check, no timer, place or work is left."""
        self.turns.note_lag(OVERLOAD_LAG_S)
        served, waiting, silent = (self.check() for _ in range(3))
        served.send(WEB_LINE)
        self.clock.advance(0)
        self.assertEqual(served.outcome(), (b"ready up 300%\n", True))
        waiting.send(WEB_LINE)
        for check in (served, waiting, silent):
            check.lose()
        self.clock.advance(0)
        self.assertEqual(waiting.outcome(), (b"", False))
        self.assertEqual(self.use(), {"max": 10_000, "used": 0, "peak": 3, "refused": 0})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_line_waits_for_its_turn(self) -> None:
        """At an overloaded node, a check waits behind renewals; more data that arrive meanwhile are ignored."""
        self.turns.note_lag(OVERLOAD_LAG_S)
        check = self.check()
        check.send(WEB_LINE)
        check.send(b"x" * LINE_BYTES_MAX)
        self.assertEqual(check.outcome(), (b"", False))
        self.assertEqual(check.protocol._received, WEB_LINE)
        self.clock.advance(0)
        self.assertEqual(check.outcome(), (b"ready up 300%\n", True))

    def test_too_many(self) -> None:
        """The client with the most connections loses its newest; refused connections get no answer."""
        self.begin(limits=Limits(connections=2))
        first, second = self.check(), self.check()
        with capturedLogs() as logs:
            self.assertIsNone(self.check().protocol)
            other = self.check("10.8.8.8")
        self.assertEqual([each.closed for each in (first, second, other)], [False, True, False])
        self.assertIn(
            "All 2 connections to --agent are in use (--max-connections): refusing one of 10.9.9.9.",
            formatEvent(logs[0]),
        )
        self.assertEqual(self.use(), {"max": 2, "used": 2, "peak": 2, "refused": 2})
        second.lose()
        self.assertEqual(self.use()["used"], 2)

    def test_the_rate_of_requests(self) -> None:
        """A check is a request, and one that is refused changes nothing in HAProxy."""
        self.begin(limits=Limits(rate=2))
        self.node.register(RegistrationRequest("web", "1.2.0", "10.0.0.5", 8080))
        outcomes = []
        for _ in range(3):
            check = self.check()
            check.send(WEB_LINE)
            outcomes.append(check.outcome())
        self.assertEqual(outcomes, [(b"ready up 100%\n", True)] * 2 + [(b"", True)])
