"""The authors of settings in histories."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.authors import author_of, client_of
from bender.core.invalid import Invalid


class Authors(SynchronousTestCase):
    def test_a_name_stands_before_the_address(self) -> None:
        """The author has the name before the address, and the address can be read from it, whatever the name is."""
        for name, author in (
            (None, "10.0.0.7"),
            ("anna@web1", "anna@web1 (10.0.0.7)"),
            (" a b ", "a b (10.0.0.7)"),
            ("a (10.9.9.9)", "a (10.9.9.9) (10.0.0.7)"),
        ):
            self.assertEqual(author_of(name, "10.0.0.7"), author)
            self.assertEqual(client_of(author), "10.0.0.7")

    def test_addresses_of_other_kinds(self) -> None:
        """The address may be one of IPv6, or none."""
        for address in ("fe80::1", "unix"):
            self.assertEqual(client_of(author_of("anna", address)), address)
            self.assertEqual(client_of(address), address)

    def test_what_cannot_be_shown(self) -> None:
        """A name that is not printable or too long is refused, and not shortened."""
        for name in ("", " ", "x" * 65, "a\nb", "\u202e", "\x1b[1m"):
            self.assertRaises(Invalid, author_of, name, "10.0.0.7")
