"""`bender deploy`, as people and scripts use it, at nodes that may be killed."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pexpect
import pytest
from pytest_twisted import ensureDeferred

from tests.e2e.forking import Forked
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, agreed, until
from tests.e2e.shells import Shell, at, is_sentence, registered

STEPS = ("--steps=20,50,100", "--every=2", "--watch=1")


@contextmanager
def begun(shell: Shell, *arguments: str) -> Iterator[Forked]:
    """Start a command that is killed at the end of the context."""
    with shell.begun(*arguments) as process:
        yield process
        process.kill()


async def shop(cluster: Cluster, nodes: int = 1) -> list[Node]:
    """Start nodes with two versions that have two members each, and a backend that serves the first version."""
    found = await cluster(nodes, interval=0.5, ttl=4)
    for version in ("1", "2"):
        for port in (1, 2):
            await registered(found[-1], f"web/{version}/10.0.0.5/{port}")
    assert (await found[-1].call("PUT", "/backends/shop", {"app": "web", "version": "1"})).status == 201
    await agreed(found)
    return found


async def is_set(node: Node, version: str, percent: float | None = None) -> bool:
    body = (await node.call("GET", "/backends/shop")).body
    canary = body.get("canary")
    return bool(body["version"] == version and (canary["percent"] if canary else None) == percent)


async def until_set(node: Node, version: str, percent: float | None = None) -> None:
    await until(f"shop is {version} with {percent}", lambda: is_set(node, version, percent))


async def settings(node: Node) -> list[tuple[str, float | None]]:
    """Return the history of the backend, oldest first: each version, with the percentage of its canary."""
    told: list[Any] = (await node.call("GET", "/backends/shop/history")).body
    canaries = [(each["backend"]["version"], each["backend"].get("canary")) for each in reversed(told)]
    return [(version, canary and canary["percent"]) for version, canary in canaries]


@ensureDeferred
async def test_rehearsed(cluster: Cluster, shell: Shell) -> None:
    """A dry run changes nothing, and its exit status shows whether the deploy could begin."""
    (node,) = await shop(cluster)
    rehearse = ["deploy", "shop", "--dry-run", at(node)]
    assert shell.done(*rehearse, "2", "--steps=20,100", "--every=1m").splitlines() == [
        "backend/shop serves web 1; web 2 has 2 members.",
        "No load balancer reports how many requests fail: the deploy watches only the members.",
        "step 1 of 2: web 2 would get 20 % of the traffic, and be watched for 60 s.",
        "step 2 of 2: web 2 would serve alone, and be watched for 5 s.",
        "Nothing was changed: backend/shop would serve web 2.",
    ]
    *_, would, backend = shell.done(*rehearse, "2", "--json").splitlines()
    step = {"progress": "would", "step": 1, "steps": 1, "version": "2", "percent": 100, "seconds": 5}
    assert {name: json.loads(would)[name] for name in step} == step
    assert json.loads(backend)["version"] == "1"
    end = shell.bender(*rehearse, "2", "--min-members=3")
    assert (end.returncode, "needs 3: nothing was changed" in end.stderr) == (1, True)
    assert await settings(node) == [("1", None)]


@ensureDeferred
async def test_a_switch(cluster: Cluster, shell: Shell) -> None:
    (node,) = await shop(cluster)
    assert shell.done("deploy", "shop", "2", "--min-members=2", "--watch=1", at(node)).splitlines() == [
        "backend/shop serves web 1; web 2 has 2 members.",
        "No load balancer reports how many requests fail: the deploy watches only the members.",
        "step 1 of 1: web 2 serves alone, and is watched for 1 s.",
        "step 1 of 1: good after 1 s: 2 members.",
        "backend/shop serves web 2.",
    ]
    assert shell.done("deploy", "shop", "2", at(node)) == "backend/shop serves web 2 already.\n"
    assert await settings(node) == [("1", None), ("2", None)]


@ensureDeferred
async def test_steps(cluster: Cluster, shell: Shell) -> None:
    (node,) = await shop(cluster)
    said = shell.done("deploy", "shop", "2", *STEPS, at(node)).splitlines()
    assert [line for line in said if "good" in line] == [
        "step 1 of 3: good after 2 s: 2 members.",
        "step 2 of 3: good after 2 s: 2 members.",
        "step 3 of 3: good after 1 s: 2 members.",
    ]
    assert await settings(node) == [("1", None), ("1", 20), ("1", 50), ("2", None)]


@ensureDeferred
async def test_too_few_members(cluster: Cluster, shell: Shell) -> None:
    """With too few members, the deploy fails at once, and nothing is changed."""
    (node,) = await shop(cluster)
    end = shell.bender("deploy", "shop", "2", "--min-members=3", at(node))
    why = "bender: web 2 has 2 members that can take traffic, and needs 3: nothing was changed.\n"
    assert (end.returncode, end.stdout, end.stderr) == (1, "", why)
    assert await settings(node) == [("1", None)]


@pytest.mark.slow
@ensureDeferred
async def test_members_lost(cluster: Cluster, shell: Shell) -> None:
    """If members are lost, the deploy rolls back with the reason; with --json its last line is the backend's state."""
    (node,) = await shop(cluster)
    with begun(shell, "deploy", "shop", "2", *STEPS, "--json", at(node)) as process:
        await until_set(node, "1", 50)
        assert (await node.call("DELETE", "/registrations/web/2/10.0.0.5/2")).status == 204
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert err == "bender: web 2 has 1 member left of 2: backend/shop is back at web 1.\n"
    *told, last = [json.loads(line) for line in out.splitlines()]
    assert [each["progress"] for each in told] == ["begins", "note", "step", "well", "step"]
    assert [each["percent"] for each in told if each["progress"] == "step"] == [20, 50]
    assert last == (await node.call("GET", "/backends/shop")).body
    assert await settings(node) == [("1", None), ("1", 20), ("1", 50), ("1", None)]


@pytest.mark.slow
@ensureDeferred
async def test_errors_reported(cluster: Cluster, shell: Shell) -> None:
    """The deploy rolls back if reports show too many failed requests."""
    (node,) = await shop(cluster)
    await reports(node, {"1": (1000, 5), "2": (0, 0)})
    with begun(shell, "deploy", "shop", "2", *STEPS, at(node)) as process:
        await until_set(node, "1", 20)
        await reports(node, {"1": (2000, 10), "2": (200, 20)})
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    why = "fails 10.0 % of its requests, and the other version fails 0.5 %"
    assert err == f"bender: web 2 {why}: backend/shop is back at web 1.\n"
    assert "Nobody reports" not in out
    assert await settings(node) == [("1", None), ("1", 20), ("1", None)]


async def reports(node: Node, counts: dict[str, tuple[int, int]]) -> None:
    """Confirm as a load balancer, with a report of these counts for the backend."""
    cursor = (await node.call("GET", "/events")).body["cursor"]
    of_shop = {version: {"requests": requests, "errors": errors} for version, (requests, errors) in counts.items()}
    said = {"cursor": cursor, "report": {"down": [], "backends": {"shop": of_shop}}}
    assert (await node.call("PUT", "/consumers/edge", said)).status == 200


@pytest.mark.slow
@ensureDeferred
async def test_somebody_else(cluster: Cluster, shell: Shell) -> None:
    """A change of the backend by another client stays, and the deploy stops."""
    (node,) = await shop(cluster)
    with begun(shell, "deploy", "shop", "2", *STEPS, at(node)) as process:
        await until_set(node, "1", 20)
        assert (await node.call("PUT", "/backends/shop?force", {"version": "3"})).status == 200
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert err.startswith("bender: backend/shop was changed by another client (")
    assert (
        "): version 1 → 3; the deploy stops and changes nothing more: web 3 with 20 % of the traffic at 2 serves now"
        in err
    )
    assert err.endswith("; bender backend set shop --version 1 canary=null restores what served before the deploy.\n")
    assert await settings(node) == [("1", None), ("1", 20), ("3", 20)]


@pytest.mark.slow
@ensureDeferred
async def test_nodes_that_are_killed(cluster: Cluster, shell: Shell) -> None:
    """The deploy goes on at other nodes, also unlisted ones, and takes each step once."""
    nodes = await shop(cluster, 3)
    with begun(shell, "deploy", "shop", "2", *STEPS, at(nodes[0])) as process:
        for node, other, percent in ((nodes[0], nodes[1], 20), (nodes[1], nodes[2], 50)):
            await until_set(other, "1", percent)
            node.kill()
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert out.endswith("backend/shop serves web 2.\n")
    assert await settings(nodes[2]) == [("1", None), ("1", 20), ("1", 50), ("2", None)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@ensureDeferred
async def test_stopped(cluster: Cluster, shell: Shell, number: int) -> None:
    """The canary stays, the output tells how to continue and roll back, and the same command continues."""
    (node,) = await shop(cluster)
    command = ("deploy", "shop", "2", *STEPS, at(node))
    with begun(shell, *command) as process:
        await until_set(node, "1", 20)
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert is_sentence(err), err
    assert "stopped: backend/shop is left with web 1 with 20 % of the traffic at 2; the same command continues" in err
    back = re.search(r"bender (.*) restores what served before", err)
    assert back is not None
    assert await is_set(node, "1", 20)
    assert "step 1 of 2: web 2 gets 50 % of the traffic" in shell.done(*command)
    assert await settings(node) == [("1", None), ("1", 20), ("1", 50), ("2", None)]
    shell.done(*back[1].split(), at(node))


@pytest.mark.slow
@ensureDeferred
async def test_on_a_terminal(cluster: Cluster, shell: Shell) -> None:
    """A bar counts the seconds of each step."""
    (node,) = await shop(cluster)
    child = shell.terminal("deploy", "shop", "2", *STEPS, at(node))
    child.expect(r"20 %.*\d s left, 2 members")
    child.expect(r"100 %.*\d s left, 2 members")
    child.expect("backend/shop serves web 2")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@ensureDeferred
async def test_names_that_would_be_markup(cluster: Cluster, shell: Shell) -> None:
    """Names that look like markup are shown unchanged, also in the bar."""
    (node,) = await shop(cluster)
    odd = "[red] {0} %s '\\"
    assert (await node.call("PUT", "/backends/shop?force", {"version": odd})).status == 200
    await reports(node, {odd: (1000, 5), "2": (0, 0)})
    child = shell.terminal("deploy", "shop", "2", "--steps=20", "--every=2", at(node))
    child.expect_exact(f"s left, 2 members, no requests (web {odd}: 0.5 % of 1000)")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_what_are_no_steps(shell: Shell) -> None:
    """Invalid steps are reported in one sentence. The other cases are in tests/cli/test_params.py."""
    end = shell.bender("deploy", "shop", "2", "--steps=25,5")
    assert (end.returncode, end.stdout) == (2, "")
    assert is_sentence(end.stderr), end.stderr
    assert "'--steps': '25,5' does not rise" in end.stderr
