"""How a node reaches its peers; the exchange does it over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import Awaited, ConsumerState
from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis
from bender.core.messages import OutgoingMessage
from bender.core.node_report import NodeReport


class PeerExchange(Protocol):
    """Carries a node's requests to its peers."""

    def send(self, requests: list[OutgoingMessage], /) -> None:
        """Carry requests. Each is reported to the node once, as answered or failed, and none before this returns."""

    async def ask_account(self, address: str, key: str, /) -> NodeDiagnosis | NoDiagnosis:
        """Return what the node at an address knows of an id."""

    async def ask_claims(self, address: str, keys: Sequence[str], /) -> list[ClaimLease | None] | None:
        """Return the claims that the node at an address holds of keys, in their order; None without an answer."""

    async def ask_report(self, address: str, /) -> NodeReport | str:
        """Return what the node at an address reports about itself; without an answer the reason, a clause about it."""

    async def ask_consumers(self, address: str, awaited: Awaited, /) -> tuple[ConsumerState, ...] | None:
        """Return the consumers of the node at an address when they have acted on something; None without an answer."""


class NoExchange:
    """The exchange of a node that talks to no peers."""

    def __init__(self, _node: object) -> None:
        pass

    def send(self, _requests: list[OutgoingMessage]) -> None:
        pass

    async def ask_account(self, address: str, _key: str) -> NodeDiagnosis | NoDiagnosis:
        return NoDiagnosis(address, address, "this node has no exchange with peers")

    async def ask_claims(self, _address: str, _keys: Sequence[str]) -> list[ClaimLease | None] | None:
        return None

    async def ask_report(self, _address: str) -> NodeReport | str:
        return "this node has no exchange with peers"

    async def ask_consumers(self, _address: str, _awaited: Awaited) -> tuple[ConsumerState, ...] | None:
        return ()
