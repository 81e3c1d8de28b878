"""Requests of clients as records of the oracle: each took effect at a moment between its sending and its answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import inf

from tests.faults.facts import ClientRequest, root_of
from tests.faults.judge.cluster import ObservedNode
from tests.simulation.knowledge import Life
from tests.simulation.records import Ended, Record, Unit


class ObservedRecord(Record):
    """The history of one key, as far as its clients know it.

    An answered renewal obliges nodes from the answer on, for a ttl after the request. A renewal without an answer
    obliges no node, and may have been accepted at any moment until it can no longer have an effect (`doubt`).
    """

    def __init__(self, key: str, end_kept_s: float) -> None:
        super().__init__(key, 0.0, end_kept_s)
        self._took_s = 0.0
        #: True if the effect of some request is unknown.
        self.doubtful = False
        #: The unit that the last answered request made or found, and the time of the answer; None if it is unknown.
        self.latest: tuple[Unit, float] | None = None

    def accept_answered(self, life: Life, unit: Unit, sent_at: float, now: float) -> None:
        """Note a request that a node accepted between `sent_at` and `now`."""
        self._took_s = now - sent_at
        self.accept(life, unit, now)
        self._took_s = 0.0
        self.latest = (unit, now)

    def may_accept(self, life: Life, ttl_s: float, now: float) -> None:
        """Note that a node may accept a request at this moment."""
        self.ttl_s_max = max(self.ttl_s_max, ttl_s)
        self.accepted[life].append(now)
        self.last_at = now

    def may_end(self, life: Life, unit: Unit, now: float, reason: str) -> None:
        """Note that a deregistration may have ended more registrations than that of the unit that the node listed.

        A deregistration ends all registrations of which the node has a claim, including hidden ones.
        """
        others = {each.registration for each in self.units.values()} - {unit.registration}
        for registration in others:
            kept_until = now + self.ttl_s_max + self._end_kept_s
            registration.ends.append(Ended(life, now, inf, kept_until, reason))

    def doubt(self) -> None:
        """Note that the last request that took effect is unknown from now on."""
        self.doubtful = True
        self.latest = None

    def ttl_in_force_s(self, life: Life, holder: Life, now: float) -> float:
        if self.doubtful or not self.units:
            return self.ttl_s_max
        return max(super().ttl_in_force_s(life, holder, now), self._ttl_s_under_way)

    @property
    def _ttl_s_under_way(self) -> float:
        """Return the largest ttl that a request without an observed unit may have set."""
        return self.ttl_s_max if self.ttl_s_max > max(unit.ttl_s for unit in self.units.values()) else 0.0

    def _until(self, at: float) -> float:
        return super()._until(at) - self._took_s


class Units:
    """Finds the unit of an observed body, by the request that sent it."""

    def __init__(self, asked: Iterable[ClientRequest]) -> None:
        self._registering: dict[tuple[str, str], list[ClientRequest]] = defaultdict(list)
        for each in asked:
            if each.operation == "register" and each.status != 0:
                self._registering[each.key, each.unit].append(each)
        self._roots: dict[tuple[str, str], Unit] = {}

    def unit(self, record: ObservedRecord, body: str, nodes: Mapping[str, ObservedNode], now: float) -> Unit | None:
        """Return the unit of a body, or None if no request up to now has sent it."""
        encoded = body.encode()
        found = record.units.get(encoded)
        if found is None:
            sent = [each for each in self._registering[record.key, body.partition(" ")[0]] if each.sent_at <= now]
            if sent:
                node = nodes[sent[-1].node]
                if node.life is None:
                    return None
                same = self._same(record, body, node, node.life)
                found = record.units[encoded] = self._made(record, body, node.life, sent[-1], same, now)
        return found

    def _same(self, record: ObservedRecord, body: str, node: ObservedNode, life: Life) -> Unit | None:
        """Return a unit of the same registration, or None if the body begins a registration.

        At a node that lists none, a request begins a registration, even if the node knows a hidden one.
        """
        shown = life.shown.get(record.key)
        if shown is None and node.synced:
            return None
        listed = None if shown is None else record.units.get(shown)
        if listed is not None and root_of(listed.body.decode()) == root_of(body):
            return listed
        return self._roots.get((record.key, root_of(body)))

    def _made(
        self, record: ObservedRecord, body: str, life: Life, sent: ClientRequest, same: Unit | None, now: float
    ) -> Unit:
        """Make a unit.

        The replaced unit is only known if requests followed one another, all with answers, and the node listed the unit
        of the request before. Otherwise the node may not have known that unit, and ranks decide between the two.
        """
        before = record.latest
        replaced = before[0] if before is not None and before[1] <= sent.sent_at else None
        if replaced is not None and life.shown.get(record.key) != replaced.body:
            replaced = None
        succeeds = replaced is not None and _instance(replaced.body) != _instance(body.encode())
        if replaced is not None and not succeeds and (same is None or same.registration is not replaced.registration):
            replaced = None  # the request began another registration, because the node did not list the one before
        unit = Unit(body.encode(), life, now, replaced, succeeds=succeeds)
        if same is not None and unit.registration is not same.registration:
            unit.registration = same.registration
            unit.registration.units.append(unit)
        self._roots.setdefault((record.key, root_of(body)), unit)
        return unit


def _instance(body: bytes) -> bytes:
    return body.split(b" ")[-3]
