"""The states that operators have set, kept where bender has lost them.

A node that was restarted alone reports an instance as up that an operator has drained or put into maintenance. That is
no reason to send requests there. A state ends here if an event reports that an operator or its duration has ended it;
otherwise only if a node reports its end or another state when it is asked, or when its duration is over. An older node,
which cannot tell a removed state from a lost one, is believed.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field, frozen

from bender.core.admin_state import LASTING_S
from bender.core.registration_status import UP, State

#: Seconds between two questions about a state: if its end is not known or bender has lost it, and otherwise. Setting a
#: state again with another duration makes no event.
ASK_AGAIN_S = 2.0
LOOK_AGAIN_S = 30.0


@frozen
class StateAnswer:
    """A node's answer about an instance: the state that is set, and the seconds that are left of it.

    Without a state, `removed` is True if one was set and has ended; None if the node cannot tell.
    """

    state: State | None = None
    left_s: float = 0.0
    removed: bool | None = None


@define
class _Set:
    """A state that was set, and until when, if that is known; `lost` if bender has lost it.

    `since` is the time of the last event about either.
    """

    state: State
    since: float
    until: float | None = None
    lost: bool = False
    ask_at: float = 0.0


@define
class AdminStates:
    """The states other than `up`, by ids of registrations, listed or not."""

    _set: dict[str, _Set] = field(factory=dict)

    def take(self, id_: str, state: State, now: float, *, certain: bool) -> State:
        """Return the state that holds after bender reports `state`, which is `certain` if an event has changed it."""
        before = self._set.get(id_)
        if state != UP:
            if before is None or before.state != state or before.lost:
                self._set[id_] = _Set(state, now, ask_at=now)
            return state
        if before is None or certain:
            self._set.pop(id_, None)
            return UP
        if not before.lost:
            before.lost, before.since, before.ask_at = True, now, now
            before.until = now + LASTING_S if before.until is None else before.until
        return before.state

    def answer(self, id_: str, answer: StateAnswer, asked_at: float, now: float) -> State | None:
        """Process a node's answer to a question of `asked_at`. Return the state that holds if it has changed.

        An event that came since then is newer than the answer.
        """
        known = self._set.get(id_)
        if known is None or asked_at < known.since:
            return None
        if answer.state in (None, UP):
            if answer.removed is False and (known.until is None or now < known.until):
                known.until = now + LASTING_S if known.until is None else known.until
                known.ask_at = now + ASK_AGAIN_S
                return None
            del self._set[id_]
            return UP if known.lost or answer.state is not None else None
        self._set[id_] = _Set(answer.state, known.since, now + answer.left_s, ask_at=now + LOOK_AGAIN_S)
        return answer.state if answer.state != known.state else None

    def lapse(self, now: float) -> Iterator[str]:
        """Yield the ids of instances that are up because the duration of a lost state is over."""
        for id_, known in [*self._set.items()]:
            if known.until is None or now < known.until:
                continue
            if known.lost:
                del self._set[id_]
                yield id_
            else:  # it may have been set again, with a longer duration
                known.ask_at = min(known.ask_at, now)

    def due_at(self) -> float | None:
        """Return when the next lost state is over; None if there is none."""
        return min(
            (known.until for known in self._set.values() if known.lost and known.until is not None), default=None
        )

    def to_ask(self, now: float) -> list[str]:
        """Return the ids of the instances about which a node is to be asked now."""
        return [id_ for id_, known in self._set.items() if known.ask_at <= now]

    def lost(self) -> dict[str, float]:
        """Return the ids of instances whose states bender has lost, with the time until which these are kept."""
        return {id_: known.until or 0.0 for id_, known in self._set.items() if known.lost}
