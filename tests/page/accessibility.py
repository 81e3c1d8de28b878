"""The rules of accessibility that a program can check, by axe-core, in a page as it is at that moment."""

from __future__ import annotations

from functools import cache
from typing import Any

from playwright.sync_api import Page

from tests.twistd_command import ROOT

#: Where `make test-deps` puts it.
SOURCE = ROOT / ".deps/node_modules/axe-core/axe.min.js"


def violations(page: Page) -> list[str]:
    """Return a text for each rule that the page violates: the rule, what it asks for, and each element.

    The program enters as code of the debugger, to which the page's Content-Security-Policy does not apply.
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
