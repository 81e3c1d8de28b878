"""Finds the configured peers: a seed is an address, or a name that resolves to several, which may change.

Names are looked up at the start and every half minute. Addresses that were found are kept while a name cannot be
looked up: an unreachable name server must not stop the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Protocol

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from bender.net.addresses import host_port, split_host_port

#: Seconds between two look-ups of a name.
AGAIN_S = 30

#: Seconds until a name without addresses is looked up again: its machine may be starting.
SOONER_S = 5


class LocatingNode(Protocol):
    """The methods of a node that are used here."""

    def set_seed_addresses(self, seed: str, addresses: Sequence[str]) -> None: ...

    def remove_seed(self, seed: str) -> None: ...

    def begin_round(self, addresses: Iterable[str] | None = None) -> None: ...


class Seeds(Service):
    """Keeps `node` informed where its seeds, each `host:port`, are."""

    _log = Logger()

    def __init__(self, reactor: IReactorTime, node: LocatingNode, seeds: Sequence[str]) -> None:
        self._reactor = reactor
        self._node = node
        self._seeds = tuple(dict.fromkeys(seeds))
        self._watching: dict[str, Deferred[None]] = {}

    def startService(self) -> None:
        """Pass on addresses at once, and those of names as soon as they are found."""
        super().startService()
        for seed in self._seeds:
            self._begin(seed)

    def stopService(self) -> None:
        super().stopService()
        for seed in self._seeds:
            self._end(seed)

    def replace(self, seeds: Sequence[str]) -> None:
        """Try these seeds from now on, and no others. Nothing is begun where the service does not run (any more)."""
        if not self.running:
            return
        before, self._seeds = self._seeds, tuple(dict.fromkeys(seeds))
        for seed in before:
            if seed not in self._seeds:
                self._end(seed)
                self._node.remove_seed(seed)
        for seed in self._seeds:
            if seed not in before and self._begin(seed):
                self._node.begin_round([seed])

    def _begin(self, seed: str) -> bool:
        """Return True if the seed is an address; a name is looked up from now on."""
        host, port = split_host_port(seed)
        if _is_one_machine(host):
            self._node.set_seed_addresses(seed, [seed])
            return True
        self._watching[seed] = Deferred.fromCoroutine(self._watch(seed, host, port))
        return False

    def _end(self, seed: str) -> None:
        watching = self._watching.pop(seed, None)
        if watching is not None:
            watching.cancel()

    async def _watch(self, seed: str, host: str, port: int) -> None:
        known: list[str] = []
        missing = False
        with suppress(CancelledError):
            while True:
                found = await self._look_up(host, port)
                if found and found != known:
                    self._report_addresses(seed, known, found)
                elif not found and not missing:
                    self._log.warn("{seed} does not resolve to any address.", seed=seed)
                known, missing = found or known, not found
                await deferLater(self._reactor, AGAIN_S if found else SOONER_S)

    def _report_addresses(self, seed: str, known: list[str], found: list[str]) -> None:
        self._log.info("{seed} resolves to {addresses}.", seed=seed, addresses=", ".join(found))
        try:
            self._node.set_seed_addresses(seed, found)
            # At the start this is what the node waits for, with a whole interval to the next round.
            self._node.begin_round([address for address in found if address not in known])
        except Exception:
            self._log.failure("Passing on the addresses of {seed} failed.", seed=seed)

    async def _look_up(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name, in order; none if there are none, or the look-up fails."""
        finding = _Finding(Deferred())
        try:
            IReactorPluggableNameResolver(self._reactor).nameResolver.resolveHostName(finding, host, port)
            return await finding.found.addTimeout(AGAIN_S, self._reactor)
        except CancelledError:
            raise
        except TimedOut:
            return []
        except Exception:
            self._log.failure("Looking up {host} failed.", host=host)
            return []


@implementer(IResolutionReceiver)
@define
class _Finding:
    """The addresses that were found of a name. `found` can be cancelled before it is complete."""

    found: Deferred[list[str]]
    addresses: set[str] = field(factory=set)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing is to be done yet."""

    def addressResolved(self, address: IAddress) -> None:
        if isinstance(address, IPv4Address | IPv6Address):
            self.addresses.add(host_port(address.host, address.port))

    def resolutionComplete(self) -> None:
        self.found.callback(sorted(self.addresses))


def _is_one_machine(host: str) -> bool:
    """Return True if a seed is an address, or `localhost`, which has two addresses but is one machine."""
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
