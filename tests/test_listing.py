"""Lists: short ones that are kept, and long ones in slices."""

from __future__ import annotations

import gzip

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from bender import listing
from bender.core.ledger import Claim
from bender.core.messages import Setting
from bender.core.view import View
from bender.listing import Listings, gzip_pieces


class ListingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.view = View()
        self.listings = Listings(self.view, "start")

    def show(self, app: str, *ports: int, body: bytes | None = b'{"weight":1}') -> None:
        for port in ports:
            key = f"registration/{app}/1/h/{port}"
            self.view.show(key, None if body is None else Claim(1, 1, key, body, 10.0, 1, 1, port), ())

    def drain(self, app: str, port: int) -> None:
        key = f"state/{app}/1/h/{port}"
        self.view.configure(key, Setting(key, 1, 1, 0, "ops", b"drain", 60.0))

    def ports(self, body: bytes) -> list[int]:
        return [each["port"] for each in msgspec.json.decode(body)]


class Short(ListingCase):
    def test_kept(self) -> None:
        """A list is the same object until something in it changes."""
        self.show("web", 2, 1)
        self.show("api", 3)
        first = self.listings.listing("web", None)
        self.assertEqual(self.ports(first.body), [1, 2])
        self.show("api", 4)
        self.assertIs(self.listings.listing("web", None), first)
        self.show("web", 1, body=b'{"weight":2}')
        self.assertNotEqual(self.listings.listing("web", None).etag, first.etag)
        self.show("web", 1, 2, body=None)
        self.assertEqual(self.listings.listing("web", None).body, b"[]")
        self.assertEqual(self.ports(self.listings.listing(None, None).body), [3, 4])

    def test_an_operators_word(self) -> None:
        """It is a change of the list."""
        self.show("web", 1, 2)
        first = self.listings.listing("web", None)
        self.drain("web", 2)
        second = self.listings.listing("web", None)
        self.assertEqual([each["state"] for each in msgspec.json.decode(second.body)], ["up", "drain"])
        self.assertNotEqual(second.etag, first.etag)

    def test_what_is_kept_is_bounded(self) -> None:
        """The list that was not asked for for the longest time goes first."""
        self.patch(listing, "KEPT_BYTES_MAX", 700)
        for app in "abcd":
            self.show(app, 1)
        first, second = (self.listings.listing(app, None) for app in "ab")
        self.assertIs(self.listings.listing("a", None), first)
        for app in "cd":
            self.listings.listing(app, None)
        self.assertLessEqual(self.listings._kept_bytes, 700)
        self.assertEqual(self.listings._kept_bytes, sum(each.kept_bytes for _, each in self.listings._kept.values()))
        self.assertIsNot(self.listings.listing("b", None), second)

    def test_gzipped(self) -> None:
        """It inflates to the same."""
        self.show("web", *range(1, 100))
        shown = self.listings.listing("web", "1")
        self.assertEqual(gzip.decompress(shown.gzipped), shown.body)
        self.assertLess(len(shown.gzipped), len(shown.body) / 5)


class Long(ListingCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(listing, "AT_ONCE_MAX", 3)
        self.patch(listing, "SLICE", 2)
        self.patch(listing, "PIECE", 2)

    def test_which(self) -> None:
        """Above so many registrations in it."""
        self.show("web", 1, 2, 3)
        self.assertFalse(self.listings.is_long(None, None))
        self.show("api", 1)
        self.assertTrue(self.listings.is_long(None, None))
        self.assertFalse(self.listings.is_long("web", None))

    def test_in_slices(self) -> None:
        """The whole is in order, as long as was said, and its tag is that of the present state."""
        self.show("web", 5, 3, 1)
        self.show('we"b', 4)
        self.show("wéb", 2)
        long = self.listings.long_listing(None, None)
        self.assertEqual(len([*long.steps()]), 2)
        body = b"".join(long.pieces())
        self.assertEqual(self.ports(body), [4, 1, 3, 5, 2])
        self.assertEqual(len(body), long.length)
        again = self.listings.long_listing(None, None)
        self.assertEqual([len([*again.steps()]), again.etag], [2, long.etag])

    def test_selected(self) -> None:
        """With a condition the others are left out."""
        self.show("web", 1, 3, 5)
        self.show("web", 2, 4, body=b'{"weight":0}')
        long = self.listings.long_listing("web", None, lambda terms: b"0" in terms)
        self.assertEqual(len([*long.steps()]), 2)
        body = b"".join(long.pieces())
        self.assertEqual((self.ports(body), long.length), ([2, 4], len(body)))

    def test_none_selected(self) -> None:
        """Nothing is an array too."""
        self.show("web", 1, 2, 3, 4)
        long = self.listings.long_listing(None, None, lambda terms: False)
        self.assertEqual(len([*long.steps()]), 2)
        self.assertEqual((b"".join(long.pieces()), long.length), (b"[]", 2))

    def test_changed_meanwhile(self) -> None:
        """What changes while it is made makes its tag one that will never be right again."""
        self.show("web", 1, 2, 3, 4)
        changed, before = self.listings.long_listing(None, None), self.listings.long_listing(None, None)
        self.assertEqual(len([*before.steps()]), 2)
        steps = changed.steps()
        next(steps)
        self.show("web", 1, body=b'{"weight":2}')
        self.assertEqual(len([*steps]), 1)
        after = self.listings.long_listing(None, None)
        self.assertEqual(len([*after.steps()]), 2)
        self.assertEqual(len({before.etag, changed.etag, after.etag}), 3)

    def test_states_are_those_of_its_beginning(self) -> None:
        """So its length is what was said before, whatever operators say while it is sent."""
        self.show("web", 1, 2, 3)
        self.drain("web", 1)
        long = self.listings.long_listing(None, None)
        self.assertEqual(len([*long.steps()]), 1)
        self.drain("web", 2)
        body = b"".join(long.pieces())
        self.assertEqual([each["state"] for each in msgspec.json.decode(body)], ["drain", "up", "up"])
        self.assertEqual(long.length, len(body))

    def test_gzipped(self) -> None:
        """Piece by piece, too."""
        self.show("web", *range(1, 10))
        long = self.listings.long_listing(None, None)
        self.assertEqual(len([*long.steps()]), 4)
        self.assertEqual(self.ports(gzip.decompress(b"".join(gzip_pieces(long.pieces())))), [*range(1, 10)])
