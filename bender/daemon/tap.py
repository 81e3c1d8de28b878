"""`twistd bender`: the command line, and the one place where a node and its shells are built.

Only this module uses the global reactor, the machine's clocks and its randomness; it passes them to all other parts.
Every mistake of the operator ends the process here with one sentence.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from functools import partial

from twisted.application import strports
from twisted.application.service import IService
from twisted.internet import tcp
from twisted.internet.interfaces import IReactorCore
from twisted.logger import Logger, globalLogBeginner

from bender import api
from bender.daemon.certificate_expiry import CertificateExpiry
from bender.daemon.config_reload import NodeReloader
from bender.daemon.gc_tuning import GcTuning
from bender.daemon.open_files import UNLIMITED, allow_open_files, fit_connection_limits
from bender.daemon.options import FILE_OPTIONS, OPTIONS, NodeOptions, from_command_line, validate_options
from bender.daemon.protection import Protection
from bender.daemon.protocol_shells import protocol_shells
from bender.daemon.service import NodeService
from bender.daemon.sweeper import Sweeper
from bender.exchange import Exchange
from bender.line_protocol.connection import NO_TLS, EventsFactory
from bender.net.fair_turns import Turns, Urgency
from bender.net.machine_names import machine_names
from bender.net.reactor import Reactor
from bender.net.reactor_lag import ReactorLag
from bender.node.node import Node
from bender.node.sources import Sources
from bender.process.base_options import BaseOptions
from bender.process.lifecycle import refuse_port_in_use
from bender.process.options import from_toml
from bender.process.service_log import ServiceLog
from bender.process.signals import handle_signals
from bender.process.steady_clock import make_steady
from bender.protocols.http import routes_of

#: New connections that a port accepts in one turn of the reactor. Each takes some 60 µs, with the first bytes that the
#: node sends to its client.
ACCEPTED_AT_ONCE_MAX = 100

_log = Logger()


class NodeCommandLine(BaseOptions):
    """The command line of a node."""

    program = "bender"
    file_options = FILE_OPTIONS
    longdesc = "Runs a node of bender, a masterless service registry."
    # No defaults here: an option on the command line wins over the file of --config, so it must be known which options
    # the command line has.
    optParameters = [
        [option, None, None, doc if default is None else f"{doc} [default: {default}]"]
        for option, (default, doc) in OPTIONS.items()
        if option not in ("allow-host", "disable", "insecure", "peers")
    ]
    optFlags = [["insecure", None, OPTIONS["insecure"][1]]]

    validated: NodeOptions

    def opt_peers(self, peers: str) -> None:
        self.setdefault("peers", []).append(peers)

    opt_peers.__doc__ = OPTIONS["peers"][1]

    def opt_disable(self, protocols: str) -> None:
        self.setdefault("disable", []).append(protocols)

    opt_disable.__doc__ = OPTIONS["disable"][1]

    def opt_allow_host(self, names: str) -> None:
        self.setdefault("allow-host", []).append(names)

    opt_allow_host.__doc__ = OPTIONS["allow-host"][1]

    def check_and_describe(self) -> str:
        return ", ".join(f"--{name} {place.description}" for name, place in self.validated.endpoints.items())

    def validate(self) -> NodeOptions:
        """Return the validated options; the file of `--config` is read again. Raises `OptionError`."""
        values = {option: self.get(option) for option in OPTIONS}
        given = {option: from_command_line(option, value) for option, value in values.items() if value not in (None, 0)}
        filed = {} if self["config"] is None else from_toml(self["config"], OPTIONS, self.program)
        host_name = socket.gethostname()
        return validate_options({**filed, **given}, host_name, machine_names(host_name))


#: The name that Twisted looks for.
Options = NodeCommandLine


def makeService(options: NodeCommandLine) -> IService:
    """Return the service that `twistd` and `twist` run."""
    from twisted.internet import reactor  # noqa: PLC0415 - at the top, the import would make --reactor of twistd fail

    log = ServiceLog(options.validated.log_settings)
    log.insert_before(globalLogBeginner)
    make_steady(reactor, _monotonic())
    sources = Sources(
        monotonic=reactor.seconds,  # one clock for the node and for its timers
        wall_ms=lambda: time.time_ns() // 1_000_000,
        incarnation=lambda: secrets.randbits(64),
    )
    descriptors = allow_open_files()
    tcp.Port.numberAccepts = _AcceptedAtOnce()  # type: ignore[assignment]
    for option, endpoint in options.validated.endpoints.items():
        refuse_port_in_use(option, endpoint)
    service, reloader = build_service(options.validated, reactor, sources, descriptors)
    reactor.callWhenRunning(handle_signals, reactor, log, lambda: options.reread(log, reloader.apply))
    reactor.callWhenRunning(log.limit_repeats, reactor)
    return service


def build_service(
    options: NodeOptions, reactor: Reactor, sources: Sources, descriptors: int = UNLIMITED
) -> tuple[NodeService, NodeReloader]:
    """Return a node with its shells as one service, and the object that changes its options while it runs.

    The service opens no port before it starts. `descriptors` is the number of files that the process may open.
    """
    turns = Turns(reactor)
    protection = Protection(options)
    node = _make_node(options, reactor, sources, turns, protection)
    exchange = node.exchange
    assert isinstance(exchange, Exchange)
    node.limits.bind_peer_connections(exchange.places)
    node.limits.show_held("peer_request_bytes", exchange.held)
    routes, hosts = routes_of(node, options.disabled), protection.host_check(options.api)
    clients = api.site(node, reactor, turns, protection.tokens, routes, hosts)
    events = EventsFactory(node, reactor, turns, protection.tokens)
    factories = {
        "api": protection.encrypted(options.api, clients, reactor, api.NO_TLS, node.counters.count_tls_refused),
        "events": protection.encrypted(options.events, events, reactor, NO_TLS, node.counters.count_tls_refused),
    }
    protocols = protocol_shells(options, node, reactor, turns, protection.tokens, protection.host_check)
    certificates = CertificateExpiry(reactor, node, protection, sources.wall_ms)
    shells = {
        "collector": GcTuning(reactor, time.thread_time),
        **{
            name: strports.service(options.endpoints[name].listen_description, factory, reactor=IReactorCore(reactor))
            for name, factory in factories.items()
        },
        **protocols.services,
        "exchange": exchange,
        "expiry": Sweeper(reactor, node, partial(turns.longest_wait_s, Urgency.CHANGE)),
        "lag": ReactorLag(reactor, partial(_note_lag, node, turns)),
        "certificates": certificates,
    }
    _log_start(options)
    fit_connection_limits(descriptors, node.limits, [f"--{name}" for name in options.endpoints if name != "exchange"])
    return NodeService(reactor, node, shells, clients, *protocols.clients), NodeReloader(
        options, node, exchange, protection, certificates.check
    )


def _make_node(options: NodeOptions, reactor: Reactor, sources: Sources, turns: Turns, protection: Protection) -> Node:
    return Node(
        reactor,
        sources,
        name=options.name,
        address=options.address,
        api_port=options.api_port,
        timing=options.timing,
        guard_s=options.guard_s,
        limits=options.limits,
        cluster=options.cluster,
        seeds=options.peers,
        exchange=partial(
            Exchange,
            reactor,
            endpoint=options.exchange.listen_description,
            cluster=options.cluster,
            seeds=options.peers,
            turns=turns,
            tls=protection.peers,
            tls_mode=options.peer_tls_mode,
        ),
    )


def _note_lag(node: Node, turns: Turns, lag_s: float) -> None:
    """Pass the lag of the reactor's timers to the order of work and to the metrics."""
    turns.note_lag(lag_s)
    node.load.note_lag(lag_s)


def _monotonic() -> Callable[[], float]:
    """Return a clock that never jumps. Where the system can, the clock goes on while the machine sleeps."""
    try:
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    except AttributeError:
        return time.monotonic


class _AcceptedAtOnce:
    """Limits the number of connections that a listening port of Twisted accepts in one turn.

    Twisted raises this number without a bound while more clients connect. When ten thousand clients come back to a
    node, one turn then takes 40 ms.
    """

    def __get__(self, port: tcp.Port, owner: type) -> int:
        number: int = vars(port).get("numberAccepts", 1)
        return min(number, ACCEPTED_AT_ONCE_MAX)

    def __set__(self, port: tcp.Port, number: int) -> None:
        vars(port)["numberAccepts"] = number


def _log_start(options: NodeOptions) -> None:
    """Log the node's name and endpoints, and warn of unprotected endpoints that other machines can reach."""
    _log.info(
        "Node {node} of cluster {cluster}: API at {api}, events at {events}, address for peers {address}.",
        node=options.name,
        cluster=options.cluster,
        api=options.api.description,
        events=options.events.description,
        address=options.address,
    )
    others = [name for name in options.endpoints if name not in ("api", "exchange", "events")]
    if others:
        _log.info(
            "Further protocols are served at {endpoints}.",
            endpoints=", ".join(f"--{name} {options.endpoints[name].description}" for name in others),
        )
    if options.one_way_peers:
        _log.warn(
            "{peers} cannot reach this node, because --exchange listens at {address} only: let --exchange listen at an "
            "address of the network, with --peer-tls.",
            peers=", ".join(options.one_way_peers),
            address=options.address,
        )
    for option, endpoint in options.endpoints.items():
        exposure = options.exposure(option)
        if exposure is not None:
            _log.warn(
                "--{option} {endpoint} can be reached from other machines and {exposure}.",
                option=option,
                endpoint=endpoint.description,
                exposure=exposure,
            )
