"""P3, nothing dead stays: what may be shown, and so the upper bound of P6.

O shows a key at t only if some life N justifies it, each time with the last acceptance there, at a, of which O may
know; d = a + ttl + the pauses of N since and the time it then took to be ready; and r the last heartbeat of N that O
believes, as O counts it: t < r + ttl + 3·I (also the upper bound of P6), and either t < d + bound, or N was gone by
then, or O does not know the moment d + 5·I. The bound is 1·I if the weather was calm since d - 8·I, 2·I if it was, but
for loss and delays (of fewer than three requests between O and N since d - 1·I), and 5·I otherwise. Tolerances stand
beside their reasons below. That 2·T + 4·I and 2·T + 8·I hold where a holder died follows; the tables of a run measure
it. ttl is the one in force: the largest that a claim of N can have where O knows of N.
"""

from __future__ import annotations

from bisect import bisect_right
from math import inf

from tests.simulation.knowledge import Life
from tests.simulation.oracle.history import Delay, History
from tests.simulation.records import CLOCKS, Record

#: The bounds, in intervals: after ttl, after two of them where a holder died, after ttl since its last heartbeat.
BOUNDS = {
    "calm": 1.0,
    "calm, with loss": 2.0,
    "peer failing": 5.0,
    "holder died": 4.0,
    "holder died, peer failing": 8.0,
    "after its last heartbeat": 3.0,
}


class NothingDeadStays:
    """Reports keys that a node lists for too long, and notes how late each end was."""

    def __init__(self, history: History) -> None:
        self._history = history

    def check_shown(self, life: Life, record: Record) -> None:
        if self._history.now >= record.last_at + record.ttl_s_min and not self.justified(life, record):
            self._fail(f"{life} shows {record.key}", record)

    def check_trusted_again(self, life: Life, record: Record) -> None:
        """Check a key that is not suspect any more."""
        if not self.justified(life, record):
            self._fail(f"{life} trusts {record.key} again", record)

    def check_was_shown(self, life: Life, record: Record) -> None:
        """Check a key that was listed until now."""
        if not self.justified(life, record, until_now=True):
            since_s = self._history.now - record.last_at
            self._history.fail("P3", f"{life} showed {record.key} until {since_s:.3f} s after its last renewal")

    def _fail(self, what: str, record: Record) -> None:
        self._history.fail("P3", f"{what}, {self._history.now - record.last_at:.3f} s after its last renewal")

    def justified(self, life: Life, record: Record, *, until_now: bool = False) -> bool:
        """Return True if a life may list a key; with `until_now`, by what it knew before the present message."""
        now = self._history.now
        for holder, accepted in record.accepted.items():
            learned = life.learned_of(holder, now)
            place = bisect_right(accepted, learned)
            if not place:
                continue
            last_at = accepted[place - 1]
            ttl_s = record.ttl_in_force_s(life, holder, now) * (1 + CLOCKS)
            if now < last_at + ttl_s:
                return True
            # The next sweep hides the key. It comes within 0.3·I.
            hidden_at = self._counts_from(life, holder) + ttl_s + 3 * self._history.interval_s
            corrected_at = life.corrected_at.get(holder.number, -inf)
            hidden_at = self._guarded_until(life, record, hidden_at, corrected_at)
            if now >= max(hidden_at, life.ready_at, life.resumed_at, corrected_at) + 0.3 * self._history.interval_s:
                continue
            paused_s = holder.pauses_after(last_at, now)
            due_at = max(last_at + ttl_s + paused_s, record.due_by_following(holder, last_at + paused_s))
            # A node that ended before then removes no claims any more: they are hidden.
            if min(now, holder.ended_at) < due_at + self._bound_s(life, holder, due_at):
                return True
            known = life.knew(holder, now) if until_now else life.knows(holder, now)
            if not self._calm(life, holder, due_at) and known < due_at + 5 * self._history.interval_s:
                return True
        return False

    def due_at(self, life: Life, record: Record) -> float:
        """Return the time at which the last claim that a life can know is due.

        A pause of the claim's node adds its length.
        """
        due_at = -inf
        for holder, accepted in record.accepted.items():
            place = bisect_right(accepted, life.learned_of(holder, self._history.now))
            if place:
                paused_s = holder.pauses_after(accepted[place - 1], min(self._history.now, holder.ended_at))
                due_at = max(due_at, accepted[place - 1] + record.ttl_s_max * (1 + CLOCKS) + paused_s)
        return due_at

    def _counts_from(self, life: Life, holder: Life) -> float:
        """Return the time of a holder's last heartbeat that a life believes.

        A clone's heartbeat is taken for the holder's.
        """
        if not holder.doubled:
            return life.counts_from(holder, self._history.now)
        return max(life.counts_from(clone, self._history.now) for clone in self._history.clones(holder))

    def _guarded_until(self, life: Life, record: Record, hidden_at: float, corrected_at: float) -> float:
        """Return the time until which a life may list a key that is otherwise hidden at a time.

        The life took this time to be later until `corrected_at`. The result may be settled when the key became
        suspect.
        """
        if record.key not in life.suspects:
            return hidden_at
        since, _ = life.suspects[record.key]
        return max(hidden_at, since if corrected_at >= since else -inf) + self._history.guard_s * (1 + CLOCKS)

    def _calm(self, life: Life, holder: Life, due_at: float) -> bool:
        lucky = self._history.weather.lucky_between(
            life.node, holder.node, due_at - self._history.interval_s, self._history.now
        )
        return lucky and self._history.weather.calm(due_at - 8 * self._history.interval_s, self._history.now)

    def _bound_s(self, life: Life, holder: Life, due_at: float) -> float:
        if not self._calm(life, holder, due_at):
            return 5 * self._history.interval_s
        return (
            2 if self._history.weather.rough(due_at - 8 * self._history.interval_s) else 1
        ) * self._history.interval_s

    def note_delay(self, life: Life, record: Record) -> None:
        """Note how late a key's end was, and the bound of P3 that applies."""
        now, ttl_s, interval_s = self._history.now, record.ttl_s_max, self._history.interval_s
        known = {
            holder: accepted[place - 1]
            for holder, accepted in record.accepted.items()
            if (place := bisect_right(accepted, life.learned_of(holder, now)))
        }
        last_at = max(known.values(), default=inf)
        # A pause of the node that was renewed last delays everything that follows from its claim.
        ends_at = max((at + ttl_s + holder.pauses_after(at, now) for holder, at in known.items()), default=inf)
        # A node that was away itself, or came later, was not connected. P2 judges ends that are too early.
        if (
            now < last_at + ttl_s
            or record.ttl_s_min != ttl_s
            or life.pauses_after(last_at, now)
            or life.born_at > last_at
            or any(holder.doubled for holder in known)  # Another process may have renewed the claim.
        ):
            return
        for holder, accepted_at in known.items():
            heard_at = life.counts_from(holder, now)
            hidden_s = now - (heard_at + ttl_s + 3 * interval_s)
            if holder is not life and -0.05 * interval_s <= hidden_s < 0.35 * interval_s:
                self._delayed("after its last heartbeat", now - heard_at - ttl_s)
                # If its news waited at a paused node, its last heartbeat counts as later here than it was.
                if heard_at < holder.last_beat(life.learned_of(holder, now)) + interval_s:
                    before = heard_at < accepted_at + ttl_s + holder.pauses_after(accepted_at, now) + interval_s
                    self._delayed("holder died" if before else "holder died, peer failing", now - ends_at - ttl_s)
                return
            if -0.05 * interval_s <= hidden_s < 2.5 * interval_s and holder.ended_at < now:
                return  # This claim stayed because of that one, which was hidden a moment ago.
        due = [(at + ttl_s + holder.pauses_after(at, now), holder.number) for holder, at in known.items()]
        due_at, number = max(((at, number) for at, number in due if at <= now), default=(inf, 0))
        if due_at > now or not self._history.weather.connected(
            life, self._history.lives[number], due_at - 3 * interval_s, now
        ):
            return
        if self._calm(life, self._history.lives[number], due_at):
            self._delayed(
                "calm, with loss" if self._history.weather.rough(due_at - 8 * interval_s) else "calm", now - due_at
            )
        elif now < due_at + 5 * interval_s:  # A node that learned of it later was cut off.
            self._delayed("peer failing", now - due_at)

    def _delayed(self, case: str, late_s: float) -> None:
        self._history.delays.append(Delay(case, late_s / self._history.interval_s))
