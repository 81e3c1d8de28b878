"""A node that requires tokens, and the objects that are registered and configured there."""

from __future__ import annotations

from tests.access.known import headers, known
from tests.api.conversation import Response, parsed, request
from tests.api.fronts import Front

INSTANCE = "/registrations/web-shop/1/10.0.0.5/80"
ID = "registration/web-shop/1/10.0.0.5/80"
OTHER_ID = "registration/api/1/10.0.0.6/80"
SHOP = {"app": "web-shop", "version": "1", "host": "10.0.0.5", "port": 80}
API = {"app": "api", "version": "1", "host": "10.0.0.6", "port": 80}
SITE = {"app": "web-shop", "version": "1"}


class Guarded(Front):
    """A node that knows all tokens, with a registration, a backend, a frontend and an operator's state."""

    def __init__(self, *, fast: bool) -> None:
        super().__init__(fast=fast, tokens=known())
        self.way = "fast path" if fast else "long way"
        for method, path, body in (
            ("POST", "/registrations", SHOP),
            ("PUT", "/backends/site", {"app": "web-shop", "version": "2"}),
            ("PUT", "/backends/site", SITE),
            ("PUT", "/frontends/edge", {"backend": "site"}),
            ("PUT", "/frontends/edge", {"backend": "site", "meta": {"a": 0}}),
            ("PUT", f"{INSTANCE}/state?force", {"state": "drain"}),
        ):
            assert self.response(method, path, body, "root").status in (200, 201), (method, path)

    def response(self, method: str, path: str, body: object = None, name: str | None = None, **more: str) -> Response:
        """Return the response to a request with a token."""
        received, _ = self.ask([request(method, path, body, **headers(name), **more)])
        (response,) = parsed(received, head=method == "HEAD")
        return response

    @property
    def refused(self) -> tuple[int, int]:
        """The numbers of requests refused without a valid token, and refused because of the scopes of their token."""
        return self.node.counters.unauthorized, self.node.counters.forbidden

    @property
    def state(self) -> object:
        """Everything that requests can change, except for counters."""
        node = self.node
        claims = [(claim.key, claim.body) for claim in node.claims()]
        return node.replica.digest(), node.journal.cursor, claims, [*node.keys_with_states()]
