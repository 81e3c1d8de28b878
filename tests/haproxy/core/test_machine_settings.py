"""Settings of HAProxy's machine and of connections in the configuration."""

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
    """Return the lines of a configuration, without surrounding spaces."""
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
    """The effects of the driver's options."""

    def test_nothing(self) -> None:
        """Without these options, the text is the same as in releases without them, so an upgrade causes no reload."""
        lines = rendered(SHOP, WWW)
        self.assertEqual(
            section("frontend www:in", lines),
            ["frontend www:in", "mode http", "bind *:80", "option forwardfor", "default_backend shop"],
        )
        self.assertEqual(section("backend shop", lines)[-1], "server a 10.0.0.1:80 weight 1")
        self.assertEqual(section("global", lines)[-1], "mworker-max-reloads 100")
        self.assertIn("timeout tunnel 1h", lines)

    def test_a_log(self) -> None:
        """All frontends without `log = false` use the log, each in the format of its mode."""
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
        """The statistics include metrics if HAProxy has the exporter."""
        lines = section("frontend bender:stats", rendered(stats="127.0.0.1:8404", exporter=True, log=Log("stdout")))
        self.assertLess({"bind 127.0.0.1:8404", "stats uri /", "http-request set-log-level silent"}, {*lines})
        self.assertIn("http-request use-service prometheus-exporter if { path /metrics }", lines)
        lines = section("frontend bender:stats", rendered(stats="127.0.0.1:8404"))
        self.assertNotIn("prometheus-exporter", " ".join(lines))

    def test_an_address_of_the_statistics(self) -> None:
        """A frontend at the address of the statistics is left out."""
        www = frontend("www", bind="127.0.0.1:8404")
        found, problems = shaped(www, stats="127.0.0.1:8404")
        self.assertEqual((found.doors, problems), ((), {"frontend/www": "bind: 127.0.0.1:8404 is used by --stats"}))

    def test_limits(self) -> None:
        """The operator's limits replace the defaults."""
        lines = rendered(maxconn=500, timeouts={**TIMEOUTS, "connect": 0.25, "http_request": 7200})
        self.assertIn("maxconn 500", section("global", lines))
        self.assertLess({"timeout connect 250ms", "timeout http-request 2h"}, {*section("defaults", lines)})

    def test_times(self) -> None:
        """Times are rendered as whole numbers; a tiny time becomes 1 ms, because 0 would mean no limit."""
        self.assertEqual([*map(duration, (0.0001, 0.0015, 1, 1.5, 90, 3600, 86400))],
                         ["1ms", "2ms", "1s", "1500ms", "90s", "1h", "24h"])  # fmt: skip

    def test_the_description_stands_for_them(self) -> None:
        """Each of these settings changes the description, so a change takes a reload."""
        renderer = Renderer(TEMPLATE, "/s", "/states", (2, 6))
        machines: list[dict[str, Any]] = [
            {}, {"log": Log("stdout")}, {"stats": "127.0.0.1:1"}, {"certificates": "/a"}, {"certificates": "/b"},
            {"maxconn": 1}, {"timeouts": {**TIMEOUTS, "client": 1}}, {"custom": Custom({"global.cfg": ("a",)})},
        ]  # fmt: skip
        tls = frontend("www", bind="*:443", tls=True)
        self.assertEqual(len({renderer.description(shaped(tls, **each)[0]) for each in machines}), len(machines))


class Fields(SynchronousTestCase):
    """The effects of the fields of frontends and backends."""

    def test_tls(self) -> None:
        """The named addresses have TLS, with HTTP/2 in mode http."""
        www = frontend("www", backend="shop", bind="*:80,*:443", tls="*:443")
        lines = section("frontend www:in", rendered(SHOP, www, certificates=CERTIFICATES))
        self.assertLess({"bind *:80", f"bind *:443 ssl crt '{CERTIFICATES}' alpn h2,http/1.1"}, {*lines})
        self.assertIn("http-request set-header X-Forwarded-Proto https if { ssl_fc }", lines)
        lines = rendered(frontend("db", bind="*:1,*:2", tls=True, mode="tcp"), certificates="/c")
        self.assertLess({"bind *:1 ssl crt '/c'", "bind *:2 ssl crt '/c'"}, {*lines})
        self.assertNotIn("X-Forwarded-Proto", " ".join(lines))

    def test_tls_without_a_certificate(self) -> None:
        """A frontend without a certificate is left out, and never served without TLS."""
        found, problems = shaped(SHOP, frontend("www", backend="shop", bind="*:443", tls=True))
        self.assertEqual(found.doors, ())
        self.assertIn("--certificates", problems["frontend/www"])

    def test_tls_at_an_address_that_is_none_of_it(self) -> None:
        """A frontend is left out if its TLS address is none of its addresses, as an older node may have kept it."""
        found, problems = shaped(frontend("www", bind="*:443", tls="*:444"), certificates="/c")
        self.assertEqual((found.doors, [*problems]), ((), ["frontend/www"]))

    def test_tls_in_a_template_that_does_not_know_of_it(self) -> None:
        """A template that does not know TLS gets it with each address that it prints after `bind`."""
        old = TEMPLATE.replace("    option forwardfor\n", "").replace(
            "ssl-default-bind-options ssl-min-ver TLSv1.2", ""
        )
        www = frontend("www", backend="shop", bind="*:443", tls=True)
        self.assertIn("bind *:443 ssl crt '/c' alpn h2,http/1.1", rendered(SHOP, www, template=old, certificates="/c"))
        joined = "{% for door in doors %}bind {{ door.binds | join(',') }}\n{% endfor %}"
        self.assertRaises(Unrenderable, rendered, SHOP, www, template=joined, certificates="/c")

    def test_a_redirect(self) -> None:
        """A redirect leads to the given port, or else to the frontend's own TLS port, or else to the HTTPS port."""

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
        """Without `forwardfor`, neither the client's address nor the use of TLS is forwarded."""
        lines = rendered(frontend("www", bind="*:443", tls=True, forwardfor=False), certificates="/c")
        self.assertNotIn("X-Forwarded", " ".join(lines))
        self.assertNotIn("option forwardfor", lines)

    def test_timeouts_and_limits(self) -> None:
        """Each field is rendered in its section; the `maxconn` of a backend applies to each server."""
        shop = backend("shop", timeouts={"server": 600, "connect": 0.5}, maxconn=7)
        www = frontend("www", backend="shop", bind="*:80", timeouts={"client": 5, "http_request": 3}, maxconn=70)
        lines = rendered(shop, www)
        of_frontend, of_backend = section("frontend www:in", lines), section("backend shop", lines)
        self.assertLess({"timeout client 5s", "timeout http-request 3s", "maxconn 70"}, {*of_frontend})
        self.assertLess({"timeout connect 500ms", "timeout server 600s"}, {*of_backend})
        self.assertIn("server a 10.0.0.1:80 weight 1 maxconn 7", of_backend)

    def test_what_cannot_be_used(self) -> None:
        """An unusable field is ignored with a problem, but an unusable `tls` or `redirect_https` drops the frontend."""
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
    """The operator's own lines in the configuration."""

    def test_where_they_are(self) -> None:
        """The operator's lines come after the settings of a section, which they may override, and before its rules."""
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
        """An invalid file prevents the rendering, and the error names the file and the line."""
        custom = parse_custom({"frontend-www.cfg": "backend x"})
        error = self.assertRaises(Unrenderable, rendered, SHOP, WWW, custom=custom)
        self.assertIn("frontend-www.cfg line 1", str(error))

    def test_files_for_nothing(self) -> None:
        """An unused file is reported, and has no other effect."""
        found, problems = shaped(SHOP, WWW, custom=parse_custom({"frontend-ww.cfg": "x"}))
        self.assertEqual((len(found.doors), problems), (1, {"include/frontend-ww.cfg": "there is no frontend ww"}))
