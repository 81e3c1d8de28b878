"""The shells of other programs' protocols, put together as their options say; none of them costs anything while off."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.application import strports
from twisted.application.service import IService
from twisted.internet.interfaces import IReactorCore

from bender.daemon.options import NodeOptions
from bender.net.fair_turns import Turns
from bender.net.reactor import Reactor
from bender.node.node import Node
from bender.protocols.agent_check import AgentCheckFactory


def protocol_shells(choices: NodeOptions, node: Node, reactor: Reactor, turns: Turns) -> Mapping[str, IService]:
    """Return the services of the protocols that are on, by the option that says where each listens."""
    shells: dict[str, IService] = {}
    if choices.agent is not None:
        shells["agent"] = strports.service(
            choices.agent.listened, AgentCheckFactory(node, reactor, turns), reactor=IReactorCore(reactor)
        )
    return shells
