"""The files of a certificate, and the errors for invalid files."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from bender.tls.identity import FILE_BYTES_MAX, TlsIdentity, load_identity, require_signed
from bender.tls.issuing import issue, write_certificate
from tests.tls.in_memory import DAY, an_authority, now, private_key


class IdentityCase(SynchronousTestCase):
    """A directory with a certificate that was signed at midnight."""

    def setUp(self) -> None:
        self.at = now().replace(hour=0, minute=0, second=0, microsecond=0)
        self.authority = an_authority(at=self.at)
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.write(10 * DAY)

    def write(self, lasts: timedelta) -> None:
        certificate_pem, key_pem = issue(self.authority, ["n1"], self.at, lasts)
        write_certificate(self.directory, self.authority, certificate_pem, key_pem)

    def load(self, *, authorities: bool = True) -> TlsIdentity:
        return load_identity(str(self.directory), authorities=authorities)


class Loading(IdentityCase):
    def test_what_is_read(self) -> None:
        """The identity has the content of the files, and `ca.pem` is read only for peers."""
        identity = self.load()
        self.assertEqual(identity.chain_pem, (self.directory / "cert.pem").read_bytes())
        self.assertEqual(identity.key_pem, (self.directory / "key.pem").read_bytes())
        self.assertEqual(identity.authorities_pem, self.authority.pem)
        self.assertEqual(identity.authorities, [self.authority.certificate])
        (self.directory / "ca.pem").unlink()
        alone = self.load(authorities=False)
        self.assertEqual((alone.authorities_pem, alone.authorities), (b"", []))

    def test_a_chain(self) -> None:
        """The certificate of the node comes first in the file, followed by the certificates up to the CA."""
        with (self.directory / "cert.pem").open("ab") as file:
            file.write(self.authority.pem)
        self.assertEqual(self.load().chain[1:], [self.authority.certificate])

    def test_when_it_expires(self) -> None:
        """The identity expires with the first of all its certificates, and has the name of that file."""
        identity = self.load()
        self.assertEqual(
            (identity.expires_at, identity.expiring_file), (self.at + 10 * DAY, f"{self.directory}/cert.pem")
        )
        older = an_authority(at=self.at - 3649 * DAY)
        with (self.directory / "ca.pem").open("ab") as file:
            file.write(older.pem)
        identity = self.load()
        self.assertEqual((identity.expires_at, identity.expiring_file), (self.at + DAY, f"{self.directory}/ca.pem"))
        self.assertEqual(self.load(authorities=False).expires_at, self.at + 10 * DAY)

    def test_one_that_has_expired(self) -> None:
        """An expired certificate is loaded, because a node must warn of it instead of refusing to start."""
        self.at -= 100 * DAY
        self.write(DAY)
        self.assertEqual(self.load().expires_at, self.at + DAY)

    def test_equal(self) -> None:
        """Two identities are equal if their files have the same content, in any directory."""
        other = Path(self.mktemp())
        other.mkdir()
        for file in self.directory.iterdir():
            (other / file.name).write_bytes(file.read_bytes())
        self.assertEqual(load_identity(str(other), authorities=True), self.load())
        before = self.load()
        self.write(10 * DAY)
        self.assertNotEqual(self.load(), before)

    def test_the_key_is_not_shown(self) -> None:
        """The `repr` does not contain the key, because it may reach a log."""
        shown = repr(self.load())
        for line in (self.directory / "key.pem").read_text().splitlines()[1:-1]:
            self.assertNotIn(line, shown)
        self.assertNotIn("PRIVATE", shown)


class Mistakes(IdentityCase):
    def refused(self, problem: str) -> None:
        """Check that loading fails with this clause, in which `{}` is the directory."""
        error = self.assertRaises(ValueError, self.load)
        self.assertEqual(str(error), problem.replace("{}", str(self.directory)))

    def test_missing_files(self) -> None:
        for name in ("ca.pem", "key.pem", "cert.pem"):
            (self.directory / name).unlink()
            self.refused(f"{{}}/{name} cannot be read: No such file or directory")

    def test_a_directory(self) -> None:
        (self.directory / "key.pem").unlink()
        (self.directory / "key.pem").mkdir()
        self.refused("{}/key.pem cannot be read: Is a directory")

    def test_another_authority(self) -> None:
        """The certificate must be signed by one of the CAs in `ca.pem`."""
        require_signed(self.load())
        (self.directory / "ca.pem").write_bytes(an_authority(at=self.at).pem)
        error = self.assertRaises(ValueError, require_signed, self.load())
        problem = f"{self.directory}/cert.pem is not signed by a CA in {self.directory}/ca.pem"
        self.assertEqual(str(error), f"{problem}: peers would not accept it")
        with (self.directory / "ca.pem").open("ab") as file:
            file.write(self.authority.pem)
        require_signed(self.load())

    def test_no_certificate(self) -> None:
        """Files without a valid certificate are refused: empty files, keys, and truncated certificates."""
        certificate, key = ((self.directory / name).read_bytes() for name in ("cert.pem", "key.pem"))
        for name in ("ca.pem", "cert.pem"):
            for content in (b"", b"text", b"\xff\x00", key, certificate[:-60]):
                (self.directory / name).write_bytes(content)
                self.refused(f"{{}}/{name} does not hold a certificate (PEM)")

    def test_no_key(self) -> None:
        certificate, key = ((self.directory / name).read_bytes() for name in ("cert.pem", "key.pem"))
        for content in (b"", b"text", b"\xff\x00", certificate, key[:-60], b"x" * (FILE_BYTES_MAX + 1)):
            (self.directory / "key.pem").write_bytes(content)
            self.refused("{}/key.pem does not hold a private key (PEM)")

    def test_an_encrypted_key(self) -> None:
        """An encrypted key is refused, because a node cannot ask for its password at the start."""
        encrypted = private_key(self.load()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
        )
        (self.directory / "key.pem").write_bytes(encrypted)
        self.refused("{}/key.pem is encrypted: a node has nobody to ask for the password")

    def test_another_key(self) -> None:
        """The key of another certificate is refused: a reread after SIGHUP may find half of a renewal."""
        _, key_pem = issue(self.authority, ["n1"], self.at, DAY)
        (self.directory / "key.pem").write_bytes(key_pem)
        self.refused("{}/key.pem is not the key of the certificate in {}/cert.pem")
