"""The web page: the clients that get it at `/`, and its files below `/page/`."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from bender import __version__
from bender.api.page import CONTENT_SECURITY_POLICY
from tests.api.conversation import ApiCase, Response
from tests.api.guarded import Guarded

FOLDER = Path(__file__).parents[2] / "bender/page"

INDEX = (FOLDER / "index.html").read_bytes()

FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file() and path.name != "index.html")

#: The Accept header that Chromium and Firefox send for an address that a user opens.
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

IMPORT = re.compile(r'^(?:import|export) (?:[^;]*? from )?"(\.[^"]+)";', re.MULTILINE)


def path_of(file: Path) -> str:
    return f"/page/{file.relative_to(FOLDER).as_posix()}"


class AtTheRoot(ApiCase):
    def root(self, accept: str | None, method: str = "GET", **headers: str) -> Response:
        return self.ask(method, "/", **({} if accept is None else {"Accept": accept}), **headers)

    def test_who_gets_the_page(self) -> None:
        """Clients that name HTML, and not JSON, get the page; all others get the name and the version."""
        for accept in (BROWSER, "text/html", "TEXT/HTML;q=0.1", "text/plain, text/html"):
            response = self.root(accept)
            self.assertEqual((response.status, response.body), (200, INDEX), accept)
            self.assertEqual(response.headers["content-type"], "text/html; charset=utf-8")
            self.assertEqual(response.headers["vary"], "Accept, Accept-Encoding")
        for other in (None, "*/*", "text/*", "application/json", f"{BROWSER},application/json", "text/html;q=0"):
            response = self.root(other)
            self.assertEqual((response.status, response.json), (200, {"name": "bender", "version": __version__}), other)
            self.assertEqual(response.headers["vary"], "Accept")
            self.assertNotIn("content-security-policy", response.headers)

    def test_two_forms(self) -> None:
        """The two forms have different tags, so that a cache does not confuse them."""
        page, named = self.root(BROWSER), self.root(None)
        self.assertNotEqual(page.headers["etag"], named.headers["etag"])
        self.assertEqual(self.root(BROWSER, If_None_Match=page.headers["etag"]).status, 304)
        self.assertEqual(self.root(BROWSER, If_None_Match=named.headers["etag"]).status, 200)
        self.assertEqual(self.root(None, If_None_Match=named.headers["etag"]).status, 304)

    def test_methods(self) -> None:
        """HEAD gets the headers of GET; other methods get 405 in JSON."""
        head = self.root(BROWSER, "HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["content-length"], str(len(INDEX)))
        for method in ("POST", "PUT", "DELETE"):
            self.refused("METHOD_NOT_ALLOWED", self.root(BROWSER, method))
        options = self.root(BROWSER, "OPTIONS")
        self.assertEqual((options.status, options.headers["allow"]), (204, "GET, HEAD, OPTIONS"))


class Files(ApiCase):
    def test_each(self) -> None:
        """Each file is sent plain or compressed, with its type, its policy and a tag for each form."""
        self.assertGreater(len(FILES), 25)
        for file in FILES:
            path, content = path_of(file), file.read_bytes()
            plain, gzipped = self.ask("GET", path), self.ask("GET", path, Accept_Encoding="br, gzip")
            self.assertEqual((plain.status, plain.body), (200, content), path)
            self.assertEqual(gzip.decompress(gzipped.body), content)
            self.assertNotIn("content-encoding", plain.headers)
            self.assertEqual(gzipped.headers["content-encoding"], "gzip")
            for response in (plain, gzipped):
                self.assertEqual(response.headers["content-type"], TYPES[file.suffix])
                self.assertEqual(response.headers["vary"], "Accept-Encoding")
                self.assertEqual(response.headers["cache-control"], "no-cache")
                self.assertEqual(response.headers["content-security-policy"], CONTENT_SECURITY_POLICY)
                self.assertEqual(response.headers["x-content-type-options"], "nosniff")
            self.assertNotEqual(plain.headers["etag"], gzipped.headers["etag"])

    def test_not_modified(self) -> None:
        """A browser that has a file in either form gets 304 if it is unchanged."""
        for headers in ({}, {"Accept_Encoding": "gzip"}):
            tag = self.ask("GET", "/page/main.js", **headers).headers["etag"]
            response = self.ask("GET", "/page/main.js", If_None_Match=tag, **headers)
            self.assertEqual((response.status, response.body, response.headers["etag"]), (304, b"", tag))
            self.assertEqual(self.ask("GET", "/page/dom.js", If_None_Match=tag, **headers).status, 200)

    def test_methods(self) -> None:
        """Files can be read, and not written."""
        head = self.ask("HEAD", "/page/main.js")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["content-length"], str((FOLDER / "main.js").stat().st_size))
        for path in ("/page/main.js", "/page/views/now.js"):
            for method in ("POST", "PUT", "DELETE"):
                self.refused("METHOD_NOT_ALLOWED", self.ask(method, path))

    def test_what_is_no_file(self) -> None:
        """Files outside the folder cannot be read, and `index.html` is not below `/page/`."""
        for name in (
            "index.html",
            "main",
            "main.js/",
            "views",
            "views/",
            "views/none.js",
            "../page/main.js",
            "..%2F__init__.py",
            "%2e%2e/__init__.py",
            "..%5C__init__.py",
            "%2Fetc%2Fpasswd",
            "MAIN.JS",
            "main.js%00",
            "views%2Fnow.js",
        ):
            response = self.ask("GET", f"/page/{name}")
            self.assertIn(response.status, (400, 404), name)
            self.assertIn(response.json["code"], ("INVALID", "NOT_FOUND"), name)

    def test_modules_are_loaded_at_once(self) -> None:
        """`index.html` preloads every imported module, so that modules load at the same time."""
        named = set(re.findall(r'<link rel="modulepreload" href="page/([^"]+)">', INDEX.decode()))
        imported: set[str] = set()
        for file in FILES:
            if file.suffix == ".js":
                found = IMPORT.findall(file.read_text("utf-8"))
                imported |= {(file.parent / each).resolve().relative_to(FOLDER).as_posix() for each in found}
        self.assertEqual(named, imported)
        scripts = {"theme.js", "main.js"}
        self.assertEqual(named | scripts, {path_of(file)[6:] for file in FILES if file.suffix == ".js"})
        self.assertEqual(set(re.findall(r'<script[^>]* src="page/([^"]+)"', INDEX.decode())), scripts)

    def test_nothing_inline(self) -> None:
        """The page has no inline script, style or handler, and no absolute address, because the policy refuses them."""
        text = INDEX.decode()
        self.assertEqual(
            re.findall(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=|https?:|href=\"/|src=\"/", text), []
        )


class Unready(ApiCase):
    """A node that has not found its seed."""

    def setUp(self) -> None:
        super().setUp()
        self.await_a_seed()

    def test_the_page_is_there(self) -> None:
        """The page and its files are sent before the node is ready; clients that want JSON get 503."""
        self.assertEqual(self.ask("GET", "/", Accept=BROWSER).body, INDEX)
        self.assertEqual(self.ask("GET", "/page/main.js").status, 200)
        self.refused("NOT_READY", self.ask("GET", "/"))
        self.pass_time(6)
        self.assertEqual(self.ask("GET", "/").json["name"], "bender")


class WithTokens(ApiCase):
    def test_the_page_needs_none(self) -> None:
        """The page and its files need no token, because the page asks the user for one."""
        for fast in (True, False):
            guarded = Guarded(fast=fast)
            for path in ("/", "/page/main.js", "/page/views/now.js"):
                for token in (None, "unknown"):
                    self.assertEqual(guarded.response("GET", path, name=token, Accept=BROWSER).status, 200)
            self.assertEqual(guarded.response("GET", "/registrations", Accept=BROWSER).status, 401)
