"""Changes over HTTP that would take traffic away get 409, unless they are forced."""

from __future__ import annotations

import msgspec

from tests.api.conversation import WEB, WEB_ID, WEB_PATH, ApiCase
from tests.api.settings import SITE, SITE_SHOWN


class Force(ApiCase):
    def test_other_values(self) -> None:
        """An invalid `force` gets 400 wherever `force` is possible, even if it would decide nothing."""
        self.ask("PUT", "/backends/site", {"app": "web", "version": "1"})
        self.ask("PUT", "/frontends/edge", {"backend": "site"})
        for method, path, body in (
            ("DELETE", "/frontends/edge", None),
            ("DELETE", "/backends/site", None),
            ("PUT", "/backends/site", {"version": "2"}),
            ("POST", "/backends/site/rollback", None),
            ("POST", "/backends", {"name": "new", "app": "web", "version": "1"}),
        ):
            for headers in ({}, {"If_Match": '"stale"'}):
                self.invalid("force", self.ask(method, f"{path}?force=no", body, **headers))
        self.assertEqual(self.ask("GET", "/backends/site").json["version"], "1")
        self.assertEqual(self.ask("GET", "/frontends/edge").status, 200)


class Traffic(ApiCase):
    """A change that takes traffic away from serving members gets 409, unless it is forced."""

    def setUp(self) -> None:
        super().setUp()
        self.ask("POST", "/registrations", WEB)
        self.ask("POST", "/backends", SITE)
        self.ask("POST", "/frontends", {"name": "edge", "backend": "site"})

    def conflict(self, method: str, path: str, body: object = None) -> str:
        """Expect a 409 that changes nothing, and return its message."""
        before = [self.ask("GET", each).body for each in ("/backends", "/frontends", "/registrations")]
        message = self.refused("CONFLICT", self.ask(method, path, body))
        after = [self.ask("GET", each).body for each in ("/backends", "/frontends", "/registrations")]
        self.assertEqual(before, after)
        return message

    def test_a_version_without_members(self) -> None:
        """A switch to a version without members gets 409 with the figures of this node, and with the remedy."""
        text = (
            "backend/site serves web 1.2.0 with 1 member; web 1.3.0 has no members: every request would get 503 "
            "(according to n1). Nothing was changed; add ?force to do it anyway (bender: --force)"
        )
        self.assertEqual(self.conflict("PUT", "/backends/site", {"version": "1.3.0"}), text)
        self.conflict("PUT", "/backends/site", {"canary": {"version": "1.3.0", "percent": 5}})
        for force in ("?force", "?force=1", "?force=true"):
            self.assertEqual(self.ask("PUT", f"/backends/site{force}", {"version": "1.3.0"}).status, 200)
            self.assertEqual(self.ask("PUT", "/backends/site", {"version": "1.2.0"}).status, 200)
        for force in ("=0", "=false", "=yes", "&force"):
            self.invalid("force", self.ask("PUT", f"/backends/site?force{force}", {"version": "1.3.0"}))

    def test_conditions_are_not_overridden(self) -> None:
        """`force` does not override `min_members` and `If-Match`, which are conditions of the request itself."""
        wanted = {"version": "1.3.0", "min_members": 1}
        self.assertEqual(self.ask("PUT", "/backends/site?force", wanted).json["online"], 0)
        stale = self.ask("PUT", "/backends/site?force", {"version": "1.3.0"}, If_Match='"x"')
        self.refused("STALE", stale)

    def test_members_that_take_no_traffic(self) -> None:
        """Drained members, and members of weight 0, serve no traffic."""
        for port, terms in ((1, {"weight": 0}), (2, {})):
            self.ask("POST", "/registrations", {**WEB, "version": "2", "port": port, **terms})
        self.ask("PUT", "/registrations/web/2/10.0.0.5/2/state", {"state": "drain"})
        message = self.conflict("PUT", "/backends/site", {"version": "2"})
        self.assertIn("web 2 has 2 members, none of which takes traffic", message)
        self.ask("DELETE", "/registrations/web/2/10.0.0.5/2/state")
        self.assertEqual(self.ask("PUT", "/backends/site", {"version": "2"}).status, 200)

    def test_a_rollback(self) -> None:
        """A rollback to a version without members gets 409."""
        self.ask("POST", "/registrations", {**WEB, "version": "2"})
        self.ask("PUT", "/backends/site", {"version": "2"})
        self.ask("DELETE", WEB_PATH)
        self.assertIn("web 1.2.0 has no members", self.conflict("POST", "/backends/site/rollback"))
        self.assertEqual(self.ask("POST", "/backends/site/rollback?force").json["version"], "1.2.0")

    def test_a_frontend(self) -> None:
        """A frontend is not switched from a serving backend to none, or to one that does not exist."""
        self.assertIn("did you mean site?", self.conflict("PUT", "/frontends/edge", {"backend": "sites"}))
        self.conflict("PUT", "/frontends/edge", {"backend": None})
        self.conflict("PUT", "/frontends/edge", {"rules": [{"path": "/a", "backend": "other"}]})
        self.conflict("POST", "/frontends", {"name": "new", "rules": [{"path": "/a", "backend": "other"}]})
        self.assertEqual(self.ask("PUT", "/frontends/edge?force", {"backend": "sites"}).status, 200)
        self.assertEqual(self.ask("DELETE", "/frontends/edge").status, 204)

    def test_a_frontend_that_is_set_back(self) -> None:
        """A rollback of a frontend to a removed backend gets 409."""
        self.ask("POST", "/backends", {**SITE, "name": "other"})
        self.ask("PUT", "/frontends/edge", {"backend": "other"})
        self.ask("DELETE", "/backends/site")
        self.assertIn("there is no backend site", self.conflict("POST", "/frontends/edge/rollback"))
        self.assertEqual(self.ask("POST", "/frontends/edge/rollback?force").json["backend"], "site")

    def test_a_removal(self) -> None:
        """The removal of a backend gets 409 if a frontend sends to it."""
        message = self.conflict("DELETE", "/backends/site")
        self.assertIn("frontend edge sends to backend/site, which serves web 1.2.0 with 1 member", message)
        self.invalid("force", self.ask("DELETE", "/backends/site?force=no"))
        response = self.ask("DELETE", "/backends/site?force")
        self.assertEqual(response.status, 204)
        warning = "frontend edge sends to backend site: requests get 503"
        self.assertEqual(msgspec.json.decode(response.headers["x-bender-warnings"]), [warning])

    def test_the_last_member(self) -> None:
        """A drain of the last member gets 409 unless it is forced; the member itself may always deregister."""
        message = self.conflict("PUT", f"{WEB_PATH}/state", {"state": "drain"})
        self.assertIn(f"without {WEB_ID}, no member of backend site takes traffic", message)
        forced = self.ask("PUT", f"{WEB_PATH}/state?force", {"state": "maint"})
        self.assertEqual((forced.status, len(msgspec.json.decode(forced.headers["x-bender-warnings"]))), (200, 1))
        self.assertEqual(self.ask("PUT", f"{WEB_PATH}/state", {"state": "drain"}).status, 200)  # serves no more
        self.ask("DELETE", f"{WEB_PATH}/state")
        self.assertEqual(self.ask("DELETE", WEB_PATH).status, 204)

    def test_warnings(self) -> None:
        """Warnings are in a header, in ASCII, and do not change the body."""
        created = self.ask("PUT", "/backends/%C3%A9", {"app": "none", "version": "1"})
        (warning,) = msgspec.json.decode(created.headers["x-bender-warnings"])
        self.assertEqual(warning, "backend é has no members: requests get 503 until there are")
        self.assertTrue(created.headers["x-bender-warnings"].isascii())
        self.assertEqual(created.body, self.ask("GET", "/backends/%C3%A9").body)
        self.assertNotIn("x-bender-warnings", self.ask("PUT", "/backends/site", {"balance": "source"}).headers)
        self.node.configure("backend/site", msgspec.json.encode({**SITE_SHOWN, "balanec": "x"}), "me")
        old = self.ask("PUT", "/backends/site", {"slow_start": 1}).headers["x-bender-warnings"]
        self.assertIn("balanec is not a field of a backend and is ignored", old)

    def test_warnings_that_are_long(self) -> None:
        """The header has only as many warnings as clients can read."""
        rules = [{"path": f"/{i}", "backend": "é" * 250 + str(i)} for i in range(4)]
        response = self.ask("PUT", "/frontends/edge?force", {"rules": rules})
        self.assertEqual(len(msgspec.json.decode(response.headers["x-bender-warnings"])), 2)
