"""Declared configuration at real nodes is exported, checked, and applied under traffic."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from tests.e2e.balancing import NODES, Driver, Place, driven, instances, together
from tests.e2e.nodes import Cluster, Node, until
from tests.e2e.shells import Shell, at, is_sentence, registered
from tests.e2e.traffic import Traffic, traffic

SHOP = {"app": "web", "version": "1.2.0", "canary": {"version": "1.3.0", "percent": 12.5}, "meta": {"a": None}}


@ensureDeferred
async def test_a_registry_in_a_file(shared: Cluster, shell: Shell, tmp_path: Path) -> None:
    """An exported file is valid, equals the registry, and can be changed and applied."""
    (node,) = await shared(1)
    here, file = at(node), tmp_path / "shop.toml"
    empty = shell.bender("export", here)
    assert (empty.returncode, empty.stdout) == (1, "")
    await registered(node)
    assert (await node.call("PUT", "/backends/shop", SHOP)).status == 201
    rules = [{"path": "/api", "backend": "shop"}]
    assert (await node.call("PUT", "/frontends/www", {"backend": "shop", "mode": "http", "rules": rules})).status == 201
    state = "/registrations/web/1.2.0/10.0.0.9/8080/state"
    assert (await node.call("PUT", f"{state}?force", {"state": "drain", "for": 3600})).status == 200

    text = shell.done("export", here)
    file.write_text(text)
    assert shell.done("export", here) == text
    assert text in shell.output_of("export", here)
    assert shell.done("check", str(file)) == f"{file} is valid: 1 backend, 1 frontend, 1 state.\n"
    assert shell.done("apply", "-f", str(file), here) == "Nothing to change: 3 objects as declared.\n"

    file.write_text(text.replace("percent = 12.5", "percent = 20").replace('mode = "http"\n', ""))
    share = "canary version 1.3.0 with 20 % of the traffic (was 12.5 %)"
    difference = f"~ backend/shop\n    {share}\n~ frontend/www\n    mode removed (was http)\n"
    would = "Nothing was changed. Without --dry-run, 2 would be changed.\n"
    assert shell.done("apply", "-f", str(file), "--dry-run", here) == difference + would
    assert (await node.call("GET", "/backends/shop")).body["canary"]["percent"] == 12.5
    applied = shell.bender("apply", "-f", str(file), here)
    assert (applied.returncode, applied.stdout) == (0, f"{difference}Done: 2 changed.\n"), applied.stderr
    assert (await node.call("GET", "/backends/shop")).body["canary"]["percent"] == 20
    frontends = json.loads(shell.done("export", "--json", here))["frontends"]
    assert frontends == {"www": {"backend": "shop", "rules": rules}}


@ensureDeferred
async def test_what_would_be_an_outage(shared: Cluster, shell: Shell, tmp_path: Path) -> None:
    """A change to a version without members is refused before anything changes, also in a dry run, unless forced."""
    (node,) = shared.nodes or await shared(1)
    here, file = at(node), tmp_path / "outage.toml"
    await registered(node, "out/1/10.0.0.5/8080")
    assert (await node.call("PUT", "/backends/out", {"app": "out", "version": "1"})).status == 201
    file.write_text('[backends.out]\napp = "out"\nversion = "2"\n[backends.beside]\napp = "out"\nversion = "1"\n')
    for options in ([], ["--dry-run"]):
        refused = shell.bender("apply", "-f", str(file), here, *options)
        assert refused.returncode == 1
        assert "bender: backend/out serves out 1 with 1 member; out 2 has no members" in refused.stderr
        assert (await node.call("GET", "/backends/beside")).status == 404
    forced = shell.bender("apply", "-f", str(file), "--force", "--json", here)
    assert (forced.returncode, forced.stderr) == (0, "")
    said = json.loads(forced.stdout)
    assert (said["done"], said["error"]) == (["backend/beside", "backend/out"], None)
    assert len(said["warnings"]) == 1
    assert (await node.call("GET", "/backends/out")).body["version"] == "2"


@ensureDeferred
async def test_files_that_are_not_applied(shared: Cluster, shell: Shell, tmp_path: Path) -> None:
    """Every error is reported with its line before anything changes; an empty file does not remove everything."""
    (node,) = shared.nodes or await shared(1)
    here, file = at(node), tmp_path / "wrong.toml"
    assert (await node.call("PUT", "/backends/kept", {"app": "kept", "version": "1"})).status == 201
    file.write_text('[backends.new]\napp = "web"\nversion = "1"\n[frontends.www]\nbackend = "nobody"\nmode = "udp"\n')
    for command in (["check", str(file)], ["apply", "-f", str(file), here]):
        refused = shell.bender(*command)
        assert refused.returncode == 1
        assert f"{file}:6: frontend/www: mode: must be http or tcp\n" in refused.stderr
    assert (await node.call("GET", "/backends/new")).status == 404
    file.write_text('[frontends.new]\nbackend = "kept"\n')
    assert shell.bender("check", str(file)).returncode == 1
    applied = shell.bender("apply", "-f", str(file), here)
    assert applied.stdout.startswith("+ frontend/new\n    backend kept\n")
    assert applied.stdout.endswith("\nDone: 1 created.\n")
    assert applied.stderr == "bender: backend kept has no members: requests get 503 until there are.\n"
    file.write_text("")
    emptied = shell.bender("apply", "-f", str(file), "--prune", here)
    assert (emptied.returncode, emptied.stdout) == (1, "")
    assert "add --force" in emptied.stderr
    assert is_sentence(emptied.stderr)


async def _served(driver: Driver) -> int:
    """Return the number of requests that a HAProxy has served."""
    (line,) = [line for line in driver.ask("show info").splitlines() if line.startswith("CumReq:")]
    return int(line.split()[1])


async def _exported(shell: Shell, node: Node) -> str:
    ended = await deferToThread(shell.bender, "export", at(node))
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


@pytest.mark.outside
@ensureDeferred
async def test_all_nodes_are_stopped_under_traffic(
    cluster: Cluster, place: Place, shell: Shell, tmp_path: Path
) -> None:
    """One `apply` restores everything behind two HAProxies, before some instances register; no request fails."""
    nodes = await cluster(3, **NODES)
    file = tmp_path / "shop.toml"
    old, new = await together(instances(place, nodes[0], 3, "1"), instances(place, nodes[0], 2, "2"))
    port = place.ports.take()
    backend = {"app": "web", "version": "1", "canary": {"version": "2", "percent": 20}}
    assert (await nodes[0].call("PUT", "/backends/shop", backend)).status == 201
    frontend = {"backend": "shop", "bind": f"127.0.0.1:{port}", "rules": [{"path": "/api", "backend": "shop"}]}
    assert (await nodes[0].call("PUT", "/frontends/www", frontend)).status == 201
    drained = old[0]
    assert (await nodes[0].call("PUT", f"{drained.path}/state", {"state": "drain", "for": 3600})).status == 200
    drivers = await together(*(driven(place, nodes, name) for name in ("edge-1", "edge-2")))
    before = [driver.servers("shop") for driver in drivers]
    before_it = await _exported(shell, nodes[1])
    file.write_text(before_it)

    async with traffic(port, clients=16) as asking:
        await asking.until_sent(200)
        for node in nodes:
            node.kill(15)
        for node in nodes:
            await node.ended()
        await asking.until_sent(100)
        for node in nodes:
            node.start()
        await _restored(nodes, shell, file)
        registered_before, registered_after = [old[1], new[0]], [drained, old[2], new[1]]
        await asking.until_sent(100)
        for instance in registered_before + registered_after:
            await instance.register(nodes[2])
        await asking.until_sent(100)
        for driver, servers in zip(drivers, before, strict=True):
            await driver.until("as before", lambda status: status["ready"] and not status["kept"])
            await until("its servers are as before", lambda: driver.servers("shop") == servers)  # noqa: B023 - at once
        await asking.until_sent(300)
    assert await _exported(shell, nodes[2]) == before_it
    _report(asking, [await _served(driver) for driver in drivers])
    assert asking.failed == []
    assert drained.name not in {answer.partition("/")[2] for answer in asking.answers()}


async def _restored(nodes: list[Node], shell: Shell, file: Path) -> None:
    """Apply the file as soon as the nodes are started; it waits until they are ready."""
    applied = await deferToThread(shell.bender, "apply", "-f", str(file), "--wait=60", at(*nodes))
    warning = "bender: backend shop has no members: requests get 503 until there are.\n"
    *waited, rest = applied.stderr.split("; waiting for up to 60 s.\n")  # unless nodes were ready before
    assert waited in ([], ["bender: a node is not ready yet"], ["bender: no node answers yet"]), applied.stderr
    assert (applied.returncode, rest) == (0, warning), applied.stderr
    assert applied.stdout.endswith("Done: 3 created.\n"), applied.stdout
    for node in nodes:
        await node.ready()


def _report(asking: Traffic, served: list[int]) -> None:
    print(f"{len(asking.requests)} requests, {len(asking.failed)} failed; the HAProxies had {served}")  # noqa: T201 - pytest -rP shows it
    assert all(served), served
