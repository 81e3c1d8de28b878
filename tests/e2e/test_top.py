"""`bender top` on a real terminal, with three real nodes, and without a terminal."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pexpect
import pytest
from pytest_twisted import ensureDeferred

from tests.e2e.cli_answers import ESCAPE, WEB_ID, answered
from tests.e2e.nodes import Cluster, Node, pause, until
from tests.e2e.screens import Picture
from tests.e2e.shells import BENDER, Shell, at, empty, registered

#: The last written sequence: it restores the previous screen, the cursor, and the wrapping of lines.
RESTORED = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

#: The name of colour 33 in pyte.
YELLOW = "brown"


def top(
    shell: Shell, *arguments: str, columns: int = 80, lines: int = 24, ignored: Sequence[int] = (), **variables: str
) -> Picture:
    """Start `bender top` on a terminal, with these signals ignored."""

    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    return Picture(
        pexpect.spawn(
            BENDER,
            ["top", *arguments],
            env={**shell.variables, **variables},
            dimensions=(lines, columns),
            encoding="utf-8",
            preexec_fn=ignore,
        )
    )


def modes(screen: Picture) -> list[Any]:
    """Return the modes of the terminal, such as whether it echoes keys."""
    return termios.tcgetattr(screen.command.child_fd)


async def drained(node: Node, state: str = "drain") -> None:
    path = f"/registrations/{WEB_ID.partition('/')[2]}/state"
    assert (await node.call("PUT", path, {"state": state})).status == 200


@ensureDeferred
async def test_changes_are_seen_as_they_happen(cluster: Cluster, shell: Shell) -> None:
    """The screen shows new, drained and expired instances; at the end, the modes of the terminal are as before."""
    nodes = await cluster(3, interval=0.25, ttl=1)
    await registered(nodes[1])
    with top(shell, at(*nodes)) as screen:
        before = modes(screen)
        await screen.shows(r"nodes: 3 of 3 heard")
        assert modes(screen) != before
        await screen.shows(r"^  web  1\.2\.0 +1 +1$")
        await registered(nodes[1], "pay/2/10.0.1.5/9000", ttl=1)
        await screen.shows(r"^\+ pay +2 +1 +1 .*registered \d s ago")
        assert screen.colour("pay") == "green"
        await drained(nodes[2])
        await screen.shows(r"^~ web +1\.2\.0 +1 +1 +\w+ \d s ago")
        assert screen.colour("web") == YELLOW
        await screen.shows(r"^- pay +2 .*expired \d s ago")
        assert screen.colour("pay") == "red"
        screen.type("a/we\r")
        await screen.shows("filter: we")
        await screen.lacks("pay")
        screen.type("\r")
        await screen.shows(r"10\.0\.0\.5 +8080 +drain")
        screen.type("\r")
        await screen.shows("LISTS IT")
        screen.type("q")
        assert await screen.ended() == 0
        assert screen.written.endswith(RESTORED)
        assert modes(screen) == before


@ensureDeferred
async def test_without_a_terminal_it_prints_once(shared: Cluster, shell: Shell) -> None:
    """Without a terminal, on a dumb one, or with --once, the table is printed once; with --json as one object."""
    node = await empty(shared)
    await registered(node)
    assert (await node.call("PUT", "/backends/shop", {"app": "web", "version": "1.2.0"})).status == 201
    head, counts, between, names, row = shell.done("top", at(node)).splitlines()
    assert re.fullmatch(rf"bender top  {node.name} \(127.*\)  ready  nodes: 1 of 1 heard  up \d+ s", head)
    assert (counts, between) == ("registrations: 1  apps: 1  backends: 1", "")
    assert names.split() == ["APP", "VERSION", "LISTED", "UP", "DRAIN", "MAINT", "SUSPECT", "WEIGHT", "BACKENDS"]
    assert row.split() == ["web", "1.2.0", "1", "1", "1", "shop"]
    *_, row = shell.done("top", "web", "1.2.0", at(node)).splitlines()
    assert row.split()[:6] == ["web", "1.2.0", "10.0.0.5", "8080", "up", "1"]
    end = shell.bender("top", "none", at(node))
    assert (end.returncode, end.stdout.splitlines()[1:]) == (1, ["registrations of none: 0"])
    assert end.stderr == "bender: there is no app none; known names: web.\n"
    shown = json.loads(shell.done("top", "--json", at(node)))
    assert [*shown] == ["status", "registrations", "backends", "frontends"]
    for kind in ("registrations", "backends", "frontends"):
        assert shown[kind] == json.loads(await answered(node, f"/{kind}"))
    assert shown["status"]["node"] == node.name
    end = shell.bender("top", "--node=127.0.0.1:1")
    assert (end.returncode, end.stdout, end.stderr.startswith("bender: ")) == (1, "", True)
    for shown_once in (shell.output_of("top", "--once", at(node)), shell.output_of("top", at(node), TERM="dumb")):
        assert "1049" not in shown_once
        assert "registrations: 1  apps: 1" in shown_once


@pytest.mark.slow
@ensureDeferred
async def test_another_node_is_followed_if_one_fails(cluster: Cluster, shell: Shell) -> None:
    """When a node fails, the next one is followed without a gap; without any node, the last state is marked as old."""
    nodes = await cluster(3, interval=0.25, ttl=4)
    await registered(nodes[1])
    with top(shell, at(*nodes), "--interval=500ms", columns=100) as screen:
        await screen.shows(r"^bender top  n1 .*nodes: 3 of 3 heard")
        nodes[0].kill()
        await screen.shows(r"^lost n1, now following 127\.0\.0\.1:\d+\.$")
        await screen.shows(r"^bender top  n[23] .*nodes: 2 of 3 heard")
        await registered(nodes[1], "pay/2/10.0.1.5/9000")
        await screen.shows(r"^\+ pay +2 ")
        screen.type("n")
        await screen.shows(r"n1 .* (silent|unreachable)")
        screen.type("a")
        for node in nodes[1:]:
            node.kill()
        stale = await screen.shows(r"^STALE, as of (\d+) s ago, retrying: ")
        assert screen.is_reversed("STALE")
        assert screen.colour("unreachable") == "red"
        await screen.shows(rf"^STALE, as of {int(stale[1]) + 2} s ago")
        assert "web  1.2.0" in screen.text
        for node in nodes:
            await node.ended()
        await cluster.start(nodes)
        await screen.lacks("STALE")
        await screen.shows(r"^bender top  n\d .*nodes: 3 of 3 heard")
        await screen.lacks("web")
        screen.type("q")
        assert await screen.ended() == 0


@pytest.mark.slow
@ensureDeferred
async def test_it_waits_for_a_node(cluster: Cluster, shell: Shell) -> None:
    """`bender top` waits for its first node, and notices a node that hangs."""
    (node,) = await cluster(1)
    node.kill()
    await node.ended()
    with top(shell, at(node), "--interval=500ms", columns=100) as screen:
        await screen.shows(r"^nothing received yet, retrying: 127.0.0.1:\d+ ")
        await node.restart()
        await screen.shows("ready  nodes: 1 of 1 heard")
        assert "nothing received yet" not in screen.text
        node.kill(signal.SIGSTOP)
        await screen.shows(r"^STALE, as of \d+ s ago, retrying: 127.0.0.1:\d+ ")
        node.kill(signal.SIGCONT)
        await screen.lacks("STALE")


@pytest.mark.slow
@ensureDeferred
async def test_every_end_restores_the_terminal(shared: Cluster, shell: Shell) -> None:
    """The terminal is restored after `q`, Ctrl-C and signals."""
    node = await empty(shared)
    for ending, status in (
        ("\x03", 130),
        (signal.SIGTERM, 130),
        (signal.SIGHUP, 130),
        (signal.SIGQUIT, 130),
        ("q", 0),
    ):
        with top(shell, at(node)) as screen:
            before = modes(screen)
            await screen.shows("1 of 1 heard")
            if isinstance(ending, str):
                screen.type(ending)
            else:
                screen.command.kill(ending)
                screen.command.kill(ending)  # as when a terminal is closed, because the shell sends a second signal
            assert await screen.ended() in (status, -ending if isinstance(ending, int) else status), ending
            assert screen.written.endswith(RESTORED), ending
            assert modes(screen) == before, ending
    with top(shell, at(node)) as screen:
        await screen.shows("1 of 1 heard")
        screen.type("\x1c")  # Ctrl-\ does nothing
        screen.type("\x1a")  # Ctrl-Z has no lasting effect, because no shell could continue the process
        await until("it takes the terminal again", lambda: screen.written.count("\x1b[?1049h") == 2)
        screen.type("?")
        await screen.shows("any other key: back")


@pytest.mark.slow
@ensureDeferred
async def test_ctrl_c_ends_it_also_if_the_signal_was_ignored(shared: Cluster, shell: Shell) -> None:
    """Ctrl-C ends `bender top` also if SIGINT was ignored at its start, as in a background script."""
    node = await empty(shared)
    with top(shell, at(node), ignored=[signal.SIGINT, signal.SIGQUIT]) as screen:
        await screen.shows("1 of 1 heard")
        screen.type("\x03")
        assert await screen.ended() == 130
        assert screen.written.endswith(RESTORED)


@pytest.mark.slow
@ensureDeferred
async def test_it_ends_with_its_terminal(shared: Cluster, shell: Shell) -> None:
    node = await empty(shared)

    async def follows() -> bool:
        return int((await node.call("GET", "/status")).body["counts"]["watchers"]) == 1

    command = [sys.executable, str(Path(__file__).with_name("in_terminal.py")), BENDER, "top", at(node)]
    process = subprocess.Popen(command, env=shell.variables)  # noqa: ASYNC220 - starting does not wait
    await until("it follows events", follows)
    process.send_signal(signal.SIGUSR1)
    await until("it ends", lambda: process.poll() is not None)
    assert process.returncode in (0, 130)  # it reads the end of the terminal, or the signal arrives first


@pytest.mark.slow
@ensureDeferred
async def test_ctrl_z_gives_the_terminal_back(shared: Cluster, shell: Shell) -> None:
    """Ctrl-Z restores the modes of the terminal, and `fg` continues on it."""
    node = await empty(shared)
    await registered(node)
    variables = {**shell.variables, "PS1": "ready$ "}
    command = pexpect.spawn(
        "bash", ["--noprofile", "--norc", "-i"], env=variables, dimensions=(24, 80), encoding="utf-8"
    )
    with Picture(command) as screen:
        await screen.shows(r"ready\$")
        screen.type(f"{BENDER} top {at(node)}\n")
        await screen.shows("1 of 1 heard")
        held = modes(screen)
        screen.type("\x1a")
        await screen.shows("Stopped")
        assert RESTORED in screen.written
        written = len(screen.written)
        screen.type("echo $((6*7))\n")
        await screen.shows("^42$")
        screen.type("fg\n")
        await until("it takes the terminal again", lambda: "\x1b[?1049h" in screen.written[written:])
        await screen.shows(r"^  web +1\.2\.0 +1 +1")
        assert modes(screen) == held
        screen.type("n")
        await screen.shows("DIGEST")
        screen.type("q")
        await screen.shows(r"ready\$$")
        screen.type("stty -a | tr ' ' '\\n' | grep -cx -e icanon -e echo\n")
        await screen.shows("^2$")


@pytest.mark.slow
@ensureDeferred
async def test_it_follows_the_size_of_the_terminal(shared: Cluster, shell: Shell) -> None:
    node = await empty(shared)
    await registered(node, meta={"zone": "a"})
    with top(shell, "web", at(node), "--interval=1h") as screen:
        await screen.shows(r"VERSION +HOST")
        assert "META" not in screen.text
        screen.resize(200, 60)
        await screen.shows(r"APP +VERSION +HOST.* META$")
        assert len(screen.lines) == 60
        assert screen.lines[-1].startswith("q quit")
        screen.resize(40, 10)
        await screen.lacks("SINCE")
        assert screen.lines[-1].startswith("q quit")
        screen.resize(10, 4)
        await screen.shows("^bender to…$")
        screen.resize(80, 24)
        await screen.shows(r"VERSION +HOST")


@pytest.mark.slow
@ensureDeferred
async def test_pause_and_colours(shared: Cluster, shell: Shell) -> None:
    """A paused table does not change; without colours, a sign marks changed rows."""
    node = await empty(shared)
    await registered(node)
    with top(shell, at(node), "--interval=500ms", NO_COLOR="1") as screen:
        await screen.shows(r"^  web +1\.2\.0")
        screen.type("p")
        await screen.shows("PAUSED")
        await registered(node, "pay/2/10.0.1.5/9000")
        await screen.shows("registrations: 2 ")
        assert "pay" not in screen.text
        screen.type("p")
        await screen.shows(r"^\+ pay ")
        screen.type("q")
        assert await screen.ended() == 0
        assert re.search(re.escape(ESCAPE) + "[0-9;]*3[0-9]m", screen.written) is None
        assert f"{ESCAPE}7m" in screen.written


@pytest.mark.slow
@ensureDeferred
async def test_a_terminal_that_takes_nothing_is_no_obstacle(shared: Cluster, shell: Shell) -> None:
    """A terminal that is not read gets the latest screen as soon as it is read."""
    node = await empty(shared)
    with top(shell, at(node), "--interval=250ms", columns=200, lines=60) as screen:
        await screen.shows("1 of 1 heard")
        for number in range(60):  # nothing is read meanwhile, and the buffer of the terminal has 4 KiB
            await registered(node, f"app{number % 7}/{number}/10.0.0.5/8080")
            screen.command.send("sr"[number % 2])
            await pause(0.05)
        await screen.shows("registrations: 60 ")
        screen.type("q")
        assert await screen.ended() == 0


#: Sequences that clear a screen, set its title and its colours, and change the order of text.
EVIL = "a\x1b[2J\x1b]0;title\x07\x9b31m\u202eb\u2066\u200b\r\n\tz"

#: The sequences that bender itself writes.
OURS = re.compile(r"\x1b\[(?:[0-9;]*m|[0-9]+;1H|2K|2J|\?(?:1049|25|7)[hl])")


@pytest.mark.slow
@ensureDeferred
async def test_no_name_disturbs_the_terminal(cluster: Cluster, shell: Shell, tmp_path: Path) -> None:
    """Names from a node are escaped in all views."""
    port, events = cluster.ports.take(), tmp_path / "events"
    body = {"id": f"registration/{EVIL}", "app": EVIL, "version": EVIL, "host": EVIL, "port": 80, "ttl": 9, "weight": 1}
    about = {**body, "meta": {EVIL: EVIL}, "registered": 1, "node": EVIL}
    sent = [
        {"event": "online", "snapshot": True, "registration": about},
        {"event": "created", "snapshot": True, "backend": {"id": EVIL, "name": EVIL, "app": EVIL, "version": EVIL}},
        {"event": "synced", "cursor": "c1"},
        {"event": "changed", "cursor": "c2", "reason": EVIL, "registration": {**about, "state": EVIL}},
    ]
    events.write_text("".join(f"{json.dumps(event)}\n" for event in sent))
    registry = [sys.executable, str(Path(__file__).with_name("hostile_registry.py")), str(port), str(events)]
    process = subprocess.Popen(registry)  # noqa: ASYNC220 - starting does not wait
    try:
        with top(shell, f"--node=127.0.0.1:{port}", columns=200) as screen:
            await screen.shows(r"registrations: 1 ")
            for key in "ibnea":
                screen.type(key)
                await pause(0.3)
                assert len(screen.lines) == 24
                if key != "n":
                    assert "a\\x1b[2J\\x1b]0;title" in screen.text, screen.text
            screen.type("q")
            assert await screen.ended() == 0
            written = OURS.sub("", screen.written)
            assert written.isprintable(), ascii(written)
    finally:
        process.terminate()
        process.wait()
