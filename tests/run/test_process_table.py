"""Processes and the sockets that they hold, from a folder that looks like /proc."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bender.run.process_table import Process, ProcessTable


class TableCase(SynchronousTestCase):
    """A fake /proc in a folder, at first without processes."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.root.mkdir()
        self.table = ProcessTable(self.root)

    def run_process(
        self, pid: int, parent: int, name: str = "serve", sockets: tuple[int, ...] = (), state: str = "S"
    ) -> None:
        folder = self.root / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "stat").write_text(f"{pid} ({name}) {state} {parent} {parent} 1 0 -1 4194560 0\n")
        (folder / "fd" / "0").symlink_to("/dev/null")
        for number, inode in enumerate(sockets, 1):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")


class Families(TableCase):
    def setUp(self) -> None:
        super().setUp()
        (self.root / "self").symlink_to("4")
        (self.root / "11").mkdir()  # a process that ends while it is read
        (self.root / "12").mkdir()
        (self.root / "12" / "stat").write_text("")
        self.run_process(4, 1, "bender run")
        self.run_process(5, 4, "a (b) c) S 1")
        self.run_process(6, 4, "ended", state="Z")
        self.run_process(7, 5)
        self.run_process(8, 4)
        self.run_process(9, 8)
        self.run_process(10, 1)

    def test_processes(self) -> None:
        """Running processes are listed with any name; a process that has ended and was not reaped is not listed."""
        self.assertEqual({*self.table.processes()}, {4, 5, 7, 8, 9, 10})
        self.assertEqual(self.table.processes()[5], Process(5, 4, 4, "a (b) c) S 1"))
        self.assertEqual(str(self.table.processes()[7]), "process 7 (serve)")

    def test_descendants(self) -> None:
        """Parents come before their children; an excluded process is left out with its descendants."""
        self.assertEqual({process.pid for process in self.table.children(4)}, {5, 8})
        found = [process.pid for process in self.table.descendants(4)]
        self.assertEqual({*found}, {5, 7, 8, 9})
        self.assertLess(found.index(5), found.index(7))
        self.assertLess(found.index(8), found.index(9))
        self.assertEqual([process.pid for process in self.table.descendants(4, {8})], [5, 7])
        self.assertEqual(self.table.descendants(10), [])

    def test_a_table_of_others(self) -> None:
        """The table of another process namespace is recognized, because it shows another process as this one."""
        self.assertFalse(self.table.shows_this_process())
        (self.root / "self").unlink()
        self.assertFalse(self.table.shows_this_process())
        (self.root / "self").symlink_to(str(os.getpid()))
        self.assertTrue(self.table.shows_this_process())

    def test_no_table(self) -> None:
        """Without a table, no processes are known."""
        table = ProcessTable(self.root / "nowhere")
        self.assertEqual((table.processes(), table.descendants(1), table.holder({1})), ({}, [], None))


class Sockets(TableCase):
    def test_what_a_process_holds(self) -> None:
        """Only sockets are listed; an ended process has none, and None is returned if they cannot be read."""
        self.run_process(5, 1, sockets=(100, 101))
        self.run_process(6, 1)
        self.run_process(7, 1)
        (self.root / "7" / "fd" / "0").unlink()
        (self.root / "7" / "fd").rmdir()
        (self.root / "7" / "fd").write_text("which cannot be listed")
        self.assertEqual([self.table.sockets(pid) for pid in (5, 6, 7, 8)], [{100: 1, 101: 2}, {}, None, {}])

    def test_whether_one_is_still_open(self) -> None:
        """A socket is still open if the same process has the same socket at the same descriptor."""
        self.run_process(5, 1, sockets=(100, 101))
        held = [
            self.table.has_socket(*each) for each in ((5, 2, 101), (5, 2, 100), (5, 3, 101), (5, 0, 101), (6, 2, 101))
        ]
        self.assertEqual(held, [True, False, False, False, False])

    def test_who_holds_a_socket(self) -> None:
        """If several processes hold a socket, the one with the lowest number is returned, usually the parent."""
        self.run_process(6, 5, "worker", sockets=(100,))
        self.run_process(5, 1, "master", sockets=(100, 101))
        self.assertEqual(str(self.table.holder({100, 102})), "process 5 (master)")
        self.assertIsNone(self.table.holder({102}))
