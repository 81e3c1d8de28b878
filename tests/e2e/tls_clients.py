"""Clients without bender's code, on blocking sockets: TLS and tokens as programs in other languages use them."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

#: The time limit for each wait on a socket.
SOCKET_S_MAX = 30.0


@frozen
class HttpAnswer:
    """An answer: its status, its headers with names in lower case, and its decoded JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        """Return the code of an error; empty for other answers."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


def trusting(ca: Path | None, identity: Path | None = None) -> ssl.SSLContext:
    """Return a context that trusts only this CA, or any server, and uses the certificate in a directory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(ca)
    if identity is not None:
        context.load_cert_chain(identity / "cert.pem", identity / "key.pem")
    return context


def connected(port: int, context: ssl.SSLContext | None, host: str = "127.0.0.1") -> socket.socket:
    """Return a connection to a port of this machine; without a context it does not use TLS."""
    plain = socket.create_connection(("127.0.0.1", port), SOCKET_S_MAX)
    return plain if context is None else context.wrap_socket(plain, server_hostname=host)


def http(
    port: int,
    context: ssl.SSLContext | None,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> HttpAnswer:
    """Send one request on a new connection, and return the answer."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: node", "Connection: close", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    with connected(port, context) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        received = read_to_end(connection)
    head, _, rest = received.partition(b"\r\n\r\n")
    first, *others = head.decode("latin-1").split("\r\n")
    named = dict(line.lower().split(": ", 1) for line in others)
    return HttpAnswer(int(first.split()[1]), named, json.loads(rest) if rest else None)


def read_to_end(connection: socket.socket) -> bytes:
    """Return everything until the other side closes the connection."""
    pieces = []
    while piece := connection.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


def read_lines(connection: socket.socket, count: int) -> list[dict[str, Any]]:
    """Return the next lines, or fewer if the connection is closed earlier."""
    received = b""
    while received.count(b"\n") < count and (piece := connection.recv(65_536)):
        received += piece
    return [json.loads(line) for line in received.splitlines()]
