"""The meaning of the fields of backends and frontends."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bender.core.invalid import Invalid
from bender.core.members import ServedVersions
from bender.core.routing import Balance, Canary, FixedServer, Health
from bender.haproxy.core.settings import BALANCE, FrontendSettings, parse_backend, parse_frontend
from tests.haproxy.events import HOSTILE

SHOP = {"name": "shop", "app": "web", "version": "1"}

NUMBERS: list[Any] = [-1, 10**400, 1e9, float("nan"), True]
NESTED: list[Any] = [[], ["a"], [[]], {"a": 1}, [{}], [None], [7]]
ANYTHING = [*NUMBERS, *NESTED, "", "x", "a\nb", "-f /etc/passwd", HOSTILE]


class Backends(SynchronousTestCase):
    def test_a_backend_that_says_nothing(self) -> None:
        """A backend without optional fields uses the default balance, without checks."""
        backend = parse_backend(SHOP)
        self.assertEqual((backend.balance, backend.health, backend.slow_start_s), (BALANCE, None, 0))
        self.assertEqual((backend.service, backend.problems), (ServedVersions("web", "1", None, ()), ()))

    def test_a_backend_that_says_all(self) -> None:
        """All fields that the API accepts are used."""
        fields = {
            "balance": "hdr(X-User)",
            "health": {"path": "/health", "interval": 0.5},
            "slow_start": 5,
            "canary": {"version": "2", "percent": 5},
            "servers": ["Db.example:80"],
        }
        backend = parse_backend({**SHOP, **fields})
        self.assertEqual(backend.balance, Balance("hdr", "X-User"))
        self.assertEqual((backend.health, backend.slow_start_s), (Health("/health", 0.5), 5))
        self.assertEqual((backend.service.canary, backend.problems), (Canary("2", Fraction(5)), ()))
        self.assertEqual(backend.service.servers, (FixedServer("db.example", 80),))

    def test_a_canary_of_the_version_itself(self) -> None:
        """A canary with the version of the backend is ignored, without a problem."""
        backend = parse_backend({**SHOP, "canary": {"version": "1", "percent": 5}})
        self.assertEqual((backend.service.canary, backend.problems), (None, ()))

    def test_a_backend_that_says_nothing_of_use(self) -> None:
        """A backend without a valid name, app or version is invalid."""
        for field in ("name", "app", "version"):
            for value in (None, 7, "", "a/b", "a\nb", "\u2028", "x" * 256, ["a"]):
                error = self.assertRaises(Invalid, parse_backend, {**SHOP, field: value})
                self.assertEqual(error.field, field)

    def test_balance(self) -> None:
        """A balance is recognized as hashed, and as one that needs the content of requests."""
        named = ("leastconn", "random(2)", "source", "hdr(X-User)", "url_param(user)", "uri")
        backends = {balance: parse_backend({**SHOP, "balance": balance}) for balance in named}
        hashed = [name for name, backend in backends.items() if backend.hashed]
        self.assertEqual(hashed, ["source", "hdr(X-User)", "url_param(user)", "uri"])
        self.assertEqual([name for name, backend in backends.items() if backend.needs_requests], hashed[1:])

    def test_what_cannot_be_used_is_left_out_and_said(self) -> None:
        """A backend ignores an unusable field, whatever its value is, and reports it."""
        for value in ANYTHING:
            for field in ("balance", "health", "slow_start", "canary", "servers"):
                if value != [] or field != "servers":
                    backend = parse_backend({**SHOP, field: value})
                    (problem,) = backend.problems
                    self.assertEqual(evolve(backend, problems=()), parse_backend(SHOP))
                    self.assertIn(field, problem)

    def test_a_health_check_that_haproxy_has_no_room_for(self) -> None:
        """The length of a path counts in its form in the configuration, with quotes and escapes."""
        for path in ("/" + "'" * 500, "/" + ";" * 500):
            backend = parse_backend({**SHOP, "health": {"path": path}})
            self.assertEqual((backend.health, len(backend.problems)), (None, 1))
            self.assertTrue(backend.problems[0].startswith("health: path: takes more than 1536 bytes"))


class Frontends(SynchronousTestCase):
    def test_a_frontend(self) -> None:
        """The default mode of a frontend is http."""
        rules = [{"host": "A.example", "backend": "a"}, {"path": "/b", "backend": HOSTILE},
                 {"header": "X-Beta", "value": HOSTILE, "backend": "b"}]  # fmt: skip
        frontend = parse_frontend({"name": "www", "bind": "*:80,[0::1]:81", "backend": "shop", "rules": rules})
        self.assertEqual((frontend.mode, frontend.binds, frontend.backend), ("http", ("*:80", "[::1]:81"), "shop"))
        self.assertEqual([(rule.host, rule.path) for rule in frontend.rules],
                         [("a.example", None), (None, "/b"), (None, None)])  # fmt: skip

    def test_what_cannot_be_used(self) -> None:
        """A frontend with an invalid field is unusable, and the problem names the field."""
        for value in ANYTHING:
            for field in ("bind", "mode", "rules"):
                if value != [] or field != "rules":
                    self.unusable(field, {"bind": "*:80", field: value})
        for value in (7, "", "a/b", "a\nb", ["a"]):
            self.unusable("backend", {"bind": "*:80", "backend": value})
        self.unusable("bind", {})
        self.unusable("bind", {"bind": "*:80 ssl"})
        self.unusable("rules", {"bind": "*:80", "mode": "tcp", "rules": [{"path": "/", "backend": "b"}]})

    def test_what_haproxy_has_no_room_for(self) -> None:
        """The lines of a rule are limited in bytes, after quoting."""
        for value in ("\N{GRINNING FACE}" * 500, "'" * 400, ";" * 400):
            rule = {"header": "a", "value": value, "backend": "b"}
            self.unusable("rules: number 1", {"bind": "*:80", "rules": [rule]})

    def test_a_frontend_without_a_name(self) -> None:
        """A frontend without a valid name is invalid."""
        for name in (None, 7, "a/b", "a\nb"):
            self.assertRaises(Invalid, parse_frontend, {"name": name, "bind": "*:80"})

    def unusable(self, field: str, body: dict[str, Any]) -> None:
        frontend = parse_frontend({"name": "www", **body})
        self.assertEqual(frontend, FrontendSettings("www", problem=frontend.problem))
        self.assertTrue(str(frontend.problem).startswith(field), (body, frontend.problem))
