"""Start and end of a service under `twistd`: refuse to start, in one sentence, and stop at the first signal."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, Protocol

from twisted.internet.error import CannotListenError

from bender.net.addresses import host_port
from bender.process.options import Endpoint


class StartRefused(SystemExit, Exception):
    """Ends the process instead of starting it; the message is one sentence with the reason.

    It is a `SystemExit`, so that the interpreter prints only the sentence to stderr and ends with status 1. It is also
    an `Exception`, because `twistd` removes its PID file only after an `Exception`.
    """


def refuse_start(sentence: str) -> NoReturn:
    """End the process instead of starting it. Raises `StartRefused`."""
    refusal = StartRefused(f"bender: {sentence}")
    if sys.stderr is not sys.__stderr__:  # stderr is redirected to the log, so the interpreter prints only to the log
        print(refusal, file=sys.__stderr__)
    raise refusal


@contextmanager
def refuse_listen_errors(name: str) -> Iterator[None]:
    """Refuse to start if the body of the `with` statement cannot listen; the sentence names the option to change."""
    try:
        yield
    except CannotListenError as error:
        place = _path_text(error.port) if error.interface is None else host_port(error.interface or "*", error.port)
        reason = getattr(error.socketError, "strerror", None) or error.socketError
        refuse_start(
            f"--{name} cannot listen on {place} ({reason}): choose another address, or stop the process that uses it."
        )
    except (OSError, OverflowError, TypeError, ValueError) as error:  # the lock of a Unix socket, an absurd backlog
        refuse_start(f"--{name} cannot listen ({error}): choose another endpoint, or remove what blocks it.")


def refuse_port_in_use(name: str, endpoint: Endpoint) -> None:
    """Refuse to start if a port is in use, as long as there is a terminal: `twistd` goes into the background later."""
    if not endpoint.port:
        return
    kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM] if endpoint.kind == "dns" else [socket.SOCK_STREAM]
    for kind in kinds:
        _refuse_port_in_use(name, endpoint, kind)


def _refuse_port_in_use(name: str, endpoint: Endpoint, kind: socket.SocketKind) -> None:
    family = socket.AF_INET6 if ":" in endpoint.interface else socket.AF_INET
    with socket.socket(family, kind) as probe, refuse_listen_errors(name):
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((endpoint.interface, endpoint.port))
        except OSError as error:
            raise CannotListenError(endpoint.interface, endpoint.port, error) from error


def _path_text(path: str | bytes) -> str:
    return path if isinstance(path, str) else path.decode(errors="replace")


class SignalledReactor(Protocol):
    """The methods with which Twisted's reactors stop on a signal. No interface of Twisted declares them."""

    def sigInt(self, number: int, frame: FrameType | None) -> None: ...

    def sigTerm(self, number: int, frame: FrameType | None) -> None: ...


def stop_on_first_signal(reactor: SignalledReactor) -> Callable[[int, FrameType | None], None]:
    """Return a handler for SIGINT and SIGTERM that stops the reactor at the first signal, and ignores all others.

    Twisted would stop twice, and fail.
    """
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            (reactor.sigInt if number == signal.SIGINT else reactor.sigTerm)(number, frame)

    return stop
