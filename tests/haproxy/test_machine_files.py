"""The files of the machine, and the times at which they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.certificates import CertificateStore
from bender.haproxy.core.machine_settings import Log, Machine
from bender.haproxy.machine_files import LOOK_S, MachineFiles, read_custom
from tests.haproxy.test_certificates import chain, whole

MACHINE = Machine(log=Log("stdout"))


class Watching(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.include, self.source = self.folder / "include", self.folder / "source"
        for each in (self.folder, self.include, self.source):
            each.mkdir()
        (self.source / "shop.pem").write_bytes(whole(0))
        self.clock = Clock()
        self.changes: list[tuple[Machine, Mapping[str, str]]] = []
        self.files = MachineFiles(
            self.clock,
            CertificateStore(self.folder / "copies"),
            lambda machine, problems: self.changes.append((machine, problems)),
        )
        self.files.use(MACHINE, self.source, self.include)
        self.files.startService()
        self.addCleanup(self.files.stopService)

    def look(self, times: int = 1) -> int:
        """Let this number of looks pass, and return the number of changes up to now."""
        for _ in range(times):
            self.clock.advance(LOOK_S)
        return len(self.changes)

    def test_at_the_start(self) -> None:
        """The files are read before anything is rendered."""
        ((machine, problems),) = self.changes
        self.assertEqual((machine.log, problems, machine.custom.files), (MACHINE.log, {}, {}))
        self.assertEqual([file.name for file in Path(str(machine.certificates)).iterdir()], ["shop.pem.pem"])

    def test_nothing_changes(self) -> None:
        """Without a change, `on_change` is not called again."""
        self.assertEqual(self.look(5), 1)

    def test_a_change(self) -> None:
        """A change is used when the files are the same at two looks."""
        (self.include / "global.cfg").write_text("user haproxy\n")
        self.assertEqual(self.look(), 1)
        (self.include / "global.cfg").write_text("user haproxy\ngroup haproxy\n")
        self.assertEqual((self.look(), self.look()), (1, 2))
        self.assertEqual(self.changes[-1][0].custom.files, {"global.cfg": ("user haproxy", "group haproxy")})

    def test_a_renewed_certificate(self) -> None:
        """A renewed certificate is in a different folder."""
        (self.source / "shop.pem").write_bytes(whole(1))
        self.assertEqual(self.look(2), 2)
        self.assertNotEqual(self.changes[0][0].certificates, self.changes[1][0].certificates)

    def test_a_certificate_that_is_wrong(self) -> None:
        """An unusable certificate is reported, and the previous one stays in use."""
        (self.source / "shop.pem").write_bytes(chain(1))
        self.look(2)
        machine, problems = self.changes[-1]
        self.assertEqual((machine, [*problems]), (self.changes[0][0], ["certificates/shop.pem"]))

    def test_copies_that_cannot_be_written(self) -> None:
        """The previous copies stay in use, and the copying is tried again at each look."""
        copies = self.folder / "copies"
        copies.rename(self.folder / "away")
        copies.write_text("in the way")
        (self.source / "shop.pem").write_bytes(whole(1))
        self.assertEqual(self.look(3), 3)
        self.assertIn("cannot be copied", self.changes[-1][1]["certificates"])
        copies.unlink()
        (self.folder / "away").rename(copies)
        self.assertEqual(self.look(), 4)
        self.assertEqual(self.changes[-1][1], {})

    def test_lines_that_cannot_be_read(self) -> None:
        """Unreadable files are a problem, because without them a line that forbids something might be missing."""
        (self.include / "a.cfg").write_bytes(b"\xe9")
        (self.include / "notes.txt").write_bytes(b"\xe9")
        self.assertIn("a.cfg is not UTF-8", str(read_custom(self.include).problem))
        self.assertIn("cannot be read", str(read_custom(self.folder / "none").problem))

    def test_other_options(self) -> None:
        """Changed options are used at once."""
        self.files.use(Machine(), None, None)
        self.assertEqual((self.changes[-1], self.look(3)), ((Machine(), {}), 2))
