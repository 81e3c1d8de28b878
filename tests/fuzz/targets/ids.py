"""Ids of instances, and the paths of requests about them (`bender.core.model`, `bender.client.paths`)."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from hypothesis import strategies as st

from bender.api.responses import location
from bender.client.paths import explain_path, path_of
from bender.core.admin_state import key_of_state, registration_of
from bender.core.invalid import Invalid
from bender.core.model import canonical_id, registration_key

BYTES_MAX = 1200
WORDS = (b"registration/", b"/", b"..", b"%2F", b"%", b"?", b"#", b"FE80::1", b"65536", b"\xc2\xa0", b"\xe2\x80\xae")

_PARTS = st.text(max_size=12) | st.sampled_from(
    ["web", "1.2.0", "10.0.0.5", "FE80::1", "Host.", "8080", "0", "..", "%2F", "a%b", "a?b#c", ""]
)
_KINDS = st.sampled_from(["registration", "registrations", "backend", ""])
_IDS = st.tuples(_PARTS, _PARTS, st.sampled_from(["10.0.0.5", "FE80::1", "Host."]), st.sampled_from(["8080", "080"]))
_OTHERS = st.tuples(_KINDS, st.lists(_PARTS, max_size=5)).map(lambda parts: "/".join([parts[0], *parts[1]]))
NEAR = (_OTHERS | _IDS.map(lambda parts: "/".join(["registration", *parts]))).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)

EXAMPLES = (b"registration/a%41/1?2#3/FE80::1/080", b"registration/\xc3\xa9/1/host./80")


def fuzz(sent: bytes) -> None:
    """An id has one canonical form, and the path of a request contains each of its parts unchanged."""
    text = sent.decode("utf-8", "surrogateescape")
    id_ = canonical_id(text)
    assert canonical_id(id_) == id_
    kind, *parts = text.split("/")
    if kind != "registration" or len(parts) != 4:
        assert id_ == text
        return
    try:
        key = registration_key((parts[0], parts[1], parts[2], parts[3]))
    except Invalid:
        assert id_ == text
        return
    assert id_ == key and key.isprintable() and key.count("/") == 4, key
    assert registration_of(key_of_state(key)) == key
    for path, prefix in (
        (path_of(key), "/registrations/"),
        (explain_path(key), "/explain/registration/"),
        (location(key).decode("ascii"), "/registrations/"),
    ):
        url = urlsplit(f"http://node:1729{path}")
        assert (url.path, url.query, url.fragment) == (path, "", ""), path
        app, version, host, port = map(unquote, path.removeprefix(prefix).split("/"))
        assert registration_key((app, version, host, port)) == key
