"""The root of a node's API in a browser, and the files of the page."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from bender import __version__
from tests.e2e.nodes import Node
from tests.page.asking import ask
from tests.page.views import visit_view
from tests.page.visits import Visit
from tests.twistd_command import ROOT

pytestmark = pytest.mark.outside


def test_a_browser_gets_the_page(nodes: Callable[..., list[Node]], page: Page) -> None:
    """A browser gets the page, and other clients get the name and the version."""
    (node,) = nodes(1)
    answer = page.goto(node.api_url)
    assert answer is not None
    assert (answer.status, answer.header_value("content-type")) == (200, "text/html; charset=utf-8")
    expect(page.get_by_role("heading", level=1)).to_have_text("Now")
    assert ask(node.api_url, "GET", "/").body == {"name": "bender", "version": __version__}


def test_every_file_is_loaded(page: Page, visit: Visit, pair: list[Node]) -> None:
    """All files are loaded once, before any view is opened; after a reload, the node answers 304."""
    visit_view(page, pair[0])
    folder = ROOT / "bender/page"
    files = sorted(
        f"/page/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*.*") if path.suffix != ".html"
    )
    loaded = [urlsplit(url).path for url in visit.requests if "/page/" in url]
    assert sorted(loaded) == files
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status) if answer.url.endswith(".js") else None)
    page.reload()
    visit_view(page, pair[0], "deploys")
    assert set(statuses) == {304}


def test_an_address_of_no_view(page: Page, pair: list[Node]) -> None:
    """An unknown view shows the first one, also if its name is a property of JavaScript objects."""
    for view in ("nothing", "toString", "constructor", "__proto__"):
        visit_view(page, pair[0], view)
        expect(page.get_by_role("heading", level=1)).to_have_text("Now")
