"""A node that sends invalid answers to commands and programs: one sentence, status 1, no control characters.

`make test` runs an example of each kind of fault, and each command with one of them; the others are marked `slow`.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from tests.e2e.forking import Ended, Forks
from tests.e2e.hostile import COMMANDS, GOOD, ID, REGISTRATION, WEB, Answer, Commands, Hostile, bodies, mutations
from tests.e2e.nodes import PATIENCE_S, Cluster, pause, until
from tests.e2e.runs import Run
from tests.e2e.shells import Shell, is_sentence, registered
from tests.twistd_command import environment

#: Control characters, bidirectional controls and the like, except the escapes of colours, which bender prints.
UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
COLOURS = re.compile("\x1b\\[[0-9;]*m")

#: Text with one character of each kind.
EVIL = "a\x1b[2J\x1b]0;title\x07\x00\x7f\x9b2J\u202eb\u2066\u200b\u2028\r\n\tz"

OK = b"HTTP/1.1 200 OK\r\n"

#: Commands that are also tested on a terminal: those with tables, lines and sentences.
ON_TERMINALS = [["ls"], ["explain", WEB], ["backend", "history", "shop"], ["status"], ["guard", "end", "web"]]

#: The routes that each command requests, by the words of the command; filled on demand.
ROUTES: dict[tuple[str, ...], list[int]] = {}


@pytest.fixture(scope="module")
def server() -> Iterator[Hostile]:
    made = Hostile()
    yield made
    made.end()


@pytest.fixture
def hostile(server: Hostile) -> Hostile:
    server.begin_anew(None, Answer(b""))
    return server


@pytest.fixture(scope="module")
def bender(server: Hostile, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return Commands(forks, str(tmp_path_factory.mktemp("home")), server.address)


def routes(hostile: Hostile, bender: Commands, command: Sequence[str]) -> list[int]:
    """Return the routes that a command requests if all is well, in order."""
    if (*command,) not in ROUTES:
        hostile.begin_anew(None, Answer(b""))
        end = bender(*command)
        assert (end.status, "Traceback" in end.stderr) == (0, False), (command, end)
        ROUTES[*command,] = [*dict.fromkeys(hostile.requested_routes)]
    return ROUTES[*command,]


def assert_well(end: Ended, *about: object) -> None:
    """Check that the command succeeded, or printed the reason in one sentence."""
    assert "Traceback" not in end.stderr, (about, end.stderr)
    assert end.status in (0, 1), (about, end)
    assert end.status == 0 or is_sentence(end.stderr), (about, end)
    assert not UNFIT.search(end.stdout + end.stderr), (about, end)


def answers(route: int) -> list[Answer]:
    """Return all bad answers for a route."""
    good = GOOD[route][3]
    mutated = [] if good is None else [json.dumps(each).encode() for each in mutations(good)]
    return [Answer(body) for body in [*bodies(), *mutated]]


def ask(hostile: Hostile, bender: Commands, command: Sequence[str], of_each: int) -> None:
    """Run a command with this number of bad answers on each route."""
    for route in routes(hostile, bender, command):
        found = answers(route)
        for answer in random.sample(found, min(of_each, len(found))):
            hostile.begin_anew(route, answer)
            assert_well(bender(*command), command, GOOD[route][:2], answer.body)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_is_no_answer(hostile: Hostile, bender: Commands, command: list[str]) -> None:
    """One random bad answer on each route, such as a wrong shape or type, a missing field, or deep nesting."""
    ask(hostile, bender, command, 1)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_more_that_is_no_answer(hostile: Hostile, bender: Commands, command: list[str]) -> None:
    """Six of about fifty bad answers on each route, because all of them would take ten minutes."""
    for options in ((), ("--json",)):
        ask(hostile, bender, [*command, *options], 6)


#: Requests of a deploy for nodes and histories, without which it can continue.
OF_USE_TO_DEPLOYS = ("/status", "/backends/.*/history")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"<html>welcome</html>"),
        pytest.param(Answer(b"{}", 302), marks=pytest.mark.slow),
        pytest.param(Answer(b"[[]]"), marks=pytest.mark.slow),
    ],
    ids=["html", "moved", "lists"],
)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_done_where_nothing_is_said(
    hostile: Hostile, bender: Commands, command: list[str], answer: Answer
) -> None:
    """A command that gets HTML, a redirect or wrong lists reports an invalid answer."""
    for route in routes(hostile, bender, command):
        if command[0] == "deploy" and GOOD[route][1] in OF_USE_TO_DEPLOYS:
            continue
        # Commands ask for consumers only after their change.
        status = 0 if command[0] not in ("deploy", "status") and GOOD[route][1] == "/consumers" else 1
        hostile.begin_anew(route, answer)
        end = bender(*command)
        assert (end.status, is_sentence(end.stderr)) == (status, True), (command, GOOD[route][:2], end)
        assert re.search("as a node does|sent an invalid answer|not as a bender node does", end.stderr)


NO_END = Answer(b"{", 404, more=b" " * 65536)
NO_HTTP = Answer(b"zz\r\n", head=OK + b"Transfer-Encoding: chunked\r\n\r\n")
REFUSAL = Answer(json.dumps({"code": "X", "message": EVIL}).encode(), 400)

STRANGE = [
    Answer(b"[", more=b" " * 65536),
    Answer(b"[", more=b" ", apart_s=0.5),
    Answer(b"", head=OK, more=b"X: y\r\n" * 1000),
    Answer(b"", head=OK + b"X: ", more=b"y" * 65536),
    Answer(b"", head=b"", more=b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    Answer(b"[]", head=OK + b"Content-Length: abc\r\n\r\n"),
    Answer(b"1;", head=OK + b"Transfer-Encoding: chunked\r\n\r\n", more=b"1" * 65536),
    Answer(b"x" * 100, head=OK + b"Content-Encoding: gzip\r\nContent-Length: 100\r\n\r\n"),
    Answer(b"[]", head=OK + b"ETag: \xff\r\nContent-Length: 2\r\n\r\n"),
    Answer(b"[]", head=OK + b"nonsense\r\nContent-Length: 2\r\n\r\n"),
    Answer(b"[]", head=b"HTTP/1.1 -1 x\r\nContent-Length: 2\r\n\r\n"),
    Answer(b"[]", 999),
    Answer(json.dumps({"code": "X", "message": "x" * 50_000}).encode(), 400),
    Answer(bytes(range(256)), head=b""),
]


@pytest.mark.parametrize("answer", [NO_END, NO_HTTP, REFUSAL], ids=["no-end", "no-http", "refusal"])
def test_what_has_no_end_or_is_no_http(hostile: Hostile, bender: Commands, answer: Answer) -> None:
    """A command ends within the time limit of a node, and uses little memory."""
    for command in [["ls"]] if answer.more else [["ls"], ["status", "--json"]]:
        (route, *_) = routes(hostile, bender, command)
        hostile.begin_anew(route, answer)
        end = bender(*command, within_s=10)
        assert (end.status, is_sentence(end.stderr)) == (1, True), end
        assert_well(end)


@pytest.mark.slow
@pytest.mark.parametrize("answer", STRANGE, ids=lambda answer: repr(answer.begin()[:40] + answer.more[:10])[2:-1])
def test_all_that_has_no_end_or_is_no_http(hostile: Hostile, bender: Commands, answer: Answer) -> None:
    test_what_has_no_end_or_is_no_http(hostile, bender, answer)


@pytest.mark.slow
def test_what_is_large_when_it_is_unpacked(hostile: Hostile, bender: Commands) -> None:
    """A command ends when the unpacked answer exceeds its limit."""
    packed = gzip.compress(b" " * 600_000_000, 1)
    answer = Answer(packed, head=OK + b"Content-Encoding: gzip\r\n\r\n", more=b"x")
    test_what_has_no_end_or_is_no_http(hostile, bender, answer)


@pytest.mark.slow
@ensureDeferred
async def test_it_goes_on_at_a_node_that_answers(hostile: Hostile, cluster: Cluster, bender: Commands) -> None:
    """A command that gets an unreadable answer asks another node."""
    (node,) = await cluster(1)
    await registered(node)
    nodes = f"--node={hostile.address},127.0.0.1:{node.api_port}"
    for answer in bodies():
        if answer != b"[]":
            hostile.begin_anew(7, Answer(answer))
            assert "10.0.0.5" in bender("ls", nodes).stdout, answer


# Terminals.


def evil(value: Any) -> Any:
    """Return a copy with control characters in each text, except names and ids, where they would be refused."""
    if isinstance(value, dict):
        return {key: each if key in ("id", "name") else evil(each) for key, each in value.items()}
    if isinstance(value, list):
        return [evil(each) for each in value]
    return value + EVIL if isinstance(value, str) else value


def assert_fit(hostile: Hostile, bender: Commands, command: list[str]) -> None:
    """Check that a command prints no control characters of answers; lines of JSON are still JSON."""
    for route in routes(hostile, bender, command):
        body = json.dumps(evil(GOOD[route][3]), ensure_ascii=False).encode()
        hostile.begin_anew(route, Answer(b"", 204) if GOOD[route][3] is None else Answer(body))
        end = bender(*command)
        assert_well(end, command, route)
        if "--json" in command:
            for line in end.stdout.splitlines():
                json.loads(line)


@pytest.mark.parametrize("command", [*COMMANDS, ["ls", "--json"]], ids=" ".join)
def test_no_control_character_is_printed(hostile: Hostile, bender: Commands, command: list[str]) -> None:
    """Control characters of answers are escaped in lines, tables and JSON."""
    assert_fit(hostile, bender, command)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_control_character_is_in_json(hostile: Hostile, bender: Commands, command: list[str]) -> None:
    assert_fit(hostile, bender, [*command, "--json"])


@pytest.mark.parametrize(
    "command",
    [ON_TERMINALS[0], *(pytest.param(each, marks=pytest.mark.slow) for each in ON_TERMINALS[1:])],
    ids=" ".join,
)
def test_nothing_reaches_a_terminal(hostile: Hostile, bender: Commands, shell: Shell, command: list[str]) -> None:
    """Control characters of answers are escaped on a terminal with colours, too."""
    for route in routes(hostile, bender, command):
        hostile.begin_anew(route, Answer(json.dumps(evil(GOOD[route][3]), ensure_ascii=False).encode()))
        shown = COLOURS.sub("", shell.output_of(*command, f"--node={hostile.address}"))
        assert not UNFIT.search(shown), repr(shown)


@pytest.mark.slow
def test_a_title_and_a_bar(hostile: Hostile, shell: Shell) -> None:
    """Names are also escaped in the title and in the bar of a terminal."""
    backend = {**GOOD[15][3], "version": EVIL.replace("/", "")}
    hostile.begin_anew(15, Answer(json.dumps(backend).encode()))
    shown = shell.output_of("deploy", "shop", "2", "--steps=50,100", "--every=1", f"--node={hostile.address}")
    assert "\x1b]0;" not in shown
    assert "\x9b" not in shown
    assert "\\x1b]0;title" in shown


@pytest.mark.slow
def test_what_cannot_be_shown_in_ascii(hostile: Hostile, bender: Commands) -> None:
    """With ASCII output, other characters are escaped, and JSON is still JSON."""
    coffee = {**REGISTRATION, "app": "café", "meta": {"drink": "🦊"}}
    variables = {"PYTHONIOENCODING": "ascii"}
    hostile.begin_anew(7, Answer(json.dumps([coffee], ensure_ascii=False).encode()))
    fresh = {**environment(), **variables, "BENDER_NODES": hostile.address}
    for command, shown in ((["ls"], "caf\\xe9"), (["ls", "--json"], "caf\\u00e9"), (["ls", "a\udcff"], "a\\udcff")):
        end = subprocess.run(
            [sys.executable, "-c", "from bender.cli import main; main()", *command],
            env=fresh, capture_output=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert b"Traceback" not in end.stderr
        assert shown.encode() in end.stdout + end.stderr, end
        if "--json" in command:
            assert json.loads(end.stdout) == [coffee]
    assert "café" in bender("ls").stdout


# Watching.


def event(**fields: Any) -> bytes:
    said = {"event": "online", "cursor": "x-1", "at": 1, "registration": REGISTRATION, "snapshot": True, **fields}
    return f"data: {json.dumps(said)}\n\n".encode()


STREAM = OK + b"Content-Type: text/event-stream\r\n\r\n"
SYNCED = b'data: {"event":"synced","cursor":"x-1"}\n\n'

EVENTS = [
    event(registration={"id": ID}),
    event(registration={**REGISTRATION, "ttl": "x"}),
    event(registration={**REGISTRATION, "ttl": 1e308}),
    event(registration={**REGISTRATION, "meta": [1]}),
    event(at=10**18),
    event(at=10**30),
    event(event=1),
    event(registration=None, backend={"id": 1}),
    event(registration=None, frontend={"name": "x"}),
    event(cursor="x" * 100_000),
    event(registration={**REGISTRATION, "meta": {"a": json.loads("[" * 100 + "]" * 100)}}),
    b"data: " + b"[" * 50_000 + b"\n",
    b"data: \xff\n",
    b"data: [1]\n",
    b"data:" * 100_000,
]


#: Invalid lines that a watch does not skip. The last one has no end.
UNREADABLE = [EVENTS[2] * 150, EVENTS[5] * 150, EVENTS[-1]]


@pytest.mark.slow
@pytest.mark.parametrize("said", UNREADABLE, ids=lambda said: said[6:60].decode("latin-1"))
@ensureDeferred
async def test_a_watcher_of_what_no_node_tells(hostile: Hostile, cluster: Cluster, shell: Shell, said: bytes) -> None:
    """A watch reports an invalid stream in one sentence, retries, and uses another node if there is one."""
    hostile.events = Answer(said, head=STREAM, more=b" ", apart_s=0.2)
    watcher = shell.begun("watch", f"--node={hostile.address}")
    await until("it asks twice", lambda: hostile.watched > 1)
    assert watcher.poll() is None
    watcher.send_signal(2)
    out, err = watcher.communicate(timeout=PATIENCE_S)
    assert (out, watcher.returncode) == ("", 130)
    assert is_sentence(err), err
    assert "; retrying" in err

    hostile.watched = 0
    (node,) = await cluster(1)
    await registered(node)
    watcher = shell.begun("watch", "--json", f"--node={hostile.address},127.0.0.1:{node.api_port}")
    assert watcher.stdout is not None
    await until("it is told", lambda: bool(hostile.watched))
    assert json.loads(watcher.stdout.readline())["registration"]["id"] == ID
    watcher.send_signal(2)
    assert "Traceback" not in watcher.communicate(timeout=PATIENCE_S)[1]


@pytest.mark.parametrize("options", [[], pytest.param(["--json"], marks=pytest.mark.slow)], ids=["lines", "json"])
@ensureDeferred
async def test_a_watcher_of_names_that_are_bad(hostile: Hostile, shell: Shell, options: list[str]) -> None:
    """Control characters in events are escaped as in any other output."""
    body = evil(REGISTRATION)
    changed = event(event="changed", registration={**body, "weight": 2}, snapshot=False, reason=EVIL)
    hostile.events = Answer(event(registration=body) + SYNCED + changed, head=STREAM, more=b" ", apart_s=0.2)
    said = shell.home / "watched"
    with said.open("wb") as file:
        watcher = shell.begun("watch", f"--node={hostile.address}", *options, stdout=file, stderr=file)
    await until("it is told", lambda: b"changed" in said.read_bytes())
    watcher.send_signal(2)
    assert watcher.wait(PATIENCE_S) == 130
    assert not UNFIT.search(said.read_text()), said.read_text()


# Running.


@pytest.fixture
def run(hostile: Hostile, cluster: Cluster, tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path / "run", [hostile.address], cluster.ports.take())
    yield made
    made.end()


@pytest.mark.slow
@ensureDeferred
async def test_a_command_whose_registry_is_no_node(run: Run, hostile: Hostile) -> None:
    """The service runs, registration is retried, and each message is one line without a traceback."""
    hostile.begin_anew(8, Answer(b"[[]]"))
    run.serve()
    await run.served()
    for answer in (Answer(b"[[]]"), Answer(json.dumps({"code": "X", "message": EVIL}).encode(), 400)):
        hostile.begin_anew(8, answer)
        await until("it is asked", lambda: hostile.requested_routes.count(8) >= 1)
        await pause(0.5)
    run.signal(15)
    assert await run.ended() == 0
    assert "Traceback" not in run.stderr
    assert "sent an invalid answer" in run.stderr
    assert "refuses registration/" in run.stderr
    assert not UNFIT.search(run.stderr), run.stderr
    assert all(line.startswith("bender run: ") for line in run.stderr.splitlines())


@pytest.mark.slow
@ensureDeferred
async def test_an_instance_goes_on_at_a_node_that_answers(run: Run, hostile: Hostile, cluster: Cluster) -> None:
    """Invalid answers of the first node, to a registration or a renewal, do not take the instance offline."""
    (node,) = await cluster(1, interval=0.5, ttl=4)
    run.nodes = [hostile.address, f"127.0.0.1:{node.api_port}"]
    hostile.begin_anew(8, Answer(json.dumps({**REGISTRATION, "ttl": 1e-300}).encode()))
    run.serve()
    await run.listed(node)
    begin = (await node.call("GET", "/events")).body["cursor"]
    for body in (b"{}", b'{"unknown": {}}', b'{"unknown": [1]}', b"<html>"):
        hostile.begin_anew(8, Answer(body))
        await pause(1.5)
    assert (await node.call("GET", f"/events?since={begin}")).body["events"] == []
    assert "Traceback" not in run.stderr


def test_no_command_at_all(run: Run) -> None:
    """An empty name is reported as a command that does not exist."""
    run.start("")
    assert run.process.wait(PATIENCE_S) == 127
    assert run.stderr == "bender: '' cannot be started: No such file or directory.\n"


def test_the_token_is_not_the_command_s(run: Run) -> None:
    """The service does not get the variable with the token."""
    run.start("env", variables={"BENDER_TOKEN": "secret", "BENDER_OTHER": "x"})
    assert run.process.wait(PATIENCE_S) == 0
    assert "BENDER_OTHER=x\n" in run.stdout
    assert "secret" not in run.stdout
