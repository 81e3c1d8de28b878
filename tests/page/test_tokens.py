"""The page at a node that requires tokens."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.nodes import PATIENCE_S, Cluster, Node, ended_cleanly
from tests.e2e.protection import secret_of, token_table, write_tokens
from tests.page.asking import ask
from tests.page.conftest import start
from tests.page.registry import Registry
from tests.page.views import address_of, dialog, explain_view, row
from tests.page.visits import Visit
from tests.waiting import holds_within

pytestmark = pytest.mark.outside

Registering = Callable[..., Registry]

#: The buttons of changes, each of which needs a scope.
ACTIONS = ("Drain…", "Set to maintenance…", "Deregister…", "Switch…", "Start…", "Roll back…")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with the tokens of `tests.e2e.protection`, and a token that may read and configure."""
    folder = tmp_path_factory.mktemp("guarded")
    tokens = write_tokens(folder / "tokens.toml", operator=["read", "configure"])
    with ended_cleanly(Cluster(folder)) as cluster:
        (node,) = start(cluster, 1, interval=0.25, ttl=4, tokens=tokens)
        node.token = secret_of("admin")
        yield node


@pytest.fixture
def refused(visit: Visit) -> Page:
    """A page whose requests may be refused."""
    visit.allow_error("401")
    visit.allow_error("403")
    return visit.page


@pytest.fixture
def shop(guarded: Node, registry: Registering) -> dict[str, object]:
    """Instances of two apps, one of which matches `register:web-*`, and a backend; returns a registration of it."""
    registered = registry(guarded)
    registered.register("api", "1", "10.4.0.2", 80, ttl=4)
    registered.register("web-shop", "2", "10.4.0.3", 80, ttl=4)
    registered.put("/backends/shop", {"app": "web-shop", "version": "2"})
    registration = registered.register("web-shop", "1", "10.4.0.1", 80, ttl=4)
    registered.put("/backends/shop", {"version": "1"})
    return registration


def enter(page: Page, secret: str) -> None:
    page.get_by_role("textbox", name="Token").fill(secret)
    page.get_by_role("button", name="Use this token").click()


def actions(page: Page) -> list[str]:
    """Return the actions whose buttons are displayed."""
    return [name for name in ACTIONS if page.get_by_role("button", name=name).count()]


def offered(page: Page, guarded: Node, view: str, title: str) -> list[str]:
    """Return the actions that a view with this title offers when it has loaded completely."""
    page.goto(address_of(guarded, view))
    expect(page.locator("main")).to_contain_text(title)
    expect(page.locator("main .past li, main [aria-label=History] tbody tr").first).to_be_visible()
    return actions(page)


@pytest.mark.usefixtures("shop")
def test_a_token_is_asked_for(refused: Page, visit: Visit, guarded: Node) -> None:
    """A wrong token is reported; a valid one is kept only by this tab, and is in no URL."""
    page = refused
    page.goto(address_of(guarded, "now"))
    expect(dialog(page)).to_contain_text("This node requires a token")
    expect(dialog(page).get_by_role("alert")).to_have_count(0)
    assert page.get_by_role("textbox", name="Token").get_attribute("type") == "password"
    enter(page, "wrong")
    expect(dialog(page).get_by_role("alert")).to_contain_text("token")
    page.get_by_role("button", name="Not now").click()
    expect(page.locator("#connection")).to_contain_text("This node does not know the token")
    page.get_by_role("button", name="Forget token").click()
    expect(dialog(page)).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Enter token").click()
    page.get_by_role("textbox", name="Token").fill(secret_of("read"))
    page.keyboard.press("Enter")
    expect(row(page, "10.4.0.1:80")).to_be_visible()
    expect(page.locator("#connection")).to_be_hidden()
    page.reload()
    expect(row(page, "10.4.0.1:80")).to_be_visible()
    stored = page.evaluate("() => JSON.stringify([{ ...localStorage }, document.cookie])")
    assert "secret" not in stored
    assert not any("secret" in url for url in visit.requests), visit.requests
    assert "secret" not in page.url
    tab = page.context.new_page()
    tab.goto(address_of(guarded, "now"))
    expect(dialog(tab)).to_contain_text("This node requires a token")


def test_what_each_may_do(refused: Page, guarded: Node, shop: dict[str, object]) -> None:
    """The page offers only changes that the scopes of the token allow: none for `read`."""
    page = refused
    mine, other, backend = explain_view(shop), "explain/registration/api/1/10.4.0.2/80", "deploys/backend/shop"
    page.goto(address_of(guarded, "now"))
    enter(page, secret_of("read"))
    expect(page.get_by_title("The token is read", exact=True)).to_be_visible()
    assert offered(page, guarded, mine, "10.4.0.1:80") == []
    assert offered(page, guarded, backend, "No frontend uses it.") == []
    page.get_by_role("button", name="Forget token").click()
    enter(page, secret_of("agent"))
    expect(page.get_by_title("The token is agent", exact=True)).to_be_visible()
    assert offered(page, guarded, mine, "10.4.0.1:80") == ["Deregister…"]
    assert offered(page, guarded, other, "10.4.0.2:80") == []
    assert offered(page, guarded, backend, "No frontend uses it.") == []
    page.get_by_role("button", name="Forget token").click()
    enter(page, secret_of("operator"))
    expect(page.get_by_title("The token is operator", exact=True)).to_be_visible()
    assert offered(page, guarded, mine, "10.4.0.1:80") == ["Drain…", "Set to maintenance…"]
    assert offered(page, guarded, backend, "No frontend uses it.") == ["Switch…", "Start…", "Roll back…"]
    page.get_by_role("button", name="Switch…").click()
    page.get_by_role("button", name="Switch to 2").click()
    expect(dialog(page)).to_have_count(0)
    history = ask(guarded.api_url, "GET", "/backends/shop/history", token=guarded.token).body
    assert (history[0]["author"], history[0]["backend"]["version"]) == ("operator", "2")


def test_a_token_without_read(refused: Page, guarded: Node) -> None:
    """The page reports that the token does not have the scope `read`."""
    page = refused
    page.goto(address_of(guarded, "now"))
    enter(page, secret_of("configure"))
    expect(dialog(page).get_by_role("alert")).to_contain_text("read")


def test_a_token_that_is_removed(refused: Page, visit: Visit, cluster: Cluster, tmp_path: Path) -> None:
    """When a token is removed by SIGHUP, the page asks for another one, and continues with that."""
    page = refused
    visit.allow_error("net::ERR_")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(
        token_table("old", ["read"], secret_of("old")) + token_table("admin", ["admin"], secret_of("admin"))
    )
    (node,) = start(cluster, 1, interval=0.25, ttl=4, tokens=tokens)
    page.goto(address_of(node, "now"))
    enter(page, secret_of("old"))
    expect(page.locator(".summary")).to_contain_text("No instance is registered.")
    tokens.write_text(token_table("admin", ["admin"], secret_of("admin")))
    node.kill(signal.SIGHUP)
    expect(dialog(page).get_by_role("alert")).to_contain_text("token")
    enter(page, secret_of("admin"))
    expect(page.locator("#connection")).to_be_hidden()
    path = "/registrations/late/1/10.4.1.1/80"
    assert holds_within(PATIENCE_S, lambda: ask(node.api_url, "POST", path, {}, secret_of("admin")).status == 200)
    expect(row(page, "10.4.1.1:80")).to_be_visible()
