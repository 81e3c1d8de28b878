"""The files of `packaging/` for supervisors, and the packages that measurements and the demo need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_twisted import ensureDeferred

from tests.e2e.nodes import PATIENCE_S, Cluster, until
from tests.e2e.protection import make_certificates
from tests.twistd_command import ROOT

PACKAGING = ROOT / "packaging"
UNPACKED = ROOT / ".deps/debian"

#: The highest exposure of each unit, from 0 to 10; systemd calls it OK up to 4.
EXPOSURE_MAX = {"bender.service": 2.0, "bender-run@.service": 3.0, "bender-haproxy.service": 3.0}


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the machine's `systemd-analyze`, or else the one from `make test-deps`."""
    command = shutil.which("systemd-analyze") or str(UNPACKED / "usr/bin/systemd-analyze")
    libraries = [*UNPACKED.glob("usr/lib/*-linux-*/systemd"), *UNPACKED.glob("*/lib/*-linux-*")]
    libraries += UNPACKED.glob("lib/*-linux-*")
    return subprocess.run(
        [command, *arguments],
        env={**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries)), "SYSTEMD_COLORS": "0"},
        text=True,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture(params=EXPOSURE_MAX)
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write a unit that starts the programs of this environment."""
    text = (PACKAGING / request.param).read_text("utf-8")
    assert "/opt/bender/bin/" in text
    path = tmp_path / str(request.param)
    path.write_text(text.replace("/opt/bender/bin/", f"{Path(sys.executable).parent}/"), "utf-8")
    return path


@pytest.mark.outside
def test_systemd_understands_the_units(unit: Path) -> None:
    """systemd-analyze reports nothing about the units."""
    end = systemd_analyze("verify", "--man=no", unit)
    assert (end.returncode, end.stdout + end.stderr) == (0, "")


@pytest.mark.outside
def test_a_service_can_do_little_else(unit: Path) -> None:
    """The units limit a service, so that an attacker who controls it is in a sandbox."""
    end = systemd_analyze("security", "--offline=true", "--no-pager", unit)
    level = re.search(r"Overall exposure level for \S+: ([\d.]+) OK", end.stdout)
    assert level, end.stdout + end.stderr
    assert float(level[1]) <= EXPOSURE_MAX[unit.name]


@pytest.mark.parametrize(
    ("arguments", "started"),
    [
        ([], "twistd --nodaemon --pidfile= bender"),
        (["--name", "n 1"], "twistd --nodaemon --pidfile= bender --name n 1"),
        (["status", "--json"], "bender status --json"),
        (["bender", "ls"], "bender ls"),
    ],
)
def test_a_container_starts_a_node_or_a_command(tmp_path: Path, arguments: list[str], started: str) -> None:
    """The started program replaces the script, so that it gets the signals."""
    for name in ("twistd", "bender"):
        (tmp_path / name).write_text('#!/bin/sh\necho "$$" "${0##*/}" "$@"\n')
        (tmp_path / name).chmod(0o755)
    process = subprocess.Popen(
        [PACKAGING / "entrypoint", *arguments],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert said == f"{process.pid} {started}\n"


@ensureDeferred
async def test_a_container_is_healthy_with_tls_and_without(cluster: Cluster, tmp_path: Path) -> None:
    """A container is healthy with and without TLS, but not if no node answers, or if the node waits for its peers."""
    certificates = make_certificates(tmp_path / "ca", "--host", "10.0.0.1")
    plain, secured, waiting = cluster.node(), cluster.node(tls=certificates), cluster.node(interval=60, ttl=600)
    waiting.options["peers"] = f"127.0.0.1:{cluster.ports.take()}"
    for node in (plain, secured, waiting):
        node.start()

    def healthy(port: int) -> bool:
        command = [sys.executable, str(PACKAGING / "healthcheck"), f"127.0.0.1:{port}"]
        return subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False).returncode == 0

    await until("both are healthy", lambda: healthy(plain.api_port) and healthy(secured.api_port))
    await until("the third one answers", lambda: "--exchange starting" in waiting.log)
    assert not healthy(waiting.api_port)
    assert not healthy(cluster.ports.take())


def test_measurements_and_the_demo_need_no_package_of_the_tests() -> None:
    """`make bench` and `make run` import modules of `tests`, without the packages of the extra `test`."""
    missing = "import sys; sys.modules.update(dict.fromkeys(('hypothesis', 'pexpect', 'pytest', 'yaml')))"
    imports = "import bench.__main__, bench.balancing, bench.propagation, bench.scale.__main__, demo.run"
    done = subprocess.run(
        [sys.executable, "-c", f"{missing}; {imports}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
