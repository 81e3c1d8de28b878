"""Changes that would take traffic away from serving members."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.core.change_safety import Impact, Settings

SHOP = {"name": "shop", "app": "web", "version": "1"}
WWW = {"name": "www", "backend": "shop"}


class Listing:
    """A listing of a node: the members of versions with their weights, 0 for drained ones."""

    def __init__(self) -> None:
        self.members: dict[tuple[str, str], list[int]] = {}
        self.configured: dict[str, list[dict[str, Any]]] = {"backend": [], "frontend": []}

    def taking_traffic(self, app: str, version: str) -> Iterator[str]:
        for number, weight in enumerate(self.members.get((app, version), ())):
            if weight:
                yield f"registration/{app}/{version}/10.0.0.{number}/80"

    def count(self, app: str, version: str) -> int:
        return len(self.members.get((app, version), ()))

    def is_listed(self, id_: str) -> bool:
        _, app, version, host, port = id_.split("/")
        return port == "80" and int(host.rpartition(".")[2]) < self.count(app, version)

    def objects(self, kind: str) -> Iterable[Settings]:
        return self.configured[kind]

    def backend(self, name: str) -> Mapping[str, Any] | None:
        assert isinstance(name, str)
        return next((each for each in self.configured["backend"] if each["name"] == name), None)


class ImpactCase(SynchronousTestCase):
    """Backend shop serves web 1 with three members, and frontend www sends to it; web 3 has no members."""

    def setUp(self) -> None:
        self.listing = Listing()
        self.listing.members = {("web", "1"): [1, 1, 1], ("web", "2"): [1], ("web", "away"): [0, 0]}
        self.listing.configured = {"backend": [SHOP, {**SHOP, "name": "empty", "version": "3"}], "frontend": [WWW]}
        self.impact = Impact(self.listing)

    def allowed(self, *changes: dict[str, Any], before: Settings | None = SHOP) -> None:
        for change in changes:
            self.assertIsNone(self.impact.of_backend(before, {**(before or SHOP), **change}), change)

    def refused(self, change: dict[str, Any], before: Settings = SHOP) -> str:
        why = self.impact.of_backend(before, {**before, **change})
        assert why is not None, change
        return why


class OfBackends(ImpactCase):
    def test_a_version_without_members(self) -> None:
        """A version without members is refused while the backend serves, with the figures."""
        serving = "backend/shop serves web 1 with 3 members"
        self.assertEqual(
            self.refused({"version": "3"}), f"{serving}; web 3 has no members: every request would get 503"
        )
        self.assertEqual(self.refused({"app": "wbe"}), f"{serving}; wbe 1 has no members: every request would get 503")
        why = f"{serving}; web away has 2 members, none of which takes traffic: every request would get 503"
        self.assertEqual(self.refused({"version": "away"}), why)
        self.allowed({"version": "2"}, {"balance": "source"}, {})

    def test_a_first_set_up(self) -> None:
        """A backend that does not serve may be changed in any way, so objects can be set up in any order."""
        self.assertIsNone(self.impact.of_backend(None, {**SHOP, "version": "3"}))
        for nobody in ({**SHOP, "version": "3"}, {**SHOP, "version": "away"}, {**SHOP, "app": "other"}):
            self.allowed({"version": "4"}, {"canary": {"version": "4", "percent": 50}}, before=nobody)

    def test_a_canary_without_members(self) -> None:
        """A canary without members is refused if it has a share, with the effect of the change."""
        why = self.refused({"canary": {"version": "3", "percent": 20}})
        self.assertIn(
            "web 3 has no members: no request would reach this canary, whose share is 20 % of the traffic", why
        )
        self.refused({"canary": {"version": "3", "percent": 100}})
        self.allowed({"canary": {"version": "3", "percent": 0}}, {"canary": {"version": "2", "percent": 20}})
        self.allowed({"canary": {"version": "2", "percent": 100}}, {"canary": {"version": "1", "percent": 50}})

    def test_a_canary_that_is_set_back(self) -> None:
        """A rollback to a canary without members is permitted, unless no member would serve then."""
        back = {**SHOP, "canary": {"version": "3", "percent": 20}}
        self.assertIsNone(self.impact.of_backend(SHOP, back, back=True))
        self.assertIsNotNone(self.impact.of_backend(SHOP, {**back, "version": "4"}, back=True))

    def test_a_canary_that_was_there(self) -> None:
        """The share of a canary without members may change, but may not begin."""
        lost = {**SHOP, "canary": {"version": "3", "percent": 20}}
        self.allowed({"canary": {"version": "3", "percent": 10}}, {"canary": None}, {"version": "2"}, before=lost)
        self.refused({"canary": {"version": "3", "percent": 20}}, {**SHOP, "canary": {"version": "3", "percent": 0}})

    def test_a_canary_that_serves_alone(self) -> None:
        """A canary that serves alone cannot be removed; without it, no request would be served."""
        alone = {**SHOP, "version": "3", "canary": {"version": "2", "percent": 20}}
        serving = "backend/shop serves web 3 with no members, and its canary web 2 with 1 member"
        why = f"{serving}; with this setting no member or server takes its traffic: every request would get 503"
        self.assertEqual(self.refused({"canary": None}, alone), why)
        self.assertIn(
            "web 4 has no members: all requests would go to its canary 2", self.refused({"version": "4"}, alone)
        )
        why = self.refused({"canary": {"version": "4", "percent": 20}}, alone)
        self.assertTrue(why.endswith("web 4 has no members: every request would get 503"), why)
        self.allowed({"version": "2", "canary": None}, {"version": "1"}, before=alone)

    def test_fixed_servers(self) -> None:
        """Fixed servers serve traffic; the last of them cannot be removed unless there are members."""
        fixed = {**SHOP, "version": "3", "servers": ["10.0.0.9:80", "10.0.0.8:80"]}
        why = self.refused({"servers": None}, fixed)
        self.assertIn("backend/shop serves web 3 with 2 fixed servers; with this setting no member or", why)
        self.refused({"servers": []}, fixed)
        self.allowed({"servers": ["10.0.0.7:80"]}, {"servers": None, "version": "1"}, {"version": "4"}, before=fixed)
        both = {**SHOP, "servers": ["10.0.0.9:80"]}
        self.assertIn("with 3 members and 1 fixed server;", self.refused({"version": "3", "servers": None}, both))

    def test_a_fixed_server_that_is_registered(self) -> None:
        """A fixed server that is registered counts as that member, which may be drained."""
        self.listing.members["web", "away"] = [0]
        self.allowed({"version": "4"}, before={**SHOP, "version": "away", "servers": ["10.0.0.0:80"]})
        of_canary = {**SHOP, "version": "3", "canary": {"version": "away", "percent": 20}}
        self.assertFalse(self.impact.serves({**of_canary, "servers": ["10.0.0.0:80"]}))


class OfFrontends(ImpactCase):
    def judged(self, before: Settings | None, **after: Any) -> str | None:
        return self.impact.of_frontend(before, {**(before or WWW), **after})

    def test_a_backend_that_is_not_there(self) -> None:
        """A backend that does not exist, none, or one without members, is refused while the frontend serves."""
        begin = "frontend/www sends to backend shop, which serves web 1 with 3 members;"
        why = f"{begin} there is no backend shpo (did you mean shop?): the requests to this frontend would get 503"
        self.assertEqual(self.judged(WWW, backend="shpo"), why)
        self.assertEqual(
            self.judged(WWW, backend=None),
            f"{begin} it would have no backend: the requests to this frontend would get 503",
        )
        why = str(self.judged(WWW, backend="empty"))
        self.assertIn(
            "backend empty (web 3) has no member or server that takes traffic: the requests to this frontend would get "
            "503",
            why,
        )
        self.assertIsNone(self.judged(WWW, bind="*:80"))
        self.assertIn("there is no backend xyz: the requests", str(self.judged(WWW, backend="xyz")))

    def test_another_backend_that_serves(self) -> None:
        """A frontend may be switched to another backend that serves."""
        self.listing.configured["backend"].append({**SHOP, "name": "two", "version": "2"})
        self.assertIsNone(self.judged(WWW, backend="two"))

    def test_a_first_set_up(self) -> None:
        """A frontend that does not serve may name a backend that does not exist."""
        for before in (None, {"name": "www", "backend": None}, {**WWW, "backend": "gone"}, {**WWW, "backend": "empty"}):
            for backend in ("later", None, "empty", "shop"):
                self.assertIsNone(self.judged(before, backend=backend), before)

    def test_rules(self) -> None:
        """A new rule for a backend that does not exist is refused, also in a new frontend."""
        rules = [{"path": "/a", "backend": "shop"}, {"path": "/b", "backend": "shpo"}, {"host": "c", "backend": "x"}]
        for before in (None, WWW, {**WWW, "backend": None}):
            why = "the rules of frontend/www name backend shpo, x, which do not exist (did you mean shop?): the"
            self.assertIn(why, str(self.judged(before, rules=rules)))
        self.assertIn("name backend x, which does not exist: the", str(self.judged(None, rules=rules[2:])))
        many = [{"host": each, "backend": each} for each in "uvwxyz"]
        self.assertIn(
            "name backend u, v, w, x, y and 1 more, which do not exist: the", str(self.judged(None, rules=many))
        )
        self.assertIn("name backend u, v, w, x, y, which do not", str(self.judged(None, rules=many[:5])))
        self.assertIsNone(self.judged({**WWW, "rules": rules}, rules=rules[1:], bind="*:80"))
        self.assertIsNone(self.judged(WWW, rules=[{"path": "/a", "backend": "empty"}]))

    def test_a_rule_that_takes_all(self) -> None:
        """A rule that matches all requests is judged like the backend of the frontend."""
        why = self.judged(WWW, rules=[{"host": "a", "backend": "shop"}, {"path": "/", "backend": "empty"}])
        self.assertIn("backend empty (web 3)", str(why))
        taking = {**WWW, "backend": "empty", "rules": [{"path": "/", "backend": "shop"}]}
        self.assertIn("backend empty (web 3)", str(self.judged(taking, rules=None)))
        self.assertIsNone(self.judged(taking, rules=None, backend="shop"))

    def test_served_by_its_rules_alone(self) -> None:
        """A frontend that serves by its rules may name a backend without members, but not one that does not exist."""
        ruled = {"name": "www", "backend": None, "rules": [{"path": "/a", "backend": "shop"}]}
        self.assertIn("there is no backend shpo", str(self.judged(ruled, backend="shpo")))
        self.assertIsNone(self.judged(ruled, backend="empty"))


class OfRemovals(ImpactCase):
    def test_a_backend_that_is_used(self) -> None:
        """The removal of a serving backend that a frontend or a rule uses is refused."""
        why = "frontend www sends to backend/shop, which serves web 1 with 3 members: every request would get 503"
        self.assertEqual(self.impact.of_removal(SHOP), why)
        ruled = [{"name": f"r{i}", "rules": [{"path": "/", "backend": "shop"}]} for i in range(7)]
        self.listing.configured["frontend"] = ruled
        self.assertIn("frontend r0, r1, r2, r3, r4 and 2 more send to backend/shop", str(self.impact.of_removal(SHOP)))

    def test_others(self) -> None:
        """A backend that is unused or does not serve can be removed."""
        self.assertIsNone(self.impact.of_removal({**SHOP, "version": "3"}))
        for kept_by_others in ("old", ["shop"], [{"backend": ["shop"]}, {"path": "/"}]):
            self.listing.configured["frontend"] = [{"name": "www", "backend": None, "rules": kept_by_others}]
            self.assertIsNone(self.impact.of_removal(SHOP), kept_by_others)


class OfStates(ImpactCase):
    LAST = "registration/web/2/10.0.0.0/80"

    def test_one_that_takes_no_traffic(self) -> None:
        """A member that takes no traffic can be drained."""
        self.listing.configured["backend"] = [{**SHOP, "version": "away", "canary": {"version": "3", "percent": 5}}]
        self.assertIsNone(self.impact.of_state("registration/web/away/10.0.0.0/80", "drain"))

    def test_the_last_member(self) -> None:
        """The last member cannot be drained or put into maintenance, but can be set to up."""
        self.listing.configured["backend"] += [{**SHOP, "name": name, "version": "2"} for name in ("two", "zwei")]
        for state in ("drain", "maint"):
            why = "no member of backend two, zwei takes traffic: every request to it would get 503"
            self.assertEqual(self.impact.of_state(self.LAST, state), f"without {self.LAST}, {why}")
        self.assertIsNone(self.impact.of_state(self.LAST, "up"))

    def test_one_of_several(self) -> None:
        """One of several members can be drained, and so can a member that no backend needs."""
        for id_ in (self.LAST, "registration/web/1/10.0.0.0/80", "registration/web/away/10.0.0.0/80"):
            self.assertIsNone(self.impact.of_state(id_, "drain"), id_)

    def test_among_very_many(self) -> None:
        """Two members that take traffic are enough to decide; the others are not read."""

        class Endless(Listing):
            def taking_traffic(self, app: str, version: str) -> Iterator[str]:
                return map("registration/web/2/10.0.0.{}/80".format, count())

            def objects(self, kind: str) -> Iterable[Settings]:
                raise AssertionError(f"every {kind} is looked at")

        self.assertIsNone(Impact(Endless()).of_state(self.LAST, "drain"))

    def test_beside_others(self) -> None:
        """Fixed servers and the other version count as serving; a canary without other members can be the last one."""
        two = {**SHOP, "name": "two", "version": "2"}
        for more in ({"servers": ["10.0.0.9:80"]}, {"canary": {"version": "1", "percent": 5}}):
            self.listing.configured["backend"] = [{**two, **more}]
            self.assertIsNone(self.impact.of_state(self.LAST, "drain"), more)
        self.listing.configured["backend"] = [{**SHOP, "version": "3", "canary": {"version": "2", "percent": 5}}]
        self.assertIn("of backend shop", str(self.impact.of_state(self.LAST, "drain")))
        self.listing.configured["backend"] = [{**two, "servers": ["10.0.0.0:80"]}]
        self.assertIn("of backend two", str(self.impact.of_state(self.LAST, "drain")))


class Warnings(ImpactCase):
    def test_of_a_backend(self) -> None:
        """A backend gets a warning if no member serves it, or only its canary does."""
        warned = self.impact.warnings_of_backend
        self.assertEqual(warned(SHOP), [])
        none = "backend shop has no members: requests get 503 until there are"
        self.assertEqual(warned({**SHOP, "version": "3"}), [none])
        away = "backend shop has 2 members, none of which takes traffic: requests get 503 until one does"
        self.assertEqual(warned({**SHOP, "version": "away"}), [away])
        self.listing.members["web", "away"] = [0]
        self.assertIn("has 1 member, which takes no traffic: ", warned({**SHOP, "version": "away"})[0])
        self.assertEqual(warned({**SHOP, "canary": {"version": "3", "percent": 20}}), [])
        alone = "web 3 has no members: its canary 2 gets all requests to shop"
        self.assertEqual(warned({**SHOP, "version": "3", "canary": {"version": "2", "percent": 1}}), [alone])

    def test_of_a_frontend(self) -> None:
        """A frontend gets a warning for each backend that does not exist or has no members."""
        rules = [
            {"path": "/a", "backend": "empty"},
            {"path": "/b", "backend": "gone"},
            {"path": "/c", "backend": "gone"},
        ]
        self.assertEqual(
            self.impact.warnings_of_frontend({**WWW, "rules": rules}),
            [
                "backend empty has no members: requests get 503 until there are",
                "there is no backend gone: requests get 503 until there is",
            ],
        )
        self.assertEqual(self.impact.warnings_of_frontend({"name": "www", "backend": None}), [])

    def test_of_a_removal(self) -> None:
        """The warning for a removal names the frontends that still send to the backend."""
        left = "frontend www sends to backend shop: requests get 503"
        self.assertEqual(self.impact.warnings_of_removal("shop"), [left])
        self.listing.configured["frontend"].append({"name": "api", "backend": "shop"})
        left = "frontend api, www send to backend shop: requests get 503"
        self.assertEqual(self.impact.warnings_of_removal("shop"), [left])
        self.assertEqual(self.impact.warnings_of_removal("empty"), [])
