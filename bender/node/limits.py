"""The limits of one node that an operator can change, and the use of each.

They bound the memory and work that clients can cause at a node; data from peers is never refused because of them.
Constants that nobody needs to change are in the modules that they bound. docs/limits.md lists all of them.
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

#: Seconds that a client may take to send a request or to read an answer, and that its connection may be idle.
CLIENT_TIMEOUT_S = 60.0


@frozen
class Limits:
    """Limits of a node, each with the default of its option.

    - `connections`: clients' connections to each of `--api`, `--events` and `--agent`.
    - `subscribers`: clients that receive events, over any protocol.
    - `registrations`: registrations that were accepted at this node.
    - `rate`: requests a second from one client address; 0 sets no limit.
    - `body_bytes`: the body of a request whose route has no limit of its own.
    - `entry_bytes`: one registration, backend or frontend as JSON.
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
    """The use of a limit: now, its peak since the start, and the number of refusals.

    `maximum` is None if no limit is set. For a limit on single requests, `used` is the largest that was accepted.
    """

    maximum: float | None
    used: float
    peak: float
    refused: int

    def as_fields(self) -> dict[str, Any]:
        """Return the use as `/status` shows it."""
        return {"max": self.maximum, "used": self.used, "peak": self.peak, "refused": self.refused}


class NodeLimits:
    """The present limits of one node, and their use.

    Code that obeys a limit reads `values` each time, or calls `follow` to get each change. Shells add the use of their
    limits to `uses`, under the name in `/status`.
    """

    def __init__(self, values: Limits, seconds: Callable[[], float]) -> None:
        """`seconds` is the clock of the rate of requests."""
        self.values = values
        #: The rate of clients' requests over all protocols.
        self.rate = RequestRate(seconds)
        self.uses: dict[str, Callable[[], LimitUse]] = {}
        #: The number of apps and backends that a protocol cannot express, by the option that switches it on.
        self.left_out: dict[str, Callable[[], int]] = {}
        # The connections for which the process has file descriptors: of clients to each port, and of peers.
        self._connections_fit: int | None = None
        self._peer_connections_fit: int | None = None
        self._followers: list[Callable[[Limits], None]] = []
        self._registrations_peak = 0
        self._registrations_refused = 0
        self._largest_entry_bytes = 0
        self._entries_refused = 0
        self.follow(self._set_rate)

    def follow(self, follower: Callable[[Limits], None]) -> None:
        """Call `follower` with the limits, now and after each change."""
        self._followers.append(follower)
        follower(self.values)

    def change(self, values: Limits) -> None:
        """Set the limits. Connections, subscribers and registrations above a lower limit stay."""
        self.values = values
        for follower in self._followers:
            follower(values)

    def fit_connections(self, clients: int, peers: int) -> None:
        """Allow no more connections than these, whatever the limits: of clients to each port, and of peers."""
        self._connections_fit, self._peer_connections_fit = clients, peers
        self.change(self.values)

    def bind_connections(self, name: str, places: FairShares[Any]) -> None:
        """Apply the limit of clients' connections to the places of a port, and show their use under a name."""
        self.bind(name, places, lambda values: _at_most(values.connections, self._connections_fit))

    def bind_peer_connections(self, places: FairShares[Any]) -> None:
        """Apply the number of file descriptors to the places of peers' connections, and show their use."""
        maximum = places.maximum
        self.bind("peer_connections", places, lambda _: _at_most(maximum, self._peer_connections_fit))

    def show_held(self, name: str, held: HeldBytes[Any]) -> None:
        """Show the use of a limit of held bytes under a name."""
        self.uses[name] = lambda: LimitUse(held.maximum, held.used, held.peak, held.refused)

    def bind(self, name: str, places: FairShares[Any], number: Callable[[Limits], int]) -> None:
        """Keep the maximum of `places` at `number(limits)`, and show their use under a name."""

        def change(values: Limits) -> None:
            places.maximum = number(values)

        self.follow(change)
        self.uses[name] = lambda: LimitUse(places.maximum, places.used, places.peak, places.refused)

    # Limits that the node itself applies.

    def require_room(self, registrations: int) -> None:
        """Raise `Full` if this node, which has accepted this many registrations, may accept no more."""
        maximum = self.values.registrations
        if registrations >= maximum:
            self._registrations_refused += 1
            raise Full(
                f"this node has accepted {registrations} registrations, and the maximum is {maximum} "
                "(--max-registrations): register at another node, or remove some"
            )
        if registrations >= self._registrations_peak:
            self._registrations_peak = registrations + 1

    def encode_entry(self, encode: Callable[[_T, int], bytes], value: _T) -> bytes:
        """Return `encode(value, bytes_max)`, where `bytes_max` is the limit of an entry. Raises `TooLarge`."""
        try:
            body = encode(value, self.values.entry_bytes)
        except TooLarge:
            self._entries_refused += 1
            raise
        if len(body) > self._largest_entry_bytes:  # noqa: PLR1730 - for each registration; `max` takes longer
            self._largest_entry_bytes = len(body)
        return body

    def rate_problem(self, client: str) -> str:
        """Return the message for a client that exceeds the rate of requests."""
        return (
            f"{client} sends more than {self.values.rate:g} requests a second, the maximum for one address "
            "(--max-rate): send fewer, or several renewals in one"
        )

    def _set_rate(self, values: Limits) -> None:
        self.rate.per_s = values.rate

    # What `/status` shows.

    def use_of_registrations(self, registrations: int) -> LimitUse:
        """Return the use of the limit of registrations, of which this node has accepted this many."""
        peak = max(self._registrations_peak, registrations)
        return LimitUse(self.values.registrations, registrations, peak, self._registrations_refused)

    def use_of_rate(self) -> LimitUse:
        """Return the use of the rate limit: the highest rate of one client address."""
        rate = self.rate
        return LimitUse(self.values.rate or None, rate.highest_recent, rate.peak, rate.refused)

    def use_of_entry(self) -> LimitUse:
        """Return the use of the limit of an entry: the bytes of the largest that was accepted."""
        largest = self._largest_entry_bytes
        return LimitUse(self.values.entry_bytes, largest, largest, self._entries_refused)


def _at_most(number: int, bound: int | None) -> int:
    return number if bound is None else min(number, bound)
