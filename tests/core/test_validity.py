"""What of entries and settings that peers send can be used: all that nodes make of what clients send, and no more."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.admin_state import key_of_state, parse_word
from bender.core.configuration import LASTING_S_MAX
from bender.core.guard import LIFTED, key_of_guard
from bender.core.kinds import parse_object
from bender.core.ledger import Claim, End
from bender.core.messages import ConfigSetting
from bender.core.model import (
    DEPTH_MAX,
    NAME_CHARACTERS_MAX,
    WEIGHT_MAX,
    Invalid,
    TooLarge,
    parse_registration,
    registration_bytes,
)
from bender.core.routing import BACKEND, FRONTEND
from bender.core.timing import TTL_S_MAX, Timing
from bender.core.validity import BODY_BYTES_MAX, UNCHECKED, VALIDITY, problem_of_entry, problem_of_setting

KEY = "registration/web/1.0/10.0.0.5/80"
TERMS = b'{"ttl":10.0,"weight":1,"meta":{},"registered":5,"node":"n1"}'
BACKEND_BODY = b'{"id":"backend/web","resource":"Backend","name":"web","app":"web","version":"1.0"}'
FRONTEND_BODY = b'{"id":"frontend/f","resource":"Frontend","name":"f","backend":"web"}'

NOT_JSON = "its body is not an object of JSON in one line"


def claim(body: bytes = TERMS, key: str = KEY, ttl_s: float = 10.0) -> Claim:
    return Claim(2, 1, key, body, ttl_s, 1, 2, 1)


def terms(**changes: Any) -> bytes:
    """Terms with other fields, or without those that are None."""
    said = {**json.loads(TERMS), **changes}
    return msgspec.json.encode({field: value for field, value in said.items() if value is not None})


def backend(body: bytes | None = BACKEND_BODY, key: str = "backend/web", rev: int = 1) -> ConfigSetting:
    return ConfigSetting(key, rev, 2, 0, "ops", body)


def frontend(body: bytes) -> ConfigSetting:
    return ConfigSetting("frontend/f", 1, 2, 0, "ops", body)


def word(body: bytes | None = b"drain", key: str = "", lasts_s: float | None = 60.0) -> ConfigSetting:
    return ConfigSetting(key or key_of_state(KEY), 1, 2, 0, "ops", body, lasts_s)


# What clients send.

#: All of Unicode that JSON can carry, and what is written with a backslash there more often.
texts = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\"/\x00\x1f\x7f\x80\u2028\ufeffud8'), max_size=12
)
printable = st.characters(exclude_categories=["C", "Z"], exclude_characters="/")
names = st.text(printable | st.sampled_from('"\\ '), min_size=1, max_size=8)
hosts = st.sampled_from(["10.0.0.5", "Host.Example.", "2001:DB8::1", "a_b", "::ffff:1.2.3.4"])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([2**64, -(2**63), 1e308])
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
metas = st.dictionaries(texts, anything, max_size=3)
depths = st.integers(0, DEPTH_MAX - 1)
options = {
    "canary": st.none() | st.fixed_dictionaries({"version": names, "percent": st.integers(0, 100) | st.floats(0, 100)}),
    "balance": st.sampled_from(["roundrobin", "hdr(X-User)", "random(2)"]),
    "health": st.fixed_dictionaries({"path": st.just("/health")}, optional={"interval": st.floats(0.1, 60)}),
    "servers": st.lists(st.sampled_from(["h:1", "[::1]:2", "10.0.0.1:3"]), unique=True, max_size=3),
    "slow_start": st.floats(0, 3600) | st.integers(0, 3600),
}


def nested(levels: int) -> Any:
    """A value with so many lists and objects inside each other."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def said(key: str, ttl_s: float, body: bytes) -> str | None:
    return problem_of_entry(Claim(2, 1, key, body, ttl_s, 1, 2, 1))


class WhatNodesMake(SynchronousTestCase):
    """All that a client can send, and a node takes, is valid everywhere: else the others would not show it."""

    @given(
        names,
        names,
        hosts,
        st.integers(1, 65535),
        st.floats(4, TTL_S_MAX) | st.integers(4, 3600),
        st.integers(0, WEIGHT_MAX),
        metas,
        depths,
    )
    @example("a", "1", "h", 1, 10, 1, {"x": "\x7f"}, 0)
    @example("a", "1", "h", 1, 10, 1, {"x": 10**400}, 0)
    @example("a", "1", "h", 1, 10, 1, {"x": "\\ud800"}, 0)
    @example("a", "1", "h", 1, 10, 1, {"\\\\ud800": "\U0001f600"}, DEPTH_MAX - 1)
    def test_registrations(
        self, app: str, version: str, host: str, port: int, ttl: float, weight: int, meta: dict[str, Any], levels: int
    ) -> None:
        """Whatever stands in `meta`, however deep, and whatever it is called."""
        meta["deep"] = nested(levels)
        sent = {"app": app, "version": version, "host": host, "port": port, "ttl": ttl, "weight": weight, "meta": meta}
        sent["instance"] = app[:64]
        try:
            wanted = parse_registration(json.dumps(sent).encode(), Timing())
            kept = wanted.applied_to(None, ttl_s=10.0, node="n1", now_ms=1795447942248)
            body = kept.encode(wanted.key)
        except (Invalid, TooLarge):
            return
        self.assertIsNone(said(wanted.key, kept.ttl_s, body))
        self.assertIsNone(problem_of_entry(End(2, 1, wanted.key, 18.0, 1, ())))
        self.assertIsNone(problem_of_setting(word(key=key_of_state(wanted.key))))
        self.assertIsNone(problem_of_setting(word(LIFTED, key=key_of_guard(wanted.app))))

    @given(
        names, names, names, st.fixed_dictionaries({}, optional=options), st.dictionaries(texts, anything, max_size=3)
    )
    @example("web", "web", "1", {"canary": {"version": "2", "percent": 2.5}}, {"note": "\x7f"})
    def test_backends(self, name: str, app: str, version: str, some: dict[str, Any], more: dict[str, Any]) -> None:
        """With any of their fields, and with others that mean nothing to nodes."""
        document = json.dumps({**more, **some, "app": app, "version": version}).encode()
        try:
            body = BACKEND.body(name, parse_object(document))
            again = BACKEND.body(name, parse_object(b'{"canary":null}'), body)
        except (Invalid, TooLarge):
            return
        for each in (body, again, None):
            self.assertIsNone(problem_of_setting(backend(each, BACKEND.key(name))))

    @given(names, st.none() | names, metas, depths)
    def test_frontends(self, name: str, of: str | None, more: dict[str, Any], levels: int) -> None:
        """With a backend or none yet."""
        some = {"bind": "*:80", "rules": [{"path": "/a", "backend": "web"}], "deep": nested(levels + 1)}
        try:
            body = FRONTEND.body(name, parse_object(json.dumps({**more, **some, "backend": of}).encode()))
        except (Invalid, TooLarge):
            return
        self.assertIsNone(problem_of_setting(ConfigSetting(FRONTEND.key(name), 1, 2, 0, "ops", body)))

    def test_states(self) -> None:
        """Each of them, for the shortest and the longest time, and their removal."""
        for state in ("drain", "maint", "up"):
            for lasts_s in (1.0, LASTING_S_MAX):
                asked = parse_word(json.dumps({"state": state, "for": lasts_s}).encode())
                self.assertIsNone(problem_of_setting(word(asked.state.encode(), lasts_s=asked.lasts_s)))
        self.assertIsNone(problem_of_setting(word(None)))

    def test_the_largest(self) -> None:
        """As many bytes as clients may send, and names of the longest kind."""
        longest = ["a" * NAME_CHARACTERS_MAX, "\U0001f600" * NAME_CHARACTERS_MAX, '"' * NAME_CHARACTERS_MAX]
        for name in longest:
            try:
                wanted = parse_registration(
                    json.dumps({"app": name, "version": name, "host": "h", "port": 1}).encode(), Timing()
                )
                kept = wanted.applied_to(None, ttl_s=10.0, node="n1", now_ms=5)
                body = kept.encode(wanted.key)
            except TooLarge:
                continue
            self.assertIsNone(said(wanted.key, kept.ttl_s, body))

    def test_of_other_releases(self) -> None:
        """Fields that this one does not know pass, so those of a later one are shown as they are."""
        self.assertIsNone(problem_of_entry(claim(terms(zone="a", more={"deep": nested(DEPTH_MAX - 1)}))))
        self.assertIsNone(problem_of_setting(backend(BACKEND_BODY[:-1] + b',"canary":"none yet","later":{}}')))
        self.assertIsNone(problem_of_setting(ConfigSetting("policy/x", 1, 2, 0, "ops", b"anything \xff", None)))


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """A body in which a few bytes were lost, changed or put in."""
    odd = [
        b"{",
        b"}",
        b"\n",
        b"\\ud800",
        b'"x":1e999,',
        b'"id":1,',
        b"\\",
        b'"',
        b",",
        b"\x7f",
        b"\xff",
        b"[" * 30,
        b"1",
    ]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        until = draw(st.integers(at, min(len(body), at + 4)))
        body = body[:at] + draw(st.sampled_from([*odd, b"\\u0069"]) | st.binary(max_size=3)) + body[until:]
    return body


class WhateverPasses(SynchronousTestCase):
    """What is valid can be read by everybody, as one object in one line."""

    def readable(self, body: bytes) -> dict[str, Any]:
        self.assertNotIn(b"\n", body)
        self.assertNotIn(b"\r", body)
        strict = json.loads(body.decode(), parse_constant=self.fail)
        assert isinstance(strict, dict)
        json.dumps(strict, allow_nan=False, ensure_ascii=False).encode()
        msgspec.json.decode(body)
        return strict

    @given(damaged(TERMS[:-1] + b',"zone":{"a":["\\u0041\\\\",-1.5e3,null,true]}}'))
    @example(TERMS[:-1] + b',"x":1e999}')
    @example(TERMS[:-1] + b',"x":{"a":1e999}}')
    @example(TERMS[:-1] + b',"i\\u0064":"x"}')
    def test_terms(self, body: bytes) -> None:
        """They say nothing that the key says, under whatever spelling."""
        if problem_of_entry(claim(body)) is None:
            reserved = {"id", "resource", "app", "version", "host", "port", "state", "suspect"}
            self.assertFalse(self.readable(body).keys() & reserved)

    @given(damaged(BACKEND_BODY))
    @example(BACKEND_BODY[:-1] + b',"x":1e999}')
    def test_settings(self, body: bytes) -> None:
        """They are named as their key says."""
        if problem_of_setting(backend(body)) is None:
            read = self.readable(body)
            self.assertEqual((read["id"], read["resource"], read["name"]), ("backend/web", "Backend", "web"))

    @given(
        st.sampled_from(["registration", "backend", "frontend", "state", "guard", "policy", ""]),
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | hosts, max_size=5),
        st.binary(max_size=20) | damaged(TERMS),
        st.none() | st.floats(0.1, 60),
    )
    def test_anything(self, kind: str, path: list[str], body: bytes, lasts_s: float | None) -> None:
        """Whatever the key and the body are, there is an answer."""
        key = "/".join([kind, *path])
        for problem in (
            problem_of_entry(claim(body, key)),
            problem_of_setting(ConfigSetting(key, 1, 2, 0, "ops", body, lasts_s)),
            problem_of_setting(ConfigSetting(key, 1, 2, 0, "ops", None, lasts_s)),
        ):
            self.assertTrue(problem is None or 0 < len(problem) < 700)

    def test_an_event_fits_a_line(self) -> None:
        """The longest valid claim under the longest key, in the 16 KiB that line protocols allow, with 250 to spare."""
        name = "\U0001f600" * NAME_CHARACTERS_MAX
        key = f"registration/{name}/{name}/{'.'.join(['a' * 62] * 4)}/65535"
        lengths = range(BODY_BYTES_MAX - 6000, BODY_BYTES_MAX + 1, 50)
        bodies = [terms(meta={"x": "x" * (length - len(terms(meta={"x": ""})))}) for length in lengths]
        longest = max(body for body in bodies if problem_of_entry(claim(body, key)) is None)
        self.assertLess(registration_bytes(key, longest), 16 * 1024 - 250)


class Refused(SynchronousTestCase):
    """Each rule refuses what it is about, and says so."""

    def entry(self, problem: str, *claims: Claim) -> None:
        for each in claims:
            self.assertEqual(problem_of_entry(each), problem, each)

    def test_keys(self) -> None:
        """Those that are no id, or not the canonical one."""
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
        """Not an object, not in one line, more than one, or with bytes that are no text."""
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
        """An even number of them before what would else be half of a pair is text."""
        for text in (b"\\\\ud800", b"\\\\\\\\udfff", b"\\\\\\\\\\\\uD83d"):
            self.assertIsNone(problem_of_entry(claim(TERMS[:-1] + b',"x":"' + text + b'"}')))

    def test_fields(self) -> None:
        """What the key and the node say must not stand there, whatever it is."""
        for field in ("id", "resource", "app", "version", "host", "port", "state", "suspect"):
            values: list[Any] = ["x", 1, False, [], {}]
            for value in values:
                problem = problem_of_entry(claim(terms(**{field: value})))
                assert problem is not None
                self.assertTrue(problem.startswith("its terms are not those of a registration ("), problem)
                self.assertIn(f"`$.{field}`", problem)
            self.assertIsNotNone(problem_of_entry(claim(TERMS[:-1] + b',"%b":null}' % field.encode())))

    def test_missing_or_odd(self) -> None:
        """All of what terms are must be there, and be of its kind."""
        odd: list[dict[str, Any]] = [{field: None} for field in ("ttl", "weight", "meta", "registered", "node")]
        odd += [{"ttl": "10"}, {"weight": 1.5}, {"weight": True}, {"meta": []}, {"registered": "now"}, {"node": 1}]
        for each in odd:
            problem = problem_of_entry(claim(terms(**each)))
            assert problem is not None
            self.assertTrue(problem.startswith("its terms are not those of a registration ("), problem)

    def test_ttl(self) -> None:
        """It stands in the claim and in its body, and must be the same."""
        self.entry("its ttl is 10 and 11 at once", claim(terms(ttl=11.0)))
        self.entry("its ttl is 0.5 and 10 at once", claim(ttl_s=0.5))

    def test_ranges(self) -> None:
        """Of the weight, and of the time of the registration."""
        self.assertEqual([problem_of_entry(claim(terms(weight=weight))) for weight in (0, 256)], [None, None])
        self.entry("its weight is 257", claim(terms(weight=257)))
        self.entry("its weight is -1", claim(terms(weight=-1)))
        self.assertEqual([problem_of_entry(claim(terms(registered=at))) for at in (0, 2**53)], [None, None])
        self.entry(f"it was registered at {2**53 + 1}", claim(terms(registered=2**53 + 1)))
        self.entry("it was registered at -1", claim(terms(registered=-1)))

    def test_node(self) -> None:
        """Its name is shown on terminals."""
        self.assertIsNone(problem_of_entry(claim(terms(node="K\u00f6ln 1"))))
        for name in ("n\n1", "\x1b[2J", "n\u202e1"):
            self.entry("the name of its node is not printable", claim(terms(node=name)))

    def test_instance(self) -> None:
        """Its token is shown on terminals as well, and has a length that clients may send."""
        for token in ("7f3a", "x" * 64, None):
            self.assertIsNone(problem_of_entry(claim(terms(instance=token))))
        for token in ("", "x" * 65, "\x1b[2J"):
            self.entry("the token of its instance is too long or not printable", claim(terms(instance=token)))

    def test_depth(self) -> None:
        """As many levels as clients may send inside one field, and no more."""
        self.assertIsNone(problem_of_entry(claim(terms(x=nested(DEPTH_MAX)))))
        problem = f"its body has lists or objects that are nested more than {DEPTH_MAX} deep"
        self.entry(problem, claim(terms(x=nested(DEPTH_MAX + 1))), claim(terms(meta={"x": nested(DEPTH_MAX)})))
        self.assertIsNone(problem_of_entry(claim(terms(x=[[]] * 100))))
        body = BACKEND_BODY[:-1] + b',"x":' + msgspec.json.encode(nested(DEPTH_MAX + 1)) + b"}"
        self.assertEqual(problem_of_setting(backend(body)), problem)

    def test_length(self) -> None:
        """That of a registration as clients see it, or of a setting."""
        room = BODY_BYTES_MAX - registration_bytes(KEY, terms(meta={"x": ""}))
        self.assertIsNone(problem_of_entry(claim(terms(meta={"x": "x" * room}))))
        self.entry(f"it has {BODY_BYTES_MAX + 1} bytes", claim(terms(meta={"x": "x" * (room + 1)})))
        body = BACKEND_BODY[:-1] + b',"x":"'
        fits = body + b"x" * (BODY_BYTES_MAX - len(body) - 2) + b'"}'
        self.assertIsNone(problem_of_setting(backend(fits)))
        self.assertEqual(BODY_BYTES_MAX, 12_288)
        longer = fits.replace(b'"}', b'x"}')
        self.assertEqual(problem_of_setting(backend(longer)), f"its body has {BODY_BYTES_MAX + 1} bytes")

    def test_unchecked(self) -> None:
        """For tests nothing is refused; nodes have all the checks."""
        self.assertIsNone(UNCHECKED.of_entry(claim(b"x", "x")))
        self.assertIsNone(UNCHECKED.of_setting(backend(b"x", "x")))
        self.assertEqual((VALIDITY.of_entry, VALIDITY.of_setting), (problem_of_entry, problem_of_setting))


class RefusedSettings(SynchronousTestCase):
    def test_keys(self) -> None:
        """A kind in small letters, a slash, and something that can be shown."""
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
        """A hundred characters of them are said."""
        shown = "a" * 100
        self.assertEqual(
            problem_of_setting(ConfigSetting("a" * 101, 1, 2, 0, "ops", b"{}")),
            f"its key '{shown}' is not that of a setting",
        )
        key = "state/" + "a" * 95
        self.assertEqual(problem_of_setting(word(key=key)), f"its key '{key[:-1]}' is not that of an instance's state")

    def test_names(self) -> None:
        """Backends and frontends have names like apps; also those that were removed."""
        for kind in ("backend", "frontend"):
            for name in ("", "a/b", "..", "a" * 256):
                problem = problem_of_setting(backend(None, f"{kind}/{name}"))
                assert problem is not None
                self.assertTrue(problem.startswith(f"its body is not that of a {kind} (name: "), problem)

    def test_rev(self) -> None:
        """The first is 1, of whatever kind."""
        self.assertEqual(problem_of_setting(backend(rev=0)), "its revision is 0")
        self.assertEqual(problem_of_setting(ConfigSetting("policy/x", 0, 2, 0, "ops", b"")), "its revision is 0")

    def test_author(self) -> None:
        """It stands in histories, which people read on terminals."""
        for author, problem in (
            ("2001:db8::1", None),
            ("", None),
            ("\x1b[2J", "its author is not printable"),
            ("a\u202eb", "its author is not printable"),
        ):
            for key in ("backend/web", "policy/x"):
                self.assertEqual(problem_of_setting(ConfigSetting(key, 1, 2, 0, author, BACKEND_BODY)), problem)

    def test_lasting(self) -> None:
        """Backends and frontends last for ever, states and what lifts a guard do not."""
        self.assertEqual(
            problem_of_setting(ConfigSetting("backend/web", 1, 2, 0, "ops", BACKEND_BODY, 60.0)),
            "it ends by itself, which no backend or frontend does",
        )
        self.assertEqual(
            problem_of_setting(ConfigSetting("frontend/f", 1, 2, 0, "ops", None, 60.0)),
            "it ends by itself, which no backend or frontend does",
        )
        for key in ("", "guard/web"):
            for body in (b"drain", None):
                self.assertEqual(
                    problem_of_setting(word(body, key, None)), "it does not end by itself, as every state does"
                )

    def test_identity(self) -> None:
        """What it says of itself is what its key says."""
        for field, value in ((b"id", b"backend/web"), (b"resource", b"Backend"), (b"name", b"web")):
            said = b'"%b":"%b"' % (field, value)
            for other in (b'"%b":"x"' % field, b'"%b":1' % field, b'"%b":null' % field, b'"x":"%b"' % value):
                self.assertEqual(
                    problem_of_setting(backend(BACKEND_BODY.replace(said, other))),
                    f"its {field.decode()} is not {value.decode()}",
                )

    def test_needed(self) -> None:
        """A backend has an app and a version, and a frontend may have a backend."""
        for field, value in ((b"app", b"web"), (b"version", b"1.0")):
            said = b'"%b":"%b"' % (field, value)
            for other, problem in (
                (b'"x":1', "is required"),
                (b'"%b":1' % field, "must be a string"),
                (b'"%b":"a/b"' % field, "must be printable characters without /, and not . or .."),
            ):
                body = BACKEND_BODY.replace(said, other)
                self.assertEqual(problem_of_setting(backend(body)), f"{field.decode()}: {problem}")
        self.assertIsNone(problem_of_setting(frontend(FRONTEND_BODY)))
        self.assertIsNone(problem_of_setting(frontend(FRONTEND_BODY.replace(b'"web"', b"null"))))
        self.assertEqual(
            problem_of_setting(frontend(FRONTEND_BODY.replace(b'"web"', b"1"))), "backend: must be a string"
        )

    def test_bodies(self) -> None:
        """They are objects in one line, like those of registrations."""
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
        """Their key is that of a registration, and they are words."""
        for key in ("state/x", "state/web/1/H/80", "state/web/1/h/080", "state/"):
            self.assertEqual(problem_of_setting(word(key=key)), f"its key {key!a} is not that of an instance's state")
        for body in (b"", b"two words", b"drain\n", b"dr\xc3\xa4in", b"\xff", b'"drain"'):
            self.assertEqual(problem_of_setting(word(body)), "its state is not a word")
        self.assertIsNone(problem_of_setting(word(b"another_one")))

    def test_guard(self) -> None:
        """Its key names an app."""
        self.assertEqual(
            problem_of_setting(word(LIFTED, "guard/a/b")),
            "app: must be printable characters without /, and not . or ..",
        )
        self.assertEqual(problem_of_setting(word(LIFTED, "guard/")), "app: must have 1 to 255 characters")
        self.assertEqual(problem_of_setting(word(b"not a word", "guard/web")), "its state is not a word")
