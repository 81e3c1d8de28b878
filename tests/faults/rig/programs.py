"""Real programs among the clients: `bender run` with a service, and programs with a `Registrar`."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.faults.facts import ClientRequest, decode
from tests.faults.plan import Plan
from tests.faults.rig.network import API_PORT, OBSERVER, address_of
from tests.faults.rig.nodes import ENDS_S_MAX, fake_clock, set_clock
from tests.faults.rig.recorder import Recorder
from tests.twistd_command import environment

#: The number of instances of each program with a registrar.
INSTANCES = 4


class Program:
    """A program that can be killed and started again with the same instances."""

    def __init__(self, name: str, plan: Plan, folder: Path, clock: Path | None) -> None:
        self.name = name
        self._plan = plan
        self._folder = folder
        self._clock = clock
        self._facts = folder / f"{name}.facts"
        self._starts = 0
        self._process: Process | None = None

    @property
    def _nodes(self) -> str:
        return ",".join(f"{address_of(number)}:{API_PORT}" for number in range(self._plan.nodes))

    def _arguments(self) -> list[str]:
        number = int(self.name[-1])
        if self.name.startswith("registrar"):
            unit, ttl_s = f"{self.name}.{self._starts}", self._plan.ttl_s
            keys = [f"web/{index % 3}/10.2.{number}.{index + 1}/80/{unit}/{ttl_s}" for index in range(INSTANCES)]
            return ["registrar", self._nodes, *keys]
        port = 8000 + number
        serving = [sys.executable, "-m", "http.server", str(port), f"--bind={OBSERVER}"]
        return [
            *("bender", "run", "--app=web", "--version=0", f"--host={OBSERVER}", f"--port={port}"),
            *(f"--ttl={self._plan.ttl_s}", f"--meta=unit={self.name}.{self._starts}", f"--node={self._nodes}"),
            *("--wait=2", "--", "env", "-u", "LD_PRELOAD", *serving),
        ]

    async def start(self) -> None:
        self._starts += 1
        variables = {**environment(), **(fake_clock(self._clock) if self._clock else {})}
        with (self._folder / f"{self.name}.output").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.faults.rig.recorded", str(self._facts), self.name),
                *self._arguments(),
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), ENDS_S_MAX)
                return
            self._process.kill()
            await self._process.wait()

    def collect(self, recorder: Recorder) -> None:
        """Add the last recorded fact of each request. If the program was killed, this may be the fact of its begin."""
        found: dict[tuple[object, ...], ClientRequest] = {}
        for line in self._facts.read_bytes().splitlines() if self._facts.exists() else ():
            with suppress(ValueError):  # an incomplete last line of a killed program
                fact = decode(line)
                assert isinstance(fact, ClientRequest)
                found[fact.sent_at, fact.node, fact.operation, fact.key] = fact
        for fact in found.values():
            recorder.add(fact)


class Programs:
    """All programs of a seed."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._random = Random(f"programs {plan.seed}")
        self._plan = plan
        moves = any(step.kind == "clock" and not step.nodes for step in plan.steps)
        self._clock = folder / "programs.clock" if moves else None
        if self._clock is not None:
            set_clock(self._clock, 0)
        names = [f"registrar{number}" for number in range(plan.registrars)]
        names += [f"run{number}" for number in range(plan.runs)]
        self.programs = [Program(name, plan, folder, self._clock) for name in names]

    async def run(self) -> None:
        """Start all programs, kill a registrar at some time, and start it again a while later."""
        for program in self.programs:
            await program.start()
        killed = self.programs[0]
        await asyncio.sleep(self._random.uniform(0.2, 0.6) * self._plan.faults_s)
        await killed.end(signal.SIGKILL)
        await asyncio.sleep(self._random.uniform(0.1, 2.5) * self._plan.ttl_s)
        await killed.start()

    def move_clock(self, hours: float) -> None:
        if self._clock is not None:
            set_clock(self._clock, hours)

    async def end(self) -> None:
        """Let all programs deregister and end."""
        await asyncio.gather(*(program.end() for program in self.programs))
