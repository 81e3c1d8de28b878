"""The state of a node, its peers and their problems for `GET /status`, and the report for other nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bender import __version__
from bender.core import consumers
from bender.core.diagnosis import heard_s
from bender.core.messages import AGE_S_MAX, Sender
from bender.core.node_report import NodeReport, heard_peers
from bender.core.peers import Peer
from bender.node.cluster_log import (
    addresses_by_shared_name,
    conflict_problems,
    nodes_by_shared_address,
    shared_address_problem,
    shared_name_problem,
)
from bender.node.limits import LimitUse

if TYPE_CHECKING:
    from bender.node.node import Node


def node_status(node: Node, now: float) -> dict[str, Any]:
    """Return the answer to `GET /status` at a time of the node's clock; durations are in seconds."""
    replica = node.replica
    return {
        "node": node.name,
        "version": __version__,
        "incarnation": f"{replica.identity.incarnation:016x}",
        "address": replica.identity.address,
        "api": api_address(replica.identity),
        "cluster": node.cluster,
        "ready": node.ready,
        "uptime": round(now - node.started_at, 3),
        "interval": node.timing.interval_s,
        "ttl": node.timing.ttl_s,
        "guard": replica.guard_s,
        "digest": f"{replica.digest():016x}",
        "counts": {
            "registrations": replica.view.count,
            "backends": len(replica.settings("backend")),
            "frontends": len(replica.settings("frontend")),
            "claims": replica.entry_count,
            "held": replica.own_entry_count,
            "watchers": node.journal.listeners,
        },
        "limits": {name: use.as_fields() for name, use in limit_uses(node).items()},
        "since_start": node.counters.as_fields(),
        "peers": [
            _peer_status(node, peer, now) for peer in replica.peers if replica.peers.state(peer, now) != "replaced"
        ],
        "problems": {about: text for found in _problems(node, now).values() for about, text in found.items()},
        "left_out": {protocol: count() for protocol, count in node.limits.left_out.items()},
        "unanswered": replica.unanswered_seeds(),
        "guarded": node.guarded_apps(),
        "certificates": {option: {"expires": expires_ms} for option, expires_ms in node.certificates.items()},
    }


def own_report(node: Node, now: float) -> NodeReport:
    """Return the report of a node about itself for other nodes, at a time of its clock."""
    replica = node.replica
    me = replica.identity
    return NodeReport(
        me.incarnation,
        me.name,
        me.address,
        me.api_port,
        version=__version__,
        ready=node.ready_at(now),
        uptime_s=min(round(now - node.started_at, 3), AGE_S_MAX),
        digest=replica.digest(),
        registrations=replica.view.count,
        hears=heard_peers(replica.peers, now),
    )


def limit_uses(node: Node) -> dict[str, LimitUse]:
    """Return the use of all limits by name, sorted by name."""
    uses = {
        "entry": node.limits.use_of_entry(),
        "rate": node.limits.use_of_rate(),
        "registrations": node.limits.use_of_registrations(node.replica.own_entry_count),
    }
    return dict(sorted((uses | {name: use() for name, use in node.limits.uses.items()}).items()))


def _problems(node: Node, now: float) -> dict[str, dict[str, str]]:
    """Return the problems of each kind, each under the name of its subject, such as a peer's address."""
    addresses = nodes_by_shared_address(node.replica, now).items()
    names = addresses_by_shared_name(node.replica, now).items()
    programs = node.shared_consumers().items()
    return {
        **node.peer_problems,
        "certificate": node.certificate_problems,
        "node-address": {address: shared_address_problem(names) for address, names in addresses},
        "node-name": {f"node/{name}": shared_name_problem(addresses) for name, addresses in names},
        "consumer-name": {
            f"consumer/{name}": consumers.same_name_problem(name, instances) for name, instances in programs
        },
        "registration-address": conflict_problems(node.conflicts),
        "invalid-peer": node.replica.invalid_input(now),
    }


def problems_by_kind(node: Node) -> dict[str, int]:
    """Return the number of present problems by kind; a kind without problems has 0."""
    counts = {kind: len(found) for kind, found in _problems(node, node.now()).items()}
    # `/status` does not name every address conflict.
    return dict(sorted((counts | {"registration-address": len(node.conflicts.current)}).items()))


def _peer_status(node: Node, peer: Peer, now: float) -> dict[str, Any]:
    return {
        "node": peer.name,
        "address": peer.address,
        "api": api_address(peer),
        "incarnation": f"{peer.incarnation:016x}",
        "state": node.replica.peers.state(peer, now),
        "lag": heard_s(peer, now),
    }


def api_address(node: Sender | Peer | NodeReport) -> str | None:
    """Return the `host:port` where clients on other hosts reach a node; None if they cannot."""
    host, _, _ = node.address.rpartition(":")
    return f"{host}:{node.api_port}" if node.api_port else None
