"""Addresses and elements of the page's views."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

from playwright.sync_api import Locator, Page, expect

from tests.e2e.nodes import Node


def visit_view(page: Page, node: Node, view: str = "now", query: str = "") -> None:
    """Open a view of a node's page, such as `deploys/backend/web`, and wait until it shows the node's data."""
    page.goto(address_of(node, view, query))
    expect(page).to_have_title(title_pattern(node))
    expect(page.locator("#header .dot.ok")).to_have_count(1)


def address_of(node: Node, view: str, query: str = "") -> str:
    """Return the address of a view."""
    return f"{node.api_url}/#/{view}" + (f"?{urlencode({'q': query})}" if query else "")


def title_pattern(node: Node) -> re.Pattern[str]:
    """Return a pattern for the end of the titles of all views of a node."""
    return re.compile(re.escape(f" · {node.options.get('name', node.name)} · bender") + "$")


def explain_view(registration: dict[str, Any]) -> str:
    """Return the view that explains a registration."""
    return "explain/" + "/".join(quote(part, safe="") for part in registration["id"].split("/"))


def row(page: Page, text: str) -> Locator:
    """Return the row of *Now* with this text: an app, a version, or an instance by its host and port."""
    return page.locator("#tree .row:not(.head)").filter(has_text=text)


def column(row: Locator, name: str) -> Locator:
    """Return the cell of an instance by its class: name, state, weight, left, claims, since, meta."""
    return row.locator(f"[role=gridcell].{name}")


def dialog(page: Page) -> Locator:
    """Return the open dialog of the page."""
    return page.get_by_role("dialog")
