"""twistd finds both plugins, and a node runs, for each way to install bender."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_twisted import ensureDeferred

from bender import __version__
from tests.e2e.nodes import PATIENCE_S, Cluster
from tests.e2e.source_tree import copy_sources

RUNNERS = {
    "twistd": ("from twisted.scripts.twistd import run; run()", ["--nodaemon", "--pidfile="]),
    "twist": ("from twisted.application.twist._twist import Twist; Twist.main()", []),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the files of packages, because a build writes into their folder."""
    copy = tmp_path / "tree"
    copy_sources(copy)
    return copy


@pytest.fixture
def python(tmp_path: Path) -> str:
    """The Python of a new environment, which has the dependencies of the running one, but not bender."""
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True, timeout=PATIENCE_S)
    (packages,) = place.glob("lib/python*/site-packages")
    others = [path for path in sys.path if path.endswith("-packages")]
    (packages / "dependencies.pth").write_text("\n".join(others))
    return str(place / "bin" / "python")


def printed(command: list[str], folder: Path, path: str = "") -> str:
    end = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        capture_output=True,
        timeout=4 * PATIENCE_S,
        check=False,
    )
    assert end.returncode == 0, end.stderr
    return end.stdout


def build(what: str, tree: Path) -> Path:
    """Build a `wheel` or an `sdist`, and remove the copied files."""
    place = tree.with_name("dist")
    place.mkdir()
    printed([sys.executable, "-c", f"from hatchling.build import *; build_{what}({str(place)!r})"], tree)
    shutil.rmtree(tree)
    (package,) = place.iterdir()
    return package


def install(python: str, *what: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-build-isolation"]
    printed([*command, "--no-index", *map(str, what)], Path(python).parent)


async def runs(cluster: Cluster, python: str, path: str = "") -> None:
    """Check that both runners find the plugins and run a node with this Python, from another folder."""
    for code, options in RUNNERS.values():
        runner = [python, "-P", "-c", code]
        listed = re.findall(r"^ +(bender\S*) ", printed([*runner, "--help"], cluster.folder, path), re.MULTILINE)
        assert listed == ["bender", "bender-haproxy"]
        node = cluster.node()
        node.command = [*runner, *options, "bender"]
        node.variables = {**os.environ, "PYTHONPATH": path}
        node.start()
        await node.ready()
        assert (await node.call("GET", "/")).body["version"] == __version__
        assert await node.stop() == -signal.SIGTERM


def has_command_line(python: str, folder: Path) -> None:
    assert printed([str(Path(python).with_name("bender")), "--version"], folder) == f"bender {__version__}\n"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wheel", "sdist", "editable"])
@ensureDeferred
async def test_an_install(cluster: Cluster, tree: Path, python: str, how: str) -> None:
    install(python, *(["--editable", tree] if how == "editable" else [build(how, tree)]))
    await runs(cluster, python)
    has_command_line(python, cluster.folder)


@ensureDeferred
async def test_a_checkout(cluster: Cluster, tree: Path, python: str) -> None:
    await runs(cluster, python, path=str(tree))
