"""Describe errors of TLS in words, in place of OpenSSL's numbers and names of functions.

Descriptions are clauses about the other side, such as "its certificate has expired". This module imports no TLS
library, because every command of `bender` may import it.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Clauses about the verification of certificates, by error number (X509_V_ERR_… in OpenSSL's x509_vfy.h).
_VERIFICATION = {
    9: "its certificate is not valid yet: compare the clocks",
    10: "its certificate has expired",
    13: "its certificate has no valid date of expiry",
    18: "its certificate is self-signed, and not signed by the CA",
    19: "its certificate is signed by another CA",
    20: "its certificate is signed by another CA",
    21: "its certificate is signed by another CA",
    23: "its certificate was revoked",
    24: "its certificate is signed by a certificate that is not a CA's",
    25: "its certificate is signed by a CA that may not sign it",
    26: "its certificate does not permit this use (extendedKeyUsage must permit servers and clients)",
    62: "its certificate is for another host name",
    64: "its certificate is for another address",
    66: "its certificate has a key that is too short",
    67: "its certificate is signed by a CA with a key that is too short",
    68: "its certificate is signed with a hash that is too weak",
    79: "its certificate is signed by a certificate that is not a CA's",
}

#: Parts of OpenSSL's texts in lower case, about alerts from the other side or own errors, with the clause for each.
_REASONS = (
    ("alert unknown ca", "it does not accept this side's certificate: another CA has signed it"),
    ("alert certificate expired", "it does not accept this side's certificate: it has expired"),
    ("alert certificate required", "it requires a certificate of this side"),
    ("alert bad certificate", "it does not accept this side's certificate"),
    ("alert certificate unknown", "it does not accept this side's certificate"),
    ("alert handshake failure", "it requires a certificate, or supports no cipher of this side"),
    ("alert protocol version", "it supports no version of TLS that this side accepts, which is 1.2 or later"),
    ("unsupported protocol", "it supports no version of TLS that this side accepts, which is 1.2 or later"),
    ("no shared cipher", "it supports no cipher of this side"),
    ("peer did not return a certificate", "it sends no certificate"),
    ("wrong version number", "it does not use TLS"),
    ("packet length too long", "it does not use TLS"),
    ("http request", "it does not use TLS"),
    ("record layer failure", "it does not use TLS"),
    ("certificate verify failed", "its certificate is not accepted"),
)


def verification_clause(code: int, text: str = "") -> str:
    """Return the reason why a certificate is not accepted, from OpenSSL's error number and, if known, its text."""
    return _VERIFICATION.get(code) or f"its certificate is not accepted ({text.lower() or f'OpenSSL error {code}'})"


def names_clause(names: Sequence[str]) -> str:
    """Return the clause that a certificate is for other hosts, which are `names`."""
    shown = ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
    return f"its certificate is for other hosts: {shown or 'it names none'}"


def reason_clause(reason: str) -> str:
    """Return the reason why a connection failed, from OpenSSL's text."""
    folded = reason.replace("_", " ").lower()
    return next((clause for part, clause in _REASONS if part in folded), f"TLS failed ({folded or 'no reason given'})")
