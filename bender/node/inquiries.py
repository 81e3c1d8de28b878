"""Questions of a node to its peers about registrations, each of which is asked of all of them at once.

Only the node that holds a claim knows how much time it has left, so a complete answer takes those of all nodes. No peer
is waited for longer than an interval.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis
from bender.core.peers import Peer
from bender.node.node import Node

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


async def all_accounts(node: Node, key: str) -> list[NodeDiagnosis | NoDiagnosis]:
    """Ask all peers that have not left what they know of an id, and return it after what this node knows."""
    asked = _present(node)
    own = node.account(key)
    answers = await gathered(_account_of(node, peer, key) for peer in asked)
    return [own, *map(_named, asked, answers)]


async def _account_of(node: Node, peer: Peer, key: str) -> NodeDiagnosis | NoDiagnosis:
    if not node.replica.has_reached(peer.address):
        return NoDiagnosis(peer.name, peer.address, "was never reached from this node")
    return await node.exchange.ask_account(peer.address, key)


def _named(peer: Peer, answer: NodeDiagnosis | NoDiagnosis) -> NodeDiagnosis | NoDiagnosis:
    """Return an answer with the peer's name, also if there was no answer."""
    return answer if isinstance(answer, NodeDiagnosis) else msgspec.structs.replace(answer, node=peer.name)


def _present(node: Node) -> list[Peer]:
    """Return the peers that have neither left nor been replaced."""
    return [peer for peer in node.replica.peers if not peer.gone]
