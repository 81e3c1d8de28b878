"""Discovery of the configured peers: a seed is an address, or a name that resolves to several changing addresses.

Names are looked up at the start and every half minute. The addresses found last stay in use while a look-up fails: an
unreachable name server must not stop the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
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

from bender.core.hosts import parse_address
from bender.net.addresses import host_port, split_host_port

#: Seconds between two look-ups of a name.
LOOK_UP_INTERVAL_S = 30

#: Seconds until a name without addresses is looked up again, because its machine may be starting.
RETRY_INTERVAL_S = 5


class LocatingNode(Protocol):
    """The methods of a node that `Seeds` calls."""

    def set_seed_addresses(self, seed: str, addresses: Sequence[str]) -> None: ...

    def remove_seed(self, seed: str) -> None: ...

    def begin_round(self, addresses: Iterable[str] | None = None) -> None: ...


class Seeds(Service):
    """Gives `node` the present addresses of its seeds, each a `host:port`."""

    _log = Logger()

    def __init__(self, reactor: IReactorTime, node: LocatingNode, seeds: Sequence[str]) -> None:
        self._reactor = reactor
        self._node = node
        self._seeds = tuple(dict.fromkeys(seeds))
        self._watching: dict[str, Deferred[None]] = {}

    def startService(self) -> None:
        """Give the node the seeds that are addresses at once, and the addresses of names when they are found."""
        super().startService()
        for seed in self._seeds:
            self._begin(seed)

    def stopService(self) -> None:
        super().stopService()
        for seed in self._seeds:
            self._end(seed)

    def replace(self, seeds: Sequence[str]) -> None:
        """Replace the seeds. Does nothing if the service does not run."""
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
        """Begin to use a seed: look a name up regularly from now on. Return True if it is an address."""
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
                await deferLater(self._reactor, LOOK_UP_INTERVAL_S if found else RETRY_INTERVAL_S)

    def _report_addresses(self, seed: str, known: list[str], found: list[str]) -> None:
        self._log.info("{seed} resolves to {addresses}.", seed=seed, addresses=", ".join(found))
        try:
            self._node.set_seed_addresses(seed, found)
            # A starting node waits for its peers, and the next regular round may be an interval away.
            self._node.begin_round([address for address in found if address not in known])
        except Exception:
            self._log.failure(
                "The addresses of {seed} (--peers) could not be used because of a defect in bender: the node may not "
                "find the peers at these addresses.",
                seed=seed,
            )

    async def _look_up(self, host: str, port: int) -> list[str]:
        """Return the sorted addresses of a name; none if it has none, or the look-up fails."""
        resolution = _Resolution(Deferred())
        try:
            IReactorPluggableNameResolver(self._reactor).nameResolver.resolveHostName(resolution, host, port)
            return await resolution.found.addTimeout(LOOK_UP_INTERVAL_S, self._reactor)
        except CancelledError:
            raise
        except TimedOut:
            return []
        except Exception:
            self._log.failure(
                "The DNS lookup of {host} failed; its known addresses stay in use, and the lookup is repeated.",
                host=host,
            )
            return []


@implementer(IResolutionReceiver)
@define
class _Resolution:
    """The addresses of a name. `found` fires with them when the look-up is complete, and can be cancelled before."""

    found: Deferred[list[str]]
    addresses: set[str] = field(factory=set)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Do nothing: no address is known yet."""

    def addressResolved(self, address: IAddress) -> None:
        if isinstance(address, IPv4Address | IPv6Address):
            self.addresses.add(host_port(address.host, address.port))

    def resolutionComplete(self) -> None:
        self.found.callback(sorted(self.addresses))


def _is_one_machine(host: str) -> bool:
    """Return True if a seed is an address, or `localhost`, which has two addresses but is one machine."""
    return host == "localhost" or parse_address(host) is not None
