"""The limits of one node that an operator can change, and how far each is used.

They bound what clients can make a node keep or do; what peers bring is never refused because of them. Constants that
nobody needs to change stand beside the code that they bound. docs/limits.md lists all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import frozen

from bender.core.model import ENTRY_BYTES_MAX, TooLarge
from bender.core.replica import Full
from bender.net.fair_shares import FairShares
from bender.net.held_bytes import HeldBytes
from bender.net.request_rate import RequestRate

_T = TypeVar("_T")

#: Seconds that a client may take to send a request, to take what is sent to it, or to send nothing at all.
CLIENT_TIMEOUT_S = 60.0


@frozen
class Limits:
    """Limits of a node, each with the default of its option.

    `connections` are those of clients to each of `--api`, `--events` and `--agent`. `subscribers` receive events, by
    whatever protocol. `registrations` are those that were accepted at this node. `rate` is the number of requests a
    second from one client address; 0 sets no limit. `body_bytes` is for every request that does not say otherwise,
    `entry_bytes` for one registration, backend or frontend as JSON.
    """

    connections: int = 10_000
    subscribers: int = 10_000
    registrations: int = 1_000_000
    rate: float = 0.0
    body_bytes: int = 64 * 1024
    entry_bytes: int = ENTRY_BYTES_MAX
    client_timeout_s: float = CLIENT_TIMEOUT_S


DEFAULTS = Limits()


@frozen
class LimitUse:
    """How far a limit is used: now, at most since the start, and how often it refused something.

    `maximum` is None where no limit is set. For a limit of a single request, `used` is the largest that was accepted.
    """

    maximum: float | None
    used: float
    peak: float
    refused: int

    def shown(self) -> dict[str, Any]:
        """Return the fields in `/status`."""
        return {"max": self.maximum, "used": self.used, "peak": self.peak, "refused": self.refused}


class NodeLimits:
    """The limits of one node as they are at present, and their use.

    Code that is bound by a limit reads `values` each time, or calls `follow` to be called when they change. Shells add
    the use of their limits to `uses`, under the name in `/status`.
    """

    def __init__(self, values: Limits, seconds: Callable[[], float]) -> None:
        """`seconds` is the clock of the rate of requests."""
        self.values = values
        #: The requests of clients, by whatever protocol.
        self.rate = RequestRate(seconds)
        self.uses: dict[str, Callable[[], LimitUse]] = {}
        #: The number of apps and backends that a protocol cannot express, by the option that switches it on.
        self.left_out: dict[str, Callable[[], int]] = {}
        # Connections of clients to each port, and of peers, for which there are file descriptors.
        self._connections_fit: int | None = None
        self._peer_connections_fit: int | None = None
        self._followers: list[Callable[[Limits], None]] = []
        self._registrations_peak = 0
        self._registrations_refused = 0
        self._largest_entry_bytes = 0
        self._entries_refused = 0
        self.follow(self._set_rate)

    def follow(self, follower: Callable[[Limits], None]) -> None:
        """Call a follower with the limits, now and whenever they change."""
        self._followers.append(follower)
        follower(self.values)

    def change(self, values: Limits) -> None:
        """Set the limits from now on. What is there already stays, also if it is more than they allow."""
        self.values = values
        for follower in self._followers:
            follower(values)

    def fit_connections(self, clients: int, peers: int) -> None:
        """Allow no more connections than these, whatever the limits are: of clients to each port, and of peers."""
        self._connections_fit, self._peer_connections_fit = clients, peers
        self.change(self.values)

    def bind_connections(self, name: str, places: FairShares[Any]) -> None:
        """Keep the number of connections of clients to a port as the limits say, and show their use under a name."""
        self.bind(name, places, lambda values: _at_most(values.connections, self._connections_fit))

    def bind_peer_connections(self, places: FairShares[Any]) -> None:
        """Do the same for the connections of peers, the number of which is fixed."""
        maximum = places.maximum
        self.bind("peer_connections", places, lambda _: _at_most(maximum, self._peer_connections_fit))

    def show_held(self, name: str, held: HeldBytes[Any]) -> None:
        """Show the bytes of what has not come completely under a name."""
        self.uses[name] = lambda: LimitUse(held.maximum, held.used, held.peak, held.refused)

    def bind(self, name: str, places: FairShares[Any], number: Callable[[Limits], int]) -> None:
        """Keep the number of places as the limits say, and show their use under a name."""

        def change(values: Limits) -> None:
            places.maximum = number(values)

        self.follow(change)
        self.uses[name] = lambda: LimitUse(places.maximum, places.used, places.peak, places.refused)

    # Limits that the node itself keeps to.

    def require_room(self, registrations: int) -> None:
        """Raise `Full` if this node has accepted that many registrations, and may accept no more."""
        maximum = self.values.registrations
        if registrations >= maximum:
            self._registrations_refused += 1
            raise Full(
                f"this node has accepted {registrations} registrations, and the maximum is {maximum} "
                "(--max-registrations): register at another node, or remove some"
            )
        if registrations >= self._registrations_peak:
            self._registrations_peak = registrations + 1

    def entry(self, encode: Callable[[_T, int], bytes], what: _T) -> bytes:
        """Return an entry that `encode` makes of something, within the bytes that are allowed. Raises `TooLarge`."""
        try:
            body = encode(what, self.values.entry_bytes)
        except TooLarge:
            self._entries_refused += 1
            raise
        if len(body) > self._largest_entry_bytes:  # noqa: PLR1730 - for each registration; `max` takes longer
            self._largest_entry_bytes = len(body)
        return body

    def rate_problem(self, client: str) -> str:
        """Return why a request over the rate is refused."""
        return (
            f"{client} sends more than {self.values.rate:g} requests a second, the maximum for one address "
            "(--max-rate): send fewer, or several renewals in one"
        )

    def _set_rate(self, values: Limits) -> None:
        self.rate.per_s = values.rate

    # What `/status` shows.

    def use_of_registrations(self, registrations: int) -> LimitUse:
        peak = max(self._registrations_peak, registrations)
        return LimitUse(self.values.registrations, registrations, peak, self._registrations_refused)

    def use_of_rate(self) -> LimitUse:
        rate = self.rate
        return LimitUse(self.values.rate or None, rate.highest_recent, rate.peak, rate.refused)

    def use_of_entry(self) -> LimitUse:
        largest = self._largest_entry_bytes
        return LimitUse(self.values.entry_bytes, largest, largest, self._entries_refused)


def _at_most(number: int, bound: int | None) -> int:
    return number if bound is None else min(number, bound)
