"""A reactor whose timers do not follow the wall clock.

Twisted's reactors measure time by `time.time()`. When that is set back, every timer waits that much longer: the next
call, a timeout, a renewal, the end of an idle connection. When it is set forward, all of them are due at once. The only
place where this can be put right for Twisted's own timers as well is the reactor, so that is where it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.python import runtime


def make_steady(reactor: IReactorTime, clock: Callable[[], float] = time.monotonic) -> None:
    """Have a reactor of Twisted's measure time by a clock that never jumps; `clock` gives its seconds.

    `reactor.seconds()` goes on from its present value, so timers that are set already end when they were to. Only a
    reactor that follows the wall clock is changed: neither one that was made steady before, nor a test's clock, nor one
    whose `seconds` was replaced.
    """
    if getattr(reactor, "seconds", None) is not runtime.seconds:
        return
    ahead_s: float = reactor.seconds() - clock()

    def seconds() -> float:
        return ahead_s + clock()

    reactor.seconds = seconds  # type: ignore[method-assign]
    calls: Sequence[Any] = reactor.getDelayedCalls()
    for call in calls:
        call.seconds = seconds  # each has its own, by which `reset` counts from now
