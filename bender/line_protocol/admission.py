"""Admission: at a node that requires tokens, the first line of a client must be `{"token": "…"}`.

The node sends nothing before that line, and keeps little: a client that is not admitted must cost nothing. If the token
is missing or may not read, the connection is closed, with the reason in its last line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from bender.access.tokens import NO_TOKEN, Access, AccessDenied, Tokens, Unauthorized
from bender.net.client_address import UNIX
from bender.node.journal import event_line
from bender.node.node import Node

#: Seconds that a client has for its first line, and the most bytes of that line.
TOKEN_S_MAX = 10
TOKEN_LINE_BYTES_MAX = 4 * 1024

_MISSING = 'this node requires a token: send {"token": "TOKEN"} as the first line'


class TokenMessage(msgspec.Struct, forbid_unknown_fields=True):
    """The first line of a client."""

    token: str

    def __repr__(self) -> str:
        return "TokenMessage(...)"  # a log must not have the token


_decoder = msgspec.json.Decoder(TokenMessage)


def require_admission(access: Access) -> Access:
    """Return the access of a client that may read. Raises `Unauthorized` or `Forbidden` for any other."""
    if access is NO_TOKEN:
        raise Unauthorized(_MISSING)
    access.require_read()
    return access


def refusal_line(node: Node, error: AccessDenied) -> bytes:
    """Count a line that its client may not send, and return the error as a line."""
    node.counters.count_denied(error.code)
    return error_line(error)


def error_line(error: AccessDenied) -> bytes:
    """Return the line with the error that denies a client something."""
    return event_line("error", code=error.code, message=str(error))


@implementer(IHalfCloseableProtocol)
class AdmissionGate(Protocol):
    """A connection whose client must send a token first. The protocol of `make_subscriber(access)` takes over then."""

    transport: Any
    #: Called when the connection is lost; `client` is the client whose connections are counted together.
    on_lost: Callable[[], None] | None = None
    client = UNIX

    def __init__(
        self, node: Node, tokens: Tokens, clock: IReactorTime, make_subscriber: Callable[[Access], Protocol]
    ) -> None:
        self._node = node
        self._tokens = tokens
        self._clock = clock
        self._make_subscriber = make_subscriber
        self._admitted: Any = None
        self._read = b""
        # Set while the client may send its first line.
        self._due: IDelayedCall | None = None
        self._ending: IDelayedCall | None = None

    def connectionMade(self) -> None:
        late = Unauthorized(f"no token came within {TOKEN_S_MAX} s: {_MISSING}")
        self._due = self._clock.callLater(TOKEN_S_MAX, self._refuse, late)

    def dataReceived(self, data: bytes) -> None:
        if self._admitted is not None:
            self._admitted.dataReceived(data)
        elif self._due is not None:
            self._read += data
            line, end, rest = self._read.partition(b"\n")
            if len(line) > TOKEN_LINE_BYTES_MAX:
                self._refuse(Unauthorized(f"the first line is longer than {TOKEN_LINE_BYTES_MAX} bytes: {_MISSING}"))
            elif end:
                self._admit(line, rest)

    def readConnectionLost(self) -> None:
        if self._due is not None:
            self._admit(self._read, b"")
        if self._admitted is not None:
            self._admitted.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Do nothing: this node never closes its sending side alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        if self._ending is not None:
            self._ending.cancel()
        if self.on_lost is not None:
            self.on_lost()
        if self._admitted is not None:
            self._admitted.connectionLost(reason)

    def displace(self, reason: str) -> None:
        """End the connection, because another client needs its place."""
        if self._admitted is not None:
            self._admitted.displace(reason)
            return
        self._stop_waiting()
        self.transport.write(event_line("error", code="BUSY", message=reason))
        self.transport.loseConnection()

    def _admit(self, line: bytes, rest: bytes) -> None:
        self._stop_waiting()
        self._read = b""
        try:
            access = require_admission(self._tokens.access(_token(line)))
        except AccessDenied as error:
            self._refuse(error)
            return
        self._admitted = self._make_subscriber(access)
        self._admitted.makeConnection(self.transport)
        if rest:
            self._admitted.dataReceived(rest)

    def _refuse(self, error: AccessDenied) -> None:
        """Send the reason and close the connection, at the latest after the time that a client may take to read it."""
        self._stop_waiting()
        self._read = b""
        self.transport.write(refusal_line(self._node, error))
        self.transport.loseConnection()
        self._ending = self._clock.callLater(self._node.limits.values.client_timeout_s, self._abort)

    def _abort(self) -> None:
        self._ending = None
        self.transport.abortConnection()

    def _stop_waiting(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None


def _token(line: bytes) -> bytes:
    """Return the token in a line. Raises `Unauthorized`, without quoting the line: it may be a misspelled token."""
    try:
        return _decoder.decode(line).token.encode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Unauthorized(_MISSING) from None
