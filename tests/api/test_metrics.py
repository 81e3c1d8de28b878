"""`GET /metrics`: the numbers of a node, in the forms that Prometheus takes."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from tests.api.conversation import WEB, ApiCase, Response, parsed

DOCS = Path(__file__).parents[2] / "docs"

#: What Prometheus sends.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)

BACKEND = {"name": "shop", "app": "web", "version": "1.2.0"}


class MetricsCase(ApiCase):
    """A node of which the metrics are read; `values` has them by name and labels, as PromQL writes them."""

    def scrape(self, method: str = "GET", **headers: str) -> Response:
        connection = self.connect()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        connection.send(f"{method} /metrics HTTP/1.1\r\nHost: n1\r\n{lines}\r\n".encode())
        (response,) = parsed(connection.received(), head=method == "HEAD")
        return response

    @property
    def values(self) -> dict[str, float]:
        families = plain(self.scrape().body.decode())
        return {_series(each.name, each.labels): each.value for family in families for each in family.samples}

    def assert_values(self, **expected: float) -> None:
        """The metric of that name, without `bender_`, or the series of it that is written."""
        values = self.values
        self.assertEqual({name: values.get(f"bender_{name}") for name in expected}, expected)


def _series(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


class Forms(MetricsCase):
    def test_plain_text(self) -> None:
        """It is the form for clients that say nothing, or what cannot be understood."""
        for accept in (None, "*/*", "text/html", "application/openmetrics-text; version=x", "application/json; é"):
            answer = self.scrape(**({} if accept is None else {"Accept": accept}))
            self.assertEqual(
                (answer.status, answer.headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8")
            )
            self.assertIn(b"\nbender_ready 1.0\n", answer.body)
            self.assertNotIn(b"# EOF", answer.body)

    def test_openmetrics(self) -> None:
        """Prometheus gets what it asks for first, which its own rules find right."""
        answer = self.scrape(Accept=ACCEPT)
        self.assertTrue(answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0"))
        families = {family.name: family for family in openmetrics(answer.body.decode())}
        self.assertEqual(families["bender_rounds"].type, "counter")
        self.assertEqual(answer.body.count(b"# EOF"), 1)

    def test_gzip(self) -> None:
        """It is for clients that ask for it."""
        answer = self.scrape(Accept_Encoding="gzip")
        self.assertEqual(answer.headers["content-encoding"], "gzip")
        self.assertIn(b"\nbender_ready 1.0\n", gzip.decompress(answer.body))
        self.assertEqual(answer.headers["vary"], "Accept, Accept-Encoding")
        self.assertNotIn("content-encoding", self.scrape(Accept_Encoding="identity").headers)

    def test_head(self) -> None:
        """It has the headers alone."""
        answer = self.scrape("HEAD")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertGreater(int(answer.headers["content-length"]), 5000)

    def test_names_are_escaped(self) -> None:
        """Clients choose them, and they cannot make up lines."""
        self.ask("POST", "/registrations", {**WEB, "app": 'a"} 1 \\'})
        families = {family.name: family for family in plain(self.scrape().body.decode())}
        (sample,) = families["bender_registrations"].samples
        self.assertEqual(sample.labels["app"], 'a"} 1 \\')


class Names(MetricsCase):
    def test_the_page_explains_each_metric_and_no_other(self) -> None:
        """Also those of which there is nothing at present."""
        shown = {*re.findall(r"^# TYPE (\S+) ", self.scrape().body.decode(), re.MULTILINE)}
        page = (DOCS / "monitoring/metrics.md").read_text("utf-8")
        nodes, _, others = page.partition("## Nodes")[2].partition("## Drivers")
        named = _named(nodes) | _named(others.partition("## Processes")[2])
        self.assertEqual(shown, named)

    def test_types_are_those_of_the_page(self) -> None:
        """So that a reader knows which to take the rate of."""
        types = dict(re.findall(r"^# TYPE (bender_\S+) (\S+)", self.scrape().body.decode(), re.MULTILINE))
        page = (DOCS / "monitoring/metrics.md").read_text("utf-8").partition("## Nodes")[2].partition("## Drivers")[0]
        rows = re.findall(r"^\| (`.*?) \| (\w+) \|", page, re.MULTILINE)
        self.assertEqual(types, {name: kind for names, kind in rows for name in _named(names)})


def _named(text: str) -> set[str]:
    """The names of metrics at the beginning of rows, or in text."""
    cells = re.findall(r"^\| (`[^|]*?) \|", text, re.MULTILINE) or [text]
    return {*re.findall(r"`((?:bender|process|python)_\w+)`", " ".join(cells))}
