"""`bender run` with commands that behave in many ways, as real processes with a real registry."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import pytest_twisted

from tests.e2e.forking import Forks
from tests.e2e.nodes import Cluster, pause, until
from tests.e2e.runs import Run, one
from tests.twistd_command import environment

#: The time limit of a command that ends at once; most of it is the start of two Pythons.
AT_ONCE_S = 60.0

#: Options with a node that does not answer, which does not affect the command.
NOWHERE = ["run", "--app=web", "--version=1", "--port=1", "--node=127.0.0.1:1"]


def unread() -> BinaryIO:
    """Return a pipe that has no reader."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "wb")


# Commands that end by themselves.


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "exit 255"], 255),
        (["sh", "-c", "kill -KILL $$"], 128 + signal.SIGKILL),
        (["sh", "-c", "kill -SEGV $$"], 128 + signal.SIGSEGV),
        (["there-is-no-such-command"], 127),
        (["/etc/passwd"], 126),
        (["/"], 126),
        (["sh", "-c", "exec sh -c 'exit 4'"], 4),
        (["sh", "-c", "sleep 60 >/dev/null & exit 6"], 6),
    ],
    ids=["done", "failed", "failed-255", "killed", "crashed", "missing", "no-program", "folder", "exec", "background"],
)
def test_its_status_is_the_command_s(forks: Forks, command: list[str], status: int) -> None:
    """The exit status is that of the command: 128 + N after signal N, or a shell's status if it cannot be started.

    The output has the reason why the command was never registered, and the processes that are left.
    """
    ended = forks([*NOWHERE, "--host=127.0.0.1", "--", *command], environment(), AT_ONCE_S)
    assert ended.status == status
    never = "cannot be started" if status in (126, 127) else "and was never registered: "
    assert never in ended.stderr, ended.stderr
    assert ended.stderr.count("\n") <= 2, ended.stderr


@pytest_twisted.ensureDeferred
async def test_one_that_serves_for_a_moment(runs: Any, shared: Cluster) -> None:
    """An instance is deregistered when its command ends."""
    node = await one(shared)
    run = runs(node)
    run.serve("brief")
    await run.listed(node)
    assert await run.ended() == 5
    await run.unlisted(node, within_s=0.5)


def test_options_that_no_node_accepts(forks: Forks) -> None:
    """`bender run` exits with status 2 and one sentence that names the invalid option, before the command starts."""
    long = "x=" + 13_000 * "y"
    for option, why in (
        ("--app=we/b", "'--app': 'we/b' must be printable characters without /"),
        ("--version=", "'--version': '' must have 1 to 255 characters"),
        ("--ttl=2", "'--ttl': '2' must be 4 to 3600 seconds"),
        ("--host=http://10.0.0.5", "'--host': 'http://10.0.0.5' must be a DNS name or an IP address"),
        ("--host=0.0.0.0", "not the unspecified address 0.0.0.0"),
        ("--check=health", "'--check': 'health' must begin with /"),
        (f"--meta={long}", "'--meta': a registration must not be larger than 12288 bytes"),
        ("--weight=257", "'--weight': 257 is not in the range"),
    ):
        ended = forks([*NOWHERE, option, "--", "echo", "started"], environment(), AT_ONCE_S)
        assert (ended.status, ended.stdout) == (2, ""), option
        assert why in ended.stderr and ended.stderr.count("\n") == 1, ended.stderr


# Input and output.


@pytest_twisted.ensureDeferred
async def test_arguments_input_and_surroundings_are_passed_on(runs: Any, cluster: Cluster) -> None:
    """Arguments, variables, the folder and the input reach the command unchanged."""
    said = ["a b", "'\"", "$HOME", "--app", "ü\n", ""]
    run = runs(cluster.node())
    program = "import os, sys; print(sys.argv[1:], os.environ['WORD'], os.getcwd(), sys.stdin.read())"
    run.start(sys.executable, "-c", program, *said, variables={"WORD": "x y"}, stdin=subprocess.PIPE)
    assert run.process.stdin is not None
    run.process.stdin.write(b"what was typed")
    run.process.stdin.close()
    assert await run.ended() == 0
    assert run.stdout == f"{said} x y {run.folder} what was typed\n"


@pytest_twisted.ensureDeferred
async def test_one_that_floods_its_output(runs: Any, cluster: Cluster) -> None:
    """The whole output of the command arrives, and nothing else."""
    run = runs(cluster.node())
    run.start("sh", "-c", "yes flood | head -c 50000000")
    assert await run.ended() == 0
    assert (run.folder / "stdout").stat().st_size == 50_000_000


@pytest_twisted.ensureDeferred
async def test_one_whose_output_nobody_reads(runs: Any, cluster: Cluster) -> None:
    """A command whose output has no reader gets SIGPIPE, as from a shell."""
    run = runs(cluster.node())
    with unread() as nowhere:
        run.start("yes", stdout=nowhere)
    assert await run.ended() == 128 + signal.SIGPIPE


@pytest_twisted.ensureDeferred
async def test_one_that_closes_its_output(runs: Any, shared: Cluster) -> None:
    """A command that closes its output is still registered, also if the output of `bender run` has no reader."""
    node = await one(shared)
    run = runs(node)
    with unread() as nowhere:
        run.serve("mute", stderr=nowhere)
    await run.listed(node)
    run.signal(signal.SIGTERM)
    assert await run.ended() == 0


# When it is registered.


@pytest_twisted.ensureDeferred
async def test_one_whose_port_opens_late(runs: Any, shared: Cluster) -> None:
    """An instance is registered when its port is open, and not before."""
    node = await one(shared)
    run = runs(node)
    run.serve("late")
    await until("it begins", lambda: run.noted() != [])
    await run.unlisted(node, within_s=0.1)
    await run.listed(node)
    registered = (await node.call("GET", f"/registrations/{run.id.removeprefix('registration/')}")).body["registered"]
    assert registered / 1000 >= run.noted_at("serves") - 0.1


@pytest_twisted.ensureDeferred
async def test_what_keeps_it_out_is_said(runs: Any, shared: Cluster) -> None:
    """The reason why a command is not registered is on stderr within seconds."""
    node = await one(shared)

    def begin(*options: str, host: str = "127.0.0.1", how: str = "") -> Run:
        run: Run = runs(node)
        run.folder.mkdir()
        if how:
            run.make(how)
        run.serve(options=[f"--host={host}", *options])
        return run

    # This command does not open its port.
    closed = runs(node)
    closed.start("sleep", "60", options=["--host=127.0.0.1", "--drain=30", "--json"])
    held = runs(node)
    holder = socket.create_server(("127.0.0.1", held.port))
    held.start("sleep", "60")
    begun = {
        "does not answer within 0.3 s.": begin("--check=/health", "--check-timeout=0.3", how="hang"),
        "answers /health with 500.": begin("--check=/health", how="ill"),
    }
    elsewhere = begin(host="127.0.0.2")
    begun[f"127.0.0.2:{elsewhere.port} refuses connections: port {elsewhere.port} is bound to 127.0.0.1."] = elsewhere
    begun[f"127.0.0.1:{closed.port} refuses connections."] = closed
    for said, run in begun.items():
        await run.printed(said)
        assert said in run.stderr.partition("not registered yet: ")[2]
    assert "refuses connections" in json.loads(closed.stderr)["message"]
    for run in begun.values():
        await run.unlisted(node, within_s=0.1)
    await held.listed(node)
    assert f"port {held.port} is held by process {os.getpid()} (" in held.stderr
    holder.close()
    closed.signal(signal.SIGTERM)
    assert await closed.ended() == 128 + signal.SIGTERM
    assert "deregistered" not in closed.stderr


@pytest_twisted.ensureDeferred
async def test_one_that_is_ill_now_and_then(runs: Any, shared: Cluster) -> None:
    """With `--check`, an instance is not listed while the check fails or hangs, and its command keeps running."""
    node = await one(shared)
    run = runs(node)
    run.folder.mkdir()
    run.make("ill")
    checked = [
        "--host=127.0.0.1",
        "--check=/health",
        "--check-every=0.2",
        "--check-timeout=0.3",
        "--rise=2",
        "--fall=2",
    ]
    run.serve(options=checked)
    await run.served()
    await pause(0.5)
    await run.unlisted(node, within_s=0.1)
    for how in ("ill", "hang", "ill"):
        if how == "ill" and not (run.folder / "ill").exists():
            run.make("ill")
            await run.unlisted(node)
        if how == "hang":
            run.make("hang")
            await run.unlisted(node)
        run.mend(how)
        await run.listed(node)
    assert run.noted()[1:] == ["serves"]
    assert run.stderr.count("The instance serves again") == 2


@pytest_twisted.ensureDeferred
async def test_while_no_node_is_there(runs: Any, cluster: Cluster) -> None:
    """Without a node, the command starts and the output reports it; the instance is registered at a ready node."""
    node = cluster.node()
    begun = [runs(node) for _ in range(3)]
    begun[2].nodes = ["no-such-registry.invalid:1729", *begun[2].nodes]
    for run, options in zip(begun, (["--host=127.0.0.1"], [], []), strict=True):
        run.serve(options=options)
    for run in begun:
        await run.printed("not registered yet: no node answers: ")
        assert f"127.0.0.1:{node.api_port} does not answer" in run.stderr
        assert "serves" in run.noted()
    assert "no-such-registry.invalid:1729 does not answer" in begun[2].stderr
    node.start()
    await node.ready()
    for run in begun:
        await run.listed(node)
        await run.printed(f"is registered at 127.0.0.1:{node.api_port}.")
    node.kill()
    await node.ended()
    begun[0].signal(signal.SIGTERM)
    assert await begun[0].ended(within_s=5) == 0
    assert "could not be deregistered: no node answers" in begun[0].stderr


@pytest_twisted.ensureDeferred
async def test_where_it_is_found_by_the_address_of_its_way_to_a_node(runs: Any, shared: Cluster) -> None:
    """Without `--host`, the instance has the local address of the connection to the node, here the loopback address."""
    node = await one(shared)
    run = runs(node)
    run.serve(options=[])
    await run.listed(node)
    run.signal(signal.SIGTERM)
    assert await run.ended() == 0


@pytest_twisted.ensureDeferred
async def test_while_nodes_come_and_go(runs: Any, cluster: Cluster) -> None:
    """The instance is never offline when its node is killed, and when all nodes are restarted one after the other."""
    nodes = await cluster(3, ttl=4, interval=0.25)
    run = runs(*nodes)
    run.serve()
    await run.listed(nodes[2])
    nodes[0].kill()
    await nodes[0].ended()
    await pause(3)
    await nodes[0].restart()
    for node in nodes:
        await node.restart()
        await pause(1)
    for node in nodes:
        events = (await node.call("GET", f"/explain/{run.id}")).body["nodes"]
        told = [event["event"] for account in events for event in account["events"]]
        assert "offline" not in told, (await node.call("GET", f"/explain/{run.id}")).body
        await run.listed(node, within_s=0.1)


# How it is ended.


@pytest_twisted.ensureDeferred
async def test_one_that_ends_when_it_is_told(runs: Any, cluster: Cluster) -> None:
    """The command gets the signal after all nodes have removed the instance, and after the time to drain."""
    nodes = await cluster(3)
    run = runs(*nodes)
    run.serve(options=["--host=127.0.0.1", "--drain=0.5"])
    for node in nodes:
        await run.listed(node)
    run.signal(signal.SIGTERM)
    assert await run.ended() == 0
    for node in nodes:
        (account,) = [
            each for each in (await node.call("GET", f"/explain/{run.id}")).body["nodes"] if each["node"] == node.name
        ]
        offline, *_, online = account["events"]
        assert (offline["event"], offline["reason"], online["event"]) == ("offline", "deregistered", "online")
        assert offline["at"] / 1000 <= run.noted_at("SIGTERM") - 0.4


@pytest_twisted.ensureDeferred
async def test_one_that_takes_its_time(runs: Any, shared: Cluster) -> None:
    """`bender run` waits for the end of a slow command, and returns its status."""
    node = await one(shared)
    run = runs(node)
    run.serve("slow")
    await run.listed(node)
    run.signal(signal.SIGINT)
    assert await run.ended() == 3
    assert run.noted()[2:] == ["SIGINT"]


@pytest_twisted.ensureDeferred
async def test_one_that_ignores_it(runs: Any, shared: Cluster) -> None:
    """A command that ignores SIGTERM gets a second signal at once, and is killed after `--kill-after`."""
    node = await one(shared)
    run = runs(node)
    run.serve("stubborn", options=["--host=127.0.0.1", "--kill-after=1.5"])
    await run.listed(node)
    run.signal(signal.SIGTERM)
    await run.unlisted(node)
    await until("it hears of it", lambda: "SIGTERM" in run.noted())
    run.signal(signal.SIGINT)
    await until("it hears again", lambda: run.noted()[2:] == ["SIGTERM", "SIGINT"])
    assert await run.ended() == 128 + signal.SIGKILL
    assert "is killed" in run.stderr


@pytest_twisted.ensureDeferred
async def test_one_that_does_nothing_about_it(runs: Any, shared: Cluster) -> None:
    """A command without a handler ends by the signal, which determines the exit status."""
    node = await one(shared)
    run = runs(node)
    run.serve("default")
    await run.listed(node)
    run.signal(signal.SIGTERM)
    assert await run.ended() == 128 + signal.SIGTERM
    await run.unlisted(node, within_s=0.1)


@pytest_twisted.ensureDeferred
async def test_somebody_who_cannot_wait(runs: Any, shared: Cluster) -> None:
    """A second signal skips the rest of the drain."""
    node = await one(shared)
    run = runs(node)
    run.serve(options=["--host=127.0.0.1", "--drain=30"])
    await run.listed(node)
    run.signal(signal.SIGTERM)
    await run.unlisted(node)
    run.signal(signal.SIGTERM)
    assert await run.ended(within_s=20) == 0
    assert run.noted()[2:] == ["SIGTERM"]


@pytest_twisted.ensureDeferred
async def test_killed_itself(runs: Any, cluster: Cluster) -> None:
    """If `bender run` is killed, the instance is offline after its ttl, because nothing renews it."""
    (node,) = await cluster(1, ttl=10, interval=0.25)
    run = runs(node)
    run.serve(options=["--host=127.0.0.1", "--ttl=1"])  # these nodes accept this ttl, and others refuse it
    await run.listed(node)
    run.signal(signal.SIGKILL)
    await run.ended()
    await run.unlisted(node, within_s=8)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest_twisted.ensureDeferred
async def test_ended_while_it_begins(runs: Any, cluster: Cluster, moment: str) -> None:
    """A signal during the start of the command ends it, and leaves no process."""
    run = runs(cluster.node())
    program = (
        "import os\nspawn = os.posix_spawnp\n"
        "def posix_spawnp(*arguments, **options):\n"
        "    signalled = lambda: os.kill(os.getpid(), 15)\n"
        f"    if {moment!r} == 'before': signalled()\n"
        "    pid = spawn(*arguments, **options)\n"
        f"    if {moment!r} == 'after': signalled()\n"
        "    print(pid, flush=True)\n    return pid\n"
        "os.posix_spawnp = posix_spawnp\nfrom bender.cli import main; main()"
    )
    run.start("sleep", "60", program=program)
    assert await run.ended() == 130
    await until("the command has ended as well", lambda: not Path(f"/proc/{int(run.stdout)}").exists())


@pytest_twisted.ensureDeferred
async def test_with_nothing_to_read_from_or_write_to(runs: Any, cluster: Cluster) -> None:
    """Without an open stdin, stdout or stderr, the command runs, and `bender run` prints nothing on stdout."""
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        run = runs(cluster.node())
        run.start("sh", "-c", "exit 7", inside=["sh", "-c", f'"$@" {closed}', "sh"])
        assert await run.ended() == 7, closed
        assert run.stdout == ""


def test_files_that_are_spoilt(forks: Forks, tmp_path: Path) -> None:
    """A damaged cache of nodes is ignored; a damaged file of an option is reported in one sentence."""
    spoilt = tmp_path / "bender" / "nodes.json"
    spoilt.parent.mkdir()
    spoilt.write_bytes(b'{"\xff": "\xff"}')
    for options, status in (([], 7), ([f"--token-file={spoilt}"], 2), ([f"--ca={spoilt}"], 2)):
        variables = {**environment(), "XDG_CACHE_HOME": str(tmp_path)}
        ended = forks([*NOWHERE, *options, "--", "sh", "-c", "exit 7"], variables)
        assert ended.status == status
        assert "Traceback" not in ended.stderr
