"""The logs of running services: in JSON, with a level, and through a reload."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.e2e.balancing import Place, driven
from tests.e2e.nodes import Cluster, until
from tests.twistd_command import twistd


def objects(log: str) -> list[dict[str, Any]]:
    """Return the lines of a log, which must be JSON objects that begin with the common keys."""
    lines = [json.loads(line) for line in log.splitlines()]
    for line in lines:
        assert [*line][:4] == ["time", "level", "namespace", "message"], line
    return lines


@ensureDeferred
async def test_json_from_the_first_line_to_the_last(cluster: Cluster) -> None:
    """All lines are JSON, also Twisted's own, and the fields of a line are separate values."""
    (node,) = await cluster(1, **{"log-format": "json"})
    await node.stop()
    first, *_, last = lines = objects(node.log)
    assert first["message"].startswith("Node n1 of cluster bender")
    assert (first["node"], first["cluster"], first["level"]) == ("n1", "bender", "info")
    assert last["message"] == "Server Shut Down."
    assert {"twisted.internet.base", "bender.daemon.tap"} < {line["namespace"] for line in lines}
    assert node.stderr == ""


@ensureDeferred
async def test_a_reload(cluster: Cluster, tmp_path: Path) -> None:
    """SIGHUP changes the format and the level at once, and a new file has no line in the old format."""
    config, log = tmp_path / "n.toml", tmp_path / "node.log"
    config.write_text('log-level = "error"\n')
    node = cluster.node(config="n.toml")
    node.command = [*twistd(), f"--logfile={log}", "bender"]
    node.start()
    await node.ready()
    assert log.read_text() == ""

    log.rename(tmp_path / "node.log.1")
    config.write_text('log-format = "json"\nlog-level = "debug"\n')
    node.kill(signal.SIGHUP)
    await until("the change is logged", lambda: log.exists() and log.read_text().count("\n") == 2)
    assert [line["change"] for line in objects(log.read_text())] == [
        "--log-format: json instead of text",
        "--log-level: debug instead of error",
    ]
    config.write_text('log-format = "xml"\n')
    node.kill(signal.SIGHUP)
    await until("the mistake is logged", lambda: "Configuration not changed" in log.read_text())
    assert objects(log.read_text())[-1]["error"].endswith("n.toml must be text or json, not 'xml'.")


@ensureDeferred
async def test_under_twist(cluster: Cluster) -> None:
    """`twist` keeps its own options of the log; bender's come after `bender`. SIGHUP opens the file again."""
    node = cluster.node(**{"log-format": "json"})
    node.command = [sys.executable, str(Path(sys.executable).with_name("twist")), "--log-file=twist.log", "bender"]
    node.start()
    await node.ready()
    log = node.folder / "twist.log"
    assert objects(log.read_text())[0]["node"] == "n1"
    log.rename(node.folder / "twist.log.1")
    node.kill(signal.SIGHUP)
    await until("the file is opened again", lambda: log.exists() and log.read_text().endswith("\n"))
    assert objects(log.read_text())[0]["message"] == "Configuration reread after SIGHUP: nothing changed."


@pytest.mark.outside
@ensureDeferred
async def test_a_driver(cluster: Cluster, place: Place) -> None:
    """A driver has the same options of the log. Only the messages of its HAProxy on stderr are not JSON."""
    (node,) = await cluster(1)
    driver = await driven(place, [node], **{"log-format": "json"})
    assert driver.process is not None
    driver.signal(signal.SIGTERM)
    await driver.ended()
    own = [line for line in driver.output.splitlines(keepends=True) if not re.match(r"\[[A-Z]+\] ", line)]
    assert any(line["message"].startswith("Following") and line["node"] for line in objects("".join(own)))
