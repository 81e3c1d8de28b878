"""`bender run` and all real processes of its command: signals, background processes, and processes that are left."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
import pytest_twisted

from bender.run.process_table import ProcessTable
from tests.e2e.nodes import Cluster, until
from tests.e2e.runs import SERVING, bender, one
from tests.twistd_command import environment


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def states(pids: list[int]) -> set[str]:
    """Return the states of some processes, as letters."""
    return {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids}


@pytest_twisted.ensureDeferred
async def test_one_that_goes_into_the_background(runs: Any, shared: Cluster) -> None:
    """A command in the background, also in another session, is registered and signalled, and gives the exit status."""
    node = await one(shared)
    run = runs(node)
    run.serve("forks", "slow")
    await run.listed(node)
    await run.printed("The command has gone into the background; its processes are watched there: process ")
    run.signal(signal.SIGTERM)
    assert await run.ended() == 3
    assert run.noted()[-1] == "SIGTERM"
    await run.unlisted(node, within_s=0.5)


@pytest_twisted.ensureDeferred
async def test_a_start_script_without_exec(runs: Any, shared: Cluster) -> None:
    """The server that a script starts also gets the signal; `bender run` waits for it, even if the script has ended.

    Afterwards, processes that the script left in another session are ended. Other signals go only to the command.
    """
    node = await one(shared)
    run = runs(node)
    run.folder.mkdir()
    serve = f"{sys.executable} {SERVING} {run.port} {run.folder} slow"
    script = f"setsid sleep 600 & echo $! >beside; trap 'echo hangup >hangup' HUP; while true; do {serve}; done"
    run.start("sh", "-c", script)
    await run.listed(node)
    beside = int((run.folder / "beside").read_text())
    run.signal(signal.SIGHUP)
    run.signal(signal.SIGTERM)
    assert await run.ended() == 128 + signal.SIGTERM
    assert run.noted()[2:] == ["SIGTERM"]
    assert beside not in ProcessTable().processes()
    assert f"has ended and left process {beside} (sleep) running: ending these processes" in run.stderr
    await run.unlisted(node, within_s=0.5)


@pytest_twisted.ensureDeferred
async def test_other_signals_are_passed_on(runs: Any, shared: Cluster) -> None:
    """The command gets other signals at once, and stays registered."""
    node = await one(shared)
    run = runs(node)
    run.serve()
    await run.listed(node)
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
        run.signal(getattr(signal, name))
        await until(f"it hears of {name}", lambda name=name: name in run.noted())  # type: ignore[misc]
    await run.listed(node, within_s=0.1)
    run.signal(signal.SIGTERM)
    assert await run.ended() == 0


@pytest_twisted.ensureDeferred
async def test_control_c_in_a_terminal(runs: Any, shared: Cluster) -> None:
    """On Ctrl-C, the service gets one signal, from `bender run` and not from the terminal, where it can still write.

    Ctrl-Z stops all processes, also children of the command, and SIGCONT continues them.
    """
    node = await one(shared)
    run = runs(node)
    run.folder.mkdir()
    (run.folder / "stderr").touch()
    service = ["--", "sh", "-c", f"{sys.executable} {SERVING} {run.port} {run.folder}; exit $?"]
    command: list[str] = [*bender(), *run.arguments("--host=127.0.0.1"), *service]
    terminal = pexpect.spawn(command[0], command[1:], env=environment(), encoding="utf-8")
    await run.listed(node)
    assert terminal.pid is not None
    begun = [terminal.pid, *(process.pid for process in ProcessTable().descendants(terminal.pid))]
    assert len(begun) == 3
    terminal.sendcontrol("z")
    await until("all of it is stopped", lambda: states(begun) == {"T"})
    os.kill(terminal.pid, signal.SIGCONT)
    await until("all of it goes on", lambda: "T" not in states(begun))
    terminal.sendintr()
    await until("it ends", lambda: not terminal.isalive())
    assert run.noted()[2:] == ["SIGINT"]
    assert terminal.exitstatus in (0, 128 + signal.SIGINT)  # from the shell, which gets the signal, too
    assert "is deregistered" in terminal.read()


@pytest.mark.outside
@pytest_twisted.ensureDeferred
async def test_as_the_first_process_of_a_container(runs: Any, cluster: Cluster) -> None:
    """As the first process of a container, `bender run` passes signals on, and reaps orphans."""
    run = runs(cluster.node())
    orphans = (
        "for i in 1 2 3 4 5; do (sh -c 'sleep 0.2; exit 0' &) ; done; sleep 1; grep -l 'State:.Z' /proc/[0-9]*/status"
    )
    script = f"trap 'exit 9' TERM; {orphans}; echo reaped; while true; do sleep 0.1; done"
    alone = ["unshare", "--map-root-user", "--pid", "--mount-proc", "--fork", "--kill-child"]
    run.start("sh", "-c", script, inside=alone)
    await until("the orphans are looked at", lambda: "reaped" in run.stdout)
    assert run.stdout == "reaped\n"
    (first,) = children(run.process.pid)
    os.kill(first, signal.SIGTERM)
    assert await run.ended() == 9
