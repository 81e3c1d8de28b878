"""Directories with certificates and files with tokens, as operators name them in options."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from bender.tls.issuing import Authority, issue, write_certificate
from tests.access.known import SCOPES, hash_of
from tests.tls.in_memory import DAY, now


def write_tls(
    directory: str, authority: Authority, hosts: Sequence[str] = ("n1",), lasts: timedelta = 100 * DAY
) -> str:
    """Put a new certificate of an authority into a directory, and return the directory."""
    Path(directory).mkdir(exist_ok=True)
    write_certificate(Path(directory), authority, *issue(authority, hosts, now(), lasts))
    return directory


def write_tokens(path: str, *names: str, **scopes: list[str]) -> str:
    """Write a file with tokens of `SCOPES`, or with other scopes, and return its path."""
    tables = {name: SCOPES[name] for name in names} | scopes
    lines = [f'[[token]]\nname = "{name}"\nsha256 = "{hash_of(name)}"\nscopes = {tables[name]}\n' for name in tables]
    Path(path).write_text("".join(lines).replace("'", '"'))
    return path
