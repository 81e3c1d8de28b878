"""`GET /metrics` of a driver."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import evolve
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from twisted.python.failure import Failure

from bender.client import Stand
from bender.core.invalid import Invalid
from bender.core.model import require_name
from bender.haproxy.driver import CHECK_S
from bender.haproxy.status import metrics, readiness
from bender.metrics.exposition import OTHERS
from tests.api.conversation import NOW_MS
from tests.api.scraping import named, series
from tests.haproxy.driver_case import NODE, SHOP, SYNCED, A, DriverCase
from tests.haproxy.events import backend, frontend, offline, online

DOCS = Path(__file__).parents[2] / "docs"


class MetricsCase(DriverCase):
    @property
    def values(self) -> dict[str, float]:
        return series(metrics(self.driver, None)[1])

    def value(self, name: str) -> float:
        return self.values[f"bender_haproxy_{name}"]

    def assert_values(self, **expected: float) -> None:
        values = self.values
        self.assertEqual({name: values[f"bender_haproxy_{name}"] for name in expected}, expected)


class Values(MetricsCase):
    def test_before_bender_has_said_all(self) -> None:
        """A driver without the full state is not ready."""
        self.assert_values(ready=0, synced=0, up=0, settled=0, reloads_total=0, last_event_timestamp_seconds=0)

    def test_all_is_well(self) -> None:
        self.send(*SHOP, online(1, state="drain"), online(2), SYNCED)
        self.settle(3)
        self.assert_values(
            ready=1,
            synced=1,
            bender_reachable=1,
            up=1,
            settled=1,
            held=0,
            problems=0,
            behind_seconds=0,
            events_behind=0,
            files_writable=1,
            configuration_refused=0,
            configurations_refused_total=0,
            commands_refused_total=0,
            servers_kept=0,
            backends=1,
            confirmation_problem=0,
        )
        self.assertEqual(named(self.values, "bender_haproxy_followed_node_info"), {f'{{node="{NODE}"}}': 1})
        self.assertEqual(
            named(self.values, "bender_haproxy_servers"),
            {'{backend="shop",status="no check"}': 2},
        )

    def test_the_last_event(self) -> None:
        """The time is that of the wall clock, because Prometheus compares it with its own."""
        self.reloader.wall_ms = lambda: NOW_MS
        self.serve(1)
        self.assertEqual(self.value("last_event_timestamp_seconds"), NOW_MS / 1000)

    def test_statuses_of_servers(self) -> None:
        """Servers are counted by the first part of HAProxy's status; servers of other pools are not counted."""
        self.serve(1)
        self.settle(2)
        words = ("UP", "UP 1/3", "DOWN", "DOWN (agent)", "MAINT (resolution)", "DRAIN", "NOLB 1/2", "no check", "odd")
        self.driver.rows = [evolve(self.driver.rows[0], status=word) for word in words]
        self.driver.rows.append(evolve(self.driver.rows[0], pool="stats"))
        found = named(self.values, "bender_haproxy_servers")
        expected = {"up": 2, "down": 2, "maint": 1, "drain": 1, "nolb": 1, "no check": 1, "other": 1}
        self.assertEqual(found, {f'{{backend="shop",status="{word}"}}': count for word, count in expected.items()})

    def test_no_node_is_followed(self) -> None:
        """Without a node, HAProxy keeps its state, and the driver stays ready."""
        self.serve(1)
        self.settle(2)
        self.watch.on_away({NODE: "does not answer"})
        self.assert_values(bender_reachable=0, ready=1, up=1)

    def test_haproxy_does_not_answer(self) -> None:
        self.serve(1)
        self.haproxy.running = False
        self.settle(3)
        self.assert_values(up=0, settled=0, ready=0)
        self.assertEqual(named(self.values, "bender_haproxy_servers"), {})
        self.send(online(2))
        self.settle(2)
        self.assertGreaterEqual(self.value("behind_seconds"), 2)
        self.assertEqual(self.value("events_behind"), 1)

    def test_defects(self) -> None:
        """Defects are counted; a defect that stops the driver makes it not ready."""
        self.serve(1)
        self.settle(2)
        self.assert_values(failures_total=0, working=1)
        self.patch(self.driver, "_receive", lambda _: 1 / 0)
        self.send(online(2))
        self.assert_values(failures_total=1, working=1, ready=1)
        self.driver._loop_ended(Failure(RuntimeError("defect")))
        self.assert_values(failures_total=2, working=0, ready=0)
        self.assertIn("restart it", readiness(self.driver)[1]["message"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError, RuntimeError)), 2)

    def test_what_haproxy_refuses(self) -> None:
        """Each refusal is counted, and a gauge shows the refusal until it is over."""
        self.serve(1)
        self.settle(2)
        self.bad = "bad"
        self.send(backend("bad"))
        self.settle(2)
        self.assert_values(configuration_refused=1, configurations_refused_total=1, settled=0, ready=1)
        self.send(backend("bad", "removed"))
        self.settle(3)
        self.assert_values(configuration_refused=0, configurations_refused_total=1, settled=1)

    def test_what_haproxy_does_not_carry_out(self) -> None:
        """Each refused command is counted, including repetitions."""
        self.serve(1)
        self.haproxy.on_command = self.lose_the_server
        self.send(online(1, weight=7))
        self.assertEqual(self.value("commands_refused_total"), 1)
        self.send(online(1, weight=8))
        self.settle(CHECK_S)
        self.assertGreater(self.value("commands_refused_total"), 1)

    def lose_the_server(self, command: str) -> None:
        if command.startswith("set server"):
            self.haproxy.pools["shop"].pop(A, None)

    def test_what_cannot_be_used(self) -> None:
        """Problems are counted, and so are kept instances that bender does not list."""
        self.send(*SHOP, online(1), frontend("b", bind="*:80 ssl"), backend("c", balance="x"), SYNCED)
        self.send(offline(1, "node-lost"), online(2, host="a.example"))
        self.settle(0.5)
        self.assert_values(problems=3, servers_kept=1)

    def test_confirmations_that_nodes_do_not_take(self) -> None:
        self.acknowledger.problem = "does not answer"
        self.assertEqual(self.value("confirmation_problem"), 1)

    def test_events_behind(self) -> None:
        """Events behind are known only within the events of one start of a node."""
        for confirmed, taken, expected in (
            (None, Stand(NODE, "a-9"), {}),
            (Stand(NODE, "a-7"), None, {}),
            (Stand(NODE, "a-7"), Stand(NODE, "a-9"), {"": 2}),
            (Stand(NODE, "b-7"), Stand(NODE, "a-9"), {}),
            (Stand("n2:1", "a-7"), Stand(NODE, "a-9"), {}),
            (Stand(NODE, "a-x"), Stand(NODE, "a-9"), {}),
            (Stand(NODE, "a-9"), Stand(NODE, "a-7"), {"": 0}),
        ):
            self.acknowledger.acknowledged, self.watch.taken = confirmed, taken
            self.assertEqual(named(self.values, "bender_haproxy_events_behind"), expected)


class Forms(MetricsCase):
    def test_openmetrics(self) -> None:
        media_type, body = metrics(self.driver, "application/openmetrics-text;version=1.0.0")
        self.assertTrue(media_type.startswith("application/openmetrics-text"))
        self.assertIn("bender_haproxy_ready", {family.name for family in openmetrics(body.decode())})

    def test_the_page_explains_each_metric_and_no_other(self) -> None:
        """The documentation has each metric of a driver with its type, and no other metric."""
        text = metrics(self.driver, None)[1].decode()
        types = dict(re.findall(r"^# TYPE (bender_haproxy_\S+) (\S+)", text, re.MULTILINE))
        page = (DOCS / "monitoring/metrics.md").read_text("utf-8").partition("## Drivers")[2]
        rows = re.findall(r"^\| (`.*?) \| (\w+) \|", page, re.MULTILINE)
        named_there = {name: kind for names, kind in rows for name in re.findall(r"`(bender_\w+)`", names)}
        self.assertEqual(types, named_there)
        of_nodes = {"bender_build_info"}
        self.assertEqual({*re.findall(r"^# TYPE (bender_\S+)", text, re.MULTILINE)}, {*types} | of_nodes)
        self.assertIn("process_cpu_seconds_total", text)

    def test_no_name_is_that_of_the_others(self) -> None:
        """The label that stands for all other names is not a valid name, so the two cannot be confused."""
        self.assertRaises(Invalid, require_name, "app", OTHERS)
