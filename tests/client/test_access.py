"""Clients with tokens: the nodes to which tokens are sent, and requests that nodes deny."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bender.access.tokens import Token
from bender.client import Refused, Registrar, Unavailable
from bender.client.token_source import CurrentToken, token_in_file
from bender.client.transport import ConnectionSecurity
from bender.core.model import RegistrationRequest
from bender.core.scopes import parse_scopes
from bender.net.addresses import NoAnswer
from tests.client.cluster import ALL, ONE, THREE, TWO, ClientCase, Watcher


def token(secret: str, *scopes: str) -> Token:
    return Token(secret, sha256(secret.encode()).digest(), parse_scopes(scopes))


class Trusted(SynchronousTestCase):
    """The nodes to which a token is sent."""

    def sent(self, node: str, **security: object) -> bool:
        security = {"token": "secret", **security}
        try:
            return "Authorization" in ConnectionSecurity(**security).headers(node)  # type: ignore[arg-type]
        except NoAnswer as no_answer:
            self.assertIn("unencrypted", str(no_answer))
            self.assertNotIn("secret", str(no_answer))
            return False

    def test_without_a_ca(self) -> None:
        """Without a CA, the token is sent to nodes on this machine, and to those with TLS that the system trusts."""
        for node in ("127.0.0.1:1729", "[::1]:1729", "localhost:1729", "http://127.0.0.1:1", "https://10.0.0.1:1729"):
            self.assertTrue(self.sent(node), node)
        for node in ("10.0.0.1:1729", "http://10.0.0.1:1729", "n1.example:1729", "[fd00::1]:1729"):
            self.assertFalse(self.sent(node), node)

    def test_with_a_ca(self) -> None:
        """With a CA, the token is sent only to nodes whose certificate is verified."""
        for node in ("10.0.0.1:1729", "https://10.0.0.1:1729", "127.0.0.1:1729"):
            self.assertTrue(self.sent(node, ca=b"pem"), node)
        for node in ("http://10.0.0.1:1729", "http://127.0.0.1:1729"):
            self.assertFalse(self.sent(node, ca=b"pem"), node)

    def test_on_a_network_that_is_encrypted_itself(self) -> None:
        """With `insecure`, the token is sent to all nodes."""
        self.assertTrue(self.sent("10.0.0.1:1729", insecure=True))

    def test_no_token_keeps_nothing_from_being_sent(self) -> None:
        """Without a token, all nodes are asked."""
        self.assertEqual(ConnectionSecurity().headers("10.0.0.1:1729"), {})

    def test_a_token_in_a_file(self) -> None:
        """A token is one line of printable ASCII, with any white space around it."""
        path = Path(self.mktemp())
        self.assertIsNone(token_in_file(path))
        for content, token in (
            (b"secret", "secret"),
            (b" secret\n", "secret"),
            (b"", None),
            (b"a\nb", None),
            (b"\xff", None),
        ):
            path.write_bytes(content)
            self.assertEqual(token_in_file(path), token, content)

    def test_a_token_that_is_read_again(self) -> None:
        """A new token replaces the old one; a file that cannot be read does not."""
        texts = iter(["a", "a", None, "b"])
        current = CurrentToken(lambda: next(texts))
        self.assertEqual((current.text, current.read_again(), current.text), ("a", False, "a"))
        self.assertEqual((current.read_again(), current.text), (False, "a"))
        self.assertEqual((current.read_again(), current.text), (True, "b"))
        self.assertFalse(CurrentToken("fixed").read_again())
        self.assertFalse(CurrentToken(None).read_again())


class TokensCase(ClientCase):
    """Nodes that require tokens."""

    def accept(self, *tokens: Token, at: tuple[str, ...] = ALL) -> None:
        for host in at:
            self.machines[host].tokens.replace(tokens)


class Denied(TokensCase):
    """Nodes that know different tokens, as while an operator replaces one."""

    def test_another_node_that_knows_the_token_is_asked(self) -> None:
        """A node that denies access counts as one that does not answer; the error names it without the token."""
        self.accept(token("old", "read"), at=(ONE,))
        self.accept(token("new", "read"), at=(TWO, THREE))
        client = self.client(ONE, TWO, token="new", insecure=True)
        self.assertEqual(self.result(client.registrations()), [])
        ((node, problem),) = self.problems
        self.assertEqual(node, f"{ONE}:1729")
        self.assertTrue(problem.startswith("denies access (this node does not know the token"), problem)

    def test_all_of_them(self) -> None:
        """If all nodes deny access, the first refusal is raised, with its code."""
        self.accept(token("t", "read"))
        for secret, method, code, status in (("x", "GET", "UNAUTHORIZED", 401), ("t", "DELETE", "FORBIDDEN", 403)):
            client = self.client(ONE, TWO, token=secret, insecure=True)
            refused = self.failure(client.call(method, "/backends/shop"), Refused)
            self.assertEqual((refused.code, refused.status, refused.node), (code, status, f"{ONE}:1729"))

    def test_some_are_unreachable_as_well(self) -> None:
        """If another node fails for another reason, each node has its own reason."""
        self.accept(token("t", "read"))
        self.machines[TWO].kill()
        unavailable = self.failure(self.client(ONE, TWO, token="x", insecure=True).registrations(), Unavailable)
        self.assertIn("denies access", unavailable.problems[f"{ONE}:1729"])
        self.assertIn("does not answer", unavailable.problems[f"{TWO}:1729"])

    def test_a_token_that_was_replaced_in_its_file(self) -> None:
        """The token is read again when a node does not know it, and the same node is asked once more."""
        self.accept(token("old", "read"))
        texts = ["old"]
        client = self.client(ONE, token=lambda: texts[-1], insecure=True)
        self.assertEqual(self.result(client.registrations()), [])
        self.accept(token("new", "read"))
        self.assertEqual(self.failure(client.registrations(), Refused).status, 401)
        texts.append("new")
        self.assertEqual(self.result(client.registrations()), [])
        self.assertEqual([node for node, _ in self.problems], [f"{ONE}:1729"])

    def test_a_watch(self) -> None:
        """A watch continues at a node that knows the token, and reads the token again if none does."""
        self.accept(token("old", "read"), at=(ONE,))
        self.accept(token("new", "read"), at=(TWO, THREE))
        texts = ["old"]
        client = self.client(*ALL, token=lambda: texts[-1], insecure=True)
        watcher = Watcher(client.watch())
        self.network.pass_time(1)
        self.assertEqual((watcher.watch.node, watcher.named()), (f"{ONE}:1729", ["synced snapshot"]))
        texts.append("new")
        self.accept(token("new", "read"), at=(ONE,))
        self.network.pass_time(10)
        self.node(TWO).register(self.wanted(80))
        self.network.pass_time(1)
        self.assertEqual(watcher.named(), ["online 80 registered"])
        self.result(watcher.watch.aclose())
        self.successResultOf(watcher.taking)

    @staticmethod
    def wanted(port: int) -> RegistrationRequest:
        return RegistrationRequest("web", "1", "10.9.9.9", port)


class Keeping(TokensCase):
    """A registrar, whose instances must not expire because of a token."""

    def setUp(self) -> None:
        super().setUp()
        self.accept(token("t", "register:web", "register:db"))
        self.registrar = Registrar(self.client(*ALL, token="t", insecure=True), chance=lambda: 0.5)
        self.registrar.startService()
        for app in ("web", "db"):
            self.registrar.add(app, "1", "10.9.9.9", 80, ttl_s=6)
        self.network.pass_time(1)
        self.addCleanup(self.stop)

    def stop(self) -> None:
        self.registrar.stopService()
        self.network.pass_time(1)

    def listed(self) -> list[str]:
        return [claim.key.split("/")[1] for claim in self.node(THREE).claims()]

    def test_one_that_the_token_no_longer_permits(self) -> None:
        """Instances that were renewed in the same request stay; the denied one expires, and the log has the reason."""
        self.assertEqual(self.listed(), ["db", "web"])
        self.accept(token("t", "register:web"))
        self.network.pass_time(20)
        self.assertEqual(self.listed(), ["web"])

    def test_a_token_that_no_node_knows_for_a_while(self) -> None:
        """The registrar retries and logs this once; both instances are registered again."""
        self.accept(token("other", "read"))
        self.network.pass_time(20)
        self.assertEqual(self.listed(), [])
        self.assertIn("does not know the token", self.registrar.problem or "")
        self.accept(token("t", "register:*"))
        self.network.pass_time(10)
        self.assertEqual((self.listed(), self.registrar.problem), (["db", "web"], None))
