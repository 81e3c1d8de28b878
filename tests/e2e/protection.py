"""Certificates that `bender certs` has made, and tokens, for nodes in tests."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgent

from bender.net.http_client import EndpointFactory
from bender.tls.connections import NodeTls
from tests.e2e.nodes import PATIENCE_S, Cluster, Node
from tests.e2e.shells import BENDER

#: The scopes of a token of each kind, by its name.
SCOPES = {
    "read": ["read"],
    "web": ["register:web-*"],
    "configure": ["configure"],
    "admin": ["admin"],
    "agent": ["read", "register:web-*"],
}


def make_certificates(directory: Path, *arguments: str) -> Path:
    """Run `bender certs` as an operator does, and return the directory."""
    subprocess.run(
        [BENDER, "certs", str(directory), *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE_S
    )
    return directory


def secret_of(name: str) -> str:
    """Return the token of a name."""
    return f"secret-of-{name}"


def token_table(name: str, scopes: Sequence[str], secret: str) -> str:
    """Return the table of a token for the file of --tokens."""
    listed = ", ".join(f'"{scope}"' for scope in scopes)
    return f'[[token]]\nname = "{name}"\nsha256 = "{sha256(secret.encode()).hexdigest()}"\nscopes = [{listed}]\n'


def write_tokens(file: Path, **others: Sequence[str]) -> Path:
    """Write the tokens of `SCOPES`, and others by their names, and return the file."""
    file.write_text(
        "".join(token_table(name, scopes, secret_of(name)) for name, scopes in {**SCOPES, **others}.items())
    )
    return file


def agent_for(ca: Path) -> IAgent:
    """Return an agent that trusts this CA."""
    authority = Certificate.loadPEM(ca.read_bytes())

    def wrap(uri: URI, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        return wrapClientTLS(NodeTls(uri.host.decode("ascii"), [authority]), endpoint)

    agent: IAgent = Agent.usingEndpointFactory(reactor, EndpointFactory(reactor, wrap=wrap))
    return agent


def protected_node(cluster: Cluster, certificates: Path, tokens: Path | None, **options: object) -> Node:
    """Return a node with TLS for clients and peers, and with tokens, without starting it."""
    given = {"tls": certificates, "peer-tls": certificates, **({} if tokens is None else {"tokens": tokens})}
    node = cluster.node(**given, **options)
    node.agent = agent_for(certificates / "ca.pem")
    node.token = None if tokens is None else secret_of("admin")
    return node
