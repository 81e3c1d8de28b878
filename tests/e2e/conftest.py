"""Fixtures for tests with real processes. The classes are in `tests.e2e.nodes` and beside it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import forking
from tests.e2e.balancing import Place
from tests.e2e.forking import Forks
from tests.e2e.nodes import Cluster, Node, ended_cleanly
from tests.e2e.runs import Run
from tests.e2e.shells import Shell


def pytest_configure() -> None:
    """Restore signals that processes of the tests would ignore under nohup, or in the background of a shell.

    The tests wait for the effect of these signals.
    """
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Starts nodes: `await cluster(3, ttl=4, interval=1)`.

    All nodes are ended after the test, and none may log an error, or a token.
    """
    with ended_cleanly(Cluster(tmp_path)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Starts the node that all tests of a file share: `await shared(1)`, once."""
    shared = Cluster(tmp_path_factory.mktemp("shared"))
    yield shared
    shared.end()
    for node in shared.nodes:
        assert "Traceback" not in node.log, node.log


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[Forks]:
    """Runs commands without the start time of Python."""
    forks = forking.forks()
    yield forks
    forks.end()


@pytest.fixture
def shell(tmp_path: Path, forks: Forks) -> Iterator[Shell]:
    """A shell whose home is the test's folder. All its commands are ended after the test."""
    shell = Shell(tmp_path, forks)
    yield shell
    shell.end()


@pytest.fixture
def place(cluster: Cluster, tmp_path: Path) -> Iterator[Place]:
    """Starts drivers with their HAProxy, and instances. All are ended after the test; drivers may not log errors."""
    place = Place(tmp_path, cluster.ports)
    yield place
    place.end()
    for process in place.processes:
        assert "Traceback" not in process.output, f"{process.name} printed:\n{process.output}"


@pytest.fixture
def runs(shared: Cluster, tmp_path: Path) -> Iterator[Any]:
    """Makes a `Run` at these nodes. All its processes are ended after the test."""
    made: list[Run] = []

    def make(*nodes: Node) -> Run:
        addresses = [f"127.0.0.1:{node.api_port}" for node in nodes]
        made.append(Run(tmp_path / f"run{len(made)}", addresses, shared.ports.take()))
        return made[-1]

    yield make
    for run in made:
        run.end()
        assert "should not have happened" not in run.stderr, run.stderr
