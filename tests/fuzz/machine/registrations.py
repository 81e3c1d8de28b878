"""Rules for registrations and operators' states."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.api.conversation import NOW_MS, Connection, Response, parsed, request
from tests.fuzz.machine.model import STATE_S, Json, OperatorState
from tests.fuzz.machine.node_machine import CLIENT, NodeMachine, forces, keys, path_of

tokens = st.sampled_from(["a", "b"])
terms = st.fixed_dictionaries(
    {},
    optional={
        "ttl": st.sampled_from([4.0, 6.0, 30.0]),
        "weight": st.sampled_from([0, 1, 5]),
        "meta": st.sampled_from([{}, {"zone": "a"}, {"zone": "b", "n": [None, 1.5]}]),
        "instance": tokens,
    },
)
states = st.sampled_from(["up", "drain", "maint"])
lasting = st.sampled_from([None, 2.0, 7.0, 3600.0])


class Registrations(NodeMachine):
    """Rules for instances, and for operators that set states."""

    @rule(key=keys, sent=terms, in_path=st.booleans())
    def register(self, key: str, sent: Json, in_path: bool) -> None:
        is_new = self.model.register(key, sent)
        if in_path:
            response = self.request("POST", path_of(key), sent or None)
            self.expect_answer(200, self.model.registration_json(key), response)
        else:
            _, app, version, host, port = key.split("/")
            response = self.request(
                "POST", "/registrations", {"app": app, "version": version, "host": host, "port": int(port), **sent}
            )
            self.expect_answer(201 if is_new else 200, self.model.registration_json(key), response)
            assert response.headers["location"] == path_of(key)

    @rule(key=keys)
    def renew(self, key: str) -> None:
        response = self.request("PUT", path_of(key))
        if self.model.renew(key):
            self.expect_answer(200, self.model.registration_json(key), response)
        else:
            self.expect_error("NOT_FOUND", response)

    @rule(chosen=st.lists(keys, max_size=4), odd=st.booleans())
    def renew_all(self, chosen: list[str], odd: bool) -> None:
        ids = [key.replace("/80", "/080") if odd else key for key in chosen] + ["registration/none"] * odd
        unknown = [id_ for id_, key in zip(ids, [*chosen, ""], strict=False) if not self.model.renew(key)]
        self.expect_answer(
            200,
            {"renewed": len(ids) - len(unknown), "unknown": unknown},
            self.request("POST", "/renewals", {"ids": ids}),
        )

    @rule(
        key=keys,
        token=st.none() | tokens,
        reason=st.sampled_from([None, "check-failed"]),
        wait=st.sampled_from([None, "0", "0.5"]),
    )
    def deregister(self, key: str, token: str | None, reason: str | None, wait: str | None) -> None:
        sent = {"instance": token, "reason": reason, "wait": wait}
        query = "&".join(f"{name}={value}" for name, value in sent.items() if value is not None)
        connection = Connection(self.site, (CLIENT, 40_000))
        connection.send(request("DELETE", f"{path_of(key)}?{query}"))
        one = self.model.registered.get(key)
        succeeded = one is not None and token is not None and one.instance not in (None, token)
        removed = not succeeded and self.model.deregister(key, reason or "deregistered")
        if wait is not None and removed:
            self.pass_seconds(1)  # a consumer may have to confirm it
        (response,) = parsed(connection.received())
        self.requests.add(("DELETE", path_of(key)))
        if succeeded:
            self.expect_error("CONFLICT", response)
        elif not removed:
            self.expect_error("NOT_FOUND", response)
        elif wait is None:
            assert (response.status, response.body) == (204, b""), response
        else:
            assert response.status == 200 and response.json["applied"] == ["n1"], response

    def look_at_registrations(self, app: str, version: str) -> None:
        self.expect_object("/registrations", self.model.listing())
        self.expect_object(f"/registrations/{app}", self.model.listing(app))
        listed = self.model.listing(app, version)
        self.expect_object(f"/registrations/{app}/{version}", listed)
        zone = [each for each in listed if each["meta"].get("zone") == "a"]
        self.expect_object(f"/registrations/{app}/{version}?meta.zone=a", zone)

    def look_at_one(self, key: str) -> None:
        if key in self.model.registered:
            self.expect_object(path_of(key), self.model.registration_json(key))
            self.expect_error("NOT_FOUND", self.request("GET", f"{path_of(key)}?meta.zone=none"))
        else:
            self.expect_error("NOT_FOUND", self.request("GET", path_of(key)))

    def ask_for_claims(self, key: str) -> None:
        found = self.request("POST", "/claims", {"ids": [key]}).json
        assert [each["node"] for each in found["claims"][key]] == ["n1"] * (key in self.model.registered), found
        assert found["missing"] == [], found

    def explain(self, key: str) -> None:
        response = self.request("GET", f"/explain/{key}")
        if key not in self.model.known:
            self.expect_error("NOT_FOUND", response)
            return
        found = response.json
        assert response.status == 200 and found["listed"] == (key in self.model.registered), found
        assert found["registration"] == (self.model.registration_json(key) if found["listed"] else None), found
        assert (found["word"] is not None) == (key in self.model.operator_states), found
        assert found["why"] and [each["node"] for each in found["nodes"]] == ["n1"], found

    # States.

    @rule(key=keys, state=states, lasts_s=lasting, force=forces, name=st.sampled_from([None, "anna"]))
    def set_state(self, key: str, state: str, lasts_s: float | None, force: str, name: str | None) -> None:
        named = {} if name is None else {"X_Bender_As": name}
        sent = {"state": state} if lasts_s is None else {"state": state, "for": lasts_s}
        response = self.request("PUT", f"{path_of(key)}/state{force}", sent, **named)
        if not force and key not in self.model.operator_states and key not in self.model.known:
            self.expect_error("NOT_FOUND", response)
        elif not force and self.model.state_harms(key, state):
            self.expect_error("CONFLICT", response)
        else:
            author = CLIENT if name is None else f"{name} ({CLIENT})"
            lasts_s = STATE_S if lasts_s is None else lasts_s
            self.model.set_state(key, OperatorState(state, lasts_s, self.model.now + lasts_s, author))
            self.expect_answer(200, self.operator_state(key), response)
            self.look_at_state(key)

    @rule(key=keys, set_before=st.booleans())
    def remove_state(self, key: str, set_before: bool) -> None:
        if set_before:
            self.set_state(key, "maint", None, "?force", None)
        response = self.request("DELETE", f"{path_of(key)}/state")
        if key in self.model.operator_states:
            self.model.set_state(key, None)
            assert response.status == 204, response
        else:
            self.expect_no_state(key, response)

    def look_at_state(self, key: str) -> None:
        if key in self.model.operator_states:
            self.expect_object(f"{path_of(key)}/state", self.operator_state(key))
        else:
            self.expect_no_state(key, self.request("GET", f"{path_of(key)}/state"))
        self.expect_object("/states", [self.operator_state(each) for each in sorted(self.model.operator_states)])

    def operator_state(self, key: str) -> Json:
        state = self.model.operator_states[key]
        left = state.until - self.model.now
        return {
            "id": key,
            "state": state.state,
            "for": state.lasts_s,
            "left": left,
            "at": NOW_MS,
            "author": state.author,
        }

    def expect_no_state(self, key: str, response: Response) -> None:
        self.expect_error("NOT_FOUND", response)
        if key not in self.model.ever_set:
            assert response.json["removed"] is False, response
