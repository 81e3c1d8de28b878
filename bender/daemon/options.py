"""The options of a node, converted and checked.

Every mistake in the options is found here, before any part of the node listens or runs.
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
from bender.core.timing import Timing
from bender.core.ttl_limits import TTL_INTERVALS_MIN, TTL_S_MAX, ttl_s_min
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

#: The port of a peer in `--peers` that has none.
EXCHANGE_PORT = 1730

#: A request to a peer times out after one interval, and a busy node may take some tens of milliseconds to answer.
INTERVAL_S_MIN = 0.05

#: Names are part of every message and of many log lines.
NAME_LENGTH_MAX = 255

_DEFAULT_NAME = "--name, which follows from the host name and --api where it is not set,"

#: The option names, with their defaults (None for options without one) and texts in `--help`.
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
    "peers": ((), "HOST[:PORT],… of some peers: the host and port of their --exchange; repeatable"),
    "cluster": ("bender", "NAME of the cluster; peers of other clusters are refused"),
    "name": (None, "NAME of this node in logs and lists [default: HOSTNAME:APIPORT]"),
    "advertise": (None, "HOST at which peers reach this node [default: the host of --exchange, or the host name]"),
    "ttl": (10, "DURATION after which a registration expires without a renewal, if its client sends no ttl"),
    "interval": (1, "DURATION between two exchanges of state with peers; must be the same on all nodes"),
    "guard": (
        0,
        (
            "DURATION for which instances stay listed although the nodes at which they renew are unreachable, if they "
            "are most instances of an app; 0 turns this off"
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

#: The options that name files or folders, which are read again after SIGHUP.
FILE_OPTIONS = ("tls", "peer-tls", "tokens")


@frozen
class _Unprotectable:
    """A listener whose protocol has neither TLS nor tokens, and the program that uses it.

    `permits` is what its clients may do, as a part of a sentence. `unix` is True if it may listen on a Unix socket.
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
    """All options of one node. Each of them is valid, and so is their combination."""

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
    #: The endpoints of other programs' protocols; None for a protocol that is off.
    agent: Endpoint | None = None
    thalassa: Endpoint | None = None
    thalassa_events: Endpoint | None = None
    dns: Endpoint | None = None
    #: The names from `--allow-host` that browsers may use for the node.
    allowed_hosts: tuple[str, ...] = ()
    #: The names of the node and its machine, which browsers may use, too.
    own_names: frozenset[str] = frozenset()

    @property
    def address(self) -> str:
        """The `host:port` at which peers reach the exchange of this node."""
        return host_port(self.advertise, self.exchange.port)

    @property
    def api_port(self) -> int:
        """The port of the API at the advertised host; 0 if clients cannot reach the API there."""
        is_local_only = self.api.is_loopback and not _is_this_machine(self.advertise)
        return 0 if is_local_only else self.api.port

    @property
    def one_way_peers(self) -> list[str]:
        """The peers on other machines, if this node listens for peers on this machine only; else none."""
        if not (self.exchange.is_loopback and _is_this_machine(self.advertise)):
            return []
        return [peer for peer in self.peers if not _is_this_machine(split_host_port(peer)[0])]

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """All endpoints of the node, by option."""
        always = {"api": self.api, "exchange": self.exchange, "events": self.events}
        others = {"agent": self.agent, "thalassa": self.thalassa, THALASSA_EVENTS: self.thalassa_events}
        others["dns"] = self.dns
        return always | {option: endpoint for option, endpoint in others.items() if endpoint is not None}

    def exposure(self, option: str) -> str | None:
        """Return a clause about an unprotected endpoint that other machines can reach, with the remedy; else None."""
        if option in _UNPROTECTABLE and not self.endpoints[option].is_loopback:
            return f"cannot be protected, because {_UNPROTECTABLE[option].program} uses neither TLS nor tokens there"
        missing = self.missing_protection(option)
        return f"is not protected: add {' and '.join(missing)}" if missing else None

    def missing_protection(self, option: str) -> list[str]:
        """Return the options that are missing to protect an endpoint; none if it needs no protection."""
        endpoint = self.endpoints[option]
        if endpoint.is_loopback or option in _UNPROTECTABLE:
            return []
        if option == "exchange":
            if self.peer_tls is None:
                return ["--peer-tls DIR"]
            return [] if self.peer_tls_mode is PeerTlsMode.REQUIRE else ["--peer-tls-mode require"]
        encrypted = self.tls is not None or endpoint.kind == "ssl"
        protections = (("--tls DIR", encrypted), ("--tokens FILE", self.tokens))
        return [setting for setting, is_set in protections if not is_set]


def validate_options(
    given: Mapping[str, RawOption], host_name: str, machine_names: frozenset[str] = frozenset()
) -> NodeOptions:
    """Fill in the defaults, convert all options and check them. Raises `OptionError`.

    `given` has the options that the operator has set. `machine_names` are all names of the machine, such as a name with
    a domain after `host_name`.
    """
    defaults = {option: RawOption(f"--{option}", default) for option, (default, _) in OPTIONS.items()}
    raw_options = {**defaults, **given}
    api, exchange, events = (parse_endpoint(raw_options[option]) for option in ("api", "exchange", "events"))
    if "advertise" in given:
        advertise = _parse_advertise(given["advertise"])
    else:
        advertise = host_name if exchange.is_wildcard or not exchange.interface else exchange.interface
    thalassa = parse_thalassa(given["thalassa"]) if "thalassa" in given else (None, None)
    options = NodeOptions(
        api=api,
        exchange=exchange,
        events=events,
        peers=tuple(_parse_peers(raw_options["peers"])),
        cluster=_parse_name(raw_options["cluster"]),
        name=_parse_name(given.get("name", RawOption(_DEFAULT_NAME, f"{host_name}:{api.path or api.port}"))),
        advertise=advertise,
        timing=Timing(
            interval_s=seconds_of(raw_options["interval"], INTERVAL_S_MIN),
            ttl_s=seconds_of(raw_options["ttl"], 0, TTL_S_MAX),
        ),
        guard_s=seconds_of(raw_options["guard"], 0, GUARD_S_MAX),
        tls=_load_identity(given.get("tls"), authorities=False),
        peer_tls=_load_identity(given.get("peer-tls"), authorities=True),
        peer_tls_mode=_parse_peer_tls_mode(raw_options["peer-tls-mode"]),
        tokens=read_tokens(text_of(given["tokens"])) if "tokens" in given else None,
        limits=parse_limits(raw_options),
        disabled=tuple(sorted({*_parse_protocols(raw_options["disable"])})),
        insecure=flag_of(raw_options["insecure"]),
        log_settings=parse_log_settings(given),
        agent=parse_endpoint(given["agent"]) if "agent" in given else None,
        thalassa=thalassa[0],
        thalassa_events=thalassa[1],
        dns=parse_dns_endpoint(given["dns"]) if "dns" in given else None,
        allowed_hosts=tuple(sorted({*_parse_allowed_hosts(raw_options["allow-host"])})),
        own_names=machine_names | {host_name.lower(), advertise},
    )
    _check_together(options)
    return options


def _check_together(options: NodeOptions) -> None:
    timing = options.timing
    shortest_s = ttl_s_min(timing.interval_s)
    if timing.ttl_s < shortest_s:
        raise OptionError(
            f"--ttl {timing.ttl_s:g} is less than {TTL_INTERVALS_MIN} times --interval {timing.interval_s:g}: "
            f"choose a ttl of {shortest_s:g} or more, or a shorter interval."
        )
    if options.peer_tls is None and options.peer_tls_mode is not PeerTlsMode.REQUIRE:
        raise OptionError(f"--peer-tls-mode {options.peer_tls_mode.value} needs --peer-tls DIR.")
    for (first, endpoint), (second, other) in combinations(options.endpoints.items(), 2):
        if endpoint.overlaps(other):
            raise OptionError(
                f"--{first} {endpoint.description} and --{second} {other.description} use the same address: give each "
                "a port of its own."
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
    """Return the end of the sentence about an exposed endpoint: safe addresses, and what `--insecure` permits."""
    listener = _UNPROTECTABLE.get(option)
    if listener is not None:
        unix = " or a unix: socket" if listener.unix else ""
        return f": choose interface=127.0.0.1{unix}, or add --insecure if every client there may {listener.permits}."
    caller = "peer" if option == "exchange" else "client"
    safe = "choose interface=127.0.0.1 or a unix: socket"
    return f", {safe}, or add --insecure if every {caller} there may do anything."


# Conversions, each of one option. `raw` is its value as the operator has written it.


def _is_this_machine(host: str) -> bool:
    return host == "localhost" or address_is("is_loopback", host)


def _parse_peers(raw: RawOption) -> Iterable[str]:
    """Yield the peers as `host:port`."""
    for text in _texts(raw, "HOST:PORT"):
        host, port = _split(text)
        try:
            yield host_port(canonical_host(host), parse_port(port))
        except Invalid as error:
            raise OptionError(
                f"{raw.source} must be HOST or HOST:PORT, with commas between them, not {text!r}."
            ) from error


def _parse_protocols(raw: RawOption) -> Iterable[str]:
    """Yield the names of the protocols to switch off."""
    for name in _texts(raw, "protocols"):
        if name not in PROTOCOLS:
            hint = did_you_mean(name, PROTOCOLS) or f": choose among {', '.join(PROTOCOLS)}."
            raise OptionError(f"{raw.source} names {name!r}, which is not a protocol of --api{hint}")
        yield name


def _parse_allowed_hosts(raw: RawOption) -> Iterable[str]:
    """Yield the names of hosts, in lower case."""
    for name in _texts(raw, "names"):
        try:
            yield canonical_host(name)
        except Invalid as error:
            raise OptionError(
                f"{raw.source} must be host names, without ports, schemes or wildcards, not {name!r}."
            ) from error


def _texts(raw: RawOption, of: str) -> list[str]:
    """Return the parts of an option that is a list; texts in it may have commas, as on the command line."""
    lists = [raw.value] if isinstance(raw.value, str) else raw.value
    if not isinstance(lists, list | tuple) or not all(isinstance(each, str) for each in lists):
        raise OptionError(f"{raw.source} must be a list of {of}, not {raw.value!r}.")
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


def _parse_advertise(raw: RawOption) -> str:
    text = text_of(raw)
    try:
        host = canonical_host(text)
    except Invalid as error:
        raise OptionError(f"{raw.source} must be a host name or an address, without a port, not {text!r}.") from error
    if address_is("is_unspecified", host):
        raise OptionError(f"{raw.source} must be an address that peers can reach, not {text!r}.")
    return host


def _load_identity(raw: RawOption | None, *, authorities: bool) -> TlsIdentity | None:
    """Return the certificate and key in a directory; None without the option."""
    if raw is None:
        return None
    directory = text_of(raw)
    try:
        identity = load_identity(directory, authorities=authorities)
        if authorities:
            require_signed(identity)
        context_of(identity)  # raises for files that OpenSSL refuses, before the node is built
    except ValueError as error:
        raise OptionError(f"{raw.source}: {error}.") from error
    return identity


def _parse_peer_tls_mode(raw: RawOption) -> PeerTlsMode:
    text = text_of(raw)
    try:
        return PeerTlsMode(text)
    except ValueError:
        raise OptionError(f"{raw.source} must be allow, prefer or require, not {text!r}.") from None


def _parse_name(raw: RawOption) -> str:
    name = text_of(raw)
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise OptionError(f"{raw.source} must be 1 to {NAME_LENGTH_MAX} printable characters, not {name!r}.")
    return name


def from_command_line(option: str, value: Any) -> RawOption:
    """Return an option of the command line, where numbers and flags are text, as it would be in a file."""
    if option in ("ttl", "interval", "guard") or option in LIMIT_OPTIONS:
        with suppress(ValueError):
            value = float(value)
    if option == "insecure":
        value = bool(value)
    return RawOption(f"--{option}", value)
