"""Metrics of registrations, by app, and of backends' members. They are counted in slices, because there may be many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgspec
from prometheus_client.metrics_core import Metric

from bender.core.members import effective_weights, requested_weight, served_versions_of
from bender.core.registration_status import UP, USUAL, RegistrationStatus
from bender.metrics.exposition import NAMES_MAX, OTHERS, gauge, gauges, names_with_series
from bender.node.listings import SLICE
from bender.node.node import Node

_T = TypeVar("_T")


def registration_metrics(node: Node) -> Iterator[Metric | None]:
    """Yield the metrics of registrations by app and state, and of suspects by app; None after a slice of work."""
    apps = node.replica.view.apps()
    first: list[str] = []
    for names in _portions(apps):
        first = names_with_series([*first, *names])
        yield None
    shown = {*first}
    sizes: Counter[str] = Counter()
    for names in _portions(apps):
        for name in names:
            sizes[name if name in shown else OTHERS] += node.count(name)
        yield None
    states: Counter[tuple[str, str]] = Counter()
    suspects: Counter[str] = Counter()
    for statuses in _portions(node.registration_statuses().items()):
        for key, status in statuses:
            _count(node, key, status, sizes, states, suspects)
        yield None
    about = "Registrations that this node lists, by app and by the state that an operator has set."
    not_up: Counter[str] = Counter()
    for (app, _), count in states.items():
        not_up[app] += count
    # Registrations change between the slices, so more may not be up now than there were registrations before.
    up = [((app, UP), max(0, size - not_up[app])) for app, size in sizes.items()]
    yield gauges("registrations", about, ("app", "state"), [*up, *states.items()])
    about = "Registrations that stay listed as suspect only because of the guard, by app."
    yield gauges("suspects", about, ("app",), (((app,), count) for app, count in suspects.items()))


def _count(
    node: Node,
    key: str,
    status: RegistrationStatus,
    sizes: dict[str, int],
    states: Counter[tuple[str, str]],
    suspects: Counter[str],
) -> None:
    """Count a registration that is suspect or not `up`, if it is listed."""
    if node.claim(key) is None:
        return
    app = key.split("/", 2)[1]
    app = app if app in sizes else OTHERS
    if status.state != UP:
        states[app, status.state] += 1
    if status.suspect:
        suspects[app] += 1


def backend_metrics(node: Node) -> Iterator[Metric | None]:
    """Yield the metrics of backends' members in and out of rotation; None after a slice of work."""
    statuses = node.registration_statuses()
    members: dict[str, list[int]] = {}
    others, empty, number = [0, 0], 0, 0
    # Sorted by name, so that always the same backends have series of their own.
    for body in node.configured_objects("backend"):
        backend: dict[str, Any] = msgspec.json.decode(body)
        counted = yield from _members(node, backend, statuses)
        empty += not counted[0]
        number += 1
        if number <= NAMES_MAX:
            members[backend["name"]] = counted
        else:
            others = [others[0] + counted[0], others[1] + counted[1]]
        yield None
    if number > NAMES_MAX:
        members[OTHERS] = others
    about = (
        "Members of a backend with their weight above 0 (in) and at 0 (out), its canary's and fixed servers included."
    )
    places = (
        ((name, place), count) for name, counts in members.items() for place, count in zip(_PLACES, counts, strict=True)
    )
    yield gauges("backend_members", about, ("backend", "rotation"), places)
    yield gauge("backends_without_members", "Backends that have no member in rotation.", empty)


_PLACES = ("in", "out")


def _members(
    node: Node, backend: dict[str, Any], statuses: dict[str, RegistrationStatus]
) -> Generator[None, None, list[int]]:
    """Return the numbers of members in and out of rotation; yield after a slice of work."""
    service = served_versions_of(backend)
    weights_by_version: list[list[int]] = [[], []]
    for weights, version in zip(weights_by_version, service.versions, strict=False):
        for claims in _portions(node.claims(service.app, version, ordered=False)):
            weights += [requested_weight(each.body, statuses.get(each.key, USUAL).state) for each in claims]
            if len(claims) == SLICE:
                yield None
    registered = {f"registration/{service.app}/{version}/" for version in service.versions}
    for server in service.servers:
        if not any(node.claim(f"{prefix}{server.host}/{server.port}") for prefix in registered):
            weights_by_version[0].append(1)
    stable, canary = effective_weights(service, *weights_by_version)
    serving = sum(weight > 0 for weights in (stable, canary) for weight in weights)
    return [serving, len(stable) + len(canary) - serving]


def _portions(things: Iterable[_T]) -> Iterator[Sequence[_T]]:
    """Yield the items in order, `SLICE` at a time."""
    rest = iter(things)
    while portion := [*islice(rest, SLICE)]:
        yield portion
