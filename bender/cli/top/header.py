"""The lines of `bender top` above and below its table: the node, counts, problems, the view, and the keys."""

from __future__ import annotations

import textwrap

from bender.cli.output import without_full_stop
from bender.cli.styled_text import Styled, styled
from bender.cli.top.controls import TopControls
from bender.cli.top.fitting import age, fitted, width_of
from bender.cli.top.link import NodeLink
from bender.cli.top.views import APPS, BACKENDS, EVENTS, INSTANCES, NODES, VIEWS, Moment, Scope, TopState
from bender.net.escaping import escaped

#: The keys and their effects, which `?` shows.
HELP = (
    ("a i b n e", "show apps, instances, backends, nodes and problems, events"),
    ("Up Down j k", "select the row above or below; also PgUp, PgDn, Home (g), End (G)"),
    ("Enter Right", "show the instances of an app or backend; explain an instance"),
    ("Esc Left", "clear the filter, or go back; also Backspace"),
    ("/", "filter rows by words: Enter applies them, Esc clears them"),
    ("s S", "sort by the next column, or by the previous one"),
    ("r", "reverse the order"),
    ("Space p", "pause or resume the table; the header stays live"),
    ("Ctrl-L", "draw the screen anew"),
    ("q Ctrl-C", "quit"),
)

_HINTS = "q quit  ? help  / filter  s sort  p pause  Enter open  Esc back"

_TABS = (
    (APPS, "[a]pps"),
    (INSTANCES, "[i]nstances"),
    (BACKENDS, "[b]ackends"),
    (NODES, "[n]odes"),
    (EVENTS, "[e]vents"),
)

#: The indentation of the second and later lines of a problem.
_INDENT = "  "

Parts = list[tuple[str, str]]


def header(live: TopState, paused: Moment | None, controls: TopControls, width: int) -> list[Styled]:
    """Return the four lines above the table. They show the live state even during a pause."""
    lines: list[Parts] = [
        node_line(live.link),
        counts(live, controls.scope, events=True),
        _condition(live, width),
        _place(controls, None if paused is None else live.moment.now - paused.now),
    ]
    return [cut(parts, width) for parts in lines]


def node_line(link: NodeLink) -> Parts:
    """Return the followed node and its state."""
    parts: Parts = [("bender top", "bold")]
    status = link.status
    if link.address is None:
        return [*parts, (f"  asking {', '.join(link.configured_nodes)}", "")]
    address = f" ({link.address})" if status is not None and status.node != link.address else ""
    parts.append((f"  {link.name}{address}", ""))
    if link.is_stale:
        parts.append(("  unreachable", "red"))
    elif status is not None:
        parts.append(("  ready", "green") if status.ready else ("  not ready", "red"))
    if status is not None:
        known = [peer for peer in status.peers if peer.state != "left"]
        heard = 1 + sum(peer.state != "silent" for peer in known)
        style = "" if heard == 1 + len(known) else "red"
        parts.append((f"  nodes: {heard} of {1 + len(known)} heard", style))
        parts.append((f"  up {age(status.uptime_s)}", ""))
    return parts


def counts(shown: TopState, scope: Scope, *, events: bool = False) -> Parts:
    """Return the numbers of listed objects in a scope, and the rates of events and renewals."""
    registry, link = shown.registry, shown.link
    numbers = [f"registrations{f' of {scope}' if scope.app is not None else ''}: {registry.listed:,}"]
    if scope.app is None:
        apps = len({version.app for version in registry.versions.values() if version.listed})
        numbers.append(f"apps: {apps:,}")
        numbers.append(f"backends: {sum(not each.is_gone for each in registry.backends.values()):,}")
    if events:
        numbers.append(f"events: {registry.events_per_s(shown.moment.now):.1f}/s")
    if link.renewals_per_s is not None:
        numbers.append(f"renewals at {link.name}: {link.renewals_per_s:,.0f}/s")
    return [("  ".join(numbers), "")]


def problem_lines(link: NodeLink) -> list[Parts]:
    """Return a line for each problem that the node reports."""
    status = link.status
    found = [] if status is None else [f"{what}: {without_full_stop(why)}" for what, why in status.problems.items()]
    return [[(line, "yellow")] for line in found]


def all_problems(link: NodeLink, width: int) -> list[Styled]:
    """Return the reasons why the state is old, and all problems, with as many lines as they need."""
    found: list[Parts] = [[(f"{line}.", "red")] for line in (link.follow_problem, link.status_problem) if line]
    wrapped = [
        (text, style)
        for ((line, style),) in [*found, *problem_lines(link)]
        for text in textwrap.wrap(escaped(line), max(1, width - len(_INDENT)), subsequent_indent=_INDENT)
    ]
    return [cut([(text, style)], width) for text, style in wrapped]


def _condition(live: TopState, width: int) -> Parts:
    """Return the most important of these: why the state is old or incomplete, a notice, the problems of the node."""
    link, now = live.link, live.moment.now
    if link.is_stale:
        old = "nothing received yet" if link.heard_at is None else f"STALE, as of {age(now - link.heard_at)} ago"
        return [(_with_hint(f"{old}, retrying: {link.problem}", 0, width).ljust(width), "reverse")]
    if not live.registry.is_synced:
        return [("" if link.address is None else "receiving the registrations", "dim")]
    notice = link.current_notice(now)
    if notice:
        return [(f"{notice}.", "yellow")]
    found = problem_lines(link)
    if not found:
        return [("no problems" if link.status is not None else "", "dim")]
    ((first, style),) = found[0]
    return [(_with_hint(first, len(found) - 1, width), style)]


def _with_hint(text: str, more: int, width: int) -> str:
    """Return text with a hint to the key that shows the whole text, if it is cut or there are `more` problems."""
    if not more and width_of(text) <= width:
        return text
    hint = f" ({more} more: n)" if more else " (n: all)"
    room = max(0, width - len(hint))
    return (text if width_of(text) <= room else fitted(text, room)) + hint


def _place(controls: TopControls, paused_s: float | None) -> Parts:
    place = controls.place
    parts: Parts = []
    for view, text in _TABS:
        parts += [(text, "bold" if view == place.view else "dim"), ("  ", "")]
    if place.explained is not None:
        parts.append((place.explained, "bold"))
    elif str(place.scope):
        parts.append((f"of {place.scope}", "bold"))
    # The most important parts come first, because a narrow terminal cuts the others.
    if paused_s is not None:
        parts.append((f"  PAUSED {age(paused_s)}", "yellow"))
    if controls.filter and not controls.is_typing:
        parts.append((f"  filter: {controls.filter}", "yellow"))
    if place.explained is None:
        order = controls.order
        parts.append((f"  by {VIEWS[place.view].fields[order.column].name}{', reversed' * order.backwards}", "dim"))
    return parts


def footer(controls: TopControls, first: int, height: int, count: int, width: int) -> Styled:
    """Return the last line: the filter while it is typed, or the keys, and the range of the rows on the screen."""
    where = f" {first + 1}-{min(first + height, count)} of {count}" if count else " none"
    room = max(0, width - len(where))
    if controls.is_typing:
        text = f"/{controls.filter}"
        over = width_of(text) - (room - 1)
        return Styled((fitted((text[over:] if over > 0 else text) + "_", room), "bold"), (where, "dim"))
    return cut([(fitted(_HINTS, room), "dim"), (where, "dim")], width)


def help_lines(width: int) -> list[Styled]:
    keys = max(len(key) for key, _ in HELP)
    return [cut([(f"{key:{keys}}", "bold"), (f"  {does}", "")], width) for key, does in HELP]


def cut(parts: Parts, width: int) -> Styled:
    """Return the parts as a line of at most this width."""
    line: Parts = []
    for text, style in parts:
        used = width_of(text)
        if used > width:
            return Styled(*line, (fitted(text, width), style))
        line.append((text, style))
        width -= used
    return styled("") if not line else Styled(*line)
