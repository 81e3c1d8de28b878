"""Virtual time, and nodes that run real replicas on it: the same seed always gives the same run.

A cluster owns the nodes and the heap of future calls. It knows nothing of clients or of planned faults; scenarios and
seeds add these. Everything that a replica returns goes through `drain`: requests to the network, events to the
oracle. Times are true times in seconds. Each node reads them from its own clock, which has another offset and drifts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from random import Random
from typing import Any, get_args

from attrs import frozen

from bender.core.gossip_targets import partners
from bender.core.leases import Lease
from bender.core.ledger import DELTA_ENTRIES_MAX, Entry
from bender.core.messages import ConfigSetting, Sender
from bender.core.peers import Peer
from bender.core.registration_status import RegistrationStatus, State, status_of
from bender.core.replica import Replica
from bender.core.timing import Timing
from bender.core.view import sorted_claims
from tests.simulation.knowledge import Life
from tests.simulation.network import Network
from tests.simulation.oracle.history import History
from tests.simulation.oracle.oracle import Oracle
from tests.simulation.virtual_time import VirtualTime
from tests.simulation.weather import Weather

#: The largest difference between a clock's rate and that of true time: ten times that of a bad quartz.
DRIFT_MAX = 5e-4

#: The largest number of inputs that wait for a paused process: a listening socket's backlog, and open connections.
INBOX_MAX = 100


class Node:
    """One machine: a clock, the replica that runs there, and the inputs that wait for it.

    `boot` counts the starts of its process, so that inputs for an earlier process are dropped. `inbox` has the inputs
    that arrived while the process was paused. `waiting` has the clients that wait until the node is ready after a
    pause.
    """

    def __init__(self, name: str, offset_s: float, rate: float) -> None:
        self.name = name
        self.address = name
        self.is_clone = False
        self.offset_s = offset_s
        self.rate = rate
        self.boot = 0
        self.seeds: tuple[str, ...] = ()
        self.up = False
        self.left = False
        self.refuses = True
        self.paused_at: float | None = None
        self.inbox: list[Callable[[], None]] = []
        self.waiting: list[Callable[[], None]] = []
        self.noticed_at = 0.0
        self.replica: Replica
        self.life: Life

    @property
    def running(self) -> bool:
        """Whether the process runs and is not paused."""
        return self.up and self.paused_at is None

    @property
    def full(self) -> bool:
        """Whether the largest number of requests wait for the process."""
        return self.paused_at is not None and len(self.inbox) >= INBOX_MAX

    @property
    def serving(self) -> bool:
        """Whether the process runs and has not begun to stop."""
        return self.up and self.paused_at is None and not self.left

    # Queries of the oracle (`ObservedNode`).

    @property
    def is_ready(self) -> bool:
        return self.replica.is_ready

    @property
    def digest(self) -> int:
        return self.replica.digest()

    @property
    def settings_digest(self) -> int:
        return self.replica.configuration.digest

    @property
    def ledger_version(self) -> int:
        return self.replica.claims.ledger.version

    def listed(self) -> list[tuple[str, bytes]]:
        return [(claim.key, claim.body) for group in self.replica.view.groups() for claim in sorted_claims(group)]

    def status(self, key: str) -> RegistrationStatus:
        return self.replica.view.status(key)

    def setting(self, key: str) -> ConfigSetting | None:
        return self.replica.setting(key)

    def setting_history(self, key: str) -> tuple[ConfigSetting, ...]:
        return self.replica.history(key)

    def entries(self, key: str) -> Collection[Entry]:
        return self.replica.claims.index.entries(key)

    def peers(self, at: float) -> Iterator[tuple[Peer, bool]]:
        now = self.clock(at)
        return ((peer, self.replica.peers.is_silent(peer, now)) for peer in self.replica.peers)

    def lacks_pages(self) -> bool:
        # This may stay so for ever, if the ledger's own node ended between two pages.
        return not all(ledger.is_complete for ledger in self.replica.claims.ledgers.values())

    def seed_addresses(self, seed: str) -> Iterable[str]:
        return self.replica.links.seeds[seed]

    # The clock of the node.

    def clock(self, at: float) -> float:
        return self.offset_s + self.rate * at

    def true_time(self, clock: float) -> float:
        return (clock - self.offset_s) / self.rate


@frozen
class Snapshot:
    """A copy of a node's memory, and of the oracle's record of the node at that time."""

    replica: Replica
    life: Life
    noticed_at: float
    at: float


class Cluster(VirtualTime):
    """The nodes, the network between them, and the oracle."""

    def __init__(
        self,
        seed: int,
        names: Iterable[str] = (),
        *,
        timing: Timing | None = None,
        drifting: bool = True,
        guard_s: float = 0.0,
        page_entries_max: int = DELTA_ENTRIES_MAX,
    ) -> None:
        """`nodes` are the names of nodes that know each other as seeds and start at once."""
        super().__init__()
        self.random = Random(seed)
        self.timing = timing or Timing()
        self.interval_s = self.timing.interval_s
        self.guard_s = guard_s
        self.page_entries_max = page_entries_max
        # The nodes by address, for the addresses that are not names of nodes.
        self._at: dict[str, str] = {}
        self.nodes: dict[str, Node] = {}
        #: The number of bodies that `front` has made.
        self.bodies = 0
        self.weather = Weather(self.interval_s)
        self.network = self.new_network()
        self.history = History(self, self.timing, guard_s, self.weather, self.say)
        self.oracle = Oracle(self.history, self.nodes, self._name_at)
        #: If set, it is called with a line of text for everything that happens.
        self.trace: Callable[[str], None] | None = None
        self._drifting = drifting
        seeds = tuple(names)
        for name in seeds:
            self.start(name, seeds)
        self.at(self.interval_s / 2, self.sample)

    def new_network(self) -> Network:
        return Network(self)

    # Time.

    def run_until(self, time: float) -> None:
        """Make all calls up to `time`, but stop when a promise was broken."""
        self.advance(time, self.oracle.broken)

    def run_for(self, duration_s: float) -> None:
        self.run_until(self.now + duration_s)

    def say(self, text: str) -> None:
        if self.trace is not None:
            self.trace(f"{self.now:10.4f} {text}")

    def sample(self) -> None:
        self.oracle.look()
        self.after(self.interval_s / 2, self.sample)

    # Processes.

    def behind(self, address: str) -> Node | None:
        """Return the node that is reached at an address."""
        return self.nodes.get(self._at.get(address, address))

    def _name_at(self, address: str) -> str | None:
        node = self.behind(address)
        return node.name if node else None

    def locate(self, name: str) -> None:
        """Resolve the name of a seed again at all nodes."""
        for node in self.nodes.values():
            if node.up and name in node.seeds:
                node.replica.set_seed_addresses(name, [self.nodes[name].address])

    def _move(self, node: Node, address: str) -> None:
        self._at.pop(node.address, None)
        node.address = address
        if address != node.name:
            self._at[address] = node.name

    def start(self, name: str, seeds: Sequence[str], address: str | None = None) -> Node:
        """Start a node's process, for the first time or again, at the address of its name or at another one."""
        node = self.nodes.get(name)
        if node is None:
            spread = DRIFT_MAX if self._drifting else 0.0
            node = Node(name, self.random.uniform(0, 1e6), 1 + self.random.uniform(-spread, spread))
            self.nodes[name] = node
        assert not node.up
        self._move(node, address or node.address)
        node.boot += 1
        node.up, node.left, node.paused_at, node.seeds = True, False, None, tuple(seeds)
        node.inbox, node.waiting = [], []
        identity = Sender(self.random.getrandbits(64), name, node.address)
        node.noticed_at = node.clock(self.now)
        node.replica = self.new_replica(node, identity)
        for seed in node.seeds:
            known = self.nodes.get(seed)
            node.replica.set_seed_addresses(seed, [known.address if known else seed])
        self._begin_life(node)
        self.weather.began(node.name, node.life, self.now)
        self._begin_loops(node)
        self.say(f"{name} starts as {node.life} at {node.address}")
        return node

    def new_replica(self, node: Node, identity: Sender) -> Replica:
        """Return the replica with which a process begins."""
        return Replica(
            identity,
            self.timing,
            node.noticed_at,
            node.seeds,
            guard_s=self.guard_s,
            page_entries_max=self.page_entries_max,
        )

    def _begin_loops(self, node: Node) -> None:
        self.at(self.now + self.random.uniform(0, self.interval_s / 4), self.sweep, node, node.boot)
        self.at(self.now + self.random.uniform(0, self.interval_s / 4), self.round, node, node.boot)

    def _begin_life(self, node: Node) -> None:
        node.life = self._life(node)
        self.history.life_began(node.life)

    def _life(self, node: Node) -> Life:
        incarnation = node.replica.identity.incarnation
        return Life(len(self.history.lives), node.name, node.address, incarnation, self.now)

    def crash(self, name: str, *, refuses: bool = True) -> None:
        """End a process without warning. With `refuses` its machine still runs, and refuses connections."""
        node = self.nodes[name]
        self.say(f"{name} crashes")
        self.end_process(node, refuses=refuses)

    def leave(self, name: str, stops_after_s: float = 0.3) -> None:
        """End a process as SIGTERM does."""
        node = self.nodes[name]
        self.say(f"{name} leaves")
        node.left = node.life.left = True
        node.life.beats.append(self.now)
        node.replica.leave(self.clock(node))
        self.weather.left(name, self.now)
        self.drain(node)
        self.after(stops_after_s, self._stop, node, node.boot)

    def _stop(self, node: Node, boot: int) -> None:
        if node.boot == boot and node.up:
            self.end_process(node, refuses=True)

    def end_process(self, node: Node, *, refuses: bool) -> None:
        node.up, node.refuses, node.paused_at = False, refuses, None
        node.inbox, node.waiting = [], []
        self.history.life_ended(node.life)
        self.weather.ended(node.name, self.now)

    def pause(self, name: str) -> None:
        """Pause a process as SIGSTOP does."""
        self.say(f"{name} pauses")
        node = self.nodes[name]
        node.paused_at = self.now
        node.life.pause(node.true_time(node.noticed_at))  # The pause begins then, by what the process itself will see.
        self.weather.paused(name, self.now)

    def resume(self, name: str, *, inputs_first: bool) -> None:
        """Resume a process. The inputs that wait for it come before its own timers or after them."""
        node = self.nodes[name]
        assert node.paused_at is not None
        self.say(f"{name} goes on, {'inputs' if inputs_first else 'timers'} first")
        node.life.pauses.append((node.true_time(node.noticed_at), self.now))
        node.paused_at = node.life.pausing_since = None
        self.weather.resumed(name, node.life, self.now)
        boot, inbox, node.inbox = node.boot, node.inbox, []
        if not inputs_first:
            self.sweep(node, boot)
        for arrival in inbox:
            arrival()
        if inputs_first:
            self.sweep(node, boot)
        self.round(node, boot)

    # Memory snapshots.

    def snapshot(self, name: str) -> Snapshot:
        """Return a copy of a node's memory."""
        node = self.nodes[name]
        self.say(f"snapshot of {name}")
        return Snapshot(_copied(node.replica), node.life.kept(), node.noticed_at, self.now)

    def set_back(self, name: str, snapshot: Snapshot, *, clock_jumps: bool) -> None:
        """Set a machine back to a snapshot.

        Its clock continues from the snapshot's time too, or shows the true time.
        """
        node = self.nodes[name]
        self.say(f"{name} is set back to what it was at {snapshot.at:.3f}")
        self.end_process(node, refuses=True)
        lost_s = 0.0 if clock_jumps else self.now - snapshot.at
        node.offset_s -= lost_s * node.rate
        self._resume_copy(node, snapshot, node.life, lost_s)

    def clone(self, name: str, clone: str) -> Node:
        """Run a copy of a node's memory on another machine, at the same time and with the same address."""
        original = self.nodes[name]
        self.say(f"{clone} is a clone of {name}")
        snapshot = self.snapshot(name)
        node = self.nodes[clone] = Node(clone, original.offset_s, original.rate)
        node.address, node.seeds, node.is_clone = original.address, original.seeds, True
        self._resume_copy(node, snapshot, original.life, 0.0)
        return node

    def _resume_copy(self, node: Node, snapshot: Snapshot, before: Life, lost_s: float) -> None:
        node.boot += 1
        node.up, node.left, node.paused_at, node.inbox, node.waiting = True, False, None, [], []
        node.replica, node.noticed_at = snapshot.replica, snapshot.noticed_at
        node.life = self._life(node)
        node.life.set_back(before, snapshot.life, snapshot.at, self.now, lost_s=lost_s)
        self.history.life_set_back(node.life, before, snapshot.at)
        self.weather.began(node.name, node.life, self.now)
        node.replica.take_requests()
        # The connections of the copied process do not exist any more.
        for link in [*node.replica.links]:
            for request in [*link.open_rounds, *filter(None, [link.open_push])]:
                node.replica.note_failure(self.clock(node), request)
        self.drain(node)
        self._begin_loops(node)

    # The loop of a node.

    def clock(self, node: Node) -> float:
        """Return a node's time for its next input.

        A node that was away for very long continues as a new incarnation first.
        """
        now = node.clock(self.now)
        if node.replica.is_surpassed or node.replica.is_forgotten(now):
            before, takes_along = node.life, node.replica.is_surpassed
            if takes_along and not before.doubled:
                self.history.fail("P1", f"{before} goes on as another incarnation, though it was always the only one")
            self.history.life_ended(node.life)
            node.replica.continue_as(self.random.getrandbits(64), now)
            self._begin_life(node)
            node.life.inherit(before)
            if takes_along:
                self._take_along(node, before)
            self.weather.began(node.name, node.life, self.now)
            self.say(f"{node.name} goes on as {node.life}")
        elif now - node.noticed_at > self.timing.pause_s and (node.seeds or node.life.may):
            self.history.pause_noticed(node.life, node.true_time(node.noticed_at), now - node.noticed_at)
        node.noticed_at = now
        return now

    def _take_along(self, node: Node, before: Life) -> None:
        peer = node.replica.peers.get(before.incarnation)
        assert peer is not None
        self.history.claims_taken_along(node.life, before, peer.beats)

    def sweep(self, node: Node, boot: int) -> None:
        if node.boot != boot or not node.running:
            return
        while node.replica.sweep(self.clock(node)):
            self.drain(node)
        self.drain(node)
        pace_s = self.interval_s / node.rate / 4
        self.at(self.now + pace_s * self.random.uniform(0.96, 1.0), self.sweep, node, boot)

    def round(self, node: Node, boot: int) -> None:
        if node.boot != boot or not node.running:
            return
        node.replica.start_round(self.clock(node), partners(node.replica.addresses(), self.random.random))
        if not (node.life.muted or node.left):
            node.life.beats.append(self.now)
        self.drain(node)
        self.at(self.now + self.interval_s / node.rate * self.random.uniform(0.95, 1.05), self.round, node, boot)

    def deliver(self, node: Node, boot: int, input_: Callable[[], None]) -> None:
        """Deliver an input to a process: now, or when the process is resumed."""
        if node.boot != boot or not node.up:
            return
        if node.paused_at is None:
            input_()
        else:
            node.inbox.append(partial(self.deliver, node, boot, input_))

    def drain(self, node: Node) -> None:
        """Pass on the events and requests that a replica has made."""
        replica = node.replica
        for event in replica.take_events():
            if self.trace is not None:
                suspect = " suspect" if event.status.suspect else ""
                self.say(f"{node.life} announces {event.change} {event.key} {event.body!r} {event.reason}{suspect}")
            self.oracle.event(node, event)
        if node.life.away and replica.is_ready:
            self.oracle.became_ready(node)
        for request in replica.take_requests():
            self.network.send(node, request)
        if node.waiting and replica.is_ready:
            waiting, node.waiting = node.waiting, []
            for client in waiting:
                client()


def _copied(replica: Replica) -> Replica:
    """Return a deep copy. A lease and its slot refer to each other, which `deepcopy` cannot follow."""
    leases = replica.claims.leases
    originals = {id(lease): lease for slot in leases._slots.values() for lease in slot}
    originals |= {id(lease): lease for lease in leases.due}
    memo: dict[int, Any] = {
        key: Lease(lease.entry, lease.deadline, lease.is_current) for key, lease in originals.items()
    }
    for lease in originals.values():
        memo[id(lease.entry)] = lease.entry
    for state in get_args(State):  # There is one object for each of them, and they are compared by identity.
        for suspect in (False, True):
            memo[id(status_of(state, suspect=suspect))] = status_of(state, suspect=suspect)
    copies = {key: memo[key] for key in originals}
    copied = deepcopy(replica, memo)
    for key, copy in copies.items():
        copy.slot = memo.get(id(originals[key].slot))
    return copied
