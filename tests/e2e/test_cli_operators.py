"""`bender` for operators: explain, status, drain and up."""

from __future__ import annotations

import json
import re

from pytest_twisted import ensureDeferred

from tests.e2e.cli_answers import ME, WEB_ID, answered
from tests.e2e.nodes import Cluster, until
from tests.e2e.shells import WEB, Shell, at, empty, registered


@ensureDeferred
async def test_explaining(cluster: Cluster, shell: Shell) -> None:
    """`bender explain` describes instances that are listed, expired, deregistered, or unknown."""
    (node,) = await cluster(1, interval=0.25, ttl=1)
    shell.done("register", "brief/1/h/80", at(node))
    await registered(node)
    await node.call("PUT", "/backends/shop", {"app": "web", "version": "1.2.0"})
    listed = shell.done("explain", WEB, at(node))
    assert listed.startswith(f"{WEB_ID}\nlisted: n1 heard from it ")
    assert "It is a member of backend shop (version)." in listed
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} +n1 +online +registered$", listed, re.MULTILINE)
    explained = json.loads(shell.done("explain", WEB, "--json", at(node)))
    assert explained.keys() == json.loads(await answered(node, f"/explain/{WEB_ID}")).keys()

    shell.done("deregister", WEB, "--force", at(node))
    assert "\nderegistered since " in shell.done("explain", *WEB.split("/"), at(node))
    await until("it expires", lambda: shell.done("ls", at(node)) == "")
    gone = shell.done("explain", "brief/1/h/80", at(node))
    assert re.search(r"^expired ", gone, re.MULTILINE), gone
    assert "No backend sends requests to the version of this instance." in gone
    end = shell.bender("explain", "never/1/h/80", at(node))
    assert (end.returncode, end.stderr) == (
        1,
        "bender: there is no registration/never/1/h/80; nothing is registered.\n",
    )


@ensureDeferred
async def test_status_shows_consumers_of_one_name(cluster: Cluster, shell: Shell) -> None:
    """Two consumers of one name, at different nodes, are listed separately, with a warning."""
    nodes = await cluster(2)
    for node, instance in zip(nodes, ("a", "b"), strict=True):
        cursor = json.loads(await answered(node, "/events"))["cursor"]
        assert (await node.call("PUT", "/consumers/edge", {"cursor": cursor, "instance": instance})).status == 200
    await registered(nodes[0])
    lines = shell.done("status", at(nodes[0])).splitlines()
    shown = [line.split()[:4] for line in lines if line.startswith("edge")]
    assert shown == [["edge", "(a)", nodes[0].name, "connected"], ["edge", "(b)", nodes[1].name, "connected"]]
    warning = "he consumers edge (a) and edge (b) have the same name: give each program a name of its own"
    assert f"T{warning}." in lines
    assert shell.done("deregister", WEB, "--wait", "0.1", at(nodes[0])).count("edge (") == 2
    await until("it is logged", lambda: f"Consumer name edge is shared: t{warning}." in nodes[1].log)


@ensureDeferred
async def test_status_shows_who_acts_on_events(cluster: Cluster, shell: Shell) -> None:
    node, other = await cluster(2)
    await registered(node)
    cursor = json.loads(await answered(node, "/events"))["cursor"]
    said = {"cursor": cursor, "report": {"down": ["registration/web/1.2.0/10.0.0.5/8080"]}}
    assert (await node.call("PUT", "/consumers/edge-1", said)).status == 200
    *_, head, row_, lost = shell.done("status", at(other)).splitlines()
    assert head.split() == ["CONSUMER", "NODE", "STATE", "BEHIND", "CONFIRMED", "FINDS", "DOWN"]
    assert lost.startswith("No frontend is set.")
    row = row_.split()
    assert [*row[:4], row[-1]] == ["edge-1", node.name, "connected", "0", "registration/web/1.2.0/10.0.0.5/8080"]
    assert "all load balancers that send reports say that it is down (edge-1)" in shell.done("explain", WEB, at(other))


@ensureDeferred
async def test_drain_and_up(cluster: Cluster, shell: Shell) -> None:
    node, other = await cluster(2)
    await registered(node)
    id_ = "registration/web/1.2.0/10.0.0.5/8080"
    assert shell.done("drain", "web/1.2.0/10.0.0.5/8080", at(node)) == f"{id_} is set to drain for 24 h.\n"
    assert shell.table("ls", at(other))[0][4] == "drain"
    assert f"by {ME} (127.0.0.1), no new requests for another 24 h" in shell.done("explain", id_, at(other))
    said = json.loads(shell.done("drain", id_, "--maint", "--for=60", "--json", at(other)))
    assert (said["state"], said["for"]) == ("maint", 60.0)
    assert shell.done("up", id_, at(node)) == f"{id_} is up.\n"
    assert shell.table("ls", at(other))[0][4] == "up"
    end = shell.bender("up", id_, at(node))
    assert (end.returncode, end.stderr) == (1, f"bender: no operator has set a state for {id_}.\n")
    end = shell.bender("drain", "web/9/10.0.0.5/8080", at(node))
    near = ", did you mean web/1.2.0/10.0.0.5/8080?"
    assert (end.returncode, end.stderr) == (1, f"bender: there is no registration/web/9/10.0.0.5/8080{near}\n")
    end = shell.bender("drain", "wbe/1.2.0/10.0.0.5/8080", at(node))
    assert end.stderr.endswith("; no instance of wbe is registered, did you mean web?\n")


@ensureDeferred
async def test_the_last_member_stays(shared: Cluster, shell: Shell) -> None:
    """Draining or deregistering the last member is refused, unless forced; another member can be removed."""
    node = await empty(shared)
    last, another = "last/1/10.0.0.5/8080", "last/1/10.0.0.6/8080"
    await registered(node, last)
    await registered(node, another)
    assert (await node.call("PUT", "/backends/last", {"app": "last", "version": "1"})).status == 201
    assert "is deregistered" in shell.done("deregister", another, at(node))
    for command in ("drain", "deregister"):
        end = shell.bender(command, last, at(node))
        assert end.returncode == 1
        assert f"without registration/{last}, no member of backend last takes traffic: every" in end.stderr
        assert end.stderr.endswith("Nothing was changed; add --force to do it anyway.\n")
    assert "is deregistered" in shell.done("deregister", last, "--force", at(node))
    assert (await node.call("DELETE", "/backends/last")).status == 204
