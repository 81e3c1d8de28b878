"""The parts of the configuration that only a reload can change, and their text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy import core
from bender.haproxy.core.registry import ReceivedEvent, Registry
from bender.haproxy.core.rendering import Renderer, Unrenderable, fill_slots
from bender.haproxy.core.safe_text import quoted
from bender.haproxy.core.settings import BALANCE
from bender.haproxy.core.topology import Topology, build_topology, slots_for
from tests.haproxy.events import HOSTILE, backend, frontend, server

TEMPLATE = Path(core.__file__).with_name("haproxy.cfg.j2").read_text("utf-8")


def shaped(*said: ReceivedEvent, **more: Any) -> tuple[Topology, dict[str, str]]:
    registry = Registry()
    for each in said:
        registry.receive(each, 0)
    return build_topology(registry.backends, registry.frontends, **more)


def places(found: Topology) -> dict[str, tuple[str, ...]]:
    """Return the addresses at which each frontend is served."""
    return {door.title: door.binds for door in found.doors}


class Shapes(SynchronousTestCase):
    def test_frontends_and_backends_have_names_of_their_own(self) -> None:
        """A frontend and a backend with the same name have different names in HAProxy."""
        found, problems = shaped(backend("www"), frontend("www", backend="www", bind="*:80"))
        self.assertEqual(
            ([each.name for each in found.doors], [each.name for each in found.pools]), (["www:in"], ["www"])
        )
        self.assertEqual((found.doors[0].pool, problems), ("www", {}))

    def test_a_backend_is_there_in_each_mode_that_it_is_used_in(self) -> None:
        """A backend exists in each mode in which a frontend uses it, and in mode http if no frontend uses it."""
        found, _ = shaped(
            backend("a"), backend("b"), backend("c"), frontend("x", backend="a", bind="*:1"),
            frontend("y", backend="a", bind="*:2", mode="tcp"), frontend("z", backend="b", bind="*:3", mode="tcp"),
        )  # fmt: skip
        self.assertEqual([(each.name, each.mode) for each in found.pools],
                         [("a", "http"), ("a:tcp", "tcp"), ("b:tcp", "tcp"), ("c", "http")])  # fmt: skip
        self.assertEqual([each.name for each in found.parts_of("backend/a")], ["a", "a:tcp"])

    def test_a_backend_that_is_not_there(self) -> None:
        """Requests for a missing backend go to a pool that answers 503."""
        rules = [{"path": "/", "backend": "b"}]
        found, problems = shaped(
            frontend("x", backend="a", bind="*:1", rules=rules), frontend("y", bind="*:2", mode="tcp")
        )
        self.assertEqual([(each.pool, [route.pool for route in each.routes]) for each in found.doors],
                         [("bender__nowhere", ["bender__nowhere"]), ("bender__nowhere:tcp", [])])  # fmt: skip
        self.assertEqual(problems, {})

    def test_a_frontend_that_cannot_be_used_harms_no_other(self) -> None:
        """An unusable frontend is left out and reported, and the other frontends stay."""
        found, problems = shaped(frontend("a", bind="x"), frontend("b", bind="*:80"))
        self.assertEqual(([each.title for each in found.doors], [*problems]), (["b"], ["frontend/a"]))

    def test_two_that_want_the_same_address(self) -> None:
        """The frontend that has an address keeps it; of two new frontends, the first by name gets the address."""
        one, other = frontend("b", bind="*:80"), frontend("a", bind="*:81,*:80")
        before, _ = shaped(one)
        found, problems = shaped(one, other, before=before)
        self.assertEqual(places(found), {"a": ("*:81",), "b": ("*:80",)})
        said = "frontend/a is served at *:81 only: *:80 is used by frontend/b"
        self.assertEqual(problems, {"frontend/a": said})
        self.assertEqual(places(shaped(one, other)[0]), {"a": ("*:81", "*:80")})
        moved = frontend("b", bind="*:82")
        self.assertEqual(places(shaped(moved, other, before=before)[0]), {"a": ("*:81", "*:80"), "b": ("*:82",)})

    def test_a_balance_that_tcp_does_not_have(self) -> None:
        """In mode tcp, a balance that needs requests is replaced by the default balance."""
        found, problems = shaped(backend("a", balance="uri"), frontend("x", backend="a", bind="*:1", mode="tcp"))
        self.assertEqual((found.pools[0].balance, found.pools[0].hashed), (BALANCE, False))
        self.assertEqual([*problems], ["backend/a"])

    def test_slots(self) -> None:
        """The number of slots leaves room for as many new servers, and never decreases."""
        self.assertEqual([slots_for(0, 0), slots_for(3, 0), slots_for(9, 8), slots_for(3, 32)], [0, 8, 32, 32])


class Texts(SynchronousTestCase):
    def setUp(self) -> None:
        self.renderer = Renderer(TEMPLATE, "/run/haproxy.sock", "/run/states", (2, 6, 12))
        self.topology, _ = shaped(
            backend("shop", balance="source", health={"path": "/he'alth"}),
            frontend("www", backend="shop", bind="*:80", rules=[
                {"host": "a.example", "backend": "shop"}, {"path": "/-f", "backend": HOSTILE},
                {"header": "X-Beta", "value": HOSTILE, "backend": "shop"}]),
        )  # fmt: skip

    def lines(self, **servers: Any) -> list[str]:
        return [line.strip() for line in self.renderer.render(self.topology, servers).text.splitlines()]

    def test_the_same_state_has_the_same_text(self) -> None:
        """Equal states have identical texts."""
        servers = {"shop": [server("a"), server("b")]}
        again = Renderer(TEMPLATE, "/run/haproxy.sock", "/run/states", (2, 6, 12))
        self.assertEqual(self.renderer.render(self.topology, servers), again.render(self.topology, servers))

    def test_processes_that_were_replaced(self) -> None:
        """Replaced processes end after 15 minutes, even with open connections, and their number is limited."""
        self.assertLess({"hard-stop-after 15m", "mworker-max-reloads 100"}, {*self.lines()})

    def test_the_description_stands_for_the_shape_alone(self) -> None:
        """The description stays the same if only servers change, and changes with the template."""
        bare, full = (self.renderer.render(self.topology, each) for each in ({}, {"shop": [server("a")]}))
        self.assertNotEqual(bare.text, full.text)
        self.assertEqual(bare.description, full.description)
        self.assertIn(bare.description, bare.text)
        self.assertNotEqual(self.renderer.description(Topology()), bare.description)
        other = Renderer(TEMPLATE + "# mine\n", "/run/haproxy.sock", "/run/states", (2, 6, 12))
        self.assertNotEqual(other.description(self.topology), bare.description)

    def test_values_are_words_and_no_options(self) -> None:
        """Values are quoted, so that none ends a line, a word or a condition, or is taken for an option."""
        lines = self.lines()
        self.assertIn("acl rule1 req.hdr(host),host_only -m str -i -- 'a.example'", lines)
        self.assertIn("acl rule2 path_beg -- '/-f'", lines)
        self.assertIn(f"acl rule3 'req.fhdr(X-Beta)' -m str -- {quoted(HOSTILE)}", lines)
        self.assertIn("use_backend bender__nowhere if rule2", lines)
        self.assertIn("http-check send meth GET uri '/he'\\''alth' ver HTTP/1.1 hdr Host 'bender'", lines)
        self.assertIn("hash-type consistent", lines)

    def test_the_host_of_a_health_check(self) -> None:
        """The `Host` header of a health check is that of the backend; an invalid host removes the check."""
        self.topology, _ = shaped(backend("shop", health={"path": "/up", "host": "Shop.example:8080"}))
        self.assertIn("http-check send meth GET uri '/up' ver HTTP/1.1 hdr Host 'shop.example:8080'", self.lines())
        self.topology, problems = shaped(backend("shop", health={"path": "/up", "host": "a\nb"}))
        self.assertNotIn("option httpchk", self.lines())
        self.assertEqual([*problems], ["backend/shop"])

    def test_servers(self) -> None:
        """Servers are rendered with their states, so that HAProxy has the states after a start."""
        lines = self.lines(shop=[server("a", address="::1"), server("b", state="drain"), server("c", state="maint")])
        self.assertIn("server a [::1]:80 weight 1 check inter 2000ms rise 2 fall 3", lines)
        self.assertIn("server b 10.0.0.1:80 weight 0 check inter 2000ms rise 2 fall 3", lines)
        self.assertIn("server c 10.0.0.1:80 weight 0 check inter 2000ms rise 2 fall 3 disabled", lines)

    def test_slots(self) -> None:
        """Unused slots are in maintenance."""
        found = fill_slots([server("a", port=7)], 2)
        self.assertEqual([(each.name, each.port, each.state) for each in found],
                         [("slot1", 7, "up"), ("slot2", 1, "maint")])  # fmt: skip

    def test_a_template_that_is_none(self) -> None:
        """The error of an invalid template has the reason."""
        for template, word in {"{% if %}": "not a valid template", "{{ nothing }}": "undefined", "{{ 1 // 0 }}": "Zero",
                               "{{ shop.__class__.__mro__ }}": "rendered"}.items():  # fmt: skip
            error = self.assertRaises(Unrenderable, self.render_by, template)
            self.assertIn(word, str(error))

    def render_by(self, template: str) -> None:
        Renderer(template, "/s", "/states", (2, 6)).render(self.topology, {})
