"""Lines from HAProxy for a check of a server, whole and in pieces (`bender.protocols.agent_check`)."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from hypothesis import strategies as st
from twisted.internet.task import Clock

from bender.core.admin_state import Override
from bender.core.model import RegistrationRequest, canonical_id
from bender.net.fair_turns import Turns
from bender.protocols.agent_check import LINE_BYTES_MAX, AgentCheckFactory
from tests.api.conversation import a_node
from tests.fuzz.documents import damaged
from tests.fuzz.target import in_pieces
from tests.protocols.test_agent_check import HaproxyCheck

#: The instances of a node, with the answer about each.
ANSWERS = {
    "registration/web/1.2.0/10.0.0.5/8080": b"ready up 300%\n",
    "registration/caf\u00e9 %/1/::1/80": b"drain\n",
    "registration/registration/1/a.example/80": b"maint\n",
}

WORDS = (b"registration/", b"web/1.2.0/10.0.0.5/8080", b"caf%C3%A9 %25/1/::1/80", b"/1/a.example/80", b"%3A", b"\n")

_LINES = st.sampled_from(
    [
        b"web/1.2.0/10.0.0.5/8080\n",
        b"registration/web/1.2.0/10.0.0.5/8080",
        b"registration/1/A.Example./80\r\n",
        "caf\u00e9 %25/1/0:0::1/80\n".encode(),
        b"caf%C3%A9%20%25/1/%3A%3A1/80\n",
        b" " * LINE_BYTES_MAX + b"web/1.2.0/10.0.0.5/8080\n",
    ]
)
NEAR = st.lists(damaged(_LINES), min_size=1, max_size=3).map(b"".join)


def fuzz(sent: bytes) -> None:
    """The answer is about the instance in the first line. For any other complete line, the connection is closed."""
    answer, closed = outcome = _outcome([sent])
    assert outcome == _outcome([*in_pieces(sent)])
    line, end, _ = sent.partition(b"\n")
    assert closed == bool(end or len(line) > LINE_BYTES_MAX)
    assert not answer or answer == ANSWERS[_named(line)]
    if end and line.decode("utf-8", "replace") in ANSWERS and b"%" not in line:
        assert answer


def _named(line: bytes) -> str:
    """Return the id in a line that was answered, without use of the parser."""
    path = unquote_to_bytes(line.strip()).decode()
    return canonical_id(path if canonical_id(path) in ANSWERS else f"registration/{path}")


def _outcome(pieces: list[bytes]) -> tuple[bytes, bool]:
    clock = Clock()
    node = a_node(clock)
    for key, answer in ANSWERS.items():
        _, app, version, host, port = key.split("/")
        node.register(RegistrationRequest(app, version, host, int(port), weight=3))
        if answer in (b"drain\n", b"maint\n"):
            node.set_state(key, Override(answer.decode().strip(), 60.0), "somebody")  # type: ignore[arg-type]
    check = HaproxyCheck(AgentCheckFactory(node, clock, Turns(clock)))
    for piece in pieces:
        check.send(piece)
    clock.advance(0)
    outcome = check.outcome()
    check.lose()
    return outcome
