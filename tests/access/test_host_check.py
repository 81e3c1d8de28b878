"""The `Host` headers with which browsers may reach a node."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.access import host_check
from bender.access.host_check import HostCheck, HostRefused
from bender.access.tokens import Tokens
from tests.access.known import known

OWN = ("box.example.com", "registry.example")

ACCEPTED = (
    None,
    b"",
    b"localhost",
    b"localhost:1729",
    b"LOCALHOST.",
    b"n1.localhost:80",
    b"127.0.0.1",
    b"127.0.0.1:1729",
    b"10.0.0.5:1729",
    b"[::1]:1729",
    b"[2001:db8::1]",
    b"[::ffff:127.0.0.1]:1",
    b"box",
    b"my_box-2:1729",
    b"box.example.com",
    b"Registry.Example.:443",
)
REFUSED = (
    b"evil.example",
    b"evil.example:1729",
    b"localhost.evil.example",
    b"127.0.0.1.evil.example",
    b"evillocalhost.example",
    b"box.example.com.evil.example",
    b"evil.box.example.com",
    b"example.com",
    b"256.0.0.1",
    b"127.1",
    b"[evil]",
    b"[::1",
    b"[::1].evil.example",
    b"::1",
    b"localhost:x",
    b"localhost:1:2",
    b"localhost,localhost",
    b"localhost evil.example",
    b"a@localhost",
    b"localhost/evil",
    b"\xff",
    b"a" * 300,
    b":1729",
)


class Names(SynchronousTestCase):
    def setUp(self) -> None:
        self.check = HostCheck(OWN, Tokens())

    def test_accepted(self) -> None:
        """Names that no other site can have, and names of the node, are accepted, also repeatedly."""
        for host in ACCEPTED * 2:
            self.assertTrue(self.check.permits(host), host)
            self.check.require(host)

    def test_refused(self) -> None:
        """All other values are refused, also repeatedly."""
        for host in REFUSED * 2:
            self.assertFalse(self.check.permits(host), host)
            error = self.assertRaises(HostRefused, self.check.require, host)
            self.assertEqual(error.code, "FORBIDDEN")

    def test_the_message(self) -> None:
        """The message has the header on one line, and names the option."""
        for host, shown in ((b"evil.example:1", "evil.example:1"), (b"\xff\n", "'\\xff\\n'")):
            error = self.assertRaises(HostRefused, self.check.require, host)
            self.assertEqual(
                str(error),
                f"Host: {shown} is not a name of this node: use localhost or an address, or start the node with "
                "--allow-host NAME",
            )

    def test_what_is_remembered(self) -> None:
        """Only accepted values are remembered, up to a limit."""
        for number in range(2000):
            self.check.permits(b"n%d" % number)
            self.check.permits(b"n%d.example" % number)
            self.assertLessEqual(len(self.check.accepted), host_check._CACHED_MAX)
        self.assertTrue(all(not host or b"." not in host for host in self.check.accepted))
        self.assertTrue(self.check.permits(None))


class WithTokens(SynchronousTestCase):
    def test_no_check(self) -> None:
        """While tokens are required, all names are accepted, also names that were refused before."""
        tokens = known()
        check = HostCheck(OWN, tokens)
        self.assertTrue(check.permits(b"evil.example"))
        tokens.replace(None)
        self.assertFalse(check.permits(b"evil.example"))
        tokens.replace([])
        self.assertTrue(check.permits(b"evil.example"))

    def test_always(self) -> None:
        """With --allow-host, names are also checked while tokens are required."""
        check = HostCheck(OWN, known(), always=True)
        self.assertFalse(check.permits(b"evil.example"))
        self.assertTrue(check.permits(b"registry.example"))
