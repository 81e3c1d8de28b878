"""A real HAProxy with the options of operators: TLS, redirects, headers, logs, statistics, limits, and own lines."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import treq
import trustme
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from bender.haproxy.bind_check import bind_problem
from tests.e2e.balancing import NODES, Driver, Place, driven, together
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, until
from tests.e2e.traffic import traffic

pytestmark = pytest.mark.outside

#: The time of a slow answer, and the least and longest time that HAProxy waits for it.
SLOW_S = 1.0
SHORT_S = 0.3

any_reactor: Any = reactor


class Shown(Resource):
    """Answers with the headers of the request, late at `/slow`, and counts concurrent requests."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    def render_GET(self, request: Any) -> Any:
        if request.path != b"/slow":
            return self._headers(request)
        self.now += 1
        self.most = max(self.most, self.now)
        request.notifyFinish().addBoth(lambda _ended: self._end())
        answering = deferLater(any_reactor, SLOW_S, lambda: request.write(self._headers(request)) or request.finish())
        request.notifyFinish().addErrback(lambda _lost: answering.cancel())
        answering.addErrback(lambda _cancelled: None)
        return NOT_DONE_YET

    render_POST = render_GET

    def _headers(self, request: Any) -> bytes:
        seen = {name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()}
        return json.dumps(seen).encode()

    def _end(self) -> None:
        self.now -= 1


@define(eq=False)
class Edge:
    """A shop behind HAProxy: the driver, its addresses, and the instances."""

    driver: Driver
    node: Node
    shown: Shown
    port: int
    tls_port: int
    folder: Path
    authority: trustme.CA = field(factory=trustme.CA)

    async def get(self, path: str = "/", *, tls: bool = False, method: str = "GET", **options: Any) -> Any:
        """Return status, body and headers, without following redirects."""
        url = f"https://localhost:{self.tls_port}{path}" if tls else f"http://127.0.0.1:{self.port}{path}"
        agent = options.pop("agent", None)
        response = await treq.request(
            method, url, allow_redirects=False, persistent=False, timeout=PATIENCE_S, agent=agent, **options
        )
        return response.code, await response.content(), response.headers

    async def headers(self, **options: Any) -> dict[str, str]:
        status, content, _ = await self.get(**options)
        assert status == 200, content
        seen: dict[str, str] = json.loads(content)
        return seen

    async def set(self, path: str, **fields: Any) -> None:
        """Change a backend or frontend, and wait until HAProxy has the change."""
        text = self.driver.file.read_text("utf-8")
        answer = await self.node.call("PUT", path, fields)
        assert answer.status in (200, 201), answer
        await until("the file has changed", lambda: self.driver.file.read_text("utf-8") != text)
        await self.driver.until("settled", lambda status: status["haproxy"]["settled"])

    async def until_rendered(self, text: str) -> None:
        await until(f"{text!r} is in the file", lambda: text in self.driver.file.read_text("utf-8"))
        await self.driver.until("settled", lambda status: status["haproxy"]["settled"])


def certificate(authority: trustme.CA, file: Path) -> int:
    """Write a new certificate of the shop; return its number."""
    leaf = authority.issue_cert("shop.example", "localhost")
    draft = file.with_name("draft")
    draft.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    draft.replace(file)
    return number_of(leaf.cert_chain_pems[0].bytes())


def number_of(pem: bytes) -> int:
    """Return the serial number of a certificate, which differs between certificates of one name."""
    number: int = Certificate.loadPEM(pem).serialNumber()
    return number


async def served(port: int) -> int:
    """Return the number of the certificate that is served."""

    def ask() -> int:
        return number_of(ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE_S).encode())

    number: int = await deferToThread(ask)
    return number


async def until_served(port: int, number: int) -> None:
    """Wait for a certificate with this number."""

    async def is_served() -> bool:
        return await served(port) == number

    await until(f"the certificate {number} is served", is_served)


@pytest.fixture
def log() -> Iterator[socket.socket]:
    """A socket in place of syslog."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setblocking(False)
        yield listening


@asynccontextmanager
async def edge(cluster: Cluster, place: Place, **options: Any) -> AsyncIterator[Edge]:
    """Start a shop at two addresses: one with TLS, and one without, whose requests can be redirected."""
    (node,) = await cluster(1, **NODES)
    shown = Shown()
    listening = any_reactor.listenTCP(0, Site(shown), interface="127.0.0.1")
    try:
        path = f"/registrations/web/1/127.0.0.1/{listening.getHost().port}"
        assert (await node.call("POST", path, {"ttl": 600})).status == 200
        assert (await node.call("PUT", "/backends/shop", {"app": "web", "version": "1"})).status == 201
        port, tls_port, authority = place.ports.take(), place.ports.take(), trustme.CA()
        plain, encrypted = f"127.0.0.1:{port}", f"127.0.0.1:{tls_port}"
        front = {"backend": "shop", "bind": f"{plain},{encrypted}", "tls": encrypted}
        assert (await node.call("PUT", "/frontends/www", front)).status == 201
        for folder in ("certificates", "lines"):
            (place.folder / folder).mkdir()
        certificate(authority, place.folder / "certificates/shop.pem")
        folders: dict[str, Any] = {"certificates": place.folder / "certificates", "include": place.folder / "lines"}
        driver = await driven(place, [node], **folders, **options)
        yield Edge(driver, node, shown, port, tls_port, place.folder, authority)
    finally:
        await listening.stopListening()


def trusting(authority: trustme.CA) -> Any:
    return trustRootFromCertificates([Certificate.loadPEM(authority.cert_pem.bytes())])


def agent(authority: trustme.CA) -> Any:
    """Return an HTTPS client that trusts only these certificates."""
    from twisted.web.client import Agent, BrowserLikePolicyForHTTPS  # noqa: PLC0415 - only for these tests

    return Agent(any_reactor, BrowserLikePolicyForHTTPS(trusting(authority)))


async def logged(log: socket.socket, words: str) -> str:
    """Return the line of the access log with these words."""
    lines: list[str] = []

    def has_come() -> bool:
        with suppress(BlockingIOError):
            while True:
                lines.append(log.recv(65536).decode())
        return any(words in line for line in lines)

    await until(f"{words} is logged", has_come)
    return next(line for line in lines if words in line)


@pytest_twisted.ensureDeferred
async def test_a_shop(cluster: Cluster, place: Place, log: socket.socket) -> None:
    """Logs, headers, TLS, redirects and statistics work as configured."""
    stats = place.ports.take()
    where = {"log": f"127.0.0.1:{log.getsockname()[1]}", "stats": stats}
    async with edge(cluster, place, **where) as at:
        encrypted = {"tls": True, "agent": agent(at.authority)}

        seen = await at.headers(path="/plain", headers={"X-Forwarded-Proto": "https"})
        assert (seen["x-forwarded-for"], seen["x-forwarded-proto"]) == ("127.0.0.1", "http")
        assert (await at.headers(**encrypted))["x-forwarded-proto"] == "https"
        assert " www:in shop/1:127.0.0.1:" in await logged(log, "GET /plain HTTP/1.1")

        for path, words in (
            ("/", b"Statistics Report"),
            ("/metrics", b'haproxy_frontend_http_requests_total{proxy="www'),
        ):
            response = await treq.get(f"http://127.0.0.1:{stats}{path}", persistent=False, timeout=PATIENCE_S)
            assert words in await response.content()

        # A second HAProxy of the same user could share the address, and each of them would get some requests.
        assert bind_problem(f"127.0.0.1:{stats}", shared=False) == "another program listens there"
        assert bind_problem(f"127.0.0.1:{stats}") is None

        await at.set("/frontends/www", redirect_https=True, forwardfor=False, log=False)
        status, _, headers = await at.get("/cart?a=1", headers={"Host": "shop.example:8000"})
        location = [f"https://shop.example:{at.tls_port}/cart?a=1"]
        assert (status, headers.getRawHeaders("location")) == (301, location)
        status, _, headers = await at.get("/cart?a=1", method="POST", headers={"Host": "shop.example"})
        assert (status, headers.getRawHeaders("location")) == (308, location)
        assert (await at.get("/.well-known/acme-challenge/x"))[0] == 200
        assert not {"x-forwarded-for", "x-forwarded-proto"} & {*await at.headers(path="/unlogged", **encrypted)}
        await at.set("/frontends/www", log=None, redirect_https=None)
        await at.get("/logged")
        assert "/unlogged" not in await logged(log, "GET /logged")


@pytest_twisted.ensureDeferred
async def test_a_certificate_is_renewed(cluster: Cluster, place: Place) -> None:
    """A certificate is renewed without a lost request, and an invalid certificate changes nothing."""
    async with edge(cluster, place) as at:
        file = at.folder / "certificates/shop.pem"
        first = await served(at.tls_port)
        async with traffic(at.tls_port, retrying=True, trusting=trusting(at.authority)) as asking:
            await asking.until_sent(20)
            second = certificate(at.authority, file)
            assert second != first
            await until_served(at.tls_port, second)
            await asking.until_sent(20)

            file.write_text("-----BEGIN CERTIFICATE-----\nnot really")
            await at.driver.until("told", lambda status: "certificates/shop.pem" in status["problems"])
            await asking.until_sent(20)
            assert await served(at.tls_port) == second
            third = certificate(at.authority, file)
            await until_served(at.tls_port, third)
            await at.driver.until("well", lambda status: status["problems"] == {})
            await asking.until_sent(20)
        assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_lines_of_one_s_own(cluster: Cluster, place: Place) -> None:
    """An operator's own lines take effect; a line that HAProxy refuses is named, and the previous lines stay."""
    async with edge(cluster, place) as at:
        file = at.folder / "lines/frontend-www.cfg"
        file.write_text("# closed\nhttp-request deny deny_status 429 if { path /tea }\n")
        await at.until_rendered("deny_status 429")
        assert ((await at.get("/tea"))[0], (await at.get("/"))[0]) == (429, 200)

        file.write_text("# closed\nhttp-request denny if { path /tea }\n")
        status = await at.driver.until("refused", lambda status: status["haproxy"]["refused"] is not None)
        assert "frontend-www.cfg line 2" in status["haproxy"]["refused"]["why"]
        assert "deny_status 429" in at.driver.file.read_text("utf-8")
        assert ((await at.get("/tea"))[0], status["haproxy"]["settled"]) == (429, False)

        file.write_text("backend evil\n")
        why = "frontend-www.cfg line 1: backend begins a section"
        await at.driver.until("refused", lambda status: why in str(status["haproxy"]["refused"]))
        file.unlink()
        status = await at.driver.until("well", lambda status: status["haproxy"]["settled"])
        assert (status["haproxy"]["refused"], (await at.get("/tea"))[0]) == (None, 200)


@pytest_twisted.ensureDeferred
async def test_timeouts_and_limits(cluster: Cluster, place: Place) -> None:
    """Timeouts and limits of a backend apply to it, also to servers that are added later."""
    async with edge(cluster, place, timeouts=f"server={SHORT_S}", maxconn=1000) as at:
        assert (await at.get("/slow"))[0] == 504
        await at.set("/backends/shop", timeouts={"server": 10 * SLOW_S, "queue": 10 * SLOW_S}, maxconn=1)
        at.shown.most = 0
        assert [status for status, _, _ in await together(*(at.get("/slow") for _ in range(3)))] == [200] * 3
        assert at.shown.most == 1

        later = any_reactor.listenTCP(0, Site(Shown()), interface="127.0.0.1")
        try:
            path = f"/registrations/web/1/127.0.0.1/{later.getHost().port}"
            assert (await at.node.call("POST", path, {"ttl": 600})).status == 200
            await until("it is there", lambda: len(at.driver.servers("shop")) == 2)
            rows = at.driver.ask("show stat -1 4 -1").splitlines()
            columns = rows[0].removeprefix("# ").split(",")
            limits = [dict(zip(columns, row.split(","), strict=True))["slim"] for row in rows[1:] if row]
            assert limits == ["1", "1"]
        finally:
            await later.stopListening()
        assert "Maxconn: 1000" in at.driver.ask("show info")
