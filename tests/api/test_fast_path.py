"""The fast path and the long way give the same answers to any request, and leave the same state."""

from __future__ import annotations

import random
from base64 import b64encode
from itertools import chain, pairwise, product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.access.tokens import Tokens
from bender.api import site
from bender.api.fast_path import HEAD_BYTES_MAX, PART_BYTES_MAX
from bender.node.listings import OF_ONE_INSTANT_MAX
from tests.access.known import known, secret, token
from tests.api.conversation import WEB, WEB_ID, WEB_PATH, Connection, Network, parsed, request
from tests.api.fronts import Front
from tests.effort import effort

ANOTHER_PATH = "/registrations/web/1.2.0/10.0.0.6/8080"

PATHS = (
    "/registrations",
    "/registrations/web",
    "/registrations/web/1.2.0",
    "/registrations/web/1.2.0/10.0.0.5",
    WEB_PATH,
    ANOTHER_PATH,
    "/registrations/web/1.2.0/10.0.0.6/8080/more",
    "/registrations/web/1.2.0/10.0.0.6/",
    "/registrations/web/1.2.0/10.0.0.6/port",
    "/registrations/web/1.2.0/FE80::1/8080",
    "/registrations/../1.2.0/10.0.0.6/8080",
    "/registrations/",
    "/registrations?meta.zone=a",
    "/registrations/web?meta.zone=a&other",
    "/registrations/web?meta.zone=%zz%ff",
    "/registrations/w%65b",
    "/registrations/a%2Fb",
    "/registrations/web#part",
    "//registrations",
    "/renewals",
    "/ready",
    "/ready?why",
    "/readily",
    "/backends",
    "/backends/blue",
    "/backends/blue/members",
    "/",
    "*",
    "http://node/ready",
    "registrations",
)

BODIES: tuple[object, ...] = (
    None,
    b" ",
    b"{",
    b"\xff",
    {},
    WEB,
    {**WEB, "meta": {"zone": "a"}, "ttl": 60},
    {**WEB, "weight": 300},
    {**WEB, "meta": {"large": "x" * 5000}},
    {"ids": [WEB_ID, "registration/none"]},
    {"ids": 1},
    {"name": "blue", "app": "web", "version": "1.2.0"},
)

HEADS = (
    b"GET /ready HTTP/1.0\r\n\r\n",
    b"GET /ready HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /ready HTTP/1.1\r\n\r\n",
    b"GET /ready HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET /ready HTTP/1.1\r\nConnection: Keep-Alive\r\n\r\n",
    b"GET /ready HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"GET /ready HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
    b"GET /ready HTTP/1.1\nHost: a\n\n",
    b"GET /ready HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET /ready HTTP/1.1\r\n folded: a\r\n\r\n",
    b"GET /ready HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET  /ready HTTP/1.1\r\n\r\n",
    b"GET /ready\r\n\r\n",
    b"get /ready HTTP/1.1\r\n\r\n",
    b"BREW /ready HTTP/1.1\r\n\r\n",
    b"GET /registrations/\xc3\xa9 HTTP/1.1\r\n\r\n",
    b"GET /registrations/" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    b"GET /ready HTTP/1.1\r\nLong: " + b"a" * (HEAD_BYTES_MAX + 1) + b"\r\n\r\n",
    b"GET /ready HTTP/1.1\r\n" + b"Many: a\r\n" * 2000 + b"\r\n",
    b"POST /registrations HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST /registrations HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /registrations HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /registrations HTTP/1.1\r\nContent-Length: 70000\r\n\r\n" + b" " * 70_000,
    b"POST " + ANOTHER_PATH.encode() + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST " + ANOTHER_PATH.encode() + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST " + ANOTHER_PATH.encode() + b" HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
)


def requests() -> list[bytes]:
    """Return hundreds of requests, each for a connection of its own."""
    made = [
        request(method, path, body)
        for method, path in product(("GET", "POST", "PUT", "DELETE"), PATHS)
        for body in (BODIES if method == "POST" else BODIES[:3] if method == "PUT" else (None,))
    ]
    made += [request(method, path) for method, path in product(("HEAD", "OPTIONS", "PATCH"), PATHS)]
    etags = ("*", '"a"', 'W/"a", *')
    made += [request("GET", path, None, If_None_Match=etag) for path, etag in product(PATHS[:6], etags)]
    made += [request("GET", "/registrations", None, Accept_Encoding=each) for each in ("gzip", "br, gzip;q=0", "*")]
    made += HEADS
    # Several requests at once: all of them plain, or only some.
    plain = request("POST", WEB_PATH)
    made += [plain * 3, plain + request("GET", "/backends") + plain]
    made += [plain + b"\r\n" + plain, plain + request("GET", "/ready", None, Connection="close") + plain]
    return made


class Compared(SynchronousTestCase):
    """Two nodes that get the same requests, one of them without a fast path."""

    def setUp(self) -> None:
        self.short, self.long = Front(fast=True, tokens=self.tokens()), Front(fast=False, tokens=self.tokens())

    def tokens(self) -> Tokens | None:
        """Return the tokens that both nodes require, if any."""
        return None

    def bodies(self, front: Front) -> list[bytes]:
        return [claim.body for claim in front.node.claims()]

    def compare(self, sent: bytes, *cuts: int) -> None:
        edges = [0, *sorted(cuts), len(sent)]
        pieces = [sent[begin:end] for begin, end in pairwise(edges) if begin < end]
        self.assertEqual(self.short.ask(pieces), self.long.ask([sent]), f"{sent[:200]!r} in {len(pieces)} pieces")
        self.assertEqual(self.bodies(self.short), self.bodies(self.long), sent[:200])


class BothWays(Compared):
    """Every request gets the same answer on both ways, byte for byte except for the date."""

    def test_in_one_piece(self) -> None:
        """Hundreds of unusual requests get the same answers; the fast path takes more than 150 of them."""
        sent = requests()
        for each in sent:
            self.compare(each)
        self.assertGreater(len(sent), 500)
        self.assertGreater(self.short.fast_path.taken, 150)

    def test_again(self) -> None:
        """A repeated request gets the present state, not a remembered answer."""
        for each in chain.from_iterable(zip(requests(), requests(), strict=True)):
            self.compare(each)

    def test_a_bad_line(self) -> None:
        """An invalid header line is refused before the rest of the head arrives."""
        for line in (b"Content-Length: +2", b"Content-Length: 1\r\nContent-Length: 1", b"Transfer-Encoding: x", b"a"):
            self.compare(b"POST /registrations HTTP/1.1\r\n" + line + b"\r\nHost: a\r\n")

    def test_in_pieces(self) -> None:
        """The answers are the same wherever the network cuts the requests."""
        chance = random.Random(1)
        for each in requests():
            self.compare(each, *(chance.randrange(len(each) + 1) for _ in range(chance.randrange(1, 4))))


#: Header lines with a valid, an invalid or no token.
CREDENTIALS = (
    b"",
    b"Authorization: Bearer %b" % secret("root").encode(),
    b"authorization:%b" % secret("reader").encode(),
    b"X-Consul-Token: %b" % secret("web").encode(),
    b"Authorization: bEaReR  %b " % secret("web").encode(),
    b"Authorization: Basic %b" % b64encode(b"anybody:%b" % secret("deployer").encode()),
    b"Authorization: Bearer %b" % secret("unknown").encode(),
    b"Authorization:",
    b"Authorization: Basic",
    b"Authorization: Basic x",
    b"Authorization: Bearer",
    b"Authorization: Bearer %b" % secret("root").encode() + b"\r\nX-Consul-Token: x",
    b"Authorization: x\r\nX-Consul-Token: %b" % secret("root").encode(),
    b"Authorization: %b\r\nAuthorization: %b" % (secret("root").encode(), secret("root").encode()),
)


def with_credentials(sent: bytes, credentials: bytes) -> bytes:
    """Return the requests, the first of them with these header lines."""
    first, end, rest = sent.partition(b"\r\n")
    return first + end + credentials + end + rest if credentials else sent


class BothWaysWithTokens(Compared):
    """Nodes that require tokens refuse the same requests on both ways, and a refused request changes nothing."""

    def tokens(self) -> Tokens:
        return known()

    def test_with_each_kind_of_credentials(self) -> None:
        """Hundreds of requests, each with several credentials in turn, get the same answers and counts."""
        sent = requests()
        for turn in range(effort(3, len(CREDENTIALS))):
            for number, each in enumerate(sent):
                self.compare(with_credentials(each, CREDENTIALS[(number + turn) % len(CREDENTIALS)]))
        self.assertEqual(*(front.node.counters for front in (self.short, self.long)))
        self.assertGreater(self.short.fast_path.taken, 300)

    def test_hot_requests_with_all_of_them(self) -> None:
        """The answers and counts are also the same after the tokens are replaced, for remembered requests too."""
        asked = [request("POST", WEB_PATH), request("PUT", WEB_PATH), request("POST", "/registrations", WEB)]
        asked += [request("POST", "/renewals", {"ids": [WEB_ID]}), request("GET", "/registrations")]
        for tokens in ([token(name) for name in ("root", "web")], [token("web", "admin")], [], None):
            for front in (self.short, self.long):
                front.tokens.replace(tokens)
            for _, each, credentials in product(range(2), asked, CREDENTIALS):
                self.compare(with_credentials(each, credentials))
        self.assertEqual(*(front.node.counters for front in (self.short, self.long)))


class Pipelined(SynchronousTestCase):
    """Many pipelined requests, cut at random, on a connection that pauses sometimes."""

    COUNT = 40

    def test_in_pieces(self) -> None:
        """Each request is processed once and in order, on either way."""
        sent = b"".join(
            request("POST", "/registrations", {**WEB, "port": port, "meta": {"filling": "x" * (port * 97 % 2000)}})
            for port in range(1, self.COUNT + 1)
        )
        for seed in range(60):
            chance = random.Random(seed)
            front = Front(fast=True)
            connection = Connection(front.site)
            producer: Any = connection.transport.producer
            edges = [0, *sorted(chance.randrange(len(sent)) for _ in range(chance.randrange(1, 30))), len(sent)]
            for begin, end in pairwise(edges):
                if chance.random() < 0.2:
                    producer.pauseProducing()
                connection.send(sent[begin:end])
                producer.resumeProducing()
            responses = parsed(connection.received())
            self.assertEqual([response.status for response in responses], [201] * self.COUNT, seed)
            self.assertEqual([response.json["port"] for response in responses], [*range(1, self.COUNT + 1)])

    def test_cut_at_each_byte(self) -> None:
        """A request may be cut anywhere, also within a method, a header or an end of a line."""
        sent = request("PUT", WEB_PATH) + request("POST", WEB_PATH) + request("GET", "/ready")
        for cut in range(len(sent)):
            connection = Connection(Front(fast=True).site)
            connection.send(sent[:cut])
            connection.send(sent[cut:])
            self.assertEqual([response.status for response in parsed(connection.received())], [404, 200, 200], cut)


#: Parts of requests, and of invalid ones: at the limits of the grammar, or just beyond them.
METHODS = (b"GET", b"POST", b"PUT", b"DELETE") * 3 + (b"HEAD", b"OPTIONS", b"get", b"BREW", b"")
TARGETS = (*(path.encode() for path in PATHS), b"/ready?a b", b"/registrations/\xc3\xa9", b"/ready\t", b"/ready#", b"")
SPACES = (b" ",) * 20 + (b"  ", b"\t", b"")
VERSIONS = (b"HTTP/1.1",) * 20 + (b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"")
ENDS = (b"\r\n",) * 40 + (b"\n", b"\r", b"\r\r\n")
HEADERS = (
    b"Host: a",
    b"Host:",
    b"Host : a",
    b" Host: a",
    b": a",
    b"a\x00b: c",
    b"A: b\rc",
    b"A: b\x00",
    b"A: \xff",
    b"no colon",
    b"Connection: close",
    b"Connection: Keep-Alive",
    b"Connection: keep-alive, close",
    b"Expect: 100-continue",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Upgrade: h2c",
    b"If-None-Match: *",
    b"Accept-Encoding: gzip",
    b"Content-Length: 2",
    b"Content-Length: 0",
    b"Content-Length: 00000000002",
    b"Content-Length: +2",
    b"Content-Length: 2, 2",
    b"Content-Length: " + b"0" * 5000 + b"2",
    b"content-length:\t2 ",
    b"Host: evil.example",
    b"Host: n1.example:1729",
    b"Origin: http://evil.example",
    b"Origin: http://a",
    b"Sec-Fetch-Site: same-origin",
    b"sec-fetch-site: cross-site",
    *CREDENTIALS[1:],
)
SENT_AS_BODY = (b"", b"", b"{}", b"{", b"2\r\n{}\r\n0\r\n\r\n", b"2\n{}\n0\n\n", b"x\r\n")
WHOLE = [request("POST", WEB_PATH), request("GET", WEB_PATH), request("POST", "/registrations", WEB)]


@st.composite
def near_requests(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a valid or a slightly invalid request."""
    first = [draw(st.sampled_from(each)) for each in (METHODS, SPACES, TARGETS, SPACES, VERSIONS)]
    lines = [b"".join(first), *draw(st.lists(st.sampled_from(HEADERS), max_size=3)), b""]
    head = b"".join([line + draw(st.sampled_from(ENDS)) for line in lines])
    return head + draw(st.sampled_from(SENT_AS_BODY))


STREAMS = st.lists(
    st.one_of(st.sampled_from(WHOLE), near_requests(), st.sampled_from((b"\r\n", b"\n", b"\r\n\r\n", b" ", b"\0"))),
    min_size=1,
    max_size=5,
)


class AnythingBothWays(SynchronousTestCase):
    """Valid and invalid requests in a row, cut anywhere, get the same answers with and without the fast path."""

    @settings(max_examples=effort(50, 200), deadline=None)
    @given(STREAMS, st.lists(st.floats(0, 1), max_size=4), st.integers(0, 20), st.booleans())
    def test_the_same_answers(self, parts: list[bytes], cuts: list[float], missing: int, guarded: bool) -> None:
        """The answers are the same also if the last request is incomplete, and at nodes that require tokens."""
        sent = b"".join(parts)
        sent = sent[: len(sent) - missing]
        edges = [0, *sorted(int(cut * len(sent)) for cut in cuts), len(sent)]
        pieces = [sent[begin:end] for begin, end in pairwise(edges) if begin < end]
        tokens = known() if guarded else None
        short, long = (Front(fast=fast, tokens=tokens, host_names=["n1.example"]) for fast in (True, False))
        self.assertEqual(short.ask(pieces), long.ask(pieces), pieces)
        bodies, expected = ([claim.body for claim in front.node.claims()] for front in (short, long))
        self.assertEqual(bodies, expected, pieces)


class Complete(SynchronousTestCase):
    """A complete request is answered, whatever bytes follow."""

    def test_a_part_follows(self) -> None:
        """The rest of the following request need not arrive."""
        for part in (b"P", b"PUT /regis", b"PUT /ready HTTP/1.1\r\nHost: a", request("POST", "/renewals", b"{}")[:-1]):
            connection = Connection(Front(fast=True).site)
            connection.send(request("POST", WEB_PATH) + part)
            self.assertEqual([response.status for response in parsed(connection.received())], [200], part)

    def test_in_proportion(self) -> None:
        """Each pipelined request is read once, however many there are."""
        front = Front(fast=True)
        connection = Connection(front.site)
        sent = request("POST", WEB_PATH) * 1000
        connection.send(sent[:-10])
        connection.send(sent[-10:])
        self.assertEqual([response.status for response in parsed(connection.received())], [200] * 1000)
        self.assertEqual(front.fast_path.taken, 1000)
        self.assertLess(front.fast_path.asked, 1010)


class OnOneConnection(SynchronousTestCase):
    """Connections whose requests take the fast path and the long way."""

    def setUp(self) -> None:
        self.front = Front(fast=True)
        self.connection = Connection(self.front.site)

    def statuses(self) -> list[int]:
        return [response.status for response in parsed(self.connection.received())]

    def test_both_ways_in_turns(self) -> None:
        """Requests for the fast path and for Twisted may follow each other in any order."""
        for path in ("/ready", "/status", "/ready", "/nothing", "/registrations", "/backends", "/ready"):
            self.connection.send(request("GET", path))
        self.assertEqual(self.statuses(), [200, 200, 200, 404, 200, 200, 200])
        self.assertEqual(self.front.fast_path.taken, 4)

    def test_a_head_first(self) -> None:
        """The fast path waits for a body that is sent after its head."""
        sent = request("POST", "/registrations", WEB)
        cut = sent.index(b"\r\n\r\n") + 4
        self.connection.send(sent[:cut])
        self.assertEqual(self.statuses(), [])
        self.connection.send(sent[cut:])
        self.assertEqual(self.statuses(), [201])
        self.assertEqual(self.front.fast_path.taken, 1)

    def test_a_client_that_has_said_all(self) -> None:
        """If the client closes its sending side within a request, nothing is registered."""
        self.connection.send(request("POST", "/registrations", WEB)[:-5])
        self.connection.end()
        self.assertTrue(self.connection.closed)
        self.assertEqual(self.front.node.claims(), [])

    def test_a_large_part(self) -> None:
        """A large request in small parts is left to Twisted, which does not read the parts again."""
        body = {"ids": ["registration/" + "x" * 50] * 300}
        sent = request("POST", "/renewals", body)
        self.assertGreater(len(sent), 2 * PART_BYTES_MAX)
        for begin in range(0, len(sent), 1000):
            self.connection.send(sent[begin : begin + 1000])
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(self.front.fast_path.taken, 0)
        self.connection.send(sent)
        self.assertEqual(self.statuses(), [200])
        self.assertEqual(self.front.fast_path.taken, 1)

    def test_who_does_not_read(self) -> None:
        """While the client does not read, its next requests wait; they are answered when it reads again."""
        self.connection.send(request("POST", WEB_PATH))
        self.statuses()
        producer: Any = self.connection.transport.producer
        producer.pauseProducing()
        self.connection.send(request("GET", WEB_PATH) * 3)
        self.assertEqual(self.statuses(), [])
        producer.resumeProducing()
        self.assertEqual(self.statuses(), [200, 200, 200])

    def test_a_long_list(self) -> None:
        """A long list is made in slices by the long way, and the requests after it wait for their turn."""
        for i in range(OF_ONE_INSTANT_MAX + 1):
            self.connection.send(request("POST", f"/registrations/web/1/10.0.0.1/{i + 1}"))
        self.connection.received()
        self.connection.send(request("GET", "/ready") + request("GET", "/registrations") + request("GET", "/ready"))
        for _ in range(3):
            self.front.clock.advance(0)
        received = self.connection.received()
        self.assertEqual([response.status for response in parsed(received)], [200, 200, 200])
        self.assertEqual(len(parsed(received)[1].json), OF_ONE_INSTANT_MAX + 1)


class NotReady(SynchronousTestCase):
    def test_after_a_pause(self) -> None:
        """A request to a node that resumes after a pause waits until the node is ready, as on the long way."""
        clock = Clock()
        network = Network(clock)
        for node in (network.first, network.second):
            node.begin_round()
        network.first.sweep()
        connection = Connection(site(network.first, clock))
        connection.send(request("POST", WEB_PATH))
        self.assertEqual([response.status for response in parsed(connection.received())], [200])
        network.connected = False
        clock.advance(3)
        connection.send(request("PUT", WEB_PATH))
        self.assertEqual(connection.received(), b"")
        network.reconnect()
        self.assertEqual([response.status for response in parsed(connection.received())], [200])
