"""What the fields of backends and frontends mean."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.settings import Health, Unusable, backend_of, frontend_of
from tests.haproxy.said import HOSTILE

ANYTHING: list[Any] = [
    7,
    2**80,
    -1,
    1.5,
    float("nan"),
    True,
    "",
    "x",
    "a\nb",
    "-f /etc/passwd",
    [],
    ["a"],
    {},
    {"a": 1},
]


class Backends(SynchronousTestCase):
    def test_a_backend_that_says_nothing(self) -> None:
        """It shares out in turn, without checks."""
        backend, problems = backend_of({"name": "shop"})
        self.assertEqual((backend.balance, backend.health, backend.slow_start_s, problems), ("roundrobin", None, 0, ()))

    def test_balance(self) -> None:
        """Those by hash are told apart, for HAProxy needs to be told how to hash."""
        found = {
            balance: (backend_of({"name": "shop", "balance": balance})[0])
            for balance in ("leastconn", "random(2)", "source", "hdr(X-User)", "url_param user", "uri")
        }
        self.assertEqual({name: each.hashed for name, each in found.items() if each.balance == name},
                         {"leastconn": False, "random(2)": False, "source": True, "hdr(X-User)": True,
                          "url_param user": True, "uri": True})  # fmt: skip
        self.assertEqual([name for name, each in found.items() if each.http_only],
                         ["hdr(X-User)", "url_param user", "uri"])  # fmt: skip

    def test_health(self) -> None:
        """A path is percent-encoded where it cannot stand in a request; the interval has milliseconds."""
        backend, problems = backend_of({"name": "shop", "health": {"path": "/é #", "interval": 0.5}})
        self.assertEqual((backend.health, problems), (Health("/%C3%A9%20#", 500), ()))
        self.assertEqual(backend_of({"name": "shop", "health": {}})[0].health, Health(None, 2000))

    def test_what_cannot_be_used_is_left_out_and_said(self) -> None:
        """Whatever it is, the backend goes on without it."""
        for value in ANYTHING:
            for field in ("balance", "health", "slow_start"):
                backend, problems = backend_of({"name": "shop", field: value})
                self.assertTrue(problems or field == "slow_start" or value in ({}, {"a": 1}), (field, value))
                if problems:
                    self.assertEqual(backend, backend_of({"name": "shop"})[0])
                    self.assertIn(field, problems[0])
        backend, problems = backend_of({"name": "shop", "health": {"path": "health"}, "balance": "static-rr"})
        self.assertEqual(len(problems), 2)


class Frontends(SynchronousTestCase):
    def test_a_frontend(self) -> None:
        """Its mode is http if it does not say."""
        rules = [{"host": "A.example", "backend": "a"}, {"path": HOSTILE.replace("a", "/"), "backend": HOSTILE},
                 {"header": "X-Beta", "value": "1", "backend": "b"}]  # fmt: skip
        frontend = frontend_of({"name": "www", "bind": "*:80", "backend": "shop", "rules": rules})
        self.assertEqual((frontend.mode, frontend.bind, frontend.backend), ("http", "*:80", "shop"))
        self.assertEqual([rule.kind for rule in frontend.rules], ["host", "path", "header"])

    def test_bind(self) -> None:
        """Every address has one form, so that two that are the same are seen to be."""
        for bind, canonical in {
            "*:080": "*:80",
            ":80": "*:80",
            "127.0.0.1:1": "127.0.0.1:1",
            "[0::1]:80": "[::1]:80",
        }.items():
            self.assertEqual(frontend_of({"name": "www", "bind": bind}).bind, canonical)

    def test_what_cannot_be_used(self) -> None:
        """It names the field."""
        bad: dict[str, list[Any]] = {
            "bind": [None, *ANYTHING, "*:0", "*:65536", "::1:80", "[127.0.0.1]:80", "/tmp/s", "*:80 ssl", "a:80"],
            "mode": [each for each in ANYTHING if each != ""],
            "rules": [*(each for each in ANYTHING if each not in ("", [], {})), [{}], [{"backend": "b"}],
                      [{"host": "a"}], [{"host": "a", "path": "/b", "backend": "c"}], [{"path": "a", "backend": "b"}],
                      [{"header": "a b", "value": "1", "backend": "b"}], [{"header": "a", "backend": "b"}],
                      [{"header": "x'", "value": "1", "backend": "b"}],
                      [{"host": "a\nb", "backend": "b"}], [{"host": "", "backend": "b"}],
                      [{"host": "a", "value": "1", "backend": "b"}], [{"path": "/" + "x" * 1024, "backend": "b"}]],
            "backend": [7, []],
        }  # fmt: skip
        for field, values in bad.items():
            for value in values:
                error = self.assertRaises(Unusable, frontend_of, {"name": "www", "bind": "*:80", field: value})
                self.assertIn(field, str(error), (field, value))

    def test_rules_in_mode_tcp(self) -> None:
        """There are no requests to look at."""
        rules = [{"path": "/", "backend": "b"}]
        error = self.assertRaises(Unusable, frontend_of, {"name": "a", "bind": "*:1", "mode": "tcp", "rules": rules})
        self.assertIn("mode http", str(error))
