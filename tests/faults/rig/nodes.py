"""Nodes as processes in their own namespaces, with everything that is needed to start a node again."""

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

#: Seconds after which a process that should end counts as hanging.
ENDS_S_MAX = 30.0

#: Seconds within which a node has to be ready, also on a slow and busy machine.
READY_S_MAX = 60.0

#: The size, in KiB, of the file system with the log of a node whose disk will be full.
DISK_KIB = 512

#: The Python of the environment that `tests/faults/previous.sh` makes.
PREVIOUS = ROOT / ".deps/previous/venv/bin/python"

#: The folder whose `sitecustomize` plants a defect in a node that has the folder in Python's path.
DEFECTS = Path(__file__).parents[1] / "defects"


class NotReadyInTime(Exception):
    """A node is not ready after the time limit."""


def fake_clock(file: Path) -> dict[str, str]:
    """Return the environment of a program whose wall clock is wrong by the number of seconds in a file."""
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
    """Make the wall clock of programs with `fake_clock` wrong by a number of hours, within a second."""
    new = file.with_suffix(".new")
    new.write_text(f"{hours * 3600:+.0f}", "utf-8")
    new.rename(file)


class Node:
    """One node, from its first start to its last end. `wanted` is true if the node should run."""

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
        """Start the process of the node, without waiting for anything."""
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
        """End the node by SIGKILL."""
        if self.runs:
            self._recorder.add(Killed(at=now(), node=self.name))
            self._send(signal.SIGKILL)
        await self._ended()

    async def stop(self) -> None:
        """End the node by SIGTERM."""
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

    # Resources.

    def limit_descriptors(self) -> None:
        """Prevent the node from opening more descriptors."""
        used = max(int(each.name) for each in Path(f"/proc/{self.pid}/fd").iterdir()) + 1
        self._limit(resource.RLIMIT_NOFILE, used)

    def limit_memory(self) -> None:
        """Prevent the node from mapping more memory."""
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
        """Fill the disk with the log of the node."""
        assert self._disk is not None
        with suppress(OSError), (self._disk / "filler").open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(512))

    def empty_disk(self) -> None:
        if self._disk is not None:
            (self._disk / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Remove everything outside the node's folder, and keep the log."""
        if self._disk is not None:
            with suppress(OSError):
                (self.folder / "log").write_bytes((self._disk / "log").read_bytes())
            subprocess.run(["umount", "--lazy", str(self._disk)], check=False)

    @property
    def log(self) -> str:
        """Return the whole output of the node."""
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
    """Return True if a node answers, ready or not, so that its process has started."""
    return await _status(node) is not None


async def _status(node: Node) -> int | None:
    try:
        return (await ask(node.address, "GET", "/ready")).status
    except (Unreached, *FAILURES):
        return None
