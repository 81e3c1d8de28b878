"""Requests of web pages of other sites are refused."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from bender.access.cross_origin import CrossOrigin, require_same_origin

HOST = b"127.0.0.1:1729"
OTHER = b"http://evil.example"


class Changes(SynchronousTestCase):
    def permitted(self, method: bytes, site: bytes | None, origin: bytes | None, host: bytes | None = HOST) -> bool:
        try:
            require_same_origin(method, site, origin, host)
        except CrossOrigin:
            return False
        return True

    def test_safe_methods(self) -> None:
        """Safe methods are permitted from every page."""
        for method, site, origin in product((b"GET", b"HEAD", b"OPTIONS"), (None, b"cross-site"), (None, OTHER)):
            self.assertTrue(self.permitted(method, site, origin), (method, site, origin))

    def test_sec_fetch_site(self) -> None:
        """`Sec-Fetch-Site` alone decides: requests of the node's pages and of the user are permitted."""
        for method, origin in product((b"POST", b"PUT", b"DELETE", b"PATCH", b"BREW"), (None, b"null", OTHER)):
            for site in (b"same-origin", b"none"):
                self.assertTrue(self.permitted(method, site, origin), (method, site, origin))
            for site in (b"cross-site", b"same-site", b"anything", b"same-origin,none", b"Same-Origin"):
                self.assertFalse(self.permitted(method, site, origin), (method, site, origin))
                self.assertFalse(self.permitted(method, site, b"http://127.0.0.1:1729"), (method, site))

    def test_no_browser(self) -> None:
        """Without both headers, or with empty ones, the client is not a browser."""
        for site, origin, host in product((None, b""), (None, b""), (None, HOST)):
            self.assertTrue(self.permitted(b"POST", site, origin, host))

    def test_origin(self) -> None:
        """Without `Sec-Fetch-Site`, the host and port of `Origin` must equal `Host`, in any case of letters."""
        for origin, host in (
            (b"http://127.0.0.1:1729", HOST),
            (b"https://127.0.0.1:1729", HOST),
            (b"http://[::1]:1729", b"[::1]:1729"),
            (b"https://N1.example", b"n1.EXAMPLE"),
        ):
            self.assertTrue(self.permitted(b"POST", None, origin, host), origin)
        for origin, other in (
            (OTHER, HOST),
            (b"null", HOST),
            (b"null", b""),
            (b"http://", b""),
            (b"http://127.0.0.1", HOST),
            (b"http://127.0.0.1:8000", HOST),
            (b"http://localhost:1729", HOST),
            (b"http://127.0.0.1:1729.evil.example", HOST),
            (b"http://evil.example/http://127.0.0.1:1729", HOST),
            (b"http://127.0.0.1:1729,http://127.0.0.1:1729", HOST),
            (b"127.0.0.1:1729", HOST),
            (b"http://127.0.0.1:1729", None),
        ):
            self.assertFalse(self.permitted(b"POST", None, origin, other), origin)

    def test_the_message(self) -> None:
        """The message names the site on one line, and has the remedy."""
        for origin, shown in (
            (
                OTHER,
                "this request comes from a web page of http://evil.example, and only pages of this node may change",
            ),
            (b"null", "this request comes from a web page of null,"),
            (None, "this request comes from a web page of another site,"),
            (b"http://\xff\n", "a web page of 'http://\\xff\\n',"),
        ):
            error = self.assertRaises(CrossOrigin, require_same_origin, b"POST", b"cross-site", origin, HOST)
            self.assertIn(shown, str(error))
            self.assertIn("pass on the Host header", str(error))
            self.assertEqual(error.code, "FORBIDDEN")
