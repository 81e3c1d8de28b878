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

#: By number of a life: its last moment whose knowledge has come here for certain.
Must = Mapping[int, float]

#: By number of a life: its last moment that may be known, its number of believed heartbeats, and the last one's time.
May = Mapping[int, tuple[float, int, float]]

NEVER = (-inf, -1, -inf)


class Life:
    """The oracle's notes about one incarnation.

    `since` is the time of its start (`starting`), or of its return from a pause long enough to notice. `away` is True
    from then until it is ready. `gone_at` is the begin of that pause, and `must_before` is what it knew then. `muted`
    is True after a pause of at least T: the incarnation makes no heartbeat until it is ready.
    """

    #: The life from whose memory it was copied, and the time of that copy.
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
        #: The time of the last page that was not the last one of its ledger.
        self.paged_at = -inf
        #: Whether another life has the same incarnation. Then little is promised about what is accepted here.
        self.doubled = False
        #: Whether it was set back to a snapshot of its memory, or cloned, and has not noticed that yet.
        self.unaware = False
        #: Whether it took over the claims of an earlier incarnation.
        self.took_along = False
        #: By number of another life: when it last learned that a heartbeat of that life was older than assumed.
        self.corrected_at: dict[int, float] = {}
        self.pauses: list[tuple[float, float]] = []
        self.pausing_since: float | None = None
        self.may: May = {}
        self.must: Must = {}
        self.must_before: Must = {}
        self._learned_at = -inf
        self._must_until_then: Must = {}
        #: The numbers of the writes of configuration that have come here for certain.
        self.settings: frozenset[int] = frozenset()
        #: By number of another life: the settings which that life knew when this one began to wait for it.
        self.settings_elsewhere: dict[int, frozenset[int]] = {}
        #: By number of a peer's life: the time of the newest ask that the peer has answered.
        self.echoed: dict[int, float] = {}
        # The events that it has announced, and how it took back what it had listed.
        self.events: list[ViewEvent] = []
        self.shown: dict[str, bytes] = {}
        self.shown_settings: dict[str, bytes] = {}
        self.states: dict[str, str] = {}
        #: The keys that it lists as suspect: since when, and until when it has to list them unless there is news.
        self.suspects: dict[str, tuple[float, float]] = {}
        #: The keys that are hidden and have not returned: when, and how many members their app had before.
        self.losses: dict[str, tuple[float, int]] = {}
        self.taken_back: dict[str, tuple[float, str, bytes]] = {}
        self.said_deregistered: set[object] = set()
        self.ghosts: dict[str, float] = {}

    def __str__(self) -> str:
        return f"{self.node}#{self.number}"

    @property
    def is_running(self) -> bool:
        """Whether it runs: it has not ended, and is not paused."""
        return self.ended_at == inf and self.pausing_since is None

    def inherit(self, before: Life) -> None:
        """Continue the announcements of another incarnation in the same process."""
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
        """Continue as the life `before` was at `at`; `kept` is a copy from then. That life continued until `now`.

        Its clock lost `lost_s`, so everything that it heard seems younger by this time.
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
        """Take over what another incarnation of the same process held."""
        self.pauses, self.took_along = before.pauses, True

    def learned_of(self, other: Life, now: float) -> float:
        """Return the last moment of another life of which news may have come here."""
        return now if other is self else self.may.get(other.number, NEVER)[0]

    def learned_at_least(self, other: Life, now: float) -> float:
        """Return the last moment of another life of which news has come here, if as little as possible has come."""
        return self.learned_of(other, now)

    def counts_from(self, other: Life, now: float) -> float:
        """Return the time of the last heartbeat that was believed here, at the latest that this life can think."""
        return now if other is self else self.may.get(other.number, NEVER)[2]

    def knows(self, other: Life, now: float) -> float:
        """Return the last moment of another life whose knowledge is here for certain."""
        return now if other is self else self.must.get(other.number, -inf)

    def last_beat(self, moment: float) -> float:
        """Return the last heartbeat that was made before a moment."""
        place = bisect_left(self.beats, moment)
        return self.beats[place - 1] if place else -inf

    def hear(
        self, may: May, transit_s: float, believes: Callable[[int, int], bool], now: float, counted: Collection[int]
    ) -> None:
        """Note what a message brought which was on its way for `transit_s` and had counters of the lives `counted`.

        `believes` returns whether the core believes a number of heartbeats of a life now. The core decides when this
        happens, but not how long ago these heartbeats were.
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
        """Note what has come here for certain."""
        if now > self._learned_at:
            self._learned_at, self._must_until_then = now, self.must
        known = dict(self.must)
        for number, moment in must.items():
            if number != self.number and moment > known.get(number, -inf):
                known[number] = moment
        self.must = known

    def knew(self, other: Life, now: float) -> float:
        """Return the same as `knows`, but from before anything was learned at this moment."""
        must = self._must_until_then if self._learned_at == now else self.must
        return now if other is self else must.get(other.number, -inf)

    def word(self, message: Message, now: float) -> tuple[May, Must]:
        """Return what a message of this life carries: the vectors, with its own moment and the message's heartbeat."""
        beats = next((each.beats for each in message.counters if each.incarnation == self.incarnation), -1)
        beat_at = self.beats[min(beats, len(self.beats) - 1)] if beats >= 0 else -inf
        return {**self.may, self.number: (now, beats, beat_at)}, {**self.must, self.number: now}

    @property
    def resumed_at(self) -> float:
        """The end of its last pause."""
        return self.pauses[-1][1] if self.pauses else -inf

    def pause(self, now: float) -> None:
        """Note the begin of a pause, which may come while the life waits to be ready after an earlier pause."""
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
