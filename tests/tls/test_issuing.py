"""Certificates for a cluster: their content and their files."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.trial.unittest import SynchronousTestCase

from bender.tls.connections import names_of
from bender.tls.identity import load_identity
from bender.tls.issuing import Authority, issue, load_authority, make_authority, write_authority, write_certificate

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


def issued(authority: Authority, *hosts: str, at: datetime = AT, lasts: timedelta = YEAR) -> x509.Certificate:
    pem, _ = issue(authority, hosts or ["n1"], at, lasts)
    return x509.load_pem_x509_certificate(pem)


class Authorities(SynchronousTestCase):
    def setUp(self) -> None:
        self.certificate = make_authority("bender CA", AT).certificate

    def test_an_authority(self) -> None:
        """A CA signs itself and certificates of machines, but no other CA."""
        self.certificate.verify_directly_issued_by(self.certificate)
        constraints = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertEqual(
            (constraints.value, constraints.critical), (x509.BasicConstraints(ca=True, path_length=0), True)
        )
        usage = self.certificate.extensions.get_extension_for_class(x509.KeyUsage)
        self.assertEqual((permitted(usage.value), usage.critical), ({"key_cert_sign", "crl_sign"}, True))
        self.assertEqual(common_name(self.certificate), "bender CA")

    def test_its_time(self) -> None:
        """A CA is valid for ten years, beginning an hour before now, because the clocks of machines differ."""
        self.assertEqual(self.certificate.not_valid_before_utc, AT - timedelta(hours=1))
        self.assertEqual(self.certificate.not_valid_after_utc, AT + timedelta(days=3650))

    def test_each_is_another(self) -> None:
        """Two CAs differ in number and key, even if they have the same name."""
        other = make_authority("bender CA", AT).certificate
        self.assertNotEqual(other.serial_number, self.certificate.serial_number)
        self.assertNotEqual(other.public_key(), self.certificate.public_key())


class Certificates(SynchronousTestCase):
    def setUp(self) -> None:
        self.authority = make_authority("bender CA", AT)

    def test_a_certificate(self) -> None:
        """A certificate is signed by the CA, is not a CA, and is valid for servers and clients."""
        certificate = issued(self.authority)
        certificate.verify_directly_issued_by(self.authority.certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertEqual((constraints.value.ca, constraints.critical), (False, True))
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        self.assertEqual(permitted(usage), {"digital_signature"})
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual({*purposes}, {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})

    def test_its_names(self) -> None:
        """Names are host names and addresses in the given order; the first name is also the common name."""
        hosts = ["n1.example.org", "10.0.0.1", "fd00::1", "*.n1.example.org"]
        certificate = issued(self.authority, *hosts)
        self.assertEqual(names_of(certificate), hosts)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        kinds = [type(name) for name in names]
        self.assertEqual(kinds, [x509.DNSName, x509.IPAddress, x509.IPAddress, x509.DNSName])
        self.assertEqual(common_name(certificate), "n1.example.org")

    def test_a_long_name(self) -> None:
        """The common name is cut to 64 characters, and the alternative name is complete."""
        host = f"{'a' * 60}.example.org"
        certificate = issued(self.authority, host)
        self.assertEqual((names_of(certificate), common_name(certificate)), ([host], host[:64]))

    def test_its_time(self) -> None:
        """A certificate is valid for the requested time, but not longer than the CA."""
        for at, lasts, ends in (
            (AT, YEAR, AT + YEAR),
            (AT + 9 * YEAR, YEAR, AT + 10 * YEAR),
            (AT + 9.9 * YEAR, YEAR, AT + timedelta(days=3650)),
        ):
            certificate = issued(self.authority, at=at, lasts=lasts)
            self.assertEqual(certificate.not_valid_after_utc, ends)
            self.assertEqual(certificate.not_valid_before_utc, at - timedelta(hours=1))

    def test_an_authority_that_has_expired(self) -> None:
        """A CA that has expired signs nothing."""
        for late in (timedelta(0), timedelta(minutes=30), YEAR):
            error = self.assertRaises(ValueError, issued, self.authority, at=AT + timedelta(days=3650) + late)
            self.assertEqual(str(error), "the CA expired on 2036-11-27: make another one in another directory")

    def test_what_others_must_understand(self) -> None:
        """The constraints and the usage are critical: a program that does not know them refuses it (RFC 5280, 4.2)."""
        for certificate in (self.authority.certificate, issued(self.authority)):
            critical = {type(each.value) for each in certificate.extensions if each.critical}
            self.assertEqual(critical, {x509.BasicConstraints, x509.KeyUsage})

    def test_each_has_a_key_of_its_own(self) -> None:
        pems = {issue(self.authority, ["n1"], AT, YEAR)[1] for _ in range(3)}
        self.assertEqual(len(pems), 3)


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = make_authority("bender CA", AT)

    def modes(self) -> dict[str, str]:
        return {file.name: oct(file.stat().st_mode & 0o777) for file in self.directory.iterdir()}

    def test_of_an_authority(self) -> None:
        """Only the owner can read the key, with any umask, and no temporary file is left."""
        before = os.umask(0)
        try:
            files = write_authority(self.directory, self.authority)
        finally:
            os.umask(before)
        self.assertEqual(files, [self.directory / "ca.pem", self.directory / "ca-key.pem"])
        self.assertEqual(self.modes(), {"ca.pem": "0o644", "ca-key.pem": "0o600"})
        loaded = load_authority(self.directory)
        self.assertEqual(loaded.certificate, self.authority.certificate)
        self.assertEqual(loaded.key.private_numbers(), self.authority.key.private_numbers())

    def test_of_a_certificate(self) -> None:
        """The files have the right modes, and a node can load them."""
        files = write_certificate(self.directory, self.authority, *issue(self.authority, ["n1"], AT, YEAR))
        self.assertEqual([file.name for file in files], ["ca.pem", "cert.pem", "key.pem"])
        self.assertEqual(self.modes(), {"ca.pem": "0o644", "cert.pem": "0o644", "key.pem": "0o600"})
        self.assertEqual(load_identity(str(self.directory), authorities=True).expires_at, AT + YEAR)

    def test_replaced(self) -> None:
        """New files replace the old ones with the same owner and the right modes."""
        old = self.directory / "key.pem"
        old.write_text("old")
        old.chmod(0o644)
        if os.geteuid() == 0:
            os.chown(old, 4711, 4712)  # as the user of a node
        owner = old.stat().st_uid, old.stat().st_gid
        certificate_pem, key_pem = issue(self.authority, ["n1"], AT, YEAR)
        write_certificate(self.directory, self.authority, certificate_pem, key_pem)
        self.assertEqual((self.directory / "key.pem").read_bytes(), key_pem)
        self.assertEqual(self.modes()["key.pem"], "0o600")
        self.assertEqual((old.stat().st_uid, old.stat().st_gid), owner)

    def test_not_written(self) -> None:
        """If a file cannot be replaced, no temporary file is left."""
        (self.directory / "key.pem").mkdir()
        self.assertRaises(
            OSError, write_certificate, self.directory, self.authority, *issue(self.authority, ["n1"], AT, YEAR)
        )
        self.assertEqual([file.name for file in self.directory.iterdir()], ["key.pem"])


class LoadingAuthorities(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        write_authority(self.directory, make_authority("bender CA", AT))

    def refused(self, problem: str) -> None:
        error = self.assertRaises(ValueError, load_authority, self.directory)
        self.assertEqual(str(error), problem.replace("{}", str(self.directory)))

    def test_missing_files(self) -> None:
        """A directory without the key of the CA cannot sign certificates."""
        (self.directory / "ca-key.pem").unlink()
        self.refused("{}/ca-key.pem cannot be read: No such file or directory")
        (self.directory / "ca.pem").unlink()
        self.refused("{}/ca.pem cannot be read: No such file or directory")

    def test_other_content(self) -> None:
        certificate = (self.directory / "ca.pem").read_bytes()
        for content in (b"", b"text", certificate):
            (self.directory / "ca-key.pem").write_bytes(content)
            self.refused("{}/ca-key.pem does not hold a private key without a password (PEM)")
        (self.directory / "ca.pem").write_bytes(b"text")
        self.refused("{}/ca.pem does not hold a certificate (PEM)")

    def test_another_key(self) -> None:
        other = Path(self.mktemp())
        other.mkdir()
        write_authority(other, make_authority("bender CA", AT))
        (self.directory / "ca-key.pem").write_bytes((other / "ca-key.pem").read_bytes())
        self.refused("{}/ca-key.pem is not the key of the CA in {}/ca.pem")

    def test_a_key_of_another_kind(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        (self.directory / "ca-key.pem").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        self.refused("{}/ca-key.pem is not an elliptic-curve key: use a CA that was made with bender certs")


def permitted(usage: x509.KeyUsage) -> set[str]:
    """Return the uses that a key permits."""
    uses = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    return {use for use in (*uses, "key_cert_sign", "crl_sign") if getattr(usage, use)}


def common_name(certificate: x509.Certificate) -> str:
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)
