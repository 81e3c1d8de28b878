"""The text of metrics in the formats of Prometheus. It is made in steps, because it may be long.

The library prometheus-client selects and writes the format. Each family of metrics is written in a step of its own, and
a large family in several steps, so that other work has its turn between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from bender import __version__
from bender.metrics.histogram import Histogram, cumulative_buckets

#: The number of label values chosen by users, such as names of apps, that have their own series: the first ones in
#: order of names, which are the same on all nodes. The values of the others are summed.
NAMES_MAX = 1_000

#: The label value of this sum. No name contains a slash.
OTHERS = "/others"

#: Samples in one step, which takes about a millisecond.
SLICE_SAMPLES = 200

#: The last line of the OpenMetrics format.
_EOF = b"# EOF\n"


class Exposition:
    """The text of metrics for one client. Exhaust `steps`; afterwards `pieces` has the text."""

    def __init__(self, accept: str | None) -> None:
        """`accept` is the `Accept` header of the request; None without one."""
        self._encode, self.content_type = _encoder(accept)
        self._pieces: list[bytes] = []

    def steps(self, families: Iterable[Metric | None]) -> Iterator[None]:
        """Write these families, each in one step or more. None is a step of work before a family is complete."""
        for family in families:
            if family is None:
                yield
                continue
            for at in range(0, max(1, len(family.samples)), SLICE_SAMPLES):
                self._pieces.append(self._part(family, at))
                yield

    def _part(self, family: Metric, at: int) -> bytes:
        """Return the text of the samples from `at` on, up to `SLICE_SAMPLES`; with the comments if `at` is 0."""
        part = Metric(family.name, family.documentation, family.type, family.unit)
        part.samples = family.samples[at : at + SLICE_SAMPLES]
        text = self._encode(_OneFamily(part)).removesuffix(_EOF)
        if at == 0:
            return text
        return b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b"#"))

    @property
    def pieces(self) -> Sequence[bytes]:
        """The text in pieces of at most some 20 KiB."""
        ending = [_EOF] if self.content_type.startswith("application/openmetrics-text") else []
        return [*self._pieces, *ending]


class _OneFamily:
    """A registry with one family, as prometheus-client needs it."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _encoder(accept: str | None) -> tuple[Callable[[_OneFamily], bytes], str]:
    """Return the function that writes metrics, and its media type. A malformed header is ignored."""
    if accept is not None and accept.isascii() and accept.isprintable():
        try:
            return choose_encoder(accept)
        except (TypeError, ValueError):  # a malformed version
            pass
    return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


# Families. `name` is without `bender_`, for a counter also without `_total`. `about` is the help text.


def gauge(name: str, about: str, value: float) -> Metric:
    """Return a gauge with one value."""
    return GaugeMetricFamily(f"bender_{name}", about, value=value)


def counter(name: str, about: str, value: float) -> Metric:
    """Return a counter with one value."""
    return CounterMetricFamily(f"bender_{name}", about, value=value)


def gauges(name: str, about: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """Return gauges, one for each tuple of label values."""
    family = GaugeMetricFamily(f"bender_{name}", about, labels=labels)
    for each, value in values:
        family.add_metric(each, value)
    return family


def counters(name: str, about: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """Return counters, one for each tuple of label values."""
    family = CounterMetricFamily(f"bender_{name}", about, labels=labels)
    for each, value in values:
        family.add_metric(each, value)
    return family


def histograms(
    name: str, about: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], Histogram]]
) -> Metric:
    """Return histograms of durations, one for each tuple of label values."""
    family = HistogramMetricFamily(f"bender_{name}", about, labels=labels)
    for each, histogram in values:
        buckets = [(floatToGoString(bound), float(count)) for bound, count in cumulative_buckets(histogram)]
        family.add_metric(each, buckets, histogram.sum_s)
    return family


def build_info(program: str) -> Metric:
    """Return the metric with the version of a program."""
    about = "The version of the program; the value is always 1."
    return gauges("build_info", about, ("program", "version"), [((program, __version__), 1)])


def process_metrics() -> Iterator[Metric]:
    """Yield the metrics of prometheus-client about this process and Python's garbage collector."""
    registry = CollectorRegistry()
    yield from ProcessCollector(registry=registry).collect()
    yield from GCCollector(registry=registry).collect()


def names_with_series(names: Iterable[str]) -> list[str]:
    """Return the names that have their own series, sorted."""
    return sorted(names)[:NAMES_MAX]
