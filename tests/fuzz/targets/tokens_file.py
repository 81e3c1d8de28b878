"""Files of tokens (`bender.daemon.token_file`, `bender.core.scopes`)."""

from __future__ import annotations

import os
import tempfile
from hashlib import sha256
from pathlib import Path

from hypothesis import strategies as st

from bender.core.scopes import parse_scopes
from bender.daemon.token_file import TOKENS_MAX, read_tokens
from bender.process.options import OptionError
from tests.fuzz.documents import damaged

BYTES_MAX = 2048

_HASHES = [sha256(secret).hexdigest() for secret in (b"one", b"two", b"three", b"")]
WORDS = (
    *(
        b"[[token]]\n",
        b"[token]\n",
        b'name = "a"\n',
        b'sha256 = "',
        b'scopes = ["read"]\n',
        b'"register:web-*"',
        b"admin",
    ),
    *(b"configure", b"[]", b"\\u0000", b"*" * 9, *(digest.encode() for digest in _HASHES)),
)

_SCOPES = st.lists(
    st.sampled_from(["read", "configure", "admin", "register:web-*", "register:*"])
    | st.sampled_from(["register:", "register:a/b", "reed", "register:" + "*" * 9]),
    min_size=1,
    max_size=2,
).map(lambda scopes: f"scopes = {scopes}\n")
_FIELDS = st.tuples(
    st.sampled_from([f'name = "{name}"\n' for name in "abcd"]) | st.sampled_from(["name = 1\n", 'name = " "\n', ""]),
    st.sampled_from([f'sha256 = "{digest}"\n' for digest in _HASHES[:2]]) | st.just('sha256 = "12"\n'),
    _SCOPES,
).map("".join)
NEAR = damaged(
    st.lists(_FIELDS, max_size=3).map(lambda tables: "".join(f"[[token]]\n{table}" for table in tables).encode())
)

_FOLDER = Path(tempfile.gettempdir())

_TABLE = '[[token]]\nname = "%s"\nsha256 = "%s"\nscopes = ["read"]\n'
EXAMPLES = (
    (_TABLE % ("a", _HASHES[0]) + _TABLE % ("b", _HASHES[1])).encode(),
    (_TABLE % ("a", _HASHES[0]) + _TABLE % ("b", _HASHES[0])).encode(),
    (_TABLE % ("a", _HASHES[0]) + _TABLE % ("a", _HASHES[1])).encode(),
    (_TABLE % ("a", _HASHES[3])).encode(),
)


def fuzz(sent: bytes) -> None:
    """A file is refused with a sentence that contains no hash, or has tokens with different names and hashes."""
    path = _FOLDER / f"bender-tokens-{os.getpid()}.toml"
    path.write_bytes(sent)
    try:
        tokens = read_tokens(str(path))
    except OptionError as error:
        sentence = str(error)
        assert sentence.endswith("."), sentence
        assert not any(digest in sentence for digest in _HASHES if _is_hash_alone(digest, sent)), sentence
        return
    finally:
        path.unlink()
    assert 1 <= len(tokens) <= TOKENS_MAX
    assert len({token.name for token in tokens}) == len({token.sha256 for token in tokens}) == len(tokens)
    for token in tokens:
        assert len(token.sha256) == 32 and token.name.strip().isprintable()
        assert parse_scopes(token.scopes.written) == token.scopes
        assert token.scopes.may_register("web-shop") or not token.scopes.is_admin


def _is_hash_alone(digest: str, sent: bytes) -> bool:
    """Return True if a text is only the value of a hash. As a name or key, the error would quote it."""
    return sent.count(digest.encode()) == sent.count(f'\nsha256 = "{digest}"'.encode())
