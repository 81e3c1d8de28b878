"""The records of the members of apps and backends, made once after a change, all but short ones in slices.

Members are those that take traffic: a weight of 0, `drain` and `maint` leave an instance out, in every type of record,
because not all clients regard weights. A suspect takes traffic like any other member: that is what the guard is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from twisted.logger import Logger

from bender.core.ledger import Claim
from bender.core.members import AWAY, versions_of, weighted_members
from bender.core.view import View
from bender.net.fair_turns import Turns
from bender.node.listings import AT_ONCE_MAX, portions
from bender.protocols.dns.records import AAAA, EMPTY, A, RecordRing, Target, asked_record, srv_record, target

#: Record sets that are kept: their number, and their bytes together.
KEPT_MAX = 1000
KEPT_BYTES_MAX = 16 * 1024 * 1024

#: More records than that do not fit into any message: the smallest has 16 bytes.
RECORDS_MAX = 4096


#: Queries that wait for records which are made in slices.
WAITING_MAX = 1000


class _Weighted(msgspec.Struct):
    weight: int


_weighted = msgspec.json.Decoder(_Weighted)


class MemberRecords:
    """The records of an app or a backend as long as they are right: `app` and `stamp`, `backend` and `body` tell that.

    `backend` is the key of the backend, and None for an app.
    """

    __slots__ = ("_app", "_backend", "_body", "_stamp", "addresses", "services", "size", "targets")

    def __init__(self, app: str, stamp: int, backend: str | None, body: bytes | None, serving: _Serving) -> None:
        self._app = app
        self._stamp = stamp
        self._backend = backend
        self._body = body
        #: Address records by their type.
        self.addresses = {kind: RecordRing([*records]) for kind, records in serving.addresses.items()}
        self.services = RecordRing([*serving.services.values()][:RECORDS_MAX])
        #: The hosts of the services that are addresses.
        self.targets = tuple(serving.targets)[:RECORDS_MAX]
        self.size = 2 * (self.services.size + sum(ring.size for ring in self.addresses.values())) + 200

    def of_kind(self, kind: int) -> RecordRing:
        """Return the address records of a type."""
        return self.addresses.get(kind, EMPTY)

    def is_right(self, view: View) -> bool:
        """Return True if nothing has changed that they follow from."""
        if view.stamp(self._app) != self._stamp:
            return False
        return self._backend is None or _body(view, self._backend) is self._body


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
        if to.kind:
            self.targets[to] = None
            records = self.addresses[to.kind]
            if len(records) < RECORDS_MAX:
                records[asked_record(to.kind, to.packed)] = None


Use = Callable[[MemberRecords | None], None]


class MemberRecordsCache:
    """The records of the apps and backends of a view. They are found under its keys: `app/NAME` and `backend/NAME`."""

    _log = Logger()

    def __init__(self, view: View, turns: Turns) -> None:
        self._view = view
        self._turns = turns
        # In order of their last use.
        self._kept: dict[str, MemberRecords] = {}
        self._kept_bytes = 0
        # What is done with records when they are made, by their key, and the number of all of that.
        self._making: dict[str, list[Use]] = {}
        self._waiting = 0

    def kept(self, key: str) -> MemberRecords | None:
        """Return records that were made before and are still right."""
        found = self._kept.pop(key, None)
        if found is None:
            return None
        if found.is_right(self._view):
            self._kept[key] = found
            return found
        self._kept_bytes -= found.size
        return None

    def is_long(self, key: str) -> bool:
        """Return True if there are so many members that their records have to be made in slices."""
        app, _, versions = self._which(key)
        return sum(self._view.count_of(app, version) for version in versions) > AT_ONCE_MAX

    def take(self, key: str, use: Use) -> bool:
        """Call `use` with the records of an app or a backend that exists: at once, or after others had their turns.

        With None, if making them failed. Return False, and never call it, if too many others wait.
        """
        kept = self.kept(key)
        if kept is not None:
            use(kept)
        elif not self.is_long(key):
            made: list[MemberRecords] = []
            for _ in self.making(key, made):
                pass
            use(made[0])
        elif self._waiting >= WAITING_MAX:
            return False
        else:
            self._waiting += 1
            self._take_later(key, use)
        return True

    def _take_later(self, key: str, use: Use) -> None:
        if key in self._making:
            self._making[key].append(use)
            return
        self._making[key] = [use]
        made: list[MemberRecords] = []
        taken = self._turns.take(self.making(key, made))
        taken.addErrback(lambda failure: self._log.failure("Making the records of {key} failed.", failure, key=key))
        taken.addCallback(lambda _: self._made(key, made[0] if made else None))

    def _made(self, key: str, records: MemberRecords | None) -> None:
        uses = self._making.pop(key)
        self._waiting -= len(uses)
        for use in uses:
            use(records)

    def making(self, key: str, made: list[MemberRecords]) -> Iterator[None]:
        """Yield while records are made, each step in less than a millisecond, and append them to `made` at the end."""
        view = self._view
        app, body, versions = self._which(key)
        stamp = view.stamp(app)
        serving = _Serving()
        of_versions = [
            [claim for group in view.groups(app, version) for claim in group.values()] for version in versions
        ]
        members: list[list[dict[str, Any]]] = [[] for _ in of_versions]
        for claims, found in zip(of_versions, members, strict=True):
            for portion in portions(claims):
                if body is None:
                    self._add_registered(serving, portion)
                else:
                    found.extend(map(self._member, portion))
                yield
        if body is not None:
            weighted = weighted_members(msgspec.json.decode(body), members[0], members[1] if len(members) > 1 else [])
            for number, member in enumerate(weighted, 1):
                serving.add(member["host"], member["port"], member["weight"])
                if number % AT_ONCE_MAX == 0:
                    yield
        records = MemberRecords(app, stamp, None if body is None else key, body, serving)
        if records.is_right(view):
            self._keep(key, records)
        made.append(records)
        yield

    def _which(self, key: str) -> tuple[str, bytes | None, tuple[str | None, ...]]:
        """Return the app, the body of the backend if it is one, and the versions whose members belong to a key."""
        kind, _, name = key.partition("/")
        if kind == "app":
            return name, None, (None,)
        body = _body(self._view, key)
        assert body is not None, f"{key} does not exist"
        backend = msgspec.json.decode(body)
        return backend["app"], body, versions_of(backend)

    def _add_registered(self, serving: _Serving, claims: Iterable[Claim]) -> None:
        for claim in claims:
            _, _, _, host, port = claim.key.split("/")
            if self._view.standing(claim.key).state not in AWAY:
                serving.add(host, int(port), _weighted.decode(claim.body).weight)

    def _member(self, claim: Claim) -> dict[str, Any]:
        """Return the fields of a registration that its weight follows from."""
        _, _, _, host, port = claim.key.split("/")
        state, weight = self._view.standing(claim.key).state, _weighted.decode(claim.body).weight
        return {"id": claim.key, "host": host, "port": int(port), "weight": weight, "state": state}

    def _keep(self, key: str, records: MemberRecords) -> None:
        before = self._kept.pop(key, None)
        self._kept_bytes += records.size - (0 if before is None else before.size)
        self._kept[key] = records
        while len(self._kept) > KEPT_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            self._kept_bytes -= self._kept.pop(next(iter(self._kept))).size


def _body(view: View, key: str) -> bytes | None:
    setting = view.setting(key)
    return None if setting is None else setting.body
