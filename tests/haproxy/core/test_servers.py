"""The servers of a backend, and how much of the load each gets."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.registry import Registry
from bender.haproxy.core.servers import Ramps, desired_servers
from bender.haproxy.core.settings import parse_backend
from tests.haproxy.events import HOSTILE, backend, online, server


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


class Growing(SynchronousTestCase):
    """The weight of a new member in a backend with `slow_start`."""

    def setUp(self) -> None:
        self.ramps = Ramps()
        self.old = server("a")
        self.ramps.start_at_full_weight("shop", [self.old])

    def weights(self, now: float, slow_start_s: float = 10, weight: int = 1) -> tuple[list[int], float | None]:
        both = [self.old, server("b", weight=weight)]
        ramped, next_at = self.ramps.ramp("shop", both, slow_start_s, now)
        return [each.weight for each in ramped], next_at

    def test_it_grows_in_steps(self) -> None:
        """A member from the beginning has its full weight at once."""
        self.assertEqual(self.weights(100), ([256, 25], 101))
        self.assertEqual(self.weights(100.9), ([256, 25], 101))
        self.assertEqual(self.weights(104), ([256, 128], 105))
        self.assertEqual(self.weights(108.9999999), ([256, 256], None))
        self.assertEqual(self.weights(1e9), ([256, 256], None))

    def test_every_time_that_is_named_changes_something(self) -> None:
        """Otherwise a timer would fire without end."""
        now: float | None = 1795661893.1
        seen = []
        while now is not None:
            weights, now = self.weights(now, slow_start_s=0.7)
            seen.append(weights[1])
        self.assertEqual(seen, [25, 51, 76, 102, 128, 153, 179, 204, 230, 256])

    def test_a_slow_start_that_is_none(self) -> None:
        """No weight exceeds the largest one, however short the slow start is."""
        for slow_start_s in (5e-324, 1e-300, 1e-7, 1e-6, 9.9e-6):
            self.ramps.ramp("shop", [self.old], 10, 0)
            self.assertLessEqual(max(self.weights(0, slow_start_s)[0]), 256, slow_start_s)

    def test_without_slow_start(self) -> None:
        """Members have the weights of their registrations."""
        self.assertEqual(self.weights(0, slow_start_s=0), ([1, 1], None))

    def test_one_that_gets_nothing(self) -> None:
        """A member with weight 0 gets no requests."""
        self.assertEqual(self.weights(0, weight=0)[0], [256, 0])

    def test_one_that_went_and_came_back(self) -> None:
        """A member that comes back starts slowly again."""
        self.weights(0)
        self.ramps.ramp("shop", [self.old], 10, 20)
        self.assertEqual(self.weights(30)[0], [256, 25])
