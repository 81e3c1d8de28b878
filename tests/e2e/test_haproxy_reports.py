"""Operators get reports if a real HAProxy differs from the registry, or if a disk is full."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_twisted

from tests.e2e.balancing import NODES, Driver, Place, instances, shop
from tests.e2e.nodes import Cluster, until
from tests.e2e.shells import Shell
from tests.e2e.traffic import traffic
from tests.twistd_command import twistd

pytestmark = pytest.mark.outside

DISK_BYTES = 256 * 1024


class OnSmallDisk(Driver):
    """A driver whose files are on a separate disk, which only its process has mounted."""

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def file(self) -> Path:
        return self.disk / f"{self.name}.cfg"

    def start(self) -> None:
        self.disk.mkdir(exist_ok=True)
        mount = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$0" && exec "$@"'
        alone = ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(self.disk))
        self.run(*alone, *twistd(), *self.arguments())

    @property
    def inside(self) -> Path:
        """Return the path of the driver's disk for this process."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/root{self.disk}")

    def fill(self) -> None:
        """Fill the disk."""
        with suppress(OSError), (self.inside / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 1024)

    def make_room(self) -> None:
        (self.inside / "filler").unlink()


@pytest_twisted.ensureDeferred
async def test_a_full_disk(cluster: Cluster, place: Place, shell: Shell) -> None:
    """With a full disk, HAProxy still follows, commands and statuses report it, and the driver recovers by itself."""
    (node,) = await cluster(1, **NODES)
    await instances(place, node, 1, "1")
    port, other = await shop(place, node), place.ports.take()
    driver = OnSmallDisk("edge", place.folder, nodes=[node], status_port=place.ports.take())
    place.processes.append(driver)
    driver.start()
    await driver.ready()
    assert (await driver.call("/ready")).status == 200
    driver.fill()
    async with traffic(port, retrying=True) as asking:
        await place.instance(node)
        await until("it is told", lambda: len(driver.servers("shop")) == 2)
        await driver.until("aware of it", lambda status: not status["ready"])
        why = f"{driver.file} cannot be written (No space left on device)"
        ready = await driver.call("/ready")
        assert (ready.status, ready.body["code"]) == (503, "NOT_READY")
        assert ready.body["message"].startswith(why)

        here = f"--node=127.0.0.1:{node.api_port}"
        await until("it is reported", lambda: why in shell.done("status", here))
        state = [line.split()[2] for line in shell.done("status", here).splitlines() if line.startswith("edge ")]
        assert state[0] == "unwritable"
        (consumer,) = json.loads(shell.done("status", "--json", here))["consumers"]
        assert (consumer["name"], consumer["report"]["problems"][0]["why"]) == ("edge", why)

        end = shell.bender("frontend", "set", "new", "--backend=shop", f"bind=127.0.0.1:{other}", here)
        assert (end.returncode, end.stdout) == (0, "frontend/new is created: backend shop.\n")
        assert f"bender: edge cannot apply the change: {why}; HAProxy " in end.stderr
        end = shell.bender("backend", "set", "shop", "slow_start=1", here)
        assert (end.returncode, end.stderr) == (0, "")  # because this change writes no file
        driver.make_room()
        await driver.until("well", lambda status: status["ready"] and "new" in status["frontends"])
        await asking.until_sent(50)
    assert asking.failed == []
    async with traffic(other) as asking:
        await asking.until_sent(10)
    assert asking.failed == []
    lines = driver.output.splitlines()
    assert len([line for line in lines if "can be written again" in line]) == 1
    await until("that is reported", lambda: "cannot write" not in shell.done("status", here))
