"""What a scrape of `/metrics` costs a node with few and with many apps.

A node has apps of ten registrations and a backend each. It is scraped as Prometheus does, gzipped and as OpenMetrics,
every half second; on another connection a client renews registrations one after the other, whose times show whether
renewals wait. An instrumented node of its own measures the longest turn.
"""

from __future__ import annotations

import time
from threading import Event

from attrs import frozen

from bench.figures import Target, arguments, percentile, print_table, spread, write
from bench.nodes import Connection, Node, cluster, post
from tests.background import in_background

APPS = (10, 1_000, 10_000)

#: Registrations of each app.
EACH = 10

SCRAPES_APART_S = 0.5

#: No turn may be longer, however much there is. The processor time of a scrape every fifteen seconds stays below 2 %.
TARGET_TURN_MS = 20.0
TARGET_SCRAPE_MS = 300.0

SCRAPE = (
    b"GET /metrics HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: gzip\r\n"
    b"Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n\r\n"
)


@frozen
class Run:
    """Of scrapes: the processor time of each, the time of each until its end, its bytes, and the times of renewals."""

    cpu_ms: float
    took_ms: list[float]
    bytes: int
    renewals_ms: list[float]


def ids(app: int) -> list[str]:
    """Return the ids of the registrations of an app."""
    return [f"registration/app-{app:05}/1/10.0.0.1/{8000 + number}" for number in range(EACH)]


def fill(node: Node, apps: int) -> None:
    """Register the instances of all apps, and set a backend for each."""
    with Connection(node.api) as connection:
        for app in range(apps):
            paths = [f"/registrations/{id_.removeprefix('registration/')}" for id_ in ids(app)]
            requests = [post(path, {"ttl": 3600}) for path in paths]
            requests.append(post("/backends", {"name": f"b{app:05}", "app": f"app-{app:05}", "version": "1"}))
            connection.ask_all(requests)


def measure(node: Node, scrapes: int) -> Run:
    """Scrape a number of times, and renew meanwhile. Processor time is without that of the renewals alone."""
    renewals_ms: list[float] = []

    def renew(is_over: Event) -> None:
        with Connection(node.api) as connection:
            request = post("/renewals", {"ids": ids(0)})
            while not is_over.wait(0.01):
                began = time.monotonic()
                connection.ask(request)
                renewals_ms.append((time.monotonic() - began) * 1000)

    with in_background(renew), Connection(node.api) as connection:
        connection.ask(SCRAPE)
        began, cpu_s = time.monotonic(), node.cpu_s
        time.sleep(SCRAPES_APART_S * scrapes)
        idle_s = (node.cpu_s - cpu_s) / (time.monotonic() - began)
        took_ms = []
        began, cpu_s = time.monotonic(), node.cpu_s
        for number in range(scrapes):
            time.sleep(max(0.0, began + number * SCRAPES_APART_S - time.monotonic()))
            asked = time.monotonic()
            status, body = connection.ask(SCRAPE)
            took_ms.append((time.monotonic() - asked) * 1000)
            if status != 200:
                raise SystemExit(f"A scrape was answered with {status}.")
        used_s = node.cpu_s - cpu_s - idle_s * (time.monotonic() - began)
    return Run(1000 * used_s / scrapes, took_ms, len(body), renewals_ms)


def longest_turn_ms(apps: int, scrapes: int) -> float:
    """Return the longest turn of a node while it is scraped."""
    with cluster(1, instrumented=True) as (node,), Connection(node.api) as connection:
        fill(node, apps)
        connection.ask(SCRAPE)
        node.longest_turn_ms()
        for _ in range(scrapes):
            connection.ask(SCRAPE)
            time.sleep(0.1)
        return node.longest_turn_ms()


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--apps", type=int, nargs="+", default=APPS, help="numbers of apps (default: %(default)s)")
    parser.add_argument("--scrapes", type=int, default=10, help="in each repetition (default: %(default)s)")
    options = parser.parse_args()
    runs: dict[str, list[Run]] = {}
    turns_ms: dict[str, float] = {}
    for apps in options.apps:
        with cluster(1) as (node,):
            fill(node, apps)
            runs[f"{apps:,} apps"] = [measure(node, options.scrapes) for _ in range(options.repetitions)]
        turns_ms[f"{apps:,} apps"] = longest_turn_ms(apps, options.scrapes)
    rows = [
        [
            name,
            spread([run.cpu_ms for run in of], 1),
            spread([percentile(run.took_ms, 50) for run in of], 1),
            f"{of[0].bytes / 1000:,.1f}",
            f"{turns_ms[name]:.1f}",
            f"{percentile([each for run in of for each in run.renewals_ms], 99):.2f}",
        ]
        for name, of in runs.items()
    ]
    columns = ["", "CPU ms", "answer ms", "KB gzipped", "longest turn ms", "renewal, p99 ms"]
    print_table("a scrape of /metrics", columns, rows)
    most = [*runs.values()][-1]
    targets = [
        Target("a scrape of the most apps", [run.cpu_ms for run in most], "ms", most=TARGET_SCRAPE_MS),
        Target("its longest turn", [*turns_ms.values()][-1:], "ms", most=TARGET_TURN_MS),
    ]
    write("scraping", options.json, {"runs": runs, "turns_ms": turns_ms}, targets)


if __name__ == "__main__":
    main()
