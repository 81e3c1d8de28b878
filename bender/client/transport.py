"""The interface of transports: one request to one node, in bounded time and with a bounded answer.

`bender.client.twisted_http` is the transport on Twisted's reactor, `bender.client.asyncio_http` the one for commands
that end after a few requests. The limits and the token are the same for both.
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

#: Bytes of an answer that is not a list. The longest of a node, about 10,000 peers, has 2 MB.
ANSWER_BYTES_MAX = 16 * 1024 * 1024

#: Bytes of an answer with a refusal.
REFUSAL_BYTES_MAX = 64 * 1024

#: Characters of a name in a header that are not percent-encoded, besides letters and digits.
_PLAIN = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"

#: The header of an answer that has warnings (`bender.api.change_safety` sets it), and what is read of it.
WARNINGS = "X-Bender-Warnings"
WARNINGS_MAX = 20

_T = TypeVar("_T")


def warnings_in(header: str | None) -> tuple[str, ...]:
    """Return the warnings of an answer; none where the header is not that of a node."""
    try:
        found = () if header is None else msgspec.json.decode(header, type=tuple[str, ...])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ()
    return found[:WARNINGS_MAX]


@frozen
class ConnectionSecurity:
    """How to speak with nodes: `token` is shown to them, `ca` (PEM) must have signed their certificates.

    With `ca`, nodes without a scheme are spoken to by TLS. `author` is the name that histories show for settings. The
    token goes only to nodes whose certificate was verified, and without `ca` to those of this machine; `insecure` is
    for networks that encrypt by other means.
    """

    token: str | None = None
    ca: bytes | None = None
    author: str | None = None
    insecure: bool = False

    def url(self, node: str, path: str) -> str:
        """Return the URL of a path, which is percent-encoded already."""
        if "://" in node:
            return node + path
        return f"http{'s' if self.ca else ''}://{node}{path}"

    def headers(self, node: str) -> dict[str, str]:
        """Return the headers of requests to a node. Raises `NoAnswer` if the token must not be sent to it."""
        token = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        if token and not self._is_trusted(node):
            raise NoAnswer(
                "is not asked, because the token would be sent to it unencrypted: use TLS (--ca FILE, or https://), or "
                "--insecure where the network itself is encrypted"
            )
        return token if self.author is None else {**token, "X-Bender-As": quote(self.author, safe=_PLAIN)}

    def _is_trusted(self, node: str) -> bool:
        """Return True if the certificate of a node is verified, or if a token may be sent to it without that."""
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
        """Return the whole answer, of at most `bytes_max`, within `within_s` seconds. Raises `NoAnswer`."""
        ...

    async def follow(self, node: str, path: str, receiver: Any, within_s: float) -> Any:
        """Begin an answer without an end, whose body goes to `receiver`. Raises `NoAnswer` if it does not begin."""
        ...

    def use_token(self, token: str | None) -> None:
        """Send this token from now on."""
        ...

    async def close(self) -> None:
        """End the idle connections."""


class TooLong(Exception):
    """An answer is longer than any of a node. The message says how long that is."""


def body_bytes_max(status: int, bytes_max: int) -> int:
    """Return how many bytes an answer with this status may have, if it may have `bytes_max` when it succeeds."""
    return min(bytes_max, REFUSAL_BYTES_MAX) if status >= 400 else bytes_max


def too_long(bytes_max: int) -> TooLong:
    return TooLong(f"its answer has more than {bytes_max // 1024} KiB")


class NodeSearch(Protocol):
    """A way to find a node that answers."""

    async def __call__(
        self,
        nodes: Sequence[str],
        attempt: Callable[[str], Coroutine[Any, Any, _T]],
        on_failure: Callable[[str, NoAnswer], None],
    ) -> tuple[str, _T] | None:
        """Return the first node that answers `attempt`, and its answer; None if none of them does.

        `on_failure` is called with each node that did not answer before that.
        """
        ...


async def one_by_one(
    nodes: Sequence[str],
    attempt: Callable[[str], Awaitable[_T]],
    on_failure: Callable[[str, NoAnswer], None],
) -> tuple[str, _T] | None:
    """Ask the next node when the one before it has not answered."""
    for node in nodes:
        try:
            return node, await attempt(node)
        except NoAnswer as no_answer:
            on_failure(node, no_answer)
    return None
