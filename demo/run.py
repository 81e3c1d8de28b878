"""`make run`: a few nodes on this machine with a registration that is kept alive, to look at and to try things with.

All processes are of one group, that of the terminal: Ctrl-C reaches each of them, and so does its end. On SIGTERM the
nodes are ended from here. Where one cannot start the others end too; once all are ready any may be killed, to see that
nothing comes of it, and started again by hand: for each there are `.run/PORT.toml`, its configuration, `.run/PORT.pid`
and `.run/PORT.log`.
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

ROOT = Path(__file__).parents[1]
FILES = ROOT / ".run"

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
    """No node can be started, or none is left."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, choices=range(1, 10), default=3, metavar="1-9")
    ports = [API_PORT + PORTS_APART * i for i in range(parser.parse_args().nodes)]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    nodes: dict[int, Node] = {}
    try:
        refuse_what_is_taken(ports)
        FILES.mkdir(exist_ok=True)
        for port in ports:
            nodes[port] = start(port, [peer for peer in ports if peer != port])
        wait_until_ready(nodes)
        print(welcome(nodes), flush=True)
        keep_alive(nodes)
    except Ended as ended:
        print(ended, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        end(nodes.values())
    return 0


def end(nodes: Collection[Node]) -> None:
    """Let all leave, and wait for them. After Ctrl-C they do so already, and being told again changes nothing."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for node in nodes:
        node.terminate()
    for node in nodes:
        try:
            node.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            node.kill()


def refuse_what_is_taken(ports: list[int]) -> None:
    """Before anything is started or written: what runs already, and its logs, are to be left alone."""
    for port in [first + i for first in ports for i in range(3)]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise Ended(
                    f"Port {port} of 127.0.0.1 cannot be had ({error.strerror}): is this running already?"
                ) from None


def start(port: int, others: list[int]) -> Node:
    """A node whose API is at this port, with its log in a file. Its last words go to the terminal."""
    file_of(port, "toml").write_text(configuration(port, others), "utf-8")
    file_of(port, "pid").unlink(missing_ok=True)  # that of one which was killed
    twistd = Path(sys.executable).with_name("twistd")
    options = [f"--pidfile={file_of(port, 'pid')}", "bender", f"--config={file_of(port, 'toml')}"]
    with file_of(port, "log").open("wb") as log:
        return subprocess.Popen([twistd, "--nodaemon", *options], stdout=log)


def configuration(port: int, others: list[int]) -> str:
    return f"""\
name = "n{(port - API_PORT) // PORTS_APART + 1}"
api = "tcp:{port}:interface=127.0.0.1"
exchange = "tcp:{port + 1}:interface=127.0.0.1"
events = "tcp:{port + 2}:interface=127.0.0.1"
peers = [{", ".join(f'"127.0.0.1:{other + 1}"' for other in others)}]
"""


def wait_until_ready(nodes: dict[int, Node]) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    for port, node in nodes.items():
        while not answers("GET", f"http://127.0.0.1:{port}/ready"):
            if node.poll() is not None or time.monotonic() > ends_at:
                raise Ended(f"The node at port {port} does not get ready: its log is {file_of(port, 'log')}.")
            time.sleep(LOOK_S)


def keep_alive(nodes: dict[int, Node]) -> None:
    """Renew the sample at each node in turn, for as long as there is one, be it one that was started again by hand."""
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
                raise Ended("No node is left.")
            time.sleep(LOOK_S)


def file_of(port: int, kind: str) -> Path:
    """One of a node's files: `toml`, `pid` or `log`."""
    return from_here(FILES / f"{port}.{kind}")


def from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def answers(method: str, url: str) -> bool:
    """Whether a request was answered well."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5):
            return True
    except OSError:  # also what is no success
        return False


def welcome(nodes: dict[int, Node]) -> str:
    first, last = min(nodes), max(nodes)
    running = "\n".join(
        f"  http://127.0.0.1:{port}   events at port {port + 2}   process {node.pid}   log {file_of(port, 'log')}"
        for port, node in nodes.items()
    )
    several = f"""
Kill one of the nodes, and see that what is kept alive does not go offline anywhere:

  kill -9 {nodes[first].pid}
"""
    return f"""
bender runs here until Ctrl-C, {len(nodes)} node{"s" if len(nodes) > 1 else ""} of it:

{running}

Try it in other terminals, each of which has to be told where the command line and the nodes are:

  . {from_here(Path(sys.executable).with_name("activate"))}
  export BENDER_NODES={",".join(f"127.0.0.1:{port}" for port in nodes)}

What is registered (one sample is kept alive from here), how the nodes are, and, line by line, what changes:

  bender ls
  bender status
  bender watch

Run something that is registered while it serves, until Ctrl-C; and ask why it is listed:

  bender run --app web --version 1 --port 8000 -- python3 -m http.server 8000
  bender explain web/1/127.0.0.1/8000

The same without the command line. What is registered once goes offline ten seconds after its last POST or PUT:

  curl -X POST http://127.0.0.1:{first}/registrations/web/1.2.0/10.0.0.5/8080
  curl http://127.0.0.1:{last}/registrations/web
  curl -N -H 'Accept: text/event-stream' 'http://127.0.0.1:{last}/events?snapshot=1'
  nc 127.0.0.1 {last + 2}
  curl -X DELETE http://127.0.0.1:{last}/registrations/web/1.2.0/10.0.0.5/8080
{several if len(nodes) > 1 else ""}"""


if __name__ == "__main__":
    sys.exit(main())
