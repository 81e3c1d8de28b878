"""Fixtures for tests of the page that a node shows to browsers: Chromium, which Playwright drives, and real nodes.

Tests and fixtures are plain functions that block: Playwright has a loop of its own, and no reactor runs beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.forking import forks
from tests.e2e.nodes import Cluster, Node, ended_cleanly
from tests.page import accessibility, browsers
from tests.page.asking import wait_until_ready
from tests.page.registry import Registry
from tests.page.visits import Visit, visiting


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, started once."""
    with browsers.started() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, cluster: Cluster) -> Iterator[Visit]:
    """The visit of `page`: what the page does, and what the test expects of it.

    At its end, a test fails if there were errors that it did not allow, on the console or elsewhere, or a request to
    another origin. The page is closed before the nodes of `cluster` end, because it would report their absence.
    """
    with visiting(browser) as visit:
        yield visit


@pytest.fixture
def page(visit: Visit) -> Page:
    """An empty page; `visit` notes what it does."""
    return visit.page


@pytest.fixture
def other(browser: Browser) -> Iterator[Page]:
    """An empty page in another window, like that of another user. Chromium would hardly draw a hidden tab."""
    with visiting(browser) as visit:
        yield visit.page


@pytest.fixture
def axe() -> Callable[[Page], list[str]]:
    """Check a page with axe-core: `assert axe(page) == []`."""
    return accessibility.violations


@pytest.fixture(scope="session", autouse=True)
def _forks() -> Iterator[None]:
    """End the process from which nodes are forked."""
    yield
    forks().end()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The nodes of one test, which starts them. All are ended after the test, and none may log an error, or a token."""
    with ended_cleanly(Cluster(tmp_path)) as cluster:
        yield cluster


@pytest.fixture
def nodes(cluster: Cluster) -> Callable[..., list[Node]]:
    """Start nodes that are ready and know each other: `(node,) = nodes(1, ttl=4, interval=1)`."""
    return partial(start, cluster)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Two nodes that all tests of a file use, each for apps and backends of its own."""
    with ended_cleanly(Cluster(tmp_path_factory.mktemp("pair"))) as cluster:
        yield start(cluster, 2, interval=0.25, ttl=4)


def start(cluster: Cluster, count: int, /, **options: Any) -> list[Node]:
    """Start nodes of a cluster as peers of each other, and wait until all are ready."""
    nodes = [cluster.node(**options) for _ in range(count)]
    cluster.launch(nodes)
    for node in nodes:
        wait_until_ready(node)
    return nodes


@pytest.fixture
def registry() -> Iterator[Callable[..., Registry]]:
    """Register services and configure backends: `registry(node)`, at the first of the nodes that answers."""
    with ExitStack() as stack:
        yield lambda *nodes: stack.enter_context(Registry([node.api_url for node in nodes], nodes[0].token))
