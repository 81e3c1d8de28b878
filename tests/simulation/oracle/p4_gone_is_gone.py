"""P4, gone is gone: what was deregistered or has expired does not come back.

A registration, with all its changes, that was deregistered at X, which knew a claim of it, is not shown where that
moment of X is known, nor again where its end was announced; unless a client registered or renewed it since, where it
was not known, and the end is over (seed 41147). What comes online is justified by P3; and a key that was not renewed
within ttl, nor since, and that was announced as expired here stays for 1·I at most, if nothing happens meanwhile.
"""

from __future__ import annotations

from tests.simulation.knowledge import Life
from tests.simulation.oracle.history import History
from tests.simulation.oracle.p3_nothing_dead_stays import NothingDeadStays
from tests.simulation.records import CLOCKS, Record, Registration


class GoneIsGone:
    """Reports registrations that come back after their end."""

    def __init__(self, history: History, p3: NothingDeadStays) -> None:
        self._history = history
        self._p3 = p3

    def check_online(self, life: Life, record: Record, registration: Registration) -> None:
        """Check a registration that a node announces as online; note it if it may be a ghost (`check_ghost`)."""
        key, now = record.key, self._history.now
        self.check_announced(life, record, registration)
        if not self._p3.justified(life, record):
            self._history.fail("P4", f"{life} announces {key}, {now - record.last_at:.3f} s after its last renewal")
        before = life.taken_back.get(key)
        if now > record.last_at + record.ttl_s_max * (1 + CLOCKS) and before and before[1] != "node-lost":
            life.ghosts[key] = now

    def check_announced(self, life: Life, record: Record, registration: Registration) -> None:
        """Check a registration that a node announces as online or changed."""
        known = registration in life.said_deregistered or registration.known_ended(life, self._history.now)
        if known and not self._ends_are_over(registration):
            what = f"{life} announces {record.key}, of which it knows that it was deregistered"
            self._history.fail("P4", what)

    def check_shown(self, life: Life, record: Record, registration: Registration) -> None:
        if registration.known_ended(life, self._history.now) and not self._ends_are_over(registration):
            self._history.fail("P4", f"{life} shows {record.key}, of which it knows that it was deregistered")

    def check_ghost(self, life: Life, record: Record) -> None:
        """Check that a registration which came online again after its end goes offline soon."""
        key = record.key
        since = life.ghosts.get(key)
        if since is None or since <= record.last_at:
            return
        if any(holder.doubled for holder in record.accepted):
            return  # Its old claims count by its new heartbeats until it notices (rule 10).
        bound_s = (2 if self._history.weather.rough(since) else 1) * self._history.interval_s
        is_late = self._history.now > max(since, self._p3.due_at(life, record)) + bound_s
        if is_late and self._history.weather.undisturbed(since, self._history.now):
            self._history.fail(
                "P4", f"{life} shows {key} again, though it was expired, since {self._history.now - since:.3f} s"
            )

    def _ends_are_over(self, registration: Registration) -> bool:
        """Return True if a node that was cut off may report a registration again, like one that has expired."""
        return all(self._history.now >= end.kept_until for end in registration.ends)
