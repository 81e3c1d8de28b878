"""Registrations with the same host and port, and when they are a conflict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.address_conflicts import (
    ADDRESSES_PER_LOOK,
    KEYS_MAX,
    AddressConflicts,
    AddressIndex,
    ConflictChanges,
    address_of,
)
from bender.core.ledger import Claim
from bender.core.timing import Timing
from bender.core.view import View

HERE = "10.0.0.5/80"
WEB, API, NEW = (f"registration/{version}/{HERE}" for version in ("web/1", "api/1", "web/2"))

#: Few apps, versions, hosts and ports, so that many keys share an address, and some hosts have equal endings.
keys = st.builds(
    "registration/{}/{}/{}/{}".format,
    st.sampled_from(["web", "10.0.0.5"]),
    st.sampled_from(["1", "5"]),
    st.sampled_from(["10.0.0.5", "0.5", "::5"]),
    st.sampled_from(["80", "8", "0"]),
)


class Index(SynchronousTestCase):
    @given(st.lists(keys))
    def test_finds_what_a_look_at_all_of_them_does(self, toggled: list[str]) -> None:
        """Each address has the keys that are present, in any sequence of additions and removals."""
        index, present, changed, shared = AddressIndex(), set[str](), set[str](), set[str]()
        for key in toggled:
            (index.discard if key in present else index.add)(key, address_of(key))
            present ^= {key}
            at = {address: tuple(sorted(filter(lambda key: address_of(key) == address, present)))
                  for address in map(address_of, toggled)}  # fmt: skip
            self.assertEqual({address: index.at(address) for address in at}, at)
            changed |= {*index.take_changed()}
            shared |= {address for address, found in at.items() if len(found) > 1}
            self.assertEqual(changed, shared)

    def test_two_addresses_with_one_hash(self) -> None:
        """Two addresses with the same hash are distinguished."""

        class Address(str):
            __slots__ = ()

            def __hash__(self) -> int:
                return 7

        index = AddressIndex()
        others = WEB.replace("0.5", "0.6")
        index.add(WEB, Address(HERE))
        index.add(others, Address(address_of(others)))
        self.assertEqual(index.at(Address(HERE)), (WEB,))
        index.discard(WEB, Address(HERE))
        self.assertEqual(index.at(Address(address_of(others))), (others,))

    def test_what_has_changed(self) -> None:
        """An address is returned when a key is added or removed there, if several keys have or had it."""
        index = AddressIndex()
        index.add(WEB, HERE)
        self.assertEqual(index.take_changed(), [])
        for do, key in ((index.add, API), (index.add, NEW), (index.discard, WEB), (index.discard, API)):
            do(key, HERE)
            self.assertEqual((index.take_changed(), index.take_changed()), ([HERE], []))
        index.discard(NEW, HERE)
        self.assertEqual(index.take_changed(), [])


class Shown(SynchronousTestCase):
    """The view updates the index of addresses."""

    def show(self, view: View, key: str, *, body: bytes = b"{}") -> None:
        view.show(key, Claim(1, 1, key, body, 10.0, 1, 1, 1), ())

    def test_what_comes_changes_and_goes(self) -> None:
        view = View()
        self.show(view, WEB)
        self.show(view, API)
        self.show(view, API, body=b"new")
        self.assertEqual(view.addresses.at(HERE), (API, WEB))
        view.show(API, None, (), lost=True)
        self.assertEqual(view.addresses.at(HERE), (WEB,))
        view.show(WEB, None, ())
        self.assertEqual(view.addresses.at(HERE), ())


class Conflicts(SynchronousTestCase):
    """Rounds are one second apart, and ttls are 10 s unless a test sets others."""

    def setUp(self) -> None:
        self.index = AddressIndex()
        self.ttls: dict[str, float] = {}
        self.conflicts = AddressConflicts(self.index, lambda key: self.ttls.get(key, 10.0), Timing())

    def add(self, *keys: str) -> None:
        for key in keys:
            self.index.add(key, address_of(key))

    def look(self, now: float) -> ConflictChanges:
        return self.conflicts.find_changes(now)

    def test_two_that_stay(self) -> None:
        """Two registrations are in conflict after both must have been renewed, and the conflict is reported once."""
        self.add(WEB)
        self.look(0)
        self.add(API)
        self.assertEqual((self.look(100), self.look(114.9)), (ConflictChanges(), ConflictChanges()))
        self.assertEqual(self.look(115), ConflictChanges(begun=(HERE,)))
        self.assertEqual(self.conflicts.current, {HERE: (API, WEB)})
        self.assertEqual(self.look(200), ConflictChanges())

    def test_one_that_goes(self) -> None:
        """A conflict is over as soon as one of the registrations ends."""
        self.add(WEB, API)
        self.look(0)
        self.look(15)
        self.index.discard(WEB, HERE)
        self.assertEqual(self.look(15.2), ConflictChanges(over=(HERE,)))
        self.assertEqual((self.conflicts.current, self.look(100)), ({}, ConflictChanges()))

    def test_a_new_version_at_the_port_of_the_old_one(self) -> None:
        """A new version at the port of the old one is not a conflict, because the old one expires within its ttl."""
        self.add(WEB)
        for now, old, new in ((0, WEB, NEW), (12, NEW, WEB), (24, WEB, NEW)):
            self.add(new)
            self.look(now)
            self.index.discard(old, HERE)
            self.assertEqual(self.look(now + 11), ConflictChanges())
        self.assertEqual(self.look(1000), ConflictChanges())

    def test_the_longest_ttl_counts(self) -> None:
        """The longest ttl decides, because a registration is listed that long without a renewal."""
        self.ttls[WEB] = 60.0
        self.add(WEB, API)
        self.look(0)
        self.assertEqual(self.look(64.9), ConflictChanges())
        self.assertEqual(self.look(65), ConflictChanges(begun=(HERE,)))

    def test_a_third(self) -> None:
        """A third registration is added to a conflict after the same time, and not before."""
        self.add(WEB, API)
        self.look(0)
        self.look(15)
        self.add(NEW)
        self.assertEqual(self.look(16), ConflictChanges())
        self.assertEqual(self.look(31), ConflictChanges(begun=(HERE,)))
        self.assertEqual(self.conflicts.current, {HERE: (API, WEB, NEW)})
        self.index.discard(API, HERE)
        self.assertEqual(self.look(32), ConflictChanges(begun=(HERE,)))

    def test_nothing_is_kept_of_what_is_gone(self) -> None:
        """A registration that comes and goes often leaves only one time at which its address is checked."""
        self.ttls[WEB] = 3600.0
        self.add(WEB)
        for now in range(1000):
            self.add(API)
            self.look(now)
            self.index.discard(API, HERE)
            self.look(now + 0.5)
        self.assertEqual((self.conflicts._since, len(self.conflicts._due)), ({}, 1))
        self.look(5000)
        self.assertEqual((self.conflicts._due, self.conflicts._due_at), ([], {}))


class Many(SynchronousTestCase):
    """Large numbers of conflicts do not slow a node down."""

    def setUp(self) -> None:
        self.index = AddressIndex()
        self.conflicts = AddressConflicts(self.index, lambda _key: 10.0, Timing())

    def test_at_one_address(self) -> None:
        """The first keys of an address are reported, and an addition or removal does not read the other keys."""
        keys = [f"registration/web/{number}/{HERE}" for number in range(KEYS_MAX + 50)]
        with self.not_looked_at():
            for key in (WEB, *keys):
                self.index.add(key, HERE)
            self.index.discard(WEB, HERE)
        first = tuple(sorted(keys[:KEYS_MAX]))
        self.assertEqual(self.index.at(HERE), first)
        self.conflicts.find_changes(0)
        self.assertEqual(self.conflicts.find_changes(15), ConflictChanges(begun=(HERE,)))
        self.assertEqual(self.conflicts.current, {HERE: first})

    @contextmanager
    def not_looked_at(self) -> Iterator[None]:
        patched = self.patch(AddressIndex, "at", None)
        yield
        patched.restore()

    def test_at_many_addresses(self) -> None:
        """One call checks a limited number of addresses, and the next calls check the others."""
        addresses = [f"10.0.{number // 256}.{number % 256}/80" for number in range(ADDRESSES_PER_LOOK * 5 // 2)]
        for address in addresses:
            for app in ("web", "api"):
                self.index.add(f"registration/{app}/1/{address}", address)
        for _ in range(3):
            self.assertEqual(self.conflicts.find_changes(0), ConflictChanges())
        begun = [self.conflicts.find_changes(20).begun for _ in range(3)]
        self.assertEqual([*map(len, begun)], [2 * ADDRESSES_PER_LOOK, ADDRESSES_PER_LOOK // 2, 0])
        self.assertEqual(sorted(sum(begun, ())), sorted(addresses))
