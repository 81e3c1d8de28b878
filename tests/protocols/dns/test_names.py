"""The names of the zone."""

from __future__ import annotations

import dns.name
from twisted.trial.unittest import SynchronousTestCase

from bender.protocols.dns.names import NamedMembers, NameOwner, has_owner, owner_of


def labels(name: str) -> tuple[bytes, ...]:
    return tuple(label.encode() for label in name.split("."))


class Names(SynchronousTestCase):
    def test_outside(self) -> None:
        for name in ((), labels("com"), labels("bender.example"), labels("web.app.benders")):
            self.assertIsNone(owner_of(name), name)

    def test_apps_and_backends(self) -> None:
        web, shop = NamedMembers("app", "web"), NamedMembers("backend", "shop")
        self.assertEqual(owner_of(labels("web.app.bender")), NameOwner(web, above=web))
        self.assertEqual(owner_of(labels("shop.backend.bender")), NameOwner(shop, above=shop))

    def test_services(self) -> None:
        """The underscore of the first label is not part of the name; the last labels may also be an app's name."""
        found = owner_of(labels("_web._tcp.app.bender"))
        assert found is not None
        self.assertEqual(
            (found.services, found.addresses), (NamedMembers("app", "web"), NamedMembers("app", "_web._tcp"))
        )
        found = owner_of(labels("web._tcp.app.bender"))
        assert found is not None
        self.assertIsNone(found.services)

    def test_dots(self) -> None:
        """Labels before `app` form one name with dots, whether the dots are in a label or between labels."""
        for name in (labels("web.api.app.bender"), (b"web.api", b"app", b"bender")):
            found = owner_of(name)
            assert found is not None
            self.assertEqual(found.addresses, NamedMembers("app", "web.api"))
        found = owner_of(labels("_web.api._tcp.app.bender"))
        assert found is not None
        self.assertEqual(found.services, NamedMembers("app", "web.api"))

    def test_bytes_that_are_not_text(self) -> None:
        self.assertEqual(owner_of((b"\xff", b"app", b"bender")), NameOwner())

    def test_addresses(self) -> None:
        found = owner_of(labels("0a000005.addr.bender"))
        assert found is not None
        self.assertEqual((found.address, found.exists), (b"\x0a\x00\x00\x05", True))
        found = owner_of(labels("20010db8000000000000000000000005.addr.bender"))
        assert found is not None
        self.assertEqual(found.address, bytes.fromhex("20010db8000000000000000000000005"))
        for wrong in ("0a00000", "0a00000g", "0a0000055", "+a000005", "0a_00005", "x.0a000005"):
            self.assertEqual(owner_of(labels(f"{wrong}.addr.bender")), NameOwner(), wrong)

    def test_names_that_are_always_there(self) -> None:
        for name in ("bender", "ns.bender", "app.bender", "backend.bender", "addr.bender", "_tcp.app.bender"):
            found = owner_of(labels(name))
            assert found is not None
            self.assertTrue(found.exists, name)

    def test_long_names(self) -> None:
        """A name has records if it fits into a label, or if its dots divide it into valid labels."""
        for name, expected in (
            (62 * "x", True),
            (63 * "x", False),
            (f"{62 * 'x'}.{63 * 'y'}", True),
            (f"{63 * 'x'}.y", False),
            (f"x.{64 * 'y'}", False),
            (f"x..{60 * 'y'}", False),
            (32 * "ü", False),
            (".".join([57 * "x"] * 4)[:232], True),
            (".".join([58 * "x"] * 4)[:233], False),
        ):
            self.assertEqual(has_owner(name), expected, name)
            if expected and len(name) > 62:
                query = dns.name.from_text(f"_{name}._tcp.backend.bender.")
                found = owner_of(query.labels[:-1])
                assert found is not None
                self.assertEqual(found.services, NamedMembers("backend", name))

    def test_other_names(self) -> None:
        for name in ("web.bender", "_tcp.bender", "tcp.addr.bender", "ns.ns.bender"):
            self.assertEqual(owner_of(labels(name)), NameOwner(), name)
