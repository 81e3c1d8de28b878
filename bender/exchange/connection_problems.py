"""Problems of peers, logged once when they begin and once when they are over.

Rounds come every second. A line of the log for each that fails would bury everything else, and one for each change
from bad to good and back would as well. So a failure to reach a peer has to last before it is named, and whatever was
named has to be absent for a while before it is over.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from bender.exchange.wire_errors import MessageRefused, OtherCluster, OtherVersion

#: Intervals for which a peer is unreachable before that is logged: a restart, or a lost packet, is not.
PATIENCE_INTERVALS = 2

#: Intervals without a sign of it after which something is over.
CALM_INTERVALS = 3

#: Intervals without a sign of it after which something is over though nothing better was seen either.
FORGOTTEN_INTERVALS = 60

#: Peers are few; more addresses are made up by a client, and the oldest go.
ADDRESSES_MAX = 1000

#: Things wrong with one peer at the same time. Beyond, they are all the same thing.
CONDITIONS_MAX = 20

#: What a message is refused for whether it asks or answers.
_TOPICS = {OtherCluster: "cluster", OtherVersion: "version"}


# The topic and kind of a peer that does not answer.
_REACH = ("reach", "")


@define
class _Condition:
    """A problem. `text` is what was logged of it, empty before that."""

    text: str
    since_s: float
    seen_s: float


class PeerProblems:
    """What is wrong with which peer, by topic and kind: it is the same thing while these are the same.

    `tell` is called at each change with an address, all that is wrong there, or None, and whether that is only that
    nothing answers there. Texts are clauses about the peer that begin with a verb.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, interval_s: float, tell: Callable[[str, str | None, bool], None]) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._report = tell
        self._conditions: dict[str, dict[tuple[str, str], _Condition]] = {}

    def trouble(self, address: str, topic: str, text: str, *, kind: str = "") -> None:
        """Note a problem."""
        self._name(address, self._seen(address, topic, kind), text)

    def out_of_reach(self, address: str, text: str) -> None:
        """Note that a peer gave no answer at all. It is logged only if it lasts, because some reasons are harmless."""
        condition = self._seen(address, *_REACH)
        if condition.seen_s >= condition.since_s + PATIENCE_INTERVALS * self._interval_s:
            self._name(address, condition, text)

    def fine(self, address: str, *topics: str) -> None:
        """Note that nothing is wrong on these topics."""
        for topic in topics:
            if address in self._conditions:
                self._settle(address, topic)

    def refused(self, address: str, topic: str, refused: MessageRefused) -> None:
        """Note that a message was refused; `topic` is for reasons other than the wire version and the cluster."""
        shared = _TOPICS.get(type(refused))
        kind = refused.reason if shared else type(refused).__name__
        self.trouble(address, shared or topic, refused.reason, kind=kind)

    def understood(self, address: str, topic: str, theirs_s: float, ours_s: float) -> None:
        """Note that a message was in order, on `topic`, and compare the sender's interval with this node's."""
        self.fine(address, topic, *_TOPICS.values())
        if theirs_s == ours_s:
            self.fine(address, "interval")
        else:
            text = f"has an interval of {theirs_s:g} s, but this node has {ours_s:g} s"
            self.trouble(address, "interval", text, kind=text)

    def forget(self) -> None:
        """Drop problems that were not seen for long: nothing is sent to that peer any more, or comes from it."""
        for address, conditions in list(self._conditions.items()):
            for key, condition in list(conditions.items()):
                if self._absent(condition, FORGOTTEN_INTERVALS):
                    self._end(address, key)

    def _absent(self, condition: _Condition, intervals: int) -> bool:
        return self._clock.seconds() >= condition.seen_s + intervals * self._interval_s

    def _seen(self, address: str, topic: str, kind: str) -> _Condition:
        """Return a problem that is seen again, or for the first time."""
        now = self._clock.seconds()
        if address not in self._conditions and len(self._conditions) >= ADDRESSES_MAX:
            oldest = next(iter(self._conditions))
            del self._conditions[oldest]
            self._report(oldest, None, False)
        conditions = self._conditions.setdefault(address, {})
        key = (topic, kind)
        if key not in conditions and len(conditions) >= CONDITIONS_MAX:
            key = next(reversed(conditions))
        condition = conditions.setdefault(key, _Condition("", since_s=now, seen_s=now))
        condition.seen_s = now
        self._settle(address, topic, besides=key)
        return condition

    def _name(self, address: str, condition: _Condition, text: str) -> None:
        if not condition.text:
            condition.text = text
            self._log.warn("Peer {address} {problem}.", address=address, problem=text)
            self._show(address)

    def _settle(self, address: str, topic: str, besides: tuple[str, str] | None = None) -> None:
        """Something is known on a topic: end what was never named there, and what was not seen for a while."""
        for key, condition in list(self._conditions[address].items()):
            if key[0] == topic and key != besides and (not condition.text or self._absent(condition, CALM_INTERVALS)):
                self._end(address, key)

    def _end(self, address: str, key: tuple[str, str]) -> None:
        conditions = self._conditions[address]
        condition = conditions.pop(key)
        if not conditions:
            del self._conditions[address]
        if condition.text:
            self._log.info("No longer the case: peer {address} {problem}.", address=address, problem=condition.text)
            self._show(address)

    def _show(self, address: str) -> None:
        named = {key: each.text for key, each in self._conditions.get(address, {}).items() if each.text}
        self._report(address, "; ".join(named.values()) or None, {*named} == {_REACH})
