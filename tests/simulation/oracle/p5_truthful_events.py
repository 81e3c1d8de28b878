"""P5, truthful events.

Events of a key alternate, carry what was shown, and add up to what is shown. `deregistered` only if a client did, and
instead of `expired` where that is known, or `check-failed` if all deregistrations had that reason; `expired` only if
some holder could be known to have removed its claim, or is cut off for ever; `node-lost` only if no holder's heartbeat
is known of the last ttl + 3·I; `restored` only if the same unit was lost before. A body that was replaced does not come
back in calm weather.
"""

from __future__ import annotations

from bisect import bisect_right

from bender.core.reasons import CHECK_FAILED
from bender.core.view import ViewEvent
from tests.simulation.knowledge import Life
from tests.simulation.oracle.history import History, ObservedNode
from tests.simulation.records import CLOCKS, FORGOTTEN_S, Ended, Record, Unit

#: The reasons with which a client can deregister.
ENDED = ("deregistered", CHECK_FAILED)


class TruthfulEvents:
    """Follows the events that each life announces for each key, and compares them with its listing."""

    def __init__(self, history: History) -> None:
        self._history = history

    # Registrations.

    def check_body(self, life: Life, event: ViewEvent) -> Record | None:
        """Return the record of an event's key; None if no client sent the body."""
        record = self._history.records.get(event.key)
        if record is None or event.body not in record.units:
            what = f"{life} announces {event.change} of {event.key} with a body that nobody sent"
            self._history.fail("P5", what)
            return None
        return record

    def check_online(self, life: Life, record: Record, event: ViewEvent) -> None:
        key, unit = event.key, record.units[event.body]
        if key in life.shown:
            self._history.fail("P5", f"{life} announces {key} twice")
        if event.status.suspect:
            self._history.fail("P5", f"{life} announces {key} as suspect, which it did not list")
        life.states[key] = event.status.state
        life.shown[key] = event.body
        life.losses.pop(key, None)
        before = life.taken_back.get(key)
        lost = before is not None and (before[1], record.units[before[2]].registration) == (
            "node-lost",
            unit.registration,
        )
        if event.reason != "registered" and not (event.reason == "restored" and lost):
            self._history.fail("P5", f"{life} announces {key} as {event.reason}")
        remembered = before is not None and self._history.now < before[0] + FORGOTTEN_S
        if lost and remembered and event.reason != "restored" and len(record.accepted) == 1:
            self._history.fail("P5", f"{life} announces {key}, which it had lost, as {event.reason}")

    def check_changed(self, life: Life, event: ViewEvent) -> bytes | None:
        """Check another body of a key, and return the body before it; None if the body is the same."""
        key, old = event.key, life.shown.get(event.key)
        if old is None or old == event.body:
            self._history.fail("P5", f"{life} announces a change of {key} that is none")
            return None
        life.shown[key] = event.body
        if not event.status.suspect:
            life.suspects.pop(key, None)
        elif key not in life.suspects:
            self._history.fail("P5", f"{life} announces a change of {key} as if it was suspect")
        return old

    def check_goes_on(self, life: Life, record: Record, event: ViewEvent, old: bytes) -> None:
        """Check that a change does not return to a body which the body before it had replaced."""
        now, unit, newer = self._history.now, record.units[event.body], record.units[old]
        # Claims follow a replacement that their node knows. This may take long, so only calm weather counts.
        calm = self._history.weather.calm(newer.born_at - 3 * self._history.interval_s, now)
        replaced = unit in newer.before and not newer.registration.ends
        if replaced and now < record.last_at + record.ttl_s_min and calm:
            what = f"{life} goes back to {event.body!r} of {event.key} from {old!r}, which replaced it"
            self._history.fail("P5", what)

    def check_suspicion(self, life: Life, event: ViewEvent) -> bool:
        """Return whether an `offline` event shows correctly whether its key was suspect."""
        correct = event.status.suspect == (event.key in life.suspects)
        if not correct:
            verb = "hides" if event.reason == "node-lost" else "takes back"
            self._history.fail("P5", f"{life} {verb} {event.key} with the wrong suspicion")
        return correct

    def check_offline(self, life: Life, event: ViewEvent) -> None:
        if life.shown.pop(event.key, None) != event.body:
            self._history.fail("P5", f"{life} takes back {event.key}, which it had not announced like this")

    def check_turned(self, life: Life, event: ViewEvent) -> bool:
        """Return True if an event that only makes a key suspect, or not suspect any more, fits the events before it."""
        expected = ("node-lost", False) if event.status.suspect else ("restored", True)
        fits = (event.reason, event.key in life.suspects) == expected
        if not fits:
            self._history.fail("P5", f"{life} announces a change of {event.key} that is none: {event.reason}")
        return fits

    def _may_have_learned_of(self, life: Life, end: Ended) -> bool:
        """Return True if an end may have reached a life from its node, or from a copy of that node's memory."""
        now = self._history.now
        return any(_contains(other, life.learned_of(other, now), end) for other in self._history.clones(end.life))

    def check_reason(self, life: Life, record: Record, unit: Unit, event: ViewEvent) -> None:
        if event.reason in ENDED:
            ends = unit.registration.ends
            known = {
                end.reason
                for end in ends
                if life.knows(end.life, self._history.now) > end.certain_at and self._history.now < end.kept_until
            }
            heard_of = {end.reason for end in ends if self._may_have_learned_of(life, end)}
            if event.reason not in heard_of or (event.reason == CHECK_FAILED and "deregistered" in known):
                self._history.fail("P5", f"{life} says that {event.key} was {event.reason}")
            return
        # A node that learns of it after the end was removed finds nothing, as if it had expired.
        if unit.registration.said_to_be_ended(life, self._history.now):
            self._history.fail("P5", f"{life} knows that {event.key} was deregistered, and says {event.reason}")
        if event.reason == "node-lost":
            latest = max(life.knows(holder, self._history.now) for holder in record.accepted)
            if all(
                holder.last_beat(life.knows(holder, self._history.now))
                > self._history.now - record.ttl_s_min - 2.9 * self._history.interval_s
                for holder in record.accepted
            ):
                self._history.fail("P5", f"{life} says that the nodes of {event.key} are lost, heard at {latest:.3f}")
        elif event.reason == "expired" and not record.was_ended:  # noqa: SIM102 - two questions
            if not any(self._may_have_lapsed(life, record, holder) for holder in record.accepted):
                self._history.fail("P5", f"{life} says that {event.key} is expired, of which it cannot know")

    def _may_have_lapsed(self, life: Life, record: Record, holder: Life) -> bool:
        """Return True if a life may know, or may have forgotten, that another life removed its claim of a key."""
        learned = life.learned_of(holder, self._history.now)
        accepted = record.accepted[holder]
        if (
            any(hold.end <= learned for hold in record.holds.get(holder, ()))
            or self._history.now - learned > FORGOTTEN_S
        ):
            return True
        if holder.doubled:  # The time at which its claims end is not tracked here.
            return True
        # A node that left, or was replaced by another incarnation, gets no renewals any more.
        known = life.learned_at_least(holder, self._history.now)
        known_at = min(accepted[max(bisect_right(accepted, known) - 1, 0)], life.counts_from(holder, self._history.now))
        may_be_gone = holder.left or self._history.is_replaced(holder) or self._history.shares_address(holder)
        return may_be_gone and self._history.now >= known_at + record.ttl_s_min * (1 - CLOCKS)

    def check_shown(self, node: ObservedNode) -> None:
        shown = node.life.shown
        if [*sorted(shown.items())] != node.listed():
            self._history.fail("P5", f"{node.life} shows something else than it announced")

    def check_suspects(self, node: ObservedNode) -> None:
        life = node.life
        if {key for key in life.shown if node.status(key).suspect} != {*life.suspects}:
            self._history.fail("P5", f"{life} suspects something else than it announced")

    # States that operators set, and configuration.

    def check_state(self, life: Life, event: ViewEvent) -> bool:
        """Return True if an event about other things has the state of its key that was announced last."""
        same = event.status.state == life.states[event.key]
        if not same:
            state, before = event.status.state, life.states[event.key]
            self._history.fail("P5", f"{life} announces {event.change} of {event.key} as {state}, not {before}")
        return same

    def check_state_changed(self, life: Life, event: ViewEvent) -> None:
        known = life.states[event.key], life.shown.get(event.key)
        suspect = event.key in life.suspects
        if event.change != "changed" or event.status.state == known[0] or event.body != known[1]:
            self._history.fail(
                "P5", f"{life} announces {event.change} of {event.key} to {event.status.state}, after {known}"
            )
        if event.status.suspect != suspect:
            self._history.fail("P5", f"{life} announces {event.key} to {event.status.state} with the wrong suspicion")
        life.states[event.key] = event.status.state

    def check_state_shown(self, life: Life, key: str, shown: str) -> None:
        if key in life.shown and life.states[key] != shown:
            self._history.fail("P5", f"{life} shows {shown} of {key}, and announced something else")

    def check_setting_changed(self, life: Life, event: ViewEvent) -> None:
        old = life.shown_settings.get(event.key)
        fits = {
            "created": old is None,
            "changed": old is not None and old != event.body,
            "removed": old is not None and old == event.body,
        }
        if not fits.get(event.change, False) or event.reason != "configured":
            what = f"{life} announces {event.change} of {event.key} after {old!r}: {event.reason}"
            self._history.fail("P5", what)
        if event.change == "removed":
            life.shown_settings.pop(event.key, None)
        else:
            life.shown_settings[event.key] = event.body


def _contains(life: Life, until: float, end: Ended) -> bool:
    """Return True if the memory of a life had an end at the time `until`."""
    if life is end.life:
        return until >= end.at
    return life.source is not None and until >= life.born_at and _contains(life.source, life.copied_at, end)
