"""The certificate and key of a node, as files in a directory: `cert.pem`, `key.pem`, and `ca.pem` for peers.

All of it is checked when it is read, so that what a node uses is whole: nothing is replaced by files that do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

CERTIFICATE_FILE = "cert.pem"
KEY_FILE = "key.pem"
AUTHORITY_FILE = "ca.pem"
AUTHORITY_KEY_FILE = "ca-key.pem"

#: No certificate or key is as long.
FILE_BYTES_MAX = 1024 * 1024


@frozen
class TlsIdentity:
    """A certificate with the others of its chain, the key, and the authorities that peers must have. All in PEM.

    Two are equal if their files have the same content. `expires` is when the first of the certificates is no longer
    valid, in UTC, and `expiring` the file that has it; `begins` is since when all of them are.
    """

    directory: str = field(eq=False)
    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    authorities_pem: bytes
    expires_at: datetime = field(eq=False)
    expiring_file: str = field(eq=False)
    valid_from: datetime = field(eq=False)

    @property
    def chain(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.chain_pem)

    @property
    def authorities(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.authorities_pem) if self.authorities_pem else []


def load_identity(directory: str, *, authorities: bool) -> TlsIdentity:
    """Return what the files in a directory hold, with `ca.pem` only where `authorities` are needed.

    Raises `ValueError` with a clause that names the file and what is wrong with it.
    """
    folder = Path(directory)
    chain_pem, chain = _certificates(folder / CERTIFICATE_FILE)
    key_pem = _read(folder / KEY_FILE)
    try:
        key = load_pem_private_key(key_pem, password=None)
    except TypeError as error:
        raise ValueError(f"{folder / KEY_FILE} is encrypted: a node has nobody to ask for the password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{folder / KEY_FILE} does not hold a private key (PEM)") from error
    if _public(key.public_key()) != _public(chain[0].public_key()):
        raise ValueError(f"{folder / KEY_FILE} is not the key of the certificate in {folder / CERTIFICATE_FILE}")
    authorities_pem, trusted = _certificates(folder / AUTHORITY_FILE) if authorities else (b"", [])
    valid_from = max(certificate.not_valid_before_utc for certificate in (*chain, *trusted))
    expires_at, expiring_file = min(
        (certificate.not_valid_after_utc, str(folder / name))
        for name, certificates in ((CERTIFICATE_FILE, chain), (AUTHORITY_FILE, trusted))
        for certificate in certificates
    )
    return TlsIdentity(directory, chain_pem, key_pem, authorities_pem, expires_at, expiring_file, valid_from)


def require_signed(identity: TlsIdentity) -> None:
    """Raise `ValueError` if no authority of an identity has signed its chain: peers, which have the same, refuse it."""
    for certificate in identity.chain:
        for authority in identity.authorities:
            with suppress(ValueError, TypeError, InvalidSignature):
                certificate.verify_directly_issued_by(authority)
                return
    folder = Path(identity.directory)
    raise ValueError(
        f"{folder / CERTIFICATE_FILE} is not signed by a CA in {folder / AUTHORITY_FILE}: peers would not accept it"
    )


def _certificates(path: Path) -> tuple[bytes, Sequence[x509.Certificate]]:
    pem = _read(path)
    try:
        return pem, x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueError(f"{path} does not hold a certificate (PEM)") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]  # all kinds of public keys have it
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
