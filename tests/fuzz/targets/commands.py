"""Bodies of other requests: operators' states and consumers' confirmations (`bender.core`)."""

from __future__ import annotations

from contextlib import suppress

import msgspec
from hypothesis import strategies as st

from bender.core.admin_state import LASTING_S_MIN, parse_override, state_in
from bender.core.consumers import Confirmation, parse_confirmation, report_of
from bender.core.invalid import Invalid
from bender.core.last_writer_wins import LASTING_S_MAX
from bender.core.messages import ConfigSetting
from bender.core.model import require_empty_body
from tests.fuzz.documents import documents_of, json_values

WORDS = (
    *(b'"state":"drain"', b'"for":', b'"cursor":', b'"report":', b'"instance":', b'"down":', b'"backends":'),
    *(b'"requests":', b'"errors":', b'"problems":', b'"kind":', b'"why":', b'"since":', b'"settings":', b'"digest":'),
)

_REPORTS = st.fixed_dictionaries(
    {},
    optional={
        "down": st.lists(st.text(max_size=5), max_size=3),
        "backends": st.dictionaries(
            st.text(max_size=4), st.dictionaries(st.text(max_size=4), st.just({"requests": 1, "errors": 0}), max_size=2)
        ),
        "problems": st.lists(st.just({"kind": "held", "why": "x", "since": 1}) | json_values, max_size=2),
        "settings": st.lists(st.just({"id": "backend/a", "digest": "", "applied": True}) | json_values, max_size=2),
        "other": json_values,
    },
)

NEAR = documents_of(
    {"state": "drain"}, {"state": st.sampled_from(["up", "maint", "down"]), "for": st.floats(0, 1e9)}
) | documents_of(
    {"cursor": "k3f9-1042"},
    {"report": _REPORTS | json_values, "instance": st.from_regex(r"\A[a-z0-9_-]{1,9}\Z") | st.text(max_size=3)},
)


def fuzz(sent: bytes) -> None:
    """A body is refused as `Invalid`, or becomes a state with an end or a confirmation that peers can decode."""
    with suppress(Invalid):
        require_empty_body(sent, "for a test")
        assert not sent.strip() or msgspec.json.decode(sent) == {}
    with suppress(Invalid):
        word = parse_override(sent)
        assert LASTING_S_MIN <= word.lasts_s <= LASTING_S_MAX
        assert state_in(ConfigSetting("state/a/1/h/1", 1, 1, 1, "", word.state.encode())) == word.state
    try:
        confirmation = parse_confirmation(sent)
    except Invalid:
        return
    assert confirmation.cursor is not None or confirmation.report is not None
    again = msgspec.json.decode(msgspec.json.encode(confirmation), type=Confirmation)
    assert again == confirmation
    assert report_of(msgspec.to_builtins(confirmation.report)) == confirmation.report
