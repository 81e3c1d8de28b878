"""Requests on asyncio: the order in which nodes are asked, and the parsing of answers."""

from __future__ import annotations

import asyncio
import os

import h11
from twisted.trial.unittest import SynchronousTestCase

from bender.client.asyncio_http import CONCURRENT_MAX, AsyncioHttp, hedged, read_reply
from bender.client.transport import REFUSAL_BYTES_MAX, ConnectionSecurity, TooLong
from bender.client.types import Reply
from bender.net.addresses import NoAnswer


class Nodes:
    """Nodes named after their behaviour: `hangs` and `away` send no answer, and all others answer at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.failed: list[tuple[str, str]] = []

    async def attempt(self, node: str) -> str:
        self.asked.append(node)
        if node.startswith("hangs"):
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.cancelled.append(node)
                raise
        if node.startswith("away"):
            raise NoAnswer("is away")
        return node.upper()

    def seek(self, *nodes: str) -> tuple[str, str] | None:
        """Ask these nodes, each one after the previous nodes have had a turn of the loop."""
        return asyncio.run(
            hedged(nodes, self.attempt, lambda node, why: self.failed.append((node, str(why))), hedge_s=0)
        )


class Hedging(SynchronousTestCase):
    def setUp(self) -> None:
        self.nodes = Nodes()

    def test_one_that_is_away_is_followed_by_the_next(self) -> None:
        """The next node is asked after a failure, and no further node is asked after an answer."""
        self.assertEqual(self.nodes.seek("away", "b", "c"), ("b", "B"))
        self.assertEqual((self.nodes.asked, self.nodes.failed), (["away", "b"], [("away", "is away")]))

    def test_one_that_hangs_does_not_hold_up_the_others(self) -> None:
        """A node that hangs is reported, and its request is cancelled when another node has answered."""
        self.assertEqual(self.nodes.seek("hangs", "away", "b"), ("b", "B"))
        self.assertEqual(self.nodes.failed, [("away", "is away"), ("hangs", "has not answered yet")])
        self.assertEqual(self.nodes.cancelled, ["hangs"])

    def test_after_two_that_hang_all_are_asked(self) -> None:
        """Hanging nodes cost the time of two, however many hang, because then all nodes are asked at once."""
        hanging = [f"hangs{number}" for number in range(10)]
        self.assertEqual(self.nodes.seek(*hanging, "b"), ("b", "B"))
        self.assertEqual(len(self.nodes.cancelled), len(hanging))
        self.assertLess(len(hanging), CONCURRENT_MAX)

    def test_none(self) -> None:
        """Without an answer, each node is asked once, and the result is None."""
        self.assertIsNone(self.nodes.seek("away1", "away2"))
        self.assertEqual(self.nodes.asked, ["away1", "away2"])

    def test_an_error_of_another_kind_is_raised(self) -> None:
        """An unexpected error is raised, and the requests to other nodes are cancelled."""

        async def attempt(node: str) -> str:
            if node == "hangs":
                return await self.nodes.attempt(node)
            raise ValueError(node)

        with self.assertRaises(ValueError):
            asyncio.run(hedged(["hangs", "b"], attempt, lambda _node, _why: None, hedge_s=0))
        self.assertEqual(self.nodes.cancelled, ["hangs"])


class Answers(SynchronousTestCase):
    def read(self, answer: bytes, bytes_max: int = 100) -> Reply:
        async def reading() -> Reply:
            reader = asyncio.StreamReader()
            reader.feed_data(answer)
            reader.feed_eof()
            connection = h11.Connection(h11.CLIENT)
            connection.send(h11.Request(method="GET", target="/", headers=[("Host", "n")]))
            connection.send(h11.EndOfMessage())
            return await read_reply("n", connection, reader, bytes_max)

        return asyncio.run(reading())

    def test_in_all_forms_that_http_has(self) -> None:
        """The body has a length, has chunks, or ends with the connection."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: x\r\n\r\n[]",
            b"HTTP/1.1 200 OK\r\netag: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n1\r\n]\r\n0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nETag: x\r\n\r\n[]",
        ):
            self.assertEqual(self.read(answer), Reply("n", 200, b"[]", "x"))

    def test_one_without_an_end(self) -> None:
        """An answer that is cut off raises an error, and is not taken for a shorter answer."""
        for answer in (b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]"):
            with self.assertRaises((h11.RemoteProtocolError, ConnectionResetError)):
                self.read(answer)

    def test_one_that_is_too_long(self) -> None:
        """An answer above the limit raises an error; the limit is lower for refusals."""
        head = b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n"
        self.assertEqual(len(self.read(head % (200, 100) + b"x" * 100).body), 100)
        with self.assertRaises(TooLong):
            self.read(head % (200, 101) + b"x" * 101)
        refusal = head % (400, REFUSAL_BYTES_MAX + 1) + b"x" * (REFUSAL_BYTES_MAX + 1)
        with self.assertRaises(TooLong):
            self.read(refusal, 10**9)

    def test_what_is_not_http(self) -> None:
        """An answer that is not HTTP raises an error."""
        with self.assertRaises(h11.RemoteProtocolError):
            self.read(b'{"event":"hello"}\n')


class Authorities(SynchronousTestCase):
    def test_what_is_no_certificate_is_refused_at_once(self) -> None:
        """An invalid certificate is refused when the client is created, before any request."""
        broken = b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
        for pem, why in ((os.urandom(9), "holds no certificate"), (broken, "cannot be read")):
            error = self.assertRaises(ValueError, AsyncioHttp, ConnectionSecurity(ca=pem))
            self.assertIn(why, str(error))
