"""A command and its registration, on a network in memory, for the tests of `CommandSupervisor`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from bender.run import CommandSupervisor, RunPlan
from bender.run.local_address import LocalAddress
from bender.run.port_holder import Holder, Holding, PortHolder
from bender.run.process_table import Process
from bender.run.socket_table import SocketTable
from tests.client.cluster import ALL, THREE, ClientCase

HOST = "10.9.9.9"
ID = f"registration/web/1/{HOST}/8080"


@define
class Running:
    """A fake command that notes the signals it gets and ends by `end`; then the processes in `rest` continue."""

    on_exit: Callable[[int], None]
    status: int | None = None
    signals: list[int] = field(factory=list)
    rest: list[Process] = field(factory=list)
    told_rest: list[Process] = field(factory=list)
    can_follow: bool = True
    follows: bool = False
    ended_by: int | None = None

    def processes(self) -> list[Process]:
        return [Process(100, 1, 100, "serve"), *self.rest] if self.status is None else [*self.rest]

    def follow(self) -> None:
        self.follows = True

    def signal(self, number: int) -> None:
        self.signals.append(number)

    def end_remaining(self) -> list[Process]:
        found = [process for process in self.rest if process not in self.told_rest]
        self.told_rest += found
        return found

    def end(self, status: int, by: int | None = None) -> None:
        self.status = status
        self.ended_by = by
        self.on_exit(status if by is None else 128 + by)


class Port(PortHolder):
    """A fake of the sockets of this machine."""

    def __init__(self) -> None:
        super().__init__(8080, sockets=SocketTable(Path("nowhere")))
        self.holding = Holding(Holder.UNKNOWN)
        self.bound: list[str] = []
        self.others: list[int] = []
        self.is_held_by_rest = True
        self.looks = 0

    def find_holder(self, host: str, command_pids: Callable[[], Iterable[int] | None]) -> Holding:
        del host, command_pids
        self.looks += 1
        return self.holding

    def bound_addresses(self) -> list[str]:
        return self.bound

    def other_ports(self, command_pids: Callable[[], Iterable[int] | None]) -> list[int]:
        del command_pids
        return self.others

    def is_held_by(self, processes: Iterable[int]) -> bool:
        return self.is_held_by_rest and bool([*processes])


class Page(Resource):
    """The page of the command; `code` is its status."""

    isLeaf = True
    code = 200
    endless = False

    def render_GET(self, request: Request) -> bytes | int:
        request.setResponseCode(self.code)
        if self.endless:
            request.write(b"as it is, and")
            return NOT_DONE_YET
        return b"as it is"


class RunnerCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.page = Page()
        #: The sockets and processes of this machine, beyond the network in memory.
        self.port = Port()

    def run_it(self, **plan: Any) -> CommandSupervisor:
        asking = self.client(*ALL)
        planned = RunPlan(**{"app": "web", "version": "1", "port": 8080, "host": HOST, **plan})
        self.suspended = 0
        self.addresses = ["10.0.0.9"]
        address = LocalAddress(
            self.network,
            asking,
            route=lambda _host: self.addresses[0] or None,
            is_local=lambda host: host in self.addresses,
        )
        self.runner = CommandSupervisor(
            self.network, asking, planned, self.start_command, port=self.port, address=address, suspend=self.suspend
        )
        self.done: Deferred[int] = self.runner.done
        self.addCleanup(self.finish)
        self.network.settle()
        return self.runner

    def suspend(self) -> None:
        self.suspended += 1

    def start_command(self, on_end: Callable[[int], None]) -> Running:
        self.command = Running(on_end)
        return self.command

    def finish(self) -> None:
        if self.command.status is None:
            self.command.end(0)
        self.network.pass_time(8)

    def serve(self) -> None:
        self.network.listening[HOST, 8080] = Site(self.page, reactor=self.network)

    def listed(self, host: str = THREE) -> bool:
        return self.node(host).claim(ID) is not None


@implementer(ILogObserver)
@define
class Lines:
    """The log lines of `bender.run`, at this level or above."""

    least: LogLevel
    lines: list[str] = field(factory=list)

    def __call__(self, event: LogEvent) -> None:
        if event["log_namespace"].startswith("bender.run") and event["log_level"] >= self.least:
            self.lines.append(formatEvent(event))


class ReportingCase(RunnerCase):
    """A case that collects log lines."""

    least = LogLevel.warn

    def setUp(self) -> None:
        super().setUp()
        observer = Lines(self.least)
        self.lines = observer.lines
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines_in(self, seconds: float) -> list[str]:
        """Return the lines that are logged within this time."""
        self.lines.clear()
        self.network.pass_time(seconds)
        return [*self.lines]
