"""A few replicas in one thread whose messages arrive at once, for tests of single rules.

`tests.simulation` tests faults and chance.
"""

from __future__ import annotations

from collections.abc import Iterable

from bender.core.entry_validation import UNCHECKED, VALIDITY
from bender.core.ledger import DELTA_ENTRIES_MAX
from bender.core.messages import Message, OutgoingMessage, Sender
from bender.core.registration_update import Merge, RegistrationUpdate
from bender.core.replica import Replica
from bender.core.timing import Timing
from bender.core.view import ViewEvent

KEY = "registration/web/1.0/10.0.0.5/80"
BODY = b'{"id":"registration/web/1.0/10.0.0.5/80"}'
TTL_S = 10.0


def update(body: bytes, ttl_s: float, *, succeeds: bool = False) -> Merge:
    """Return a merge with this result, whatever is registered."""
    return lambda _registered, _hidden: RegistrationUpdate(body, ttl_s, succeeds)


class Cluster:
    """Replicas `a`, `b`, … that know each other; `cut` has the names of unreachable ones."""

    def __init__(
        self,
        names: str,
        *,
        seeds: bool = True,
        timing: Timing | None = None,
        guard_s: float = 0.0,
        page_entries_max: int = DELTA_ENTRIES_MAX,
        checking: str = "",
    ) -> None:
        """`checking` has the names of nodes that check the messages of others, as all real nodes do."""
        self.checking = checking
        self.now = 1000.0
        self.timing = timing or Timing()
        self.guard_s = guard_s
        self.page_entries_max = page_entries_max
        self.cut: set[str] = set()
        self.replicas: dict[str, Replica] = {}
        self.events: dict[str, list[ViewEvent]] = {}
        self.sent: list[OutgoingMessage] = []
        for i, name in enumerate(names):
            self.start(name, i + 1, names if seeds else "")
        self.rounds()

    def __getitem__(self, name: str) -> Replica:
        return self.replicas[name]

    def start(self, name: str, incarnation: int, seeds: Iterable[str]) -> Replica:
        replica = Replica(
            Sender(incarnation, name, name),
            self.timing,
            self.now,
            [*seeds],
            guard_s=self.guard_s,
            page_entries_max=self.page_entries_max,
            validity=VALIDITY if name in self.checking else UNCHECKED,
        )
        for seed in seeds:
            replica.set_seed_addresses(seed, [seed])
        self.replicas[name] = replica
        self.events[name] = []
        return replica

    def rounds(self) -> None:
        """Run one round of each node with each other node."""
        for name in self.replicas:
            if name not in self.cut:
                self.replicas[name].start_round(self.now)
        self.settle()

    def settle(self) -> None:
        """Carry messages until there are none, and collect the events."""
        while requests := [(name, each) for name in self.replicas for each in self.replicas[name].take_requests()]:
            for name, request in requests:
                self.sent.append(request)
                self.carry(name, request)
        for name, replica in self.replicas.items():
            self.events[name] += replica.take_events()

    def carry(self, name: str, request: OutgoingMessage) -> None:
        answer = None if name in self.cut else self.answer(request)
        if answer is None:
            self.replicas[name].note_failure(self.now, request)
        else:
            self.replicas[name].receive_answer(self.now, request, answer)

    def answer(self, request: OutgoingMessage) -> Message | None:
        if request.address in self.cut or request.address not in self.replicas:
            return None
        return self.replicas[request.address].receive(self.now, request.message)

    def run(self, seconds: float) -> None:
        """Let time pass, with a sweep every quarter of an interval and a round every interval."""
        until = self.now + seconds
        step = 0
        while self.now < until:
            step += 1
            self.now = min(self.now + self.timing.interval_s / 4, until)
            for name, replica in self.replicas.items():
                if name not in self.cut or step % 2:
                    replica.sweep(self.now)
            self.settle()
            if step % 4 == 0:
                self.rounds()

    def register(self, name: str, key: str = KEY, body: bytes = BODY, ttl_s: float = TTL_S) -> bool:
        created, _ = self.replicas[name].register(self.now, key, update(body, ttl_s))
        self.settle()
        return created

    def renew(self, name: str, key: str = KEY) -> bool:
        renewed = self.replicas[name].renew(self.now, key) is not None
        self.settle()
        return renewed

    def deregister(self, name: str, key: str = KEY) -> bool:
        removed = self.replicas[name].deregister(self.now, key)
        self.settle()
        return removed

    def happened(self, name: str, key: str = KEY) -> list[tuple[str, str]]:
        """Return the events of a key at a node, with their reasons."""
        return [(event.change, event.reason) for event in self.events[name] if event.key == key]

    def listed(self) -> str:
        """Return the names of the nodes that list `KEY`."""
        return "".join(name for name, replica in self.replicas.items() if replica.view.claim(KEY) is not None)
