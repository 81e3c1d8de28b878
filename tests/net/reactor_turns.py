"""Single turns of a reactor. `Clock.advance(0)` instead continues until no call is due."""

from __future__ import annotations

from twisted.internet.task import Clock


def take_turn(clock: Clock) -> None:
    """Make the calls that are due now, but none that these calls schedule."""
    for call in [call for call in clock.calls if call.getTime() <= clock.seconds()]:
        if call.active():
            clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
