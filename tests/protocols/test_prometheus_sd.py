"""Registrations as targets of Prometheus."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.api import site
from bender.api.responses import ApiRequest, ApiResponse, DeferredResponse
from bender.core.admin_state import Override
from bender.core.model import RegistrationRequest, Terms
from bender.core.registration_status import USUAL, status_of
from bender.node.listings import OF_ONE_INSTANT_MAX, SLICE
from bender.protocols.http import routes_of
from bender.protocols.prometheus_sd import meta_labels, routes, target_group
from tests.access.known import headers, known
from tests.api.conversation import ApiCase, Response, a_node

WEB = {"app": "web", "version": "1.2.0", "host": "10.0.0.5", "port": 8080}
KEY = "registration/web/1.2.0/10.0.0.5/8080"
TERMS = Terms(10.0, 1, {}, 1_795_447_942_248, "n1").encode(KEY)

#: The names that Prometheus accepts for labels.
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

_json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2)
)


class SdCase(ApiCase):
    """A node with Prometheus's discovery, and a client of it."""

    def setUp(self) -> None:
        super().setUp()
        self.site = site(self.node, self.clock, routes=routes_of(self.node))

    def register(self, **fields: Any) -> None:
        self.assertIn(self.ask("POST", "/registrations", {**WEB, **fields}).status, (200, 201))

    def sd(self, query: str = "", **headers: str) -> Response:
        return self.ask("GET", f"/sd/prometheus{query}", **headers)

    def targets(self, query: str = "") -> list[str]:
        groups = self.sd(query).json
        self.assertTrue(all(len(group["targets"]) == 1 for group in groups))
        return [group["targets"][0] for group in groups]


class Groups(SdCase):
    def test_a_registration(self) -> None:
        """A registration is a group, whose labels have all its data as text."""
        self.register(weight=7, meta={"zone": "a"})
        response = self.sd()
        self.assertEqual((response.status, response.headers["content-type"]), (200, "application/json"))
        self.assertEqual(
            response.json,
            [
                {
                    "targets": ["10.0.0.5:8080"],
                    "labels": {
                        "__meta_bender_id": KEY,
                        "__meta_bender_app": "web",
                        "__meta_bender_version": "1.2.0",
                        "__meta_bender_host": "10.0.0.5",
                        "__meta_bender_port": "8080",
                        "__meta_bender_node": "n1",
                        "__meta_bender_weight": "7",
                        "__meta_bender_state": "up",
                        "__meta_bender_meta_zone": "a",
                    },
                }
            ],
        )

    def test_nothing(self) -> None:
        """A ready node without registrations returns an empty list."""
        self.assertEqual((self.sd().status, self.sd().body), (200, b"[]"))

    def test_in_order_of_id(self) -> None:
        """Groups are in order of id, because Prometheus identifies groups by their positions."""
        for host in ("10.0.0.9", "::1", "b.example"):
            self.register(host=host)
        self.register(app="api", port=9)
        self.assertEqual(self.targets(), ["10.0.0.5:9", "10.0.0.9:8080", "[::1]:8080", "b.example:8080"])

    def test_instances_without_traffic_are_targets(self) -> None:
        """Instances without traffic are targets, too, and have labels for their weight and state."""
        self.register()
        for state in ("drain", "maint"):
            self.node.set_state(KEY, Override(state, 60.0), "ops")
            (group,) = self.sd().json
            self.assertEqual(group["labels"]["__meta_bender_state"], state)

    def test_a_suspect(self) -> None:
        """A suspect has an additional label."""
        suspect, usual = (
            msgspec.json.decode(target_group(KEY, TERMS, status))["labels"]
            for status in (status_of("up", suspect=True), USUAL)
        )
        self.assertEqual(suspect, {**usual, "__meta_bender_suspect": "true"})


class MetaLabels(SynchronousTestCase):
    """The labels of `meta`: any key, any value."""

    def test_values_that_are_not_text(self) -> None:
        """Values that are not text are JSON."""
        meta = {"text": 'a "b"', "number": 1.5, "yes": True, "nothing": None, "list": [1, {"a": "é"}]}
        self.assertEqual(
            dict(meta_labels(meta)),
            {
                "__meta_bender_meta_text": 'a "b"',
                "__meta_bender_meta_number": "1.5",
                "__meta_bender_meta_yes": "true",
                "__meta_bender_meta_nothing": "null",
                "__meta_bender_meta_list": '[1,{"a":"é"}]',
            },
        )

    def test_keys_that_are_no_names(self) -> None:
        """Each character that a name cannot have becomes an underscore."""
        meta = {"a.b-c/d e": "1", "9": "2", "é": "3", "": "4"}
        self.assertEqual(
            dict(meta_labels(meta)),
            {
                "__meta_bender_meta_a_b_c_d_e": "1",
                "__meta_bender_meta_9": "2",
                "__meta_bender_meta__": "3",
                "__meta_bender_meta_": "4",
            },
        )

    def test_keys_that_meet(self) -> None:
        """Of equal names, an unchanged key keeps its name, and the others get the next free numbers."""
        meta = {"a.b": "dot", "a-b": "dash", "a_b": "name", "a_b_2": "taken", "a b": "space"}
        expected = {"a_b": "name", "a_b_2": "taken", "a_b_3": "space", "a_b_4": "dash", "a_b_5": "dot"}
        for keys in (meta, reversed(meta)):
            labels = dict(meta_labels({key: meta[key] for key in keys}))
            self.assertEqual(labels, {f"__meta_bender_meta_{name}": value for name, value in expected.items()})

    @given(st.dictionaries(st.text("ab_.-é2", max_size=4), _json_values, max_size=12))
    def test_whatever_it_is(self, meta: dict[str, Any]) -> None:
        """For any meta, no value is lost, and Prometheus accepts every name."""
        labels = [*meta_labels(meta)]
        self.assertEqual(len({name for name, _ in labels}), len(meta))
        for name, value in labels:
            self.assertTrue(LABEL_NAME.fullmatch(name), name)
            self.assertIsInstance(value, str)


class Selected(SdCase):
    def setUp(self) -> None:
        super().setUp()
        for app, version in (("web", "1"), ("web", "2"), ("api", "2")):
            self.register(app=app, version=version)

    def ids(self, query: str) -> list[str]:
        return [group["labels"]["__meta_bender_id"].split("/", 1)[1].rsplit("/", 2)[0] for group in self.sd(query).json]

    def test_by_app_and_version(self) -> None:
        """Targets can be selected by app, version or both."""
        self.assertEqual(self.ids("?app=web"), ["web/1", "web/2"])
        self.assertEqual(self.ids("?version=2"), ["api/2", "web/2"])
        self.assertEqual(self.ids("?version=2&app=web"), ["web/2"])
        self.assertEqual(self.ids("?app=other"), [])

    def test_unknown_fields(self) -> None:
        """An unknown parameter is refused, because otherwise all registrations would be targets."""
        message = self.refused("INVALID", self.sd("?ap=web"))
        self.assertEqual(message, "ap: is not a parameter of this request, did you mean app?")
        self.assertIn("its parameters are app, version", self.refused("INVALID", self.sd("?zone=a")))

    def test_values_that_are_none(self) -> None:
        """Parameters with invalid, empty or several values are refused."""
        self.invalid("app", self.sd("?app="))
        self.invalid("version", self.sd("?version=a/b"))
        self.invalid("app", self.sd("?app=a&app=b"))

    def test_methods(self) -> None:
        """The path only permits reading."""
        self.refused("METHOD_NOT_ALLOWED", self.ask("POST", "/sd/prometheus"))
        self.assertEqual(self.ask("OPTIONS", "/sd/prometheus").headers["allow"], "GET, HEAD, OPTIONS")


class Tags(SdCase):
    def test_unchanged(self) -> None:
        """An unchanged list is not sent again, and its tag is equal on all nodes."""
        self.register()
        etag = self.sd().headers["etag"]
        self.assertEqual(self.sd(If_None_Match=etag).status, 304)
        self.register(weight=3)
        self.assertEqual(self.sd(If_None_Match=etag).status, 200)
        self.register(weight=1)
        self.assertEqual(self.sd().headers["etag"], etag)

    def test_an_operators_word(self) -> None:
        """An operator's state changes the list."""
        self.register()
        etag = self.sd().headers["etag"]
        self.node.set_state(KEY, Override("drain", 60.0), "ops")
        self.assertEqual(self.sd(If_None_Match=etag).status, 200)


class NotReady(SynchronousTestCase):
    def test_no_list(self) -> None:
        """A node that has not heard its peers answers 503, and Prometheus keeps the targets that it has."""
        case = SdCase()
        case.clock = Clock()
        case.node = a_node(case.clock, seeds=["n2:1730"])
        case.site = site(case.node, case.clock, routes=routes_of(case.node))
        self.assertIn("retry-after", case.sd().headers)
        case.refused("NOT_READY", case.sd())


class Guarded(SdCase):
    """A node that requires tokens."""

    def setUp(self) -> None:
        super().setUp()
        self.site = site(self.node, self.clock, tokens=known(), routes=routes_of(self.node))

    def test_the_scope(self) -> None:
        """The scope `read` is required, as for all lists."""
        passes = {None: 401, "unknown": 401, "reader": 200, "web": 403, "deployer": 403, "root": 200}
        for name, status in passes.items():
            self.assertEqual(self.sd(**headers(name)).status, status, name)

    def test_a_bare_token(self) -> None:
        """A token without a scheme is accepted, which Prometheus sends if the type in `authorization` is empty."""
        bare = headers("reader")["Authorization"].removeprefix("Bearer ")
        self.assertEqual(self.sd(Authorization=bare).status, 200)


class Long(SdCase):
    """Lists that are made in slices."""

    def fill(self, count: int) -> None:
        for port in range(1, count + 1):
            self.node.register(RegistrationRequest("web", "1.2.0", "10.0.0.5", port, meta={"a.b": port}))

    def test_the_whole(self) -> None:
        """A list of any length is complete and in order."""
        for count in (SLICE // 8 - 1, 2 * SLICE, OF_ONE_INSTANT_MAX + 1):
            self.fill(count)
            response = self.sd()
            self.assertEqual("content-length" in response.headers, count <= OF_ONE_INSTANT_MAX)
            ids = [group["labels"]["__meta_bender_id"] for group in response.json]
            self.assertEqual((len(ids), ids), (count, sorted(ids)))
            self.assertEqual(self.sd(If_None_Match=response.headers["etag"]).status, 304)

    def test_in_slices(self) -> None:
        """Lists for Prometheus have an eighth of the usual registrations in a slice, because each takes longer."""
        self.fill(SLICE)
        (route,) = routes(self.node)
        answered = route.commands["GET"](self.node, ApiRequest("GET"))
        assert isinstance(answered, DeferredResponse)
        self.assertEqual(len([*answered.steps]), 9)
        made = answered.answer()
        assert isinstance(made, ApiResponse)
        assert made.pieces is not None
        sizes = [len(piece) for piece in made.pieces]
        self.assertEqual(len(sizes), 9)
        self.assertTrue(all(one < 1.1 * other for one, other in pairwise(sizes[:-1])))
