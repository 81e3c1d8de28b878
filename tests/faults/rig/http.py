"""One HTTP request on asyncio, from one of the addresses of clients."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

from attrs import frozen

from tests.faults.rig.network import API_PORT, OBSERVER


@frozen
class Reply:
    """The status of an answer, and its decoded body."""

    status: int
    body: Any


#: The errors with which a request fails. Its effect at the node is unknown then.
FAILURES = (OSError, TimeoutError, asyncio.IncompleteReadError, EOFError, ValueError)


class Unreached(Exception):
    """No connection was made, so the request cannot have an effect."""


async def ask(
    address: str, method: str, path: str, body: Any = None, *, source: str = OBSERVER, within_s: float = 2.0
) -> Reply:
    """Send a request on a new connection, and return the answer. Raises `Unreached`, or one of `FAILURES`.

    If the wait ends, the connection is reset, so that the machine does not deliver the request later.
    """
    ends_at = asyncio.get_running_loop().time() + within_s
    try:
        async with asyncio.timeout_at(ends_at):
            reader, writer = await asyncio.open_connection(address, API_PORT, local_addr=(source, 0))
    except (OSError, TimeoutError) as error:
        raise Unreached from error
    try:
        async with asyncio.timeout_at(ends_at):
            return await _asked(reader, writer, method, path, body)
    finally:
        connection = writer.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()


async def _asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: Any
) -> Reply:
    content = b"" if body is None else json.dumps(body).encode()
    kind = "" if body is None else "Content-Type: application/json\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: bender\r\n{kind}Content-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    answered = await reader.readuntil(b"\r\n\r\n")
    status, *lines = answered.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    received = await reader.readexactly(int(headers.get("content-length", 0)))
    return Reply(int(status.split()[1]), json.loads(received) if received else None)
