"""Renders the text of HAProxy's configuration from a template. The same state gives the same bytes.

Templates are Jinja2, in a sandbox. A name that does not exist is an error. The variables are

- `doors` (frontends), `pools` (backends) and `servers` (those of each pool, by its name), as in `topology` and
  `servers`; `nowhere` has, by mode, the names of the backends that answer 503;
- `server_states` is the file from which HAProxy reads at its start which servers are down;
- `description` belongs into `global`; the driver recognizes by it the configuration that HAProxy runs with;
- `socket` is the path at which HAProxy must listen for commands;
- `version` is HAProxy's version, as numbers;
- `machine` has the options of the driver;
- `custom` has the operator's own lines: `globals`, `defaults` and `sections`, and in `of` the lines of each frontend
  and backend, by HAProxy's name.

The filters are

- `quoted`: any text as one word; `formatted`: the same, for places where HAProxy reads a log-format;
- `condition`: the test of a rule, for an `acl`; `balanced`: the arguments of `balance`;
- `place`: a server's `address:port`; `parameters`: the rest of the line of a server, as for a server that is added at
  run time;
- `duration`: seconds in HAProxy's notation; `destination`: the arguments of `log`; `https`: the URL to which a frontend
  redirects.

Everything else that a template prints must be one word (`safe_text`), or rendering fails. The names for people
(`title`, `id`, `version`) are passed as words, so that a template can print any of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from attrs import evolve, frozen
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from bender.core.connection_settings import HTTPS_PORT
from bender.core.routing import Balance, Rule
from bender.haproxy.core.custom import DEFAULTS, GLOBAL, SECTIONS, file_name_of
from bender.haproxy.core.listening import ListeningPlace, listening_places_in
from bender.haproxy.core.machine_settings import Log, Machine
from bender.haproxy.core.names import address_port
from bender.haproxy.core.safe_text import Fragment, checked_output, formatted, quoted, readable, word
from bender.haproxy.core.servers import DesiredServer
from bender.haproxy.core.topology import NOWHERE, Door, Pool, PoolRoute, Topology

#: The start of a description; the rest is a hash of the topology.
DESCRIPTION = "bender-haproxy"

#: The address of an unused slot.
UNUSED_ADDRESS, UNUSED_PORT = "127.0.0.1", 1

#: The shortest interval of health checks.
CHECK_APART_MS_MIN = 50

#: Filters of Jinja2 that mark any text as one that needs no check.
_TRUSTING = ("safe", "escape", "e", "forceescape", "tojson", "urlize", "xmlattr")

#: Control characters, except the end of a line and the tab.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

#: The first version of HAProxy in which servers can be added, and with the converter `host_only`.
DYNAMIC_SINCE = (2, 5)


class Unrenderable(Exception):
    """The template cannot be rendered. The message is a clause about the template that begins with a verb."""


@frozen
class RenderedConfig:
    """A configuration. Its `description` identifies its topology."""

    text: str
    description: str


class Renderer:
    """Renders one template. All methods raise `Unrenderable`, also the constructor."""

    def __init__(self, template: str, socket: str, states: str, version: tuple[int, ...]) -> None:
        self._socket = socket
        self._states = states
        self._version = version
        self._described: tuple[Topology | None, str, frozenset[ListeningPlace]] = None, "", frozenset()
        environment = ImmutableSandboxedEnvironment(
            autoescape=True,  # so that Jinja2 marks the text that a template has put together; see `rendered`
            finalize=checked_output,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        for name in _TRUSTING:
            del environment.filters[name]
        environment.filters.update(
            quoted=quoted,
            formatted=formatted,
            condition=self._condition,
            balanced=balanced,
            place=place,
            parameters=parameters,
            duration=duration,
            destination=destination,
            https=self._https,
        )
        try:
            self._template = environment.from_string(template)
        except TemplateError as error:
            raise Unrenderable(f"is not a valid template ({error})") from error

    def description(self, topology: Topology) -> str:
        """Return the text that identifies a topology rendered by this template."""
        return self._describe(topology)[0]

    def listening_places(self, topology: Topology) -> frozenset[ListeningPlace]:
        """Return the places at which HAProxy listens with this topology."""
        return self._describe(topology)[1]

    def _describe(self, topology: Topology) -> tuple[str, frozenset[ListeningPlace]]:
        known, description, listening_places = self._described
        if known is not topology:  # the driver needs those of the last topology again and again
            bare = self._render(topology, {}, DESCRIPTION)
            description = f"{DESCRIPTION} {blake2b(bare.encode(), digest_size=12).hexdigest()}"
            listening_places = listening_places_in(bare)
            self._described = topology, description, listening_places
        return description, listening_places

    def render(self, topology: Topology, servers: Mapping[str, Sequence[DesiredServer]]) -> RenderedConfig:
        """Return the configuration with these servers, by the name of their pool."""
        description = self.description(topology)
        return RenderedConfig(self._render(topology, servers, description), description)

    def _render(self, topology: Topology, servers: Mapping[str, Sequence[DesiredServer]], description: str) -> str:
        machine = topology.machine
        if machine.custom.problem is not None:
            raise Unrenderable(f"cannot be rendered with the lines of --include: {machine.custom.problem}")
        try:
            text = self._template.render(
                doors=[_readable_door(door, machine) for door in topology.doors],
                pools=[evolve(pool, title=readable(pool.title)) for pool in topology.pools],
                servers={
                    pool.name: [*map(_readable_server, fill_slots(servers.get(pool.name, ()), pool.slots))]
                    for pool in topology.pools
                },
                nowhere=NOWHERE,
                socket=self._socket,
                server_states=self._states,
                description=Fragment(description),
                version=self._version,
                machine=machine,
                custom=_custom(topology),
            )
        except Exception as error:  # a template may raise any exception of Python
            raise Unrenderable(f"cannot be rendered ({type(error).__name__}: {error})") from error
        control = _CONTROL.search(text)
        if control is not None:
            line = text.count("\n", 0, control.start()) + 1
            raise Unrenderable(f"renders a control character ({control[0]!r}) in line {line}")
        return text

    def _condition(self, rule: Rule) -> Fragment:
        """Return the test of an `acl`. Without `--` a value could be an option, such as a file to be read."""
        if rule.path is not None:
            return Fragment(f"path_beg -- {quoted(rule.path)}")
        if rule.header is not None:
            name, value = rule.header
            return Fragment(f"{quoted(f'req.fhdr({name})')} -m str -- {quoted(value)}")
        return Fragment(f"{self._host_asked} -m str -i -- {quoted(rule.host)}")

    def _https(self, door: Door) -> Fragment:
        """Return the URL to redirect a request without TLS to: the same host, path and query."""
        port = "" if door.redirect_port == HTTPS_PORT else f":{door.redirect_port:d}"
        return Fragment(f"https://%[{self._host_asked}]{port}%[pathq]")

    @property
    def _host_asked(self) -> str:
        """The host of a request, without its port."""
        return f"req.hdr(host),{'host_only' if self._version >= DYNAMIC_SINCE else 'field(1,:)'}"


def _custom(topology: Topology) -> dict[str, object]:
    """Return the operator's own lines, which are printed as they are."""

    def lines(file: str) -> list[Markup]:
        return [Markup(line) for line in topology.machine.custom.lines(file)]  # noqa: S704 - nothing here is HTML

    return {
        "globals": lines(GLOBAL),
        "defaults": lines(DEFAULTS),
        "sections": lines(SECTIONS),
        "of": {
            **{door.name: lines(file_name_of("frontend", door.title)) for door in topology.doors},
            **{pool.name: lines(file_name_of("backend", pool.title)) for pool in topology.pools},
        },
    }


def _readable_door(door: Door, machine: Machine) -> Door:
    """Return a frontend with names as words, and with all arguments of `bind`, so that no template can omit TLS."""
    protocols = " alpn h2,http/1.1" if door.mode == "http" else ""
    tls = f" ssl crt {quoted(machine.certificates)}{protocols}"
    binds = tuple(Fragment(f"{word(bind)}{tls}") if bind in door.tls else bind for bind in door.binds)
    routes = [PoolRoute(evolve(route.rule, backend=readable(route.rule.backend)), route.pool) for route in door.routes]
    return evolve(door, title=readable(door.title), routes=(*routes,), binds=binds)


def _readable_server(server: DesiredServer) -> DesiredServer:
    id_, version = readable(server.id), readable(server.version)
    return server if (id_, version) == (server.id, server.version) else evolve(server, id=id_, version=version)


def balanced(balance: Balance) -> Fragment:
    """Return the arguments of `balance`."""
    if balance.argument is None:
        return Fragment(word(balance.algorithm))
    if balance.algorithm == "url_param":
        return Fragment(f"url_param {word(balance.argument)}")
    return Fragment(word(f"{balance.algorithm}({balance.argument})"))


def place(server: DesiredServer) -> Fragment:
    """Return the address and port of a server, as HAProxy writes them."""
    assert server.address is not None, "its address is not known"
    return Fragment(word(address_port(server.address, server.port)))


def parameters(server: DesiredServer, pool: Pool) -> Fragment:
    """Return the parameters of a server after its address."""
    every_ms = 0 if pool.health is None else max(round(1000 * pool.health.interval_s), CHECK_APART_MS_MIN)
    check = f" check inter {every_ms}ms rise 2 fall 3" if every_ms else ""
    limit = "" if pool.maxconn is None else f" maxconn {pool.maxconn:d}"
    return Fragment(f"weight {server.weight if server.state == 'up' else 0:d}{limit}{check}")


def duration(seconds: float) -> Fragment:
    """Return a time in HAProxy's notation, without fractions: hours or seconds if that is exact, else milliseconds."""
    if seconds % 3600 == 0:
        return Fragment(f"{seconds // 3600:.0f}h")
    return Fragment(f"{seconds:.0f}s" if seconds == int(seconds) else f"{max(1, round(1000 * seconds))}ms")


def destination(log: Log) -> Fragment:
    """Return the arguments of `log` in HAProxy's configuration."""
    form = "" if log.format is None else f" format {word(log.format)}"
    return Fragment(f"{quoted(log.target)}{form} {word(log.facility)}")


def fill_slots(servers: Sequence[DesiredServer], slots: int) -> Sequence[DesiredServer]:
    """Return the servers that have an address; if `slots` is not 0, as many servers as slots.

    Unused slots are in maintenance.
    """
    servers = [server for server in servers if server.address is not None]
    if not slots:
        return servers
    unused = DesiredServer("", "", "", UNUSED_ADDRESS, UNUSED_PORT, 1, "maint")
    filled = [*servers[:slots], *[unused] * (slots - len(servers))]
    return [_in_slot(server, number) for number, server in enumerate(filled, 1)]


def _in_slot(server: DesiredServer, number: int) -> DesiredServer:
    return DesiredServer(
        f"slot{number}", server.id, server.version, server.address, server.port, server.weight, server.state
    )
