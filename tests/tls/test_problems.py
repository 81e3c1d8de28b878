"""Clauses about errors of TLS."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.tls.problems import names_clause, reason_clause, verification_clause


class Clauses(SynchronousTestCase):
    def test_verification(self) -> None:
        """An error of OpenSSL without a clause is shown with OpenSSL's text or number."""
        for code, clause in (
            (9, "its certificate is not valid yet: compare the clocks"),
            (10, "its certificate has expired"),
            (18, "its certificate is self-signed, and not signed by the CA"),
            (19, "its certificate is signed by another CA"),
            (20, "its certificate is signed by another CA"),
            (66, "its certificate has a key that is too short"),
            (77, "its certificate is not accepted (OpenSSL error 77)"),
        ):
            self.assertEqual(verification_clause(code), clause)
        self.assertEqual(verification_clause(77, "Odd Thing"), "its certificate is not accepted (odd thing)")

    def test_names(self) -> None:
        """A clause has at most five names."""
        others = "its certificate is for other hosts: "
        self.assertEqual(names_clause([]), f"{others}it names none")
        self.assertEqual(names_clause(["a", "b"]), f"{others}a, b")
        self.assertEqual(names_clause([*"abcde"]), f"{others}a, b, c, d, e")
        self.assertEqual(names_clause([*"abcdef"]), f"{others}a, b, c, d, e and others")

    def test_reasons(self) -> None:
        """Reasons are found in both forms of OpenSSL's text, with spaces or underscores."""
        for reason, clause in (
            ("tlsv1 alert unknown ca", "it does not accept this side's certificate: another CA has signed it"),
            ("TLSV1_ALERT_UNKNOWN_CA", "it does not accept this side's certificate: another CA has signed it"),
            ("sslv3 alert certificate expired", "it does not accept this side's certificate: it has expired"),
            ("tlsv13 alert certificate required", "it requires a certificate of this side"),
            ("wrong version number", "it does not use TLS"),
            ("something new", "TLS failed (something new)"),
            ("", "TLS failed (no reason given)"),
        ):
            self.assertEqual(reason_clause(reason), clause)
