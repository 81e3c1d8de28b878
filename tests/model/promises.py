"""What must hold at each moment of a schedule: the promises P2 to P5 of the architecture, for one key.

`Promises` is told each command that a node accepts, each event that a node announces, and what happens to links and
nodes. It knows nothing of claims: a body names its registration, the number of changes, and the ttl. It demands no more
than the architecture promises, and nothing where it is not certain what a node can know:

P2  A node that accepts a registration or renewal lists the key until the ttl is over, and so does a node that has
    exchanged everything with such a node since. A node that is obliged to list the key when another one accepts a
    renewal, and was connected to that one for 3·I, stays obliged for 3·I, if no link is cut and no node restarts
    meanwhile. A deregistration ends all obligations, and there are no new ones by nodes that do not know of it.
P3  After the last acceptance no node lists the key from ttl + 1·I on; after faults from 5·I after the ttl and the last
    partition on, and ttl + 4·I after the last restart; during a partition from 2·ttl + 8·I on. If a link was cut after
    the ttl, a node may hear of the end by way of another node, with the round after these 5·I: that is 1·I more.
P4  A node that knows of a deregistration does not list that registration, with any of its changes, for ttl + 8·I. It
    knows if it accepted or announced the deregistration, or has exchanged everything with such a node since.
P5  Online and offline alternate. The reason is `deregistered` where a node knows of that, and only if it was done. A
    node is lost, and a registration restored, only after a fault. Without fault and deregistration no change is undone.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from attrs import define, frozen

from bender.core.timing import Timing
from bender.core.view import ViewEvent

KEY = "registration/web/1.0/10.0.0.5/80"

#: All of these are multiples of a quarter of a second, which floats represent exactly.
INTERVAL_S, TTL_S, SHORT_TTL_S = 1.0, 6.0, 4.0
TIMING = Timing(interval_s=INTERVAL_S, ttl_s=TTL_S)

#: The seconds for which the last acceptance, deregistration or fault may still have effects.
REMEMBERED_S = 4 * TTL_S + 8 * INTERVAL_S


class Broken(Exception):
    """A promise was broken. The message says which promise, and how this was seen."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(promise, what)
        self.promise = promise
        self.what = what


@frozen
class Body:
    """The contents of a body."""

    registration: str
    changes: int
    ttl_s: float

    @classmethod
    def parse(cls, body: bytes) -> Body:
        registration, changes, ttl_s = body.decode().split()
        return cls(registration, int(changes), float(ttl_s))

    def __str__(self) -> str:
        return f"{self.registration} with {self.changes} changes"

    def __bytes__(self) -> bytes:
        return f"{self.registration} {self.changes} {self.ttl_s:g}".encode()


@define
class Ended:
    """A deregistration: its time, the time until which it must be remembered, and the nodes that must know of it."""

    at: float
    kept_until: float
    known_to: set[str]


class Promises:
    """The expected behaviour of the nodes with these names."""

    def __init__(self, names: str) -> None:
        self.names = names
        self.begun = dict.fromkeys(names, 0)
        self.shown: dict[str, Body] = {}
        self.lost: dict[str, str] = {}
        self.ended: dict[str, Ended] = {}
        self.ever_ended: set[str] = set()
        # The time until which each node is obliged to list the key: because of what it knows, and of what others
        # accepted.
        self.obliged_until: dict[str, float] = {}
        self.handed_over_until: dict[str, float] = {}
        self.last_at = -inf
        # The longest ttl that a claim can have now, and the shortest that a claim has had so far.
        self.ttl_s = self.ttl_s_min = TTL_S
        self.fault_at = self.split_at = self.restarted_at = -inf

    # Commands.

    def next_body(self, name: str, listed: bytes | None, ttl_s: float) -> bytes:
        """Return a body for a POST at a node: that of a new registration, or of a change of the listed one."""
        if listed is not None:
            before = Body.parse(listed)
            return bytes(Body(before.registration, before.changes + 1, ttl_s))
        self.begun[name] += 1
        return bytes(Body(f"{name}{self.begun[name]}", 0, ttl_s))

    def accepted(self, name: str, raw: bytes, now: float) -> None:
        body = Body.parse(raw)
        self.last_at = now
        self.ttl_s = max(self.ttl_s, body.ttl_s)
        if body.ttl_s < self.ttl_s_min:
            shorter_by_s, self.ttl_s_min = self.ttl_s_min - body.ttl_s, body.ttl_s
            self.obliged_until = {other: until - shorter_by_s for other, until in self.obliged_until.items()}
        if body.registration in self.ended or any(name not in end.known_to for end in self.ended.values()):
            return
        if now >= self.fault_at + 3 * INTERVAL_S:
            obliged = [other for other in self.names if self._is_obliged(other, now)]
            self.handed_over_until |= dict.fromkeys(obliged, now + 3 * INTERVAL_S)
        self.obliged_until[name] = now + self.ttl_s_min

    def deregistered(self, name: str, known: Iterable[bytes], now: float) -> None:
        """Note a deregistration at a node that had claims with these bodies. It ends their registrations."""
        registrations = {Body.parse(body).registration for body in known}
        self.ever_ended |= registrations
        self.ended |= {each: Ended(now, now + self.ttl_s + 8 * INTERVAL_S, {name}) for each in registrations}
        self.obliged_until.clear()
        self.handed_over_until.clear()

    # Faults and time.

    def disturbed(self, now: float) -> None:
        """Note that a link was cut or a node restarted."""
        self.fault_at = now
        self.handed_over_until.clear()

    def restarted(self, name: str, now: float) -> None:
        self.disturbed(now)
        self.restarted_at = self.split_at = now
        for of_nodes in (self.shown, self.lost, self.obliged_until):
            of_nodes.pop(name, None)
        for end in self.ended.values():
            end.known_to.discard(name)

    def passed(self, now: float, groups: list[set[str]], *, calm: bool, exchanged: bool) -> None:
        """Note that time passed. The nodes that are ready and connected are in one group.

        `calm` means that no link is cut, every node is ready, and nothing is late. `exchanged` means that rounds
        brought everything to all nodes of a group.
        """
        if groups != [{*self.names}]:
            self.split_at = now
        if not calm:
            self.fault_at = now
        for group in groups if exchanged else ():
            self._exchange(group, now)
        self._forget(now)
        self.check(now)

    def _exchange(self, group: set[str], now: float) -> None:
        until = max(self.obliged_until.get(name, -inf) for name in group)
        self.obliged_until |= dict.fromkeys(group, until)
        for end in self.ended.values():
            if end.known_to & group:
                end.known_to |= group
        bodies = {self.shown.get(name) for name in group}
        if len(group) == len(self.names) and len(bodies) == 1 and now > self.restarted_at + TTL_S + 4 * INTERVAL_S:
            # All claims follow the claim that all nodes list.
            self.ttl_s = max((body.ttl_s for body in bodies if body), default=self.ttl_s)

    def _forget(self, now: float) -> None:
        """Forget everything without effect, so that worlds with the same future are equal."""
        self.obliged_until = {name: until for name, until in self.obliged_until.items() if until > now}
        self.handed_over_until = {name: until for name, until in self.handed_over_until.items() if until > now}
        horizon = now - REMEMBERED_S
        self.ended = {each: end for each, end in self.ended.items() if end.at > horizon}
        faults = (self.fault_at, self.split_at, self.restarted_at)
        self.fault_at, self.split_at, self.restarted_at = (at if at > horizon else -inf for at in faults)
        if not self.shown and self.last_at <= horizon:
            self.last_at, self.ttl_s, self.ttl_s_min = -inf, TTL_S, TTL_S

    # Events and listings.

    def happened(self, name: str, event: ViewEvent, now: float) -> None:
        """Check an event against the events before it."""
        body, before = Body.parse(event.body), self.shown.pop(name, None)
        if event.change != "offline":
            self.shown[name] = body
        if event.change == "online":
            expect(before is None, "P5", f"{name} announces the key twice")
            is_restored = self.lost.pop(name, None) == body.registration
            expect(event.reason == "registered" or is_restored, "P5", f"{name} announces it as {event.reason}")
        elif event.change == "changed":
            expect(before not in (None, body), "P5", f"{name} announces a change that is none")
            expect(not self._goes_back(before, body, now), "P5", f"{name} goes back from {before} to {body}")
        else:
            expect(before == body, "P5", f"{name} takes back what it did not announce: {body}")
            expect(not self._is_obliged(name, now), "P2", f"{name} announces that what is alive is {event.reason}")
            self._check_reason(name, body.registration, event.reason, now)
        self._check_not_gone(name, now)

    def _goes_back(self, before: Body | None, body: Body, now: float) -> bool:
        """Return True if a change is undone without any fault."""
        # Claims that followed another registration of the key, which was deregistered, may end earlier than others.
        if before is None or before.registration != body.registration or self.ended:
            return False
        return body.changes < before.changes and self.fault_at == -inf and now < self.last_at + self.ttl_s_min

    def _check_reason(self, name: str, registration: str, reason: str, now: float) -> None:
        end = self.ended.get(registration)
        if reason == "deregistered":
            expect(registration in self.ever_ended, "P5", f"{name} says that {registration} was deregistered")
            if end is not None:
                end.known_to.add(name)
            return
        is_known = end is not None and name in end.known_to and now < end.kept_until
        expect(not is_known, "P5", f"{name} knows that {registration} was deregistered, and says {reason}")
        if reason == "node-lost":
            expect(self.fault_at > -inf, "P5", f"{name} says that a node is lost, without any fault")
            self.lost[name] = registration

    def check(self, now: float) -> None:
        """Check the listing at this moment."""
        for name in self.names:
            self._check_not_gone(name, now)
            if name in self.shown:
                expect(
                    now < self._gone_by(now), "P3", f"{name} lists the key {now - self.last_at} s after it was renewed"
                )
            else:
                expect(now >= self.obliged_until.get(name, -inf), "P2", f"{name} does not list the key, which is alive")

    def _gone_by(self, now: float) -> float:
        """Return the time from which on no node may list the key."""
        due_at = self.last_at + self.ttl_s
        if self.split_at == now:
            return self.last_at + 2 * TTL_S + 8 * INTERVAL_S
        if self.fault_at < due_at - 8 * INTERVAL_S:
            return due_at + INTERVAL_S
        relayed_s = INTERVAL_S if self.fault_at > due_at else 0.0
        known_at = max(due_at + relayed_s, self.split_at) + 5 * INTERVAL_S
        return max(known_at, self.restarted_at + TTL_S + 4 * INTERVAL_S)

    def _check_not_gone(self, name: str, now: float) -> None:
        body = self.shown.get(name)
        end = self.ended.get(body.registration) if body else None
        is_gone = end is not None and name in end.known_to and now < end.kept_until
        expect(not is_gone, "P4", f"{name} lists {body}, of which it knows that it was deregistered")

    def _is_obliged(self, name: str, now: float) -> bool:
        return now < max(self.obliged_until.get(name, -inf), self.handed_over_until.get(name, -inf))


def expect(holds: bool, promise: str, what: str) -> None:
    if not holds:
        raise Broken(promise, what)
