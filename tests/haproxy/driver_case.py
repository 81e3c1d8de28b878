"""A driver with a fake registry and a fake HAProxy, for tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from errno import ENOSPC
from os import strerror
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from bender.client import Event, Stand
from bender.haproxy import core
from bender.haproxy.config_file import ConfigFiles, ConfigRefused
from bender.haproxy.core.admin_states import StateAnswer
from bender.haproxy.core.desired_state import DesiredState
from bender.haproxy.core.registry import ReceivedEvent
from bender.haproxy.core.rendering import DYNAMIC_SINCE, Renderer
from bender.haproxy.driver import Driver
from bender.haproxy.name_resolution import AddressResolver
from bender.haproxy.reloader import HaproxyReloader
from bender.haproxy.runtime import Runtime
from bender.haproxy.state_reader import StateReader
from bender.net.addresses import NoAnswer
from tests.exchange.network import Names
from tests.haproxy.events import backend, frontend, online
from tests.haproxy.standin import Endpoint, HAProxy, Reload

TEMPLATE = Path(core.__file__).with_name("haproxy.cfg.j2").read_text("utf-8")

NODE = "10.0.0.1:1729"


class FakeWatch:
    """A `Watch` that sends the events of a test."""

    def __init__(self) -> None:
        self.node: str | None = NODE
        self.taken: Stand | None = None
        self.on_taken: Callable[[], None] = lambda: None
        self.on_away: Callable[[dict[str, str]], None] = lambda _problems: None
        self.on_unreadable: Callable[[str, str, str], None] = lambda _node, _id, _problem: None
        self._events: deque[Event] = deque()
        self._taker: Deferred[None] | None = None
        self._number = 0

    def __aiter__(self) -> FakeWatch:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            self._taker = Deferred()
            await self._taker
        event = self._events.popleft()
        if not self._events:
            self.finish_batch()
        return event

    def finish_batch(self) -> None:
        self.taken = Stand(NODE, str(self._number))
        self.on_taken()

    def send(self, *sent: ReceivedEvent) -> None:
        for each in sent:
            self._number += 1
            self._events.append(Event(each.event, each.kind, each.id, each.reason, 0, dict(each.body), NODE))
        taker, self._taker = self._taker, None
        if taker is not None:
            taker.callback(None)

    async def aclose(self) -> None:
        """Do nothing, because nothing is open."""


class FakeAcknowledger:
    """An `Acknowledger` that records acknowledgements and reports."""

    name = "edge"
    problem: str | None = None
    report: Any = None
    followed: str | None = None

    def __init__(self) -> None:
        self.acknowledged: Stand | None = None
        self.reports: list[Any] = []

    def acknowledge(self, stand: Stand) -> None:
        self.acknowledged = stand
        self.send()

    def send(self) -> None:
        self.reports.append(self.report())

    def close(self) -> None:
        """Do nothing, because no request is under way."""


class FakeStates:
    """A `StateSource` with one answer for every instance."""

    def __init__(self) -> None:
        self.answer: StateAnswer | None = StateAnswer(removed=False)
        self.requested_ids: list[str] = []

    async def ask(self, node: str, id_: str) -> StateAnswer:
        self.requested_ids.append(id_)
        if self.answer is None:
            raise NoAnswer("does not answer")
        return self.answer


SYNCED = ReceivedEvent("synced", "registration", "", "snapshot", {})
SHOP = (backend("shop"), frontend("www", backend="shop", bind="*:80"))
A, B, C = (f"1:10.0.0.1:{port}" for port in (1, 2, 3))
ID = "registration/web/1/10.0.0.1/2"


@implementer(IReactorPluggableNameResolver)
class FakeReactor(Clock):
    """A clock, with a resolver of names that a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver: Any = Names()

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        raise NotImplementedError


class DriverCase(SynchronousTestCase):
    """A driver that starts a fake HAProxy."""

    version = "2.6.12"

    def setUp(self) -> None:
        self.clock = FakeReactor()
        self.haproxy = HAProxy(self.clock, version=self.version)
        self.output = Path(self.mktemp())
        self.checked: list[str] = []
        self.bad = "no such words"
        self.full = False
        self.reload = Reload(self.haproxy)
        self.restart_driver()

    def restart_driver(self, *, reporting: bool = False) -> None:
        """Start a driver with new state, as another process would."""
        self.watch, self.acknowledger, self.states = FakeWatch(), FakeAcknowledger(), FakeStates()
        runtime = Runtime(self.clock, Endpoint(self.haproxy))
        self.files = self.reload.files = ConfigFiles(self.output, self.check, self.store)
        addresses = AddressResolver(self.clock)
        version = tuple(map(int, self.version.split(".")))
        desired = DesiredState(addresses.address_of, uses_slots=version < DYNAMIC_SINCE)
        self.reloader = HaproxyReloader(
            self.clock,
            runtime=runtime,
            renderer=Renderer(TEMPLATE, "/s", "/states", version),
            files=self.files,
            control=self.reload,
            servers_in=lambda topology: desired.servers_in(topology, self.clock.seconds()),
            wall_ms=lambda: 0,
        )
        self.driver = Driver(
            self.clock,
            watch=self.watch,
            acknowledger=self.acknowledger,
            desired=desired,
            addresses=addresses,
            runtime=runtime,
            reloader=self.reloader,
            reporting=reporting,
        )
        self.driver.startService()
        self.state_reader = StateReader(self.clock, self.states, self.driver)
        self.state_reader.startService()
        self.addCleanup(self.state_reader.stopService)
        self.settle()

    async def check(self, draft: Path) -> None:
        text = draft.read_text()  # noqa: ASYNC240 - it is small
        self.checked.append(text)
        if self.bad in text:
            raise ConfigRefused("it has bad words")

    def store(self, file: Path, text: str) -> None:
        """Write a file to a disk that may be full."""
        file.write_text(text[:10] if self.full else text)
        if self.full:
            raise OSError(ENOSPC, strerror(ENOSPC))

    def settle(self, seconds: float = 0) -> None:
        """Let this time pass in steps, from one delayed call to the next."""
        ends_at = self.clock.seconds() + seconds
        for _ in range(20_000):
            next_at = min((call.getTime() for call in self.clock.getDelayedCalls()), default=ends_at + 1)
            if next_at > ends_at:
                break
            self.clock.advance(max(0.0, next_at - self.clock.seconds()))
        else:
            raise AssertionError("something happens without end")
        self.clock.advance(ends_at - self.clock.seconds())

    def send(self, *sent: ReceivedEvent) -> None:
        self.watch.send(*sent)
        self.settle()

    def serve(self, *ports: int) -> None:
        """Send the backend and frontend of a shop and these members, and wait until HAProxy has them."""
        self.send(*SHOP, *map(online, ports), SYNCED)
        self.settle(0.5)
        self.assertEqual({*self.servers()}, {f"1:10.0.0.1:{port}" for port in ports})
        self.haproxy.commands()

    def servers(self) -> dict[str, tuple[int, int]]:
        return self.haproxy.servers("shop")
