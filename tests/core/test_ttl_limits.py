"""The shortest and the longest ttl of a registration."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.invalid import Invalid
from bender.core.ttl_limits import TTL_S_MAX, require_ttl, ttl_s_min


class Limits(SynchronousTestCase):
    def test_limits(self) -> None:
        """The minimum is four intervals, the maximum one hour."""
        self.assertEqual((ttl_s_min(0.25), ttl_s_min(2.0), TTL_S_MAX), (1.0, 8.0, 3600.0))

    def test_ttls_between_them(self) -> None:
        """Both limits are accepted."""
        for ttl_s in (8.0, 10.0, 3600.0):
            require_ttl(ttl_s, 2.0)

    def test_others(self) -> None:
        """A ttl outside the limits is refused with both of them."""
        for ttl_s in (7.9, 3600.1):
            error = self.assertRaises(Invalid, require_ttl, ttl_s, 2.0)
            self.assertEqual(str(error), "ttl: must be 8 to 3600 seconds")
