"""What the registry knows about the address of an instance, to find two likely mistakes.

These are precautions: if no node answers, or answers too much, nothing is concluded.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut

from bender.client import BenderError, Client, Registration
from bender.client.responses import NodeStatus, api_addresses, reader
from bender.core.hosts import is_loopback
from bender.net.addresses import split_host_port

#: What nodes may take to answer; the instance waits for it.
ANSWER_S_MAX = 3.0

#: A longer list of registrations is not read: about 30,000 of usual length.
LIST_BYTES_MAX = 16 * 1024 * 1024

#: Seconds for which an answer about an address is used again.
KEPT_S = 30.0


class RegistryView:
    """Asks nodes about addresses."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._at = ("", 0)
        self._kept_until = 0.0
        self._found: list[Registration] = []

    async def has_other_machines(self) -> bool:
        """Return True if a node that answers has peers at other addresses than loopback."""
        try:
            status = await self._in_time(self._client.read(reader(NodeStatus), "GET", "/status"))
        except (BenderError, TimedOut):
            return False
        return any(not is_loopback(split_host_port(node.rpartition("//")[2])[0]) for node in api_addresses(status[0]))

    async def other_app_at(self, host: str, port: int, app: str) -> Registration | None:
        """Return a registration of another app with this address, if there is one."""
        now = self._client.reactor.seconds()
        if self._at != (host, port) or now >= self._kept_until:
            read = self._client.read(reader(list[Registration]), "GET", "/registrations", bytes_max=LIST_BYTES_MAX)
            try:
                listed, _ = await self._in_time(read)
            except (BenderError, TimedOut):
                listed = []
            self._found = [each for each in listed if (each.host, each.port) == (host, port)]
            self._at, self._kept_until = (host, port), now + KEPT_S
        return next((each for each in self._found if each.app != app), None)

    async def _in_time(self, asking: Any) -> Any:
        return await Deferred.fromCoroutine(asking).addTimeout(ANSWER_S_MAX, self._client.reactor)
