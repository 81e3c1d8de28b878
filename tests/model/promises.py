"""What must hold at each moment of a schedule: the promises P2 to P5 of the architecture, for one key.

`Promises` is told each command that a node accepts, each event that a node announces, and what happens to links and
nodes. It knows nothing of claims: a body names the registration that it belongs to, how often that was changed, and the
ttl, as in `a1 0 8`, the first registration at `a`, unchanged, with a ttl of eight seconds. It never demands more than
the architecture promises; where what a node can know is not certain it demands nothing:

P2  Who accepts a registration or renewal lists the key until the ttl is over, and so does whoever has exchanged
    everything with such a node since. A node that is obliged to list the key when another one accepts a renewal, to
    which it was connected for three intervals, is obliged for three more, if nothing is cut or restarted meanwhile.
    After a deregistration nobody is obliged by what was accepted before it, nor by what is accepted where the
    deregistration is not known.
P3  After the last acceptance the key is listed nowhere from the ttl + 1·I on; +5·I where there was a fault; where a
    node was restarted, ttl + 4·I after that. Nodes that are not connected have 2·ttl + 8·I.
P4  A node that knows of a deregistration does not list that registration, with any of its changes, for ttl + 8·I. It
    knows if it took it in itself, if it said so in an event, or if it exchanged everything with such a node since.
P5  Online and offline alternate; `deregistered` is the reason if and only if somebody did that, as far as a node knows;
    a node is lost, and a registration restored, only if something happened to a node or link. Without such faults no
    change is undone.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from attrs import define, frozen

from bender.core.timing import Timing
from bender.core.view import Event

#: The interval, and the ttls of registrations. Sweeps and rounds meet on multiples of it, which floats hold exactly.
I = 1.0  # noqa: E741 - the name it has in the architecture
TTL_S = 8.0
SHORT_TTL_S = 4.0
TIMING = Timing(interval_s=I, ttl_s=TTL_S)

KEY = "registration/web/1.0/10.0.0.5/80"

#: A fault that is longer ago has no effect any more.
FAULT_REMEMBERED_S = 4 * TTL_S + 8 * I


class Broken(Exception):
    """A promise is broken: which one, and how it shows."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(promise, what)
        self.promise = promise
        self.what = what


@frozen
class Body:
    """What a body says of itself."""

    registration: str
    changes: int
    ttl_s: float

    @classmethod
    def parse(cls, body: bytes) -> Body:
        registration, changes, ttl_s = body.decode().split()
        return cls(registration, int(changes), float(ttl_s))

    def __str__(self) -> str:
        return f"{self.registration} with {self.changes} changes and a ttl of {self.ttl_s:g} s"

    def __bytes__(self) -> bytes:
        return f"{self.registration} {self.changes} {self.ttl_s:g}".encode()


@define
class Ended:
    """A deregistration: when, until when it is remembered for certain, and the nodes that are known to know of it."""

    at: float
    kept_until: float
    known_to: set[str]


class Promises:
    """What is expected of the nodes of these names."""

    def __init__(self, names: str) -> None:
        self.names = names
        self.begun = dict.fromkeys(names, 0)
        self.shown: dict[str, Body] = {}
        self.lost: dict[str, str] = {}
        self.ended: dict[str, Ended] = {}
        self.ever_ended: set[str] = set()
        # Until when each node is obliged to list the key, and for what it has to trust others to hear of.
        self.obliged_until: dict[str, float] = {}
        self.handed_over_until: dict[str, float] = {}
        self.last_at = -inf
        # The longest ttl that a claim can have now, and the shortest that one ever had.
        self.ttl_s = self.ttl_s_min = TTL_S
        self.fault_at = self.split_at = self.restarted_at = -inf

    # Commands.

    def next_body(self, name: str, listed: bytes | None, ttl_s: float) -> bytes:
        """Return a body for a POST at a node: that of a new registration, or a change of the listed one."""
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
            shorter_by_s = self.ttl_s_min - body.ttl_s
            self.ttl_s_min = body.ttl_s
            self.obliged_until = {name: until - shorter_by_s for name, until in self.obliged_until.items()}
        if body.registration in self.ended or any(name not in end.known_to for end in self.ended.values()):
            return
        if now >= self.fault_at + 3 * I:
            obliged = [other for other in self.names if self._is_obliged(other, now)]
            self.handed_over_until |= dict.fromkeys(obliged, now + min(3 * I, self.ttl_s_min))
        self.obliged_until[name] = now + self.ttl_s_min

    def deregistered(self, name: str, known: Iterable[bytes], now: float) -> None:
        """Note a deregistration at a node that had claims with these bodies: it ends their registrations."""
        registrations = {Body.parse(body).registration for body in known}
        self.ever_ended |= registrations
        self.ended |= {each: Ended(now, now + self.ttl_s + 8 * I, {name}) for each in registrations}
        self.obliged_until.clear()
        self.handed_over_until.clear()

    # Faults and time.

    def restarted(self, name: str, now: float) -> None:
        self.disturbed(now)
        self.restarted_at = self.split_at = now
        for of_nodes in (self.shown, self.lost, self.obliged_until):
            of_nodes.pop(name, None)
        for end in self.ended.values():
            end.known_to.discard(name)

    def disturbed(self, now: float) -> None:
        """Note that a link was cut or a node restarted."""
        self.fault_at = now
        self.handed_over_until.clear()

    def passed(self, now: float, groups: list[set[str]], *, calm: bool, exchanged: bool) -> None:
        """Note that time passed. The nodes that are ready and connected are in one group.

        `calm` says that no link is cut and nothing is late, `exchanged` that rounds brought everything to all of a
        group.
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
        if group == {*self.names} and len(bodies) == 1 and now > self.restarted_at + TTL_S + 4 * I:
            # All claims follow the one that all list.
            self.ttl_s = max((body.ttl_s for body in bodies if body), default=self.ttl_s)

    def _forget(self, now: float) -> None:
        """Forget what has no effect any more, so that equal futures are equal states."""
        for until in (self.obliged_until, self.handed_over_until):
            for name in [name for name in until if until[name] <= now]:
                del until[name]
        for registration, end in [*self.ended.items()]:
            if now > end.at + 3 * TTL_S + 8 * I:
                del self.ended[registration]
        horizon = now - FAULT_REMEMBERED_S
        faults = (self.fault_at, self.split_at, self.restarted_at)
        self.fault_at, self.split_at, self.restarted_at = (at if at > horizon else -inf for at in faults)
        if not self.shown and now > self.last_at + 2 * TTL_S + 8 * I:
            self.last_at, self.ttl_s, self.ttl_s_min = -inf, TTL_S, TTL_S

    # What is announced and listed.

    def happened(self, name: str, event: Event, now: float) -> None:
        """Check an event against those before it."""
        body, before = Body.parse(event.body), self.shown.get(name)
        if event.what == "online":
            self._check(before is None, "P5", f"{name} announces the key twice")
            is_restored = self.lost.pop(name, None) == body.registration
            self._check(event.reason == "registered" or is_restored, "P5", f"{name} announces it as {event.reason}")
            self.shown[name] = body
        elif event.what == "changed":
            self._check(before not in (None, body), "P5", f"{name} announces a change that is none")
            self._check(not self._goes_back(before, body, now), "P5", f"{name} goes back from {before} to {body}")
            self.shown[name] = body
        else:
            self._check(before == body, "P5", f"{name} takes back what it did not announce: {body}")
            del self.shown[name]
            self._check(not self._is_obliged(name, now), "P2", f"{name} drops what is alive as {event.reason}")
            self._check_reason(name, body.registration, event.reason, now)
        self._check_not_gone(name, now)

    def _goes_back(self, before: Body | None, body: Body, now: float) -> bool:
        """Whether a change is undone without any fault."""
        if before is None or before.registration != body.registration or body.registration in self.ended:
            return False
        return body.changes < before.changes and self.fault_at == -inf and now < self.last_at + self.ttl_s_min

    def _check_reason(self, name: str, registration: str, reason: str, now: float) -> None:
        end = self.ended.get(registration)
        if reason == "deregistered":
            self._check(registration in self.ever_ended, "P5", f"{name} says that {registration} was deregistered")
            if end is not None:
                end.known_to.add(name)
            return
        known = end is not None and name in end.known_to and now < end.kept_until
        self._check(not known, "P5", f"{name} knows that {registration} was deregistered, and says {reason}")
        if reason == "node-lost":
            self._check(self.fault_at > -inf, "P5", f"{name} says that a node is lost, without any fault")
            self.lost[name] = registration

    def check(self, now: float) -> None:
        """Check what is listed at this moment."""
        for name in self.names:
            self._check_not_gone(name, now)
            is_silent = name not in self.shown and now < self.obliged_until.get(name, -inf)
            self._check(not is_silent, "P2", f"{name} does not list the key, which is alive")
            is_late = name in self.shown and now >= self.gone_by(now)
            self._check(not is_late, "P3", f"{name} lists the key {now - self.last_at:g} s after its last renewal")

    def gone_by(self, now: float) -> float:
        """Return the time from which on nobody may list the key, if nobody renews it."""
        due_at = self.last_at + self.ttl_s
        if self.split_at == now:
            return self.last_at + 2 * TTL_S + 8 * I
        if self.fault_at < due_at - 8 * I:
            return due_at + I
        return max(max(due_at, self.split_at) + 5 * I, self.restarted_at + TTL_S + 4 * I)

    def _is_obliged(self, name: str, now: float) -> bool:
        return now < max(self.obliged_until.get(name, -inf), self.handed_over_until.get(name, -inf))

    def _check_not_gone(self, name: str, now: float) -> None:
        body = self.shown.get(name)
        end = self.ended.get(body.registration) if body else None
        is_gone = end is not None and name in end.known_to and now < end.kept_until
        self._check(not is_gone, "P4", f"{name} lists {body}, of which it knows that it was deregistered")

    @staticmethod
    def _check(holds: bool, promise: str, what: str) -> None:
        if not holds:
            raise Broken(promise, what)
