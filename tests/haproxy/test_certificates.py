"""Certificates: where they are found, which ones are unusable, and the copies of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.certificates import CertificateStore, copies_folder_of, file_signature, find_certificates

AUTHORITY = trustme.CA()
LEAVES = [AUTHORITY.issue_cert(f"shop{number}.example") for number in range(3)]


def chain(number: int) -> bytes:
    return b"".join(each.bytes() for each in LEAVES[number].cert_chain_pems)


def key(number: int) -> bytes:
    return LEAVES[number].private_key_pem.bytes()


def whole(number: int) -> bytes:
    return key(number) + chain(number)


class CertificatesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def put(self, name: str, content: bytes) -> Path:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        return file


class Finding(CertificatesCase):
    def test_files_with_all(self) -> None:
        """A path is one file, or a folder with several files."""
        file = self.put("shop.pem", whole(0))
        self.put("other.crt", whole(1))
        self.assertEqual(find_certificates(file).usable, {"shop.pem": whole(0)})
        self.assertEqual([*find_certificates(self.folder).usable], ["other.crt", "shop.pem"])

    def test_keys_beside(self) -> None:
        """A key may be in a file beside the certificate, with either of the two usual names."""
        self.put("a.crt", chain(0))
        self.put("a.key", key(0))
        self.put("b.pem", chain(1).rstrip())
        self.put("b.pem.key", key(1))
        found = find_certificates(self.folder)
        self.assertEqual((found.problems, [*found.usable]), ({}, ["a.crt", "b.pem"]))
        self.assertEqual(found.usable["b.pem"], chain(1) + key(1))

    def test_as_certbot_has_them(self) -> None:
        """A folder has a subfolder for each certificate, or is the folder of one; other files are ignored."""
        for name, number in (("a.example", 0), ("b.example", 1)):
            self.put(f"{name}/fullchain.pem", chain(number))
            self.put(f"{name}/privkey.pem", key(number))
            self.put(f"{name}/cert.pem", chain(number))
        self.put("README", b"x")
        found = find_certificates(self.folder)
        self.assertEqual((found.problems, [*found.usable]), ({}, ["a.example", "b.example"]))
        self.assertEqual([*find_certificates(self.folder / "b.example").usable.values()], [chain(1) + key(1)])

    def test_what_is_no_certificate(self) -> None:
        """Keys, parameters and hidden files are ignored."""
        self.put("a.pem", whole(0))
        self.put("key.pem", key(1))
        self.put("dh.pem", b"-----BEGIN DH PARAMETERS-----")
        self.put(".hidden.pem", whole(1))
        found = find_certificates(self.folder)
        self.assertEqual((found.problems, [*found.usable]), ({}, ["a.pem"]))

    def test_what_is_wrong(self) -> None:
        """Each unusable certificate is reported with the reason, and the others can be used."""
        locked = load_pem_private_key(key(0), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
        )
        self.put("good.pem", whole(0))
        for name, content, word in (
            ("alone.pem", chain(0), "no private key: put it in the same file, or in alone.key beside it"),
            ("mixed.pem", chain(0) + key(1), "has the private key of another certificate"),
            ("locked.pem", chain(0) + locked, "has a private key that needs a password"),
            ("cut.pem", whole(0)[:-200], "is not valid"),
        ):
            file = self.put(name, content)
            found = find_certificates(self.folder)
            self.assertEqual(([*found.usable], [*found.problems]), (["good.pem"], [name]))
            self.assertIn(f"{file} {word}" if "valid" in word else word, found.problems[name])
            file.unlink()

    def test_nothing(self) -> None:
        """The problem of a folder without certificates names the expected files."""
        self.assertIn("fullchain.pem", find_certificates(self.folder).problems[""])
        self.assertIn("cannot be read", find_certificates(self.folder / "none").problems[""])

    def test_a_change_is_noticed(self) -> None:
        """The signature changes with certificates, with keys, and with the targets of links."""
        self.put("archive/1.pem", whole(0))
        self.put("archive/2.pem", whole(1))
        link = self.folder / "shop.pem"
        link.symlink_to("archive/1.pem")
        before = file_signature(self.folder)
        self.assertEqual(file_signature(self.folder), before)
        link.unlink()
        link.symlink_to("archive/2.pem")
        self.assertNotEqual(file_signature(self.folder), before)
        before = file_signature(self.folder)
        self.put("shop.key", key(0))
        self.assertNotEqual(file_signature(self.folder), before)


class Copies(CertificatesCase):
    def setUp(self) -> None:
        super().setUp()
        self.place = self.folder / "edge.cfg.certificates"
        self.store = CertificateStore(self.place)
        self.source = self.folder / "source"
        self.put("source/shop.pem", whole(0))

    def content(self, folder: Path | None) -> dict[str, bytes]:
        assert folder is not None
        return {file.name: file.read_bytes() for file in folder.iterdir()}

    def test_beside_the_configuration(self) -> None:
        """The copies are beside the configuration, so that two drivers do not share them."""
        self.assertEqual(copies_folder_of(self.folder / "edge.cfg"), self.place)

    def test_a_set(self) -> None:
        """Each set of certificates has a folder that depends on the content, and only this user can read it."""
        taken = self.store.take(self.source)
        self.assertEqual((self.content(taken.folder), taken.problems), ({"shop.pem.pem": whole(0)}, {}))
        self.assertEqual(self.store.take(self.source), taken)
        self.put("source/shop.pem", whole(1))
        self.assertNotEqual(self.store.take(self.source).folder, taken.folder)
        self.put("source/shop.pem", whole(0))
        self.assertEqual(self.store.take(self.source), taken)
        files = [self.place, *self.place.rglob("*")]
        self.assertEqual([file for file in files if file.stat().st_mode & 0o077], [])

    def test_one_that_becomes_unusable(self) -> None:
        """The copy of a certificate that becomes unusable stays, also for the next driver; others are renewed."""
        self.put("source/other.pem", whole(1))
        self.store.take(self.source)
        self.put("source/shop.pem", chain(0))
        self.put("source/other.pem", whole(2))
        taken = CertificateStore(self.place).take(self.source)
        self.assertEqual(self.content(taken.folder), {"shop.pem.pem": whole(0), "other.pem.pem": whole(2)})
        self.assertIn("stays in use", taken.problems["certificates/shop.pem"])

    def test_one_that_never_was_usable(self) -> None:
        """A certificate that was never usable is left out, even if the others are in use already."""
        self.put("source/other.pem", chain(1))
        for _ in range(2):
            taken = self.store.take(self.source)
            self.assertEqual([*self.content(taken.folder)], ["shop.pem.pem"])
            self.assertIn("left out", taken.problems["certificates/other.pem"])

    def test_all_of_them_gone(self) -> None:
        """If the folder is gone, the certificates stay in use, because serving none would be worse."""
        before = self.store.take(self.source)
        shutil.rmtree(self.source)
        taken = self.store.take(self.source)
        self.assertEqual(taken.folder, before.folder)
        self.assertIn("stays in use", taken.problems["certificates"])

    def test_one_of_them_gone(self) -> None:
        """A removed certificate is not in the next set."""
        self.put("source/other.pem", whole(1))
        self.store.take(self.source)
        (self.source / "other.pem").unlink()
        self.assertEqual([*self.content(self.store.take(self.source).folder)], ["shop.pem.pem"])

    def test_nothing_at_all(self) -> None:
        """Without any usable certificate there is no folder of copies."""
        (self.source / "shop.pem").unlink()
        taken = self.store.take(self.source)
        self.assertEqual((taken.folder, [*taken.problems]), (None, ["certificates"]))
        self.assertIsNone(self.store.last())

    def test_old_sets(self) -> None:
        """Some old sets are kept, including the sets that HAProxy's configuration names."""
        first = self.store.take(self.source).folder
        for number in range(10):
            self.put("source/shop.pem", whole(number % 3) + b"\n" * number)
            last = self.store.take(self.source, f"crt {first} alpn h2").folder
        sets = {*self.place.iterdir()}
        self.assertLessEqual({first, last}, sets)
        self.assertLessEqual(len(sets), 4)
