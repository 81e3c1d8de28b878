"""File descriptors: how many a node may have, and for how many connections of clients and peers they are enough.

Each connection takes one. Where there are fewer than the limits of connections need, the limits are lowered, so that
clients are refused with a reason, and what the node needs for its peers and for itself is always there.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from contextlib import suppress

from attrs import frozen
from twisted.logger import Logger

from bender.node.limits import Limits, NodeLimits

#: For files, listening sockets, name resolution, and clients that are sent the reason for which they get no place.
RESERVED_DESCRIPTORS = 400

#: The part of the others that peers may take.
PEERS_SHARE = 0.25

#: Enough for any limit of connections.
UNLIMITED = 1 << 30

_log = Logger()


@frozen
class DescriptorShares:
    """Connections for which there are descriptors: of clients, at each of their ports, and of peers."""

    clients: int
    peers: int

    @classmethod
    def of(cls, limit: int, ports: int) -> DescriptorShares:
        """Return how a number of descriptors is shared, with this number of ports for clients."""
        left = max(8, limit - RESERVED_DESCRIPTORS)
        peers = int(left * PEERS_SHARE)
        return cls((left - peers) // ports, peers)


def allow_open_files() -> int:
    """Raise the limit of open files as far as the system allows, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems say that there is none, and refuse to set it so
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def fit_connection_limits(descriptors: int, limits: NodeLimits, ports: Sequence[str]) -> None:
    """Lower the limits of connections to what the descriptors are enough for, and log that, now and at each change.

    `ports` are the options, at least two, of the ports for clients.
    """
    shares = DescriptorShares.of(descriptors, len(ports))

    def warn(values: Limits) -> None:
        if values.connections > shares.clients:
            _log.warn(
                "The limit of {descriptors} open files is enough for {fit} connections of clients to each of {ports}, "
                "fewer than --max-connections {connections}: raise it (LimitNOFILE= of a systemd unit, ulimit -Hn of a "
                "shell).",
                ports=f"{', '.join(ports[:-1])} and {ports[-1]}",
                descriptors=descriptors,
                fit=shares.clients,
                connections=values.connections,
            )

    limits.fit_connections(shares.clients, shares.peers)
    limits.follow(warn)
