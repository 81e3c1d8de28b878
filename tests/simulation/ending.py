"""The checks at the end of a run: nodes are equal after two rounds, and keep nothing that no node needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bender.core.ledger import Claim, End, Ledger
from bender.core.view import sorted_claims
from tests.simulation.oracle.history import History, kept_settings, knows_all
from tests.simulation.records import FORGOTTEN_S

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster, Node


def check_equal(cluster: Cluster) -> None:
    """Check P1 and P7 two rounds after the last heal, when clients send no more commands.

    Claims may still lapse, so unequal nodes get a moment more.
    """
    # A node that continues as a new incarnation may wait longer than that for a seed that has ended: P8 has the
    # limit.
    nodes = [node for node in cluster.nodes.values() if node.serving and not cluster.oracle.may_be_away(node.life)]
    lives = [node.life for node in nodes]
    nodes = [node for node in nodes if knows_all(node.life, lives) and not node.lacks_pages()]
    for _ in range(20):
        if cluster.history.broken:
            return
        if len({_state(node, cluster.history, _remembered(cluster)) for node in nodes}) <= 1:
            break
        cluster.run_for(0.05 * cluster.interval_s)
    else:
        cluster.history.fail("P1", "nodes are unlike two rounds after a heal")
    _check_kept(cluster, nodes)


def _remembered(cluster: Cluster) -> set[int]:
    """Return the incarnations that no node has any reason to forget yet."""
    return {life.incarnation for life in cluster.history.lives if cluster.now - life.beats[-1] < FORGOTTEN_S}


def _state(node: Node, history: History, remembered: set[int]) -> tuple[object, ...]:
    replica = node.replica
    ledgers = replica.claims.ledgers
    return (
        replica.is_ready,
        tuple(sorted((i, ledger.version) for i, ledger in ledgers.items() if ledger.version and i in remembered)),
        # Another node may have hidden an instance that is suspect here, or may never have listed it.
        tuple(
            claim.body
            for group in replica.view.groups()
            for claim in sorted_claims(group)
            if not replica.view.status(claim.key).suspect
        ),
        tuple(replica.settings("backend")),
        tuple(replica.settings("frontend")),
        tuple(filter(None, map(history.remembered, map(replica.history, sorted(replica.configuration))))),
    )


def _check_kept(cluster: Cluster, nodes: list[Node]) -> None:
    """Check that all running nodes have all writes that one of them knows, as far as there is room."""
    history = cluster.history
    known = frozenset[int]().union(*(node.life.settings for node in nodes))
    for node in nodes:
        for key in {history.writes[number].key for number in known}:
            kept = node.setting_history(key)
            of_key = (history.writes[number] for number in known if history.writes[number].key == key)
            writes = history.remembered(of_key)
            if [*kept] != kept_settings([*writes, *kept]):
                history.fail("P7", f"{node.life} lacks settings of {key} in the end")


def check_memory(cluster: Cluster) -> None:
    """Check that long after the last renewal no running node keeps anything of any registration."""
    for node in cluster.nodes.values():
        if node.serving and not cluster.history.broken and any(_left(cluster, node).values()):
            cluster.history.fail("memory", f"{node.life} keeps {_left(cluster, node)}")


def keeps(cluster: Cluster) -> bool:
    """Return True if a running node still keeps something and no promise was broken."""
    living = (node for node in cluster.nodes.values() if node.serving)
    return not cluster.history.broken and any(any(_left(cluster, node).values()) for node in living)


def _left(cluster: Cluster, node: Node) -> dict[str, int]:
    """Return the numbers of the objects of each kind that a node keeps."""
    claims, view = node.replica.claims, node.replica.view
    # An end stays as long as the claims that it ends, which may be in the ledger of a node that ended.
    roots = {claim.root for claim in _claims(claims.ledgers.values())}
    own = claims.ledger.entries.values()
    ends = len([end for end in own if isinstance(end, End) and roots & {*end.roots}])
    return {
        "shown": view.count,
        "groups": len(view._groups) + len(view._apps),
        "addresses": sum(len(keys) for _, keys in filter(None, view.addresses._shards)) - view.count,
        "own claims": len([*claims.leases.claims()]),
        "own entries": len(claims.ledger.entries) - ends,
        "leases": len(claims.leases) - ends,
        "slots": max(0, len(claims.leases._slots) - ends),
        "stale": len(claims.stale_keys),
        "suspects": len(claims.guard._suspects),
        "guard": len(claims.guard._undecided) + len(claims.guard._is_mass_loss_by_app) + len(claims.guard._losses),
        "requests": sum(len(link.open_rounds) for link in node.replica.links) > 8 * len(cluster.nodes),
    }


def _claims(ledgers: Iterable[Ledger]) -> list[Claim]:
    return [entry for ledger in ledgers for entry in ledger.entries.values() if isinstance(entry, Claim)]


def check_forgotten(cluster: Cluster) -> None:
    """Check that ten minutes later no running node keeps anything of an ended node."""
    living = {node.life.incarnation for node in cluster.nodes.values() if node.serving}
    for node in cluster.nodes.values():
        if not node.serving or cluster.history.broken:
            continue
        claims = node.replica.claims
        left = {
            "ledgers": len({*claims.ledgers} - living),
            "peers": len([peer for peer in node.replica.peers if peer.incarnation not in living]),
            "entries": len(claims.index),
            "hidden": len(node.replica.view._hidden),
            "forgotten": len(claims._forgotten),
            "heads": sum(len({*peer.shown_versions} - living) for peer in node.replica.peers),
        }
        if any(left.values()):
            cluster.history.fail("memory", f"{node.life} has not forgotten {left}")


def check_writes(cluster: Cluster) -> None:
    """Check P6, no storm: no life wrote more than its commands and a claim for each unit that it may have followed."""
    history = cluster.history
    units = sum(len(record.units) for record in history.records.values())
    for node in cluster.nodes.values():
        # Each entry that was added is also removed once.
        most = 2 * (history.commands[node.life] + units)
        if node.serving and node.replica.claims.ledger.version > most:
            history.fail("P6", f"{node.life} wrote {node.replica.claims.ledger.version} times, not {most} at most")
