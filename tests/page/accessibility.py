"""The accessibility rules that axe-core checks automatically, on the present state of a page."""

from __future__ import annotations

from functools import cache
from typing import Any

from playwright.sync_api import Page

from tests.twistd_command import ROOT

#: The file in which `make test-deps` puts axe-core.
SOURCE = ROOT / ".deps/node_modules/axe-core/axe.min.js"


def violations(page: Page) -> list[str]:
    """Return a text for each rule that the page violates: the rule, what it asks for, and each element.

    The debugger adds axe-core, because the page's Content-Security-Policy does not apply to it.
    """
    if page.evaluate("() => !('axe' in window)"):
        page.evaluate(_source())
    found = page.evaluate("() => axe.run({ resultTypes: ['violations'] })")
    return [_text(violation) for violation in found["violations"]]


@cache
def _source() -> str:
    assert SOURCE.exists(), "axe-core is missing: make test-deps"
    return f"() => {{ {SOURCE.read_text('utf-8')} }}"


def _text(violation: dict[str, Any]) -> str:
    elements = [f"  {node['html']}\n    {_indented(node['failureSummary'])}" for node in violation["nodes"]]
    return "\n".join([f"{violation['id']} ({violation['impact']}): {violation['help']}", *elements])


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")
