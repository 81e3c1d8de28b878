"""An operator's state of an instance: no new work (`drain`), no work at all (`maint`), or normal work (`up`).

A state is kept like configuration, under a key of its own. So it outlives restarts of the instance and is replicated
to every node. It lasts for a limited time, because a forgotten state would keep an instance out of rotation for ever.
"""

from __future__ import annotations

from typing import Annotated, Any, cast, get_args

import msgspec
from attrs import frozen

from bender.core.last_writer_wins import LASTING_S_MAX
from bender.core.messages import ConfigSetting
from bender.core.model import decode_json
from bender.core.registration_status import UP, State

#: The seconds for which an operator's state lasts if the request names no duration: a day.
LASTING_S = 24 * 3600.0

#: The shortest duration of a state. A shorter state would end before all nodes have received it.
LASTING_S_MIN = 1.0

_STATES = frozenset(get_args(State))
_PREFIX = "state"


@frozen
class Override:
    """An operator's state of an instance, and the seconds for which it lasts."""

    state: State
    lasts_s: float


class _Sent(msgspec.Struct, forbid_unknown_fields=True, rename={"lasts_s": "for"}):
    state: State
    lasts_s: Annotated[float, msgspec.Meta(ge=LASTING_S_MIN, le=LASTING_S_MAX)] | None = None


_sent = msgspec.json.Decoder(_Sent)


def parse_override(document: bytes) -> Override:
    """Parse the body of `PUT …/state`. Raises `Invalid`."""
    sent = decode_json(_sent, document, "a state")
    return Override(sent.state, LASTING_S if sent.lasts_s is None else sent.lasts_s)


def override_object(registration: str, setting: ConfigSetting, left_s: float) -> dict[str, Any]:
    """Return an operator's state of a registration as clients see it. `left_s` is the time that it still lasts."""
    return {
        "id": registration,
        "state": state_in(setting),
        "for": setting.lasts_s,
        "left": round(max(0.0, left_s), 3),
        "at": setting.at_ms,
        "author": setting.author,
    }


def key_of_state(registration: str) -> str:
    """Return the configuration key of an operator's state of a registration."""
    return _PREFIX + registration[registration.index("/") :]


def registration_of(key: str) -> str | None:
    """Return the id of the registration to whose state a key belongs; None if the key is of another kind."""
    kind, slash, path = key.partition("/")
    return f"registration/{path}" if slash and kind == _PREFIX else None


def state_in(setting: ConfigSetting | None) -> State:
    """Return the state in a setting. It is `up` if there is no setting, or if this node does not know the state."""
    said = b"" if setting is None or setting.body is None else setting.body
    return cast(State, said.decode()) if said.decode("ascii", "replace") in _STATES else UP
