"""The servers of a backend, with their names and final weights."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.registry import Registry
from bender.haproxy.core.servers import desired_servers
from bender.haproxy.core.settings import parse_backend
from tests.haproxy.events import HOSTILE, backend, online


class Serving(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = Registry()
        for said in (online(1), online(2, state="drain"), online(3, "2"), online(4, HOSTILE)):
            self.registry.receive(said, 0)

    def by_name(self, **fields: Any) -> dict[str, tuple[int, str]]:
        servers, self.unknown = desired_servers(
            self.registry, parse_backend(backend("shop", **fields).body), self.address_of
        )
        return {each.name: (each.weight, each.state) for each in servers}

    def address_of(self, host: str) -> str | None:
        return None if host == "unknown" else host

    def test_members_with_their_states(self) -> None:
        """A drained member gets no requests."""
        self.assertEqual(self.by_name(), {"1:10.0.0.1:1": (1, "up"), "1:10.0.0.1:2": (0, "drain")})

    def test_a_canary(self) -> None:
        """The canary gets its share of all requests."""
        weights = self.by_name(canary={"version": "2", "percent": 20})
        self.assertEqual(weights["2:10.0.0.1:3"][0] * 4, weights["1:10.0.0.1:1"][0])

    def test_fixed_servers(self) -> None:
        """Fixed servers have names that no member can have."""
        self.assertEqual([*self.by_name(servers=["10.0.0.9:80"])], ["10.0.0.9:80", "1:10.0.0.1:1", "1:10.0.0.1:2"])

    def test_hostile_versions(self) -> None:
        """Each hostile version gets a valid name."""
        (name,) = self.by_name(version=HOSTILE)
        self.assertRegex(name, r"^[A-Za-z0-9.-]+__[a-z2-7]{26}$")

    def test_a_host_without_an_address(self) -> None:
        """The member is reported, and counts in the weights."""
        self.registry.receive(online(5, host="unknown"), 0)
        self.assertEqual(self.by_name()["1:unknown:5"], (1, "up"))
        self.assertEqual(self.unknown, ["registration/web/1/unknown/5"])
