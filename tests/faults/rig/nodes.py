"""Nodes as processes of their own in their own namespaces, with everything needed to start each again."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.faults.facts import Ended, Killed, Leaving, Paused, Resumed, Started
from tests.faults.plan import Plan, Release
from tests.faults.rig.http import FAILURES, Unreached, ask
from tests.faults.rig.network import (
    API_PORT,
    EVENTS_PORT,
    EXCHANGE_PORT,
    ROOT,
    Missing,
    Network,
    address_of,
)
from tests.faults.rig.recorder import Recorder, now
from tests.twistd_command import environment

#: Seconds after which a process that was told to end hangs.
ENDS_S_MAX = 30.0

#: Seconds in which a node has to be ready, also on a slow and busy machine.
READY_S_MAX = 60.0

#: The size of the file system with the log of a node whose disk is to become full, in KiB.
DISK_KIB = 512

#: Python of the environment that `tests/faults/previous.sh` makes.
PREVIOUS = ROOT / ".deps/previous/venv/bin/python"

#: A node that runs with this folder on Python's path has the defect that its `sitecustomize` plants.
DEFECTS = Path(__file__).parents[1] / "defects"


class NotReadyInTime(Exception):
    """A node is not ready after the time that suffices for all."""


def fake_clock(file: Path) -> dict[str, str]:
    """Return the variables of a program whose wall clock differs from the true one by the seconds in a file."""
    places = [*Path("/usr/lib").glob("*/faketime"), *(ROOT / ".deps/debian/usr/lib").glob("*/faketime")]
    if not places:
        raise Missing("libfaketime is missing: run `make test-deps`.")
    return {
        "LD_PRELOAD": str(places[0] / "libfaketime.so.1"),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(file: Path, hours: float) -> None:
    """Let the wall clock of programs with `fake_clock` differ by a number of hours from within a second on."""
    new = file.with_suffix(".new")
    new.write_text(f"{hours * 3600:+.0f}", "utf-8")
    new.rename(file)


class Node:
    """One node, from its first start to its last end. `wanted` says whether it should run."""

    def __init__(self, number: int, plan: Plan, network: Network, folder: Path, recorder: Recorder) -> None:
        self.number = number
        self.name = f"n{number + 1}"
        self.address = address_of(number)
        self.folder = folder / self.name
        self.folder.mkdir()
        self.release: Release = plan.release
        self.defect = ""
        self.process: Process | None = None
        self.is_paused = False
        self._plan = plan
        self._network = network
        self._recorder = recorder
        self._ending: asyncio.Task[None] | None = None
        kinds = {step.kind for step in plan.steps if number in step.nodes}
        self.clock = self.folder / "clock" if "clock" in kinds else None
        self._disk = self.folder / "disk" if "disk full" in kinds else None
        if self.clock is not None:
            set_clock(self.clock, 0)
        if self._disk is not None:
            self._disk.mkdir()
            mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KIB}k", "tmpfs", str(self._disk)]
            subprocess.run(mounting, check=True)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.returncode is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def _command(self) -> Sequence[str]:
        plan, nodes = self._plan, range(self._plan.nodes)
        peers = ",".join(f"{address_of(number)}:{EXCHANGE_PORT}" for number in nodes if number != self.number)
        python = [sys.executable] if self.release == "this" else [str(PREVIOUS)]
        listening = {"api": API_PORT, "exchange": EXCHANGE_PORT, "events": EVENTS_PORT}
        log = [f"--logfile={self._disk}/log"] if self._disk is not None else []
        return [
            *python,
            str(Path(python[0]).with_name("twistd")),
            *("--nodaemon", "--pidfile=", *log, "bender"),
            *(f"--{name}=tcp:{port}:interface={self.address}" for name, port in listening.items()),
            *(f"--peers={peers}", f"--name={self.name}", "--insecure"),
            *(f"--interval={plan.interval_s}", f"--ttl={plan.ttl_s}"),
        ]

    def _variables(self) -> dict[str, str]:
        variables = {**environment(), **(fake_clock(self.clock) if self.clock is not None else {})}
        if self.release == "previous":
            if not PREVIOUS.exists():
                raise Missing("The previous release is missing: run `make test-deps`.")
            variables["PYTHONPATH"] = ""
        if self.defect:
            variables["PYTHONPATH"] = f"{DEFECTS}:{variables['PYTHONPATH']}"
            variables["BENDER_TEST_DEFECT"] = self.defect
        return variables

    async def start(self, release: Release | None = None) -> None:
        """Start its process, without waiting for anything."""
        assert not self.runs
        if self._ending is not None:
            await self._ending
        self.release = release or self.release
        self.is_paused = False
        self._recorder.add(Started(at=now(), node=self.name, release=self.release))
        with (self.folder / "output").open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *self._network.inside(self.number, self._command()),
                cwd=self.folder,
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._ending = asyncio.create_task(self._await_end(self.process))

    async def _await_end(self, process: Process) -> None:
        status = await process.wait()
        self._recorder.add(Ended(at=now(), node=self.name, status=status))

    async def kill(self) -> None:
        """End it as a crash does."""
        if self.runs:
            self._recorder.add(Killed(at=now(), node=self.name))
            self._send(signal.SIGKILL)
        await self._ended()

    async def stop(self) -> None:
        """Let it leave."""
        if not self.runs:
            return
        self._recorder.add(Leaving(at=now(), node=self.name))
        self._send(signal.SIGTERM)
        await self._ended()

    async def _ended(self) -> None:
        if self._ending is not None:
            await asyncio.wait_for(asyncio.shield(self._ending), ENDS_S_MAX)

    def pause(self) -> None:
        if self.runs and not self.is_paused:
            self.is_paused = True
            self._recorder.add(Paused(at=now(), node=self.name))
            self._send(signal.SIGSTOP)

    def resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            if self.runs:
                self._recorder.add(Resumed(at=now(), node=self.name))
                self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    # What it needs.

    def limit_descriptors(self) -> None:
        """Let it open no more descriptors than it has."""
        used = max(int(each.name) for each in Path(f"/proc/{self.pid}/fd").iterdir()) + 1
        self._limit(resource.RLIMIT_NOFILE, used)

    def limit_memory(self) -> None:
        """Let it map no more memory than it has."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[0])
        self._limit(resource.RLIMIT_AS, pages * resource.getpagesize())

    def lift_limits(self) -> None:
        if self.runs:
            for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS):
                _, hard = resource.prlimit(self.pid, kind)
                resource.prlimit(self.pid, kind, (hard, hard))

    def _limit(self, kind: int, most: int) -> None:
        _, hard = resource.prlimit(self.pid, kind)
        resource.prlimit(self.pid, kind, (most, hard))

    def fill_disk(self) -> None:
        """Leave no byte where it writes its log."""
        assert self._disk is not None
        with suppress(OSError), (self._disk / "filler").open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(512))

    def empty_disk(self) -> None:
        if self._disk is not None:
            (self._disk / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Give back what lies outside its folder, and keep its log."""
        if self._disk is not None:
            with suppress(OSError):
                (self.folder / "log").write_bytes((self._disk / "log").read_bytes())
            subprocess.run(["umount", "--lazy", str(self._disk)], check=False)

    @property
    def log(self) -> str:
        """Return everything that it has logged and printed."""
        files = [self.folder / "output", self.folder / "log", *([self._disk / "log"] if self._disk else [])]
        return "".join(file.read_text("utf-8", "replace") for file in files if file.exists())


async def ready(node: Node) -> None:
    """Wait until a node is ready. Raises `NotReadyInTime`."""
    ends_at = now() + READY_S_MAX
    while not await _is_ready(node):
        if now() > ends_at:
            raise NotReadyInTime(f"{node.name} is not ready within {READY_S_MAX:g} s:\n{node.log[-3000:]}")
        await asyncio.sleep(0.1)


async def _is_ready(node: Node) -> bool:
    return await _status(node) == 200


async def answers(node: Node) -> bool:
    """Return whether a node answers, ready or not: its process has started."""
    return await _status(node) is not None


async def _status(node: Node) -> int | None:
    try:
        return (await ask(node.address, "GET", "/ready")).status
    except (Unreached, *FAILURES):
        return None
