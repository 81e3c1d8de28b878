"""Where rounds and pushes go: addresses, who was found behind each, and what is under way to it.

Seeds are the addresses that people configured; they are tried for ever. What others advertise is learned from their
counters. A node may be known under several addresses (its seed's name, its advertised host): it gets one round all
the same. An address that turns out to be this node's own is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, sqrt

from bender.core.messages import ConfigSetting, OutgoingMessage
from bender.core.peers import Peers

#: Rounds under way to one address. More than one, because a lost answer must not hold up the next ask for its whole
#: time limit; few, because a peer that hangs must not be buried.
ROUNDS_OPEN_MAX = 4

#: After this many requests in a row without an answer their time limit is raised: the peer may be slow and not dead.
#: By then as many as may be open were lost, which loss on the network alone hardly ever does.
FAILURES_IN_A_ROW = ROUNDS_OPEN_MAX

#: The time limit of a request in intervals: as long as answers come in time, and at most. With the larger one a node
#: that is back from a pause has time for an answer to a second attempt before its own patience (4.5·I) ends.
LIMIT_INTERVALS = 1.0
LIMIT_INTERVALS_MAX = 3.0

#: Up to so many peers, a round goes to all. Beyond that each node would get, and answer, more than twenty greetings an
#: interval that say nearly the same, each of them longer as well.
ALL_MAX = 20

#: Addresses that never answered are tried, in one round, as many as nodes were found, or so many: a cluster of any size
#: gets to know itself in a few rounds, and addresses that a peer made up cost little.
UNREACHED_MAX = 20


def partners(addresses: Sequence[str], chance: Callable[[], float]) -> list[str]:
    """With whom to begin a round: with all, or, where they are many, with √n of them.

    `chance` gives numbers between 0 and 1, at random. As every node is also asked by √n others, news of a heartbeat is
    everywhere after two rounds (Demers et al., Epidemic algorithms, 1987).
    """
    left = [*addresses]
    if len(left) <= ALL_MAX:
        return left
    return [left.pop(int(chance() * len(left))) for _ in range(ceil(sqrt(len(left))))]


class Link:
    """One address.

    `incarnation` is who answered last. `pushed` is the version of this node's ledger that the last push brought it
    to, and `unsent` the settings that wait for the next one. A link that failed gets no push until it has answered a
    round again. `failures` counts the requests without an answer since the last one, which took `answer_s`. `bucket` is
    that of the configuration with which the next comparison begins, and `digests` are those of the settings with which
    the next windows of crowded buckets begin, by bucket.
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

        It is an interval unless that turned out to be too short: where the last answer took longer than half of it, it
        is twice the time of that, and where many requests in a row got none, it is the longest.
        """
        longest_s = LIMIT_INTERVALS_MAX * interval_s
        if self.failures >= FAILURES_IN_A_ROW:
            return longest_s
        return min(max(LIMIT_INTERVALS * interval_s, 2 * self.answer_s), longest_s)

    def succeed(self, request: OutgoingMessage, now: float) -> None:
        """A request was answered."""
        self._close(request)
        self.failures = 0
        if request.message.ask is not None:
            self.answer_s = now - request.message.ask

    def fail(self, request: OutgoingMessage) -> None:
        """A request got no answer. What it carried comes with the next round that gets one."""
        self._close(request)
        self.failed = True
        self.failures += 1
        self.unsent.clear()

    def _close(self, request: OutgoingMessage) -> None:
        """A request is no longer under way."""
        self.rounds.discard(request)
        if self.push is request:
            self.push = None


class Links:
    """All links, by address, and the seeds."""

    def __init__(self, incarnation: int, address: str, seeds: Mapping[str, tuple[str, ...]]) -> None:
        self._incarnation = incarnation
        self._address = address
        self._links: dict[str, Link] = {}
        #: The addresses that each seed stands for; none until it was looked up.
        self.seeds = {**seeds}
        #: Addresses of peers that an incarnation before this one knew. This one waits for their answer, too.
        self.expected: tuple[str, ...] = ()
        #: How many unknown addresses were tried since the last heartbeat because somebody spoke from there.
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
        """Whether anybody ever answered at an address."""
        link = self._links.get(address)
        return link is not None and link.incarnation is not None

    def may_try(self, address: str) -> bool:
        """Whether an address may be asked at once because somebody spoke from there; counts it."""
        if self.has_reached(address):
            return True
        self.tried += 1
        return self.tried <= UNREACHED_MAX

    def answered(self, address: str, incarnation: int) -> Link:
        """Somebody answered at an address."""
        link = self[address]
        link.incarnation = incarnation
        link.failed = False
        return link

    def unanswered(self) -> list[str]:
        """The seeds behind which, or behind an address of which, nobody was ever found."""
        return [
            seed
            for seed, addresses in self.seeds.items()
            if not addresses or any(self[address].incarnation is None for address in addresses)
        ]

    def unheard(self) -> list[str]:
        """The seeds, and the expected addresses, behind which nobody was found yet."""
        return [*self.unanswered(), *(address for address in self.expected if self[address].incarnation is None)]

    def found(self) -> set[int]:
        """The incarnations that were found behind the seeds and the expected addresses, but for this node's own."""
        seeds = (address for addresses in self.seeds.values() for address in addresses)
        found = {self[address].incarnation for address in (*seeds, *self.expected)}
        return {incarnation for incarnation in found if incarnation not in (None, self._incarnation)}

    def addresses(self, peers: Peers) -> list[str]:
        """One address for each node that is worth trying, this one's own left out; a few of those never reached."""
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
        # Those first that were tried least: nodes that are new, and not addresses at which there is nobody.
        untried = sorted((address for address in unreached if address not in found), key=self._tries)
        return [*found, *untried[: max(UNREACHED_MAX, len(found))]]

    def _tries(self, address: str) -> int:
        """How many requests got no answer since the last one, or none yet."""
        link = self._links.get(address)
        return 0 if link is None else link.failures + len(link.rounds)

    def forget(self, peers: Peers) -> None:
        """Let go of addresses that nobody has any more, and to which nothing is under way."""
        wanted = {address for addresses in self.seeds.values() for address in addresses}
        wanted.update(self.expected)
        wanted.update(peer.address for peer in peers)
        idle = [link.address for link in self if not link.rounds and link.push is None]
        for address in idle:
            if address not in wanted:
                del self._links[address]
