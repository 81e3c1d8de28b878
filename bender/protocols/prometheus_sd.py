"""HTTP service discovery of Prometheus (`http_sd_configs`): registrations as targets.

Every registration that is listed is a target, also one that is drained, in maintenance or suspect: an instance without
traffic is still monitored, and its labels let people choose otherwise. Prometheus drops a whole list for one field or
label that it does not accept, so all of a registration is made to fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from bender.api.responses import Answered, ApiRequest, encode, fields, listing_response, require_known
from bender.api.route import Route
from bender.core.model import Terms, parse_name
from bender.core.registration_status import RegistrationStatus
from bender.net.addresses import host_port
from bender.node.listings import ListForm, Listings
from bender.node.node import Node

PATH = "/sd/prometheus"

#: The fields of a query, each of which selects registrations.
SELECTED_BY = ("app", "version")

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")


class _TargetGroup(msgspec.Struct):
    targets: list[str]
    labels: dict[str, str]


def routes(node: Node) -> list[Route]:
    """Return the route at which Prometheus asks a node for targets."""
    listings = node.listings.in_form(TARGET_GROUPS)
    return [Route(PATH, {"GET": lambda _node, request: _targets(listings, request)}, query={"GET": SELECTED_BY})]


def _targets(listings: Listings, request: ApiRequest) -> Answered:
    """Return the targets of an app, of a version, or all.

    An unknown field is refused: a filter that is misspelled would make everything a target.
    """
    sent = fields(request)
    require_known(sent, SELECTED_BY, changes=True)
    app, version = (parse_name(name, sent[name]) if name in sent else None for name in SELECTED_BY)
    return listing_response(request, listings, app, version)


def target_group(key: str, body: bytes, status: RegistrationStatus) -> bytes:
    """Return a registration as a group of one target, in JSON; `body` are its encoded terms."""
    _, app, version, host, port = key.split("/")
    terms = Terms.decode(body)
    labels = {
        "__meta_bender_id": key,
        "__meta_bender_app": app,
        "__meta_bender_version": version,
        "__meta_bender_host": host,
        "__meta_bender_port": port,
        "__meta_bender_node": terms.node,
        "__meta_bender_weight": str(terms.weight),
        "__meta_bender_state": status.state,
    }
    if status.suspect:
        labels["__meta_bender_suspect"] = "true"
    labels.update(meta_labels(terms.meta))
    return encode(_TargetGroup([host_port(host, int(port))], labels))


def meta_labels(meta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the labels of a registration's `meta`, in order of its keys. A value that is not text is shown as JSON.

    A character that the name of a label cannot have becomes `_`. Of keys that then have the same name, one that has it
    already keeps it; the others, in order, end in `_2`, `_3`, or the next number that is free.
    """
    if meta:
        for key, name in _label_names(meta).items():
            value = meta[key]
            yield f"__meta_bender_meta_{name}", value if isinstance(value, str) else encode(value).decode()


def _label_names(keys: Iterable[str]) -> dict[str, str]:
    """Return the end of the label's name for each key."""
    in_order = sorted(keys)
    plain = {key: _NOT_IN_NAMES.sub("_", key) for key in in_order}
    taken = {key for key in in_order if plain[key] == key}
    names = {}
    # The number of the next name to try for keys that meet: without it, many of them would take the square of the time.
    next_number: dict[str, int] = {}
    for key in in_order:
        name = plain[key]
        if name != key:
            while name in taken:
                number = next_number.get(plain[key], 2)
                next_number[plain[key]] = number + 1
                name = f"{plain[key]}_{number}"
            taken.add(name)
        names[key] = name
    return names


#: Each takes about 4 µs, eight times as long as the API's own form.
TARGET_GROUPS = ListForm(target_group, cost=8)
