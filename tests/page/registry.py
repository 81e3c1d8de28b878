"""Requests of operators and services to a node while a page shows it, and a thread that renews registrations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Any, Self
from urllib.parse import quote

from tests.e2e.nodes import PATIENCE_S, Answer
from tests.page.asking import ask

#: Registrations are renewed this many times in the shortest ttl.
RENEWALS_IN_A_TTL = 4


class Registry:
    """Sends requests to the first of some nodes that answers, and renews what it has registered until the end.

    Use it as a context manager: the thread that renews ends with it. Registrations then lapse.
    """

    def __init__(self, addresses: Sequence[str], token: str | None = None) -> None:
        self._addresses = addresses
        self._token = token
        #: How often all registrations have been renewed.
        self.renewals = 0
        self._ttls_s: dict[str, float] = {}
        self._lock = Lock()
        self._over = Event()
        self._thread = Thread(target=self._keep_renewing, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE_S)

    def register(self, app: str, version: str, host: str, port: int, **fields: Any) -> dict[str, Any]:
        """Register an instance, with `ttl`, `weight`, `meta` and so on, and renew it; return the registration."""
        path = "/".join(quote(part, safe="") for part in (app, version, host, str(port)))
        registration: dict[str, Any] = self.call("POST", f"/registrations/{path}", fields, expected=200).body
        with self._lock:
            self._ttls_s[registration["id"]] = registration["ttl"]
        return registration

    def lapse(self, registration: dict[str, Any]) -> None:
        """Stop renewing a registration, as if its service had crashed."""
        with self._lock:
            del self._ttls_s[registration["id"]]

    def deregister(self, registration: dict[str, Any]) -> None:
        """Deregister an instance, as its service does when it stops."""
        self.lapse(registration)
        names = "/".join(quote(part, safe="") for part in registration["id"].split("/")[1:])
        self.call("DELETE", f"/registrations/{names}", expected=204)

    def put(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Create or change a backend or a frontend: `put("/backends/web", {"app": "web", "version": "1"})`."""
        answer = self.call("PUT", path, fields)
        assert answer.status in (200, 201), answer
        body: dict[str, Any] = answer.body
        return body

    def call(self, method: str, path: str, body: Any = None, expected: int | None = None) -> Answer:
        """Return the answer of the first node that gives one; `AssertionError` if its status is not the expected one.

        Raises `OSError` if no node answers.
        """
        for address in self._addresses[:-1]:
            with suppress(OSError):
                return _expected(ask(address, method, path, body, self._token), expected)
        return _expected(ask(self._addresses[-1], method, path, body, self._token), expected)

    def _keep_renewing(self) -> None:
        apart_s = 0.0
        while not self._over.wait(apart_s):
            with self._lock:
                ttls_s = dict(self._ttls_s)
            # Without registrations, it checks again soon enough for the shortest ttl of any test.
            apart_s = min([1.0, *ttls_s.values()]) / RENEWALS_IN_A_TTL
            if ttls_s:
                with suppress(OSError):  # a test may have ended or paused all nodes
                    answer = self.call("POST", "/renewals", {"ids": sorted(ttls_s)})
                    self.renewals += answer.status == 200


def _expected(answer: Answer, status: int | None) -> Answer:
    assert status in (None, answer.status), answer
    return answer
