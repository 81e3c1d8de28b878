"""The certificates that HAProxy serves TLS with: found where the operator keeps them, checked, and copied.

Each set of copies is a folder whose name is a hash of its content, so a renewed certificate is another configuration:
HAProxy checks it and loads it without a lost request, or goes on with the one before. HAProxy reads copies alone, so a
file that is half written, wrong or removed never keeps it from starting.
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

#: What certbot calls its files, in a folder for each certificate.
_CHAIN, _KEY = "fullchain.pem", "privkey.pem"

#: Sets that are kept: that before the last one is needed where HAProxy does not take the last one.
_SETS_MAX = 3

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----")
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_LOCKED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)

#: The name in `FoundCertificates.problems` of what is wrong with all of it.
_ALL = ""


@frozen
class FoundCertificates:
    """By name, the certificates that can be used, each with its chain and key, and what is wrong with others."""

    usable: Mapping[str, bytes]
    problems: Mapping[str, str]


@frozen
class StoredCertificates:
    """The folder with the copies, None if there are none; and by name, what cannot be used."""

    folder: Path | None
    problems: Mapping[str, str]


def certificates_beside(output: Path) -> Path:
    """Return the folder for the copies, beside the file with HAProxy's configuration."""
    return output.absolute().with_name(f"{output.name}.certificates")


def file_signature(source: Path) -> tuple[object, ...]:
    """Return a value that is another one after any of the files was changed."""
    found: list[object] = []
    with suppress(OSError):
        for _, certificate, keys in _sources(source):
            for path in (certificate, *keys):
                with suppress(OSError):
                    state = path.stat()  # of what a link leads to: certbot has links
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
                if _CERTIFICATE.search(content):  # and is not a key alone, or parameters
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
    """The copies, in a folder that this user alone can read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, source: Path, in_use: str = "") -> StoredCertificates:
        """Copy the certificates. Of one that cannot be used the copy before stays, if there is any.

        Sets of copies that the text `in_use` names are kept, as are the last ones. Raises `OSError` where nothing can
        be written.
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
        """Return the folder with the last copies, None if there are none that can be read."""
        with suppress(OSError):
            return next(iter(self._sets()), None)
        return None

    def _last(self) -> dict[str, bytes]:
        """The copies of the last set, by name."""
        folder = self.last()
        files = [] if folder is None else sorted(folder.iterdir())
        return {file.name.removesuffix(".pem"): file.read_bytes() for file in files}

    def _sets(self) -> list[Path]:
        """All of them, the last one first."""
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
    """Names, files that may be certificates, and the files in which the key of each may be. Raises `OSError`."""
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
    """A certificate with its chain and its key. Raises `ValueError`, whose message is a clause, and `OSError`."""
    if not _PRIVATE_KEY.search(content):
        key = next((each for each in keys if each.exists()), None)
        if key is None:
            raise ValueError(f"has no private key: put it in the same file, or in {keys[0].name} beside it")
        content = content.rstrip(b"\n") + b"\n" + key.read_bytes()
    if _LOCKED.search(content):
        raise ValueError("has a private key that needs a password: store the key without one")
    with NamedTemporaryFile(suffix=".pem") as file:  # which this user alone can read
        file.write(content)
        file.flush()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise ValueError(_WHY.get(error.reason or "", f"is not valid ({error.reason or error})")) from None
    return content


_WHY = {"KEY_VALUES_MISMATCH": "has the private key of another certificate"}
