"""Names that HAProxy accepts."""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.names import PLAIN_CHARACTERS_MAX, safe
from tests.haproxy.events import HOSTILE

NAMES = ["a", "a.b", "a-b", "a_b", "a__b", "a b", "a:b", "a:b:c", "b", "c", "", "é", HOSTILE, "x" * 81, "x" * 255]


class Safe(SynchronousTestCase):
    def test_what_haproxy_takes_stays_as_it_is(self) -> None:
        """A name that HAProxy accepts stays unchanged, so that operators recognize it."""
        self.assertEqual(safe("shop-1.2_x"), "shop-1.2_x")
        self.assertEqual(safe("1.2.0", "10.0.0.5", "8080"), "1.2.0:10.0.0.5:8080")

    def test_what_it_does_not_take_keeps_what_is_readable(self) -> None:
        """The valid characters of another name are kept, and a hash makes the name unique."""
        self.assertRegex(safe("my shop"), r"^my-shop__[a-z2-7]{26}$")

    def test_a_name_that_looks_like_a_made_one_is_not_kept(self) -> None:
        """A name that looks like a generated name is changed, so that it cannot replace another name."""
        made = safe("my shop")
        self.assertNotEqual(safe(made), made)

    def test_different_things_have_different_names(self) -> None:
        """Different things have different names, even if their joined parts are equal texts."""
        things = [(one,) for one in NAMES] + [*product(NAMES, NAMES)] + [*product(NAMES, ["a", "b:c"], NAMES)]
        self.assertEqual(len({safe(*thing) for thing in things}), len({*things}))

    @given(st.lists(st.text(max_size=255), min_size=1, max_size=3))
    def test_any_name_becomes_one_of_bounded_length(self, parts: list[str]) -> None:
        """Any name becomes a name of bounded length, in characters that HAProxy allows."""
        name = safe(*parts)
        self.assertTrue(re.fullmatch(r"[A-Za-z0-9_.:-]+", name), name)
        self.assertLessEqual(len(name), PLAIN_CHARACTERS_MAX)
