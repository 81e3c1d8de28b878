"""Agents that register and renew by lines, byte for byte, on transports of memory."""

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
        """One that wants no events."""
        agent = self.connect()
        agent.send(b'{"subscribe": false}\n')
        return agent

    def tell(self, agent: Connected, **line: Any) -> dict[str, Any]:
        """A line, and the one that answers it."""
        agent.send(msgspec.json.encode(line) + b"\n")
        (answer,) = agent.received()
        return answer

    def wait(self, seconds: float) -> None:
        """Time goes by, and the node sweeps."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)
            self.watched.node.sweep()

    @property
    def listed(self) -> bool:
        return self.watched.node.registration(self.ID) is not None

    def test_register(self) -> None:
        """The answer is the registration, and whether it is new; what is not sent stays as it was."""
        agent = self.agent()
        answer = self.tell(agent, register={**self.WEB, "weight": 5, "resource": "Registration"})
        self.assertEqual([*answer], ["event", "created", "registration"])
        self.assertEqual((answer["event"], answer["created"]), ("registered", True))
        self.assertEqual((answer["registration"]["id"], answer["registration"]["weight"]), (self.ID, 5))
        answer = self.tell(agent, register=self.WEB)
        self.assertEqual((answer["created"], answer["registration"]["weight"]), (False, 5))

    def test_renew(self) -> None:
        """Thousands in a line; the answer names those that are not known as they were spelled."""
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
        """It is the same instance in the form in which it was registered."""
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
        """An agent that also watches hears of what it does, before the answer."""
        agent = self.connect()
        agent.send(msgspec.json.encode({"register": self.WEB}) + b"\n")
        self.assertEqual(agent.named(), ["online 80", "registered 80"])

    def test_no_events(self) -> None:
        """With `false` there are none, but for ticks, until it subscribes again."""
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
        """What is wrong is named, and nothing is changed."""
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
        """It says so."""
        watched = Watched(self.clock, limits=Limits(registrations=0))
        agent = Connected(EventsFactory(watched.node, self.clock))
        agent.received()
        self.assertEqual(self.tell(agent, register=self.WEB)["code"], "BUSY")

    def test_a_session(self) -> None:
        """When its connection closes, what it registered ends after its grace, and not before."""
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
        """It may stand there as well."""
        agent = self.agent()
        self.tell(agent, register={**self.WEB, "session": True, "grace": 1})
        agent.lose()
        self.wait(0.75)
        self.assertTrue(self.listed)
        self.wait(1.25)
        self.assertFalse(self.listed)

    def test_a_session_whose_client_says_no_more(self) -> None:
        """That is what the death of a process looks like: its connection is not lost before somebody writes to it."""
        agent = self.agent()
        agent.send(msgspec.json.encode({"register": self.WEB, "session": True}))  # without the end of the line
        agent.protocol.readConnectionLost()
        self.assertTrue(self.listed)
        self.wait(1)
        self.assertFalse(self.listed)

    def test_a_session_outlives_no_ttl(self) -> None:
        """Who does not renew expires, also on a connection that is open, and grace prolongs nothing."""
        agent = self.agent()
        self.tell(agent, register=self.WEB, session=True, grace=60)
        self.wait(5)
        agent.lose()
        self.wait(6)
        self.assertFalse(self.listed)

    def test_going_on_elsewhere(self) -> None:
        """A session that another connection has taken over does not end with the first, nor what is renewed by HTTP."""
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
        """The end of the session does not end that one, also where the first has renewed it unknowingly."""
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
        """What a connection has registered last is its own, whatever it has registered before."""
        agent = self.agent()
        for token in ("a", "b"):
            self.tell(agent, register={**self.WEB, "instance": token}, session=True)
        agent.lose()
        self.wait(1)
        self.assertFalse(self.listed)

    def test_without_a_session(self) -> None:
        """The end of the connection says nothing."""
        agent = self.agent()
        self.tell(agent, register=self.WEB)
        agent.lose()
        self.wait(5)
        self.assertTrue(self.listed)

    def test_a_node_that_leaves(self) -> None:
        """That it closes the connection says nothing about who was on the other side, and goes on elsewhere."""
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
        """Nothing is left of those that are over."""
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
        """A line that comes before the node is back waits for that, and those behind it with it."""
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
        """After an interval it is refused."""
        agent = Connected(EventsFactory(self.node, self.clock))
        self.assertFalse(self.node.ready)
        agent.received()
        agent.send(b'{"renew": []}\n')
        self.clock.advance(1)
        (error,) = agent.received()
        self.assertEqual((error["event"], error["code"]), ("error", "NOT_READY"))

    def test_gone_meanwhile(self) -> None:
        """Of a client that did not wait nothing is done."""
        agent = Connected(EventsFactory(self.node, self.clock))
        self.node.begin_round()
        self.node.sweep()
        self.network.connected = False
        self.clock.advance(3)
        agent.send(b'{"register": {"app": "web", "version": "1", "host": "10.0.0.1", "port": 80}}\n')
        agent.lose()
        self.network.reconnect()
        self.assertEqual(self.node.claims(), [])
