"""Tokens that are replaced while clients send requests, and the authors that histories show."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.access.tokens import Tokens
from bender.api import site
from tests.access.known import headers, known, token
from tests.api.conversation import ApiCase, Connection, Network, parsed, request
from tests.api.fronts import Front
from tests.api.guarded import ID, INSTANCE, SHOP, SITE


class Replaced(SynchronousTestCase):
    """Requests obey the current tokens, also requests that the fast path remembers."""

    def setUp(self) -> None:
        self.tokens = known()
        self.front = Front(fast=True, tokens=self.tokens)

    def status(self, method: str, path: str, body: object = None, name: str = "web") -> int:
        taken = self.front.fast_path.taken
        received, _ = self.front.ask([request(method, path, body, **headers(name))])
        self.assertEqual(self.front.fast_path.taken, taken + 1)
        (response,) = parsed(received)
        return response.status

    def test_remembered_requests(self) -> None:
        """The fast path remembers requests with their access, and forgets both when the tokens are replaced."""
        asked = (
            ("POST", "/registrations", SHOP),
            ("POST", INSTANCE, None),
            ("PUT", INSTANCE, None),
            ("POST", "/renewals", {"ids": [ID]}),
        )
        for granted, status in (
            (["register:web-*"], 200),
            (["register:api"], 403),
            (["register:web-shop"], 200),
            (["read"], 403),
            (["admin"], 200),
        ):
            self.tokens.replace([token("web", *granted)])
            for method, path, body in asked:
                for _ in range(2):
                    answered = self.status(method, path, body)
                    self.assertEqual(200 if answered == 201 else answered, status, (granted, method, path))

    def test_a_token_that_is_removed_and_added(self) -> None:
        """A request that was refused is accepted as soon as its token is known again."""
        for _ in range(2):
            self.tokens.replace([token("reader")])
            self.assertEqual([self.status("POST", INSTANCE) for _ in range(2)], [401, 401])
            self.tokens.replace([token("web")])
            self.assertEqual([self.status("POST", INSTANCE) for _ in range(2)], [200, 200])

    def test_tokens_turned_on(self) -> None:
        """A client without a token is refused as soon as tokens are required, also on an open connection."""
        tokens = Tokens()
        front = Front(fast=True, tokens=tokens)
        connection = Connection(front.site)
        for required, status in ((None, 200), ([token("web")], 401), (None, 200)):
            tokens.replace(required)
            connection.send(request("POST", INSTANCE))
            (response,) = parsed(connection.received())
            self.assertEqual(response.status, status)


class Waiting(SynchronousTestCase):
    """A request that waits until the node is ready obeys the tokens that are valid when the wait ends."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.tokens = known()
        self.network = Network(self.clock)
        for node in (self.network.first, self.network.second):
            node.begin_round()
        self.network.first.sweep()
        self.site = site(self.network.first, self.clock, tokens=self.tokens)
        self.network.connected = False
        self.clock.advance(3)

    def sent(self, method: str, path: str, name: str | None, **more: str) -> Connection:
        connection = Connection(self.site)
        connection.send(request(method, path, **headers(name), **more))
        return connection

    def test_without_a_token(self) -> None:
        """A request without a valid token is refused at once, and does not wait until the node is ready."""
        for method, path in (("PUT", INSTANCE), ("GET", "/backends"), ("GET", "/nothing"), ("GET", "/events")):
            (response,) = parsed(self.sent(method, path, "unknown").received())
            self.assertEqual(response.status, 401, path)

    def test_revoked_meanwhile(self) -> None:
        """If the token is removed during the wait, the request gets 401, and nothing is registered."""
        waiting = [
            self.sent("POST", INSTANCE, "agent"),
            self.sent("GET", "/backends", "agent"),
            self.sent("GET", "/events", "agent", Accept="text/event-stream"),
        ]
        self.assertEqual([connection.received() for connection in waiting], [b"", b"", b""])
        self.tokens.replace([token("reader")])
        self.network.reconnect()
        statuses = [parsed(connection.received())[0].status for connection in waiting]
        self.assertEqual(statuses, [401, 401, 401])
        self.assertEqual(self.network.first.claims(), [])


class Authors(ApiCase):
    """Histories show the token of an author, which proves more than a name or an address."""

    def setUp(self) -> None:
        super().setUp()
        self.site = site(self.node, self.clock, tokens=known())

    def author(self, **sent: str) -> str:
        changed = self.ask("PUT", "/backends/site", SITE, **headers("deployer"), **sent)
        self.assertIn(changed.status, (200, 201))
        history = self.ask("GET", "/backends/site/history", **headers("reader")).json
        author: str = history[0]["author"]
        return author

    def test_the_name_of_the_token(self) -> None:
        """The author is the name of the token, alone or after the name that the client sends."""
        self.assertEqual(self.author(), "deployer")
        self.ask("DELETE", "/backends/site", **headers("root"))
        self.assertEqual(self.author(X_Bender_As="anna@web1"), "anna@web1 (deployer)")

    def test_a_state(self) -> None:
        """The author of an operator's state has the name of the token, too."""
        self.ask("POST", INSTANCE, **headers("web"))
        self.ask("PUT", f"{INSTANCE}/state?force", {"state": "drain"}, **headers("deployer"), X_Bender_As="anna")
        state = self.ask("GET", f"{INSTANCE}/state", **headers("reader")).json
        self.assertEqual(state["author"], "anna (deployer)")

    def test_without_tokens(self) -> None:
        """On a node without tokens, the author is the address of the client, even if the client sends a token."""
        self.site = site(self.node, self.clock)
        self.assertEqual(self.author(X_Bender_As="anna"), "anna (10.9.9.9)")


class Streams(ApiCase):
    """A stream or a poll ends when the token of its client may no longer read; those of other clients go on."""

    def setUp(self) -> None:
        super().setUp()
        self.tokens = Tokens([token("reader"), token("agent")])
        self.site = site(self.node, self.clock, tokens=self.tokens)

    def watch(self, name: str | None, query: str = "", **sent: str) -> Connection:
        connection = self.connect()
        connection.send(request("GET", f"/events{query}", **headers(name), **sent))
        return connection

    def streams(self, name: str) -> Connection:
        connection = self.watch(name, Accept="text/event-stream")
        self.assertIn(b": connected", connection.received())
        return connection

    def register(self, port: int) -> None:
        self.assertEqual(self.ask("POST", f"/registrations/web-shop/1/10.0.0.5/{port}", **headers("agent")).status, 200)

    def test_streams(self) -> None:
        """The client receives the events up to the change, and then the end of the response."""
        reader, agent = self.streams("reader"), self.streams("agent")
        self.register(1)
        self.assertIn(b'"port":1', reader.received())
        self.tokens.replace([token("agent")])
        self.assertTrue(reader.received().endswith(b"0\r\n\r\n"))
        self.register(2)
        self.assertEqual(reader.received(), b"")
        self.assertIn(b'"port":2', agent.received())
        agent.lose()

    def test_a_stream_whose_token_changes(self) -> None:
        """A stream goes on as long as its token may read, whatever other scopes the token gets or loses."""
        reader = self.streams("reader")
        for scopes in (["read", "configure"], ["admin"], ["read"]):
            self.tokens.replace([token("reader", *scopes), token("agent")])
            self.register(len(scopes))
        self.assertIn(b'"port":1', reader.received())
        self.tokens.replace([token("reader", "configure"), token("agent")])
        self.assertTrue(reader.received().endswith(b"0\r\n\r\n"))

    def test_twice(self) -> None:
        """A second replacement of the tokens does not end the stream again."""
        reader = self.streams("reader")
        self.tokens.replace([])
        self.tokens.replace([token("reader")])
        self.assertEqual(reader.received().count(b"0\r\n\r\n"), 1)

    def test_polls(self) -> None:
        """A waiting poll is answered at once, without events."""
        reader = self.watch("reader", f"?since={self.node.journal.cursor}&wait=30")
        self.assertEqual(reader.received(), b"")
        self.tokens.replace([token("agent")])
        self.clock.advance(0)
        (response,) = parsed(reader.received())
        self.assertEqual((response.status, response.json["events"]), (200, []))

    def test_no_stream_without_a_token(self) -> None:
        """Without a valid token, no stream begins: the answer is an error in JSON."""
        for sent in ({}, {"Accept": "text/event-stream"}):
            for name, status in ((None, 401), ("unknown", 401)):
                (response,) = parsed(self.watch(name, **sent).received())
                self.assertEqual((response.status, response.headers["content-type"]), (status, "application/json"))
        self.assertEqual(self.node.journal.listeners, 0)
