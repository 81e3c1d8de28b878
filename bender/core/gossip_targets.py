"""Where rounds and pushes go: addresses, the node that answered at each, and the requests under way to it.

Seeds are the addresses that people configured; they are tried for ever. The addresses that peers advertise are learned
from their counters. A node may be known under several addresses (its seed's name, its advertised host), and still gets
one round. An address that turns out to be this node's own gets none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, sqrt

from bender.core.messages import ConfigSetting, OutgoingMessage
from bender.core.peers import Peers

#: Rounds under way to one address. More than one, because a lost answer must not delay the next request for its whole
#: time limit; few, because a peer that hangs must not be flooded with requests.
ROUNDS_OPEN_MAX = 4

#: After this many requests in a row without an answer their time limit is raised: the peer may be slow and not dead.
#: By then as many as may be open were lost, which loss on the network alone hardly ever does.
FAILURES_IN_A_ROW = ROUNDS_OPEN_MAX

#: The time limit of a request in intervals: as long as answers come in time, and at most. With the larger one a node
#: that is back from a pause has time for an answer to a second attempt before its own patience (4.5·I) ends.
LIMIT_INTERVALS = 1.0
LIMIT_INTERVALS_MAX = 3.0

#: Up to this number of peers, a round goes to all. With more, each node would receive and answer over twenty greetings
#: an interval with nearly the same content, each of them longer as well.
ALL_MAX = 20

#: Addresses that never answered are tried in one round: as many as nodes were found, but at least this number. Nodes of
#: a cluster of any size find each other in a few rounds, and addresses that a peer made up cost little.
UNREACHED_MAX = 20


def partners(addresses: Sequence[str], chance: Callable[[], float]) -> list[str]:
    """Return the addresses with which to begin a round: all, or √n of them if there are more than `ALL_MAX`.

    `chance` returns random numbers between 0 and 1. Every node is also asked by √n others, so a heartbeat is known
    everywhere after two rounds (Demers et al., Epidemic algorithms, 1987).
    """
    left = [*addresses]
    if len(left) <= ALL_MAX:
        return left
    return [left.pop(int(chance() * len(left))) for _ in range(ceil(sqrt(len(left))))]


class Link:
    """One address, and the requests under way to it.

    `incarnation` is that of the node which answered last. `pushed` is the version of this node's ledger up to which the
    last push went, and `unsent` are the settings that wait for the next push. A link that failed gets no push until it
    has answered a round again. `failures` counts the requests without an answer since the last answer, which took
    `answer_s`. The next comparison of the configuration begins with `bucket`, and the next window of a crowded bucket
    with the setting of the digest in `digests`, by bucket.
    """

    __slots__ = (
        "address",
        "answer_s",
        "bucket",
        "digests",
        "failed",
        "failures",
        "incarnation",
        "push",
        "pushed",
        "rounds",
        "unsent",
    )

    def __init__(self, address: str) -> None:
        self.address = address
        self.incarnation: int | None = None
        self.rounds: set[OutgoingMessage] = set()
        self.push: OutgoingMessage | None = None
        self.pushed = 0
        self.unsent: list[ConfigSetting] = []
        self.failed = False
        self.failures = 0
        self.answer_s = 0.0
        self.bucket = 0
        self.digests: dict[int, int] = {}

    def limit(self, interval_s: float) -> float:
        """Return how long to wait for an answer, in seconds.

        It is an interval, or twice the time of the last answer if that is longer, and at most `LIMIT_INTERVALS_MAX`
        intervals. It is the maximum after `FAILURES_IN_A_ROW` requests in a row without an answer.
        """
        longest_s = LIMIT_INTERVALS_MAX * interval_s
        if self.failures >= FAILURES_IN_A_ROW:
            return longest_s
        return min(max(LIMIT_INTERVALS * interval_s, 2 * self.answer_s), longest_s)

    def succeed(self, request: OutgoingMessage, now: float) -> None:
        """Note that a request was answered."""
        self._close(request)
        self.failures = 0
        if request.message.ask is not None:
            self.answer_s = now - request.message.ask

    def fail(self, request: OutgoingMessage) -> None:
        """Note that a request got no answer. The next round that gets one brings its content."""
        self._close(request)
        self.failed = True
        self.failures += 1
        self.unsent.clear()

    def _close(self, request: OutgoingMessage) -> None:
        """Note that a request is no longer under way."""
        self.rounds.discard(request)
        if self.push is request:
            self.push = None


class Links:
    """All links, by address, and the seeds."""

    def __init__(self, incarnation: int, address: str, seeds: Mapping[str, tuple[str, ...]]) -> None:
        self._incarnation = incarnation
        self._address = address
        self._links: dict[str, Link] = {}
        #: The addresses to which each seed resolves; none until it was looked up.
        self.seeds = {**seeds}
        #: Addresses of peers that an earlier incarnation of this node knew. This one waits for their answers, too.
        self.expected: tuple[str, ...] = ()
        #: How many unknown addresses were tried since the last heartbeat because a message came from there.
        self.tried = 0

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
        """Whether a node ever answered at an address."""
        link = self._links.get(address)
        return link is not None and link.incarnation is not None

    def may_try(self, address: str) -> bool:
        """Whether an address may be asked at once because a message came from there. Counts the attempt."""
        if self.has_reached(address):
            return True
        self.tried += 1
        return self.tried <= UNREACHED_MAX

    def answered(self, address: str, incarnation: int) -> Link:
        """Note which incarnation answered at an address, and return the link."""
        link = self[address]
        link.incarnation = incarnation
        link.failed = False
        return link

    def unanswered(self) -> list[str]:
        """Return the seeds without an address, or with one at which no node ever answered."""
        return [
            seed
            for seed, addresses in self.seeds.items()
            if not addresses or any(self[address].incarnation is None for address in addresses)
        ]

    def unheard(self) -> list[str]:
        """Return the seeds and the expected addresses at which no node has answered yet."""
        return [*self.unanswered(), *(address for address in self.expected if self[address].incarnation is None)]

    def found(self) -> set[int]:
        """Return the incarnations that answered at the seeds and the expected addresses, without this node's own."""
        seeds = (address for addresses in self.seeds.values() for address in addresses)
        found = {self[address].incarnation for address in (*seeds, *self.expected)}
        return {incarnation for incarnation in found if incarnation not in (None, self._incarnation)}

    def addresses(self, peers: Peers) -> list[str]:
        """Return one address of each other node that may be up, and a few addresses that never answered."""
        found: dict[str, None] = {}
        unreached: dict[str, None] = {}
        reached: set[int | None] = set()
        for address in (*(address for addresses in self.seeds.values() for address in addresses), *self.expected):
            link = self[address]
            if link.incarnation == self._incarnation or (link.incarnation in reached and link.incarnation is not None):
                continue
            reached.add(link.incarnation)
            found[address] = None
        for peer in peers:
            if peer.gone or peer.incarnation in reached or peer.address == self._address:
                continue
            (found if self.has_reached(peer.address) else unreached)[peer.address] = None
        # The addresses that were tried least come first: those of new nodes, not those at which there is no node.
        untried = sorted((address for address in unreached if address not in found), key=self._tries)
        return [*found, *untried[: max(UNREACHED_MAX, len(found))]]

    def _tries(self, address: str) -> int:
        """Return how many requests to an address got no answer since the last one, or have none yet."""
        link = self._links.get(address)
        return 0 if link is None else link.failures + len(link.rounds)

    def forget(self, peers: Peers) -> None:
        """Forget the addresses that no peer and no seed has any more, and to which no request is under way."""
        wanted = {address for addresses in self.seeds.values() for address in addresses}
        wanted.update(self.expected)
        wanted.update(peer.address for peer in peers)
        idle = [link.address for link in self if not link.rounds and link.push is None]
        for address in idle:
            if address not in wanted:
                del self._links[address]
