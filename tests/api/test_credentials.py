"""Credentials in requests: what is taken for a token, the same on the fast path and on the long way."""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from tests.access.known import hash_of, secret
from tests.api.conversation import parsed
from tests.api.guarded import Guarded


class Credentials(SynchronousTestCase):
    """The forms in which a token may come, the same on both ways."""

    def setUp(self) -> None:
        self.fronts = [Guarded(fast=fast) for fast in (True, False)]

    def status(self, *lines: str) -> int:
        """The status of a list of registrations for a client that sends these headers."""
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
        """Empty ones, halves, other schemes, other places, and tokens that are only nearly right."""
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
        """`Authorization` decides, and one that comes twice is not valid even if both are."""
        reader, unknown = (f"Authorization: Bearer {secret(name)}" for name in ("reader", "unknown"))
        consul = f"X-Consul-Token: {secret('reader')}"
        self.assertEqual(self.status(reader, "X-Consul-Token: x"), 200)
        self.assertEqual(self.status(unknown, consul), 401)
        self.assertEqual(self.status("Authorization:", consul), 401)
        self.assertEqual(self.status(reader, reader), 401)
        self.assertEqual(self.status(reader, unknown), 401)
        self.assertEqual(self.status(consul, consul), 401)

    def test_in_the_query(self) -> None:
        """A token in an address would get into logs of proxies, so it is not accepted there."""
        front = self.fronts[0]
        self.assertEqual(front.response("GET", f"/registrations?token={secret('reader')}").status, 401)
