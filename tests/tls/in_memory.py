"""Connections with TLS in memory, and certificates for tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from zope.interface import implementer

from bender.net.encrypted import ListeningTls
from bender.tls.connections import tls_clause
from bender.tls.identity import TlsIdentity, load_identity
from bender.tls.issuing import Authority, issue, make_authority, write_certificate

DAY = timedelta(days=1)

#: The answer to a client without TLS.
PLAIN_ANSWER = b"this port uses TLS\n"


def now() -> datetime:
    """Return the wall-clock time, which OpenSSL uses for certificates."""
    return datetime.now(UTC)


def an_authority(name: str = "a CA", at: datetime | None = None) -> Authority:
    return make_authority(name, at or now())


def an_identity(
    authority: Authority,
    hosts: Sequence[str] = ("localhost",),
    at: datetime | None = None,
    lasts: timedelta = 10 * DAY,
    trusting: Authority | None = None,
    *,
    without_names: bool = False,
) -> TlsIdentity:
    """Return a certificate for peers, made at a time. Its `ca.pem` has `trusting`, or else the CA that signed it."""
    certificate_pem, private_pem = issue(authority, hosts, at or now(), lasts)
    if without_names:
        certificate_pem = _without_names(authority, certificate_pem)
    with TemporaryDirectory() as directory:
        write_certificate(Path(directory), trusting or authority, certificate_pem, private_pem)
        return load_identity(directory, authorities=True)


def _without_names(authority: Authority, pem: bytes) -> bytes:
    """Return the same certificate with only a common name."""
    made = x509.load_pem_x509_certificate(pem)
    builder = (
        x509.CertificateBuilder()
        .subject_name(made.subject)
        .issuer_name(made.issuer)
        .public_key(made.public_key())
        .serial_number(made.serial_number)
        .not_valid_before(made.not_valid_before_utc)
        .not_valid_after(made.not_valid_after_utc)
    )
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def private_key(identity: TlsIdentity) -> EllipticCurvePrivateKey:
    """Return the key of a certificate."""
    key = load_pem_private_key(identity.key_pem, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    return key


def key_pem(authority: Authority) -> bytes:
    """Return the key of a CA in the form of its file."""
    return authority.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def for_clients(identity: TlsIdentity) -> TlsIdentity:
    """Return the certificate as `--tls` loads it: without a CA, so that no certificate of clients is requested."""
    return evolve(identity, authorities_pem=b"")


def as_trusted(authority: Authority) -> list[Certificate]:
    """Return a CA in the form that `NodeTls` takes."""
    return [Certificate.loadPEM(authority.pem)]


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class OneVersion:
    """A client or a server with only one version of TLS, which does not check certificates."""

    def __init__(self, version: int, identity: TlsIdentity | None = None) -> None:
        """Create a server with an `identity`, or a client without."""
        self._context = SSL.Context(SSL.TLS_METHOD)
        self._context.set_cipher_list(b"ALL:@SECLEVEL=0")  # otherwise OpenSSL has no cipher for versions before 1.2
        self._context.set_min_proto_version(version)
        self._context.set_max_proto_version(version)
        if identity is not None:
            self._context.use_certificate(identity.chain[0])
            self._context.use_privatekey(private_key(identity))

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        del tlsProtocol
        return SSL.Connection(self._context, None)

    serverConnectionForTLS = clientConnectionForTLS


class End(Protocol):
    """One end of a connection, with the received data and the reason of its end."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason

    @property
    def clause(self) -> str | None:
        """The clause about a failure of TLS, or None if there was no failure."""
        return None if self.reason is None or self.reason.value is None else tls_clause(self.reason.value)


def _factory_of(end: End) -> Factory:
    factory = Factory()
    factory.protocol = lambda: end  # for the only connection
    factory.noisy = False
    return factory


class Joined:
    """A server and a client in memory, connected until no data are left to carry. `client` is None without TLS."""

    def __init__(self, server: Any, client: Any, clock: Clock | None = None, first: bytes = b"") -> None:
        """`server` is None without TLS, or a function that makes the server's factory from the factory of its end.

        The client sends `first` as soon as it is connected.
        """
        self.clock = clock or Clock()
        self.server, self.client = End(), End()
        factory: Any = _factory_of(self.server)
        if callable(server):
            factory = server(factory)
        elif server is not None:
            factory = ListeningTls(server, factory, self.clock, PLAIN_ANSWER)
        served = factory.buildProtocol(None)
        asking: Any = self.client
        if client is not None:
            asking = TLSMemoryBIOFactory(client, True, _factory_of(self.client), self.clock).buildProtocol(None)
        self.served, self.asking = served, asking
        self.served_transport = FakeTransport(served, isServer=True)
        self._pump: IOPump = connect(served, self.served_transport, asking, FakeTransport(asking, isServer=False))
        if first:
            self.client.transport.write(first)
        self.flush()

    def flush(self) -> None:
        for _ in range(3):  # Twisted collects the client's data until a later turn
            self.clock.advance(0)
            self._pump.flush()

    def cut(self, size: int) -> None:
        """Deliver all further data to the server in pieces of this size."""
        receive = self.served.dataReceived

        def in_pieces(data: bytes) -> None:
            for at in range(0, len(data), size):
                receive(data[at : at + size])

        self.served.dataReceived = in_pieces

    def hold_client(self) -> None:
        """Ignore all further data at the client."""
        self.asking.dataReceived = lambda data: None

    def exchange(self) -> tuple[bytes, bytes]:
        """Send data in both directions, and return the data that the server and the client have received."""
        self.client.transport.write(b"asked")
        self.server.transport.write(b"answered")
        self.flush()
        return self.server.received, self.client.received

    @property
    def works(self) -> bool:
        """True if both ends can send, and the connection is still open."""
        return self.exchange() == (b"asked", b"answered") and self.server.reason is None

    @property
    def clauses(self) -> tuple[str | None, str | None]:
        """The clauses about the failure at the server and at the client, after no data were received."""
        self.exchange()
        assert (self.server.received, self.client.received) == (b"", b""), "something was received"
        return self.server.clause, self.client.clause
