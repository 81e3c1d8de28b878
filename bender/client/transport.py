"""The interface of transports, and all that they share: limits, the token, warnings, and the order of attempts.

A transport sends one request to one node, in bounded time and with a bounded answer. `bender.client.twisted_http` has
the transport on Twisted's reactor, `bender.client.asyncio_http` the transport for commands that end after a few
requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
from attrs import frozen

from bender.client.types import Reply
from bender.core.hosts import is_loopback
from bender.net.addresses import NoAnswer

#: Time limit to connect, which takes a millisecond on the same network; a node that is down must not delay a client.
CONNECT_S_MAX = 2.0

#: Limit for the bytes of an answer that is not a list. The longest answer of a node, about 10,000 peers, has 2 MB.
ANSWER_BYTES_MAX = 16 * 1024 * 1024

#: Limit for the bytes of an answer with a refusal.
REFUSAL_BYTES_MAX = 64 * 1024

#: Characters of a name in a header that are not percent-encoded, besides letters and digits.
_NOT_ENCODED = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"

#: The header of an answer that has warnings (`bender.api.change_safety` sets it), and the number of them that are read.
WARNINGS_HEADER = "X-Bender-Warnings"
WARNINGS_MAX = 20

_T = TypeVar("_T")


def parse_warnings(header: str | None) -> tuple[str, ...]:
    """Return the warnings in the header of an answer, or none if the header is not from a node."""
    try:
        found = () if header is None else msgspec.json.decode(header, type=tuple[str, ...])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ()
    return found[:WARNINGS_MAX]


@frozen
class ConnectionSecurity:
    """The token and certificates for connections to nodes.

    `ca` has the certificates (PEM) of the authorities that must have signed the nodes' certificates. With `ca`, the
    client uses TLS for nodes without a scheme. `author` is the name that histories show for changes. `token` is sent
    only to nodes whose certificate was verified and, without `ca`, to nodes on this machine. `insecure` allows it for
    all nodes, for networks that encrypt by other means.
    """

    token: str | None = None
    ca: bytes | None = None
    author: str | None = None
    insecure: bool = False

    def url(self, node: str, path: str) -> str:
        """Return the URL of a path at a node. The path must be percent-encoded."""
        if "://" in node:
            return node + path
        return f"http{'s' if self.ca else ''}://{node}{path}"

    def headers(self, node: str) -> dict[str, str]:
        """Return the headers of requests to a node. Raises `NoAnswer` if the token must not be sent to it."""
        token = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        if token and not self._is_trusted(node):
            raise NoAnswer(
                "is not asked, because the token would be sent to it unencrypted: use TLS (--ca FILE, or https://), or "
                "--insecure if the network itself is encrypted"
            )
        return token if self.author is None else {**token, "X-Bender-As": quote(self.author, safe=_NOT_ENCODED)}

    def _is_trusted(self, node: str) -> bool:
        """Return True if the token may be sent to a node: its certificate is verified, or need not be."""
        url = urlsplit(self.url(node, ""))
        return url.scheme == "https" or self.insecure or (self.ca is None and is_loopback(url.hostname or ""))


class Transport(Protocol):
    """Sends requests to nodes."""

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
        """Send a request to a node, and return its whole answer.

        Raises `NoAnswer` if the answer does not arrive within `within_s` seconds, or has more than `bytes_max` bytes.
        """
        ...

    async def follow(self, node: str, path: str, receiver: Any, within_s: float) -> Any:
        """Request an endless answer, whose body goes to `receiver`, and return it once its head has arrived.

        Raises `NoAnswer` if the head does not arrive within `within_s` seconds.
        """
        ...

    def use_token(self, token: str | None) -> None:
        """Send this token from now on."""
        ...

    async def close(self) -> None:
        """End the idle connections."""


class TooLong(Exception):
    """An answer is longer than any answer of a node. The message has the limit."""


def body_bytes_max(status: int, bytes_max: int) -> int:
    """Return the largest number of bytes of an answer with this status; `bytes_max` is that of a success."""
    return min(bytes_max, REFUSAL_BYTES_MAX) if status >= 400 else bytes_max


def too_long_error(bytes_max: int) -> TooLong:
    """Return the error for an answer with more than `bytes_max` bytes."""
    return TooLong(f"its answer has more than {bytes_max // 1024} KiB")


class NodeSearch(Protocol):
    """A way to find a node that answers."""

    async def __call__(
        self,
        nodes: Sequence[str],
        attempt: Callable[[str], Coroutine[Any, Any, _T]],
        on_failure: Callable[[str, NoAnswer], None],
    ) -> tuple[str, _T] | None:
        """Return a node for which `attempt` succeeds and its result, or None if `attempt` fails for all nodes.

        `attempt` raises `NoAnswer` for a node that does not answer; `on_failure` is then called with both.
        """
        ...


async def one_by_one(
    nodes: Sequence[str],
    attempt: Callable[[str], Awaitable[_T]],
    on_failure: Callable[[str, NoAnswer], None],
) -> tuple[str, _T] | None:
    """Ask one node after the other until one answers: see `NodeSearch`."""
    for node in nodes:
        try:
            return node, await attempt(node)
        except NoAnswer as no_answer:
            on_failure(node, no_answer)
    return None
