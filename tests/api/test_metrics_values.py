"""The values of a node's metrics after known events."""

from __future__ import annotations

from typing import Any

from attrs import fields_dict
from twisted.trial.unittest import SynchronousTestCase

from bender import __version__
from bender.net.fair_turns import OVERLOAD_LAG_S
from bender.node.counters import Counters
from tests.api.conversation import NOW_MS, WEB, WEB_ID, WEB_PATH, ApiCase, parsed, request
from tests.api.guarded import Guarded
from tests.api.scraping import named, scraped
from tests.api.test_explain import PairCase
from tests.api.test_node_loss_guard import ODD, GuardCase
from tests.node.watched import Window

INSTANCE_ROUTE = "/registrations/<app>/<version>/<host>/<port>"
BACKEND = {"name": "shop", "app": "web", "version": "1.2.0"}


class ValuesCase(ApiCase):
    def assert_values(self, name: str, expected: dict[str, float]) -> None:
        """Compare the series of a metric by their labels, without those that are 0."""
        found = named(scraped(self.node), f"bender_{name}")
        self.assertEqual({labels: value for labels, value in found.items() if value}, expected)

    def value(self, name: str) -> float:
        return scraped(self.node)[f"bender_{name}"]


class State(ValuesCase):
    def test_the_node(self) -> None:
        self.clock.advance(2.5)
        self.assert_values("build_info", {f'{{program="bender",version="{__version__}"}}': 1})
        self.assert_values("node_info", {'{address="n1:1730",cluster="bender",node="n1"}': 1})
        self.assertEqual((self.value("ready"), self.value("uptime_seconds")), (1, 2.5))

    def test_the_digest(self) -> None:
        """The digest is that of `/status`, as far as a number can show it."""
        self.ask("POST", "/registrations", WEB)
        digest = int(self.ask("GET", "/status").json["digest"], 16)
        self.assertEqual(self.value("state_digest"), digest >> 11)

    def test_counts(self) -> None:
        """The numbers of claims and own claims are those of `/status`."""
        self.ask("POST", "/registrations", WEB)
        self.ask("POST", "/registrations", {**WEB, "port": 1})
        self.ask("DELETE", WEB_PATH)
        self.ask("POST", "/backends", BACKEND)
        self.ask("POST", "/frontends", {"name": "edge"})
        counts = self.ask("GET", "/status").json["counts"]
        self.assertEqual((self.value("claims"), self.value("claims_own")), (counts["claims"], counts["held"]))
        self.assertEqual((self.value("backends"), self.value("frontends")), (1, 1))

    def test_problems(self) -> None:
        """Problems are counted by kind, and each kind is always shown."""
        self.node.set_peer_problem("n2:1730", "has an interval of 2 s", unreachable=False)
        self.node.set_peer_problem("n3:1730", "does not answer", unreachable=True)
        self.node.set_peer_problem("n4:1730", "does not answer", unreachable=True)
        self.node.set_peer_problem("n4:1730", None, unreachable=False)
        self.node.certificate_problems = {"certificate/tls": "expires", "certificate/peer-tls": "expires"}
        self.node.conflicts.current = {"h/1": ("registration/a/1/h/1", "registration/b/1/h/1")}
        self.assert_values(
            "problems",
            {
                '{kind="certificate"}': 2,
                '{kind="peer"}': 1,
                '{kind="peer-unreachable"}': 1,
                '{kind="registration-address"}': 1,
            },
        )
        self.assertEqual(len(named(scraped(self.node), "bender_problems")), 8)
        self.assertEqual(self.ask("GET", "/status").json["problems"]["n3:1730"], "does not answer")

    def test_certificates(self) -> None:
        self.node.certificates = {"tls": NOW_MS, "peer-tls": NOW_MS + 1500}
        self.assert_values(
            "certificate_expiry_timestamp_seconds",
            {'{option="peer-tls"}': (NOW_MS + 1500) / 1000, '{option="tls"}': NOW_MS / 1000},
        )

    def test_lag_of_the_reactor(self) -> None:
        for lag_s in (0.0, 0.002, 0.3):
            self.node.load.note_lag(lag_s)
        values = scraped(self.node)
        self.assertEqual(values["bender_reactor_lag_seconds_count"], 3)
        self.assertEqual(values['bender_reactor_lag_seconds_bucket{le="0.0025"}'], 2)
        self.assertAlmostEqual(values["bender_reactor_lag_seconds_sum"], 0.302)
        self.assertEqual(values["bender_reactor_lag_max_seconds"], 0.3)

    def test_limits(self) -> None:
        """The limits have the names and numbers of `/status`."""
        self.ask("POST", "/registrations", {**WEB, "meta": {"a": "x" * 5000}})
        self.ask("POST", "/registrations", WEB)
        watcher = self.connect()
        watcher.send(request("GET", "/events", Accept="text/event-stream"))
        watcher.lose()
        limits: dict[str, Any] = self.ask("GET", "/status").json["limits"]
        for metric, field in (("max", "max"), ("used", "used"), ("peak", "peak"), ("refused_total", "refused")):
            expected = {f'{{limit="{name}"}}': use[field] for name, use in limits.items() if use[field]}
            self.assert_values(f"limit_{metric}", expected)
        self.assertEqual(self.value('limit_refused_total{limit="entry"}'), 1)
        subscribers = '{limit="subscribers"}'
        self.assertEqual((self.value(f"limit_used{subscribers}"), self.value(f"limit_peak{subscribers}")), (0, 1))


class Counted(ValuesCase):
    def test_each_counter_is_shown_once(self) -> None:
        """Each counter has one metric with its value."""
        for number, name in enumerate(fields_dict(Counters), 1000):
            setattr(self.node.counters, name, number)
        shown = {
            "rounds": "rounds_total",
            "rounds_failed": "rounds_failed_total",
            "sweeps": "sweeps_total",
            "sweeps_failed": "sweeps_failed_total",
            "requests": "peer_requests_sent_total",
            "answered": 'peer_requests_total{result="answered"}',
            "failed": 'peer_requests_total{result="failed"}',
            "received": "peer_requests_received_total",
            "bytes_sent": "peer_sent_bytes_total",
            "bytes_received": "peer_received_bytes_total",
            "unauthorized": 'requests_denied_total{reason="unauthorized"}',
            "forbidden": 'requests_denied_total{reason="forbidden"}',
            "turned_away": "requests_turned_away_total",
            "tls_refused": "tls_refused_total",
            "registered": "registrations_made_total",
            "renewed": "renewals_total",
            "dropped": 'subscribers_dropped_total{reason="slow"}',
            "displaced": 'subscribers_dropped_total{reason="displaced"}',
            "dns_queries": "dns_queries_total",
            "dns_truncated": "dns_truncated_total",
            "dns_dropped": "dns_dropped_total",
        }
        values = scraped(self.node)
        self.assertEqual(
            {name: values[f"bender_{metric}"] for name, metric in shown.items()}, self.node.counters.as_fields()
        )

    def test_registrations_and_renewals(self) -> None:
        """Registrations and renewals are counted in each form of request."""
        self.ask("POST", "/registrations", WEB)
        self.ask("POST", WEB_PATH)
        self.ask("POST", "/registrations", {**WEB, "weight": 2})
        self.assertEqual((self.value("registrations_made_total"), self.value("renewals_total")), (1, 2))
        connection = self.connect()
        for _ in range(3):
            connection.send(request("PUT", WEB_PATH))
        self.assertEqual(self.value("renewals_total"), 5)
        self.ask("PUT", WEB_PATH[:-1])
        self.ask("POST", "/renewals", {"ids": [WEB_ID, WEB_ID + "1"]})
        self.assertEqual((self.value("registrations_made_total"), self.value("renewals_total")), (1, 6))

    def test_events(self) -> None:
        """Events are counted by kind and reason."""
        self.ask("POST", "/registrations", WEB)
        self.ask("POST", "/registrations", {**WEB, "weight": 2})
        self.ask("PUT", f"{WEB_PATH}/state", {"state": "drain"})
        self.ask("POST", "/backends", BACKEND)
        self.ask("DELETE", "/backends/shop?force")
        self.ask("DELETE", WEB_PATH)
        self.ask("POST", "/registrations", {**WEB, "port": 1})
        self.pass_time(12)
        self.assert_values(
            "events_total",
            {
                '{event="online",reason="registered"}': 2,
                '{event="changed",reason="registered"}': 1,
                '{event="changed",reason="configured"}': 1,
                '{event="created",reason="configured"}': 1,
                '{event="removed",reason="configured"}': 1,
                '{event="offline",reason="deregistered"}': 1,
                '{event="offline",reason="expired"}': 1,
            },
        )

    def test_usual_events_are_there_before_the_first(self) -> None:
        self.assertEqual(self.value('events_total{event="offline",reason="expired"}'), 0)

    def test_watchers(self) -> None:
        """Watchers that do not read are dropped; those of a client with too many are displaced."""
        window = Window(self.node, self.clock)
        window.follow(self.node)
        self.assertEqual(self.value("subscribers"), 1)
        window.stream.pauseProducing()
        self.clock.advance(61)
        self.assertTrue(window.dropped)
        self.assertEqual((self.value("subscribers"), self.value('subscribers_dropped_total{reason="slow"}')), (0, 1))
        self.node.journal.places.maximum = 2
        streams = [Window(self.node, self.clock) for _ in range(2)]
        for each in streams:
            each.follow(self.node)
        connection = self.connect()
        connection.send(request("GET", "/events", Accept="text/event-stream"))
        self.assertEqual(self.value('subscribers_dropped_total{reason="displaced"}'), 1)


class Requests(ValuesCase):
    def assert_requests(self, expected: dict[tuple[str, str, int], int]) -> None:
        """Compare the counted requests by route, method and status."""
        self.assert_values(
            "http_requests_total",
            {f'{{code="{c}",method="{m}",route="{r}"}}': count for (r, m, c), count in expected.items()},
        )

    def test_the_fast_path_and_the_other(self) -> None:
        """Requests are counted by route on both ways, whatever the path."""
        self.ask("POST", "/registrations", WEB)
        for _ in range(3):
            self.ask("PUT", WEB_PATH)
        self.ask("PUT", WEB_PATH[:-1])
        self.ask("PUT", WEB_PATH, Connection="close")
        self.ask("HEAD", WEB_PATH)
        self.ask("GET", "/backends/shop")
        self.ask("PATCH", "/backends/shop")
        self.assert_requests(
            {
                ("/registrations", "POST", 201): 1,
                (INSTANCE_ROUTE, "PUT", 200): 4,
                (INSTANCE_ROUTE, "PUT", 404): 1,
                (INSTANCE_ROUTE, "HEAD", 200): 1,
                ("/backends/<name>", "GET", 404): 1,
                ("/backends/<name>", "PATCH", 405): 1,
            }
        )

    def test_what_clients_make_up(self) -> None:
        """Unknown paths and methods are counted under one name."""
        for number in range(10):
            self.ask("GET", f"/nothing/{number}")
            self.ask(f"M{number}", "/registrations")
            self.ask(f"M{number}", "/nothing")
        self.assert_requests(
            {
                ("unknown", "GET", 404): 10,
                ("unknown", "OTHER", 404): 10,
                ("/registrations", "OTHER", 405): 10,
            }
        )
        self.assertNotIn("unknown", str([*named(scraped(self.node), "bender_http_request_duration_seconds_count")]))

    def test_a_body_that_is_too_large(self) -> None:
        self.ask("POST", "/backends", b"x" * 70_000)
        self.assert_requests({("unknown", "POST", 413): 1})

    def test_a_scrape_counts_too(self) -> None:
        """A request for metrics is counted in the next one."""
        self.ask("GET", "/metrics")
        self.assert_requests({("/metrics", "GET", 200): 1})

    def test_a_stream_counts_when_it_ends(self) -> None:
        """A stream is counted when it ends, and has no latency."""
        connection = self.connect()
        connection.send(request("GET", "/events", Accept="text/event-stream"))
        self.assert_requests({})
        self.clock.advance(60)
        connection.lose()
        self.assert_requests({("/events", "GET", 200): 1})
        self.assert_values("http_request_duration_seconds_count", {})

    def test_a_client_that_does_not_wait(self) -> None:
        """A request whose client closes the connection has the status 499."""
        connection = self.connect()
        connection.send(request("GET", f"/events?since={self.node.journal.cursor}&wait=30"))
        connection.lose()
        self.assert_requests({("/events", "GET", 499): 1})
        self.clock.advance(30)
        self.assert_requests({("/events", "GET", 499): 1})

    def test_time_that_an_answer_takes(self) -> None:
        """The time includes the wait for a consumer that does not confirm within two seconds."""
        self.ask("POST", "/registrations", WEB)
        watcher = self.connect()
        watcher.send(request("GET", "/events?name=edge", Accept="text/event-stream"))
        connection = self.connect()
        connection.send(request("DELETE", f"{WEB_PATH}?wait=2"))
        self.assertEqual(connection.received(), b"")
        self.clock.advance(2)
        self.assertEqual(parsed(connection.received())[0].status, 200)
        values = named(scraped(self.node), "bender_http_request_duration_seconds_bucket")
        of_deletion = {labels: value for labels, value in values.items() if 'method="DELETE"' in labels}
        self.assertEqual([value for labels, value in of_deletion.items() if 'le="1.0"' in labels], [0])
        self.assertEqual([value for labels, value in of_deletion.items() if 'le="2.5"' in labels], [1])

    def test_time_for_which_a_request_waits_for_its_turn(self) -> None:
        """The time includes the wait for the turn of the request."""
        self.ask("POST", "/registrations", WEB)
        self.site.turns.note_lag(OVERLOAD_LAG_S)
        connections = [self.connect(), self.connect()]
        connections[0].send(request("PUT", WEB_PATH))
        connections[1].send(request("PUT", WEB_PATH, Connection="close"))
        self.clock.advance(0.4)
        for connection in connections:
            self.assertEqual(parsed(connection.received())[0].status, 200)
        self.assert_values("http_request_duration_seconds_sum", {f'{{method="PUT",route="{INSTANCE_ROUTE}"}}': 0.8})

    def test_requests_that_are_turned_away(self) -> None:
        """Requests that an overloaded node turns away are counted with their status 429."""
        self.site.turns.note_lag(OVERLOAD_LAG_S)
        connection = self.connect()
        connection.send(request("GET", "/registrations"))
        self.clock.advance(1.5)
        self.assertEqual(parsed(connection.received())[0].status, 429)
        self.assert_requests({("/registrations", "GET", 429): 1})
        self.assertEqual(self.value("requests_turned_away_total"), 1)


class Denied(SynchronousTestCase):
    def test_requests(self) -> None:
        """Refused requests are counted by reason, on the fast path and on the long way."""
        for fast in (True, False):
            front = Guarded(fast=fast)
            front.response("GET", "/registrations")
            front.response("GET", "/registrations", name="unknown")
            front.response("GET", "/registrations", name="web")
            found = named(scraped(front.node), "bender_requests_denied_total")
            self.assertEqual(found, {'{reason="unauthorized"}': 2, '{reason="forbidden"}': 1})


class Peers(PairCase):
    def test_a_peer_that_is_heard(self) -> None:
        """A peer that is heard has a lag of one second at most; the lag of a silent peer grows."""
        first = self.network.first
        peer = '{address="second:1730",peer="second"}'
        values = scraped(first)
        self.assertEqual(values['bender_peers{state="heard"}'], 1)
        self.assertLessEqual(values[f"bender_peer_lag_seconds{peer}"], 1)
        self.assertGreater(values['bender_peer_requests_total{result="answered"}'], 1)
        self.network.connected = False
        self.pass_time(5)
        values = scraped(first)
        self.assertEqual(
            named(values, "bender_peers"), {'{state="heard"}': 0, '{state="silent"}': 1, '{state="left"}': 0}
        )
        self.assertGreaterEqual(values[f"bender_peer_lag_seconds{peer}"], 5)

    def test_nodes_with_the_same_state_have_the_same_digest(self) -> None:
        self.ask("POST", "/registrations", WEB)
        self.pass_time(2)
        first, second = scraped(self.network.first), scraped(self.network.second)
        self.assertEqual(first["bender_state_digest"], second["bender_state_digest"])
        self.network.connected = False
        self.ask("POST", "/backends", BACKEND)
        self.assertNotEqual(scraped(self.network.first)["bender_state_digest"], second["bender_state_digest"])

    def test_a_peer_that_has_left(self) -> None:
        """A peer that has left has no lag."""
        self.network.second.leave()
        values = scraped(self.network.first)
        self.assertEqual(values['bender_peers{state="left"}'], 1)
        self.assertEqual(named(values, "bender_peer_lag_seconds"), {})

    def test_what_is_hidden(self) -> None:
        """A registration is hidden if all nodes that it renewed at are silent."""
        self.ask("POST", "/registrations", WEB, to=self.network.second)
        self.pass_time(2)
        self.network.connected = False
        self.pass_time(16)
        values = scraped(self.network.first)
        self.assertEqual(values["bender_registrations_hidden"], 1)
        self.assertEqual(named(values, "bender_registrations"), {})
        self.assertEqual(values['bender_events_total{event="offline",reason="node-lost"}'], 1)

    def test_claims_that_wait_to_lapse(self) -> None:
        """A claim does not lapse before an unanswered peer was asked about it."""
        self.ask("POST", "/registrations", WEB)
        self.pass_time(9)
        self.assertEqual(scraped(self.network.first)["bender_pending_lapses"], 0)
        self.network.connected = False
        self.pass_time(2)
        self.assertEqual(scraped(self.network.first)["bender_pending_lapses"], 1)


class Suspects(GuardCase):
    def test_they_are_counted_by_app(self) -> None:
        """Suspects are counted by app, and are listed as well."""
        values = scraped(self.node)
        self.assertEqual(values['bender_suspects{app="web"}'], 1)
        self.assertEqual(len(named(values, "bender_suspects")), 2)
        self.assertEqual(values['bender_registrations{app="web",state="up"}'], 1)
        self.assertIn(ODD, "".join(values))
