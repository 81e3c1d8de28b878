"""Where rounds and pushes go: addresses, who was found behind each, and what is under way to it.

Seeds are the addresses that people configured; they are tried for ever. What others advertise is learned from their
counters. A node may be known under several addresses (its seed's name, its advertised host): it gets one round all
the same. An address that turns out to be this node's own is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil, sqrt

from bender.core.contacts import Contacts
from bender.core.messages import Request, Setting

#: Rounds under way to one address. More than one, because a lost answer must not hold up the next ask for its whole
#: time limit; few, because a peer that hangs must not be buried.
ROUNDS_OPEN_MAX = 4


#: Up to so many peers, a round goes to all. Beyond that each node would get, and answer, more than twenty greetings an
#: interval that say nearly the same, each of them longer as well.
ALL_MAX = 20


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
    round again.
    """

    __slots__ = ("address", "failed", "incarnation", "push", "pushed", "rounds", "unsent")

    def __init__(self, address: str) -> None:
        self.address = address
        self.incarnation: int | None = None
        self.rounds: set[Request] = set()
        self.push: Request | None = None
        self.pushed = 0
        self.unsent: list[Setting] = []
        self.failed = False

    def close(self, request: Request) -> None:
        """A request is no longer under way."""
        self.rounds.discard(request)
        if self.push is request:
            self.push = None

    def fail(self, request: Request) -> None:
        """A request got no answer. What it carried comes with the next round that gets one."""
        self.close(request)
        self.failed = True
        self.unsent.clear()


class Links:
    """All links, by address, and the seeds."""

    def __init__(self, incarnation: int, address: str, seeds: Mapping[str, tuple[str, ...]]) -> None:
        self._incarnation = incarnation
        self._address = address
        self._links: dict[str, Link] = {}
        #: The addresses that each seed stands for; none until it was looked up.
        self.seeds = {**seeds}

    def __getitem__(self, address: str) -> Link:
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = Link(address)
        return link

    def __iter__(self) -> Iterator[Link]:
        return iter(self._links.values())

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

    def addresses(self, contacts: Contacts) -> list[str]:
        """One address for each node that is worth trying, this one's own left out."""
        found: dict[str, None] = {}
        reached: set[int | None] = set()
        for address in (address for addresses in self.seeds.values() for address in addresses):
            link = self[address]
            if link.incarnation == self._incarnation or (link.incarnation in reached and link.incarnation is not None):
                continue
            reached.add(link.incarnation)
            found[address] = None
        for contact in contacts:
            if contact.left or contact.incarnation in reached or contact.address == self._address:
                continue
            found[contact.address] = None
        return [*found]

    def forget(self, contacts: Contacts) -> None:
        """Let go of addresses that nobody has any more."""
        wanted = {address for addresses in self.seeds.values() for address in addresses}
        wanted.update(contact.address for contact in contacts)
        for address in [address for address in self._links if address not in wanted]:
            del self._links[address]
