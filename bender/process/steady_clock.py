"""Make the timers of a reactor independent of the wall clock.

Twisted's reactors measure time with `time.time()`. When the wall clock is set back by an hour, every timer waits an
hour longer: the next call, a timeout, a renewal, the end of an idle connection. When it is set forward, all timers are
due at once. Twisted's own timers can be corrected only in the reactor, so this module changes the reactor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.python import runtime


def make_steady(reactor: IReactorTime, clock: Callable[[], float] = time.monotonic) -> None:
    """Make a reactor of Twisted measure time with `clock`, which returns seconds and never jumps.

    `reactor.seconds()` continues from its present value, so timers that are already set end as planned. Only a reactor
    that follows the wall clock is changed: a reactor whose `seconds` was replaced before, or the clock of a test, stays
    as it is.
    """
    if getattr(reactor, "seconds", None) is not runtime.seconds:
        return
    ahead_s: float = reactor.seconds() - clock()

    def seconds() -> float:
        return ahead_s + clock()

    reactor.seconds = seconds  # type: ignore[method-assign]
    calls: Sequence[Any] = reactor.getDelayedCalls()
    for call in calls:
        call.seconds = seconds  # each call has its own reference, from which `reset` computes the new time
