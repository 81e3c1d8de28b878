"""The consumers that one node knows: where each came from, and how much may be kept of all of them.

No client can keep others from being consumers. What one address may have is limited, and where the node has as many as
it may have, those without a stream make room for others. Nothing here knows what consumers confirm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

from attrs import define, field, frozen

from bender.core.replica import Full
from bender.net.client_address import UNIX, client_at, host_of
from bender.node.journal import Entry

#: Consumers at one node, including those that ended a while ago.
CONSUMERS_MAX = 1000

#: Consumers of one client address, so that it takes several clients to use up the room with streams. A host that runs
#: a load balancer for each of a hundred teams has half of that.
CONSUMERS_OF_CLIENT_MAX = 250

#: Bytes of reports at one node, encoded. A peer takes an answer with all of them, and to list them takes a tenth of a
#: second.
REPORTS_BYTES_MAX = 4 * 1024 * 1024

#: Bytes of the reports of one client address: 17 of the largest that a driver sends, or 250 of 4 KiB.
REPORTS_OF_CLIENT_BYTES_MAX = 1024 * 1024


class Selecting(Protocol):
    """The events that a stream of a consumer selects."""

    @property
    def app(self) -> str | None: ...

    @property
    def version(self) -> str | None: ...

    def admits(self, entry: Entry) -> bool: ...


@frozen
class Origin:
    """The address that a request or a stream of a consumer came from; without a port if that says nothing."""

    host: str = UNIX
    port: int | None = None

    @property
    def client(self) -> str:
        """The client that quotas count: the address, or its network if it is an IPv6 address."""
        return client_at(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and self.port is not None else self.host
        return host if self.port is None else f"{host}:{self.port}"


def origin_of(peer: Any) -> Origin:
    """Return the origin of a connection by its peer's address, as Twisted gives it."""
    return Origin(host_of(peer), getattr(peer, "port", None))


@define(eq=False)
class Known:
    """What a node knows of one consumer: an instance of a name.

    The client has `given` the instance, or the node made it up of the origin. `began_at` is when it was first here,
    `alive_at` when anything last came from it, and `seen_at` the same with the ends of its streams, all by the node's
    clock. `opened` grows with each stream of any consumer. Without streams it is connected until `present_until`, if it
    never had one.
    """

    name: str
    instance: str
    given: bool
    origin: Origin
    began_at: float
    at_ms: int
    client: str = field(init=False)
    alive_at: float = field(init=False)
    seen_at: float = field(init=False)
    position: int | None = None
    report: bytes = b""
    streams: list[Selecting] = field(factory=list)
    has_streamed: bool = False
    opened: int = 0
    present_until: float = 0.0
    #: Whether the roster has it.
    listed: bool = False

    def __attrs_post_init__(self) -> None:
        self.client = self.origin.client
        self.alive_at = self.seen_at = self.began_at

    def is_connected(self, now: float) -> bool:
        """Whether it has a stream, or never had one and confirmed lately."""
        return bool(self.streams) or (not self.has_streamed and now < self.present_until)


class ConsumerTable:
    """All consumers of one node, within the limits."""

    def __init__(self) -> None:
        self._by_name: dict[str, dict[str, Known]] = {}
        # By client.
        self._held: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Known]:
        """Return all consumers."""
        return (known for instances in self._by_name.values() for known in instances.values())

    def in_order(self) -> list[Known]:
        """Return all consumers in order of name and then of instance."""
        return sorted(self, key=lambda known: (known.name, known.instance))

    def get(self, name: str, instance: str) -> Known | None:
        return self._by_name.get(name, {}).get(instance)

    def named(self, name: str) -> list[Known]:
        """Return all instances of a name."""
        return [*self._by_name.get(name, {}).values()]

    def several(self) -> set[str]:
        """Return the names that more than one instance has."""
        return {name for name, instances in self._by_name.items() if len(instances) > 1}

    def label(self, name: str, origin: Origin) -> str:
        """Return an instance for a client that gave none: its origin, with a number where that is used already."""
        taken, label, number = self._by_name.get(name, {}), str(origin), 1
        while label in taken:
            number += 1
            label = f"{origin}#{number}"
        return label

    def rename(self, known: Known, instance: str) -> None:
        """Give a consumer another instance, which no other one of its name has."""
        instances = self._by_name[known.name]
        del instances[known.instance]
        known.instance = instance
        instances[instance] = known

    # Room for consumers.

    def add(self, known: Known, now: float, *, streaming: bool) -> None:
        """Add a consumer that will have a stream, or will not; at a limit another one is evicted for it.

        Evicted is one without a stream: of the same client where that has as many as one client may have, else of the
        client with the most; the one that was not seen for longest. One that is connected gives way to a stream, or to
        a client that has fewer. Raises `Full` if there is none, and evicts nothing then.
        """
        client = known.client
        if self._held[client] >= CONSUMERS_OF_CLIENT_MAX:
            own = [each for each in self if each.client == client]
            victim = self._victim(each for each in own if streaming or not each.is_connected(now))
            if victim is None:
                raise Full(f"the client at {client} has {CONSUMERS_OF_CLIENT_MAX} consumers here, which is the maximum")
            self.remove(victim)
        elif self._held.total() >= CONSUMERS_MAX:
            few = self._held[client] + 1
            victim = self._victim(
                each for each in self if streaming or not each.is_connected(now) or self._held[each.client] > few
            )
            if victim is None:
                raise Full(f"this node has {CONSUMERS_MAX} consumers, which is the maximum")
            self.remove(victim)
        self._held[client] += 1
        known.listed = True
        self._by_name.setdefault(known.name, {})[known.instance] = known

    def _victim(self, candidates: Iterator[Known]) -> Known | None:
        """Choose the consumer to evict, of those among the candidates that have no stream."""
        streamless = (each for each in candidates if not each.streams)
        return max(streamless, key=lambda each: (self._held[each.client], -each.seen_at), default=None)

    def remove(self, known: Known) -> None:
        self._drop_report(known)
        known.listed = False
        instances = self._by_name[known.name]
        del instances[known.instance]
        if not instances:
            del self._by_name[known.name]
        _decrease(self._held, known.client, 1)

    def forget(self, before: float) -> None:
        """Remove those without a stream that were last seen before this time."""
        for known in [each for each in self if each.seen_at < before and not each.streams]:
            self.remove(known)

    # Room for reports.

    @property
    def report_bytes(self) -> int:
        return self._bytes.total()

    def require_room(self, known: Known, report: bytes, now: float) -> None:
        """Raise `Full` where a client would have more reports than it may have, even without those that are over."""
        client = known.client
        over = self._bytes[client] + len(report) - len(known.report) - REPORTS_OF_CLIENT_BYTES_MAX
        if over > 0 and over > sum(len(each.report) for each in self._ended(client, known, now)):
            raise Full(
                f"the reports of the client at {client} have more than {REPORTS_OF_CLIENT_BYTES_MAX} bytes, which is "
                "the maximum for one client"
            )

    def keep_report(self, known: Known, report: bytes, now: float = 0.0) -> None:
        """Replace the report of a consumer, where there is room for it; others of the node lose theirs if need be.

        Those are, in this order, of consumers of this client that ended, without a stream, of the client whose reports
        have the most bytes, and not seen for longest. A report that was lost comes again with the next confirmation.
        """
        client = known.client
        self._bytes[client] += len(report)
        _decrease(self._bytes, client, len(known.report))
        known.report = report
        if self._bytes[client] > REPORTS_OF_CLIENT_BYTES_MAX:
            for each in sorted(self._ended(client, known, now), key=lambda each: each.seen_at):
                if self._bytes[client] > REPORTS_OF_CLIENT_BYTES_MAX:
                    self._drop_report(each)
        while self.report_bytes > REPORTS_BYTES_MAX:
            others = (each for each in self if each.report and each is not known)
            self._drop_report(max(others, key=self._first_to_lose))

    def _ended(self, client: str, known: Known, now: float) -> list[Known]:
        """Return the other consumers of a client that are not connected."""
        return [each for each in self if each.client == client and each is not known and not each.is_connected(now)]

    def _first_to_lose(self, known: Known) -> tuple[bool, int, float]:
        return not known.streams, self._bytes[known.client], -known.seen_at

    def _drop_report(self, known: Known) -> None:
        _decrease(self._bytes, known.client, len(known.report))
        known.report = b""


def _decrease(counts: Counter[str], client: str, by: int) -> None:
    counts[client] -= by
    if not counts[client]:
        del counts[client]
