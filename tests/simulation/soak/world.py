"""Whole nodes on the simulator's time and network, with all their shells for clients.

Only the operating system is simulated: the clock, and the way of a node's requests to its peers. A node's timers fire
when its process does something else, which is at least four times an interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.task import Clock

from bender.api import site
from bender.core.claim_leases import ClaimLease
from bender.core.consumers import AwaitedChange, ConsumerState
from bender.core.diagnosis import NodeDiagnosis, NoDiagnosis
from bender.core.gossip_targets import partners
from bender.core.messages import Message, OutgoingMessage, Sender
from bender.core.node_report import NodeReport
from bender.core.replica import Replica
from bender.exchange.connection_problems import PeerProblems
from bender.line_protocol.connection import EventsFactory
from bender.net.fair_turns import Turns
from bender.node import node as whole
from bender.node.sources import Sources
from tests.simulation.cluster import Cluster, Node
from tests.simulation.knowledge import Life, May
from tests.simulation.network import Answer, Exchange, Network

#: The time of the wall clocks when a day begins, in ms since the epoch.
BEGAN_MS = 1_795_447_942_248


class Process:
    """A process on a machine: a node, its shells, and their clock. `boot` distinguishes the processes of a machine."""

    def __init__(self, cluster: SoakCluster, machine: Node, identity: Sender) -> None:
        self.boot = machine.boot
        self.began_at = cluster.now
        self.clock = Clock()
        self.clock.rightNow = machine.clock(cluster.now)
        incarnations = iter([identity.incarnation])
        sources = Sources(
            self.clock.seconds,
            lambda: BEGAN_MS + int(cluster.now * 1000),
            lambda: next(incarnations, None) or cluster.random.getrandbits(64),
        )
        turns = Turns(self.clock)
        self.node = whole.Node(
            self.clock,
            sources,
            name=machine.name,
            address=machine.address,
            api_port=1729,
            timing=cluster.timing,
            seeds=machine.seeds,
            guard_s=cluster.guard_s,
            exchange=partial(PeerWire, cluster, machine),
        )
        self.problems = PeerProblems(self.clock, cluster.interval_s, self.node.set_peer_problem)
        self.site = site(self.node, self.clock, turns)
        self.events = EventsFactory(self.node, self.clock, turns)

    def live_until(self, now: float) -> None:
        """Let the timers fire that are due by the clock of the machine."""
        self.clock.advance(max(0.0, now - self.clock.seconds()))


class PeerWire:
    """Carries a node's requests to its peers over the network of the cluster."""

    def __init__(self, cluster: SoakCluster, machine: Node, _node: whole.Node) -> None:
        self._send = partial(cluster.network.send, machine)
        self._reached = partial(cluster.reached, machine)

    def send(self, requests: list[OutgoingMessage]) -> None:
        for request in requests:
            self._send(request)

    async def ask_diagnosis(self, address: str, key: str) -> NodeDiagnosis | NoDiagnosis:
        peer = self._reached(address)
        return peer.node.diagnose(key) if peer else NoDiagnosis(address, address, "does not answer")

    async def ask_claims(self, address: str, keys: Sequence[str]) -> list[ClaimLease | None] | None:
        peer = self._reached(address)
        return peer.node.claim_leases(keys) if peer else None

    async def ask_report(self, address: str) -> NodeReport | str:
        peer = self._reached(address)
        return peer.node.own_report() if peer else "does not answer"

    async def ask_consumers(self, address: str, awaited: AwaitedChange) -> tuple[ConsumerState, ...] | None:
        peer = self._reached(address)
        return await peer.node.wait_for_consumers(awaited) if peer else None


class PlainNetwork(Network):
    """A network that does not track the knowledge of nodes, because no oracle needs it.

    It reports problems as an exchange does.
    """

    def __init__(self, cluster: SoakCluster) -> None:
        super().__init__(cluster)
        self._processes = cluster.processes

    def _heard(self, node: Node, sender: Life, may: May, transit_s: float, message: Message) -> None:
        pass

    def _learned(self, exchange: Exchange, answer: Answer) -> None:
        problems = self._processes[exchange.node.name].problems
        problems.note_no_problem(exchange.request.address, "reach")
        interval_s = self._cluster.interval_s
        problems.note_valid_message(exchange.request.address, "answers", interval_s, interval_s)

    def _failed(self, exchange: Exchange) -> None:
        if not exchange.over and exchange.node.life is exchange.life:
            problems = self._processes[exchange.node.name].problems
            problems.note_unreachable(exchange.request.address, "does not answer")
        super()._failed(exchange)


class SoakCluster(Cluster):
    """A cluster of whole nodes, without an oracle. `processes` are the processes of the machines, by name."""

    def __init__(self, seed: int, guard_s: float) -> None:
        self.processes: dict[str, Process] = {}
        super().__init__(seed, guard_s=guard_s)

    def new_network(self) -> Network:
        return PlainNetwork(self)

    def new_replica(self, node: Node, identity: Sender) -> Replica:
        process = self.processes[node.name] = Process(self, node, identity)
        return process.node.replica

    def sample(self) -> None:
        """Do nothing, because there is no oracle."""

    def process_at(self, name: str) -> Process | None:
        """Return the process on a machine if it accepts connections and answers; None if there is none."""
        machine = self.nodes.get(name)
        return self.processes[name] if machine is not None and machine.serving else None

    def reached(self, machine: Node, address: str) -> Process | None:
        """Return the process that a machine reaches at an address; None if there is none."""
        peer = self.behind(address)
        if peer is None or not self.weather.linked(machine.name, peer.name):
            return None
        return self.process_at(peer.name)

    def end_process(self, node: Node, *, refuses: bool) -> None:
        super().end_process(node, refuses=refuses)
        del self.processes[node.name]

    def forget_machine(self, name: str) -> None:
        """Forget a machine that does not come back."""
        del self.nodes[name]

    # The loop of a node.

    def clock(self, node: Node) -> float:
        now = super().clock(node)
        self.processes[node.name].live_until(now)
        return now

    def sweep(self, node: Node, boot: int) -> None:
        self._do(node, boot, self._sweep_all, lambda: self.interval_s / 4 * self.random.uniform(0.96, 1.0), self.sweep)

    def _sweep_all(self, process: Process) -> None:
        while process.node.sweep():
            pass

    def round(self, node: Node, boot: int) -> None:
        self._do(node, boot, self._begin_round, lambda: self.interval_s * self.random.uniform(0.95, 1.05), self.round)

    def _begin_round(self, process: Process) -> None:
        process.node.begin_round(partners(process.node.addresses(), self.random.random))
        process.problems.end_forgotten()

    def _do(
        self,
        node: Node,
        boot: int,
        act: Callable[[Process], None],
        apart_s: Callable[[], float],
        again: Callable[[Node, int], None],
    ) -> None:
        if node.boot == boot and node.running:
            self.clock(node)
            act(self.processes[node.name])
            self.at(self.now + apart_s() / node.rate, again, node, boot)

    def drain(self, node: Node) -> None:
        """Pass on the events and requests that a replica has made."""
        process = self.processes[node.name]
        process.node._pass_on()
        process.live_until(node.clock(self.now))
