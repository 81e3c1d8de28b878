"""Query the registry about the address of an instance, to find two likely mistakes.

These checks are only precautions: if no node answers, or an answer is too long, they find no mistake.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut

from bender.client import BenderError, Client, Registration
from bender.client.responses import NodeStatus, api_addresses, reader
from bender.core.hosts import is_loopback
from bender.net.addresses import split_host_port

#: Seconds that nodes have to answer. The registration of the instance waits for them.
ANSWER_S_MAX = 3.0

#: Limit for the bytes of a list of registrations: about 30,000 of usual length. A longer list is not read.
LIST_BYTES_MAX = 16 * 1024 * 1024

#: Seconds for which the answer about an address is used again.
CACHED_S = 30.0


class RegistryView:
    """Query nodes about addresses."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._cached_address = ("", 0)
        self._cached_until = 0.0
        self._cached_registrations: list[Registration] = []

    async def has_other_machines(self) -> bool:
        """Return True if the node that answers has a peer whose address is not loopback."""
        try:
            status = await self._in_time(self._client.read(reader(NodeStatus), "GET", "/status"))
        except (BenderError, TimedOut):
            return False
        return any(not is_loopback(split_host_port(node.rpartition("//")[2])[0]) for node in api_addresses(status[0]))

    async def other_app_at(self, host: str, port: int, app: str) -> Registration | None:
        """Return a registration of another app at this address, or None."""
        now = self._client.reactor.seconds()
        if self._cached_address != (host, port) or now >= self._cached_until:
            read = self._client.read(reader(list[Registration]), "GET", "/registrations", bytes_max=LIST_BYTES_MAX)
            try:
                listed, _ = await self._in_time(read)
            except (BenderError, TimedOut):
                listed = []
            self._cached_registrations = [each for each in listed if (each.host, each.port) == (host, port)]
            self._cached_address, self._cached_until = (host, port), now + CACHED_S
        return next((each for each in self._cached_registrations if each.app != app), None)

    async def _in_time(self, asking: Any) -> Any:
        return await Deferred.fromCoroutine(asking).addTimeout(ANSWER_S_MAX, self._client.reactor)
