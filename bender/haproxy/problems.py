"""Why HAProxy is not as bender says at this moment, as far as its driver can see.

Both `/ready` and the report to bender go by this, so that they agree. Nothing here changes anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from bender.haproxy.core.condition import HELD, LEFT_OUT, REFUSED, UNREACHABLE, UNWRITABLE, DriverProblem
from bender.haproxy.core.topology import Topology
from bender.haproxy.reloader import HaproxyReloader

#: Frontends that are named as what HAProxy serves meanwhile.
NAMED_MAX = 5


def current_problems(
    reloader: HaproxyReloader, *, held: str | None, silence: str, left_out: Mapping[str, str]
) -> Iterator[DriverProblem]:
    """Return all problems, those about the whole of HAProxy first.

    `held` says why the driver leaves HAProxy alone, `silence` why that does not answer, both empty where they do not
    apply; `left_out` are objects that cannot be used, or a part of them, with the reasons.
    """
    refusal = reloader.refusal
    if held:
        yield DriverProblem(HELD, held, instead=f"HAProxy keeps the configuration in {reloader.files.output}")
    if silence:
        yield DriverProblem(UNREACHABLE, f"HAProxy {silence}")
    if reloader.unwritable is not None:
        instead = "HAProxy has the current members, but would start with older ones"
        yield DriverProblem(
            UNWRITABLE, reloader.unwritable, instead=instead if refusal is None else served_instead(reloader)
        )
    if refusal is not None and not refusal.unwritten:
        yield DriverProblem(REFUSED, refusal.why, instead=served_instead(reloader))
    for id_, why in left_out.items():
        yield DriverProblem(LEFT_OUT, why, id_)


def served_instead(reloader: HaproxyReloader) -> str:
    """Return what HAProxy goes on with, in a clause."""
    since = "" if reloader.loaded_ms is None else f" of {_clock(reloader.loaded_ms)}"
    if reloader.loaded is None:
        return "HAProxy keeps the configuration that it started with"
    return f"HAProxy keeps the configuration{since}, {_frontends(reloader.loaded)}"


def _frontends(topology: Topology) -> str:
    names = [f"{door.title} ({', '.join(door.binds)})" for door in topology.doors[:NAMED_MAX]]
    more = len(topology.doors) - NAMED_MAX
    names += [f"{more} more"] if more > 0 else []
    word = "frontend" if len(topology.doors) == 1 else "frontends"
    return f"which has {word} {', '.join(names)}" if names else "which has no frontend"


def _clock(at_ms: int) -> str:
    """A time that is the same wherever it is read."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_ms / 1000))
