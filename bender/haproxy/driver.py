"""Keeps HAProxy in the state that bender reports, and decides about the order of all actions.

The driver works in turns, one at a time, so that no command goes to a process that is about to be replaced. A turn
updates HAProxy's servers, if they may have changed or a check is due. Then it confirms the applied events to bender.
Last, it rewrites the file or reloads HAProxy, if that is due. After a failure HAProxy stays unchanged until a retry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from math import inf
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from bender.client import Event, Stand
from bender.haproxy.acknowledger import Report
from bender.haproxy.core.actual_state import HaproxyProcess, Row, Unreadable
from bender.haproxy.core.condition import Condition, DriverProblem
from bender.haproxy.core.desired_state import DesiredState
from bender.haproxy.core.machine_settings import Machine
from bender.haproxy.core.pending_acks import LeavingServers, PendingAcks
from bender.haproxy.core.registry import ReceivedEvent
from bender.haproxy.core.rendering import DYNAMIC_SINCE, Renderer
from bender.haproxy.core.report import TrafficCounts
from bender.haproxy.core.safe_text import printable
from bender.haproxy.core.topology import Pool
from bender.haproxy.name_resolution import AddressResolver
from bender.haproxy.problems import current_problems
from bender.haproxy.processes import ProcessWatch
from bender.haproxy.reconciler import ReconcileOutcome, Reconciler
from bender.haproxy.reloader import HaproxyReloader
from bender.haproxy.runtime import Runtime
from bender.net.addresses import NoAnswer

#: Seconds between two checks of HAProxy's state, where nothing else causes one.
CHECK_S = 2.0

#: If bender has lost its configuration, people and scripts set it again, object by object. The configuration counts as
#: complete after this many seconds without a change.
QUIET_S = 3.0

#: The pause before HAProxy is asked again after it did not answer: at first, and at most.
RETRY_S_MIN = 0.05
RETRY_S_MAX = 1.0

#: The reason at the start why HAProxy does not answer, which is not a fault.
NOT_ASKED = "has not been asked yet"

#: How many of the commands that HAProxy refused are kept for `/status`.
REFUSED_MAX = 10


class FollowedEvents(Protocol):
    """The part of `bender.client.Watch` that the driver uses."""

    node: str | None
    taken: Stand | None
    on_taken: Callable[[], None]
    on_away: Callable[[dict[str, str]], None]
    on_unreadable: Callable[[str, str, str], None]

    def __aiter__(self) -> AsyncIterator[Event]: ...
    async def aclose(self) -> None: ...


class Acknowledging(Protocol):
    """The part of `bender.haproxy.acknowledger.Acknowledger` that the driver uses."""

    name: str
    acknowledged: Stand | None
    problem: str | None
    report: Callable[[], Report] | None
    followed: str | None

    def acknowledge(self, stand: Stand) -> None: ...
    def send(self) -> None: ...
    def close(self) -> None: ...


class Driver(Service):
    """The driver of one HAProxy. Its public attributes are what `/status` shows."""

    _log = Logger()
    #: Commands that HAProxy refused since the start, and when the last event came, in ms since the epoch.
    refused_count = last_event_ms = 0
    #: Events and turns that failed because of a defect in bender, and whether one of them has stopped the driver.
    failures = 0
    has_stopped = False

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        watch: FollowedEvents,
        acknowledger: Acknowledging,
        desired: DesiredState,
        addresses: AddressResolver,
        runtime: Runtime,
        reloader: HaproxyReloader,
        reporting: bool,
    ) -> None:
        self.watch = watch
        self.acknowledger = acknowledger
        self.desired = desired
        self.reloader = reloader
        #: The process that answered last, None while none does; and the reason why none does.
        self.process: HaproxyProcess | None = None
        self.silence = NOT_ASKED
        #: The last commands that HAProxy refused, with its answers.
        self.refused_commands: deque[str] = deque(maxlen=REFUSED_MAX)
        #: HAProxy's counts, as read last.
        self.rows: list[Row] = []
        self.counts = TrafficCounts()
        #: Whether a node has sent its full state, and whether HAProxy had the desired state at some time after that.
        self.synced = self.ready = False
        #: Why HAProxy is not changed although a node has sent its full state; None if it may be changed.
        self.hold_reason: str | None = None
        #: If no node can be followed: why not, by node; else empty.
        self.unreachable_nodes: Mapping[str, str] = {}
        #: When the oldest event came that is not confirmed yet; None if all are confirmed.
        self.behind_since: float | None = None
        self._reactor = reactor
        self._addresses = addresses
        self._runtime = runtime
        self._reporting = reporting
        acknowledger.report = self._report
        self._condition = Condition()
        self._followed: str | None = None
        self._stand: Stand | None = None
        self._pending_acks: PendingAcks[Stand] = PendingAcks()
        self._leaving = LeavingServers()
        self._check_all = True
        self._check_at = self._look_at = self._retry_at = -inf
        # Until when the configuration that bender has lost may still be incomplete.
        self._quiet_at = -inf
        self._retry_s = RETRY_S_MIN
        self._process_watch: ProcessWatch | None = None
        self._woken: Deferred[None] | None = None
        self._running: list[Deferred[None]] = []

    def now(self) -> float:
        """Return the time on the clock of `behind_since`."""
        return float(self._reactor.seconds())

    # Service.

    def startService(self) -> None:
        super().startService()
        self.watch.on_taken = self._batch_taken
        self.watch.on_away = self._no_node_is_followed
        self.watch.on_unreadable = self._event_unreadable
        self._addresses.on_change = self._address_changed
        if self.reloader.files.written is not None:
            self.reloader.control.start()
        self._running = [Deferred.fromCoroutine(each) for each in (self._follow(), self._run_turns())]
        for each in self._running:
            each.addErrback(self._loop_ended)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        for each in self._running:
            each.cancel()
        await self.watch.aclose()
        self.acknowledger.close()
        self.reloader.close()
        self._addresses.close()
        self._watch_process(None)
        await self.reloader.control.stop()

    def _loop_ended(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self.failures += 1
            self.has_stopped = True
            self._log.failure("The driver has stopped working after an unexpected error: restart it.", failure)

    # Events from bender.

    async def _follow(self) -> None:
        async for event in self.watch:
            try:
                self._receive(event)
            except Exception:
                self.failures += 1
                self._log.failure("An event about {id} could not be processed and is ignored.", id=printable(event.id))

    def _receive(self, event: Event) -> None:
        now = self._reactor.seconds()
        self.last_event_ms = self.reloader.wall_ms()
        self._node_is_followed()
        if event.event == "synced":
            self.desired.note_synced(now)
            self.synced = True
            self._log.info("Following {node}, which has sent its full state.", node=event.node)
        else:
            kind: Any = event.kind
            if self.hold_reason is not None and kind != "registration":
                self._quiet_at = now + QUIET_S
            self.desired.receive(ReceivedEvent(event.event, kind, event.id, event.reason, event.body), now)
            if kind != "registration":
                self._condition.receive(event.id, None if event.event == "removed" else event.body)
        self.wake()

    def _batch_taken(self) -> None:
        self._node_is_followed()
        before, self._stand = self._followed, self.watch.taken
        self._followed = self.acknowledger.followed = None if self._stand is None else self._stand.node
        if self._followed != before and before is not None:
            self._log.info("Following {node} instead of {before}.", node=self._followed, before=before)
        if self.behind_since is None:
            self.behind_since = self._reactor.seconds()
        self.wake()

    def _node_is_followed(self) -> None:
        """Note that a node is followed."""
        if self.unreachable_nodes:
            self.unreachable_nodes = {}
            self.desired.registry.restart_keep_times(self._reactor.seconds())
            self._log.info("Following {node} again.", node=self.watch.node)

    def _no_node_is_followed(self, problems: Mapping[str, str]) -> None:
        self.unreachable_nodes = dict(problems)
        reasons = "; ".join(f"{node} {problem}" for node, problem in problems.items())
        self._log.warn("No node can be followed; HAProxy stays unchanged: {problems}.", problems=reasons)

    def _event_unreadable(self, node: str, id_: str, problem: str) -> None:
        problem = f"sent an event that cannot be read: {problem}"
        self.desired.registry.note_problem(id_ or node, f"{node} {problem}" if id_ else problem)
        self.wake()

    def _address_changed(self, host: str) -> None:
        self.desired.address_changed(host)
        self.wake()

    def may_act(self) -> bool:
        """Return True if bender has sent enough for HAProxy to be changed."""
        if not self.synced:
            return False
        lost = not self.desired.registry.frontends and self.reloader.serves_clients
        if lost and self.hold_reason is not None:
            self.reloader.files.forget_removed()
            lost = self.reloader.serves_clients
        if self.ready or not (lost or self._reactor.seconds() < self._quiet_at):
            self.hold_reason = None
            return True
        why = (
            f"bender has no frontend, but {self.reloader.files.output} has some: set the frontends again, or remove "
            "that file if HAProxy is to serve none"
        )
        if not lost:
            why = f"backends and frontends are being set again; waiting until none has changed for {QUIET_S:g} s"
        if self.hold_reason != why:
            self.hold_reason = why
            self._log.warn("HAProxy stays unchanged: {why}.", why=why)
        return False

    # Turns.

    def use_renderer(self, renderer: Renderer) -> None:
        """Render HAProxy's configuration by another template."""
        self.reloader.use_renderer(renderer)
        self.desired.topology_changed = True
        self.wake()

    def use_machine(self, machine: Machine, problems: Mapping[str, str]) -> None:
        """Use these settings of the machine; `problems` has, by id, why a part of them cannot be used."""
        if (machine, problems) != (self.desired.machine, self.desired.machine_problems):
            self.desired.machine, self.desired.machine_problems = machine, {**problems}
            self.desired.topology_changed = True
            self.wake()

    def wake(self) -> None:
        """Begin a turn, if none is under way, because work may be due."""
        woken, self._woken = self._woken, None
        if woken is not None and not woken.called:
            woken.callback(None)

    async def _run_turns(self) -> None:
        while True:
            try:
                await self._turn()
            except CancelledError:
                raise
            except Exception:
                self.failures += 1
                self._log.failure("Updating HAProxy failed; the next attempt compares all servers with bender.")
                self._retry_later()
            self._log_problems()
            self._report_changes()
            await self._wait_for_work()

    def _log_problems(self) -> None:
        """Log each problem once, as long as it lasts."""
        for id_, problem in self.desired.new_problems().items():
            self._log.warn("{id} is missing or incomplete in HAProxy: {problem}.", id=id_, problem=problem)

    def _report(self) -> Report:
        counted = self.counts.report() if self._reporting else {}
        # A setting must not be reported as applied without the problems of its parts.
        self._condition.set_problems(self.current_problems(), self.reloader.wall_ms())
        return counted | self._condition.report_to_send(self._is_applied, self._reactor.seconds())

    def _is_applied(self, id_: str) -> bool:
        return self.hold_reason is None and self.reloader.has_applied(id_, self.process)

    def _report_changes(self) -> None:
        """Report the applied settings and the problems at once, if they differ from the last report."""
        if not self.synced or self.unreachable_nodes:
            return
        self._condition.set_problems(self.current_problems(), self.reloader.wall_ms())
        if self._condition.is_due(self._is_applied, self._reactor.seconds()):
            self.acknowledger.send()

    def current_problems(self) -> list[DriverProblem]:
        """Return why HAProxy's state differs from bender's now."""
        left_out = self.desired.all_problems
        # Silence is a problem only after HAProxy was asked and has a configuration to start with.
        silence = "" if self.silence == NOT_ASKED or self.reloader.files.written is None else self.silence
        return [*current_problems(self.reloader, hold_reason=self.hold_reason, silence=silence, left_out=left_out)]

    async def _wait_for_work(self) -> None:
        """Wait until a turn is due, and until the driver has received all events that came together."""
        wait_s = self._due_at() - self._reactor.seconds()
        if wait_s > 0:
            woken: Deferred[None] = Deferred()
            self._woken = woken
            timer = self._reactor.callLater(wait_s, self.wake)
            try:
                await woken
            finally:
                if timer.active():
                    timer.cancel()
        await deferLater(self._reactor, 0)

    def _due_at(self) -> float:
        if not self.may_act():
            now = self.now()
            return self._quiet_at if now < self._quiet_at < now + CHECK_S else now + CHECK_S
        if self.desired.changed or self.desired.topology_changed or self._check_all or self._stand is not None:
            return self._retry_at
        at = [self._check_at, self.reloader.due_at(self.process)]
        others = self.desired.due_at(lapsing=not self.unreachable_nodes), self._pending_acks.due_at()
        at += [due_at for due_at in others if due_at is not None]
        if self._leaving.since:
            at.append(self._look_at)
        return max(min(at), self._retry_at)

    async def _turn(self) -> None:
        now = self._reactor.seconds()
        self.desired.pass_time(now, lapsing=not self.unreachable_nodes)
        if not self.may_act() or now < self._retry_at:
            return
        if self.desired.topology_changed:
            self.desired.topology_changed = False  # `topology` needs the places, which at first only the file has
            self.desired.set_listening_places(self.reloader.listening_places)
            self.reloader.set_desired(self.desired.topology(self.reloader.loaded, now), self.process)
        self.desired.set_listening_places(self.reloader.listening_places)
        if self._servers_are_due(now):
            await self._apply()
        if not (self.desired.changed or self._check_all or self.desired.topology_changed):
            self._condition.note_servers_applied()
        self._acknowledge()
        if self._reactor.seconds() >= self.reloader.due_at(self.process):
            started = await self.reloader.do_due_work(self.process)
            if started is not None:
                self._process_answers(started)
        self.ready = self.ready or (self.reloader.is_settled(self.process) and not self._check_all)

    def _servers_are_due(self, now: float) -> bool:
        look_at = self._look_at if self._leaving.since else inf
        return bool(self.desired.changed or self._check_all or now >= min(look_at, self._check_at))

    def _retry_later(self) -> None:
        self._check_all = True
        self._retry_at = self._reactor.seconds() + self._retry_s
        self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)

    def _acknowledge(self) -> None:
        """Confirm to bender all events that are applied."""
        now = self._reactor.seconds()
        if self._stand is not None and not self.desired.changed and not self._check_all:
            self._pending_acks.add(self._stand, (), now)
            self._stand = None
        done = self._pending_acks.take_done(self._leaving.busy, now)
        if done is not None:
            self.acknowledger.acknowledge(done)
            self.behind_since = now if self._pending_acks.waiting or self._stand is not None else None

    # Servers.

    async def _apply(self) -> None:
        """Update HAProxy's servers in the backends that may have changed."""
        changed, self.desired.changed = self.desired.changed, set()
        stand, self._stand = self._stand, None
        try:
            async with self._runtime.conversation() as conversation:
                await self._converse(Reconciler(conversation, self.counts.add_rows), changed, stand)
        except (NoAnswer, Unreadable) as error:
            self._requeue(changed, stand)
            self._process_is_silent(str(error))
            self._retry_later()
        else:
            self._retry_s = RETRY_S_MIN

    def _requeue(self, changed: set[str], stand: Stand | None) -> None:
        """Schedule the work of a failed update again; a newer position replaces `stand`."""
        self.desired.changed |= changed
        if self._stand is None:
            self._stand = stand

    async def _converse(self, reconciler: Reconciler, changed: set[str], stand: Stand | None) -> None:
        process = await reconciler.process()
        self._process_answers(process)
        check_all = self._check_all or self._reactor.seconds() >= self._check_at
        pools = self._pools(changed, check_all=check_all)
        now = self._reactor.seconds()
        servers = {pool.name: self.desired.servers(pool.title, now) for pool in pools}
        for pool in pools:
            self.counts.set_owners(pool, servers[pool.name])
        outcome = await reconciler.reconcile(pools, servers, self.reloader.findings)
        self.reloader.findings.remember(process, outcome.previous)
        self.counts.forget_deleted(servers, outcome.leaving)
        self._conclude(outcome, pools)
        self.reloader.stale |= bool(changed)
        if stand is not None:
            self._pending_acks.add(stand, outcome.newly_drained & outcome.busy, self._reactor.seconds())
        if check_all:
            self.reloader.save_states(pools, servers)
            self.rows = await reconciler.rows()
            self.counts.add_all_rows(self.rows)
            if self._reporting:
                self.acknowledger.send()
            self._check_all = False
            self._check_at = self._reactor.seconds() + CHECK_S

    def _pools(self, changed: set[str], *, check_all: bool) -> list[Pool]:
        topology = self.reloader.topology
        if check_all:
            return [*topology.pools]
        return [pool for pool in topology.pools if pool.title in changed or pool.name in self._leaving.pools]

    def _conclude(self, outcome: ReconcileOutcome, pools: list[Pool]) -> None:
        now = self._reactor.seconds()
        self._leaving.update([pool.name for pool in pools], outcome.leaving, outcome.busy, now)
        self._look_at = self._leaving.next_look_at(now) or inf
        if outcome.without_slot:
            self.desired.topology_changed = True
        self.refused_count += len(outcome.refused)
        for command in outcome.refused:
            if command not in self.refused_commands:
                self._log.error("HAProxy did not carry out {command}", command=command)
                self.refused_commands.append(command)

    def _process_answers(self, process: HaproxyProcess) -> None:
        """Note which process of HAProxy answers; a new process is checked completely."""
        self.silence = ""
        if process.is_the_same(self.process):
            return
        self._log.info("HAProxy (process {pid}) answers; all its servers are compared with bender.", pid=process.pid)
        self.counts.note_restart()
        self.process = process
        self._check_all = True
        self._leaving.forget()
        self._watch_process(process.pid)
        uses_slots = process.version < DYNAMIC_SINCE
        if uses_slots != self.desired.uses_slots:
            self.desired.uses_slots = uses_slots
            self.desired.topology_changed = True
        self.reloader.observe(process)

    def _process_is_silent(self, why: str) -> None:
        if not self.silence:
            self._log.warn("HAProxy {why}.", why=why)
        self.silence = why
        self.process = None

    def _watch_process(self, pid: int | None) -> None:
        """Watch for the end of this process; None for no process."""
        if self._process_watch is not None:
            self._process_watch.close()
            self._process_watch = None
        if pid is not None:
            try:
                self._process_watch = ProcessWatch(self._reactor, pid, self._process_ended)
            except OSError:  # it has ended already, or its number is of another namespace: the next check shows which
                self._process_watch = None

    def _process_ended(self) -> None:
        self._process_watch = None
        self._check_all = True
        self._retry_at = -inf
        self.wake()
