"""Real nodes in network namespaces keep all promises under a nemesis, and a planted defect is found.

`tox -e faults` runs seeds until its time is over.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.twistd_command import ROOT, environment

#: The time limit of a seed that hangs; a short one takes less than a minute.
WITHIN_S = 300

pytestmark = pytest.mark.outside


def faults(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.faults", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=WITHIN_S, check=False
    )


def test_nodes_keep_their_promises_under_a_nemesis() -> None:
    ended = faults("--seeds=1", "--from=24", "--faults=14")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 seeds, 0 with a broken promise" in ended.stdout


def test_an_upgrade_takes_nothing_offline() -> None:
    """Nodes of the previous release are replaced in turn under load."""
    ended = faults("--upgrade", "--seeds=1", "--faults=14")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 upgrade" in ended.stdout


@pytest.mark.parametrize("promise", ["P2", "P4"])
def test_a_planted_defect_is_found(promise: str) -> None:
    ended = faults("--defects", f"--promise={promise}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 of 1 defects found" in ended.stdout
