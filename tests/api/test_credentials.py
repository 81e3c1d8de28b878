"""The forms in which a request may have a token, the same on the fast path and on the long way."""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from tests.access.known import hash_of, secret
from tests.api.conversation import parsed
from tests.api.guarded import Guarded


class Credentials(SynchronousTestCase):
    """The node accepts and refuses the same forms of a token on both ways."""

    def setUp(self) -> None:
        self.fronts = [Guarded(fast=fast) for fast in (True, False)]

    def status(self, *lines: str) -> int:
        """Return the status of a request with these headers for the list of registrations."""
        sent = "\r\n".join(["GET /registrations HTTP/1.1", "Host: a", *lines, "", ""]).encode("latin-1")
        first, second = (parsed(front.ask([sent])[0])[0].status for front in self.fronts)
        self.assertEqual(first, second)
        return first

    def basic(self, password: str, user: str = "anybody") -> str:
        return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"

    def test_accepted(self) -> None:
        reader = secret("reader")
        for line in (
            f"Authorization: Bearer {reader}",
            f"authorization: bearer {reader}",
            f"AUTHORIZATION:BEARER   {reader}  ",
            f"Authorization: {reader}",
            f"Authorization:\t{reader}\t",
            self.basic(reader),
            self.basic(reader, user=""),
            f"X-Consul-Token: {reader}",
            f"x-consul-token: {reader}",
        ):
            self.assertEqual(self.status(line), 200, line)

    def test_not_accepted(self) -> None:
        """Empty or partial tokens, other schemes, other headers and misspelled tokens get 401."""
        reader = secret("reader")
        for line in (
            "Authorization:",
            "Authorization: Bearer",
            "Authorization: Bearer ",
            "Authorization: Basic",
            "Authorization: Basic !",
            f"Authorization: Basic {reader}",
            f"Authorization: Digest {reader}",
            f"Authorization: Bearer {reader}x",
            f"Authorization: Bearer {reader[:-1]}",
            f"Authorization: Bearer {reader.upper()}",
            f"Authorization: Bearer {hash_of('reader')}",
            "Authorization: Bearer \xe9",
            self.basic(""),
            self.basic("", user=reader),
            self.basic(f"{reader}\n"),
            "X-Consul-Token:",
            f"X-Consul-Token: Bearer {reader}",
            f"Proxy-Authorization: Bearer {reader}",
            f"Cookie: token={reader}",
        ):
            self.assertEqual(self.status(line), 401, line)

    def test_several(self) -> None:
        """`Authorization` has priority over `X-Consul-Token`; a header that is sent twice is not valid."""
        reader, unknown = (f"Authorization: Bearer {secret(name)}" for name in ("reader", "unknown"))
        consul = f"X-Consul-Token: {secret('reader')}"
        self.assertEqual(self.status(reader, "X-Consul-Token: x"), 200)
        self.assertEqual(self.status(unknown, consul), 401)
        self.assertEqual(self.status("Authorization:", consul), 401)
        self.assertEqual(self.status(reader, reader), 401)
        self.assertEqual(self.status(reader, unknown), 401)
        self.assertEqual(self.status(consul, consul), 401)

    def test_in_the_query(self) -> None:
        """A token in the query gets 401, because proxies would log it."""
        front = self.fronts[0]
        self.assertEqual(front.response("GET", f"/registrations?token={secret('reader')}").status, 401)
