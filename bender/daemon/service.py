"""A node and its shells as one service: they start together or not at all, and stop in order.

Leaving (rule 7) loses nothing that was promised to a client, and ends in bounded time whatever peers and clients do.
The listening sockets close first, because a refused connection makes clients go on elsewhere; then the requests that
were read are answered; and then the node informs its peers.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Protocol

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from bender.core.timing import Timing
from bender.daemon.thalassa_option import THALASSA_EVENTS
from bender.process.lifecycle import refuse_listen_errors

#: Time between two looks of a leaving node at whether the last answers have been given.
POLL_S = 0.02

#: What each step of leaving gets on top of an interval, the longest that requests and peers' answers may take.
LEAVING_MARGIN_S = 1.0

#: The shells that clients come through; they close first.
CLIENT_SHELLS = ("api", "events", "agent", "thalassa", THALASSA_EVENTS, "dns")


class ClientConnections(Protocol):
    """The connections of clients.

    `end_idle` closes the connections that wait for no answer, and returns True if any is left, also with an answer on
    its way.
    """

    def end_idle(self) -> bool: ...


class LeavingNode(Protocol):
    """The methods of a node that are used here. `leave` informs its peers through the exchange."""

    @property
    def name(self) -> str: ...

    @property
    def timing(self) -> Timing: ...

    def leave(self) -> None: ...


class NodeService(MultiService):
    """A node with its shells: services of its own, named after the options that say where they listen.

    `clients` are the connections to each HTTP API, whose answers are waited for when the node leaves. Event listeners
    see to their connections themselves.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        node: LeavingNode,
        shells: Mapping[str, IService],
        *clients: ClientConnections,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self.node = node
        self._shells = shells
        self._clients = clients
        for name, shell in shells.items():
            shell.setName(name)
            shell.setServiceParent(self)

    def privilegedStartService(self) -> None:
        Service.privilegedStartService(self)
        for name, shell in self._shells.items():
            with refuse_listen_errors(name):
                shell.privilegedStartService()

    def startService(self) -> None:
        Service.startService(self)
        for name, shell in self._shells.items():
            with refuse_listen_errors(name):
                shell.startService()

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return Deferred.fromCoroutine(self._leave())

    async def _leave(self) -> None:
        self._log.info("Node {node} is leaving.", node=self.node.name)
        doors = [name for name in self._shells if name in CLIENT_SHELLS]
        for name in doors:
            await self._end(name)
        await self._answer()
        self.node.leave()
        for name in self._shells:
            if name not in doors:
                await self._end(name)

    async def _answer(self) -> None:
        """Wait until all that was read is answered and the answers are sent; close each connection that has its own."""
        await deferLater(self._reactor, 0)  # what has arrived and was not looked at yet gets its turn
        for _ in range(ceil(self._step_s / POLL_S)):
            left = [each.end_idle() for each in self._clients]
            if not any(left):
                return
            await deferLater(self._reactor, POLL_S)

    async def _end(self, name: str) -> None:
        try:
            await maybeDeferred(self._shells[name].stopService).addTimeout(self._step_s, self._reactor)
        except Exception:  # the steps that follow matter all the more
            self._log.failure("Stopping {shell} failed; the node continues to leave.", shell=name)

    @property
    def _step_s(self) -> float:
        return self.node.timing.interval_s + LEAVING_MARGIN_S
