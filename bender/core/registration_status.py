"""What is to be said of a registration beside its terms: what an operator says of the instance, and what is feared.

Neither belongs to the claims. A registration is shown with both, and a change of either is a change of it.
"""

from __future__ import annotations

from typing import Literal, get_args

from attrs import frozen

State = Literal["up", "drain", "maint"]

#: That of an instance of which nobody has said anything.
UP: State = "up"


@frozen
class RegistrationStatus:
    """How a registration stands at a node. There are few, and `standing_of` gives the same object for the same.

    `state` is an operator's word. `suspect` says that no node which had heard from the instance is heard any more, and
    that it is listed all the same for a while (`guard`). `json` is what the registration has at its end because of it.
    """

    state: State
    suspect: bool
    json: bytes


def status_of(state: State, *, suspect: bool) -> RegistrationStatus:
    return _STANDINGS[state, suspect]


_SUSPECT = b',"suspect":true'

_STANDINGS = {
    (state, suspect): RegistrationStatus(state, suspect, b',"state":"%b"%b' % (state.encode(), _SUSPECT * suspect))
    for state in get_args(State)
    for suspect in (False, True)
}

#: That of nearly all registrations.
USUAL = status_of(UP, suspect=False)
