"""Finds HAProxy's TLS certificates in the operator's files, checks them and copies them.

Each set of copies is a folder that is named by a hash of its content. So a renewed certificate changes the
configuration: HAProxy checks the new one and loads it without a lost request, or keeps the previous one. HAProxy reads
only copies, so an original file that is incomplete, wrong or removed never keeps HAProxy from starting.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from tempfile import NamedTemporaryFile, mkdtemp

from attrs import frozen

from bender.haproxy.core.names import safe

#: Names of files that may be certificates.
_SUFFIXES = (".pem", ".crt")

#: The names of certbot's files, in a folder for each certificate.
_CHAIN, _KEY = "fullchain.pem", "privkey.pem"

#: The number of sets that are kept. HAProxy uses an older set if it refuses the last one.
_SETS_MAX = 3

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----")
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_LOCKED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)

#: The key in `FoundCertificates.problems` of a problem with all certificates.
_ALL = ""


@frozen
class FoundCertificates:
    """The usable certificates by name, each with its chain and key, and by name the problems of the others."""

    usable: Mapping[str, bytes]
    problems: Mapping[str, str]


@frozen
class StoredCertificates:
    """The folder with the copies, None if there are none, and by name the problems of unusable certificates."""

    folder: Path | None
    problems: Mapping[str, str]


def copies_folder_of(output: Path) -> Path:
    """Return the folder for the copies, beside the file with HAProxy's configuration."""
    return output.absolute().with_name(f"{output.name}.certificates")


def file_signature(source: Path) -> tuple[object, ...]:
    """Return a value that differs after any of the files has changed."""
    found: list[object] = []
    with suppress(OSError):
        for _, certificate, keys in _sources(source):
            for path in (certificate, *keys):
                with suppress(OSError):
                    state = path.stat()  # follows links, which certbot uses
                    found.append((str(path), state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino))
    return (*found,)


def find_certificates(source: Path) -> FoundCertificates:
    """Read and check the certificates in a file or a folder."""
    usable: dict[str, bytes] = {}
    problems: dict[str, str] = {}
    try:
        for name, certificate, keys in _sources(source):
            try:
                content = certificate.read_bytes()
                if _CERTIFICATE.search(content):  # the file may also be only a key, or DH parameters
                    usable[name] = _with_key(content, keys)
            except OSError as error:
                problems[name] = f"{certificate} cannot be read: {error.strerror}"
            except ValueError as error:
                problems[name] = f"{certificate} {error}"
    except OSError as error:
        problems[_ALL] = f"{source} cannot be read: {error.strerror}"
    if not usable and not problems:
        problems[_ALL] = (
            f"{source} has no certificate: add .pem files with a certificate, its chain and its key, or folders with "
            f"{_CHAIN} and {_KEY}"
        )
    return FoundCertificates(usable, problems)


class CertificateStore:
    """The copies, in a folder that only this user can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, source: Path, in_use: str = "") -> StoredCertificates:
        """Copy the certificates in `source`. An unusable certificate keeps its previous copy, if there is one.

        Delete old sets, but not those whose path is in the text `in_use`. Raises `OSError` if the copies cannot be
        written.
        """
        found = find_certificates(source)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        before = self._last() if found.problems else {}
        usable = dict(before if _ALL in found.problems else found.usable)
        problems: dict[str, str] = {}
        for name, problem in found.problems.items():
            if name in before:
                usable[name] = before[name]
            kept = name in before or (name == _ALL and before)
            then = "the previous copy stays in use" if kept else "it is left out"
            problems[f"certificates/{name}" if name else "certificates"] = f"{problem}; {then}"
        if not usable:
            return StoredCertificates(None, problems)
        folder = self._write(usable)
        self._forget(folder, in_use)
        return StoredCertificates(folder, problems)

    def last(self) -> Path | None:
        """Return the folder with the last copies; None if none can be read."""
        with suppress(OSError):
            return next(iter(self._sets()), None)
        return None

    def _last(self) -> dict[str, bytes]:
        """Return the copies of the last set, by name."""
        folder = self.last()
        files = [] if folder is None else sorted(folder.iterdir())
        return {file.name.removesuffix(".pem"): file.read_bytes() for file in files}

    def _sets(self) -> list[Path]:
        """Return the folders of all sets, the last one first."""
        sets = [each for each in self._folder.iterdir() if not each.name.startswith(".")]
        return sorted(sets, key=lambda each: each.stat().st_mtime_ns, reverse=True)

    def _write(self, usable: Mapping[str, bytes]) -> Path:
        digest = blake2b(digest_size=12)
        for name, content in sorted(usable.items()):
            digest.update(f"{name}\n{len(content)}\n".encode() + content)
        folder = self._folder / digest.hexdigest()
        if folder.is_dir():
            os.utime(folder)
            return folder
        draft = Path(mkdtemp(dir=self._folder, prefix="."))
        try:
            for name, content in usable.items():
                file = draft / f"{name}.pem"
                file.touch(0o600)
                file.write_bytes(content)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return folder

    def _forget(self, current: Path, in_use: str) -> None:
        for each in self._sets()[_SETS_MAX:]:
            if each != current and str(each) not in in_use:
                shutil.rmtree(each, ignore_errors=True)


def _sources(source: Path) -> Iterator[tuple[str, Path, Sequence[Path]]]:
    """Yield for each file that may be a certificate: its name, its path, and the paths where its key may be.

    Raises `OSError`.
    """
    if source.is_file():
        yield safe(source.name), source, _keys_of(source)
    elif (source / _CHAIN).exists():
        yield safe(source.name), source / _CHAIN, (source / _KEY,)
    else:
        for each in sorted(source.iterdir()):
            if (each / _CHAIN).exists():
                yield safe(each.name), each / _CHAIN, (each / _KEY,)
            elif each.suffix in _SUFFIXES and not each.name.startswith("."):
                yield safe(each.name), each, _keys_of(each)


def _keys_of(certificate: Path) -> Sequence[Path]:
    return certificate.with_suffix(".key"), certificate.with_name(f"{certificate.name}.key")


def _with_key(content: bytes, keys: Sequence[Path]) -> bytes:
    """Return a certificate with its chain and key. Raises `OSError`, and `ValueError` with a clause as its message."""
    if not _PRIVATE_KEY.search(content):
        key = next((each for each in keys if each.exists()), None)
        if key is None:
            raise ValueError(f"has no private key: put it in the same file, or in {keys[0].name} beside it")
        content = content.rstrip(b"\n") + b"\n" + key.read_bytes()
    if _LOCKED.search(content):
        raise ValueError("has a private key that needs a password: store the key without one")
    with NamedTemporaryFile(suffix=".pem") as file:  # only this user can read it
        file.write(content)
        file.flush()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise ValueError(_WHY.get(error.reason or "", f"is not valid ({error.reason or error})")) from None
    return content


_WHY = {"KEY_VALUES_MISMATCH": "has the private key of another certificate"}
