"""Apply a reread configuration to a running node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import evolve

from bender.access.tokens import Token
from bender.daemon.limit_options import format_limits
from bender.daemon.options import NodeOptions
from bender.daemon.thalassa_option import format_thalassa
from bender.node.limits import NodeLimits
from bender.process.signals import RereadResult


class RunningNode(Protocol):
    """The methods of a node that are used here."""

    @property
    def limits(self) -> NodeLimits: ...

    def set_guard_duration(self, guard_s: float) -> None: ...


class RunningExchange(Protocol):
    """The methods of the exchange that are used here."""

    def replace_seeds(self, seeds: Sequence[str]) -> None: ...


class RunningProtection(Protocol):
    """The methods of the protection of endpoints that are used here."""

    def replace(self, options: NodeOptions) -> None: ...


#: The options whose changes take effect at the next start of the node, with functions that format their values.
AT_NEXT_START: dict[str, Callable[[NodeOptions], str]] = {
    "api": lambda options: options.api.description,
    "exchange": lambda options: options.exchange.description,
    "events": lambda options: options.events.description,
    "agent": lambda options: options.agent.description if options.agent else "off",
    "thalassa": lambda options: format_thalassa(options.thalassa, options.thalassa_events),
    "dns": lambda options: options.dns.description if options.dns else "off",
    "cluster": lambda options: options.cluster,
    "name": lambda options: options.name,
    "advertise": lambda options: options.advertise,
    "ttl": lambda options: f"{options.timing.ttl_s:g}",
    "interval": lambda options: f"{options.timing.interval_s:g}",
    "tls": lambda options: "on" if options.tls else "off",
    "disable": lambda options: ",".join(options.disabled) or "nothing",
    "allow-host": lambda options: ",".join(options.allowed_hosts) or "none",
    "peer-tls": lambda options: "on" if options.peer_tls else "off",
    "peer-tls-mode": lambda options: options.peer_tls_mode.value,
}


class NodeReloader:
    """Changes the options of a node that was started with `choices`."""

    def __init__(
        self,
        options: NodeOptions,
        node: RunningNode,
        exchange: RunningExchange,
        protection: RunningProtection,
        check_certificates: Callable[[], None],
    ) -> None:
        self._started_with = options
        self._in_force = options
        self._node = node
        self._exchange = exchange
        self._protection = protection
        self._check_certificates = check_certificates

    def apply(self, reread: NodeOptions) -> RereadResult:
        """Apply the options that can change while the node runs, and return these changes and all other differences."""
        at_next_start = self._differences_at_next_start(reread)
        before, now = self._in_force, _with_running_protection(self._in_force, reread)
        self._in_force = now
        self._protection.replace(now)
        self._check_certificates()
        changed = [
            *self._apply_peers(before, now),
            *self._apply_guard(before, now),
            *self._apply_limits(before, now),
        ]
        return RereadResult([*changed, *_protection_changes(before, now)], at_next_start)

    def _apply_peers(self, before: NodeOptions, after: NodeOptions) -> Sequence[str]:
        added = [peer for peer in after.peers if peer not in before.peers]
        removed = [peer for peer in before.peers if peer not in after.peers]
        if not (added or removed):
            return ()
        self._exchange.replace_seeds(after.peers)
        return [
            f"--peers: {', '.join(peers)} {what}" for peers, what in ((added, "added"), (removed, "removed")) if peers
        ]

    def _apply_guard(self, before: NodeOptions, after: NodeOptions) -> Sequence[str]:
        if after.guard_s == before.guard_s:
            return ()
        self._node.set_guard_duration(after.guard_s)
        return [f"--guard: {after.guard_s:g} instead of {before.guard_s:g}"]

    def _apply_limits(self, before: NodeOptions, after: NodeOptions) -> Sequence[str]:
        if after.limits == before.limits:
            return ()
        self._node.limits.change(after.limits)
        old = format_limits(before.limits)
        new = format_limits(after.limits)
        return [f"--{option}: {new[option]} instead of {old[option]}" for option in new if new[option] != old[option]]

    def _differences_at_next_start(self, reread: NodeOptions) -> Sequence[str]:
        """Return the options that differ from those at the start, also if an earlier reread has returned them."""
        pairs = {
            option: (format_value(self._started_with), format_value(reread))
            for option, format_value in AT_NEXT_START.items()
        }
        if self._in_force.tokens is not None and reread.tokens is None:
            pairs["tokens"] = ("on", "off")
        return [f"--{option} {new} instead of {old}" for option, (old, new) in pairs.items() if new != old]


def _with_running_protection(before: NodeOptions, reread: NodeOptions) -> NodeOptions:
    """Return the reread options, with the protection that a running node can have.

    TLS stays on or off, and tokens stay required: the running endpoints may be open to other machines, although those
    in `reread` are not.
    """
    return evolve(
        reread,
        tls=before.tls and (reread.tls or before.tls),
        peer_tls=before.peer_tls and (reread.peer_tls or before.peer_tls),
        tokens=before.tokens if reread.tokens is None else reread.tokens,
    )


def _protection_changes(before: NodeOptions, after: NodeOptions) -> Sequence[str]:
    """Return the changes of tokens and certificates as clauses, without a secret."""
    changes = [*_token_changes(before.tokens, after.tokens)]
    for option, old, new in (("tls", before.tls, after.tls), ("peer-tls", before.peer_tls, after.peer_tls)):
        if old is not None and new is not None and old != new:
            changes.append(
                f"--{option}: the certificate that is valid until {new.expires_at:%Y-%m-%d} is used from now on"
            )
    return changes


def _token_changes(before: Sequence[Token] | None, after: Sequence[Token] | None) -> Sequence[str]:
    if after is None:
        return ()
    if before is None:
        return ["--tokens: tokens are required from now on"]
    old, new = ({token.name: token for token in tokens} for tokens in (before, after))
    kinds = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name, token in new.items() if name in old and token != old[name]],
    }
    return [f"--tokens: {', '.join(names)} {what}" for what, names in kinds.items() if names]
