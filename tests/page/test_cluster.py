"""*Cluster*: the nodes, which of them hear each other, whether their states agree, and the consumers of events."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from bender import __version__
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, ended_cleanly
from tests.page.asking import ask
from tests.page.conftest import start
from tests.page.registry import Registry
from tests.page.views import address_of, visit_view
from tests.waiting import holds_within

pytestmark = pytest.mark.outside


#: The interval between two requests of the page for the nodes.
ASKED_EVERY_MS = 2_000


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    """Three nodes, the same for all tests of this file."""
    with ended_cleanly(Cluster(tmp_path_factory.mktemp("three"))) as cluster:
        yield start(cluster, 3, interval=0.25, ttl=4)


def table(page: Page, name: str) -> Locator:
    """Return the rows of a table."""
    return page.get_by_role("region", name=name).locator("tbody tr")


def hears_all(node: Node) -> bool:
    """Return True if a node hears all others, and reports no problem."""
    status = ask(node.api_url, "GET", "/status").body
    return not status["problems"] and all(peer["state"] == "heard" for peer in status["peers"])


def drawing(page: Page) -> Locator:
    return page.get_by_role("region", name="Which nodes hear each other").get_by_role("img")


def test_nodes(page: Page, three: list[Node], registry: Callable[..., Registry]) -> None:
    """Each node has its release, its instances, its digest and the nodes that it hears; all states are the same."""
    first, _, third = three
    registered = registry(third)
    instances = [registered.register("web", "1", host, 80, ttl=4) for host in ("10.7.0.1", "10.7.0.2")]
    visit_view(page, first, "cluster")
    rows = table(page, "Nodes")
    expect(rows).to_have_count(3)
    expect(page.locator(".summary")).to_have_text("3 nodes. All nodes that answer have the same state.")
    digest = ask(first.api_url, "GET", "/status").body["digest"]
    for node in three:
        row = rows.filter(has_text=node.exchange)
        expect(row).to_contain_text(__version__)
        expect(row).to_contain_text(digest[:8])
        expect(row.locator("td").nth(2)).to_have_text("2")
        expect(row.locator(".pair")).to_have_count(2)
        expect(row.locator(".pair.bad")).to_have_count(0)
    expect(rows.filter(has_text="this node")).to_contain_text(first.exchange)
    expect(drawing(page)).to_have_accessible_name("All nodes hear each other.")
    expect(drawing(page).locator(".link")).to_have_count(3)
    expect(drawing(page).locator("text")).to_have_text(["n1", "n2", "n3"])
    assert rows.get_by_role("link", name="n2").get_attribute("href") == address_of(three[1], "cluster")
    for instance in instances:
        registered.deregister(instance)


def test_a_paused_node(page: Page, three: list[Node]) -> None:
    """The table, the drawing and the problems name the silent node until it continues."""
    first, second, third = three
    page.clock.install()
    visit_view(page, first, "cluster")
    expect(table(page, "Nodes")).to_have_count(3)
    expect(page.get_by_role("region", name="Problems")).to_have_count(0)
    third.kill(signal.SIGSTOP)
    try:
        assert holds_within(PATIENCE_S, lambda: not hears_all(first) and not hears_all(second))
        page.clock.run_for(ASKED_EVERY_MS)
        expect(drawing(page).locator(".link.deaf")).to_have_count(2)
        expect(drawing(page)).to_have_accessible_name("n1 does not hear n3; n2 does not hear n3")
        expect(drawing(page).locator(".node.bad")).to_have_count(1)
        expect(page.locator(".summary")).to_contain_text("1 node does not answer.")
        silent = table(page, "Nodes").filter(has_text=third.exchange)
        expect(silent.locator("td.bad")).to_contain_text("was not heard for")
        expect(table(page, "Nodes").filter(has_text=second.exchange).locator(".pair.bad")).to_contain_text("n3")
        expect(page.get_by_role("region", name="Problems")).to_contain_text("n3")
        expect(page.get_by_role("navigation", name="Views").get_by_role("link", name="Cluster")).to_contain_text("1")
    finally:
        third.kill(signal.SIGCONT)
    assert holds_within(PATIENCE_S, lambda: all(hears_all(node) for node in three))
    page.clock.run_for(ASKED_EVERY_MS)
    expect(drawing(page)).to_have_accessible_name("All nodes hear each other.")
    expect(page.locator(".summary")).to_have_text("3 nodes. All nodes that answer have the same state.")
    expect(page.get_by_role("region", name="Problems")).to_have_count(0)


def test_consumers(page: Page, three: list[Node], registry: Callable[..., Registry]) -> None:
    """The page shows where each consumer is connected, how many events it is behind, and its report."""
    first, second, _ = three
    registered = registry(second)
    page.clock.install()
    visit_view(page, first, "cluster")
    problem = {"kind": "unreachable", "why": "HAProxy does not answer", "since": 1, "instead": "nothing"}
    cursor = ask(second.api_url, "GET", "/events").body["cursor"]
    body = {"cursor": cursor, "report": {"problems": [problem], "down": ["registration/web/1/10.7.1.1/80"]}}
    registered.call("PUT", "/consumers/edge-1", body, expected=200)
    page.clock.run_for(ASKED_EVERY_MS)
    row = table(page, "Load balancers and watchers").filter(has_text="edge-1")
    expect(row).to_contain_text("n2")
    expect(row.locator("td").nth(1)).to_have_text("0")
    expect(row).to_contain_text("HAProxy does not answer; 1 member down")
    registered.register("web", "1", "10.7.1.1", 80, ttl=4)
    page.clock.run_for(ASKED_EVERY_MS)
    expect(row.locator("td").nth(1)).to_have_text("1")
    timing = "It exchanges its state every 0.25 s; the default ttl is 4 s."
    expect(page.locator(".view.cluster > .hint")).to_contain_text(timing)
