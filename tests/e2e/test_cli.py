"""`bender`, the command line, as people and scripts use it, except `bender run`."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest
from pytest_twisted import ensureDeferred

from tests.e2e.cli_answers import ESCAPE, ME, WEB_ID, answered
from tests.e2e.forking import Forked
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, agreed, pause, until
from tests.e2e.shells import WEB, Shell, at, empty, is_sentence, registered

# Registrations.


@ensureDeferred
async def test_an_instance_is_registered_listed_and_deregistered(cluster: Cluster, shell: Shell) -> None:
    nodes = await cluster(2, interval=0.5, ttl=4)
    here, there = at(nodes[0]), at(nodes[1])
    assert shell.done("register", WEB, "--ttl=60", "--weight=3", "--meta=zone=a", "--meta=n=1", here) == (
        f"{WEB_ID} is registered for 60 s.\n"
    )
    assert shell.done("register", "--app=web", "--version=1.3.0", "--host=::1", "--port=80", "--ttl=60", here)
    assert shell.done("register", "other", "1", "h", "80", "--ttl=60", here)
    await agreed(nodes)
    found = [row[:7] for row in shell.table("ls", "web", there)]
    assert [row[:7] for row in found] == [
        ["web", "1.2.0", "10.0.0.5", "8080", "up", "3", "60"],
        ["web", "1.3.0", "::1", "80", "up", "1", "60"],
    ]
    assert len(shell.table("ls", there)) == 3
    assert len(shell.table("ls", "web", "1.3.0", there)) == 1
    assert shell.table("ls", "--meta=zone=a", "--meta=n=1", there)[0][-1] == '{"n":1,"zone":"a"}'
    end = shell.bender("ls", "wbe", there)
    assert (end.returncode, end.stdout, end.stderr) == (1, "", "bender: there is no app wbe, did you mean web?\n")
    end = shell.bender("ls", "web", "9", there)
    versions = "bender: there is no version 9 of web; known names: 1.2.0, 1.3.0.\n"
    assert (end.returncode, end.stdout, end.stderr) == (1, "", versions)
    assert shell.done("ls", "--json", here) == await answered(nodes[0], "/registrations") + "\n"
    end = shell.bender("ls", "nothing", "--json", here)
    assert (end.returncode, end.stdout) == (1, "[]\n")
    assert is_sentence(end.stderr)
    assert shell.done("ls", "web", "--meta=zone=b", here) == ""

    assert shell.done("deregister", WEB, "--wait=5", here) == f"{WEB_ID} is deregistered at n1, n2.\n"
    said = json.loads(shell.done("deregister", "other", "1", "h", "80", "--wait=5", "--json", here))
    assert said == {"applied": ["n1", "n2"], "consumers": [], "missing": []}
    assert shell.done("deregister", "web/1.3.0/::1/80", "--json", here) == ""
    end = shell.bender("deregister", WEB, here)
    assert (end.returncode, end.stdout, end.stderr) == (
        1,
        "",
        f"bender: there is no {WEB_ID}; nothing is registered.\n",
    )


@ensureDeferred
async def test_names_in_a_locale_without_them(shared: Cluster, shell: Shell) -> None:
    """Arguments are UTF-8 in any locale, and characters that cannot be printed are escaped."""
    node = await empty(shared)
    here, odd = at(node), "café/1/10.0.0.5/80"
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ascii_only = {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"}
    for command, variables in (
        (["register", odd, "--ttl=60"], plain),
        (["ls"], plain),
        (["ls"], ascii_only),
        (["explain", odd], plain),
        (["deregister", odd], ascii_only),
    ):
        assert re.search(r"café|caf\\xe9", shell.done(*command, here, **variables)), command
    assert "Traceback" not in shell.bender("register", "café", here, **plain).stderr


@ensureDeferred
async def test_registering_answers_as_the_api_does(shared: Cluster, shell: Shell) -> None:
    node = await empty(shared)
    said = shell.done("register", "a b?/1%2F#+ü/h/80", "--json", at(node))
    assert [json.loads(said)] == json.loads(await answered(node, "/registrations"))
    assert json.loads(said)["id"] == "registration/a b?/1%2F#+ü/h/80"
    assert len(shell.table("ls", "a b?", "1%2F#+ü", at(node))) == 1
    end = shell.bender("register", "web/1/h/80", "--ttl=0.1", at(node))
    assert (end.returncode, end.stderr) == (1, "bender: ttl: must be 4 to 3600 seconds.\n")


@ensureDeferred
async def test_guard(cluster: Cluster, shell: Shell) -> None:
    """When the node at which an instance renews dies, the instance stays listed until an operator ends the guard."""
    node, other = await cluster(2, interval=0.25, ttl=2, guard=600)
    assert shell.done("guard", "ls", at(node)) == ""
    await registered(other, ttl=2)
    await agreed([node, other])
    other.kill()
    await until("n1 suspects it", lambda: [row[:2] for row in shell.table("guard", "ls", at(node))] == [["web", "1"]])
    id_ = "registration/web/1.2.0/10.0.0.5/8080"
    assert shell.table("ls", at(node))[0][4] == "suspect"
    status = shell.bender("status", at(node)).stdout
    assert "n1 lists one member of web as suspect, for another 10 min at most.\n" in status
    assert "suspect (node-lost): n1 does not hear" in shell.done("explain", id_, at(node))
    assert json.loads(shell.done("guard", "ls", "--json", at(node)))[0]["app"] == "web"
    assert (
        shell.done("guard", "end", "web", at(node))
        == "The guard of web has ended: its suspect instances are no longer listed.\n"
    )
    assert shell.done("ls", at(node)) == ""
    end = shell.bender("guard", "end", "web", at(node))
    assert end.returncode == 1
    assert end.stderr.startswith("bender: n1 lists no member of web as suspect")


def _check_history(rows: list[list[str]]) -> None:
    assert [row[2:6] for row in rows] == [
        [name, "(127.0.0.1)", "web", version]
        for name, version in [("Jürgen", "1.2.0"), *[(ME, "1.2.0")] * 3, (ME, "1")]
    ]
    assert " ".join(rows[3][6:]) == "version 1 → 1.2.0, meta.note hi, canary version 2 with 5 % of the traffic"
    assert rows[4][6:] == ["created", 'health={"path":"/"}']


@ensureDeferred
async def test_backends_and_frontends(cluster: Cluster, shell: Shell) -> None:
    (node,) = await cluster(1)
    here = at(node)
    assert shell.done("backend", "ls", here) == shell.done("frontend", "ls", here) == ""
    end = shell.bender("backend", "set", "shop", "--app=web", here)
    assert (end.returncode, end.stderr) == (1, "bender: version: is required to create backend/shop.\n")
    nobody = "bender: backend shop has no members: requests get 503 until there are.\n"
    end = shell.bender("backend", "set", "shop", "--app=web", "--version=1", 'health={"path": "/"}', here)
    assert (end.returncode, end.stdout, end.stderr) == (0, "backend/shop is created: web 1.\n", nobody)
    await registered(node)
    canary = 'canary={"version": "2", "percent": 5}'
    said = shell.done("backend", "set", "shop", "--version=1.2.0", "meta.note=hi", canary, here)
    changes = "  version 1 → 1.2.0\n  meta.note hi\n  canary version 2 with 5 % of the traffic\n"
    assert said == f"backend/shop is set: web 1.2.0 with 5 % of the traffic at 2.\n{changes}"
    ends = "backend/shop is set: web 1.2.0.\n  canary version 2 ended\n"
    assert shell.done("backend", "set", "shop", "canary=null", here) == ends
    assert shell.done("backend", "set", "shop", "canary=null", here) == "backend/shop is unchanged: web 1.2.0.\n"
    more = ['health={"path":"/"}', 'meta={"note":"hi"}']
    assert shell.table("backend", "ls", here) == [["shop", "web", "1.2.0", "1", *more]]
    assert shell.table("backend", "ls", "shop", here) == [["10.0.0.5", "8080", "1", "web", "1.2.0"]]
    assert shell.done("backend", "ls", "--json", here) == await answered(node, "/backends") + "\n"
    assert shell.done("backend", "ls", "shop", "--json", here) == await answered(node, "/backends/shop/members") + "\n"

    end = shell.bender("backend", "set", "shop", "--version=2", "--min-members=1", here)
    few = "bender: web 2 has 0 of 1 required members online: nothing was changed.\n"
    assert (end.returncode, end.stderr) == (1, few)
    way = "Its canary 2 gets 5 % of the traffic: to end it, run bender backend set shop canary=null\n"
    share = "canary version 2 with 5 % of the traffic"
    back = f"backend/shop is rolled back: web 1.2.0 with 5 % of the traffic at 2.\n  {share}\n{way}"
    assert shell.done("rollback", "shop", here) == back
    said = shell.done("rollback", "shop", "--json", "--as=Jürgen", here)
    assert json.loads(said)["canary"] is None
    history = json.loads(await answered(node, "/backends/shop/history"))
    assert history[0]["author"] == "Jürgen (127.0.0.1)"
    _check_history(shell.table("backend", "history", "shop", here))
    assert (
        shell.done("backend", "history", "shop", "--json", here)
        == await answered(node, "/backends/shop/history") + "\n"
    )

    assert "health.interval 5" in shell.done("backend", "set", "shop", "health.interval=5", here)
    assert json.loads(await answered(node, "/backends/shop"))["health"] == {"path": "/", "interval": 5}


WRONG = ("tpyo", "typo")


@ensureDeferred
async def test_frontends(shared: Cluster, shell: Shell) -> None:
    node = await empty(shared)
    here = at(node)
    assert (await node.call("PUT", "/backends/shop", {"app": "web", "version": "1"})).status == 201
    await registered(node, "web/1/10.0.0.5/8080")
    end = shell.bender("frontend", "set", "www", here)
    unserved = "bender: frontend/www is new; it has no backend: requests get 503 until it has one.\n"
    assert (end.returncode, end.stdout, end.stderr) == (0, "frontend/www is created: no backend yet.\n", unserved)
    said = shell.done("frontend", "set", "www", "--backend=shop", "bind=*:80", "--json", here)
    assert [json.loads(said)] == json.loads(await answered(node, "/frontends"))
    assert shell.table("frontend", "ls", here) == [["www", "shop", 'bind="*:80"']]
    assert shell.done("frontend", "ls", "--json", here) == await answered(node, "/frontends") + "\n"
    wrong = ["frontend", "set", "api", 'rules=[{"path": "/", "backend": "typo"}]', "--backend=tpyo", here]
    end = shell.bender(*wrong)
    assert (end.returncode, end.stdout) == (1, "")
    assert end.stderr.startswith(
        "bender: the rules of frontend/api name backend typo, which does not exist: the requests"
    )
    end = shell.bender(*wrong, "--force")
    unknown = [f"bender: there is no backend {name}: requests get 503 until there is.\n" for name in WRONG]
    assert (end.returncode, end.stdout, end.stderr) == (0, "frontend/api is created: backend tpyo.\n", "".join(unknown))
    forced = json.loads(shell.done(*wrong, "--force", "--json"))
    assert forced["warnings"] == [text.removeprefix("bender: ").removesuffix(".\n") for text in unknown]
    end = shell.bender("backend", "rm", "shop", here)
    used = "bender: frontend www sends to backend/shop, which serves web 1 with 1 member: every request would get 503"
    assert (end.returncode, end.stderr.partition(" (according to ")[0]) == (1, used)
    end = shell.bender("backend", "set", "shop", "verison=2", here)
    assert (end.returncode, end.stdout) == (1, "")
    assert end.stderr.startswith("bender: verison: is not a field of a backend, did you mean version?")
    changed = "  bind *:81 (was *:80)\n"
    assert shell.done("frontend", "set", "www", "bind=*:81", here) == f"frontend/www is set: backend shop.\n{changed}"
    rows = shell.table("frontend", "history", "www", here)
    assert rows[0][4:] == ["shop", "bind", "*:81", "(was", "*:80)"]
    assert shell.done("frontend", "rollback", "www", here).startswith("frontend/www is rolled back: backend shop.\n")
    assert json.loads(await answered(node, "/frontends/www"))["bind"] == "*:80"
    rules = [["path", "/", "typo", "no", "such", "backend"], ["all", "others", "tpyo", "no", "such", "backend"]]
    assert shell.table("frontend", "ls", "api", here) == rules
    end = shell.bender("rollback", "www", here)
    way = "but there is a frontend/www: to roll it back, run bender frontend rollback www.\n"
    assert (end.returncode, end.stderr) == (1, f"bender: there is no backend/www, {way}")
    end = shell.bender("frontend", "set", "wwww", "--json", here)
    assert "is new, the nearest name that exists is www; it has no" in json.loads(end.stdout)["warnings"][0]
    assert shell.done("frontend", "rm", "wwww", here)
    assert shell.done("frontend", "ls", "api", "--json", here) == await answered(node, "/frontends/api") + "\n"
    assert shell.done("frontend", "rm", "www", here) == "frontend/www is removed.\n"
    assert shell.done("backend", "rm", "shop", "--json", here) == ""
    end = shell.bender("backend", "rm", "shop", here)
    assert (end.returncode, end.stderr) == (1, "bender: there is no backend/shop.\n")


# Nodes.


@ensureDeferred
async def test_the_status_of_all_nodes_from_one(cluster: Cluster, shell: Shell) -> None:
    nodes = await cluster(3, interval=0.25, ttl=2)
    await registered(nodes[0])
    await agreed(nodes)
    rows = shell.table("status", at(nodes[1]))
    assert [row[:3] for row in rows] == [[node.name, f"127.0.0.1:{node.api_port}", "ready"] for node in nodes]
    status = json.loads(shell.done("status", "--json", at(nodes[0])))
    assert (status["node"], status["digest"][:8]) == ("n1", rows[0][5])
    assert shell.done("diff", at(nodes[0])) == ""
    assert shell.done("diff", "--json", at(nodes[0])) == "[]\n"

    nodes[2].kill()
    await nodes[2].ended()
    shown = shell.done("status", at(*nodes))
    assert f"\n127.0.0.1:{nodes[2].api_port} does not answer (connection refused).\n" in shown
    assert re.search(rf"127.0.0.1:{nodes[2].api_port} +unreachable", shown)
    end = shell.bender("diff", at(*nodes))
    assert (end.returncode, end.stdout) == (1, "")
    assert end.stderr == f"bender: 127.0.0.1:{nodes[2].api_port} does not answer (connection refused).\n"


@ensureDeferred
async def test_what_nodes_disagree_on(cluster: Cluster, shell: Shell) -> None:
    """`bender diff` lists the objects that differ between two nodes, which are not peers."""
    (one,), (two,) = await cluster(1), await cluster(1)
    for node, version in ((one, "1"), (two, "2")):
        await node.call("PUT", "/backends/shop", {"app": "web", "version": version})
    await registered(one)
    end = shell.bender("diff", at(one, two))
    assert (end.returncode, end.stderr) == (1, "")
    assert [line.split() for line in end.stdout.splitlines()] == [
        ["ID", "n1", "n2"],
        ["backend/shop", "yes", 'version="2"'],
        [WEB_ID, "yes", "-"],
    ]
    end = shell.bender("diff", at(one, two), "--json")
    assert end.returncode == 1
    backend, registration = json.loads(end.stdout)
    assert [each and each["version"] for each in backend["at"].values()] == ["1", "2"]
    assert [each and each["id"] for each in registration["at"].values()] == [WEB_ID, None]


# Watching changes.


@contextmanager
def watching(shell: Shell, *arguments: str) -> Iterator[tuple[Forked, Path]]:
    """Run `bender watch`; yield the process and the file with its output."""
    said = shell.home / "watched"
    with said.open("wb") as file:
        process = shell.begun("watch", *arguments, stdout=file, stderr=file)
    try:
        yield process, said
    finally:
        process.kill()
        process.wait(PATIENCE_S)


@ensureDeferred
async def test_watching_goes_on_when_the_node_dies(cluster: Cluster, shell: Shell) -> None:
    """`bender watch` goes on at another node: no change is missing or repeated. Ctrl-C ends it without a message."""
    nodes = await cluster(3, interval=0.25, ttl=2)
    await registered(nodes[0])
    await agreed(nodes)
    with watching(shell, "--json", at(*nodes)) as (process, said):
        await until("all is there", lambda: '"synced"' in said.read_text())
        await pause(1)  # by then it has requested cursors from the other nodes, as it does at the start
        nodes[0].kill()
        await registered(nodes[1], "late/1/h/80")
        await until("it is told", lambda: "late" in said.read_text())
        await nodes[2].call("DELETE", f"/registrations/{WEB}")
        await until("its end is told", lambda: '"offline"' in said.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    events = [json.loads(line) for line in said.read_text().splitlines()]
    told = [(each["event"], each["reason"], each.get("registration", {}).get("app")) for each in events]
    assert told == [
        ("online", "snapshot", "web"),
        ("synced", "snapshot", None),
        ("online", "registered", "late"),
        ("offline", "deregistered", "web"),
    ]
    assert events[0]["node"] == f"127.0.0.1:{nodes[0].api_port}" != events[-1]["node"]


@ensureDeferred
async def test_watching_some_of_it(shared: Cluster, shell: Shell) -> None:
    node = await empty(shared)
    await registered(node)
    with watching(shell, "--new", "--only=online,offline,created", at(node)) as (_, said):
        await until("it listens", lambda: _watchers(node) == 1)
        await registered(node, "late/1/h/80")
        await node.call("DELETE", f"/registrations/{WEB}")
        await node.call("PUT", "/backends/shop", {"app": "web", "version": "1"})
        await until("all is told", lambda: "backend/shop" in said.read_text())
    words = [line.split()[1:] for line in said.read_text().splitlines()]
    assert words == [
        ["online", "registration/late/1/h/80", "registered"],
        ["offline", WEB_ID, "deregistered"],
        ["created", "backend/shop", "configured", "app", "web,", "version", "1"],
    ]


def _watchers(node: Node) -> int:
    with socket.create_connection(("127.0.0.1", node.api_port), timeout=PATIENCE_S) as client:
        client.sendall(b"GET /status HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65_536), b""))
    watchers: int = json.loads(answer.partition(b"\r\n\r\n")[2])["counts"]["watchers"]
    return watchers


@ensureDeferred
async def test_watching_in_vain_says_so(cluster: Cluster, shell: Shell) -> None:
    """`bender watch` reports once that no node answers, and retries."""
    node = cluster.node()
    with watching(shell, "--only=synced", at(node)) as (process, said):
        vain = f"bender: 127.0.0.1:{node.api_port} does not answer (connection refused); retrying.\n"
        await until("it says so", lambda: said.read_text() != "")
        node.start()
        await node.ready()
        await registered(node)
        await until("it has found the node", lambda: _watchers(node) == 1)
        assert said.read_text() == vain
        assert process.poll() is None


# Terminals and pipes.


@ensureDeferred
async def test_tables_and_colours_are_for_terminals(shared: Cluster, shell: Shell) -> None:
    node = await empty(shared)
    assert f"nothing is registered (asked 127.0.0.1:{node.api_port})" in shell.output_of("ls", at(node))
    await registered(node, meta={"zone": "a"})
    plain = shell.done("ls", at(node))
    assert re.fullmatch(r"APP +VERSION .* META\nweb +1\.2\.0 .*\n", plain)
    assert ESCAPE not in plain
    shown = shell.output_of("ls", at(node))
    assert ESCAPE in shown
    assert f"1 at 127.0.0.1:{node.api_port}" in shown
    assert f"{ESCAPE}32m" in shell.output_of("status", at(node))
    assert f"{ESCAPE}32m" not in shell.output_of("status", at(node), NO_COLOR="1")
    assert ESCAPE not in shell.output_of("status", at(node), TERM="dumb")


@ensureDeferred
async def test_what_a_terminal_has_no_room_for_is_not_cut(shared: Cluster, shell: Shell) -> None:
    """The last column is folded while there is room; on narrower terminals, the terminal wraps the lines."""
    node = await empty(shared)
    await registered(node, meta={"note": "x" * 40})
    for columns in (120, 95, 60, 30):
        shown = re.sub(r"\x1b\[[0-9;]*m", "", shell.output_of("ls", at(node), columns=columns))
        assert re.search(r"^web  1\.2\.0    10\.0\.0\.5  8080  up +1 +60   \S+ s  n1 +\{", shown, re.MULTILINE), shown
        assert "x" * 40 in re.sub(r"\s+", "", shown)
        assert max(map(len, shown.splitlines())) <= columns or columns < 95


@pytest.mark.parametrize("command", [["ls"], ["status"], ["deregister", WEB]], ids=lambda words: words[0])
def test_ctrl_c_ends_a_command_that_waits(shell: Shell, command: list[str]) -> None:
    """Ctrl-C ends a waiting command without a message about the pending request."""
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        child = shell.terminal(*command, f"--node=127.0.0.1:{hangs.getsockname()[1]}")
        child.expect("waiting for an answer")
        child.sendintr()
        child.expect(pexpect.EOF)
        child.close()
    assert child.exitstatus == 130
    assert "bender:" not in str(child.before)
    assert "Traceback" not in str(child.before)


@ensureDeferred
async def test_who_reads_may_stop(shared: Cluster, shell: Shell) -> None:
    """`bender ls | head -1` prints nothing on stderr, whatever the length of the list."""
    node = await empty(shared)
    await registered(node, meta={"note": "x" * 3000})
    for command in (["ls"], ["watch", "--json"]):
        assert shell.written("| true", *command, at(node)) == (1, "")


@ensureDeferred
async def test_what_cannot_be_written(shared: Cluster, shell: Shell) -> None:
    """A full disk is reported in one sentence, and a closed stdout is not an error."""
    node = await empty(shared)
    await registered(node)
    why = "bender: the output cannot be written (No space left on device).\n"
    for command in (["ls", at(node)], ["ls", "--json", at(node)], ["ls", "--help"]):
        assert shell.written(">/dev/full", *command) == (1, why)
    assert shell.written(">&-", "ls", at(node)) == (0, "")
    why = "bender: the registry was changed, but the output cannot be written (No space left on device).\n"
    assert shell.written(">/dev/full", "register", "web/2/10.0.0.5/8080", at(node)) == (1, why)
    assert "web/2/10.0.0.5/8080" in shell.bender("ls", "--json", at(node)).stdout


# Wrong arguments.


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["ls", "--meta=x=1", "--meta=x=2"], "invalid value for '--meta': 'x' is given twice"),
        (
            ["explain", "a/b"],
            "'APP/VERSION/HOST/PORT': 'a/b' is not an id: give APP/VERSION/HOST/PORT, such as web/1.2.0/10.0.0.5/8080",
        ),
        (["register", "--app=web", "--port=80"], "--version, --host missing"),
        (["register", WEB, "--app=web"], "--app is already a part of APP/VERSION/HOST/PORT"),
        (["backend", "set", "shop", "version=1"], "version is an option: give --version 1"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_is_not_understood(shell: Shell, arguments: list[str], why: str) -> None:
    """One sentence names the invalid argument. The other cases are in tests/cli/test_click_base.py."""
    end = shell.bender(*arguments)
    assert (end.returncode, end.stdout) == (2, "")
    assert is_sentence(end.stderr), end.stderr
    assert why in end.stderr


@pytest.mark.parametrize(
    ("name", "value"), [("BENDER_NODES", "a:b"), ("BENDER_CA", "/nowhere"), ("BENDER_TOKEN", "two\nlines")]
)
def test_a_variable_that_is_not_understood(shell: Shell, name: str, value: str) -> None:
    end = shell.bender("ls", **{name: value})
    assert end.returncode == 2
    assert is_sentence(end.stderr), end.stderr
    assert name in end.stderr


def test_help_and_version(shell: Shell) -> None:
    """`bender` without arguments prints its help and exits with 2; `--version` and `--help` succeed."""
    assert shell.bender().returncode == 2
    assert re.fullmatch(r"bender \S+\n", shell.done("--version"))
    assert shell.done("--help") == shell.done("-h")
    assert "Examples:\n  bender ls\n" in shell.done("ls", "--help")
