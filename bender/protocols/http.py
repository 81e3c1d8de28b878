"""The protocols that a node serves at its API, with their routes.

Each protocol is on unless the operator switches it off by name (`--disable`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from bender.api.route import Route
from bender.node.node import Node
from bender.protocols import prometheus_sd

#: The functions that return the routes of each protocol at a node, by the name of the protocol in `--disable`.
PROTOCOLS: Mapping[str, Callable[[Node], Sequence[Route]]] = {"prometheus": prometheus_sd.routes}


def routes_of(node: Node, disabled: Collection[str] = ()) -> list[Route]:
    """Return the routes of all protocols that are not disabled."""
    return [route for name, routes in PROTOCOLS.items() if name not in disabled for route in routes(node)]
