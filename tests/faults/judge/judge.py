"""The judge: replays the facts of a seed, and checks them with the simulator's oracle.

The judge and the simulator share `History`, `Record`, `Unit`, `Life`, `Weather` and the checkers of P1 to P5, with
their bounds and their conditions. Only the sources differ: knowledge follows from connections (`knowledge`), requests
have a begin and an end (`records`), and P7 and P8 have their own observers (`settings`, `readiness`). P6 follows from
the checks of P2 and P3, and from the end of a seed, at which nodes must have no registrations. The guard is off.

Observations are late. So a promise only counts as broken if it is broken at the moment of an observation and at all
moments during `slack_s` before it. This time is measured (`timeline.Lateness`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from math import ceil, inf

from attrs import frozen

from bender.core.registration_status import USUAL
from bender.core.view import ViewEvent
from tests.faults import facts
from tests.faults.judge.cluster import ObservedCluster, ObservedNode
from tests.faults.judge.knowledge import ObservedLife
from tests.faults.judge.records import ObservedRecord, Units
from tests.faults.judge.settings import Settings
from tests.faults.judge.timeline import EventTimes, Lateness, Moment, moments, overloaded
from tests.simulation.oracle.history import Broken, Delay
from tests.simulation.oracle.p1_convergence import Convergence
from tests.simulation.oracle.p2_no_false_offline import NoFalseOffline
from tests.simulation.oracle.p3_nothing_dead_stays import NothingDeadStays
from tests.simulation.oracle.p4_gone_is_gone import GoneIsGone
from tests.simulation.oracle.p5_truthful_events import ENDED, TruthfulEvents

#: The largest lateness, in intervals, with which the delay of an end is measured.
BUSY = 0.5

#: The steps, in intervals, at which a promise must be broken to count as broken for a whole span.
STEP = 0.25


@frozen
class _Observed:
    """The properties of a node that the checker of P1 reads."""

    life: ObservedLife
    digest: int
    name: str = ""
    serving: bool = True
    is_ready: bool = True

    def lacks_pages(self) -> bool:
        return False


@frozen
class Verdict:
    """The results of a judge: broken promises, delays with their bounds, and counts of the checked facts."""

    broken: list[Broken]
    delays: list[Delay]
    counts: Counter[str]
    worst_late_s: float
    #: The numbers of intervals after which nodes were ready after a start or a pause.
    waits: list[float]


class Judge:
    """Replays the facts of one seed."""

    def __init__(self, recorded: Iterable[facts.Fact], log: Callable[[str], None] = lambda _: None) -> None:
        known = [*recorded]
        setting = next(fact for fact in known if isinstance(fact, facts.SeedTerms))
        overloads = [*overloaded(known, setting.interval_s)]
        self._facts = sorted([*known, *overloads], key=lambda fact: fact.at)
        self._cluster = ObservedCluster(setting, log)
        self.history = self._cluster.history
        self._interval_s = setting.interval_s
        self._overloaded_s = sum((fact.at if isinstance(fact, facts.Relieved) else -fact.at) for fact in overloads)
        self._lateness = Lateness(self._facts, setting.interval_s)
        self._events = EventTimes(self._facts)
        self._units = Units(fact for fact in self._facts if isinstance(fact, facts.ClientRequest))
        self._p1 = Convergence(self.history)
        self._p2 = NoFalseOffline(self.history)
        self._p3 = NothingDeadStays(self.history)
        self._p4 = GoneIsGone(self.history, self._p3)
        self._p5 = TruthfulEvents(self.history)
        self._p7 = Settings(self.history)
        self._p8 = self._cluster.readiness
        #: Requests without an answer, each with its node's life and its record.
        self._doubts: list[_Doubt] = []

    def run(self) -> Verdict:
        """Judge all facts."""
        for moment in moments(self._facts, self._interval_s / 2):
            self._cluster.until(moment.at)
            self._take(moment)
        self._check_end()
        history = self.history
        counts = Counter(history.counts)
        counts["lives"] = len(history.lives)
        counts["node-seconds"] = sum(
            int(min(life.ended_at, self._facts[-1].at) - life.born_at) for life in history.lives
        )
        counts["node-seconds of overload"] = int(self._overloaded_s)
        counts["keys"] = len(history.records)
        counts["keys with a request in doubt"] = sum(
            isinstance(record, ObservedRecord) and record.doubtful for record in history.records.values()
        )
        return Verdict(history.broken, history.delays, counts, self._lateness.worst_s, self._p8.waits)

    def _slack_s(self) -> float:
        return self._lateness.slack_s(self._cluster.now)

    def _confirmed(self, check: Callable[[], object], more_s: float = 0.0) -> None:
        """Count a promise as broken only if it was broken during the whole time by which an observation may be late."""
        broken, now = self.history.broken, self._cluster.now
        before = len(broken)
        check()
        if len(broken) == before:
            return
        found = broken[before:]
        late_s = self._slack_s() + more_s
        steps = ceil(late_s / (STEP * self._interval_s))
        for number in range(1, steps + 1):
            del broken[before:]
            self._cluster.move(now - late_s * number / steps)
            check()
            if len(broken) == before:
                break
        else:
            broken[before:] = found
        self._cluster.move(now)

    def _take(self, moment: Moment) -> None:
        fact = moment.fact
        if fact is None:
            self._look()
            return
        begins = moment.phase == "begins"
        match fact:
            case facts.ClientRequest():
                (self._request_sent if begins else self._request_answered)(fact)
            case facts.ReceivedEvent():
                self._event_received(fact)
            case facts.Synced():
                self._synced(fact)
            case facts.WatcherDisconnected():
                node = self._cluster.nodes[fact.node]
                if node.synced:
                    node.synced, node.cut_off_at = False, fact.at
            case facts.StatusAnswer():
                self._status_answered(fact)
            case facts.ListAnswer():
                self._list_answered(fact)
            case facts.HistoriesAnswer():
                life = self._cluster.nodes[fact.node].life
                if life is not None and not life.away:
                    self._confirmed(partial(self._p7.check_histories, life, fact, fact.sent_at))
            case _:
                self._cluster.take(fact, begins=begins)
                if isinstance(fact, facts.Started):
                    self._p7.node_began(fact.node)
                elif isinstance(fact, facts.Ended) and not self._cluster.lives():
                    self._p7.all_ended()

    # Requests.

    def _record(self, key: str) -> ObservedRecord:
        record = self.history.records.get(key)
        if record is None:
            record = self.history.records[key] = ObservedRecord(key, 8 * self._interval_s)
        assert isinstance(record, ObservedRecord)
        return record

    def _life_of(self, name: str) -> ObservedLife | None:
        return self._cluster.nodes[name].life

    def _request_sent(self, request: facts.ClientRequest) -> None:
        """Note that a request was sent, and may have an effect from now on."""
        life = self._life_of(request.node)
        if request.operation == "configure":
            self._p7.sent(request)
            return
        if life is None or not _may_have_an_effect(request):
            return
        record = self._record(request.key)
        if request.operation == "deregister":
            self._end(life, record, request, request.at if request.status is not None else inf)
        elif request.operation == "register" or record.accepted:
            record.may_accept(life, request.ttl_s or record.ttl_s_max or self.history.ttl_s, self._cluster.now)
        if request.status is None:
            record.doubt()
            self._doubts.append(_Doubt(request, life, record))

    def _end(self, life: ObservedLife, record: ObservedRecord, request: facts.ClientRequest, certain_at: float) -> None:
        shown = life.shown.get(record.key)
        known = record.units.get(shown) if shown is not None else None
        latest = record.latest[0] if record.latest is not None else None
        unit = known or latest or next(reversed(record.units.values()), None)
        if unit is None:
            return
        if known is None:
            certain_at = inf
        self.history.counts["deregistered"] += 1
        reason = request.reason or "deregistered"
        record.end(life, [unit.body], self._cluster.now, reason, certain_at)
        record.may_end(life, unit, self._cluster.now, reason)

    def _request_answered(self, request: facts.ClientRequest) -> None:
        """Note the effect of a request that was answered, or that its effect is unknown."""
        life = self._life_of(request.node)
        if life is None or request.status in (None, 0, 503):
            return
        self._became_ready(life, request.sent_at)
        if request.operation == "configure":
            if request.status in (200, 201):
                self._p7.accepted(life, request)
            return
        record = self._record(request.key)
        if request.operation == "renew" and request.status == 404:
            self.history.counts["unknown"] += 1
            self._confirmed(partial(self._p2.check_is_shown, life, record), request.at - request.sent_at)
        elif request.operation in ("register", "renew") and request.status in (200, 201):
            self._request_accepted(life, record, request)

    def _request_accepted(self, life: ObservedLife, record: ObservedRecord, request: facts.ClientRequest) -> None:
        self.history.counts["accepted"] += 1
        self.history.commands[life] += 1
        unit = record.latest[0] if record.latest is not None else None
        if request.body:
            unit = self._units.unit(record, request.body, self._cluster.nodes, self._cluster.now)
        if unit is not None:
            record.accept_answered(life, unit, request.sent_at, self._cluster.now)
        else:
            record.may_accept(life, record.ttl_s_max, self._cluster.now)

    # Events.

    def _event_received(self, fact: facts.ReceivedEvent) -> None:
        node = self._cluster.nodes[fact.node]
        life = node.life
        if life is None:
            return
        self.history.counts[fact.event] += 1
        if fact.snapshot:
            self._in_snapshot(node, life, fact)
            return
        if fact.cursor == node.cursor or (node.prefix and not fact.cursor.startswith(node.prefix)):
            self.history.fail("P5", f"{life} announces {fact.key} at {fact.cursor} after {node.cursor}")
        node.cursor, node.prefix = fact.cursor, f"{fact.life}-"
        self._became_ready(life, fact.at - self._slack_s())
        event = ViewEvent(fact.event, fact.key, fact.body.encode(), fact.reason, USUAL)  # type: ignore[arg-type]
        life.events.append(event)
        if not fact.key.startswith("registration/"):
            self._p5.check_setting_changed(life, event)
            self._p7.check_announced(life, fact)
            return
        late_s = 0.0 if node.synced else fact.at - node.cut_off_at
        record = self._record_of_event(life, event)
        if record is None:
            return
        if event.change == "online":
            self._online(life, record, event, late_s)
        elif event.change == "changed":
            self._changed(life, record, event, late_s)
        else:
            self._offline(life, record, event, late_s)

    def _record_of_event(self, life: ObservedLife, event: ViewEvent) -> ObservedRecord | None:
        record = self.history.records.get(event.key)
        if isinstance(record, ObservedRecord):
            self._units.unit(record, event.body.decode(), self._cluster.nodes, self._cluster.now)
        return record if self._p5.check_body(life, event) is record and isinstance(record, ObservedRecord) else None

    def _online(self, life: ObservedLife, record: ObservedRecord, event: ViewEvent, late_s: float) -> None:
        registration = record.units[event.body].registration
        shown = life.shown.get(event.key)
        self._p5.check_online(life, record, event)
        self._confirmed(partial(self._p4.check_online, life, record, registration), late_s)
        if shown is not None:
            life.shown[event.key] = event.body

    def _changed(self, life: ObservedLife, record: ObservedRecord, event: ViewEvent, late_s: float) -> None:
        old = self._p5.check_changed(life, event)
        if old is not None:
            registration = record.units[event.body].registration
            self._confirmed(partial(self._p4.check_announced, life, record, registration), late_s)
            if old in record.units:
                self._confirmed(partial(self._p5.check_goes_on, life, record, event, old), late_s)

    def _offline(self, life: ObservedLife, record: ObservedRecord, event: ViewEvent, late_s: float) -> None:
        unit = record.units[event.body]
        self._p5.check_offline(life, event)
        if not (life.away or unit.registration.ends):
            self._confirmed(partial(self._p3.check_was_shown, life, record), late_s)
        self._confirmed(partial(self._p2.check_taken_back, life, record), late_s)
        if event.reason in ENDED or not record.doubtful:
            self._confirmed(partial(self._p5.check_reason, life, record, unit, event), late_s)
        life.ghosts.pop(event.key, None)
        life.taken_back[event.key] = (self._cluster.now, event.reason, event.body)
        self.history.counts[f"offline: {event.reason}"] += 1
        if event.reason in ENDED:
            life.said_deregistered.add(unit.registration)
        elif not record.was_ended and not record.doubtful:
            if self._slack_s() + late_s > BUSY * self._interval_s:
                self.history.counts["ends on a busy machine"] += 1
            else:
                self._p3.note_delay(life, record)

    def _in_snapshot(self, node: ObservedNode, life: ObservedLife, fact: facts.ReceivedEvent) -> None:
        """Note an object in the list that a node sends at the first contact."""
        body = fact.body.encode()
        if not fact.key.startswith("registration/"):
            life.shown_settings[fact.key] = body
            return
        record = self._record_of_event(life, ViewEvent("online", fact.key, body, "registered", USUAL))
        if record is not None:
            life.shown[fact.key], life.states[fact.key] = body, "up"
            registration = record.units[body].registration
            self._confirmed(partial(self._p4.check_shown, life, record, registration))
            self._confirmed(partial(self._p3.check_shown, life, record))

    def _synced(self, fact: facts.Synced) -> None:
        node = self._cluster.nodes[fact.node]
        if node.life is None:
            return
        if fact.reset and node.prefix == f"{fact.life}-":
            self.history.fail("P5", f"{node.life} no longer has the events after {node.cursor}")
        node.synced, node.prefix = True, f"{fact.life}-"

    # Observations.

    def _status_answered(self, fact: facts.StatusAnswer) -> None:
        node = self._cluster.nodes[fact.node]
        node.looked = fact if fact.ready is not None else None
        if fact.ready is None:
            node.refused_at = fact.sent_at
        if node.life is not None and fact.ready and fact.sent_at > node.life.since:
            self._became_ready(node.life, fact.sent_at)

    def _became_ready(self, life: ObservedLife, asked_at: float) -> None:
        """Note that a node is ready, as shown by an answer to a request that was sent at `asked_at`."""
        if not life.away or asked_at <= life.since or life.answered_at == inf:
            return
        busy = self._slack_s() > BUSY * self._interval_s
        self._p8.check_early(life, [*self._cluster.nodes], self._cluster.now, busy=busy)
        self.history.became_ready(life)
        life.starting = False

    def _list_answered(self, fact: facts.ListAnswer) -> None:
        """Compare a list with the events of the node, unless there were events at about the same time."""
        node, slack_s = self._cluster.nodes[fact.node], self._slack_s()
        life = node.life
        if life is None or not node.synced or life.away:
            return
        if self._events.any_between(fact.node, fact.sent_at - slack_s, fact.at + slack_s):
            return
        self.history.counts["lists compared"] += 1
        shown = {key: body.decode() for key, body in life.shown.items()}
        if shown != fact.bodies:
            differing = sorted(key for key in shown | fact.bodies if shown.get(key) != fact.bodies.get(key))
            self.history.fail("P5", f"{life} lists something else than it announced: {differing[:3]}")

    def _look(self) -> None:
        """Check the state of all nodes."""
        now, slack_s = self._cluster.now, self._slack_s()
        self._settle_doubts(now)
        self.history.note_who_knows()
        for node in self._cluster.nodes.values():
            life = node.life
            if life is None or node.is_paused or node.hindered_by or life.left:
                continue
            if life.away and life.answered_at < inf:
                self._p8.check_late(life, slack_s + 2 * self._interval_s)
            if node.synced and not life.away:
                for record in self.history.records.values():
                    self._check_record(life, record)
        self._p1.check_equal(self._looked_at(now))  # type: ignore[arg-type]

    def _looked_at(self, now: float) -> list[_Observed]:
        found = []
        for node in self._cluster.nodes.values():
            looked, life = node.looked, node.life
            if looked is None or life is None or looked.at < now - 1.5 * self._interval_s or life.away:
                continue
            if not (node.is_paused or node.hindered_by or life.left):
                found.append(_Observed(life, int(looked.digest, 16), node.name))
        return found

    def _check_record(self, life: ObservedLife, record: object) -> None:
        assert isinstance(record, ObservedRecord)
        body = life.shown.get(record.key)
        if body is None:
            self._confirmed(partial(self._p2.check_is_shown, life, record))
            return
        unit = record.units.get(body)
        if unit is None:
            return
        if self._p2.obliged(life, record) is not None:
            self.history.counts["obligations to list"] += 1
        self._confirmed(partial(self._p4.check_shown, life, record, unit.registration))
        if self._cluster.now >= record.last_at + record.ttl_s_min:
            self._confirmed(partial(self._p3.check_shown, life, record))
        if self._cluster.now >= record.last_at + record.ttl_s_max:
            self._confirmed(partial(self._p4.check_ghost, life, record))
        if len(record.units) > 1 and not record.doubtful:
            self._confirmed(partial(self._p2.check_not_replaced, life, record, unit))

    def _settle_doubts(self, now: float) -> None:
        """Apply requests without an answer at every moment at which they may still have an effect."""
        left = []
        for doubt in self._doubts:
            over_at = doubt.over_at(self._interval_s)
            if doubt.request.operation == "deregister":
                if now >= over_at:
                    self._end(doubt.life, doubt.record, doubt.request, inf)
            elif doubt.record.accepted:
                doubt.record.may_accept(doubt.life, doubt.request.ttl_s, now)
            if now < over_at:
                left.append(doubt)
        self._doubts = left

    # The end.

    def _check_end(self) -> None:
        """Check that no registration is left, and that all nodes have the same settings."""
        if self.history.broken:
            return
        for node in self._cluster.nodes.values():
            if node.life is None or node.looked is None:
                self.history.fail("end", f"{node.name} does not run, or does not answer, in the end")
            elif node.life.shown or (node.looked.held and len(self.history.lives) == len(self._cluster.nodes)):
                # Ends are kept as long as a ledger of a node that died may have the ended registration.
                left = f"lists {sorted(node.life.shown)[:3]} and holds {node.looked.held} claims"
                self.history.fail("memory", f"{node.life} {left} in the end")
        self._p7.check_end([*self._cluster.nodes])


@frozen
class _Doubt:
    """A request without an answer, which may still have an effect."""

    request: facts.ClientRequest
    life: ObservedLife
    record: ObservedRecord

    def over_at(self, interval_s: float) -> float:
        """Return the moment from which on the request can have no effect, because the node has read it or has ended."""
        life = self.life
        if life.ended_at < inf:
            return life.ended_at
        if life.pausing_since is not None or life.away:
            return inf
        resumed_at = max((end for begin, end in life.pauses if end > self.request.sent_at), default=-inf)
        return max(self.request.at, resumed_at, life.ready_at) + interval_s


def _may_have_an_effect(request: facts.ClientRequest) -> bool:
    return request.status is None or request.status in (200, 201, 204)


def by_promise(broken: Iterable[Broken]) -> dict[str, list[Broken]]:
    found: dict[str, list[Broken]] = defaultdict(list)
    for each in broken:
        found[each.promise].append(each)
    return found
