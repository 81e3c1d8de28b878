"""Rules for backends and frontends."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.api.conversation import NOW_MS, Response
from tests.fuzz.machine.model import Json
from tests.fuzz.machine.node_machine import CLIENT, NodeMachine, apps, forces, versions

backend_names = st.sampled_from(["site", "shop"])
frontend_names = st.sampled_from(["edge", "www"])
canaries = st.none() | st.builds(
    lambda version, percent: {"version": version, "percent": percent}, versions, st.sampled_from([0, 10, 100])
)
servers = st.none() | st.lists(st.sampled_from(["10.0.0.9:90", "10.0.0.1:80", "10.0.0.2:80"]), max_size=2, unique=True)
backends = st.fixed_dictionaries(
    {},
    optional={
        "app": apps,
        "version": versions,
        "canary": canaries,
        "servers": servers,
        "meta": st.sampled_from([{"by": "x"}, None]),
    },
)
rules = st.lists(
    st.builds(lambda path, name: {"path": path, "backend": name}, st.sampled_from(["/", "/api"]), backend_names),
    max_size=2,
)
frontends = st.fixed_dictionaries(
    {}, optional={"backend": backend_names | st.none(), "rules": rules | st.none(), "bind": st.just("*:80")}
)
#: Values of If-Match: no header, the present tag, any tag, an old tag.
matches = st.sampled_from([None, None, None, "present", "*", "stale"])


class Configuration(NodeMachine):
    """Rules for clients that configure backends and frontends."""

    @rule(name=backend_names, sent=backends, force=forces, needed=st.sampled_from([None, None, 0, 1, 2]))
    def create_backend(self, name: str, sent: Json, force: str, needed: int | None) -> None:
        self.create("backend", name, {"app": "web", "version": "1", **sent}, force, needed)

    @rule(name=frontend_names, sent=frontends, force=forces)
    def create_frontend(self, name: str, sent: Json, force: str) -> None:
        self.create("frontend", name, sent, force, None)

    def create(self, kind: str, name: str, sent: Json, force: str, needed: int | None) -> None:
        id_ = f"{kind}/{name}"
        asked = {"name": name, **sent} if needed is None else {"name": name, **sent, "min_members": needed}
        response = self.request("POST", f"/{kind}s{force}", asked)
        body = made(kind, name, sent, None)
        harms = not force and self.model.harms(id_, None, body)
        if self.model.setting(id_) is not None or self.lacks(body, needed) or harms:
            self.expect_error("CONFLICT", response)
        else:
            self.model.configure(id_, body, CLIENT)
            self.created(kind, name, body, response)
            self.look_at_object(id_)

    def created(self, kind: str, name: str, body: Json, response: Response) -> None:
        location = f"/{kind}s/{name}"
        shown = {**body, "location": location} if kind == "frontend" else body
        self.expect_answer(201, shown, response)
        assert response.headers["location"] == location, response

    def lacks(self, body: Json, needed: int | None) -> bool:
        return bool(needed) and len(self.model.listing(body["app"], body["version"])) < (needed or 0)

    @rule(name=backend_names, sent=backends, force=forces, needed=st.sampled_from([None, None, 1]), match=matches)
    def put_backend(self, name: str, sent: Json, force: str, needed: int | None, match: str | None) -> None:
        self.put("backend", name, sent, force, needed, match)

    @rule(name=frontend_names, sent=frontends, force=forces, match=matches)
    def put_frontend(self, name: str, sent: Json, force: str, match: str | None) -> None:
        self.put("frontend", name, sent, force, None, match)

    def put(self, kind: str, name: str, sent: Json, force: str, needed: int | None, match: str | None) -> None:
        id_ = f"{kind}/{name}"
        existing = self.model.setting(id_)
        headers, is_stale = self.condition(id_, match)
        asked = sent if needed is None else {**sent, "min_members": needed}
        response = self.request("PUT", f"/{kind}s/{name}{force}", asked, **headers)
        if kind == "backend" and existing is None and not {"app", "version"} <= {*sent}:
            self.expect_error("INVALID", response)
            return
        body = made(kind, name, sent, existing)
        if is_stale:
            self.expect_error("STALE", response)
        elif self.lacks(body, needed) or (not force and self.model.harms(id_, existing, body)):
            self.expect_error("CONFLICT", response)
        else:
            self.model.configure(id_, body, CLIENT)
            if existing is None:
                self.created(kind, name, body, response)
            else:
                self.expect_answer(200, body, response)
            self.look_at_object(id_)

    def condition(self, id_: str, match: str | None) -> tuple[dict[str, str], bool]:
        """Return the headers of a change, and True if the node must refuse the change because of them."""
        exists = self.model.setting(id_) is not None
        if match is None:
            return {}, False
        if match != "present":
            tag = "*" if match == "*" else '"0"'
            return {"If_Match": tag}, not (exists and match == "*")
        found = self.request("GET", f"/{id_.replace('/', 's/', 1)}")
        return {"If_Match": found.headers.get("etag", '"0"')}, not exists

    @rule(kind=st.sampled_from(["backend", "frontend"]), number=st.integers(0, 1), force=forces, match=matches)
    def remove(self, kind: str, number: int, force: str, match: str | None) -> None:
        id_ = self.object_id(kind, number)
        existing = self.model.setting(id_)
        headers, is_stale = self.condition(id_, match)
        response = self.request("DELETE", f"/{id_.replace('/', 's/', 1)}{force}", None, **headers)
        if is_stale:
            self.expect_error("STALE", response)
        elif existing is None:
            self.expect_error("NOT_FOUND", response)
        elif not force and self.model.harms(id_, existing, None):
            self.expect_error("CONFLICT", response)
        else:
            self.model.configure(id_, None, CLIENT)
            assert (response.status, response.body) == (204, b""), response

    @rule(kind=st.sampled_from(["backend", "frontend"]), number=st.integers(0, 1), sent=backends)
    def change_and_go_back(self, kind: str, number: int, sent: Json) -> None:
        """Change an object, and roll the change back."""
        name = self.object_id(kind, number).partition("/")[2]
        self.put(kind, name, sent if kind == "backend" else {"bind": "*:81"}, "?force", None, None)
        self.roll_back(kind, number, "?force", None)

    @rule(kind=st.sampled_from(["backend", "frontend"]), number=st.integers(0, 1), force=forces, match=matches)
    def roll_back(self, kind: str, number: int, force: str, match: str | None) -> None:
        id_ = self.object_id(kind, number)
        existing = self.model.setting(id_)
        headers, is_stale = self.condition(id_, match)
        response = self.request("POST", f"/{id_.replace('/', 's/', 1)}/rollback{force}", None, **headers)
        before = next(iter(self.model.settings.get(id_, [])[1:]), None)
        if existing is None:
            self.expect_error("NOT_FOUND", response)
        elif is_stale:
            self.expect_error("STALE", response)
        elif before is None or (not force and self.model.harms(id_, existing, before, back=True)):
            self.expect_error("CONFLICT", response)
        else:
            self.model.configure(id_, before, CLIENT)
            self.expect_answer(200, before, response)

    def look_at_objects(self, kind: str, number: int) -> None:
        id_ = self.object_id(kind, number)
        self.expect_object(f"/{kind}s", self.model.objects(kind))
        if self.model.setting(id_) is None:
            self.expect_error("NOT_FOUND", self.request("GET", f"/{id_.replace('/', 's/', 1)}"))
        self.look_at_object(id_)

    def look_at_object(self, id_: str) -> None:
        """Compare an object, its history and its members with the model."""
        kind, _, name = id_.partition("/")
        body = self.model.setting(id_)
        if body is not None:
            self.expect_object(f"/{kind}s/{name}", body)
        if id_ not in self.model.settings:
            self.expect_error("NOT_FOUND", self.request("GET", f"/{kind}s/{name}/history"))
            return
        history = zip(self.model.settings[id_], self.model.authors[id_], strict=True)
        self.expect_object(
            f"/{kind}s/{name}/history", [{"at": NOW_MS, "author": author, kind: each} for each, author in history]
        )
        if kind == "backend":
            self.look_at_members(name)

    def look_at_members(self, name: str) -> None:
        response = self.request("GET", f"/backends/{name}/members")
        backend = self.model.setting(f"backend/{name}")
        if backend is None:
            self.expect_error("NOT_FOUND", response)
            return
        members = {each["id"]: each for each in response.json}
        canary = backend.get("canary") or {"version": backend["version"], "percent": 0}
        of_versions = {backend["version"], canary["version"]}
        expected = [key for version in of_versions for key in self.listed_ids(backend["app"], version)]
        registered = {id_ for id_ in members if id_.startswith("registration/")}
        assert registered == {*expected}, (registered, expected)
        takes = {id_ for id_, each in members.items() if each["weight"] > 0}
        assert not any(self.model.state(id_) != "up" for id_ in takes), members
        assert bool(takes) == self.model.serves(backend) or canary["percent"] in (0, 100), (members, backend)
        assert [*members] == sorted(members), members

    def listed_ids(self, app: str, version: str) -> list[str]:
        return [each["id"] for each in self.model.listing(app, version)]

    @staticmethod
    def object_id(kind: str, number: int) -> str:
        return f"{kind}/{(('site', 'shop') if kind == 'backend' else ('edge', 'www'))[number]}"


def made(kind: str, name: str, sent: Json, existing: Json | None) -> Json:
    """Return the backend or frontend that a request makes."""
    fixed = {"id": f"{kind}/{name}", "resource": kind.capitalize(), "name": name}
    unset: Json = {"app": None, "version": None} if kind == "backend" else {"backend": None}
    return {**fixed, **unset, **(existing or {}), **sent}
