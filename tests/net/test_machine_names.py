"""The names of the machine in its file of hosts."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bender.net.machine_names import machine_names


class Names(SynchronousTestCase):
    def names(self, host_name: str, text: bytes) -> set[str]:
        path = Path(self.mktemp())
        path.write_bytes(text)
        return {*machine_names(host_name, path)}

    def test_beside_the_host_name(self) -> None:
        """All names in the lines of the host name are returned, in lower case and without a final dot."""
        text = b"127.0.0.1 localhost\n127.0.1.1\tBox.Example.com. box # evil.example box\n10.0.0.5 box box.lan\n"
        self.assertEqual(self.names("BOX", text), {"box", "box.example.com", "box.lan"})
        self.assertEqual(self.names("box.example.com", text), {"box", "box.example.com"})

    def test_other_lines(self) -> None:
        """Other lines are ignored: files that block advertisers map foreign names to the machine's address."""
        lines = (b"127.0.0.1 ads.example", b"#127.0.0.1 box evil.example", b"box", b"", b"127.0.0.1", b"\xff")
        text = b"\n".join([*lines, b"127.0.0.1 boxes evil.example"])
        self.assertEqual(self.names("box", text), {"box"})

    def test_no_file(self) -> None:
        """Without a hosts file, only the host name is returned."""
        self.assertEqual(machine_names("box.lan.", Path(self.mktemp())), {"box.lan"})
