"""The holder of the port of an instance, which is only reported if it is certain."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from bender.run.port_holder import Holder, Holding, PortHolder
from bender.run.socket_table import SocketTable
from tests.run.test_process_table import TableCase
from tests.run.test_socket_table import HEAD

HOST = "10.0.0.5"
CLAUSE = "port 8080 is held by process 50 (nginx), which this command did not start"

HIDDEN = "port 8080 is held by another process, which this command did not start"


class HolderCase(TableCase):
    """The command is process 10, and has started process 11."""

    def setUp(self) -> None:
        super().setUp()
        self.net = Path(self.mktemp())
        self.net.mkdir()
        self.has_address = True
        self.listen()

    def listen(self, *sockets: tuple[str, int, int]) -> None:
        """Let these sockets listen from now on, each with its address in hexadecimal digits, port, and inode."""
        lines = [
            f"   0: {address}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 {inode} 1\n"
            for address, port, inode in sockets
        ]
        (self.net / "tcp").write_text(HEAD + "".join(lines))

    def begin(self) -> None:
        self.holder = PortHolder(
            8080,
            sockets=SocketTable(self.net, "little"),
            processes=self.table,
            is_local=lambda _host: self.has_address,
        )

    def hold(self, pid: int, *inodes: int, name: str = "serve") -> None:
        shutil.rmtree(self.root / str(pid), ignore_errors=True)
        self.run_process(pid, 1, name, inodes)

    def look(self, command: Iterable[int] | None = (10, 11)) -> Holding:
        return self.holder.find_holder(HOST, lambda: command)


class Concluding(HolderCase):
    def test_the_command_or_what_it_has_started(self) -> None:
        """The command holds the port at the address or at all addresses, also beside others, as with SO_REUSEPORT."""
        self.hold(50, 1, name="nginx")
        self.listen(("00000000", 8080, 1))
        self.begin()
        self.hold(10)
        self.hold(11, 2)
        for address in ("0500000A", "00000000"):
            self.listen(("00000000", 8080, 1), (address, 8080, 2))
            self.assertEqual(self.look(), Holding(Holder.COMMAND))

    def test_a_socket_that_was_there_before(self) -> None:
        """A socket from before the start is not of the command, but may be a proxy in front of it."""
        self.hold(50, 1, name="nginx")
        self.listen(("00000000", 8080, 1))
        self.begin()
        self.hold(10, 7)
        self.assertEqual(self.look(), Holding(Holder.OTHER_BEFORE_IT, CLAUSE))

    def test_a_socket_that_was_there_before_and_that_it_inherits(self) -> None:
        """An inherited socket is of the command, even if another process holds it too."""
        self.hold(1, 1, name="systemd")
        self.listen(("00000000", 8080, 1))
        self.begin()
        self.hold(10, 1)
        self.assertEqual(self.look(), Holding(Holder.COMMAND))

    def test_a_proxy_in_front_of_it(self) -> None:
        """The command listens at another port, behind the proxy."""
        self.hold(50, 1, name="nginx")
        self.listen(("00000000", 8080, 1))
        self.begin()
        self.hold(10, 2)
        self.listen(("00000000", 8080, 1), ("0100007F", 8081, 2))
        self.assertEqual(self.look(), Holding(Holder.OTHER_BEFORE_IT, CLAUSE))

    def test_a_socket_that_came_later(self) -> None:
        """A later socket may be of a forwarder that belongs to the command, such as that of a container."""
        self.begin()
        self.hold(10)
        self.hold(50, 1, name="docker-proxy")
        self.listen(("00000000", 8080, 1))
        self.assertEqual(self.look(), Holding(Holder.OTHER_SINCE))

    def test_a_port_that_the_command_has_lost(self) -> None:
        """The present holder is not the command, until the command holds the port again with any socket."""
        self.begin()
        self.hold(10, 1)
        self.listen(("00000000", 8080, 1))
        self.assertEqual(self.look(), Holding(Holder.COMMAND))
        self.hold(10)
        self.listen()
        self.assertEqual(self.look(), Holding(Holder.NOBODY))
        self.hold(50, 2, name="nginx")
        self.listen(("00000000", 8080, 2))
        self.assertEqual(self.look(), Holding(Holder.OTHER, CLAUSE))
        self.hold(11, 3)
        self.listen(("00000000", 8080, 2), ("00000000", 8080, 3))
        self.assertEqual(self.look(), Holding(Holder.COMMAND))

    def test_a_holder_that_is_hidden(self) -> None:
        """A hidden holder has no name, but is not the command."""
        self.listen(("00000000", 8080, 1))
        self.begin()
        self.hold(10)
        self.assertEqual(self.look(), Holding(Holder.OTHER_BEFORE_IT, HIDDEN))

    def test_nothing_is_concluded_where_something_is_not_known(self) -> None:
        """There is no conclusion if the sockets or processes are unknown, or the address may be of another machine."""
        self.listen(("00000000", 8080, 1))
        self.begin()
        self.hold(10)
        self.assertEqual(self.look(None), Holding(Holder.UNKNOWN))
        self.hold(11)
        shutil.rmtree(self.root / "11" / "fd")
        (self.root / "11" / "fd").write_text("which cannot be listed")
        self.assertEqual(self.look(), Holding(Holder.UNKNOWN))
        self.assertEqual(self.look([10]).holder, Holder.OTHER_BEFORE_IT)
        self.has_address = False
        self.assertEqual(self.look([10]), Holding(Holder.UNKNOWN))

    def test_another_address(self) -> None:
        """A process that holds the port at one address may not hold it at another address."""
        self.begin()
        self.hold(10, 1)
        self.listen(("0500000A", 8080, 1))
        self.assertEqual(self.look(), Holding(Holder.COMMAND))
        self.hold(50, 2, name="nginx")
        self.listen(("0500000A", 8080, 1), ("0100007F", 8080, 2))
        self.assertEqual(self.holder.find_holder("127.0.0.1", lambda: [10]), Holding(Holder.OTHER_SINCE))

    def test_while_its_socket_is_open(self) -> None:
        """While the command's socket is open, no other information is read."""
        self.begin()
        self.hold(10, 1)
        self.listen(("00000000", 8080, 1))
        self.assertEqual(self.look(), Holding(Holder.COMMAND))
        (self.net / "tcp").unlink()
        self.assertEqual(self.look(None), Holding(Holder.COMMAND))

    def test_other_addresses_and_ports(self) -> None:
        """Sockets at other addresses and ports do not matter."""
        self.listen(("0100007F", 8080, 1), ("00000000", 8081, 2))
        self.begin()
        self.hold(10)
        self.assertEqual(self.look(), Holding(Holder.UNKNOWN))
        self.assertEqual(self.holder.bound_addresses(), ["127.0.0.1"])

    def test_other_ports_of_the_command(self) -> None:
        """The command's other ports are in order. There are none if it has the right port, or if they are unknown."""
        self.begin()
        self.hold(10, 1, 3)
        self.hold(50, 2, name="nginx")
        self.listen(("0100007F", 24024, 1), ("00000000", 80, 2), ("00000000", 443, 3))
        self.assertEqual(self.holder.other_ports(lambda: [10]), [443, 24024])
        self.assertEqual(self.holder.other_ports(lambda: None), [])
        self.listen(("0100007F", 24024, 1), ("00000000", 8080, 3))
        self.assertEqual(self.holder.other_ports(lambda: [10]), [])

    def test_whether_some_processes_hold_it(self) -> None:
        """The answer is yes if one of the processes holds the port, or if their sockets are unknown."""
        self.begin()
        self.hold(10, 1)
        self.hold(11, 2)
        self.listen(("0100007F", 8080, 2))
        self.assertEqual([self.holder.is_held_by(pids) for pids in ((10,), (10, 11), ())], [False, True, False])
        shutil.rmtree(self.root / "10" / "fd")
        (self.root / "10" / "fd").write_text("which cannot be listed")
        self.assertTrue(self.holder.is_held_by([10]))
        self.listen()
        self.assertFalse(self.holder.is_held_by([10]))
