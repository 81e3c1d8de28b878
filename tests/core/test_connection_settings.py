"""The fields of backends and frontends for connections."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.core.connection_settings import (
    MAXCONN_MAX,
    TIMEOUT_S_MAX,
    parse_backend_timeouts,
    parse_forwardfor,
    parse_frontend_timeouts,
    parse_log,
    parse_maxconn,
    parse_redirect_https,
)
from bender.core.invalid import Invalid
from bender.core.routing import BACKEND, FRONTEND, Bind, parse_tls

#: Values that none of these fields accepts.
WRONG: tuple[Any, ...] = ("1", "", [], [1], {"x": 1}, float("nan"), float("inf"), 10**400, -1)


class OneField(SynchronousTestCase):
    def refused(self, field: str, parse: Any, *wrong: Any) -> None:
        for value in wrong:
            error = self.assertRaises(Invalid, parse, value)
            self.assertEqual(error.field, field, value)

    def test_timeouts(self) -> None:
        """Each timeout is in seconds, and null removes it."""
        self.assertEqual(parse_frontend_timeouts({"client": 0.5, "http_request": None}), {"client": 0.5})
        every = {"connect": 1, "server": TIMEOUT_S_MAX, "queue": 2, "tunnel": 3, "check": 4}
        self.assertEqual(parse_backend_timeouts(every), every)
        for value in (*WRONG, 0, True, TIMEOUT_S_MAX + 1):
            self.refused("timeouts", parse_frontend_timeouts, {"client": value})
            self.refused("timeouts", parse_backend_timeouts, {"server": value})
        self.refused("timeouts", parse_frontend_timeouts, *WRONG)

    def test_a_timeout_of_the_other_kind(self) -> None:
        """A timeout of the other kind of object is refused with the kind that it belongs to."""
        error = self.assertRaises(Invalid, parse_frontend_timeouts, {"server": 5})
        self.assertEqual(str(error), "timeouts: server: belongs in the backend")
        error = self.assertRaises(Invalid, parse_backend_timeouts, {"client": 5})
        self.assertEqual(str(error), "timeouts: client: belongs in the frontend")
        error = self.assertRaises(Invalid, parse_backend_timeouts, {"servr": 5})
        self.assertIn("did you mean server?", str(error))

    def test_maxconn(self) -> None:
        """`maxconn` is a whole number."""
        self.assertEqual([parse_maxconn(1), parse_maxconn(MAXCONN_MAX)], [1, MAXCONN_MAX])
        self.refused("maxconn", parse_maxconn, *WRONG, 0, 1.0, True, MAXCONN_MAX + 1)
        message = "maxconn: must be an integer from 1 to 1000000"
        self.assertEqual(str(self.assertRaises(Invalid, parse_maxconn, 0)), message)

    def test_redirect_https(self) -> None:
        """`redirect_https` is a port or a boolean."""
        self.assertEqual([*map(parse_redirect_https, (True, False, 8443))], [True, False, 8443])
        self.refused("redirect_https", parse_redirect_https, *WRONG, 0, 65536, 443.0)

    def test_tls(self) -> None:
        """`tls` is for all addresses, for none, or for named ones."""
        self.assertEqual([parse_tls(True), parse_tls(False)], [True, False])
        self.assertEqual(parse_tls("*:443,[0::1]:8443"), (Bind(None, 443), Bind("::1", 8443)))
        self.refused("tls", parse_tls, *WRONG, 443, "443", "*:443,*:443")

    def test_what_is_on_or_off(self) -> None:
        """`forwardfor` and `log` are booleans, and not texts or numbers."""
        self.assertEqual([parse_forwardfor(False), parse_log(True)], [False, True])
        self.refused("forwardfor", parse_forwardfor, *WRONG, 0, 1)
        self.refused("log", parse_log, *WRONG, 0, 1)


class Together(SynchronousTestCase):
    def refused(self, message: str, existing: bytes | None = None, **fields: Any) -> None:
        self.assertIn(message, str(self.assertRaises(Invalid, FRONTEND.merged_body, "www", fields, existing)))

    def test_tls_at_an_address_that_is_none_of_it(self) -> None:
        """TLS at an address that `bind` does not have is refused, also if `bind` changes."""
        self.refused("tls: *:444 is not an address of bind", bind="*:80,*:443", tls="*:444")
        kept = FRONTEND.merged_body("www", {"bind": "*:80,*:443", "tls": "*:443"})
        self.refused("tls: *:443 is not an address of bind", kept, bind="*:80")
        FRONTEND.merged_body("www", {"tls": "*:443"})

    def test_nothing_to_redirect(self) -> None:
        """`redirect_https` is refused if every address uses TLS."""
        self.refused(
            "redirect_https: all addresses of bind use TLS, so there is nothing to redirect",
            bind="*:443",
            tls=True,
            redirect_https=True,
        )
        FRONTEND.merged_body("www", {"bind": "*:80", "redirect_https": True})
        FRONTEND.merged_body("www", {"bind": "*:80,*:443", "tls": "*:443", "redirect_https": True})

    def test_mode_tcp(self) -> None:
        """Fields about requests are refused in mode tcp, but TLS is not."""
        self.refused("redirect_https: needs mode http", mode="tcp", redirect_https=True)
        self.refused("forwardfor: needs mode http", mode="tcp", forwardfor=True)
        self.refused("timeouts: http_request: needs mode http", mode="tcp", timeouts={"http_request": 1})
        FRONTEND.merged_body("www", {"mode": "tcp", "bind": "*:443", "tls": True, "forwardfor": False, "maxconn": 1})

    def test_what_an_older_node_has_kept(self) -> None:
        """Invalid fields that an older release stored do not prevent other changes."""
        kept = b'{"id":"frontend/www","resource":"Frontend","name":"www","bind":7,"tls":{},"timeouts":7}'
        self.assertIn(b'"log":false', FRONTEND.merged_body("www", {"log": False, "mode": "tcp"}, kept))

    def test_they_are_kept(self) -> None:
        """The fields are stored as they were sent."""
        body = BACKEND.merged_body("shop", {"app": "web", "version": "1", "maxconn": 5, "timeouts": {"server": 1.5}})
        self.assertIn(b'"maxconn":5', body)
        self.assertIn(b'"timeouts":{"server":1.5}', body)
