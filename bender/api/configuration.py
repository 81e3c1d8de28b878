"""What clients can do with backends and frontends."""

from __future__ import annotations

from typing import Any

import msgspec

from bender.api.answers import (
    JSON_ALONE,
    Answer,
    Asked,
    Command,
    Later,
    encode,
    listed,
    located,
    location,
    not_found,
    refused,
    shown_or_not_found,
)
from bender.api.registrations import selected
from bender.core import model
from bender.core.model import BACKEND, FRONTEND, Kind
from bender.node import Node


def create(kind: Kind) -> Command:
    def create(node: Node, asked: Asked) -> Answer:
        sent = model.parse_object(asked.body)
        name = model.name_of(sent)
        body = kind.body(name, sent)
        if node.configured(kind.key(name)) is not None:
            return refused("CONFLICT", f"there is a {kind.name} {name} already")
        node.configure(kind.key(name), body, asked.author)
        return _created(kind, name, body)

    return create


def put(kind: Kind) -> Command:
    def put(node: Node, asked: Asked) -> Answer:
        (name,) = asked.path
        existing = node.configured(kind.key(name))
        body = kind.body(name, model.parse_object(asked.body), existing)
        if body != existing:  # one that changes nothing would only push an older setting out of the history
            node.configure(kind.key(name), body, asked.author)
        return _created(kind, name, body) if existing is None else Answer(200, body, JSON_ALONE)

    return put


def _created(kind: Kind, name: str, body: bytes) -> Answer:
    """201 with the object, and in the body too where it is, as clients of the original expect it of a frontend."""
    key = kind.key(name)
    if kind is FRONTEND:
        document: dict[str, Any] = msgspec.json.decode(body)
        body = encode(document | {"location": location(key).decode()})
    return located(201, body, key)


def remove(kind: Kind) -> Command:
    def remove(node: Node, asked: Asked) -> Answer:
        key = _key(kind, asked)
        if node.configured(key) is None:
            return not_found(key)
        node.configure(key, None, asked.author)
        return Answer(204)

    return remove


def one(kind: Kind) -> Command:
    def one(node: Node, asked: Asked) -> Answer:
        key = _key(kind, asked)
        return shown_or_not_found(asked, node.configured(key), key)

    return one


def all_of(kind: Kind) -> Command:
    return lambda node, asked: listed(asked, node.configuration(kind.name))


def members(node: Node, asked: Asked) -> Answer | Later:
    key = _key(BACKEND, asked)
    body = node.configured(key)
    if body is None:
        return not_found(key)
    backend: dict[str, Any] = msgspec.json.decode(body)
    return selected(node, asked, backend["app"], backend["version"])


def _key(kind: Kind, asked: Asked) -> str:
    (name,) = asked.path
    return kind.key(model.parse_name("name", name))
