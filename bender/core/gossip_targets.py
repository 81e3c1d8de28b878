"""The addresses to which rounds and pushes go, the node that answered at each, and the open requests to it.

Seeds are the addresses that people configured; a node never stops trying them. The addresses that peers advertise are
learned from their counters. A node may be known under several addresses, such as its seed's name and its advertised
host, and still gets only one round. This node sends nothing to an address that turns out to be its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, sqrt

from bender.core.messages import ConfigSetting, OutgoingMessage
from bender.core.peers import Peers

#: The largest number of open rounds with one address. More than one, because the next request must not wait for the
#: whole time limit of a request whose answer was lost. Few, because a peer that hangs must not be flooded with
#: requests.
ROUNDS_OPEN_MAX = 4

#: After this many requests in a row without an answer, the time limit of requests to a peer is raised, because the
#: peer may be slow and not dead. Loss on the network alone hardly ever causes so many failures in a row.
FAILURES_IN_A_ROW = ROUNDS_OPEN_MAX

#: The time limit of a request in intervals: the usual one, and the largest. The largest one lets a node that was
#: paused receive the answer to a second attempt before it stops waiting for its peers (after 4.5·I).
LIMIT_INTERVALS = 1.0
LIMIT_INTERVALS_MAX = 3.0

#: Up to this number of peers, a round goes to all peers. If rounds went to all of more peers, each node would receive
#: and answer over twenty long greetings an interval, all with nearly the same content.
ALL_MAX = 20

#: One round tries as many addresses that never answered as there are known nodes, but at least this number. So the
#: nodes of a cluster of any size find each other in a few rounds, and addresses that a peer made up cost little.
UNREACHED_MAX = 20


def partners(addresses: Sequence[str], chance: Callable[[], float]) -> list[str]:
    """Return the addresses with which to begin a round: all, or √n of them if there are more than `ALL_MAX`.

    `chance` returns random numbers from 0 to below 1. Each node also receives rounds from √n other nodes, so all
    nodes know a heartbeat after two rounds (Demers et al., Epidemic algorithms, 1987).
    """
    left = [*addresses]
    if len(left) <= ALL_MAX:
        return left
    return [left.pop(int(chance() * len(left))) for _ in range(ceil(sqrt(len(left))))]


class Link:
    """One address, and the open requests to it.

    - `incarnation` is that of the node which answered last.
    - `pushed_version` is the version of this node's ledger that the peer reached with the last push.
      `unsent_settings` wait for the next push.
    - A link with `has_failed` gets no push until it has answered a round. `failures` counts the requests without an
      answer since the last answer, which took `answer_s` seconds.
    - The next comparison of settings begins with the bucket `next_bucket`. In a bucket with too many settings for one
      message, it begins at the digest in `next_digests`.
    """

    __slots__ = (
        "address",
        "answer_s",
        "failures",
        "has_failed",
        "incarnation",
        "next_bucket",
        "next_digests",
        "open_push",
        "open_rounds",
        "pushed_version",
        "unsent_settings",
    )

    def __init__(self, address: str) -> None:
        self.address = address
        self.incarnation: int | None = None
        self.open_rounds: set[OutgoingMessage] = set()
        self.open_push: OutgoingMessage | None = None
        self.pushed_version = 0
        self.unsent_settings: list[ConfigSetting] = []
        self.has_failed = False
        self.failures = 0
        self.answer_s = 0.0
        self.next_bucket = 0
        self.next_digests: dict[int, int] = {}

    def time_limit_s(self, interval_s: float) -> float:
        """Return how long to wait for an answer, in seconds.

        It is an interval, or twice the time of the last answer if that is longer, and at most `LIMIT_INTERVALS_MAX`
        intervals. After `FAILURES_IN_A_ROW` requests in a row without an answer, it is this maximum.
        """
        longest_s = LIMIT_INTERVALS_MAX * interval_s
        if self.failures >= FAILURES_IN_A_ROW:
            return longest_s
        return min(max(LIMIT_INTERVALS * interval_s, 2 * self.answer_s), longest_s)

    def note_answer(self, request: OutgoingMessage, now: float) -> None:
        """Note that a request was answered."""
        self._close(request)
        self.failures = 0
        if request.message.ask is not None:
            self.answer_s = now - request.message.ask

    def note_failure(self, request: OutgoingMessage) -> None:
        """Note that a request got no answer. The next answered round repairs the loss of its content."""
        self._close(request)
        self.has_failed = True
        self.failures += 1
        self.unsent_settings.clear()

    def _close(self, request: OutgoingMessage) -> None:
        """Note that a request is no longer open."""
        self.open_rounds.discard(request)
        if self.open_push is request:
            self.open_push = None


class Links:
    """All links by address, and the seeds."""

    def __init__(self, incarnation: int, address: str, seeds: Mapping[str, tuple[str, ...]]) -> None:
        self._incarnation = incarnation
        self._address = address
        self._links: dict[str, Link] = {}
        #: The addresses to which each seed resolves; none until the seed was resolved.
        self.seeds = {**seeds}
        #: Addresses of the previous incarnation's peers. This incarnation waits for their answers too.
        self.expected_addresses: tuple[str, ...] = ()
        #: The number of addresses tried since the last heartbeat because a message came from them, though no node
        #: ever answered there.
        self.tried_count = 0

    def __getitem__(self, address: str) -> Link:
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = Link(address)
        return link

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

    def __len__(self) -> int:
        return len(self._links)

    def has_reached(self, address: str) -> bool:
        """Return True if a node ever answered at an address."""
        link = self._links.get(address)
        return link is not None and link.incarnation is not None

    def may_try(self, address: str) -> bool:
        """Return True if a round may begin at once with an address from which a message came. Counts the attempt."""
        if self.has_reached(address):
            return True
        self.tried_count += 1
        return self.tried_count <= UNREACHED_MAX

    def note_answer(self, address: str, incarnation: int) -> Link:
        """Note which incarnation answered at an address, and return the link."""
        link = self[address]
        link.incarnation = incarnation
        link.has_failed = False
        return link

    def unanswered_seeds(self) -> list[str]:
        """Return the seeds without an address, or with one at which no node ever answered."""
        return [
            seed
            for seed, addresses in self.seeds.items()
            if not addresses or any(self[address].incarnation is None for address in addresses)
        ]

    def unreached(self) -> list[str]:
        """Return the unanswered seeds, and the expected addresses at which no node has answered yet."""
        return [
            *self.unanswered_seeds(),
            *(address for address in self.expected_addresses if self[address].incarnation is None),
        ]

    def found_incarnations(self) -> set[int]:
        """Return the incarnations that answered at seeds and expected addresses, except this node's own."""
        seeds = (address for addresses in self.seeds.values() for address in addresses)
        found = {self[address].incarnation for address in (*seeds, *self.expected_addresses)}
        return {incarnation for incarnation in found if incarnation not in (None, self._incarnation)}

    def addresses(self, peers: Peers) -> list[str]:
        """Return one address of each other node that may be up, and a few addresses that never answered."""
        found: dict[str, None] = {}
        unreached: dict[str, None] = {}
        reached: set[int | None] = set()
        for address in (
            *(address for addresses in self.seeds.values() for address in addresses),
            *self.expected_addresses,
        ):
            link = self[address]
            if link.incarnation == self._incarnation or (link.incarnation in reached and link.incarnation is not None):
                continue
            reached.add(link.incarnation)
            found[address] = None
        for peer in peers:
            if peer.is_gone or peer.incarnation in reached or peer.address == self._address:
                continue
            (found if self.has_reached(peer.address) else unreached)[peer.address] = None
        # The addresses with the fewest failed attempts come first. They are those of new nodes; addresses without a
        # node come last.
        untried = sorted((address for address in unreached if address not in found), key=self._tries)
        return [*found, *untried[: max(UNREACHED_MAX, len(found))]]

    def _tries(self, address: str) -> int:
        """Return the number of failed requests to an address since its last answer, plus its open rounds."""
        link = self._links.get(address)
        return 0 if link is None else link.failures + len(link.open_rounds)

    def forget(self, peers: Peers) -> None:
        """Forget the addresses that have no open request and belong to no peer and no seed, and are not expected."""
        wanted = {address for addresses in self.seeds.values() for address in addresses}
        wanted.update(self.expected_addresses)
        wanted.update(peer.address for peer in peers)
        idle = [link.address for link in self if not link.open_rounds and link.open_push is None]
        for address in idle:
            if address not in wanted:
                del self._links[address]
