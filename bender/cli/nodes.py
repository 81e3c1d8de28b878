"""Commands about the nodes: their state, and the objects that differ between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from bender.cli.click_base import BenderCommand
from bender.cli.columns import CONSUMERS, DIFFERENCES, NODES
from bender.cli.output import age_text, duration_text, without_full_stop
from bender.cli.session import Session, request_command
from bender.client import BenderError, Consumer, Guarded, NotFound
from bender.client.client import LIST_BYTES_MAX
from bender.client.decoding import decode_json
from bender.client.drivers import main_problem_kind, problem_clauses
from bender.client.responses import NodeStatus, PeerStatus, api_addresses, check_body, reader, refusal_of
from bender.core.consumers import labels, report_of
from bender.net.addresses import NoAnswer

#: Nodes may differ for a moment, so `diff` asks them this number of times before it reports differences, with this
#: pause in seconds.
DIFF_ATTEMPTS = 3
DIFF_INTERVAL_S = 0.5

#: Time limit for the status of each node. Together with the time until a second node is asked, a node that hangs delays
#: a command by less than 2 s.
STATUS_S_MAX = 1.5

#: Seconds after its start in which a node may still search for its peers.
PEER_SEARCH_S = 10.0

#: The part of a limit above which its use is printed, and the limits for the size of a single object, whose use is
#: never printed.
HIGH_USE = 0.8
SIZE_LIMITS = ("body", "entry")

KINDS = ("registrations", "backends", "frontends")


@click.command(
    cls=BenderCommand,
    columns=(NODES, CONSUMERS),
    examples="""
    bender status
    bender status --node 10.0.0.1,10.0.0.2,10.0.0.3
    """,
)
@request_command
async def status(session: Session) -> None:
    """Show the state of all nodes, and all consumers: programs that follow events, such as load balancers' drivers.

    One node is enough to find the others. A driver configures a load balancer from bender. The command prints the
    problems of each driver, for example that the load balancer refuses a configuration, with the reason and the
    configuration in use. It also prints each limit of a node that is more than 80 % used. With --json the output is the
    status that the asked node reports, with the list of consumers in the field "consumers".

    The exit status is 0 if a node answers, even if it reports problems. To test whether all nodes answer and agree, use
    the exit status of `bender diff`.
    """
    own, reply = await session.client.read(reader(NodeStatus), "GET", "/status")
    if session.screen.as_json:
        session.screen.json(msgspec.json.encode(reply.json() | {"consumers": await _listed_consumers(session)}))
        return
    pending_consumers = session.start(_consumers(session, own_ready=own.ready))
    found = await _statuses(session, [node for node in _all_nodes(session, own) if node != reply.node])
    found = {reply.node: own, **found}
    screen = session.screen
    known = {peer.api: peer for peer in own.peers}
    rows = [_row(screen, node, each, known.get(node)) for node, each in found.items()]
    rows += [
        [peer.node, peer.api or "", screen.coloured(peer.state), duration_text(peer.lag), *[""] * 5]
        for peer in own.peers
        if peer.api not in found
    ]
    rows.sort(key=lambda row: (not row[0], row[0], row[1]))
    screen.table(NODES.names, rows)
    for node, each in found.items():
        if isinstance(each, str):
            screen.say(f"{node} {each}.")
            session.problems.pop(node, None)  # it was printed
            continue
        for guarded in each.guarded:
            screen.say(f"{each.node} {_suspects(guarded)}.")
        for line in limits_in_use(each):
            screen.say(line)
    for line in missing_peers(own):
        screen.say(line)
    for what, problem in own.problems.items():
        if not what.startswith("consumer/"):  # the consumers of all nodes are printed below
            screen.say(problem_sentence(own, what, problem))
    screen.aside(f"LAG: the time since {own.node} ({reply.node}) last received a heartbeat of the node")
    _show_consumers(session, await pending_consumers, lost=not own.counts.frontends)


def problem_sentence(own: NodeStatus, about: str, problem: str) -> str:
    """Return a sentence about a problem that a node reports. The problem of an address is a clause about it."""
    if "/" in about:
        return f"{own.node} reports for {about}: {problem}."
    names = {peer.node for peer in own.peers if peer.address == about}
    subject = f"{names.pop()} ({about})" if len(names) == 1 else about
    return f"{own.node} reports: {subject} {problem}."


def missing_peers(own: NodeStatus) -> list[str]:
    """Return a sentence for each address in --peers at which a node has found no peer; none in its first seconds."""
    if own.uptime_s < PEER_SEARCH_S:
        return []
    found = "was never found" if own.ready else "was not found yet"
    return [f"{seed}, one of --peers, {found} by {own.node}." for seed in own.unanswered]


def limits_in_use(found: NodeStatus) -> list[str]:
    """Return a sentence for each limit of a node of which more than the part `HIGH_USE` is used."""
    uses = [(name, use) for name, use in found.limits.items() if name not in SIZE_LIMITS]
    return [
        f"{found.node} uses {use.used / use.maximum:.0%} of its {name.replace('_', ' ')}: "
        f"{use.used:,.10g} of {use.maximum:,.10g}."
        for name, use in uses
        if use.maximum and use.used > HIGH_USE * use.maximum
    ]


async def _listed_consumers(session: Session) -> list[Any] | None:
    """Return all consumers as the API reports them, or None if no node answers the request."""
    try:
        found, _ = await session.client.read(reader(list[Any]), "GET", "/consumers", bytes_max=LIST_BYTES_MAX)
    except BenderError:
        return None
    return found


async def _consumers(session: Session, *, own_ready: bool) -> list[Consumer]:
    """Return all consumers; none if the node runs an older release, or refuses because it is not ready."""
    try:
        return await session.client.consumers()
    except NotFound:  # the node runs an older release, which does not list consumers
        return []
    except BenderError:
        if own_ready:  # otherwise the table shows the reason
            raise
        return []


def _show_consumers(session: Session, consumers: Sequence[Consumer], *, lost: bool) -> None:
    """Print all consumers with their problems, and the steps to take if `lost`: if there is no frontend for them."""
    if not consumers:
        return
    screen = session.screen
    screen.say("")
    consumer_labels = labels([(each.name, each.instance) for each in consumers])
    rows = [
        [
            *(
                label,
                each.node,
                screen.coloured((main_problem_kind(each) or "connected") if each.connected else "gone"),
            ),
            *("" if each.cursor is None else each.behind, age_text(each.at_ms), _found_down(each.report)),
        ]
        for label, each in zip(consumer_labels, consumers, strict=True)
    ]
    screen.table(CONSUMERS.names, rows)
    for warning in dict.fromkeys(each.warning for each in consumers):
        if warning is not None:
            screen.say(f"{warning[:1].upper()}{warning[1:]}.")
    for label, each in zip(consumer_labels, consumers, strict=True):
        for problem in problem_clauses(each, age_text) if each.connected else ():
            screen.say(f"{label} {without_full_stop(problem)}.")
    if lost:
        screen.say(
            "No frontend is set. If there were frontends before, they are lost, because all nodes were down at once. "
            "Load balancers keep their last configuration. Set all backends and frontends again at once (bender apply)."
        )


def _found_down(report: dict[str, Any] | None) -> str:
    known = report_of(report)
    return "" if known is None or known.found_down is None else ", ".join(known.found_down) or "none"


def _suspects(guarded: Guarded) -> str:
    members = "one member" if guarded.suspects == 1 else f"{guarded.suspects} members"
    return f"lists {members} of {guarded.app} as suspect, for another {duration_text(guarded.left_s)} at most"


def _row(screen: Any, node: str, found: NodeStatus | str, peer: PeerStatus | None) -> list[Any]:
    lag = "" if peer is None else duration_text(peer.lag)
    if isinstance(found, str):
        return [peer.node if peer else "", node, screen.coloured("unreachable"), lag, *[""] * 5]
    state = screen.coloured("ready" if found.ready else "not ready")
    counts = found.counts
    up = duration_text(found.uptime_s)
    return [*(found.node, node, state, lag, found.digest[:8], counts.registrations, counts.claims, up), found.version]


def _all_nodes(session: Session, own: NodeStatus) -> list[str]:
    """Return the addresses of the configured nodes, and of those that the answering node knows."""
    return [*dict.fromkeys([*session.nodes, *api_addresses(own)])]


async def _statuses(session: Session, nodes: list[str]) -> dict[str, NodeStatus | str]:
    """Return the status of each node, or the reason why it does not answer."""
    read = reader(NodeStatus)

    async def read_status(node: str) -> NodeStatus | str:
        try:
            return read(await session.client.ask(node, "GET", "/status", within_s=STATUS_S_MAX))
        except NoAnswer as no_answer:
            return str(no_answer)

    answers = await session.gather_results(map(read_status, nodes))
    return dict(zip(nodes, answers, strict=True))


@click.command(
    cls=BenderCommand,
    columns=(DIFFERENCES,),
    examples="""
    bender diff
    bender diff --node 10.0.0.1,10.0.0.2 --json
    """,
)
@request_command
async def diff(session: Session) -> int:
    """Show the objects that differ between nodes; print nothing if all nodes agree.

    One node is enough to find the others. The exit status is 0 if all nodes agree, and 1 if nodes differ or a node does
    not answer.
    """
    own, _ = await session.client.read(reader(NodeStatus), "GET", "/status")
    nodes = _all_nodes(session, own)
    unreachable: dict[str, str] = {}
    for look in range(DIFF_ATTEMPTS):
        if look:
            await session.pause(DIFF_INTERVAL_S)
        found = await _statuses(session, [node for node in nodes if node not in unreachable])
        unreachable |= {node: problem for node, problem in found.items() if isinstance(problem, str)}
        statuses = {node: status for node, status in found.items() if isinstance(status, NodeStatus)}
        if len({status.digest for status in statuses.values()}) == 1:
            break
    else:
        await _show_difference(session, {node: status.node for node, status in statuses.items()})
        return 1
    if unreachable:
        for node, problem in unreachable.items():
            session.screen.error(f"{node} {problem}.")
        return 1
    if session.screen.as_json:
        session.screen.json(b"[]")
    session.screen.aside(f"{len(statuses)} nodes agree")
    return 0


async def _show_difference(session: Session, names: Mapping[str, str]) -> None:
    by_id: dict[str, dict[str, Any]] = defaultdict(dict)
    asked = [(node, kind) for node in names for kind in KINDS]
    listed = await session.gather_results(_listed(session, node, kind) for node, kind in asked)
    for (node, _), bodies in zip(asked, listed, strict=True):
        for id_, body in bodies.items():
            by_id[id_][node] = body
    differing = {
        id_: bodies
        for id_, bodies in sorted(by_id.items())
        if len(bodies) < len(names) or len({msgspec.json.encode(body) for body in bodies.values()}) > 1
    }
    if session.screen.as_json:
        shown = [{"id": id_, "at": {node: bodies.get(node) for node in names}} for id_, bodies in differing.items()]
        session.screen.json(msgspec.json.encode(shown))
        return
    rows = [[id_, *(_difference(bodies, node) for node in names)] for id_, bodies in differing.items()]
    session.screen.table([DIFFERENCES.names[0], *names.values()], rows)
    if not rows:
        session.screen.say("The nodes list the same objects, but have not received all updates from each other.")


async def _listed(session: Session, node: str, kind: str) -> dict[str, Any]:
    """Return the objects of a kind that a node lists, by id."""
    try:
        reply = await session.client.ask(node, "GET", f"/{kind}", bytes_max=LIST_BYTES_MAX)
        refusal = refusal_of(reply)
        if refusal is not None:
            raise refusal
        found = decode_json(reply.body, list[dict[str, Any]])
        for each in found:
            check_body(kind.removesuffix("s"), each)
        return {each["id"]: each for each in found}
    except NoAnswer as no_answer:
        raise BenderError(f"{node} {no_answer}") from no_answer


def _difference(bodies: Mapping[str, Any], node: str) -> str:
    """Return the difference between an object at a node and the same object at the first node that has it."""
    body = bodies.get(node)
    if body is None:
        return "-"
    first = next(iter(bodies.values()))
    if body == first:
        return "yes"
    changed = [f"{key}={msgspec.json.encode(body[key]).decode()}" for key in body if body[key] != first.get(key)]
    return " ".join(changed) or "other"
