"""Counts of a node's work since its start, which show whether it still makes progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import asdict, define

from bender.metrics.histogram import Histogram, RecentPeak


@define
class Counters:
    """The counts; the code that does the work adds to them.

    `requests` counts the requests to peers, rounds and pushes alike; `answered` and `failed` count their results.
    `received` counts the requests from peers. `bytes_sent` and `bytes_received` count the bytes of messages to and from
    peers, without the bytes that HTTP adds. A round or sweep has failed if it raised an unexpected exception, which is
    in the log.

    Requests of clients are `unauthorized` without a valid token. They are `forbidden` if the token does not permit
    them, or if a browser sent them for a page of another site, also at the port for peers. They are `turned_away` if
    they waited too long at an overloaded node. `tls_refused` counts the connections of clients whose TLS handshake
    failed.

    `registered` counts the registrations that began here, `renewed` those that were renewed or changed here, over any
    protocol. Watchers were `dropped` because they did not read their events, and `displaced` because another client
    needed their place.

    `dns_queries` counts the messages that came over DNS, `dns_truncated` the answers that were too long for their
    clients, and `dns_dropped` the messages that got no answer.
    """

    rounds: int = 0
    rounds_failed: int = 0
    sweeps: int = 0
    sweeps_failed: int = 0
    requests: int = 0
    answered: int = 0
    failed: int = 0
    received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    unauthorized: int = 0
    forbidden: int = 0
    turned_away: int = 0
    tls_refused: int = 0
    registered: int = 0
    renewed: int = 0
    dropped: int = 0
    displaced: int = 0
    dns_queries: int = 0
    dns_truncated: int = 0
    dns_dropped: int = 0

    def count_denied(self, code: str) -> None:
        """Count a client's request that was denied with this code, over any protocol."""
        if code == "UNAUTHORIZED":
            self.unauthorized += 1
        else:
            self.forbidden += 1

    def count_registration(self, *, created: bool) -> None:
        """Count an accepted registration: it began here if `created`, else it was renewed or changed here."""
        if created:
            self.registered += 1
        else:
            self.renewed += 1

    def count_tls_refused(self, host: str, clause: str) -> None:
        """Count a client whose TLS handshake failed. It is not logged, because a port scan would fill the log."""
        del host, clause
        self.tls_refused += 1

    def as_fields(self) -> dict[str, Any]:
        """Return the counts by name, as `/status` shows them."""
        return asdict(self)


class ReactorLoad:
    """The lag of a node's reactor: how late its timers were, and so how long each input of the process waited."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """`seconds` is the clock of the node."""
        self.lag = Histogram()
        self.longest = RecentPeak(seconds)

    def note_lag(self, lag_s: float) -> None:
        """Record how late a timer was, in seconds."""
        self.lag.observe(lag_s)
        self.longest.note(lag_s)
