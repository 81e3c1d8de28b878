"""Server-sent events of a node, whole and in pieces (`bender.client.sse`)."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from bender.client.event_merge import Change
from bender.client.sse import CURSOR_CHARACTERS_MAX, LINE_BYTES_MAX, SseEvent, SseStream
from tests.fuzz.documents import SITE, WEB, damaged, documents_of, json_values
from tests.fuzz.target import in_pieces

WORDS = (
    *(b"data: ", b"id: k3f9-1\n", b": connected\n\n", b'"event":"online"', b'"cursor":"k3f9-1042"', b'"snapshot":true'),
    *(b'"registration":', b'"backend":', b'"frontend":', msgspec.json.encode(WEB), msgspec.json.encode(SITE), b"\r"),
)

_EVENTS = documents_of(
    {"event": "online", "cursor": "k3f9-1042", "at": 1, "reason": "registered"},
    {
        "event": st.sampled_from(["online", "offline", "changed", "created", "removed", "tick", "synced", "reset"]),
        "registration": st.just(WEB) | json_values,
        "backend": st.just(SITE) | json_values,
        "frontend": st.just({"id": "frontend/a", "name": "a"}) | json_values,
        "snapshot": st.booleans(),
        "cursor": st.text(max_size=4),
    },
)
_LINES = _EVENTS.map(lambda event: b"data: %b\n" % event) | st.sampled_from([b": connected\n\n", b"id: a\n", b"\n"])
NEAR = damaged(st.lists(_LINES, max_size=5).map(b"".join))


def fuzz(sent: bytes) -> None:
    """Each event is passed on unchanged, or skipped. The events do not depend on the pieces of the input."""
    whole, cut = _Listener([sent]), _Listener([*in_pieces(sent)])
    assert whole.heard == cut.heard, (whole.heard, cut.heard)
    assert whole.unreadable == cut.unreadable
    assert whole.problem == cut.problem
    data = [line for line in sent.split(b"\n")[:-1] if line.startswith(b"data: ")]
    assert len(whole.heard) + len(whole.unreadable) <= len(data)
    if not whole.problem:
        assert len(whole.heard) + len(whole.unreadable) == len(data)


class _Listener:
    """A client that receives a stream until its end."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.heard: list[tuple[SseEvent, Change | None]] = []
        self.unreadable: list[str] = []
        clock = Clock()
        stream = SseStream(clock, self._hear, lambda id_, problem: self.unreadable.append(f"{id_} {problem}"))
        stream.makeConnection(StringTransport())
        for piece in pieces:
            stream.dataReceived(piece)
        assert len(stream.unparsed) <= LINE_BYTES_MAX or stream.problem
        stream.connectionLost(Failure(ConnectionDone()))
        assert stream.ended.called
        assert clock.getDelayedCalls() == []
        self.problem = stream.problem

    def _hear(self, event: SseEvent, change: Change | None) -> None:
        assert len(event.cursor) <= CURSOR_CHARACTERS_MAX
        if change is not None:
            assert change.id and change.kind in ("registration", "backend", "frontend")
            msgspec.json.encode(change.body)  # it can be passed on
        self.heard.append((event, change))
