"""The addresses of host names. HAProxy gets only addresses, because it would look up names only when it starts.

The first question for a name starts a look-up. The look-up is repeated as long as questions for the name come.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from bender.core.hosts import is_destination, parse_address

#: Seconds between two look-ups of a name, after success and after failure.
REFRESH_S = 30.0
RETRY_S = 2.0

#: A name is forgotten this many seconds after the last question for it.
FORGET_S = 120.0


class AddressResolver:
    """The addresses of hosts. Calls `on_change` with a name when its address changes."""

    _log = Logger()

    def __init__(self, reactor: IReactorTime) -> None:
        self.on_change: Callable[[str], None] = lambda _host: None
        self._reactor = reactor
        self._known: dict[str, str] = {}
        self._asked_at: dict[str, float] = {}
        self._timers: dict[str, Any] = {}

    def address_of(self, host: str) -> str | None:
        """Return the address of a host, which may itself be an address; None while the address is not known."""
        address = parse_address(host)
        if address is not None:
            return str(address) if is_destination(address) else None
        if host not in self._asked_at:
            self._timers[host] = self._reactor.callLater(0, self._look_up, host)
        self._asked_at[host] = self._reactor.seconds()
        return self._known.get(host)

    def close(self) -> None:
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()

    def _look_up(self, host: str) -> None:
        if self._asked_at[host] < self._reactor.seconds() - FORGET_S:
            for place in (self._asked_at, self._known, self._timers):
                place.pop(host, None)
            return
        receiver = _Receiver()
        receiver.done.addCallback(self._resolved, host)
        receiver.done.addErrback(self._failed, host)
        IReactorPluggableNameResolver(self._reactor).nameResolver.resolveHostName(receiver, host)

    def _resolved(self, addresses: list[str], host: str) -> None:
        """Use one of the usable addresses: the present one if it is among them, else the smallest."""
        addresses = [address for address in addresses if is_destination(ip_address(address))]
        again_s = REFRESH_S if addresses else RETRY_S
        self._timers[host] = self._reactor.callLater(again_s, self._look_up, host)
        if addresses and self._known.get(host) not in addresses:
            self._known[host] = min(addresses)
            self.on_change(host)

    def _failed(self, failure: Failure, host: str) -> None:
        """Log a defect, and look the name up again."""
        self._log.failure("The DNS lookup of {host} failed; its known address stays in use.", failure, host=host)
        if not self._timers[host].active():
            self._timers[host] = self._reactor.callLater(RETRY_S, self._look_up, host)


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self) -> None:
        self.done: Deferred[list[str]] = Deferred()
        self._addresses: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Do nothing: the system's resolver has its own time limit."""

    def addressResolved(self, address: IAddress) -> None:
        self._addresses.append(str(address.host))  # type: ignore[attr-defined]

    def resolutionComplete(self) -> None:
        self.done.callback(self._addresses)
