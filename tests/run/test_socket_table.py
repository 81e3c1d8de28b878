"""The addresses at which a port is bound, read from tables in the format of Linux."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from twisted.trial.unittest import SynchronousTestCase

from bender.run.socket_table import ListeningSocket, SocketTable

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "00000000:00000000 00:00000000 00000000     0        0 1732297 1 00000000d7d14d56 100 0 0 10 0\n"

FOUR = (
    f"{HEAD}   0: 0100007F:1F90 00000000:0000 0A {REST}   1: 0500000A:1F90 00000000:0000 0A {REST}"
    f"   2: 0900000A:1F91 00000000:0000 0A {REST}   3: 0A00000A:1F90 0100007F:C350 01 {REST}"
)
SIX = (
    f"{HEAD}   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A {REST}"
    f"   1: B80D0120000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A {REST}"
    f"   2: 0000000000000000FFFF00000600000A:1F91 00000000000000000000000000000000:0000 0A {REST}"
)


class Listening(SynchronousTestCase):
    def table(self, order: Literal["little", "big"] = "little", **texts: str) -> SocketTable:
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_text(text)
        return SocketTable(folder, order)

    def test_addresses_of_both_kinds(self) -> None:
        """Only sockets that listen at this port count."""
        table = self.table(tcp=FOUR, tcp6=SIX)
        self.assertEqual(table.bound_addresses(8080), ["10.0.0.5", "127.0.0.1", "::1"])
        self.assertEqual(table.bound_addresses(8081), ["10.0.0.6", "10.0.0.9", "2001:db8::1"])
        self.assertEqual(table.bound_addresses(80), [])

    def test_inodes(self) -> None:
        """The inode identifies a socket."""
        self.assertEqual(self.table(tcp=FOUR).listeners(8081), [ListeningSocket("10.0.0.9", 8081, 1732297)])

    def test_what_a_socket_covers(self) -> None:
        """A socket covers its own address, or all addresses; `::` may also cover IPv4."""
        covered = {
            (bound, host)
            for bound in ("10.0.0.5", "0.0.0.0", "::", "::1")
            for host in ("10.0.0.5", "10.0.0.6", "::1")
            if ListeningSocket(bound, 80, 1).covers(host)
        }
        everything = {("0.0.0.0", "10.0.0.5"), ("0.0.0.0", "10.0.0.6"), ("::", "10.0.0.5"), ("::", "10.0.0.6")}
        self.assertEqual(covered, {("10.0.0.5", "10.0.0.5"), ("::1", "::1"), ("::", "::1"), *everything})

    def test_a_machine_with_the_other_byte_order(self) -> None:
        """On a machine with the other byte order, addresses are still read correctly."""
        table = self.table("big", tcp=f"{HEAD}   0: 7F000001:1F90 00000000:0000 0A {REST}")
        self.assertEqual(table.bound_addresses(8080), ["127.0.0.1"])

    def test_no_tables(self) -> None:
        """No sockets are known on other systems, or if a table has another format."""
        self.assertEqual(SocketTable(Path("/there/is/no/such/folder")).listeners(), [])
        for text in ("", "x\ny\n", f"{HEAD} 0: zz:1F90 0:0 0A {REST}"):
            self.assertEqual(self.table(tcp=text).bound_addresses(8080), [])
            self.assertEqual(self.table(tcp=text, tcp6=FOUR).bound_addresses(8081), ["10.0.0.9"])
