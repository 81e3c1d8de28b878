"""Failed requests, and their duration, when HAProxy, its driver, a node or an instance is killed."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest
import pytest_twisted

from bender.haproxy import core
from tests.e2e.balancing import NODES, Place, driven, haproxy, instances, shop, versions
from tests.e2e.nodes import Cluster, pause, until
from tests.e2e.shells import Shell
from tests.e2e.traffic import traffic
from tests.e2e.yardsticks import yardstick
from tests.twistd_command import twistd

pytestmark = pytest.mark.outside

TEMPLATE = Path(core.__file__).with_name("haproxy.cfg.j2").read_text("utf-8")

#: The time in which HAProxy is started again, and listens.
BACK_S = 1.0


@pytest_twisted.ensureDeferred
async def test_haproxy_is_killed(cluster: Cluster, place: Place) -> None:
    """If a process of HAProxy is killed, HAProxy is back at once, with the present servers."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 2, "1")
    port = await shop(place, node)
    driver = await driven(place, [node])
    for i in range(2):
        await place.instance(node)
        await until("it is told", lambda: len(driver.servers("shop")) == 3 + i)  # noqa: B023 - called at once
        async with traffic(port) as asking, yardstick([node]) as machine:
            await asking.until_sent(50)
            killed = time.monotonic()
            os.kill(driver.pids()[i], signal.SIGKILL)
            await asking.until_answered(200, killed)
        assert asking.failing_s(killed) < BACK_S + machine.slack_s
        assert len(asking.answers(killed)) == 3 + i
        assert len(driver.servers("shop")) == 3 + i
    assert (await driver.status())["haproxy"]["starts"] == 3


@pytest_twisted.ensureDeferred
async def test_the_driver_is_killed(cluster: Cluster, place: Place) -> None:
    """If the driver is killed, no request fails; the next driver finds HAProxy running, and applies all changes."""
    (node,) = await cluster(1, **NODES)
    serving = await instances(place, node, 2, "1")
    port = await shop(place, node)
    driver = await driven(place, [node])
    await until("HAProxy's master answers", lambda: bool(driver.pids()))
    pids = driver.pids()
    async with traffic(port) as asking:
        driver.signal()
        await driver.ended()
        assert (await node.call("DELETE", serving[0].path)).status == 204
        new = await place.instance(node)
        await asking.until_sent(50)
        driver.start()
        await driver.ready()
        await pause(0.2)
        again = time.monotonic()
        await asking.until_sent(100)
    assert asking.failed == []
    assert set(asking.answers(again)) == {f"1/{serving[1].name}", f"1/{new.name}"}
    assert driver.pids() == pids
    assert (await driver.status())["haproxy"]["starts"] == 0


@pytest_twisted.ensureDeferred
async def test_the_node_that_is_followed_is_killed(cluster: Cluster, place: Place) -> None:
    """If the followed node is killed, no request fails, and the driver follows another one at once."""
    nodes = await cluster(3, **NODES)
    await instances(place, nodes[2], 2, "1")
    port = await shop(place, nodes[2])
    driver = await driven(place, nodes)
    await pause(2)
    async with traffic(port) as asking:
        for _ in range(2):
            followed = (await driver.status())["bender"]["node"]
            node = next(node for node in nodes if followed.endswith(f":{node.api_port}"))
            rest = [other for other in nodes if other is not node and other.process.poll() is None]
            before = len(driver.servers("shop"))
            instance = await place.instance(None)
            async with yardstick(rest[:1]) as machine:
                node.kill()
                killed = time.monotonic()
                await instance.register(rest[0])
                await until("it is known", lambda: len(driver.servers("shop")) == before + 1)  # noqa: B023 - called at once
                took_s = time.monotonic() - killed
            assert took_s < 3 + machine.slack_s
            await node.ended()
            node.start()
            await node.ready()
            await pause(6)
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_all_nodes_are_killed(cluster: Cluster, place: Place) -> None:
    """If all nodes are killed, HAProxy keeps its state, also when nodes and the driver restart without state."""
    nodes = await cluster(2, **NODES)
    serving = await instances(place, nodes[0], 2, "1")
    port = await shop(place, nodes[0])
    driver = await driven(place, nodes)
    names = set(driver.servers("shop"))
    async with traffic(port) as asking:
        for node in nodes:
            node.kill()
        await driver.until("without a node", lambda status: status["bender"]["away"])
        for node in nodes:
            await node.ended()
            node.start()
        for node in nodes:
            await node.ready()
        status = await driver.until("following", lambda status: len(status["kept"]) == 4)
        assert {*status["kept"]} >= {"backend/shop", "frontend/www"}
        assert set(driver.servers("shop")) == names
        driver.signal()
        await driver.ended()
        driver.start()
        status = await driver.until("following", lambda status: status["held"])
        assert (await driver.call("/ready")).status == 503
        await asking.until_sent(100)
        assert set(driver.servers("shop")) == names
        for instance in serving:
            await instance.register(nodes[0])
        bind = {"backend": "shop", "bind": f"127.0.0.1:{port}"}
        assert (await nodes[0].call("PUT", "/backends/shop", {"app": "web", "version": "1"})).status == 201
        assert (await nodes[0].call("PUT", "/frontends/www", bind)).status == 201
        await driver.ready()
        await asking.until_sent(100)
    assert asking.failed == []
    assert (await driver.status())["haproxy"]["starts"] == 0


@pytest_twisted.ensureDeferred
async def test_an_instance_is_killed(cluster: Cluster, place: Place) -> None:
    """If an instance is killed, HAProxy sends its requests to another one, until it is offline; no request fails."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 2, "1")
    port = await shop(place, node)
    driver = await driven(place, [node])
    dying = await place.instance(None)
    await dying.register(node, ttl=1)
    await until("it serves", lambda: len(driver.servers("shop")) == 3)
    async with traffic(port) as asking:
        await asking.until_sent(50)
        dying.signal()
        await dying.ended()
        await until("it is gone", lambda: len(driver.servers("shop")) == 2)
        await asking.until_sent(50)
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_somebody_changes_haproxy_by_hand(cluster: Cluster, place: Place) -> None:
    """The driver reverts changes that are made directly in HAProxy."""
    (node,) = await cluster(1, **NODES)
    one, other = await instances(place, node, 2, "1")
    await shop(place, node)
    driver = await driven(place, [node])
    before = driver.servers("shop")
    name = f"shop/1:127.0.0.1:{one.port}"
    for command in (
        f"set server {name} state maint",
        f"set server {name} weight 7",
        f"set server {name} addr 127.0.0.9 port 7",
        f"set server {name} state maint;del server {name}",
        "add server shop/stranger 127.0.0.1:1",
        f"set server shop/1:127.0.0.1:{other.port} state drain",
    ):
        driver.ask(command)
    assert driver.servers("shop") != before
    await until("it is as before", lambda: driver.servers("shop") == before)
    assert f"127.0.0.1:{one.port}" in driver.ask("show stat")


@pytest_twisted.ensureDeferred
async def test_what_haproxy_refuses(cluster: Cluster, place: Place, shell: Shell) -> None:
    """If HAProxy refuses a configuration, the last good file stays and its servers change; status and log report it."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 1, "1")
    port = await shop(place, node)
    template = place.folder / "template"
    driver = await driven(place, [node])
    driver.signal(signal.SIGTERM)
    await driver.ended()
    template.write_text(TEMPLATE + "{{ pools | length > 1 and 'nonsense' or '' }}\n")
    driver.options["template"] = str(template)
    driver.start()
    await driver.ready()
    good = driver.file.read_text()
    here = f"--node=127.0.0.1:{node.api_port}"
    end = shell.bender("backend", "set", "bad", "--app=web", "--version=1", here)
    assert (end.returncode, end.stdout) == (0, "backend/bad is created: web 1.\n")
    assert end.stderr.startswith("bender: edge refuses the change: ")
    assert "'nonsense'" in end.stderr
    assert f"which has frontend www (127.0.0.1:{port})" in end.stderr
    status = await driver.status()
    assert "nonsense" in status["haproxy"]["refused"]["why"]
    assert status["ready"]
    assert "\nedge refuses the configuration, for " in shell.done("status", here)
    # Changes that need no new configuration are applied.
    end = shell.bender("deploy", "shop", "1", here)
    assert (end.returncode, end.stderr) == (0, "")
    assert driver.file.read_text() == good
    new = await place.instance(node)
    await until("it is told", lambda: len(driver.servers("shop")) == 2)
    await until("it is in the file", lambda: f"127.0.0.1:{new.port}" in driver.file.read_text())
    assert "backend/bad" not in driver.file.read_text()
    assert (await node.call("DELETE", "/backends/bad")).status == 204
    await driver.until("well", lambda status: status["haproxy"]["refused"] is None)
    async with traffic(port) as asking:
        await asking.until_sent(20)
    assert set(versions(asking.answers())) == {"1"}
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_another_template_after_sighup(cluster: Cluster, place: Place) -> None:
    """A new template is checked and loaded without a lost request; an invalid one changes nothing."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 1, "1")
    port = await shop(place, node)
    template, config = place.folder / "template", place.folder / "edge.toml"
    template.write_text(TEMPLATE)
    config.write_text(f'template = "{template}"\n')
    driver = await driven(place, [node], config=str(config))
    options = [f"--config={config}", f"--output={driver.file}", f"--socket={driver.place}", f"--check={haproxy()}"]
    checked = place.start(*twistd(), "bender-haproxy", "--check-config", *options)
    await checked.ended()
    assert checked.output.startswith("The configuration is valid: nodes 127.0.0.1:1729, output ")
    lines = place.folder / "lines"
    lines.mkdir()
    (lines / "fronted-www.cfg").write_text("maxconn 5\n")
    checked = place.start(*twistd(), "bender-haproxy", "--check-config", f"--include={lines}", *options)
    await checked.ended()
    assert "--include: fronted-www.cfg is not used" in checked.output
    assert "did you mean frontend-www.cfg?" in checked.output
    async with traffic(port, retrying=True) as asking:
        template.write_text(f"{TEMPLATE}# another\n")
        config.write_text(f'template = "{template}"\nreport = true\n')
        driver.signal(signal.SIGHUP)
        await until("it is loaded", lambda: "# another" in driver.file.read_text())
        await driver.until("well", lambda status: status["haproxy"]["settled"])
        assert "--report takes effect at the next start" in driver.output
        template.write_text("{% nonsense %}")
        driver.signal(signal.SIGHUP)
        await until("it is said", lambda: "Configuration not changed after SIGHUP" in driver.output)
        await asking.until_sent(20)
    assert asking.failed == []
    assert "# another" in driver.file.read_text()


@pytest_twisted.ensureDeferred
async def test_an_address_that_is_taken(cluster: Cluster, place: Place) -> None:
    """A frontend whose address is in use is left out, without effect on others, and is served as soon as possible."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 1, "1")
    port = await shop(place, node)
    driver = await driven(place, [node])
    with socket.create_server(("127.0.0.1", place.ports.take())) as other:
        taken = other.getsockname()[1]
        async with traffic(port) as asking:
            wanted = {"backend": "shop", "bind": f"127.0.0.1:{taken}"}
            assert (await node.call("PUT", "/frontends/taken", wanted)).status == 201
            status = await driver.until("refusing", lambda status: status["problems"])
            assert status["problems"] == {
                "frontend/taken": f"bind: cannot listen at 127.0.0.1:{taken}: another program listens there"
            }
            await asking.until_sent(100)
        assert asking.failed == []
    await driver.until("listening", lambda status: "taken" in status["frontends"] and not status["problems"])
    async with traffic(taken) as asking:
        await asking.until_sent(20)
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_some_addresses_that_cannot_be_had(cluster: Cluster, place: Place) -> None:
    """A frontend is served at its valid addresses, without a failed request, and at all of them as soon as possible."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 1, "1")
    port = await shop(place, node)
    driver = await driven(place, [node])
    with socket.create_server(("127.0.0.1", place.ports.take())) as other:
        taken, tls = other.getsockname()[1], place.ports.take()
        foreign = f"192.0.2.1:{port}"  # an address reserved for documentation, with a port at which HAProxy listens
        binds = [f"127.0.0.1:{port}", f"127.0.0.1:{taken}", f"127.0.0.1:{tls}", foreign]
        async with traffic(port, retrying=True) as asking:
            wanted = {"backend": "shop", "bind": ",".join(binds), "tls": binds[2], "redirect_https": True}
            assert (await node.call("PUT", "/frontends/www", wanted)).status == 200
            status = await driver.until("refusing", lambda status: status["problems"])
            await driver.until("settled", lambda status: status["haproxy"]["settled"])
            await asking.until_sent(100)
        assert asking.failed == []
        assert status["problems"] == {
            "frontend/www": f"frontend/www is served at {binds[0]} only, without its redirect to HTTPS: "
            f"there is no certificate for {binds[2]}: name its file or folder with --certificates; "
            f"cannot listen at {binds[1]}: another program listens there; "
            f"cannot listen at {foreign}: this machine has no such address"
        }
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", tls))
    await driver.until("listening", lambda status: status["frontends"]["www"]["binds"] == binds[:2])
    await driver.until("settled", lambda status: status["haproxy"]["settled"])
    async with traffic(taken) as asking:
        await asking.until_sent(20)
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_an_address_that_is_taken_from_the_beginning(cluster: Cluster, place: Place) -> None:
    """HAProxy starts without an address that is in use; a new driver that finds HAProxy running costs no request."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 1, "1")
    port = await shop(place, node)
    wanted = {"backend": "shop", "bind": f"127.0.0.1:{node.api_port}"}
    assert (await node.call("PUT", "/frontends/taken", wanted)).status == 201
    driver = await driven(place, [node])
    async with traffic(port) as asking:
        await asking.until_sent(20)
        driver.signal()
        await driver.ended()
        driver.start()
        await driver.ready()
        await asking.until_sent(500)
    assert asking.failed == []
    status = await driver.status()
    assert (status["haproxy"]["reloads"], [*status["problems"]]) == (0, ["frontend/taken"])


@pytest_twisted.ensureDeferred
async def test_a_second_driver_with_the_same_files(cluster: Cluster, place: Place) -> None:
    """A second driver with the same files does not start, and the first one continues."""
    (node,) = await cluster(1, **NODES)
    driver = await driven(place, [node])
    other = place.driver([node])
    other.start()
    await other.ended()
    assert "another driver uses" in other.output
    assert (await driver.status())["ready"]


@pytest_twisted.ensureDeferred
async def test_what_haproxy_cannot_begin_with(cluster: Cluster, place: Place) -> None:
    """HAProxy keeps its configuration if the new one would prevent its start, also after a restart."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 1, "1")
    port = await shop(place, node)
    driver = await driven(place, [node])
    driver.signal()
    await driver.ended()
    template = place.folder / "mine.cfg.j2"
    template.write_text(f"{TEMPLATE}\nlisten other\n    bind 127.0.0.1:{node.api_port}\n")
    driver.options["template"] = str(template)
    driver.start()
    await driver.until("refusing", lambda status: status["haproxy"]["refused"])
    assert "listen other" not in driver.file.read_text()
    async with traffic(port) as asking:
        await asking.until_sent(20)
    assert asking.failed == []


@pytest_twisted.ensureDeferred
async def test_haproxy_that_others_run(cluster: Cluster, place: Place) -> None:
    """A command reloads an HAProxy that another program runs; after a restart by that program its state is right."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 2, "1")
    port = await shop(place, node)
    pidfile = place.folder / "pid"
    start = f"{haproxy()} -W -D -p {pidfile} -S {place.folder}/edge.s.master -f {place.folder}/edge.cfg"
    reload = f"if [ -e {pidfile} ] && kill -USR2 $(cat {pidfile}); then :; else {start}; fi"
    driver = await driven(place, [node], run=None, reload=reload, check=haproxy())
    async with traffic(port, retrying=True) as asking:
        await asking.until_sent(20)
        assert (await node.call("PUT", "/backends/more", {"app": "web", "version": "1"})).status == 201
        await driver.until(
            "reloaded", lambda status: "more" in status["backends"] and status["haproxy"]["reloads"] == 1
        )
        await asking.until_sent(20)
    assert asking.failed == []
    for pid in driver.pids():
        os.kill(pid, signal.SIGKILL)
    await driver.until("without it", lambda status: not status["haproxy"]["answers"])
    await place.instance(node)
    await place.run("sh", "-c", start)
    await until("it is told", lambda: len(driver.servers("shop")) == 3)
