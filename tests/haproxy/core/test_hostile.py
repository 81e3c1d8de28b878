"""Whatever a node sends, HAProxy gets only lines and commands of known forms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy import core
from bender.haproxy.core.actual_state import ActualServer
from bender.haproxy.core.desired_state import DesiredState
from bender.haproxy.core.machine_settings import Log, Machine
from bender.haproxy.core.registry import ReceivedEvent
from bender.haproxy.core.rendering import Renderer
from bender.haproxy.core.server_commands import deletion_commands, plan_commands
from tests.effort import effort
from tests.haproxy.events import HOSTILE, backend, frontend, instance, online

TEMPLATE = Path(core.__file__).with_name("haproxy.cfg.j2").read_text("utf-8")
MACHINE = Machine(Log("127.0.0.1:514"), "127.0.0.1:8404", exporter=True, certificates="/certificates", maxconn=9)
RENDERER = Renderer(TEMPLATE, "/s", "/states", (2, 6, 12))

# The form of each line of a rendering. Text in quotes was quoted by the renderer, and names were made by `safe`.
_NAME = r"[A-Za-z0-9_.:-]+"
_WORD = r"(?:'[^'\n;]*'|\\'|\\x3b)+"
_PLACE = r"(?:[0-9.]+|\[[0-9a-f:.]+\]|\*):[0-9]{1,5}"
_LIMIT = r"(?: maxconn [0-9]+)?"
_CHECK = r"(?: check inter [0-9]+ms rise 2 fall 3)?"
FORMS = re.compile(
    "|".join(
        [
            "",
            r"(?:global|defaults)",
            rf"    description {_WORD}",
            rf"    server-state-file {_WORD}",
            r"    load-server-state-from-file global",
            rf"    stats socket {_WORD} mode 600 level admin expose-fd listeners",
            r"    (?:hard-stop-after 15m|mworker-max-reloads 100|retries 3|option redispatch 1)",
            r"    timeout [a-z-]+ [0-9]+(?:s|ms|h)",
            r"    maxconn [0-9]+",
            r"    (?:log '127\.0\.0\.1:514' local0|log global|no log)",
            r"    option (?:httplog|tcplog|dontlognull)",
            r"    ssl-default-bind-options ssl-min-ver TLSv1\.2",
            r"    bind 127\.0\.0\.1:8404",
            r"    http-request (?:set-log-level silent|use-service prometheus-exporter if \{ path /metrics \})",
            r"    stats (?:enable|uri /|refresh 10s)",
            rf"    bind {_PLACE} ssl crt '/certificates'(?: alpn h2,http/1\.1)?",
            (
                r"    http-request redirect location https://%\[req\.hdr\(host\),host_only\](?::[0-9]{1,5})?%\[pathq\] "
                r"code 30[18] if !?METH_GET !\{ ssl_fc \} !\{ path_beg /\.well-known/acme-challenge/ \}"
            ),
            r"    http-request set-header X-Forwarded-Proto https? if !?\{ ssl_fc \}",
            r"# (?:frontend|backend)/[^\s;'\"\\#%$]*",
            rf"(?:frontend|backend) {_NAME}",
            r"    mode (?:http|tcp)",
            rf"    bind {_PLACE}",
            r"    option (?:forwardfor|httpchk)",
            rf"    acl rule[0-9]+ req\.hdr\(host\),host_only -m str -i -- {_WORD}",
            rf"    acl rule[0-9]+ path_beg -- {_WORD}",
            rf"    acl rule[0-9]+ {_WORD} -m str -- {_WORD}",
            rf"    use_backend {_NAME} if rule[0-9]+",
            rf"    default_backend {_NAME}",
            r"    balance [a-z_]+(?:\([A-Za-z0-9._-]+\)| [A-Za-z0-9._-]+)?",
            r"    hash-type consistent",
            r"    retry-on conn-failure empty-response",
            r"    http-request disable-l7-retry unless METH_GET",
            rf"    http-check send meth GET uri {_WORD} ver HTTP/1\.1 hdr Host '[a-z0-9_.:\[\]-]+'",
            rf"    server {_NAME} {_PLACE} weight [0-9]+{_LIMIT}{_CHECK}(?: disabled)?",
        ]
    )
)
COMMANDS = re.compile(
    "|".join(
        [
            rf"add server {_NAME}/{_NAME} {_PLACE} weight [0-9]+{_LIMIT}{_CHECK}",
            (
                rf"set server {_NAME}/{_NAME} (?:state (?:ready|drain|maint)|health (?:up|down)|weight [0-9]+|"
                r"addr [0-9a-f.:]+ port [0-9]+)"
            ),
            rf"(?:enable health|del server) {_NAME}/{_NAME}",
        ]
    )
)

TEXTS = [
    "shop\n    external-check command /tmp/evil",
    "shop\r\nglobal",
    "shop\u2028global",
    "shop\x85global",
    "10.0.0.1:80; shutdown frontend www",
    "80; show env",
    "80 check-send-proxy",
    "::1%x check-send-proxy; show env",
    "fe80::1%eth0",
    "0.0.0.0",
    "ready; show env",
    "up\n",
    "$HOME ${HOME} %[env(HOME)] #",
    "\x1b[2J\0\x7f",
    "\ud800",
    HOSTILE,
    "*:80\n    external-check command /tmp/evil",
    "/health' hdr X y\n",
]
texts = (
    st.sampled_from(TEXTS)
    | st.text(max_size=12)
    | st.sampled_from(["shop", "web", "1", "up", "*:80", "/x", "10.0.0.1"])
)
scalars = st.none() | st.booleans() | st.integers() | st.sampled_from([-1, 0, 80, 10**30]) | st.floats() | texts
fields = st.sampled_from(
    [
        *("id", "name", "app", "version", "host", "port", "weight", "state", "bind", "mode", "rules", "backend"),
        *("path", "header", "value", "health", "interval", "balance", "servers", "canary", "percent", "slow_start"),
        *("tls", "redirect_https", "forwardfor", "log", "timeouts", "maxconn", "client", "server", "http_request"),
    ]
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields | texts, inner, max_size=4),
    max_leaves=8,
)
events = st.sampled_from(["online", "offline", "changed", "created", "removed"]) | texts
kinds = st.sampled_from(["registration", "backend", "frontend"]) | texts
reasons = st.sampled_from(["configured", "expired", "deregistered", "missed"]) | texts


@st.composite
def said(draw: st.DrawFn) -> ReceivedEvent:
    """Return an event with some random fields about an existing object, or an event about anything."""
    body: dict[str, Any] = dict(
        draw(st.sampled_from([backend("shop"), frontend("www", backend="shop", bind="*:80"), online(1)])).body
    )
    kind = str(body["id"]).partition("/")[0]
    body |= draw(st.dictionaries(fields, anything, max_size=3))
    if draw(st.booleans()):  # A random id would cause the refusal of the event before its other fields are read.
        body["id"] = _id(kind, body)
    id_ = body.get("id")
    if draw(st.integers(0, 9)) == 0:
        kind = draw(kinds)
    event = {"registration": "online"}.get(kind, "created") if draw(st.integers(0, 4)) else draw(events)
    return ReceivedEvent(event, kind, id_ if isinstance(id_, str) else repr(id_), draw(reasons), body)


def _id(kind: str, body: Mapping[str, Any]) -> str:
    if kind == "registration":
        return "/".join([kind, *(str(body.get(field)) for field in ("app", "version", "host", "port"))])
    return f"{kind}/{body.get('name')}"


class HostileCase(SynchronousTestCase):
    def desired(self, *events: ReceivedEvent) -> DesiredState:
        desired = DesiredState(lambda host: host if re.fullmatch(r"[0-9a-f.:]+", host) else None, machine=MACHINE)
        for event in (backend("shop"), frontend("www", backend="shop", bind="*:80"), online(1), *events):
            desired.receive(event, 0)
        return desired

    def lines(self, desired: DesiredState) -> list[str]:
        """Return the rendered lines."""
        found = desired.topology(None, 0)
        return RENDERER.render(found, desired.servers_in(found, 0)).text.splitlines()

    def commands(self, desired: DesiredState) -> list[str]:
        """Return all commands for a HAProxy without servers, with wrong servers, and with unwanted servers."""
        commands: list[str] = []
        found = desired.topology(None, 0)
        for pool in found.pools:
            servers = desired.servers(pool.title, 0)
            flags = {"maint": True, "drain": False, "checked": False}
            there = [ActualServer(pool.name, 3, server.name, "10.9.9.9", 9, 255, **flags) for server in servers]
            commands += plan_commands(pool, servers, []).commands
            commands += plan_commands(pool, servers, there).commands
            gone = plan_commands(
                pool, [], [ActualServer(pool.name, 3, each.name, "::", 9, 1, False, False, False) for each in servers]
            )
            commands += [*gone.commands, *deletion_commands(pool, gone.leaving)]
        return commands

    def assert_safe(self, desired: DesiredState) -> None:
        for line in self.lines(desired):
            self.assertRegex(line, rf"\A(?:{FORMS.pattern})\Z")
        for command in self.commands(desired):
            self.assertRegex(command, rf"\A(?:{COMMANDS.pattern})\Z")


class Examples(HostileCase):
    """Inputs, each of which has caused a defect once."""

    def test_a_name_that_goes_on_in_the_next_line(self) -> None:
        """A backend and a frontend whose names contain line breaks are not rendered; other objects are."""
        name = "x\n    external-check command /tmp/evil\n    option external-check\n#"
        desired = self.desired(backend(name), frontend(name, bind="*:81"))
        self.assert_safe(desired)
        self.assertNotIn("external-check", "\n".join(self.lines(desired)))
        self.assertIn("backend shop", self.lines(desired))
        self.assertEqual(len(desired.all_problems), 2)

    def test_a_name_that_the_api_takes(self) -> None:
        """An unusual name that the API accepts is rendered in a readable form, and only in a comment."""
        desired = self.desired(backend("my; shop#é"))
        self.assert_safe(desired)
        self.assertIn("# backend/my=3B=20shop=23é", self.lines(desired))

    def test_a_port_that_is_a_text(self) -> None:
        """A registration whose port is a text is left out."""
        self.left_out(port="80; shutdown frontend www:in")

    def test_a_weight_that_is_a_text(self) -> None:
        """A registration whose weight is a text is left out."""
        self.left_out(weight="1; show env")

    def test_a_state(self) -> None:
        """A registration with an unknown state is left out."""
        self.left_out(state="ready; show env")

    def test_a_host(self) -> None:
        """A registration is left out if its host has a zone or other text, or is not an address of a server."""
        for host in ("::1%x check-send-proxy; show env", "10.0.0.1 check-send-proxy", "0.0.0.0", "ff02::1", 7):
            self.left_out(host=host)

    def left_out(self, **fields: Any) -> None:
        body = instance(2) | fields
        event = ReceivedEvent("online", "registration", _id("registration", body), "registered", body)
        desired = self.desired(event)
        self.assert_safe(desired)
        self.assertEqual([server.port for server in desired.servers("shop", 0)], [1], fields)
        (problem,) = desired.all_problems.values()
        self.assertIn(next(iter(fields)), problem)

    def test_one_that_is_there_already(self) -> None:
        """A member stays unchanged after an invalid event, until a valid event changes it."""
        body = instance(1, weight="7; show env")
        desired = self.desired(ReceivedEvent("changed", "registration", body["id"], "registered", body))
        self.assertEqual([server.weight for server in desired.servers("shop", 0)], [1])
        self.assertEqual([*desired.all_problems], [body["id"]])
        desired.receive(ReceivedEvent("changed", "registration", body["id"], "registered", instance(1, weight=7)), 1)
        self.assertEqual([server.weight for server in desired.servers("shop", 0)], [7])
        self.assertEqual(desired.all_problems, {})

    def test_one_under_another_s_id(self) -> None:
        """A registration with the id of another one is left out, and the other one stays."""
        event = ReceivedEvent("online", "registration", online(1).id, "registered", instance(2))
        desired = self.desired(event)
        self.assertEqual([server.port for server in desired.servers("shop", 0)], [1])
        self.assertIn("must be registration/web/1/10.0.0.1/2", desired.all_problems[online(1).id])

    def test_fields_of_connections(self) -> None:
        """The fields of connections are rendered as numbers and fixed words; other values are never rendered."""
        for text in ["60s\n    external-check", "1; show env", HOSTILE, {"client": "1\n"}, [1], 10**400, -1, 1e-9]:
            fields: dict[str, Any] = {
                "tls": text,
                "redirect_https": text,
                "log": text,
                "timeouts": {"client": text},
                "maxconn": text,
            }
            for field, value in fields.items():
                front = frontend("www", "changed", backend="shop", bind="*:80", **{field: value})
                self.assert_safe(self.desired(front, backend("shop", "changed", **{field: value})))
        good = frontend(
            "www", "changed", backend="shop", bind="*:80,*:443", tls="*:443", redirect_https=True, maxconn=5
        )
        desired = self.desired(good, backend("shop", "changed", maxconn=7, timeouts={"server": 0.25}))
        self.assert_safe(desired)
        lines = self.lines(desired)
        for line in (
            "    timeout server 250ms",
            "    bind *:443 ssl crt '/certificates' alpn h2,http/1.1",
            "    maxconn 5",
        ):
            self.assertIn(line, lines)

    def test_a_fixed_server_that_is_none(self) -> None:
        """Invalid fixed servers are left out and reported; the valid ones and the members stay."""
        desired = self.desired(backend("shop", "changed", servers=["10.0.0.8:80", "0.0.0.0:80", "a b:1", 7]))
        self.assertEqual([each.name for each in desired.servers("shop", 0)], ["10.0.0.8:80", "1:10.0.0.1:1"])
        desired.topology(None, 0)
        self.assertIn("servers: number 2", desired.all_problems["backend/shop"])

    def test_very_many(self) -> None:
        """The number of remembered problems is limited, and the last entry counts the others."""
        desired = self.desired(*(ReceivedEvent("?", "registration", f"{i}", "", {}) for i in range(1000)))
        self.assertLess(len(desired.all_problems), 300)
        self.assertIn("more", desired.all_problems["…"])

    def test_they_are_new_once(self) -> None:
        """`new_problems` returns each problem once, so that it is logged once."""
        desired = self.desired(ReceivedEvent("online", "registration", "x\x1b", "", {}))
        self.assertEqual([*desired.new_problems()], ["x\\x1b"])
        self.assertEqual(desired.new_problems(), {})


class Anything(HostileCase):
    @settings(max_examples=effort(120, 400), deadline=None)
    @given(st.lists(said(), max_size=6))
    def test_whatever_is_said(self, events: list[ReceivedEvent]) -> None:
        """For any events, each line and each command has one of the known forms, and nothing is raised."""
        self.assert_safe(self.desired(*events))
