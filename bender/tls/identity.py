"""The certificate and key of a node, as files in a directory: `cert.pem`, `key.pem`, and `ca.pem` for peers.

All files are checked together when they are read. So a node never replaces its certificate by files that do not fit
together.
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

#: Bytes that are read of a file. No certificate or key is longer.
FILE_BYTES_MAX = 1024 * 1024


@frozen
class TlsIdentity:
    """A certificate with its chain, its key, and the CAs that sign the certificates of peers, all in PEM.

    Two identities are equal if their files have the same content. `valid_from` and `expires_at` are the times in UTC
    from and until which all certificates are valid; `expiring_file` has the certificate that expires first.
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
        """The certificate, followed by the others of its chain."""
        return x509.load_pem_x509_certificates(self.chain_pem)

    @property
    def authorities(self) -> list[x509.Certificate]:
        """The certificates of the CAs; none if `ca.pem` was not loaded."""
        return x509.load_pem_x509_certificates(self.authorities_pem) if self.authorities_pem else []


def load_identity(directory: str, *, authorities: bool) -> TlsIdentity:
    """Return the identity in the files of a directory. `ca.pem` is read only if `authorities` is True.

    Raises `ValueError` with a clause about the file that is wrong.
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
    """Raise `ValueError` if no CA of an identity has signed its chain. Peers with the same CAs would refuse it."""
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
