"""The requests of clients, and the form in which they are stored."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bender.core import model, object_kinds
from bender.core.admin_state import parse_override
from bender.core.consumers import Report, parse_confirmation
from bender.core.invalid import Invalid
from bender.core.model import RegistrationRequest, Terms, TooLarge
from bender.core.registration_status import USUAL, status_of
from bender.core.routing import BACKEND, FRONTEND
from bender.core.timing import Timing
from tests.core.model_case import TIMING, WEB, ModelCase

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
names = st.text(min_size=1, max_size=255).filter(lambda name: name.isprintable() and "/" not in name)
names = names.filter(lambda name: name not in (".", ".."))
fields = st.sampled_from(["app", "version", "host", "port", "ttl", "weight", "meta", "resource", "ids", "name", "x"])
documents = st.binary(max_size=40) | st.dictionaries(fields, json, max_size=8).map(msgspec.json.encode)


def new(wanted: RegistrationRequest = WEB) -> Terms:
    return wanted.applied_to(None, ttl_s=10.0, node="n1", now_ms=1)


def body_of(wanted: RegistrationRequest) -> bytes:
    return new(wanted).encode(wanted.key)


class Names(ModelCase):
    def test_names(self) -> None:
        """A name is 1 to 255 printable characters of any script."""
        for name in ("a", "x" * 255, "é" * 255, "a b", "日本", "...", "a:b", "%2F", "\\", '"', "😀"):
            self.assertEqual(model.parse_name("app", name), name)

    def test_others(self) -> None:
        """A name that is too long, not printable, or part of a path's syntax is refused."""
        for name in ("", "x" * 256, ".", "..", "a/b", "/", "a\n", "\x7f", "\0", "\u200b", "\u2028", "\xa0", "\ud800"):
            self.invalid("version", model.parse_name, "version", name)


class UnknownFields(ModelCase):
    """An unknown field is refused with the most similar known field."""

    WEB = {"app": "web", "version": "1.0", "host": "10.0.0.5", "port": 80}

    def registered(self, more: dict[str, Any], *, at: bool) -> RegistrationRequest:
        if at:
            path = ("web", "1.0", "10.0.0.5", "80")
            return model.parse_registration_at(path, msgspec.json.encode(more), TIMING)
        return model.parse_registration(msgspec.json.encode({**self.WEB, **more}), TIMING)

    def refused(self, field: str, value: Any, *, at: bool) -> str:
        return self.invalid(field, lambda more: self.registered(more, at=at), {field: value})

    def test_of_a_registration(self) -> None:
        """An unknown field is refused in both forms of registration."""
        for at in (False, True):
            hint = "is not a field of a registration, did you mean weight? Fields of your own go into meta"
            self.assertEqual(self.refused("wieght", 1, at=at), f"wieght: {hint}")
            hint = (
                "whose fields are app, version, host, port, ttl, weight, meta, instance; "
                "fields of your own go into meta"
            )
            self.assertIn(hint, self.refused("colour", "red", at=at))

    def test_what_a_registration_is_shown_with(self) -> None:
        """The right id and resource are accepted; a field that the registry sets is refused with the remedy."""
        for at in (False, True):
            self.registered({"id": "registration/web/1.0/10.0.0.5/80", "resource": "Registration"}, at=at)
            self.refused("id", "registration/web/1.0/10.0.0.5/81", at=at)
            for field, advice in (("state", "PUT …/state sets it"), ("registered", "leave it out"), ("node", "leave")):
                self.assertIn(advice, self.refused(field, 1, at=at))

    def test_of_renewals_states_and_confirmations(self) -> None:
        """Renewals, states and confirmations name their own fields."""
        renewals, word, confirmation = model.parse_renewals, parse_override, parse_confirmation
        message = self.invalid("id", renewals, b'{"id":[]}')
        self.assertEqual(message, "id: is not a field of renewals, did you mean ids?")
        message = self.invalid("fro", word, b'{"state":"up","fro":60}')
        self.assertEqual(message, "fro: is not a field of a state, did you mean for?")
        message = self.invalid("curser", confirmation, b'{"curser":"a"}')
        self.assertEqual(message, "curser: is not a field of a confirmation, did you mean cursor?")

    def test_of_a_report(self) -> None:
        """Unknown fields of a report are ignored, so a driver of a later release is accepted."""
        self.assertEqual(parse_confirmation(b'{"cursor":"a","report":{"more":1}}').report, Report())

    def test_of_backends_and_frontends(self) -> None:
        """The most similar field is named, also in nested objects; without a similar field, all are listed."""
        new = {"app": "web", "version": "1.0"}
        for of, field, value, hint in (
            (BACKEND, "verison", "1", "is not a field of a backend, did you mean version?"),
            (BACKEND, "balanec", None, "did you mean balance?"),
            (BACKEND, "helth", {"path": "/"}, "did you mean health?"),
            (BACKEND, "Version", "2", "did you mean version?"),
            (BACKEND, "min_member", 2, "did you mean min_members?"),
            (BACKEND, "health", {"paht": "/"}, "health: paht: is not a field of health, did you mean path?"),
            (BACKEND, "canary", {"version": "2", "precent": 1}, "did you mean percent?"),
            (BACKEND, "colour", "red", "whose fields are name, app, version, canary,"),
            (FRONTEND, "bnid", "*:80", "is not a field of a frontend, did you mean bind?"),
            (
                FRONTEND,
                "rules",
                [{"hots": "a", "backend": "b"}],
                "number 1: hots: is not a field of a rule",
            ),
        ):
            sent = {**(new if of is BACKEND else {}), field: value}
            self.assertIn(hint, self.invalid(field, of.merged_body, "x", sent))
            existing = of.merged_body("x", new if of is BACKEND else {})
            self.assertIn(hint, self.invalid(field, of.merged_body, "x", {field: value}, existing))

    def test_names_that_could_disturb(self) -> None:
        """Names of unknown fields are quoted on one line, and shortened."""
        for name in ("", "a\nb", "\x1b[2J", "\u202e"):
            error = self.assertRaises(Invalid, BACKEND.merged_body, "x", {name: 1})
            self.assertTrue(str(error).isprintable(), error)
            self.assertTrue(str(error).startswith(ascii(name)), error)
        for long in ("x" * 3000, "`x` - at `$.meta`" * 100):
            self.assertLess(len(str(self.assertRaises(Invalid, FRONTEND.merged_body, "x", {long: 1}))), 400)
            error = self.assertRaises(Invalid, lambda sent: self.registered(sent, at=False), {long: 1})
            self.assertLess(len(str(error)), 400)

    def test_what_an_older_release_has_kept(self) -> None:
        """A stored unknown field stays; a request that sends it gets the remedy, and null removes it."""
        old = b'{"id":"backend/x","resource":"Backend","name":"x","app":"a","version":"1","note":"n","other":null}'
        changed = msgspec.json.decode(BACKEND.merged_body("x", {"version": "2"}, old))
        self.assertEqual((changed["note"], changed["version"]), ("n", "2"))
        message = self.invalid("note", BACKEND.merged_body, "x", msgspec.json.decode(old), old)
        self.assertIn('move it into meta, with {"note": null, "meta": {"note": …}}', message)
        moved = msgspec.json.decode(BACKEND.merged_body("x", {"note": None, "other": None, "meta": {"note": "n"}}, old))
        self.assertEqual((moved["meta"], moved.keys() & {"note", "other"}), ({"note": "n"}, set()))

    def test_what_a_backend_is_shown_with(self) -> None:
        """The right id and resource of a backend are accepted."""
        shown = BACKEND.merged_body("x", {"app": "a", "version": "1"})
        self.assertEqual(BACKEND.merged_body("x", msgspec.json.decode(shown), shown), shown)
        self.invalid("id", BACKEND.merged_body, "x", {"id": "backend/y"}, shown)
        for meta in ("text", ["list"], 1):
            self.invalid("meta", BACKEND.merged_body, "x", {"meta": meta}, shown)


class Documents(ModelCase):
    """The body of `POST /registrations`; its errors are also tested over HTTP."""

    def test_least(self) -> None:
        """Absent and null fields are None."""
        document = b'{"app":"web","version":"1.0","host":"10.0.0.5","port":80,"ttl":null,"meta":null,"weight":null}'
        self.assertEqual(model.parse_registration(document, TIMING), WEB)

    def test_twice(self) -> None:
        """If a key occurs twice, the last value counts."""
        document = b'{"app":"x","app":"web","version":"1.0","host":"10.0.0.5","port":80}'
        self.assertEqual(model.parse_registration(document, TIMING), WEB)

    def test_ttl(self) -> None:
        """The shortest ttl is four intervals, and the longest one an hour."""
        for interval_s, ttl_s, fits in ((0.1, 0.4, True), (0.1, 0.39, False), (2, 8, True), (2, 7.9, False)):
            parse = model.parse_registration_at
            args = (("a", "1", "h", "1"), f'{{"ttl":{ttl_s}}}'.encode())
            if fits:
                self.assertEqual(parse(*args, Timing(interval_s)).ttl_s, ttl_s)
            else:
                self.invalid("ttl", parse, *args, Timing(interval_s))

    @given(documents)
    def test_anything(self, document: bytes) -> None:
        """Any document is accepted, or refused by one of two errors."""
        path = ("a", "1", "h", "1")
        for parse in (
            lambda: body_of(model.parse_registration(document, TIMING)),
            lambda: body_of(model.parse_registration_at(path, document, TIMING)),
            lambda: model.parse_renewals(document),
            lambda: BACKEND.merged_body("x", object_kinds.parse_object(document)),
            lambda: FRONTEND.merged_body(
                object_kinds.name_of(object_kinds.parse_object(document)), object_kinds.parse_object(document)
            ),
        ):
            try:
                parse()
            except (Invalid, TooLarge):
                continue

    @given(names, names, st.integers(1, 65_535), st.dictionaries(st.text(max_size=8), json, max_size=4))
    def test_round_trip(self, app: str, version: str, port: int, meta: dict[str, Any]) -> None:
        """A decoded body equals the encoded terms, and a path has the key of the same document."""
        document = msgspec.json.encode({"app": app, "version": version, "host": "h", "port": port, "meta": meta})
        try:
            wanted = model.parse_registration(document, TIMING)
            body = body_of(wanted)
        except (Invalid, TooLarge):
            return
        self.assertEqual(Terms.decode(body), new(wanted))
        path = (app, version, "H.", str(port))
        self.assertEqual(model.registration_key(path), wanted.key)
        self.assertEqual(model.parse_registration_at(path, b"", TIMING).key, wanted.key)
        self.assertEqual(model.canonical_id(f"registration/{app}/{version}/H./{port}"), wanted.key)

    @given(names, names, st.integers(1, 65_535), st.dictionaries(st.text(max_size=8), json, max_size=4))
    def test_shown(self, app: str, version: str, port: int, meta: dict[str, Any]) -> None:
        """Clients see one JSON object with all fields in order, whatever characters it has."""
        wanted = RegistrationRequest(app, version, "h", port, meta=meta)
        try:
            body = body_of(wanted)
        except TooLarge:
            return
        named = {
            "id": wanted.key,
            "resource": "Registration",
            "app": app,
            "version": version,
            "host": "h",
            "port": port,
        }
        for status, said in (
            (USUAL, {"state": "up"}),
            (status_of("maint", suspect=False), {"state": "maint"}),
            (status_of("drain", suspect=True), {"state": "drain", "suspect": True}),
        ):
            shown = msgspec.json.encode({**named, **msgspec.json.decode(body), **said})
            self.assertEqual(model.registration(wanted.key, body, status), shown)
            self.assertEqual(model.registration_bytes(wanted.key, body, status), len(shown))
        self.assertEqual([*msgspec.json.decode(body)], ["ttl", "weight", "meta", "registered", "node"])


class Ids(ModelCase):
    def test_of_something_else(self) -> None:
        """A text that is not the id of a registration stays as it is."""
        below = [f"registration/{path}" for path in ("a/1/h", "a/1/h/1/2", "a/1/[/1", "A")]
        for id_ in (*below, "", "registration", "backend/A"):
            self.assertEqual(model.canonical_id(id_), id_)


class Applying(ModelCase):
    def test_new(self) -> None:
        """A new registration has weight 1, no meta, and the values of the node."""
        self.assertEqual(new(), Terms(10.0, 1, {}, 1, "n1"))

    def test_existing(self) -> None:
        """Sent fields replace the former values; the node and the time of registration stay."""
        before = body_of(RegistrationRequest("web", "1.0", "10.0.0.5", 80, 20.0, 5, {"a": 1}))
        wanted = {"ttl_s": 30.0, "weight": 0, "meta": {}}
        for field, value in wanted.items():
            changed = msgspec.structs.replace(WEB, **{field: value})
            after = changed.applied_to(before, ttl_s=7.0, node="n2", now_ms=2)
            self.assertEqual(after, msgspec.structs.replace(Terms.decode(before), **{field: value}))

    def test_another_instance(self) -> None:
        """Another instance keeps the former values, and begins with its own time and node."""
        before = body_of(RegistrationRequest("web", "1.0", "10.0.0.5", 80, 20.0, 5, {"a": 1}, instance="old"))
        for token, began in (("old", (1, "n1")), (None, (1, "n1")), ("new", (2, "n2"))):
            wanted = msgspec.structs.replace(WEB, instance=token, weight=6)
            after = wanted.applied_to(before, ttl_s=7.0, node="n2", now_ms=2)
            self.assertEqual(after, Terms(20.0, 6, {"a": 1}, *began, token or "old"))
            self.assertEqual(wanted.is_from_another_instance(before), token == "new")

    def test_an_instance_where_there_was_none(self) -> None:
        """A registration with a token is another instance than one without."""
        after = msgspec.structs.replace(WEB, instance="new")
        self.assertTrue(after.is_from_another_instance(body_of(WEB)))
        self.assertNotIn(b"instance", body_of(WEB))

    def test_same_bytes(self) -> None:
        """The order of fields in meta does not change the body, at any depth."""
        one = msgspec.structs.replace(WEB, meta={"a": 1, "b": {"c": 1, "d": 2}})
        other = msgspec.structs.replace(WEB, meta={"b": {"d": 2, "c": 1}, "a": 1})
        self.assertEqual(body_of(one), body_of(other))

    def test_largest(self) -> None:
        """An entry may have 4 KiB of JSON, and not a byte more."""

        def shown(filling: int) -> bytes:
            wanted = msgspec.structs.replace(WEB, meta={"x": "y" * filling})
            return model.registration(wanted.key, body_of(wanted))

        room = 4096 - len(shown(0))
        self.assertEqual(len(shown(room)), 4096)
        self.assertRaises(TooLarge, shown, room + 1)


class Meta(ModelCase):
    def test_has(self) -> None:
        """Text is compared as it is, and other values as JSON."""
        body = body_of(msgspec.structs.replace(WEB, meta={"s": "1", "n": 1, "f": 1.5, "z": None, "l": [1, "a"]}))
        has = {"s": "1", "n": "1", "f": "1.5", "z": "null", "l": '[1,"a"]'}
        self.assertTrue(model.has_meta(body, has.items()))
        self.assertTrue(model.has_meta(body, []))
        for pair in (("s", '"1"'), ("s", ""), ("n", "1.0"), ("other", "1"), ("other", "")):
            self.assertFalse(model.has_meta(body, [*has.items(), pair]))


class Configured(ModelCase):
    def test_order(self) -> None:
        """A new object begins with the common fields; other fields follow in the order of the request."""
        body = BACKEND.merged_body("x", {"slow_start": 1, "version": "1", "app": "a", "meta": {}})
        begins = b'{"id":"backend/x","resource":"Backend","name":"x",'
        self.assertEqual(body, begins + b'"app":"a","version":"1","slow_start":1,"meta":{}}')
        self.assertEqual(BACKEND.merged_body("x", {"meta": None}, body), body.replace(b"{}", b"null"))

    def test_largest(self) -> None:
        """An object may have 4 KiB of JSON, with its former fields."""
        body = FRONTEND.merged_body("x", {"meta": {"a": "y" * 3000}})
        rules = [{"host": f"{'y' * 60}.{'z' * 60}", "backend": "b"}] * 8
        self.assertRaises(TooLarge, FRONTEND.merged_body, "x", {"rules": rules}, body)

    def test_deep(self) -> None:
        """A user's own fields may be nested up to the limit of levels."""
        deep = [object_kinds.parse_object(b'{"y":' * levels + b"1" + b"}" * levels) for levels in (20, 21)]
        FRONTEND.merged_body("edge", {"meta": deep[0]})
        self.invalid("meta", FRONTEND.merged_body, "edge", {"meta": deep[1]})


class Quoted(ModelCase):
    """Names with characters that JSON escapes."""

    def test_shown(self) -> None:
        """The registration is JSON with the original names, and has the announced length."""
        for app in ("web", 'w"b', "w\\b", "wéb"):
            wanted = RegistrationRequest(app, "1.0", "10.0.0.5", 80)
            shown = model.registration(wanted.key, body_of(wanted))
            said = msgspec.json.decode(shown)
            self.assertEqual((said["id"], said["app"], said["port"]), (wanted.key, app, 80))
            self.assertEqual(model.registration_bytes(wanted.key, body_of(wanted)), len(shown))
