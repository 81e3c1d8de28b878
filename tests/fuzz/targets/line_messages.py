"""Lines of clients of the line protocol (`bender.line_protocol.messages`)."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import strategies as st

from bender.core.invalid import Invalid
from bender.core.model import canonical_id
from bender.core.timing import Timing
from bender.core.ttl_limits import TTL_S_MAX
from bender.line_protocol.messages import NO_REGISTRATION, decode_line, parse_registration
from tests.fuzz.documents import documents_of, json_values

WORDS = (
    *(
        b'"token":',
        b'"subscribe":',
        b'"ack":',
        b'"renew":',
        b'"register":',
        b'"report":',
        b'"session":',
        b'"grace":',
        b'"since":',
    ),
    *(b'"snapshot":"always"', b'"app":', b'"version":', b'"host":', b'"port":', b"true", b"false", b"null"),
)

_WEB = {"app": "web", "version": "1.2.0", "host": "10.0.0.5", "port": 8080}
_SELECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "app": st.just("web"),
        "version": st.text(max_size=3),
        "snapshot": st.sampled_from([True, False, "always", 1]),
        "since": st.text(max_size=9),
        "name": st.just("driver"),
        "instance": st.just("a"),
    },
)

LINES = documents_of(
    {},
    {
        "subscribe": _SELECTIONS | st.booleans(),
        "ack": st.sampled_from(["k3f9-1042", ""]),
        "renew": st.lists(st.sampled_from(["registration/web/1.2.0/10.0.0.5/8080", "x"]), max_size=3),
        "register": st.just(_WEB) | st.just({**_WEB, "session": True, "grace": 2}) | json_values,
        "report": st.just({}) | json_values,
        "token": st.text(max_size=3) | json_values,
        "session": st.booleans(),
        "grace": st.floats(-1, 4000),
    },
)
NEAR = LINES

_TIMING = Timing()


def fuzz(sent: bytes) -> None:
    """A line is refused as `Invalid`, or is exactly one of the five messages."""
    try:
        message = decode_line(sent)
    except Invalid as error:
        assert error.field == "line" and "\n" not in str(error).partition(":")[0]
        return
    given = (message.token, message.subscribe, message.ack, message.renew)
    assert sum(each is not None for each in given) + (message.register != NO_REGISTRATION) == 1
    assert 0 <= message.grace_s <= TTL_S_MAX
    if message.register != NO_REGISTRATION:
        with suppress(Invalid):
            wanted = parse_registration(message.register, _TIMING)
            assert canonical_id(wanted.key) == wanted.key
            assert 0 <= wanted.grace_s <= TTL_S_MAX
