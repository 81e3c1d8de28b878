"""The consumers that one node knows, their origins, and the limits of their number and reports.

No client can prevent others from being consumers: the consumers of one address are limited, and at the node's limit,
consumers without a stream are evicted for new ones. This module does not know what consumers confirm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

from attrs import define, field, frozen

from bender.core.replica import Full
from bender.net.client_address import UNIX, client_at, host_of
from bender.node.journal import Entry

#: The most consumers at one node, including those that ended a while ago.
CONSUMERS_MAX = 1000

#: The most consumers of one client address, so that one client alone cannot fill the node with streams. A host that
#: runs a load balancer for each of a hundred teams needs half of that.
CONSUMERS_OF_CLIENT_MAX = 250

#: The most bytes of encoded reports at one node: all of them fit an answer to a peer, and listing them takes a tenth of
#: a second.
REPORTS_BYTES_MAX = 4 * 1024 * 1024

#: The most bytes of the reports of one client address: 17 of the largest that a driver sends, or 250 of 4 KiB.
REPORTS_OF_CLIENT_BYTES_MAX = 1024 * 1024


class EventFilter(Protocol):
    """The events that a stream of a consumer selects."""

    @property
    def app(self) -> str | None: ...

    @property
    def version(self) -> str | None: ...

    def admits(self, entry: Entry) -> bool: ...


@frozen
class Origin:
    """The address from which a consumer's request or stream came. `port` is None if it does not identify a program."""

    host: str = UNIX
    port: int | None = None

    @property
    def client(self) -> str:
        """The client whose consumers are counted together: the address, or the network of an IPv6 address."""
        return client_at(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host and self.port is not None else self.host
        return host if self.port is None else f"{host}:{self.port}"


def origin_of(peer: Any) -> Origin:
    """Return the origin of a connection, from the Twisted address of its other end."""
    return Origin(host_of(peer), getattr(peer, "port", None))


@define(eq=False)
class KnownConsumer:
    """One consumer at a node: an instance of a name.

    - `sent_instance`: whether the client sent the instance; otherwise the node made it from the origin.
    - `began_at`: when the consumer was first here; this and the following times are on the node's clock.
    - `alive_at`: when the client last sent something.
    - `seen_at`: the same, or the end of its last stream.
    - `at_ms`: when it last confirmed an event, in ms since the epoch.
    - `position`: the number of the last event that it has confirmed.
    - `opened`: the ordinal number of its last stream among those of all consumers.
    - `present_until`: until when it is connected if it never had a stream.
    """

    name: str
    instance: str
    sent_instance: bool
    origin: Origin
    began_at: float
    at_ms: int
    client: str = field(init=False)
    alive_at: float = field(init=False)
    seen_at: float = field(init=False)
    position: int | None = None
    report: bytes = b""
    streams: list[EventFilter] = field(factory=list)
    has_streamed: bool = False
    opened: int = 0
    present_until: float = 0.0
    #: Whether the table contains it.
    in_table: bool = False

    def __attrs_post_init__(self) -> None:
        self.client = self.origin.client
        self.alive_at = self.seen_at = self.began_at

    def is_connected(self, now: float) -> bool:
        """Return True if it has a stream, or if it never had one and has confirmed lately."""
        return bool(self.streams) or (not self.has_streamed and now < self.present_until)


class ConsumerTable:
    """All consumers of one node, within the limits."""

    def __init__(self) -> None:
        self._by_name: dict[str, dict[str, KnownConsumer]] = {}
        # By client.
        self._held: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def __iter__(self) -> Iterator[KnownConsumer]:
        """Iterate over all consumers."""
        return (known for instances in self._by_name.values() for known in instances.values())

    def in_order(self) -> list[KnownConsumer]:
        """Return all consumers, sorted by name and instance."""
        return sorted(self, key=lambda known: (known.name, known.instance))

    def get(self, name: str, instance: str) -> KnownConsumer | None:
        return self._by_name.get(name, {}).get(instance)

    def instances_of(self, name: str) -> list[KnownConsumer]:
        """Return all instances of a name."""
        return [*self._by_name.get(name, {}).values()]

    def shared_names(self) -> set[str]:
        """Return the names that more than one instance has."""
        return {name for name, instances in self._by_name.items() if len(instances) > 1}

    def new_instance(self, name: str, origin: Origin) -> str:
        """Return an instance for a client that sent none: its origin, with a number if that is used already."""
        taken, label, number = self._by_name.get(name, {}), str(origin), 1
        while label in taken:
            number += 1
            label = f"{origin}#{number}"
        return label

    def rename(self, known: KnownConsumer, instance: str) -> None:
        """Change the instance of a consumer; no other consumer of its name may have the new one."""
        instances = self._by_name[known.name]
        del instances[known.instance]
        known.instance = instance
        instances[instance] = known

    # Room for consumers.

    def add(self, known: KnownConsumer, now: float, *, streaming: bool) -> None:
        """Add a consumer; at a limit, another consumer is evicted for it. `streaming`: it will have a stream.

        The evicted consumer has no stream. It belongs to the same client if this client has its maximum, otherwise to
        the client with the most consumers, and is the one that was not seen for longest. A connected consumer is
        evicted only for a stream, or for a client with fewer consumers. Raises `Full` if none can be evicted, and
        changes nothing then.
        """
        client = known.client
        if self._held[client] >= CONSUMERS_OF_CLIENT_MAX:
            own = [each for each in self if each.client == client]
            victim = self._victim(each for each in own if streaming or not each.is_connected(now))
            if victim is None:
                raise Full(
                    f"the client at {client} has {CONSUMERS_OF_CLIENT_MAX} consumers here, the maximum for one client: "
                    "end some of them"
                )
            self.remove(victim)
        elif self._held.total() >= CONSUMERS_MAX:
            few = self._held[client] + 1
            victim = self._victim(
                each for each in self if streaming or not each.is_connected(now) or self._held[each.client] > few
            )
            if victim is None:
                raise Full(
                    f"this node has {CONSUMERS_MAX} consumers, the maximum: use another node, or end some of them"
                )
            self.remove(victim)
        self._held[client] += 1
        known.in_table = True
        self._by_name.setdefault(known.name, {})[known.instance] = known

    def _victim(self, candidates: Iterator[KnownConsumer]) -> KnownConsumer | None:
        """Return the consumer to evict among the candidates without a stream; None if all have one."""
        streamless = (each for each in candidates if not each.streams)
        return max(streamless, key=lambda each: (self._held[each.client], -each.seen_at), default=None)

    def remove(self, known: KnownConsumer) -> None:
        """Remove a consumer and its report."""
        self._drop_report(known)
        known.in_table = False
        instances = self._by_name[known.name]
        del instances[known.instance]
        if not instances:
            del self._by_name[known.name]
        _decrease(self._held, known.client, 1)

    def forget(self, before: float) -> None:
        """Remove the consumers without a stream that were last seen before this time."""
        for known in [each for each in self if each.seen_at < before and not each.streams]:
            self.remove(known)

    # Room for reports.

    @property
    def report_bytes(self) -> int:
        return self._bytes.total()

    def require_room(self, known: KnownConsumer, report: bytes, now: float) -> None:
        """Raise `Full` if a report exceeds its client's limit even without the reports of its ended consumers."""
        client = known.client
        over = self._bytes[client] + len(report) - len(known.report) - REPORTS_OF_CLIENT_BYTES_MAX
        if over > 0 and over > sum(len(each.report) for each in self._ended(client, known, now)):
            raise Full(
                f"the reports of the client at {client} have more than {REPORTS_OF_CLIENT_BYTES_MAX} bytes, the "
                "maximum for one client: send shorter reports"
            )

    def keep_report(self, known: KnownConsumer, report: bytes, now: float = 0.0) -> None:
        """Replace the report of a consumer, for which `require_room` has found room; drop others above the limits.

        Above the limit of the client, reports of its ended consumers are dropped first, longest not seen first. Above
        the limit of the node, those of consumers without a stream are dropped first, then those of the client with the
        most bytes of reports. A dropped report comes again with the consumer's next confirmation.
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

    def _ended(self, client: str, known: KnownConsumer, now: float) -> list[KnownConsumer]:
        """Return the other consumers of a client that are not connected."""
        return [each for each in self if each.client == client and each is not known and not each.is_connected(now)]

    def _first_to_lose(self, known: KnownConsumer) -> tuple[bool, int, float]:
        return not known.streams, self._bytes[known.client], -known.seen_at

    def _drop_report(self, known: KnownConsumer) -> None:
        _decrease(self._bytes, known.client, len(known.report))
        known.report = b""


def _decrease(counts: Counter[str], client: str, by: int) -> None:
    counts[client] -= by
    if not counts[client]:
        del counts[client]
