"""What a driver does to HAProxy, and when."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from errno import ENOSPC
from os import strerror
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from bender.client import Event, Stand
from bender.haproxy import core
from bender.haproxy.config_file import ConfigRefused, Files, states_beside
from bender.haproxy.core.admin_states import StateAnswer
from bender.haproxy.core.desired_state import DesiredState
from bender.haproxy.core.pending_acks import BUSY_S_MAX
from bender.haproxy.core.registry import KEPT_S, ReceivedEvent, kept
from bender.haproxy.core.rendering import DYNAMIC_SINCE, Renderer
from bender.haproxy.driver import CHECK_S, QUIET_S, Driver
from bender.haproxy.name_resolution import AddressResolver
from bender.haproxy.reloader import AGAIN_S, BEGIN_S_MAX, HaproxyReloader
from bender.haproxy.runtime import Runtime
from bender.haproxy.state_reader import StateReader
from bender.haproxy.status import status
from bender.net.addresses import NoAnswer
from tests.exchange.network import Names
from tests.haproxy.events import backend, frontend, instance, offline, online
from tests.haproxy.standin import Endpoint, HAProxy, Reload, Server

TEMPLATE = Path(core.__file__).with_name("haproxy.cfg.j2").read_text("utf-8")

NODE = "10.0.0.1:1729"


class Watched:
    """Stands in for `Watch`: tells what a test has it tell."""

    def __init__(self) -> None:
        self.node: str | None = NODE
        self.taken: Stand | None = None
        self.on_taken: Callable[[], None] = lambda: None
        self.on_away: Callable[[dict[str, str]], None] = lambda _problems: None
        self.on_unreadable: Callable[[str, str, str], None] = lambda _node, _id, _problem: None
        self._events: deque[Event] = deque()
        self._taker: Deferred[None] | None = None
        self._number = 0

    def __aiter__(self) -> Watched:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            self._taker = Deferred()
            await self._taker
        event = self._events.popleft()
        if not self._events:
            self.stand()
        return event

    def stand(self) -> None:
        self.taken = Stand(NODE, str(self._number))
        self.on_taken()

    def tell(self, *said: ReceivedEvent) -> None:
        for each in said:
            self._number += 1
            self._events.append(Event(each.event, each.kind, each.id, each.reason, 0, dict(each.body), NODE))
        taker, self._taker = self._taker, None
        if taker is not None:
            taker.callback(None)

    async def aclose(self) -> None:
        """Nothing is open."""


class Told:
    """Stands in for `Consumer`: what it was told to tell."""

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
        """Nothing is under way."""


class Asked:
    """Stands in for `States`: what a node answers of any state."""

    def __init__(self) -> None:
        self.answer: StateAnswer | None = StateAnswer(removed=False)
        self.asked: list[str] = []

    async def ask(self, node: str, id_: str) -> StateAnswer:
        self.asked.append(id_)
        if self.answer is None:
            raise NoAnswer("does not answer")
        return self.answer


SYNCED = ReceivedEvent("synced", "registration", "", "snapshot", {})
SHOP = (backend("shop"), frontend("www", backend="shop", bind="*:80"))
A, B, C = (f"1:10.0.0.1:{port}" for port in (1, 2, 3))
ID = "registration/web/1/10.0.0.1/2"


class Time(Clock):
    """A clock, and names that nobody knows unless a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = Names()


class DriverCase(SynchronousTestCase):
    """A driver with a HAProxy that it starts."""

    version = "2.6.12"

    def setUp(self) -> None:
        self.clock = Time()
        self.haproxy = HAProxy(self.clock, version=self.version)
        self.output = Path(self.mktemp())
        self.checked: list[str] = []
        self.bad = "no such words"
        self.full = False
        self.reload = Reload(self.haproxy)
        self.begin()

    def begin(self, *, reporting: bool = False) -> None:
        """Start a driver, as another process."""
        self.watch, self.told, self.states = Watched(), Told(), Asked()
        runtime = Runtime(self.clock, Endpoint(self.haproxy))
        self.files = self.reload.files = Files(self.output, self.check, self.store)
        addresses = AddressResolver(self.clock)
        version = tuple(map(int, self.version.split(".")))
        desired = DesiredState(addresses.address_of, with_slots=version < DYNAMIC_SINCE)
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
            acknowledger=self.told,
            desired=desired,
            addresses=addresses,
            runtime=runtime,
            reloader=self.reloader,
            reporting=reporting,
        )
        self.driver.startService()
        self.asker = StateReader(self.clock, self.states, self.driver)
        self.asker.startService()
        self.addCleanup(self.asker.stopService)
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
        """Let so much time pass, from one thing that happens to the next."""
        ends_at = self.clock.seconds() + seconds
        for _ in range(20_000):
            next_at = min((call.getTime() for call in self.clock.getDelayedCalls()), default=ends_at + 1)
            if next_at > ends_at:
                break
            self.clock.advance(max(0.0, next_at - self.clock.seconds()))
        else:
            raise AssertionError("something happens without end")
        self.clock.advance(ends_at - self.clock.seconds())

    def tell(self, *said: ReceivedEvent) -> None:
        self.watch.tell(*said)
        self.settle()

    def serve(self, *ports: int) -> None:
        """Have a shop with these members."""
        self.tell(*SHOP, *map(online, ports), SYNCED)
        self.settle(0.5)
        self.assertEqual({*self.servers()}, {f"1:10.0.0.1:{port}" for port in ports})
        self.haproxy.commands()

    def servers(self) -> dict[str, tuple[int, int]]:
        return self.haproxy.servers("shop")


class Beginning(DriverCase):
    def test_nothing_happens_before_bender_has_said_all(self) -> None:
        """Then HAProxy is started, with all of it."""
        self.tell(*SHOP, online(1))
        self.settle(5)
        self.assertEqual((self.reload.starts, self.output.exists()), (0, False))
        self.tell(SYNCED)
        self.settle(0.5)
        self.assertEqual((self.reload.starts, self.reload.reloads), (1, 0))
        self.assertEqual(self.servers(), {A: (0, 1)})
        self.assertTrue(self.driver.ready)
        self.assertEqual(self.told.acknowledged, Stand(NODE, "4"))

    def test_another_driver_finds_haproxy_as_it_is(self) -> None:
        """It is told what was missed, and nothing is reloaded."""
        self.serve(1, 2)
        self.begin()
        self.tell(*SHOP, online(2), online(3))
        self.settle(3)
        self.assertEqual(self.haproxy.commands(), [])
        self.tell(SYNCED)
        self.settle(0.1)
        self.assertEqual(self.servers(), {B: (0, 1), C: (0, 1)})
        self.assertEqual((self.reload.starts, self.reload.reloads), (1, 0))

    def test_another_driver_does_not_know_yet_where_hosts_are(self) -> None:
        """Servers whose hosts have names stay while these are looked up, however long that takes."""
        self.clock.nameResolver.addresses["shop.example"] = ["10.0.0.7"]
        said = (*SHOP, online(1, host="shop.example"), SYNCED)
        self.tell(*said)
        self.settle(0.5)
        self.assertEqual([*self.servers()], ["1:shop.example:1"])
        self.haproxy.commands()
        self.driver.stopService()
        self.clock.nameResolver.addresses.clear()
        self.begin()
        self.tell(*said)
        self.settle(CHECK_S)
        self.assertEqual((self.haproxy.commands(), [*self.servers()]), ([], ["1:shop.example:1"]))

    def test_bender_has_lost_everything(self) -> None:
        """HAProxy is left as it is until somebody sets something up."""
        self.serve(1)
        self.begin()
        self.tell(SYNCED)
        self.settle(10)
        self.assertEqual((self.haproxy.commands(), self.servers()), ([], {A: (0, 1)}))
        self.assertIn("has no frontend", str(self.driver.held))
        self.assertFalse(self.driver.ready)
        self.tell(online(2), *SHOP)
        self.settle(QUIET_S + 0.5)
        self.assertEqual((self.servers(), self.driver.held), ({B: (0, 1)}, None))

    def test_bender_is_set_up_again(self) -> None:
        """HAProxy is left as it is until there is a frontend, and nothing more has come for a while."""
        self.serve(1)
        self.begin()
        self.tell(SYNCED, online(1))
        self.settle(1)
        shop, www = SHOP
        self.tell(shop)
        self.settle(2 * QUIET_S)
        self.assertIn("has no frontend", str(self.driver.held))
        self.tell(www)
        self.settle(QUIET_S - 1)
        self.tell(frontend("second", backend="shop", bind="*:81"))
        self.settle(QUIET_S - 1)
        self.assertIsNotNone(self.driver.held)
        self.assertEqual(self.reload.reloads, 0)
        self.settle(2)
        self.assertIsNone(self.driver.held)
        self.assertEqual({door.title for door in self.driver.reloader.topology.doors}, {"www", "second"})

    def test_a_file_that_is_not_ours(self) -> None:
        """It is loaded over only when there is something to say."""
        self.output.write_text("frontend x\n")
        self.begin()
        self.tell(SYNCED)
        self.settle(5)
        self.assertEqual(self.output.read_text(), "frontend x\n")
        self.tell(*SHOP)
        self.settle(QUIET_S + 1)
        self.assertIn("backend shop", self.output.read_text())

    def test_it_ends(self) -> None:
        """And what it had started with it."""
        self.serve(1)
        self.successResultOf(self.driver.stopService())
        self.asker.stopService()
        self.assertTrue(self.reload.ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Members(DriverCase):
    def test_they_come_and_go(self) -> None:
        """By commands alone, and nothing is reloaded."""
        self.serve(1, 2)
        self.tell(online(3))
        self.assertEqual(
            self.haproxy.commands(), [f"add server shop/{C} 10.0.0.1:3 weight 1", f"set server shop/{C} state ready"]
        )
        self.tell(offline(1, "expired"))
        name = f"shop/{A}"
        self.assertEqual(
            self.haproxy.commands(),
            [f"set server {name} state drain", f"set server {name} state maint", f"del server {name}"],
        )
        self.assertEqual((self.reload.reloads, self.told.acknowledged), (0, Stand(NODE, "7")))

    def test_one_with_requests(self) -> None:
        """It is deleted when they have ended, and until then bender is not told that it is gone."""
        self.serve(1, 2)
        before = self.told.acknowledged
        self.haproxy.pools["shop"][A].sessions = 1
        self.tell(offline(1, "deregistered"))
        self.settle(BUSY_S_MAX / 2)
        self.assertEqual((self.servers()[A], self.told.acknowledged), ((8, 1), before))
        self.haproxy.pools["shop"][A].sessions = 0
        self.settle(0.01)
        self.assertEqual(({*self.servers()}, self.told.acknowledged), ({B}, Stand(NODE, "6")))

    def test_one_with_a_request_that_does_not_end(self) -> None:
        """It stays, without new ones; bender is told after a while, and others go on."""
        self.serve(1, 2)
        self.haproxy.pools["shop"][A].sessions = 1
        self.tell(offline(1, "deregistered"))
        self.tell(online(3))
        self.assertEqual({*self.servers()}, {A, B, C})
        self.settle(BUSY_S_MAX + 0.01)
        self.assertEqual(self.told.acknowledged, Stand(NODE, "7"))
        self.settle(60)
        self.assertEqual(self.servers()[A], (8, 1))
        self.haproxy.pools["shop"][A].sessions = 0
        self.settle(CHECK_S)
        self.assertNotIn(A, self.servers())

    def test_a_deploy_and_back(self) -> None:
        """The servers of the other version come before those of this one go."""
        self.serve(1)
        self.tell(online(2, "2"), backend("shop", "changed", version="2"))
        commands = [command.rpartition("/")[0] + command[-5:] for command in self.haproxy.commands()]
        self.assertEqual(commands[:3], ["add server shopght 1", "set server shopready", "set server shopdrain"])
        self.tell(backend("shop", "changed", version="1"))
        self.assertEqual(self.servers(), {A: (0, 1)})
        self.assertEqual(self.reload.reloads, 0)

    def test_they_are_in_the_file_as_well(self) -> None:
        """Soon, and not more often than once a second."""
        self.serve(1)
        self.checked.clear()
        for port in range(2, 10):
            self.tell(online(port))
            self.settle(0.2)
        self.settle(1)
        self.assertIn("10.0.0.1:9 ", self.output.read_text())
        self.assertLessEqual(len(self.checked), 4)

    def test_what_somebody_else_changes(self) -> None:
        """It is put right at the next look."""
        self.serve(1, 2)
        self.haproxy.pools["shop"][A].admin = 1
        del self.haproxy.pools["shop"][B]
        self.haproxy.pools["shop"]["stranger"] = Server("10.0.0.9", 9, 1)
        self.settle(CHECK_S)
        self.assertEqual(self.servers(), {A: (0, 1), B: (0, 1)})

    def test_nothing_is_done_twice(self) -> None:
        """Looking changes nothing."""
        self.serve(1, 2)
        self.settle(20)
        self.assertEqual((self.haproxy.commands(), self.reload.reloads), ([], 0))

    def test_what_haproxy_does_not_carry_out(self) -> None:
        """It is said, and tried again."""
        self.serve(1)
        self.haproxy.on_command = self.delete
        self.tell(online(1, weight=7))
        self.assertIn("No such server.", self.driver.refused[0])
        self.haproxy.on_command = lambda _command: None
        self.settle(CHECK_S)
        self.assertEqual(self.servers(), {A: (0, 7)})

    def delete(self, _command: str) -> None:
        self.haproxy.pools["shop"].pop(A, None)


class Hostile(DriverCase):
    """What a node says that no node should."""

    def test_it_is_left_out_and_said_once(self) -> None:
        """The rest goes on, and the log has a line about each."""
        self.serve(1)
        lines: list[str] = []

        @provider(ILogObserver)
        def observer(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        bad = instance(2, state="ready; show env")
        evil = ReceivedEvent(
            "created", "backend", "backend/a\nb", "configured", {"name": "a\nb", "app": "web", "version": "1"}
        )
        for _ in range(3):
            self.tell(ReceivedEvent("online", "registration", bad["id"], "registered", bad), evil, online(3))
            self.settle(3)
        self.assertEqual({*self.servers()}, {A, C})
        said = [line for line in lines if "left out" in line]
        name, state = said
        self.assertTrue(
            name.startswith("backend/a\\nb is left out, in whole or in part: name: must be printable"), name
        )
        self.assertEqual(state, f"{bad['id']} is left out, in whole or in part: state: must be up, drain, maint.")
        self.assertEqual([*status(self.driver)["problems"]], ["backend/a\\nb", bad["id"]])

    def test_an_event_that_cannot_be_read(self) -> None:
        """It is said of what it is about, or of the node."""
        self.serve(1)
        self.watch.on_unreadable(NODE, "", "Expected `str`\x1b")
        self.watch.on_unreadable(NODE, "backend/a\n", "Expected `str`")
        self.settle()
        problem = "sent an event that cannot be read: Expected `str`"
        problems = {NODE: f"{problem}\\x1b", "backend/a\\n": f"{NODE} {problem}"}
        self.assertEqual(status(self.driver)["problems"], problems)


class Itself(DriverCase):
    """Members that are where HAProxy listens."""

    def problem(self, id_: str) -> str:
        problem: str = status(self.driver)["problems"][id_]
        return problem

    def test_one_that_registers(self) -> None:
        """It is not added, nor in the file, and it is said why; others are."""
        self.clock.nameResolver.addresses["localhost"] = ["127.0.0.1"]
        shop = backend("shop", servers=["127.0.0.2:80", "127.0.0.1:82"])
        here = [online(80, host="127.0.0.1"), online(80, host="localhost"), online(81, host="127.0.0.1"), online(80)]
        self.tell(shop, SHOP[1], *here, SYNCED)
        self.settle(1)
        self.assertEqual([*self.servers()], ["127.0.0.1:82", "1:10.0.0.1:80", "1:127.0.0.1:81"])
        self.assertNotIn("127.0.0.1:80 ", self.output.read_text())
        said = "127.0.0.1, port 80, is where HAProxy itself listens (bind *:80)"
        self.assertEqual(self.problem("registration/web/1/127.0.0.1/80"), said)
        self.assertEqual(self.problem("registration/web/1/localhost/80"), said)
        self.assertIn("127.0.0.2, port 80", self.problem("server/127.0.0.2/80"))
        self.tell(offline(80, "expired", host="127.0.0.1"))
        self.assertNotIn("registration/web/1/127.0.0.1/80", status(self.driver)["problems"])

    def test_a_frontend_that_comes_later(self) -> None:
        """Its server goes before HAProxy listens there, and comes back some time after the frontend is gone."""
        loopback = "1:127.0.0.1:81"
        self.serve(1)
        self.tell(online(81, host="127.0.0.1"))
        self.assertIn(loopback, self.servers())
        self.tell(frontend("second", backend="shop", bind="127.0.0.1:81"))
        self.assertNotIn(loopback, self.servers())
        self.assertNotIn("bind 127.0.0.1:81", self.output.read_text())
        self.settle(2)
        self.assertIn("bind 127.0.0.1:81", self.output.read_text())
        self.assertNotIn(loopback, self.servers())
        self.tell(frontend("second", "removed"))
        self.assertNotIn(loopback, self.servers())
        self.settle(2 * CHECK_S)
        self.assertIn(loopback, self.servers())
        self.assertEqual(status(self.driver)["problems"], {})


class Shapes(DriverCase):
    def test_a_new_backend_takes_a_reload(self) -> None:
        """One for what comes together, with the servers of that moment, and then it is looked at at once."""
        self.serve(1)
        self.settle(2)
        self.tell(backend("api"))
        self.settle(0.05)
        self.tell(frontend("api", backend="api", bind="*:81"))
        self.haproxy.pools["shop"][A].weight = 9
        self.settle(0.3)
        self.assertEqual(self.reload.reloads, 1)
        self.assertEqual(self.haproxy.servers("api"), {A: (0, 1)})
        self.assertEqual(self.reloader.reloads, 1)

    def test_many_in_a_row(self) -> None:
        """Not more than one reload a second."""
        self.serve(1)
        self.settle(2)
        for i in range(20):
            self.tell(backend(f"b{i}"))
            self.settle(0.1)
        self.settle(2)
        self.assertLessEqual(self.reload.reloads, 4)
        self.assertIn("b19", self.haproxy.pools)

    def test_changes_without_an_end(self) -> None:
        """They do not put off what takes a reload, whether they take one themselves or not."""
        self.serve(1)
        self.settle(2)
        self.tell(frontend("late", backend="shop", bind="*:81"))
        for i in range(30):
            self.tell(backend("shop", "changed", canary={"version": "2", "percent": i}), backend(f"b{i}"))
            self.settle(0.05)
        self.assertIn("frontend late", self.output.read_text())
        self.assertGreaterEqual(self.reload.reloads, 1)

    def test_what_haproxy_refuses(self) -> None:
        """The last good file stays, members go on changing in it, and it is tried again after a while."""
        self.serve(1)
        self.settle(2)
        self.bad = "bad"
        good = self.output.read_text()
        self.tell(backend("bad"))
        self.settle(5)
        self.assertEqual((self.output.read_text(), self.reload.reloads), (good, 0))
        self.assertEqual(getattr(self.reloader.refusal, "why", ""), "it has bad words")
        self.tell(online(2))
        self.settle(2)
        self.assertIn(f"server {B} ", self.output.read_text())
        self.assertEqual(self.servers(), {A: (0, 1), B: (0, 1)})
        self.assertEqual(len([text for text in self.checked if "backend/bad" in text]), 1)
        self.settle(AGAIN_S)
        self.assertEqual(len([text for text in self.checked if "backend/bad" in text]), 2)
        self.tell(backend("bad", "removed"))
        self.settle(2)
        self.assertIsNone(self.reloader.refusal)

    def change_that_cannot_be_written(self) -> Path:
        """A server comes while something is in the draft's place: that."""
        self.serve(1)
        self.settle(2)
        in_the_way = self.output.with_name(f".{self.output.name}.draft")
        in_the_way.mkdir()
        self.tell(online(2))
        self.settle(2)
        return in_the_way

    def test_a_file_that_cannot_be_written(self) -> None:
        """It is said, and tried again after a while."""
        in_the_way = self.change_that_cannot_be_written()
        self.assertIn("cannot be written", str(self.reloader.problem))
        self.tell(backend("api"))
        self.settle(2)
        self.assertIn("cannot be written", getattr(self.reloader.refusal, "why", ""))
        in_the_way.rmdir()
        self.settle(AGAIN_S)
        self.assertIn("backend api", self.output.read_text())
        self.assertIn("api", self.haproxy.pools)
        self.assertIsNone(self.reloader.problem)

    def test_a_file_with_other_servers_that_cannot_be_written(self) -> None:
        """It is written when it can be, though nothing else has changed by then."""
        in_the_way = self.change_that_cannot_be_written()
        in_the_way.rmdir()
        self.settle(AGAIN_S)
        self.assertIn(f"server {B} ", self.output.read_text())
        self.assertIsNone(self.reloader.problem)

    def test_what_haproxy_cannot_begin_with(self) -> None:
        """The file is as it was before; it is tried again after a while, and after twice of that."""
        self.serve(1)
        self.settle(2)
        self.reload.works = False
        good = self.output.read_text()
        self.tell(backend("api"))
        self.settle(BEGIN_S_MAX + 1)
        self.assertEqual(self.output.read_text(), good)
        self.assertIn("did not start", getattr(self.reloader.refusal, "why", ""))
        self.assertEqual(self.reload.reloads, 1)
        self.settle(AGAIN_S + BEGIN_S_MAX)
        self.assertEqual(self.reload.reloads, 2)
        self.settle(2 * AGAIN_S - 1)
        self.assertEqual(self.reload.reloads, 2)
        self.reload.works = True
        self.settle(BEGIN_S_MAX)
        self.assertIsNone(self.reloader.refusal)
        self.assertIn("api", self.haproxy.pools)

    def test_what_haproxy_cannot_begin_with_after_another_driver(self) -> None:
        """The file is as that one left it, for this one cannot know how to write it."""
        self.serve(1)
        self.settle(2)
        good = self.output.read_text()
        self.begin()
        self.reload.works = False
        self.tell(*SHOP, online(1), backend("api"), SYNCED)
        self.settle(1)
        self.assertNotEqual(self.output.read_text(), good)
        self.settle(BEGIN_S_MAX)
        self.assertEqual(self.output.read_text(), good)
        self.tell(online(2))
        self.assertEqual(self.servers(), {A: (0, 1), B: (0, 1)})

    def test_who_cannot_reload(self) -> None:
        """It waits for somebody who does, with a file that is ready for that."""
        self.serve(1)
        self.settle(2)
        self.reload.able, self.reload.problem = False, "by hand"
        self.tell(backend("api"), online(2))
        self.settle(5)
        self.assertIn("backend api", self.output.read_text())
        self.assertEqual(self.servers(), {A: (0, 1), B: (0, 1)})
        self.haproxy.load(self.output.read_text())
        self.settle(CHECK_S)
        self.assertIsNone(self.reloader.refusal)

    def test_haproxy_begins_again_unnoticed(self) -> None:
        """Whatever is done next, all of it is looked at."""
        self.tell(backend("api", app="api"))
        self.serve(1)
        self.settle(2)
        text = self.output.read_text()
        self.tell(online(2), offline(1, "expired"))
        self.haproxy.load(text)
        self.assertEqual(self.servers(), {A: (0, 1)})
        self.tell(backend("api", "changed", app="api", version="2"))
        self.assertEqual(self.servers(), {B: (0, 1)})

    def test_bender_is_told_only_what_haproxy_has_answered(self) -> None:
        """However long that takes."""
        self.serve(1, 2)
        before = self.told.acknowledged
        self.haproxy.running = False
        self.tell(offline(1, "deregistered"))
        self.settle(10)
        self.assertEqual(self.told.acknowledged, before)
        self.haproxy.load(self.output.read_text())
        self.settle(1.1)
        self.assertEqual((self.told.acknowledged, {*self.servers()}), (Stand(NODE, "6"), {B}))

    def test_haproxy_begins_again_by_itself(self) -> None:
        """It comes back with the file, and what that lacks is put right at once."""
        self.serve(1)
        self.settle(2)
        text = self.output.read_text()
        self.haproxy.running = False
        self.tell(online(2), offline(1, "expired"))
        self.settle(3)
        self.assertIn("refused", self.driver.silence)
        self.haproxy.load(text)
        self.settle(1.1)
        self.assertEqual(self.servers(), {B: (0, 1)})
        self.assertEqual(self.reload.reloads, 0)


class Checks(DriverCase):
    """A shop whose servers are checked: A is up, and B was found down."""

    def setUp(self) -> None:
        super().setUp()
        self.tell(backend("shop", health={"path": "/health"}), SHOP[1], online(1), online(2), SYNCED)
        self.settle(0.5)
        for server, result in ((A, 3), (B, 2)):
            self.haproxy.pools["shop"][server].check_result = result
        self.haproxy.pools["shop"][B].down = True
        self.haproxy.commands()

    def down(self) -> list[str]:
        """The servers that HAProxy would begin with as down."""
        lines = states_beside(self.output).read_text().splitlines()
        return [line.split()[3] for line in lines[2:]]

    def test_what_is_down_is_in_a_file(self) -> None:
        """Two seconds after it went down, and with the change of a server; and not any more when it is up."""
        self.assertEqual(self.down(), [])
        self.settle(CHECK_S)
        self.assertEqual(self.down(), [B])
        self.tell(online(3))
        self.settle(CHECK_S)
        self.assertEqual(self.down(), [B, C])
        for server in (B, C):
            self.haproxy.pools["shop"][server].down = False
            self.haproxy.pools["shop"][server].check_result = 3
        self.settle(CHECK_S)
        self.assertEqual(self.down(), [])

    def test_before_a_reload_it_is_looked_again(self) -> None:
        """What went down a moment ago is in the file; HAProxy is told again where it did not read that."""
        self.tell(frontend("other", backend="shop", bind="*:81"))
        self.settle(1)
        self.assertEqual((self.reload.reloads, self.down()), (1, [B]))
        self.assertEqual(self.haproxy.commands(), [f"set server shop/{B} health down"])
        self.settle(CHECK_S)
        self.assertEqual((self.haproxy.commands(), self.down()), ([], [B]))

    def test_another_driver_knows_what_was_down(self) -> None:
        """Also where HAProxy was started again while there was none."""
        self.settle(CHECK_S)
        self.driver.stopService()
        self.haproxy.load(self.output.read_text())
        self.begin()
        self.tell(backend("shop", health={"path": "/health"}), SHOP[1], online(1), online(2), SYNCED)
        self.settle(CHECK_S)
        self.assertEqual((self.haproxy.commands(), self.down()), ([f"set server shop/{B} health down"], [B]))

    def test_the_file_cannot_be_written(self) -> None:
        """That is said, and all else goes on."""
        file = states_beside(self.output)
        file.unlink()
        file.mkdir()
        self.settle(CHECK_S)
        self.assertIn(f"{file} cannot be written", str(self.reloader.states_problem))
        self.tell(frontend("other", backend="shop", bind="*:81"))
        self.settle(1)
        self.assertEqual(self.reload.reloads, 1)
        file.rmdir()
        self.settle(CHECK_S)
        self.assertEqual((self.reloader.states_problem, self.down()), (None, [B]))


class WithoutBender(DriverCase):
    def test_no_node_can_be_followed(self) -> None:
        """HAProxy stays as it is, for as long as that lasts."""
        self.serve(1, 2)
        self.tell(offline(1, "node-lost"))
        self.watch.on_away({NODE: "does not answer"})
        self.settle(10 * KEPT_S)
        self.assertEqual({*self.servers()}, {A, B})
        self.watch.stand()
        self.settle(KEPT_S - 1)
        self.assertEqual({*self.servers()}, {A, B})
        self.settle(2)
        self.assertEqual({*self.servers()}, {B})

    def test_who_is_not_heard_of(self) -> None:
        """It stays for a minute, or until it is known to be gone."""
        self.serve(1, 2, 3)
        self.tell(offline(1, "node-lost"), offline(2, "missed"), offline(3, "node-lost"))
        self.settle(1)
        self.assertEqual({*self.servers()}, {A, B, C})
        self.tell(offline(1, "expired"), online(3))
        self.assertEqual({*self.servers()}, {B, C})
        self.settle(KEPT_S)
        self.assertEqual({*self.servers()}, {C})

    def test_configuration_that_is_missing(self) -> None:
        """Nobody has removed it."""
        self.serve(1)
        self.tell(backend("shop", "removed", "missed"), frontend("www", "removed", "missed"))
        self.settle(5)
        self.assertEqual((self.servers(), self.reload.reloads), ({A: (0, 1)}, 0))
        self.tell(*SHOP)
        self.tell(frontend("www", "removed"), backend("shop", "removed"))
        self.settle(2)
        self.assertNotIn("shop", self.haproxy.pools)


class States(DriverCase):
    """A shop with A and B, of which an operator has set B to maintenance for a minute."""

    def setUp(self) -> None:
        super().setUp()
        self.states.answer = StateAnswer("maint", 60.0)
        self.serve(1, 2)
        self.tell(self.changed("maint"))
        self.settle(2)
        self.haproxy.commands()

    def changed(self, state: str, reason: str = "configured") -> ReceivedEvent:
        return evolve(online(2, state=state), event="changed", reason=reason)

    def lose(self) -> None:
        """Bender is restarted; then B registers."""
        self.states.answer = StateAnswer(removed=False)
        self.tell(offline(2, "missed"), online(2))
        self.settle(2)

    def out(self) -> bool:
        return self.servers()[B][0] == 1

    def test_bender_has_lost_it(self) -> None:
        """It stays until its time is over, is among what is kept, and that is said once."""
        self.lose()
        self.assertEqual((self.out(), [*kept(self.driver.desired.registry)]), (True, [f"{ID}/state"]))
        self.settle(55)
        self.assertTrue(self.out())
        self.settle(4)
        self.assertEqual((self.out(), [*kept(self.driver.desired.registry)]), (False, []))

    def test_what_a_node_says_positively(self) -> None:
        """That it was removed, in an event or when it is asked; that another one is set; and that it is set again."""
        for answer, out in (
            (StateAnswer(removed=True), False),
            (StateAnswer("up", 60.0), False),
            (StateAnswer("maint", 60.0), True),
            (StateAnswer(removed=None), False),
        ):
            self.tell(self.changed("maint"))
            self.lose()
            self.assertTrue(self.out())
            self.states.answer = answer
            self.settle(4)
            self.assertEqual((self.out(), [*kept(self.driver.desired.registry)]), (out, []), answer)
            self.tell(self.changed("up"))
            self.settle(1)
            self.assertFalse(self.out())

    def test_no_node_answers(self) -> None:
        """Then it stays."""
        self.states.answer = None
        self.tell(offline(2, "deregistered"), online(2))
        self.settle(10)
        self.assertTrue(self.out())
        self.states.answer = StateAnswer(removed=True)
        self.settle(2)
        self.assertFalse(self.out())


class WithSlots(DriverCase):
    """Where servers cannot be added."""

    version = "2.4.22"

    def test_members_take_slots(self) -> None:
        """Without a reload as long as there are some."""
        self.tell(*SHOP, online(1), SYNCED)
        self.settle(0.5)
        self.assertEqual(len(self.servers()), 8)
        self.tell(online(2), offline(1, "expired"))
        used = {(each.address, each.port) for each in self.haproxy.pools["shop"].values() if not each.admin & 1}
        self.assertEqual((used, self.reload.reloads), ({("10.0.0.1", 2)}, 0))

    def test_more_members_than_slots(self) -> None:
        """There are more of them after a reload."""
        self.tell(*SHOP, online(1), SYNCED)
        self.settle(2)
        self.tell(*map(online, range(2, 10)))
        self.settle(2)
        self.assertEqual((len(self.servers()), self.reload.reloads), (32, 1))
        used = {each.port for each in self.haproxy.pools["shop"].values() if not each.admin & 1}
        self.assertEqual(used, {*range(1, 10)})


class Reporting(DriverCase):
    def test_what_haproxy_has_counted(self) -> None:
        """It is told with every look, without what was there before."""
        self.serve(1, 2)
        self.begin(reporting=True)
        self.haproxy.pools["shop"][A].requests = 100
        self.tell(*SHOP, online(1), online(2), SYNCED)
        self.settle(0.1)
        self.haproxy.pools["shop"][A].requests = 107
        self.haproxy.pools["shop"][B].status = "DOWN"
        self.settle(CHECK_S)
        report = self.told.reports[-1]
        self.assertEqual(report["backends"], {"shop": {"1": {"requests": 7, "errors": 0}}})
        self.assertEqual(report["down"], ["registration/web/1/10.0.0.1/2"])
        self.haproxy.pools["shop"][A].requests = 109
        self.tell(offline(1, "expired"))
        self.settle(CHECK_S)
        self.assertEqual(self.told.reports[-1]["backends"]["shop"]["1"]["requests"], 9)
