"""Lists of registrations: short ones that are cached, and long ones in slices."""

from __future__ import annotations

import gzip
from hashlib import blake2b

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from bender.core.ledger import Claim
from bender.core.messages import ConfigSetting
from bender.core.view import View
from bender.node import listings
from bender.node.listings import REGISTRATIONS, ListForm, Listings, LongListing, gzip_pieces, portions


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
        self.view.configure(key, ConfigSetting(key, 1, 1, 0, "ops", b"drain", 60.0))

    def ports(self, body: bytes) -> list[int]:
        return [each["port"] for each in msgspec.json.decode(body)]


class Short(ListingCase):
    def test_kept(self) -> None:
        """A list is the same object until something in it changes."""
        self.show("web", 2, 1)
        self.show("api", 3)
        first = self.listings.short_listing("web", None)
        self.assertEqual(self.ports(first.body), [1, 2])
        self.show("api", 4)
        self.assertIs(self.listings.short_listing("web", None), first)
        self.show("web", 1, body=b'{"weight":2}')
        self.assertNotEqual(self.listings.short_listing("web", None).etag, first.etag)
        self.show("web", 1, 2, body=None)
        self.assertEqual(self.listings.short_listing("web", None).body, b"[]")
        self.assertEqual(self.ports(self.listings.short_listing(None, None).body), [3, 4])

    def test_an_operators_word(self) -> None:
        """An operator's state changes the list and its tag."""
        self.show("web", 1, 2)
        first = self.listings.short_listing("web", None)
        self.drain("web", 2)
        second = self.listings.short_listing("web", None)
        self.assertEqual([each["state"] for each in msgspec.json.decode(second.body)], ["up", "drain"])
        self.assertNotEqual(second.etag, first.etag)

    def test_what_is_kept_is_bounded(self) -> None:
        """The cache has a maximum of bytes: the list that was used least recently is dropped first."""
        self.patch(listings, "CACHE_BYTES_MAX", 700)
        for app in "abcd":
            self.show(app, 1)
        first, second = (self.listings.short_listing(app, None) for app in "ab")
        self.assertIs(self.listings.short_listing("a", None), first)
        for app in "cd":
            self.listings.short_listing(app, None)
        self.assertLessEqual(self.listings._cache_bytes, 700)
        self.assertEqual(self.listings._cache_bytes, sum(each.cache_bytes for _, each in self.listings._cache.values()))
        self.assertIsNot(self.listings.short_listing("b", None), second)

    def test_the_number_of_those_that_are_kept_is_bounded(self) -> None:
        self.patch(listings, "CACHED_MAX", 2)
        for app in "abc":
            self.show(app, 1)
            self.listings.short_listing(app, None)
        self.assertEqual([*self.listings._cache], [("b", None), ("c", None)])
        self.assertEqual(self.listings._cache_bytes, sum(each.cache_bytes for _, each in self.listings._cache.values()))

    def test_names_that_nothing_has(self) -> None:
        """Empty lists are not cached, because a client can ask for any number of them."""
        self.show("web", 1)
        for number in range(10):
            self.assertEqual(self.listings.short_listing(f"app-{number}", None).body, b"[]")
            self.assertEqual(self.listings.short_listing("web", str(number + 2)).body, b"[]")
        self.listings.short_listing("web", "1")
        self.view.show("registration/web/1/h/1", None, ())
        self.listings.short_listing("web", "1")
        self.assertEqual((self.listings._cache, self.listings._cache_bytes), ({}, 0))

    def test_gzipped(self) -> None:
        """A compressed list has the content of the plain one."""
        self.show("web", *range(1, 100))
        shown = self.listings.short_listing("web", "1")
        self.assertEqual(gzip.decompress(shown.gzipped), shown.body)
        self.assertLess(len(shown.gzipped), len(shown.body) / 5)


class Longest(ListingCase):
    """Lists that are too long to be made of one instant."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(listings, "AT_ONCE_MAX", 3)
        self.patch(listings, "OF_ONE_INSTANT_MAX", 3)
        self.patch(listings, "SLICE", 2)

    def test_which(self) -> None:
        """A list is long if it has more registrations than the limit."""
        self.show("web", 1, 2, 3)
        self.assertFalse(self.listings.is_long(None, None))
        self.show("api", 1)
        self.assertTrue(self.listings.is_long(None, None))
        self.assertFalse(self.listings.is_long("web", None))

    def test_in_slices(self) -> None:
        """The list is in order, has the announced length, and has the tag of the present state."""
        self.show("web", 5, 3, 1)
        self.show('we"b', 4)
        self.show("wéb", 2)
        long = self.listings.long_listing(None, None)
        self.assertEqual(len([*long.steps()]), 3)
        body = b"".join(long.pieces())
        self.assertEqual(self.ports(body), [4, 1, 3, 5, 2])
        self.assertEqual(len(body), long.length)
        again = self.listings.long_listing(None, None)
        self.assertEqual([len([*again.steps()]), again.etag], [3, long.etag])

    def test_selected(self) -> None:
        """A condition leaves out other registrations."""
        self.show("web", 1, 3, 5)
        self.show("web", 2, 4, body=b'{"weight":0}')
        long = self.listings.long_listing("web", None, lambda terms: b"0" in terms)
        self.assertEqual(len([*long.steps()]), 3)
        body = b"".join(long.pieces())
        self.assertEqual((self.ports(body), long.length), ([2, 4], len(body)))

    def test_none_selected(self) -> None:
        """A list without registrations is an empty array."""
        self.show("web", 1, 2, 3, 4)
        long = self.listings.long_listing(None, None, lambda terms: False)
        self.assertEqual(len([*long.steps()]), 3)
        self.assertEqual((b"".join(long.pieces()), long.length), (b"[]", 2))

    def test_changed_meanwhile(self) -> None:
        """If a registration changes while a list is made, the list gets a tag that no other list has."""
        self.show("web", 1, 2, 3, 4)
        before, changed = (LongListing(self.view, "start", REGISTRATIONS, (None, None), None) for _ in range(2))
        self.assertEqual(len([*before.steps()]), 3)
        steps = changed.steps()
        next(steps)
        self.show("web", 1, body=b'{"weight":2}')
        self.assertEqual(len([*steps]), 2)
        after = self.listings.long_listing(None, None)
        self.assertEqual(len([*after.steps()]), 3)
        self.assertEqual(len({before.etag, changed.etag, after.etag}), 3)

    def test_states_are_those_of_its_beginning(self) -> None:
        """The states are those at the beginning of the list, so its announced length stays right."""
        self.show("web", 1, 2, 3)
        self.drain("web", 1)
        long = self.listings.long_listing(None, None)
        self.assertEqual(len([*long.steps()]), 3)
        self.drain("web", 2)
        body = b"".join(long.pieces())
        self.assertEqual([each["state"] for each in msgspec.json.decode(body)], ["drain", "up", "up"])
        self.assertEqual(long.length, len(body))

    def test_gzipped(self) -> None:
        """A long list is compressed in pieces."""
        self.show("web", *range(1, 10))
        long = self.listings.long_listing(None, None)
        self.assertEqual(len([*long.steps()]), 5)
        self.assertEqual(self.ports(gzip.decompress(b"".join(gzip_pieces(long.pieces())))), [*range(1, 10)])


class OtherForms(ListingCase):
    """Lists in another form, each entry of which costs twice as much."""

    def setUp(self) -> None:
        super().setUp()
        self.form = ListForm(lambda key, *_: b'"%b"' % key.encode(), 2, lambda key, *_: len(key) + 2)
        self.other = self.listings.in_form(self.form)
        self.patch(listings, "AT_ONCE_MAX", 4)
        self.patch(listings, "SLICE", 4)

    def test_the_form(self) -> None:
        """A form shows the same registrations, and does not affect the lists in other forms."""
        self.show("web", 2, 1)
        self.assertEqual(
            self.other.short_listing("web", None).body, b'["registration/web/1/h/1","registration/web/1/h/2"]'
        )
        self.assertEqual(self.ports(self.listings.short_listing("web", None).body), [1, 2])

    def test_half_as_many_are_shown_in_one_go(self) -> None:
        """A list with more than half of the usual limit is long."""
        self.show("web", 1, 2)
        self.assertFalse(self.other.is_long("web", None))
        self.show("web", 3)
        self.assertTrue(self.other.is_long("web", None))
        self.assertFalse(self.listings.is_long("web", None))

    def test_a_slice_has_half_as_many(self) -> None:
        """A slice has half as many registrations and bytes, also in the longest lists."""
        self.show("web", *range(1, 9))
        for of_one_instant in (8, 7):
            self.patch(listings, "OF_ONE_INSTANT_MAX", of_one_instant)
            long = LongListing(self.view, "start", self.form, (None, None), None)
            self.assertEqual(len([*long.steps()]), 5)
            pieces = [*long.pieces()]
            self.assertEqual([piece.count(b"registration") for piece in pieces], [2, 2, 2, 2, 0])
            self.assertEqual(sum(map(len, pieces)), long.length)
        claims = [*self.view.groups("web")[0].values()]
        self.patch(listings, "SLICE_BYTES", 2 * len(claims[0].body))
        self.assertEqual([len(each) for each in portions(claims)], [2] * 4)
        self.assertEqual([len(each) for each in portions(claims, cost=2)], [1] * 8)


class OfOneInstant(ListingCase):
    """Lists that are made in slices, and are the same as lists made in one step."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(listings, "AT_ONCE_MAX", 3)
        self.patch(listings, "SLICE", 2)

    def made(self, long: LongListing) -> bytes:
        for _ in long.steps():
            pass
        body = b"".join(long.pieces())
        self.assertEqual((len(body), long.etag), (long.length, blake2b(body, digest_size=12).hexdigest()))
        self.assertEqual(long.as_listing().body, body)
        return body

    def test_the_same(self) -> None:
        """The content and the tag are those of a short list."""
        self.show("web", 5, 3, 1)
        self.show("api", 4, 2)
        self.drain("web", 3)
        body = self.made(self.listings.long_listing(None, None))
        self.patch(listings, "AT_ONCE_MAX", 5)
        self.assertEqual(Listings(self.view, "other").short_listing(None, None).body, body)

    def test_selected(self) -> None:
        """A condition selects registrations, and may select none."""
        self.show("web", 1, 3, 5)
        self.show("web", 2, 4, body=b'{"weight":0}')
        body = self.made(self.listings.long_listing("web", None, lambda terms: b"0" in terms))
        self.assertEqual(self.ports(body), [2, 4])
        self.assertEqual(self.made(self.listings.long_listing("web", None, lambda terms: False)), b"[]")

    def test_in_slices(self) -> None:
        """A step looks at no more registrations and bytes than a slice may have."""
        looked_at: list[bytes] = []

        def admits(terms: bytes) -> bool:
            looked_at.append(terms)
            return True

        self.show("web", *range(1, 8))
        long = self.listings.long_listing("web", None, admits)
        for _ in long.steps():
            self.assertLessEqual(len(looked_at), 2)
            looked_at.clear()
        self.patch(listings, "SLICE_BYTES", 12)
        self.assertEqual([len(each) for each in portions([*self.view.groups("web")[0].values()])], [1] * 7)

    def test_changed_meanwhile(self) -> None:
        """Changes during the making of a list are not in it."""
        self.show("web", 1, 2, 3, 4, 5)
        long = self.listings.long_listing(None, None)
        steps = long.steps()
        next(steps)
        self.show("web", 5, body=None)
        self.show("web", 6)
        self.assertEqual(self.ports(self.made(long)), [1, 2, 3, 4, 5])
        self.assertIsNone(self.listings.cached_long_listing(None, None))

    def test_kept(self) -> None:
        """A list is made once until a registration in it changes, also for simultaneous requests."""
        self.show("web", 1, 2, 3, 4)
        first, second = (self.listings.long_listing("web", None) for _ in range(2))
        self.assertIs(first, second)
        self.assertIsNone(self.listings.cached_long_listing("web", None))
        steps = first.steps()
        next(steps)
        self.made(second)
        self.assertEqual([*steps], [])
        self.assertIs(self.listings.cached_long_listing("web", None), first)
        deflated = b"".join(first.gzipped())
        self.assertEqual(gzip.decompress(deflated), b"".join(first.pieces()))
        self.assertEqual(b"".join(first.gzipped()), deflated)
        self.show("web", 5)
        self.assertIsNone(self.listings.cached_long_listing("web", None))
        self.assertEqual(self.listings._cache_bytes, 0)

    def test_what_is_kept_is_bounded(self) -> None:
        """A list that would take most of the cache is not cached."""
        self.patch(listings, "CACHE_BYTES_MAX", 1000)
        self.show("web", 1, 2, 3, 4)
        self.made(self.listings.long_listing("web", None))
        self.assertIsNone(self.listings.cached_long_listing("web", None))
        self.assertEqual((self.listings._cache_bytes, self.listings._making), (0, {}))

    def test_given_up(self) -> None:
        """Unfinished lists are forgotten if there are too many."""
        self.patch(listings, "UNFINISHED_MAX", 2)
        for app in "abc":
            self.show(app, 1, 2, 3, 4)
            next(self.listings.long_listing(app, None).steps())
        self.assertEqual(len(self.listings._making), 2)

    def test_one_fails(self) -> None:
        """If the making of a list fails, each request for the list fails."""
        self.show("web", 1, 2, 3, 4, body=b"{")
        failing = self.listings.in_form(ListForm(lambda *_: b"%d" % (1 / 0)))
        first, second = failing.long_listing("web", None).steps(), failing.long_listing("web", None).steps()
        self.assertRaises(ZeroDivisionError, next, first)
        self.assertRaises(RuntimeError, next, second)
