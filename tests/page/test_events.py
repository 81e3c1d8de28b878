"""*Events*: the events before and after the page was opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.nodes import Node
from tests.page.asking import ask
from tests.page.registry import Registry
from tests.page.sightings import expect_soon
from tests.page.views import explain_view, visit_view
from tests.page.visits import Visit

pytestmark = pytest.mark.outside

Registering = Callable[..., Registry]

EVENTS = "#log .event"

#: The text of an event that both nodes saw at about the same time.
ONLINE = re.compile(r"online, registered.*seen by n[12] and n[12]")


def past(node: Node, app: str) -> list[dict[str, Any]]:
    """Return the events of an app that a node keeps."""
    events: list[dict[str, Any]] = ask(node.api_url, "GET", f"/events?last=1000&app={app}").body["events"]
    return events


def what(page: Page) -> list[str]:
    """Return the displayed events, the newest first."""
    return page.locator(f"{EVENTS} .what").all_inner_texts()


def test_before_and_since(page: Page, pair: list[Node], registry: Registering) -> None:
    """The newest event is first, in a log for screen readers; a new one is displayed within a second."""
    first, second = pair
    registered = registry(second)
    instance = registered.register("story", "1", "10.2.0.1", 80, ttl=3)
    registered.register("story", "1", "10.2.0.1", 80, ttl=3, weight=2)
    visit_view(page, first, "events", "story")
    expect(page.get_by_role("log", name="Events")).to_be_visible()
    expect(page.locator(f"{EVENTS} .what")).to_have_text(["changed, registered", "online, registered"])
    with expect_soon(page, EVENTS, "offline, deregistered"):
        registered.deregister(instance)
    with expect_soon(page, EVENTS, "created.*backend/storybook.*story 1"):
        registered.put("/backends/storybook", {"app": "story", "version": "1"})
    assert what(page) == ["created", "offline, deregistered", "changed, registered", "online, registered"]
    expect(page.locator(f"{EVENTS} .subject a").last).to_have_text("registration/story/1/10.2.0.1/80")
    expect(page.locator(f"{EVENTS} .by").last).to_have_text(second.name)
    expect(page.locator(".controls")).to_contain_text("4 events match “story”")
    registered.call("DELETE", "/backends/storybook?force", expected=204)


def test_kinds_and_search(page: Page, pair: list[Node], registry: Registering) -> None:
    """Kinds that are not ticked are left out; a search finds words in ids, reasons, meta and settings."""
    first, second = pair
    registered = registry(second)
    for host in ("10.2.1.1", "10.2.1.2"):
        registered.register("sorted", "1", host, 80, ttl=3, meta={"rack": host[-1]})
    registered.register("sorted", "1", "10.2.1.1", 80, ttl=3, weight=2)
    registered.put("/backends/sorted", {"app": "sorted", "version": "1"})
    registered.put("/backends/sorted", {"meta": {"a": 1}})
    visit_view(page, first, "events", "sorted")
    rows = page.locator(EVENTS)
    expect(rows).to_have_count(5)
    for kind, left in (("online", 3), ("changed", 2), ("settings", 0)):
        page.get_by_label(kind).uncheck()
        expect(rows).to_have_count(left)
    page.get_by_label("settings").check()
    expect(rows).to_have_count(2)
    page.get_by_label("online").check()
    for words, found in (
        ("sorted rack nine", 0),
        ('sorted "rack":"2"', 1),
        ("sorted registered", 2),
        ("SORTED created", 1),
    ):
        page.keyboard.press("/")
        page.keyboard.type(words)
        expect(page.locator(".controls")).to_contain_text(f"match “{words}”")
        expect(rows).to_have_count(found)
        page.keyboard.press("Escape")
    registered.call("DELETE", "/backends/sorted?force", expected=204)


def test_pause_and_resume(page: Page, pair: list[Node], registry: Registering) -> None:
    """While the list is paused, nothing moves, and the button counts the new events; afterwards all are displayed."""
    first, second = pair
    registered = registry(second)
    registered.register("halted", "1", "10.2.2.1", 80, ttl=3)
    visit_view(page, first, "events", "halted")
    expect(page.locator(EVENTS)).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    resume = page.get_by_role("button", name="Resume")
    expect(resume).to_have_text("Resume")
    registered.register("halted", "1", "10.2.2.2", 80, ttl=3)
    expect(resume).to_contain_text("new event")
    expect(page.locator(EVENTS)).to_have_count(1)
    resume.click()
    expect(page.locator(f"{EVENTS} .subject")).to_contain_text(["10.2.2.2", "10.2.2.1"])
    page.locator("#log").focus()
    page.keyboard.press("p")
    expect(resume).to_be_visible()
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_a_link_to_a_moment(page: Page, other: Page, pair: list[Node], registry: Registering) -> None:
    """The link has the time; it opens the paused events of that time, with a link to the newest ones."""
    first, second = pair
    registered = registry(second)
    for port in range(1, 31):
        registered.register("linked", "1", "10.2.3.1", port, ttl=3)
    event = past(first, "linked")[3]
    visit_view(page, first, "events", "10.2.3.1/4")
    link = page.locator(f"{EVENTS} a.at").last
    link.click()
    moment = datetime.fromtimestamp(event["at"] / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert page.evaluate("() => decodeURIComponent(location.hash)").startswith(f"#/events/{moment}")
    other.goto(page.url)
    there = other.locator(f"{EVENTS}.here").filter(has_text="10.2.3.1/4")
    expect(there).to_be_in_viewport()
    expect(other.locator(".controls")).to_contain_text("The event of ")
    expect(other.get_by_role("button", name="Resume")).to_be_visible()
    other.get_by_role("link", name="Show the newest events").click()
    expect(other.get_by_role("button", name="Pause")).to_be_visible()
    expect(other.locator(f"{EVENTS} .subject").first).not_to_contain_text("10.2.3.1/4")
    visit_view(other, first, "events/2001-01-01T00:00:00.000Z")
    expect(other.locator(".controls")).to_contain_text("and has no earlier events: use another node's page.")


def test_keys_and_links(page: Page, pair: list[Node], registry: Registering) -> None:
    """Arrow keys move in the log, and Enter opens the instance or the backend."""
    first, second = pair
    registered = registry(second)
    registered.register("walked", "1", "10.2.4.1", 80, ttl=3)
    registered.put("/backends/walked", {"app": "walked", "version": "1"})
    visit_view(page, first, "events", "walked")
    expect(page.locator(EVENTS)).to_have_count(2)
    log = page.locator("#log")
    log.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    active = page.locator(f"{EVENTS}.active")
    expect(active).to_contain_text("registration/walked")
    assert log.get_attribute("aria-activedescendant") == active.get_attribute("id")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("10.2.4.1:80")
    visit_view(page, first, "events", "walked")
    page.locator(EVENTS).filter(has_text="created").locator(".subject a").click()
    expect(page.get_by_role("heading", name="walked")).to_be_visible()
    registered.call("DELETE", "/backends/walked?force", expected=204)


def test_explain(page: Page, pair: list[Node], registry: Registering) -> None:
    """*Explain* has the reason, the facts, the knowledge of each node, and the past events with links."""
    first, second = pair
    registered = registry(second)
    instance = registered.register("why", "1.0", "10.2.5.1", 80, ttl=3, weight=9, meta={"zone": "a"})
    registered.put("/backends/because", {"app": "why", "version": "1.0"})
    visit_view(page, first, explain_view(instance))
    expect(page.get_by_role("heading", level=1)).to_have_text("why 1.0 10.2.5.1:80")
    why = page.locator(".why")
    expect(why).to_contain_text("n2")
    assert ask(first.api_url, "GET", f"/explain/{instance['id']}").body["why"][1:20] in why.inner_text()
    facts = page.locator(".facts")
    for text in ("because", "9", f"at {second.name}", "zone=a"):
        expect(facts).to_contain_text(text)
    known = page.get_by_role("region", name="What the nodes know").locator("tbody tr")
    expect(known).to_have_count(2)
    expect(known.filter(has_text=second.name).first).to_contain_text("yes")
    expect(page.locator(".past li")).to_have_text([ONLINE])
    with expect_soon(page, ".why", "Deregistered since"):
        page.get_by_role("button", name="Deregister…").click()
        registered.lapse(instance)
        page.get_by_role("button", name="Deregister", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".past li").first).to_contain_text("offline, deregistered")
    expect(page.get_by_role("button", name="Drain…")).to_have_count(0)
    page.locator(".past li a").first.click()
    expect(page.locator(f"{EVENTS}.here")).to_contain_text("offline, deregistered")
    registered.call("DELETE", "/backends/because?force", expected=204)


def test_an_unknown_id(page: Page, visit: Visit, pair: list[Node]) -> None:
    """The page reports that no node knows the instance."""
    visit.allow_error("404")
    visit_view(page, pair[0], "explain/registration/no/1/10.9.9.9/1")
    expect(page.get_by_role("alert")).to_contain_text("No node knows registration/no/1/10.9.9.9/1.")
    page.get_by_role("link", name="Now").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Now")
