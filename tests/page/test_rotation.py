"""Each view shows whether an instance gets traffic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.nodes import Node
from tests.page.asking import ask
from tests.page.registry import Registry
from tests.page.views import column, explain_view, row, visit_view
from tests.page.visits import Visit

pytestmark = pytest.mark.outside

Registering = Callable[..., Registry]


def verdict(page: Page, node: Node, registration: dict[str, Any]) -> str:
    """Return the verdict of *Explain* as soon as it is displayed."""
    visit_view(page, node, explain_view(registration))
    expect(page.locator(".verdict")).to_be_visible()
    return page.locator(".verdict").inner_text()


def test_who_takes_no_traffic(page: Page, pair: list[Node], registry: Registering) -> None:
    """*Now*, *Explain* and the members show instances without traffic: drained, with weight 0, or found down."""
    first, second = pair
    registered = registry(second)
    well, idle, drained, down = (registered.register("taking", "1", "10.5.0.1", port, ttl=3) for port in (1, 2, 3, 4))
    loose = registered.register("loose", "1", "10.5.0.2", 80, ttl=3)
    registered.put("/backends/taking", {"app": "taking", "version": "1"})
    registered.call("POST", "/registrations/taking/1/10.5.0.1/2", {"weight": 0}, expected=200)
    registered.call("PUT", "/registrations/taking/1/10.5.0.1/3/state", {"state": "drain"}, expected=200)
    cursor = ask(second.api_url, "GET", "/events").body["cursor"]
    for name in ("edge-1", "edge-2"):
        report = {"cursor": cursor, "report": {"down": [down["id"]]}}
        registered.call("PUT", f"/consumers/{name}", report, expected=200)
    assert verdict(page, first, well) == "In rotation"
    assert verdict(page, first, idle) == "No traffic: its weight is 0"
    assert verdict(page, first, drained) == "No new requests: drained by 127.0.0.1"
    assert verdict(page, first, down) == "No traffic: all load balancers find it down"
    assert verdict(page, first, loose) == "Listed, but no backend sends requests to this version"
    visit_view(page, first, "now", "app:taking")
    for port, state in ((1, "up"), (2, "weight 0"), (3, "drain"), (4, "checks fail")):
        expect(column(row(page, f"10.5.0.1:{port}"), "state")).to_have_text(state)
    visit_view(page, first, "deploys/backend/taking")
    expect(page.locator(".shares tbody td").first).to_have_text("1 of 41 weight 0, 1 drain and 1 checks fail")
    for name in ("edge-1", "edge-2"):
        registered.call("PUT", f"/consumers/{name}", {"cursor": cursor, "report": {"down": []}}, expected=200)


def test_a_backend_without_members(page: Page, pair: list[Node], registry: Registering) -> None:
    """An empty backend's version stays in *Now*; *Now*, the menu and the backend's view show that it has no members."""
    first, second = pair
    registered = registry(second)
    instance = registered.register("leaving", "1", "10.5.1.1", 80, ttl=3)
    registered.put("/backends/doomed", {"app": "leaving", "version": "1"})
    visit_view(page, first)
    expect(row(page, "10.5.1.1:80")).to_be_visible()
    page.clock.install()
    registered.deregister(instance)
    expect(row(page, "no instances")).to_contain_text("doomed")
    page.clock.run_for(12_000)
    expect(row(page, "10.5.1.1:80")).to_have_count(0)
    expect(row(page, "no instances")).to_contain_text("doomed")
    expect(page.locator(".summary")).to_have_text("No member takes the traffic of the backend doomed.")
    page.locator(".summary").get_by_role("link", name="doomed").click()
    page.clock.run_for(1_000)
    expect(page.locator(".menu [aria-current]")).to_contain_text("no member takes traffic")
    expect(page.locator(".alarm")).to_contain_text("No member takes traffic")
    registered.call("DELETE", "/backends/doomed?force", expected=204)


def test_a_search_for_what_has_gone(page: Page, pair: list[Node], registry: Registering) -> None:
    """A search for a deregistered instance, by its id or as displayed, has links to the explanation and the events."""
    first, second = pair
    registered = registry(second)
    registered.deregister(registered.register("ended", "1", "10.5.2.1", 80, ttl=3))
    for query in ("ended/1/10.5.2.1/80", "registration/ended/1/10.5.2.1/80", "ended/1/10.5.2.1:80"):
        visit_view(page, first, "now", query)
        page.get_by_role("link", name="Explain why it is not listed").click()
        expect(page.locator(".verdict")).to_have_text("Not listed: deregistered")
    visit_view(page, first, "now", "10.5.2.1")
    page.get_by_role("link", name="Search the events for it").click()
    expect(page.locator("#log .event")).to_have_count(2)


def test_a_moment_at_another_node(page: Page, visit: Visit, pair: list[Node], registry: Registering) -> None:
    """A link to a moment works at another node, although the same event has another time there."""
    first, second = pair
    visit.allow_origin(second.api_url)
    registered = registry(second)
    registered.register("shared", "1", "10.5.3.1", 80, ttl=3)
    visit_view(page, first, "events", "10.5.3.1")
    page.locator("#log .event .at").first.click()
    expect(page.locator("#log .event.here .subject")).to_contain_text("10.5.3.1")
    moment = page.evaluate("() => location.hash.slice(2)")
    visit_view(page, second, moment)
    expect(page.locator("#log .event.here .subject")).to_contain_text("10.5.3.1")
