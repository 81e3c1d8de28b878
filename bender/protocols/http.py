"""The protocols that a node serves at its API, and the routes of each.

They are on unless the operator switches them off by name (`--disable`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from bender.api.route import Route
from bender.node.node import Node
from bender.protocols import prometheus_sd

#: The protocols by the names by which they are switched off. Each makes its routes at a node.
PROTOCOLS: Mapping[str, Callable[[Node], Sequence[Route]]] = {"prometheus": prometheus_sd.routes}


def routes_of(node: Node, disabled: Collection[str] = ()) -> list[Route]:
    """Return the routes of all protocols but those that are disabled."""
    return [route for name, routes in PROTOCOLS.items() if name not in disabled for route in routes(node)]
