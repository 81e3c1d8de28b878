"""The DNS records of the members of apps and backends, cached until a change. Long sets are made in slices.

Only members that take traffic have records: an instance with the weight 0, or in the state `drain` or `maint`, has none
of any type, because not all clients regard weights. A suspect takes traffic like any other member, because the guard
keeps it listed for this purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain

import msgspec
from attrs import define, frozen
from twisted.logger import Logger
from twisted.python.failure import Failure

from bender.core.ledger import Claim
from bender.core.members import ServedVersions, effective_weights, requested_weight, served_versions_of
from bender.core.view import View, sorted_claims
from bender.net.fair_turns import Turns
from bender.node.listings import AT_ONCE_MAX, portions
from bender.protocols.dns.records import AAAA, EMPTY, A, RecordRing, Target, record_of_qname, srv_record, target

#: Cached record sets: their number, and the bytes that all of them take.
CACHED_MAX = 1000
CACHED_BYTES_MAX = 16 * 1024 * 1024

#: The largest number of records that fits into a message: the smallest record has 16 bytes.
RECORDS_MAX = 4096

#: Bytes that a record set takes besides its records.
OVERHEAD_BYTES = 1000

#: Queries that may wait for records that are made in slices.
WAITING_MAX = 1000

#: Receives records, or None if an error occurred while they were made.
RecordsCallback = Callable[["MemberRecords | None"], None]


@frozen
class MemberSource:
    """The data from which the records of an app or a backend are made, and the state of the view at that time.

    `key` is `app/NAME` or `backend/NAME`. `stamp` changes with each change of the app's registrations. `body` is the
    JSON of a backend, and `service` says which versions are its members; both are None for an app, which has all
    versions.
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
        """Return True if the registrations and the backend are still the same in `view`."""
        if view.stamp(self.app) != self.stamp:
            return False
        return self.body is None or _body(view, self.key) is self.body


class MemberRecords:
    """The records of an app or a backend. They are valid as long as `source` is current."""

    __slots__ = ("addresses", "services", "size", "source", "targets")

    def __init__(self, source: MemberSource, collected: _RecordCollector) -> None:
        self.source = source
        #: Address records by their type.
        self.addresses = {type_: RecordRing([*records]) for type_, records in collected.addresses.items()}
        self.services = RecordRing([*collected.services.values()][:RECORDS_MAX])
        #: The hosts in the SRV records that are addresses.
        self.targets = tuple(collected.targets)[:RECORDS_MAX]
        self.size = (
            self.services.memory_bytes + sum(ring.memory_bytes for ring in self.addresses.values()) + OVERHEAD_BYTES
        )

    def of_type(self, type_: int) -> RecordRing:
        """Return the address records of a type."""
        return self.addresses.get(type_, EMPTY)


class _RecordCollector:
    """Collects the records of the members that take traffic."""

    def __init__(self) -> None:
        self.addresses: dict[int, dict[bytes, None]] = {A: {}, AAAA: {}}
        # By host and port, because two versions of an app may have the same host and port.
        self.services: dict[tuple[str, int], bytes] = {}
        self.targets: dict[Target, None] = {}

    def add(self, host: str, port: int, weight: int) -> None:
        """Add the records of a member, unless its weight is 0."""
        if not weight:
            return
        host_target = target(host)
        self.services[host, port] = srv_record(host_target, port, weight)
        if host_target.type_:
            self.targets[host_target] = None
            records = self.addresses[host_target.type_]
            if len(records) < RECORDS_MAX:
                records[record_of_qname(host_target.type_, host_target.packed)] = None


@define
class _Construction:
    """Records that are being made from a source, and the callbacks that wait for them."""

    source: MemberSource
    callbacks: list[RecordsCallback]


class MemberRecordsCache:
    """The records of the apps and backends of a view, by key: `app/NAME` or `backend/NAME`."""

    _log = Logger()

    def __init__(self, view: View, turns: Turns) -> None:
        self._view = view
        self._turns = turns
        # In order of their last use.
        self._cached: dict[str, MemberRecords] = {}
        self._cached_bytes = 0
        # The latest construction for each key, and the number of callbacks that wait for any construction.
        self._running: dict[str, _Construction] = {}
        self._waiting = 0

    def cached(self, key: str) -> MemberRecords | None:
        """Return the cached records for a key, if they are still valid; else None."""
        found = self._cached.pop(key, None)
        if found is None:
            return None
        if found.source.is_current(self._view):
            self._cached[key] = found
            return found
        self._cached_bytes -= found.size
        return None

    def provide(self, key: str, callback: RecordsCallback) -> bool:
        """Call `callback` with the records of an existing app or backend, at once or in a later turn.

        It is called with None if an error occurred. If too many callbacks wait, return False and never call it.
        """
        cached = self.cached(key)
        if cached is not None:
            callback(cached)
            return True
        running = self._running.get(key)
        if running is not None and running.source.is_current(self._view):
            return self._wait(running, callback)
        source = self.source(key)
        made: list[MemberRecords] = []
        steps = self.construction_steps(source, made)
        if sum(self._view.count_of(source.app, version) for version in source.versions) <= AT_ONCE_MAX:
            for _ in steps:
                pass
            callback(made[0])
            return True
        running = _Construction(source, [])
        if not self._wait(running, callback):
            return False
        self._running[key] = running
        taken = self._turns.run_steps(steps)
        taken.addErrback(partial(self._log_failure, key))
        taken.addCallback(lambda _: self._complete(running, made[0] if made else None))
        return True

    def _log_failure(self, key: str, failure: Failure) -> None:
        self._log.failure(
            "The DNS records of {key} could not be made because of a defect in bender: the queries that wait for them "
            "are answered with SERVFAIL.",
            failure,
            key=key,
        )

    def _wait(self, running: _Construction, callback: RecordsCallback) -> bool:
        if self._waiting >= WAITING_MAX:
            return False
        self._waiting += 1
        running.callbacks.append(callback)
        return True

    def _complete(self, running: _Construction, records: MemberRecords | None) -> None:
        if self._running.get(running.source.key) is running:
            del self._running[running.source.key]
        self._waiting -= len(running.callbacks)
        for callback in running.callbacks:
            callback(records)

    def source(self, key: str) -> MemberSource:
        """Return the source of the records of an app or a backend, which must exist."""
        kind, _, name = key.partition("/")
        if kind == "app":
            return MemberSource(key, name, self._view.stamp(name))
        body = _body(self._view, key)
        assert body is not None, f"{key} does not exist"
        service = served_versions_of(msgspec.json.decode(body))
        return MemberSource(key, service.app, self._view.stamp(service.app), body, service)

    def construction_steps(self, source: MemberSource, made: list[MemberRecords]) -> Iterator[None]:
        """Make records in steps, and append them to `made` in the last step.

        Each step takes less than a millisecond, except two that process all members of a version: copying references
        takes 10 ns for each member, and dividing the traffic of a backend with a canary takes 1 µs for each member.
        """
        collected, service = _RecordCollector(), source.service
        # Weights are divided with a canary in order of ids, as everywhere else: rounding depends on the order.
        has_canary = service is not None and service.canary is not None
        members: tuple[list[tuple[str, int]], ...] = ([], [])
        request: tuple[list[int], list[int]] = ([], [])
        for version, found, weights in zip(source.versions, members, request, strict=False):
            for group in self._view.groups(source.app, version):
                for portion in portions(sorted_claims(group) if has_canary else [*group.values()]):
                    found += [_host_and_port(claim) for claim in portion]
                    weights += [requested_weight(each.body, self._view.status(each.key).state) for each in portion]
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
            collected.add(host, port, weight)
            if number % AT_ONCE_MAX == 0:
                yield
        records = MemberRecords(source, collected)
        if source.is_current(self._view):
            self._cache(source.key, records)
        made.append(records)
        yield

    def _cache(self, key: str, records: MemberRecords) -> None:
        before = self._cached.pop(key, None)
        self._cached_bytes += records.size - (0 if before is None else before.size)
        self._cached[key] = records
        while len(self._cached) > CACHED_MAX or self._cached_bytes > CACHED_BYTES_MAX:
            self._cached_bytes -= self._cached.pop(next(iter(self._cached))).size


def _host_and_port(claim: Claim) -> tuple[str, int]:
    _, _, _, host, port = claim.key.split("/")
    return host, int(port)


def _body(view: View, key: str) -> bytes | None:
    setting = view.setting(key)
    return None if setting is None else setting.body
