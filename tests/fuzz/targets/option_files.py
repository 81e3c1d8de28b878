"""Files with the options of a node (`bender.process.options`, `bender.daemon.options`)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import strategies as st

from bender.core.ttl_limits import TTL_INTERVALS_MIN
from bender.daemon.options import OPTIONS, validate_options
from bender.process.options import OptionError, from_toml
from tests.fuzz.documents import damaged

BYTES_MAX = 5000
WORDS = (
    *(f"{option} = ".encode() for option in OPTIONS),
    *(
        b'"tcp:1729:interface=127.0.0.1"',
        b'"unix:/tmp/a"',
        b'"ssl:',
        b'"tcp6:',
        b":interface=\\\\:\\\\:1",
        b"backlog=",
        b"[]",
    ),
    *(b'"10s"', b"true", b"inf", b"nan", b"1e400", b"\\u0000", b'"h:1730,[::1]:1"', b"\n"),
)

_VALUES = st.sampled_from(
    [
        '"tcp:1729:interface=127.0.0.1"',
        '"tcp:1729"',
        '"unix:/tmp/a:mode=600"',
        '"tcp6:1:interface=\\\\:\\\\:1"',
        '"tcp:70000"',
        '"ssl:443"',
        '"a:1730, [::1]:1"',
        '["a", "b:1"]',
        "10",
        "0.25",
        '"1m30s"',
        "inf",
        "true",
        "1" + "0" * 400,
        "0x" + "F" * 4000,
        '"\\u001b"',
        "{ a = 1 }",
        "2026-11-30",
    ]
)
_LINES = st.tuples(st.sampled_from([*OPTIONS, "naem"]), _VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}\n")
NEAR = damaged(st.lists(_LINES, max_size=5).map(lambda lines: "".join(lines).encode()))

_FOLDER = Path(tempfile.gettempdir())

EXAMPLES = (f"ttl = 0x{'F' * 4000}\n".encode(), b'api = "unix:/a\\tb"\n')


def fuzz(sent: bytes) -> None:
    """A file is refused with a sentence, or has options with which a node can start."""
    path = _FOLDER / f"bender-options-{os.getpid()}.toml"
    path.write_bytes(sent)
    try:
        options = validate_options(from_toml(str(path), OPTIONS, "twistd bender"), "host")
    except OptionError as error:
        sentence = str(error)
        assert sentence.endswith("."), sentence
        return
    finally:
        path.unlink()
    assert options.timing.ttl_s >= TTL_INTERVALS_MIN * options.timing.interval_s > 0
    assert options.insecure or all(endpoint.is_loopback for endpoint in options.endpoints.values())
    assert options.name.isprintable() and options.cluster.isprintable()
    assert all(endpoint.listen_description for endpoint in options.endpoints.values())
