"""Connections with TLS on Twisted, and the certificates that they accept.

Peers present certificates of the same CA to each other. The names in these certificates do not matter; the handshake of
an attacker without such a certificate fails. Nodes present a certificate to clients, which check its CA and names. TLS
must be 1.2 or later. Certificates can be replaced while a node runs; open connections continue with the old ones.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from bender.tls.identity import TlsIdentity
from bender.tls.problems import names_clause, reason_clause, verification_clause

_PEER = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT


class PeerTlsMode(Enum):
    """Use of TLS among peers. `ALLOW` and `PREFER` are for the time in which a cluster changes to TLS."""

    #: Send without TLS; accept messages with and without TLS.
    ALLOW = "allow"
    #: Send with TLS; accept messages with and without TLS.
    PREFER = "prefer"
    #: Send with TLS; accept only messages with TLS.
    REQUIRE = "require"


class CertificateRefused(SSL.Error):
    """The certificate of the other side is not accepted, for the reason in `clause`. Formed like OpenSSL's errors."""

    def __init__(self, clause: str) -> None:
        super().__init__([("bender", "verify", clause)])
        self.clause = clause

    def __str__(self) -> str:
        return self.clause


def tls_clause(error: BaseException) -> str | None:
    """Return a clause about an error of TLS; None for any other error."""
    if isinstance(error, CertificateRefused):
        return error.clause
    if isinstance(error, VerificationError):
        return "its certificate is for other hosts"
    if not isinstance(error, SSL.Error) or isinstance(error, SSL.SysCallError | SSL.ZeroReturnError):
        return None
    reasons = error.args[0] if error.args else ()
    return reason_clause(str(reasons[-1][-1]) if reasons and isinstance(reasons, list | tuple) else "")


def _refuse_unless_signed(
    _connection: SSL.Connection, _certificate: crypto.X509, code: int, _depth: int, signed: int
) -> bool:
    if not signed:
        raise CertificateRefused(verification_clause(code))
    return True


@implementer(IOpenSSLServerConnectionCreator)
class ClientsTls:
    """TLS for the connections of clients to a node. Raises `ValueError` if OpenSSL refuses the certificate."""

    def __init__(self, identity: TlsIdentity) -> None:
        self._context = context_of(identity)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        del tlsProtocol
        return SSL.Connection(self._context, None)

    def replace(self, identity: TlsIdentity) -> None:
        """Use another certificate for new connections."""
        self._context = context_of(identity)


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class PeersTls:
    """TLS for connections between peers, in both directions. Raises `ValueError` if OpenSSL refuses the certificate."""

    def __init__(self, identity: TlsIdentity) -> None:
        self._context = context_of(identity)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        del tlsProtocol
        return SSL.Connection(self._context, None)

    clientConnectionForTLS = serverConnectionForTLS

    def replace(self, identity: TlsIdentity) -> None:
        """Use another certificate for new connections."""
        self._context = context_of(identity)


@implementer(IOpenSSLClientConnectionCreator)
class NodeTls:
    """TLS for the connections of a client to a host, whose certificate must be signed by a CA and have its name."""

    def __init__(self, host: str, authorities: list[Certificate]) -> None:
        self._host = host
        self._named = not (isIPAddress(host) or isIPv6Address(host))
        options = CertificateOptions(
            trustRoot=trustRootFromCertificates(authorities), raiseMinimumTo=TLSVersion.TLSv1_2
        )
        self._context = options.getContext()
        self._context.set_verify(_PEER, self._verify)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        del tlsProtocol
        connection = SSL.Connection(self._context, None)
        if self._named:
            connection.set_tlsext_host_name(self._host.encode("idna"))
        return connection

    def _verify(self, connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, signed: int) -> bool:
        _refuse_unless_signed(connection, certificate, code, depth, signed)
        if depth == 0 and not self._is_named_in(certificate):
            raise CertificateRefused(names_clause(names_of(certificate.to_cryptography())))
        return True

    def _is_named_in(self, certificate: crypto.X509) -> bool:
        """Return True if the host is in the names of a certificate. A certificate with an invalid name has no names."""
        try:
            required = DNS_ID(self._host) if self._named else IPAddress_ID(self._host)
            verify_service_identity(extract_patterns(certificate), obligatory_ids=[required], optional_ids=[])
        except (VerificationError, CertificateError, ValueError):
            return False
        return True


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the host names and addresses in a certificate; none if their list is malformed."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [str(each.value) for each in names if isinstance(each, x509.DNSName | x509.IPAddress)]


def context_of(identity: TlsIdentity) -> SSL.Context:
    """Return the OpenSSL context for an identity. Raises `ValueError` if OpenSSL refuses its certificate or key."""
    first, *others = [crypto.X509.from_cryptography(each) for each in identity.chain]
    authorities = [Certificate(crypto.X509.from_cryptography(each)) for each in identity.authorities]
    trust: dict[str, Any] = {"trustRoot": trustRootFromCertificates(authorities)} if authorities else {}
    try:
        options = CertificateOptions(
            privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, identity.key_pem),
            certificate=first,
            extraCertChain=others,
            raiseMinimumTo=TLSVersion.TLSv1_2,
            **trust,
        )
        context = options.getContext()
        if authorities:
            # On the context, because pyOpenSSL loses errors of a callback that is set on a connection.
            context.set_verify(_PEER, _refuse_unless_signed)
    except (SSL.Error, crypto.Error) as error:
        clause = tls_clause(error) or "no reason given"
        raise ValueError(f"OpenSSL does not take the certificate in {identity.directory} ({clause})") from error
    return context
