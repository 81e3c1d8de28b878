"""Takes the pictures of `docs/page`: each view of the page, in light, in dark and on a phone.

`make screenshots` runs it. The pictures show a real system: three nodes, instances that answer requests, and an
HAProxy that follows the nodes and sends requests to the instances.
"""

from __future__ import annotations

import http.client
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from playwright.sync_api import Browser, Page

from tests.background import in_background
from tests.e2e.balancing import haproxy
from tests.e2e.forking import forks
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, ended_cleanly
from tests.page.asking import ask, wait_until_ready
from tests.page.browsers import started
from tests.page.registry import Registry
from tests.twistd_command import ROOT, environment, twistd
from tests.waiting import holds_within

PICTURES = ROOT / "docs/page"

#: The views, and the part of the address after `#/`.
VIEWS = {
    "now": "now",
    "deploys": "deploys/backend/shop",
    "cluster": "cluster",
    "events": "events",
    "explain": "explain/registration/web/1.2.0/127.0.1.3/8080",
}

#: The pictures of each view: the colours, and the size of the screen.
SCREENS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 720}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1200, "height": 720}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True},
}

#: App, version, the network of the hosts, and the number of instances.
INSTANCES = (
    ("web", "1.2.0", "127.0.1.", 6),
    ("web", "1.3.0", "127.0.2.", 2),
    ("api", "2026-11-03", "127.0.3.", 4),
    ("search", "7", "127.0.4.", 3),
)

#: Requests are sent for this time before the first picture, so that the measured shares are those of many requests.
TRAFFIC_S = 45.0

#: After this time, the page has asked for the consumers, the nodes and the claims.
SETTLE_MS = 3500


class Quiet(BaseHTTPRequestHandler):
    """An instance that answers every request."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, ended_cleanly(Cluster(Path(folder))) as cluster:
        nodes = [cluster.node() for _ in range(3)]
        cluster.launch(nodes)
        for node in nodes:
            wait_until_ready(node)
        frontend_port = cluster.ports.take()
        traffic = in_background(partial(send_requests, frontend_port))
        with instances(nodes), shop(nodes, frontend_port), balancer(nodes, Path(folder)), traffic:
            time.sleep(TRAFFIC_S)
            with started() as browser:
                for screen in SCREENS:
                    take(browser, nodes[0], screen)
    forks().end()


@contextmanager
def instances(nodes: list[Node]) -> Iterator[None]:
    """Serve and renew all instances, each at one of the nodes."""
    registries = [Registry([node.api_url]) for node in nodes]
    servers: list[ThreadingHTTPServer] = []
    for registry in registries:
        registry.__enter__()
    try:
        number = 0
        for app, version, network, count in INSTANCES:
            for host in (f"{network}{last}" for last in range(1, count + 1)):
                servers.append(ThreadingHTTPServer((host, 8080), Quiet))
                Thread(target=servers[-1].serve_forever, daemon=True).start()
                meta = {"zone": "abc"[number % 3], "commit": "9f3c2e1"}
                registries[number % 3].register(app, version, host, 8080, ttl=10, meta=meta)
                number += 1
        yield
    finally:
        for registry in registries:
            registry.__exit__()
        for server in servers:
            server.shutdown()
            server.server_close()


@contextmanager
def shop(nodes: list[Node], port: int) -> Iterator[None]:
    """Set backends and a frontend, deploy a version, and drain an instance."""
    for name, app, version in (("shop", "web", "1.2.0"), ("api", "api", "2026-11-03"), ("search", "search", "7")):
        expect(ask(nodes[0].api_url, "PUT", f"/backends/{name}", {"app": app, "version": version}).status, 201)
    expect(ask(nodes[1].api_url, "PUT", "/backends/shop", {"health": {"path": "/health"}}).status, 200)
    canary = {"version": "1.3.0", "percent": 10}
    expect(ask(nodes[2].api_url, "PUT", "/backends/shop", {"canary": canary}).status, 200)
    rules = [{"path": "/api", "backend": "api"}]
    frontend = {"backend": "shop", "bind": f"127.0.0.1:{port}", "rules": rules}
    expect(ask(nodes[0].api_url, "PUT", "/frontends/www", frontend).status, 201)
    drained = "/registrations/web/1.2.0/127.0.1.3/8080/state"
    expect(ask(nodes[1].api_url, "PUT", drained, {"state": "drain"}).status, 200)
    yield


def expect(status: int, expected: int) -> None:
    assert status == expected, status


@contextmanager
def balancer(nodes: list[Node], folder: Path) -> Iterator[None]:
    """Run HAProxy, and the driver by which it follows the nodes and reports its requests."""
    options = [f"--output={folder / 'haproxy.cfg'}", f"--socket={folder / 'haproxy.s'}", f"--run={haproxy()}"]
    bender = [f"--bender=127.0.0.1:{node.api_port}" for node in nodes]
    command = [
        *twistd(),
        "bender-haproxy",
        *bender,
        *options,
        "--name=edge-1",
        "--report",
        "--status=tcp:0:interface=127.0.0.1",
    ]
    with (folder / "edge-1.log").open("w") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log, env=environment(), cwd=folder)
    try:
        yield
    finally:
        driver.terminate()
        driver.wait(PATIENCE_S)


def send_requests(port: int, is_over: Event) -> None:
    """Send about forty requests per second to the frontend, until an event."""
    while not is_over.wait(0.025):
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().read()
            connection.close()


def take(browser: Browser, node: Node, screen: str) -> None:
    """Take the pictures of all views on one screen."""
    context = browser.new_context(**SCREENS[screen])
    page = context.new_page()
    for view, address in VIEWS.items():
        page.goto(f"{node.api_url}/#/{address}")
        assert holds_within(PATIENCE_S, lambda: is_live(page)), "the page does not become live"
        if view == "events":
            something_happens(node)
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=PICTURES / f"{view}-{screen}.png")
    context.close()


def is_live(page: Page) -> bool:
    return bool(page.evaluate("() => window.page?.live.state === 'live'"))


def something_happens(node: Node) -> None:
    """Register an instance and end it, so that there are events of several kinds."""
    path = "/registrations/search/8/127.0.4.9/8080"
    ask(node.api_url, "POST", path, {"ttl": 10})
    ask(node.api_url, "DELETE", path)


if __name__ == "__main__":
    main()
