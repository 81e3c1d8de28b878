"""The reasons why HAProxy's state differs from bender's now, as far as the driver knows them.

`/status` and the report to bender both use this module, so that they agree. It changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from bender.haproxy.core.condition import HELD, LEFT_OUT, REFUSED, UNREACHABLE, UNWRITABLE, DriverProblem
from bender.haproxy.core.topology import Topology
from bender.haproxy.reloader import HaproxyReloader

#: The number of frontends that a clause about HAProxy's configuration names.
NAMED_MAX = 5


def current_problems(
    reloader: HaproxyReloader, *, hold_reason: str | None, silence: str, left_out: Mapping[str, str]
) -> Iterator[DriverProblem]:
    """Yield all problems, those about HAProxy as a whole first.

    `hold_reason` is the reason why the driver does not change HAProxy, `silence` the reason why HAProxy does not
    answer; either may be empty. `left_out` has, by id, the reason why an object or a part of it cannot be used.
    """
    refusal = reloader.refusal
    if hold_reason:
        yield DriverProblem(
            HELD, hold_reason, instead=f"HAProxy still uses the configuration in {reloader.files.output}"
        )
    if silence:
        yield DriverProblem(UNREACHABLE, f"HAProxy {silence}")
    if reloader.file_problem is not None:
        instead = "HAProxy has the current members, but would have older ones after a restart"
        yield DriverProblem(
            UNWRITABLE, reloader.file_problem, instead=instead if refusal is None else served_instead(reloader)
        )
    if refusal is not None and not refusal.unwritten:
        yield DriverProblem(REFUSED, refusal.why, instead=served_instead(reloader))
    for id_, why in left_out.items():
        yield DriverProblem(LEFT_OUT, why, id_)


def served_instead(reloader: HaproxyReloader) -> str:
    """Return a clause about the configuration that HAProxy keeps."""
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
    """Return a time in UTC, for readers in any time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_ms / 1000))
