"""What a name that nobody knows may have been meant to be."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.similar_names import LISTED_MAX, nearest, versions_by_app
from bender.client import Backend, Registration


class Names(SynchronousTestCase):
    def test_those_that_are_registered_and_those_that_backends_name(self) -> None:
        """A canary's version as well."""
        web = Registration("registration/web/1/h/80", "web", "1", "h", 80, 10.0, 1, {}, 0, "n1")
        canary = {"version": "4", "percent": 5}
        shop = Backend("shop", "shop", "3", {"app": "shop", "version": "3", "canary": canary})
        self.assertEqual(versions_by_app([web], [shop]), {"web": {"1"}, "shop": {"3", "4"}})

    def test_near_ones_are_named(self) -> None:
        """Otherwise all that there are, up to a number."""
        self.assertEqual(nearest("wbe", ["web", "api"]), "; the nearest is web")
        self.assertEqual(nearest("1.3.0", ["1.2.0", "1.3.1", "9"]), "; the nearest are 1.3.1, 1.2.0")
        self.assertEqual(nearest("zz", ["web", "api"]), "; known names: api, web")
        self.assertEqual(nearest("zz", []), "; nothing is registered")
        many = [f"app{number:02}" for number in range(LISTED_MAX + 2)]
        self.assertTrue(nearest("zz", many).endswith("app09, and 2 more"))
