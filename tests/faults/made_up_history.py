"""Builds a history for tests of the judge: three nodes and one client, at first without a broken promise."""

from __future__ import annotations

from attrs import define, field

from tests.faults.facts import (
    ClientRequest,
    Fact,
    FirstAnswer,
    HistoriesAnswer,
    ListAnswer,
    Operation,
    ReceivedEvent,
    SeedTerms,
    Started,
    StatusAnswer,
    Synced,
)

NODES = ("n1", "n2", "n3")
INTERVAL_S, TTL_S = 0.5, 3.0

#: The times at which nodes answer, at which they have settled, and at which the history ends.
READY_AT, SETTLED_AT, OVER_AT = 1.0, 8.0, 30.0

KEY = "registration/web/1/10.0.0.1/80"

#: The body of the first registration, with the unit `c.1`, made at n1, and the body of the next one.
BODY, NEXT_BODY = "c.1 3.0 1 - n1 1000", "c.2 3.0 1 - n1 2000"

#: The duration of a request, and of the delivery of an event after it.
TAKES_S = 0.002


@define
class History:
    """Facts in any order. `facts` can be changed before they are judged."""

    facts: list[Fact] = field(factory=list)
    _cursors: dict[str, int] = field(factory=dict)

    def add(self, *facts: Fact) -> None:
        self.facts += facts

    # Nodes.

    def start_nodes(self) -> History:
        """Add that all nodes start, become ready and list nothing."""
        self.add(SeedTerms(at=0.0, nodes=[*NODES], interval_s=INTERVAL_S, ttl_s=TTL_S, relay_delay_s_max=0.0))
        for node in NODES:
            self.start(node, 0.0)
            self.answer_status(node, READY_AT + 0.2, OVER_AT)
        return self

    def start(self, node: str, at: float, *, life: str = "a") -> None:
        self.add(Started(at=at, node=node, release="this"))
        self.add(FirstAnswer(at=at + READY_AT, sent_at=at + READY_AT - TAKES_S, node=node, incarnation=life))
        self.add(Synced(at=at + READY_AT + 0.3, node=node, life=life, reset=True))

    def answer_status(
        self, node: str, begin: float, end: float, *, ready: bool = True, digest: str = "0", held: int = 0
    ) -> None:
        """Add answers of a node to `GET /status`, two in each interval."""
        at = begin
        while at < end:
            looked = StatusAnswer(
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
            ClientRequest(
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

    def run_instance(self, begin: float, last: float, *, body: str = BODY, nodes: tuple[str, ...] = ("n1",)) -> None:
        """Add that the client registers, and renews every second until `last`, at these nodes in turn."""
        self.ask(begin, "register", nodes[0], 201, body.partition(" ")[0], body)
        self.send_event(begin + 2 * TAKES_S, "online", "registered", body=body)
        for number in range(1, int(last - begin) + 1):
            self.ask(begin + number, "renew", nodes[number % len(nodes)], 200, body=body)

    # Observers.

    def send_event(
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
        """Add that the watchers of these nodes receive an event."""
        for node in nodes:
            self._cursors[node] = self._cursors.get(node, 0) + 1
            cursor = f"{life}-{self._cursors[node]}"
            self.add(
                ReceivedEvent(
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

    def answer_list(self, at: float, node: str, *bodies: str) -> None:
        self.add(ListAnswer(at=at, sent_at=at - TAKES_S, node=node, bodies=dict.fromkeys([KEY] * len(bodies), *bodies)))

    def answer_histories(self, at: float, node: str, *units: str) -> None:
        self.add(HistoriesAnswer(at=at, sent_at=at - TAKES_S, node=node, settings={"backend/b": [*units]}))

    def drop_facts(self, kind: type[Fact], node: str, begin: float, end: float) -> None:
        """Drop the facts of a kind about a node between two times."""
        self.facts = [
            fact
            for fact in self.facts
            if not (isinstance(fact, kind) and getattr(fact, "node", None) == node and begin <= fact.at < end)
        ]


def clean() -> History:
    """Return the history of an instance that lives for some time at two nodes, and then stops."""
    history = History().start_nodes()
    history.run_instance(SETTLED_AT, SETTLED_AT + 6, nodes=("n1", "n2"))
    history.send_event(SETTLED_AT + 6 + TTL_S + 0.2, "offline", "expired")
    return history
