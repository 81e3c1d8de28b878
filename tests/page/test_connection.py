"""The page while its node does not answer, and afterwards."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.nodes import Cluster, Node
from tests.page.asking import ask, wait_until_ready
from tests.page.registry import Registry
from tests.page.sightings import expect_soon
from tests.page.views import address_of, column, row, title_pattern, visit_view
from tests.page.visits import Visit
from tests.page.wire import Wire

pytestmark = pytest.mark.outside

Registering = Callable[..., Registry]

INSTANCE = "#tree .instance"


@pytest.fixture
def interrupted(visit: Visit) -> Page:
    """A page whose requests may remain without an answer."""
    for error in ("Failed to load resource: net::ERR_", "ERR_INCOMPLETE_CHUNKED_ENCODING", "503"):
        visit.allow_error(error)
    return visit.page


def banner(page: Page) -> Locator:
    return page.locator("#connection")


def test_a_node_that_hangs(interrupted: Page, nodes: Callable[..., list[Node]], registry: Registering) -> None:
    """A hanging node closes no connection; the page notices that `/status` has no answer."""
    (node,) = nodes(1)
    registry(node).register("web", "1", "10.3.0.1", 80, ttl=60)
    visit_view(interrupted, node)
    expect(row(interrupted, "10.3.0.1:80")).to_be_visible()
    node.kill(signal.SIGSTOP)
    expect(banner(interrupted)).to_contain_text("n1 is unreachable since")
    node.kill(signal.SIGCONT)
    expect(banner(interrupted)).to_be_hidden()


def test_a_node_that_is_killed_and_started_again(
    interrupted: Page, visit: Visit, nodes: Callable[..., list[Node]], registry: Registering
) -> None:
    """The list stays under a banner with the time and the other nodes; later it is updated and live again."""
    page = interrupted
    first, second = nodes(2, interval=0.25, ttl=4)
    registered = registry(second)
    registered.register("web", "1", "10.3.0.1", 80, ttl=4)
    leaving = registered.register("web", "1", "10.3.0.2", 80, ttl=4)
    visit_view(page, first)
    expect(page.locator(INSTANCE)).to_have_count(2)
    expect(banner(page)).to_be_hidden()
    with expect_soon(page, "#connection", "n1 is unreachable since"):
        first.kill()
        first.process.wait()
    expect(banner(page)).to_have_text(re.compile(r"since \d+:\d\d:\d\d( [AP]M)?: .*Open this view at another node: n2"))
    assert banner(page).get_by_role("link", name="n2").get_attribute("href") == address_of(second, "now")
    expect(page.locator(INSTANCE)).to_have_count(2)
    registered.deregister(leaving)
    registered.register("web", "2", "10.3.0.3", 80, ttl=4)
    first.start()
    wait_until_ready(first)
    expect(banner(page)).to_be_hidden()
    expect(row(page, "10.3.0.3:80")).to_be_visible()
    expect(row(page, "10.3.0.1:80")).to_be_visible()
    expect(row(page, "10.3.0.2:80")).to_contain_class("is-gone")
    with expect_soon(page, INSTANCE, "10.3.0.4:80"):
        registered.register("web", "2", "10.3.0.4", 80, ttl=4)
    first.kill()
    visit.allow_origin(second.api_url)
    banner(page).get_by_role("link", name="n2").click()
    expect(page).to_have_title(title_pattern(second))
    expect(page.locator(f"{INSTANCE}.is-ok")).to_have_count(3)


@pytest.fixture
def wire(pair: list[Node]) -> Iterator[Wire]:
    """A relay to the first node."""
    wire = Wire(pair[0].api_port)
    yield wire
    wire.close()


def test_a_cut_is_no_reset(interrupted: Page, wire: Wire, pair: list[Node], registry: Registering) -> None:
    """After a short interruption, the page gets the missed events, with reasons that a new list would not have."""
    page = interrupted
    registered = registry(pair[1])
    kept = registered.register("cut", "1", "10.3.1.1", 80, ttl=4)
    leaving = registered.register("cut", "1", "10.3.1.2", 80, ttl=4)
    page.goto(f"http://127.0.0.1:{wire.port}/")
    expect(page.locator(INSTANCE)).to_have_count(2)
    wire.cut()
    expect(banner(page)).to_contain_text("is unreachable")
    registered.deregister(leaving)
    registered.register("cut", "1", "10.3.1.1", 80, ttl=4, weight=77)
    wire.mend()
    expect(banner(page)).to_be_hidden()
    expect(column(row(page, "10.3.1.2:80"), "state")).to_have_text("deregistered")
    expect(column(row(page, "10.3.1.1:80"), "weight")).to_have_text("77")
    expect(row(page, "10.3.1.1:80")).to_contain_class("fresh-changed")
    registered.deregister(kept)


def test_try_now(interrupted: Page, wire: Wire) -> None:
    """The button starts an attempt at once."""
    page = interrupted
    page.goto(f"http://127.0.0.1:{wire.port}/")
    expect(page.locator("#header .dot.ok")).to_have_count(1)
    page.clock.install()
    page.clock.pause_at(page.evaluate("() => Date.now()") / 1000 + 1)  # so that the page does not try by itself
    wire.cut()
    expect(banner(page)).to_contain_text("is unreachable")
    wire.mend()
    banner(page).get_by_role("button", name="Try now").click()
    expect(banner(page)).to_be_hidden()


def test_a_node_that_is_not_ready(interrupted: Page, cluster: Cluster) -> None:
    """The page reports a node that is not ready, and is live without a reload as soon as the node is ready."""
    page = interrupted
    node = cluster.node(peers=f"127.0.0.1:{cluster.ports.take()}", interval=0.75)
    cluster.launch([node])
    while True:
        try:
            ask(node.api_url, "GET", "/status")
        except OSError:
            assert node.process.poll() is None
        else:
            break
    page.goto(address_of(node, "now"))
    expect(banner(page)).to_contain_text("n1 is not ready: not all of its peers have answered yet.")
    wait_until_ready(node)
    expect(banner(page)).to_be_hidden()
    expect(page.locator(".summary")).to_contain_text("No instance is registered.")


def test_two_tabs(page: Page, pair: list[Node], registry: Registering) -> None:
    """Two tabs are live at once; a tab in the background shows the present state when the user returns to it."""
    registered = registry(pair[1])
    visit_view(page, pair[0])
    tab = page.context.new_page()
    visit_view(tab, pair[0])
    with expect_soon(tab, INSTANCE, "10.3.2.1:80"):
        registered.register("tabs", "1", "10.3.2.1", 80, ttl=4)
    page.bring_to_front()
    expect(row(page, "10.3.2.1:80")).to_be_visible()
    tab.close()
    with expect_soon(page, INSTANCE, "10.3.2.2:80"):
        registered.register("tabs", "1", "10.3.2.2", 80, ttl=4)
