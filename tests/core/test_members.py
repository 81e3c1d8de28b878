"""The members of a backend and their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core import members
from bender.core.model import WEIGHT_MAX
from bender.core.weights import shared_weights

SITE = {"id": "backend/site", "resource": "Backend", "name": "site", "app": "web", "version": "1"}
CANARY = {"version": "2", "percent": 25}


def member(port: int, version: str = "1", weight: int = 1, **more: Any) -> dict[str, Any]:
    id_ = f"registration/web/{version}/10.0.0.5/{port}"
    known = {"id": id_, "app": "web", "version": version, "host": "10.0.0.5", "port": port, "weight": weight}
    return {**known, **more}


def weights(
    backend: Mapping[str, Any], stable: Sequence[Mapping[str, Any]], canary: Sequence[Mapping[str, Any]] = ()
) -> dict[int, int]:
    """Return the weights of the members by port."""
    return {each["port"]: each["weight"] for each in members.weighted_members(backend, stable, canary)}


class States(SynchronousTestCase):
    def test_who_is_away(self) -> None:
        """A member that is drained or in maintenance stays listed with weight 0."""
        members = [member(1, weight=5), member(2, state="up"), member(3, state="drain"), member(4, state="maint")]
        self.assertEqual(weights(SITE, members), {1: 5, 2: 1, 3: 0, 4: 0})

    def test_a_share_without_them(self) -> None:
        """The other members give the canary its exact share."""
        stable = [member(1), member(2), member(3, state="drain")]
        canary = [member(4, "2"), member(5, "2", weight=256, state="maint")]
        found = weights({**SITE, "canary": CANARY}, stable, canary)
        self.assertEqual((found[3], found[5]), (0, 0))
        self.assertEqual(Fraction(found[4], found[1] + found[2] + found[4]), Fraction(1, 4))

    def test_all_of_one_version_away(self) -> None:
        """If all members of one version are out, the other version gets all traffic."""
        backend = {**SITE, "canary": CANARY}
        self.assertEqual(weights(backend, [member(1)], [member(2, "2", state="drain")]), {1: 1, 2: 0})
        self.assertEqual(weights(backend, [member(1, state="drain")], [member(2, "2")]), {1: 0, 2: 1})


class Canaries(SynchronousTestCase):
    def test_none(self) -> None:
        """Without a valid canary of another version, members have their registered weights."""
        for canary in (None, {"version": "1", "percent": 50}, "2", {"version": "2", "percent": 1000}):
            backend = {**SITE, "canary": canary}
            self.assertIsNone(members.canary_of(backend))
            self.assertEqual(weights(backend, [member(1, weight=3)], [member(2)]), {1: 3})

    @given(
        st.lists(st.integers(0, WEIGHT_MAX), max_size=9),
        st.lists(st.integers(0, WEIGHT_MAX), max_size=9),
        st.integers(0, 100),
    )
    def test_shares(self, stable: list[int], canary: list[int], percent: int) -> None:
        """The weights are those of `shared_weights`, in order of id, and the given members are not changed."""
        ones = [member(10 + i, weight=weight) for i, weight in enumerate(stable)][::-1]
        others = [member(20 + i, "2", weight) for i, weight in enumerate(canary)]
        before = repr((ones, others))
        found = members.weighted_members({**SITE, "canary": {"version": "2", "percent": percent}}, ones, others)
        self.assertEqual([each["id"] for each in found], sorted(each["id"] for each in ones + others))
        of_ones, of_others = shared_weights(stable[::-1], canary, Fraction(percent))
        self.assertEqual([each["weight"] for each in found], of_ones[::-1] + of_others)
        self.assertEqual(repr((ones, others)), before)


class FixedServers(SynchronousTestCase):
    def test_as_members(self) -> None:
        """Fixed servers follow the registered members, and are marked as fixed."""
        site = {**SITE, "servers": ["Db.example:5432", "[2001:DB8::1]:80"]}
        first, *fixed = members.weighted_members(site, [member(1)], ())
        self.assertEqual(first, member(1))
        shown = {"resource": "Server", "app": "web", "version": "1", "weight": 1}
        shown |= {"state": "up", "meta": {}, "fixed": True}
        self.assertEqual(
            fixed,
            [
                {"id": "server/2001:db8::1/80", "host": "2001:db8::1", "port": 80, **shown},
                {"id": "server/db.example/5432", "host": "db.example", "port": 5432, **shown},
            ],
        )

    def test_registered_as_well(self) -> None:
        """A fixed server that is registered is listed as a member only, whatever its version and state."""
        backend = {**SITE, "servers": ["10.0.0.5:1", "10.0.0.5:2", "10.0.0.5:3"], "canary": CANARY}
        found = members.weighted_members(backend, [member(1, state="drain")], [member(2, "2")])
        self.assertEqual([each.get("fixed", False) for each in found], [False, False, True])
        self.assertEqual([each["weight"] for each in found], [0, 85, 255])

    def test_beside_a_canary(self) -> None:
        """Fixed servers belong to the backend's version, and the canary gets its share of all."""
        found = weights({**SITE, "servers": ["h:7", "h:8"], "canary": CANARY}, [member(1)], [member(2, "2")])
        self.assertEqual(found, {1: 256, 7: 256, 8: 256, 2: 256})

    def test_what_an_older_node_took_for_servers(self) -> None:
        """Invalid servers in a stored setting are ignored; valid ones beside them are not."""
        taken: tuple[Any, ...] = ("h:7", ["h"], [1], {}, ["x y:8"], ["0.0.0.0:8"])
        for servers in taken:
            self.assertEqual(weights({**SITE, "servers": servers}, [member(1)]), {1: 1})
        self.assertEqual(weights({**SITE, "servers": ["h:7", "0.0.0.0:8"]}, [member(1)]), {1: 1, 7: 1})
