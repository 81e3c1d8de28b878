"""The lines that clients send: one JSON object each, which is decoded and checked here."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bender.core.consumers import Report
from bender.core.invalid import Invalid
from bender.core.model import RegistrationRequest, parse_registration_request, validation_error
from bender.core.timing import Timing
from bender.core.ttl_limits import TTL_S_MAX

#: The most bytes of a client's line: a thousand ids of 255 bytes, as in a request over HTTP.
LINE_BYTES_MAX = 256 * 1024

#: The most seconds that a session's instance may stay listed after its connection: a longer time than any ttl has no
#: effect.
GRACE_S_MAX = TTL_S_MAX


class Subscribe(msgspec.Struct, forbid_unknown_fields=True):
    """The selection of events, as in the query of `GET /events`."""

    app: str | None = None
    version: str | None = None
    snapshot: bool | Literal["always"] | None = None
    since: str | None = None
    name: str | None = None
    instance: str | None = None


NO_REGISTRATION = msgspec.Raw()


class RegisterMessage(RegistrationRequest, frozen=True, rename={"ttl_s": "ttl", "grace_s": "grace"}):
    """The registration in a line. `session` and `grace` may be in it or in the line itself."""

    session: bool = False
    grace_s: Annotated[float, msgspec.Meta(ge=0, le=GRACE_S_MAX)] = 0.0


class ClientMessage(msgspec.Struct, forbid_unknown_fields=True, rename={"grace_s": "grace"}):
    """A line of a client, which has exactly one of the first five fields.

    `report` may accompany `ack`; `session` and `grace_s` may accompany `renew` and `register`.
    """

    token: str | None = None
    subscribe: Subscribe | Literal[False] | None = None
    ack: str | None = None
    renew: list[str] | None = None
    register: msgspec.Raw = NO_REGISTRATION
    report: Report | None = None
    session: bool = False
    grace_s: Annotated[float, msgspec.Meta(ge=0, le=GRACE_S_MAX)] = 0.0

    def __repr__(self) -> str:
        return "ClientMessage(...)"  # a log must not have the token


_line = msgspec.json.Decoder(ClientMessage)
_registered = msgspec.json.Decoder(RegisterMessage)


def parse_registration(document: msgspec.Raw, timing: Timing) -> RegisterMessage:
    """Return the registration in the field `register`. Raises `Invalid`."""
    return parse_registration_request(_registered, bytes(document), timing)


def decode_line(line: bytes) -> ClientMessage:
    """Return the message in a line of a client. Raises `Invalid`."""
    if len(line) > LINE_BYTES_MAX:
        raise Invalid("line", f"must not be longer than {LINE_BYTES_MAX} bytes")
    try:
        message = _line.decode(line)
    except msgspec.ValidationError as error:
        unknown = "unknown field" in str(error)
        raise Invalid(
            "line", str(validation_error(str(error), ClientMessage, "a line") if unknown else error)
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("line", f"is not JSON: {error}") from None
    changes = (message.renew is not None, message.register != NO_REGISTRATION)
    kinds = (message.token is not None, message.subscribe is not None, message.ack is not None, *changes)
    if sum(kinds) != 1:
        raise Invalid("line", "must have exactly one of token, subscribe, ack, renew and register")
    if not any(changes) and (message.session or message.grace_s):
        raise Invalid("line", "may have session and grace only with renew or register")
    if message.report is not None and message.ack is None:
        raise Invalid("line", "may have report only with ack")
    return message
