"""Backends and frontends over HTTP."""

from __future__ import annotations

import msgspec

from tests.api.conversation import NOW_MS, WEB, ApiCase
from tests.api.settings import EDGE_SHOWN, SITE, SITE_SHOWN


class Misspelled(ApiCase):
    """The answer to a name that does not exist suggests the most similar name."""

    def test_a_backend_and_a_frontend(self) -> None:
        for kind, name in (("backend", "shop"), ("frontend", "www")):
            self.ask("PUT", f"/{kind}s/{name}", {"app": "web", "version": "1"} if kind == "backend" else {})
            wrong, paths = f"{name}p", ["/history", "/members"] if kind == "backend" else ["/history"]
            found = [self.ask("GET", f"/{kind}s/{wrong}{path}") for path in ["", *paths]]
            found += [self.ask("DELETE", f"/{kind}s/{wrong}"), self.ask("POST", f"/{kind}s/{wrong}/rollback")]
            for response in found:
                self.assertEqual((response.status, response.json["code"]), (404, "NOT_FOUND"))
                self.assertEqual(response.json["message"], f"there is no {kind}/{wrong}, did you mean {name}?")

    def test_the_other_kind(self) -> None:
        """A frontend is not found as a backend; the message says that there is a frontend of this name."""
        self.ask("PUT", "/frontends/www", {})
        told = self.ask("POST", "/backends/www/rollback").json["message"]
        self.assertEqual(told, "there is no backend/www, but there is a frontend/www")

    def test_nothing_near(self) -> None:
        self.ask("PUT", "/frontends/www", {})
        self.assertEqual(self.ask("GET", "/frontends/shop").json["message"], "there is no frontend/shop")


class Deploys(ApiCase):
    """A backend is switched to another version, under a condition, and back."""

    def setUp(self) -> None:
        super().setUp()
        self.ask("POST", "/backends", SITE)

    def version(self) -> str:
        version: str = self.ask("GET", "/backends/site").json["version"]
        return version

    def test_members_that_are_wanted(self) -> None:
        """A PUT with `min_members` gets 409, with the number of members, if there are fewer; it changes nothing."""
        self.ask("POST", "/registrations", {**WEB, "version": "2"})
        response = self.ask("PUT", "/backends/site", {"version": "2", "min_members": 2})
        self.assertEqual((response.status, response.json["code"]), (409, "CONFLICT"))
        self.assertEqual((response.json["online"], response.json["min_members"]), (1, 2))
        self.assertEqual(self.version(), "1.2.0")
        self.ask("POST", "/registrations", {**WEB, "version": "2", "port": 81})
        switched = self.ask("PUT", "/backends/site", {"version": "2", "min_members": 2})
        self.assertEqual((switched.status, switched.json), (200, {**SITE_SHOWN, "version": "2"}))

    def test_members_of_a_new_backend(self) -> None:
        """A POST or PUT that creates a backend obeys `min_members` too, and `min_members` is not stored."""
        wanted = {"app": "web", "version": "1.2.0", "min_members": 1}
        self.assertEqual(self.ask("POST", "/backends", {**wanted, "name": "new"}).status, 409)
        self.assertEqual(self.ask("PUT", "/backends/new", wanted).status, 409)
        self.ask("POST", "/registrations", WEB)
        self.assertNotIn("min_members", self.ask("PUT", "/backends/new", wanted).json)

    def test_what_is_no_number_of_members(self) -> None:
        """Any `min_members` but null and a count up to the limit gets 400."""
        for number in (-1, "2", 1.5, True, 10**7):
            self.invalid("min_members", self.ask("PUT", "/backends/site", {"version": "2", "min_members": number}))
        self.assertEqual(self.ask("PUT", "/backends/site", {"version": "2", "min_members": None}).status, 200)

    def test_a_canary(self) -> None:
        """A canary gets its share, whatever the numbers of members; the registered weights do not change."""
        for port, version in ((1, "1.2.0"), (2, "1.2.0"), (3, "1.2.0"), (4, "2")):
            self.ask("POST", "/registrations", {**WEB, "version": version, "port": port})
        self.ask("PUT", "/backends/site", {"canary": {"version": "2", "percent": 10}})
        members = self.ask("GET", "/backends/site/members")
        weights = {each["port"]: each["weight"] for each in members.json}
        self.assertEqual((weights[4] * 9, sorted(weights)), (weights[1] + weights[2] + weights[3], [1, 2, 3, 4]))
        self.assertEqual([each["id"] for each in members.json], sorted(each["id"] for each in members.json))
        self.assertTrue(members.headers["etag"])
        self.assertEqual({each["weight"] for each in self.ask("GET", "/registrations/web").json}, {1})
        self.ask("PUT", "/backends/site", {"canary": {"version": "2", "percent": 100}})
        self.assertEqual([each["weight"] for each in self.ask("GET", "/backends/site/members").json], [0, 0, 0, 1])
        self.ask("PUT", "/backends/site", {"canary": None})
        self.assertEqual(len(self.ask("GET", "/backends/site/members").json), 3)

    def test_a_canary_of_nobody(self) -> None:
        """A canary without members, or of the backend's own version, changes no weight."""
        self.ask("POST", "/registrations", WEB)
        for version in ("2", "1.2.0"):
            self.ask("PUT", "/backends/site", {"canary": {"version": version, "percent": 50}})
            self.assertEqual([each["weight"] for each in self.ask("GET", "/backends/site/members").json], [1])

    def test_what_is_no_canary(self) -> None:
        """An invalid canary gets 400, and nothing is changed."""
        for canary in ("2", {}, {"version": "2"}, {"version": "2", "percent": 101}, {"version": "a/b", "percent": 1}):
            self.invalid("canary", self.ask("PUT", "/backends/site", {"canary": canary}))
        for percent in ("10", True, -1, None):
            self.invalid("canary", self.ask("PUT", "/backends/site", {"canary": {"version": "2", "percent": percent}}))
        self.invalid("canary", self.ask("PUT", "/backends/site", {"canary": {"version": "2", "percent": 1, "more": 1}}))
        self.assertEqual(self.ask("GET", "/backends/site").json, SITE_SHOWN)

    def test_what_an_older_node_took_for_a_canary(self) -> None:
        """A stored canary of an invalid form is ignored."""
        self.node.configure("backend/site", b'{"name":"site","app":"web","version":"1.2.0","canary":"x"}', "me")
        self.assertEqual(self.ask("GET", "/backends/site/members").json, [])
        self.assertEqual(self.ask("PUT", "/backends/site", {"version": "2"}).status, 200)

    def test_somebody_who_was_faster(self) -> None:
        """With `If-Match`, a request changes a backend only if the backend still has this tag."""
        etag = self.ask("GET", "/backends/site").headers["etag"]
        self.assertEqual(self.ask("PUT", "/backends/site", {"version": "2"}, If_Match=etag).status, 200)
        for method, path in (("PUT", ""), ("DELETE", ""), ("POST", "/rollback")):
            response = self.ask(method, f"/backends/site{path}", {} if method == "PUT" else None, If_Match=etag)
            self.assertIn("has changed since the version in If-Match", self.refused("STALE", response))
        self.assertEqual(self.version(), "2")
        self.assertEqual(self.ask("PUT", "/backends/site", {"version": "3"}, If_Match="*").status, 200)
        missing = self.ask("PUT", "/backends/other", {"app": "web", "version": "1"}, If_Match="*")
        self.assertIn("does not exist", self.refused("STALE", missing))

    def test_history(self) -> None:
        """The history has the last twenty settings, newest first, each with its time and author."""
        for i in range(30):
            self.ask("PUT", "/backends/site", {"version": str(i)})
        told = self.ask("GET", "/backends/site/history").json
        self.assertEqual([each["backend"]["version"] for each in told], [str(i) for i in range(29, 9, -1)])
        self.assertEqual({(each["at"], each["author"]) for each in told}, {(NOW_MS, told[0]["author"])})
        self.assertEqual(told[0]["backend"], self.ask("GET", "/backends/site").json)

    def test_history_of_what_was_removed(self) -> None:
        """The history of a removed backend has only the removal."""
        self.ask("DELETE", "/backends/site")
        self.assertEqual([each["backend"] for each in self.ask("GET", "/backends/site/history").json], [None])
        self.refused("NOT_FOUND", self.ask("GET", "/backends/never/history"))

    def test_rolled_back(self) -> None:
        """A rollback sets all fields of the setting before, as a new setting; a second rollback undoes the first."""
        self.ask("PUT", "/backends/site", {"version": "2", "canary": {"version": "3", "percent": 5}})
        self.ask("PUT", "/backends/site", {"canary": None})
        back = self.ask("POST", "/backends/site/rollback")
        self.assertEqual((back.status, back.json["canary"]), (200, {"version": "3", "percent": 5}))
        self.ask("POST", "/backends/site/rollback")
        self.assertIsNone(self.ask("GET", "/backends/site").json["canary"])
        self.assertEqual(len(self.ask("GET", "/backends/site/history").json), 5)

    def test_nothing_to_go_back_to(self) -> None:
        """A rollback gets 409 if there is no setting before, and 404 if the backend does not exist."""
        self.refused("CONFLICT", self.ask("POST", "/backends/site/rollback"))
        self.ask("DELETE", "/backends/site")
        self.refused("NOT_FOUND", self.ask("POST", "/backends/site/rollback"))
        self.ask("POST", "/backends", SITE)
        self.refused("CONFLICT", self.ask("POST", "/backends/site/rollback"))
        self.invalid("body", self.ask("POST", "/backends/site/rollback", {"to": 3}))

    def test_frontends(self) -> None:
        """A frontend has a history and can be rolled back, too."""
        for backend in ("a", "b"):
            self.ask("PUT", "/frontends/www", {"backend": backend})
        self.assertEqual(self.ask("POST", "/frontends/www/rollback").json["backend"], "a")
        told = self.ask("GET", "/frontends/www/history").json
        self.assertEqual([each["frontend"]["backend"] for each in told], ["a", "b", "a"])


class Backends(ApiCase):
    def test_created(self) -> None:
        """A backend is created once, and is found at the path in `Location`."""
        response = self.ask("POST", "/backends", SITE)
        self.assertEqual((response.status, response.json), (201, SITE_SHOWN))
        self.assertEqual(response.headers["location"], "/backends/site")
        self.assertEqual(self.ask("GET", "/backends/site").body, response.body)
        self.refused("CONFLICT", self.ask("POST", "/backends", {**SITE, "version": "2"}))
        self.assertEqual(self.ask("GET", "/backends").json, [SITE_SHOWN])

    def test_listed(self) -> None:
        """All backends are listed in order of id; without backends the list is empty."""
        self.assertEqual(self.ask("GET", "/backends").json, [])
        for name in ("b", "a", "c"):
            self.ask("POST", "/backends", {**SITE, "name": name})
        self.assertEqual([each["name"] for each in self.ask("GET", "/backends").json], ["a", "b", "c"])

    def test_further_fields(self) -> None:
        """The fields in `meta` are kept, and returned as sent."""
        meta = {"n": 10**25, "deep": {"z": [1, {"b": None}], "a": 1.5}, "é": "ü", "id": "x"}
        response = self.ask("POST", "/backends", {**SITE_SHOWN, "balance": "leastconn", "meta": meta})
        self.assertEqual(response.json, {**SITE_SHOWN, "balance": "leastconn", "meta": meta})

    def test_unknown_fields(self) -> None:
        """An unknown field gets 400 and changes nothing; one that is stored already stays until a PUT removes it."""
        self.ask("POST", "/backends", SITE)
        self.invalid("nmae", self.ask("POST", "/backends", {"nmae": "x", "app": "web", "version": "1"}))
        response = self.ask("PUT", "/backends/site", {"verison": "2"})
        self.invalid("verison", response)
        self.assertIn("did you mean version?", response.json["message"])
        self.assertEqual(self.ask("GET", "/backends/site").json, SITE_SHOWN)
        self.node.configure("backend/site", msgspec.json.encode({**SITE_SHOWN, "note": 1}), "me")
        self.assertEqual(self.ask("PUT", "/backends/site", {"balance": "source"}).json["note"], 1)
        shown = self.ask("GET", "/backends/site").json
        self.invalid("note", self.ask("PUT", "/backends/site", shown))
        self.assertNotIn("note", self.ask("PUT", "/backends/site", {**shown, "note": None}).json)

    def test_changed(self) -> None:
        """A PUT changes the fields that it sends, and no others."""
        self.ask("POST", "/backends", {**SITE, "balance": "leastconn"})
        response = self.ask("PUT", "/backends/site", {"version": "2.0.0", "health": None})
        shown = {**SITE_SHOWN, "version": "2.0.0", "balance": "leastconn", "health": None}
        self.assertEqual((response.status, response.json), (200, shown))
        self.assertEqual(self.ask("GET", "/backends/site").json, shown)
        whole = self.ask("PUT", "/backends/site", shown)
        self.assertEqual((whole.status, whole.json), (200, shown))

    def test_unchanged(self) -> None:
        """A PUT that changes nothing adds nothing to the history."""
        self.ask("POST", "/backends", SITE)
        for body in (SITE, {"version": "1.2.0"}, {}, None):
            self.assertEqual(self.ask("PUT", "/backends/site", body).json, SITE_SHOWN)
        self.assertEqual(len(self.node.replica.history("backend/site")), 1)

    def test_created_by_put(self) -> None:
        """A PUT creates a backend that does not exist, if the request has an app and a version."""
        response = self.ask("PUT", "/backends/site", {"app": "web", "version": "1.2.0"})
        self.assertEqual((response.status, response.json), (201, SITE_SHOWN))
        self.assertEqual(response.headers["location"], "/backends/site")
        self.invalid("app", self.ask("PUT", "/backends/other", {"version": "1"}))
        self.invalid("version", self.ask("PUT", "/backends/other", {"app": "web"}))
        self.invalid("app", self.ask("PUT", "/backends/other"))
        self.refused("NOT_FOUND", self.ask("GET", "/backends/other"))

    def test_removed(self) -> None:
        """A removed backend is not found, and can be created again."""
        self.ask("POST", "/backends", SITE)
        self.assertEqual(self.ask("DELETE", "/backends/site").status, 204)
        for method in ("GET", "DELETE"):
            self.refused("NOT_FOUND", self.ask(method, "/backends/site"))
        self.assertEqual(self.ask("GET", "/backends").json, [])
        self.assertEqual(self.ask("POST", "/backends", SITE).status, 201)

    def test_names(self) -> None:
        """A name is any printable text without a slash; in paths it is percent-encoded."""
        response = self.ask("POST", "/backends", {**SITE, "name": "blå gul?"})
        self.assertEqual(response.headers["location"], "/backends/bl%C3%A5%20gul%3F")
        self.assertEqual(response.json["id"], "backend/blå gul?")
        self.assertEqual(self.ask("GET", response.headers["location"]).json, response.json)

    def test_invalid(self) -> None:
        """The message names the missing or invalid field, and nothing is changed."""
        for field in SITE:
            bad: tuple[object, ...] = (None, "", "a/b", "..", 1, [], "x" * 256)
            for value in bad:
                self.invalid(field, self.ask("POST", "/backends", {**SITE, field: value}))
            self.invalid(field, self.ask("POST", "/backends", {name: SITE[name] for name in SITE if name != field}))
        self.invalid("resource", self.ask("POST", "/backends", {**SITE, "resource": "Frontend"}))
        self.invalid("name", self.ask("POST", "/backends"))
        for body in (b"[]", b"{", b"null"):
            self.invalid("body", self.ask("POST", "/backends", body))
        self.assertEqual(self.ask("GET", "/backends").json, [])
        self.ask("POST", "/backends", SITE)
        self.invalid("name", self.ask("PUT", "/backends/site", {"name": "other"}))
        self.invalid("app", self.ask("PUT", "/backends/site", {"app": None}))
        self.invalid("meta", self.ask("PUT", "/backends/site", b'{"meta": {"x":' + b"[" * 20 + b"]" * 20 + b"}}"))
        for method in ("GET", "PUT", "DELETE"):
            self.invalid("name", self.ask(method, "/backends/%07", {"app": "a", "version": "1"}))
        self.invalid("name", self.ask("GET", "/backends/%07/members"))
        self.invalid("path", self.ask("GET", "/backends/a%2fb"))
        self.refused("TOO_LARGE", self.ask("PUT", "/backends/site", {"meta": {"x": "y" * 4096}}))
        self.assertEqual(self.ask("GET", "/backends/site").json, SITE_SHOWN)

    def test_author(self) -> None:
        """The author of a setting is the address of the client."""
        self.ask("POST", "/backends", SITE)
        self.assertEqual(self.node.replica.history("backend/site")[0].author, "10.9.9.9")

    def test_author_with_a_name(self) -> None:
        """The author's name stands before the address; the header has other characters than ASCII percent-encoded."""
        for sent, shown in (("anna@web1", "anna@web1"), ("J%C3%BCrgen%20%25", "Jürgen %"), ("x" * 64, "x" * 64)):
            self.assertEqual(
                self.ask("PUT", "/backends/site", {**SITE, "meta": {"by": sent}}, X_Bender_As=sent).status // 100, 2
            )
            self.assertEqual(self.ask("GET", "/backends/site/history").json[0]["author"], f"{shown} (10.9.9.9)")
        before = self.ask("GET", "/backends/site/history").json
        for sent in ("", " ", "x" * 65, "a%0Ab", "%E2%80%AE", "%FF", "\xfc"):
            self.invalid("X-Bender-As", self.ask("PUT", "/backends/site", {"version": "9"}, X_Bender_As=sent))
            self.invalid("X-Bender-As", self.ask("DELETE", "/backends/site", X_Bender_As=sent))
        self.assertEqual(self.ask("GET", "/backends/site/history").json, before)

    def test_tags(self) -> None:
        """A backend and the list of backends have tags."""
        self.ask("POST", "/backends", SITE)
        for path in ("/backends", "/backends/site"):
            etag = self.ask("GET", path).headers["etag"]
            self.assertEqual(self.ask("GET", path, If_None_Match=etag).status, 304)
            self.ask("PUT", "/backends/site", {"meta": {"note": path}})
            self.assertEqual(self.ask("GET", path, If_None_Match=etag).status, 200)


class Quotas(ApiCase):
    """One client cannot use up the room that all clients share."""

    def setUp(self) -> None:
        super().setUp()
        self.node.replica.configuration.keys_max = 10
        for i in range(2):
            self.ask("PUT", f"/backends/b{i}", {"app": "web", "version": "1"})

    def test_names(self) -> None:
        """A client that has used its fifth of all names gets 429, even after it removed some; other clients do not."""
        self.ask("DELETE", "/backends/b1")
        refused = self.refused("BUSY", self.ask("POST", "/backends", SITE))
        self.assertEqual(
            refused,
            "10.9.9.9 has used 2 names of backends and frontends (removed ones count, too), the maximum for one "
            "client: use one of these names",
        )
        self.node.configure("backend/other", b"{}", "10.0.0.1")
        self.assertIsNotNone(self.node.configured_object("backend/other"))

    def test_what_it_has_already(self) -> None:
        """A client at its quota can still change and remove its backends."""
        self.assertEqual(self.ask("PUT", "/backends/b0", {"version": "2"}).status, 200)
        self.assertEqual(self.ask("DELETE", "/backends/b0").status, 204)

    def test_states(self) -> None:
        """States have a quota of their own, so instances can be drained whatever names are used."""
        for port in (1, 2, 3):
            self.ask("POST", "/registrations", {**WEB, "port": port})
        asked = [self.ask("PUT", f"/registrations/web/1.2.0/10.0.0.5/{i}/state", {"state": "drain"}) for i in (1, 2, 3)]
        self.assertEqual([response.status for response in asked], [200, 200, 429])
        self.assertEqual(
            asked[2].json["message"],
            "10.9.9.9 has set 2 states of instances, the maximum for one client: try again when some of them have "
            "ended",
        )

    def test_states_that_are_over(self) -> None:
        """A short state frees its room ten minutes after its end, and so does a state that was removed."""
        path = "/registrations/web/1.2.0/10.0.0.5/8080/state"
        self.ask("POST", "/registrations", WEB)
        self.ask("PUT", path, {"state": "drain", "for": 30})
        self.pass_time(10)
        self.ask("DELETE", path)
        self.pass_time(20 + 601)
        self.assertEqual([*self.node.replica.configuration], ["backend/b0", "backend/b1"])


class Members(ApiCase):
    def test_those_of_the_version(self) -> None:
        """The members of a backend are the registrations of its app and version, also after a switch."""
        self.refused("NOT_FOUND", self.ask("GET", "/backends/site/members"))
        self.ask("POST", "/backends", SITE)
        self.assertEqual(self.ask("GET", "/backends/site/members").json, [])
        one = self.ask("POST", "/registrations", WEB).json
        two = self.ask("POST", "/registrations", {**WEB, "version": "2"}).json
        members = self.ask("GET", "/backends/site/members")
        self.assertEqual(members.json, [one])
        self.ask("PUT", "/backends/site", {"version": "2"})
        self.assertEqual(self.ask("GET", "/backends/site/members").json, [two])
        self.assertEqual(self.ask("GET", "/backends/site/members", If_None_Match=members.headers["etag"]).status, 200)

    def test_fixed_servers(self) -> None:
        """Fixed servers are listed after the registrations, and do not count for `min_members`."""
        one = self.ask("POST", "/registrations", WEB).json
        self.ask("POST", "/backends", {**SITE, "servers": ["10.0.0.9:80"]})
        members = self.ask("GET", "/backends/site/members").json
        self.assertEqual([each.get("fixed") for each in members], [None, True])
        self.assertEqual((members[0], members[1]["id"]), (one, "server/10.0.0.9/80"))
        self.assertEqual(self.ask("PUT", "/backends/site", {"min_members": 2}).json["online"], 1)


class Frontends(ApiCase):
    def test_created(self) -> None:
        """A frontend needs only a name; the body of the answer has the location too, as in the original program."""
        response = self.ask("POST", "/frontends", {"name": "edge"})
        self.assertEqual((response.status, response.json), (201, {**EDGE_SHOWN, "location": "/frontends/edge"}))
        self.assertEqual(response.headers["location"], "/frontends/edge")
        self.assertEqual(self.ask("GET", "/frontends/edge").json, EDGE_SHOWN)
        self.assertEqual(self.ask("GET", "/frontends").json, [EDGE_SHOWN])
        self.refused("CONFLICT", self.ask("POST", "/frontends", {"name": "edge"}))

    def test_backend_later(self) -> None:
        """The backend of a frontend can be set later, and removed again."""
        self.ask("POST", "/frontends", {"name": "edge"})
        for backend in ("site", None):
            response = self.ask("PUT", "/frontends/edge", {"backend": backend, "bind": "*:80"})
            self.assertEqual((response.status, response.json["backend"]), (200, backend))

    def test_created_by_put(self) -> None:
        """A PUT creates a frontend that does not exist."""
        response = self.ask("PUT", "/frontends/edge")
        self.assertEqual((response.status, response.json["name"]), (201, "edge"))

    def test_removed(self) -> None:
        """A removed frontend is not found."""
        self.ask("POST", "/frontends", {"name": "edge"})
        self.assertEqual(self.ask("DELETE", "/frontends/edge").status, 204)
        for method in ("GET", "DELETE"):
            self.refused("NOT_FOUND", self.ask(method, "/frontends/edge"))

    def test_invalid(self) -> None:
        """A frontend without a name, or with an invalid backend, gets 400."""
        self.invalid("name", self.ask("POST", "/frontends", {}))
        self.invalid("resource", self.ask("POST", "/frontends", {"name": "a", "resource": "Backend"}))
        for backend in ("", "a/b", 1, ["site"]):
            self.invalid("backend", self.ask("POST", "/frontends", {"name": "a", "backend": backend}))
        self.assertEqual(self.ask("GET", "/frontends").json, [])

    def test_apart_from_backends(self) -> None:
        """A frontend and a backend of one name are separate objects."""
        self.ask("POST", "/backends", {**SITE, "name": "edge"})
        self.assertEqual(self.ask("POST", "/frontends", {"name": "edge"}).status, 201)
        self.ask("DELETE", "/backends/edge")
        self.assertEqual(self.ask("GET", "/frontends").json, [EDGE_SHOWN])
