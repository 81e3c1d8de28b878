"""docs/openapi.yaml agrees with the code. `tests.e2e.test_openapi` tests the answers of real nodes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender import __version__
from bender.api.nodes import node_fields
from bender.api.responses import CHALLENGE, QUERY_FIELDS_MAX, STATUS_OF_CODE
from bender.api.route import Need
from bender.api.routes import ROUTES as OWN_ROUTES
from bender.core import claim_leases, connection_settings, diagnosis, hosts, model, node_report, peers, routing
from bender.core.ttl_limits import TTL_S_MAX
from bender.node import inquiries
from bender.node.counters import Counters
from bender.node.journal import EVENTS_MAX
from bender.node.node import DIAGNOSIS_EVENTS_MAX
from bender.protocols.http import routes_of
from tests.api.conversation import a_node

DOCS = Path(__file__).parents[1] / "docs"
ROUTES = (*OWN_ROUTES, *routes_of(a_node(Clock())))
DOCUMENT: dict[str, Any] = yaml.safe_load((DOCS / "openapi.yaml").read_text("utf-8"))
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
COMPONENTS: dict[str, Any] = DOCUMENT["components"]
SCHEMAS: dict[str, Any] = COMPONENTS["schemas"]


class Keys(SynchronousTestCase):
    def test_no_key_is_there_twice(self) -> None:
        """No key occurs twice in a mapping, because YAML readers would silently drop the first value."""
        twice: list[str] = []
        nodes: list[Any] = [yaml.compose((DOCS / "openapi.yaml").read_text("utf-8"))]
        while nodes:
            node = nodes.pop()
            if isinstance(node, yaml.MappingNode):
                keys = Counter(key.value for key, _ in node.value)
                twice += [key for key, count in keys.items() if count > 1]
                nodes += [value for _, value in node.value]
            elif isinstance(node, yaml.SequenceNode):
                nodes += node.value
        self.assertEqual(twice, [])


class Operations(SynchronousTestCase):
    def test_paths_and_methods_are_those_of_the_routes(self) -> None:
        """The document has exactly the paths and methods of the routes."""
        described = {path: METHODS & item.keys() for path, item in DOCUMENT["paths"].items()}
        there = {_as_described(route.path): {method.lower() for method in route.commands} for route in ROUTES}
        self.assertEqual(described, there)

    def test_every_part_of_a_path_is_described(self) -> None:
        """The parameters in a path are described once for all its methods, by name."""
        for path, item in DOCUMENT["paths"].items():
            parameters = [_resolved(parameter) for parameter in item.get("parameters", ())]
            self.assertEqual([parameter["name"] for parameter in parameters], re.findall(r"\{(\w+)\}", path), path)

    def test_each_has_a_name_of_its_own(self) -> None:
        """Each operation has a different `operationId`, in snake_case, because programs use it as a name."""
        names = [operation["operationId"] for operation in _operations()]
        self.assertEqual(sorted(names), sorted(set(names)))
        self.assertEqual([name for name in names if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)], [])

    def test_each_has_a_place_on_the_page(self) -> None:
        """Each operation has one tag, and docs/api.md has a section for each tag."""
        shown = re.findall(r":tag: (\w+)", (DOCS / "api.md").read_text("utf-8"))
        self.assertEqual(shown, [tag["name"] for tag in DOCUMENT["tags"]])
        for operation in _operations():
            self.assertEqual(len({*operation["tags"]} & {*shown}), 1, operation["operationId"])

    def test_only_what_is_always_there_is_never_not_ready(self) -> None:
        """Every operation may be answered with 503, except on routes that work while the node is not ready."""
        while_not_ready = {_as_described(route.path) for route in ROUTES if route.while_not_ready}
        for path, item in DOCUMENT["paths"].items():
            for method in METHODS & item.keys():
                self.assertTrue("503" in item[method]["responses"] or path in while_not_ready, f"{method} {path}")


#: The responses of the document if a token does not permit a request, or a browser uses a wrong host name.
FORBIDDEN = {
    Need.NOTHING: "#/components/responses/ForbiddenHost",
    Need.VALID: "#/components/responses/ForbiddenHost",
    Need.READ: "#/components/responses/ForbiddenToRead",
    Need.CONFIGURE: "#/components/responses/ForbiddenToConfigure",
    Need.REGISTER: "#/components/responses/ForbiddenToRegister",
    Need.REGISTER_IN_BODY: "#/components/responses/ForbiddenToRegister",
}


class Tokens(SynchronousTestCase):
    def test_every_request_names_the_scope_that_it_needs(self) -> None:
        """Each operation has the 401 and 403 of its scope; an operation without a scope can still refuse browsers."""
        for route in ROUTES:
            for method in route.commands:
                need = route.reads if method == "GET" else route.changes
                operation = DOCUMENT["paths"][_as_described(route.path)][method.lower()]
                unauthorized = None if need is Need.NOTHING else "#/components/responses/Unauthorized"
                for status, expected in (("401", unauthorized), ("403", FORBIDDEN[need])):
                    refers_to = operation["responses"].get(status, {}).get("$ref")
                    self.assertEqual(refers_to, expected, f"{method} {route.path} {status}")
                self.assertEqual(operation.get("security"), [] if need is Need.NOTHING else None, route.path)

    def test_a_token_may_come_in_every_form(self) -> None:
        """The document lists each form of a token, and no token for nodes that require none."""
        schemes = COMPONENTS["securitySchemes"]
        self.assertEqual(DOCUMENT["security"], [{}, *({name: []} for name in schemes)])
        forms = {(each["type"], each.get("scheme") or each["name"]) for each in schemes.values()}
        self.assertEqual(
            forms,
            {("http", "bearer"), ("http", "basic"), ("apiKey", "Authorization"), ("apiKey", "X-Consul-Token")},
        )

    def test_the_challenge(self) -> None:
        """The documented `WWW-Authenticate` challenge is that of the code."""
        name, challenge = (each.decode() for each in CHALLENGE)
        headers = COMPONENTS["responses"]["Unauthorized"]["headers"]
        self.assertEqual(_resolved(headers[name])["schema"]["const"], challenge)


class Words(SynchronousTestCase):
    def test_errors_are_those_that_are_answered(self) -> None:
        """The document lists all error codes except INTERNAL, which only a defect in bender causes."""
        self.assertEqual({*SCHEMAS["Error"]["properties"]["code"]["enum"]}, STATUS_OF_CODE.keys() - {"INTERNAL"})

    def test_each_error_stands_at_its_status(self) -> None:
        """The example of each error response has a code that belongs to its status."""
        for operation in _operations():
            for status, response in operation["responses"].items():
                content = _resolved(response).get("content", {}).get("application/json", {})
                code = content.get("example", {}).get("code")
                self.assertEqual(STATUS_OF_CODE.get(code), int(status) if int(status) >= 400 else None)

    def test_limits_are_those_of_the_model(self) -> None:
        """The limits in the document are the constants in the code."""
        self.assertEqual(SCHEMAS["Name"]["maxLength"], model.NAME_CHARACTERS_MAX)
        self.assertEqual(SCHEMAS["Port"]["maximum"], hosts.PORT_MAX)
        self.assertEqual(SCHEMAS["Weight"]["maximum"], model.WEIGHT_MAX)
        self.assertEqual(SCHEMAS["Ttl"]["maximum"], TTL_S_MAX)
        self.assertEqual(SCHEMAS["RenewalsWanted"]["properties"]["ids"]["maxItems"], model.RENEWALS_MAX)
        self.assertEqual(SCHEMAS["ClaimsWanted"]["properties"]["ids"]["maxItems"], claim_leases.KEYS_ASKED_MAX)
        backend, frontend = SCHEMAS["BackendChange"]["properties"], SCHEMAS["FrontendChange"]["properties"]
        self.assertEqual(backend["servers"]["maxItems"], routing.SERVERS_MAX)
        self.assertEqual(backend["slow_start"]["maximum"], routing.SLOW_START_S_MAX)
        self.assertEqual(SCHEMAS["Health"]["properties"]["interval"]["maximum"], routing.HEALTH_INTERVAL_S_MAX)
        self.assertEqual(SCHEMAS["HeaderValue"]["maxLength"], routing.TEXT_CHARACTERS_MAX)
        self.assertEqual(frontend["rules"]["maxItems"], routing.RULES_MAX)
        self.assertEqual(SCHEMAS["Timeout"]["maximum"], connection_settings.TIMEOUT_S_MAX)
        self.assertEqual(SCHEMAS["Maxconn"]["maximum"], connection_settings.MAXCONN_MAX)
        self.assertEqual((*frontend["timeouts"]["properties"],), connection_settings.FRONTEND_TIMEOUTS)
        self.assertEqual((*backend["timeouts"]["properties"],), connection_settings.BACKEND_TIMEOUTS)
        self.assertLess(routing.FRONTEND.checks.keys(), frontend.keys())
        self.assertLess(routing.BACKEND.checks.keys(), backend.keys())
        self.assertEqual(frontend["mode"]["enum"], [*routing.MODES, None])
        (last,) = [each for each in DOCUMENT["paths"]["/events"]["get"]["parameters"] if each.get("name") == "last"]
        self.assertEqual(last["schema"]["maximum"], EVENTS_MAX)
        self.assertEqual(COMPONENTS["parameters"]["MetaFields"]["schema"]["maxProperties"], QUERY_FIELDS_MAX)

        self.assertEqual(SCHEMAS["Account"]["properties"]["events"]["maxItems"], DIAGNOSIS_EVENTS_MAX)

    def test_an_account_has_the_fields_that_it_is_told_with(self) -> None:
        """The schemas of a diagnosis have all fields of the code, in order, and all are required."""
        parts = {
            "Held": diagnosis.HeldClaim,
            "Seen": diagnosis.SeenClaim,
            "Heard": diagnosis.Heard,
            "Happened": diagnosis.PastEvent,
        }
        for name, part in parts.items():
            self._assert_fields(name, *part.__struct_encode_fields__)
        for name, whole in {"Account": diagnosis.NodeDiagnosis, "Unheard": diagnosis.NoDiagnosis}.items():
            self._assert_fields(name, "answered", *whole.__struct_encode_fields__)

    def test_a_claim_of_a_node_has_the_fields_that_it_is_told_with(self) -> None:
        """The schemas of a claim have all fields of the code, in order, and all are required."""
        self._assert_fields("NodeClaim", *inquiries.NodeClaim.__struct_encode_fields__)
        self._assert_fields("Claims", *inquiries.ClaimsFound.__struct_encode_fields__)

    def test_a_node_has_the_fields_that_it_is_told_with(self) -> None:
        """The schemas of a node's report have all fields of the code, whether the node answered or not."""
        self._assert_fields("NodeReport", *node_fields(a_node(Clock()).own_report()))
        self._assert_fields("NodeUnanswered", *node_fields(node_report.NoNodeReport("n2", "n2:1730", "")))
        self._assert_fields("NodeHeard", *node_report.HeardPeer.__struct_encode_fields__)
        self.assertEqual(SCHEMAS["NodeReport"]["properties"]["hears"]["maxItems"], peers.PEERS_MAX)

    def test_what_was_done_since_the_start_is_what_is_counted(self) -> None:
        """The schema of the counters has all of them."""
        self._assert_fields("Tally", *Counters().as_fields())

    def test_a_status_has_the_fields_that_nodes_show(self) -> None:
        """The schema of a status has all fields of a node's status."""
        self._assert_fields("Status", *a_node(Clock()).status())

    def _assert_fields(self, name: str, *fields: str) -> None:
        self.assertEqual([*SCHEMAS[name]["properties"]], [*fields])
        self.assertEqual(SCHEMAS[name]["required"], [*fields])

    def test_the_version_is_bender_s(self) -> None:
        """The version of the document is bender's version."""
        self.assertEqual(DOCUMENT["info"]["version"], __version__)


def _as_described(path: str) -> str:
    return path.replace("<", "{").replace(">", "}")


def _operations() -> Iterator[dict[str, Any]]:
    for item in DOCUMENT["paths"].values():
        yield from (item[method] for method in METHODS & item.keys())


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part of the document; if it is a reference, return its target."""
    if "$ref" not in part:
        return part
    found: Any = DOCUMENT
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    resolved: dict[str, Any] = found
    return resolved
