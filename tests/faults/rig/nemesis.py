"""The nemesis: carries out the plan of a seed, and records its faults with their times."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from itertools import permutations
from typing import Any

from tests.faults.facts import Cut, Healed, Hindered, NetworkQuality, Relieved, Struck
from tests.faults.plan import Plan, Release, Step
from tests.faults.rig.clients import burden
from tests.faults.rig.network import CLIENTS, Network
from tests.faults.rig.nodes import Node, NotReadyInTime, answers, ready, set_clock
from tests.faults.rig.programs import Programs
from tests.faults.rig.recorder import Recorder, now
from tests.twistd_command import environment

#: The largest delay of a doubled request, in ttls.
LATE_TTLS = 1.0


class Relaying:
    """The relay, as a process."""

    def __init__(self, seed: int, network: Network) -> None:
        self._seed = seed
        self._network = network
        self._process: Process | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "tests.faults.rig.relay", str(self._seed), *self._network.namespaces]
        self._process = await asyncio.create_subprocess_exec(*command, env=environment(), stdin=PIPE, stdout=PIPE)
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"ready\n"

    def handle(self, **figures: float) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(figures).encode() + b"\n")

    async def end(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class Nemesis:
    """Causes the faults of a plan; `counts` has the number of faults that really happened, by kind."""

    def __init__(
        self,
        plan: Plan,
        nodes: Sequence[Node],
        network: Network,
        programs: Programs,
        relaying: Relaying | None,
        recorder: Recorder,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._plan = plan
        self._nodes = nodes
        self._network = network
        self._programs = programs
        self._relaying = relaying
        self._recorder = recorder
        self._cuts = 0
        self._burdens = 0

    async def run(self) -> None:
        """Carry out all steps. Raises if a step raises."""
        begin = now()
        async with asyncio.TaskGroup() as group:
            for step in self._plan.steps:
                await asyncio.sleep(max(0.0, begin + step.at - now()))
                group.create_task(self._do(step))

    async def _do(self, step: Step) -> None:
        do: dict[str, Callable[[Step], Coroutine[Any, Any, bool]]] = {
            "kill": self._kill,
            "stop": self._stop,
            "pause": self._pause,
            "rolling restart": self._roll,
            "upgrade": self._upgrade,
            "islands": self._islands,
            "bridge": self._bridge,
            "one-way cut": self._one_way,
            "one-way cut of requests": self._one_way,
            "loss": self._loss,
            "relay": self._relay,
            "clock": self._clock,
            "disk full": self._disk,
            "no descriptors": self._hinder,
            "no memory": self._hinder,
        }
        if await do[step.kind](step):
            self.counts[step.kind] += 1

    def _node(self, step: Step) -> Node:
        return self._nodes[step.nodes[0]]

    # Faults of processes.

    async def _kill(self, step: Step) -> bool:
        node = self._node(step)
        if not node.runs:
            return False
        await node.kill()
        await self._again(node, step.lasting_s)
        return True

    async def _stop(self, step: Step) -> bool:
        node = self._node(step)
        if not node.runs or node.is_paused:
            return False
        await node.stop()
        await self._again(node, step.lasting_s)
        return True

    async def _again(self, node: Node, after_s: float, release: Release | None = None) -> None:
        await asyncio.sleep(after_s)
        if not node.runs:
            await node.start(release)

    async def _pause(self, step: Step) -> bool:
        node = self._node(step)
        if not node.runs or node.is_paused:
            return False
        node.pause()
        await asyncio.sleep(step.lasting_s)
        node.resume()
        return True

    async def _roll(self, step: Step, release: Release | None = None) -> bool:
        for number in step.nodes:
            node = self._nodes[number]
            if node.runs and not node.is_paused:
                await node.stop()
            await self._again(node, 0.0, release)
            # As operators do, wait until this node is ready, or fails to become ready, before the next one ends.
            with suppress(NotReadyInTime):
                await ready(node)
            await asyncio.sleep(step.values[0])
        return True

    async def _upgrade(self, step: Step) -> bool:
        return await self._roll(step, "this")

    async def _clock(self, step: Step) -> bool:
        if not step.nodes:
            self._programs.move_clock(step.values[0])
            return True
        node = self._node(step)
        assert node.clock is not None
        set_clock(node.clock, step.values[0])
        self._recorder.add(Struck(at=now(), node=node.name, what=f"clock moved by {step.values[0]:+g} h"))
        return True

    async def _disk(self, step: Step) -> bool:
        node = self._node(step)
        node.fill_disk()
        self._recorder.add(Struck(at=now(), node=node.name, what="disk full"))
        await asyncio.sleep(step.lasting_s)
        node.empty_disk()
        return True

    async def _hinder(self, step: Step) -> bool:
        node = self._node(step)
        # A process that is still loading its program ends if it gets no descriptors.
        if not node.runs or node.is_paused or not await answers(node):
            return False
        self._recorder.add(Hindered(at=now(), node=node.name, what=step.kind))
        if step.kind == "no descriptors":
            node.limit_descriptors()
        else:
            node.limit_memory()
            # A node has enough memory for its present state, so more state is registered.
            self._burdens += 1
            await burden(node.number, self._burdens, self._plan, self._recorder)
        await asyncio.sleep(step.lasting_s)
        node.lift_limits()
        self._recorder.add(Relieved(at=now(), node=node.name, what=step.kind))
        await self._again(node, 0.0)
        return True

    # Faults of the network.

    async def _islands(self, step: Step) -> bool:
        sides = ({*step.nodes}, {*range(self._plan.nodes)} - {*step.nodes})
        pairs = [(a, b) for a, b in permutations(range(self._plan.nodes), 2) if (a in sides[0]) != (b in sides[0])]
        # Half of the clients are on each side, as if they were at the places of the nodes.
        unreachable = {client: sides[1 - number] for number, client in enumerate(CLIENTS)}
        await self._cut(step, pairs, unreachable)
        return True

    async def _bridge(self, step: Step) -> bool:
        """Cut all connections except those of the bridge."""
        ends = {*range(self._plan.nodes)} - {*step.nodes}
        await self._cut(step, permutations(ends, 2))
        return True

    async def _one_way(self, step: Step) -> bool:
        await self._cut(step, [(step.nodes[0], step.nodes[1])], requests=step.kind.endswith("requests"))
        return True

    async def _cut(
        self,
        step: Step,
        pairs: Iterable[tuple[int, int]],
        unreachable: dict[str, set[int]] | None = None,
        *,
        requests: bool = False,
    ) -> None:
        self._cuts += 1
        name, cut, rules = f"{step.kind} {self._cuts}", {*pairs}, self._network.rules
        began_at = now()
        stopped = rules.unasked if requests else rules.stopped
        stopped |= cut
        rules.unreachable |= unreachable or {}
        await self._network.apply()
        named = [(f"n{a + 1}", f"n{b + 1}") for a, b in sorted(cut)]
        self._recorder.add(Cut(began_at=began_at, at=now(), name=name, pairs=named, requests=requests))
        await asyncio.sleep(step.lasting_s)
        began_at = now()
        stopped -= cut
        if unreachable:
            rules.unreachable = {}
        await self._network.apply()
        self._recorder.add(Healed(began_at=began_at, at=now(), name=name))

    async def _loss(self, step: Step) -> bool:
        percent = int(step.values[0])
        self._recorder.add(NetworkQuality(at=now(), loss=percent / 100, delay_s=0, doubling=0))
        self._network.rules.loss_percent = percent
        await self._network.apply()
        await asyncio.sleep(step.lasting_s)
        self._network.rules.loss_percent = 0
        await self._network.apply()
        self._recorder.add(NetworkQuality(at=now(), loss=0, delay_s=0, doubling=0))
        return True

    async def _relay(self, step: Step) -> bool:
        assert self._relaying is not None
        delay_s, doubled, late = step.values
        self._recorder.add(NetworkQuality(at=now(), loss=0, delay_s=delay_s, doubling=doubled / 100))
        late_s = LATE_TTLS * self._plan.ttl_s
        self._relaying.handle(delay_s=delay_s, doubled=doubled / 100, doubled_late=late / 100, late_s=late_s)
        await asyncio.sleep(step.lasting_s)
        self._relaying.handle()
        self._recorder.add(NetworkQuality(at=now(), loss=0, delay_s=0, doubling=0))
        return True

    # End of the faults.

    async def heal(self) -> None:
        """Let every node run, and connect all nodes."""
        for node in self._nodes:
            node.resume()
            if not node.runs:
                await node.start()
