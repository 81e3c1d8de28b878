"""HTTP service discovery of Prometheus (`http_sd_configs`): registrations as targets.

Every listed registration is a target, also in the states `drain` and `maint` and as a suspect: an instance without
traffic is still monitored, and operators can filter by its labels. Prometheus drops a whole list because of one invalid
field or label, so all data of a registration are converted to valid labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from bender.api.responses import ApiRequest, CommandResult, encode, fields, listing_response, require_known
from bender.api.route import Route
from bender.core.model import Terms, parse_name
from bender.core.registration_status import RegistrationStatus
from bender.net.addresses import host_port
from bender.node.listings import ListForm, Listings
from bender.node.node import Node

PATH = "/sd/prometheus"

#: The query parameters, each of which selects registrations.
SELECTED_BY = ("app", "version")

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")


class _TargetGroup(msgspec.Struct):
    targets: list[str]
    labels: dict[str, str]


def routes(node: Node) -> list[Route]:
    """Return the route from which Prometheus gets the targets of a node."""
    listings = node.listings.in_form(TARGET_GROUPS)
    return [Route(PATH, {"GET": lambda _node, request: _targets(listings, request)}, query={"GET": SELECTED_BY})]


def _targets(listings: Listings, request: ApiRequest) -> CommandResult:
    """Return the targets of an app, of a version, or of all apps.

    An unknown parameter is refused, because a misspelled filter would return all targets.
    """
    sent = fields(request)
    require_known(sent, SELECTED_BY, changes=True)
    app, version = (parse_name(name, sent[name]) if name in sent else None for name in SELECTED_BY)
    return listing_response(request, listings, app, version)


def target_group(key: str, body: bytes, status: RegistrationStatus) -> bytes:
    """Return a registration as JSON of a group with one target; `body` has the encoded terms."""
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
    """Yield the labels of a registration's `meta`, in order of its keys. A value that is not text becomes JSON.

    A character that is invalid in the name of a label becomes `_`. If two keys then have the same name, a key that
    needs no change keeps it. The others get the suffix `_2`, `_3`, or the next free number, in order.
    """
    if meta:
        for key, name in _label_names(meta).items():
            value = meta[key]
            yield f"__meta_bender_meta_{name}", value if isinstance(value, str) else encode(value).decode()


def _label_names(keys: Iterable[str]) -> dict[str, str]:
    """Return the last part of the label's name for each key."""
    in_order = sorted(keys)
    plain = {key: _NOT_IN_NAMES.sub("_", key) for key in in_order}
    taken = {key for key in in_order if plain[key] == key}
    names = {}
    # The next number to try for each name. Without it, the time would grow with the square of the number of such keys.
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


#: A target group takes about 4 µs, eight times as long as a registration in the form of the API.
TARGET_GROUPS = ListForm(target_group, cost=8)
