"""P8 as seen from outside: a node is ready neither too early nor too late.

The simulator's checker knows which peers have answered. Here a node that became ready less than 3.5·I after it began
to listen (2.5·I after a pause, because then a peer may be silent already) is checked against every peer that cannot
have answered: it did not run, or nothing could get through between the two all the time since. Such a peer must be
waited for if it is one of `--peers` and the node has started, or if it was heard when the pause began. That 5·I are
enough is checked for nodes that are neither paused, starved nor hindered, from their first answer on, which Python's
start delays.
"""

from __future__ import annotations

from attrs import define, field

from tests.faults.judge.knowledge import ObservedLife
from tests.simulation.oracle.history import History

#: Intervals after which a node has to be ready, without the time that a first contact may take in pages.
READY = 5.0

#: Intervals for which a node must wait for a peer after a start, and after a pause. The 4.5·I of a start begin before
#: the node listens, and so before the first observation.
EARLY, EARLY_AFTER_PAUSE = 3.5, 2.5

#: A pause of more than this many intervals is always noticed by the node.
NOTICED_FOR_CERTAIN = 1.5


@define
class Readiness:
    """Checks the times at which nodes become ready."""

    history: History
    #: Spans in which two nodes could not reach each other, by pair, and spans in which a node did not run, by name.
    apart: dict[frozenset[str], list[list[float]]] = field(factory=dict)
    down: dict[str, list[list[float]]] = field(factory=dict)
    left: dict[str, float] = field(factory=dict)
    waits: list[float] = field(factory=list)

    def check_early(self, life: ObservedLife, seeds: list[str], at: float, *, busy: bool) -> None:
        """Check a life that is ready at `at`; the wait is only recorded if the machine is not `busy`."""
        history, since = self.history, life.since
        starting = life.starting
        if not starting and since - life.gone_at <= NOTICED_FOR_CERTAIN * history.interval_s:
            return
        if not busy:
            self.waits.append((at - since) / history.interval_s)
        waited = (at - (life.may_answer_at if starting else since)) / history.interval_s
        if waited >= (EARLY if starting else EARLY_AFTER_PAUSE):
            return
        for peer in seeds:
            if peer != life.node and self._cannot_have_answered(life.node, peer, since, at):
                if self.left.get(peer, -1.0) > since - 10 * history.interval_s:
                    continue  # the node knows that this peer has left
                if starting or self._was_heard(life, peer):
                    history.fail("P8", f"{life} is ready after {waited:.2f} intervals, without {peer}")

    def _cannot_have_answered(self, node: str, peer: str, since: float, at: float) -> bool:
        spans = [*self.down.get(peer, ()), *self.apart.get(frozenset((node, peer)), ())]
        margin_s = 0.1 * self.history.interval_s
        return any(begin <= since - margin_s and end >= at for begin, end in spans)

    def _was_heard(self, life: ObservedLife, peer: str) -> bool:
        """Return True if the peer must have been heard at the beginning of the pause."""
        others = [other for other in self.history.lives if other.node == peer and other.born_at < life.gone_at]
        if not others or others[-1].ended_at < life.gone_at or others[-1].left:
            return False
        return life.knows(others[-1], life.gone_at) > life.gone_at - 2.5 * self.history.interval_s

    def check_late(self, life: ObservedLife, slack_s: float) -> None:
        """Check that a life that is not ready is still within the time limit."""
        history = self.history
        since = max(life.since, life.answered_at)
        if history.now > since + READY * history.interval_s + slack_s:
            history.fail("P8", f"{life} is not ready {history.now - since:.2f} s after its start or a pause")
