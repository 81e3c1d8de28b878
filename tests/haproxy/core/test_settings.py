"""What the fields of backends and frontends mean."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.core.routing import Balance, Health
from bender.haproxy.core.settings import BALANCE, Unusable, backend_of, frontend_of
from tests.haproxy.said import HOSTILE

NUMBERS: list[Any] = [-1, 10**400, 1e9, float("nan"), True]
NESTED: list[Any] = [[], ["a"], [[]], {"a": 1}, [{}], [None], [7]]
ANYTHING = [*NUMBERS, *NESTED, "", "x", "a\nb", "-f /etc/passwd", HOSTILE]


class Backends(SynchronousTestCase):
    def test_a_backend_that_says_nothing(self) -> None:
        """It shares out in turn, without checks."""
        backend, problems = backend_of({"name": "shop"})
        self.assertEqual((backend.balance, backend.health, backend.slow_start_s, problems), (BALANCE, None, 0, ()))

    def test_a_backend_that_says_all(self) -> None:
        """As the API takes it."""
        fields = {"balance": "hdr(X-User)", "health": {"path": "/health", "interval": 0.5}, "slow_start": 5}
        backend, problems = backend_of({"name": "shop", **fields})
        self.assertEqual(backend.balance, Balance("hdr", "X-User"))
        self.assertEqual((backend.health, backend.slow_start_s, problems), (Health("/health", 0.5), 5, ()))

    def test_balance(self) -> None:
        """What chooses by a hash is told apart, and what needs requests for that."""
        named = ("leastconn", "random(2)", "source", "hdr(X-User)", "url_param(user)", "uri")
        backends = {balance: backend_of({"name": "shop", "balance": balance})[0] for balance in named}
        hashed = [name for name, backend in backends.items() if backend.hashed]
        self.assertEqual(hashed, ["source", "hdr(X-User)", "url_param(user)", "uri"])
        self.assertEqual([name for name, backend in backends.items() if backend.of_requests], hashed[1:])

    def test_what_cannot_be_used_is_left_out_and_said(self) -> None:
        """Whatever it is, the backend goes on without it."""
        for value in ANYTHING:
            for field in ("balance", "health", "slow_start"):
                backend, (problem,) = backend_of({"name": "shop", field: value})
                self.assertEqual(backend, backend_of({"name": "shop"})[0])
                self.assertIn(field, problem)


class Frontends(SynchronousTestCase):
    def test_a_frontend(self) -> None:
        """Its mode is http if it does not say."""
        rules = [{"host": "A.example", "backend": "a"}, {"path": "/b", "backend": HOSTILE},
                 {"header": "X-Beta", "value": HOSTILE, "backend": "b"}]  # fmt: skip
        frontend = frontend_of({"name": "www", "bind": "*:80,[0::1]:81", "backend": "shop", "rules": rules})
        self.assertEqual((frontend.mode, frontend.binds, frontend.backend), ("http", ("*:80", "[::1]:81"), "shop"))
        self.assertEqual([(rule.host, rule.path) for rule in frontend.rules],
                         [("a.example", None), (None, "/b"), (None, None)])  # fmt: skip

    def test_what_cannot_be_used(self) -> None:
        """It names the field."""
        for value in ANYTHING:
            for field in ("bind", "mode", "rules"):
                if value != [] or field != "rules":
                    self.unusable(field, {"bind": "*:80", field: value})
        self.unusable("backend", {"bind": "*:80", "backend": 7})
        self.unusable("bind", {})
        self.unusable("bind", {"bind": "*:80 ssl"})
        self.unusable("rules", {"bind": "*:80", "mode": "tcp", "rules": [{"path": "/", "backend": "b"}]})

    def test_what_haproxy_has_no_room_for(self) -> None:
        """Its lines are bounded, and characters have several bytes."""
        rule = {"header": "a", "value": "\N{GRINNING FACE}" * 500, "backend": "b"}
        self.unusable("rules: number 1", {"bind": "*:80", "rules": [rule]})

    def unusable(self, field: str, body: dict[str, Any]) -> None:
        error = self.assertRaises(Unusable, frontend_of, {"name": "www", **body})
        self.assertTrue(str(error).startswith(field), (body, str(error)))
