"""The relay: forwards the requests of nodes to their peers, and delays, doubles and reorders them.

The kernel has no netem, and TCP would hide doubled and reordered packets from nodes anyway. So a process is placed
between the nodes. In the namespace of a node, nftables redirects each connection to a peer to this process, which
reads whole HTTP requests. Requests on different connections overtake each other by their delays. A doubled request is
sent again on another connection, at once or much later, and the second answer is dropped.

`python -m tests.faults.rig.relay SEED NAMESPACE…`; each line on stdin is a JSON object with the fields of `Handling`.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import sys
from collections.abc import Coroutine
from contextlib import suppress
from random import Random

from attrs import define

from tests.faults.rig.network import RELAY_MARK, RELAY_PORT, enter

#: A constant of linux/netfilter_ipv4.h.
SO_ORIGINAL_DST = 80

#: The time limit, in seconds, of a request and its answer; it is longer than that of any node.
WITHIN_S = 10.0

#: The largest head; messages of nodes have at most some MB.
HEAD_BYTES_MAX = 64 * 1024

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)

FAILURES = (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError)


@define
class Handling:
    """The handling of requests: the largest delay in seconds, and the fractions that are doubled, or doubled late."""

    delay_s: float = 0.0
    doubled: float = 0.0
    doubled_late: float = 0.0
    late_s: float = 0.0


class Relay:
    """Listens in all namespaces."""

    def __init__(self, random: Random) -> None:
        self.handling = Handling()
        self._random = random
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, namespace: str) -> None:
        enter(namespace)
        listening = socket.create_server(("127.0.0.1", RELAY_PORT), backlog=100)
        await asyncio.start_server(
            lambda reader, writer: self._carry(namespace, reader, writer), sock=listening, limit=HEAD_BYTES_MAX
        )

    def _opened(self, namespace: str) -> socket.socket:
        enter(namespace)
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, RELAY_MARK)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        return opened

    async def _reach(self, namespace: str, peer: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        opened = self._opened(namespace)
        try:
            await asyncio.get_running_loop().sock_connect(opened, peer)
        except BaseException:
            opened.close()
            raise
        return await asyncio.open_connection(sock=opened, limit=HEAD_BYTES_MAX)

    async def _carry(self, namespace: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the requests of one connection, until either end closes it."""
        upstream = None
        try:
            peer = _destination(writer)
            first, begun = await _message(reader), b""
            async with asyncio.timeout(WITHIN_S):
                upstream = await self._reach(namespace, peer)
            while True:
                begun = await self._exchange(namespace, peer, first, (reader, writer), upstream)
                first = await _message(reader, begun)
        except (*FAILURES, ConnectionAbortedError):
            pass
        finally:
            for each in filter(None, [writer, upstream and upstream[1]]):
                _reset(each)

    async def _exchange(
        self,
        namespace: str,
        peer: tuple[str, int],
        request: bytes,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bytes:
        """Forward one request and its answer; return the first bytes of the next. Raises if the node has given up."""
        if self._random.random() < self.handling.doubled:
            self._start(self._double(namespace, peer, request, self._delay()))
        answering = asyncio.create_task(self._answer(request, upstream))
        watching = asyncio.create_task(client[0].read(1))
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not watching.result():
                raise ConnectionAbortedError
            client[1].write(await answering)
            await client[1].drain()
            if self._random.random() < self.handling.doubled_late:
                self._start(self._double(namespace, peer, request, self._random.uniform(0, self.handling.late_s)))
            return await watching
        finally:
            answering.cancel()
            watching.cancel()

    async def _answer(self, request: bytes, upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            await asyncio.sleep(self._delay())
            upstream[1].write(request)
            answer = await _message(upstream[0])
            await asyncio.sleep(self._delay())
            return answer

    def _delay(self) -> float:
        return self._random.uniform(0, self.handling.delay_s)

    def _start(self, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _double(self, namespace: str, peer: tuple[str, int], request: bytes, after_s: float) -> None:
        with suppress(*FAILURES):
            await asyncio.sleep(after_s)
            async with asyncio.timeout(WITHIN_S):
                reader, writer = await self._reach(namespace, peer)
                try:
                    writer.write(request)
                    await _message(reader)
                finally:
                    _reset(writer)


def _destination(writer: asyncio.StreamWriter) -> tuple[str, int]:
    """Return the original address of a redirected connection."""
    original = writer.get_extra_info("socket").getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    port, address = struct.unpack("!2xH4s8x", original)
    return socket.inet_ntoa(address), port


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once, so that none of its data arrive later."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _message(reader: asyncio.StreamReader, begun: bytes = b"") -> bytes:
    """Read a whole request or answer, whose first bytes may have been read already."""
    if not begun:
        begun = await reader.readexactly(1)
    head = begun + await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


async def main(seed: str, namespaces: list[str]) -> None:
    relay = Relay(Random(f"relay {seed}"))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    for namespace in namespaces:
        await relay.listen(namespace)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := await reader.readline():
        relay.handling = Handling(**json.loads(line))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
