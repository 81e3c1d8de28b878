"""What each node can know and must know of the others: the ground truth behind the word "connected".

For each incarnation (a `Life`) two vectors are kept. `may[n]` is the last moment of life n of which any message could
have brought news here, on any way; with it the last heartbeat of n that was believed here, and when that was as it is
counted here: the time under way, be it in the inbox of a node that is paused, is not known to anybody and comes on top.
`must[n]` is the last moment of life n all of whose knowledge has come here for certain, because rounds were completed.
They come from the messages that the network really delivered and not from the plan of faults, so the oracle needs no
allowance for loss: a node whose messages are lost does not get to know.

Vectors are replaced and never changed, so a message carries its sender's by reference.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from copy import copy
from math import inf

from bender.core.messages import Message
from bender.core.view import ViewEvent

#: The last moments of lives that are known for certain, by number.
Must = Mapping[int, float]

#: The last moments of lives that may be known, how many heartbeats were believed, and when the last of them was.
May = Mapping[int, tuple[float, int, float]]

NEVER = (-inf, -1, -inf)


class Life:
    """What the oracle notes of one incarnation.

    `since` is when it started (`starting`), or came back from a pause long enough to notice, and `away` is set from
    then until it is ready; `gone_at` is when that pause began, `must_before` what it knew then. `muted` is set after a
    pause of at least T: no heartbeat is made until it is ready.
    """

    #: The life whose memory it went on with, and the time of that copy.
    source: Life | None = None
    copied_at = -inf

    def __init__(self, number: int, node: str, address: str, incarnation: int, born_at: float) -> None:
        self.number = number
        self.node = node
        self.address = address
        self.incarnation = incarnation
        self.born_at = born_at
        self.ended_at = inf
        self.left = False
        self.starting = True
        self.since = born_at
        self.gone_at = born_at
        self.away = True
        self.muted = False
        self.beats: list[float] = [born_at]
        self.ready_at = -inf
        #: When the last page came that was not the last of its ledger.
        self.paged_at = -inf
        #: Whether another life has the same incarnation, so that little is promised about what is accepted here.
        self.doubled = False
        #: Whether it was set back to a snapshot of its memory, or cloned, and has not found that out yet.
        self.unaware = False
        #: Whether it took along what an incarnation before it held.
        self.took_along = False
        #: When it last learned that a heartbeat of another life, by number, was older than it thought.
        self.corrected_at: dict[int, float] = {}
        self.pauses: list[tuple[float, float]] = []
        self.pausing_since: float | None = None
        self.may: May = {}
        self.must: Must = {}
        self.must_before: Must = {}
        self._learned_at = -inf
        self._must_until_then: Must = {}
        #: Writes of configuration that have come here for certain, by number.
        self.settings: frozenset[int] = frozenset()
        #: What other lives knew of it when this one began to wait for them, by number.
        self.settings_elsewhere: dict[int, frozenset[int]] = {}
        #: When a peer's life last answered an ask: the time at which that was asked.
        self.echoed: dict[int, float] = {}
        # What it has announced, and how it took back what it had.
        self.events: list[ViewEvent] = []
        self.shown: dict[str, bytes] = {}
        self.shown_settings: dict[str, bytes] = {}
        self.states: dict[str, str] = {}
        #: What is listed on suspicion: since when, and until when it has to be unless there is news of it.
        self.suspects: dict[str, tuple[float, float]] = {}
        #: What was hidden and is not back: when, and how many members its app had before.
        self.losses: dict[str, tuple[float, int]] = {}
        self.taken_back: dict[str, tuple[float, str, bytes]] = {}
        self.said_deregistered: set[object] = set()
        self.ghosts: dict[str, float] = {}

    def __str__(self) -> str:
        return f"{self.node}#{self.number}"

    @property
    def is_running(self) -> bool:
        """Whether it has neither ended nor is paused."""
        return self.ended_at == inf and self.pausing_since is None

    def inherit(self, before: Life) -> None:
        """Go on announcing where another incarnation in the same process stopped."""
        self.events = before.events
        self.shown = before.shown
        self.shown_settings = before.shown_settings
        self.states = before.states
        self.suspects = before.suspects
        self.taken_back = before.taken_back

    def kept(self) -> Life:
        """Return a copy to which a node can be set back."""
        kept = copy(self)
        kept.beats, kept.pauses, kept.events = [*self.beats], [*self.pauses], [*self.events]
        kept.shown, kept.shown_settings = {**self.shown}, {**self.shown_settings}
        kept.states, kept.suspects = {**self.states}, {**self.suspects}
        kept.losses, kept.taken_back = {**self.losses}, {**self.taken_back}
        return kept

    def set_back(self, before: Life, kept: Life, at: float, now: float, *, lost_s: float) -> None:
        """Go on as another life was at `at`; `kept` is a copy of it from then, and it has gone on until `now`.

        Its clock lost `lost_s`, by which all that it heard seems younger to it.
        """
        self.inherit(kept)
        self.source, self.copied_at = before, at
        self.losses = kept.losses
        self.beats, self.settings = kept.beats, kept.settings
        self.may = {number: (moment, beats, at + lost_s) for number, (moment, beats, at) in kept.may.items()}
        self.pauses = [*kept.pauses, (at, now)]
        self.starting, self.away, self.ready_at, self.doubled, self.unaware = False, False, now, True, True
        before.doubled = before.unaware = True

    def take_along(self, before: Life) -> None:
        """Go on with what another incarnation of the same process held."""
        self.pauses, self.took_along = before.pauses, True

    def learned_of(self, other: Life, now: float) -> float:
        """The last moment of another life of which news may have come here."""
        return now if other is self else self.may.get(other.number, NEVER)[0]

    def learned_at_least(self, other: Life, now: float) -> float:
        """The last moment of another life of which news has come here, at the least that is possible."""
        return self.learned_of(other, now)

    def counts_from(self, other: Life, now: float) -> float:
        """When the last heartbeat was that was believed here, the latest that this life can think."""
        return now if other is self else self.may.get(other.number, NEVER)[2]

    def knows(self, other: Life, now: float) -> float:
        """The last moment of another life whose knowledge is here for certain."""
        return now if other is self else self.must.get(other.number, -inf)

    def last_beat(self, moment: float) -> float:
        """The last heartbeat that was made before a moment."""
        place = bisect_left(self.beats, moment)
        return self.beats[place - 1] if place else -inf

    def hear(
        self, may: May, transit_s: float, believes: Callable[[int, int], bool], now: float, counted: Collection[int]
    ) -> None:
        """Take in what a message brought that was under way for `transit_s` and had counters of the lives `counted`.

        `believes` returns whether a number of heartbeats of a life is believed now: when that came about is for the
        core to say, but not how long ago they were.
        """
        known, present = dict(self.may), self.may.get
        for number, news in may.items():
            old = present(number, NEVER)
            if number == self.number or (news[0] <= old[0] and news[1] < old[1]):
                continue
            moment, beats, heard_there_at = news
            old_moment, old_beats, old_heard_at = old
            heard_at = heard_there_at + transit_s
            corrected = beats == old_beats and number in counted and heard_at < old_heard_at
            if corrected or (beats > old_beats and believes(number, beats)):
                known[number] = (max(moment, old_moment), beats, heard_at)
                if heard_at < old_heard_at:
                    self.corrected_at[number] = now
            elif moment > old_moment:
                known[number] = (moment, old_beats, old_heard_at)
        self.may = known

    def learn(self, must: Must, now: float) -> None:
        """Take in what has come here for certain."""
        if now > self._learned_at:
            self._learned_at, self._must_until_then = now, self.must
        known = dict(self.must)
        for number, moment in must.items():
            if number != self.number and moment > known.get(number, -inf):
                known[number] = moment
        self.must = known

    def knew(self, other: Life, now: float) -> float:
        """The same as `knows`, but before anything was learned at this moment."""
        must = self._must_until_then if self._learned_at == now else self.must
        return now if other is self else must.get(other.number, -inf)

    def word(self, message: Message, now: float) -> tuple[May, Must]:
        """Return what a message of this life carries: the vectors, with its own moment and the heartbeat in it."""
        beats = next((each.beats for each in message.counters if each.incarnation == self.incarnation), -1)
        beat_at = self.beats[min(beats, len(self.beats) - 1)] if beats >= 0 else -inf
        return {**self.may, self.number: (now, beats, beat_at)}, {**self.must, self.number: now}

    @property
    def resumed_at(self) -> float:
        """When its last pause ended."""
        return self.pauses[-1][1] if self.pauses else -inf

    def pause(self, now: float) -> None:
        """Be paused; perhaps while it waits to be ready after a pause before."""
        if self._is_waiting:
            self.pauses.append((self.since, now))
        self.pausing_since = now

    @property
    def _is_waiting(self) -> bool:
        """Whether it holds claims that cannot be renewed here, because it is not ready."""
        return self.away and (self.took_along or not self.starting)

    def pauses_after(self, at: float, now: float) -> float:
        """Return how long after a moment this life could not accept renewals: paused, and then not ready yet."""
        away_since = self.pausing_since
        if away_since is None and self._is_waiting:
            away_since = self.since
        present_s = now - max(away_since, at) if away_since is not None else 0.0
        return present_s + sum(end - max(begin, at) for begin, end in self.pauses if end > at)
