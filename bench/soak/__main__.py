"""Measures whether a node needs more and more resources under constant load.

Two nodes for half an hour. 20,000 instances renew at the first one, 2,000 in a second, on connections that are kept:
one at a time by PUT and by POST, and many at once by HTTP and in lines; some of them at the second node as well. One in
a hundred instances is replaced each minute; 50 watchers come and go, some of which read nothing; each second `/status`
and lists are asked for on new connections; backends and states of instances change.

Every ten seconds each node is looked at, at moments at which the same clients are connected to it. The memory in the
last minutes is compared with that after a warm-up; descriptors must be as many as before. In the warm-up all instances
are replaced once, and lists of apps are asked for ten times as often as later: then nodes have filled what they keep of
the past, events, requests that they have read and lists, dicts have the size that they need for what comes and goes,
and the heap of the C library has as many holes as it gets. With `--tls` clients and peers use TLS, and clients send a
token. The nodes are instrumented (see `bench.instrumented`), for what their garbage collectors have done.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any

from attrs import asdict, frozen

from bench.encryption import certificates
from bench.figures import Target, arguments, print_line, print_table, write
from bench.nodes import Connection, Node, cluster, processes_in_folder
from bench.soak.instances import PER_APP, RENEW_EVERY_S, TICKS_PER_S, Instances, Requests
from bench.soak.watchers import Watchers

WATCHERS = 50

#: How much of all instances is replaced in a minute.
REPLACED_PER_MINUTE = 0.01

#: Ticks between two of each of these.
WATCHER_EVERY = TICKS_PER_S // 2
POLL_EVERY = TICKS_PER_S
ALL_LISTED_EVERY = 10 * TICKS_PER_S
BACKEND_EVERY = 5 * TICKS_PER_S
STATE_EVERY = 2 * TICKS_PER_S
SAMPLE_EVERY = 10 * TICKS_PER_S

BACKENDS = 5
STATE_S = 10

#: Looks for the descriptors of a node, the fewest of which count, because a connection that has ended takes a moment.
LOOKS = 8
LOOK_S = 0.05

#: The warm-up, and each of the two spans that are compared, as parts of the whole.
PART = 1 / 6

#: The part of the warm-up in which all instances are replaced once.
REPLACED_IN_WARM_UP = 0.8

TARGET_PERCENT = 2.0

#: By how many the mean numbers of descriptors may differ. A client of lines that has closed its connection may go on
#: reading, for all that the node knows until it sends something, so a few more are open at some moments.
TARGET_DESCRIPTORS = 1.0

LEAST_OF_RATE = 0.98


@frozen
class Sample:
    """A node at one moment: `objects` that its garbage collectors know, and their `collections` so far."""

    at_s: float
    rss_bytes: int
    rss_bytes_max: int
    descriptors: int
    threads: int
    objects: int
    collections: int
    longest_turn_ms: float
    counts: dict[str, Any]


def look(node: Node, requests: Requests, at_s: float) -> Sample:
    figures = node.take_figures()
    descriptors = []
    for _ in range(LOOKS):
        time.sleep(LOOK_S)
        descriptors.append(len(os.listdir(f"/proc/{node.pid}/fd")))  # noqa: PTH208 - only their number
    with Connection(node.api, node.context) as connection:
        status, body = connection.ask(requests.http("GET", "/status"))
    if status != 200:
        raise SystemExit(f"The status was answered {status}: {body[:200]!r}")
    return Sample(
        at_s,
        node.rss_bytes,
        node.rss_bytes_max,
        min(descriptors),
        len(os.listdir(f"/proc/{node.pid}/task")),  # noqa: PTH208 - only their number
        figures["objects"],
        figures["collections"],
        max(figures["longest_turns_s"], default=0.002) * 1000,
        json.loads(body)["counts"],
    )


class Load:
    """All actions of clients, tick by tick."""

    def __init__(self, nodes: Sequence[Node], requests: Requests, instances: int, warm_up_s: float) -> None:
        self.nodes = nodes
        self.requests = requests
        apps = instances // PER_APP
        self.watchers = Watchers(nodes, requests, WATCHERS, apps)
        self.instances = Instances(nodes[0], nodes[1], requests, instances)
        self.instances.register_all(self.watchers.read)
        self._apps = [f"/registrations/app-{number}" for number in range(apps)]
        self._count = instances
        self._warm_up_ticks = int(warm_up_s * TICKS_PER_S)
        self._each_tick = round(instances / RENEW_EVERY_S / TICKS_PER_S)
        self._replaced_every = max(1, round(60 * TICKS_PER_S / (instances * REPLACED_PER_MINUTE)))
        self.requested = 0

    def tick(self, number: int) -> None:
        """Do the actions of clients in this tick."""
        self.instances.renew(self._each_tick)
        self.watchers.read()
        self._ask("GET", "/registrations/app-0/1.0")
        if number % self._replaced_every == 0:
            self.instances.replace_one()
        if number % WATCHER_EVERY == 0:
            self.watchers.replace_oldest()
        if number % POLL_EVERY == 0:
            self._ask("GET", "/status")
            self._ask("GET", random.choice(self._apps))  # noqa: S311 - nothing secret about it
        if number < self._warm_up_ticks:
            self._ask("GET", random.choice(self._apps))  # noqa: S311 - nothing secret about it
            due = (number + 1) * self._count // self._warm_up_ticks - number * self._count // self._warm_up_ticks
            self.instances.replace_next(due)
        if number < 2 * len(self._apps):
            for headers in ("", "Accept-Encoding: gzip\r\n"):
                self.instances.ask(number % 2, self.requests.http("GET", self._apps[number // 2], headers=headers))
        if number % ALL_LISTED_EVERY == 0:
            self._ask("GET", "/registrations")
        if number % BACKEND_EVERY == 0:
            backend = {"app": "app-1", "version": f"1.{number // BACKEND_EVERY % 3}"}
            self._ask("PUT", f"/backends/soak-{number // BACKEND_EVERY % BACKENDS}?force=true", backend)
        if number % STATE_EVERY == 0:
            state = {"state": "drain", "for": STATE_S}
            self._ask("PUT", f"/registrations/{self.instances.sample().path}/state?force=true", state)

    def _ask(self, method: str, path: str, document: object = None, headers: str = "") -> None:
        """Send a request on a new connection to the next of the nodes."""
        self.requested += 1
        node = self.nodes[self.requested % len(self.nodes)]
        with Connection(node.api, node.context) as connection:
            status, body = connection.ask(self.requests.http(method, path, document, headers))
        # An instance may have come a moment ago at another node.
        if status not in (200, 201) and not (status == 404 and path.endswith("/state?force=true")):
            raise SystemExit(f"{method} {path} was answered {status}: {body[:200]!r}")


def soak(load: Load, seconds: float) -> list[list[Sample]]:
    """Run the load for a time, and return the samples of each node."""
    samples: list[list[Sample]] = [[] for _ in load.nodes]
    began, number = time.monotonic(), 0
    while (at_s := time.monotonic() - began) < seconds:
        time.sleep(max(0.0, number / TICKS_PER_S - at_s))
        load.tick(number)
        number += 1
        if number % SAMPLE_EVERY == 0:
            for node, of_node in zip(load.nodes, samples, strict=True):
                of_node.append(look(node, load.requests, time.monotonic() - began))
            print_line(progress(load, samples))
    return samples


def progress(load: Load, samples: Sequence[Sequence[Sample]]) -> str:
    last = [of_node[-1] for of_node in samples]
    figures = [f"{each.rss_bytes / 2**20:.1f} MiB, {each.descriptors} fds, {each.objects:,} objects" for each in last]
    counts = load.instances.counts
    return (
        f"{last[0].at_s:6.0f} s  {'  |  '.join(figures)}  {counts['renewals'] / last[0].at_s:,.0f} renewals/s, "
        f"{counts['replaced']} replaced, {counts['lapsed']} lapsed"
    )


def within(samples: Sequence[Sample], begin_s: float, end_s: float) -> list[Sample]:
    return [each for each in samples if begin_s < each.at_s <= end_s]


def targets_of(samples: Sequence[Sequence[Sample]], seconds: float, renewals_per_s: float, rate: float) -> list[Target]:
    part_s = seconds * PART
    targets = [Target("renewals/s", [renewals_per_s], least=LEAST_OF_RATE * rate)]
    for number, of_node in enumerate(samples, 1):
        early, late = within(of_node, part_s, 2 * part_s), within(of_node, seconds - part_s, seconds + part_s)
        before = mean(each.rss_bytes for each in early)
        percent = (mean(each.rss_bytes for each in late) / before - 1) * 100
        descriptors = mean(each.descriptors for each in late) - mean(each.descriptors for each in early)
        what = f"node {number}, at the end beside after the warm-up"
        targets += [
            Target(f"{what}: memory", [abs(percent)], "%", most=TARGET_PERCENT),
            Target(f"{what}: descriptors", [abs(descriptors)], most=TARGET_DESCRIPTORS),
        ]
    return targets


def print_samples(samples: Sequence[Sequence[Sample]], seconds: float) -> None:
    """Print the means of twelve spans of time."""
    span_s = seconds / 12
    for number, of_node in enumerate(samples, 1):
        rows = []
        for i in range(12):
            some = within(of_node, i * span_s, (i + 1) * span_s)
            if some:
                rows.append(
                    [
                        f"{i * span_s / 60:.1f} to {(i + 1) * span_s / 60:.1f} min",
                        f"{mean(each.rss_bytes for each in some) / 2**20:,.2f}",
                        f"{some[-1].rss_bytes_max / 2**20:,.2f}",
                        f"{min(each.descriptors for each in some)} to {max(each.descriptors for each in some)}",
                        f"{max(each.threads for each in some)}",
                        f"{mean(each.objects for each in some):,.0f}",
                        f"{some[-1].collections:,}",
                        f"{some[-1].counts['registrations']:,}",
                        f"{some[-1].counts['claims']:,}",
                        f"{some[-1].counts['watchers']}",
                    ]
                )
        columns = ["", "MiB", "peak MiB", "descriptors", "threads", "objects", "collections"]
        print_table(f"Node {number}", [*columns, "registrations", "claims", "watchers"], rows)


def token_file(directory: Path) -> tuple[str, Path]:
    """Make a token, and the file of `--tokens` for it."""
    token, file = os.urandom(16).hex(), directory / "tokens.toml"
    file.write_text(f'[[token]]\nname = "soak"\nsha256 = "{sha256(token.encode()).hexdigest()}"\nscopes = ["admin"]\n')
    return token, file


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="(default: %(default)s)")
    parser.add_argument("--instances", type=int, default=20_000, help="(default: %(default)s)")
    parser.add_argument("--tls", action="store_true", help="TLS for clients and peers, and a token")
    options = parser.parse_args()
    seconds, rate = options.minutes * 60, options.instances / RENEW_EVERY_S
    with processes_in_folder() as (place, _):
        tls, token, words = None, None, []
        if options.tls:
            tls = certificates(place)
            token, file = token_file(place)
            words = [f"--tokens={file}"]
        with cluster(2, instrumented=True, options=words, tls=tls) as nodes:
            load = Load(nodes, Requests(token), options.instances, seconds * PART * REPLACED_IN_WARM_UP)
            began = time.monotonic()
            samples = soak(load, seconds)
            renewals_per_s = load.instances.counts["renewals"] / (time.monotonic() - began)
    print_samples(samples, seconds)
    counts = load.instances.counts
    print_line(
        f"{counts['renewals']:,} renewals, {counts['replaced']:,} instances replaced, {counts['lapsed']:,} lapsed, "
        f"{load.watchers.gone:,} watchers came and went ({load.watchers.dropped:,} were dropped) and read "
        f"{load.watchers.received:,} bytes, "
        f"{load.requested:,} other requests on new connections\n"
    )
    turns_ms = {
        f"soak, node {number}": max(each.longest_turn_ms for each in of_node)
        for number, of_node in enumerate(samples, 1)
    }
    figures = {
        "tls": options.tls,
        "minutes": options.minutes,
        "counts": counts,
        "samples": [[asdict(each) for each in of_node] for of_node in samples],
    }
    write("soak", options.json, figures, targets_of(samples, seconds, renewals_per_s, rate), turns_ms)


if __name__ == "__main__":
    main()
