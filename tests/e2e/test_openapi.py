"""A node answers every request in accordance with docs/openapi.yaml.

Schemathesis reads the document, makes requests that it allows and many that it forbids, and checks each answer. Its
configuration is in schemathesis.toml and openapi_hooks.py beside this file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.e2e.nodes import Cluster, Node
from tests.e2e.protection import secret_of, write_tokens
from tests.twistd_command import ROOT, environment

#: The time limit of a run that hangs.
TRIED_WITHIN_S = 900

#: Requests from the examples, at the limits of each field, at random, and in sequences.
PHASES = ["examples", "coverage", "fuzzing", "stateful"]


@pytest.mark.slow
@ensureDeferred
async def test_a_node_answers_as_the_document_says(cluster: Cluster) -> None:
    (node,) = await cluster(1)
    report = tried(node, cluster.folder, [f"--phases={','.join(PHASES)}"])
    operations = report["operations"]
    assert operations["total"] == operations["tested"] > 0, operations
    ran = {phase: ran["status"] for phase, ran in report["phases"].items() if ran["status"] != "skip"}
    assert ran == dict.fromkeys(PHASES, "success")


@pytest.mark.slow
@ensureDeferred
async def test_a_node_with_tokens_answers_as_the_document_says(cluster: Cluster, tmp_path: Path) -> None:
    """Requests with the token of an administrator; few are enough, because a token does not change values of fields."""
    node = cluster.node(tokens=write_tokens(tmp_path / "tokens.toml"))
    node.token = secret_of("admin")
    await cluster.start([node])
    few = ["--phases=examples,fuzzing", "--max-examples=3"]
    report = tried(node, cluster.folder, [*few, f"--header=Authorization: Bearer {node.token}"])
    operations = report["operations"]
    assert operations["total"] == operations["tested"] > 0, operations
    counted = (await node.call("GET", "/status")).body["since_start"]
    assert counted["forbidden"] == 0


def tried(node: Node, folder: Path, how: list[str]) -> dict[str, Any]:
    """Run schemathesis on a node; return its report, which must have no failures."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "schemathesis.cli", f"--config-file={ROOT / 'tests/e2e/schemathesis.toml'}"]
    command += ["run", str(ROOT / "docs/openapi.yaml"), f"--url={node.api_url}", f"--report-json-path={report}"]
    end = subprocess.run(
        [*command, "--no-color", *how],
        cwd=folder,
        env=environment(),
        timeout=TRIED_WITHIN_S,
        text=True,
        capture_output=True,
        check=False,
    )
    assert end.returncode == 0, end.stdout + end.stderr
    found: dict[str, Any] = json.loads(report.read_text("utf-8"))
    return found
