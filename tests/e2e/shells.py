"""A shell in which tests run `bender`, and helpers for registrations and nodes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import pexpect

from tests.e2e.forking import Forked, Forks
from tests.e2e.nodes import PATIENCE_S, Cluster, Node
from tests.twistd_command import environment

BENDER = str(Path(sys.executable).with_name("bender"))

WEB = "web/1.2.0/10.0.0.5/8080"


class Shell:
    """A user's shell: a home and variables."""

    def __init__(self, home: Path, forks: Forks) -> None:
        self.home = home
        self._forks = forks
        self._begun: list[Forked] = []
        self.variables = {**environment(), "HOME": str(home), "TERM": "xterm", "XDG_CACHE_HOME": str(home / "cache")}
        for name in [*self.variables]:
            if name.startswith("BENDER_") or name == "NO_COLOR":
                del self.variables[name]

    def bender(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command with pipes, and return its result. With `variables` of Python it is a fresh process."""
        if not variables:
            ended = self._forks(arguments, self.variables)
            return subprocess.CompletedProcess(arguments, ended.status, ended.stdout, ended.stderr)
        return subprocess.run(
            [BENDER, *arguments],
            env={**self.variables, **variables},
            text=True,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def begun(
        self,
        *arguments: str,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
    ) -> Forked:
        """Start a command that runs for a while."""
        process = self._forks.start("bender", arguments, self.variables, stdout=stdout, stderr=stderr, text=True)
        self._begun.append(process)
        return process

    def end(self) -> None:
        """End the commands that still run after a failed test."""
        for process in self._begun:
            process.kill()
            process.wait(PATIENCE_S)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def done(self, *arguments: str, **variables: str) -> str:
        """Return the output of a command, which must succeed and print nothing on stderr."""
        end = self.bender(*arguments, **variables)
        assert (end.returncode, end.stderr) == (0, ""), end.stderr
        return end.stdout

    def written(self, where: str, *arguments: str) -> tuple[int, str]:
        """Return the status and stderr of a command with a redirection in the notation of a shell."""
        script = f'"$@" {where}; exit "${{PIPESTATUS[0]}}"'
        end = subprocess.run(
            ["bash", "-c", script, "bash", BENDER, *arguments],
            env=self.variables,
            text=True,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return end.returncode, end.stderr

    def table(self, *arguments: str) -> list[list[str]]:
        """Return the words of each line except the first, which has the columns."""
        return [line.split() for line in self.done(*arguments).splitlines()[1:]]

    def terminal(self, *arguments: str, columns: int = 120, **variables: str) -> pexpect.spawn[str]:
        """Start a command on a terminal."""
        return pexpect.spawn(
            BENDER,
            [*arguments],
            env={**self.variables, **variables},
            dimensions=(50, columns),
            encoding="utf-8",
            timeout=PATIENCE_S,
        )

    def output_of(self, *arguments: str, columns: int = 120, **variables: str) -> str:
        """Return the whole output of a command on a terminal."""
        child = self.terminal(*arguments, columns=columns, **variables)
        child.expect(pexpect.EOF)
        child.close()
        assert isinstance(child.before, str)
        return child.before.replace("\r\n", "\n")


def is_sentence(text: str) -> bool:
    """Return True if the text is one line, and a sentence of bender."""
    return bool(re.fullmatch(r"bender: .*[^.\s]\.\n", text))


async def registered(node: Node, path: str = WEB, **terms: Any) -> None:
    """Register an instance."""
    assert (await node.call("POST", f"/registrations/{path}", {"ttl": 60, **terms})).status == 200


async def empty(shared: Cluster) -> Node:
    """Return the node that tests share, after removing registrations and settings of other tests."""
    if not shared.nodes:
        await shared(1)
    (node,) = shared.nodes
    for kind in ("registrations", "frontends", "backends"):
        for each in (await node.call("GET", f"/{kind}")).body:
            path = quote(each["id"].partition("/")[2])
            assert (await node.call("DELETE", f"/{kind}/{path}")).status in (200, 204), each
    return node


def at(*nodes: Node) -> str:
    """Return the option that names these nodes."""
    return "--node=" + ",".join(f"127.0.0.1:{node.api_port}" for node in nodes)
