"""axe-core finds no violation in any view, in light and dark, and on the width of a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.nodes import Cluster, Node
from tests.page.conftest import start
from tests.page.registry import Registry
from tests.page.sightings import expect_soon
from tests.page.views import address_of, explain_view, row, visit_view
from tests.page.visits import Visit

pytestmark = pytest.mark.outside

Axe = Callable[[Page], list[str]]

WIDTHS_PX = (1280, 390)

#: For each view, an element that exists when the view has loaded.
VIEWS = {
    "now": ".instance",
    "deploys": ".menu li",
    "deploys/backend/shop": ".shares tr",
    "deploys/frontend/public": ".pane tbody tr",
    "cluster": ".mesh",
    "events": "#log .event",
}


#: The width of the page, and of the part of it that scrolls.
WIDE_PX = "() => Math.max(document.documentElement.scrollWidth, document.querySelector('main').scrollWidth)"

#: Waits until the changes are drawn.
FRAMES = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"


@pytest.fixture
def shop(pair: list[Node], registry: Callable[..., Registry]) -> dict[str, Any]:
    """Objects of every kind: instances in all states, a deregistered one, a canary, rules and a consumer."""
    registered = registry(pair[1])
    instances = [
        registered.register("web", version, f"10.6.0.{host}", 80, ttl=4, meta={"zone": "a", "rack": host})
        for host, version in ((1, "1"), (2, "1"), (3, "1"), (4, "2"), (5, "2"))
    ]
    registered.put("/backends/shop", {"app": "web", "version": "1"})
    registered.put("/backends/shop", {"canary": {"version": "2", "percent": 5}, "balance": "leastconn"})
    registered.put(
        "/frontends/public", {"backend": "shop", "bind": "*:80", "rules": [{"path": "/a", "backend": "shop"}]}
    )
    for host, state in ((2, "drain"), (3, "maint")):
        path = f"/registrations/web/1/10.6.0.{host}/80/state"
        registered.call("PUT", path, {"state": state}, expected=200)
    registered.call("PUT", "/consumers/edge", {"report": {"down": [instances[0]["id"]]}}, expected=200)
    registered.deregister(instances.pop())
    return instances[1]


def check(page: Page, axe: Axe, what: str, *, dark: bool = True) -> None:
    """Expect no violation at either width, in light and dark, and nothing that is wider than the screen."""
    for colours in ("light", "dark") if dark else ("light",):
        page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        for width_px in WIDTHS_PX:
            page.set_viewport_size({"width": width_px, "height": 800})
            found = axe(page)
            assert found == [], f"{what}, {colours}, {width_px} px:\n" + "\n".join(found)
            wide_px = page.evaluate(WIDE_PX)
            assert wide_px <= width_px, f"{what} is {wide_px} px wide"


def loaded(page: Page, node: Node, view: str, element: str) -> None:
    page.goto(address_of(node, view))
    expect(page.locator(element).first).to_be_visible()


@pytest.mark.usefixtures("shop")
def test_views(page: Page, axe: Axe, pair: list[Node]) -> None:
    """Each view is accessible when it shows objects of every kind."""
    visit_view(page, pair[0])
    for view, element in VIEWS.items():
        loaded(page, pair[0], view, element)
        check(page, axe, view)


def test_explain_and_dialogs(page: Page, axe: Axe, pair: list[Node], shop: dict[str, Any]) -> None:
    """The *Explain* view and its dialogs are accessible; a dialog takes the focus, and returns it when it closes."""
    loaded(page, pair[0], explain_view(shop), ".past li")
    check(page, axe, "explain")
    page.get_by_role("button", name="Maintenance…").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate("() => document.activeElement.closest('dialog') !== null")
    check(page, axe, "a dialog")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Maintenance…")).to_be_focused()


def test_an_empty_node(page: Page, axe: Axe, cluster: Cluster, visit: Visit) -> None:
    """Empty views, and the banner of an unreachable node, are accessible."""
    visit.allow_error("net::ERR_")
    (node,) = start(cluster, 1, interval=0.25, ttl=4)
    for view, text in (("now", "No instance"), ("deploys", "There is no backend"), ("events", "no events")):
        page.goto(address_of(node, view))
        expect(page.locator("main")).to_contain_text(text)
        check(page, axe, f"an empty {view}", dark=False)
    with expect_soon(page, "#connection", "unreachable"):
        node.kill()
    check(page, axe, "the banner")


def test_the_question_for_a_token(page: Page, axe: Axe, cluster: Cluster, visit: Visit) -> None:
    """The dialog that asks for a token is accessible while it shows an error."""
    visit.allow_error("401")
    tokens = cluster.folder / "tokens.toml"
    tokens.write_text(f'[[token]]\nname = "one"\nsha256 = "{"0" * 64}"\nscopes = ["read"]\n')
    (node,) = start(cluster, 1, interval=0.25, ttl=4, tokens=tokens)
    page.goto(address_of(node, "now"))
    page.get_by_role("textbox", name="Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    check(page, axe, "the question for a token")


@pytest.mark.parametrize("reduced", [False, True])
def test_motion(page: Page, pair: list[Node], registry: Callable[..., Registry], *, reduced: bool) -> None:
    """A change starts an animation, except if the user prefers reduced motion."""
    page.emulate_media(reduced_motion="reduce" if reduced else "no-preference")
    registered = registry(pair[1])
    registered.register("moving", "1", "10.6.1.1", 80, ttl=4, weight=3)
    visit_view(page, pair[0])
    expect(row(page, "10.6.1.1:80")).to_be_visible()
    page.evaluate("() => { window.moves = 0; addEventListener('transitionrun', () => moves++) }")
    registered.register("moving", "1", "10.6.1.1", 80, ttl=4, weight=4 + reduced)
    expect(row(page, "10.6.1.1:80")).to_contain_class("fresh-changed")
    page.evaluate(FRAMES)
    assert (page.evaluate("() => moves") == 0) is reduced


def test_the_link_over_the_header(page: Page, pair: list[Node]) -> None:
    """The first link that Tab reaches moves the focus to the content of the same view."""
    visit_view(page, pair[0], "events", "web")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("Events")
    assert page.url == address_of(pair[0], "events", "web")


def test_colours_are_chosen(page: Page, pair: list[Node]) -> None:
    """The user's choice of colours overrides that of the system, and is kept after a reload."""
    page.emulate_media(color_scheme="light")
    visit_view(page, pair[0])
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Colours: auto").click()
    assert page.evaluate(ground) == light
    page.get_by_role("button", name="Colours: light").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Colours: dark").click()
    assert page.evaluate(ground) == light
