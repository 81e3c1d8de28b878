"""The text of metrics is the same in one piece and in slices."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from twisted.trial.unittest import SynchronousTestCase

from bender.metrics.exposition import SLICE_SAMPLES, Exposition, counters, gauge, gauges, histograms
from bender.metrics.histogram import Histogram

#: Different names for the samples of a family; all of them must be escaped.
NAMES = [f'{number} "#\n# {number}' for number in range(2 * SLICE_SAMPLES + 7)]


class AsOne:
    """A collector of these families."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def families() -> list[Metric]:
    histogram = Histogram()
    histogram.observe(0.003)
    return [
        gauge("ready", "It is ready.", 1),
        gauges("many", "There are many.", ("name",), (((name,), at) for at, name in enumerate(NAMES))),
        counters("none", "There are none.", ("name",), ()),
        counters("done", "They are done.", ("name",), (((name,), at) for at, name in enumerate(NAMES))),
        histograms("took_seconds", "They take time.", ("name",), (((name,), histogram) for name in NAMES[:50])),
    ]


class Slices(SynchronousTestCase):
    def test_the_text_is_that_of_the_library(self) -> None:
        """Both forms equal the text of the library, for any characters in names."""
        registry = CollectorRegistry()
        registry.register(AsOne(families()))
        for accept, whole in (
            (None, generate_latest(registry)),
            ("application/openmetrics-text;version=1.0.0", openmetrics(registry)),
        ):
            exposition = Exposition(accept)
            steps = [*exposition.steps(families())]
            self.assertEqual(b"".join(exposition.pieces), whole)
            # Each histogram has a sample for each bucket, and two more.
            self.assertEqual(len(steps), 1 + 3 + 1 + 3 + 5)

    def test_work_between_them(self) -> None:
        """Each None among the families is a step of its own."""
        exposition = Exposition(None)
        self.assertEqual(len([*exposition.steps([None, gauge("ready", "It is ready.", 1), None])]), 3)
