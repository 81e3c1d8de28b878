"""Find the address of this machine at which others reach the instance: its local address in a connection to a node.

The address may change while the command runs: a DHCP lease ends, a container is attached to another network, a machine
wakes up in another place. So the route to the node is looked up again from time to time, which sends no packets.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as Connection
from twisted.internet.task import deferLater

from bender.client import Client, Unavailable
from bender.net.addresses import NoAnswer, split_host_port
from bender.net.endpoints import endpoint_of, wait_for_answer
from bender.net.reactor import Reactor

#: Time limit for a connection to one node, and seconds before all nodes are tried again.
CONNECT_S_MAX = 2.0
RETRY_S = 1.0

#: Seconds between two looks at whether the address has changed.
LOOK_INTERVAL_S = 5.0


def route_to(host: str) -> str | None:
    """Return the local address for connections to a host, or None if there is no route to it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # this sends nothing, because it is a datagram socket
            address: str = probe.getsockname()[0]
    except OSError:
        return None
    return address


def is_local_address(host: str) -> bool:
    """Return True for an address that this machine has; False for a name."""
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except (OSError, ValueError):
        return False
    return True


class LocalAddress:
    """Find the address of this machine, and notice when it changes. `route` has the form of `route_to`."""

    def __init__(
        self,
        reactor: Reactor,
        client: Client,
        *,
        route: Callable[[str], str | None] = route_to,
        is_local: Callable[[str], bool] = is_local_address,
    ) -> None:
        self._reactor = reactor
        self._client = client
        self._route = route
        self.is_local = is_local
        self._node: str | None = None

    async def find(self, on_problem: Callable[[str], None]) -> str:
        """Wait until a node can be reached, and return the address. Until then, call `on_problem` with the reasons."""
        factory = Factory.forProtocol(Connection)
        factory.noisy = False
        on_problem("no node has answered yet")
        while True:
            problems = {}
            for node in self._client.nodes.in_turn():
                endpoint = endpoint_of(self._reactor, *split_host_port(node.rpartition("//")[2]), CONNECT_S_MAX)
                try:
                    connection: Any = await wait_for_answer(self._reactor, endpoint.connect(factory), CONNECT_S_MAX)
                except NoAnswer as no_answer:
                    problems[node] = str(no_answer)
                    continue
                local: str = connection.transport.getHost().host
                peer: str = connection.transport.getPeer().host
                # If the routing table has another address, it cannot be used later to notice a change.
                self._node = peer if self._route(peer) == local else None
                connection.transport.loseConnection()
                return local
            on_problem(f"no node answers: {Unavailable(problems)}")
            await deferLater(self._reactor, RETRY_S)

    async def wait_for_change(self, address: str) -> str:
        """Wait until the address of this machine differs from this one, and return the new address."""
        while True:
            await deferLater(self._reactor, LOOK_INTERVAL_S)
            found = self._route(self._node) if self._node else None
            if found not in (None, address):
                return str(found)
