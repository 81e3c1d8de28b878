"""The fields of backends and frontends for traffic."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.invalid import Invalid
from bender.core.routing import (
    BACKEND,
    FRONTEND,
    Balance,
    Bind,
    Canary,
    FixedServer,
    Health,
    Rule,
    parse_balance,
    parse_bind,
    parse_canary,
    parse_health,
    parse_mode,
    parse_rules,
    parse_servers,
    parse_slow_start,
    valid_servers,
)

#: Texts like those of users, and of attackers.
texts = st.text(max_size=30) | st.text("/[]:*.,()\\\"'#{}%$;\n\r\t \0ahr09-_?é", max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
words = st.sampled_from(["host", "path", "header", "value", "backend", "version", "percent", "interval", "more"])
hosts = st.sampled_from(["a", "10.0.0.1", "*", "[::1]", "[2001:DB8::1]", "a.example", ""])
addresses = st.builds("{}:{}".format, hosts, st.integers(0, 70_000) | texts)
values = st.recursive(
    scalars | addresses, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4)
)


def backend(**fields: Any) -> bytes:
    return BACKEND.merged_body("shop", {"app": "web", "version": "1", **fields})


class RoutingCase(SynchronousTestCase):
    def refused(self, field: str, parse: Callable[[Any], object], *wrong: Any) -> None:
        """Expect that each value is refused because of the field, which the message names."""
        for value in wrong:
            error = self.assertRaises(Invalid, parse, value)
            self.assertEqual(error.field, field, value)
            self.assertTrue(str(error).startswith(f"{field}: "), str(error))

    def says(self, parse: Callable[[Any], object], value: Any, message: str) -> None:
        self.assertEqual(str(self.assertRaises(Invalid, parse, value)), message)


class OfBackends(RoutingCase):
    def test_balance(self) -> None:
        """Algorithms that obey weights and changing members are accepted, with their arguments."""
        for text, balance in {
            "roundrobin": Balance("roundrobin"),
            "leastconn": Balance("leastconn"),
            "random": Balance("random"),
            "random(3)": Balance("random", "3"),
            "source": Balance("source"),
            "uri": Balance("uri"),
            "hdr(X-User)": Balance("hdr", "X-User"),
            "url_param(user_id)": Balance("url_param", "user_id"),
        }.items():
            self.assertEqual(parse_balance(text), balance)

    def test_what_is_no_balance(self) -> None:
        """Other algorithms are refused, also those of HAProxy that cannot change members or ignore weights."""
        self.refused(
            "balance", parse_balance, "static-rr", "first", "rdp-cookie", "", "Roundrobin", "roundrobin ", "uri whole"
        )
        self.refused("balance", parse_balance, "hdr", "hdr()", "hdr(a b)", "hdr(a,b)", "hdr(a)\n", "hdr(a))", "hdr(é)")
        self.refused("balance", parse_balance, "random(0)", "random(100)", "uri(3)", 1, ["source"], {}, True)

    def test_health(self) -> None:
        """A health check has a path and an interval, which is two seconds by default."""
        self.assertEqual(parse_health({"path": "/health", "interval": 0.5}), Health("/health", 0.5))
        self.assertEqual(parse_health({"path": "/"}), Health("/", 2.0))
        self.assertEqual(parse_health({"path": "/a?b=c#'d", "interval": None}), Health("/a?b=c#'d", 2.0))

    def test_the_host_of_a_health_check(self) -> None:
        """The host of a check is a name or an address, with a port or without, in one canonical form."""
        for text, host in {
            "Shop.Example.": "shop.example",
            "shop_1.example:8080": "shop_1.example:8080",
            "10.0.0.1": "10.0.0.1",
            "10.0.0.1:080": "10.0.0.1:80",
            "2001:DB8::0:1": "[2001:db8::1]",
            "[2001:DB8::1]": "[2001:db8::1]",
            "[::1]:80": "[::1]:80",
        }.items():
            self.assertEqual(parse_health({"path": "/", "host": text}), Health("/", 2.0, host))
        self.assertEqual(parse_health({"path": "/", "host": None, "interval": 1}), Health("/", 1, None))
        wrong: tuple[Any, ...] = (
            "",
            "a b",
            "a\n",
            "a:",
            "a:0",
            "a:99999",
            "a:b",
            "[a]",
            "[::1",
            "::1%1",
            "a;b",
            "a%b",
            "é",
            7,
        )
        self.refused("health", parse_health, *({"path": "/", "host": host} for host in (*wrong, [], {}, True)))
        error = self.assertRaises(Invalid, parse_health, {"path": "/", "host": "a b"})
        self.assertEqual(
            str(error), "health: host: must be a DNS name or an IP address, without brackets or an IPv6 zone (%eth0)"
        )

    def test_what_is_no_health(self) -> None:
        """A path begins with a slash and has no spaces, and an interval is limited."""
        paths: tuple[Any, ...] = (None, "", "health", "/a b", "/a\n", "/\x7f", "/é", 1, "/" * 1025)
        self.refused("health", parse_health, *({"path": path} for path in paths))
        intervals: tuple[Any, ...] = (0, -1, 3601, "2", True, [], float("inf"))
        self.refused("health", parse_health, *({"path": "/", "interval": interval} for interval in intervals))
        self.refused("health", parse_health, "/health", {}, {"interval": 1}, {"path": "/", "more": 1}, ["path"])

    def test_servers(self) -> None:
        """A server has a host or an address, and a port, in one canonical form."""
        self.assertEqual(
            parse_servers(["Db.Example.:5432", "10.0.0.1:80", "[2001:DB8:0::1]:080"]),
            (FixedServer("db.example", 5432), FixedServer("10.0.0.1", 80), FixedServer("2001:db8::1", 80)),
        )
        self.assertEqual(parse_servers([]), ())
        self.assertEqual(len(parse_servers([f"h:{port}" for port in range(1, 101)])), 100)

    def test_what_is_no_server(self) -> None:
        """A server without a port, with more than a port, twice, or above the limit is refused."""
        for text in ("h", "h:", ":80", "h:0", "h:65536", "h:80 ", "h h:80", "::1:80", "[::1]", "[::1%1]:80", "[h]:80"):
            self.refused("servers", parse_servers, [text])
        self.refused("servers", parse_servers, "h:80", None, {"h": 80}, [80], ["h:80", None], [["h:80"]], ["h:80\n"])
        self.refused("servers", parse_servers, ["h:80", "H.:80"], [f"h:{port}" for port in range(1, 102)])

    def test_servers_where_nobody_can_be(self) -> None:
        """Servers at addresses that no server can have are refused; stored ones are ignored."""
        for text in ("0.0.0.0:80", "[::]:80", "224.0.0.1:80", "[ff02::1]:80", "255.255.255.255:80"):
            self.refused("servers", parse_servers, [text])
            servers, (problem,) = valid_servers(["a:1", text, "a.:1"])
            self.assertEqual(servers, (FixedServer("a", 1),))
            self.assertTrue(problem.startswith("servers: number 2: host: must be an address at which"), problem)
        wrong: tuple[Any, ...] = ("a:1", {}, ["a:1"] * 101)
        for value in wrong:
            self.assertEqual(valid_servers(value)[0], ())

    def test_slow_start(self) -> None:
        """`slow_start` is in seconds, up to an hour."""
        self.assertEqual([parse_slow_start(each) for each in (0, 2.5, 3600)], [0, 2.5, 3600])
        self.refused("slow_start", parse_slow_start, -1, 3600.1, "1", True, None, [])

    def test_canary(self) -> None:
        """A canary has a version and an exact percentage."""
        self.assertEqual(parse_canary({"version": "2", "percent": 0.1}), Canary("2", Fraction(1, 10)))

    def test_kept(self) -> None:
        """All fields are stored as they were sent, and null removes a field."""
        sent = {
            "balance": "hdr(Host)",
            "health": {"path": "/", "interval": 1},
            "servers": ["H:1"],
            "slow_start": 5,
            "canary": {"version": "2", "percent": 5},
        }
        body = backend(**sent)
        self.assertEqual({**msgspec.json.decode(body), **sent}, msgspec.json.decode(body))
        back = BACKEND.merged_body("shop", dict.fromkeys(sent), body)
        self.assertEqual([msgspec.json.decode(back)[field] for field in sent], [None] * 5)


class OfFrontends(RoutingCase):
    def test_bind(self) -> None:
        """`bind` has all addresses or one, or several of these, each with its port."""
        for text, binds in {
            "*:8080": [Bind(None, 8080)],
            "10.0.0.1:80": [Bind("10.0.0.1", 80)],
            "[0::1]:80,*:81": [Bind("::1", 80), Bind(None, 81)],
        }.items():
            self.assertEqual([*parse_bind(text)], binds)

    def test_what_is_no_bind(self) -> None:
        """A name, a port alone, a duplicate, or a character that ends a line is refused."""
        self.refused(
            "bind", parse_bind, "", "*", "*:0", "*:65536", ":80", "80", "localhost:80", "::1:80", "*:80,", "*:x"
        )
        self.refused("bind", parse_bind, "*:80, *:81", "*:80\n", "*:80 ssl", "*:80,*:080", "[::1]:80,[0::1]:80")
        self.refused("bind", parse_bind, 80, ["*:80"], None, ",".join(f"*:{port}" for port in range(1, 22)))

    def test_what_is_no_bind_is_named(self) -> None:
        """The message for an invalid address shows the form of `bind`, and not that of servers."""
        error = self.assertRaises(Invalid, parse_bind, "*:80,8000")
        self.assertEqual(str(error), "bind: 8000: must be of the form *:8080, 10.0.0.1:80 or [::1]:80")

    def test_mode(self) -> None:
        """The mode is http or tcp."""
        self.assertEqual([parse_mode(mode) for mode in ("http", "tcp")], ["http", "tcp"])
        self.refused("mode", parse_mode, "", "HTTP", "udp", 1, ["tcp"], {})

    def test_rules(self) -> None:
        """Each rule has one condition, and rules keep their order."""
        sent = [
            {"host": "Beta.Example.", "backend": "b"},
            {"path": "/api", "backend": 'a "b"'},
            {"header": "X-Beta", "value": "1 # 2", "backend": "c"},
        ]
        rules = (Rule("b", host="beta.example"), Rule('a "b"', path="/api"), Rule("c", header=("X-Beta", "1 # 2")))
        self.assertEqual(parse_rules(sent), rules)
        self.assertEqual(len(parse_rules([{"path": "/", "backend": "b"}] * 100)), 100)

    def test_what_is_no_rule(self) -> None:
        """A rule without a condition, with several, or without a backend is refused."""
        path = {"path": "/", "backend": "b"}
        wrong: tuple[Any, ...] = (
            {},
            {"backend": "b"},
            {"path": "/"},
            {**path, "host": "h"},
            {**path, "host": None},
            {**path, "more": 1},
            "/",
        )
        self.refused_rules(*wrong, None, [], {"header": "X", "backend": "b"}, {"value": "1", "backend": "b"})
        self.refused("rules", parse_rules, {}, "x", None, [path] * 101)

    def test_what_ends_a_word(self) -> None:
        """A rule with a character that ends a word, or with an impossible value, is refused."""
        backends: tuple[Any, ...] = ("", "a/b", 1, "a\nb", [])
        paths: tuple[Any, ...] = ("", "api", "/a b", "/a\n", "/é", "/a?b", "/a#b", 1, "/" * 1025)
        hosts: tuple[Any, ...] = ("", "a b", "*.a", "a:80", "a\n", "[::1]", 1, [])
        headers: tuple[Any, ...] = ("", "a b", "a\n", "a:", "é", 1, "a" * 65)
        values: tuple[Any, ...] = ("", " a", "a ", "a\nb", "\0", 1, "a" * 1025)
        self.refused_rules(*({"path": "/", "backend": backend} for backend in backends))
        self.refused_rules(*({"path": path, "backend": "b"} for path in paths))
        self.refused_rules(*({"host": host, "backend": "b"} for host in hosts))
        self.refused_rules(*({"header": header, "value": "1", "backend": "b"} for header in headers))
        self.refused_rules(*({"header": "X", "value": value, "backend": "b"} for value in values))

    def refused_rules(self, *wrong: Any) -> None:
        self.refused("rules", parse_rules, *([rule] for rule in wrong))

    def test_errors_say_where(self) -> None:
        """The message names the rule and its invalid part."""
        rules = [{"path": "/", "backend": "b"}, {"path": "api", "backend": "b"}]
        said = "rules: number 2: path: must begin with / and be ASCII without spaces, ? or #"
        self.says(parse_rules, rules, said)
        self.says(parse_servers, ["h:0"], "servers: number 1: port: must be a number from 1 to 65535")

    def test_no_rules_in_tcp(self) -> None:
        """Rules are refused in mode tcp, whichever was set first."""
        rules = [{"path": "/", "backend": "b"}]
        before = FRONTEND.merged_body("www", {"rules": rules})
        mixed: tuple[tuple[dict[str, Any], bytes | None], ...] = (
            ({"rules": rules, "mode": "tcp"}, None),
            ({"mode": "tcp"}, before),
        )
        for sent, existing in mixed:
            error = self.assertRaises(Invalid, FRONTEND.merged_body, "www", sent, existing)
            self.assertEqual(error.field, "rules")
        self.assertIn(b'"tcp"', FRONTEND.merged_body("www", {"mode": "tcp", "rules": None}, before))


class Whatever(RoutingCase):
    @given(values)
    def test_nothing_else_is_raised(self, value: Any) -> None:
        """Any value is refused with the name of the field, or has no character that ends a line."""
        for field, parse in {**BACKEND.checks, **FRONTEND.checks}.items():
            try:
                parsed = parse(value)
            except Invalid as error:
                self.assertEqual(error.field, field)
            else:
                self.assertTrue(str(parsed).isprintable())

    @given(st.lists(addresses | texts, min_size=1, max_size=3).map(",".join))
    def test_bind_or_not(self, text: str) -> None:
        """A parsed `bind` has the same meaning when it is written and parsed again."""
        try:
            binds = parse_bind(text)
        except Invalid:
            return
        written = (f"{'*' if b.address is None else f'[{b.address}]'}:{b.port}" for b in binds)
        self.assertEqual(parse_bind(",".join(written)), binds)


class Bounds(RoutingCase):
    """Values just within the limits are accepted, and those just beyond are refused."""

    def rule(self, **said: str) -> list[dict[str, str]]:
        return [{"backend": "web", **said}]

    def test_percent(self) -> None:
        self.assertEqual(parse_canary({"version": "2", "percent": 100}), Canary("2", Fraction(100)))
        self.refused("canary", parse_canary, {"version": "2", "percent": 100.5})

    def test_binds(self) -> None:
        many = [f"*:{port}" for port in range(8001, 8022)]
        self.assertEqual(len(parse_bind(",".join(many[:20]))), 20)
        self.refused("bind", parse_bind, ",".join(many))

    def test_values(self) -> None:
        for value in ("v", "v" * 1024):
            (rule,) = parse_rules(self.rule(header="x", value=value))
            self.assertEqual(rule.header, ("x", value))
        self.refused("rules", parse_rules, *(self.rule(header="x", value=value) for value in ("", "v" * 1025)))

    def test_paths(self) -> None:
        (rule,) = parse_rules(self.rule(path="/" + "p" * 1023))
        self.assertEqual(rule.path, "/" + "p" * 1023)
        self.refused("rules", parse_rules, self.rule(path="/" + "p" * 1024))
