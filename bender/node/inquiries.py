"""Questions that a node sends to all its peers at once, about registrations and about the peers themselves.

Only the node that holds a claim knows how much time the claim has left, and only the node itself knows which peers it
hears. So a complete answer needs the answers of all nodes. A node waits one interval at most for each peer.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from bender.core.claim_leases import ClaimLease
from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis, heard_s
from bender.core.node_report import NodeReport, NoNodeReport
from bender.core.peers import Peer
from bender.core.timing import format_duration
from bender.node.node import Node
from bender.node.propagation import node_names

_Answer = TypeVar("_Answer")

#: The reason for the missing answer of a peer whose address has never answered.
NEVER_REACHED = "was never reached from this node"


async def gather(questions: Iterable[Coroutine[Any, Any, _Answer]]) -> list[_Answer]:
    """Run coroutines concurrently and return their results in order.

    If this is cancelled, or one of them raises, the others are cancelled. The exception is raised unchanged, where
    Twisted's `gatherResults` would raise `FirstError`: a `CancelledError` shows that the client closed its connection.
    """
    asking = [Deferred.fromCoroutine(question) for question in questions]
    try:
        return [await answer for answer in asking]
    except BaseException:
        for answer in asking:
            answer.addErrback(lambda _: None)
            answer.cancel()
        raise


async def peer_diagnoses(node: Node, key: str) -> list[NodeDiagnosis | NoDiagnosis]:
    """Return the diagnosis of an id from each peer that has not left."""
    peers = _present(node)
    answers = await gather(_diagnosis_of(node, peer, key) for peer in peers)
    return [*map(_named, peers, answers)]


async def _diagnosis_of(node: Node, peer: Peer, key: str) -> NodeDiagnosis | NoDiagnosis:
    if not node.replica.has_reached(peer.address):
        return NoDiagnosis(peer.name, peer.address, NEVER_REACHED)
    return await node.exchange.ask_diagnosis(peer.address, key)


def _named(peer: Peer, answer: NodeDiagnosis | NoDiagnosis) -> NodeDiagnosis | NoDiagnosis:
    """Return the answer itself, or a missing answer with the peer's name in it."""
    return answer if isinstance(answer, NodeDiagnosis) else msgspec.structs.replace(answer, node=peer.name)


class NodeClaim(msgspec.Struct, frozen=True, rename={"ttl_s": "ttl", "left_s": "left"}):
    """A claim, with the name and address of the node that holds it; the other fields are those of `ClaimLease`."""

    node: str
    address: str
    ttl_s: float
    left_s: float
    speaks: bool


class ClaimsFound(msgspec.Struct, frozen=True):
    """The claims of each requested key, longest time left first, and the names of the nodes that did not answer.

    The time left is as of the answer of the claim's node. A seed that was never reached is in `missing` by its address.
    """

    claims: dict[str, list[NodeClaim]]
    missing: list[str]


async def all_claims(node: Node, keys: Sequence[str]) -> ClaimsFound:
    """Return the claims of this node and its peers. A silent peer is not asked, and is in `missing`."""
    present = _present(node)
    me, own = node.replica.identity, node.claim_leases(keys)
    answers = await gather(_claims_of(node, peer, keys) for peer in present)
    name = node_names(me, present)
    found: dict[str, list[NodeClaim]] = {key: [] for key in keys}
    holders = [(me.name, me.address), *((peer.name, peer.address) for peer in present)]
    for (holder, address), leases in zip(holders, [own, *answers], strict=True):
        for key, lease in zip(keys, leases or (), strict=leases is not None):
            if lease is not None:
                found[key].append(NodeClaim(holder, address, lease.ttl_s, lease.left_s, lease.speaks))
    for claims in found.values():
        claims.sort(key=_most_left)
    silent = [name(peer) for peer, answer in zip(present, answers, strict=True) if answer is None]
    return ClaimsFound(found, [*silent, *node.replica.unanswered_seeds()])


async def _claims_of(node: Node, peer: Peer, keys: Sequence[str]) -> list[ClaimLease | None] | None:
    if node.replica.peers.is_silent(peer, node.now()) or not node.replica.has_reached(peer.address):
        return None
    return await node.exchange.ask_claims(peer.address, keys)


def _most_left(claim: NodeClaim) -> tuple[Any, ...]:
    """Return the sort key of a claim: the longest time left first, then by name and address."""
    return -claim.left_s, claim.node, claim.address


async def all_reports(node: Node) -> list[NodeReport | NoNodeReport]:
    """Return the reports of this node and its peers about themselves, sorted by name and address.

    A silent peer is not asked. A seed that was never reached has its address as its name.
    """
    present = _present(node)
    own = node.own_report()
    answers = await gather(_report_of(node, peer) for peer in present)
    listed = {peer.address for peer in present}
    unfound = (
        NoNodeReport(seed, seed, NEVER_REACHED) for seed in node.replica.unanswered_seeds() if seed not in listed
    )
    return sorted([own, *answers, *unfound], key=_name_and_address)


async def _report_of(node: Node, peer: Peer) -> NodeReport | NoNodeReport:
    replica, now = node.replica, node.now()
    answer: NodeReport | str
    if not replica.has_reached(peer.address):
        answer = NEVER_REACHED
    elif replica.peers.is_silent(peer, now):
        lag_s = heard_s(peer, now)
        answer = "was never heard" if lag_s is None else f"was not heard for {format_duration(lag_s)}"
    else:
        answer = await node.exchange.ask_report(peer.address)
    if isinstance(answer, NodeReport):
        if answer.incarnation == peer.incarnation or not _is_listed(node, answer.incarnation):
            return answer  # another incarnation: the peer has restarted, and this node does not know it yet
        answer = "another node answers at its address"
    return NoNodeReport(peer.name, peer.address, answer)


def _is_listed(node: Node, incarnation: int) -> bool:
    """Return True if this incarnation is this node, or a peer that is still present."""
    peer = node.replica.peers.get(incarnation)
    return incarnation == node.replica.identity.incarnation or (peer is not None and not peer.is_gone)


def _name_and_address(report: NodeReport | NoNodeReport) -> tuple[str, str]:
    return report.name if isinstance(report, NodeReport) else report.node, report.address


def _present(node: Node) -> list[Peer]:
    """Return the peers that have neither left nor been replaced."""
    return [peer for peer in node.replica.peers if not peer.is_gone]
