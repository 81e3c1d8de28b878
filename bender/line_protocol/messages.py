"""Lines of clients: one JSON object each, decoded and checked."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bender.core.consumers import Report
from bender.core.invalid import Invalid
from bender.core.model import RegistrationRequest, invalid, parse_wanted
from bender.core.timing import TTL_S_MAX, Timing

#: One line of a client: a thousand ids of 255 bytes, as in a request over HTTP.
LINE_BYTES_MAX = 256 * 1024

#: How long a session may outlive its connection; longer than any ttl it would mean nothing.
GRACE_S_MAX = TTL_S_MAX


class Subscribe(msgspec.Struct, forbid_unknown_fields=True):
    """The selection of events, as in the query of `GET /events`."""

    app: str | None = None
    version: str | None = None
    snapshot: bool | Literal["always"] | None = None
    since: str | None = None
    name: str | None = None
    instance: str | None = None


NOT_GIVEN = msgspec.Raw()


class RegisterMessage(RegistrationRequest, frozen=True, rename={"ttl_s": "ttl", "grace_s": "grace"}):
    """The registration; `session` and `grace` may stand here as well as in the line."""

    session: bool = False
    grace_s: Annotated[float, msgspec.Meta(ge=0, le=GRACE_S_MAX)] = 0.0


class ClientMessage(msgspec.Struct, forbid_unknown_fields=True, rename={"grace_s": "grace"}):
    """One of the first five; `report` goes with `ack`, the others with `renew` and `register`."""

    token: str | None = None
    subscribe: Subscribe | Literal[False] | None = None
    ack: str | None = None
    renew: list[str] | None = None
    register: msgspec.Raw = NOT_GIVEN
    report: Report | None = None
    session: bool = False
    grace_s: Annotated[float, msgspec.Meta(ge=0, le=GRACE_S_MAX)] = 0.0

    def __repr__(self) -> str:
        return "ClientMessage(...)"  # a log must not have the token


_line = msgspec.json.Decoder(ClientMessage)
_registered = msgspec.json.Decoder(RegisterMessage)


def parse_registration(document: msgspec.Raw, timing: Timing) -> RegisterMessage:
    """Return the registration that `register` asks for. Raises `Invalid`."""
    return parse_wanted(_registered, bytes(document), timing)


def decode_line(line: bytes) -> ClientMessage:
    """Return the message in a line of a client. Raises `Invalid`."""
    if len(line) > LINE_BYTES_MAX:
        raise Invalid("line", f"must not be longer than {LINE_BYTES_MAX} bytes")
    try:
        message = _line.decode(line)
    except msgspec.ValidationError as error:
        unknown = "unknown field" in str(error)
        raise Invalid("line", str(invalid(str(error), ClientMessage, "a line") if unknown else error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid("line", f"is not JSON: {error}") from None
    changes = (message.renew is not None, message.register != NOT_GIVEN)
    kinds = (message.token is not None, message.subscribe is not None, message.ack is not None, *changes)
    if sum(kinds) != 1:
        raise Invalid("line", "must have exactly one of token, subscribe, ack, renew and register")
    if not any(changes) and (message.session or message.grace_s):
        raise Invalid("line", "may have session and grace only with renew or register")
    if message.report is not None and message.ack is None:
        raise Invalid("line", "may have report only with ack")
    return message
