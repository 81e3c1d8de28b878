"""The rules and the dashboard of docs/monitoring/ in a real Prometheus: scraped targets, and alerts that fire."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_twisted import ensureDeferred

from tests.e2e.balancing import NODES, Driver, Place, instances, shop
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, until
from tests.e2e.prometheus import Prometheus, program, yaml_blocks
from tests.e2e.protection import make_certificates, protected_node, secret_of, write_tokens
from tests.e2e.wires import wired
from tests.twistd_command import ROOT

pytestmark = pytest.mark.outside

FOLDER = ROOT / "docs/monitoring"

#: The time that a minute of the rules takes in these tests.
MINUTE_MS = 1000
SCRAPE = "400ms"

#: Alerts that may fire in these tests: a busy machine causes delays, and nodes with wires between them advertise
#: addresses that do not exist.
OF_THE_TEST = {"BenderReactorLag", "BenderPeerLag", "BenderPeerRequestsFail", "BenderPeerProblem"}


def promtool(*arguments: str) -> str:
    """Run promtool, which must succeed, and return its output."""
    ran = subprocess.run(
        [program("promtool"), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_promtool_accepts_the_rules() -> None:
    """promtool accepts the rules, and the tests of their alerts succeed."""
    assert "SUCCESS" in promtool("check", "rules", str(FOLDER / "alerts.yml"))
    assert "SUCCESS" in promtool("test", "rules", "tests/e2e/alerts.test.yml")


def test_promtool_accepts_the_configurations_of_the_guide(tmp_path: Path) -> None:
    """promtool accepts each configuration of the guide, with the rules in the same folder."""
    (tmp_path / "alerts.yml").write_text((FOLDER / "alerts.yml").read_text("utf-8"))
    configurations = [block for block in yaml_blocks(FOLDER / "index.md") if isinstance(block, dict)]
    assert len(configurations) == 2
    for number, configuration in enumerate(configurations):
        file = tmp_path / f"{number}.yml"
        written = yaml.safe_dump(configuration)
        for named in re.findall(r"/etc/prometheus/[\w.-]+", written):  # files that promtool opens
            (tmp_path / Path(named).name).touch()
        file.write_text(written.replace("/etc/prometheus/", f"{tmp_path}/"))
        assert "SUCCESS" in promtool("check", "config", str(file))


def hastened(rules: str) -> str:
    """Return the rules with each minute of a duration as `MINUTE_MS`, and no other change."""
    hasty, count = re.subn(r"\b(\d+)m\b", lambda found: f"{int(found[1]) * MINUTE_MS}ms", rules)
    assert count > 30
    return hasty


def configuration(folder: Path, nodes: list[Node], driver: Driver, protected: Node, certificates: Path) -> Any:
    """Return the configuration of the guide with these addresses and the accelerated rules."""
    (folder / "alerts.yml").write_text(hastened((FOLDER / "alerts.yml").read_text("utf-8")))
    found, _ = (block for block in yaml_blocks(FOLDER / "index.md") if isinstance(block, dict))
    found["global"] = {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE}
    of_nodes, of_drivers, of_instances = found["scrape_configs"]
    of_nodes["authorization"] = {"credentials": secret_of("read")}
    of_nodes["tls_config"] = {"ca_file": str(certificates / "ca.pem")}
    of_nodes["static_configs"] = [
        {"targets": [f"127.0.0.1:{node.api_port}" for node in nodes]},
        {"targets": [f"127.0.0.1:{protected.api_port}"], "labels": {"__scheme__": "https"}},
    ]
    of_drivers["static_configs"] = [{"targets": [f"127.0.0.1:{driver.status_port}"]}]
    of_instances["http_sd_configs"][0] |= {"url": f"{nodes[0].api_url}/sd/prometheus", "refresh_interval": SCRAPE}
    return found


def shown_expressions() -> dict[str, str]:
    """Return the expressions of all panels, in the form in which Grafana sends them."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        .replace("$__rate_interval", "3s")
        .replace("$instance", ".*")
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }


@ensureDeferred
async def test_alerts_fire_and_the_dashboard_has_content(cluster: Cluster, place: Place, tmp_path: Path) -> None:
    """No alert fires at first; alerts fire when a node is cut off or killed, and when an app loses most members."""
    certificates = make_certificates(tmp_path / "tls", "--host", "127.0.0.1")
    protected = protected_node(cluster, certificates, write_tokens(tmp_path / "tokens.toml"))
    async with wired(cluster, 3, **{**NODES, "ttl": 60}) as (nodes, wires):
        protected.options["cluster"] = "other"
        protected.start()
        await protected.ready()
        driver = place.driver(nodes)
        prometheus = Prometheus("prometheus", place.folder, port=place.ports.take())
        place.processes.append(prometheus)
        await prometheus.start(configuration(place.folder, nodes, driver, protected, certificates))
        running = await instances(place, nodes[1], 3, "1")
        await shop(place, nodes[0])
        driver.start()
        await driver.ready()

        await _has_content(prometheus, nodes[0])
        await _fires(prometheus)
        assert {*await prometheus.targets("instances")} == {f"127.0.0.1:{instance.port}" for instance in running}

        wires.cut(nodes[:2], nodes[2:])
        await _fires(prometheus, "BenderClusterSplit", "BenderPeerSilent")
        wires.heal()
        await _fires(prometheus)
        nodes[2].kill()
        await _fires(prometheus, "BenderNodeDown", "BenderPeerSilent")
        for instance in running[1:]:
            assert (await nodes[0].call("DELETE", instance.path)).status == 204
        await _fires(prometheus, "BenderNodeDown", "BenderPeerSilent", "BenderAppLostMembers")


async def _has_content(prometheus: Prometheus, node: Node) -> None:
    """Wait until all expressions of the dashboard have values, while a client sends requests."""
    empty = shown_expressions()

    async def all_have_content() -> bool:
        await node.call("GET", "/registrations")
        for title, expression in [*empty.items()]:
            if await prometheus.values(expression):
                del empty[title]
        return not empty

    await until("the dashboard has content", all_have_content, 30, details=lambda: str(empty))


async def _fires(prometheus: Prometheus, *alerts: str) -> None:
    """Wait until these alerts fire, and no others."""
    firing: set[str] = set()

    async def only_these_fire() -> bool:
        nonlocal firing
        firing = await prometheus.firing()
        return firing - OF_THE_TEST == {*alerts}

    await until(f"{alerts} fire", only_these_fire, details=lambda: str(firing))
