"""Options that protect endpoints: when they are required, and the errors for their files."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import twisted.test
from twisted.trial.unittest import SynchronousTestCase

from bender.daemon.options import OPTIONS, NodeOptions, from_command_line, validate_options
from bender.process.options import OptionError, from_toml
from tests.access.known import token
from tests.daemon.tls_directories import write_tls, write_tokens
from tests.tls.in_memory import DAY, an_authority

#: Endpoints that other machines can reach.
OPEN = ("tcp:9", "tcp:9:interface=0.0.0.0", "tcp:9:interface=10.0.0.5", "tcp6:9", "tcp:9:a.example")

#: Endpoints that only this machine can reach.
CLOSED = ("tcp:9:interface=127.8.8.8", "tcp6:9:interface=\\:\\:1", "tcp:9:localhost", "unix:/a")

#: A file of Twisted's tests with a certificate and its key.
PEM = Path(twisted.test.__file__).with_name("server.pem")


class ProtectionCase(SynchronousTestCase):
    def setUp(self) -> None:
        authority = an_authority()
        self.tls = write_tls(self.mktemp(), authority)
        self.peer_tls = write_tls(self.mktemp(), authority)
        self.tokens = write_tokens(self.mktemp(), "reader")

    def node_options(self, **options: Any) -> NodeOptions:
        """Return the validated options; an underscore in a name is a dash."""
        given = {option.replace("_", "-"): value for option, value in options.items() if value is not None}
        return validate_options({option: from_command_line(option, value) for option, value in given.items()}, "box")

    def refused(self, **options: Any) -> str:
        sentence = str(self.assertRaises(OptionError, self.node_options, **options))
        self.assertNotIn("\n", sentence)
        self.assertTrue(sentence.endswith("."), sentence)
        return sentence


class Exposed(ProtectionCase):
    """An endpoint that other machines can reach is refused, unless it is protected."""

    def expected(self, option: str, endpoint: str, missing: str, who: str) -> str:
        return (
            f"--{option} {endpoint} can be reached from other machines and is not protected: add {missing}, choose "
            f"interface=127.0.0.1 or a unix: socket, or add --insecure if every {who} there may do anything."
        )

    def test_clients(self) -> None:
        """The endpoints for clients need TLS and tokens, and the error names the missing options."""
        for option, endpoint in product(("api", "events"), OPEN):
            for tls, tokens, missing in (
                (None, None, "--tls DIR and --tokens FILE"),
                (self.tls, None, "--tokens FILE"),
                (None, self.tokens, "--tls DIR"),
            ):
                for peer_tls in (None, self.peer_tls):
                    given = {option: endpoint, "tls": tls, "tokens": tokens, "peer_tls": peer_tls}
                    self.assertEqual(self.refused(**given), self.expected(option, endpoint, missing, "client"))
                    self.assertTrue(self.node_options(**given, insecure=True).insecure)
            self.node_options(**{option: endpoint}, tls=self.tls, tokens=self.tokens)

    def test_peers(self) -> None:
        """The endpoint for peers needs TLS for peers, and the options for clients do not protect it."""
        for endpoint in OPEN:
            for tls, tokens in product((None, self.tls), (None, self.tokens)):
                given = {"exchange": endpoint, "tls": tls, "tokens": tokens}
                self.assertEqual(self.refused(**given), self.expected("exchange", endpoint, "--peer-tls DIR", "peer"))
                self.node_options(**given, insecure=True)
                self.node_options(**given, peer_tls=self.peer_tls)

    def test_protocols_without_protection(self) -> None:
        """HAProxy's agent-check has neither TLS nor tokens, so no option protects its endpoint."""
        for endpoint in (*OPEN, f"ssl:9:privateKey={PEM}"):
            given = {"agent": endpoint, "tls": self.tls, "tokens": self.tokens, "peer_tls": self.peer_tls}
            self.assertEqual(
                self.refused(**given),
                f"--agent {endpoint} can be reached from other machines and cannot be protected, because HAProxy uses "
                "neither TLS nor tokens there: choose interface=127.0.0.1 or a unix: socket, or add --insecure if "
                "every client there may ask for the state and weight of an instance.",
            )
            self.node_options(**given, insecure=True)
        for endpoint in CLOSED:
            self.node_options(agent=endpoint)

    def test_peers_that_need_no_tls(self) -> None:
        """While a cluster changes to TLS, plain peers are accepted, so the endpoint counts as not protected."""
        for mode in ("allow", "prefer"):
            given = {"exchange": "tcp:10", "peer_tls": self.peer_tls, "peer_tls_mode": mode}
            missing = "--peer-tls-mode require"
            self.assertEqual(self.refused(**given), self.expected("exchange", "tcp:10", missing, "peer"))
            self.assertEqual(self.node_options(**given, insecure=True).peer_tls_mode.value, mode)
            self.assertEqual(self.refused(peer_tls_mode=mode), f"--peer-tls-mode {mode} needs --peer-tls DIR.")
        self.assertEqual(
            self.refused(peer_tls=self.peer_tls, peer_tls_mode="off"),
            "--peer-tls-mode must be allow, prefer or require, not 'off'.",
        )
        self.assertEqual(self.node_options().peer_tls_mode.value, "require")

    def test_thalassa(self) -> None:
        """Thalassa's client supports neither TLS nor tokens, so no option protects these two endpoints."""
        given: dict[str, Any] = {"tls": self.tls, "tokens": self.tokens, "peer_tls": self.peer_tls}
        self.assertEqual(
            self.refused(thalassa="9000:5001:interface=0.0.0.0", **given),
            "--thalassa tcp:9000:interface=0.0.0.0 can be reached from other machines and cannot be protected, because "
            "Thalassa's client uses neither TLS nor tokens there: choose interface=127.0.0.1, or add --insecure if "
            "every client there may do anything.",
        )
        node_options = self.node_options(thalassa="9000:5001:interface=0.0.0.0", insecure=True)
        self.assertEqual({*node_options.endpoints} - {"api", "exchange", "events"}, {"thalassa", "thalassa events"})
        for name in ("thalassa", "thalassa events"):
            self.assertIn("cannot be protected", node_options.exposure(name) or "")
        for interface in ("127.0.0.1", "127.0.0.2", "::1"):
            self.node_options(thalassa=f"9000:5001:interface={interface}", **given)

    def test_all_of_them(self) -> None:
        """The error names the first endpoint that is not protected."""
        endpoints = {"api": "tcp:9", "exchange": "tcp:10", "events": "tcp:11"}
        self.assertIn("--api tcp:9", self.refused(**endpoints))
        self.assertIn("--exchange tcp:10", self.refused(**endpoints, tls=self.tls, tokens=self.tokens))
        self.assertIn("--api tcp:9", self.refused(**endpoints, peer_tls=self.peer_tls))
        self.node_options(**endpoints, tls=self.tls, tokens=self.tokens, peer_tls=self.peer_tls)

    def test_this_machine_alone(self) -> None:
        """Endpoints at loopback addresses and Unix sockets need no protection."""
        for option, endpoint in product(("api", "events", "exchange"), CLOSED):
            options = self.node_options(**{option: endpoint})
            self.assertEqual(options.missing_protection(option), [])
            self.assertFalse(options.insecure)

    def test_an_endpoint_with_a_certificate_of_its_own(self) -> None:
        """Twisted's `ssl:` counts as TLS for clients, but tokens are still required."""
        endpoint = f"ssl:9:privateKey={PEM}"
        for option in ("api", "events"):
            self.assertEqual(
                self.refused(**{option: endpoint}), self.expected(option, endpoint, "--tokens FILE", "client")
            )
            self.node_options(**{option: endpoint}, tokens=self.tokens)

    def test_an_exchange_with_a_certificate_of_its_own(self) -> None:
        """An exchange with `ssl:` is always refused, because it would accept any peer."""
        for endpoint in (f"ssl:9:privateKey={PEM}", f"ssl:9:privateKey={PEM}:interface=127.0.0.1"):
            for insecure, peer_tls in ((True, None), (None, self.peer_tls), (True, self.peer_tls)):
                self.assertEqual(
                    self.refused(exchange=endpoint, insecure=insecure, peer_tls=peer_tls),
                    f"--exchange {endpoint} does not check the certificates of peers: choose tcp:PORT with "
                    "--peer-tls DIR.",
                )

    def test_what_is_missing_with_insecure(self) -> None:
        """With --insecure, the missing options of each endpoint are known, so that the node can log them."""
        options = self.node_options(api="tcp:9", exchange="tcp:10", events=f"ssl:11:privateKey={PEM}", insecure=True)
        self.assertEqual(
            {option: options.missing_protection(option) for option in options.endpoints},
            {"api": ["--tls DIR", "--tokens FILE"], "exchange": ["--peer-tls DIR"], "events": ["--tokens FILE"]},
        )


class Files(ProtectionCase):
    """The files of these options are checked before anything listens."""

    def test_what_they_hold(self) -> None:
        """With `--tls`, the CA is not loaded, because nodes request no certificates of clients."""
        options = self.node_options(tls=self.tls, peer_tls=self.peer_tls, tokens=self.tokens)
        assert options.tls is not None
        assert options.peer_tls is not None
        self.assertEqual((options.tls.authorities, len(options.peer_tls.authorities)), ([], 1))
        self.assertEqual(options.tokens, (token("reader"),))

    def test_none(self) -> None:
        options = self.node_options()
        self.assertEqual((options.tls, options.peer_tls, options.tokens), (None, None, None))

    def test_missing_files(self) -> None:
        """The error has the option and the file."""
        for option, directory in (("tls", self.tls), ("peer_tls", self.peer_tls)):
            (Path(directory) / "key.pem").unlink()
            self.assertEqual(
                self.refused(**{option: directory}),
                f"--{option.replace('_', '-')}: {directory}/key.pem cannot be read: No such file or directory.",
            )
        self.assertEqual(
            self.refused(tokens="/nowhere"), "--tokens /nowhere cannot be read: No such file or directory."
        )

    def test_peers_need_the_authority(self) -> None:
        """`--peer-tls` needs `ca.pem`, and `--tls` does not, because clients show no certificates."""
        for directory in (self.tls, self.peer_tls):
            (Path(directory) / "ca.pem").unlink()
        self.node_options(tls=self.tls)
        self.assertIn(f"{self.peer_tls}/ca.pem cannot be read", self.refused(peer_tls=self.peer_tls))

    def test_peers_must_have_signed_certificates(self) -> None:
        """A certificate that is not signed by its CA is refused at the start, because all peers would refuse it."""
        (Path(self.peer_tls) / "ca.pem").write_bytes(an_authority().pem)
        self.assertIn("peers would not accept it", self.refused(peer_tls=self.peer_tls))
        self.node_options(tls=self.peer_tls)

    def test_a_certificate_that_has_expired(self) -> None:
        """An expired certificate is accepted at the start."""
        write_tls(self.tls, an_authority(), lasts=-DAY / 48)
        self.assertIsNotNone(self.node_options(tls=self.tls).tls)

    def test_a_configuration_file(self) -> None:
        """A file has the same options, and its path is in the error for an invalid option."""
        path = self.mktemp()

        def node_options(text: str) -> NodeOptions:
            Path(path).write_text(text)
            return validate_options(from_toml(path, OPTIONS, "bender"), "box")

        whole = f'tls = "{self.tls}"\npeer-tls = "{self.peer_tls}"\ntokens = "{self.tokens}"\napi = "tcp:9"\n'
        self.assertEqual(node_options(whole).tokens, (token("reader"),))
        for text, expected in (
            ("tls = 1\n", f"tls in {path} must be a string"),
            ('tls = "/nowhere"\n', f"tls in {path}: /nowhere/cert.pem cannot be read: No such file or directory."),
            ('peer-tls = "/nowhere"\n', f"peer-tls in {path}: /nowhere/cert.pem cannot be read"),
            ("tokens = []\n", f"tokens in {path} must be a string"),
            ('tokens = "/nowhere"\n', "--tokens /nowhere cannot be read"),
            ('peer_tls = "/nowhere"\n', "did you mean peer-tls?"),
            (f'api = "tcp:9"\ntls = "{self.tls}"\n', "add --tokens FILE,"),
        ):
            error = self.assertRaises(OptionError, node_options, text)
            self.assertIn(expected, str(error))
