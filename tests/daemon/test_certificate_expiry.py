"""Warnings of certificates that expire, with a clock moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from bender.daemon.certificate_expiry import CertificateExpiry
from bender.tls.identity import TlsIdentity

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DAY_S = 86_400
THEN = "replace it, and send SIGHUP to the node"


def identity(left: timedelta, name: str = "cert", valid_from: timedelta = -DAY) -> TlsIdentity:
    """Return a certificate that expires `left` after `NOW`."""
    return TlsIdentity("/etc/tls", name.encode(), b"", b"", NOW + left, f"/etc/tls/{name}.pem", NOW + valid_from)


class Certified:
    """A node, and the certificates that it uses."""

    def __init__(self) -> None:
        self.identities: dict[str, TlsIdentity] = {}
        self.certificates: dict[str, int] = {}
        self.certificate_problems: dict[str, str] = {}


class ExpiryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.node = Certified()
        self.expiry = CertificateExpiry(self.clock, self.node, self.node, self.wall_ms)

    def wall_ms(self) -> int:
        return int((NOW + timedelta(seconds=self.clock.seconds())).timestamp() * 1000)

    def logged(self, act: Callable[[], object]) -> list[str]:
        """Return the lines of the log that an action causes."""
        with capturedLogs() as events:
            act()
        return [str(formatEvent(event)) for event in events]

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds // 1800)):
            self.clock.advance(1800)


class Showing(ExpiryCase):
    def test_without_tls(self) -> None:
        """A node without TLS shows no certificates, and logs no warning."""
        self.assertEqual(self.logged(self.expiry.check), [])
        self.assertEqual((self.node.certificates, self.node.certificate_problems), ({}, {}))

    def test_certificates(self) -> None:
        """A node shows the time at which each certificate expires, by option."""
        self.node.identities = {"tls": identity(100 * DAY), "peer-tls": identity(31 * DAY)}
        self.assertEqual(self.logged(self.expiry.check), [])
        ends = [int((NOW + left).timestamp() * 1000) for left in (100 * DAY, 31 * DAY)]
        self.assertEqual(self.node.certificates, {"tls": ends[0], "peer-tls": ends[1]})
        self.assertEqual(self.node.certificate_problems, {})

    def test_one_that_is_not_valid_yet(self) -> None:
        """A certificate that is not valid yet is a problem, whose text tells the operator to correct the clock."""
        self.node.identities = {"tls": identity(100 * DAY, valid_from=timedelta(minutes=1))}
        self.expiry.check()
        problem = "a certificate in /etc/tls is valid only from 2026-11-30 12:01 UTC: correct the clock of this machine"
        self.assertEqual(self.node.certificate_problems, {"certificate/tls": problem})
        self.clock.advance(60)
        self.expiry.check()
        self.assertEqual(self.node.certificate_problems, {})

    def test_problems(self) -> None:
        """In the last thirty days, a problem states the time that is left and what to do."""
        on = "on 2026-12-30 12:00 UTC"
        for left, problem in (
            (30 * DAY + timedelta(seconds=1), None),
            (30 * DAY, f"the certificate in /etc/tls/cert.pem expires in 30 days, {on}: {THEN}"),
            (30 * DAY - timedelta(seconds=1), "expires in 29 days, on 2026-12-30 11:59 UTC"),
            (2 * DAY, "expires in 2 days"),
            (2 * DAY - timedelta(seconds=1), "expires in 1 day,"),
            (DAY, "expires in 1 day,"),
            (DAY - timedelta(seconds=1), "expires in less than a day, on 2026-12-01 11:59 UTC"),
            (timedelta(seconds=1), "expires in less than a day"),
            (timedelta(0), f"the certificate in /etc/tls/cert.pem expired on 2026-11-30 12:00 UTC: {THEN}"),
            (-100 * DAY, "expired on 2026-08-22 12:00 UTC"),
        ):
            self.node.identities = {"tls": identity(left)}
            self.logged(self.expiry.check)
            shown = self.node.certificate_problems
            if problem is None:
                self.assertEqual(shown, {})
            else:
                self.assertEqual([*shown], ["certificate/tls"])
                self.assertIn(problem, shown["certificate/tls"])

    def test_the_file_that_expires(self) -> None:
        """A problem names the file that expires first, which may be that of the CA."""
        self.node.identities = {"peer-tls": identity(DAY, "ca")}
        self.logged(self.expiry.check)
        self.assertIn("/etc/tls/ca.pem", self.node.certificate_problems["certificate/peer-tls"])


class Logging(ExpiryCase):
    def test_once_a_day(self) -> None:
        """The problem is logged at the start and then once a day, with its option."""
        self.node.identities = {"tls": identity(30 * DAY), "peer-tls": identity(300 * DAY, "peer")}
        (line,) = self.logged(self.expiry.startService)
        self.assertEqual(
            line,
            f"--tls: the certificate in /etc/tls/cert.pem expires in 30 days, on 2026-12-30 12:00 UTC: {THEN}.",
        )
        self.assertEqual(self.logged(lambda: self.pass_time(DAY_S - 3600)), [])
        (line,) = self.logged(lambda: self.pass_time(3600))
        self.assertIn("expires in 29 days", line)
        self.assertEqual(len(self.logged(lambda: self.pass_time(5 * DAY_S))), 5)

    def test_a_certificate_that_comes_near_its_end(self) -> None:
        """A certificate that comes near its end is found within an hour."""
        self.node.identities = {"tls": identity(30 * DAY + timedelta(minutes=90))}
        self.assertEqual(self.logged(self.expiry.startService), [])
        self.assertEqual(self.logged(lambda: self.pass_time(3600)), [])
        self.assertEqual(len(self.logged(lambda: self.pass_time(3600))), 1)

    def test_looking_again(self) -> None:
        """Another check, as after SIGHUP, does not log the same problem again."""
        self.node.identities = {"tls": identity(DAY)}
        self.assertEqual(len(self.logged(self.expiry.check)), 1)
        self.assertEqual(self.logged(self.expiry.check), [])

    def test_two_options(self) -> None:
        """The problem of each certificate has its own line."""
        self.node.identities = {"tls": identity(DAY), "peer-tls": identity(DAY, "peer")}
        lines = self.logged(self.expiry.check)
        self.assertEqual([line.partition(":")[0] for line in lines], ["--tls", "--peer-tls"])

    def test_one_certificate_for_both_options(self) -> None:
        """One certificate for both options is logged once."""
        self.node.identities = {"tls": identity(DAY), "peer-tls": identity(DAY)}
        self.assertEqual(len(self.logged(self.expiry.check)), 1)
        self.assertEqual([*self.node.certificate_problems], ["certificate/tls", "certificate/peer-tls"])

    def test_replaced(self) -> None:
        """A new certificate ends the problem at the next check. If the new one expires soon, it is logged at once."""
        self.node.identities = {"tls": identity(DAY)}
        self.logged(self.expiry.check)
        self.node.identities = {"tls": identity(400 * DAY, "new")}
        self.assertEqual(self.logged(self.expiry.check), [])
        self.assertEqual(self.node.certificate_problems, {})
        self.node.identities = {"tls": identity(2 * DAY, "newer")}
        self.assertEqual(len(self.logged(self.expiry.check)), 1)

    def test_replaced_by_the_one_before(self) -> None:
        """An earlier certificate that is used again is logged at once: only certificates in use are remembered."""
        old, new = {"tls": identity(DAY)}, {"tls": identity(2 * DAY, "new")}
        for identities in (old, new, old):
            self.node.identities = identities
            self.assertEqual(len(self.logged(self.expiry.check)), 1)

    def test_stopped(self) -> None:
        """No timer is left behind."""
        self.expiry.startService()
        self.assertTrue(self.expiry.running)
        self.expiry.stopService()
        self.assertFalse(self.expiry.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_defect(self) -> None:
        """A defect in a check is logged, and the next check takes place."""
        self.node.identities = {"tls": identity(DAY)}
        times = iter([10**30])
        self.expiry = CertificateExpiry(self.clock, self.node, self.node, lambda: next(times, self.wall_ms()))
        (line,) = self.logged(self.expiry.startService)
        self.assertIn("The check of the certificates' expiry failed", line)
        self.assertEqual(len(self.flushLoggedErrors(OverflowError, ValueError)), 1)
        self.assertEqual(len(self.logged(lambda: self.pass_time(3600))), 1)
