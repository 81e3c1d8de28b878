"""Problems of peers, logged once when they begin and once when they end.

Rounds happen every second. One log line for each failed round would hide everything else, and so would one for each
change between failure and success. So a peer must be unreachable for a while before that is logged, and a logged
problem must be absent for a while before it counts as ended.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from bender.exchange.wire_errors import MessageRefused, OtherCluster, OtherVersion

#: Intervals for which a peer must be unreachable before that is logged: longer than a restart or a lost packet.
PATIENCE_INTERVALS = 2

#: Intervals after which a problem that was not noted again has ended, if the peer sends valid messages.
CALM_INTERVALS = 3

#: Intervals after which a problem that was not noted again has ended, if nothing was received from the peer either.
FORGOTTEN_INTERVALS = 60

#: The most addresses with problems. Peers are fewer; a client may invent addresses, and the oldest are forgotten.
ADDRESSES_MAX = 1000

#: The most problems of one peer at a time. A further problem counts as the newest one.
CONDITIONS_MAX = 20

#: The topics of refusals that concern requests and answers alike.
_TOPICS = {OtherCluster: "cluster", OtherVersion: "version"}


# The topic and kind of a peer that does not answer.
_REACH = ("reach", "")


@define
class _Condition:
    """A problem. `text` is its logged text, empty until it is logged."""

    text: str
    since_s: float
    last_seen_s: float


class PeerProblems:
    """The problems of each peer. Two problems are the same if their topic and kind are the same.

    `report` is called after each change with an address, the text of all its problems or None, and whether the only
    problem is that the peer does not answer. Texts are clauses about the peer that begin with a verb.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, interval_s: float, report: Callable[[str, str | None, bool], None]) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._report = report
        self._conditions: dict[str, dict[tuple[str, str], _Condition]] = {}

    def note_problem(self, address: str, topic: str, text: str, *, kind: str = "") -> None:
        """Note a problem, and log it if it is new."""
        self._log_problem(address, self._note_seen(address, topic, kind), text)

    def note_unreachable(self, address: str, text: str) -> None:
        """Note that a peer did not answer at all. That is logged only if it lasts, because some causes are harmless."""
        condition = self._note_seen(address, *_REACH)
        if condition.last_seen_s >= condition.since_s + PATIENCE_INTERVALS * self._interval_s:
            self._log_problem(address, condition, text)

    def note_no_problem(self, address: str, *topics: str) -> None:
        """Note that the peer has no problem on these topics now."""
        for topic in topics:
            if address in self._conditions:
                self._end_old(address, topic)

    def note_refusal(self, address: str, topic: str, refused: MessageRefused) -> None:
        """Note that a message was refused. Refusals for the wire version or the cluster have a topic of their own."""
        shared = _TOPICS.get(type(refused))
        kind = refused.reason if shared else type(refused).__name__
        self.note_problem(address, shared or topic, refused.reason, kind=kind)

    def note_valid_message(self, address: str, topic: str, theirs_s: float, ours_s: float) -> None:
        """Note a valid message on `topic`, and note a problem if the sender's interval differs from this node's."""
        self.note_no_problem(address, topic, *_TOPICS.values())
        if theirs_s == ours_s:
            self.note_no_problem(address, "interval")
        else:
            text = f"has an interval of {theirs_s:g} s, but this node has {ours_s:g} s"
            self.note_problem(address, "interval", text, kind=text)

    def end_forgotten(self) -> None:
        """End the problems that were not noted for long, because no messages are exchanged with the peer any more."""
        for address, conditions in list(self._conditions.items()):
            for key, condition in list(conditions.items()):
                if self._absent(condition, FORGOTTEN_INTERVALS):
                    self._end(address, key)

    def _absent(self, condition: _Condition, intervals: int) -> bool:
        return self._clock.seconds() >= condition.last_seen_s + intervals * self._interval_s

    def _note_seen(self, address: str, topic: str, kind: str) -> _Condition:
        """Return a problem that occurs now; create it if it is new."""
        now = self._clock.seconds()
        if address not in self._conditions and len(self._conditions) >= ADDRESSES_MAX:
            oldest = next(iter(self._conditions))
            del self._conditions[oldest]
            self._report(oldest, None, False)
        conditions = self._conditions.setdefault(address, {})
        key = (topic, kind)
        if key not in conditions and len(conditions) >= CONDITIONS_MAX:
            key = next(reversed(conditions))
        condition = conditions.setdefault(key, _Condition("", since_s=now, last_seen_s=now))
        condition.last_seen_s = now
        self._end_old(address, topic, besides=key)
        return condition

    def _log_problem(self, address: str, condition: _Condition, text: str) -> None:
        if not condition.text:
            condition.text = text
            self._log.warn("Peer {address} {problem}.", address=address, problem=text)
            self._show(address)

    def _end_old(self, address: str, topic: str, besides: tuple[str, str] | None = None) -> None:
        """End the problems on a topic, except `besides`, that were never logged or did not occur for a while."""
        for key, condition in list(self._conditions[address].items()):
            if key[0] == topic and key != besides and (not condition.text or self._absent(condition, CALM_INTERVALS)):
                self._end(address, key)

    def _end(self, address: str, key: tuple[str, str]) -> None:
        conditions = self._conditions[address]
        condition = conditions.pop(key)
        if not conditions:
            del self._conditions[address]
        if condition.text:
            self._log.info(
                'Solved for peer {address}: "{problem}" is no longer the case.', address=address, problem=condition.text
            )
            self._show(address)

    def _show(self, address: str) -> None:
        named = {key: each.text for key, each in self._conditions.get(address, {}).items() if each.text}
        self._report(address, "; ".join(named.values()) or None, {*named} == {_REACH})
