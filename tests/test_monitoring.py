"""The alerts, the dashboard and the pages in docs/monitoring agree with each other and with the metrics that exist.

`tests.e2e.test_monitoring` tests them with a real Prometheus.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/monitoring"
RULES: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule}
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def metrics_in(text: str) -> set[str]:
    """Return the metrics of bender that an expression names."""
    named = re.findall(r"(?<![\w:])bender_\w+", text)
    return {re.sub(r"_(bucket|sum|count)\Z", "", name) for name in named}


def expressions() -> Iterator[str]:
    """Yield the expressions of all rules and panels."""
    yield from (rule["expr"] for group in RULES["groups"] for rule in group["rules"])
    yield from (target["expr"] for panel in PANELS for target in panel["targets"])


class Alerts(SynchronousTestCase):
    def test_each_says_what_to_do(self) -> None:
        """An alert has a severity, and exactly a summary, a description and a runbook, which are sentences."""
        for name, rule in ALERTS.items():
            self.assertIn(rule["labels"]["severity"], ("critical", "warning"), name)
            self.assertEqual({*rule["annotations"]}, {"summary", "description", "runbook"}, name)
            self.assertTrue(all(each.endswith((".", ")")) for each in rule["annotations"].values()), name)

    def test_each_has_a_chapter(self) -> None:
        """Each alert has a chapter with its severity and instructions, and no chapter is about another name."""
        page = (FOLDER / "alerts.md").read_text("utf-8")
        chapters = dict(re.findall(r"^### (Bender\w+)\n(.*?)(?=^#)", f"{page}\n#", re.MULTILINE | re.DOTALL))
        self.assertEqual([*chapters], [*ALERTS])
        for name, text in chapters.items():
            if "The same" not in text:
                self.assertIn("- *Do*: ", text, name)
            self.assertIn(f"`{ALERTS[name]['labels']['severity']}`", text, name)
            self.assertEqual({*re.findall(r"Bender[A-Z]\w+", text)} - {*ALERTS}, set(), name)

    def test_each_fires_in_a_test(self) -> None:
        """Each alert fires in a test for promtool."""
        tests = yaml.safe_load((ROOT / "tests/e2e/alerts.test.yml").read_text("utf-8"))["tests"]
        expected = [
            sample["labels"]
            for test in tests
            for each in test["promql_expr_test"]
            for sample in each.get("exp_samples", ())
        ]
        self.assertEqual({*re.findall(r'alertname="(\w+)"', " ".join(expected))}, {*ALERTS})


class Dashboard(SynchronousTestCase):
    def test_panels_have_places_of_their_own(self) -> None:
        """Panels do not overlap, and have different ids."""
        self.assertEqual(len({panel["id"] for panel in DASHBOARD["panels"]}), len(DASHBOARD["panels"]))
        for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
            beside = any(
                a[p] >= b[p] + b[s] for p, s in (("x", "w"), ("y", "h")) for a, b in ((one, other), (other, one))
            )
            self.assertTrue(beside, f"{one} {other}")
            self.assertLessEqual(one["x"] + one["w"], 24)

    def test_each_panel_is_explained(self) -> None:
        """A panel has a title, a description, and the data source that the user selects."""
        (variable, *_) = DASHBOARD["templating"]["list"]
        self.assertEqual((variable["name"], variable["type"]), ("datasource", "datasource"))
        for panel in PANELS:
            self.assertTrue(panel["title"])
            self.assertTrue(panel["description"], panel["title"])
            for each in (panel, *panel["targets"]):
                self.assertEqual(each["datasource"], {"type": "prometheus", "uid": "${datasource}"}, panel["title"])

    def test_its_rows(self) -> None:
        rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
        self.assertEqual(rows, ["Health", "Registrations", "Traffic", "Peers", "Limits", "Drivers of HAProxy"])


class Names(SynchronousTestCase):
    def test_every_metric_that_is_used_exists(self) -> None:
        """The page of metrics, which another test compares with the code, names every metric that is used."""
        known = metrics_in((FOLDER / "metrics.md").read_text("utf-8"))
        self.assertGreater(len(known), 50)
        used = {metric for expression in expressions() for metric in metrics_in(expression)}
        self.assertEqual(used - known, set())
        for page in ("index.md", "alerts.md"):
            self.assertEqual(metrics_in((FOLDER / page).read_text("utf-8")) - known, set())

    def test_every_metric_belongs_to_a_job(self) -> None:
        """Every expression selects a job, so metrics of the same name from other programs are ignored."""
        for expression in expressions():
            for metric, labels in re.findall(r"(?<![\w:])(bender_\w+|up)\b(\{[^}]*\})?", expression):
                self.assertRegex(labels, 'job="bender(-haproxy)?"', f"{metric} in {expression}")
