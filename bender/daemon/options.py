"""The options of a node, converted and checked.

All mistakes in them are found here, before anything listens or runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import combinations
from typing import Any

from attrs import frozen

from bender.access.tokens import Token
from bender.core.did_you_mean import did_you_mean
from bender.core.hosts import canonical_host, parse_port
from bender.core.invalid import Invalid
from bender.core.node_loss_guard import GUARD_S_MAX
from bender.core.timing import TTL_INTERVALS_MIN, TTL_S_MAX, Timing
from bender.daemon.limit_options import LIMIT_OPTIONS, parse_limits
from bender.daemon.thalassa_option import THALASSA_EVENTS, parse_thalassa
from bender.daemon.token_file import read_tokens
from bender.net.addresses import host_port, split_host_port
from bender.node.limits import Limits
from bender.process.log_options import LOG_OPTIONS, LogSettings, parse_log_settings
from bender.process.number_options import seconds_of
from bender.process.options import (
    Endpoint,
    OptionError,
    RawOption,
    address_is,
    flag_of,
    parse_dns_endpoint,
    parse_endpoint,
    text_of,
)
from bender.protocols.http import PROTOCOLS
from bender.tls.connections import PeerTlsMode, context_of
from bender.tls.identity import TlsIdentity, load_identity, require_signed

#: The port of peers that were named without one.
EXCHANGE_PORT = 1730

#: A request to a peer has one interval's time, and a busy node may need some tens of milliseconds of it.
INTERVAL_S_MIN = 0.05

#: Names are part of every message and of many log lines.
NAME_LENGTH_MAX = 255

_DEFAULT_NAME = "--name, which follows from the host name and --api where it is not set,"

#: The option names, the defaults of all that have one, and their texts in `--help`.
OPTIONS: Mapping[str, tuple[Any, str]] = {
    "api": ("tcp:1729:interface=127.0.0.1", "ENDPOINT of the HTTP API"),
    "exchange": (
        f"tcp:{EXCHANGE_PORT}:interface=127.0.0.1",
        "ENDPOINT at which the nodes of a cluster (peers) exchange state",
    ),
    "events": ("tcp:1731:interface=127.0.0.1", "ENDPOINT of the line protocol: events, one JSON object per line"),
    "agent": (None, "ENDPOINT that HAProxy's agent-check asks for the state of servers; off without this option"),
    "thalassa": (
        None,
        (
            "HTTP_PORT[:EVENTS_PORT][:interface=ADDRESS] for clients of the older registry Thalassa, at 127.0.0.1 "
            "unless interface= is given; off without this option"
        ),
    ),
    "peers": ((), "HOST[:PORT],… exchange addresses of some peers; repeatable"),
    "cluster": ("bender", "NAME of the cluster; peers of other clusters are refused"),
    "name": (None, "NAME of this node in logs and lists [default: HOSTNAME:APIPORT]"),
    "advertise": (None, "HOST at which peers reach this node [default: the host of --exchange, or the host name]"),
    "ttl": (10, "DURATION after which a registration expires without a renewal, if its client sends no ttl"),
    "interval": (1, "DURATION between two exchanges of state with peers; must be the same on all nodes"),
    "guard": (
        0,
        (
            "DURATION for which instances stay listed if unreachable nodes would make most instances of an app "
            "disappear; 0 turns this off"
        ),
    ),
    "tls": (None, "DIR with cert.pem and key.pem; clients then use TLS at --api and --events"),
    "peer-tls": (None, "DIR with ca.pem, cert.pem and key.pem; peers then use TLS, with certificates of that CA alone"),
    "peer-tls-mode": ("require", "MODE: require (peers use only TLS); allow or prefer while you move a cluster to TLS"),
    "tokens": (None, "FILE (TOML) with the tokens of clients, and what each permits"),
    "allow-host": (
        (),
        (
            "NAME,… accepted in the Host header of requests to --api and --thalassa, in addition to the names of this "
            "machine; repeatable"
        ),
    ),
    **LIMIT_OPTIONS,
    "dns": (
        None,
        (
            "PORT[:interface=ADDRESS] of DNS over UDP and TCP, at 127.0.0.1 unless interface= is given; off without "
            "this option"
        ),
    ),
    **LOG_OPTIONS,
    "disable": ((), f"PROTOCOL,… that --api does not serve (possible: {', '.join(PROTOCOLS)}); repeatable"),
    "insecure": (False, "allow endpoints that other machines can reach and that are not protected"),
}

#: The options that name files which are read again after SIGHUP.
FILE_OPTIONS = ("tls", "peer-tls", "tokens")


@frozen
class _Unprotectable:
    """A listener whose protocol has neither TLS nor tokens, and the program that uses it.

    `permits` is what its clients may do. Without `unix` it is named by ports, and cannot be a Unix socket.
    """

    program: str
    permits: str = "read all registrations"
    unix: bool = False


_UNPROTECTABLE = {
    "agent": _Unprotectable("HAProxy", permits="ask for the state and weight of an instance", unix=True),
    "thalassa": _Unprotectable("Thalassa's client", permits="do anything"),
    THALASSA_EVENTS: _Unprotectable("Thalassa's client"),
    "dns": _Unprotectable("a client of DNS"),
}


@frozen
class NodeOptions:
    """All options of one node, each fit for itself and together with the others."""

    api: Endpoint
    exchange: Endpoint
    events: Endpoint
    peers: tuple[str, ...]
    cluster: str
    name: str
    advertise: str
    timing: Timing
    guard_s: float
    tls: TlsIdentity | None
    peer_tls: TlsIdentity | None
    peer_tls_mode: PeerTlsMode
    tokens: tuple[Token, ...] | None
    limits: Limits
    disabled: tuple[str, ...]
    insecure: bool
    log_settings: LogSettings
    #: Where the protocols of other programs are listened for; None where they are off.
    agent: Endpoint | None = None
    thalassa: Endpoint | None = None
    thalassa_events: Endpoint | None = None
    dns: Endpoint | None = None
    #: The names that browsers may use, beside those of the node and its machine, which are `own_names`.
    allowed_hosts: tuple[str, ...] = ()
    own_names: frozenset[str] = frozenset()

    @property
    def address(self) -> str:
        """Return the `host:port` at which peers reach the exchange of this node."""
        return host_port(self.advertise, self.exchange.port)

    @property
    def api_port(self) -> int:
        """Return the port of the API at the advertised host; 0 if clients cannot reach it there."""
        alone = self.api.is_loopback and not _is_this_machine(self.advertise)
        return 0 if alone else self.api.port

    @property
    def one_way_peers(self) -> list[str]:
        """Return the peers on other machines, if none of these can reach this node."""
        if not (self.exchange.is_loopback and _is_this_machine(self.advertise)):
            return []
        return [peer for peer in self.peers if not _is_this_machine(split_host_port(peer)[0])]

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        always = {"api": self.api, "exchange": self.exchange, "events": self.events}
        others = {"agent": self.agent, "thalassa": self.thalassa, THALASSA_EVENTS: self.thalassa_events}
        others["dns"] = self.dns
        return always | {name: place for name, place in others.items() if place is not None}

    def exposure(self, option: str) -> str | None:
        """Return what is wrong with an endpoint that other machines can reach, and its remedy; None if nothing is."""
        if option in _UNPROTECTABLE and not self.endpoints[option].is_loopback:
            return f"cannot be protected, because {_UNPROTECTABLE[option].program} uses neither TLS nor tokens there"
        missing = self.unprotected(option)
        return f"is not protected: add {' and '.join(missing)}" if missing else None

    def unprotected(self, option: str) -> list[str]:
        """Return the options that would protect an endpoint and are missing; none if it needs no protection."""
        endpoint = self.endpoints[option]
        if endpoint.is_loopback or option in _UNPROTECTABLE:
            return []
        if option == "exchange":
            if self.peer_tls is None:
                return ["--peer-tls DIR"]
            return [] if self.peer_tls_mode is PeerTlsMode.REQUIRE else ["--peer-tls-mode require"]
        encrypted = self.tls is not None or endpoint.kind == "ssl"
        return [each for each, given in (("--tls DIR", encrypted), ("--tokens FILE", self.tokens)) if not given]


def validate_options(
    given: Mapping[str, RawOption], host_name: str, machine_names: frozenset[str] = frozenset()
) -> NodeOptions:
    """Fill in the defaults, convert and check. Raises `OptionError`.

    `machine_names` are all names of the machine, also those of which `host_name` is a part.
    """
    unsaid = {option: RawOption(f"--{option}", default) for option, (default, _) in OPTIONS.items()}
    chosen = {**unsaid, **given}
    api, exchange, events = (parse_endpoint(chosen[option]) for option in ("api", "exchange", "events"))
    if "advertise" in given:
        advertise = _advertised(given["advertise"])
    else:
        advertise = host_name if exchange.is_wildcard or not exchange.interface else exchange.interface
    thalassa = parse_thalassa(given["thalassa"]) if "thalassa" in given else (None, None)
    options = NodeOptions(
        api=api,
        exchange=exchange,
        events=events,
        peers=tuple(_peers(chosen["peers"])),
        cluster=_name(chosen["cluster"]),
        name=_name(given.get("name", RawOption(_DEFAULT_NAME, f"{host_name}:{api.path or api.port}"))),
        advertise=advertise,
        timing=Timing(
            interval_s=seconds_of(chosen["interval"], INTERVAL_S_MIN), ttl_s=seconds_of(chosen["ttl"], 0, TTL_S_MAX)
        ),
        guard_s=seconds_of(chosen["guard"], 0, GUARD_S_MAX),
        tls=_identity(given.get("tls"), authorities=False),
        peer_tls=_identity(given.get("peer-tls"), authorities=True),
        peer_tls_mode=_peer_tls_mode(chosen["peer-tls-mode"]),
        tokens=read_tokens(text_of(given["tokens"])) if "tokens" in given else None,
        limits=parse_limits(chosen),
        disabled=tuple(sorted({*_protocols(chosen["disable"])})),
        insecure=flag_of(chosen["insecure"]),
        log_settings=parse_log_settings(given),
        agent=parse_endpoint(given["agent"]) if "agent" in given else None,
        thalassa=thalassa[0],
        thalassa_events=thalassa[1],
        dns=parse_dns_endpoint(given["dns"]) if "dns" in given else None,
        allowed_hosts=tuple(sorted({*_allowed_hosts(chosen["allow-host"])})),
        own_names=machine_names | {host_name.lower(), advertise},
    )
    _check_together(options)
    return options


def _check_together(options: NodeOptions) -> None:
    timing = options.timing
    ttl_s_min = TTL_INTERVALS_MIN * timing.interval_s
    if timing.ttl_s < ttl_s_min:
        raise OptionError(
            f"--ttl {timing.ttl_s:g} is less than {TTL_INTERVALS_MIN} times --interval {timing.interval_s:g}: "
            f"choose a ttl of {ttl_s_min:g} or more, or a shorter interval."
        )
    if options.peer_tls is None and options.peer_tls_mode is not PeerTlsMode.REQUIRE:
        raise OptionError(f"--peer-tls-mode {options.peer_tls_mode.value} needs --peer-tls DIR.")
    for (one, place), (other, taken) in combinations(options.endpoints.items(), 2):
        if place.overlaps(taken):
            raise OptionError(
                f"--{one} {place.description} and --{other} {taken.description} use the same address: give each a "
                "port of its own."
            )
    for option, endpoint in options.endpoints.items():
        exposure = options.exposure(option)
        if exposure is not None and not options.insecure:
            raise OptionError(
                f"--{option} {endpoint.description} can be reached from other machines and {exposure}"
                f"{_other_remedies(option)}"
            )
    if options.exchange.kind == "ssl":
        raise OptionError(
            f"--exchange {options.exchange.description} does not check the certificates of peers: choose tcp:PORT with "
            "--peer-tls DIR."
        )
    if options.peers and not options.exchange.port:
        raise OptionError(
            f"Peers cannot reach this node at --exchange {options.exchange.description}: they need a fixed TCP port. "
            "Choose tcp:PORT:interface=ADDRESS, or leave out --peers."
        )


def _other_remedies(option: str) -> str:
    """Return how the sentence about an exposed endpoint ends: with safe addresses, and what `--insecure` permits."""
    listener = _UNPROTECTABLE.get(option)
    if listener is not None:
        unix = " or a unix: socket" if listener.unix else ""
        return f": choose interface=127.0.0.1{unix}, or add --insecure if every client there may {listener.permits}."
    who = "peer" if option == "exchange" else "client"
    safe = "choose interface=127.0.0.1 or a unix: socket"
    return f", {safe}, or add --insecure if every {who} there may do anything."


# Conversions, each of one given value.


def _is_this_machine(host: str) -> bool:
    return host == "localhost" or address_is("is_loopback", host)


def _peers(given: RawOption) -> Iterable[str]:
    """Yield the peers as `host:port`."""
    for text in _texts(given, "HOST:PORT"):
        host, port = _split(text)
        try:
            yield host_port(canonical_host(host), parse_port(port))
        except Invalid as error:
            raise OptionError(
                f"{given.source} must be HOST or HOST:PORT, with commas between them, not {text!r}."
            ) from error


def _protocols(given: RawOption) -> Iterable[str]:
    """Yield the names of the protocols to switch off."""
    for name in _texts(given, "protocols"):
        if name not in PROTOCOLS:
            hint = did_you_mean(name, PROTOCOLS) or f": choose among {', '.join(PROTOCOLS)}."
            raise OptionError(f"{given.source} names {name!r}, which is not a protocol of --api{hint}")
        yield name


def _allowed_hosts(given: RawOption) -> Iterable[str]:
    """Yield the names in lower case."""
    for name in _texts(given, "names"):
        try:
            yield canonical_host(name)
        except Invalid as error:
            raise OptionError(
                f"{given.source} must be host names, without ports, schemes or wildcards, not {name!r}."
            ) from error


def _texts(given: RawOption, of: str) -> list[str]:
    """Return the parts of an option that is a list, on the command line with commas in it."""
    lists = [given.value] if isinstance(given.value, str) else given.value
    if not isinstance(lists, list | tuple) or not all(isinstance(each, str) for each in lists):
        raise OptionError(f"{given.source} must be a list of {of}, not {given.value!r}.")
    return [part.strip() for each in lists for part in each.split(",")]


def _split(text: str) -> tuple[str, str]:
    """Split `HOST[:PORT]`. An IPv6 address without a port needs no brackets."""
    bracketed = re.fullmatch(r"\[(.*:.*)\](?::(.*))?", text)
    if bracketed:
        host, port = bracketed.groups()
    elif text.count(":") == 1:
        host, port = text.split(":")
    else:
        host, port = text, None
    return host, str(EXCHANGE_PORT) if port is None else port


def _advertised(given: RawOption) -> str:
    text = text_of(given)
    try:
        host = canonical_host(text)
    except Invalid as error:
        raise OptionError(f"{given.source} must be a host name or an address, without a port, not {text!r}.") from error
    if address_is("is_unspecified", host):
        raise OptionError(f"{given.source} must be an address that peers can reach, not {text!r}.")
    return host


def _identity(given: RawOption | None, *, authorities: bool) -> TlsIdentity | None:
    """Return the certificate and key in a directory; None without the option."""
    if given is None:
        return None
    directory = text_of(given)
    try:
        identity = load_identity(directory, authorities=authorities)
        if authorities:
            require_signed(identity)
        context_of(identity)  # which is refused here, and not when the node is put together
    except ValueError as error:
        raise OptionError(f"{given.source}: {error}.") from error
    return identity


def _peer_tls_mode(given: RawOption) -> PeerTlsMode:
    text = text_of(given)
    try:
        return PeerTlsMode(text)
    except ValueError:
        raise OptionError(f"{given.source} must be allow, prefer or require, not {text!r}.") from None


def _name(given: RawOption) -> str:
    name = text_of(given)
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise OptionError(f"{given.source} must be 1 to {NAME_LENGTH_MAX} printable characters, not {name!r}.")
    return name


# Where values come from.


def from_command_line(option: str, value: Any) -> RawOption:
    """Everything is text there, also numbers."""
    if option in ("ttl", "interval", "guard") or option in LIMIT_OPTIONS:
        with suppress(ValueError):
            value = float(value)
    if option == "insecure":
        value = bool(value)
    return RawOption(f"--{option}", value)
