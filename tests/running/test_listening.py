"""Which addresses a port is bound to, from tables as Linux prints them."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bender.running.listening import bound_addresses

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


class Bound(SynchronousTestCase):
    def tables(self, *texts: str) -> tuple[str, ...]:
        folder = Path(self.mktemp())
        folder.mkdir()
        for number, text in enumerate(texts):
            (folder / str(number)).write_text(text)
        return tuple(str(folder / str(number)) for number in range(len(texts)))

    def test_addresses_of_both_kinds(self) -> None:
        """Only sockets that listen at this port count."""
        tables = self.tables(FOUR, SIX)
        self.assertEqual(bound_addresses(8080, tables, "little"), ["10.0.0.5", "127.0.0.1", "::1"])
        self.assertEqual(bound_addresses(8081, tables, "little"), ["10.0.0.6", "10.0.0.9", "2001:db8::1"])
        self.assertEqual(bound_addresses(80, tables, "little"), [])

    def test_a_machine_with_the_other_byte_order(self) -> None:
        """It writes the first byte of each word first."""
        tables = self.tables(f"{HEAD}   0: 7F000001:1F90 00000000:0000 0A {REST}")
        self.assertEqual(bound_addresses(8080, tables, "big"), ["127.0.0.1"])

    def test_no_tables(self) -> None:
        """Nothing is known on other systems, or where the tables are of another form."""
        tables = ("/there/is/no/such/file", *self.tables("", "x\ny\n", f"{HEAD} 0: zz:1F90 0:0 0A {REST}"))
        self.assertEqual(bound_addresses(8080, tables), [])
        self.assertEqual(bound_addresses(8080, (*tables, *self.tables(FOUR)), "little"), ["10.0.0.5", "127.0.0.1"])
