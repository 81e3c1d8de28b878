"""What is wrong with peers: said once when it begins, and once when it is over.

Rounds come every second. A line of the log for each that fails would bury everything else, and one for each change
from bad to good and back would as well. So a failure to reach a peer has to last before it is named, and whatever was
named has to be absent for a while before it is over.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from bender.wire import OtherCluster, OtherVersion, Refused

#: Intervals for which a peer was out of reach before that is worth a word: a restart, or a lost packet, is not.
PATIENCE_INTERVALS = 2

#: Intervals without a sign of it after which something is over.
CALM_INTERVALS = 3

#: Intervals without a sign of it after which something is over though nothing better was seen either.
FORGOTTEN_INTERVALS = 60

#: Peers are few; more conditions come from somebody who makes up addresses, and the oldest go.
CONDITIONS_MAX = 1000

#: What a message is refused for whether it asks or answers.
_TOPICS = {OtherCluster: "cluster", OtherVersion: "version"}


@define
class _Condition:
    """Something that is wrong. While `kind` stays the same it is the same thing, whatever the text."""

    kind: str
    text: str
    since_s: float
    seen_s: float
    named: bool = False


class Conditions:
    """What is wrong with which peer, by topic; a topic has one condition at a time.

    `tell` is called with an address and all that is wrong there, or None, at each change. Texts are clauses about the
    peer that begin with a verb.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, interval_s: float, tell: Callable[[str, str | None], None]) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._tell = tell
        self._conditions: dict[tuple[str, str], _Condition] = {}

    def trouble(self, address: str, topic: str, text: str, *, kind: str | None = None) -> None:
        """Something is wrong."""
        self._name(address, topic, text, self._seen(address, topic, text if kind is None else kind, text))

    def out_of_reach(self, address: str, text: str) -> None:
        """A peer gave no answer of any kind, for which there are many reasons, and some are harmless."""
        condition = self._seen(address, "reach", "", text)
        if self._clock.seconds() >= condition.since_s + PATIENCE_INTERVALS * self._interval_s:
            self._name(address, "reach", text, condition)

    def fine(self, address: str, *topics: str) -> None:
        """Nothing of that kind is wrong now."""
        for topic in topics:
            condition = self._conditions.get((address, topic))
            if condition is not None and (not condition.named or self._absent(condition, CALM_INTERVALS)):
                self._end(address, topic)

    def refused(self, address: str, topic: str, refused: Refused) -> None:
        """A message was refused; `topic` is that of what is neither about the wire version nor about the cluster."""
        kind = refused.reason if type(refused) in _TOPICS else type(refused).__name__
        self.trouble(address, _TOPICS.get(type(refused), topic), refused.reason, kind=kind)

    def understood(self, address: str, topic: str, theirs_s: float, ours_s: float) -> None:
        """A message was in order, on `topic`; what its sender and this node take for the interval may differ."""
        self.fine(address, topic, *_TOPICS.values())
        if theirs_s == ours_s:
            self.fine(address, "interval")
        else:
            self.trouble(address, "interval", f"has an interval of {theirs_s:g} s, this node {ours_s:g} s")

    def forget(self) -> None:
        """Let go of what was not seen for long: nothing is sent to that peer any more, or comes from it."""
        for (address, topic), condition in list(self._conditions.items()):
            if self._absent(condition, FORGOTTEN_INTERVALS):
                self._end(address, topic)

    def _absent(self, condition: _Condition, intervals: int) -> bool:
        return self._clock.seconds() >= condition.seen_s + intervals * self._interval_s

    def _seen(self, address: str, topic: str, kind: str, text: str) -> _Condition:
        now = self._clock.seconds()
        condition = self._conditions.get((address, topic))
        if condition is None or condition.kind != kind:
            condition = self._begin(address, topic, _Condition(kind, text, since_s=now, seen_s=now))
        condition.seen_s = now
        return condition

    def _name(self, address: str, topic: str, text: str, condition: _Condition) -> None:
        if not condition.named:
            condition.named = True
            condition.text = text
            self._log.warn("Peer {address} {problem}.", address=address, problem=text, topic=topic)
            self._show(address)

    def _begin(self, address: str, topic: str, condition: _Condition) -> _Condition:
        self._conditions.pop((address, topic), None)
        if len(self._conditions) >= CONDITIONS_MAX:
            oldest = next(iter(self._conditions))
            del self._conditions[oldest]
            self._show(oldest[0])
        self._conditions[address, topic] = condition
        return condition

    def _end(self, address: str, topic: str) -> None:
        condition = self._conditions.pop((address, topic))
        if condition.named:
            self._log.info("Peer {address} no longer: {problem}.", address=address, problem=condition.text, topic=topic)
            self._show(address)

    def _show(self, address: str) -> None:
        texts = [c.text for (where, _), c in self._conditions.items() if where == address and c.named]
        self._tell(address, "; ".join(texts) or None)
