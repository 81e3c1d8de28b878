"""File descriptors: how many a node may have, and how many connections of clients and peers they permit.

Each connection takes one descriptor. If the limits of connections need more descriptors than the node has, the limits
are lowered. So clients are refused with a reason, and descriptors for peers and for the node itself are always left.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from contextlib import suppress

from attrs import frozen
from twisted.logger import Logger

from bender.node.limits import Limits, NodeLimits

#: Descriptors for files, listening sockets, name resolution, and connections of clients that are being refused.
RESERVED_DESCRIPTORS = 400

#: The share of the other descriptors that peers may take.
PEERS_SHARE = 0.25

#: A number of descriptors that is enough for any limit of connections.
UNLIMITED = 1 << 30

_log = Logger()


@frozen
class DescriptorShares:
    """The numbers of connections for which there are descriptors: of clients at each of their ports, and of peers."""

    clients: int
    peers: int

    @classmethod
    def of(cls, limit: int, ports: int) -> DescriptorShares:
        """Divide `limit` descriptors among peers and `ports` ports for clients."""
        shared = max(8, limit - RESERVED_DESCRIPTORS)
        peers = int(shared * PEERS_SHARE)
        return cls((shared - peers) // ports, peers)


def allow_open_files() -> int:
    """Raise the limit of open files as far as the system allows, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems report an infinite hard limit, and refuse to set it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def fit_connection_limits(descriptors: int, limits: NodeLimits, ports: Sequence[str]) -> None:
    """Lower the limits of connections to the number that the descriptors permit, now and at each change of the limits.

    A warning is logged if the limits are too high. `ports` are the options of the ports for clients, at least two.
    """
    shares = DescriptorShares.of(descriptors, len(ports))

    def warn(values: Limits) -> None:
        if values.connections > shares.clients:
            _log.warn(
                "The limit of open files ({descriptors}) is too low for --max-connections {connections}: it allows "
                "only {fit} connections to each of {ports}. Raise the limit of open files (LimitNOFILE= of a systemd "
                "unit, ulimit -Hn of a shell), or lower --max-connections.",
                ports=f"{', '.join(ports[:-1])} and {ports[-1]}",
                descriptors=descriptors,
                fit=shares.clients,
                connections=values.connections,
            )

    limits.fit_connections(shares.clients, shares.peers)
    limits.follow(warn)
