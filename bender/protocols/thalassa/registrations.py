"""Registrations in the form of Thalassa's programs.

A request of Thalassa has the path of an instance and one object, `meta`. `secondsToExpire` in this object is the ttl;
bender stores the rest as the meta of the registration. In answers, they are one object again, also for registrations
that were not made by a client of Thalassa.

Thalassa has neither weights nor states. Its load balancer, Aqueduct, sends traffic to all listed instances. So an
instance with the weight 0, or in the state `drain` or `maint`, is not listed, and its event is `offline`.
"""

from __future__ import annotations

from contextlib import suppress
from math import isfinite, nan
from typing import Any

import msgspec

from bender.core.invalid import Invalid
from bender.core.members import STATES_WITHOUT_TRAFFIC
from bender.core.model import RegistrationRequest, decode_json, parse_registration_at, require_shallow
from bender.core.timing import Timing
from bender.core.ttl_limits import TTL_S_MAX, ttl_s_min
from bender.protocols.thalassa.axon import frame

SECONDS_TO_EXPIRE = "secondsToExpire"
HOSTNAME = "hostname"

_ID_BEGINS_AT = len("registration")


class ListedRegistration(msgspec.Struct):
    """The fields of a registration in the JSON of bender that are used here."""

    id: str
    app: str
    version: str
    host: str
    port: int
    ttl: float
    weight: int
    meta: dict[str, Any]
    state: str

    @property
    def in_rotation(self) -> bool:
        """Whether the instance gets traffic."""
        return self.weight > 0 and self.state not in STATES_WITHOUT_TRAFFIC


class _Event(msgspec.Struct):
    event: str
    at: int = 0
    registration: ListedRegistration | None = None


class _Online(msgspec.Struct):
    """A registration in the JSON of Thalassa."""

    name: str
    version: str
    host: str
    port: int
    last_known_ms: int = msgspec.field(name="lastKnown")
    meta: dict[str, Any]
    id: str


_object = msgspec.json.Decoder(dict[str, Any])
_listed = msgspec.json.Decoder(ListedRegistration)
_event = msgspec.json.Decoder(_Event)
_encode = msgspec.json.Encoder().encode


def parse_update(path: tuple[str, str, str, str], body: bytes, timing: Timing) -> RegistrationRequest:
    """Return the registration that a path and a body request. Raises `Invalid`.

    Its ttl and meta replace those of an earlier registration. An invalid ttl becomes the nearest valid one, because
    Thalassa accepts any ttl, and its client would repeat a refused request without an end.
    """
    instance = parse_registration_at(path, b"", timing)
    meta = _meta(body)
    ttl_s = _ttl_s(meta.pop(SECONDS_TO_EXPIRE, None), timing)
    require_shallow("body", meta)
    return msgspec.structs.replace(instance, ttl_s=ttl_s, meta=meta)


def _meta(body: bytes) -> dict[str, Any]:
    return decode_json(_object, body) if body.strip() else {}


def _ttl_s(seconds: object, timing: Timing) -> float:
    """Return the ttl for `secondsToExpire`. 0 and empty values mean the default, and text is accepted."""
    if not seconds:
        return timing.ttl_s
    number = nan
    if isinstance(seconds, int | float | str) and not isinstance(seconds, bool):
        with suppress(ValueError, OverflowError):
            number = float(seconds)
    if not isfinite(number):
        raise Invalid(SECONDS_TO_EXPIRE, "must be a number of seconds")
    return min(max(number, ttl_s_min(timing.interval_s)), TTL_S_MAX)


def decode_registration(registration: bytes) -> ListedRegistration:
    """Return a registration from the JSON of bender."""
    return _listed.decode(registration)


def encode_registration(registration: ListedRegistration, last_known_ms: int) -> bytes:
    """Return a registration as JSON of Thalassa; `last_known_ms` is the time at which it was online."""
    ttl_s = registration.ttl
    meta = registration.meta | {SECONDS_TO_EXPIRE: int(ttl_s) if ttl_s == int(ttl_s) else ttl_s}
    if not meta.get(HOSTNAME):
        meta[HOSTNAME] = registration.host
    return _encode(
        _Online(
            registration.app,
            registration.version,
            registration.host,
            registration.port,
            last_known_ms,
            meta,
            thalassa_id(registration.id),
        )
    )


def thalassa_id(key: str) -> str:
    """Return the id of a registration in Thalassa: `registration/web/1/host/80` is `/web/1/host/80`."""
    return key[_ID_BEGINS_AT:]


def offline_frame(key: str) -> bytes:
    """Return the frame for an instance that went offline."""
    return frame(thalassa_id(key).encode(), b"offline")


def event_frame(line: bytes) -> bytes:
    """Return the frame for an event of the journal; empty if the event is not about a registration."""
    event = _event.decode(line)
    registration = event.registration
    if registration is None:
        return b""
    if event.event == "offline" or not registration.in_rotation:
        return offline_frame(registration.id)
    id_ = thalassa_id(registration.id).encode()
    return frame(id_, b"online", encode_registration(registration, event.at))
