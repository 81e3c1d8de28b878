"""Issue certificates for a cluster: a CA for this cluster, and certificates for its machines.

The holder of a certificate of this CA can be a peer. So the CA must be used for one cluster only, and sign no other
certificates. Files are replaced as a whole, and only their owner can read keys.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import NamedTemporaryFile

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bender.tls.identity import AUTHORITY_FILE, AUTHORITY_KEY_FILE, CERTIFICATE_FILE, KEY_FILE

#: The period of validity of a CA.
AUTHORITY_LASTS = timedelta(days=3650)

#: Validity begins by this much earlier than now, because clocks of machines differ.
BEFORE_NOW = timedelta(hours=1)

#: Characters of a common name (X.520). A longer name is complete only in the alternative names.
_COMMON_NAME_MAX = 64

_MODE_OF_KEYS = 0o600
_MODE_OF_CERTIFICATES = 0o644


@frozen
class Authority:
    """A CA: its certificate, and the key with which it signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def is_in(self, path: Path) -> bool:
        """Return True if a file has the certificate of this CA, perhaps among others."""
        try:
            return self.certificate in x509.load_pem_x509_certificates(path.read_bytes())
        except ValueError:
            return False


def make_authority(name: str, now: datetime) -> Authority:
    """Return a new CA with this common name. Its validity begins at `now`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_MAX])])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _dated(subject, now, AUTHORITY_LASTS)
        .issuer_name(subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def load_authority(directory: Path) -> Authority:
    """Return the CA in a directory. Raises `ValueError` with a clause about the file that is wrong."""
    certificate_file, key_file = directory / AUTHORITY_FILE, directory / AUTHORITY_KEY_FILE
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except OSError as error:
        raise ValueError(f"{certificate_file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{certificate_file} does not hold a certificate (PEM)") from error
    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except OSError as error:
        raise ValueError(f"{key_file} cannot be read: {error.strerror}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key_file} does not hold a private key without a password (PEM)") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{key_file} is not an elliptic-curve key: use a CA that was made with bender certs")  # noqa: TRY004 - a content of a file
    if key.public_key() != certificate.public_key():
        raise ValueError(f"{key_file} is not the key of the CA in {certificate_file}")
    return Authority(certificate, key)


def issue(authority: Authority, hosts: Sequence[str], now: datetime, lasts: timedelta) -> tuple[bytes, bytes]:
    """Return a new certificate for host names and addresses, and its key, both in PEM.

    The certificate is for both ends of a connection, because a node uses it as the server and as the client of its
    peers. It does not last longer than the CA. Raises `ValueError` with a clause if the CA has expired.
    """
    if authority.certificate.not_valid_after_utc <= now:
        expired = authority.certificate.not_valid_after_utc
        raise ValueError(f"the CA expired on {expired:%Y-%m-%d}: make another one in another directory")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:_COMMON_NAME_MAX])])
    ends = min(now + lasts, authority.certificate.not_valid_after_utc)
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _dated(subject, now, ends - now)
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(purposes, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(signer, critical=False)
    )
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM), _key_pem(key)


def write_authority(directory: Path, authority: Authority) -> list[Path]:
    """Write a CA with its key to a directory, and return the files."""
    _write(directory / AUTHORITY_KEY_FILE, _key_pem(authority.key), _MODE_OF_KEYS)
    _write(directory / AUTHORITY_FILE, authority.pem, _MODE_OF_CERTIFICATES)
    return [directory / AUTHORITY_FILE, directory / AUTHORITY_KEY_FILE]


def write_certificate(directory: Path, authority: Authority, certificate_pem: bytes, key_pem: bytes) -> list[Path]:
    """Write a certificate, its key and the CA's certificate to a directory, and return the files.

    A file of authorities that has the CA among others stays as it is.
    """
    _write(directory / KEY_FILE, key_pem, _MODE_OF_KEYS)
    _write(directory / CERTIFICATE_FILE, certificate_pem, _MODE_OF_CERTIFICATES)
    files = [directory / CERTIFICATE_FILE, directory / KEY_FILE]
    trusted = directory / AUTHORITY_FILE
    if trusted.exists() and authority.is_in(trusted):
        return files
    _write(trusted, authority.pem, _MODE_OF_CERTIFICATES)
    return [trusted, *files]


def _dated(subject: x509.Name, now: datetime, lasts: timedelta) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - BEFORE_NOW).not_valid_after(now + lasts)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file as a whole and with its final permissions. As root, keep the owner of a file that is replaced."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            os.fchmod(file.fileno(), mode)
            if path.exists() and os.geteuid() == 0:
                os.fchown(file.fileno(), path.stat().st_uid, path.stat().st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
