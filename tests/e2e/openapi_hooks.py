"""What schemathesis has to be told beside docs/openapi.yaml when it tries a node; tests/e2e/schemathesis.toml names it.

The document is for people and for programs in any language, so it leaves some things to words: what is printable, the
interval of a node, how numbers are written. Here they are said in a way that values can be made from. Nothing here may
turn what is wrong into what is right, or the node would not be tried with it.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, HookContext, Response

#: Of the node that is tried: four intervals, which are one second each.
TTL_S_MIN = 4

#: No request waits longer here. That it can wait is for other tests.
WAIT_S_MAX = 0.05

#: A stream is read to its third event, or for so long: it ends by itself only when the node does.
STREAM_S_MAX = 0.3

PATIENCE_S = 15

NOT_READY = 503

#: What a node alone puts together. To clients the document says that new fields may come with new versions; this node
#: is of the document's own, so a field that stands in its answer alone was forgotten in the document.
WHOLE = (
    *("Registration", "Server", "Word", "Renewals", "Applied", "Events", "Mark", "Ready", "About"),
    *("Explanation", "BackendServed", "Account", "Unheard", "Held", "Seen", "Heard", "Happened"),
    *("Check", "Consumer"),
    *("Status", "Tally", "Peer", "Guarded"),
)

#: What is a whole number, and may be so to a schema with a point.
COUNTS = ("port", "weight", "min_members", "maxconn", "redirect_https")

_MAPPED = re.compile(r":ffff:[^:]+(:[^:]+)?(\]|$)", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?", re.ASCII)

_printable = st.characters(exclude_categories=("C", "Z"), include_characters=" ", exclude_characters="/")
_label = st.lists(st.text("abcxyzABCXYZ0189_", min_size=1, max_size=31), min_size=1, max_size=2).map("-".join)
_port = st.integers(1, 65535)
_ipv4, _ipv6 = st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map("[{}]".format)
_dns_name = st.builds("{}{}".format, st.lists(_label, min_size=1, max_size=3).map(".".join), st.sampled_from(["", "."]))


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """Narrow the document to what this node takes and answers.

    Names are made in a tenth of the time that their patterns take; they match the patterns all the same.
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
    places = st.lists(st.tuples(st.just("*") | _ipv4 | _ipv6, _port), min_size=1, max_size=3, unique=True)
    _make("bind", schemas["Bind"], places.map(lambda each: ",".join(f"{address}:{port}" for address, port in each)))
    _make("header-value", schemas["HeaderValue"], st.text(_printable, min_size=1, max_size=9).map(str.strip))


def _drop_author(raw_schema: dict[str, Any]) -> None:
    """Leave out a header of which nearly every text is valid: what is made to be wrong would be taken for a name."""
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
    """Leave out names that are not printable, hosts that are addresses of IPv4 mapped into IPv6, and TLS elsewhere.

    Of these, the document says in words alone that they, or some of them, are wrong.
    """
    parts = [part for part in (case.path_parameters, case.query, case.body) if isinstance(part, dict)]
    names = [part.get(field) for part in parts for field in ("app", "version", "name", "backend")]
    hosts = [str(host) for part in parts for host in (part.get("host"), *_listed(part.get("servers")))]
    printable = all(unquote(name).isprintable() for name in names if isinstance(name, str))
    mapped = any(_MAPPED.search(unquote(host)) for host in hosts)
    return printable and not mapped and all(_agrees(part) for part in parts)


def _agrees(body: dict[str, Any]) -> bool:
    """Whether TLS is at addresses of `bind` alone, and leaves something to redirect, as the document says in words."""
    tls, binds = body.get("tls"), str(body.get("bind")).split(",")
    encrypted = binds if tls is True else str(tls or "").split(",")
    if isinstance(tls, str) and not {*encrypted} <= {*binds}:
        return False
    return not (body.get("redirect_https") and len(encrypted) == len(binds))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Write whole numbers without a point, as the document says in words: to a schema 80.0 is an integer too."""
    if not isinstance(body, dict):
        return body
    plain = {name: int(body[name]) for name in COUNTS if _is_whole(body.get(name))}
    return _counts_without_points({**body, **plain})


def _counts_without_points(body: dict[str, Any]) -> dict[str, Any]:
    """The same of what a consumer counted."""
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
    """Let whatever waits come to an end, and ask for a stream where there is a snapshot to begin it with.

    Leave out ids in bodies: they have to agree with the rest, which the document says in words.
    """
    if isinstance(case.body, dict) and isinstance(case.body.get("id"), str):
        case.body = {name: value for name, value in case.body.items() if name != "id"}
    wait: Any = case.query.get("wait")
    if _is_number(wait):
        case.query["wait"] = f"{min(float(wait), WAIT_S_MAX):f}"
    if case.path == "/events" and case.query.get("snapshot") in ("", "1", "true", "always"):
        case.headers["Accept"] = "text/event-stream"
        kwargs["timeout"] = STREAM_S_MAX


def _is_number(value: Any) -> bool:
    """Whether it is one that the document takes, in whatever form it would be written."""
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


@schemathesis.check
def head_is_get_without_body(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """HEAD is answered as GET is, but for the body. (A node that was away for a moment may refuse either.)"""
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
