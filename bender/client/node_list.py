"""The order in which a client asks nodes.

The client asks the node that answered last again, so that the renewals of an instance make only one claim. If this node
does not answer, the client asks the others in turn: first the configured nodes, then those learned from other nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, MutableSequence

from bender.core.hosts import canonical_host, parse_port
from bender.core.invalid import Invalid
from bender.net.addresses import host_port

#: The default port of a node's API.
API_PORT = 1729

#: The largest number of nodes that a client learns from a node, or asks at the same time.
NODES_MAX = 1000

_NODE = re.compile(r"(https?://)?(?:\[([^\]]*)\]|([^:/\[\]]*))(?::([^/]*))?/?")
_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")


def parse_nodes(text: str) -> tuple[str, ...]:
    """Return the addresses of nodes in a text `HOST[:PORT],…`, as `HOST:PORT`.

    `http://` or `https://` may precede a host, and stays in its address. Raises `ValueError` for an invalid address,
    with a message that quotes it, and for a text without addresses.
    """
    nodes = tuple(dict.fromkeys(_parse_node(each.strip()) for each in text.split(",") if each.strip()))
    if not nodes:
        raise ValueError("no node is given: give HOST:PORT, several with commas between them")
    return nodes


def _parse_node(text: str) -> str:
    if _IPV6.fullmatch(text):
        text = f"[{text}]"
    match = _NODE.fullmatch(text)
    scheme, bracketed, host, port = match.groups() if match else (None, None, "", None)
    try:
        address = host_port(canonical_host(bracketed or host), API_PORT if port is None else parse_port(port))
    except Invalid as error:
        raise ValueError(f"{text!r} is not a node: give HOST, HOST:PORT or http(s)://HOST:PORT") from error
    return f"{scheme or ''}{address}"


class NodeList:
    """The known nodes, as `parse_nodes` returns them, in the order in which a client asks them.

    `shuffle` puts the configured nodes into an order. The order should differ between clients, so that they do not all
    ask the same node.
    """

    def __init__(self, configured: Iterable[str], shuffle: Callable[[MutableSequence[str]], None]) -> None:
        self._configured = [*dict.fromkeys(configured)]
        if not self._configured:
            raise ValueError("a client must know at least one node")
        shuffle(self._configured)
        self._learned: list[str] = []
        self._last: str | None = None

    @property
    def last(self) -> str | None:
        """The node that answered last; None before the first answer."""
        return self._last

    def in_turn(self) -> list[str]:
        """Return all nodes: the node that answered last, then the nodes that follow it, then the nodes before it."""
        known = [*self._configured, *(node for node in self._learned if node not in self._configured)]
        start = known.index(self._last) if self._last in known else 0
        return known[start:] + known[:start]

    def note_answer(self, node: str) -> None:
        """Put this node first from now on, because it has answered."""
        self._last = node

    def learn(self, nodes: Iterable[str]) -> None:
        """Replace the learned nodes by these. The configured nodes stay."""
        self._learned = [*dict.fromkeys(nodes)]
