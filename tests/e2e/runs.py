"""`bender run` as a process, with a service of `serving.py` or another command in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from attrs import define, field

from tests.e2e.forking import Forked, forks
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, until
from tests.twistd_command import ROOT, environment

#: Variables that Python and the loader read when a process starts.
READ_AT_THE_START = {"LD_PRELOAD", "PYTHONPATH"}

SERVING = str(ROOT / "tests/e2e/serving.py")


def bender() -> list[str]:
    """Return the command line of this checkout."""
    return [sys.executable, "-c", "from bender.cli import main; main()"]


async def one(shared: Cluster) -> Node:
    """Return the node that these tests share; their instances have different ports."""
    if not shared.nodes:
        await shared(1)
    return shared.nodes[0]


@define(eq=False)
class Run:
    """A `bender run`. Its service, if any, has a separate folder and this port."""

    folder: Path
    nodes: Sequence[str]
    port: int
    process: subprocess.Popen[bytes] | Forked = field(init=False)

    @property
    def id(self) -> str:
        return f"registration/web/1/127.0.0.1/{self.port}"

    def arguments(self, *options: str) -> list[str]:
        """Return the arguments that name the instance."""
        return ["run", "--app=web", "--version=1", f"--port={self.port}", f"--node={','.join(self.nodes)}", *options]

    def start(
        self,
        *command: str,
        options: Sequence[str] = ("--host=127.0.0.1",),
        inside: Sequence[str] = (),
        stdout: int | IO[bytes] | None = None,
        **given: Any,
    ) -> None:
        """Run a command; its output and that of `bender run` go to files, unless `stdout` is given.

        `inside` is a command that runs all of it; `program` is Python that stands for `bender`. Without them, and
        without variables that are Python's own, the process is forked.
        """
        program = given.pop("program", None)
        variables = given.pop("variables", {})
        arguments = [*self.arguments(*options), "--", *command]
        fresh = program or inside or not READ_AT_THE_START.isdisjoint(variables)
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "stdout").open("ab") as out, (self.folder / "stderr").open("ab") as err:
            common = {
                "cwd": self.folder,
                "env": {**environment(), **variables},
                "stdout": stdout or out,
                "stderr": given.pop("stderr", err),
                **given,
            }
            if not fresh:
                self.process = forks().start("bender", arguments, **common)
                return
            self.process = subprocess.Popen(
                [*inside, *(bender() if program is None else [sys.executable, "-c", program]), *arguments],
                **common,
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
            )

    def serve(self, *behaviours: str, options: Sequence[str] = ("--host=127.0.0.1",), **given: Any) -> None:
        """Run a service with these behaviours."""
        self.start(sys.executable, SERVING, str(self.port), str(self.folder), *behaviours, options=options, **given)

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text("utf-8")

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text("utf-8")

    async def printed(self, text: str) -> None:
        """Wait until this text is on stderr."""
        await until(f"it prints {text!r}", lambda: text in self.stderr)

    def noted(self) -> list[str]:
        """Return the notes of the service, without the times."""
        return [line.split(" ", 1)[1] for line in self._lines()]

    def noted_at(self, what: str) -> float:
        return next(float(line.split(" ", 1)[0]) for line in self._lines() if line.split(" ", 1)[1] == what)

    def _lines(self) -> list[str]:
        path = self.folder / "noted"
        return path.read_text("utf-8").splitlines() if path.exists() else []

    def make(self, name: str) -> None:
        """Make the service fail or hang, until `mend`."""
        (self.folder / name).touch()

    def mend(self, name: str) -> None:
        (self.folder / name).unlink()

    async def served(self) -> None:
        await until("the service serves", lambda: "serves" in self.noted())

    async def listed(self, node: Node, within_s: float = PATIENCE_S) -> None:
        await self._until_listed(node, 200, within_s)

    async def unlisted(self, node: Node, within_s: float = PATIENCE_S) -> None:
        await self._until_listed(node, 404, within_s)

    async def _until_listed(self, node: Node, status: int, within_s: float) -> None:
        path = f"/registrations/{self.id.removeprefix('registration/')}"

        async def answers() -> bool:
            return (await node.call("GET", path)).status == status

        await until(f"{path} is answered {status}", answers, within_s, lambda: self.stderr)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        await until("bender run ends", lambda: self.process.poll() is not None, within_s)
        return self.process.wait()

    def end(self) -> None:
        """End the process, and a service that it left running."""
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait(PATIENCE_S)
        for line in self.noted():
            if line.startswith("begins "):
                with suppress(ProcessLookupError):
                    os.kill(int(line.split()[1]), signal.SIGKILL)
