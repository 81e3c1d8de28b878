"""Documents of clients, parsed field by field, and stored bodies."""

from __future__ import annotations

from typing import Any

import msgspec

from bender.core import model, object_kinds
from bender.core.invalid import Invalid
from bender.core.model import RegistrationRequest, TooLarge
from bender.core.routing import BACKEND, FRONTEND
from tests.core.model_case import TIMING, WEB, ModelCase


class Parsing(ModelCase):
    """The bodies and paths of requests."""

    path = ("web", "1.0", "10.0.0.5", "80")

    def parse(self, **sent: Any) -> RegistrationRequest:
        fields = {"app": "web", "version": "1.0", "host": "10.0.0.5", "port": 80, **sent}
        return model.parse_registration(msgspec.json.encode(fields), TIMING)

    def parse_at(self, **sent: Any) -> RegistrationRequest:
        return model.parse_registration_at(self.path, msgspec.json.encode(sent) if sent else b" ", TIMING)

    def test_registration(self) -> None:
        self.assertEqual(self.parse(), WEB)
        self.assertEqual(self.parse(host="Web.Example."), RegistrationRequest("web", "1.0", "web.example", 80))
        self.assertEqual([self.parse(ttl=ttl, weight=256).ttl_s for ttl in (4, 3600)], [4.0, 3600.0])

    def test_wrong(self) -> None:
        """A value outside the limits of its field is refused."""
        for field, *values in (("app", "", "a/b", "."), ("version", "", ".."), ("host", "a b"), ("port", 0, 65_536)):
            for value in values:
                self.invalid(field, lambda sent: self.parse(**sent), {field: value})
        terms: list[tuple[str, float]] = [("ttl", 3.9), ("ttl", 3600.1), ("weight", -1), ("weight", 257)]
        for field, term in terms:
            self.invalid(field, lambda sent: self.parse(**sent), {field: term})
            self.invalid(field, lambda sent: self.parse_at(**sent), {field: term})

    def test_hosts_where_no_instance_can_be(self) -> None:
        """Hosts that no instance can have are refused in any form; their keys are still valid in paths."""
        groups = ("224.0.0.1", "239.1.2.3", "FF02::1", "::ffff:224.0.0.1", "255.255.255.255", "::ffff:255.255.255.255")
        for host in ("0.0.0.0", "::", "0:0::0", "::ffff:0.0.0.0", *groups):
            self.invalid("host", lambda host: self.parse(host=host), host)
            path = ("web", "1.0", host, "80")
            self.invalid("host", model.parse_registration_at, path, b"", TIMING)
            self.assertTrue(model.registration_key(path).startswith("registration/web/1.0/"))
        for host in ("127.0.0.1", "::1", "localhost", "0.0.0.5", "::ffff:10.0.0.1", "240.0.0.1", "10.255.255.255"):
            self.parse(host=host)
        error = self.assertRaises(Invalid, self.parse, host="0.0.0.0")
        self.assertEqual(
            str(error),
            "host: must be an address at which clients reach the instance, not the unspecified address 0.0.0.0",
        )

    def test_at_a_path(self) -> None:
        """The body may repeat the path, with a host in any form."""
        self.assertEqual(self.parse_at(), WEB)
        self.assertEqual(self.parse_at(app="web", version="1.0", host="10.0.0.5", port=80), WEB)
        self.assertEqual(self.parse_at(ttl=20, weight=0, meta={}), RegistrationRequest(*self.path[:3], 80, 20.0, 0, {}))
        named = ("web", "1.0", "Web.Example", "80")
        same = model.parse_registration_at(named, b'{"host": "WEB.example."}', TIMING)
        self.assertEqual(same.host, "web.example")
        for field, value in (("app", "api"), ("version", "2"), ("host", "10.0.0.6"), ("port", 81)):
            self.invalid(field, lambda sent: self.parse_at(**sent), {field: value})

    def test_paths(self) -> None:
        self.assertEqual(
            model.registration_key(("web", "1.0", "WEB.example", "80")), "registration/web/1.0/web.example/80"
        )
        for field, place, value in (("app", 0, "."), ("version", 1, ""), ("host", 2, "a b"), ("port", 3, "000080")):
            path = (*self.path[:place], value, *self.path[place + 1 :])
            self.invalid(field, model.registration_key, path)
            self.invalid(field, model.parse_registration_at, path, b"", TIMING)

    def test_nothing(self) -> None:
        """An empty body and an empty object are accepted where no fields are expected."""
        for document in (b"", b" ", b"{}"):
            model.require_empty_body(document, "for a reason")
        self.invalid("body", model.require_empty_body, b'{"a": 1}', "for a reason")

    def test_renewals(self) -> None:
        """A request has at most a thousand renewals."""
        ids = [f"registration/web/1.0/h{i}/80" for i in range(1001)]
        self.assertEqual(model.parse_renewals(msgspec.json.encode({"ids": ids[:1000]})), ids[:1000])
        self.assertRaises(TooLarge, model.parse_renewals, msgspec.json.encode({"ids": ids}))

    def test_inquiries(self) -> None:
        """The caller sets the limit of ids."""
        document = msgspec.json.encode({"ids": ["a", "a", "b"]})
        self.assertEqual(model.parse_claims_request(document, 3), ["a", "a", "b"])
        self.assertRaises(TooLarge, model.parse_claims_request, document, 2)

    def test_ids(self) -> None:
        """An id becomes canonical; the error for an invalid one quotes it with the problem."""
        self.assertEqual(model.parse_id("ids", "registration/a/1/HOST./80"), "registration/a/1/host/80")
        self.assertEqual(
            self.invalid("ids", model.parse_id, "ids", "registration/a/1/h/0"),
            "ids: registration/a/1/h/0 is not the id of a registration: port: must be a number from 1 to 65535",
        )
        for id_ in ("", "a", "backend/a", "registration/a/1/h", "registration/a/1/h/80/x", "backend/a/1/h/80"):
            self.invalid("ids", model.parse_id, "ids", id_)
            self.assertEqual(model.canonical_id(id_), id_)

    def test_members_min(self) -> None:
        """`min_members` is at most a million."""
        self.assertEqual([object_kinds.parse_members_min(n) for n in (None, 0, 1, 1_000_000)], [0, 0, 1, 1_000_000])
        for number in (-1, 1_000_001, True, 1.0, "1"):
            self.invalid("min_members", object_kinds.parse_members_min, number)

    def test_names(self) -> None:
        self.assertEqual((model.parse_name("name", "n" * 255), object_kinds.name_of({"name": "x"})), ("n" * 255, "x"))
        for name in (None, 1, "", "n" * 256, "a/b", ".", "..", "a\n"):
            self.invalid("name", model.parse_name, "name", name)
            self.invalid("name", object_kinds.name_of, {"name": name})

    def test_objects(self) -> None:
        self.assertEqual(
            [object_kinds.parse_object(document) for document in (b"", b" ", b'{"a": 1}')], [{}, {}, {"a": 1}]
        )
        self.invalid("body", object_kinds.parse_object, b"[]")

    def test_says_nothing(self) -> None:
        """A request without ttl, weight and meta changes nothing."""
        self.assertTrue(WEB.changes_nothing)
        self.assertFalse(RegistrationRequest(*self.path[:3], 80, ttl_s=10.0).changes_nothing)
        self.assertFalse(RegistrationRequest(*self.path[:3], 80, weight=1).changes_nothing)
        self.assertFalse(RegistrationRequest(*self.path[:3], 80, meta={}).changes_nothing)

    def test_missing(self) -> None:
        """A missing field, or one of another type, is named."""
        self.assertEqual(
            self.invalid("port", model.parse_registration, b'{"app":"a","version":"1","host":"h"}', TIMING),
            "port: is required",
        )
        self.invalid("ids", model.parse_renewals, b'{"ids": [1]}')
        self.assertIn("is not JSON", self.invalid("body", model.parse_renewals, b"{"))
        self.assertIn("too deep", self.invalid("body", object_kinds.parse_object, b'{"a":' + b"[" * 100_000))

    def test_deep(self) -> None:
        """Lists and objects may have twenty levels, with the outermost one."""
        for first in (0, 1):
            deep: Any = 0
            for level in range(19):
                deep = [0, deep] if (level + first) % 2 else {"a": 0, "b": deep}
            self.assertEqual(self.parse(meta={"x": deep}).app, "web")
            for deeper in ([deep], {"y": deep}):
                self.invalid("meta", lambda sent: self.parse(**sent), {"meta": {"x": deeper}})


class Bodies(ModelCase):
    """The sent fields of backends and frontends are checked one by one."""

    def body(self, sent: dict[str, Any], existing: bytes | None = None, name: str = "shop") -> Any:
        return msgspec.json.decode(BACKEND.merged_body(name, sent, existing))

    def test_new(self) -> None:
        """A new backend must have its required fields, which are names."""
        said = self.body({"app": "web", "version": "1.0", "name": "shop", "resource": "Backend", "meta": {"n": 1}})
        self.assertEqual(
            (said["id"], said["name"], said["app"], said["meta"]), ("backend/shop", "shop", "web", {"n": 1})
        )
        message = self.invalid("version", self.body, {"app": "web"})
        self.assertEqual(message, "version: is required to create backend/shop")
        for version in (None, "", 1):
            self.invalid("version", self.body, {"app": "web", "version": version})

    def test_existing(self) -> None:
        """Fields that are not sent stay, and required fields cannot be removed."""
        existing = BACKEND.merged_body("shop", {"app": "web", "version": "1.0"})
        self.assertEqual(self.body({"version": "2.0"}, existing)["version"], "2.0")
        self.assertEqual(self.invalid("app", self.body, {"app": None}, existing), "app: is required")

    def test_of_another(self) -> None:
        """The name and the resource must be those of the object."""
        sent = {"app": "web", "version": "1.0"}
        self.invalid("name", self.body, {**sent, "name": "other"})
        self.invalid("resource", self.body, {**sent, "resource": "Frontend"})
        self.invalid("name", self.body, sent, None, ".")

    def test_what_it_may_have(self) -> None:
        """Optional fields must be valid."""
        self.invalid("backend", lambda sent: FRONTEND.merged_body("front", sent), {"backend": "a/b"})
        self.invalid("balance", self.body, {"app": "web", "version": "1.0", "balance": "first"})
        self.assertIsNone(self.body({"app": "web", "version": "1.0", "balance": None})["balance"])
