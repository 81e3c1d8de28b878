"""The text of metrics, in the forms that Prometheus understands; made in slices, because it may be long.

prometheus-client decides on the form and writes it. Each family of metrics is written by itself, a large one in parts,
so that other work has its turn in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from bender import __version__
from bender.metrics.histogram import Histogram, cumulative_buckets

#: Of the label values that users choose, such as names of apps, so many have series of their own: the first in order of
#: name, which are the same on all nodes. The others are summed up.
NAMES_MAX = 1_000

#: The label value of their sum. No name has a slash in it.
OTHERS = "/others"

#: Samples that are written in one step, in about a millisecond.
SLICE_SAMPLES = 200

#: The end of the text in OpenMetrics.
_EOF = b"# EOF\n"


class Exposition:
    """The metrics as one client takes them: take all `steps`, then there are the `pieces` of the text."""

    def __init__(self, accept: str | None) -> None:
        """`accept` is the header of the request."""
        self._encode, self.content_type = _encoder(accept)
        self._pieces: list[bytes] = []

    def steps(self, families: Iterable[Metric | None]) -> Iterator[None]:
        """Write these families, each in one step or more. None stands for a slice of the work for one of them."""
        for family in families:
            if family is None:
                yield
                continue
            for at in range(0, max(1, len(family.samples)), SLICE_SAMPLES):
                self._pieces.append(self._part(family, at))
                yield

    def _part(self, family: Metric, at: int) -> bytes:
        """Return the text of the samples in a slice that begins at `at`, with the comments before the first."""
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
    """A registry that has one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _encoder(accept: str | None) -> tuple[Callable[[_OneFamily], bytes], str]:
    """Return what writes metrics, and its media type. A malformed header is ignored."""
    if accept is not None and accept.isascii() and accept.isprintable():
        try:
            return choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is none
            pass
    return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


# Families. Names are without `bender_`, and those of counters without `_total`.


def gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"bender_{name}", about, value=value)


def counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"bender_{name}", about, value=value)


def gauges(name: str, about: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """Return a family with a value for each tuple of label values."""
    family = GaugeMetricFamily(f"bender_{name}", about, labels=labels)
    for each, value in values:
        family.add_metric(each, value)
    return family


def counters(name: str, about: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """Return the same for counters."""
    family = CounterMetricFamily(f"bender_{name}", about, labels=labels)
    for each, value in values:
        family.add_metric(each, value)
    return family


def histograms(
    name: str, about: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], Histogram]]
) -> Metric:
    """Return the same for histograms of durations."""
    family = HistogramMetricFamily(f"bender_{name}", about, labels=labels)
    for each, histogram in values:
        buckets = [(floatToGoString(bound), float(count)) for bound, count in cumulative_buckets(histogram)]
        family.add_metric(each, buckets, histogram.sum_s)
    return family


def build_info(program: str) -> Metric:
    """Return the metric that tells the version of a program."""
    about = "The version of the program; the value is always 1."
    return gauges("build_info", about, ("program", "version"), [((program, __version__), 1)])


def process_metrics() -> Iterator[Metric]:
    """Yield what prometheus-client knows of this process and of Python's collector of cycles."""
    registry = CollectorRegistry()
    yield from ProcessCollector(registry=registry).collect()
    yield from GCCollector(registry=registry).collect()


def names_with_series(names: Iterable[str]) -> list[str]:
    """Return the names that have series of their own, in order."""
    return sorted(names)[:NAMES_MAX]
