"""The transport on asyncio, for commands that end after a few requests.

The import of Twisted's reactor takes several times as much processor time as the rest of such a command. The limits,
headers and error messages are those of `bender.client.twisted_http`. Each request has its own connection. No request is
sent twice.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import h11
from attrs import evolve

from bender.client.transport import (
    ANSWER_BYTES_MAX,
    CONNECT_S_MAX,
    WARNINGS_HEADER,
    ConnectionSecurity,
    TooLong,
    body_bytes_max,
    parse_warnings,
    too_long_error,
)
from bender.client.types import Reply
from bender.net.addresses import NoAnswer
from bender.tls.problems import reason_clause, verification_clause

#: Seconds without an answer after which `hedged` asks the next node as well.
HEDGE_S = 0.3

#: After this number of nodes that may hang, `hedged` asks all others at once, `CONCURRENT_MAX` at a time.
HANGING_MAX = 2
CONCURRENT_MAX = 50

#: The largest number of bytes that are read at a time.
_READ_BYTES = 65_536

_T = TypeVar("_T")


class AsyncioHttp:
    """Send requests to nodes on asyncio. Raises `ValueError` if the certificates in `security` cannot be read."""

    def __init__(self, security: ConnectionSecurity) -> None:
        self._security = security
        self._trusted = None if security.ca is None else _trusting_context(security.ca)
        #: Nodes that did not answer their last request in time, and nodes that did.
        self.slow_nodes: set[str] = set()
        self.answered_nodes: set[str] = set()

    async def ask(
        self,
        node: str,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        within_s: float,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> Reply:
        """Send a request to a node, and return its whole answer: see `Transport`."""
        self.slow_nodes.add(node)  # until it answers or the connection fails; it stays slow if the request is cancelled
        self.answered_nodes.discard(node)
        try:
            async with asyncio.timeout(within_s) as limit:
                reply = await self._ask(node, method, path, body, headers, bytes_max)
        except TimeoutError as error:
            if limit.expired():
                raise NoAnswer(f"does not answer within {within_s:g} s") from None
            raise NoAnswer(f"does not answer ({_failure_clause(error)})") from error
        except (OSError, h11.RemoteProtocolError, TooLong) as error:
            self.slow_nodes.discard(node)
            raise NoAnswer(f"does not answer ({_failure_clause(error)})") from error
        self.slow_nodes.discard(node)
        self.answered_nodes.add(node)
        return reply

    async def follow(self, node: str, path: str, receiver: Any, within_s: float) -> NoReturn:
        """Raise `NotImplementedError`: following events needs a reactor."""
        raise NotImplementedError("asyncio cannot follow events: use the Twisted client")

    def use_token(self, token: str | None) -> None:
        """Send this token from now on."""
        self._security = evolve(self._security, token=token)

    async def close(self) -> None:
        """Do nothing: there are no idle connections."""

    async def _ask(
        self, node: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str], bytes_max: int
    ) -> Reply:
        secured = self._security.headers(node)
        url = urlsplit(self._security.url(node, ""))
        host, encrypted = url.hostname or "", url.scheme == "https"
        reader, writer = await _connect(host, url.port or (443 if encrypted else 80), self._tls(encrypted=encrypted))
        try:
            all_headers = {"Host": url.netloc, "Connection": "close", **headers, **secured}
            if body is not None:
                all_headers["Content-Length"] = str(len(body))
            connection = h11.Connection(h11.CLIENT)
            sent: list[h11.Event] = [h11.Request(method=method, target=path, headers=[*all_headers.items()])]
            sent += [] if body is None else [h11.Data(data=body)]
            writer.write(b"".join(connection.send(each) or b"" for each in (*sent, h11.EndOfMessage())))
            return await read_reply(node, connection, reader, bytes_max)
        finally:
            writer.transport.abort()  # the answer was read or is no longer needed, so there is nothing to flush

    def _tls(self, *, encrypted: bool) -> ssl.SSLContext | None:
        if not encrypted:
            return None
        return self._trusted or ssl.create_default_context()


async def hedged(
    nodes: Sequence[str],
    attempt: Callable[[str], Coroutine[Any, Any, _T]],
    on_failure: Callable[[str, NoAnswer], None],
    hedge_s: float = HEDGE_S,
) -> tuple[str, _T] | None:
    """Ask the next node as well when a node takes longer than `hedge_s`, and return the first answer.

    This is a `NodeSearch`. Use it only for requests that change nothing, because several nodes may get the request.
    """
    rest, asked, hanging = [*nodes], dict[asyncio.Task[_T], str](), 0
    try:
        while rest or asked:
            together = 1 if hanging < HANGING_MAX else CONCURRENT_MAX
            for node in rest[:together]:
                asked[asyncio.create_task(attempt(node))] = node
            del rest[:together]
            done, _ = await asyncio.wait(asked, timeout=hedge_s if rest else None, return_when=asyncio.FIRST_COMPLETED)
            hanging += not done
            for task in [each for each in asked if each in done]:
                node = asked.pop(task)
                try:
                    found = task.result()
                except NoAnswer as no_answer:
                    on_failure(node, no_answer)
                    continue
                for late in asked.values():
                    on_failure(late, NoAnswer("has not answered yet"))
                return node, found
        return None
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _connect(
    host: str, port: int, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection to the first address of a host that accepts one. Raises `OSError` if no address does."""
    problem: OSError = OSError("its name has no address")
    secured: dict[str, Any] = {} if tls is None else {"ssl": tls, "server_hostname": host}
    for address in await _addresses(host, port):
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                return await asyncio.open_connection(address, port, **secured)
        except TimeoutError:
            problem = TimeoutError(f"no connection within {CONNECT_S_MAX:g} s")
        except OSError as error:
            problem = error
    raise problem


async def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises `OSError` if it has none.

    A thread looks them up, and the program ends without waiting for it, because a name server may not answer.
    """
    with suppress(ValueError):
        ip_address(host)
        return [host]
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], error: OSError | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(addresses)
        else:
            found.set_exception(error)

    def look_up() -> None:
        addresses: list[str] = []
        problem = None
        try:
            listed = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = [*dict.fromkeys(str(address[0]) for *_, address in listed)]
        except (OSError, UnicodeError) as error:
            problem = error if isinstance(error, OSError) else OSError(str(error))
        with suppress(RuntimeError):  # the loop is closed, so the result is not needed
            loop.call_soon_threadsafe(partial(settle, addresses, problem))

    threading.Thread(target=look_up, daemon=True).start()
    return await found


async def read_reply(node: str, connection: h11.Connection, reader: asyncio.StreamReader, bytes_max: int) -> Reply:
    """Return the answer to a request that was sent on this connection.

    Raises `TooLong` if the answer has more than `bytes_max` bytes, and `OSError` or `h11.RemoteProtocolError` if it is
    incomplete or invalid.
    """
    status, etag, warned, left, pieces = 0, None, None, bytes_max, list[bytes]()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Response):
            status, left = event.status_code, body_bytes_max(event.status_code, bytes_max)
            bytes_max = left
            headers = {name: value.decode("latin-1") for name, value in event.headers}
            etag, warned = headers.get(b"etag"), headers.get(WARNINGS_HEADER.lower().encode())
            if etag is not None and not etag.isascii():  # it could not be sent back
                raise h11.RemoteProtocolError("its ETag is not ASCII")
        elif isinstance(event, h11.Data):
            left -= len(event.data)
            if left < 0:
                raise too_long_error(bytes_max)
            pieces.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            return Reply(node, status, b"".join(pieces), etag, parse_warnings(warned))
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError("it closed the connection")


def _trusting_context(pem: bytes) -> ssl.SSLContext:
    """Return a TLS context that trusts only these authorities. Raises `ValueError` if they cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    text = pem.decode("ascii", "replace")
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ValueError("holds no certificate (PEM)")
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("holds a certificate that cannot be read") from error
    return context


def _failure_clause(error: Exception) -> str:
    """Return the reason of a failure in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return verification_clause(error.verify_code, error.verify_message)
    if isinstance(error, h11.RemoteProtocolError):
        closed = "closed" in str(error)
        return "it closed the connection" if closed else "its answer is not HTTP"
    if isinstance(error, ssl.SSLError):
        return reason_clause(error.reason or str(error))
    if isinstance(error, socket.gaierror):
        return str(error.strerror).lower()
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
