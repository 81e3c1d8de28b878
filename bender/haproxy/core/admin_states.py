"""The states that operators have set, kept where bender has lost them.

A node that has lost its memory reports an instance as up that an operator has drained or put into maintenance. That is
no reason to send requests there. A state ends here where an event says that an operator or its time has ended it, and
otherwise only where a node that is asked says so, or sets another one, or when the time is over that it was set for. A
node that cannot tell (an older one) is believed.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field, frozen

from bender.core.admin_state import LASTING_S
from bender.core.status import UP, State

#: Seconds between two questions about a state: where its end is not known or bender has lost it, and otherwise. An
#: operator who sets a state again for another time makes no event.
ASK_AGAIN_S = 2.0
LOOK_AGAIN_S = 30.0


@frozen
class StateAnswer:
    """What a node says of an instance when it is asked: the state that is set, and for how many seconds more.

    Without a state, `removed` says whether one was set and has ended; None where the node cannot tell.
    """

    state: State | None = None
    left_s: float = 0.0
    removed: bool | None = None


@define
class _Set:
    """A state that was set, and until when, as far as that is known; `lost` if bender does not know it any more.

    `since` is when an event said the one or the other.
    """

    state: State
    since: float
    until: float | None = None
    lost: bool = False
    ask_at: float = 0.0


@define
class AdminStates:
    """The states that are not `up`, by the ids of registrations, whether these are listed or not."""

    _set: dict[str, _Set] = field(factory=dict)

    def take(self, id_: str, state: State, now: float, *, certain: bool) -> State:
        """Return the state that holds, where bender reports `state`; `certain` if it says that this was set now."""
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
        """Take in what a node says that was asked then; returns the state that holds if that is another one now.

        What an event has said since is newer.
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
        """Yield the ids of the instances that are up because the time is over that a lost state was set for."""
        for id_, known in [*self._set.items()]:
            if known.until is None or now < known.until:
                continue
            if known.lost:
                del self._set[id_]
                yield id_
            else:  # it may have been set again for a longer time
                known.ask_at = min(known.ask_at, now)

    def due_at(self) -> float | None:
        """When a lost state is over; None if there is none."""
        return min(
            (known.until for known in self._set.values() if known.lost and known.until is not None), default=None
        )

    def to_ask(self, now: float) -> list[str]:
        """The ids of the instances about which a node is to be asked now."""
        return [id_ for id_, known in self._set.items() if known.ask_at <= now]

    def lost(self) -> dict[str, float]:
        """The ids of instances whose states bender has lost, with the time until which these are kept."""
        return {id_: known.until or 0.0 for id_, known in self._set.items() if known.lost}
