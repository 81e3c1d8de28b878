"""Operators' states of instances, over HTTP."""

from __future__ import annotations

from typing import Any

from tests.api.conversation import NOW_MS, WEB, WEB_ID, WEB_PATH, ApiCase, Response

STATE_PATH = f"{WEB_PATH}/state"


class StateCase(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.ask("POST", "/registrations", WEB)

    def say(self, state: str, **more: Any) -> None:
        self.assertEqual(self.ask("PUT", STATE_PATH, {"state": state, **more}).status, 200)

    def state(self) -> str:
        state: str = self.ask("GET", WEB_PATH).json["state"]
        return state

    def not_set(self, response: Response, *, removed: bool) -> None:
        """Expect a 404 that tells whether a state was removed before."""
        self.assertEqual(
            (response.status, response.json["code"], response.json["removed"]), (404, "NOT_FOUND", removed)
        )


class Saying(StateCase):
    def test_form(self) -> None:
        """The answer has the state, its duration, time and author; a GET has the time that is left, too."""
        answer = self.ask("PUT", STATE_PATH, {"state": "drain", "for": 3600})
        said = {"id": WEB_ID, "state": "drain", "for": 3600.0, "left": 3600.0, "at": NOW_MS, "author": "10.9.9.9"}
        self.assertEqual((answer.status, answer.json), (200, said))
        self.pass_time(10)
        self.assertEqual(self.ask("GET", STATE_PATH).json, {**said, "left": 3590.0})

    def test_shown(self) -> None:
        """A registration is shown with its state everywhere."""
        self.assertEqual(self.state(), "up")
        self.say("drain")
        found = [self.ask("GET", "/registrations").json[0], self.ask("POST", "/registrations", WEB).json]
        found += [self.ask("PUT", WEB_PATH).json, self.ask("POST", WEB_PATH).json, self.ask("GET", WEB_PATH).json]
        found += [self.ask("GET", "/registrations/web?meta.a=1").json or {"state": "drain"}]
        self.assertEqual([each["state"] for each in found], ["drain"] * 6)
        self.say("maint")
        renewed = [self.ask("PUT", WEB_PATH).json["state"], self.ask("POST", "/registrations", WEB).json["state"]]
        self.assertEqual(renewed, ["maint", "maint"])

    def test_events(self) -> None:
        """Each change of the state is an event of the registration, which has the state."""
        cursor = self.ask("GET", "/events").json["cursor"]
        self.say("drain")
        self.say("drain", **{"for": 60})
        self.ask("DELETE", STATE_PATH)
        events = self.ask("GET", f"/events?since={cursor}").json["events"]
        told = [(each["event"], each["reason"], each["registration"]["state"]) for each in events]
        self.assertEqual(told, [("changed", "configured", "drain"), ("changed", "configured", "up")])

    def test_over(self) -> None:
        """After its time, a state has no effect and is not found."""
        self.ask("POST", "/registrations", {**WEB, "ttl": 60})
        self.say("maint", **{"for": 5})
        self.pass_time(6)
        self.assertEqual(self.state(), "up")
        self.not_set(self.ask("GET", STATE_PATH), removed=True)

    def test_what_was_never_set(self) -> None:
        """A state that was never set gets 404 with `removed` false."""
        for method in ("GET", "DELETE"):
            self.not_set(self.ask(method, STATE_PATH), removed=False)

    def test_taken_back(self) -> None:
        """A state can be removed once; another request gets 404."""
        self.say("maint")
        self.assertEqual(self.ask("DELETE", STATE_PATH).status, 204)
        self.assertEqual(self.state(), "up")
        self.not_set(self.ask("DELETE", STATE_PATH), removed=True)

    def test_restarts(self) -> None:
        """A state stays while its instance is not listed, and applies when the instance registers again."""
        self.say("drain")
        self.ask("DELETE", WEB_PATH)
        self.assertEqual(self.ask("GET", STATE_PATH).json["state"], "drain")
        self.assertEqual(self.ask("POST", "/registrations", WEB).json["state"], "drain")

    def test_before_it_comes_back(self) -> None:
        """A state can be set for an instance that was listed a moment ago."""
        self.ask("DELETE", WEB_PATH)
        self.say("maint")
        self.assertEqual(self.ask("POST", "/registrations", WEB).json["state"], "maint")


class Unregistered(StateCase):
    """With `force`, a state can be set for an instance that no node knows."""

    PATH = "/registrations/web/1.2.0/10.0.0.6/8080"

    def test_force(self) -> None:
        """The state is kept, and applies from the moment at which the instance registers."""
        for query, host in (("?force", 6), ("?force=1", 7), ("?force=true", 8)):
            path = f"/registrations/web/1.2.0/10.0.0.{host}/8080"
            self.assertEqual(self.ask("PUT", f"{path}/state{query}", {"state": "drain", "for": 60}).status, 200)
            self.assertEqual(self.ask("GET", f"{path}/state").json["state"], "drain")
            self.assertEqual(self.ask("POST", path).json["state"], "drain")

    def test_other_values_of_force(self) -> None:
        """Other values of `force` get 400, because a misspelled value must not decide."""
        for value in ("0", "false", "no"):
            self.invalid("force", self.ask("PUT", f"{self.PATH}/state?force={value}", {"state": "drain"}))
        self.invalid("force", self.ask("PUT", f"{self.PATH}/state?force&force=1", {"state": "drain"}))


class Listing(StateCase):
    def test_all_states(self) -> None:
        """States are listed in order of id, also those of unregistered instances; ended ones are not listed."""
        self.assertEqual(self.ask("GET", "/states").json, [])
        self.say("drain", **{"for": 3600})
        other = WEB_PATH.replace("10.0.0.5", "10.0.0.10")
        self.ask("PUT", f"{other}/state?force", {"state": "maint", "for": 5})
        found = self.ask("GET", "/states").json
        self.assertEqual([each["id"] for each in found], [WEB_ID.replace("0.5/", "0.10/"), WEB_ID])
        self.assertEqual(found[1], self.ask("GET", STATE_PATH).json)
        self.pass_time(6)
        self.assertEqual([each["id"] for each in self.ask("GET", "/states").json], [WEB_ID])
        self.ask("DELETE", STATE_PATH)
        self.assertEqual(self.ask("GET", "/states").json, [])


class Refusing(StateCase):
    def test_of_what_nobody_knows(self) -> None:
        """A state for an unknown id gets 404, and nothing is recorded."""
        path = WEB_PATH.replace("10.0.0.5", "10.0.0.6")
        message = self.refused("NOT_FOUND", self.ask("PUT", f"{path}/state", {"state": "drain"}))
        self.assertIn(path.replace("/registrations", "registration"), message)
        self.assertEqual(len(self.node.replica.configuration), 0)

    def test_what_is_no_word(self) -> None:
        """An invalid state gets 400 with the name of the field, and the former state stays."""
        self.say("drain")
        for field, body in (("state", {}), ("state", {"state": "off"}), ("for", {"state": "maint", "for": -1})):
            self.invalid(field, self.ask("PUT", STATE_PATH, body))
        self.invalid("port", self.ask("PUT", "/registrations/web/1.2.0/10.0.0.5/x/state", {"state": "drain"}))
        self.assertEqual(self.state(), "drain")

    def test_methods(self) -> None:
        """Other methods get 405 with the allowed ones."""
        answer = self.ask("POST", STATE_PATH, {"state": "drain"})
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD, PUT, DELETE, OPTIONS"))


class Members(StateCase):
    def test_weights(self) -> None:
        """A member that is drained or in maintenance has weight 0; its registered weight does not change."""
        self.ask("POST", "/registrations", {**WEB, "port": 1, "weight": 7})
        self.ask("POST", "/backends", {"name": "site", "app": "web", "version": "1.2.0"})
        before = self.ask("GET", "/backends/site/members").headers["etag"]
        self.say("drain")
        members = self.ask("GET", "/backends/site/members")
        self.assertEqual([(each["weight"], each["state"]) for each in members.json], [(7, "up"), (0, "drain")])
        self.assertEqual(self.ask("GET", WEB_PATH).json["weight"], 1)
        self.assertNotEqual(members.headers["etag"], before)
