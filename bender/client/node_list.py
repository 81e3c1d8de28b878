"""The order in which nodes are asked.

The node that answered last is asked again, so that an instance that renews costs one claim in all; if it does not
answer, the others follow in turn. Configured nodes come first, then the nodes that were learned from others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, MutableSequence

from bender.core.hosts import canonical_host, parse_port
from bender.core.invalid import Invalid
from bender.net.addresses import host_port

#: The default port of a node's API.
API_PORT = 1729

#: The largest number of nodes that are learned from a node, or asked at the same time.
NODES_MAX = 1000

_NODE = re.compile(r"(https?://)?(?:\[([^\]]*)\]|([^:/\[\]]*))(?::([^/]*))?/?")
_IPV6 = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")


def parse_nodes(text: str) -> tuple[str, ...]:
    """Return the nodes in `HOST[:PORT],…`, each as a URL without a path; `http://` or `https://` may precede each.

    Raises `ValueError`, whose message names the one that is wrong.
    """
    nodes = tuple(dict.fromkeys(_node(each.strip()) for each in text.split(",") if each.strip()))
    if not nodes:
        raise ValueError("no node is given: give HOST:PORT, several with commas between them")
    return nodes


def _node(text: str) -> str:
    if _IPV6.fullmatch(text):
        text = f"[{text}]"
    match = _NODE.fullmatch(text)
    scheme, bracketed, host, port = match.groups() if match else (None, None, "", None)
    try:
        there = host_port(canonical_host(bracketed or host), API_PORT if port is None else parse_port(port))
    except Invalid as error:
        raise ValueError(f"{text!r} is not a node: give HOST, HOST:PORT or http(s)://HOST:PORT") from error
    return f"{scheme or ''}{there}"


class NodeList:
    """The nodes that are known, as `parse_nodes` gives them, in the order in which they are tried.

    `shuffle` puts those that were configured into an order, best another one for each client, so that not all ask the
    same node.
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
        """The node that answered last; None if none has."""
        return self._last

    def in_turn(self) -> list[str]:
        """Return all nodes: first the one that answered last, then those that follow it, then those before it."""
        known = [*self._configured, *(node for node in self._learned if node not in self._configured)]
        start = known.index(self._last) if self._last in known else 0
        return known[start:] + known[:start]

    def answered(self, node: str) -> None:
        self._last = node

    def learn(self, nodes: Iterable[str]) -> None:
        """Use these nodes as well, instead of those that were learned before."""
        self._learned = [*dict.fromkeys(nodes)]
