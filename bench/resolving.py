"""How many DNS queries a node answers per second, beside NSD, a name server that does nothing else.

dnsperf sends queries over UDP, up to a hundred at a time, as HAProxy does: for the services of 20 apps with 10
instances each, and for the addresses of each host. NSD has the same records in a file, and one process. The two take
turns several times. A second load has services alone, and a third one sends an option with each query, as clients with
cookies do, so that no answer is one that was kept. In runs of their own, renewals are timed meanwhile, and the longest
turn of the node.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

from bench.figures import Target, arguments, percentile, print_table, spread, write
from bench.nodes import LOOPBACK, Connection, Node, Process, cluster, cpu_s_of, free_ports, post, processes_in_folder
from bench.peers import set_up
from tests.waiting import holds_within

APPS, MEMBERS = 20, 10

TARGET_PER_S = 20_000.0

#: A renewal may wait this long while queries come as fast as they are answered.
TARGET_RENEWAL_P99_MS = 20.0

#: Pauses between two renewals.
RENEWALS_APART_S = 0.01

#: The request that is timed.
RENEWAL = post("/renewals", {"ids": ["registration/app-7/1.2.0/10.1.7.7/8007"]})

#: An option of EDNS that means nothing.
OPTION = "65001:00"


@frozen
class DnsLoad:
    """The results of dnsperf: queries answered per second, lost ones, and the mean time of an answer.

    `cpu_us` is the processor time of the server for each query, which other programs on the machine do not change.
    """

    per_s: float
    cpu_us: float
    lost: int
    mean_ms: float
    answer_bytes: int


def instances(app: int) -> list[tuple[str, int]]:
    """Return the hosts and ports of the instances of an app."""
    return [(f"10.1.{app}.{number}", 8000 + number) for number in range(MEMBERS)]


def register(node: Node) -> None:
    """Register all instances at a node."""
    wanted = [
        {"app": f"app-{app}", "version": "1.2.0", "host": host, "port": port, "ttl": 3600}
        for app in range(APPS)
        for host, port in instances(app)
    ]
    with Connection(node.api) as connection:
        connection.ask_all([post("/registrations", each) for each in wanted])


def queries(kind: str) -> list[str]:
    """Return the lines of a file for dnsperf."""
    lines = []
    for app in range(APPS):
        lines.append(f"_app-{app}._tcp.app.bender. SRV")
        if kind == "services":
            continue
        for host, _ in instances(app):
            lines += [f"{_target(host)} AAAA", f"{_target(host)} A"]
        lines.append(f"app-{app}.app.bender. A")
    return lines


def _target(host: str) -> str:
    return "".join(f"{int(part):02x}" for part in host.split(".")) + ".addr.bender."


def zone() -> str:
    """Return the records of all instances as a zone file."""
    lines = ["$ORIGIN bender.", "$TTL 0", "@ SOA ns hostmaster 1 3600 600 86400 1", "@ NS ns", "ns A 127.0.0.1"]
    for app in range(APPS):
        for host, port in instances(app):
            lines += [f"_app-{app}._tcp.app SRV 0 256 {port} {_target(host)}", f"app-{app}.app A {host}"]
            lines += [f"{_target(host)} 3600 A {host}"]
    return "\n".join([*lines, ""])


def nsd(place: Path) -> tuple[Process, int]:
    """Return NSD with one process, and its port."""
    (port,) = free_ports(1)
    (place / "bender.zone").write_text(zone())
    (place / "nsd.conf").write_text(
        f"""server:
    ip-address: {LOOPBACK}@{port}
    server-count: 1
    username: ""
    chroot: ""
    zonesdir: "{place}"
    database: ""
    pidfile: "{place}/nsd.pid"
    zonelistfile: "{place}/zone.list"
    xfrdfile: "{place}/xfrd.state"
    round-robin: yes
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: bender.
    zonefile: {place}/bender.zone
"""
    )
    command = ["env", _libraries(), str(set_up("dns") / "usr/sbin/nsd"), "-d", "-c", str(place / "nsd.conf")]
    return Process(command, place / "nsd.log"), port


def _libraries() -> str:
    return "LD_LIBRARY_PATH=" + ":".join(str(path) for path in set_up("dns").glob("usr/lib/*-linux-*"))


def load(server: Process, port: int, place: Path, kind: str, seconds: int, *words: str) -> DnsLoad:
    """Send queries for a number of seconds. Ends the measurement if one is lost, or fails."""
    file = place / f"{kind}.queries"
    file.write_text("\n".join(queries(kind)) + "\n")
    command = ["env", _libraries(), str(set_up("dns") / "usr/bin/dnsperf"), "-s", LOOPBACK, "-p", str(port), "-e"]
    command += ["-d", str(file), "-l", str(seconds), "-c", "4", *words]
    cpu_s = _cpu_s(server)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own words
    cpu_s = _cpu_s(server) - cpu_s
    figures = DnsLoad(
        per_s=_number(output, r"Queries per second:\s+([0-9.]+)"),
        cpu_us=cpu_s / _number(output, r"Queries completed:\s+([0-9]+)") * 1e6,
        lost=int(_number(output, r"Queries lost:\s+([0-9]+)")),
        mean_ms=_number(output, r"Average Latency \(s\):\s+([0-9.]+)") * 1000,
        answer_bytes=int(_number(output, r"Average packet size:\s+request [0-9]+, response ([0-9]+)")),
    )
    if figures.lost or re.search(r"Response codes:\s+NOERROR [0-9]+ \(100.00%\)", output) is None:
        raise SystemExit(f"Not all queries were answered well:\n{output}")
    return figures


def _cpu_s(server: Process) -> float:
    """Return the processor time of a server and its child processes, which answer for NSD."""
    below = [server.pid]
    for pid in below:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        below += [int(child) for child in children.split()]
    return sum(cpu_s_of(pid) for pid in below)


def _number(output: str, pattern: str) -> float:
    found = re.search(pattern, output)
    if found is None:
        raise SystemExit(f"dnsperf has not printed {pattern!r}:\n{output}")
    return float(found[1])


def measure(seconds: int, repetitions: int) -> dict[str, list[DnsLoad]]:
    """Return the runs of each."""
    runs: dict[str, list[DnsLoad]] = {}
    (dns,) = free_ports(1)
    with cluster(1, options=[f"--dns={dns}"]) as (node,), processes_in_folder() as (place, processes):
        register(node)
        server, port = nsd(place)
        processes.append(server)
        if not holds_within(30, partial(_answers, server, port, place), 0.1):
            raise SystemExit(f"NSD does not answer:\n{server.log.read_text()}")
        for _ in range(repetitions):
            for kind in ("as HAProxy", "services"):
                runs.setdefault(f"bender, {kind}", []).append(load(node, dns, place, kind, seconds))
                runs.setdefault(f"NSD, {kind}", []).append(load(server, port, place, kind, seconds))
            runs.setdefault("bender, with an option", []).append(
                load(node, dns, place, "as HAProxy", seconds, "-E", OPTION)
            )
        dropped = node.status()["since_start"]["dns_dropped"]
        if dropped:
            raise SystemExit(f"The node has dropped {dropped} queries.")
    return runs


def _answers(server: Process, port: int, place: Path) -> bool:
    try:
        load(server, port, place, "services", 1, "-n", "1", "-t", "1")
    except SystemExit:
        return False
    return True


def renewals_meanwhile(seconds: int) -> list[float]:
    """Return the times of renewals in milliseconds while queries come as fast as they are answered."""
    (dns,) = free_ports(1)
    with cluster(1, options=[f"--dns={dns}"]) as (node,), processes_in_folder() as (place, _):
        register(node)
        thread = threading.Thread(target=load, args=(node, dns, place, "as HAProxy", seconds))
        thread.start()
        return _renew(node, thread)


def _renew(node: Node, thread: threading.Thread) -> list[float]:
    took_ms = []
    with Connection(node.api) as connection:
        while thread.is_alive():
            began = time.perf_counter()
            status, body = connection.ask(RENEWAL)
            took_ms.append((time.perf_counter() - began) * 1000)
            if status != 200:
                raise SystemExit(f"A renewal was answered {status}: {body!r}")
            time.sleep(RENEWALS_APART_S)
    return took_ms


def longest_turn_ms(seconds: int) -> float:
    """Return the longest turn of a node, in a run of its own."""
    (dns,) = free_ports(1)
    with cluster(1, instrumented=True, options=[f"--dns={dns}"]) as (node,), processes_in_folder() as (place, _):
        register(node)
        node.take_figures()
        load(node, dns, place, "as HAProxy", seconds)
        return node.longest_turn_ms()


def print_runs(title: str, runs: dict[str, list[DnsLoad]]) -> None:
    rows = [
        (
            name,
            spread(_per_s(each), 0),
            spread([run.cpu_us for run in each], 1),
            spread([run.mean_ms for run in each]),
            f"{each[0].answer_bytes:,}",
        )
        for name, each in runs.items()
    ]
    print_table(title, ["", "queries/s", "CPU µs each", "mean ms", "bytes"], rows)


def _per_s(runs: Sequence[DnsLoad]) -> list[float]:
    return [run.per_s for run in runs]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="length of one run (default: %(default)s)")
    options = parser.parse_args()
    runs = measure(options.seconds, options.repetitions)
    title = f"DNS over UDP, {APPS} apps with {MEMBERS} instances, runs of {options.seconds} s"
    print_runs(title, runs)
    took_ms = renewals_meanwhile(options.seconds)
    p99_ms = percentile(took_ms, 99)
    ratios = [
        ours / theirs
        for ours, theirs in zip(*(_per_s(runs[f"{who}, as HAProxy"]) for who in ("bender", "NSD")), strict=True)
    ]
    targets = [
        Target("DNS queries/s, as HAProxy asks", _per_s(runs["bender, as HAProxy"]), least=TARGET_PER_S),
        Target("DNS queries/s, services", _per_s(runs["bender, services"]), least=TARGET_PER_S),
        Target("a renewal while queries come as fast as answered: p99", [p99_ms], "ms", most=TARGET_RENEWAL_P99_MS),
    ]
    turns_ms = {"answering DNS queries": longest_turn_ms(options.seconds)}
    figures = {"seconds": options.seconds, "runs": runs, "times_nsd": ratios, "renewals_ms": took_ms}
    write("resolving", options.json, figures, targets, turns_ms)


if __name__ == "__main__":
    main()
