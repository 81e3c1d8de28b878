"""A node and its shells as one service: they start together or not at all, and stop in order.

Leaving (rule 7) loses nothing that was promised to a client, and ends in bounded time whatever peers and clients do:

1. The listening sockets close, because a client whose connection is refused turns to another node.
2. The node answers the requests that it has read.
3. The node informs its peers.
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

#: Time between two checks of a leaving node whether all answers are sent.
POLL_S = 0.02

#: A step of leaving may take one interval, which is the limit of requests and of peers' answers, and this time more.
LEAVING_MARGIN_S = 1.0

#: The shells that clients connect to; they close first.
CLIENT_SHELLS = ("api", "events", "agent", "thalassa", THALASSA_EVENTS, "dns")


class ClientConnections(Protocol):
    """The connections of clients.

    `end_idle` closes the connections that wait for no answer. It returns True if a connection is left: its answer is
    not made, or not completely sent.
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
    """A node and its shells. Each shell is a service with the name of the option that says where it listens.

    `clients` are the connections to each HTTP API: a leaving node waits until their answers are sent. The listeners of
    event protocols end their own connections.
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
        for name in self._shells:
            if name in CLIENT_SHELLS:
                await self._stop_shell(name)
        await self._wait_for_answers()
        self.node.leave()
        for name in self._shells:
            if name not in CLIENT_SHELLS:
                await self._stop_shell(name)

    async def _wait_for_answers(self) -> None:
        """Wait until all requests that were read are answered. Close each connection when its answers are sent."""
        await deferLater(self._reactor, 0)  # one turn of the reactor, which reads the requests that have arrived
        for _ in range(ceil(self._step_s / POLL_S)):
            busy = [connections.end_idle() for connections in self._clients]  # all of them, not only up to the first
            if not any(busy):
                return
            await deferLater(self._reactor, POLL_S)

    async def _stop_shell(self, name: str) -> None:
        try:
            await maybeDeferred(self._shells[name].stopService).addTimeout(self._step_s, self._reactor)
        except Exception:  # the following steps are needed all the same
            self._log.failure("Stopping {shell} failed; the shutdown of the node continues.", shell=name)

    @property
    def _step_s(self) -> float:
        return self.node.timing.interval_s + LEAVING_MARGIN_S
