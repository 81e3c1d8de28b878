"""Files of declared configuration (`bender.declared.parser`)."""

from __future__ import annotations

from attrs import evolve
from hypothesis import strategies as st

from bender.declared.document import IMPLIED_FIELDS, Document
from bender.declared.parser import parse_file
from bender.declared.writer import to_toml
from tests.fuzz.documents import damaged

BYTES_MAX = 2048
WORDS = (
    *(
        b"[backends.shop]\n",
        b"[[frontends.www.rules]]\n",
        b'[states."web/1.2.0/10.0.0.5/8080"]\n',
        b'state = "drain"\n',
    ),
    *(
        b"for = ",
        b"until = 2026-11-30T18:00:00Z\n",
        b'app = "web"\n',
        b"canary = { version",
        b"percent = ",
        b'"""',
        b"'''",
    ),
    *(
        b"meta_json = '",
        b"inf",
        b"nan",
        b"0x",
        b"1979-05-27",
        b"= [\n",
        b"\r\n",
        b"# ",
        b".",
        b"[[",
        b"min_members = 1\n",
    ),
)

_LINES = st.sampled_from(
    [
        "[backends.shop]",
        "[backends.'ü b?']",
        "[backends.shop.canary]",
        "[backends.shop.meta]",
        'app = "web"',
        "app = 1",
        'version = "1.2.0"',
        'balance = "leastconn"',
        "percent = 10",
        "percent = inf",
        'health = { path = "/health", interval = 2 }',
        'servers = [\n "a:1",\n # one more\n "[::1]:80"]',
        "min_members = 2",
        "meta_json = '{\"n\": null}'",
        'owner = """\nanna\n"""',
        "since = 2026-11-30",
        "[frontends.www]",
        'backend = "shop"',
        'bind = "*:8080"',
        "[[frontends.www.rules]]",
        'rules = [{ path = "/", backend = "shop" }]',
        'host = "a.example"',
        '[states."web/1.2.0/10.0.0.5/8080"]',
        'state = "drain"',
        "for = 3600",
        'for = "2h"',
        "until = 2026-11-30T18:00:00Z",
        "[more]",
        "backends = 1",
        "# a comment",
        "",
    ]
)
NEAR = damaged(
    st.lists(_LINES, max_size=12).flatmap(
        lambda lines: st.sampled_from(["\n", "\r\n"]).map(lambda end: end.join([*lines, ""]).encode())
    )
)

_NOW_MS = 1_795_447_942_248


def fuzz(sent: bytes) -> None:
    """A file is a document, or has problems with their lines. A document is equal after it is written and read."""
    text = sent.decode("utf-8", "replace")
    parsed = parse_file(text, _NOW_MS)
    lines = text.count("\n") + 1
    for problem in (*parsed.problems, *(problem for _, problem in parsed.unresolved)):
        assert problem.line is None or 1 <= problem.line <= lines, problem
        assert problem.text and problem.with_location("FILE").startswith("FILE:"), problem
    if parsed.problems:
        return
    document = parsed.document
    assert not any(field in IMPLIED_FIELDS for fields in document.backends.values() for field in fields)
    again = parse_file(to_toml(document), _NOW_MS)
    assert again.problems == (), again.problems
    assert again.document == _as_written(document), (again.document, document)


def _as_written(document: Document) -> Document:
    """Return a document whose states end at whole seconds, as in a written file."""
    states = {
        id_: state if state.until_ms is None else evolve(state, until_ms=state.until_ms // 1000 * 1000)
        for id_, state in document.states.items()
    }
    return evolve(document, states=states)
