"""What clients can do with consumers: see how far each has got, and be one without a stream."""

from __future__ import annotations

from typing import Any

import msgspec

from bender.api.answers import Answer, Asked, encode, listed, shown
from bender.core.consumer import Consumer, parse_confirmation
from bender.core.model import parse_name
from bender.node import Node


def confirm(node: Node, asked: Asked) -> Answer:
    (name,) = asked.path
    consumer = node.consumers.confirm(parse_name("name", name), parse_confirmation(asked.body))
    return shown(asked, encode(_fields(consumer)))


async def everybody(node: Node, asked: Asked) -> Answer:
    return listed(asked, [encode(_fields(consumer)) for consumer in await node.all_consumers()])


def _fields(consumer: Consumer) -> dict[str, Any]:
    """What is of interest to clients: what one has `applied` is an answer to a question that they did not ask."""
    fields: dict[str, Any] = msgspec.to_builtins(consumer)
    del fields["applied"]
    return fields
