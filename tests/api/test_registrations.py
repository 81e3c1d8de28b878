"""Registrations over HTTP: every row of the contract's table, and the requests that must be refused."""

from __future__ import annotations

from typing import Any

import msgspec

from bender.api import site
from bender.core.model import RENEWALS_MAX
from bender.node.limits import Limits
from tests.api.conversation import NOW_MS, WEB, WEB_ID, WEB_PATH, ApiCase, Response, a_node, parsed

SHOWN = {
    "id": WEB_ID,
    "resource": "Registration",
    **WEB,
    "ttl": 10.0,
    "weight": 1,
    "meta": {},
    "registered": NOW_MS,
    "node": "n1",
    "state": "up",
}


class Registering(ApiCase):
    def test_new(self) -> None:
        """A new registration is created, and is found at the path in `Location`."""
        response = self.ask("POST", "/registrations", WEB)
        self.assertEqual((response.status, response.json), (201, SHOWN))
        self.assertEqual(response.headers["location"], WEB_PATH)
        self.assertEqual(self.ask("GET", response.headers["location"]).body, response.body)

    def test_fields_in_order(self) -> None:
        """The fields of a registration are in the order of the contract."""
        body = b'{"id":"registration/web/1.2.0/10.0.0.5/8080","resource":"Registration","app":"web","version":"1.2.0",'
        self.assertTrue(self.ask("POST", "/registrations", WEB).body.startswith(body))

    def test_again(self) -> None:
        """A registration that is listed is renewed, with a 200 and the same body."""
        first = self.ask("POST", "/registrations", WEB)
        self.clock.advance(1)
        again = self.ask("POST", "/registrations", WEB)
        self.assertEqual((again.status, again.body), (200, first.body))
        self.assertEqual(again.headers["location"], WEB_PATH)

    def test_everything_asked_for(self) -> None:
        """The sent fields are shown."""
        wanted = {**WEB, "ttl": 30, "weight": 256, "meta": {"zone": "a", "n": 1}, "resource": "Registration"}
        shown = {**SHOWN, "ttl": 30.0, "weight": 256, "meta": {"zone": "a", "n": 1}}
        self.assertEqual(self.ask("POST", "/registrations", wanted).json, shown)

    def test_what_is_not_sent_stays(self) -> None:
        """Fields that are not sent keep their values; others change."""
        self.ask("POST", "/registrations", {**WEB, "ttl": 30, "meta": {"zone": "a"}})
        changed = self.ask("POST", "/registrations", {**WEB, "weight": 0})
        self.assertEqual(changed.status, 200)
        self.assertEqual(changed.json, {**SHOWN, "ttl": 30.0, "meta": {"zone": "a"}, "weight": 0})
        self.assertEqual(self.ask("POST", "/registrations", {**WEB, "meta": {}}).json["meta"], {})

    def test_content_type_does_not_matter(self) -> None:
        """The node reads every body as JSON, whatever its Content-Type, also those of HTML forms."""
        for type_ in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            self.assertIn(self.ask("POST", "/registrations", WEB, Content_Type=type_).status, (200, 201), type_)

    def test_location_is_encoded(self) -> None:
        """An id has decoded text; its Location is percent-encoded, and leads to the registration."""
        response = self.ask("POST", "/registrations", {**WEB, "app": "é ?#%", "host": "::1"})
        self.assertEqual(response.json["id"], "registration/é ?#%/1.2.0/::1/8080")
        self.assertEqual(response.headers["location"], "/registrations/%C3%A9%20%3F%23%25/1.2.0/::1/8080")
        self.assertEqual(self.ask("GET", response.headers["location"]).body, response.body)

    def test_spellings(self) -> None:
        """Different spellings of a host are the same instance."""
        self.ask("POST", "/registrations", {**WEB, "host": "Web1.Example.ORG."})
        self.ask("POST", "/registrations", {**WEB, "host": "2001:DB8:0::1"})
        self.assertEqual(
            [each["host"] for each in self.ask("GET", "/registrations").json], ["2001:db8::1", "web1.example.org"]
        )
        for host in ("WEB1.example.org", "web1.example.org.", "2001:db8:0:0:0:0:0:1", "2001%3Adb8%3A%3A1"):
            path = f"/registrations/web/1.2.0/{host}/8080"
            self.assertEqual(self.ask("POST", path).status, 200)
            self.assertEqual(self.ask("PUT", path).status, 200)
            self.assertEqual(self.ask("GET", path).status, 200)
        self.assertEqual(len(self.ask("GET", "/registrations").json), 2)
        self.assertEqual(self.ask("DELETE", "/registrations/web/1.2.0/Web1.Example.Org./8080").status, 204)
        self.assertEqual(self.ask("DELETE", "/registrations/web/1.2.0/2001:DB8::01/8080").status, 204)

    def test_invalid(self) -> None:
        """The message names the missing or invalid field, and nothing is registered."""
        bad: dict[str, tuple[Any, ...]] = {
            "app": ("", "a/b", ".", "..", "x" * 256, "a\n", "\0", "\u2028", 1, None, ["a"]),
            "version": ("", "..", 1.2, None),
            "host": ("", "a b", "[::1]", "fe80::1%eth0", "10.0.0.256", "-a", "a..b", "é", 1, None),
            "port": (0, 65_536, -1, "80", True, 80.5, None, 10**30),
            "ttl": (3.99, 3600.1, -1, "10", True, 1e300),
            "weight": (-1, 257, 1.5, "1", False),
            "meta": ([], "a", 1),
            "resource": ("Backend", 1),
        }
        for field, values in bad.items():
            for value in values:
                self.invalid(field, self.ask("POST", "/registrations", {**WEB, field: value}))
        for field in WEB:
            self.invalid(field, self.ask("POST", "/registrations", {**WEB, field: None}))
            without = {name: value for name, value in WEB.items() if name != field}
            self.invalid(field, self.ask("POST", "/registrations", without))
        self.assertEqual(self.ask("GET", "/registrations").json, [])

    def test_no_json(self) -> None:
        """A body that is not a JSON object gets 400."""
        bodies = (
            b"",
            b" ",
            b"{",
            b"[]",
            b"null",
            b"1",
            b'"x"',
            b"\xff",
            b'{"app": "\xff"}',
            b'{"app": NaN}',
            b'{"app": "\\ud800"}',
        )
        for body in (*bodies, b"[" * 60_000, b'{"meta":' + b'{"x":' * 10_000, b'{"meta":{"x":' + b"[" * 30_000):
            self.invalid("body", self.ask("POST", "/registrations", body))

    def test_deep(self) -> None:
        """`meta` that is nested too deeply gets 400."""
        deep: Any = 1
        for _ in range(20):
            deep = [deep]
        self.invalid("meta", self.ask("POST", "/registrations", {**WEB, "meta": {"deep": deep}}))
        self.assertEqual(self.ask("POST", "/registrations", {**WEB, "meta": {"deep": deep[0]}}).status, 201)

    def test_too_large(self) -> None:
        """An entry over 4 KiB gets 413, and the registration stays unchanged."""
        self.ask("POST", "/registrations", WEB)
        response = self.ask("POST", "/registrations", {**WEB, "meta": {"x": "y" * 4096}})
        self.refused("TOO_LARGE", response)
        self.assertEqual(self.ask("GET", WEB_PATH).json, SHOWN)

    def test_ttl_follows_the_interval(self) -> None:
        """The shortest ttl is four intervals."""
        self.assertEqual(self.ask("POST", "/registrations", {**WEB, "ttl": 4}).json["ttl"], 4.0)
        self.assertEqual(self.ask("POST", "/registrations", {**WEB, "ttl": 3600}).json["ttl"], 3600.0)

    def test_busy(self) -> None:
        """At its limit, a node accepts no new registrations, but renews the present ones."""
        self.node = a_node(self.clock, limits=Limits(registrations=1))
        self.site = site(self.node, self.clock)
        self.ask("POST", "/registrations", WEB)
        self.refused("BUSY", self.ask("POST", "/registrations", {**WEB, "port": 1}))
        self.assertEqual(self.ask("POST", "/registrations", WEB).status, 200)


class RegisteringByPath(ApiCase):
    def test_empty_chunked_body(self) -> None:
        """The empty chunked body of the original's client counts as no body; both requests get 200."""
        for _ in range(2):
            connection = self.connect()
            head = f"POST {WEB_PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.send(head.encode())
            connection.send(b"0\r\n\r\n")
            (response,) = parsed(connection.received())
            self.assertEqual((response.status, response.json), (200, SHOWN))
            self.assertEqual(response.headers["connection"], "close")
            self.assertTrue(connection.closed)

    def test_body(self) -> None:
        """The path has the id, and the body has the terms."""
        terms = {"ttl": 20, "meta": {"zone": "b"}, "weight": 5}
        response = self.ask("POST", WEB_PATH, terms)
        self.assertEqual((response.status, response.json), (200, {**SHOWN, **terms}))
        self.assertEqual(self.ask("POST", WEB_PATH).json, {**SHOWN, **terms})

    def test_invalid(self) -> None:
        """Parts of the path are checked like fields, and so is the body."""
        for path, field in {
            "/registrations/%00/1/a/1": "app",
            "/registrations/a/%0a/a/1": "version",
            "/registrations/a/%2e%2e/a/1": "version",
            "/registrations/a/1/[::1]/1": "host",
            "/registrations/a/1/fe80::1%25eth0/1": "host",
            "/registrations/a/1/a/0": "port",
            "/registrations/a/1/a/65536": "port",
            "/registrations/a/1/a/+80": "port",
            "/registrations/a/1/a/%D9%A1": "port",
            "/registrations/a%2Fb/1/a": "path",
            "/registrations/%ff/1/a/1": "path",
        }.items():
            for method in ("POST", "PUT", "GET", "DELETE"):
                self.invalid(field, self.ask(method, path))
        for field, value in {"ttl": 1, "weight": 300, "meta": 1, "resource": "Frontend"}.items():
            self.invalid(field, self.ask("POST", WEB_PATH, {field: value}))
        self.assertEqual(self.ask("GET", "/registrations").json, [])

    def test_body_against_path(self) -> None:
        """The body may repeat the id of the path in any spelling; another id gets 400."""
        self.assertEqual(self.ask("POST", WEB_PATH, {**WEB, "weight": 5}).json["weight"], 5)
        self.assertEqual(self.ask("POST", "/registrations/web/1/a.b/80", {"host": "A.B."}).status, 200)
        for field, value in {"app": "other", "version": "1.2.1", "host": "10.0.0.6", "port": 8081}.items():
            self.invalid(field, self.ask("POST", WEB_PATH, {field: value, "weight": 7}))
        self.assertEqual(self.ask("GET", WEB_PATH).json["weight"], 5)


class Renewing(ApiCase):
    def test_body(self) -> None:
        """A renewal with a body gets 400, because a renewal changes nothing."""
        self.ask("POST", "/registrations", WEB)
        for body in (b"", b" ", b"{}"):
            self.assertEqual(self.ask("PUT", WEB_PATH, body).json, SHOWN)
        for body in (b'{"weight":5}', b"x", b"[1]"):
            self.invalid("body", self.ask("PUT", WEB_PATH, body))

    def test_known(self) -> None:
        """A renewal returns the registration, and keeps it listed."""
        self.ask("POST", "/registrations", WEB)
        for _ in range(3):
            self.pass_time(9)
            response = self.ask("PUT", WEB_PATH)
            self.assertEqual((response.status, response.json), (200, SHOWN))
        self.pass_time(11)
        self.refused("NOT_FOUND", self.ask("PUT", WEB_PATH))

    def test_unknown(self) -> None:
        """A renewal of an absent registration gets 404, and registers nothing."""
        self.refused("NOT_FOUND", self.ask("PUT", WEB_PATH))
        self.assertEqual(self.ask("GET", "/registrations").json, [])


class RenewingMany(ApiCase):
    def test_known_and_unknown(self) -> None:
        """Unknown ids are returned as they were sent, and the others are counted."""
        self.ask("POST", "/registrations", WEB)
        unknown = ["registration/web/1.2.0/10.0.0.5/8081", "backend/x", "", "registration/a/b"]
        response = self.ask("POST", "/renewals", {"ids": [WEB_ID, *unknown]})
        self.assertEqual((response.status, response.json), (200, {"renewed": 1, "unknown": unknown}))

    def test_keeps_listed(self) -> None:
        """Renewals by `/renewals` keep a registration listed."""
        self.ask("POST", "/registrations", WEB)
        for _ in range(3):
            self.pass_time(9)
            self.assertEqual(self.ask("POST", "/renewals", {"ids": [WEB_ID]}).json["renewed"], 1)
        self.pass_time(11)
        self.assertEqual(self.ask("POST", "/renewals", {"ids": [WEB_ID]}).json["unknown"], [WEB_ID])

    def test_spellings(self) -> None:
        """An id may have another spelling; an unknown id is returned as it was spelled."""
        self.ask("POST", "/registrations", {**WEB, "host": "host.example"})
        other, unknown = "registration/web/1.2.0/HOST.example./8080", "registration/web/1.2.0/OTHER/8080"
        response = self.ask("POST", "/renewals", {"ids": [other, unknown]})
        self.assertEqual(response.json, {"renewed": 1, "unknown": [unknown]})

    def test_none(self) -> None:
        """An empty list of ids is valid."""
        self.assertEqual(self.ask("POST", "/renewals", {"ids": []}).json, {"renewed": 0, "unknown": []})

    def test_invalid(self) -> None:
        """Ids that are not a list of strings get 400."""
        for ids in ([1], ["a", None], "registration/a", {"a": 1}, None, 1):
            self.invalid("ids", self.ask("POST", "/renewals", {"ids": ids}))
        self.invalid("ids", self.ask("POST", "/renewals", {}))
        self.invalid("body", self.ask("POST", "/renewals"))

    def test_largest(self) -> None:
        """A thousand long ids are accepted; one more id, or a body over 256 KiB, gets 413."""
        ids = [f"registration/{'x' * 230}/1/h/{port}" for port in range(1, RENEWALS_MAX + 1)]
        response = self.ask("POST", "/renewals", {"ids": ids})
        self.assertEqual((response.status, response.json["unknown"]), (200, ids))
        self.refused("TOO_LARGE", self.ask("POST", "/renewals", {"ids": ["x"] * (RENEWALS_MAX + 1)}))
        self.refused("TOO_LARGE", self.ask("POST", "/renewals", {"ids": ["x" * 257 * 1024]}))


class Deregistering(ApiCase):
    def test_known(self) -> None:
        """A deregistered instance is not found, and the answer has no body."""
        self.ask("POST", "/registrations", WEB)
        response = self.ask("DELETE", WEB_PATH)
        self.assertEqual((response.status, {*response.headers}), (204, {"server", "date"}))
        self.refused("NOT_FOUND", self.ask("GET", WEB_PATH))
        self.refused("NOT_FOUND", self.ask("PUT", WEB_PATH))
        self.refused("NOT_FOUND", self.ask("DELETE", WEB_PATH))

    def test_another_reason(self) -> None:
        """An unknown reason gets 400, and nothing is removed."""
        self.ask("POST", "/registrations", WEB)
        for query in ("?reason=", "?reason=checkfailed", "?reason=expired&wait=1"):
            self.invalid("reason", self.ask("DELETE", f"{WEB_PATH}{query}"))
        self.assertEqual(self.ask("GET", WEB_PATH).status, 200)
        self.assertEqual(self.ask("DELETE", f"{WEB_PATH}?reason=check-failed").status, 204)


class Instances(ApiCase):
    """Two processes that register under one id, each with a token of its own."""

    def register(self, token: str | None = None, **terms: Any) -> Response:
        return self.ask("POST", WEB_PATH, {**terms, **({} if token is None else {"instance": token})})

    def deregister(self, query: str) -> Response:
        return self.ask("DELETE", f"{WEB_PATH}{query}")

    def test_shown(self) -> None:
        """The token is a field of the registration, for both forms of the request."""
        for path, document in (("/registrations", {**WEB, "instance": "7f3a"}), (WEB_PATH, {"instance": "7f3a"})):
            self.assertEqual(self.ask("POST", path, document).json, {**SHOWN, "instance": "7f3a"})
        self.assertEqual(self.ask("GET", WEB_PATH).json["instance"], "7f3a")

    def test_of_another(self) -> None:
        """The deregistration of an instance gets 409 if another instance has registered since."""
        self.register("old")
        shown = self.register("new").body
        for query in ("?instance=old", "?instance=old&wait=1"):
            message = self.refused("CONFLICT", self.deregister(query))
            self.assertIn(f"{WEB_ID} was registered again by another process", message)
        self.assertEqual(self.ask("GET", WEB_PATH).body, shown)

    def test_its_own(self) -> None:
        """The instance that registered last is deregistered by its token, with and without `wait`."""
        for query, status in (("?instance=a%20b", 204), ("?instance=a%20b&wait=1", 200), ("", 204)):
            self.register("a b")
            self.assertEqual(self.deregister(query).status, status)
            self.refused("NOT_FOUND", self.deregister(query))

    def test_without_a_token(self) -> None:
        """A registration without a token can be deregistered with any token."""
        self.register()
        self.assertEqual(self.deregister("?instance=old").status, 204)

    def test_renewed_without_a_token(self) -> None:
        """A registration keeps its token when it is renewed without one."""
        self.register("old")
        self.assertEqual(self.register(weight=3).json["instance"], "old")
        self.assertEqual(self.ask("PUT", WEB_PATH).json["instance"], "old")
        self.refused("CONFLICT", self.deregister("?instance=new"))

    def test_begins(self) -> None:
        """A new token begins a new registration with the values of unsent fields; watchers get a `changed` event."""
        self.register("old", weight=3, ttl=30)
        new = self.register("new").json
        self.assertEqual(new, {**SHOWN, "weight": 3, "ttl": 30.0, "instance": "new"})
        self.clock.advance(1)
        self.assertEqual(self.register("new").json, new)
        journal = self.node.journal
        entries = [journal.entry(number) for number in range(1, journal.last_number + 1)]
        told = [msgspec.json.decode(entry.line) for entry in entries if entry]
        shown = [(each["event"], each["registration"]["instance"]) for each in told]
        self.assertEqual(shown, [("online", "old"), ("changed", "new")])

    def test_invalid(self) -> None:
        """A token has 1 to 64 printable characters; an invalid token gets 400 and changes nothing."""
        self.register("x" * 64)
        for token in ("", "x" * 65, "a\nb", 5):
            self.invalid("instance", self.ask("POST", "/registrations", {**WEB, "instance": token}))
            self.invalid("instance", self.ask("POST", WEB_PATH, {"instance": token}))
        for token in ("", "x" * 65, "a%0Ab"):
            self.invalid("instance", self.deregister(f"?instance={token}"))
        self.assertEqual(self.ask("GET", WEB_PATH).json["instance"], "x" * 64)
