"""Hints in errors about unknown names."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.did_you_mean import LISTED_MAX, name_hint, versions_by_app
from bender.client import Backend, Registration


class Names(SynchronousTestCase):
    def test_those_that_are_registered_and_those_that_backends_name(self) -> None:
        """Versions are those of registrations and backends, and of canaries."""
        web = Registration("registration/web/1/h/80", "web", "1", "h", 80, 10.0, 1, {}, 0, "n1")
        canary = {"version": "4", "percent": 5}
        shop = Backend("shop", "shop", "3", {"app": "shop", "version": "3", "canary": canary})
        self.assertEqual(versions_by_app([web], [shop]), {"web": {"1"}, "shop": {"3", "4"}})

    def test_near_ones_are_named(self) -> None:
        """The hint has similar names, or else all names up to a limit."""
        self.assertEqual(name_hint("wbe", ["web", "api"]), ", did you mean web?")
        self.assertEqual(name_hint("1.3.0", ["1.2.0", "1.3.1", "9"]), ", did you mean 1.3.1 or 1.2.0?")
        self.assertEqual(name_hint("zz", ["web", "api"]), "; known names: api, web")
        self.assertEqual(name_hint("zz", []), "; nothing is registered")
        many = [f"app{number:02}" for number in range(LISTED_MAX + 2)]
        self.assertTrue(name_hint("zz", many).endswith("app09, and 2 more"))
