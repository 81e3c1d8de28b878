"""Read the metrics of a node, or any text of metrics, as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from bender.api.node_metrics import node_families
from bender.metrics.exposition import Exposition
from bender.node.node import Node


def series(text: bytes) -> dict[str, float]:
    """Return all values by name and labels, as PromQL writes them.

    Prometheus rejects a text that has one series twice.
    """
    families = text_string_to_metric_families(text.decode())
    found = [(_series(each.name, each.labels), each.value) for family in families for each in family.samples]
    assert len(found) == len(dict(found)), found
    return dict(found)


def scraped(node: Node) -> dict[str, float]:
    """Return all values of a node, without its API."""
    exposition = Exposition(None)
    for _ in exposition.steps(node_families(node)):
        pass
    return series(b"".join(exposition.pieces))


def named(values: dict[str, float], name: str) -> dict[str, float]:
    """Return the series of one metric, by their labels alone."""
    return {key.removeprefix(name): value for key, value in values.items() if key.partition("{")[0] == name}


def _series(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name
