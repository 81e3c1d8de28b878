"""What nodes must know and may know of each other, seen from outside.

The simulator computes both from the messages that its network delivered. Real messages are not seen here, so both come
from the record of which nodes ran and which packets could get through:

- `knows`, the moment of another life all of whose knowledge is here for certain, is the promise itself: what was known
  there has come after 2 rounds (P1: 2.2·I, and 4.5·I where messages get lost) to every node that was connected all the
  time, once a first contact after a start, a pause or a heal has had its time (`CONTACT`).
- `learned_of` and `counts_from`, the last moment of which any news may have come, and the last heartbeat as it may be
  counted here, assume that everything came at once wherever packets could get through in any direction (`Leaks`).

So the oracle binds less often than in the simulator, and never on a guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import inf

from attrs import define, field

from tests.simulation.knowledge import Life, May
from tests.simulation.weather import Disturbance, Kind, Weather

#: Intervals until all of a node's knowledge is at the others: the bounds of P1, without and with loss.
NEWS, NEWS_ROUGH = 2.2, 4.5

#: Intervals until the first exchange after a start, a pause or a heal: readiness takes 5, and a request that is under
#: way at a heal has a time limit of 3.
CONTACT = 5.0

#: Intervals between two heartbeats: jitter makes them up to 1.05, and a busy node is a little late.
BEAT = 1.15

#: Seconds for which the kernel of a node that died may go on sending what it had accepted for a peer that was cut off.
ORPHAN_S = 20.0

#: The same for a peer that was not.
LINGER_S = 0.3


class ObservedWeather(Weather):
    """The weather of a recorded history, in which `now` is the moment that is judged."""

    def __init__(self, interval_s: float) -> None:
        super().__init__(interval_s)
        self.now = -inf
        # Spans in which messages got lost or came late, with the end of the last one open.
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
        """Note something that disturbed the cluster, and that it got over `aftermath_s` later."""
        self.disturbances.append(Disturbance(kind, begin, over, aftermath_s))

    def hindered(self, name: str, now: float) -> None:
        """Count on nothing from a node that lacks descriptors or memory."""
        self.paused(name, now)

    def relieved(self, name: str, now: float) -> None:
        self._end(("pause", name), now, 6 * self.interval_s)

    def known_until(self, one: Life, other: Life, now: float) -> float:
        """Return the last moment of `other` all of whose knowledge must be at `one`; -inf if there is none."""
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
        """Yield the spans before now in which two lives were connected all the time, the latest first."""
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
        """Forget what was computed of the moment at which something has just happened."""
        self._known.clear()


@define
class Leaks:
    """Which news of each life may have come to each other, by any way that packets could take."""

    #: Lives from whose machine something may come, by name of the node; the last of them may be running.
    _members: dict[int, Life] = field(factory=dict)
    _stopped: Counter[tuple[str, str]] = field(factory=Counter)
    #: For two lives: the last moment of the second of which the first may know, and when that came at the latest.
    _news: dict[tuple[int, int], tuple[float, float]] = field(factory=dict)
    _groups: list[list[Life]] = field(factory=list)

    # What happens.

    def began(self, life: Life, now: float) -> None:
        self._settle(now)
        self._members[life.number] = life
        self._regroup()

    def ended(self, life: Life, now: float) -> float:
        """Note that a life has ended; return until when news of it may be under way."""
        is_cut = any(count > 0 and life.node in pair for pair, count in self._stopped.items())
        return now + (ORPHAN_S if is_cut else LINGER_S)

    def silenced(self, life: Life, now: float) -> None:
        """Note that nothing of a life that has ended is under way any more."""
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
        """What came while a life was paused counts as come now: it does not see how long that lay there."""
        self._settle(now)
        for (here, there), (moment, heard_at) in [*self._news.items()]:
            if here == life.number and heard_at >= paused_at:
                self._news[here, there] = (moment, now)

    # What follows.

    def news(self, here: Life, there: Life, now: float) -> tuple[float, float]:
        """Return the last moment of a life of which another may know, and when that came at the latest."""
        group = next((group for group in self._groups if here in group), [here])
        if there in group:
            return _own_moment(there, now), now
        known = [self._news.get((each.number, there.number), (-inf, -inf)) for each in group]
        return max(moment for moment, _ in known), max(heard_at for _, heard_at in known)

    def _settle(self, now: float) -> None:
        """Note what everybody may know by now."""
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
    """The lives of which another one may know; how many heartbeats were believed is not seen from outside."""

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
    """A life of a real node: it knows what the weather let it know."""

    def __init__(
        self, number: int, node: str, born_at: float, weather: ObservedWeather, leaks: Leaks, interval_s: float
    ) -> None:
        self.weather = weather
        self.leaks = leaks
        self.others: dict[int, Life] = {}
        self.interval_s = interval_s
        #: When it first answered anything.
        self.answered_at = inf
        #: The earliest moment at which it may have begun to answer.
        self.may_answer_at = born_at
        super().__init__(number, node, node, number, born_at)

    @property
    def may(self) -> May:
        return _Met(self)

    @may.setter
    def may(self, _: May) -> None:
        """Leave it to the weather."""

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
        """The moment before which the last heartbeat was made, at the earliest that is possible."""
        moment = min(moment, self.ended_at)
        for begin, end in [*self.pauses, (self.pausing_since or inf, inf)]:
            if begin < moment <= end:
                moment = begin
        return max(self.born_at, moment - BEAT * self.interval_s)
