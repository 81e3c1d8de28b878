"""Names are displayed as text only, and the page sends requests only to its node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.nodes import Cluster, Node, ended_cleanly
from tests.page.asking import ask
from tests.page.conftest import start
from tests.page.registry import Registry
from tests.page.views import address_of, dialog, explain_view, title_pattern, visit_view
from tests.page.visits import Visit

pytestmark = pytest.mark.outside

MARKUP = "<img src=x onerror=hacked=1>"

QUOTES = "\"'><script>hacked=1<!--"

#: Text from right to left, with an override that is not ended, and characters without a width.
DIRECTIONS = "\u05d0\u05d1\u202e\u200b\u2066evil"

APP, VERSION, BACKEND, FRONTEND = f"{MARKUP}{QUOTES}", f"1{QUOTES}", f"b{MARKUP}", f"f{QUOTES}{MARKUP}"

META = {MARKUP: QUOTES, QUOTES: MARKUP, "script": "</script><script>hacked=1</script>", "turn": DIRECTIONS}

AUTHOR = f"{MARKUP}\u05d0"

CONSUMER = f"c{MARKUP}"

WHY = f"refused {MARKUP} {QUOTES} {DIRECTIONS}"

#: The effects that names must never have in the page.
VIOLATED = """() => ({
    hacked: "hacked" in window,
    images: document.querySelectorAll("main img, #header img, dialog img").length,
    scripts: document.querySelectorAll("body script").length,
})"""

SAFE = {"hacked": False, "images": 0, "scripts": 0}

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with a hostile name."""
    with ended_cleanly(Cluster(tmp_path_factory.mktemp("hostile"))) as cluster:
        (node,) = start(cluster, 1, interval=0.25, ttl=4, name=f"n{MARKUP}", cluster=f"c{QUOTES}")
        yield node


@pytest.fixture
def named(hostile: Node, registry: Callable[..., Registry]) -> dict[str, Any]:
    """A registration with hostile names of each kind, and the objects that refer to it."""
    registered = registry(hostile)
    registered.register(APP, "2", "10.5.0.2", 80, ttl=4)
    instance = registered.register(APP, VERSION, "10.5.0.1", 80, ttl=4, meta=META)
    backend, frontend = (
        f"/{kind}/{quote(name, safe='')}" for kind, name in (("backends", BACKEND), ("frontends", FRONTEND))
    )
    registered.put(backend, {"app": APP, "version": "2", "meta": META})
    registered.put(backend, {"version": VERSION, "canary": {"version": "2", "percent": 5}})
    registered.put(frontend, {"backend": BACKEND, "rules": [{"host": "a.example", "backend": BACKEND}]})
    cursor = ask(hostile.api_url, "GET", "/events").body["cursor"]
    problem = {"kind": "refused", "why": WHY, "since": 1, "instead": MARKUP}
    report = {"problems": [problem], "backends": {BACKEND: {VERSION: {"requests": 1, "errors": 0}}}}
    registered.call("PUT", f"/consumers/{quote(CONSUMER, safe='')}", {"cursor": cursor, "report": report}, expected=200)
    return instance


def shows(page: Page, *texts: str) -> None:
    """Expect these texts in the page, character by character, and no effects of them."""
    for text in texts:
        assert text in (page.locator("body").text_content() or ""), text
    assert page.evaluate(VIOLATED) == SAFE


def test_names_are_text(page: Page, visit: Visit, hostile: Node, named: dict[str, Any]) -> None:
    """Names are text in *Now*, *Explain* and *Events*, in the header, in the title, in dialogs and in errors."""
    visit.allow_error("400 (Bad Request)")
    name = f"n{MARKUP}"
    page.goto(address_of(hostile, "now"))
    expect(page).to_have_title(title_pattern(hostile))
    expect(page.locator("#tree .instance")).to_have_count(2)
    shows(page, name, f"c{QUOTES}", APP, VERSION, BACKEND, *META.keys(), *META.values())
    page.goto(address_of(hostile, "now", MARKUP))
    expect(page.locator(".summary")).to_contain_text(f"“{MARKUP}”")
    shows(page, MARKUP)
    page.goto(address_of(hostile, explain_view(named)))
    expect(page.get_by_role("heading", level=1)).to_contain_text("10.5.0.1:80")
    expect(page.locator(".past li").first).to_be_visible()
    shows(page, APP, VERSION, BACKEND, name, *META.values())
    page.get_by_role("button", name="Drain…").click()
    expect(dialog(page)).to_be_visible()
    shows(page, "10.5.0.1:80")
    page.get_by_role("button", name="Cancel").click()
    page.goto(address_of(hostile, "events"))
    expect(page.locator("#log .event").first).to_be_visible()
    shows(page, f"registration/{APP}/{VERSION}/10.5.0.1/80", f"backend/{BACKEND}", f"frontend/{FRONTEND}")
    page.goto(address_of(hostile, "explain/registration/" + "/".join(quote(MARKUP, safe="") for _ in range(4))))
    expect(page.get_by_role("alert")).to_be_visible()
    shows(page, MARKUP)
    page.goto(address_of(hostile, f"deploys/backend/{quote(MARKUP, safe='')}"))
    expect(page.locator(".pane")).to_contain_text(f"There is no backend {MARKUP}.")
    shows(page, MARKUP)


@pytest.mark.usefixtures("named")
def test_names_in_deploys_are_text(page: Page, hostile: Node) -> None:
    """Names in *Deploys* are text, with the author in the history, and in dialogs."""
    page.goto(address_of(hostile, f"deploys/backend/{quote(BACKEND, safe='')}"))
    expect(page.get_by_role("region", name="History").locator("tbody tr").first).to_be_visible()
    shows(page, BACKEND, FRONTEND, APP, VERSION)
    page.get_by_role("button", name="End…").click()
    page.get_by_label("Your name").fill(AUTHOR)
    shows(page, f"{APP} {VERSION}")
    page.get_by_role("button", name="End the canary").click()
    expect(page.get_by_role("region", name="History")).to_contain_text(AUTHOR)
    shows(page, AUTHOR)
    page.goto(address_of(hostile, f"deploys/frontend/{quote(FRONTEND, safe='')}"))
    expect(page.get_by_role("heading", name=FRONTEND)).to_be_visible()
    expect(page.get_by_role("region", name="History")).to_contain_text(BACKEND)
    shows(page, FRONTEND, BACKEND)


@pytest.mark.usefixtures("named")
def test_consumers_are_text(page: Page, visit: Visit, hostile: Node) -> None:
    """Names of consumers, and the problems that they report, are text."""
    page.goto(address_of(hostile, "cluster"))
    expect(page.get_by_role("region", name="Load balancers and watchers")).to_contain_text(CONSUMER)
    shows(page, CONSUMER, WHY)


def test_text_of_the_other_direction_stays_in_its_place(page: Page, hostile: Node, named: dict[str, Any]) -> None:
    """Text from right to left does not change the direction of the text around it."""
    visit_view(page, hostile, explain_view(named))
    pair = page.locator(".facts .pair").filter(has_text="turn")
    assert pair.evaluate("(element) => getComputedStyle(element).unicodeBidi") == "isolate"


def test_the_policy(page: Page, hostile: Node) -> None:
    """The page and all its files have a policy that forbids inline code, evaluation and other origins."""
    answers: list[Any] = []
    page.on("response", partial(list.append, answers))
    visit_view(page, hostile)
    files = [each for each in answers if "/page/" in each.url or each.url == f"{hostile.api_url}/"]
    assert len(files) > 20
    for answer in files:
        policy = answer.header_value("content-security-policy")
        assert dict(part.strip().split(" ", 1) for part in policy.split(";")) == POLICY
        assert answer.header_value("x-content-type-options") == "nosniff"


@pytest.mark.parametrize(
    "script",
    [
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'hacked = 1' }))",
        "setTimeout('hacked = 1')",
    ],
)
def test_what_the_policy_refuses(page: Page, visit: Visit, hostile: Node, script: str) -> None:
    """The policy prevents that text becomes markup or code, even if the page has a defect."""
    visit.allow_error("")
    visit_view(page, hostile)
    page.evaluate(f"() => {{ try {{ {script} }} catch {{ }} }}")
    assert page.evaluate(VIOLATED) == SAFE
    assert any("trusted" in error.lower() or "script" in error for error in visit.errors)
