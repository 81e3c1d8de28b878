"""The exchange of changes between a node and its peers, over HTTP.

The node decides what to send, to which peer, and when a peer counts as silent. The exchange begins the rounds, carries
each message within a time limit or reports its failure, and logs problems of peers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint

from bender.core.claim_leases import ClaimLease
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis
from bender.core.messages import OutgoingMessage
from bender.core.node_report import NodeReport
from bender.exchange.client import GossipClient, SendingNode
from bender.exchange.connection_problems import PeerProblems
from bender.exchange.discovery import LocatingNode, Seeds
from bender.exchange.server import NO_TLS, AnsweringNode, GossipServer, PeerSite
from bender.exchange.transport import PeerTransport
from bender.exchange.wire import BODY_BYTES_MAX, Wire
from bender.net.encrypted import ListeningTls
from bender.net.fair_turns import Turns
from bender.net.reactor import Reactor
from bender.tls.connections import PeersTls, PeerTlsMode

__all__ = ["Exchange"]


class ExchangingNode(AnsweringNode, SendingNode, LocatingNode, Protocol):
    """The methods of a node that the exchange calls."""

    def set_peer_problem(self, address: str, problem: str | None, unreachable: bool) -> None: ...


class Exchange(MultiService):
    """Listens for peers at `endpoint`, sends them the node's requests, and gives the node the addresses of its seeds.

    `seeds` are the configured `host:port`. `turns` share the reactor among all work of the node. `chance` returns
    random numbers between 0 and 1. With `tls`, peers must have certificates of the same authority, unless `tls_mode`
    allows peers without TLS.
    """

    def __init__(
        self,
        reactor: Reactor,
        node: ExchangingNode,
        *,
        endpoint: IStreamServerEndpoint | str,
        cluster: str,
        seeds: Sequence[str],
        turns: Turns | None = None,
        tls: PeersTls | None = None,
        tls_mode: PeerTlsMode = PeerTlsMode.REQUIRE,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__()
        wire = Wire(cluster, node.timing.interval_s)
        problems = PeerProblems(reactor, node.timing.interval_s, node.set_peer_problem)
        peers = GossipServer(node, wire, problems).site(reactor, turns)
        #: The limited connections of peers to this node, and the limited bytes of their incomplete messages.
        self.places, self.held = peers.places, peers.held
        site: IProtocolFactory = peers
        if tls is not None:
            site = ListeningTls(tls, peers, reactor, NO_TLS, peers.note_refused_tls, _mixed(peers, tls_mode))
        if isinstance(endpoint, str):
            endpoint = serverFromString(reactor, endpoint)
        self._transport = PeerTransport(reactor, BODY_BYTES_MAX, None if tls_mode is PeerTlsMode.ALLOW else tls)
        self._listener = StreamServerEndpointService(endpoint, site)
        # As in twisted.application.strports: a port in use must end the process, instead of being logged only.
        self._listener._raiseSynchronously = True  # noqa: SLF001
        self._seeds = Seeds(reactor, node, seeds)
        self._client = GossipClient(reactor, node, wire, self._transport, problems, chance)
        for part in (self._listener, self._seeds, self._client):
            part.setServiceParent(self)

    def replace_seeds(self, seeds: Sequence[str]) -> None:
        """Replace the seeds; each is the `host:port` of a peer."""
        self._seeds.replace(seeds)

    def send(self, requests: Iterable[OutgoingMessage]) -> None:
        """Send requests of the node to its peers."""
        self._client.send(requests)

    async def ask_diagnosis(self, address: str, key: str) -> NodeDiagnosis | NoDiagnosis:
        """Return what the node at an address knows about an id."""
        return await self._client.ask_diagnosis(address, key)

    async def ask_claims(self, address: str, keys: Sequence[str]) -> list[ClaimLease | None] | None:
        """Return the node's claim of each key, in the order of the keys; None if the node does not answer."""
        return await self._client.ask_claims(address, keys)

    async def ask_report(self, address: str) -> NodeReport | str:
        """Return the node's report about itself; if it does not answer, a clause about the node that says why."""
        return await self._client.ask_report(address)

    async def ask_consumers(self, address: str, awaited: AwaitedChange) -> tuple[ConsumerState, ...] | None:
        """Return the node's consumers when they have applied the awaited change; None if the node does not answer."""
        return await self._client.ask_consumers(address, awaited)

    def stopService(self) -> Deferred[None]:
        """Close the port, and wait for one interval at most until the requests in flight are answered."""
        self.running = False
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        await maybeDeferred(self._seeds.stopService)
        await maybeDeferred(self._listener.stopService)
        await self._client.stopService()
        self._transport.close()


def _mixed(peers: PeerSite, mode: PeerTlsMode) -> Callable[[str, bool], None] | None:
    """Return a function to call with a connecting peer's host and whether it uses TLS; None if TLS is required."""
    if mode is PeerTlsMode.REQUIRE:
        return None
    return peers.note_tls if mode is PeerTlsMode.PREFER else lambda _host, _encrypted: None
