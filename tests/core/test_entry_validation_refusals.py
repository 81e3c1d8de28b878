"""Invalid entries and settings of peers, each with its reason."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from bender.core.entry_validation import BODY_BYTES_MAX, UNCHECKED, VALIDITY, problem_of_entry, problem_of_setting
from bender.core.ledger import Claim, End
from bender.core.messages import ConfigSetting
from bender.core.model import (
    DEPTH_MAX,
    registration_bytes,
)
from bender.core.node_loss_guard import LIFTED
from tests.core.peer_entries import (
    BACKEND_BODY,
    FRONTEND_BODY,
    KEY,
    TERMS,
    backend,
    claim,
    frontend,
    nested,
    terms,
    word,
)

NOT_JSON = "its body is not an object of JSON in one line"


class Refused(SynchronousTestCase):
    """Each rule refuses its own kind of mistake, with the reason."""

    def entry(self, problem: str, *claims: Claim) -> None:
        for each in claims:
            self.assertEqual(problem_of_entry(each), problem, each)

    def test_keys(self) -> None:
        """Keys that are not an id, or not in the canonical form, are refused."""
        keys = [
            "x",
            "registration",
            "a/b/c",
            "registration/web/1.0/h",
            "registration/web/1.0/h/80/",
            "registration/////",
        ]
        keys += [
            f"registration/web/1.0/{place}" for place in ("h/080", "h/0", "h/65536", "h/x", "H/80", "h./80", "::0/1")
        ]
        keys += [
            "registration/../1/h/80",
            "registration/a\n/1/h/80",
            f"registration/{'a' * 256}/1/h/80",
            "registration/////",
        ]
        for key in keys:
            problem = f"its id {key[:100]!a} is not that of a registration"
            self.assertEqual(problem_of_entry(claim(key=key)), problem)
            self.assertEqual(problem_of_entry(End(2, 1, key, 18.0, 1, ())), problem)

    def test_not_json(self) -> None:
        """A body is refused if it is not one object in one line, or has bytes that are not text."""
        inner = TERMS[:-1]
        self.entry(
            NOT_JSON,
            *map(
                claim,
                [
                    b"",
                    b"x",
                    b"{",
                    b"[]",
                    b'"{}"',
                    b" " + TERMS,
                    TERMS + b"\n",
                    TERMS.replace(b",", b",\n", 1),
                    TERMS.replace(b",", b",\t", 1),
                    TERMS.replace(b",", b",\r", 1),
                    TERMS + b'}\n{"event":"offline"}',
                    inner + b',"x":"\xff"}',
                    inner + b',"x":"\xed\xa0\x80"}',
                    inner + b',"x":"\\ud83d\\ude00"}',
                    inner + b',"x":"\\\\\\uD800"}',
                    inner + b',"x":"\\udbff"}',
                    inner + b',"x":"\\uDC00"}',
                    inner + b',"x":"\x00"}',
                    inner + b',"x":"\x1f"}',
                    inner + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
                    TERMS + TERMS,
                    TERMS + b"," + TERMS,
                    inner + b"}}",
                    inner + b',"x":1e999}',
                    inner + b',"x":tru}',
                    inner + b",}",
                ],
            ),
        )

    def test_escaped_backslashes(self) -> None:
        """An even number of backslashes before a surrogate's escape is text."""
        for text in (b"\\\\ud800", b"\\\\\\\\udfff", b"\\\\\\\\\\\\uD83d"):
            self.assertIsNone(problem_of_entry(claim(TERMS[:-1] + b',"x":"' + text + b'"}')))

    def test_fields(self) -> None:
        """Fields that the key has or the node sets are refused, whatever their value."""
        for field in ("id", "resource", "app", "version", "host", "port", "state", "suspect"):
            values: list[Any] = ["x", 1, False, [], {}]
            for value in values:
                problem = problem_of_entry(claim(terms(**{field: value})))
                assert problem is not None
                self.assertTrue(problem.startswith("its fields are not valid for a registration ("), problem)
                self.assertIn(f"`$.{field}`", problem)
            self.assertIsNotNone(problem_of_entry(claim(TERMS[:-1] + b',"%b":null}' % field.encode())))

    def test_missing_or_odd(self) -> None:
        """All fields of terms must be present and have the right type."""
        odd: list[dict[str, Any]] = [{field: None} for field in ("ttl", "weight", "meta", "registered", "node")]
        odd += [{"ttl": "10"}, {"weight": 1.5}, {"weight": True}, {"meta": []}, {"registered": "now"}, {"node": 1}]
        for each in odd:
            problem = problem_of_entry(claim(terms(**each)))
            assert problem is not None
            self.assertTrue(problem.startswith("its fields are not valid for a registration ("), problem)

    def test_ttl(self) -> None:
        """The ttl of the claim and of its body must be the same."""
        self.entry("its ttl is 10 s, but 11 s in its body", claim(terms(ttl=11.0)))
        self.entry("its ttl is 0.5 s, but 10 s in its body", claim(ttl_s=0.5))

    def test_ranges(self) -> None:
        """The weight and the time of registration must be in their ranges."""
        self.assertEqual([problem_of_entry(claim(terms(weight=weight))) for weight in (0, 256)], [None, None])
        self.entry("its weight is 257, not 0 to 256", claim(terms(weight=257)))
        self.entry("its weight is -1, not 0 to 256", claim(terms(weight=-1)))
        self.assertEqual([problem_of_entry(claim(terms(registered=at))) for at in (0, 2**53)], [None, None])
        self.entry(f"its time of registration is {2**53 + 1} ms, not 0 to {2**53}", claim(terms(registered=2**53 + 1)))
        self.entry(f"its time of registration is -1 ms, not 0 to {2**53}", claim(terms(registered=-1)))

    def test_node(self) -> None:
        """The name of the node must be printable, because it is shown on terminals."""
        self.assertIsNone(problem_of_entry(claim(terms(node="K\u00f6ln 1"))))
        for name in ("n\n1", "\x1b[2J", "n\u202e1"):
            self.entry("the name of its node is not printable", claim(terms(node=name)))

    def test_instance(self) -> None:
        """The token of the instance must be printable, and have a length that clients may send."""
        for token in ("7f3a", "x" * 64, None):
            self.assertIsNone(problem_of_entry(claim(terms(instance=token))))
        for token in ("", "x" * 65, "\x1b[2J"):
            self.entry("its token (instance) is too long or not printable", claim(terms(instance=token)))

    def test_depth(self) -> None:
        """A field may have as many levels as clients may send."""
        self.assertIsNone(problem_of_entry(claim(terms(x=nested(DEPTH_MAX)))))
        problem = f"its body has lists or objects that are nested more than {DEPTH_MAX} deep"
        self.entry(problem, claim(terms(x=nested(DEPTH_MAX + 1))), claim(terms(meta={"x": nested(DEPTH_MAX)})))
        self.assertIsNone(problem_of_entry(claim(terms(x=[[]] * 100))))
        body = BACKEND_BODY[:-1] + b',"x":' + msgspec.json.encode(nested(DEPTH_MAX + 1)) + b"}"
        self.assertEqual(problem_of_setting(backend(body)), problem)

    def test_length(self) -> None:
        """The length of a registration is that of its JSON for clients; that of a setting is its body's."""
        room = BODY_BYTES_MAX - registration_bytes(KEY, terms(meta={"x": ""}))
        self.assertIsNone(problem_of_entry(claim(terms(meta={"x": "x" * room}))))
        self.entry(
            f"it has {BODY_BYTES_MAX + 1} bytes, more than {BODY_BYTES_MAX}", claim(terms(meta={"x": "x" * (room + 1)}))
        )
        body = BACKEND_BODY[:-1] + b',"x":"'
        fits = body + b"x" * (BODY_BYTES_MAX - len(body) - 2) + b'"}'
        self.assertIsNone(problem_of_setting(backend(fits)))
        self.assertEqual(BODY_BYTES_MAX, 12_288)
        longer = fits.replace(b'"}', b'x"}')
        self.assertEqual(
            problem_of_setting(backend(longer)), f"its body has {BODY_BYTES_MAX + 1} bytes, more than {BODY_BYTES_MAX}"
        )

    def test_unchecked(self) -> None:
        """`UNCHECKED`, for tests, refuses nothing; `VALIDITY` has all checks."""
        self.assertIsNone(UNCHECKED.problem_of_entry(claim(b"x", "x")))
        self.assertIsNone(UNCHECKED.problem_of_setting(backend(b"x", "x")))
        self.assertEqual(
            (VALIDITY.problem_of_entry, VALIDITY.problem_of_setting), (problem_of_entry, problem_of_setting)
        )


class RefusedSettings(SynchronousTestCase):
    def test_keys(self) -> None:
        """The key of a setting has a kind in lower case, a slash, and printable characters."""
        for key in (
            "x",
            "backend",
            "/x",
            "Backend/x",
            "back-end/x",
            "policy/a\nb",
            f"{'a' * 33}/x",
            "b\u00e4/x",
            "1/x",
        ):
            self.assertEqual(
                problem_of_setting(ConfigSetting(key, 1, 2, 0, "ops", b"{}")),
                f"its key {key[:100]!a} is not that of a setting",
            )
        self.assertIsNone(problem_of_setting(ConfigSetting(f"{'a' * 32}/x", 1, 2, 0, "ops", b"{}")))

    def test_long_keys(self) -> None:
        """A message quotes at most a hundred characters of a key."""
        shown = "a" * 100
        self.assertEqual(
            problem_of_setting(ConfigSetting("a" * 101, 1, 2, 0, "ops", b"{}")),
            f"its key '{shown}' is not that of a setting",
        )
        key = "state/" + "a" * 95
        self.assertEqual(problem_of_setting(word(key=key)), f"its key '{key[:-1]}' is not that of an instance's state")

    def test_names(self) -> None:
        """Backends and frontends have names like apps, also removed ones."""
        for kind in ("backend", "frontend"):
            for name in ("", "a/b", "..", "a" * 256):
                problem = problem_of_setting(backend(None, f"{kind}/{name}"))
                assert problem is not None
                self.assertTrue(problem.startswith(f"its body is not that of a {kind} (name: "), problem)

    def test_rev(self) -> None:
        """The first rev of any kind is 1."""
        self.assertEqual(problem_of_setting(backend(rev=0)), "its revision is 0, less than 1")
        self.assertEqual(
            problem_of_setting(ConfigSetting("policy/x", 0, 2, 0, "ops", b"")), "its revision is 0, less than 1"
        )

    def test_author(self) -> None:
        """The author must be printable, because histories are shown on terminals."""
        for author, problem in (
            ("2001:db8::1", None),
            ("", None),
            ("\x1b[2J", "its author is not printable"),
            ("a\u202eb", "its author is not printable"),
        ):
            for key in ("backend/web", "policy/x"):
                self.assertEqual(problem_of_setting(ConfigSetting(key, 1, 2, 0, author, BACKEND_BODY)), problem)

    def test_lasting(self) -> None:
        """Backends and frontends must not have a duration; states and settings of a guard must have one."""
        self.assertEqual(
            problem_of_setting(ConfigSetting("backend/web", 1, 2, 0, "ops", BACKEND_BODY, 60.0)),
            "it has a duration, but a backend or frontend has none",
        )
        self.assertEqual(
            problem_of_setting(ConfigSetting("frontend/f", 1, 2, 0, "ops", None, 60.0)),
            "it has a duration, but a backend or frontend has none",
        )
        for key in ("", "guard/web"):
            for body in (b"drain", None):
                self.assertEqual(problem_of_setting(word(body, key, None)), "it lacks a duration: every state has one")

    def test_identity(self) -> None:
        """The id, resource and name of a body must be those of its key."""
        for field, value in ((b"id", b"backend/web"), (b"resource", b"Backend"), (b"name", b"web")):
            said = b'"%b":"%b"' % (field, value)
            for other in (b'"%b":"x"' % field, b'"%b":1' % field, b'"%b":null' % field, b'"x":"%b"' % value):
                self.assertEqual(
                    problem_of_setting(backend(BACKEND_BODY.replace(said, other))),
                    f"its {field.decode()} is not {value.decode()}",
                )

    def test_needed(self) -> None:
        """A backend must have an app and a version; a frontend may have a backend."""
        for field, value in ((b"app", b"web"), (b"version", b"1.0")):
            said = b'"%b":"%b"' % (field, value)
            for other, problem in (
                (b'"x":1', "is required"),
                (b'"%b":1' % field, "must be a string"),
                (b'"%b":"a/b"' % field, "must be printable characters without /, and neither . nor .."),
            ):
                body = BACKEND_BODY.replace(said, other)
                self.assertEqual(problem_of_setting(backend(body)), f"{field.decode()}: {problem}")
        self.assertIsNone(problem_of_setting(frontend(FRONTEND_BODY)))
        self.assertIsNone(problem_of_setting(frontend(FRONTEND_BODY.replace(b'"web"', b"null"))))
        self.assertEqual(
            problem_of_setting(frontend(FRONTEND_BODY.replace(b'"web"', b"1"))), "backend: must be a string"
        )

    def test_bodies(self) -> None:
        """The body of a setting is one object in one line, like that of a registration."""
        for body in (
            b"",
            b"x",
            BACKEND_BODY + b"\n",
            BACKEND_BODY + b'}\n{"event":1}',
            BACKEND_BODY[:-1] + b',"x":1e999}',
        ):
            self.assertEqual(problem_of_setting(backend(body)), NOT_JSON)
        self.assertEqual(problem_of_setting(backend(BACKEND_BODY[:-1] + b",}")), NOT_JSON)

    def test_states(self) -> None:
        """The key of a state has the id of a registration, and its body is a word."""
        for key in ("state/x", "state/web/1/H/80", "state/web/1/h/080", "state/"):
            self.assertEqual(problem_of_setting(word(key=key)), f"its key {key!a} is not that of an instance's state")
        for body in (b"", b"two words", b"drain\n", b"dr\xc3\xa4in", b"\xff", b'"drain"'):
            self.assertEqual(problem_of_setting(word(body)), "its state is not a word of ASCII letters, digits and _")
        self.assertIsNone(problem_of_setting(word(b"another_one")))

    def test_guard(self) -> None:
        """The key of a guard's setting has an app."""
        self.assertEqual(
            problem_of_setting(word(LIFTED, "guard/a/b")),
            "app: must be printable characters without /, and neither . nor ..",
        )
        self.assertEqual(problem_of_setting(word(LIFTED, "guard/")), "app: must have 1 to 255 characters")
        self.assertEqual(
            problem_of_setting(word(b"not a word", "guard/web")),
            "its state is not a word of ASCII letters, digits and _",
        )
