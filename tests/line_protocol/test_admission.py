"""Tokens in the line protocol: the first line of a client, and those that follow."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from bender.access.tokens import Tokens
from bender.line_protocol.admission import TOKEN_LINE_BYTES_MAX, TOKEN_S_MAX, AdmissionGate, TokenMessage
from bender.line_protocol.connection import EventsFactory
from bender.line_protocol.messages import decode_line
from bender.node.limits import CLIENT_TIMEOUT_S
from tests.access.known import SCOPES, hash_of, known, secret, token
from tests.api.conversation import Network
from tests.line_protocol.connected import Connected
from tests.node.watched import Watched

SHOP = {"app": "web-shop", "version": "1", "host": "10.0.0.5", "port": 80}
ID = "registration/web-shop/1/10.0.0.5/80"
OTHER_ID = "registration/api/1/10.0.0.5/80"

MISSING = 'this node requires a token: send {"token": "TOKEN"} as the first line'
UNKNOWN = "this node does not know the token: correct it, or add its SHA-256 to the file of --tokens at the node"


def line(**fields: Any) -> bytes:
    return msgspec.json.encode(fields) + b"\n"


def first_line(name: str) -> bytes:
    """Return a line with a token."""
    return line(token=secret(name))


def error(code: str, message: str) -> dict[str, str]:
    return {"event": "error", "code": code, "message": message}


class TokensCase(SynchronousTestCase):
    """A node that requires tokens."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.watched = Watched(self.clock)
        self.node = self.watched.node
        self.tokens = known()
        self.factory = EventsFactory(self.node, self.clock, tokens=self.tokens)

    def connect(self, name: str | None = None) -> Connected:
        """Return a client that has read its `hello` after it sent a token; for None, one that has sent nothing."""
        connected = Connected(self.factory)
        if name is not None:
            connected.send(first_line(name))
            self.assertEqual(connected.named(), ["hello"])
        return connected

    def refused(self, connected: Connected, code: str, message: str) -> None:
        """Expect an error line and nothing else, and that the connection is closed."""
        self.assertEqual(connected.received(), [error(code, message)])
        self.assertTrue(connected.transport.disconnecting)

    @property
    def counted(self) -> tuple[int, int]:
        return self.node.counters.unauthorized, self.node.counters.forbidden


class FirstLine(TokensCase):
    def test_nothing_is_sent_before_it(self) -> None:
        """Neither `hello` nor events are sent before a token, and the client is not a subscriber yet."""
        connected = self.connect()
        self.watched.up()
        self.clock.advance(TOKEN_S_MAX - 1)
        self.assertEqual(connected.received(), [])
        self.assertEqual(self.node.journal.listeners, 0)
        self.assertFalse(connected.transport.disconnecting)

    def test_a_token_that_may_read(self) -> None:
        """The client gets `hello`, and all events from then on."""
        for name in ("reader", "agent", "root"):
            connected = self.connect(name)
            self.watched.up(port=len(name))
            self.assertEqual(connected.named(), [f"online {len(name)}"])
            connected.lose()
        self.assertEqual(self.counted, (0, 0))

    def test_a_token_that_may_not_read(self) -> None:
        """A token without the scope `read` is refused, because this protocol is for events."""
        for name in ("web", "deployer"):
            connected = self.connect()
            connected.send(first_line(name))
            scopes = SCOPES[name][0]
            self.refused(
                connected,
                "FORBIDDEN",
                f"the token {name} does not have the scope read: its scopes are {scopes}",
            )
        self.assertEqual(self.counted, (0, 2))

    def test_an_unknown_token(self) -> None:
        for sent in (first_line("unknown"), line(token=""), line(token=hash_of("reader")), line(token="ü")):
            connected = self.connect()
            connected.send(sent)
            self.refused(connected, "UNAUTHORIZED", UNKNOWN)
        self.assertEqual(self.counted, (4, 0))

    def test_anything_else(self) -> None:
        """Any other first line is not processed, and its answer states what is needed."""
        reader = secret("reader")
        sent = (
            b"\n",
            b"\r\n",
            b"{}\n",
            b"{\n",
            b"\xff\n",
            b"[" * 3000 + b"\n",
            f"{reader}\n".encode(),
            f'"{reader}"\n'.encode(),
            line(subscribe={}),
            line(register=SHOP),
            line(token=reader, subscribe={}),
            line(Token=reader),
            line(token=[reader]),
            line(token=None),
            b'{"token": "\\ud800"}\n',
            b"GET /events HTTP/1.1\r\n",
        )
        for each in sent:
            connected = self.connect()
            connected.send(each)
            self.refused(connected, "UNAUTHORIZED", MISSING)
        self.assertEqual(self.counted, (len(sent), 0))
        self.assertEqual(self.node.claims(), [])

    def test_in_pieces(self) -> None:
        """The first line may arrive in pieces, and end with CR LF."""
        connected = self.connect()
        for byte in first_line("reader").replace(b"\n", b"\r\n"):
            connected.send(bytes([byte]))
        self.assertEqual(connected.named(), ["hello"])

    def test_lines_that_follow_at_once(self) -> None:
        """Lines after the token may be sent before its answer."""
        connected = self.connect()
        connected.send(first_line("agent") + line(register=SHOP) + line(renew=[ID]))
        self.assertEqual([each["event"] for each in connected.received()], ["hello", "online", "registered", "renewed"])

    def test_lines_after_a_refused_one(self) -> None:
        """Lines after a refused token are not read, even if they have a valid token."""
        connected = self.connect()
        connected.send(first_line("unknown") + first_line("reader"))
        connected.send(first_line("reader") + line(subscribe={}))
        self.refused(connected, "UNAUTHORIZED", UNKNOWN)

    def test_a_node_without_tokens(self) -> None:
        """A node without tokens sends `hello` at once, and ignores tokens."""
        connected = Connected(EventsFactory(self.node, self.clock))
        self.assertEqual(connected.named(), ["hello"])
        connected.send(first_line("unknown") + line(register=SHOP))
        self.assertEqual([each["event"] for each in connected.received()], ["online", "registered"])


class Limits(TokensCase):
    def test_too_late(self) -> None:
        """A client has ten seconds for its first line, however slowly it sends."""
        connected = self.connect()
        self.clock.advance(TOKEN_S_MAX - 0.1)
        connected.send(first_line("reader")[:-1])
        self.assertEqual(connected.received(), [])
        self.clock.advance(0.1)
        self.refused(connected, "UNAUTHORIZED", f"no token came within 10 s: {MISSING}")
        connected.send(b"\n")
        self.assertEqual(connected.received(), [])
        self.assertEqual(self.counted, (1, 0))

    def test_in_time(self) -> None:
        """After its first line, a client may be silent for any time."""
        connected = self.connect()
        self.clock.advance(TOKEN_S_MAX - 0.1)
        connected.send(first_line("reader"))
        self.assertEqual(connected.named(), ["hello"])
        self.clock.advance(TOKEN_S_MAX)
        self.assertFalse(connected.transport.disconnecting)

    def test_too_long(self) -> None:
        """A first line above the limit is refused, in one piece or in many, and none of it is kept."""
        message = f"the first line is longer than 4096 bytes: {MISSING}"
        whole = line(token="x" * TOKEN_LINE_BYTES_MAX)
        for pieces in ([whole], [whole[:-1]], [whole[:4000], whole[4000:-1]], [b"x"] * (TOKEN_LINE_BYTES_MAX + 1)):
            connected = self.connect()
            for piece in pieces:
                connected.send(piece)
            self.refused(connected, "UNAUTHORIZED", message)
            connected.send(b"\n" + first_line("reader"))
            self.assertEqual(connected.received(), [])

    def test_as_long_as_possible(self) -> None:
        """A first line of the longest permitted length is accepted, with spaces before the token."""
        sent = first_line("reader")
        connected = self.connect()
        connected.send(b" " * (TOKEN_LINE_BYTES_MAX + 1 - len(sent)) + sent)
        self.assertEqual(connected.named(), ["hello"])

    def test_a_client_that_does_not_close(self) -> None:
        """The connection of a refused client is aborted after a while if the client does not close it."""
        for sent in (first_line("unknown"), b"\n", b"x" * (TOKEN_LINE_BYTES_MAX + 1)):
            connected = self.connect()
            connected.send(sent)
            self.assertTrue(connected.transport.disconnecting)
            self.clock.advance(CLIENT_TIMEOUT_S - 1)
            self.assertFalse(connected.transport.disconnected)
            self.clock.advance(1)
            self.assertTrue(connected.transport.disconnected)
            connected.lose()

    def test_a_silent_client_that_does_not_close(self) -> None:
        """The connection of a client that was silent for too long is aborted after a while, too."""
        connected = self.connect()
        self.clock.advance(TOKEN_S_MAX)
        self.clock.advance(CLIENT_TIMEOUT_S)
        self.assertTrue(connected.transport.disconnected)

    def test_nothing_is_left_behind(self) -> None:
        """A client that disconnects at any time leaves no timer."""
        for sent in (b"", b"{", b"\n", first_line("unknown"), first_line("reader")):
            connected = self.connect()
            connected.send(sent)
            connected.lose()
            self.assertEqual(self.clock.getDelayedCalls(), [], sent)


class HalfClosed(TokensCase):
    """A client may close its sending side after its lines, as `nc` does, and goes on receiving."""

    def test_after_a_line(self) -> None:
        connected = self.connect("reader")
        connected.protocol.readConnectionLost()
        self.watched.up()
        self.assertEqual(connected.named(), ["online 80"])

    def test_without_the_end_of_the_line(self) -> None:
        """The end of the sending side ends the line."""
        connected = self.connect()
        connected.send(first_line("reader")[:-1])
        connected.protocol.readConnectionLost()
        self.assertEqual(connected.named(), ["hello"])
        self.watched.up()
        self.assertEqual(connected.named(), ["online 80"])

    def test_without_a_line(self) -> None:
        """A client that closes its sending side without a line is refused at once."""
        connected = self.connect()
        connected.protocol.readConnectionLost()
        self.refused(connected, "UNAUTHORIZED", MISSING)

    def test_after_a_refusal(self) -> None:
        """A client that was refused is not refused again."""
        connected = self.connect()
        connected.send(first_line("unknown"))
        connected.protocol.readConnectionLost()
        self.refused(connected, "UNAUTHORIZED", UNKNOWN)


class Scopes(TokensCase):
    """The lines that a token permits."""

    def test_registering(self) -> None:
        """A client may register instances of the matching apps; a refusal does not close the connection."""
        connected = self.connect("agent")
        connected.send(line(register={**SHOP, "app": "api"}))
        message = "the token agent does not have the scope register:api: its scopes are read, register:web-*"
        self.assertEqual(connected.received(), [error("FORBIDDEN", message)])
        connected.send(line(register=SHOP))
        self.assertEqual([each["event"] for each in connected.received()], ["online", "registered"])
        self.assertEqual([claim.key for claim in self.node.claims()], [ID])

    def test_renewing(self) -> None:
        """One id of another app refuses the whole line: nothing is renewed or becomes a session."""
        self.watched.up("web-shop")
        self.watched.up("api")
        agent = self.connect("agent")
        ids = [claim.key for claim in self.node.claims()]
        self.pass_time(6)
        agent.send(line(renew=ids, session=True))
        (refusal,) = [each for each in agent.received() if each["event"] == "error"]
        self.assertEqual(refusal["code"], "FORBIDDEN")
        agent.lose()
        self.assertEqual(len(self.node.claims()), 2)
        self.pass_time(5)
        self.assertEqual(self.node.claims(), [])

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.node.sweep()

    def test_a_reader(self) -> None:
        """A reader receives and confirms events, and may not register."""
        connected = self.connect("reader")
        for sent in (line(register=SHOP), line(renew=[ID]), line(renew=[])):
            connected.send(sent)
            (refusal,) = connected.received()
            self.assertEqual(refusal["code"], "FORBIDDEN", sent)
        connected.send(line(subscribe={"name": "edge", "snapshot": True}))
        self.assertEqual(connected.named(), ["synced"])
        connected.send(line(ack=self.node.journal.cursor))
        self.assertEqual(connected.received(), [])
        self.assertEqual(self.counted, (0, 3))


class LaterTokens(TokensCase):
    """A client may send another token at any time."""

    def test_one_with_more_scopes(self) -> None:
        connected = self.connect("reader")
        connected.send(first_line("agent") + line(register=SHOP))
        self.assertEqual([each["event"] for each in connected.received()], ["online", "registered"])

    def test_one_that_is_not_valid(self) -> None:
        """An invalid token is refused, and the connection goes on with the token before it."""
        connected = self.connect("agent")
        connected.send(first_line("unknown") + first_line("deployer") + line(token=""))
        self.assertEqual([each["code"] for each in connected.received()], ["UNAUTHORIZED", "FORBIDDEN", "UNAUTHORIZED"])
        self.assertEqual(self.counted, (2, 1))
        connected.send(line(register=SHOP))
        self.assertEqual([each["event"] for each in connected.received()], ["online", "registered"])

    def test_with_something_else(self) -> None:
        """A line may not have a token and another purpose."""
        connected = self.connect("reader")
        connected.send(line(token=secret("agent"), register=SHOP))
        (refusal,) = connected.received()
        self.assertEqual(refusal["message"], "line: must have exactly one of token, subscribe, ack, renew and register")
        connected.send(line(register=SHOP))
        self.assertEqual(connected.received()[0]["code"], "FORBIDDEN")

    def test_one_that_is_not_text(self) -> None:
        """A token that is not text is refused like any other invalid line, which is not quoted."""
        connected = self.connect("reader")
        connected.send(b'{"token": "\\ud800"}\n' + line(token=7))
        self.assertEqual([each["code"] for each in connected.received()], ["INVALID", "INVALID"])


class Replaced(TokensCase):
    """Tokens are replaced while clients are connected."""

    def test_a_token_that_is_removed(self) -> None:
        """The clients of a removed token get the reason and are disconnected; others go on."""
        reader, agent = self.connect("reader"), self.connect("agent")
        self.tokens.replace([token("agent")])
        self.refused(reader, "UNAUTHORIZED", UNKNOWN)
        self.watched.up()
        self.assertEqual(reader.received(), [])
        self.assertEqual(agent.named(), ["online 80"])
        self.assertEqual(self.node.journal.listeners, 1)

    def test_a_token_that_may_not_read_any_more(self) -> None:
        connected = self.connect("agent")
        self.tokens.replace([token("agent", "register:web-*")])
        message = "the token agent does not have the scope read: its scopes are register:web-*"
        self.refused(connected, "FORBIDDEN", message)

    def test_a_token_with_other_scopes(self) -> None:
        """Lines obey the new scopes of the token."""
        connected = self.connect("reader")
        self.tokens.replace([token("reader", "read", "register:*")])
        connected.send(line(register=SHOP))
        self.assertEqual([each["event"] for each in connected.received()], ["online", "registered"])
        self.tokens.replace([token("reader", "read")])
        connected.send(line(renew=[ID]))
        self.assertEqual(connected.received()[0]["code"], "FORBIDDEN")

    def test_the_token_that_counts_is_the_last(self) -> None:
        """A client that changed its token depends on the new one only."""
        connected = self.connect("reader")
        connected.send(first_line("agent"))
        self.tokens.replace([token("agent")])
        self.watched.up()
        self.assertEqual(connected.named(), ["online 80"])
        self.tokens.replace([token("reader")])
        self.refused(connected, "UNAUTHORIZED", UNKNOWN)

    def test_twice(self) -> None:
        """A client whose connection is being closed gets no second error."""
        connected = self.connect("reader")
        self.tokens.replace([])
        self.tokens.replace([])
        self.refused(connected, "UNAUTHORIZED", UNKNOWN)

    def test_while_a_client_has_sent_nothing(self) -> None:
        """The token of a client that has sent nothing is checked when it arrives."""
        connected = self.connect()
        self.tokens.replace([token("reader", "configure"), token("web", "read")])
        connected.send(first_line("web"))
        self.assertEqual(connected.named(), ["hello"])

    def test_sessions(self) -> None:
        """Sessions do not end if the node closes the connection, because the instances are alive and have their ttl."""
        connected = self.connect("agent")
        connected.send(line(register=SHOP, session=True))
        self.tokens.replace([token("reader")])
        connected.lose()
        self.assertEqual(len(self.node.claims()), 1)

    def test_tokens_turned_on(self) -> None:
        """When tokens are turned on, a client that has sent none is disconnected with the remedy."""
        self.tokens.replace(None)
        connected = Connected(self.factory)
        self.assertEqual(connected.named(), ["hello"])
        self.tokens.replace([token("reader")])
        self.refused(connected, "UNAUTHORIZED", MISSING)


class WaitingLines(SynchronousTestCase):
    def test_a_token_that_is_removed_meanwhile(self) -> None:
        """A line that waits until the node is ready is not processed if its token is removed meanwhile."""
        clock, tokens = Clock(), known()
        network = Network(clock)
        for node in (network.first, network.second):
            node.begin_round()
        network.first.sweep()
        connected = Connected(EventsFactory(network.first, clock, tokens=tokens))
        connected.send(first_line("agent"))
        network.connected = False
        clock.advance(3)
        connected.send(line(register=SHOP))
        tokens.replace([token("reader")])
        network.reconnect()
        network.first.sweep()
        self.assertEqual([each.get("code") for each in connected.received()], [None, "UNAUTHORIZED"])
        self.assertEqual(network.first.claims(), [])


class Secrets(TokensCase):
    """No token and no hash of a token is sent, logged or shown in a traceback."""

    def test_lines_and_the_log(self) -> None:
        sent = bytearray()
        with capturedLogs() as logged:
            for name in (*SCOPES, "unknown"):
                for form in (
                    first_line(name),
                    line(Token=secret(name)),
                    line(token=[secret(name)]),
                    f'{{"token": "{secret(name)}\n'.encode(),
                    f'{{"token": "{secret(name)}"'.encode() + b"x" * TOKEN_LINE_BYTES_MAX,
                ):
                    connected = self.connect()
                    connected.send(form + form)
                    self.tokens.replace([])
                    self.tokens.replace([token(each) for each in SCOPES])
                    sent += connected.transport.value()
                    connected.lose()
        text = sent.decode() + "".join(str(formatEvent(event)) for event in logged)
        self.assertIn("UNAUTHORIZED", text)
        self.assert_no_secret(text)

    def test_tracebacks(self) -> None:
        """A defect in the code after the gate is logged without the line of the client."""

        def fails(access: object) -> AdmissionGate:
            raise RuntimeError("a fault")

        gate = AdmissionGate(self.node, self.tokens, self.clock, fails)
        gate.makeConnection(Connected(self.factory).transport)
        try:
            gate.dataReceived(first_line("reader"))
        except RuntimeError:
            text = Failure().getTraceback()
        self.assertIn("a fault", text)
        self.assert_no_secret(text + repr(gate) + str(gate))

    def test_reprs(self) -> None:
        """The text form of a message with a token does not contain the token."""
        self.assert_no_secret(repr(TokenMessage(secret("reader"))) + repr(decode_line(first_line("reader"))))

    def assert_no_secret(self, text: str) -> None:
        for name in (*SCOPES, "unknown"):
            self.assertNotIn(secret(name), text)
            self.assertNotIn(hash_of(name), text)


class Places(TokensCase):
    def test_a_gate_keeps_nothing(self) -> None:
        """A client that is not admitted leaves no subscriber and no listener to tokens."""
        tokens = Tokens([])
        factory = EventsFactory(self.node, self.clock, tokens=tokens)
        for _ in range(3):
            Connected(factory).send(first_line("reader"))
        self.assertEqual(self.node.journal.listeners, 0)
        self.assertEqual(tokens._listeners, {})
