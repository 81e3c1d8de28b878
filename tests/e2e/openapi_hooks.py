"""Additions to docs/openapi.yaml for schemathesis when it tests a node; tests/e2e/schemathesis.toml names this file.

The document is for people, and for programs in any language, so it states some rules only in words: printable
characters, the interval of a node, the notation of numbers. The hooks state these rules so that schemathesis can
generate values. They must not make an invalid value valid, or no test would send it.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, HookContext, Response

#: The shortest ttl of the tested node: four intervals of one second.
TTL_S_MIN = 4

#: The longest wait of a request here. Other tests cover long waits.
WAIT_S_MAX = 0.05

#: A stream is read to its third event, or for this time, because a node does not end it.
STREAM_S_MAX = 0.3

PATIENCE_S = 15

NOT_READY = 503

#: Objects that only nodes send. The document allows new fields in later versions; this node has the document's version,
#: so a field that the document lacks is an error.
WHOLE = (
    *("Registration", "Server", "Word", "Renewals", "Applied", "Events", "Mark", "Ready", "About"),
    *("Explanation", "BackendServed", "Account", "Unheard", "Held", "Seen", "Heard", "Happened"),
    *("Check", "Consumer", "TargetGroup"),
    *("Status", "Tally", "Peer", "Guarded", "UsedCertificate", "Token", "Claims", "NodeClaim"),
    *("NodeReport", "NodeUnanswered", "NodeHeard"),
)

#: Fields with whole numbers, for which a schema also accepts numbers with a point.
COUNTS = ("port", "weight", "min_members", "maxconn", "redirect_https")

#: Values of `snapshot` that the document allows.
SNAPSHOTS = ("", "1", "true", "0", "false", "always")

_MAPPED = re.compile(r":ffff:[^:]+(:[^:]+)?(\]|$)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?", re.ASCII)

_printable = st.characters(exclude_categories=("C", "Z"), include_characters=" ", exclude_characters="/")
_label = st.lists(st.text("abcxyzABCXYZ0189_", min_size=1, max_size=31), min_size=1, max_size=2).map("-".join)
_port = st.integers(1, 65535)
_ipv4, _ipv6 = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map("[{}]".format)
_dns_name = st.builds("{}{}".format, st.lists(_label, min_size=1, max_size=3).map(".".join), st.sampled_from(["", "."]))


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Narrow the document to the requests and answers of this node.

    Names are generated in a tenth of the time that their patterns take; they still match the patterns.
    """
    _drop_author(raw_schema)
    schemas = raw_schema["components"]["schemas"]
    for schema in (*(schemas[name] for name in WHOLE), schemas["Status"]["properties"]["counts"]):
        schema["additionalProperties"] = False
    schemas["Ttl"]["minimum"] = TTL_S_MIN
    name, dns_name = schemas["Name"], schemas["Host"]["anyOf"][0]
    _make("printable", name, st.text(_printable, min_size=name["minLength"], max_size=name["maxLength"]))
    token = schemas["InstanceToken"]
    _make("token", token, st.text(_printable, min_size=token["minLength"], max_size=token["maxLength"]))
    dns_names = _make("dns-name", dns_name, _dns_name)
    _make("host-port", schemas["HostPort"], st.builds("{}:{}".format, dns_names | _ipv4 | _ipv6, _port))
    hosts = dns_names | _ipv4 | _ipv6
    _make("authority", schemas["Authority"], hosts | st.builds("{}:{}".format, hosts, _port))
    names = st.text(_printable, min_size=1, max_size=9).filter(lambda name: name not in (".", ".."))
    ids = st.builds("registration/{}/{}/{}/{}".format, names, names, dns_names | _ipv4, _port)
    _make("registration-id", schemas["ClaimsWanted"]["properties"]["ids"]["items"], ids)
    places = st.lists(st.tuples(st.just("*") | _ipv4 | _ipv6, _port), min_size=1, max_size=3, unique=True)
    _make("bind", schemas["Bind"], places.map(lambda each: ",".join(f"{address}:{port}" for address, port in each)))
    _make("header-value", schemas["HeaderValue"], st.text(_printable, min_size=1, max_size=9).map(str.strip))


def _drop_author(raw_schema: dict[str, Any]) -> None:
    """Remove a header for which nearly every text is valid: invalid values would be taken for names."""
    author = {"$ref": "#/components/parameters/As"}
    for path in raw_schema["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and author in operation.get("parameters", ()):
                operation["parameters"].remove(author)


def _make(kind: str, schema: dict[str, Any], texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    matches = re.compile(schema.pop("pattern")).search
    matching = texts.filter(lambda text: matches(text) is not None)
    schemathesis.openapi.format(kind, matching)
    schema["format"] = kind
    return matching


@schemathesis.hook
def filter_case(context: HookContext, case: Case[Any]) -> bool:
    """Leave out unprintable names, IPv4 addresses that are mapped into IPv6, and TLS at addresses outside of `bind`.

    The document states only in words that these, or some of them, are invalid.
    """
    parts = [part for part in (case.path_parameters, case.query, case.body) if isinstance(part, dict)]
    names = [part.get(field) for part in parts for field in ("app", "version", "name", "backend")]
    hosts = [str(host) for part in parts for host in (part.get("host"), *_listed(part.get("servers")))]
    printable = all(unquote(name).isprintable() for name in names if isinstance(name, str))
    mapped = any(_MAPPED.search(unquote(host)) for host in hosts)
    return printable and not mapped and all(_agrees(part) for part in parts)


def _agrees(body: dict[str, Any]) -> bool:
    """Return True if TLS is only at addresses of `bind`, and a redirect has an address without TLS."""
    tls, binds = body.get("tls"), str(body.get("bind")).split(",")
    encrypted = binds if tls is True else str(tls or "").split(",")
    if isinstance(tls, str) and not {*encrypted} <= {*binds}:
        return False
    return not (body.get("redirect_https") and len(encrypted) == len(binds))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Write whole numbers without a point, as the document states in words: for a schema, 80.0 is an integer too."""
    if not isinstance(body, dict):
        return body
    plain = {name: int(body[name]) for name in COUNTS if _is_whole(body.get(name))}
    return _counts_without_points({**body, **plain})


def _counts_without_points(body: dict[str, Any]) -> dict[str, Any]:
    """Write the counts of a consumer's report without a point."""
    report = body.get("report")
    backends = report.get("backends") if isinstance(report, dict) else None
    if not isinstance(backends, dict):
        return body
    plain = {
        backend: {version: _plain(counted) for version, counted in versions.items()}
        if isinstance(versions, dict)
        else versions
        for backend, versions in backends.items()
    }
    return {**body, "report": {**body["report"], "backends": plain}}


def _plain(counted: Any) -> Any:
    if not isinstance(counted, dict):
        return counted
    return {name: int(value) if _is_whole(value) else value for name, value in counted.items()}


def _is_whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer()


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Limit waits, request a stream if it begins with a snapshot, and past events without a snapshot or a cursor.

    Remove ids from bodies: they must agree with other fields, which the document states only in words.
    """
    if isinstance(case.body, dict) and isinstance(case.body.get("id"), str):
        case.body = {name: value for name, value in case.body.items() if name != "id"}
    wait: Any = case.query.get("wait")
    if _is_number(wait):
        case.query["wait"] = f"{min(float(wait), WAIT_S_MAX):f}"
    if case.path == "/events" and "last" in case.query:
        case.query["last"] = int(case.query["last"]) if _is_whole(case.query["last"]) else case.query["last"]
        case.query.pop("since", None)
        if case.query.get("snapshot") in SNAPSHOTS:
            del case.query["snapshot"]
    if case.path == "/events" and case.query.get("snapshot") in ("", "1", "true", "always"):
        case.headers["Accept"] = "text/event-stream"
        kwargs["timeout"] = STREAM_S_MAX


def _is_number(value: Any) -> bool:
    """Return True for a number that the document allows, in any notation."""
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


@schemathesis.check
def head_is_get_without_body(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """Check that HEAD has the answer of GET without the body. A node that paused may refuse either."""
    if response.request.method != "GET" or response.status_code == NOT_READY:
        return
    asked = response.request.copy()
    asked.method = "HEAD"
    with requests.Session() as session:
        head = session.send(asked, timeout=PATIENCE_S)
    if head.status_code == NOT_READY:
        return
    assert head.content == b"", "HEAD was answered with a body"
    assert head.status_code == response.status_code, f"HEAD was answered {head.status_code}"
    named = {name.lower() for name in head.headers} | {"content-length", "transfer-encoding"}
    missing = set(response.headers) - named
    assert not missing, f"HEAD was answered without {', '.join(missing)}"
