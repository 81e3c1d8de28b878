"""The nodes and the network of a recorded history, up to the moment that is judged."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from attrs import define, field

from bender.core.timing import Timing
from tests.faults import facts
from tests.faults.judge.knowledge import Leaks, ObservedLife, ObservedWeather
from tests.faults.judge.readiness import Readiness
from tests.simulation.oracle.history import History
from tests.simulation.weather import Cut

#: The largest packet loss for which the bounds hold: TCP makes a fifth of all exchanges late at this loss.
LOSS_MAX = 0.02

#: A span in which a node waited for a processor longer than this, in intervals, is a pause.
STARVED = 0.6

#: The exit statuses of a node that leaves: 0, or the signal, which twistd repeats after everything is done.
LEFT = (0, -15)

#: A pause of this many intervals may be noticed by the node; a pause of 1.5 intervals is always noticed.
NOTICED = 1.2


class Replayed:
    """The moment that is judged."""

    def __init__(self) -> None:
        self.now = -inf


@define(eq=False)
class ObservedNode:
    """The last observations of one node."""

    name: str
    life: ObservedLife | None = None
    #: True if a watcher receives every event now; the next field is the time of its last disconnection.
    synced: bool = False
    cut_off_at: float = -inf
    is_paused: bool = False
    #: The name of the signal that was sent to end the node.
    ends_by: str = ""
    #: The hindrances of the node now.
    hindered_by: set[str] = field(factory=set)
    looked: facts.StatusAnswer | None = None
    #: The time of the last request to which the node did not answer.
    refused_at: float = -inf
    cursor: str = ""
    prefix: str = ""


class ObservedCluster:
    """Applies facts about nodes and the network to the history."""

    def __init__(self, setting: facts.SeedTerms, log: Callable[[str], None]) -> None:
        self._time = Replayed()
        self._interval_s = setting.interval_s
        self.weather = ObservedWeather(setting.interval_s)
        self.leaks = Leaks()
        timing = Timing(setting.interval_s, setting.ttl_s)
        self.history = History(self._time, timing, 0.0, self.weather, log)
        self.readiness = Readiness(self.history)
        self.nodes = {name: ObservedNode(name) for name in setting.nodes}
        self._cuts: dict[str, Cut] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []

    @property
    def now(self) -> float:
        return self._time.now

    def move(self, now: float) -> None:
        """Change the moment that is judged."""
        self._time.now = self.weather.now = now
        self.weather.changed()

    def until(self, at: float) -> None:
        """Move to a later moment, with all delayed calls up to then."""
        due = sorted((each for each in self._later if each[0] <= at), key=lambda each: each[0])
        self._later = [each for each in self._later if each[0] > at]
        for then, call in due:
            self.move(then)
            call()
        self.move(at)

    def lives(self) -> dict[str, ObservedLife]:
        """Return the lives of running nodes."""
        return {name: node.life for name, node in self.nodes.items() if node.life is not None}

    def take(self, fact: facts.Fact, *, begins: bool) -> None:
        """Apply a fact about a node or the network."""
        match fact:
            case facts.Cut():
                self._cut(fact, begins=begins)
            case facts.Healed():
                self._healed(fact, begins=begins)
            case facts.Starved():
                self._starved(fact, begins=begins)
            case facts.NetworkQuality():
                self._rough(fact)
            case _:
                self._node_changed(fact)

    # Nodes.

    def _node_changed(self, fact: facts.Fact) -> None:
        match fact:
            case facts.Started():
                self._started(fact)
            case facts.FirstAnswer():
                life = self.nodes[fact.node].life
                if life is not None and life.answered_at == inf:
                    life.answered_at = life.since = fact.at
                    life.may_answer_at = max(life.born_at, self.nodes[fact.node].refused_at)
                    self.weather.began(fact.node, life, fact.at)
            case facts.Leaving():
                self._left(fact)
            case facts.Killed():
                self.nodes[fact.node].ends_by = "SIGKILL"
                self.weather.ended(fact.node, fact.at)
                self.readiness.down.setdefault(fact.node, []).append([fact.at, inf])
            case facts.Ended():
                self._ended(fact)
            case facts.Paused():
                self._pause(self.nodes[fact.node])
            case facts.Resumed():
                self._resume(self.nodes[fact.node])
            case facts.Hindered():
                self._hindered(fact)
            case facts.Relieved():
                self._relieved(fact)

    def _hindered(self, fact: facts.Hindered) -> None:
        self.nodes[fact.node].hindered_by.add(fact.what)
        self.weather.hindered(fact.node, fact.at)

    def _relieved(self, fact: facts.Relieved) -> None:
        node = self.nodes[fact.node]
        node.hindered_by.discard(fact.what)
        if not (node.is_paused or node.hindered_by):
            self.weather.relieved(fact.node, fact.at)
        if node.life is None or node.life.answered_at == inf or node.is_paused or node.hindered_by:
            return
        if node.life.ended_at == inf and not node.life.left:
            self.weather.resumed(node.name, node.life, fact.at)
            # The node may not have noticed a pause, but it may take as much time as after a pause.
            if not node.life.starting:
                self.history.pause_noticed(node.life, fact.at, 0.0)

    def _started(self, fact: facts.Started) -> None:
        lives, node = self.history.lives, self.nodes[fact.node]
        life = ObservedLife(len(lives), fact.node, fact.at, self.weather, self.leaks, self._interval_s)
        life.others = {each.number: each for each in lives}
        for other in lives:
            assert isinstance(other, ObservedLife)
            other.others[life.number] = life
        self.history.life_began(life)
        self.nodes[fact.node] = ObservedNode(fact.node, life, cut_off_at=node.cut_off_at)
        self.leaks.began(life, fact.at)
        for span in self.readiness.down.get(fact.node, ()):
            span[1] = min(span[1], fact.at)

    def _left(self, fact: facts.Leaving) -> None:
        self.nodes[fact.node].ends_by = "SIGTERM"
        life = self.nodes[fact.node].life
        if life is not None:
            life.left = True
            self.weather.left(fact.node, fact.at)
            self.readiness.left[fact.node] = fact.at

    def _ended(self, fact: facts.Ended) -> None:
        node = self.nodes[fact.node]
        life = node.life
        if life is None:
            return
        if (not node.ends_by and "no memory" not in node.hindered_by) or (
            node.ends_by == "SIGTERM" and fact.status not in LEFT
        ):
            cause = f"after {node.ends_by}" if node.ends_by else "by itself"
            self.history.fail("end", f"{life} ended {cause} with status {fact.status}")
        if fact.node not in self.readiness.down or self.readiness.down[fact.node][-1][1] < inf:
            self.readiness.down.setdefault(fact.node, []).append([fact.at, inf])
        self.history.life_ended(life)
        self.weather.ended(fact.node, fact.at)
        silent_at = self.leaks.ended(life, fact.at)
        self._later.append((silent_at, lambda: self.leaks.silenced(life, silent_at)))
        self.nodes[fact.node] = ObservedNode(fact.node)

    def _pause(self, node: ObservedNode) -> None:
        if node.life is None:
            return
        node.is_paused = True
        node.life.pause(self.now)
        self.weather.paused(node.name, self.now)
        self.readiness.down.setdefault(node.name, []).append([self.now, inf])

    def _resume(self, node: ObservedNode) -> None:
        life, now = node.life, self.now
        if life is None or life.pausing_since is None:
            return
        node.is_paused, paused_at = False, life.pausing_since
        life.pauses.append((paused_at, now))
        life.pausing_since = None
        if not node.hindered_by:
            self.weather.resumed(node.name, life, now)
        self.leaks.resumed(life, paused_at, now)
        self.readiness.down[node.name][-1][1] = now
        if now - paused_at > NOTICED * self._interval_s:
            self.history.pause_noticed(life, paused_at, now - paused_at)

    def _starved(self, fact: facts.Starved, *, begins: bool) -> None:
        """Treat a long wait for a processor as a pause."""
        for name, late_s in fact.nodes.items():
            node = self.nodes[name]
            if late_s < STARVED * self._interval_s or node.life is None:
                continue
            if begins and not node.is_paused:
                self.history.counts["starved nodes"] += 1
                self._pause(node)
            elif not begins and node.is_paused:
                self._resume(node)

    # The network.

    def _cut(self, fact: facts.Cut, *, begins: bool) -> None:
        if begins:
            cut = self._cuts[fact.name] = Cut(frozenset(fact.pairs), fact.requests)
            self.weather.cut(cut, self.now)
        elif not fact.requests:
            self.leaks.stop(fact.pairs, self.now)
            for a, b in fact.pairs:
                if (b, a) in fact.pairs:
                    self.readiness.apart.setdefault(frozenset((a, b)), []).append([fact.at, inf])

    def _healed(self, fact: facts.Healed, *, begins: bool) -> None:
        cut = self._cuts[fact.name]
        if not begins:
            self.weather.heal(cut, self.now)
            return
        if not cut.initiating:
            self.leaks.open(cut.pairs, self.now)
        for a, b in cut.pairs:
            for span in self.readiness.apart.get(frozenset((a, b)), ()):
                span[1] = min(span[1], fact.began_at)

    def _rough(self, fact: facts.NetworkQuality) -> None:
        """Note that messages get lost, doubled or late, or that this has ended, which takes effect a moment later."""
        now = self.now
        if fact.loss or fact.delay_s or fact.doubling:
            self.weather.roughness(now, inf)
            if fact.loss > LOSS_MAX:
                self.weather._begin("loss", "unlucky", now)
        else:
            self.weather.stop_roughness(now + 2 * self._interval_s)
            self.weather._end("loss", now, 4 * self._interval_s)
