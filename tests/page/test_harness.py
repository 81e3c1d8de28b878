"""The harness of the page tests finds the errors of a page, except those that a test expects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from textwrap import dedent

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.nodes import PATIENCE_S, Node
from tests.page.asking import ask
from tests.page.registry import RENEWALS_IN_A_TTL, Registry
from tests.page.visits import Visit, visiting
from tests.waiting import holds_within

pytestmark = pytest.mark.outside

#: A page without scripts, in which axe-core finds nothing.
GOOD = """<!doctype html><html lang="en"><title>Good</title><main><h1>Good</h1></main></html>"""

#: The same page with a picture without a text.
MUTE = GOOD.replace("</h1>", "</h1><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>")

#: The ports of three registrations, and their ttls in seconds.
KEPT_AND_OTHERS = [(1, 3), (2, 1), (3, 10)]


class Site:
    """Serves pages by their paths, under a policy; other paths are 404, except the icon that Chromium requests."""

    def __init__(self, policy: str | None) -> None:
        self.pages = {"/": GOOD, "/favicon.ico": ""}
        pages = self.pages

        class Pages(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = pages.get(self.path)
                self.send_response(404 if text is None else 200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                if policy is not None:
                    self.send_header("Content-Security-Policy", policy)
                self.end_headers()
                self.wfile.write((text or "").encode())

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture(scope="module")  # ends after every page: Chromium may still ask for an icon when a test ends
def serve() -> Iterator[Callable[..., Site]]:
    """Serve pages: `site = serve(); site.pages["/"] = html`, or `serve("default-src 'self'")`."""
    sites: list[Site] = []

    def make(policy: str | None = None) -> Site:
        sites.append(Site(policy))
        threading.Thread(target=sites[-1].server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return sites[-1]

    yield make
    for site in sites:
        site.server.shutdown()
        site.server.server_close()


def with_script(script: str) -> str:
    return GOOD.replace("</main>", f"</main><script>{script}</script>")


def problems(browser: Browser, site: Site, *, expecting: Callable[[Visit], None] = lambda _: None) -> str:
    """Open the page in a test that expects these errors or none; return the errors that fail the test."""
    try:
        with visiting(browser) as visit:
            expecting(visit)
            visit.page.goto(site.url)
            visit.page.wait_for_load_state("load")
    except AssertionError as found:
        return str(found)
    return ""


def test_a_good_page_has_no_problems(browser: Browser, serve: Callable[..., Site]) -> None:
    """A correct page has no problems, with and without a policy."""
    assert problems(browser, serve()) == ""
    assert problems(browser, serve("default-src 'none'")) == ""


def test_errors_are_problems(browser: Browser, serve: Callable[..., Site]) -> None:
    """Console errors, missing resources and uncaught exceptions are problems; a warning is not."""
    site = serve()
    for wrong, said in {
        with_script("console.error('it broke')"): "console: it broke",
        with_script("throw new Error('nobody caught this')"): "exception: nobody caught this",
        with_script("Promise.reject(new Error('nobody waited'))"): "exception: nobody waited",
        GOOD.replace("</main>", "<img alt='x' src='missing.png'></main>"): "404 (Not Found) (http://127.0.0.1",
    }.items():
        site.pages["/"] = wrong
        assert said in problems(browser, site)
    site.pages["/"] = with_script("console.warn('look')")
    assert problems(browser, site) == ""


def test_what_a_policy_refuses_is_a_problem(browser: Browser, serve: Callable[..., Site]) -> None:
    """A violation of the policy is a problem, also if the policy forbids all scripts."""
    site = serve("default-src 'none'")
    site.pages["/"] = with_script("console.error('it ran')")
    found = problems(browser, site)
    assert "Content-Security-Policy: script-src-elem refuses inline" in found and "it ran" not in found


def test_a_request_to_another_origin_is_a_problem(browser: Browser, serve: Callable[..., Site]) -> None:
    """Another port is another origin, whether it answers or not, also for a WebSocket."""
    site, other = serve(), serve()
    for script in (f"fetch('{other.url}', {{mode: 'no-cors'}})", f"location = '{other.url}'"):
        site.pages["/"] = with_script(script)
        assert f"request to another origin: {other.url}" in problems(browser, site)
    site.pages["/"] = with_script(f"new WebSocket('{other.url.replace('http', 'ws')}')")
    assert f"request to another origin: {other.url}" in problems(browser, site)
    site.pages["/"] = GOOD.replace("</main>", "<img alt='' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='></main>")
    assert problems(browser, site) == ""


def test_a_test_may_expect_either(browser: Browser, serve: Callable[..., Site]) -> None:
    """A test can expect an error by a part of its text, and an origin by any of its addresses; others stay problems."""
    site, other = serve(), serve()
    site.pages["/"] = with_script(f"console.error('it broke'); fetch('{other.url}', {{mode: 'no-cors'}})")

    def origin(visit: Visit) -> None:
        visit.allow_origin(f"{other.url}any/path")

    def error(visit: Visit) -> None:
        visit.allow_error("it bro")

    assert problems(browser, site, expecting=origin).startswith("console: it broke")
    assert problems(browser, site, expecting=error) == f"request to another origin: {other.url}"


def test_a_page_that_is_opened_from_the_page_is_watched(page: Page, visit: Visit, serve: Callable[..., Site]) -> None:
    """A page that a link opens in a new tab is watched, too."""
    site = serve()
    site.pages["/"] = GOOD.replace("</main>", "<a href='/new' target='_blank'>New</a></main>")
    site.pages["/new"] = with_script("console.error('it broke')")
    page.goto(site.url)
    with page.expect_popup() as opened:
        page.get_by_role("link", name="New").click()
    expect(opened.value).to_have_title("Good")
    visit.allow_error("it broke")
    assert visit.requests == [site.url, f"{site.url}new"]


def test_each_page_begins_empty(browser: Browser, serve: Callable[..., Site]) -> None:
    """Each page starts without the cookies and the storage of earlier pages."""
    site = serve()
    for _ in range(2):
        with visiting(browser) as visit:
            visit.page.goto(site.url)
            assert visit.page.evaluate("() => [document.cookie, localStorage.length]") == ["", 0]
            visit.page.evaluate("() => { document.cookie = 'a=b'; localStorage.c = 'd' }")


def test_axe_finds_what_is_not_accessible(
    page: Page, axe: Callable[[Page], list[str]], serve: Callable[..., Site]
) -> None:
    """axe-core works under the strictest policy; the text has the rule, the element and a way to fix it."""
    site = serve("default-src 'none'; img-src data:")
    page.goto(site.url)
    assert axe(page) == []
    site.pages["/"] = MUTE
    page.reload()
    (violation,) = axe(page)
    first, second, *rest = violation.splitlines()
    assert (first, "<img" in second) == ("image-alt (critical): Images must have alternative text", True)
    assert "Fix any of the following" in dedent("\n".join(rest))


def test_a_registry_renews_until_told_otherwise(
    nodes: Callable[..., list[Node]], registry: Callable[..., Registry]
) -> None:
    """A registration is renewed until it is ended, at another node if the first one has ended."""
    first, second = nodes(2, interval=0.25)
    both = registry(first, second)
    both.put("/backends/web", {"app": "web", "version": "1"})
    kept, lapsing, ended = (both.register("web", "1", "10.0.0.5", port, ttl=ttl_s) for port, ttl_s in KEPT_AND_OTHERS)

    def members() -> list[str]:
        return [each["id"] for each in ask(second.api_url, "GET", "/backends/web/members").body]

    both.deregister(ended)
    both.lapse(lapsing)
    assert holds_within(PATIENCE_S, lambda: members() == [kept["id"]])
    first.kill()
    renewed_before = both.renewals
    assert holds_within(PATIENCE_S, lambda: both.renewals > renewed_before + RENEWALS_IN_A_TTL * kept["ttl"])
    assert members() == [kept["id"]]


def test_a_refused_request_is_an_error(nodes: Callable[..., list[Node]], registry: Callable[..., Registry]) -> None:
    """A request with an unexpected status raises an error that has the node's answer."""
    (node,) = nodes(1)
    with pytest.raises(AssertionError, match="INVALID"):
        registry(node).put("/backends/web", {"app": "web"})
