"""Runs one seed: makes the network, starts nodes, clients, observers and the nemesis, and ends all of them."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.faults.facts import Fact, SeedTerms, Starved, decode
from tests.faults.plan import Plan
from tests.faults.rig.clients import Operator, crowd
from tests.faults.rig.nemesis import LATE_TTLS, Nemesis, Relaying
from tests.faults.rig.network import Network
from tests.faults.rig.nodes import Node, ready
from tests.faults.rig.programs import Programs
from tests.faults.rig.recorder import Recorder, now
from tests.faults.rig.watchdog import LATE_S, LOOK_S
from tests.faults.rig.watchers import Observer, Watcher
from tests.twistd_command import environment

#: Intervals without faults at the end: readiness and two rounds with clients, then two rounds without clients.
CALM, QUIET = 12, 4


@frozen
class Recorded:
    """The record of a seed: the facts in the order of time, the faults by kind, and the logs of the nodes."""

    facts: list[Fact]
    counts: Counter[str]
    logs: dict[str, str]


class Seed:
    """A running seed. `folder` is new and has the logs of all processes."""

    def __init__(self, plan: Plan, folder: Path, defects: dict[str, str] | None = None) -> None:
        """`defects` has, by node, the name of the planted defect, for a test of the judge."""
        self._plan = plan
        self._folder = folder
        self._recorder = Recorder()
        self._network = Network(plan.nodes, relayed=plan.relayed)
        self._defects = defects or {}
        self._nodes: list[Node] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._watchdog: Process | None = None

    async def run(self) -> Recorded:
        """Run the seed to its end, and remove everything, also after a failure."""
        plan, relaying = self._plan, None
        relay_delay_s_max = LATE_TTLS * plan.ttl_s if plan.relayed else 0.0
        names = [f"n{number + 1}" for number in range(plan.nodes)]
        self._recorder.add(
            SeedTerms(
                at=now(), nodes=names, interval_s=plan.interval_s, ttl_s=plan.ttl_s, relay_delay_s_max=relay_delay_s_max
            )
        )
        try:
            self._network.open()
            await self._network.apply()
            self._nodes = [Node(n, plan, self._network, self._folder, self._recorder) for n in range(plan.nodes)]
            if plan.relayed:
                relaying = Relaying(plan.seed, self._network)
                await relaying.start()
            programs = Programs(plan, self._folder)
            nemesis = Nemesis(plan, self._nodes, self._network, programs, relaying, self._recorder)
            await self._through(nemesis, programs)
            for program in programs.programs:
                program.collect(self._recorder)
        finally:
            self._recorder.is_over = True
            await self._close(relaying)
        facts = sorted(self._recorder.facts, key=lambda fact: fact.at)
        return Recorded(facts, nemesis.counts, {node.name: node.log for node in self._nodes})

    async def _through(self, nemesis: Nemesis, programs: Programs) -> None:
        plan = self._plan
        for node in self._nodes:
            node.defect = self._defects.get(node.name, "")
            await node.start()
        await self._watch_over()
        for node in self._nodes:
            self._begin(Watcher(node, plan.interval_s, self._recorder, plan.seed).run())
            self._begin(Observer(node, plan.interval_s, self._recorder).run())
        for node in self._nodes:
            await ready(node)
        clients = [self._begin(client.run()) for client in crowd(plan, self._recorder)]
        clients += [self._begin(Operator(plan, self._recorder).run()), self._begin(programs.run())]
        await nemesis.run()
        await nemesis.heal()
        for node in self._nodes:
            await ready(node)
        await asyncio.sleep(CALM * plan.interval_s)
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)
        await programs.end()
        await asyncio.sleep(QUIET * plan.interval_s)
        # The remaining registrations expire, and no trace of them may be left.
        await asyncio.sleep(2 * plan.ttl_s + 8 * plan.interval_s)
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    def _begin(self, doing: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(doing)
        self._tasks.append(task)
        return task

    async def _watch_over(self) -> None:
        """Start the watchdog, and write the processes of nodes to its file whenever they change."""
        file = self._folder / "processes"
        file.write_text("", "ascii")
        command = [sys.executable, "-m", "tests.faults.rig.watchdog", str(file)]
        self._watchdog = await asyncio.create_subprocess_exec(*command, env=environment(), stdout=PIPE)
        self._begin(self._watch_over_nodes(file))
        self._begin(self._take_lateness(self._watchdog))
        self._begin(self._note_own_lateness())

    async def _watch_over_nodes(self, file: Path) -> None:
        known = ""
        while True:
            text = "".join(f"{node.name} {node.pid}\n" for node in self._nodes if node.runs)
            if text != known:
                known = text
                new = file.with_suffix(".new")
                new.write_text(text, "ascii")
                new.rename(file)
            await asyncio.sleep(0.1)

    async def _note_own_lateness(self) -> None:
        """Record the times when this process, which sends all requests and receives all events, was late."""
        while True:
            before = now()
            await asyncio.sleep(LOOK_S)
            late_s = now() - before - LOOK_S
            if late_s > LATE_S:
                self._recorder.add(Starved(at=now(), began_at=before, late_s=round(late_s, 4), nodes={}))

    async def _take_lateness(self, watchdog: Process) -> None:
        assert watchdog.stdout is not None
        while line := await watchdog.stdout.readline():
            self._recorder.add(decode(line))

    async def _close(self, relaying: Relaying | None) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for node in self._nodes:
            node.resume()
            with suppress(TimeoutError):
                await node.kill()
            node.close()
        if relaying is not None:
            await relaying.end()
        if self._watchdog is not None:
            self._watchdog.kill()
            await self._watchdog.wait()
        self._network.close()
