"""Records what pages do in a test: their requests, their errors, and violations of their Content-Security-Policy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from attrs import define, field
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, Request, WebError, WebSocket

from tests.e2e.nodes import PATIENCE_S

#: A page may load these without sending a request.
LOCAL_SCHEMES = {"about", "blob", "data"}

#: Calls `violated`, which the harness adds to each page, also under a policy that forbids all scripts of the page.
LISTENER = """
addEventListener("securitypolicyviolation", event =>
    violated(`${event.effectiveDirective} refuses ${event.blockedURI || "inline"}`));
"""


@define(eq=False, slots=False)  # Playwright adds attributes to objects with the methods that it calls
class Visit:
    """A page in its own context, without cookies, cache or storage of other pages, and a record of its actions.

    Its requests may go to the origin of its first request, which loads the page, and to origins that the test allows.
    """

    page: Page
    #: The address of each request, sent or refused, in order.
    requests: list[str] = field(factory=list)
    #: Errors on the console, uncaught exceptions, and violations of the policy, each with its place.
    errors: list[str] = field(factory=list)
    _origins: set[str] = field(factory=set)
    _allowed: list[str] = field(factory=list)

    def allow_origin(self, url: str) -> None:
        """Expect requests to the origin of this address as well."""
        self._origins.add(_origin(url))

    def allow_error(self, part: str) -> None:
        """Expect any number of errors with this text in them."""
        self._allowed.append(part)

    def problems(self) -> list[str]:
        """Return a sentence for each error and each request that the test did not expect."""
        errors = [each for each in self.errors if not any(part in each for part in self._allowed)]
        origins = self._origins | {_origin(url) for url in self.requests[:1]}
        foreign = [url for url in self.requests if _origin(url) not in origins]
        return [*errors, *(f"request to another origin: {url}" for url in foreign)]

    def watch(self, context: BrowserContext) -> None:
        """Record the actions of this page, and of pages that it opens, from now on."""
        context.on("request", self._on_request)
        context.on("console", self._on_console)
        context.on("weberror", self._on_exception)
        for page in context.pages:
            self._on_page(page)
        context.on("page", self._on_page)
        context.expose_function("violated", lambda what: self.errors.append(f"Content-Security-Policy: {what}"))
        context.add_init_script(LISTENER)

    def _on_page(self, page: Page) -> None:
        page.on("websocket", self._on_websocket)

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).scheme not in LOCAL_SCHEMES:
            self.requests.append(request.url)

    def _on_websocket(self, websocket: WebSocket) -> None:
        self.requests.append(websocket.url.replace("ws", "http", 1))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"console: {message.text} ({message.location['url']})")

    def _on_exception(self, raised: WebError) -> None:
        self.errors.append(f"exception: {raised.error}")


@contextmanager
def visiting(browser: Browser) -> Iterator[Visit]:
    """Open an empty page for a test, and close it; raises `AssertionError` for errors that the test did not expect."""
    context = browser.new_context()
    try:
        context.set_default_timeout(PATIENCE_S * 1000)
        visit = Visit(context.new_page())
        visit.watch(context)
        yield visit
        _settle(context)
    finally:
        context.close()
    problems = visit.problems()
    assert not problems, "\n".join(problems)


def _settle(context: BrowserContext) -> None:
    """Wait until the browser has reported all earlier events of the pages: it reports them in order."""
    for page in context.pages:
        with suppress(Error):  # the page is loading another address
            page.evaluate("0")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
