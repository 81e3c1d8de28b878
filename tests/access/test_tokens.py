"""The permissions of tokens, and their replacement while a node runs."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from bender.access.tokens import NO_TOKEN, UNRESTRICTED, Access, Forbidden, Tokens, Unauthorized
from tests.access.known import SCOPES, hash_of, known, secret, token

WEB = "registration/web-shop/1/10.0.0.5/80"
API = "registration/api/1/10.0.0.5/80"


def accessed(tokens: Tokens, name: str | None) -> Access:
    return tokens.access(None if name is None else secret(name).encode())


def outcome(required: Callable[..., None], *arguments: object) -> str:
    """Return the result of a check: `done`, or the class of the refusal."""
    try:
        required(*arguments)
    except (Unauthorized, Forbidden) as error:
        return type(error).__name__
    return "done"


class AccessOfTokens(SynchronousTestCase):
    def test_who_may_do_what(self) -> None:
        """Each token has exactly the permissions of its scopes: reading, configuring, and registering apps."""
        tokens = known()
        for name, *expected in (
            (None, "Unauthorized", "Unauthorized", "Unauthorized", "Unauthorized", "Unauthorized"),
            ("unknown", "Unauthorized", "Unauthorized", "Unauthorized", "Unauthorized", "Unauthorized"),
            ("reader", "done", "Forbidden", "Forbidden", "Forbidden", "Forbidden"),
            ("web", "Forbidden", "Forbidden", "done", "Forbidden", "done"),
            ("agent", "done", "Forbidden", "done", "Forbidden", "done"),
            ("deployer", "Forbidden", "done", "Forbidden", "Forbidden", "Forbidden"),
            ("root", "done", "done", "done", "done", "done"),
        ):
            access = accessed(tokens, name)
            outcomes = [
                outcome(access.require_read),
                outcome(access.require_configure),
                outcome(access.require_register, "web-shop"),
                outcome(access.require_register, "api"),
                outcome(access.require_register_some),
            ]
            self.assertEqual(outcomes, expected, name)
            self.assertEqual(outcome(access.require_valid), "done" if name in SCOPES else "Unauthorized")

    def test_ids(self) -> None:
        """All apps in a list of ids must be permitted. A text that is not an id names no app."""
        web, agent, reader = (accessed(known(), name) for name in ("web", "agent", "reader"))
        for ids, expected in (
            ([], "done"),
            ([WEB, WEB], "done"),
            (["web-shop", ""], "done"),
            ([WEB, API], "Forbidden"),
            ([API], "Forbidden"),
            (["x/api"], "Forbidden"),
        ):
            self.assertEqual(outcome(web.require_register_ids, ids), expected, ids)
            self.assertEqual(outcome(agent.require_register_ids, ids), expected, ids)
            self.assertEqual(outcome(reader.require_register_ids, ids), "Forbidden", ids)
            self.assertEqual(outcome(UNRESTRICTED.require_register_ids, ids), "done", ids)
            self.assertEqual(outcome(NO_TOKEN.require_register_ids, ids), "Unauthorized", ids)

    def test_all_apps(self) -> None:
        """`register:*` is for every app, and for nothing else."""
        access = Tokens([token("any", "register:*")]).access(secret("any").encode())
        self.assertEqual(outcome(access.require_register_ids, [WEB, API]), "done")
        self.assertEqual(outcome(access.require_read), "Forbidden")

    def test_a_node_without_tokens(self) -> None:
        """Everything is permitted to all clients, with whatever they send as a token."""
        tokens = Tokens()
        self.assertFalse(tokens.required)
        for sent in (None, b"", b"anything"):
            self.assertIs(tokens.access(sent), UNRESTRICTED)
        self.assertIsNone(UNRESTRICTED.name)

    def test_a_node_with_an_empty_list(self) -> None:
        """Tokens are required, and none is valid."""
        tokens = Tokens([])
        self.assertTrue(tokens.required)
        self.assertEqual(outcome(tokens.access(b"x").require_valid), "Unauthorized")

    def test_an_empty_token(self) -> None:
        """An empty token is an unknown token."""
        self.assertIn("does not know", str(known().access(b"").refusal))
        self.assertIn("requires a token", str(known().access(None).refusal))


class Refusals(SynchronousTestCase):
    """A refusal names the token and its scopes, and never contains the token itself or its hash."""

    def message(self, name: str | None, permission: str, *arguments: object) -> str:
        error = self.assertRaises(
            (Unauthorized, Forbidden), getattr(accessed(known(), name), f"require_{permission}"), *arguments
        )
        return str(error)

    def test_forbidden(self) -> None:
        self.assertEqual(
            self.message("web", "read"),
            "the token web does not have the scope read: its scopes are register:web-*",
        )
        self.assertEqual(
            self.message("agent", "register_ids", [WEB, API]),
            "the token agent does not have the scope register:api: its scopes are read, register:web-*",
        )
        self.assertEqual(
            self.message("reader", "register_some"),
            "the token reader does not have the scope register:APP: its scopes are read",
        )
        self.assertIn("the scope configure", self.message("reader", "configure"))

    def test_unauthorized(self) -> None:
        """The messages for a missing and a wrong token differ."""
        self.assertEqual(
            self.message(None, "read"),
            "this node requires a token: send the header Authorization: Bearer TOKEN (bender: --token-file FILE)",
        )
        self.assertEqual(
            self.message("unknown", "configure"),
            "this node does not know the token: correct it, or add its SHA-256 to the file of --tokens at the node",
        )

    def test_nothing_shows_secrets_or_hashes(self) -> None:
        """Secrets and hashes are neither in a `repr` nor in a traceback, which may reach a log."""
        tokens = known()
        shown = [repr(token(name)) for name in SCOPES]
        for name in (*SCOPES, "unknown"):
            access = accessed(tokens, name)
            shown += [repr(access), str(access), repr(tokens)]
            try:
                access.require_register_ids(["x/nothing"])
            except (Unauthorized, Forbidden) as error:
                shown += [
                    repr(error),
                    *traceback.TracebackException.from_exception(error, capture_locals=True).format(),
                ]
        text = "".join(shown)
        self.assertIn("Forbidden", text)
        for name in (*SCOPES, "unknown"):
            self.assertNotIn(secret(name), text)
            self.assertNotIn(hash_of(name), text)
            self.assertNotIn(repr(bytes.fromhex(hash_of(name)))[2:-1], text)


class Replacing(SynchronousTestCase):
    def test_new_requests(self) -> None:
        """After the replacement, only the new tokens are valid."""
        tokens = known("reader", "web")
        tokens.replace([token("reader"), token("deployer")])
        outcomes = {name: outcome(accessed(tokens, name).require_valid) for name in ("reader", "web", "deployer")}
        self.assertEqual(outcomes, {"reader": "done", "web": "Unauthorized", "deployer": "done"})

    def test_access_that_was_given_before(self) -> None:
        """The access of a client follows its token: other scopes, a removed token, another name."""
        tokens = known("reader", "web", "agent")
        reader, web, agent = (accessed(tokens, name) for name in ("reader", "web", "agent"))
        renamed = token("agent", "read")
        tokens.replace([token("reader", "configure"), type(renamed)("agent-2", renamed.sha256, renamed.scopes)])
        self.assertEqual(
            (
                outcome(tokens.current_access(reader).require_read),
                outcome(tokens.current_access(reader).require_configure),
            ),
            ("Forbidden", "done"),
        )
        self.assertEqual(outcome(tokens.current_access(web).require_valid), "Unauthorized")
        self.assertEqual(tokens.current_access(agent).name, "agent-2")
        self.assertEqual(tokens.current_access(agent), tokens.access(secret("agent").encode()))

    def test_nothing_was_replaced(self) -> None:
        """If no tokens were replaced, the access stays equal."""
        tokens = known()
        for name in (None, "reader", "root"):
            access = accessed(tokens, name)
            self.assertEqual(tokens.current_access(access), access)

    def test_a_token_with_a_new_secret(self) -> None:
        """A name alone gives no access: the client must send the new secret."""
        tokens = known("reader")
        reader = accessed(tokens, "reader")
        other = token("web", "read")
        tokens.replace([type(other)("reader", other.sha256, other.scopes)])
        self.assertEqual(outcome(tokens.current_access(reader).require_read), "Unauthorized")

    def test_tokens_turned_on_and_off(self) -> None:
        """A client without a token loses its access when tokens become required, and regains it when they are not."""
        tokens = Tokens()
        before = tokens.access(None)
        tokens.replace([token("reader")])
        self.assertTrue(tokens.required)
        self.assertIs(tokens.current_access(before), NO_TOKEN)
        reader = accessed(tokens, "reader")
        tokens.replace(None)
        self.assertFalse(tokens.required)
        self.assertIs(tokens.current_access(reader), UNRESTRICTED)
        self.assertIs(tokens.current_access(NO_TOKEN), UNRESTRICTED)

    def test_access_that_was_refused(self) -> None:
        """A refused access stays refused, because a token that was not valid is not stored."""
        tokens = known("reader")
        unknown = accessed(tokens, "web")
        tokens.replace([token("web")])
        self.assertEqual(outcome(tokens.current_access(unknown).require_valid), "Unauthorized")


class Listeners(SynchronousTestCase):
    def setUp(self) -> None:
        self.tokens = known("reader")
        self.called: list[str] = []

    def first(self) -> None:
        self.called.append("first")

    def second(self) -> None:
        self.called.append("second")
        self.tokens.remove_listener(self.third)

    def third(self) -> None:
        self.called.append("third")

    def test_each_is_called_once_for_each_replacement(self) -> None:
        """Each listener is called once after a replacement, when the new tokens are valid."""
        valid: list[str] = []
        for listener in (self.first, self.first, lambda: valid.append(str(accessed(self.tokens, "web").name))):
            self.tokens.add_listener(listener)
        self.assertEqual(self.called, [])
        self.tokens.replace([token("web")])
        self.tokens.replace([token("web")])
        self.assertEqual((self.called, valid), (["first", "first"], ["web", "web"]))

    def test_forgotten(self) -> None:
        """A listener is not called any more, also if another one has just ended it."""
        for listener in (self.first, self.second, self.third):
            self.tokens.add_listener(listener)
        self.tokens.remove_listener(self.first)
        self.tokens.remove_listener(self.first)
        self.tokens.replace(None)
        self.assertEqual(self.called, ["second"])
