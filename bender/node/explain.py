"""Why an instance is in rotation or not: the diagnoses of all nodes, and their summary in one sentence.

The reader may be in a hurry: the sentence states the present state, since when it lasts, and which command changes it.
The other fields are the evidence. This module decides and changes nothing.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from bender.core.admin_state import override_object
from bender.core.consumers import ConsumerState, labels
from bender.core.diagnosis import HeldClaim, NodeDiagnosis, NoDiagnosis
from bender.core.reasons import CHECK_FAILED
from bender.core.registration_status import UP
from bender.core.timing import format_duration
from bender.net.addresses import host_port
from bender.node.inquiries import gather, peer_diagnoses
from bender.node.node import Node

#: The most registrations with the same address that the sentence names.
SAME_ADDRESS_NAMED_MAX = 4


async def explain(node: Node, key: str) -> dict[str, Any] | None:
    """Return the answer to `GET /explain/…`; None if no node knows anything about the id."""
    asking: list[Coroutine[Any, Any, Any]] = [peer_diagnoses(node, key), node.all_consumers()]
    diagnoses, consumers = await gather(asking)
    # This node's diagnosis must be of the same moment as its list, which is read below.
    diagnoses = [node.diagnose(key), *diagnoses]
    answered = [diagnosis for diagnosis in diagnoses if isinstance(diagnosis, NodeDiagnosis)]
    if not any(diagnosis.has_content for diagnosis in answered):
        return None
    shown = node.registration(key)
    found = node.override(key)
    override = None if found is None else override_object(key, *found)
    checked = _check_results(key, consumers)
    same_address = node.ids_with_same_address(key)
    return {
        "id": key,
        "listed": shown is not None,
        "why": _explanation(answered, [diagnosis for diagnosis in diagnoses if isinstance(diagnosis, NoDiagnosis)])
        + _overridden(override)
        + _weight(shown)
        + _found_down(checked)
        + _same_address(key, same_address, listed=shown is not None),
        "registration": None if shown is None else msgspec.Raw(shown),
        "word": override,
        "checks": checked,
        "same_address": same_address,
        "backends": _backends(node, key),
        "nodes": [{"answered": isinstance(diagnosis, NodeDiagnosis), **_fields(diagnosis)} for diagnosis in diagnoses],
    }


def _fields(diagnosis: NodeDiagnosis | NoDiagnosis) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(diagnosis)
    return fields


# The sentence.


def _explanation(diagnoses: Sequence[NodeDiagnosis], unanswered: Sequence[NoDiagnosis]) -> str:
    """Return the first part of the sentence. The first diagnosis is that of the node that the client asked."""
    asked = diagnoses[0]
    sentence = _why_listed(diagnoses) if asked.listed else _why_not_listed(asked, diagnoses)
    others = [diagnosis.node for diagnosis in diagnoses if diagnosis.listed != asked.listed]
    if others:
        sentence += f"; {_and(others)} {'does' if len(others) == 1 else 'do'}{' not' if asked.listed else ''} list it"
    if unanswered:
        sentence += f"; {_and(each.node for each in unanswered)} did not answer"
    return sentence


def _why_listed(diagnoses: Sequence[NodeDiagnosis]) -> str:
    asked = diagnoses[0]
    if asked.suspect_s is not None:
        lost = f": {_lost(asked)}" if _lost(asked) else ""
        return (
            f"suspect (node-lost): {asked.node} does not hear the nodes at which the instance renewed{lost}; a guard "
            f"keeps it listed for another {format_duration(asked.suspect_s)} (to end this: bender guard end)"
        )
    held = [
        (diagnosis, diagnosis.claim)
        for diagnosis in diagnoses
        if diagnosis.claim is not None and diagnosis.claim.speaks
    ]
    if not held:
        holders = [seen.node for seen in diagnoses[0].sees if seen.counts]
        if holders:
            return f"listed: {_and(holders)} heard from the instance"
        return "still listed: the last node that heard from the instance is about to remove it"
    diagnosis, claim = max(held, key=lambda each: each[1].left_s)
    return f"listed: {diagnosis.node} heard from it {_seconds(claim.renewed_s)} ago, {_left(claim)}"


def _left(claim: HeldClaim) -> str:
    if claim.left_s > 0:
        return f"and it has {_seconds(claim.left_s)} left of its ttl of {claim.ttl:g} s"
    return f"its ttl of {claim.ttl:g} s is over, and the node asks the other nodes whether they heard from it"


def _why_not_listed(asked: NodeDiagnosis, diagnoses: Sequence[NodeDiagnosis]) -> str:
    last = next((happened for happened in asked.events if happened.event == "offline"), None)
    since = "" if last is None else f" since {_time(last.at_ms)}"
    lost = _lost(asked)
    if asked.hidden and lost:
        silent = f"{asked.node} does not hear the nodes at which the instance renewed"
        return f"hidden{since} (node-lost): {silent}: {lost}"
    enders = dict.fromkeys(name for diagnosis in diagnoses for name in diagnosis.ended)
    if (last is not None and last.reason == CHECK_FAILED) or (last is None and asked.check_failed):
        by = f", by a request to {_and(enders)}" if enders else ""
        return f"deregistered{since}{by}, because a health check failed"
    if enders and (last is None or last.reason == "deregistered"):
        return f"deregistered{since}, by a request to {_and(enders)}"
    if last is not None and last.reason == "expired":
        return f"expired{since}: the instance was not renewed within its ttl"
    if last is not None:
        return f"offline{since}, because it was {last.reason}"
    return f"not listed at {asked.node}, which does not know the instance"


def _lost(diagnosis: NodeDiagnosis) -> str:
    """Return the silent nodes of a diagnosis, whose claims would count if the diagnosing node heard them."""
    return ", ".join(f"{seen.node} ({_ago(seen.heard_s)})" for seen in diagnosis.sees if seen.why == "silent")


def _overridden(override: dict[str, Any] | None) -> str:
    """Return the part of the sentence about the operator's state."""
    if override is None or override["state"] == UP:
        return ""
    means = "no new requests" if override["state"] == "drain" else "no requests"
    by = f" by {override['author']}" if override["author"] else ""
    left = format_duration(override["left"])
    return f"; set to {override['state']}{by}, {means} for another {left} (to end this: bender up)"


def _weight(shown: bytes | None) -> str:
    """Return the part of the sentence about a weight of 0, which its owner has set on purpose or forgotten."""
    weight = None if shown is None else msgspec.json.decode(shown)["weight"]
    return "; its weight is 0, so it gets no traffic" if weight == 0 else ""


def _check_results(key: str, consumers: Iterable[ConsumerState]) -> list[dict[str, Any]]:
    """Return the result of each load balancer that reports its health checks."""
    finding = [(each, None if each.report is None else each.report.found_down) for each in consumers if each.connected]
    reports = [(each, down) for each, down in finding if down is not None]
    called = labels([(each.name, each.instance) for each, _ in reports])
    return [{"consumer": label, "down": key in down} for label, (_, down) in zip(called, reports, strict=True)]


def _found_down(checked: Sequence[dict[str, Any]]) -> str:
    """Return the part of the sentence about load balancers that find the instance down; the registry still lists it."""
    down = [check["consumer"] for check in checked if check["down"]]
    if not down:
        return ""
    if len(down) == len(checked):
        return f"; all load balancers that send reports say that it is down ({_and(down)})"
    return f"; {_and(down)} {'says' if len(down) == 1 else 'say'} that it is down"


def _same_address(key: str, others: Sequence[str], *, listed: bool) -> str:
    """Return the part of the sentence about other registrations with its address, where only one process answers."""
    if not others:
        return ""
    _, _, _, host, port = key.split("/")
    named = [*others[:SAME_ADDRESS_NAMED_MAX]]
    if len(others) > len(named):
        named.append(f"{len(others) - len(named)} more")
    are = ("are" if len(others) > 1 else "is") + (" also" if listed else "")
    means = ", where one process answers: only one of them can be right" if listed else ""
    return f"; {_and(named)} {are} listed with the address {host_port(host, int(port))}{means}"


def _seconds(duration_s: float) -> str:
    return f"{duration_s:.1f} s"


def _ago(duration_s: float | None) -> str:
    return "never heard" if duration_s is None else f"last heard {_seconds(duration_s)} ago"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _and(names: Iterable[str]) -> str:
    *first, last = [*names] or [""]
    return f"{', '.join(first)} and {last}" if first else last


# The backends of the instance.


def _backends(node: Node, key: str) -> list[dict[str, Any]]:
    """Return the backends that send requests to the instance's version, as version or canary, with their frontends."""
    _, app, version, _, _ = key.split("/")
    frontends = [msgspec.json.decode(body) for body in node.configured_objects("frontend")]
    found = []
    for backend in map(msgspec.json.decode, node.configured_objects("backend")):
        role = _role(backend, app, version)
        if role is not None:
            names = [frontend["name"] for frontend in frontends if frontend.get("backend") == backend["name"]]
            found.append({"name": backend["name"], "as": role, "frontends": names})
    return found


def _role(backend: dict[str, Any], app: str, version: str) -> str | None:
    canary = backend.get("canary")
    if backend["app"] != app:
        return None
    if backend["version"] == version:
        return "version"
    return "canary" if isinstance(canary, dict) and canary.get("version") == version else None
