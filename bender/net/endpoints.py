"""Connections and requests to a host name or an address, with time limits."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Any

from hyperlink import EncodedURL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed, ConnectionDone
from twisted.internet.error import TimeoutError as ConnectTimedOut
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.web._newclient import ParseError

from bender.net.addresses import NoAnswer
from bender.net.reactor import Reactor
from bender.tls.connections import tls_clause

#: The default time limit for connecting in seconds, as in Twisted.
CONNECT_S_MAX = 30.0


class ReadyURL(EncodedURL):
    """A URL that is completely ASCII, so that it needs no conversion.

    The conversion in treq takes 25 µs for each request, and refuses IPv6 addresses as bad names.
    """

    def to_uri(self) -> ReadyURL:
        return self


def endpoint_of(reactor: Reactor, host: str, port: int, connect_s_max: float = CONNECT_S_MAX) -> IStreamClientEndpoint:
    """Return the endpoint of a host name or address. An address is not resolved: slow names would delay it."""
    try:
        version = ip_address(host).version
    except ValueError:
        return HostnameEndpoint(reactor, host, port, connect_s_max)
    return (TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint)(reactor, host, port, connect_s_max)


async def wait_for_answer(
    reactor: IReactorTime, waiting: Deferred[Any], within_s: float, connect_s_max: float | None = None
) -> Any:
    """Return the result of `waiting`, a request or a connection. Raises `NoAnswer` after `within_s` or on a failure.

    Raises `CancelledError` if `waiting` is cancelled. `connect_s_max` is the time limit of connecting, if it is less.
    """
    try:
        return await waiting.addTimeout(within_s, reactor, _timed_out)
    except NoAnswer:
        raise
    except TimedOut:
        raise NoAnswer(f"does not answer within {within_s:g} s") from None
    except Exception as error:
        cause = root_cause(error)
        if isinstance(cause, CancelledError | ConnectingCancelledError):
            raise CancelledError from error
        if isinstance(cause, ConnectTimedOut):
            raise NoAnswer(f"does not answer within {connect_s_max or within_s:g} s") from error
        raise NoAnswer(f"does not answer ({failure_clause(cause)})") from error


def root_cause(error: BaseException) -> BaseException:
    """Return the innermost cause of an error of Twisted's web client."""
    cause: Any = error
    while getattr(cause, "reasons", None):
        cause = cause.reasons[0].value
    found: BaseException = cause
    return found


def _timed_out(_result: object, within_s: float) -> None:
    """Raise `TimedOut`, whatever the result of the cancelled request is."""
    raise TimedOut(f"{within_s:g} s")


def failure_clause(error: BaseException) -> str:
    """Return a clause about the cause of a failure, in lower case and without a full stop."""
    clause = tls_clause(error)
    if clause is not None:
        return clause
    if isinstance(error, ParseError):
        return "its answer is not HTTP"
    if isinstance(error, ConnectTimedOut):
        return "no connection in time"
    if isinstance(error, ConnectError) and isinstance(error.osError, int):
        return os.strerror(error.osError).lower()
    if isinstance(error, ConnectionClosed):
        return "it closed the connection" if isinstance(error, ConnectionDone) else "the connection was lost"
    text = " ".join((str(error) or type(error).__name__).split()).rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
