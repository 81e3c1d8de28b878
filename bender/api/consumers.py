"""The commands of clients for consumers: list them with their positions, and confirm events without a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bender.api.responses import ApiRequest, ApiResponse, array_response, encode, json_response
from bender.core.consumers import ConsumerState, parse_confirmation, same_name_problem
from bender.core.model import parse_name
from bender.node.consumer_limits import Origin
from bender.node.node import Node
from bender.node.propagation import shared_consumer_names


def confirm(node: Node, request: ApiRequest) -> ApiResponse:
    """Note the confirmation of a consumer, and answer with its state."""
    (name,) = request.path
    name = parse_name("name", name)
    confirmed = node.consumers.confirm(name, parse_confirmation(request.body), Origin(request.address))
    return json_response(request, encode(_fields(confirmed, node.shared_consumers(name))))


async def list_consumers(node: Node, request: ApiRequest) -> ApiResponse:
    """Answer with the consumers of all nodes that answer."""
    consumers = await node.all_consumers()
    shared = shared_consumer_names(consumers)
    return array_response(request, [encode(_fields(each, shared)) for each in consumers])


def _fields(consumer: ConsumerState, shared: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return a consumer as clients see it: without `applied`, which is only for peers that wait."""
    instances = shared.get(consumer.name)
    return {
        "name": consumer.name,
        "instance": consumer.instance,
        "node": consumer.node,
        "connected": consumer.connected,
        "cursor": consumer.cursor,
        "behind": consumer.behind,
        "at": consumer.at_ms,
        "report": consumer.report,
        "warning": None if instances is None else same_name_problem(consumer.name, instances),
    }
