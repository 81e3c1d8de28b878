"""A recorded history that is made up, for tests of the judge: three nodes, one client, and nothing wrong at first."""

from __future__ import annotations

from attrs import define, field

from tests.faults.facts import (
    Announced,
    Answers,
    Asked,
    Fact,
    Histories,
    Listed,
    Looked,
    Operation,
    Setting,
    Started,
    Synced,
)

NODES = ("n1", "n2", "n3")
INTERVAL_S, TTL_S = 0.5, 3.0

#: When nodes answer, when they have settled, and when everything is over.
READY_AT, SETTLED_AT, OVER_AT = 1.0, 8.0, 30.0

KEY = "registration/web/1/10.0.0.1/80"

#: The body of the registration that is made with the unit `c.1` at n1; and of the next one.
BODY, NEXT_BODY = "c.1 3.0 1 - n1 1000", "c.2 3.0 1 - n1 2000"

#: How long a request takes, and an event after it.
TAKES_S = 0.002


@define
class History:
    """Facts in any order. `facts` can be changed before they are judged."""

    facts: list[Fact] = field(factory=list)
    _cursors: dict[str, int] = field(factory=dict)

    def add(self, *facts: Fact) -> None:
        self.facts += facts

    # Nodes.

    def begin(self) -> History:
        """Let all nodes start, be ready, and have nothing to say."""
        self.add(Setting(at=0.0, nodes=[*NODES], interval_s=INTERVAL_S, ttl_s=TTL_S, held_s=0.0))
        for node in NODES:
            self.start(node, 0.0)
            self.looks(node, READY_AT + 0.2, OVER_AT)
        return self

    def start(self, node: str, at: float, *, life: str = "a") -> None:
        self.add(Started(at=at, node=node, release="this"))
        self.add(Answers(at=at + READY_AT, sent_at=at + READY_AT - TAKES_S, node=node, incarnation=life))
        self.add(Synced(at=at + READY_AT + 0.3, node=node, life=life, reset=True))

    def looks(
        self, node: str, begin: float, end: float, *, ready: bool = True, digest: str = "0", held: int = 0
    ) -> None:
        """Let a node answer about itself twice an interval."""
        at = begin
        while at < end:
            looked = Looked(
                at=at, sent_at=at - TAKES_S, node=node, incarnation="a", ready=ready, digest=digest, held=held
            )
            self.add(looked)
            at += INTERVAL_S / 2

    # Clients.

    def ask(
        self,
        at: float,
        operation: Operation,
        node: str = "n1",
        status: int | None = 200,
        unit: str = "",
        body: str = "",
    ) -> None:
        took_s = TAKES_S if status is not None else 3 * INTERVAL_S
        self.add(
            Asked(
                at=at + took_s,
                sent_at=at,
                client="c",
                node=node,
                operation=operation,
                key=KEY if operation != "configure" else "backend/b",
                status=status,
                unit=unit,
                ttl_s=TTL_S if unit else 0.0,
                body=body,
                reason="deregistered" if operation == "deregister" else "",
            )
        )

    def live(self, begin: float, last: float, *, body: str = BODY, nodes: tuple[str, ...] = ("n1",)) -> None:
        """Let the client register, and renew every second until `last`, at these nodes in turn."""
        self.ask(begin, "register", nodes[0], 201, body.partition(" ")[0], body)
        self.tell(begin + 2 * TAKES_S, "online", "registered", body=body)
        for number in range(1, int(last - begin) + 1):
            self.ask(begin + number, "renew", nodes[number % len(nodes)], 200, body=body)

    # Observers.

    def tell(
        self,
        at: float,
        event: str,
        reason: str,
        nodes: tuple[str, ...] = NODES,
        *,
        body: str = BODY,
        key: str = KEY,
        life: str = "a",
    ) -> None:
        """Let watchers of these nodes receive an event."""
        for node in nodes:
            self._cursors[node] = self._cursors.get(node, 0) + 1
            cursor = f"{life}-{self._cursors[node]}"
            self.add(
                Announced(
                    at=at,
                    node=node,
                    life=life,
                    cursor=cursor,
                    event=event,
                    key=key,
                    body=body,
                    reason=reason,
                    snapshot=False,
                )
            )

    def list(self, at: float, node: str, *bodies: str) -> None:
        self.add(Listed(at=at, sent_at=at - TAKES_S, node=node, bodies=dict.fromkeys([KEY] * len(bodies), *bodies)))

    def histories(self, at: float, node: str, *units: str) -> None:
        self.add(Histories(at=at, sent_at=at - TAKES_S, node=node, settings={"backend/b": [*units]}))

    def without(self, kind: type[Fact], node: str, begin: float, end: float) -> None:
        """Drop the facts of a kind about a node in a span."""
        self.facts = [
            fact
            for fact in self.facts
            if not (isinstance(fact, kind) and getattr(fact, "node", None) == node and begin <= fact.at < end)
        ]


def clean() -> History:
    """Return the history of an instance that lives for some time at two nodes, and then stops."""
    history = History().begin()
    history.live(SETTLED_AT, SETTLED_AT + 6, nodes=("n1", "n2"))
    history.tell(SETTLED_AT + 6 + TTL_S + 0.2, "offline", "expired")
    return history
