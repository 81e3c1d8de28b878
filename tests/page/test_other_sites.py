"""Chromium shows a page of another site, which sends requests to a node."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.nodes import Node
from tests.page import browsers
from tests.page.asking import ask
from tests.page.visits import Visit

pytestmark = pytest.mark.outside

INSTANCE = "/registrations/evil/1.0/10.0.0.5/80"
LINE = json.dumps({"register": {"app": "evil", "version": "1.0", "host": "10.0.0.5", "port": 80}}) + "\n"

#: Sends a request as any site may, without reading the answer; true if there was an HTTP answer.
POST = "([url, body]) => fetch(url, {method: 'POST', mode: 'no-cors', body}).then(() => true, () => false)"
STATUS = "url => fetch(url, {method: 'POST'}).then(response => response.status)"


def test_a_page_of_another_site(nodes: Callable[..., list[Node]], page: Page, visit: Visit) -> None:
    """Requests of another site, to any port, do not change the node; the same request from the node's own page does."""
    visit.allow_error("")  # it reports each refusal
    other, node = nodes(2)
    ports = (node.api_port, node.exchange_port, node.events_port)
    page.goto(f"{other.api_url}/status")
    for port in ports:
        visit.allow_origin(f"http://127.0.0.1:{port}")
    answered = [
        page.evaluate(POST, [f"http://127.0.0.1:{port}{path}", LINE * 3]) for port in ports for path in (INSTANCE, "/")
    ]
    assert answered == [True] * 4 + [False] * 2  # lines are not HTTP
    form = f"<form action='{node.api_url}{INSTANCE}' method=post enctype=text/plain><input name=a></form>"
    page.set_content(form)
    with page.expect_navigation() as navigation:
        page.eval_on_selector("form", "form => form.submit()")
    assert navigation.value is not None
    assert navigation.value.status == 403
    assert "FORBIDDEN" in page.inner_text("body")
    assert ask(node.api_url, "GET", "/registrations").body == []

    page.goto(f"{node.api_url}/status")
    assert page.evaluate(STATUS, INSTANCE) == 200
    assert len(ask(node.api_url, "GET", "/registrations").body) == 1


def test_a_name_of_another_site(nodes: Callable[..., list[Node]], browser: Browser) -> None:
    """A page of another name that resolves to the node, as after DNS rebinding, gets only 403."""
    (node,) = nodes(1)
    rebound = browser.browser_type.launch(
        executable_path=browsers.chromium(),
        args=[*browsers.FLAGS, "--host-resolver-rules=MAP *.example 127.0.0.1"],
        chromium_sandbox=os.geteuid() != 0,
    )
    try:
        page = rebound.new_page()
        for name, expected in (("evil.example", 403), ("n1.localhost", 200)):
            answer = page.goto(f"http://{name}:{node.api_port}/status")
            assert answer is not None
            assert answer.status == expected
            assert page.evaluate(STATUS, INSTANCE) == expected
            assert len(ask(node.api_url, "GET", "/registrations").body) == (expected == 200)
    finally:
        rebound.close()
