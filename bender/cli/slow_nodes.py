"""Remember nodes that timed out from command to command, so that only the first command waits for them.

Nodes that refuse connections cost no time, and are not remembered. So nodes are asked in the order of --node unless one
of them hangs. Without a home directory that can be written, nothing is remembered.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

#: The file with the slow nodes, in the folder for caches.
FILE = Path("bender", "nodes.json")

#: Seconds for which a slow node is asked after all others.
REMEMBERED_S = 60.0

#: The largest number of nodes that are remembered.
NODES_MAX = 50


def slow_last(nodes: Sequence[str]) -> tuple[str, ...]:
    """Return the same nodes, with those at the end that timed out in the last `REMEMBERED_S` seconds."""
    if len(nodes) < 2:
        return tuple(nodes)
    slow = _remembered()
    return tuple(sorted(nodes, key=lambda node: node in slow))


def remember_slow_nodes(slow: Iterable[str], answered: Iterable[str]) -> None:
    """Remember the nodes that timed out in a command, and forget those that answered."""
    before = _remembered()
    kept = {node: at for node, at in before.items() if node not in answered} | dict.fromkeys(slow, time.time())
    if kept == before:
        return
    with suppress(OSError, RuntimeError):
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(dict([*kept.items()][-NODES_MAX:])))


def _path() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / FILE


def _remembered() -> dict[str, float]:
    """Return the time at which each slow node timed out, without times in the future, which a wrong clock made."""
    with suppress(OSError, RuntimeError, msgspec.DecodeError, UnicodeDecodeError):
        now = time.time()
        found = msgspec.json.decode(_path().read_bytes(), type=dict[str, float])
        return {node: at for node, at in found.items() if now - REMEMBERED_S < at <= now}
    return {}
