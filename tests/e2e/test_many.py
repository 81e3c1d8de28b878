"""Lists and streams of very many registrations take a while, but disturb neither a node nor its readers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from socket import SO_RCVBUF, SOL_SOCKET
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.e2e.nodes import PATIENCE_S, Cluster, Node, pause, until
from tests.e2e.watching import watching
from tests.e2e.yardsticks import STEPS

#: The registrations are not renewed. The interval is long, because a node must be complete after five of them.
INTERVAL_S = 4
TTL_S = 600

#: Requests that are sent before their answers.
SENT_AHEAD = 20

#: The pause of a slow reader after each 64 KiB, as much as Twisted reads at a time.
REST_S = 0.05

#: The delay of other answers while a node is busy with a list or a snapshot.
BUSY_S = 1.0


class Pipeline(Protocol):
    """Sends very many requests on one connection, several before their answers, and counts answers of one status."""

    transport: Any

    def __init__(self, status: int) -> None:
        self._answer = b"HTTP/1.1 %d " % status
        self._unfinished = b""
        self._unsent: Iterator[bytes] = iter(())
        self._left = 0
        self._done: Deferred[None] = Deferred()

    def send(self, requests: list[bytes], within_s: float) -> Deferred[None]:
        """Send all requests; the result fires when all are answered with the status."""
        self._left = len(requests)
        self._unsent = iter(requests)
        self._done.addTimeout(within_s, reactor)
        self.transport.writeSequence(list(islice(self._unsent, SENT_AHEAD)))
        return self._done

    def dataReceived(self, data: bytes) -> None:
        received = self._unfinished + data
        answered = received.count(self._answer)
        self._unfinished = received[1 - len(self._answer) :]
        self._left -= answered
        self.transport.writeSequence(list(islice(self._unsent, answered)))
        if self._left == 0 and not self._done.called:
            self._done.callback(None)


async def register(node: Node, count: int, padding: int) -> set[str]:
    """Register this number of instances, with `meta` of this size, as fast as the node accepts; return their ids."""
    ids, requests = set(), []
    for number in range(count):
        app, host = f"app-{number % 100}", f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        wanted = {"app": app, "version": "1.0", "host": host, "port": 8080, "ttl": TTL_S}
        body = json.dumps({**wanted, "meta": {"notes": "n" * padding}})
        head = f"POST /registrations HTTP/1.1\r\nHost: bender\r\nContent-Length: {len(body)}\r\n\r\n"
        requests.append((head + body).encode())
        ids.add(f"registration/{app}/1.0/{host}/8080")
    pipeline = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", node.api_port), Pipeline(201))
    await pipeline.send(requests, within_s=PATIENCE_S + count / 200)
    pipeline.transport.loseConnection()
    return ids


class Reader(Protocol):
    """A subscriber that asks for a snapshot, and reads only when the test says so."""

    transport: Any

    def __init__(self) -> None:
        self.lines = 0
        self.synced: Deferred[None] = Deferred()
        self.is_lost = False
        self._last = b""

    def connectionMade(self) -> None:
        self.transport.getHandle().setsockopt(SOL_SOCKET, SO_RCVBUF, 64 * 1024)
        self.transport.pauseProducing()
        self.transport.write(b'{"subscribe": {"snapshot": true}}\n')

    def dataReceived(self, data: bytes) -> None:
        self.transport.pauseProducing()
        *lines, self._last = (self._last + data).split(b"\n")
        self.lines += sum(line.startswith(b'{"event":"online"') for line in lines)
        if lines and lines[-1].startswith(b'{"event":"synced"'):
            self.synced.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_lost = True

    async def read(self, within_s: float) -> int:
        """Read in pieces, with pauses, until the snapshot is complete; return the number of its registrations."""
        self.synced.addTimeout(within_s, reactor)
        while not self.synced.called:
            assert not self.is_lost, "a subscriber that reads is not dropped"
            self.transport.resumeProducing()
            await pause(REST_S)
        await self.synced
        return self.lines

    async def dropped(self, within_s: float) -> None:
        """Wait until the other side has closed the connection, without reading."""

        def lost() -> bool:
            self.transport.write(b" ")  # a write detects the closed connection
            return self.is_lost

        await until("a subscriber that does not read is dropped", lost, within_s)


async def reader(node: Node) -> Reader:
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", node.events_port)
    connected: Reader = await connectProtocol(endpoint, Reader())
    return connected


async def renewed_s(node: Node, ids: set[str]) -> float:
    """Renew a registration; return how long that took."""
    began_at_s = time.monotonic()
    assert (await node.call("PUT", f"/{min(ids).replace('registration', 'registrations', 1)}")).status == 200
    return time.monotonic() - began_at_s


# The small number has long registrations, because short ones fit in the system's buffers for any reader.
@pytest.mark.parametrize(("count", "padding"), [(3_000, 2_500), pytest.param(100_000, 0, marks=pytest.mark.slow)])
@pytest_twisted.ensureDeferred
async def test_very_many_are_listed_and_streamed(cluster: Cluster, count: int, padding: int) -> None:
    """All nodes, even a new one, list all instances. A slow reader gets all of them; one that reads nothing is dropped.

    A node that streams them still answers other requests.
    """
    first, second = await cluster(2, interval=INTERVAL_S, ttl=TTL_S)
    async with watching([second]) as (watcher,):
        ids = await register(first, count, padding)
        await watcher.until_lists(ids)
        assert (watcher.resets, watcher.offline) == (0, [])

    late = cluster.node(interval=INTERVAL_S, ttl=TTL_S, peers=first.exchange)
    late.start()
    await late.ready(within_s=PATIENCE_S + count / 2_000)
    listed = [
        (await node.call("GET", "/registrations", timeout_s=2 * PATIENCE_S)).body for node in (first, second, late)
    ]
    assert [registration["id"] for registration in listed[0]] == sorted(ids)
    assert listed[0] == listed[1] == listed[2]

    asleep, slow = await reader(late), await reader(late)
    reading = Deferred.fromCoroutine(slow.read(within_s=PATIENCE_S + count / 200))
    while_streaming_s = [await renewed_s(late, ids)]
    while not reading.called:
        await pause(REST_S)
        while_streaming_s.append(await renewed_s(late, ids))
    assert await reading == count
    assert max(while_streaming_s) < BUSY_S + STEPS * max([await renewed_s(late, ids) for _ in range(20)])
    slow.transport.loseConnection()
    await asleep.dropped(within_s=PATIENCE_S)
    assert asleep.lines == 0
