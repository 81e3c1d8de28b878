"""The plan of `bender run`: registrations that are refused before the command starts."""

from __future__ import annotations

from math import inf, nan
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.core.invalid import Invalid
from bender.run import RunPlan


def plan(**fields: Any) -> RunPlan:
    return RunPlan(**{"app": "web", "version": "1", "port": 8080, **fields})


class Validity(SynchronousTestCase):
    def problem(self, interval_s: float = 1, **fields: Any) -> str:
        return str(self.assertRaises(Invalid, plan(**fields).require_valid, interval_s))

    def test_what_nodes_accept(self) -> None:
        """Registrations that nodes accept are accepted, including the limits themselves."""
        for fields in (
            {},
            {"app": "ü b", "version": "1%2F", "host": "Web-1.example."},
            {"host": "2001:db8::1", "ttl_s": 4, "weight": 256, "meta": {"zone": "a", "tags": [1]}},
            {"host": "127.0.0.1", "ttl_s": 3600, "weight": 0, "meta": {"x": "y" * 3500}, "check_path": "/a?b=c"},
        ):
            plan(**fields).require_valid()

    def test_names(self) -> None:
        """App and version follow the rules of the API."""
        self.assertIn("app: must be printable characters without /", self.problem(app="we/b"))
        self.assertIn("version: must have 1 to 255 characters", self.problem(version=""))

    def test_hosts(self) -> None:
        """A URL is refused as a host, and so is an address at which no client can reach the instance."""
        for host in ("http://10.0.0.5", "10.0.0.5:80", "[::1]", "10.0.0.256", "fe80::1%eth0"):
            self.assertIn("host: must be a", self.problem(host=host))
        for host in ("0.0.0.0", "::", "224.0.0.1", "255.255.255.255"):
            self.assertIn(
                "host: must be an address at which clients reach the instance, not the", self.problem(host=host)
            )

    def test_numbers(self) -> None:
        """The smallest ttl depends on the interval of the nodes."""
        self.assertEqual(self.problem(ttl_s=2), "ttl: must be 4 to 3600 seconds")
        self.assertEqual(self.problem(ttl_s=3601), "ttl: must be 4 to 3600 seconds")
        self.assertEqual(self.problem(0.25, ttl_s=0.5), "ttl: must be 1 to 3600 seconds")
        plan(ttl_s=2).require_valid(0.5)
        for number in (nan, inf, -inf):
            self.assertIn("ttl: must be", self.problem(ttl_s=number))
        self.assertIn("weight: ", self.problem(weight=257))
        self.assertIn("port: ", self.problem(port=65_536))

    def test_when_nodes_have_to_be_asked(self) -> None:
        """Nodes are only asked for their interval if the ttl is too short for the usual interval."""
        asked = {ttl_s: plan(ttl_s=ttl_s).needs_short_interval for ttl_s in (None, -1, 0, 0.2, 3.9, 4, 4000, nan)}
        self.assertEqual([ttl_s for ttl_s, needed in asked.items() if needed], [0.2, 3.9])

    def test_meta(self) -> None:
        """The whole registration must be within the size limit of nodes."""
        problem = self.problem(meta={"x": "y" * 13_000})
        self.assertIn("meta: a registration must not be larger than 12288 bytes", problem)
        deep: list[Any] = []
        for _ in range(30):
            deep = [deep]
        self.assertIn("meta: has lists or objects that are nested more than 20 deep", self.problem(meta={"x": deep}))

    def test_checks(self) -> None:
        """A check is a path, with the same rules as in the `health` of a backend."""
        for path in ("health", "", "http://10.0.0.5/", "/a b", "/ü", "/\n"):
            self.assertEqual(self.problem(check_path=path), "check: must begin with / and be ASCII without spaces")
