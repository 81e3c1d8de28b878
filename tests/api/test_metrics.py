"""`GET /metrics`: the formats that Prometheus reads, and the names that the documentation explains."""

from __future__ import annotations

import gzip
import re
from hashlib import sha512
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.api.metrics import scrape
from bender.api.responses import ApiRequest
from tests.access.known import headers
from tests.api.conversation import WEB, ApiCase, Response, a_node, parsed, request
from tests.api.guarded import Guarded
from tests.api.scraping import scraped

DOCS = Path(__file__).parents[2] / "docs"

#: The Accept header that Prometheus sends.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


#: A version that would come back in the answer.
ODD_VERSION = "application/openmetrics-text; version=2.é"


class Forms(ApiCase):
    def scrape(self, method: str = "GET", **more: str) -> Response:
        return self.ask(method, "/metrics", **more)

    def test_plain_text(self) -> None:
        """Clients without an Accept header, or with one that is not understood, get the plain text format."""
        for accept in (None, "*/*", "text/html", "application/openmetrics-text; version=x", ODD_VERSION):
            answer = self.scrape(**({} if accept is None else {"Accept": accept}))
            self.assertEqual(
                (answer.status, answer.headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8")
            )
            self.assertIn(b"\nbender_ready 1.0\n", answer.body)
            self.assertNotIn(b"# EOF", answer.body)

    def test_openmetrics(self) -> None:
        """Prometheus gets OpenMetrics, its first choice, in a form that its parser accepts."""
        answer = self.scrape(Accept=ACCEPT)
        self.assertTrue(answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0"))
        families = {family.name: family for family in openmetrics(answer.body.decode())}
        self.assertEqual(families["bender_rounds"].type, "counter")
        self.assertEqual(answer.body.count(b"# EOF"), 1)

    def test_gzip(self) -> None:
        """Clients that accept gzip get the metrics compressed."""
        answer = self.scrape(Accept_Encoding="gzip")
        self.assertEqual(answer.headers["content-encoding"], "gzip")
        self.assertIn(b"\nbender_ready 1.0\n", gzip.decompress(answer.body))
        self.assertEqual(answer.headers["vary"], "Accept, Accept-Encoding")
        self.assertNotIn("content-encoding", self.scrape(Accept_Encoding="identity").headers)

    def test_gzip_is_made_in_slices(self) -> None:
        """A long text is compressed in slices, because other requests would wait otherwise."""
        for number in range(1000):
            self.ask("POST", "/registrations", {**WEB, "app": sha512(b"%d" % number).hexdigest()})
        plain, deflated = (
            scrape(self.node, ApiRequest("GET", accept_encoding=encodings)) for encodings in ("identity", "gzip")
        )
        self.assertGreater(len([*deflated.steps]), len([*plain.steps]) + 2)
        self.assertEqual(gzip.decompress(deflated.answer().body)[:500], plain.answer().body[:500])

    def test_head(self) -> None:
        """A HEAD request gets the headers alone."""
        answer = self.scrape("HEAD")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertGreater(int(answer.headers["content-length"]), 5000)

    def test_names_are_escaped(self) -> None:
        """Names that clients choose are escaped, so that they cannot make up lines."""
        self.ask("POST", "/registrations", {**WEB, "app": 'a"} 1 \\'})
        families = {family.name: family for family in plain(self.scrape().body.decode())}
        (sample,) = families["bender_registrations"].samples
        self.assertEqual(sample.labels["app"], 'a"} 1 \\')

    def test_a_node_that_is_not_ready(self) -> None:
        """A node that is not ready answers at once, with `bender_ready` 0."""
        self.node = a_node(self.clock, seeds=["n2:1730"])
        self.assertEqual(scraped(self.node)["bender_ready"], 0)

    def test_an_overloaded_node(self) -> None:
        """An overloaded node answers every request for metrics, because monitoring needs them most then."""
        self.site.turns.note_lag(1.0)
        connection = self.connect()
        connection.send(request("GET", "/metrics"))
        self.clock.advance(30)
        self.clock.advance(0)
        (answer,) = parsed(connection.received())
        self.assertEqual(answer.status, 200)


class Access(SynchronousTestCase):
    def test_a_token_of_readers(self) -> None:
        """Prometheus may send its token with or without `Bearer`."""
        front = Guarded(fast=True)
        self.assertEqual(front.response("GET", "/metrics").status, 401)
        self.assertEqual(front.response("GET", "/metrics", name="web").status, 403)
        self.assertEqual(front.response("GET", "/metrics", name="reader").status, 200)
        bare = headers("reader")["Authorization"].removeprefix("Bearer ")
        received, _ = front.ask([request("GET", "/metrics", Authorization=bare)])
        self.assertEqual(parsed(received)[0].status, 200)


class Names(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.text = self.ask("GET", "/metrics").body.decode()
        page = (DOCS / "monitoring/metrics.md").read_text("utf-8")
        nodes, _, others = page.partition("## Nodes")[2].partition("## Drivers")
        self.rows = re.findall(r"^\| (`.*?) \| (\w+) \|", nodes, re.MULTILINE)
        self.of_processes = others.partition("## Processes")[2]

    def test_the_page_explains_each_metric_and_no_other(self) -> None:
        """The page also explains each metric that has no series at present."""
        shown = {*re.findall(r"^# TYPE (\S+) ", self.text, re.MULTILINE)}
        self.assertEqual(shown, _named(self.of_processes).union(*(_named(names) for names, _ in self.rows)))

    def test_types_are_those_of_the_page(self) -> None:
        """The page gives the right type for each metric."""
        types = dict(re.findall(r"^# TYPE (bender_\S+) (\S+)", self.text, re.MULTILINE))
        self.assertEqual(types, {name: kind for names, kind in self.rows for name in _named(names)})

    def test_every_one_has_a_help(self) -> None:
        """The help of each metric ends with a full stop."""
        helps = dict(re.findall(r"^# HELP (bender_\S+) (.*)", self.text, re.MULTILINE))
        self.assertGreater(len(helps), 40)
        self.assertEqual([name for name, text in helps.items() if not text.endswith(".")], [])


def _named(text: str) -> set[str]:
    return {*re.findall(r"`((?:bender|process|python)_\w+)`", text)}


class Cost(SynchronousTestCase):
    def test_it_is_made_in_slices(self) -> None:
        """Each family is written in a turn of its own, and a long family in several turns."""
        node = a_node(Clock())
        answer = scrape(node, ApiRequest("GET"))
        self.assertGreater(sum(1 for _ in answer.steps), 50)
        self.assertEqual(answer.answer().status, 200)
