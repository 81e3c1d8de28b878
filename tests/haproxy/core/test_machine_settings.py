"""What the machine and the fields of connections add to the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy import core
from bender.haproxy.core.custom import Custom, parse_custom
from bender.haproxy.core.machine_settings import TIMEOUTS, Log, Machine
from bender.haproxy.core.registry import ReceivedEvent, Registry
from bender.haproxy.core.rendering import Renderer, Unrenderable, duration
from bender.haproxy.core.topology import Topology, build_topology
from tests.haproxy.events import backend, frontend, server

TEMPLATE = Path(core.__file__).with_name("haproxy.cfg.j2").read_text("utf-8")

SHOP = backend("shop")
WWW = frontend("www", backend="shop", bind="*:80")

CERTIFICATES = "/var/lib/edge certificates/1"


def rendered(
    *said: ReceivedEvent, template: str = TEMPLATE, version: tuple[int, ...] = (2, 6), **machine: Any
) -> list[str]:
    """The lines of a configuration, without what is around them."""
    found, problems = shaped(*said, **machine)
    assert not problems, problems
    servers = {pool.name: [server("a")] for pool in found.pools}
    return [*map(str.strip, Renderer(template, "/s", "/states", version).render(found, servers).text.splitlines())]


def shaped(*said: ReceivedEvent, **machine: Any) -> tuple[Topology, dict[str, str]]:
    registry = Registry()
    for each in said:
        registry.receive(each, 0)
    return build_topology(registry.backends, registry.frontends, machine=Machine(**machine))


def section(name: str, lines: list[str]) -> list[str]:
    return lines[lines.index(name) : lines.index("", lines.index(name))]


class Options(SynchronousTestCase):
    """What the options of the driver say."""

    def test_nothing(self) -> None:
        """The text is that of before there were any of these, so an upgrade reloads nothing."""
        lines = rendered(SHOP, WWW)
        self.assertEqual(
            section("frontend www:in", lines),
            ["frontend www:in", "mode http", "bind *:80", "option forwardfor", "default_backend shop"],
        )
        self.assertEqual(section("backend shop", lines)[-1], "server a 10.0.0.1:80 weight 1")
        self.assertEqual(section("global", lines)[-1], "mworker-max-reloads 100")
        self.assertIn("timeout tunnel 1h", lines)

    def test_a_log(self) -> None:
        """All frontends go there which do not say otherwise, each in the format of its mode."""
        quiet = frontend("quiet", backend="shop", bind="*:81", log=False)
        lines = rendered(SHOP, WWW, quiet, frontend("db", bind="*:82", mode="tcp"), log=Log("/dev/log", "local3"))
        self.assertIn("log '/dev/log' local3", section("global", lines))
        self.assertLess({"log global", "option httplog", "option dontlognull"}, {*section("defaults", lines)})
        self.assertIn("no log", section("frontend quiet:in", lines))
        self.assertIn("option tcplog", section("frontend db:in", lines))
        self.assertNotIn("no log", section("frontend www:in", lines))
        self.assertIn("log 'stdout' format raw local0", rendered(log=Log("stdout", format="raw")))
        self.assertNotIn("no log", rendered(SHOP, quiet))

    def test_statistics(self) -> None:
        """With metrics where HAProxy has them."""
        lines = section("frontend bender:stats", rendered(stats="127.0.0.1:8404", exporter=True, log=Log("stdout")))
        self.assertLess({"bind 127.0.0.1:8404", "stats uri /", "http-request set-log-level silent"}, {*lines})
        self.assertIn("http-request use-service prometheus-exporter if { path /metrics }", lines)
        lines = section("frontend bender:stats", rendered(stats="127.0.0.1:8404"))
        self.assertNotIn("prometheus-exporter", " ".join(lines))

    def test_an_address_of_the_statistics(self) -> None:
        """No frontend gets it."""
        www = frontend("www", bind="127.0.0.1:8404")
        found, problems = shaped(www, stats="127.0.0.1:8404")
        self.assertEqual((found.doors, problems), ((), {"frontend/www": "bind: 127.0.0.1:8404 is used by --stats"}))

    def test_limits(self) -> None:
        """Each default is another one where the operator says so."""
        lines = rendered(maxconn=500, timeouts={**TIMEOUTS, "connect": 0.25, "http_request": 7200})
        self.assertIn("maxconn 500", section("global", lines))
        self.assertLess({"timeout connect 250ms", "timeout http-request 2h"}, {*section("defaults", lines)})

    def test_times(self) -> None:
        """HAProxy takes no fractions, and 0 would be no limit at all."""
        self.assertEqual([*map(duration, (0.0001, 0.0015, 1, 1.5, 90, 3600, 86400))],
                         ["1ms", "2ms", "1s", "1500ms", "90s", "1h", "24h"])  # fmt: skip

    def test_the_description_stands_for_them(self) -> None:
        """What is different there takes a reload."""
        renderer = Renderer(TEMPLATE, "/s", "/states", (2, 6))
        machines: list[dict[str, Any]] = [
            {}, {"log": Log("stdout")}, {"stats": "127.0.0.1:1"}, {"certificates": "/a"}, {"certificates": "/b"},
            {"maxconn": 1}, {"timeouts": {**TIMEOUTS, "client": 1}}, {"custom": Custom({"global.cfg": ("a",)})},
        ]  # fmt: skip
        tls = frontend("www", bind="*:443", tls=True)
        self.assertEqual(len({renderer.description(shaped(tls, **each)[0]) for each in machines}), len(machines))


class Fields(SynchronousTestCase):
    """What frontends and backends say."""

    def test_tls(self) -> None:
        """At the addresses that are named, with HTTP/2 where there is HTTP."""
        www = frontend("www", backend="shop", bind="*:80,*:443", tls="*:443")
        lines = section("frontend www:in", rendered(SHOP, www, certificates=CERTIFICATES))
        self.assertLess({"bind *:80", f"bind *:443 ssl crt '{CERTIFICATES}' alpn h2,http/1.1"}, {*lines})
        self.assertIn("http-request set-header X-Forwarded-Proto https if { ssl_fc }", lines)
        lines = rendered(frontend("db", bind="*:1,*:2", tls=True, mode="tcp"), certificates="/c")
        self.assertLess({"bind *:1 ssl crt '/c'", "bind *:2 ssl crt '/c'"}, {*lines})
        self.assertNotIn("X-Forwarded-Proto", " ".join(lines))

    def test_tls_without_a_certificate(self) -> None:
        """It is never served without TLS instead."""
        found, problems = shaped(SHOP, frontend("www", backend="shop", bind="*:443", tls=True))
        self.assertEqual(found.doors, ())
        self.assertIn("--certificates", problems["frontend/www"])

    def test_tls_at_an_address_that_is_none_of_it(self) -> None:
        """An older node may have kept it."""
        found, problems = shaped(frontend("www", bind="*:443", tls="*:444"), certificates="/c")
        self.assertEqual((found.doors, [*problems]), ((), ["frontend/www"]))

    def test_tls_in_a_template_that_does_not_know_of_it(self) -> None:
        """What it prints behind `bind` has TLS."""
        old = TEMPLATE.replace("    option forwardfor\n", "").replace(
            "ssl-default-bind-options ssl-min-ver TLSv1.2", ""
        )
        www = frontend("www", backend="shop", bind="*:443", tls=True)
        self.assertIn("bind *:443 ssl crt '/c' alpn h2,http/1.1", rendered(SHOP, www, template=old, certificates="/c"))
        joined = "{% for door in doors %}bind {{ door.binds | join(',') }}\n{% endfor %}"
        self.assertRaises(Unrenderable, rendered, SHOP, www, template=joined, certificates="/c")

    def test_a_redirect(self) -> None:
        """To the port of the frontend's own TLS, or to the one that is named, or to that of HTTPS."""

        def where(**fields: Any) -> str:
            lines = rendered(frontend("www", **fields), certificates="/c")
            (line,) = [line for line in lines if line.startswith("http-request redirect") and "code 301" in line]
            self.assertIn(line.replace("301 if ", "308 if !"), lines)
            return line.split()[3]

        host = "https://%[req.hdr(host),host_only]"
        self.assertEqual(where(bind="*:80", redirect_https=True), f"{host}%[pathq]")
        self.assertEqual(where(bind="*:80", redirect_https=8443), f"{host}:8443%[pathq]")
        self.assertEqual(where(bind="*:80,*:444", tls="*:444", redirect_https=True), f"{host}:444%[pathq]")
        self.assertEqual(where(bind="*:80,*:444", tls="*:444", redirect_https=443), f"{host}%[pathq]")
        self.assertNotIn("redirect", " ".join(rendered(frontend("www", bind="*:80", redirect_https=False))))
        _, problems = shaped(frontend("www", bind="*:80", redirect_https=True, mode="tcp"))
        self.assertIn("redirect_https: needs mode http", problems["frontend/www"])

    def test_forwardfor(self) -> None:
        """It can be switched off, with what says that there was TLS."""
        lines = rendered(frontend("www", bind="*:443", tls=True, forwardfor=False), certificates="/c")
        self.assertNotIn("X-Forwarded", " ".join(lines))
        self.assertNotIn("option forwardfor", lines)

    def test_timeouts_and_limits(self) -> None:
        """In the section that they belong to; the limit of a backend is one for each server."""
        shop = backend("shop", timeouts={"server": 600, "connect": 0.5}, maxconn=7)
        www = frontend("www", backend="shop", bind="*:80", timeouts={"client": 5, "http_request": 3}, maxconn=70)
        lines = rendered(shop, www)
        of_frontend, of_backend = section("frontend www:in", lines), section("backend shop", lines)
        self.assertLess({"timeout client 5s", "timeout http-request 3s", "maxconn 70"}, {*of_frontend})
        self.assertLess({"timeout connect 500ms", "timeout server 600s"}, {*of_backend})
        self.assertIn("server a 10.0.0.1:80 weight 1 maxconn 7", of_backend)

    def test_what_cannot_be_used(self) -> None:
        """The frontend or backend goes on without it, but for what decides who may read along."""
        found, problems = shaped(
            backend("shop", maxconn="x", timeouts=[]), frontend("www", bind="*:80", log=7, maxconn=0, timeouts={"x": 1})
        )
        self.assertEqual(
            ([door.maxconn for door in found.doors], [pool.timeouts for pool in found.pools]), ([None], [()])
        )
        self.assertEqual(problems["backend/shop"].count("; "), 1)
        self.assertEqual(problems["frontend/www"].count("; "), 2)
        for field in ("tls", "redirect_https"):
            self.assertEqual(shaped(frontend("www", bind="*:80", **{field: "x"}), certificates="/c")[0].doors, ())


class Lines(SynchronousTestCase):
    """The operator's own."""

    def test_where_they_are(self) -> None:
        """Behind the settings of each section, which they may set again, and before its rules."""
        custom = parse_custom({
            "global.cfg": "user haproxy", "defaults.cfg": "option abortonclose", "sections.cfg": "userlist u",
            "frontend-my shop.cfg": "http-request deny if { path /; }", "backend-shop.cfg": "timeout server 9s",
        })  # fmt: skip
        rule = {"path": "/api", "backend": "shop"}
        door = frontend("my shop", backend="shop", bind="*:80", rules=[rule])
        lines = rendered(backend("shop", timeouts={"server": 5}), door, custom=custom)
        self.assertIn("user haproxy", section("global", lines))
        self.assertIn("option abortonclose", section("defaults", lines))
        self.assertLess(lines.index("timeout server 5s"), lines.index("timeout server 9s"))
        (name,) = [line for line in lines if line.startswith("frontend my")]
        inside = section(name, lines)
        self.assertLess(inside.index("http-request deny if { path /; }"), inside.index("acl rule1 path_beg -- '/api'"))
        self.assertLess(lines.index("backend bender__nowhere"), lines.index("userlist u"))

    def test_what_cannot_be_used(self) -> None:
        """Nothing is rendered, and the file and line are named."""
        custom = parse_custom({"frontend-www.cfg": "backend x"})
        error = self.assertRaises(Unrenderable, rendered, SHOP, WWW, custom=custom)
        self.assertIn("frontend-www.cfg line 1", str(error))

    def test_files_for_nothing(self) -> None:
        """They are said, and hinder nothing."""
        found, problems = shaped(SHOP, WWW, custom=parse_custom({"frontend-ww.cfg": "x"}))
        self.assertEqual((len(found.doors), problems), (1, {"include/frontend-ww.cfg": "there is no frontend ww"}))
