"""`make run`: a few nodes on this machine, with a sample registration that this process renews, for trying bender.

All processes are in the process group of the terminal, so Ctrl-C and the end of the terminal end each of them. On
SIGTERM this process ends the nodes. If a node cannot start, the others end too. When all are ready, you can kill a
node, to see that no registration is lost, and start it again by hand: each node has `.run/PORT.toml` (its
configuration), `.run/PORT.pid` and `.run/PORT.log`.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Collection
from pathlib import Path

from tests.twistd_command import ROOT, listening_options, twistd

FILES = ROOT / ".run"

#: The API ports of nodes are 1729, 1739 and so on; the exchange and the events have the next two ports.
API_PORT = 1729
PORTS_APART = 10

#: The sample registration. It is renewed three times in a ttl, so that one renewal may fail.
SAMPLE = "registrations/hello/1.0.0/127.0.0.1/8080"
RENEW_S = 3.0

#: Time limit for a node to start, and to end.
PATIENCE_S = 20.0
POLL_S = 0.1


Node = subprocess.Popen[bytes]


class NodesEnded(Exception):
    """A node cannot be started, or no node runs any more."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, choices=range(1, 10), default=3, metavar="1-9")
    ports = [API_PORT + PORTS_APART * i for i in range(parser.parse_args().nodes)]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    nodes: dict[int, Node] = {}
    try:
        refuse_used_ports(ports)
        FILES.mkdir(exist_ok=True)
        for port in ports:
            nodes[port] = start(port, [peer for peer in ports if peer != port])
        wait_until_ready(nodes)
        print(welcome_text(nodes), flush=True)
        keep_sample_alive(nodes)
    except NodesEnded as ended:
        print(ended, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        end(nodes.values())
    return 0


def end(nodes: Collection[Node]) -> None:
    """End all nodes and wait for them. A second signal has no effect on nodes that end already because of Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for node in nodes:
        node.terminate()
    for node in nodes:
        try:
            node.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            node.kill()


def refuse_used_ports(ports: list[int]) -> None:
    """Raise `NodesEnded` if a port is in use. This comes first, so that running nodes and their logs stay unchanged."""
    for port in [first + i for first in ports for i in range(3)]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise NodesEnded(
                    f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}): end the program that uses it, "
                    "which may be another `make run`."
                ) from None


def start(port: int, others: list[int]) -> Node:
    """Start a node with its API at this port, and its log in a file. Errors at its start go to the terminal."""
    file_of(port, "toml").write_text(configuration(port, others), "utf-8")
    file_of(port, "pid").unlink(missing_ok=True)  # left by a node that was killed
    options = [f"--pidfile={file_of(port, 'pid')}", "bender", f"--config={file_of(port, 'toml')}"]
    with file_of(port, "log").open("wb") as log:
        return subprocess.Popen([*twistd(), *options], stdout=log)


def configuration(port: int, others: list[int]) -> str:
    peers = ", ".join(f'"127.0.0.1:{other + 1}"' for other in others)
    options = {"name": f"n{(port - API_PORT) // PORTS_APART + 1}", **listening_options(port, port + 1, port + 2)}
    return "".join(f'{option} = "{value}"\n' for option, value in options.items()) + f"peers = [{peers}]\n"


def wait_until_ready(nodes: dict[int, Node]) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    for port, node in nodes.items():
        while not answers("GET", f"http://127.0.0.1:{port}/ready"):
            if node.poll() is not None or time.monotonic() > ends_at:
                raise NodesEnded(f"The node at port {port} does not become ready: see its log {file_of(port, 'log')}.")
            time.sleep(POLL_S)


def keep_sample_alive(nodes: dict[int, Node]) -> None:
    """Renew the sample at each node in turn until no node runs. Nodes that were started again by hand count too."""
    ports = [*nodes]
    running = {*ports}
    for i in itertools.count():
        any(answers("POST", f"http://127.0.0.1:{ports[(i + j) % len(ports)]}/{SAMPLE}") for j in range(len(ports)))
        ends_at = time.monotonic() + RENEW_S
        while time.monotonic() < ends_at:
            for port in [port for port in running if nodes[port].poll() is not None]:
                running.remove(port)
                print(f"The node at port {port} has ended; its log is {file_of(port, 'log')}.", flush=True)
            if not running and not any(answers("GET", f"http://127.0.0.1:{port}/status") for port in ports):
                raise NodesEnded("No node is left.")
            time.sleep(POLL_S)


def file_of(port: int, kind: str) -> Path:
    """Return one of a node's files: `toml`, `pid` or `log`."""
    return from_here(FILES / f"{port}.{kind}")


def from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def answers(method: str, url: str) -> bool:
    """Return True if a request succeeds."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5):
            return True
    except OSError:  # also for error statuses
        return False


def welcome_text(nodes: dict[int, Node]) -> str:
    first, last = min(nodes), max(nodes)
    running = "\n".join(
        f"  http://127.0.0.1:{port}   events at port {port + 2}   process {node.pid}   log {file_of(port, 'log')}"
        for port, node in nodes.items()
    )
    several = f"""
Kill one of the nodes, and see that the sample does not go offline at any other:

  kill -9 {nodes[first].pid}
"""
    return f"""
{len(nodes)} node{"s" if len(nodes) > 1 else ""} of bender run{"" if len(nodes) > 1 else "s"} here until Ctrl-C:

{running}

Open any of them in a browser to see what it lists, live.

To try it in another terminal, set up the command line and the nodes there first:

  . {from_here(Path(sys.executable).with_name("activate"))}
  export BENDER_NODES={",".join(f"127.0.0.1:{port}" for port in nodes)}

List registrations (one sample is kept alive from here), show the state of the nodes, and follow changes:

  bender ls
  bender status
  bender watch

Run a server that is registered while it serves, until Ctrl-C; and show why it is listed:

  bender run --app web --version 1 --port 8000 -- python3 -m http.server 8000
  bender explain web/1/127.0.0.1/8000

The same without the command line. A registration goes offline ten seconds after its last POST or PUT:

  curl -X POST http://127.0.0.1:{first}/registrations/web/1.2.0/10.0.0.5/8080
  curl http://127.0.0.1:{last}/registrations/web
  curl -N -H 'Accept: text/event-stream' 'http://127.0.0.1:{last}/events?snapshot=1'
  nc 127.0.0.1 {last + 2}
  curl -X DELETE http://127.0.0.1:{last}/registrations/web/1.2.0/10.0.0.5/8080
{several if len(nodes) > 1 else ""}"""


if __name__ == "__main__":
    sys.exit(main())
