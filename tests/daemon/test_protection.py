"""The protection of endpoints that is in force, and how it changes while a node runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.daemon.config_reload import NodeReloader
from bender.daemon.options import NodeOptions, validate_options
from bender.daemon.protection import Protection
from bender.net.encrypted import ListeningTls
from bender.process.options import OptionError, RawOption
from bender.process.signals import RereadResult
from bender.tls.connections import NodeTls, PeersTls
from tests.access.known import secret
from tests.daemon.test_config_reload import Running
from tests.daemon.tls_directories import write_tls, write_tokens
from tests.tls.in_memory import DAY, Joined, an_authority, an_identity, as_trusted, now

CLOSED = {option: f"tcp:{port}:interface=127.0.0.1" for port, option in enumerate(("api", "exchange", "events"), 9)}
OPEN = {"api": "tcp:9", "events": "tcp:11"}


def uncounted(_host: str, _clause: str) -> None:
    """Ignore refused connections."""


class ProtectedCase(SynchronousTestCase):
    """The protection of a node, whose options are reread."""

    def setUp(self) -> None:
        self.authority = an_authority()
        self.tls, self.peer_tls, self.tokens = (self.mktemp() for _ in range(3))
        write_tls(self.tls, self.authority)
        write_tls(self.peer_tls, self.authority)
        write_tokens(self.tokens, "reader", "agent")

    def node_options(self, **options: Any) -> NodeOptions:
        given = {option.replace("_", "-"): value for option, value in options.items()}
        return validate_options({option: RawOption(f"--{option}", value) for option, value in given.items()}, "box")

    def start(self, **options: Any) -> None:
        validated = self.node_options(**options)
        self.protection = Protection(validated)
        running: Any = Running()
        self.reloader = NodeReloader(validated, running, running, self.protection, running.look)
        self.running = running

    def reread(self, **options: str) -> RereadResult:
        """Reread the options, as after SIGHUP."""
        return self.reloader.apply(self.node_options(**options))

    def name(self, of: str | None) -> str | None:
        """Return the name of the valid token with this secret; None if it is not valid."""
        return self.protection.tokens.access(None if of is None else secret(of).encode()).name


class Tokens(ProtectedCase):
    def test_a_file_that_changes(self) -> None:
        """The result names added, removed and changed tokens, but no secret."""
        self.start(tokens=self.tokens)
        write_tokens(self.tokens, "web", reader=["read", "configure"])
        reread = self.reread(tokens=self.tokens)
        changed = ["--tokens: web added", "--tokens: agent removed", "--tokens: reader changed"]
        self.assertEqual(reread, RereadResult(changed, []))
        self.assertEqual([self.name(each) for each in ("web", "agent", "reader")], ["web", None, "reader"])
        self.assertEqual(self.reread(tokens=self.tokens), RereadResult([], []))

    def test_a_file_that_does_not_change(self) -> None:
        """If the tokens do not change, no listener is called."""
        self.start(tokens=self.tokens)
        called: list[bool] = []
        self.protection.tokens.add_listener(lambda: called.append(True))
        self.assertEqual(self.reread(tokens=self.tokens), RereadResult([], []))
        self.assertEqual(called, [])
        write_tokens(self.tokens, "reader")
        self.reread(tokens=self.tokens)
        self.assertEqual(called, [True])

    def test_another_file(self) -> None:
        """Only the tokens in the new file are valid."""
        self.start(tokens=self.tokens)
        other = write_tokens(self.mktemp(), "reader", "agent")
        self.assertEqual(self.reread(tokens=other), RereadResult([], []))

    def test_a_file_that_is_not_valid(self) -> None:
        """After an invalid file, no option changes at all."""
        self.start(tokens=self.tokens, peers="a")
        Path(self.tokens).write_text("[[token]]\n")
        self.assertRaises(OptionError, self.reread, tokens=self.tokens, peers="b")
        self.assertEqual((self.name("reader"), self.running.told), ("reader", []))

    def test_turned_on(self) -> None:
        """After `--tokens` is added, a token is required at once."""
        self.start()
        self.assertFalse(self.protection.tokens.required)
        expected = RereadResult(["--tokens: tokens are required from now on"], [])
        self.assertEqual(self.reread(tokens=self.tokens), expected)
        self.assertTrue(self.protection.tokens.required)

    def test_turned_off(self) -> None:
        """Tokens stay required until the next start, because the open endpoints may need them."""
        self.start(**OPEN, tls=self.tls, tokens=self.tokens)
        for _ in range(2):
            reread = self.reread(**CLOSED)
            self.assertIn("--tokens off instead of on", reread.at_next_start)
            self.assertIn("--tls off instead of on", reread.at_next_start)
            self.assertEqual(reread.changed, [])
            self.assertTrue(self.protection.tokens.required)
            self.assertEqual((self.name(None), self.name("reader")), (None, "reader"))
        write_tokens(self.tokens, "reader")
        reread = self.reread(**OPEN, tls=self.tls, tokens=self.tokens)
        self.assertEqual(reread, RereadResult(["--tokens: agent removed"], []))
        write_tokens(self.tokens, "reader", "agent")
        self.reread(**OPEN, tls=self.tls, tokens=self.tokens)
        self.assertEqual(self.name("agent"), "agent")

    def test_turned_on_and_off(self) -> None:
        """Tokens that were turned on after the start stay required until the next start."""
        self.start()
        self.reread(tokens=self.tokens)
        self.assertEqual(self.reread(), RereadResult([], ["--tokens off instead of on"]))
        self.assertTrue(self.protection.tokens.required)


class Certificates(ProtectedCase):
    def test_in_use(self) -> None:
        """The certificates in use are listed by option."""
        self.start(tls=self.tls, peer_tls=self.peer_tls)
        self.assertEqual([*self.protection.identities], ["tls", "peer-tls"])
        self.start()
        self.assertEqual(self.protection.identities, {})

    def test_replaced(self) -> None:
        """New connections get the new certificate, the result has its end, and expiry is checked again."""
        self.start(tls=self.tls, peer_tls=self.peer_tls)
        write_tls(self.tls, self.authority, ("n2",), 200 * DAY)
        day = f"{now() + 200 * DAY:%Y-%m-%d}"
        reread = self.reread(tls=self.tls, peer_tls=self.peer_tls)
        self.assertEqual(
            reread, RereadResult([f"--tls: the certificate that is valid until {day} is used from now on"], [])
        )
        self.assertEqual(self.running.looked, 1)
        self.assertTrue(self.serves("n2"))
        self.assertFalse(self.serves("n1"))
        write_tls(self.peer_tls, self.authority, lasts=200 * DAY)
        (line,) = self.reread(tls=self.tls, peer_tls=self.peer_tls).changed
        self.assertEqual(line, f"--peer-tls: the certificate that is valid until {day} is used from now on")
        ends = {option: f"{identity.expires_at:%Y-%m-%d}" for option, identity in self.protection.identities.items()}
        self.assertEqual(ends, {"tls": day, "peer-tls": day})

    def test_another_authority(self) -> None:
        """After a change of the CA, peers must have certificates of the new CA."""
        self.start(peer_tls=self.peer_tls)
        new = an_authority()
        (Path(self.peer_tls) / "ca.pem").unlink()
        write_tls(self.peer_tls, new)
        for reread, authority in ((False, self.authority), (True, new)):
            if reread:
                self.reread(peer_tls=self.peer_tls)
            for other in (self.authority, new):
                joined = Joined(self.protection.peers, PeersTls(an_identity(other)))
                self.assertIs(joined.works, other is authority)

    def serves(self, host: str) -> bool:
        """Return True if a client accepts the certificate of the node for a host."""
        api = self.node_options(api="tcp:9:interface=127.0.0.1").api

        def encrypted(factory: Factory) -> IProtocolFactory:
            return self.protection.encrypted(api, factory, Clock(), b"", uncounted)

        return Joined(encrypted, NodeTls(host, as_trusted(self.authority))).works

    def test_half_replaced(self) -> None:
        """A key that does not belong to the certificate is refused, and the old certificate stays in use."""
        self.start(tls=self.tls)
        other = write_tls(self.mktemp(), self.authority)
        (Path(self.tls) / "key.pem").write_bytes((Path(other) / "key.pem").read_bytes())
        error = self.assertRaises(OptionError, self.reread, tls=self.tls)
        self.assertIn("key.pem is not the key of the certificate", str(error))
        self.assertTrue(self.serves("n1"))

    def test_turned_on_and_off(self) -> None:
        """Turning TLS on or off takes effect at the next start, because open ports keep their protocol."""
        self.start(tls=self.tls)
        reread = self.reread(peer_tls=self.peer_tls)
        self.assertEqual(reread, RereadResult([], ["--tls off instead of on", "--peer-tls on instead of off"]))
        self.assertEqual([*self.protection.identities], ["tls"])
        self.assertIsNone(self.protection.peers)
        self.assertTrue(self.serves("n1"))
        write_tls(self.tls, self.authority, ("n2",))
        self.assertEqual(len(self.reread(tls=self.tls).changed), 1)
        self.assertTrue(self.serves("n2"))


class Hosts(ProtectedCase):
    """The check of the `Host` headers of browsers."""

    def accepted(self, host: bytes, api: str = "tcp:9:interface=127.0.0.1", **options: str) -> bool | None:
        """Return True if a client may send this `Host` to the API; None if there is no check."""
        self.start(api=api, insecure=True, **options)
        check = self.protection.host_check(self.node_options(api=api, insecure=True).api)
        return None if check is None else check.permits(host)

    def test_where_it_is_made(self) -> None:
        """Names are checked at loopback addresses without tokens, and at other addresses only with --allow-host."""
        for api in ("tcp:9:interface=127.0.0.1", "tcp6:9:interface=\\:\\:1", "tcp:9:interface=localhost"):
            self.assertIs(self.accepted(b"evil.example", api), False)
            self.assertIs(self.accepted(b"evil.example", api, tokens=self.tokens), True)
        for api in ("tcp:9", "tcp:9:interface=10.0.0.5"):
            self.assertIsNone(self.accepted(b"evil.example", api))
            for tokens in ({}, {"tokens": self.tokens}):
                self.assertIs(self.accepted(b"evil.example", api, allow_host="a.example", **tokens), False)
                self.assertIs(self.accepted(b"a.example", api, allow_host="a.example", **tokens), True)
        for names in ({}, {"allow_host": "a.example"}):
            self.assertIsNone(self.accepted(b"evil.example", "unix:/a", **names))

    def test_names(self) -> None:
        """The names of the node are accepted, and so are those of --allow-host."""
        for name in (b"n1.example", b"a.example:9", b"b.example", b"127.0.0.1:9", b"box"):
            self.assertIs(self.accepted(name, advertise="n1.example", allow_host="a.example,b.example"), True, name)

    def test_tokens_that_are_turned_on(self) -> None:
        """While tokens are required, all names are accepted."""
        self.start()
        check = self.protection.host_check(self.node_options().api)
        assert check is not None
        self.assertFalse(check.permits(b"evil.example"))
        self.reread(tokens=self.tokens)
        self.assertTrue(check.permits(b"evil.example"))


class Endpoints(ProtectedCase):
    def test_which_are_encrypted(self) -> None:
        """With `--tls`, TCP endpoints are encrypted, and Unix sockets are not."""
        factory = Factory()
        for tls, endpoint, encrypted in (
            (True, "tcp:9:interface=127.0.0.1", True),
            (True, "tcp6:9:interface=\\:\\:1", True),
            (True, "unix:/a", False),
            (False, "tcp:9:interface=127.0.0.1", False),
        ):
            self.start(**({"tls": self.tls} if tls else {}))
            served = self.protection.encrypted(self.node_options(api=endpoint).api, factory, Clock(), b"", uncounted)
            self.assertEqual((isinstance(served, ListeningTls), served is factory), (encrypted, not encrypted))
