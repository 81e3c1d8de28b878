"""Nodes as processes, and lean clients for them.

A client must not limit a figure: requests are prepared bytes, sent over plain sockets, and an answer is only read as
far as needed to find its end. All processes listen on free ports of 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from tests.twistd_command import environment, listening_options, twistd
from tests.waiting import holds_within

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"

#: Time limit for a process to start or to end.
PATIENCE_S = 30.0

#: Requests that are prepared at a time, so that a million need not be kept.
MADE_AT_ONCE = 10_000

#: A folder in memory on most kinds of Linux; etcd takes some hundred MB of it at once.
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
_MEMORY_BYTES_MIN = 1 << 30

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d)")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")


def cpu_s_of(pid: int) -> float:
    """Return the processor time of all threads of a process since it started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


class Process:
    """A process whose output goes to a file."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._popen = subprocess.Popen(  # noqa: S603 - our own words
                command, stdout=output, stderr=subprocess.STDOUT, env=environment()
            )
        self.pid = self._popen.pid

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if it does not end in time."""
        self._popen.terminate()
        try:
            self._popen.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def require_running(self) -> None:
        if self._popen.poll() is not None:
            raise SystemExit(f"A process ended by itself. Its output:\n{self.log.read_text(errors='replace')}")

    def wait_until_answers(
        self, port: int, request: bytes, apart_s: float, context: ssl.SSLContext | None = None
    ) -> None:
        """Send this request every `apart_s` until the process answers 200, with TLS if there is a context."""

        def answers() -> bool:
            self.require_running()
            try:
                with Connection(port, context) as connection:
                    return connection.ask(request)[0] == 200
            except ConnectionError:
                return False

        if not holds_within(PATIENCE_S, answers, apart_s):
            raise SystemExit(f"A process did not become ready. Its output:\n{self.log.read_text(errors='replace')}")

    @property
    def cpu_s(self) -> float:
        """The processor time of all threads of the process since it started."""
        return cpu_s_of(self.pid)

    @property
    def rss_bytes(self) -> int:
        """The resident memory of the process."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def rss_bytes_max(self) -> int:
        """The peak of the resident memory of the process."""
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert peak, "Linux has it for every running process"
        return int(peak[1]) * 1024


class Node(Process):
    """`twistd bender`. An `instrumented` node reports its turns and bytes on request (see `bench.instrumented`).

    With `tls`, a directory of certificates, clients and peers use TLS.
    """

    def __init__(
        self,
        place: Path,
        peers: Iterable[Node] = (),
        *,
        instrumented: bool = False,
        options: Sequence[str] = (),
        tls: Path | None = None,
    ) -> None:
        self.context = None if tls is None else ssl.create_default_context(cafile=tls / "ca.pem")
        options = [*options, *([] if tls is None else [f"--tls={tls}", f"--peer-tls={tls}"])]
        self.api, self.exchange, self.events = free_ports(3)
        self._figures = place / f"{self.api}.json"
        program = twistd()
        if instrumented:
            program[1:2] = ["-m", "bench.instrumented", str(self._figures)]
        where = listening_options(self.api, self.exchange, self.events)
        command = [*program, "bender", *(f"--{option}={value}" for option, value in where.items())]
        command += [f"--peers={LOOPBACK}:{peer.exchange}" for peer in peers]
        super().__init__([*command, *options], place / f"{self.api}.log")

    def wait_until_ready(self) -> None:
        self.wait_until_answers(self.api, get("/ready"), 0.005, self.context)

    def status(self) -> Any:
        with Connection(self.api, self.context) as connection:
            return json.loads(connection.ask(get("/status"))[1])

    @property
    def registration_count(self) -> int:
        """The number of registrations that the node lists."""
        listed: int = self.status()["counts"]["registrations"]
        return listed

    def take_figures(self) -> Any:
        """Return the figures since the last call."""
        self._figures.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        if not holds_within(PATIENCE_S, self._figures.exists, 0.005):
            raise SystemExit("An instrumented node does not report.")
        return json.loads(self._figures.read_text())

    def longest_turn_ms(self) -> float:
        """Return the longest turn of an instrumented node since the last call, in milliseconds of processor time."""
        return longest_turn_ms(self.take_figures())


def longest_turn_ms(figures: Any) -> float:
    """Return the longest turn in the figures of an instrumented node. Turns of up to 2 ms count as 2 ms."""
    return max(figures["longest_turns_s"], default=0.002) * 1000


@contextmanager
def processes_in_folder() -> Iterator[tuple[Path, list[Process]]]:
    """Yield a folder for files, and a list of processes, which are stopped at the end.

    The folder is in memory if there is room, so that the speed of a disk does not matter.
    """
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES_MIN
    with tempfile.TemporaryDirectory(prefix="bender-bench-", dir=_MEMORY if roomy else None) as folder:
        processes: list[Process] = []
        try:
            yield Path(folder), processes
        finally:
            for process in reversed(processes):
                process.stop()


@contextmanager
def cluster(
    size: int, *, instrumented: bool = False, options: Sequence[str] = (), tls: Path | None = None
) -> Iterator[list[Node]]:
    """Yield ready nodes, each of which has the nodes started before it as peers."""
    with processes_in_folder() as (place, processes):
        nodes: list[Node] = []
        for _ in range(size):
            node = Node(place, nodes, instrumented=instrumented, options=options, tls=tls)
            nodes.append(node)
            processes.append(node)
        for node in nodes:
            node.wait_until_ready()
        yield nodes


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, outside of the range from which the system takes ports for connections."""
    given_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(10_000, given_from)  # noqa: S311 - nothing secret about it
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            ports += [port] if port not in ports else []
    return ports


def connect(port: int, context: ssl.SSLContext | None = None) -> socket.socket:
    """Return a connection to a port of this machine, with TLS if there is a context."""
    plain = socket.create_connection((LOOPBACK, port), PATIENCE_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain if context is None else context.wrap_socket(plain, server_hostname=LOOPBACK)


class Connection:
    """A kept-alive HTTP connection. Answers have a Content-Length, or come in chunks, or have no body."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.socket = connect(port, context)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes]:
        """Return the status and the body of the next answer."""
        status, pieces = self.begin()
        return status, b"".join(pieces)

    def begin(self) -> tuple[int, Iterator[bytes]]:
        """Return the status of the next answer, and an iterator of the pieces of its body, which must be exhausted."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            self._read()
        head, self._received = self._received[:end], self._received[end + 4 :]
        status, length = _STATUS.match(head), _LENGTH.search(head)
        if status is None:
            raise SystemExit(f"This is not an answer: {head!r}")
        if length is None and _CHUNKED.search(head):
            return int(status[1]), self._chunks()
        return int(status[1]), self._bytes(int(length[1]) if length else 0)

    def _bytes(self, count: int) -> Iterator[bytes]:
        while count:
            if not self._received:
                self._read()
            piece, self._received = self._received[:count], self._received[count:]
            count -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        size = -1
        while size:
            while (end := self._received.find(b"\r\n")) < 0:
                self._read()
            size = int(self._received[:end], 16)
            self._received = self._received[end + 2 :]
            yield from self._bytes(size)
            if b"".join(self._bytes(2)) != b"\r\n":
                raise SystemExit("A chunk of an answer has another length than it states.")

    def _read(self) -> None:
        read = self.socket.recv(1 << 18)
        if not read:
            raise ConnectionResetError("the node closed the connection")
        self._received += read

    def ask(self, request: bytes) -> tuple[int, bytes]:
        self.send(request)
        return self.receive()

    def ask_all(self, requests: Sequence[bytes], at_once: int = 16) -> None:
        """Send all requests, some of them at a time; each must succeed."""
        for i in range(len(requests) + at_once):
            if i < len(requests):
                self.send(requests[i])
            if i >= at_once:
                status, body = self.receive()
                if status not in (200, 201):
                    raise SystemExit(f"A request was answered {status}: {body!r}")


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def delete(path: str) -> bytes:
    return f"DELETE {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def post(path: str, body: object = None) -> bytes:
    document = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(document)}\r\n"
    if document:
        head += "Content-Type: application/json\r\n"
    return head.encode() + b"\r\n" + document


def instance(number: int) -> tuple[str, str, str, int]:
    """Return app, version, host and port of an instance; there are 50 on each host, and 100 of each app."""
    host = number // 50
    return f"app-{number // 100}", "1.2.0", f"10.{host >> 16}.{host >> 8 & 255}.{host & 255}", 8000 + number % 50


def id_of(number: int) -> str:
    return "registration/" + "/".join(map(str, instance(number)))


def path_of(number: int) -> str:
    return "/registrations/" + "/".join(map(str, instance(number)))


def register_request(number: int, ttl_s: float | None = None) -> bytes:
    """Return the request that registers an instance."""
    app, version, host, port = instance(number)
    wanted = {"app": app, "version": version, "host": host, "port": port, "meta": {"zone": "a"}}
    return post("/registrations", wanted if ttl_s is None else {**wanted, "ttl": ttl_s})


def weight_request(number: int, weight: int) -> bytes:
    """Return the request that registers an instance with a weight, or changes its weight."""
    app, version, host, port = instance(number)
    requested = {"app": app, "version": version, "host": host, "port": port, "ttl": 3600, "weight": weight}
    return post("/registrations", requested)


def renew_request(numbers: Iterable[int]) -> bytes:
    """Return the request that renews these instances."""
    return post("/renewals", {"ids": [id_of(number) for number in numbers]})


def fill(node: Node, count: int, *, first: int = 0, ttl_s: float = 3600.0) -> float:
    """Register instances with a long ttl at a node; return the seconds of the requests."""
    took_s = 0.0
    with Connection(node.api) as connection:
        for begin in range(first, first + count, MADE_AT_ONCE):
            requests = [
                register_request(number, ttl_s) for number in range(begin, min(begin + MADE_AT_ONCE, first + count))
            ]
            began = time.monotonic()
            connection.ask_all(requests)
            took_s += time.monotonic() - began
    return took_s


def wait_for_copies(node: Node, count: int) -> None:
    """Wait until a node lists this number of registrations."""
    if not holds_within(2 * PATIENCE_S, lambda: node.registration_count == count, 0.2):
        raise SystemExit(
            f"A node lists {node.registration_count} registrations and not the {count} that were made elsewhere."
        )
