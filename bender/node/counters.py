"""Counts of what a node has done since its start, to see whether it is still at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import asdict, define

from bender.metrics.histogram import Histogram, RecentPeak


@define
class Counters:
    """The counts; the code that does the work adds to them.

    `requests` are those to peers, rounds and pushes alike: `answered` ones, and those that `failed`. `received` are
    those of peers. Bytes are those of messages, to and from peers, without what HTTP adds to them. A round or sweep
    has failed if it raised an unexpected exception, which is in the log.

    Requests of clients are `unauthorized` without a valid token, `forbidden` where the token does not permit them or a
    browser sent them for a page of another site, also at the port of peers, and `turned_away` where they waited too
    long at an overloaded node. `tls_refused` counts the connections of clients whose TLS handshake failed.

    `registered` are the registrations that began here, `renewed` those that were renewed or changed here, by whatever
    protocol. Watchers were `dropped` because they did not read their events, and `displaced` because another client
    needed their place.

    `dns_queries` are the messages that came over DNS, `dns_truncated` the answers that were too long for their clients,
    and `dns_dropped` the messages that got no answer.
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
        """Count a request of a client that was denied with this code, by whatever protocol."""
        if code == "UNAUTHORIZED":
            self.unauthorized += 1
        else:
            self.forbidden += 1

    def count_registration(self, *, created: bool) -> None:
        """Count a registration that was accepted: it began here or, without `created`, was renewed or changed."""
        if created:
            self.registered += 1
        else:
            self.renewed += 1

    def count_tls_refused(self, host: str, clause: str) -> None:
        """Count a client with which no TLS connection was made. It is not logged: a scan would fill the log."""
        del host, clause
        self.tls_refused += 1

    def shown(self) -> dict[str, Any]:
        return asdict(self)


class ReactorLoad:
    """How late the timers of a node's reactor were: the time for which everything waits that comes to the process."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """`seconds` is the clock of the node."""
        self.lag = Histogram()
        self.longest = RecentPeak(seconds)

    def note_lag(self, lag_s: float) -> None:
        """Note how late a timer was."""
        self.lag.observe(lag_s)
        self.longest.note(lag_s)
