"""Claims of one node, and ledgers of other nodes that a test writes by hand."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.claims import Claims
from bender.core.leases import Lease
from bender.core.ledger import Claim, Dot, End, Ledger
from bender.core.messages import Counter
from bender.core.peers import Peer, Peers
from bender.core.timing import Timing
from bender.core.view import View
from tests.core.cluster import BODY, KEY, TTL_S

NOW = 1000.0
OTHER_KEY = KEY.replace("10.0.0.5", "10.0.0.6")


class ClaimsCase(SynchronousTestCase):
    """Node 1 with rounds of one second, so claims of other nodes count for ttl + 3 s after these were heard."""

    def setUp(self) -> None:
        self.begin()

    def begin(self, guard_s: float = 0.0, interval_s: float = 1.0) -> None:
        timing = Timing(interval_s, 10.0)
        self.peers = Peers("n1:1730", timing)
        self.view = View()
        self.claims = Claims(1, timing, self.peers, self.view, NOW, guard_s=guard_s)
        self.others: dict[int, Ledger] = {}

    def hear(self, number: int, at: float = NOW) -> Peer:
        counter = Counter(number, f"n{number}", f"n{number}:1730", int(10 * at), 0.0)
        self.peers.meet(counter, at)
        self.peers.hear(counter, at)
        peer = self.peers.get(number)
        assert peer is not None
        return peer

    def tell(
        self,
        number: int,
        key: str = KEY,
        body: bytes = BODY,
        ttl_s: float = TTL_S,
        rev: int = 1,
        root: Dot | None = None,
    ) -> Claim:
        """Add a claim to the ledger of another node, and join this ledger."""
        ledger = self.others.setdefault(number, Ledger(number))
        claim = Claim(number, ledger.next_n, key, body, ttl_s, rev, *(root or (number, ledger.next_n)))
        ledger.add(claim)
        self.join(number)
        return claim

    def end(self, number: int, *roots: Dot, ttl_s: float = 18.0, key: str = KEY) -> None:
        """Add an end to the ledger of another node, and join this ledger."""
        ledger = self.others.setdefault(number, Ledger(number))
        ledger.add(End(number, ledger.next_n, key, ttl_s, 1, roots))
        self.join(number)

    def join(self, number: int) -> dict[str, None]:
        return self.claims.join(self.others[number].delta(self.claims.copies.head(number)))

    def lease(self, key: str = KEY) -> Lease:
        lease = self.claims.index.lease(key)
        assert lease is not None
        return lease

    def own(self) -> list[Claim | End]:
        return [*self.claims.ledger.entries.values()]

    def happened(self, key: str = KEY) -> list[tuple[str, str]]:
        return [(e.change, e.reason) for e in self.view.take_events() if e.key == key]
