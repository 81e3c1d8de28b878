"""The records of the members of apps and backends: made again after a change, long sets in slices.

Members are those that take traffic: a weight of 0, `drain` and `maint` leave an instance out, in every type of record,
because not all clients regard weights. A suspect takes traffic like any other member: that is what the guard is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import msgspec
from attrs import define, frozen
from twisted.logger import Logger

from bender.core.ledger import Claim
from bender.core.members import ServedVersions, asked_weight, effective_weights, service_of
from bender.core.view import View, in_order
from bender.net.fair_turns import Turns
from bender.node.listings import AT_ONCE_MAX, portions
from bender.protocols.dns.records import AAAA, EMPTY, A, RecordRing, Target, record_of_qname, srv_record, target

#: Record sets that are kept: their number, and the bytes that all of them take.
KEPT_MAX = 1000
KEPT_BYTES_MAX = 16 * 1024 * 1024

#: More records than that do not fit into any message: the smallest has 16 bytes.
RECORDS_MAX = 4096

#: Bytes of a record set beside its records.
OWN_BYTES = 1000

#: Queries that wait for records which are made in slices.
WAITING_MAX = 1000


#: Takes records, or None if making them failed.
Use = Callable[["MemberRecords | None"], None]


@frozen
class MemberSource:
    """What the records of an app or a backend are made of, and the state of the view that they are right for.

    `key` is `app/NAME` or `backend/NAME`. `stamp` stands for the state of the app. A backend has its JSON as `body`,
    and its members by `service`; an app has all versions.
    """

    key: str
    app: str
    stamp: int
    body: bytes | None = None
    service: ServedVersions | None = None

    @property
    def versions(self) -> tuple[str | None, ...]:
        return (None,) if self.service is None else self.service.versions

    def is_current(self, view: View) -> bool:
        """Return True if nothing of it has changed."""
        if view.stamp(self.app) != self.stamp:
            return False
        return self.body is None or _body(view, self.key) is self.body


class MemberRecords:
    """The records of an app or a backend. They are right as long as their `source` is."""

    __slots__ = ("addresses", "services", "size", "source", "targets")

    def __init__(self, source: MemberSource, serving: _Serving) -> None:
        self.source = source
        #: Address records by their type.
        self.addresses = {type_: RecordRing([*records]) for type_, records in serving.addresses.items()}
        self.services = RecordRing([*serving.services.values()][:RECORDS_MAX])
        #: The hosts of the services that are addresses.
        self.targets = tuple(serving.targets)[:RECORDS_MAX]
        self.size = self.services.kept_bytes + sum(ring.kept_bytes for ring in self.addresses.values()) + OWN_BYTES

    def of_type(self, type_: int) -> RecordRing:
        """Return the address records of a type."""
        return self.addresses.get(type_, EMPTY)


class _Serving:
    """The members that take traffic, as records."""

    def __init__(self) -> None:
        self.addresses: dict[int, dict[bytes, None]] = {A: {}, AAAA: {}}
        # By host and port, because versions of an app may be registered with the same ones.
        self.services: dict[tuple[str, int], bytes] = {}
        self.targets: dict[Target, None] = {}

    def add(self, host: str, port: int, weight: int) -> None:
        if not weight:
            return
        to = target(host)
        self.services[host, port] = srv_record(to, port, weight)
        if to.type_:
            self.targets[to] = None
            records = self.addresses[to.type_]
            if len(records) < RECORDS_MAX:
                records[record_of_qname(to.type_, to.packed)] = None


@define
class _Construction:
    """Records that are being made of a source, and the callbacks that wait for them."""

    source: MemberSource
    uses: list[Use]


class MemberRecordsCache:
    """The records of the apps and backends of a view. They are found under its keys: `app/NAME` and `backend/NAME`."""

    _log = Logger()

    def __init__(self, view: View, turns: Turns) -> None:
        self._view = view
        self._turns = turns
        # In order of their last use.
        self._kept: dict[str, MemberRecords] = {}
        self._kept_bytes = 0
        # The latest construction of each key, and the number of callbacks that wait for any.
        self._running: dict[str, _Construction] = {}
        self._waiting = 0

    def kept(self, key: str) -> MemberRecords | None:
        """Return records that were made before and are still right."""
        found = self._kept.pop(key, None)
        if found is None:
            return None
        if found.source.is_current(self._view):
            self._kept[key] = found
            return found
        self._kept_bytes -= found.size
        return None

    def take(self, key: str, use: Use) -> bool:
        """Call `use` with the records of an app or a backend that exists: at once, or after others had their turns.

        With None, if making them failed. Return False, and never call it, if too many others wait.
        """
        kept = self.kept(key)
        if kept is not None:
            use(kept)
            return True
        running = self._running.get(key)
        if running is not None and running.source.is_current(self._view):
            return self._wait(running, use)
        source = self.source(key)
        made: list[MemberRecords] = []
        steps = self.making(source, made)
        if sum(self._view.count_of(source.app, version) for version in source.versions) <= AT_ONCE_MAX:
            for _ in steps:
                pass
            use(made[0])
            return True
        running = _Construction(source, [])
        if not self._wait(running, use):
            return False
        self._running[key] = running
        taken = self._turns.run_steps(steps)
        taken.addErrback(lambda failure: self._log.failure("Making the records of {key} failed.", failure, key=key))
        taken.addCallback(lambda _: self._made(running, made[0] if made else None))
        return True

    def _wait(self, running: _Construction, use: Use) -> bool:
        if self._waiting >= WAITING_MAX:
            return False
        self._waiting += 1
        running.uses.append(use)
        return True

    def _made(self, running: _Construction, records: MemberRecords | None) -> None:
        if self._running.get(running.source.key) is running:
            del self._running[running.source.key]
        self._waiting -= len(running.uses)
        for use in running.uses:
            use(records)

    def source(self, key: str) -> MemberSource:
        """Return what the records of an app or a backend that exists are made of."""
        kind, _, name = key.partition("/")
        if kind == "app":
            return MemberSource(key, name, self._view.stamp(name))
        body = _body(self._view, key)
        assert body is not None, f"{key} does not exist"
        service = service_of(msgspec.json.decode(body))
        return MemberSource(key, service.app, self._view.stamp(service.app), body, service)

    def making(self, source: MemberSource, made: list[MemberRecords]) -> Iterator[None]:
        """Yield while records are made, and append them to `made` at the end.

        Each step takes less than a millisecond, but for two that look at all members of a version: copying their
        references, 10 ns for each, and sharing a backend's traffic with its canary, 1 µs for each.
        """
        serving, service = _Serving(), source.service
        # Weights are shared with a canary in order of id, as everywhere else: what is rounded up depends on the order.
        has_canary = service is not None and service.canary is not None
        members: tuple[list[tuple[str, int]], ...] = ([], [])
        request: tuple[list[int], list[int]] = ([], [])
        for version, found, weights in zip(source.versions, members, request, strict=False):
            for group in self._view.groups(source.app, version):
                for portion in portions(in_order(group) if has_canary else [*group.values()]):
                    found += [_host_and_port(claim) for claim in portion]
                    weights += [asked_weight(each.body, self._view.status(each.key).state) for each in portion]
                    yield
        effective: tuple[Sequence[int], Sequence[int]] = request
        if service is not None:
            fixed = dict.fromkeys((server.host, server.port) for server in service.servers)
            for known in chain(*members) if fixed else ():
                fixed.pop(known, None)
            members[0].extend(fixed)
            request[0].extend([1] * len(fixed))
            effective = effective_weights(service, *request)
        for number, ((host, port), weight) in enumerate(zip(chain(*members), chain(*effective), strict=True), 1):
            serving.add(host, port, weight)
            if number % AT_ONCE_MAX == 0:
                yield
        records = MemberRecords(source, serving)
        if source.is_current(self._view):
            self._keep(source.key, records)
        made.append(records)
        yield

    def _keep(self, key: str, records: MemberRecords) -> None:
        before = self._kept.pop(key, None)
        self._kept_bytes += records.size - (0 if before is None else before.size)
        self._kept[key] = records
        while len(self._kept) > KEPT_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            self._kept_bytes -= self._kept.pop(next(iter(self._kept))).size


def _host_and_port(claim: Claim) -> tuple[str, int]:
    _, _, _, host, port = claim.key.split("/")
    return host, int(port)


def _body(view: View, key: str) -> bytes | None:
    setting = view.setting(key)
    return None if setting is None else setting.body
