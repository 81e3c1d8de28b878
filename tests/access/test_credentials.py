"""The places of tokens in requests."""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from bender.access.credentials import token_in


def basic(user_and_password: bytes) -> bytes:
    return b"Basic " + b64encode(user_and_password)


class Authorization(SynchronousTestCase):
    def found(self, authorization: bytes) -> bytes | None:
        return token_in(authorization, None)

    def test_bearer(self) -> None:
        """The scheme may have any case (RFC 9110, 11.1), and spaces around the token do not count."""
        for sent in (b"Bearer s3cret", b"bearer s3cret", b"BEARER s3cret", b"Bearer   s3cret  "):
            self.assertEqual(self.found(sent), b"s3cret", sent)

    def test_bare(self) -> None:
        """A header without a scheme is the token."""
        self.assertEqual(self.found(b"s3cret"), b"s3cret")
        self.assertEqual(self.found(b"Bearer"), b"Bearer")

    def test_basic(self) -> None:
        """With Basic credentials, the token is the password, with any user; it may have colons."""
        self.assertEqual(self.found(basic(b"anybody:s3cret")), b"s3cret")
        self.assertEqual(self.found(basic(b":s3cret")), b"s3cret")
        self.assertEqual(self.found(b"bAsIc " + b64encode(b"a:s3c:ret")), b"s3c:ret")
        self.assertEqual(self.found(basic("a:schlüssel".encode())), "schlüssel".encode())

    def test_basic_without_a_password(self) -> None:
        """Basic credentials without a password have an empty token, which no node accepts."""
        for sent in (basic(b"s3cret"), basic(b"s3cret:"), basic(b""), b"Basic "):
            self.assertEqual(self.found(sent), b"", sent)

    def test_malformed_base64(self) -> None:
        """Malformed base64 is an empty token, and raises no error."""
        for encoded in (b"YTpzM2NyZXQ", b"Y", b"!!!!", b"YTpz M2NyZXQ=", b"YTpzM2Ny\xff", b"====", b"YTpzM2NyZXQ=x"):
            self.assertEqual(self.found(b"Basic " + encoded), b"", encoded)

    def test_unknown_schemes(self) -> None:
        """With an unknown scheme, the whole header counts as the token, so it is not valid."""
        for sent in (b"Digest s3cret", b"Token s3cret", b"Bearer\ts3cret", b"s3cret Bearer"):
            self.assertEqual(self.found(sent), sent)

    def test_several_headers(self) -> None:
        """Repeated headers arrive joined with commas, and no part of this is a token."""
        self.assertEqual(self.found(b"Bearer s3cret,Bearer s3cret"), b"s3cret,Bearer s3cret")
        self.assertEqual(self.found(b"s3cret,s3cret"), b"s3cret,s3cret")


class ConsulToken(SynchronousTestCase):
    def test_alone(self) -> None:
        """The whole header is the token."""
        self.assertEqual(token_in(None, b"s3cret"), b"s3cret")
        self.assertEqual(token_in(None, b"Bearer s3cret"), b"Bearer s3cret")

    def test_beside_authorization(self) -> None:
        """`Authorization` decides if both headers are sent, even if it is empty."""
        self.assertEqual(token_in(b"Bearer one", b"other"), b"one")
        self.assertEqual(token_in(b"", b"other"), b"")

    def test_neither(self) -> None:
        """Without a header there is no token, which differs from an empty token."""
        self.assertIsNone(token_in(None, None))
