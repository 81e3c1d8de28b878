"""Renders, checks and loads the desired topology.

A configuration that HAProxy refuses is never written into the file with which HAProxy starts. If HAProxy accepts a
configuration but cannot start with it, because an address is in use, the previous file is restored. Both are retried
after a while, because the cause may be the disk or something else on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import inf

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from bender.haproxy.config_file import ConfigFiles, ConfigRefused, Unwritable, WrittenConfig
from bender.haproxy.core.actual_state import HaproxyProcess, Unreadable
from bender.haproxy.core.custom import without_custom
from bender.haproxy.core.health import Findings, parse_findings, state_file_text
from bender.haproxy.core.listening import ListeningPlace, listening_places_in
from bender.haproxy.core.rendering import DESCRIPTION, RenderedConfig, Renderer, Unrenderable
from bender.haproxy.core.servers import DesiredServer
from bender.haproxy.core.topology import STATS, Pool, Topology
from bender.haproxy.reconciler import Reconciler
from bender.haproxy.runtime import Runtime
from bender.haproxy.supervisor import HaproxyControl, ReloadFailed
from bender.net.addresses import NoAnswer

#: Seconds between two writes of the file, and between two reloads.
WRITE_INTERVAL_S = 1.0

#: The delay before a reload, because a frontend is often set right after its backend.
RELOAD_DELAY_S = 0.1

#: Time limit for HAProxy to start or reload, and seconds between two checks of that.
START_S_MAX = 10.0
START_LOOK_S = 0.02

#: The pause before a refused topology is retried.
RETRY_S = 30.0

#: The pause before the next attempt to write a file: at first, and at most. A full disk may have room again at any
#: moment.
WRITE_RETRY_S_MIN = 1.0
WRITE_RETRY_S_MAX = 30.0

#: The longest pause after a failed reload. It is long because HAProxy may listen nowhere for a second while it tries.
RELOAD_RETRY_S_MAX = 3600.0

#: The start of a section with which HAProxy serves clients.
_LISTENING = re.compile(rf"^\s*(frontend|listen)\s+(?!{STATS}$)", re.MULTILINE)

ServersIn = Callable[[Topology], Mapping[str, Sequence[DesiredServer]]]


@frozen
class RefusedTopology:
    """A topology that HAProxy refused: its description, the reason, since when, and when to retry it.

    `unwritten` is True if the file could not be written, so that HAProxy has not read it.
    """

    description: str
    why: str
    since_ms: int
    retry_at: float
    unwritten: bool = False


class HaproxyReloader:
    """Makes HAProxy load the topology `desired`. `servers_in` returns the desired servers of a topology now."""

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        runtime: Runtime,
        renderer: Renderer,
        files: ConfigFiles,
        control: HaproxyControl,
        servers_in: ServersIn,
        wall_ms: Callable[[], int],
    ) -> None:
        self.files = files
        self.control = control
        #: The topology that HAProxy is to have, and the one that it has; None if the latter is not known.
        self.desired = Topology()
        self.loaded: Topology | None = None
        self.reload_count = 0
        #: How often HAProxy refused a configuration, or could not be started or reloaded with it.
        self.refusal_count = 0
        self.refusal: RefusedTopology | None = None
        #: When HAProxy loaded its configuration, in ms since the epoch; None if this driver has not loaded it.
        self.loaded_ms: int | None = None
        #: Why the file could not be rewritten with new servers; None if it could.
        self.rewrite_problem: str | None = None
        #: Why the file cannot be written; None if the last write succeeded, or none was tried.
        self.write_problem: str | None = None
        #: Why the file with the servers that are down could not be written; None if it could.
        self.states_problem: str | None = None
        #: The last known state of HAProxy's servers, from this driver or the one before it.
        self.findings = _findings(files.states)
        #: Whether the servers may differ from those in the file.
        self.stale = False
        self._reactor = reactor
        self._runtime = runtime
        self._renderer = renderer
        self._servers_in = servers_in
        self.wall_ms = wall_ms
        # Where HAProxy listens by the file that was written last.
        self._listening_places_cache: tuple[WrittenConfig | None, frozenset[ListeningPlace]] = None, frozenset()
        self._description = ""
        self._reload_retry_s = RETRY_S
        self._write_retry_s = WRITE_RETRY_S_MIN
        # The topology in the file, if this process wrote it or it is the desired one.
        self._file_topology: Topology | None = None
        self._wrote_at = self._loaded_at = -inf
        # Since when a topology is desired that was not tried yet. Later changes do not postpone the reload.
        self._desired_since: float | None = None
        self._rewriting: Deferred[None] | None = None

    @property
    def topology(self) -> Topology:
        """The topology that HAProxy has, or the desired one if that is not known."""
        return self.desired if self.loaded is None else self.loaded

    @property
    def file_problem(self) -> str | None:
        """The file that cannot be written, with the reason; None if all files can be written."""
        return self.write_problem or self.states_problem

    def has_applied(self, id_: str, process: HaproxyProcess | None) -> bool:
        """Return True if HAProxy's configuration has the desired parts of one of bender's backends or frontends."""
        if self.is_settled(process):
            return True
        return (
            process is not None and self.loaded is not None and self.loaded.parts_of(id_) == self.desired.parts_of(id_)
        )

    @property
    def serves_clients(self) -> bool:
        """Whether HAProxy serves clients by the present file."""
        written = self.files.written
        return written is not None and _LISTENING.search(without_custom(written.text)) is not None

    @property
    def listening_places(self) -> frozenset[ListeningPlace]:
        """Where HAProxy listens by the present file and by the desired topology."""
        written = self.files.written
        if self._listening_places_cache[0] is not written:
            self._listening_places_cache = (
                written,
                frozenset() if written is None else listening_places_in(written.text),
            )
        try:
            return self._listening_places_cache[1] | self._renderer.listening_places(self.desired)
        except Unrenderable:  # reported by `set_desired`
            return self._listening_places_cache[1]

    def use_renderer(self, renderer: Renderer) -> None:
        """Render by another template, from the next call of `set_desired` on."""
        self._renderer = renderer
        self._description = ""
        self._file_topology = None
        self.refusal = None

    def set_desired(self, topology: Topology, process: HaproxyProcess | None) -> None:
        """Set the desired topology."""
        self.desired = topology
        before = self._description
        try:
            self._description = self._renderer.description(topology)
        except Unrenderable as error:
            self._description = ""
            self._refuse("", f"the template {error}", inf)
            return
        if self._description != before:
            self._reload_retry_s = RETRY_S
        if self.refusal is not None and self.refusal.description != self._description:
            self.refusal = None
        if self._file_topology is None and self._file_is_desired():
            self._file_topology = topology
        self.observe(process)
        if not self._needs_load(process):
            self._desired_since = None
        elif self._desired_since is None:
            self._desired_since = self._reactor.seconds()

    def observe(self, process: HaproxyProcess | None) -> None:
        """Note the process that answers, and whether it runs with the desired topology."""
        if process is not None and self._has_desired(process):
            self.loaded = self.desired
            self.refusal = None

    def due_at(self, process: HaproxyProcess | None) -> float:
        """Return when to call `do_due_work` next; infinity if nothing is to be done."""
        return min(self._load_at(process), self._rewrite_at())

    async def do_due_work(self, process: HaproxyProcess | None) -> HaproxyProcess | None:
        """Load or rewrite the file, whichever is due; return the new process of HAProxy, if there is one."""
        if self._load_at(process) <= self._reactor.seconds():
            return await self._load(process)
        self._begin_rewriting()
        return None

    def close(self) -> None:
        """Stop rewriting the file."""
        if self._rewriting is not None:
            self._rewriting.cancel()

    def _begin_rewriting(self) -> None:
        """Rewrite in the background: checking the file takes a tenth of a second; servers must not wait for it."""

        def done(result: object) -> None:
            self._rewriting = None
            if isinstance(result, Failure) and not result.check(CancelledError):
                self._log.failure(
                    "{output} could not be rewritten because of a defect in bender. If HAProxy restarts, it starts "
                    "with the old servers in this file, until the driver updates them.",
                    result,
                    output=str(self.files.output),
                )

        self._rewriting = rewriting = Deferred.fromCoroutine(self.rewrite())
        rewriting.addBoth(done)

    def _load_at(self, process: HaproxyProcess | None) -> float:
        if not self._needs_load(process):
            return inf
        retry_at = self.refusal.retry_at if self.refusal is not None else -inf
        together_at = self._desired_since + RELOAD_DELAY_S if self._desired_since is not None else -inf
        return max(self._loaded_at + WRITE_INTERVAL_S, together_at, retry_at)

    def _rewrite_at(self) -> float:
        due = self.stale and self._file_topology is not None and self._rewriting is None
        again_s = RETRY_S if self.write_problem is None else self._write_retry_s
        return self._wrote_at + (WRITE_INTERVAL_S if self.rewrite_problem is None else again_s) if due else inf

    async def rewrite(self) -> None:
        """Write the present servers into the file, so that HAProxy starts with them."""
        self._wrote_at = self._reactor.seconds()
        if self._file_topology is None:
            return
        self.stale = False
        servers = self._servers_in(self._file_topology)
        self.save_states(self._file_topology.pools, servers)
        try:
            await self._write(self._renderer.render(self._file_topology, servers))
        except (ConfigRefused, Unrenderable) as error:
            self.stale = True
            if self.rewrite_problem != str(error):
                self._log.error("The configuration file stays unchanged: {why}", why=str(error))
            self.rewrite_problem = str(error)
        else:
            self.rewrite_problem = None

    async def _write(self, rendered: RenderedConfig) -> WrittenConfig | None:
        """Write the file, as `ConfigFiles.replace` does, and note whether it can be written."""
        try:
            before = await self.files.replace(rendered)
        except Unwritable as error:
            again = self.write_problem is not None
            self._write_retry_s = min(2 * self._write_retry_s, WRITE_RETRY_S_MAX) if again else WRITE_RETRY_S_MIN
            self.write_problem = str(error)
            raise
        except ConfigRefused:
            self._can_be_written()
            raise
        self._can_be_written()
        return before

    def _can_be_written(self) -> None:
        if self.write_problem is not None:
            self._log.info("{output} can be written again.", output=str(self.files.output))
        self.write_problem = None

    def save_states(self, pools: Iterable[Pool], servers: Mapping[str, Sequence[DesiredServer]]) -> None:
        """Write which of these servers are down, for the next start of HAProxy."""
        try:
            self.files.save_states(state_file_text(pools, servers, self.findings))
        except ConfigRefused as error:
            if self.states_problem != str(error):
                self._log.error(
                    "The states of servers cannot be saved ({why}): a restarted HAProxy regards all servers as up.",
                    why=str(error),
                )
            self.states_problem = str(error)
        else:
            self.states_problem = None

    def is_settled(self, process: HaproxyProcess | None) -> bool:
        """Return True if HAProxy runs with the desired topology."""
        return process is not None and self._has_desired(process)

    def _needs_load(self, process: HaproxyProcess | None) -> bool:
        """Return True if HAProxy has another topology than the desired one, or would start with another."""
        return not (self._file_is_desired() if process is None else self._has_desired(process))

    def _file_is_desired(self) -> bool:
        return self.files.written is not None and self.files.written.description == self._description

    def _has_desired(self, process: HaproxyProcess) -> bool:
        """Return True if a process runs with the desired topology.

        Its description shows that. A process without a description is judged by the file and the last load.
        """
        if process.description.startswith(DESCRIPTION):
            return process.description == self._description
        return self._file_is_desired() and self.loaded in (None, self.desired)

    async def _load(self, process: HaproxyProcess | None) -> HaproxyProcess | None:
        self._loaded_at = self._wrote_at = self._reactor.seconds()
        self._desired_since = None
        topology, description, file_topology = self.desired, self._description, self._file_topology
        self.stale = False
        servers = self._servers_in(topology)
        try:
            before = await self._write(self._renderer.render(topology, servers))
        except (ConfigRefused, Unrenderable) as error:
            self.stale = True
            unwritten = isinstance(error, Unwritable)
            again_s = self._write_retry_s if unwritten else RETRY_S
            self._refuse(description, str(error), self._reactor.seconds() + again_s, unwritten=unwritten)
            return None
        self._file_topology, self.rewrite_problem = topology, None
        if process is not None:
            await self._remember_servers()
        self.save_states(topology.pools, servers)
        try:
            started = await self._reload(process)
        except ReloadFailed as failed:
            if self.control.can_reload:
                self._file_topology = file_topology
                self._restore(before, description, str(failed))
                if process is not None:
                    self._reload_retry_s = min(2 * self._reload_retry_s, RELOAD_RETRY_S_MAX)
            else:
                self._refuse(description, str(failed), inf)
            return None
        if process is not None:
            self.reload_count += 1
        if started.description == description or not started.description.startswith(DESCRIPTION):
            self.loaded, self.loaded_ms = topology, self.wall_ms()
        return started

    async def _remember_servers(self) -> None:
        """Read the state of HAProxy's servers right before a reload."""
        with suppress(NoAnswer, Unreadable):
            async with self._runtime.conversation() as conversation:
                reconciler = Reconciler(conversation)
                process = await reconciler.process()
                found = await reconciler.servers()
                self.findings.remember(
                    process, {pool: self.findings.last_known(process, pool, each) for pool, each in found.items()}
                )

    async def _reload(self, process: HaproxyProcess | None) -> HaproxyProcess:
        """Make HAProxy load the file; return the process that has loaded it. Raises `ReloadFailed`."""
        self.control.start()
        await self.control.reload(running=process is not None)
        ends_at = self._reactor.seconds() + START_S_MAX
        while self._reactor.seconds() < ends_at:
            await deferLater(self._reactor, START_LOOK_S)
            try:
                async with self._runtime.conversation() as conversation:
                    started = await Reconciler(conversation).process()
            except (NoAnswer, Unreadable):
                pass
            else:
                if not started.is_the_same(process) and not started.stopping:
                    return started
            await self.control.check()
        raise ReloadFailed(f"HAProxy did not start within {START_S_MAX:g} s")

    def _restore(self, before: WrittenConfig | None, description: str, why: str) -> None:
        self.stale = True
        try:
            self.files.restore(before)
        except ConfigRefused as error:
            self.write_problem = str(error)
            why = f"{why}; and {error}"
        self._refuse(description, why, self._reactor.seconds() + self._reload_retry_s)

    def _refuse(self, description: str, why: str, retry_at: float, *, unwritten: bool = False) -> None:
        since_ms = self.wall_ms()
        self.refusal_count += not unwritten
        if self.refusal is None or self.refusal.why != why:
            self._log.error("HAProxy keeps its configuration: {why}", why=why)
        elif self.refusal.description == description:
            since_ms = self.refusal.since_ms
        self.refusal = RefusedTopology(description, why, since_ms, retry_at, unwritten)


def _findings(text: str | None) -> Findings:
    """Return the findings in the state file of the previous driver; none if the text cannot be read."""
    with suppress(Unreadable):
        return Findings() if text is None else parse_findings(text)
    return Findings()
