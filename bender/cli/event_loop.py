"""Run the coroutine of a command: on asyncio, or on Twisted's reactor.

asyncio is for commands that end after a few requests. The reactor is for commands that follow events or run a program.
Each is imported only if it is used.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from bender.cli.click_base import INTERRUPTED

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from bender.net.reactor import Reactor

CommandCoroutine = Coroutine[Any, Any, int]


def run_on_asyncio(begin: Callable[[], CommandCoroutine]) -> int:
    """Run a command on asyncio, and return its exit status, or that of Ctrl-C."""
    import asyncio  # noqa: PLC0415 - completion of options does not need it

    try:
        return asyncio.run(begin())
    except KeyboardInterrupt:
        return INTERRUPTED


def run_on_reactor(reactor: Reactor, begin: Callable[[], CommandCoroutine]) -> int:
    """Run a command on the reactor, and return its exit status, or that of Ctrl-C; then nothing more is printed."""
    from twisted.internet.defer import Deferred  # noqa: PLC0415 - see run_on_asyncio
    from twisted.python.failure import Failure  # noqa: PLC0415

    gc.enable()  # `bender.cli.main` has disabled it
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
    (result,) = outcome
    if isinstance(result, Failure):
        result.raiseException()
    return int(result)
