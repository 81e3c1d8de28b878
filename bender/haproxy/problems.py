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


def troubles(
    loader: HaproxyReloader, *, held: str | None, silence: str, left_out: Mapping[str, str]
) -> Iterator[DriverProblem]:
    """Return all problems, those about the whole of HAProxy first.

    `held` says why the driver leaves HAProxy alone, `silence` why that does not answer, both empty where they do not
    apply; `left_out` are objects that cannot be used, or a part of them, with the reasons.
    """
    refusal = loader.refusal
    if held:
        yield DriverProblem(HELD, held, instead=f"HAProxy keeps the configuration in {loader.files.output}")
    if silence:
        yield DriverProblem(UNREACHABLE, f"HAProxy {silence}")
    if loader.unwritable is not None:
        instead = "HAProxy has the current members, but would start with older ones"
        yield DriverProblem(UNWRITABLE, loader.unwritable, instead=instead if refusal is None else serving(loader))
    if refusal is not None and not refusal.unwritten:
        yield DriverProblem(REFUSED, refusal.why, instead=serving(loader))
    for id_, why in left_out.items():
        yield DriverProblem(LEFT_OUT, why, id_)


def serving(loader: HaproxyReloader) -> str:
    """Return what HAProxy goes on with, in a clause."""
    since = "" if loader.loaded_ms is None else f" of {_clock(loader.loaded_ms)}"
    if loader.loaded is None:
        return "HAProxy keeps the configuration that it started with"
    return f"HAProxy keeps the configuration{since}, {_frontends(loader.loaded)}"


def _frontends(shape: Topology) -> str:
    names = [f"{door.title} ({', '.join(door.binds)})" for door in shape.doors[:NAMED_MAX]]
    more = len(shape.doors) - NAMED_MAX
    names += [f"{more} more"] if more > 0 else []
    word = "frontend" if len(shape.doors) == 1 else "frontends"
    return f"which has {word} {', '.join(names)}" if names else "which has no frontend"


def _clock(at_ms: int) -> str:
    """A time that is the same wherever it is read."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_ms / 1000))
