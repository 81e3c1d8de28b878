"""Agents that register and renew by lines, byte for byte, on transports in memory."""

from __future__ import annotations

from typing import Any

import msgspec

from bender.core.model import RegistrationRequest
from bender.line_protocol.connection import EventsFactory
from bender.node.limits import Limits
from tests.api.conversation import Network
from tests.line_protocol.connected import Connected, EventsCase
from tests.node.watched import Watched


class Agents(EventsCase):
    """Clients that register and renew by lines."""

    WEB: dict[str, Any] = {"app": "web", "version": "1", "host": "10.0.0.1", "port": 80}
    ID = "registration/web/1/10.0.0.1/80"

    def agent(self) -> Connected:
        """Return an agent that gets no events."""
        agent = self.connect()
        agent.send(b'{"subscribe": false}\n')
        return agent

    def tell(self, agent: Connected, **line: Any) -> dict[str, Any]:
        """Send a line, and return its answer."""
        agent.send(msgspec.json.encode(line) + b"\n")
        (answer,) = agent.received()
        return answer

    def wait(self, seconds: float) -> None:
        """Let time pass, with four sweeps of the node in each second."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)
            self.watched.node.sweep()

    @property
    def listed(self) -> bool:
        return self.watched.node.registration(self.ID) is not None

    def test_register(self) -> None:
        """The answer has the registration, and whether it is new; unsent fields keep their values."""
        agent = self.agent()
        answer = self.tell(agent, register={**self.WEB, "weight": 5, "resource": "Registration"})
        self.assertEqual([*answer], ["event", "created", "registration"])
        self.assertEqual((answer["event"], answer["created"]), ("registered", True))
        self.assertEqual((answer["registration"]["id"], answer["registration"]["weight"]), (self.ID, 5))
        answer = self.tell(agent, register=self.WEB)
        self.assertEqual((answer["created"], answer["registration"]["weight"]), (False, 5))

    def test_renew(self) -> None:
        """The answer to a renewal has the unknown ids as they were spelled."""
        self.watched.up()
        agent = self.agent()
        self.wait(9)
        answer = self.tell(agent, renew=[self.ID, "registration/web/1/10.0.0.1/81", "REGISTRATION"])
        self.assertEqual(
            answer, {"event": "renewed", "renewed": 1, "unknown": ["registration/web/1/10.0.0.1/81", "REGISTRATION"]}
        )
        self.wait(9)
        self.assertTrue(self.listed)

    def test_another_spelling(self) -> None:
        """An id in another spelling belongs to the same instance and session."""
        agent = self.agent()
        self.tell(agent, register={**self.WEB, "host": "FE80::0:1"}, session=True)
        answer = self.tell(agent, renew=["registration/web/1/FE80::0:1/80"], session=True, grace=5)
        self.assertEqual((answer["renewed"], answer["unknown"]), (1, []))
        agent.lose()
        self.wait(3)
        self.assertEqual(self.watched.node.listed_count, 1)
        self.wait(4)
        self.assertEqual(self.watched.node.listed_count, 0)

    def test_its_own_events(self) -> None:
        """An agent that watches gets the event of its own registration before the answer."""
        agent = self.connect()
        agent.send(msgspec.json.encode({"register": self.WEB}) + b"\n")
        self.assertEqual(agent.named(), ["online 80", "registered 80"])

    def test_no_events(self) -> None:
        """With `false`, an agent gets ticks and no events until it subscribes again."""
        agent = self.agent()
        self.watched.up()
        self.clock.advance(15)
        self.watched.up(port=81)
        (tick,) = agent.received()
        self.assertEqual((tick["event"], tick["cursor"]), ("tick", self.watched.journal.cursor_at(1)))
        agent.subscribe()
        self.watched.up(port=82)
        self.assertEqual(agent.named(), ["online 82"])

    def test_refused(self) -> None:
        """The error names the problem, and nothing is changed."""
        agent = self.agent()
        for line, code, field in (
            ({"register": {**self.WEB, "port": 0}}, "INVALID", "port"),
            ({"register": {**self.WEB, "meta": {"large": "x" * 5000}}}, "TOO_LARGE", "a registration"),
            ({"register": self.WEB, "renew": []}, "INVALID", "line"),
            ({"register": self.WEB, "grace": -1}, "INVALID", "line"),
            ({"register": self.WEB, "grace": 4000}, "INVALID", "line"),
            ({"register": None}, "INVALID", "body"),
            ({"register": {**self.WEB, "session": True, "grace": -1}}, "INVALID", "grace"),
            ({"register": {**self.WEB, "session": 1}}, "INVALID", "session"),
            ({"renew": [1]}, "INVALID", "line"),
            ({"renew": [self.ID] * 1001}, "TOO_LARGE", "renew"),
            ({"subscribe": True}, "INVALID", "line"),
            ({"subscribe": {}, "session": True}, "INVALID", "line"),
            ({"session": True}, "INVALID", "line"),
            ({"renewals": []}, "INVALID", "line"),
        ):
            answer = self.tell(agent, **line)
            self.assertEqual((answer["event"], answer["code"]), ("error", code), line)
            self.assertTrue(answer["message"].startswith(field), answer)
        self.assertEqual(self.watched.node.listed_count, 0)

    def test_a_full_node(self) -> None:
        """A full node answers `BUSY`."""
        watched = Watched(self.clock, limits=Limits(registrations=0))
        agent = Connected(EventsFactory(watched.node, self.clock))
        agent.received()
        self.assertEqual(self.tell(agent, register=self.WEB)["code"], "BUSY")

    def test_a_session(self) -> None:
        """When the connection of a session closes, its registrations end after the grace, and not before."""
        agent = self.agent()
        self.tell(agent, register={**self.WEB, "ttl": 60}, session=True, grace=2)
        self.wait(20)
        self.assertTrue(self.listed)
        agent.lose()
        self.wait(1.75)
        self.assertTrue(self.listed)
        self.wait(1.25)
        self.assertFalse(self.listed)

    def test_a_session_said_in_the_registration(self) -> None:
        """A session and its grace may be fields of the registration as well."""
        agent = self.agent()
        self.tell(agent, register={**self.WEB, "session": True, "grace": 1})
        agent.lose()
        self.wait(0.75)
        self.assertTrue(self.listed)
        self.wait(1.25)
        self.assertFalse(self.listed)

    def test_a_session_whose_client_says_no_more(self) -> None:
        """A session ends if its client closes its sending side, because the death of a process looks the same."""
        agent = self.agent()
        agent.send(msgspec.json.encode({"register": self.WEB, "session": True}))  # without the end of the line
        agent.protocol.readConnectionLost()
        self.assertTrue(self.listed)
        self.wait(1)
        self.assertFalse(self.listed)

    def test_a_session_outlives_no_ttl(self) -> None:
        """A session that is not renewed expires, even on an open connection, and the grace does not prolong the ttl."""
        agent = self.agent()
        self.tell(agent, register=self.WEB, session=True, grace=60)
        self.wait(5)
        agent.lose()
        self.wait(6)
        self.assertFalse(self.listed)

    def test_going_on_elsewhere(self) -> None:
        """A registration that another session took over, or that was renewed by HTTP, does not end with the session."""
        first, second = self.agent(), self.agent()
        self.tell(first, register=self.WEB, session=True)
        self.tell(second, renew=[self.ID], session=True, grace=1)
        first.lose()
        self.wait(3)
        self.assertTrue(self.listed)
        second.lose()
        self.watched.node.renew(self.ID)
        self.wait(3)
        self.assertTrue(self.listed)

    def test_another_instance_registers_in_its_place(self) -> None:
        """The end of a session does not end another instance with the same id, even if the session renewed it."""
        for renew in (False, True):
            agent = self.agent()
            self.tell(agent, register={**self.WEB, "instance": "a"}, session=True)
            self.watched.node.register(RegistrationRequest(**self.WEB, instance="b"))
            if renew:
                self.tell(agent, renew=[self.ID], session=True)
            agent.lose()
            self.wait(3)
            self.assertTrue(self.listed, renew)

    def test_another_token_of_its_own(self) -> None:
        """The registration of a session ends if its latest token came from this session."""
        agent = self.agent()
        for token in ("a", "b"):
            self.tell(agent, register={**self.WEB, "instance": token}, session=True)
        agent.lose()
        self.wait(1)
        self.assertFalse(self.listed)

    def test_without_a_session(self) -> None:
        """The end of a connection without a session ends no registration."""
        agent = self.agent()
        self.tell(agent, register=self.WEB)
        agent.lose()
        self.wait(5)
        self.assertTrue(self.listed)

    def test_a_node_that_leaves(self) -> None:
        """Sessions do not end if the node closes the connection, because their agents go on at another node."""
        agent = self.agent()
        self.tell(agent, register=self.WEB, session=True)
        self.factory.doStart()
        self.factory.doStop()
        self.assertTrue(agent.transport.disconnecting)
        agent.lose()
        self.wait(5)
        self.assertTrue(self.listed)
        self.assertEqual(self.factory._sessions, {})

    def test_sessions_are_forgotten(self) -> None:
        """A session that is over is forgotten."""
        agent = self.agent()
        self.tell(agent, register=self.WEB, session=True)
        agent.lose()
        self.assertEqual(self.factory._sessions, {})


class AgentsOfNodesThatWereAway(EventsCase):
    def setUp(self) -> None:
        super().setUp()
        self.network = Network(self.clock)
        self.node = self.network.first

    def test_waiting(self) -> None:
        """A line that arrives while the node is not ready waits, and so do the lines after it."""
        agent = Connected(EventsFactory(self.node, self.clock))
        self.node.begin_round()
        self.node.sweep()
        self.assertTrue(self.node.ready)
        self.network.connected = False
        self.clock.advance(3)
        agent.received()
        agent.send(b'{"renew": []}\n{"subscribe": false}\n{"renew": [1]}\n')
        self.assertEqual(agent.received(), [])
        self.assertFalse(agent.reading)
        self.network.reconnect()
        self.assertEqual([event["event"] for event in agent.received()], ["renewed", "error"])
        self.assertTrue(agent.reading)

    def test_in_vain(self) -> None:
        """A line that waits for an interval gets `NOT_READY`."""
        agent = Connected(EventsFactory(self.node, self.clock))
        self.assertFalse(self.node.ready)
        agent.received()
        agent.send(b'{"renew": []}\n')
        self.clock.advance(1)
        (error,) = agent.received()
        self.assertEqual((error["event"], error["code"]), ("error", "NOT_READY"))

    def test_gone_meanwhile(self) -> None:
        """A waiting line is not processed if its client disconnects."""
        agent = Connected(EventsFactory(self.node, self.clock))
        self.node.begin_round()
        self.node.sweep()
        self.network.connected = False
        self.clock.advance(3)
        agent.send(b'{"register": {"app": "web", "version": "1", "host": "10.0.0.1", "port": 80}}\n')
        agent.lose()
        self.network.reconnect()
        self.assertEqual(self.node.claims(), [])
