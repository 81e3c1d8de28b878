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
    """The tokens and certificates that are in force at a node."""

    def __init__(self, options: NodeOptions) -> None:
        self.tokens = Tokens(options.tokens)
        self._clients = None if options.tls is None else ClientsTls(options.tls)
        self.peers = None if options.peer_tls is None else PeersTls(options.peer_tls)
        self._options = options

    @property
    def identities(self) -> Mapping[str, TlsIdentity]:
        """The certificates in use, by the option that names their directory."""
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
        """Return the factory for an endpoint of clients: with TLS if `--tls` is set, else `factory` itself.

        `plain_answer` and `note_refusal` are as for `ListeningTls`. A Unix socket needs no TLS, and an endpoint of the
        kind `ssl:` has its own.
        """
        if self._clients is None or endpoint.kind not in ("tcp", "tcp6"):
            return factory
        return ListeningTls(self._clients, factory, reactor, plain_answer, note_refusal)

    def host_check(self, endpoint: Endpoint) -> HostCheck | None:
        """Return the check of `Host` headers for an endpoint with HTTP; None if all names are accepted there.

        Clients of a Unix socket are not browsers, and send any name. The node does not know all names of an endpoint
        that other machines can reach, so names are checked there only if the operator has set `--allow-host`.
        """
        options = self._options
        if endpoint.kind == "unix" or not (endpoint.is_loopback or options.allowed_hosts):
            return None
        names = options.own_names | {*options.allowed_hosts}
        return HostCheck(names, self.tokens, always=bool(options.allowed_hosts))

    def replace(self, options: NodeOptions) -> None:
        """Use the tokens and certificates of `options` from now on. TLS must be on or off as before."""
        if self._clients is not None and options.tls is not None:
            self._clients.replace(options.tls)
        if self.peers is not None and options.peer_tls is not None:
            self.peers.replace(options.peer_tls)
        if options.tokens != self._options.tokens:
            self.tokens.replace(options.tokens)
        self._options = options
