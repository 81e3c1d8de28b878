"""Build the listeners of other programs' protocols from the options. A protocol that is off costs nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen
from twisted.application import strports
from twisted.application.service import IService
from twisted.internet.interfaces import IProtocolFactory, IReactorCore

from bender.access.host_check import HostCheck
from bender.access.tokens import Tokens
from bender.daemon.options import NodeOptions
from bender.daemon.service import ClientConnections
from bender.daemon.thalassa_option import THALASSA_EVENTS
from bender.net.fair_turns import Turns
from bender.net.reactor import Reactor
from bender.node.node import Node
from bender.process.options import BACKLOG, Endpoint
from bender.protocols.agent_check import AgentCheckFactory
from bender.protocols.dns.service import DnsService
from bender.protocols.thalassa.events import ThalassaEvents
from bender.protocols.thalassa.http import thalassa_site


@frozen
class ProtocolShells:
    """The services of the protocols that are on, by the option that says where each listens.

    `clients` are the connections to the HTTP APIs among them: a leaving node waits until their answers are sent.
    """

    services: Mapping[str, IService]
    clients: Sequence[ClientConnections]


def protocol_shells(
    options: NodeOptions,
    node: Node,
    reactor: Reactor,
    turns: Turns,
    tokens: Tokens,
    host_check: Callable[[Endpoint], HostCheck | None],
) -> ProtocolShells:
    """Return the shells of the protocols that are on. They open no port before they start.

    `host_check` returns the check of `Host` headers for an endpoint with HTTP, or None.
    """
    services: dict[str, IService] = {}
    clients: list[ClientConnections] = []

    def listen(name: str, endpoint: Endpoint, factory: IProtocolFactory) -> None:
        services[name] = strports.service(endpoint.listen_description, factory, reactor=IReactorCore(reactor))

    if options.agent is not None:
        listen("agent", options.agent, AgentCheckFactory(node, reactor, turns))
    if options.thalassa is not None:
        site = thalassa_site(node, reactor, turns, tokens, host_check(options.thalassa))
        listen("thalassa", options.thalassa, site)
        clients.append(site)
    if options.thalassa_events is not None:
        listen(THALASSA_EVENTS, options.thalassa_events, ThalassaEvents(node, reactor, turns))
    if options.dns is not None:
        services["dns"] = DnsService(
            node, reactor, turns, random.random, port=options.dns.port, interface=options.dns.interface, backlog=BACKLOG
        )
    return ProtocolShells(services, clients)
