"""Applies a configuration that was reread to a node that runs."""

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

    def replace(self, chosen: NodeOptions) -> None: ...


#: The options that a node takes over at its next start, as strings for people.
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
        self._now = options
        self._node = node
        self._exchange = exchange
        self._protection = protection
        self._check_certificates = check_certificates

    def apply(self, chosen: NodeOptions) -> RereadResult:
        """Apply the options that can change while the node runs, and name the others that differ."""
        later = [*self._later(chosen)]
        before, now = self._now, _in_force(self._now, chosen)
        self._now = now
        self._protection.replace(now)
        self._check_certificates()
        changed = [
            *self._apply_peers(before, now),
            *self._apply_guard(before, now),
            *self._apply_limits(before, now),
        ]
        return RereadResult([*changed, *_protection_changes(before, now)], later)

    def _apply_peers(self, before: NodeOptions, chosen: NodeOptions) -> Sequence[str]:
        added = [peer for peer in chosen.peers if peer not in before.peers]
        removed = [peer for peer in before.peers if peer not in chosen.peers]
        if not (added or removed):
            return ()
        self._exchange.replace_seeds(chosen.peers)
        return [
            f"--peers: {', '.join(peers)} {what}" for peers, what in ((added, "added"), (removed, "removed")) if peers
        ]

    def _apply_guard(self, before: NodeOptions, chosen: NodeOptions) -> Sequence[str]:
        if chosen.guard_s == before.guard_s:
            return ()
        self._node.set_guard_duration(chosen.guard_s)
        return [f"--guard: {chosen.guard_s:g} instead of {before.guard_s:g}"]

    def _apply_limits(self, before: NodeOptions, chosen: NodeOptions) -> Sequence[str]:
        if chosen.limits == before.limits:
            return ()
        self._node.limits.change(chosen.limits)
        old = format_limits(before.limits)
        new = format_limits(chosen.limits)
        return [f"--{option}: {new[option]} instead of {old[option]}" for option in new if new[option] != old[option]]

    def _later(self, chosen: NodeOptions) -> Sequence[str]:
        """Yield what differs from the start, also where an earlier reread has logged it."""
        pairs = {option: (of(self._started_with), of(chosen)) for option, of in AT_NEXT_START.items()}
        if self._now.tokens is not None and chosen.tokens is None:
            pairs["tokens"] = ("on", "off")
        return [f"--{option} {new} instead of {old}" for option, (old, new) in pairs.items() if new != old]


def _in_force(before: NodeOptions, chosen: NodeOptions) -> NodeOptions:
    """Return the options with the protection that a running node can have: TLS stays on or off.

    Tokens stay required, too. The endpoints that were started may be open to other machines, whatever `chosen` has.
    """
    return evolve(
        chosen,
        tls=before.tls and (chosen.tls or before.tls),
        peer_tls=before.peer_tls and (chosen.peer_tls or before.peer_tls),
        tokens=before.tokens if chosen.tokens is None else chosen.tokens,
    )


def _protection_changes(before: NodeOptions, chosen: NodeOptions) -> Sequence[str]:
    """Return what differs in tokens and certificates, without a secret."""
    changes = [*_token_changes(before.tokens, chosen.tokens)]
    for option, old, new in (("tls", before.tls, chosen.tls), ("peer-tls", before.peer_tls, chosen.peer_tls)):
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
