"""Other programs: run within a time limit, and watched for their end."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import frozen
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IReactorFDSet, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

#: Bytes that are kept of a program's output. The beginning shows why the program failed.
OUTPUT_BYTES_MAX = 16 * 1024

#: Seconds between two checks of a process, if the system does not report its end.
LOOK_S = 0.1


class CannotRun(Exception):
    """A program cannot be started, or does not end. The message is a clause that begins with a verb."""


@frozen
class ProgramResult:
    """The exit status and the output of a program."""

    status: int
    output: str


async def run_program(reactor: IReactorTime, arguments: Sequence[str], within_s: float) -> ProgramResult:
    """Run a program and wait for its end; kill it after `within_s` seconds. Raises `CannotRun`."""
    running = _Running()
    try:
        process = IReactorProcess(reactor).spawnProcess(running, arguments[0], arguments, env=os.environ)
    except OSError as error:
        raise CannotRun(f"cannot be started ({error.strerror})") from error
    killing = reactor.callLater(within_s, running.kill, process)
    try:
        status = await running.ended
    finally:
        if killing.active():
            killing.cancel()
    output = running.output.decode("utf-8", "replace")
    if running.killed:
        raise CannotRun(f"did not end within {within_s:g} s")
    return ProgramResult(status, output)


class _Running(ProcessProtocol):
    def __init__(self) -> None:
        self.ended: Deferred[int] = Deferred()
        self.output = b""
        self.killed = False

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        del childFD
        self.output = (self.output + data)[:OUTPUT_BYTES_MAX]

    def processEnded(self, reason: Failure) -> None:
        ended: Any = reason.value
        self.ended.callback(128 + ended.signal if ended.exitCode is None else ended.exitCode)

    def kill(self, process: Any) -> None:
        self.killed = True
        with suppress(ProcessExitedAlready):
            process.signalProcess("KILL")


class ProcessWatch:
    """Calls `on_end` when a process has ended. The process need not be a child.

    Raises `ProcessLookupError` if there is no such process.
    """

    def __init__(self, reactor: IReactorTime, pid: int, on_end: Callable[[], None]) -> None:
        self.pid = pid
        self._reactor = reactor
        self._on_end = on_end
        self._reader: _PidReader | None = None
        self._looking: Any = None
        if hasattr(os, "pidfd_open"):
            self._reader = _PidReader(reactor, os.pidfd_open(pid), self._ended)
            self._reader.startReading()
        else:
            self._look()

    def close(self) -> None:
        """Stop watching."""
        if self._reader is not None:
            self._reader.close()
        if self._looking is not None and self._looking.active():
            self._looking.cancel()

    def _look(self) -> None:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            self._ended()
        else:
            self._looking = self._reactor.callLater(LOOK_S, self._look)

    def _ended(self) -> None:
        self.close()
        with suppress(ChildProcessError):  # it may be a child of another process
            os.waitpid(self.pid, os.WNOHANG)
        self._on_end()


class _PidReader(FileDescriptor):
    """A descriptor that becomes readable when a process has ended."""

    def __init__(self, reactor: IReactorTime, fd: int, on_end: Callable[[], None]) -> None:
        super().__init__(IReactorFDSet(reactor))
        self._fd = fd
        self._on_end = on_end

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> None:
        self._on_end()

    def close(self) -> None:
        if self._fd >= 0:
            self.stopReading()
            os.close(self._fd)
            self._fd = -1
