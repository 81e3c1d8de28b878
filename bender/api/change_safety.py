"""Checks of changes against the registrations that a node lists, and the answers that refuse a change or warn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bender.api.responses import ApiRequest, ApiResponse, Headers, encode, is_forced, refusal_response
from bender.core.change_safety import NAMES_MAX, Impact, Settings
from bender.core.force_option import FORCE_IN_API
from bender.core.members import STATES_WITHOUT_TRAFFIC
from bender.core.object_kinds import Kind
from bender.core.routing import BACKEND
from bender.net.escaping import escaped_json
from bender.node.node import Node

#: The header with warnings about an accepted change that is rarely intended: a JSON list of sentences, in ASCII.
WARNINGS = b"X-Bender-Warnings"

#: The most bytes of that header: many clients accept only 8 KiB of headers in total.
WARNINGS_BYTES_MAX = 4096


class _Weight(msgspec.Struct):
    weight: int


_weight = msgspec.json.Decoder(_Weight)
_settings = msgspec.json.Decoder(dict[str, Any])


class NodeListing:
    """The registrations, backends and frontends that a node lists now, for the rules of the core."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def taking_traffic(self, app: str, version: str) -> Iterator[str]:
        """Yield the ids of the members of a version that receive requests."""
        for claim in self._node.each_claim(app, version):
            if (
                self._node.registration_status(claim.key).state not in STATES_WITHOUT_TRAFFIC
                and _weight.decode(claim.body).weight
            ):
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
    """Return the rules that judge changes by the present state of a node."""
    return Impact(NodeListing(node))


def harm_refusal(
    node: Node, request: ApiRequest, kind: Kind, before: bytes | None, after: bytes | None, *, back: bool = False
) -> ApiResponse | None:
    """Return the refusal of a change that would stop traffic; None if it would not, or is forced.

    `before` and `after` are the encoded object, None if there is none. `back`: the change is a rollback.
    """
    if is_forced(request) or before == after:
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
    """Return the refusal of a change, with the reason; None without a reason."""
    if why is None:
        return None
    text = f"{why} (according to {node.name}). Nothing was changed; {FORCE_IN_API}"
    return refusal_response("CONFLICT", text)


def warnings_for(node: Node, kind: Kind, body: bytes) -> Headers:
    """Return the headers with the warnings about an object's present settings; none without warnings."""
    impact, settings = impact_at(node), _settings.decode(body)
    warnings = impact.warnings_of_backend(settings) if kind is BACKEND else impact.warnings_of_frontend(settings)
    return warning_headers([*warnings, *_unknown(kind, settings)])


def _unknown(kind: Kind, settings: Mapping[str, Any]) -> list[str]:
    return [
        f"{field} is not a field of a {kind.name} and is ignored: move it into meta, or remove it with null"
        for field in kind.unknown_fields(settings)
    ]


def warning_headers(warnings: Sequence[str]) -> Headers:
    """Return the headers with as many of the warnings as fit."""
    for number in range(min(len(warnings), NAMES_MAX), 0, -1):
        value = escaped_json(encode(warnings[:number]).decode(), ascii_only=True).encode()
        if len(value) <= WARNINGS_BYTES_MAX:
            return ((WARNINGS, value),)
    return ()
