"""Questions of a node to its peers, about registrations and about themselves, each asked of all of them at once.

Only the node that holds a claim knows how much time it has left, and only a node itself which peers it hears, so a
complete answer takes those of all nodes. No peer is waited for longer than an interval.
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
from bender.core.timing import in_a_word
from bender.node.node import Node
from bender.node.propagation import node_names

_Answer = TypeVar("_Answer")


async def gathered(questions: Iterable[Coroutine[Any, Any, _Answer]]) -> list[_Answer]:
    """Ask everything at once, and return the answers in order. If this is cancelled, or one fails, so are the others.

    It raises what the first that fails raises, where Twisted's `gatherResults` would raise `FirstError`: a client that
    went away must be recognized by its `CancelledError`.
    """
    asking = [Deferred.fromCoroutine(question) for question in questions]
    try:
        return [await answer for answer in asking]
    except BaseException:
        for answer in asking:
            answer.addErrback(lambda _: None)
            answer.cancel()
        raise


async def peer_accounts(node: Node, key: str) -> list[NodeDiagnosis | NoDiagnosis]:
    """Return what each peer that has not left knows of an id."""
    asked = _present(node)
    answers = await gathered(_account_of(node, peer, key) for peer in asked)
    return [*map(_named, asked, answers)]


async def _account_of(node: Node, peer: Peer, key: str) -> NodeDiagnosis | NoDiagnosis:
    if not node.replica.has_reached(peer.address):
        return NoDiagnosis(peer.name, peer.address, "was never reached from this node")
    return await node.exchange.ask_account(peer.address, key)


def _named(peer: Peer, answer: NodeDiagnosis | NoDiagnosis) -> NodeDiagnosis | NoDiagnosis:
    """Return an answer with the peer's name, also if there was no answer."""
    return answer if isinstance(answer, NodeDiagnosis) else msgspec.structs.replace(answer, node=peer.name)


class NodeClaim(msgspec.Struct, frozen=True, rename={"ttl_s": "ttl", "left_s": "left"}):
    """A claim that the node with this name and address holds; the rest is as in `ClaimLease`."""

    node: str
    address: str
    ttl_s: float
    left_s: float
    speaks: bool


class ClaimsFound(msgspec.Struct, frozen=True):
    """The claims of each key that was asked about, longest left first, and the nodes that did not answer.

    Each claim is as of the answer of its node. A peer that was configured and never found is missing under its address.
    """

    claims: dict[str, list[NodeClaim]]
    missing: list[str]


async def all_claims(node: Node, keys: Sequence[str]) -> ClaimsFound:
    """Return the claims that this node and its peers hold. A peer that is silent is missing, and is not asked."""
    present = _present(node)
    me, own = node.replica.identity, node.claim_leases(keys)
    answers = await gathered(_claims_of(node, peer, keys) for peer in present)
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
    return ClaimsFound(found, [*silent, *node.replica.unanswered()])


async def _claims_of(node: Node, peer: Peer, keys: Sequence[str]) -> list[ClaimLease | None] | None:
    if node.replica.peers.silent(peer, node.now()) or not node.replica.has_reached(peer.address):
        return None
    return await node.exchange.ask_claims(peer.address, keys)


def _most_left(claim: NodeClaim) -> tuple[Any, ...]:
    """Return what puts claims in order; the name decides between equal times."""
    return -claim.left_s, claim.node, claim.address


async def all_reports(node: Node) -> list[NodeReport | NoNodeReport]:
    """Return what this node and its peers report about themselves, in order of name and address.

    A peer that is silent is not asked. One that was configured and never found has its address as its name.
    """
    present = _present(node)
    own = node.own_report()
    answers = await gathered(_report_of(node, peer) for peer in present)
    listed = {peer.address for peer in present}
    unfound = (
        NoNodeReport(seed, seed, "was never reached from this node")
        for seed in node.replica.unanswered()
        if seed not in listed
    )
    return sorted([own, *answers, *unfound], key=_name_and_address)


async def _report_of(node: Node, peer: Peer) -> NodeReport | NoNodeReport:
    replica, now = node.replica, node.now()
    answer: NodeReport | str
    if not replica.has_reached(peer.address):
        answer = "was never reached from this node"
    elif replica.peers.silent(peer, now):
        lag_s = heard_s(peer, now)
        answer = "was never heard" if lag_s is None else f"was not heard for {in_a_word(lag_s)}"
    else:
        answer = await node.exchange.ask_report(peer.address)
    if isinstance(answer, NodeReport):
        if answer.incarnation == peer.incarnation or not _is_listed(node, answer.incarnation):
            return answer  # in the second case it was started again, and is not known as that yet
        answer = "another node answers at its address"
    return NoNodeReport(peer.name, peer.address, answer)


def _is_listed(node: Node, incarnation: int) -> bool:
    """Return True if another part of a list of all nodes has this incarnation."""
    peer = node.replica.peers.get(incarnation)
    return incarnation == node.replica.identity.incarnation or (peer is not None and not peer.gone)


def _name_and_address(report: NodeReport | NoNodeReport) -> tuple[str, str]:
    return report.name if isinstance(report, NodeReport) else report.node, report.address


def _present(node: Node) -> list[Peer]:
    """Return the peers that have neither left nor been replaced."""
    return [peer for peer in node.replica.peers if not peer.gone]
