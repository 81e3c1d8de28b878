"""Running the coroutine of a command: on asyncio, or on Twisted's reactor for as long as it takes.

asyncio is for commands that ask nodes a few questions and end; the reactor is for those that follow events or run a
command. Each is imported when it is needed.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from bender.cli.click_base import INTERRUPTED

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from bender.net.reactor import Reactor

Doing = Coroutine[Any, Any, int]


def on_asyncio(begin: Callable[[], Doing]) -> int:
    """Return the status with which a command ends, or that of Ctrl-C."""
    import asyncio  # noqa: PLC0415 - completion of options does without

    try:
        return asyncio.run(begin())
    except KeyboardInterrupt:
        return INTERRUPTED


def on_reactor(reactor: Reactor, begin: Callable[[], Doing]) -> int:
    """Do the same while the reactor runs; nothing is printed any more once Ctrl-C has stopped that."""
    from twisted.internet.defer import Deferred  # noqa: PLC0415 - see on_asyncio
    from twisted.python.failure import Failure  # noqa: PLC0415

    gc.enable()  # `bender.cli.main` has stopped it
    outcome: list[int | Failure] = []
    interrupted = False
    doing: Deferred[int] = Deferred()

    def start() -> None:
        nonlocal doing
        doing = Deferred.fromCoroutine(begin())
        doing.addBoth(outcome.append)
        doing.addBoth(lambda _: None if interrupted else reactor.stop())

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = not outcome
        doing.cancel()

    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", interrupt)
    reactor.run()
    if interrupted:
        return INTERRUPTED
    (came,) = outcome
    if isinstance(came, Failure):
        came.raiseException()
    return int(came)
