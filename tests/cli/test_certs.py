"""`bender certs` and `bender token`: the files that protect the nodes of a cluster."""

from __future__ import annotations

import json
import os
import tomllib
from datetime import datetime
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

from click.testing import CliRunner, Result
from cryptography import x509
from twisted.internet.ssl import Certificate
from twisted.trial.unittest import SynchronousTestCase

from bender.cli import bender
from bender.core.hosts import canonical_host
from bender.daemon.token_file import read_tokens
from bender.net.local_addresses import local_addresses
from bender.tls.connections import ClientsTls, NodeTls, PeersTls, names_of
from bender.tls.identity import load_identity
from bender.tls.issuing import make_authority, write_authority
from tests.tls.in_memory import DAY, Joined, for_clients, now

RUNNER = CliRunner()


class CommandCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def ran(self, *arguments: object) -> Result:
        result = RUNNER.invoke(bender, [str(each) for each in arguments], standalone_mode=False)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def output(self, *arguments: object) -> str:
        """Return the output of a command that succeeds."""
        result = self.ran(*arguments)
        self.assertIn(result.return_value, (0, None), result.output)
        return result.stdout

    def problem(self, *arguments: object) -> str:
        """Return the error of a command that fails."""
        result = RUNNER.invoke(bender, [str(each) for each in arguments])
        self.assertNotEqual(result.exit_code, 0, result.output)
        return result.output.strip().removeprefix("Error: ")


class Certificates(CommandCase):
    def certificate(self, directory: Path | None = None) -> x509.Certificate:
        return x509.load_pem_x509_certificate(((directory or self.directory) / "cert.pem").read_bytes())

    def files(self, directory: Path | None = None) -> dict[str, str]:
        found = (directory or self.directory).iterdir()
        return {file.name: oct(file.stat().st_mode & 0o777) for file in sorted(found)}

    def test_a_new_cluster(self) -> None:
        """A new directory has the CA with its key, and a certificate of the first node; only the keys are secret."""
        output = self.output("certs", self.directory, "--host", "n1.example.org", "--host", "10.0.0.5")
        self.assertEqual(
            self.files(), {"ca-key.pem": "0o600", "ca.pem": "0o644", "cert.pem": "0o644", "key.pem": "0o600"}
        )
        self.assertEqual(names_of(self.certificate()), ["n1.example.org", "10.0.0.5"])
        day = f"{now() + 730 * DAY:%Y-%m-%d}"
        self.assertEqual(
            output.splitlines(),
            [
                f"Wrote {', '.join(str(self.directory / name) for name in self.files())}.",
                f"The certificate is for n1.example.org, 10.0.0.5, and valid until {day}.",
                f"Keep {self.directory / 'ca-key.pem'} secret: its holder can add nodes to the cluster.",
            ],
        )

    def test_more_nodes(self) -> None:
        """The directory of another node does not have the key of the CA, and the two nodes accept each other."""
        self.output("certs", self.directory, "--host", "n1")
        other = Path(self.mktemp()) / "of" / "n2"
        output = self.output("certs", other, "--ca", self.directory, "--host", "n2")
        self.assertEqual([*self.files(other)], ["ca.pem", "cert.pem", "key.pem"])
        self.assertNotIn("secret", output)
        one, two = (PeersTls(load_identity(str(each), authorities=True)) for each in (self.directory, other))
        self.assertTrue(Joined(one, two).works)

    def test_clients(self) -> None:
        """A client that trusts `ca.pem` accepts the node at the hosts in its certificate, and at no other host."""
        self.output("certs", self.directory, "--host", "localhost", "--host", "::1")
        authority = load_identity(str(self.directory), authorities=True)
        server = ClientsTls(for_clients(authority))
        trusted = [Certificate.loadPEM((self.directory / "ca.pem").read_bytes())]
        for host, accepted in (("localhost", True), ("::1", True), ("127.0.0.1", False)):
            self.assertIs(Joined(server, NodeTls(host, trusted)).works, accepted, host)

    def test_hosts_of_this_machine(self) -> None:
        """Without `--host`, a certificate is for all hosts of this machine, except for link-local addresses."""
        self.output("certs", self.directory)
        names = names_of(self.certificate())
        self.assertLessEqual({"localhost", "127.0.0.1", "::1"}, {*names})
        self.assertEqual([name for name in names if name.startswith("fe80:")], [])
        self.assertEqual(names, sorted({*names}))
        others = {each for each in local_addresses() if not ip_address(each).is_link_local}
        self.assertLessEqual(others | {canonical_host(os.uname().nodename)}, {*names})

    def test_hosts(self) -> None:
        """Hosts are in canonical form, each once."""
        self.output(
            "certs", self.directory, *("--host", "N1.Example.ORG", "--host", "FD00:0::1", "--host", "n1.example.org")
        )
        self.assertEqual(names_of(self.certificate()), ["n1.example.org", "fd00::1"])

    def test_renewed(self) -> None:
        """A new certificate has the hosts of the previous one, another key, and another time."""
        self.output("certs", self.directory, "--host", "n1", "--host", "10.0.0.5", "--days", 10)
        before = self.certificate()
        output = self.output("certs", self.directory, "--ca", self.directory, "--days", 20)
        after = self.certificate()
        self.assertEqual(names_of(after), ["n1", "10.0.0.5"])
        self.assertNotEqual(after.public_key(), before.public_key())
        self.assertEqual((after.not_valid_after_utc - before.not_valid_after_utc).days, 10)
        self.assertNotIn("ca-key.pem", output)
        self.assertIn("ca-key.pem", self.files())
        load_identity(str(self.directory), authorities=True)

    def test_renewed_with_other_hosts(self) -> None:
        """With `--host`, the new certificate has only the given hosts."""
        self.output("certs", self.directory, "--host", "n1")
        self.output("certs", self.directory, "--ca", self.directory, "--host", "n2")
        self.assertEqual(names_of(self.certificate()), ["n2"])

    def test_renewed_by_another_authority(self) -> None:
        """A `ca.pem` with the old and the new CA stays unchanged, so that peers accept certificates of both."""
        self.output("certs", self.directory, "--host", "n1")
        other = Path(self.mktemp())
        write_authority_made(other, now())
        both = (self.directory / "ca.pem").read_bytes() + (other / "ca.pem").read_bytes()
        (self.directory / "ca.pem").write_bytes(both)
        for authority in (other, self.directory):
            output = self.output("certs", self.directory, "--ca", authority)
            self.assertIn(f"Wrote {self.directory / 'cert.pem'}, {self.directory / 'key.pem'}.", output)
            self.assertEqual((self.directory / "ca.pem").read_bytes(), both)
            issuer = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
            self.certificate().verify_directly_issued_by(issuer)

    def test_json(self) -> None:
        """With `--json`, the output has the files, the hosts and the end in milliseconds."""
        shown = json.loads(self.output("certs", self.directory, "--host", "n1", "--days", 1, "--json"))
        ends = self.certificate().not_valid_after_utc
        self.assertEqual([*shown], ["files", "hosts", "expires"])
        self.assertEqual(shown["files"], [str(self.directory / name) for name in self.files()])
        self.assertEqual(shown["hosts"], ["n1"])
        self.assertEqual(shown["expires"] // 1000, int(ends.timestamp()))

    def test_days(self) -> None:
        """A certificate ends with its CA at the latest, and the output has this date."""
        write_authority_made(self.directory, now() - 3640 * DAY)
        other = Path(self.mktemp())
        output = self.output("certs", other, "--ca", self.directory, "--host", "n1")
        self.assertIn(f"valid until {now() + 10 * DAY:%Y-%m-%d}", output)
        self.assertLess(self.certificate(other).not_valid_after_utc, now() + 11 * DAY)
        for days in ("0", "3651", "x"):
            self.assertIn("--days", self.problem("certs", self.mktemp(), "--days", days))


class Refusals(CommandCase):
    def refused(self, problem: str, *arguments: object) -> None:
        """Check that a command is refused with this sentence, and writes nothing."""
        before = contents(self.directory)
        self.assertEqual(self.problem(*arguments).rstrip("."), problem)
        self.assertEqual(contents(self.directory), before)

    def test_a_second_authority(self) -> None:
        """A directory keeps its CA, because nodes with certificates of two CAs would not accept each other."""
        self.output("certs", self.directory, "--host", "n1")
        self.refused(
            f"{self.directory}/ca.pem exists already: sign more certificates with --ca DIR, or choose another "
            "directory",
            *("certs", self.directory),
        )
        (self.directory / "ca.pem").unlink()
        (self.directory / "ca-key.pem").unlink()
        self.refused(
            f"{self.directory}/cert.pem exists already: sign more certificates with --ca DIR, or choose another "
            "directory",
            *("certs", self.directory),
        )

    def test_another_authority(self) -> None:
        """A node is not moved to another CA by mistake."""
        self.output("certs", self.directory, "--host", "n1")
        other = Path(self.mktemp())
        write_authority_made(other, now())
        self.refused(
            f"{self.directory}/ca.pem does not have the CA in {other}: append {other}/ca.pem to it if peers and "
            "clients are to trust both, or remove it to move this node to another CA",
            *("certs", self.directory, "--ca", other),
        )

    def test_no_authority(self) -> None:
        """The directory of a node cannot sign certificates."""
        self.output("certs", self.directory, "--host", "n1")
        other = Path(self.mktemp())
        self.output("certs", other, "--ca", self.directory, "--host", "n2")
        self.refused(
            f"{other}/ca-key.pem cannot be read: No such file or directory", *("certs", self.mktemp(), "--ca", other)
        )
        self.assertIn("does not exist", self.problem("certs", self.directory, "--ca", "/nowhere"))

    def test_an_authority_that_has_expired(self) -> None:
        write_authority_made(self.directory, now() - 4000 * DAY)
        day = f"{now() - 350 * DAY:%Y-%m-%d}"
        self.refused(
            f"the CA expired on {day}: make another one in another directory",
            *("certs", self.mktemp(), "--ca", self.directory, "--host", "n1"),
        )

    def test_hosts(self) -> None:
        """Nothing is written for a host that no node can have."""
        for host in ("", "a b", "http://n1", "n1:1729", "-"):
            problem = self.problem("certs", self.directory, "--host", host)
            self.assertIn(f"--host {host!r} ", problem)
            self.assertFalse(self.directory.exists())

    def test_a_directory_that_cannot_be_written(self) -> None:
        file = Path(self.mktemp())
        file.write_text("")
        self.assertIn("cannot be written: Not a directory", self.problem("certs", file / "x", "--host", "n1"))


class Tokens(CommandCase):
    def setUp(self) -> None:
        self.secret = Path(self.mktemp())

    def test_a_token(self) -> None:
        """The token is in a file that only its owner can read; the printed table has only its hash."""
        output = self.output("token", "edge", "read", "register:web-*", "--secret-file", self.secret)
        secret = self.secret.read_text()
        self.assertRegex(secret, r"\A[A-Za-z0-9_-]{43}\n\Z")
        self.assertEqual(oct(self.secret.stat().st_mode & 0o777), "0o600")
        self.assertNotIn(secret.strip(), output)
        digest = sha256(secret.strip().encode()).hexdigest()
        table = {"name": "edge", "sha256": digest, "scopes": ["read", "register:web-*"]}
        self.assertEqual(tomllib.loads(output), {"token": [table]})

    def test_a_file_of_tokens(self) -> None:
        """The printed tables of several tokens are together a valid file for nodes."""
        path = Path(self.mktemp())
        made = (("edge", "read"), ('"odd" \\ name', "register:ü*", "configure"), ("root", "admin"))
        path.write_text(
            "".join(self.output("token", *each, "--secret-file", f"{self.secret}.{i}") for i, each in enumerate(made))
        )
        tokens = read_tokens(str(path))
        self.assertEqual([(token.name, *token.scopes.written) for token in tokens], [*made])
        self.assertEqual(len({token.sha256 for token in tokens}), 3)

    def test_names(self) -> None:
        """Names have the same limits as in the file."""
        for i, name in enumerate(("x", "x" * 64, "  x  ")):
            output = self.output("token", name, "read", "--secret-file", f"{self.secret}.{i}")
            self.assertEqual(tomllib.loads(output)["token"][0]["name"], name.strip())

    def test_mistakes(self) -> None:
        """After an invalid argument, no token is written."""
        for arguments, problem in (
            (("edge", "raed"), "'raed' is not a scope, did you mean read?"),
            (("edge", "register:"), "'register:': the name of an app, or a pattern, must follow 'register:'"),
            (("", "read"), "NAME must be 1 to 64 printable characters"),
            (("x" * 65, "read"), "NAME must be 1 to 64 printable characters"),
            (("a\nb", "read"), "NAME must be 1 to 64 printable characters"),
            (("edge",), "SCOPE"),
        ):
            self.assertIn(problem, self.problem("token", *arguments, "--secret-file", self.secret))
            self.assertFalse(self.secret.exists())
        self.assertIn("--secret-file", self.problem("token", "edge", "read"))

    def test_a_file_that_exists(self) -> None:
        """An existing file stays unchanged, because it may have another token."""
        self.secret.write_text("another\n")
        problem = self.problem("token", "edge", "read", "--secret-file", self.secret)
        self.assertIn(f"--secret-file {self.secret} cannot be created: File exists", problem)
        self.assertEqual(self.secret.read_text(), "another\n")

    def test_a_file_that_cannot_be_written(self) -> None:
        problem = self.problem("token", "edge", "read", "--secret-file", "/nowhere/token")
        self.assertIn("--secret-file /nowhere/token cannot be created: No such file or directory", problem)


def write_authority_made(directory: Path, at: datetime) -> None:
    """Make a directory with a CA that was created at this time."""
    directory.mkdir()
    write_authority(directory, make_authority("a CA", at))


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()} if directory.exists() else {}
