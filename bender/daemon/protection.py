"""What protects the endpoints of a node: tokens for clients, TLS for clients and peers, and names for browsers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IProtocolFactory, IReactorTime

from bender.access.host_check import HostCheck
from bender.access.tokens import Tokens
from bender.daemon.options import NodeOptions
from bender.net.encrypted import ListeningTls
from bender.process.options import Endpoint
from bender.tls.connections import ClientsTls, PeersTls
from bender.tls.identity import TlsIdentity


class Protection:
    """The protection as it is in force."""

    def __init__(self, options: NodeOptions) -> None:
        self.tokens = Tokens(options.tokens)
        self._clients = None if options.tls is None else ClientsTls(options.tls)
        self.peers = None if options.peer_tls is None else PeersTls(options.peer_tls)
        self._options = options

    @property
    def identities(self) -> Mapping[str, TlsIdentity]:
        """Return the certificates in use, by the option that names them."""
        named = {"tls": self._options.tls, "peer-tls": self._options.peer_tls}
        return {option: identity for option, identity in named.items() if identity is not None}

    def encrypted(
        self,
        endpoint: Endpoint,
        factory: IProtocolFactory,
        reactor: IReactorTime,
        plain_answer: bytes,
        note_refusal: Callable[[str, str], None],
    ) -> IProtocolFactory:
        """Return the factory to listen with at an endpoint of clients: one with TLS, if that is on.

        `plain_answer` and `refused` are as for `ListeningTls`. A Unix socket has none, and `ssl:` has its own.
        """
        if self._clients is None or endpoint.kind not in ("tcp", "tcp6"):
            return factory
        return ListeningTls(self._clients, factory, reactor, plain_answer, note_refusal)

    def host_check(self, endpoint: Endpoint) -> HostCheck | None:
        """Return the check of the names by which browsers ask for an endpoint with HTTP; None if there is none.

        A client of a Unix socket, which cannot be a browser, sends any name. An endpoint that other machines can reach
        has names that the node does not know, so it is checked if all of them were given.
        """
        options = self._options
        if endpoint.kind == "unix" or not (endpoint.is_loopback or options.allowed_hosts):
            return None
        names = options.own_names | {*options.allowed_hosts}
        return HostCheck(names, self.tokens, always=bool(options.allowed_hosts))

    def replace(self, chosen: NodeOptions) -> None:
        """Use these tokens and certificates from now on. `chosen` has TLS on or off as it was."""
        if self._clients is not None and chosen.tls is not None:
            self._clients.replace(chosen.tls)
        if self.peers is not None and chosen.peer_tls is not None:
            self.peers.replace(chosen.peer_tls)
        if chosen.tokens != self._options.tokens:
            self.tokens.replace(chosen.tokens)
        self._options = chosen
