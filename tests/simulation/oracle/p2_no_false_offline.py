"""P2, nothing alive is dropped: what must be shown, and so the lower bound of P6.

O shows a key at t

(a) if it knows a moment r of a node N in a hold there, may not know the end of that hold, and t < b + ttl + 3·I, b
    being the last heartbeat of N before r;
(b) during a handover: for 3·I after an acceptance at a node of which O does not know yet, but with which it was
    connected since 3·I before, if O knew of a hold elsewhere that had not ended by then, at a node connected with both.

Holds of a registration that was deregistered do not count, nor do those before a deregistration. While O is not ready
it need not show anything. ttl is the least that the key ever had. A unit that another replaced is not shown where O
knows the other and is obliged to show it.
"""

from __future__ import annotations

from math import inf

from tests.simulation.knowledge import Life
from tests.simulation.oracle.history import History, knows_all
from tests.simulation.records import CLOCKS, Record, Unit


class NoFalseOffline:
    """Reports keys that a node does not list, takes back or suspects although it must know that they are alive."""

    def __init__(self, history: History) -> None:
        self._history = history

    def check_is_shown(self, life: Life, record: Record) -> None:
        """Check a key that a node does not list."""
        now = self._history.now
        may_matter = now < record.last_at + record.ttl_s_max + 4 * self._history.interval_s
        if may_matter and self.obliged(life, record) is not None:
            self._fail(life, record, "does not show")

    def check_taken_back(self, life: Life, record: Record) -> None:
        if self.obliged(life, record) is not None:
            self._fail(life, record, "takes back")

    def check_suspected(self, life: Life, record: Record) -> None:
        if self.obliged(life, record) is not None:
            self._fail(life, record, "suspects")

    def _fail(self, life: Life, record: Record, verb: str) -> None:
        since_s = self._history.now - record.last_at
        self._history.fail("P2", f"{life} {verb} {record.key}, {since_s:.3f} s after its last renewal")

    def check_still_suspect(self, life: Life, record: Record) -> None:
        if self.obliged(life, record) is not None:
            self._history.fail("P2", f"{life} suspects {record.key}, which it must know to be alive")

    def check_not_replaced(self, life: Life, record: Record, shown: Unit) -> None:
        """Check that no listed unit was replaced by another one that is known and held."""
        now = self._history.now
        for unit in record.units.values():
            if not unit.registration.ends and shown in unit.before and life.knows(unit.life, now) > unit.born_at:
                held = self.obliged(life, record)
                if held is not None and (held is unit or unit in held.before):
                    what = f"{life} shows {shown.body!r} of {record.key}, not {unit.body!r}, which it knows"
                    self._history.fail("P2", what)

    def obliged(self, life: Life, record: Record) -> Unit | None:
        """Return the unit because of which a life must list a key; None if it need not list the key."""
        now, interval_s = self._history.now, self._history.interval_s
        if now > record.last_at + record.ttl_s_max + 4 * interval_s:
            return None
        known: list[tuple[float, Life]] = []
        for holder in record.holds:
            moment = life.knows(holder, now)
            if moment == -inf:
                continue
            hold = record.hold(holder, moment, now)
            if hold is None:
                continue
            end, unit = hold
            heard_until = holder.last_beat(moment) + record.ttl_s_min * (1 - CLOCKS) + 2.95 * interval_s
            if life.learned_of(holder, now) < end and now < heard_until:
                return unit
            known.append((end, holder))
        return self._handed_over(life, record, known) if known else None

    def _handed_over(self, life: Life, record: Record, known: list[tuple[float, Life]]) -> Unit | None:
        """Return the same for renewals elsewhere in the last 3·I, while a known hold had not ended."""
        now, interval_s, weather = self._history.now, self._history.interval_s, self._history.weather
        new = sorted(
            (hold.begin, number, holder, hold)
            for number, (holder, holds) in enumerate(record.holds.items())
            for hold in holds[-1:]
            if now - 3 * interval_s < hold.begin and life.knows(holder, now) < hold.begin
            if knows_all(life, (holder,))
        )
        for begin, _, holder, hold in new:
            since = begin - 3 * interval_s
            if not weather.connected(life, holder, since, now) or now >= hold.end:
                continue
            for end, before in known:
                if begin <= end and weather.connected(before, holder, since, now):
                    return hold.unit
        return None
