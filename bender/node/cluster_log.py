"""The log lines about the cluster: one for each change, and none for a renewal.

They must show an operator whether this node was paused, when it became ready, and which peers it hears. A change that
was over before this node noticed it gets no line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from twisted.logger import Logger

from bender.core import consumers
from bender.core.address_conflicts import AddressConflicts, ConflictChanges
from bender.core.peers import PeerState
from bender.core.replica import Replica
from bender.net.addresses import host_port

#: How many shared names of consumers are remembered as logged, and for how many seconds after they were last shared.
CONSUMERS_LOGGED_MAX = 100
CONSUMERS_LOGGED_APART_S = 600.0

#: The most address conflicts that `/status` names one by one, and the most ids that it names for each.
CONFLICTS_SHOWN_MAX = 20
CONFLICT_IDS_MAX = 4


def nodes_by_shared_address(replica: Replica, now: float) -> dict[str, list[str]]:
    """Return the names of the live nodes that advertise the same address, by address."""
    by_address = replica.peers.names_by_shared_address(now)
    own = replica.identity.name
    return {address: sorted(name or own for name in by_address[address]) for address in sorted(by_address)}


def shared_address_problem(names: list[str]) -> str:
    """Return the problem of an address that nodes share, as a clause about the address: their names, and what to do."""
    return f"is advertised by the nodes {' and '.join(names)}: give each node its own address with --advertise"


def addresses_by_shared_name(replica: Replica, now: float) -> dict[str, list[str]]:
    """Return the addresses of the live nodes that have the same name, by name."""
    return replica.peers.addresses_by_shared_name(replica.identity.name, now)


def shared_name_problem(addresses: list[str]) -> str:
    """Return the problem text for nodes that share a name: their addresses, and what to do."""
    return f"the nodes at {' and '.join(addresses)} have the same name: give each its own with --name"


def conflict_problems(conflicts: AddressConflicts) -> dict[str, str]:
    """Return the problems in `/status` about registrations with the same address, oldest conflicts first.

    If there are too many to name, one more entry has the number of the others.
    """
    present = conflicts.current
    problems = {
        f"address/{_host_port(address)}": _conflict(keys)
        for address, keys in islice(present.items(), CONFLICTS_SHOWN_MAX)
    }
    more = len(present) - len(problems)
    if more > 0:
        problems["address/…"] = f"{more} more addresses have several registrations each; the log names some of them"
    return problems


def _conflict(keys: Sequence[str]) -> str:
    """Return the problem text for registrations with the same address: their ids, and what to do."""
    named, more = keys[:CONFLICT_IDS_MAX], len(keys) - CONFLICT_IDS_MAX
    ids = f"{', '.join(named)} and {more} more" if more > 0 else f"{', '.join(named[:-1])} and {named[-1]}"
    return (
        f"{ids} are all renewed with this address, but only one process can answer there: stop renewing the wrong ones"
    )


def _host_port(address: str) -> str:
    host, _, port = address.rpartition("/")
    return host_port(host, int(port))


class ClusterLog:
    """Compares a replica with its state at the last call, and logs the changes."""

    _log = Logger()

    def __init__(self, replica: Replica, monotonic: Callable[[], float]) -> None:
        self._replica = replica
        self._monotonic = monotonic
        self._ready = False
        self._states: dict[int, PeerState] = {}
        self._shared_addresses: dict[str, list[str]] = {}
        self._shared_names: dict[str, list[str]] = {}
        # When each name of consumers was last shared.
        self._last_shared_at: dict[str, float] = {}
        self._guarded: set[str] = set()
        self._invalid: dict[str, str] = {}

    def note_readiness(self) -> None:
        """Log a change of the node's readiness; call this after everything that may have changed it."""
        replica = self._replica
        if replica.is_ready == self._ready:
            return
        self._ready = replica.is_ready
        if replica.has_left:
            return
        if not replica.is_ready:
            self._log.info(
                "This node was paused for {away:.1f} s: it asks its peers for what it missed.",
                away=replica.readiness.away_s,
            )
            return
        now = self._monotonic()
        missing = replica.readiness.unanswered_addresses(now)
        if missing:
            self._log.warn(
                "Ready, but {missing} did not answer: registrations that only they know may be missing here.",
                missing=", ".join(missing),
            )
        else:
            self._log.info("Ready, {waited:.2f} s after its start or a pause.", waited=replica.readiness.waited_s(now))

    def note_peers(self) -> None:
        """Log peers whose state has changed; call this with each sweep."""
        now, peers, before = self._monotonic(), self._replica.peers, self._states
        self._states = {peer.incarnation: peers.state(peer, now) for peer in peers}
        for peer in peers:
            present, known = self._states[peer.incarnation], before.get(peer.incarnation)
            if present != known and (known or present == "heard"):
                self._log.info(_LINES[present], peer=peer.name, address=peer.address)

    def note_addresses(self) -> None:
        """Log addresses that nodes have begun or ceased to share; call this with each sweep."""
        before, self._shared_addresses = (
            self._shared_addresses,
            nodes_by_shared_address(self._replica, self._monotonic()),
        )
        for address, names in self._shared_addresses.items():
            if before.get(address) != names:
                self._log.warn("Address {address} {problem}.", address=address, problem=shared_address_problem(names))
        for address in sorted(before.keys() - self._shared_addresses):
            self._log.info("Address {address} is advertised by at most one node now.", address=address)

    def note_invalid(self) -> None:
        """Log peers that have begun or ceased to send invalid messages; call this with each sweep."""
        before, self._invalid = self._invalid, self._replica.invalid_input(self._monotonic())
        for address in self._invalid.keys() - before.keys():
            self._log.warn("Peer {address} {problem}.", address=address, problem=self._invalid[address])
        for address in before.keys() - self._invalid.keys():
            self._log.info(
                'Solved for peer {address}: "{problem}" is no longer the case.',
                address=address,
                problem=before[address],
            )

    def note_names(self) -> None:
        """Log names that nodes have begun or ceased to share; call this with each sweep."""
        before, self._shared_names = self._shared_names, addresses_by_shared_name(self._replica, self._monotonic())
        for name, addresses in self._shared_names.items():
            if before.get(name) != addresses:
                self._log.warn(
                    "Node name {name} is shared: {problem}.", name=name, problem=shared_name_problem(addresses)
                )
        for name in sorted(before.keys() - self._shared_names):
            self._log.info("Node name {name} is not shared any more.", name=name)

    def note_consumers(self, shared: Mapping[str, list[str]]) -> None:
        """Log each name that several consumers share, with their instances; call this with each sweep.

        A name is logged again only after it was not shared for `CONSUMERS_LOGGED_APART_S`, and no further name is
        logged while `CONSUMERS_LOGGED_MAX` are remembered: any client can share names as often as it likes.
        """
        now = self._monotonic()
        for name, instances in shared.items():
            if name not in self._last_shared_at:
                if len(self._last_shared_at) >= CONSUMERS_LOGGED_MAX:
                    continue
                problem = consumers.same_name_problem(name, instances)
                self._log.warn("Consumer name {name} is shared: {problem}.", name=name, problem=problem)
            self._last_shared_at[name] = now
        if self._last_shared_at:
            kept = self._last_shared_at.items()
            self._last_shared_at = {name: at for name, at in kept if at > now - CONSUMERS_LOGGED_APART_S}

    def note_conflicts(self, conflicts: AddressConflicts, changes: ConflictChanges) -> None:
        """Log the address conflicts that have begun or ended; call this with each sweep of a ready node."""
        for address in changes.begun:
            self._log.warn(
                "Several registrations have the address {address}: {problem}.",
                address=_host_port(address),
                problem=_conflict(conflicts.current[address]),
            )
        for address in changes.over:
            self._log.info("Only one registration has the address {address} now.", address=_host_port(address))

    def note_guard(self) -> None:
        """Log apps whose members have begun or ceased to be suspect; call this with each sweep."""
        before, self._guarded = self._guarded, self._replica.guarded_app_names
        for app in sorted(self._guarded - before):
            self._log.warn(
                "Most instances of {app} renewed at nodes that are unreachable now: they stay listed as suspect "
                "(--guard).",
                app=app,
            )
        for app in sorted(before - self._guarded):
            self._log.info("No instance of {app} is suspect any more (--guard).", app=app)


_LINES: dict[PeerState, str] = {
    "heard": "Peer {peer} at {address} is heard.",
    "silent": "Peer {peer} at {address} is silent.",
    "left": "Peer {peer} at {address} has left.",
    "replaced": "Peer {peer} at {address} was replaced: a node that started later has its address.",
}
