"""The rows and sentences that explain an instance, for `bender explain` and `bender top`."""

from __future__ import annotations

from collections.abc import Sequence

from bender.cli.columns import DIAGNOSES, LAST_EVENTS
from bender.cli.output import COLOURS, duration_text, time_text
from bender.cli.styled_text import Styled, plain_table, styled
from bender.client.responses import Diagnosis, Explanation, PeerClaim, Serves


def diagnoses_by_node(explained: Explanation) -> list[Diagnosis]:
    """Return the diagnoses of all nodes, in order of their names."""
    return sorted(explained.nodes, key=lambda diagnosis: diagnosis.node)


def reason_line(explained: Explanation) -> Styled:
    return styled(explained.why, "green" if explained.listed else "red")


def diagnosis_row(diagnosis: Diagnosis) -> list[object]:
    """Return the row of a node, for the columns `DIAGNOSES`."""
    if not diagnosis.answered:
        return [diagnosis.node, styled("unreachable", COLOURS["unreachable"]), "", "", "", diagnosis.problem]
    claim = diagnosis.claim
    lists = styled("yes", "green") if diagnosis.listed else styled("hidden" if diagnosis.hidden else "no", "red")
    own = (
        [f"{duration_text(claim.renewed_s)} ago", duration_text(claim.left_s), duration_text(claim.held_s)]
        if claim
        else ["", "", ""]
    )
    others = [_describe_claim(each) for each in diagnosis.sees]
    others += [f"deregistered at {name}" for name in diagnosis.ended]
    return [diagnosis.node, lists, *own, "; ".join(others)]


def _describe_claim(claim: PeerClaim) -> str:
    node = f"{claim.node} before its restart" if claim.earlier else claim.node
    if claim.counts:
        return f"{node} holds a claim"
    return (
        f"{node} knows that the registration has ended"
        if claim.why == "ended"
        else f"{node} is silent ({duration_text(claim.heard_s)})"
    )


def backends_sentence(explained: Explanation) -> str:
    """Return the sentence that names the backends of the instance."""
    serves = [f"backend {each.name} ({each.role}){_behind(each)}" for each in explained.backends]
    counts = "It is a member of" if explained.listed else "If it were listed, it would be a member of"
    return f"{counts} {', '.join(serves)}." if serves else "No backend sends requests to the version of this instance."


def _behind(backend: Serves) -> str:
    return f" behind frontend {', '.join(backend.frontends)}" if backend.frontends else ""


def event_rows(nodes: Sequence[Diagnosis]) -> list[list[object]]:
    """Return a row for each of the last events of each node, newest first, for the columns `LAST_EVENTS`."""
    return [
        [
            styled(time_text(event.at_ms), "dim"),
            diagnosis.node,
            styled(event.event, COLOURS.get(event.event, "")),
            event.reason,
        ]
        for diagnosis in nodes
        for event in diagnosis.events
    ]


def explanation_lines(explained: Explanation) -> list[Styled]:
    """Return the whole explanation as lines of text."""
    nodes = diagnoses_by_node(explained)
    events = event_rows(nodes)
    accounts = plain_table(DIAGNOSES.names, [diagnosis_row(diagnosis) for diagnosis in nodes])
    last = plain_table(LAST_EVENTS.names, events) if events else []
    lines = [reason_line(explained), styled(""), styled(accounts[0], "bold"), *map(styled, accounts[1:])]
    lines += [styled(""), styled(backends_sentence(explained))]
    return lines + ([styled(""), styled(last[0], "bold"), *map(styled, last[1:])] if last else [])
