"""Remember nodes that took too long between commands, so that each costs its time only once.

A node that refuses connections costs no time, so it is not remembered: the order in which nodes are asked is that of
--node unless one of them hangs. Without a home, or where nothing can be written, that is always so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

#: The file, in the folder for caches.
FILE = Path("bender", "nodes.json")

#: For how long such a node is asked after all others.
KEPT_S = 60.0

#: Nodes that are remembered.
NODES_MAX = 50


def in_order(nodes: Sequence[str]) -> tuple[str, ...]:
    """Return the same nodes, those that took too long a short while ago last."""
    if len(nodes) < 2:
        return tuple(nodes)
    slow = _remembered()
    return tuple(sorted(nodes, key=lambda node: node in slow))


def remember(slow: Iterable[str], answered: Iterable[str]) -> None:
    """Remember what a command has found out: nodes that took too long, and others that have answered."""
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
    """Return when each node took too long; a time that has not come yet is one of a clock that was set back."""
    with suppress(OSError, RuntimeError, msgspec.DecodeError, UnicodeDecodeError):
        now = time.time()
        found = msgspec.json.decode(_path().read_bytes(), type=dict[str, float])
        return {node: at for node, at in found.items() if now - KEPT_S < at <= now}
    return {}
