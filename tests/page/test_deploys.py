"""*Deploys*: the version that each backend and frontend serves, and dialogs that change it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.nodes import PATIENCE_S, Node
from tests.page.asking import ask
from tests.page.registry import Registry
from tests.page.sightings import expect_soon
from tests.page.views import dialog, explain_view, visit_view
from tests.page.visits import Visit
from tests.waiting import holds_within

pytestmark = pytest.mark.outside

Registering = Callable[..., Registry]

#: The row of a version in the table of a backend's traffic.
SHARES = ".shares tbody tr"

MENU = "nav.menu li"


def with_versions(registered: Registry, name: str) -> list[dict[str, Any]]:
    """Register two instances of version 1 and one of version 2; the backend of the same name serves version 1."""
    instances = [
        registered.register(name, version, host, 80, ttl=3)
        for version, host in (("1", "10.1.0.1"), ("1", "10.1.0.2"), ("2", "10.1.0.3"))
    ]
    registered.put(f"/backends/{name}", {"app": name, "version": "1"})
    return instances


def backend(node: Node, name: str) -> Any:
    return ask(node.api_url, "GET", f"/backends/{name}").body


def test_a_switch(page: Page, other: Page, pair: list[Node], registry: Registering) -> None:
    """A switch is shown within a second, also in another window at another node, and the history names the author."""
    first, second = pair
    with_versions(registry(second), "switched")
    visit_view(page, first, "deploys/backend/switched")
    visit_view(other, second, "deploys")
    expect(page.locator(SHARES)).to_have_text(re.compile("switched 12100\u00a0%.{2}"))
    expect(page.get_by_label("Switch to")).to_have_text("2 (1 member)")
    page.get_by_role("button", name="Switch…").click()
    expect(dialog(page)).to_contain_text("All requests of switched go to switched 2 (1 member) at once")
    expect(dialog(page)).to_contain_text("none to switched 1 (2 members)")
    page.get_by_label("Your name").fill("Zoë")
    with expect_soon(page, SHARES, "switched 2"), expect_soon(other, MENU, "switchedswitched 2"):
        page.get_by_role("button", name="Switch to 2").click()
    expect(dialog(page)).to_have_count(0)
    assert backend(second, "switched")["version"] == "2"
    history = page.get_by_role("region", name="History").locator("tbody tr")
    expect(history.first).to_contain_text("Zoë (127.0.0.1)version: 1 → 2")
    expect(history.last).to_contain_text("app switched, version 1")


def test_cancel_changes_nothing(page: Page, pair: list[Node], registry: Registering) -> None:
    """A dialog that is cancelled, by the button or by Escape, changes nothing."""
    first, second = pair
    with_versions(registry(second), "cancelled")
    visit_view(page, first, "deploys/backend/cancelled")
    before = backend(first, "cancelled")
    page.get_by_role("button", name="Switch…").click()
    page.get_by_role("button", name="Cancel").click()
    expect(dialog(page)).to_have_count(0)
    page.get_by_role("button", name="Switch…").click()
    expect(dialog(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog(page)).to_have_count(0)
    page.get_by_label("Share of the canary in percent").fill("40")
    page.get_by_role("button", name="Start…").click()
    page.get_by_role("button", name="Cancel").click()
    assert backend(first, "cancelled") == before
    assert len(ask(first.api_url, "GET", "/backends/cancelled/history").body) == 1


def test_a_canary(page: Page, other: Page, pair: list[Node], registry: Registering) -> None:
    """The slider sets the share of a canary, by pointer or keys; a canary is changed, ended, and ends with a switch."""
    first, second = pair
    with_versions(registry(second), "birds")
    visit_view(page, first, "deploys/backend/birds")
    visit_view(other, second, "deploys/backend/birds")
    slider = page.get_by_label("Share of the canary in percent")
    start = page.get_by_role("button", name="Start…")
    expect(start).to_be_disabled()
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Share, as a number")).to_have_value("5")
    start.click()
    with expect_soon(page, SHARES, "birds 2canary15\u00a0%"), expect_soon(other, SHARES, "birds 2canary15\u00a0%"):
        page.get_by_role("button", name="Send 5\u00a0%").click()
    assert backend(second, "birds")["canary"] == {"version": "2", "percent": 5}
    expect(page.locator(SHARES).first).to_contain_text("95\u00a0%")
    slider.fill("50")
    page.get_by_role("button", name="Change…").click()
    with expect_soon(page, SHARES, "50\u00a0%"), expect_soon(other, SHARES, "50\u00a0%"):
        page.get_by_role("button", name="Send 50\u00a0%").click()
    page.get_by_role("button", name="End…").click()
    expect(dialog(page)).to_contain_text("All requests go to birds 1 (2 members).")
    with expect_soon(page, SHARES, "canary", gone=True), expect_soon(other, SHARES, "canary", gone=True):
        page.get_by_role("button", name="End the canary").click()
    assert backend(second, "birds").get("canary") is None
    expect(slider).to_have_value("0")


def test_a_rollback(page: Page, other: Page, pair: list[Node], registry: Registering) -> None:
    """A rollback restores the previous setting, with its canary; without one it is disabled."""
    first, second = pair
    registered = registry(second)
    with_versions(registered, "back")
    visit_view(page, first, "deploys/backend/back")
    roll = page.get_by_role("button", name="Roll back…")
    expect(roll).to_be_disabled()
    registered.put("/backends/back", {"canary": {"version": "2", "percent": 20}})
    registered.put("/backends/back", {"version": "2", "canary": None})
    expect(page.locator(".action").last).to_contain_text("to the previous setting: version: 2 → 1")
    roll.click()
    expect(dialog(page)).to_contain_text("canary: none → 20\u00a0% to 2")
    visit_view(other, second, "deploys/backend/back")
    with expect_soon(page, SHARES, "back 2canary120\u00a0%"), expect_soon(other, SHARES, "back 2canary120\u00a0%"):
        page.get_by_role("button", name="Roll back", exact=True).click()
    assert backend(second, "back")["canary"] == {"version": "2", "percent": 20}


def test_a_change_of_another_client_meanwhile(
    page: Page, visit: Visit, pair: list[Node], registry: Registering
) -> None:
    """The dialog reports the change of another user, and can only be closed; nothing is overwritten."""
    visit.allow_error("412")
    first, second = pair
    registered = registry(second)
    with_versions(registered, "raced")
    visit_view(page, first, "deploys/backend/raced")
    page.get_by_role("button", name="Switch…").click()
    expect(dialog(page)).to_be_visible()
    registered.put("/backends/raced", {"canary": {"version": "2", "percent": 1}})
    theirs = backend(second, "raced")
    expect(page.locator(SHARES)).to_have_count(2)
    page.get_by_role("button", name="Switch to 2").click()
    expect(dialog(page).get_by_role("alert")).to_contain_text("changed")
    expect(dialog(page).get_by_role("button")).to_have_text(["Close"])
    page.get_by_role("button", name="Close").click()
    assert [backend(node, "raced") for node in pair] == [theirs, theirs]


def test_a_change_of_another_client_before_the_question(
    page: Page, visit: Visit, pair: list[Node], registry: Registering
) -> None:
    """A change that the page had not shown yet when the dialog was opened is not overwritten either."""
    visit.allow_error("412")
    first, second = pair
    registered = registry(second)
    with_versions(registered, "hurried")

    def change_first(route: Route) -> None:
        registered.put("/backends/hurried", {"canary": {"version": "2", "percent": 1}})
        assert holds_within(PATIENCE_S, lambda: backend(first, "hurried").get("canary") is not None)
        route.continue_()

    visit_view(page, first, "deploys/backend/hurried")
    page.route("**/backends/hurried", change_first, times=1)
    page.get_by_role("button", name="Switch…").click()
    page.get_by_role("button", name="Switch to 2").click()
    expect(dialog(page).get_by_role("alert")).to_contain_text("changed")
    page.get_by_role("button", name="Close").click()
    assert backend(first, "hurried")["version"] == "1"
    page.get_by_role("button", name="Switch…").click()
    expect(dialog(page)).to_contain_text("The canary of 1\u00a0% to 2 ends.")
    page.get_by_role("button", name="Switch to 2").click()
    expect(dialog(page)).to_have_count(0)
    assert backend(first, "hurried")["version"] == "2"


def test_what_would_take_traffic_away(page: Page, visit: Visit, pair: list[Node], registry: Registering) -> None:
    """The node's message is shown, and nothing is changed without a second confirmation."""
    visit.allow_error("409")
    first, second = pair
    registered = registry(second)
    *_, only = with_versions(registered, "emptied")
    visit_view(page, first, "deploys/backend/emptied")
    page.get_by_role("button", name="Switch…").click()
    expect(dialog(page)).to_be_visible()
    registered.deregister(only)
    expect(page.get_by_label("Switch to")).to_be_disabled()
    page.get_by_role("button", name="Switch to 2").click()
    expect(dialog(page).get_by_role("alert")).to_contain_text("member")
    assert backend(first, "emptied")["version"] == "1"
    with expect_soon(page, SHARES, "emptied 2"):
        page.get_by_role("button", name="Switch to 2 anyway").click()
    assert backend(first, "emptied")["version"] == "2"
    expect(page.locator(MENU).filter(has_text="emptied")).to_contain_text("no member takes traffic")
    expect(page.locator(SHARES)).to_contain_text("emptied 20100\u00a0%")


def test_drain_and_up(page: Page, other: Page, visit: Visit, pair: list[Node], registry: Registering) -> None:
    """*Explain* drains an instance and ends the drain; *Now* in another window shows both within a second."""
    visit.allow_error("409")
    first, second = pair
    one, two, _ = with_versions(registry(second), "drained")
    visit_view(page, first, explain_view(one))
    visit_view(other, second, "now", "app:drained")
    expect(other.locator("#tree .instance")).to_have_count(3)
    page.get_by_role("button", name="Drain…").click()
    expect(dialog(page)).to_contain_text("The instance gets no new requests")
    with expect_soon(page, ".facts", "drain, set by"), expect_soon(other, ".instance .state", "drain"):
        page.get_by_role("button", name="Drain", exact=True).click()
    assert ask(second.api_url, "GET", "/registrations/drained/1/10.1.0.1/80").body["state"] == "drain"
    page.get_by_role("button", name="Back to service…").click()
    with (
        expect_soon(page, ".facts", "drain, set by", gone=True),
        expect_soon(other, ".instance .state", "drain", gone=True),
    ):
        page.get_by_role("button", name="Back to service", exact=True).click()
    page.get_by_role("button", name="Drain…").click()
    page.get_by_role("button", name="Drain", exact=True).click()
    expect(other.locator(".instance .state").filter(has_text="drain")).to_have_count(1)
    visit_view(page, first, explain_view(two))
    page.get_by_role("button", name="Maintenance…").click()
    page.get_by_role("button", name="Set to maintenance", exact=True).click()
    expect(dialog(page).get_by_role("alert")).to_contain_text("drained")
    expect(other.locator(".instance .state").filter(has_text="maint")).to_have_count(0)
    with expect_soon(other, ".instance .state", "maint"):
        page.get_by_role("button", name="Maintenance anyway").click()


def test_the_measured_share(page: Page, pair: list[Node], registry: Registering) -> None:
    """The page shows the requests between two reports of a load balancer, and the errors of each version."""
    first, second = pair
    registered = registry(second)
    with_versions(registered, "counted")
    registered.put("/backends/counted", {"canary": {"version": "2", "percent": 20}})
    cursor = ask(second.api_url, "GET", "/events").body["cursor"]

    def report(one: tuple[int, int], two: tuple[int, int]) -> None:
        counts = {version: {"requests": sent, "errors": errors} for version, (sent, errors) in (("1", one), ("2", two))}
        body = {"cursor": cursor, "report": {"backends": {"counted": counts}}}
        registered.call("PUT", "/consumers/edge", body, expected=200)

    report((1_000_000, 500), (7, 7))
    page.clock.install()
    visit_view(page, first, "deploys/backend/counted")
    expect(page.locator(".pane")).to_contain_text("The load balancers report no requests in the last minute.")
    report((1_000_090, 500), (17, 9))
    page.clock.run_for(2_000)
    expect(page.locator(SHARES)).to_have_text(
        ["counted 1280\u00a0%90\u00a0%0\u00a0%", "counted 2canary120\u00a0%10\u00a0%20\u00a0%2 of 10"]
    )
    expect(page.locator(".pane")).to_contain_text("Measured by the load balancers: 100 requests")


def test_a_frontend(page: Page, other: Page, pair: list[Node], registry: Registering) -> None:
    """A frontend has its addresses, rules and backend; a switch and its rollback are shown here and elsewhere."""
    first, second = pair
    registered = registry(second)
    for name in ("blue", "green"):
        registered.register(name, "1", "10.1.0.9", 80, ttl=3)
        registered.put(f"/backends/{name}", {"app": name, "version": "1"})
    rules = [
        {"path": "/api", "backend": "green"},
        {"host": "shop.example", "backend": "blue"},
        {"header": "X-Beta", "value": "1", "backend": "green"},
    ]
    registered.put("/frontends/public", {"backend": "blue", "bind": "*:8080", "rules": rules})
    visit_view(page, first, "deploys/frontend/public")
    visit_view(other, second, "deploys/backend/blue")
    expect(other.locator(".pane")).to_contain_text("Used by public")
    expect(page.locator(".pane")).to_contain_text("Listens at *:8080, mode http")
    routes = page.get_by_role("region", name="Routes").locator("tbody tr")
    expect(routes).to_have_text(ROUTES)
    page.get_by_label("Send to").select_option("green")
    page.get_by_role("button", name="Switch…").click()
    expect(dialog(page)).to_contain_text("go to the backend green at once, and no longer to blue.")
    with expect_soon(page, ".pane tr", "all other requestsgreen"), expect_soon(other, MENU, "publicgreen"):
        page.get_by_role("button", name="Send to green").click()
    assert ask(second.api_url, "GET", "/frontends/public").body["backend"] == "green"
    page.get_by_role("button", name="Roll back…").click()
    with expect_soon(page, ".pane tr", "all other requestsblue"), expect_soon(other, MENU, "publicblue"):
        page.get_by_role("button", name="Roll back", exact=True).click()
    history = page.get_by_role("region", name="History").locator("tbody tr")
    expect(history.first).to_contain_text("backend: green → blue")
    assert ask(second.api_url, "GET", "/frontends/public").body["backend"] == "blue"


ROUTES = [
    "path /apigreengreen 1",
    "host shop.exampleblueblue 1",
    "header X-Beta: 1greengreen 1",
    "all other requestsblueblue 1",
]


def test_what_is_created_and_removed(page: Page, pair: list[Node], registry: Registering) -> None:
    """The menu has the objects of other users within a second, search finds them, and a removed one has a message."""
    first, second = pair
    registered = registry(second)
    visit_view(page, first, "deploys/backend/short-lived")
    expect(page.locator(".pane")).to_contain_text("There is no backend short-lived.")
    with expect_soon(page, MENU, "short-lived"):
        registered.put("/backends/short-lived", {"app": "any", "version": "9", "balance": "leastconn"})
    expect(page.locator(".pane")).to_contain_text("balance")
    expect(page.locator(".facts")).to_contain_text("leastconn")
    page.keyboard.press("/")
    page.keyboard.type("any 10")
    expect(page.locator(MENU)).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("short-lived")
    expect(page.locator(MENU)).to_have_count(1)
    with expect_soon(page, ".pane", "There is no backend short-lived."):
        registered.call("DELETE", "/backends/short-lived?force", expected=204)
    expect(page.locator(MENU)).to_have_count(0)
