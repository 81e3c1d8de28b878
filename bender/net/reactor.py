"""The type of the reactor that is passed to the parts of bender.

A part that needs only timers takes an `IReactorTime`, so that a test can pass a `Clock`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IConnector, IDelayedCall, IListeningPort, IReactorTime
from twisted.internet.protocol import ClientFactory, ServerFactory
from zope.interface import implementer

_Call = Callable[..., Any]


@implementer(IReactorTime)
class Reactor(Protocol):
    """The parts of a reactor that bender uses: `IReactorTime`, and parts of `IReactorTCP` and `IReactorCore`.

    It is a protocol, because the reactors of Twisted and of its tests have no common interface with all these methods.
    The few users of other methods adapt the reactor themselves, such as `IReactorProcess(reactor)`.
    """

    # The names of methods and arguments are Twisted's.

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: _Call, *args: object, **kwargs: object) -> IDelayedCall: ...  # noqa: A002

    def getDelayedCalls(self) -> Sequence[IDelayedCall]: ...

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory,
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector: ...

    def listenTCP(
        self, port: int, factory: ServerFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort: ...

    def callWhenRunning(self, callable: _Call, *args: object, **kwargs: object) -> Any: ...  # noqa: A002

    def addSystemEventTrigger(
        self,
        phase: str,
        eventType: str,
        callable: _Call,  # noqa: A002
        *args: object,
        **kwargs: object,
    ) -> Any: ...

    def run(self) -> None: ...

    def stop(self) -> None: ...
