"""The interface by which a node reaches its peers; the exchange implements it over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis
from bender.core.messages import OutgoingMessage
from bender.core.node_report import NodeReport


class PeerExchange(Protocol):
    """Sends a node's requests to its peers."""

    def send(self, requests: list[OutgoingMessage], /) -> None:
        """Send requests. Each is reported to the node exactly once, as answered or failed, after this call returned."""

    async def ask_diagnosis(self, address: str, key: str, /) -> NodeDiagnosis | NoDiagnosis:
        """Return what the node at an address knows about an id."""

    async def ask_claims(self, address: str, keys: Sequence[str], /) -> list[ClaimLease | None] | None:
        """Return the node's claim of each key, in the order of the keys; None if the node does not answer."""

    async def ask_report(self, address: str, /) -> NodeReport | str:
        """Return the node's report about itself; if it does not answer, a clause about the node that says why."""

    async def ask_consumers(self, address: str, awaited: AwaitedChange, /) -> tuple[ConsumerState, ...] | None:
        """Return the node's consumers when they have applied the awaited change; None if the node does not answer."""


_NO_EXCHANGE = (
    "this node cannot ask other nodes, because its program did not set up the exchange with peers: ask another node"
)


class NoExchange:
    """The exchange of a node that talks to no peers."""

    def __init__(self, _node: object) -> None:
        pass

    def send(self, _requests: list[OutgoingMessage]) -> None:
        pass

    async def ask_diagnosis(self, address: str, _key: str) -> NodeDiagnosis | NoDiagnosis:
        return NoDiagnosis(address, address, _NO_EXCHANGE)

    async def ask_claims(self, _address: str, _keys: Sequence[str]) -> list[ClaimLease | None] | None:
        return None

    async def ask_report(self, _address: str) -> NodeReport | str:
        return _NO_EXCHANGE

    async def ask_consumers(self, _address: str, _awaited: AwaitedChange) -> tuple[ConsumerState, ...] | None:
        return ()
