"""The requests that `bender-api` 0.2, the published client of the original bender, sends, and the answers it reads."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.api.conversation import ApiCase, Response, parsed

BACKEND = {"name": "site", "app": "web", "version": "1.0"}


class OriginalClient(ApiCase):
    """Each call has a connection of its own; bodies are chunked, and an empty body may be chunked, too."""

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, *, chunked: bool = False) -> Response:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1:1729", "Connection: close"]
        content = b""
        if body is not None:
            document = msgspec.json.encode(body)
            lines[1:1] = ["content-type: application/json"]
            content = b"%x\r\n%s\r\n0\r\n\r\n" % (len(document), document)
        elif chunked:
            content = b"0\r\n\r\n"
        lines += ["Transfer-Encoding: chunked"] if content else []
        connection = self.connect()
        connection.send("\r\n".join([*lines, "", ""]).encode())
        for byte in content:  # in the smallest pieces
            connection.send(bytes([byte]))
        (response,) = parsed(connection.received())
        self.assertTrue(connection.closed)
        return response

    def test_register(self) -> None:
        """`register` sends a POST without a body, chunked or not, and expects a 2xx."""
        for chunked in (False, True):
            response = self.call("POST", "/registrations/web/1.0/localhost/8080", chunked=chunked)
            self.assertEqual(response.status, 200)
        self.assertEqual(len(self.call("GET", "/registrations").json), 1)

    def test_get_registrations(self) -> None:
        """`getRegistrations` reads an array of objects with app, version, host and port, by app and version too."""
        self.call("POST", "/registrations/web/1.0/localhost/8080")
        wanted = {"app": "web", "version": "1.0", "host": "localhost", "port": 8080}
        for path in ("/registrations", "/registrations/web", "/registrations/web/1.0"):
            (shown,) = self.call("GET", path).json
            self.assertEqual({name: shown[name] for name in wanted}, wanted)
        self.assertEqual(self.call("GET", "/registrations/other").json, [])

    def test_backends(self) -> None:
        """`createBackend`, `getBackend`, `getBackends`, `updateBackend` and `removeBackend` work."""
        self.assertEqual(self.call("POST", "/backends", BACKEND).status, 201)
        self.assertEqual(self.call("GET", "/backends/site").json["name"], "site")
        self.assertEqual(len(self.call("GET", "/backends").json), 1)
        self.assertEqual(self.call("PUT", "/backends/site", {"version": "2.0"}).json["version"], "2.0")
        self.assertEqual(self.call("DELETE", "/backends/site", chunked=True).status, 204)
        self.assertEqual(self.call("GET", "/backends").json, [])

    def test_frontends(self) -> None:
        """`createFrontend`, `getFrontend`, `getFrontends` and `removeFrontend` work."""
        created = self.call("POST", "/frontends", {"name": "edge", "backend": "site"})
        self.assertEqual((created.status, created.json["location"]), (201, "/frontends/edge"))
        self.assertEqual(self.call("GET", "/frontends/edge").json["backend"], "site")
        self.assertEqual(len(self.call("GET", "/frontends").json), 1)
        self.assertEqual(self.call("DELETE", "/frontends/edge").status, 204)
        self.assertEqual(self.call("GET", "/frontends").json, [])

    def test_errors(self) -> None:
        """The client reads the status, and `code` and `message` of the body."""
        self.call("POST", "/backends", BACKEND)
        self.refused("NOT_FOUND", self.call("GET", "/backends/other"))
        self.refused("NOT_FOUND", self.call("DELETE", "/frontends/other"))
        self.refused("INVALID", self.call("POST", "/backends", {"name": "other", "app": "web"}))
        self.refused("CONFLICT", self.call("POST", "/backends", BACKEND))
