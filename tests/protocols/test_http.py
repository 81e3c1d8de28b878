"""Protocols at the API of a node: their routes, and the option to switch them off."""

from __future__ import annotations

from bender.api import site
from bender.protocols.http import PROTOCOLS, routes_of
from tests.api.conversation import ApiCase


class Disabled(ApiCase):
    """A protocol that is switched off leaves nothing behind."""

    def paths(self, *disabled: str) -> list[str]:
        return [route.path for route in routes_of(self.node, disabled)]

    def test_all_are_on_at_first(self) -> None:
        """By default all protocols are on, and no path is used twice."""
        self.assertIn("/sd/prometheus", self.paths())
        self.assertEqual(len({*self.paths()}), len(self.paths()))

    def test_one_is_off(self) -> None:
        """If one protocol is off, the others stay."""
        for name in PROTOCOLS:
            own = {*self.paths()} - {*self.paths(name)}
            self.assertEqual({*self.paths(*(PROTOCOLS.keys() - {name}))}, own)
            self.assertTrue(own, name)
        self.assertEqual(self.paths(*PROTOCOLS), [])

    def test_its_path_does_not_exist(self) -> None:
        self.site = site(self.node, self.clock, routes=routes_of(self.node, ["prometheus"]))
        self.assertEqual(self.refused("NOT_FOUND", self.ask("GET", "/sd/prometheus")), "the API has no such path")
