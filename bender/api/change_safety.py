"""Changes judged by what a node lists, and the answers that refuse them or warn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bender.api.responses import ApiRequest, ApiResponse, Headers, encode, forced, refusal_response
from bender.core.change_safety import NAMES_MAX, Impact, Settings
from bender.core.force_option import FORCE_IN_API
from bender.core.members import AWAY
from bender.core.object_kinds import Kind
from bender.core.routing import BACKEND
from bender.net.escaping import escaped_json
from bender.node.node import Node

#: The header that has what is allowed and rarely meant, as a list of sentences in JSON of ASCII.
WARNINGS = b"X-Bender-Warnings"

#: Bytes of that header: many a client takes no more than 8 KiB of all headers.
WARNINGS_BYTES_MAX = 4096


class _Weight(msgspec.Struct):
    weight: int


_weight = msgspec.json.Decoder(_Weight)
_settings = msgspec.json.Decoder(dict[str, Any])


class NodeListing:
    """What a node lists at this moment."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def taking_traffic(self, app: str, version: str) -> Iterator[str]:
        for claim in self._node.each_claim(app, version):
            if self._node.registration_status(claim.key).state not in AWAY and _weight.decode(claim.body).weight:
                yield claim.key

    def count(self, app: str, version: str) -> int:
        return self._node.count(app, version)

    def is_listed(self, id_: str) -> bool:
        return self._node.claim(id_) is not None

    def objects(self, kind: str) -> Iterable[Settings]:
        return map(_settings.decode, self._node.configured_objects(kind))

    def backend(self, name: str) -> Settings | None:
        body = self._node.configured_object(BACKEND.key(name))
        return None if body is None else _settings.decode(body)


def impact_at(node: Node) -> Impact:
    """Return what judges changes by what a node lists."""
    return Impact(NodeListing(node))


def refuse_harm(
    node: Node, request: ApiRequest, kind: Kind, before: bytes | None, after: bytes | None, *, back: bool = False
) -> ApiResponse | None:
    """Return the refusal of a change that would take traffic away, None if it would not or is forced.

    `before` and `after` are the encoded object, None where there is none; `back` is for one that is set back.
    """
    if forced(request) or before == after:
        return None
    impact = impact_at(node)
    old = None if before is None else _settings.decode(before)
    if after is None:
        return refusal_for(node, impact.of_removal(old) if kind is BACKEND and old is not None else None)
    new = _settings.decode(after)
    return refusal_for(
        node, impact.of_backend(old, new, back=back) if kind is BACKEND else impact.of_frontend(old, new)
    )


def refusal_for(node: Node, why: str | None) -> ApiResponse | None:
    """Return the refusal of a change for a reason, None where there is none."""
    if why is None:
        return None
    text = f"{why} (according to {node.name}). Nothing was changed; {FORCE_IN_API}"
    return refusal_response("CONFLICT", text)


def warnings_for(node: Node, kind: Kind, body: bytes) -> Headers:
    """Return the headers that warn of an object as it is set now; none where all is well."""
    impact, settings = impact_at(node), _settings.decode(body)
    warnings = impact.warnings_of_backend(settings) if kind is BACKEND else impact.warnings_of_frontend(settings)
    return warning_headers([*warnings, *_unknown(kind, settings)])


def _unknown(kind: Kind, settings: Mapping[str, Any]) -> list[str]:
    return [
        f"{field} is not a field of a {kind.name} and is ignored: move it into meta, or remove it with null"
        for field in kind.unknown(settings)
    ]


def warning_headers(warnings: Sequence[str]) -> Headers:
    """Return the headers that have warnings, as many as fit."""
    for number in range(min(len(warnings), NAMES_MAX), 0, -1):
        value = escaped_json(encode(warnings[:number]).decode(), ascii_only=True).encode()
        if len(value) <= WARNINGS_BYTES_MAX:
            return ((WARNINGS, value),)
    return ()
