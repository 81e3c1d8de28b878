"""What a browser shows of a node."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from bender import __version__
from tests.e2e.nodes import Node
from tests.page.visits import Visit

pytestmark = pytest.mark.outside


def test_the_root_names_node_and_version(nodes: Callable[..., list[Node]], page: Page, visit: Visit) -> None:
    """As JSON, which the browser shows as it is, without another request or an error."""
    visit.allow_error("/favicon.ico")  # for which Chromium asks by itself, because JSON cannot name one
    (node,) = nodes(1)
    answer = page.goto(node.api_url)
    assert answer is not None and answer.status == 200
    said = json.loads(page.inner_text("body"))
    assert (said["name"], said["version"]) == ("bender", __version__)
    assert visit.requests == [f"{node.api_url}/"]
