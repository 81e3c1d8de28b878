"""The start of `bender`, and completion in a shell, which also starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from click.shell_completion import ShellComplete
from pytest_twisted import ensureDeferred

from bender.cli import bender
from tests.e2e.nodes import PATIENCE_S, Cluster
from tests.e2e.shells import BENDER, Shell, at, empty, registered


def test_what_completes_commands_in_a_shell(shell: Shell) -> None:
    for name in ("bash", "zsh", "fish"):
        script = shell.done("completion", name)
        assert "_BENDER_COMPLETE" in script
        if name == "bash":
            subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=PATIENCE_S)
    found = shell.done(_BENDER_COMPLETE="bash_complete", COMP_WORDS="bender ls --", COMP_CWORD="2")
    assert "plain,--meta\n" in found


def offered(*words: str) -> list[str]:
    """Return the words that a Tab offers after these words, the last of which is incomplete."""
    *typed, begun = words
    completing = ShellComplete(bender, {}, "bender", "_BENDER_COMPLETE")
    return [item.value for item in completing.get_completions(typed, begun)]


@ensureDeferred
async def test_names_that_the_registry_knows_are_completed(shared: Cluster) -> None:
    """Completion asks a node for names; if no node answers, it offers nothing and prints nothing."""
    node = await empty(shared)
    await registered(node)
    await registered(node, "web/1.3.0/10.0.0.6/8080")
    await registered(node, "api/7/10.0.0.7/80")
    await node.call("PUT", "/backends/shop", {"app": "web", "version": "1.2.0"})
    await node.call("PUT", "/backends/soon", {"app": "new", "version": "1"})
    await node.call("PUT", "/frontends/www", {"backend": "shop"})
    here, address = at(node), f"127.0.0.1:{node.api_port}"
    for words, names in (
        (["ls", here, ""], ["api", "new", "web"]),
        (["watch", here, "w"], ["web"]),
        (["ls", here, "web", ""], ["1.2.0", "1.3.0"]),
        (["explain", here, "web/1.3"], ["web/1.3.0/10.0.0.6/8080"]),
        (["explain", here, "registration/api"], ["registration/api/7/10.0.0.7/80"]),
        (["drain", here, "web", "1.3.0", ""], ["10.0.0.6"]),
        (["backend", "ls", here, "s"], ["shop", "soon"]),
        (["frontend", "history", here, ""], ["www"]),
        (["frontend", "set", here, "--backend", "sh"], ["shop"]),
        (["deploy", here, "shop", "1."], ["1.2.0", "1.3.0"]),
        (["backend", "set", here, "shop", "--version", "1.3"], ["1.3.0"]),
        (["ls", here, "--node", ""], [address]),
        (["ls", here, "--node", "a,"], [f"a,{address}"]),
        (["ls", here, "zz"], []),
        (["ls", "--node=127.0.0.1:1", ""], []),
        (["fro"], ["frontend"]),
        (["frontend", "h"], ["history"]),
    ):
        assert offered(*words) == names, words
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        assert offered("ls", f"--node=127.0.0.1:{hangs.getsockname()[1]}", "") == []


def cpu_s_of(*command: str, **variables: str) -> float:
    """Return the processor time of a command: the least of three runs, which other processes hardly affect."""
    took: list[float] = []
    for _ in range(3):
        before = os.times()
        subprocess.run(command, env={**os.environ, **variables}, capture_output=True, check=True, timeout=PATIENCE_S)
        after = os.times()
        took.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(took)


@ensureDeferred
async def test_short_commands_start_without_what_is_large(shared: Cluster) -> None:
    """Short commands, and a Tab, take less time than importing Twisted's reactor, and import no large library."""
    node = await empty(shared)
    await registered(node)
    nodes = f"127.0.0.1:{node.api_port}"
    reactor_s = cpu_s_of(sys.executable, "-c", "import twisted.internet.reactor")
    assert cpu_s_of(BENDER, "--version") < reactor_s / 2
    assert cpu_s_of(BENDER, "ls", BENDER_NODES=nodes) < reactor_s
    tab = {"_BENDER_COMPLETE": "bash_complete", "COMP_WORDS": "bender ls ", "COMP_CWORD": "2"}
    assert cpu_s_of(BENDER, **tab, BENDER_NODES=nodes) < reactor_s
    imported = imported_by("ls", at(node))
    assert "asyncio" in imported
    assert imported.isdisjoint({"twisted", "rich", "treq", "klein", "jinja2", "OpenSSL", "hyperlink", "zope.interface"})


def imported_by(*arguments: str) -> set[str]:
    """Return the modules that a command has imported when it ends."""
    script = "import sys; from bender.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", script, *arguments]
    end = subprocess.run(command, text=True, capture_output=True, check=True, timeout=PATIENCE_S)
    return {*end.stderr.split()}
