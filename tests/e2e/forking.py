"""Commands of this checkout, forked off a process that has imported all of it: each starts in hundredths of a second.

A fresh Python that imports `bender` or Twisted takes a third of a second of processor time or more, for each of a
thousand processes. A forked process has its own descriptors, signals and exit status, like any other. Tests of Python's
own start (the locale, its options, the console script) need a fresh process.
"""

from __future__ import annotations

import functools
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

from attrs import define

ROOT = Path(__file__).parents[2]

#: The time limit of a process that hangs, also on a slow and busy machine.
WITHIN_S = 60.0

Stream = int | IO[Any] | None


@define
class Ended:
    """The result of a command."""

    status: int
    stdout: str
    stderr: str


class Forked:
    """A command that was forked. It has the methods of `subprocess.Popen` that tests use, with the same effect.

    `stdout` and `stderr` are set if `subprocess.PIPE` was given for them.
    """

    def __init__(self, report: socket.socket, pipes: Mapping[str, IO[Any]]) -> None:
        self.stdin, self.stdout, self.stderr = (pipes.get(name) for name in ("stdin", "stdout", "stderr"))
        self.returncode: int | None = None
        self._report = report
        self._received = b""
        pid = self._line(WITHIN_S)
        assert pid is not None, "nothing was forked"
        self.pid = pid

    def _line(self, within_s: float | None) -> int | None:
        """Return the next reported number; None if there is none within this time."""
        ends_at = None if within_s is None else time.monotonic() + within_s
        while b"\n" not in self._received:
            left = None if ends_at is None else max(0.0, ends_at - time.monotonic())
            if not select.select([self._report], [], [], left)[0]:
                return None
            piece = self._report.recv(4096)
            assert piece, "the process from which commands are forked has ended"
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        return int(line)

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._line(timeout)
            if self.returncode is None:
                raise subprocess.TimeoutExpired("a forked command", timeout or 0)
            self._report.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since, as with `subprocess.Popen`
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()
        self.wait()

    def communicate(self, timeout: float = WITHIN_S) -> tuple[Any, Any]:
        """Read both pipes to their ends, and wait for the process to end."""
        ends_at = time.monotonic() + timeout
        pieces: dict[IO[Any], bytes] = {pipe: b"" for pipe in (self.stdout, self.stderr) if pipe is not None}
        with selectors.DefaultSelector() as selector:
            for pipe in pieces:
                selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, ends_at - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired("a forked command", timeout)
                for key, _ in ready:
                    pipe = next(pipe for pipe in pieces if pipe is key.fileobj)
                    piece = os.read(key.fd, 65_536)
                    pieces[pipe] += piece
                    if not piece:
                        selector.unregister(pipe)
        self.wait(max(0.0, ends_at - time.monotonic()))
        read = {pipe: _as_text(pipe, piece) for pipe, piece in pieces.items()}
        return tuple(None if pipe is None else read[pipe] for pipe in (self.stdout, self.stderr))  # type: ignore[return-value]


def _as_text(pipe: IO[Any], piece: bytes) -> Any:
    encoding = getattr(pipe, "encoding", None)
    return piece if encoding is None else piece.decode(encoding)


class Forks:
    """Forks commands of this checkout. The process from which they are forked starts on demand."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def __call__(self, arguments: Sequence[str], variables: Mapping[str, str], within_s: float = WITHIN_S) -> Ended:
        """Run `bender` with these variables as its environment; it has to end within this time."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            forked = self.start("bender", arguments, variables, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            try:
                forked.wait(within_s)
            except subprocess.TimeoutExpired:
                forked.kill()
                forked.wait(WITHIN_S)
                raise AssertionError(f"{arguments} takes longer than {within_s} s") from None
            return Ended(forked.wait(), *(_read(file) for file in (out, err)))

    def start(
        self,
        command: str,
        arguments: Sequence[str],
        env: Mapping[str, str],
        *,
        cwd: Path | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        text: bool = False,
    ) -> Forked:
        """Start `bender` or `twistd` with `env` as its environment; the rest is as for `Popen`."""
        wanted = {
            "command": command,
            "arguments": [str(argument) for argument in arguments],
            "variables": dict(env),
            "folder": str(cwd or Path.cwd()),
        }
        given = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
        pipes: dict[str, IO[Any]] = {}
        with ExitStack() as theirs, _file(wanted) as request:
            report, reports = socket.socketpair()
            theirs.enter_context(reports)
            streams = [theirs.enter_context(_end(name, given, pipes, text=text)) for name in given]
            socket.send_fds(self._started(), [b"x"], [request, *streams, reports.fileno()])
        return Forked(report, pipes)

    def _started(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair()
            variables = {**os.environ, "PYTHONPATH": str(ROOT)}
            variables.pop("PYTHONUNBUFFERED", None)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, str(Path(__file__).with_name("preloaded.py")), str(theirs.fileno())],
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        return self._control

    def end(self) -> None:
        """End the process, and all commands that still run."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait(WITHIN_S)
        self._control = self._process = None


@functools.cache
def forks() -> Forks:
    """Return the `Forks` of this process, which all tests share."""
    return Forks()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "surrogateescape")


@contextmanager
def _file(content: Any) -> Iterator[int]:
    """Yield the descriptor of a file that has this as JSON."""
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(content).encode())
        file.seek(0)
        yield file.fileno()


@contextmanager
def _end(name: str, given: Mapping[str, Stream], pipes: dict[str, IO[Any]], *, text: bool) -> Iterator[int]:
    """Yield the descriptor of a stream for a command; our end of a new pipe is added to `pipes`."""
    stream = given[name]
    if stream == subprocess.STDOUT:
        stream = given["stdout"]
        assert stream != subprocess.PIPE, "two descriptors of one pipe are not provided for"
    if stream == subprocess.PIPE:
        reads, writes = os.pipe()
        ours, theirs = (writes, reads) if name == "stdin" else (reads, writes)
        mode = "w" if name == "stdin" else "r"
        pipes[name] = open(ours, mode, encoding="utf-8") if text else open(ours, f"{mode}b", buffering=0)  # noqa: PTH123, SIM115
    elif stream == subprocess.DEVNULL:
        theirs = os.open(os.devnull, os.O_RDWR)
    else:
        theirs = os.dup(["stdin", "stdout", "stderr"].index(name) if stream is None else _number(stream))
    try:
        yield theirs
    finally:
        os.close(theirs)


def _number(stream: int | IO[Any]) -> int:
    return stream if isinstance(stream, int) else stream.fileno()
