"""`make run`: a few nodes on this machine with a registration that is kept alive, to look at and to try things with.

All processes are of one group, that of the terminal: Ctrl-C reaches each of them. On SIGTERM the nodes are ended from
here. Where one cannot start, or ends by itself, the others end too.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOGS = ROOT / ".run"

#: Nodes are this far apart: 1729, 1739 and so on for the API, the exchange and the events next to it.
API_PORT = 1729
PORTS_APART = 10

#: The sample. A third of its time to live between two signs of life, so that it may miss one.
SAMPLE = "registrations/hello/1.0.0/127.0.0.1/8080"
RENEW_S = 3.0

#: What a node may take to start, and to leave.
PATIENCE_S = 20.0
LOOK_S = 0.1


Node = subprocess.Popen[bytes]


class Ended(Exception):
    """A node has ended by itself, or the time for its start is over."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, choices=range(1, 10), default=3, metavar="1-9")
    ports = [API_PORT + PORTS_APART * i for i in range(parser.parse_args().nodes)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    LOGS.mkdir(exist_ok=True)
    nodes: list[Node] = []
    try:
        for port in ports:
            nodes.append(start(port, [peer for peer in ports if peer != port]))
        wait_until_ready(nodes, ports)
        print(welcome(ports), flush=True)
        keep_alive(nodes, ports)
    except Ended as ended:
        print(ended, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        end(nodes)
    return 0


def end(nodes: list[Node]) -> None:
    """Let all leave, and wait for them. After Ctrl-C they do so already, and being told again changes nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for node in nodes:
        node.terminate()
    for node in nodes:
        try:
            node.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            node.kill()


def start(port: int, others: list[int]) -> Node:
    """A node whose API is at this port, with its log in a file. Its last words go to the terminal."""
    options = [
        f"--api=tcp:{port}:interface=127.0.0.1",
        f"--exchange=tcp:{port + 1}:interface=127.0.0.1",
        f"--events=tcp:{port + 2}:interface=127.0.0.1",
        f"--name=n{(port - API_PORT) // PORTS_APART + 1}",
        *(f"--peers=127.0.0.1:{other + 1}" for other in others),
    ]
    twistd = Path(sys.executable).with_name("twistd")
    with (LOGS / f"{port}.log").open("wb") as log:
        return subprocess.Popen([twistd, "--nodaemon", "--pidfile=", "bender", *options], stdout=log)


def wait_until_ready(nodes: list[Node], ports: list[int]) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    for port in ports:
        while not answers("GET", f"http://127.0.0.1:{port}/ready"):
            check(nodes, ports)
            if time.monotonic() > ends_at:
                raise Ended(f"The node at port {port} does not get ready: its log is {LOGS / str(port)}.log.")
            time.sleep(LOOK_S)


def keep_alive(nodes: list[Node], ports: list[int]) -> None:
    """Renew the sample at each node in turn, for ever."""
    while True:
        for port in ports:
            answers("POST", f"http://127.0.0.1:{port}/{SAMPLE}")
            ends_at = time.monotonic() + RENEW_S
            while time.monotonic() < ends_at:
                check(nodes, ports)
                time.sleep(LOOK_S)


def check(nodes: list[Node], ports: list[int]) -> None:
    for node, port in zip(nodes, ports, strict=True):
        if node.poll() is not None:
            raise Ended(f"The node at port {port} has ended, so the others end too; its log is {LOGS / str(port)}.log.")


def answers(method: str, url: str) -> bool:
    """Whether a request was answered well."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5):
            return True
    except OSError:  # also what is no success
        return False


def welcome(ports: list[int]) -> str:
    first, last = ports[0], ports[-1]
    apis = ", ".join(f"http://127.0.0.1:{port}" for port in ports)
    return f"""
bender runs here, {len(ports)} node{"s" if len(ports) > 1 else ""} of it: {apis}
Logs are in {LOGS.relative_to(Path.cwd()) if LOGS.is_relative_to(Path.cwd()) else LOGS}, and Ctrl-C ends all.

One sample registration is kept alive already. Look at it, and at the nodes:

  curl http://127.0.0.1:{first}/registrations
  curl http://127.0.0.1:{last}/status

Register an instance of your own, and see it on every node; it goes offline ten seconds after its last POST or PUT:

  curl -X POST http://127.0.0.1:{first}/registrations/web/1.2.0/10.0.0.5/8080
  curl http://127.0.0.1:{last}/registrations/web
  curl -X DELETE http://127.0.0.1:{last}/registrations/web/1.2.0/10.0.0.5/8080

Watch all of it as it happens, a line for each change:

  nc 127.0.0.1 {last + 2}
  curl -N -H 'Accept: text/event-stream' 'http://127.0.0.1:{last}/events?snapshot=1'
"""


if __name__ == "__main__":
    sys.exit(main())
