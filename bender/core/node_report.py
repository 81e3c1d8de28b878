"""What a node reports about itself and the peers that it hears, for programs that show the whole cluster.

Only a node itself knows which peers it hears, so a complete picture needs the reports of all nodes. This module
decides nothing and changes nothing.
"""

from __future__ import annotations

import msgspec

from bender.core.diagnosis import heard_s
from bender.core.messages import AGE_S_MAX
from bender.core.peers import Peers, PeerState


class HeardPeer(msgspec.Struct, frozen=True, rename={"lag_s": "lag"}):
    """A peer as a node sees it. `lag_s` is the time since the peer was last heard, None if it never was."""

    node: str
    address: str
    state: PeerState
    lag_s: float | None


class NodeReport(msgspec.Struct, frozen=True):
    """What a node reports about itself.

    `api_port` is the port for clients at the node's host, 0 if clients on other machines cannot reach it. `version`
    is the release of bender. Two nodes with the same `digest` have the same state. `registrations` is the number of
    registrations that the node lists, and `hears` has its peers that were not replaced.
    """

    incarnation: int
    name: str
    address: str
    api_port: int
    version: str
    ready: bool
    uptime_s: float
    digest: int
    registrations: int
    hears: tuple[HeardPeer, ...]


class NoNodeReport(msgspec.Struct, frozen=True):
    """A node that sent no report, and the reason.

    If the node was never found, `node` is its address.
    """

    node: str
    address: str
    problem: str


def heard_peers(peers: Peers, now: float) -> tuple[HeardPeer, ...]:
    """Return the peers as a node sees them at the time `now`, without the replaced ones."""
    seen = ((peer, peers.state(peer, now)) for peer in peers)
    return tuple(
        HeardPeer(peer.name, peer.address, state, _lag_s(heard_s(peer, now)))
        for peer, state in seen
        if state != "replaced"
    )


def _lag_s(lag_s: float | None) -> float | None:
    """Return a lag within the limits that other nodes accept; None for None."""
    return None if lag_s is None else min(max(lag_s, 0.0), AGE_S_MAX)
