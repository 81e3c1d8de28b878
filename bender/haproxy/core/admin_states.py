"""The states that operators have set. They are kept here even if bender has lost them.

A node that restarts without a peer has lost the states. It then reports `up` also for an instance that an operator has
drained or put into maintenance. The driver must not send requests to such an instance. A state ends here only if

- an event reports that an operator has ended the state, or that its duration is over;
- a node that is asked reports the end of the state, or another state;
- the duration of the state is over.

An older node cannot distinguish a removed state from a lost one. Its report of `up` is believed.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field, frozen

from bender.core.admin_state import LASTING_S
from bender.core.registration_status import UP, State

#: Seconds between two questions about a state: `ASK_AGAIN_S` if its end is not known or bender has lost it, else
#: `LOOK_AGAIN_S`. The latter are necessary because setting a state again with another duration causes no event.
ASK_AGAIN_S = 2.0
LOOK_AGAIN_S = 30.0


@frozen
class StateAnswer:
    """A node's answer about an instance: the state that is set, and the seconds until it ends.

    If no state is set, `removed` is True if a state was set and has ended, and None if the node does not know.
    """

    state: State | None = None
    left_s: float = 0.0
    removed: bool | None = None


@define
class _KnownState:
    """A state that was set, and when it ends, if that is known; `lost` is True if bender has lost it.

    `since` is the time of the last event about the state.
    """

    state: State
    since: float
    until: float | None = None
    lost: bool = False
    ask_at: float = 0.0


@define
class AdminStates:
    """The states other than `up`, by id of the registration, which need not be listed."""

    _known: dict[str, _KnownState] = field(factory=dict)

    def receive(self, id_: str, state: State, now: float, *, certain: bool) -> State:
        """Return the state of an instance after bender reports `state`.

        The report is `certain` if it is an event that an operator, or the end of the duration, has caused.
        """
        before = self._known.get(id_)
        if state != UP:
            if before is None or before.state != state or before.lost:
                self._known[id_] = _KnownState(state, now, ask_at=now)
            return state
        if before is None or certain:
            self._known.pop(id_, None)
            return UP
        if not before.lost:
            before.lost, before.since, before.ask_at = True, now, now
            before.until = now + LASTING_S if before.until is None else before.until
        return before.state

    def receive_answer(self, id_: str, answer: StateAnswer, asked_at: float, now: float) -> State | None:
        """Process a node's answer to a question that was sent at `asked_at`. Return the new state, None if unchanged.

        The answer is ignored if an event came after the question.
        """
        known = self._known.get(id_)
        if known is None or asked_at < known.since:
            return None
        if answer.state in (None, UP):
            if answer.removed is False and (known.until is None or now < known.until):
                known.until = now + LASTING_S if known.until is None else known.until
                known.ask_at = now + ASK_AGAIN_S
                return None
            del self._known[id_]
            return UP if known.lost or answer.state is not None else None
        self._known[id_] = _KnownState(answer.state, known.since, now + answer.left_s, ask_at=now + LOOK_AGAIN_S)
        return answer.state if answer.state != known.state else None

    def lapse(self, now: float) -> Iterator[str]:
        """Yield the ids of instances that are up because the duration of a lost state is over."""
        for id_, known in [*self._known.items()]:
            if known.until is None or now < known.until:
                continue
            if known.lost:
                del self._known[id_]
                yield id_
            else:  # an operator may have set the state again, with a longer duration
                known.ask_at = min(known.ask_at, now)

    def due_at(self) -> float | None:
        """Return when the next lost state ends; None if no state is lost."""
        return min(
            (known.until for known in self._known.values() if known.lost and known.until is not None), default=None
        )

    def ids_to_ask(self, now: float) -> list[str]:
        """Return the ids of the instances for which a question to a node is due."""
        return [id_ for id_, known in self._known.items() if known.ask_at <= now]

    def lost(self) -> dict[str, float]:
        """Return, by id of the instance, when the states that bender has lost end."""
        return {id_: known.until or 0.0 for id_, known in self._known.items() if known.lost}

    def known_state(self, id_: str) -> State:
        """Return the state that was set for an instance; `up` if none is known."""
        known = self._known.get(id_)
        return UP if known is None else known.state
