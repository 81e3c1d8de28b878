"""The knowledge that nodes must have, and may have, of each other, according to observations from outside.

The simulator computes both from the messages that its network delivered. Real messages are not observed, so both are
computed from the record of running nodes and of possible connections:

- `knows` is the last moment of another life up to which all its knowledge must be here. This is the promise itself:
  knowledge reaches every node that was connected all the time within 2 rounds (P1: 2.2·I, and 4.5·I with loss), after
  the time of a first contact after a start, a pause or a heal (`CONTACT`).
- `learned_of` and `counts_from` are the last moment from which any news may have arrived, and the latest time at which
  a heartbeat may count here. Both assume that all news arrived at once wherever packets could pass in any direction
  (`Leaks`).

So the oracle binds less often than in the simulator, and never by a guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import inf

from attrs import define, field

from tests.simulation.knowledge import Life, May
from tests.simulation.weather import Disturbance, Kind, Weather

#: Intervals until the other nodes have all knowledge of a node: the bounds of P1, without and with loss.
NEWS, NEWS_ROUGH = 2.2, 4.5

#: Intervals until the first exchange after a start, a pause or a heal: readiness takes 5, and a request that was sent
#: before a heal has a time limit of 3.
CONTACT = 5.0

#: The largest distance of two heartbeats in intervals: 1.05 with jitter, and more on a busy node.
BEAT = 1.15

#: Seconds for which the kernel may send data of a node that died to a peer that was cut off.
ORPHAN_S = 20.0

#: Seconds for which the kernel may send data of a node that died to a connected peer.
LINGER_S = 0.3


class ObservedWeather(Weather):
    """The weather of a recorded history, in which `now` is the moment that is judged."""

    def __init__(self, interval_s: float) -> None:
        super().__init__(interval_s)
        self.now = -inf
        # Spans in which messages got lost or were late; the end of the present span is open.
        self._rough: list[list[float]] = []
        self._known: dict[tuple[int, int, float], float] = {}

    def rough(self, since: float) -> bool:
        return any(begin < self.now and end > since for begin, end in self._rough)

    def roughness(self, begin: float, end: float) -> None:
        """Note a span in which messages got lost or came late."""
        self._rough.append([begin, end])

    def stop_roughness(self, now: float) -> None:
        for span in self._rough:
            span[1] = min(span[1], now)

    def disturb(self, kind: Kind, begin: float, over: float, aftermath_s: float) -> None:
        """Note a disturbance of the cluster, whose effects last for `aftermath_s` after it."""
        self.disturbances.append(Disturbance(kind, begin, over, aftermath_s))

    def hindered(self, name: str, now: float) -> None:
        """Expect nothing from a node that lacks descriptors or memory."""
        self.paused(name, now)

    def relieved(self, name: str, now: float) -> None:
        self._end(("pause", name), now, 6 * self.interval_s)

    def known_until(self, one: Life, other: Life, now: float) -> float:
        """Return the last moment of `other` up to which `one` must have all its knowledge, or -inf."""
        asked = (one.number, other.number, now)
        if asked not in self._known:
            if len(self._known) > 20_000:
                self._known.clear()
            self._known[asked] = self._known_until(one, other, now)
        return self._known[asked]

    def _known_until(self, one: Life, other: Life, now: float) -> float:
        for begin, end in self._contacts(one, other, now):
            news_s = (NEWS_ROUGH if self._was_rough(end) else NEWS) * self.interval_s
            if end - begin >= CONTACT * self.interval_s + news_s:
                return end - news_s
        return -inf

    def _was_rough(self, at: float) -> bool:
        since = at - 2 * NEWS_ROUGH * self.interval_s
        return any(begin < at and end > since for begin, end in self._rough)

    def _contacts(self, one: Life, other: Life, now: float) -> Iterator[tuple[float, float]]:
        """Yield the spans before `now` in which two lives were connected all the time, the latest one first."""
        end = now
        begin = None
        for since, groups in reversed(self._epochs):
            if since >= now:
                continue
            group = groups.get(one.number)
            if group is not None and group == groups.get(other.number):
                begin = since
                continue
            if begin is not None:
                yield begin, end
            begin, end = None, since
        if begin is not None:
            yield begin, end

    def changed(self) -> None:
        """Forget the computed results for the present moment, because the weather has changed."""
        self._known.clear()


@define
class Leaks:
    """The news of each life that may have reached each other life, on any way that packets could take."""

    #: Lives by number whose news may still be on the way, including all running lives.
    _members: dict[int, Life] = field(factory=dict)
    _stopped: Counter[tuple[str, str]] = field(factory=Counter)
    #: By two lives: the last moment of the second life that the first may know, and the latest time of its arrival.
    _news: dict[tuple[int, int], tuple[float, float]] = field(factory=dict)
    _groups: list[list[Life]] = field(factory=list)

    # Changes.

    def began(self, life: Life, now: float) -> None:
        self._settle(now)
        self._members[life.number] = life
        self._regroup()

    def ended(self, life: Life, now: float) -> float:
        """Note the end of a life, and return the time until which its news may be on the way."""
        is_cut = any(count > 0 and life.node in pair for pair, count in self._stopped.items())
        return now + (ORPHAN_S if is_cut else LINGER_S)

    def silenced(self, life: Life, now: float) -> None:
        """Note that no news of an ended life is on the way any more."""
        self._settle(now)
        self._members.pop(life.number, None)
        self._regroup()

    def stop(self, pairs: Iterable[tuple[str, str]], now: float) -> None:
        self._settle(now)
        self._stopped.update(pairs)
        self._regroup()

    def open(self, pairs: Iterable[tuple[str, str]], now: float) -> None:
        self._settle(now)
        self._stopped.subtract(pairs)
        self._regroup()

    def resumed(self, life: Life, paused_at: float, now: float) -> None:
        """Note that a paused life continues, for which all news from during the pause count as new."""
        self._settle(now)
        for (here, there), (moment, heard_at) in [*self._news.items()]:
            if here == life.number and heard_at >= paused_at:
                self._news[here, there] = (moment, now)

    # Results.

    def news(self, here: Life, there: Life, now: float) -> tuple[float, float]:
        """Return the last moment of `there` that `here` may know, and the latest time of its arrival."""
        group = next((group for group in self._groups if here in group), [here])
        if there in group:
            return _own_moment(there, now), now
        known = [self._news.get((each.number, there.number), (-inf, -inf)) for each in group]
        return max(moment for moment, _ in known), max(heard_at for _, heard_at in known)

    def _settle(self, now: float) -> None:
        """Record the news that all lives may know by now."""
        lives = {number for pair in self._news for number in pair} | {*self._members}
        for group in self._groups:
            inside = {life.number: life for life in group}
            for there in lives:
                if there in inside:
                    news = (_own_moment(inside[there], now), now)
                else:
                    known = [self._news.get((here, there), (-inf, -inf)) for here in inside]
                    news = (max(moment for moment, _ in known), max(heard_at for _, heard_at in known))
                if news[0] > -inf:
                    self._news.update({(here, there): news for here in inside if here != there})

    def _regroup(self) -> None:
        left = [*self._members.values()]
        self._groups = []
        while left:
            group = [left.pop()]
            for life in group:
                near = [other for other in left if self._may_pass(life.node, other.node)]
                left = [other for other in left if other not in near]
                group += near
            self._groups.append(group)

    def _may_pass(self, one: str, other: str) -> bool:
        return self._stopped[one, other] <= 0 or self._stopped[other, one] <= 0


def _own_moment(life: Life, now: float) -> float:
    paused_at = inf if life.pausing_since is None else life.pausing_since
    return min(now, life.ended_at, paused_at)


class _Met(Mapping[int, tuple[float, int, float]]):
    """The lives that another life may know. The number of believed heartbeats cannot be observed, and is 0."""

    def __init__(self, life: ObservedLife) -> None:
        self._life = life

    def __getitem__(self, number: int) -> tuple[float, int, float]:
        other, now = self._life.others[number], self._life.weather.now
        learned_of = self._life.learned_of(other, now)
        if learned_of == -inf:
            raise KeyError(number)
        return learned_of, 0, self._life.counts_from(other, now)

    def __iter__(self) -> Iterator[int]:
        return (number for number in self._life.others if number in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class ObservedLife(Life):
    """A life of a real node, whose knowledge is computed from the weather."""

    def __init__(
        self, number: int, node: str, born_at: float, weather: ObservedWeather, leaks: Leaks, interval_s: float
    ) -> None:
        self.weather = weather
        self.leaks = leaks
        self.others: dict[int, Life] = {}
        self.interval_s = interval_s
        #: The time of its first answer.
        self.answered_at = inf
        #: The earliest time of a possible answer.
        self.may_answer_at = born_at
        super().__init__(number, node, node, number, born_at)

    @property
    def may(self) -> May:
        return _Met(self)

    @may.setter
    def may(self, _: May) -> None:
        """Do nothing, because the weather determines the value."""

    def knows(self, other: Life, now: float) -> float:
        return now if other is self else self.weather.known_until(self, other, now)

    def knew(self, other: Life, now: float) -> float:
        return self.knows(other, now)

    def learned_of(self, other: Life, now: float) -> float:
        return now if other is self else min(now, self.leaks.news(self, other, now)[0])

    def learned_at_least(self, other: Life, now: float) -> float:
        return self.knows(other, now)

    def counts_from(self, other: Life, now: float) -> float:
        return now if other is self else min(now, self.leaks.news(self, other, now)[1])

    def last_beat(self, moment: float) -> float:
        """Return the earliest possible time of the last heartbeat before a moment."""
        moment = min(moment, self.ended_at)
        for begin, end in [*self.pauses, (self.pausing_since or inf, inf)]:
            if begin < moment <= end:
                moment = begin
        return max(self.born_at, moment - BEAT * self.interval_s)
