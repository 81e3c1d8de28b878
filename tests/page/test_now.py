"""*Now*: the present apps, versions and instances."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.nodes import Node
from tests.page.asking import ask
from tests.page.registry import Registry
from tests.page.sightings import expect_soon
from tests.page.views import column, row, visit_view

pytestmark = pytest.mark.outside

Registering = Callable[..., Registry]

INSTANCE = "#tree .instance"


def renew(node: Node, registration: dict[str, Any]) -> None:
    assert ask(node.api_url, "PUT", f"/{registration['id'].replace('registration', 'registrations', 1)}").status == 200


def test_a_registration_at_another_node(page: Page, pair: list[Node], registry: Registering) -> None:
    """A new instance is displayed within a second and highlighted for seconds; present ones are not."""
    first, second = pair
    registered = registry(second)
    registered.register("early", "1", "10.0.1.1", 80, ttl=3)
    visit_view(page, first)
    page.clock.install()
    with expect_soon(page, INSTANCE, "10.0.1.2:80"):
        registered.register("late", "1", "10.0.1.2", 80, ttl=3)
    expect(row(page, "10.0.1.2:80")).to_have_class("row instance is-ok fresh-online")
    expect(row(page, "10.0.1.1:80")).to_have_class("row instance is-ok")
    page.clock.run_for(4_500)
    expect(row(page, "10.0.1.2:80")).to_have_class("row instance is-ok")


def test_a_deregistration_at_another_node(page: Page, pair: list[Node], registry: Registering) -> None:
    """The reason is displayed within a second, and the row stays for seconds; after that the app is removed."""
    first, second = pair
    registered = registry(second)
    instance = registered.register("leaving", "1", "10.0.2.1", 80, ttl=3)
    visit_view(page, first)
    expect(column(row(page, "10.0.2.1:80"), "state")).to_have_text("up")
    page.clock.install()
    with expect_soon(page, INSTANCE, "deregistered"):
        registered.deregister(instance)
    gone = row(page, "10.0.2.1:80")
    expect(gone).to_have_class("row instance is-gone fresh-offline")
    expect(column(gone, "claims")).to_have_text("")
    expect(row(page, "leaving")).to_contain_text("0 instances of 1 version")
    page.clock.run_for(5_000)
    expect(gone).to_have_class("row instance is-gone")
    page.clock.run_for(6_000)
    expect(gone).to_have_count(0)
    expect(row(page, "leaving")).to_have_count(0)


def test_an_expiry(page: Page, pair: list[Node], registry: Registering) -> None:
    """The expiry is displayed within a second of the node's event, with the reason."""
    first, second = pair
    registered = registry(second)
    instance = registered.register("silent", "1", "10.0.3.1", 80, ttl=1)
    visit_view(page, first)
    expect(row(page, "10.0.3.1:80")).to_be_visible()
    cursor = ask(first.api_url, "GET", "/events").body["cursor"]
    with expect_soon(page, INSTANCE, "expired") as seen:
        registered.lapse(instance)
        (event,) = ask(first.api_url, "GET", f"/events?app=silent&since={cursor}&wait=30").body["events"]
        seen.since_ms = event["at"]
    expect(row(page, "10.0.3.1:80")).to_have_class("row instance is-gone fresh-offline")


def test_a_renewal(page: Page, pair: list[Node]) -> None:
    """The time left falls each second, and is full again within a second of a renewal; the view names the node."""
    first, second = pair
    path = "/registrations/renewed/1/10.0.4.1/80"
    instance = ask(second.api_url, "POST", path, {"ttl": 4}).body
    visit_view(page, first)
    left = column(row(page, "10.0.4.1:80"), "left")
    expect(left).to_have_text(re.compile(r"^[12]\.\d\ss"))
    expect(left.get_by_role("meter")).to_have_accessible_name("Time left")
    expect(column(row(page, "10.0.4.1:80"), "claims")).to_have_text(second.name)
    with expect_soon(page, f"{INSTANCE} .left", r"^(3\.\d|4\.0)\ss"):
        renew(second, instance)
    expect(column(row(page, "10.0.4.1:80"), "claims")).to_have_text(second.name)
    renew(first, instance)
    expect(column(row(page, "10.0.4.1:80"), "claims")).to_have_text(f"{first.name} {second.name}")
    assert ask(second.api_url, "DELETE", path).status == 204


def test_what_changes_of_an_instance(page: Page, pair: list[Node], registry: Registering) -> None:
    """Changes of the weight, meta and state of an instance are displayed within a second."""
    first, second = pair
    registered = registry(second)
    registered.register("changing", "1", "10.0.5.1", 80, ttl=3, weight=7, meta={"zone": "a", "cores": 4})
    visit_view(page, first, query="app:changing")
    instance = row(page, "10.0.5.1:80")
    expect(column(instance, "weight")).to_have_text("7")
    expect(column(instance, "meta")).to_have_text("cores=4zone=a")
    with expect_soon(page, f"{INSTANCE} .weight", "250"):
        registered.register("changing", "1", "10.0.5.1", 80, ttl=3, weight=250)
    expect(instance).to_have_class("row instance is-ok fresh-changed")
    with expect_soon(page, f"{INSTANCE} .meta", "zone=b"):
        registered.register("changing", "1", "10.0.5.1", 80, ttl=3, meta={"zone": "b"})
    state = "/registrations/changing/1/10.0.5.1/80/state"
    for said in ("drain", "maint"):
        with expect_soon(page, f"{INSTANCE} .state", said):
            registered.call("PUT", state, {"state": said}, expected=200)
    with expect_soon(page, f"{INSTANCE} .state", "up"):
        registered.call("DELETE", state, expected=204)


def test_an_ipv6_address(page: Page, pair: list[Node], registry: Registering) -> None:
    """An IPv6 address has brackets."""
    registry(pair[1]).register("six", "1", "2001:db8::5", 80, ttl=3)
    visit_view(page, pair[0], query="app:six")
    expect(row(page, "[2001:db8::5]:80")).to_be_visible()


def test_apps_and_versions_close_and_open(page: Page, pair: list[Node], registry: Registering) -> None:
    """A click folds apps and versions; both show their number of instances, and a version shows its backends."""
    registered = registry(pair[1])
    for host, version in (("10.0.6.1", "1.9.0"), ("10.0.6.2", "1.9.0"), ("10.0.6.3", "1.10.0")):
        registered.register("folding", version, host, 80, ttl=3)
    fields = {"app": "folding", "version": "1.9.0", "canary": {"version": "1.10.0", "percent": 10}}
    registered.put("/backends/folded", fields)
    visit_view(page, pair[0])
    app, old, new = (page.locator(f"#tree .{kind}").filter(has_text=name) for kind, name in FOLDING)
    expect(app).to_contain_text("3 instances of 2 versions")
    expect(old).to_contain_text("2 instances")
    expect(new).to_contain_text("1 instance")
    expect(old.locator(".chip")).to_have_text("folded 90\u00a0%")
    expect(new.locator(".chip")).to_have_text("folded canary 10\u00a0%")
    order = page.locator("#tree .row").all_inner_texts()
    assert [index for index, text in enumerate(order) if "1.9.0" in text] < [
        index for index, text in enumerate(order) if "1.10.0" in text
    ]
    old.click(position={"x": 60, "y": 10})
    expect(old).to_have_attribute("aria-expanded", "false")
    expect(row(page, "10.0.6.1:80")).to_have_count(0)
    expect(row(page, "10.0.6.3:80")).to_be_visible()
    app.click()
    expect(app).to_have_attribute("aria-expanded", "false")
    expect(new).to_have_count(0)
    app.click()
    expect(row(page, "10.0.6.3:80")).to_be_visible()
    expect(row(page, "10.0.6.1:80")).to_have_count(0)
    new.locator(".chip").click()
    expect(page.get_by_role("heading", name="folded")).to_be_visible()
    registered.call("DELETE", "/backends/folded?force", expected=204)


FOLDING = (("app", "folding"), ("version", "1.9.0"), ("version", "1.10.0"))


def test_search(page: Page, pair: list[Node], registry: Registering) -> None:
    """`/` starts a search; words match all fields, `app:` and `state:` match only these."""
    registered = registry(pair[1])
    for host, app in (("10.0.7.1", "found"), ("10.0.7.2", "found"), ("10.0.7.3", "unfound")):
        registered.register(app, "1", host, 80, ttl=3, meta={"rack": host[-1]})
    registered.call("PUT", "/registrations/found/1/10.0.7.2/80/state", {"state": "drain"}, expected=200)
    visit_view(page, pair[0])
    expect(row(page, "10.0.7.3:80")).to_be_visible()
    search, instances = page.get_by_role("searchbox"), page.locator(INSTANCE)
    for words, found in SEARCHES.items():
        page.keyboard.press("/")
        expect(search).to_be_focused()
        page.keyboard.type(words)
        expect(page.locator(".summary")).to_contain_text(f"“{words}”")
        expect(instances.locator(".name")).to_have_text(found)
        page.keyboard.press("Escape")
        expect(search).to_have_value("")
    expect(row(page, "10.0.7.3:80")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("state:drain")
    expect(instances).to_have_count(1)
    page.reload()
    expect(search).to_have_value("state:drain")
    expect(instances).to_have_count(1)


SEARCHES = {
    "app:found": ["10.0.7.1:80", "10.0.7.2:80"],
    "APP:FOUND state:drain": ["10.0.7.2:80"],
    "rack=3": ["10.0.7.3:80"],
    "10.0.7.1": ["10.0.7.1:80"],
    "10.0.7.99": [],
}


def test_keys(page: Page, pair: list[Node], registry: Registering) -> None:
    """Tab reaches the list, arrow keys move in it, Enter explains an instance, and digits switch views."""
    registered = registry(pair[1])
    for host in ("10.0.8.1", "10.0.8.2"):
        registered.register("keyed", "1", host, 80, ttl=3)
    visit_view(page, pair[0], query="app:keyed")
    expect(page.locator(INSTANCE)).to_have_count(2)
    tree = page.get_by_role("treegrid")
    for _ in range(12):
        page.keyboard.press("Tab")
        if tree.evaluate("(element) => element === document.activeElement"):
            break
    expect(tree).to_be_focused()
    active = page.locator("#tree .row.active")
    page.keyboard.press("ArrowDown")
    expect(active).to_contain_class("app")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(active).to_contain_text("10.0.8.2:80")
    assert tree.get_attribute("aria-activedescendant") == active.get_attribute("id")
    page.keyboard.press("ArrowLeft")
    expect(active).to_contain_class("version")
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("keyed 1 10.0.8.1:80")
    page.go_back()
    expect(page.locator(INSTANCE)).to_have_count(2)
    for key, name in (("2", "Deploys"), ("4", "Events"), ("3", "Cluster"), ("1", "Now")):
        page.keyboard.press(key)
        expect(page.get_by_role("navigation", name="Views").locator("[aria-current=page]")).to_contain_text(name)


def test_arrows_close_and_open(page: Page, pair: list[Node], registry: Registering) -> None:
    """Without a search, the left arrow closes a row, and the right arrow opens it."""
    registry(pair[1]).register("0-first", "1", "10.0.9.1", 80, ttl=3)
    visit_view(page, pair[0])
    page.get_by_role("treegrid").focus()
    page.keyboard.press("Home")
    app = page.locator("#tree .app").filter(has_text="0-first")
    expect(app).to_contain_class("active")
    for key, is_open in (("ArrowLeft", "false"), ("ArrowRight", "true"), ("Enter", "false"), ("Enter", "true")):
        page.keyboard.press(key)
        expect(app).to_have_attribute("aria-expanded", is_open)
