"""The conditions for accepting a certificate, with real certificates on connections in memory."""

from __future__ import annotations

from attrs import evolve
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from bender.tls.connections import CertificateRefused, ClientsTls, NodeTls, PeersTls, names_of, tls_clause
from bender.tls.issuing import Authority
from tests.tls.in_memory import (
    DAY,
    Joined,
    OneVersion,
    an_authority,
    an_identity,
    as_trusted,
    for_clients,
    key_pem,
    now,
    private_key,
)

OTHER_CA = "its certificate is signed by another CA"
OTHER_VERSION = "it supports no version of TLS that this side accepts, which is 1.2 or later"


class Peers(SynchronousTestCase):
    """Two nodes, each with a certificate and with the CA that the other must have."""

    def setUp(self) -> None:
        self.authority = an_authority()
        self.node = PeersTls(an_identity(self.authority))

    def joined(self, peer: PeersTls) -> Joined:
        """Return a connection from a peer to the node."""
        return Joined(self.node, peer)

    def test_the_same_authority(self) -> None:
        """Only the CA counts: names are not compared, because peers connect from any address."""
        for hosts in (["localhost"], ["elsewhere.example"], ["203.0.113.7"]):
            self.assertTrue(self.joined(PeersTls(an_identity(self.authority, hosts))).works, hosts)

    def test_another_authority(self) -> None:
        """Each side refuses a certificate of another CA, in both directions of a connection."""
        theirs = an_authority()
        stranger = PeersTls(an_identity(theirs))
        self.assertEqual(
            self.joined(stranger).clauses,
            ("it does not accept this side's certificate: another CA has signed it", OTHER_CA),
        )
        trusting = PeersTls(an_identity(theirs, trusting=self.authority))
        self.assertEqual(
            self.joined(trusting).clauses,
            (OTHER_CA, "it does not accept this side's certificate: another CA has signed it"),
        )
        self.assertEqual(Joined(trusting, self.node).clauses[1], OTHER_CA)

    def test_an_authority_with_the_same_name(self) -> None:
        """A CA with the same name is another CA."""
        trusting = PeersTls(an_identity(an_authority("a CA"), trusting=self.authority))
        self.assertEqual(self.joined(trusting).clauses[0], OTHER_CA)

    def test_self_signed(self) -> None:
        """A self-signed certificate is refused."""
        alone = an_authority()
        self_signed = evolve(an_identity(self.authority), chain_pem=alone.pem, key_pem=key_pem(alone))
        self.assertEqual(
            self.joined(PeersTls(self_signed)).clauses[0], "its certificate is self-signed, and not signed by the CA"
        )

    def test_expired(self) -> None:
        expired = PeersTls(an_identity(self.authority, at=now() - 10 * DAY, lasts=9 * DAY))
        self.assertEqual(
            self.joined(expired).clauses,
            ("its certificate has expired", "it does not accept this side's certificate: it has expired"),
        )
        self.assertEqual(
            Joined(expired, self.node).clauses,
            ("it does not accept this side's certificate: it has expired", "its certificate has expired"),
        )

    def test_not_yet_valid(self) -> None:
        """Clocks may differ by less than an hour; with a larger difference, the clause advises comparing them."""
        self.assertTrue(self.joined(PeersTls(an_identity(self.authority, at=now() + DAY / 25))).works)
        early = PeersTls(an_identity(self.authority, at=now() + DAY))
        self.assertEqual(self.joined(early).clauses[0], "its certificate is not valid yet: compare the clocks")

    def test_no_certificate(self) -> None:
        """A client of the API without a certificate is not accepted as a peer."""
        client = NodeTls("localhost", as_trusted(self.authority))
        self.assertEqual(
            Joined(self.node, client).clauses, ("it sends no certificate", "it requires a certificate of this side")
        )

    def test_nothing_is_accepted_before_the_certificate(self) -> None:
        """Data that a peer sends before the end of the handshake are not accepted."""
        stranger = PeersTls(an_identity(an_authority(), trusting=self.authority))
        joined = Joined(self.node, stranger, first=b"let me in")
        self.assertEqual((joined.server.received, joined.server.clause), (b"", OTHER_CA))

    def test_certificates_of_nodes_are_no_authorities(self) -> None:
        """A certificate that was signed with the key of a node's certificate is refused, because that is not a CA."""
        identity = an_identity(self.authority)
        forged = an_identity(Authority(identity.chain[0], private_key(identity)), trusting=self.authority)
        chained = evolve(forged, chain_pem=forged.chain_pem + identity.chain_pem)
        clause, _ = self.joined(PeersTls(chained)).clauses
        self.assertEqual(clause, "its certificate is signed by a certificate that is not a CA's")


class Versions(SynchronousTestCase):
    def setUp(self) -> None:
        self.authority = an_authority()
        self.identity = an_identity(self.authority)

    def test_older_clients(self) -> None:
        """TLS 1.1 is refused by both kinds of servers, and each side has a clause about it."""
        for server in (PeersTls(self.identity), ClientsTls(for_clients(self.identity))):
            joined = Joined(server, OneVersion(SSL.TLS1_1_VERSION))
            self.assertEqual(joined.clauses, (OTHER_VERSION, OTHER_VERSION))

    def test_older_servers(self) -> None:
        """Clients and peers refuse servers with TLS 1.1."""
        server = OneVersion(SSL.TLS1_1_VERSION, self.identity)
        for client in (PeersTls(self.identity), NodeTls("localhost", as_trusted(self.authority))):
            self.assertEqual(Joined(server, client).clauses, (OTHER_VERSION, OTHER_VERSION))

    def test_present_versions(self) -> None:
        """TLS 1.2 and 1.3 are both accepted."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self.assertTrue(Joined(ClientsTls(for_clients(self.identity)), OneVersion(version)).works)
            server = OneVersion(version, self.identity)
            self.assertTrue(Joined(server, NodeTls("localhost", as_trusted(self.authority))).works)


class Nodes(SynchronousTestCase):
    """A client of a node, which checks the node's certificate and its names."""

    def setUp(self) -> None:
        self.authority = an_authority()

    def joined(self, host: str, *names: str) -> Joined:
        """Return a connection to the node at `host`, whose certificate has these names."""
        server = ClientsTls(for_clients(an_identity(self.authority, names)))
        return Joined(server, NodeTls(host, as_trusted(self.authority)))

    def test_names(self) -> None:
        """Names may have any case, and a star for one label; addresses may have any notation."""
        for host, *names in (
            ("localhost", "localhost"),
            ("n1.example.org", "n2.example.org", "n1.example.org"),
            ("N1.Example.org", "n1.example.ORG"),
            ("n1.example.org", "*.example.org"),
            ("10.0.0.1", "n1", "10.0.0.1"),
            ("::1", "::1"),
            ("fd00::1", "fd00:0:0::1"),
            ("fd00:0:0::1", "fd00::1"),
        ):
            self.assertTrue(self.joined(host, *names).works, (host, names))

    def test_other_names(self) -> None:
        """A client sends nothing to a node whose certificate has other names, and the clause shows these names."""
        for host, *names in (
            ("localhost", "n1"),
            ("n1", "n1.example.org"),
            ("n1.example.org", "n1"),
            ("example.org", "*.example.org"),
            ("a.b.example.org", "*.example.org"),
            ("10.0.0.1", "10.0.0.2"),
            ("10.0.0.1", "localhost", "10.0.0.2", "n1"),
            ("::1", "::2"),
            ("::1", "127.0.0.1"),
            ("localhost", "127.0.0.1", "::1"),
            ("127.0.0.1", "localhost"),
            ("n1.example", "*.example"),
            ("a b", "localhost"),
        ):
            joined = self.joined(host, *names)
            joined.client.transport.write(b"a token")
            self.assertEqual(
                joined.clauses[1], f"its certificate is for other hosts: {', '.join(names)}", (host, names)
            )

    def test_many_names(self) -> None:
        """The clause has at most some of the names."""
        clause = self.joined("localhost", *(f"n{i}" for i in range(9))).clauses[1]
        self.assertEqual(clause, "its certificate is for other hosts: n0, n1, n2, n3, n4 and others")

    def test_no_names(self) -> None:
        """The common name of a certificate does not count (RFC 6125)."""
        identity = for_clients(an_identity(self.authority, without_names=True))
        joined = Joined(ClientsTls(identity), NodeTls("localhost", as_trusted(self.authority)))
        self.assertEqual(joined.clauses[1], "its certificate is for other hosts: it names none")

    def test_another_authority(self) -> None:
        """A certificate for the right host is refused if another CA has signed it."""
        server = ClientsTls(for_clients(an_identity(an_authority())))
        self.assertEqual(Joined(server, NodeTls("localhost", as_trusted(self.authority))).clauses[1], OTHER_CA)

    def test_the_name_that_is_asked_for(self) -> None:
        """The client sends the name of the host in the handshake, but no address (RFC 6066, 3)."""
        for host, sent in (("n1.example.org", b"n1.example.org"), ("10.0.0.1", None), ("::1", None)):
            joined = self.joined(host, host)
            self.assertTrue(joined.works)
            self.assertEqual(joined.served.getHandle().get_servername(), sent)

    def test_several_authorities(self) -> None:
        """A client may trust several CAs, so that a CA can be replaced step by step."""
        others = [*as_trusted(an_authority()), *as_trusted(self.authority)]
        server = ClientsTls(for_clients(an_identity(self.authority)))
        self.assertTrue(Joined(server, NodeTls("localhost", others)).works)

    def test_expired(self) -> None:
        identity = an_identity(self.authority, at=now() - 10 * DAY, lasts=9 * DAY)
        joined = Joined(ClientsTls(for_clients(identity)), NodeTls("localhost", as_trusted(self.authority)))
        self.assertEqual(joined.clauses[1], "its certificate has expired")

    def test_clients_need_no_certificate(self) -> None:
        """A server for clients requests no certificate, and accepts clients that have one."""
        server = ClientsTls(for_clients(an_identity(self.authority)))
        self.assertTrue(Joined(server, PeersTls(an_identity(self.authority))).works)


class Replacing(SynchronousTestCase):
    """Certificates that are replaced while a node runs."""

    def setUp(self) -> None:
        self.old, self.new = an_authority("old"), an_authority("new")

    def test_of_clients(self) -> None:
        """Open connections continue; new connections get the new certificate."""
        server = ClientsTls(for_clients(an_identity(self.old)))
        before = Joined(server, NodeTls("localhost", as_trusted(self.old)))
        server.replace(for_clients(an_identity(self.new)))
        self.assertTrue(before.works)
        self.assertTrue(Joined(server, NodeTls("localhost", as_trusted(self.new))).works)
        self.assertEqual(Joined(server, NodeTls("localhost", as_trusted(self.old))).clauses[1], OTHER_CA)

    def test_of_peers(self) -> None:
        """After a replacement, open connections continue, and new ones in both directions need the new CA."""
        node = PeersTls(an_identity(self.old))
        peer = PeersTls(an_identity(self.old))
        before = [Joined(node, peer), Joined(peer, node)]
        node.replace(an_identity(self.new))
        self.assertEqual([joined.works for joined in before], [True, True])
        self.assertIn(OTHER_CA, Joined(node, peer).clauses)
        self.assertIn(OTHER_CA, Joined(peer, node).clauses)
        peer.replace(an_identity(self.new))
        self.assertTrue(Joined(node, peer).works)
        self.assertTrue(Joined(peer, node).works)

    def test_with_both_authorities(self) -> None:
        """A `ca.pem` with the old and the new CA lets a cluster change its CA node by node."""
        both = self.old.pem + self.new.pem
        for first, second in ((self.old, self.new), (self.new, self.old)):
            one, other = (PeersTls(evolve(an_identity(each), authorities_pem=both)) for each in (first, second))
            self.assertTrue(Joined(one, other).works)

    def test_refused(self) -> None:
        """A certificate that OpenSSL does not take changes nothing."""
        node = PeersTls(an_identity(self.old))
        mixed = evolve(an_identity(self.old), key_pem=an_identity(self.old).key_pem, directory="/etc/bender/tls")
        error = self.assertRaises(ValueError, node.replace, mixed)
        self.assertIn("OpenSSL does not take the certificate in /etc/bender/tls", str(error))
        self.assertTrue(Joined(node, PeersTls(an_identity(self.old))).works)


class Words(SynchronousTestCase):
    def test_errors_that_are_not_of_tls(self) -> None:
        """Errors that are not from TLS have no clause here."""
        for error in (OSError(), ConnectionLost(), ValueError("x"), SSL.ZeroReturnError(), SSL.SysCallError(-1, "EOF")):
            self.assertIsNone(tls_clause(error))

    def test_errors_of_tls(self) -> None:
        """The last reason counts; an unknown reason has OpenSSL's text, and a missing reason is mentioned."""
        for error, clause in (
            (CertificateRefused("its certificate is odd"), "its certificate is odd"),
            (VerificationError(errors=[]), "its certificate is for other hosts"),
            (
                SSL.Error([("lib", "f", "other"), ("lib", "f", "no shared cipher")]),
                "it supports no cipher of this side",
            ),
            (SSL.Error([("lib", "f", "Something_ODD")]), "TLS failed (something odd)"),
            (SSL.Error([]), "TLS failed (no reason given)"),
            (SSL.Error(), "TLS failed (no reason given)"),
            (SSL.Error("text"), "TLS failed (no reason given)"),
        ):
            self.assertEqual(tls_clause(error), clause)
        self.assertEqual(str(CertificateRefused("its certificate is odd")), "its certificate is odd")

    def test_names(self) -> None:
        """Only alternative names count as names of a certificate."""
        authority = an_authority("ca.example")
        self.assertEqual(names_of(authority.certificate), [])
        names = ["n1", "10.0.0.1", "::1", "*.example.org"]
        self.assertEqual(names_of(an_identity(authority, names).chain[0]), names)
