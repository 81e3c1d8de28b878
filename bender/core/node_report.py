"""What a node reports about itself and the peers that it hears, for programs that show the whole cluster.

Only a node itself knows which peers it hears, so a complete picture takes the reports of all nodes. Nothing is decided
here, and nothing changed.
"""

from __future__ import annotations

import msgspec

from bender.core.diagnosis import heard_s
from bender.core.messages import AGE_S_MAX
from bender.core.peers import Peers, PeerState


class HeardPeer(msgspec.Struct, frozen=True, rename={"lag_s": "lag"}):
    """A peer as a node sees it. `lag_s` is how long ago it was heard, None if it never was."""

    node: str
    address: str
    state: PeerState
    lag_s: float | None


class NodeReport(msgspec.Struct, frozen=True):
    """What a node reports about itself.

    Clients reach it at `api_port`, 0 if they do not. `version` is that of bender. Two nodes with the same `digest` have
    the same state. `registrations` is the number that it lists, and `hears` has its peers that were not replaced.
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
    """A node that sent no report, and why. One that was never found has its address as its name."""

    node: str
    address: str
    problem: str


def heard_peers(peers: Peers, now: float) -> tuple[HeardPeer, ...]:
    """Return the peers as a node sees them at the time `now`, without those that were replaced."""
    seen = ((peer, peers.state(peer, now)) for peer in peers)
    return tuple(
        HeardPeer(peer.name, peer.address, state, _lag_s(heard_s(peer, now)))
        for peer, state in seen
        if state != "replaced"
    )


def _lag_s(lag_s: float | None) -> float | None:
    """Return a lag that other nodes accept."""
    return None if lag_s is None else min(max(lag_s, 0.0), AGE_S_MAX)
