"""How a service under `twistd` begins and ends: refusing to start, in one sentence, and leaving once."""

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
    """Why the process ends instead of starting, in one sentence.

    It is a `SystemExit`, so that the interpreter prints the sentence alone to stderr and ends with status 1, and an
    `Exception`, because only after those `twistd` removes its PID file.
    """


def refuse_start(sentence: str) -> NoReturn:
    """End the process instead of starting."""
    refusal = StartRefused(f"bender: {sentence}")
    if sys.stderr is not sys.__stderr__:  # the log has it by now, and the interpreter would speak to the log alone
        print(refusal, file=sys.__stderr__)
    raise refusal


@contextmanager
def refuse_listen_errors(name: str) -> Iterator[None]:
    """Refuse to start where a shell cannot listen, and say which option to change."""
    try:
        yield
    except CannotListenError as error:
        place = _text(error.port) if error.interface is None else host_port(error.interface or "*", error.port)
        reason = getattr(error.socketError, "strerror", None) or error.socketError
        refuse_start(
            f"--{name} cannot listen on {place} ({reason}): choose another address, or stop the process that uses it."
        )
    except (OSError, OverflowError, TypeError, ValueError) as error:  # the lock of a Unix socket, an absurd backlog
        refuse_start(f"--{name} cannot listen ({error}): choose another endpoint, or remove what blocks it.")


def refuse_port_in_use(name: str, endpoint: Endpoint) -> None:
    """Refuse a port that is taken while there is a terminal to say it on: `twistd` goes into the background next."""
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


def _text(path: str | bytes) -> str:
    return path if isinstance(path, str) else path.decode(errors="replace")


class SignalledReactor(Protocol):
    """The methods with which a reactor of Twisted ends on signals; no interface has them."""

    def sigInt(self, number: int, frame: FrameType | None) -> None: ...

    def sigTerm(self, number: int, frame: FrameType | None) -> None: ...


def stop_on_first_signal(reactor: SignalledReactor) -> Callable[[int, FrameType | None], None]:
    """End at the first signal, and take no notice of those that follow: Twisted would stop twice, and fail."""
    told = False

    def leave(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            (reactor.sigInt if number == signal.SIGINT else reactor.sigTerm)(number, frame)

    return leave
