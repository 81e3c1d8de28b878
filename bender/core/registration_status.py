"""The status of a registration beside its terms: an operator's state of the instance, and whether it is a suspect.

Neither belongs to the claims. Clients see both in the registration, and a change of either is a change of the
registration.
"""

from __future__ import annotations

from typing import Literal, get_args

from attrs import frozen

State = Literal["up", "drain", "maint"]

#: The state of an instance for which no operator has set a state.
UP: State = "up"


@frozen
class RegistrationStatus:
    """The status of a registration at a node.

    There are few different ones, and `status_of` returns the same object for equal ones. `state` is set by an
    operator. `suspect` is True if no node that had heard from the instance is heard any more, and only the guard
    keeps the registration listed for a while. `json` is the end of the registration's JSON for this status.
    """

    state: State
    suspect: bool
    json: bytes


def status_of(state: State, *, suspect: bool) -> RegistrationStatus:
    return _STATUSES[state, suspect]


_SUSPECT = b',"suspect":true'

_STATUSES = {
    (state, suspect): RegistrationStatus(state, suspect, b',"state":"%b"%b' % (state.encode(), _SUSPECT * suspect))
    for state in get_args(State)
    for suspect in (False, True)
}

#: The status of nearly all registrations.
USUAL = status_of(UP, suspect=False)
