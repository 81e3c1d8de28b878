"""Use bender from Python: query any node, watch changes, and keep instances registered.

`Client` sends requests, `Client.watch` follows changes, `Registrar` keeps registrations alive. All of them run on
Twisted's reactor, continue at another node when one is unreachable, and need the address of one node only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bender.client.client import Client
from bender.client.node_list import parse_nodes
from bender.client.types import (
    Applied,
    Backend,
    BenderError,
    Consumer,
    Event,
    Frontend,
    Guarded,
    Member,
    NotFound,
    Refused,
    Registration,
    Reply,
    Setting,
    Succeeded,
    Unavailable,
    Word,
)

if TYPE_CHECKING:
    from bender.client.registrar import Registrar
    from bender.client.watch import Stand, Watch
    from bender.process.steady_clock import make_steady

__all__ = [
    "Applied",
    "Backend",
    "BenderError",
    "Client",
    "Consumer",
    "Event",
    "Frontend",
    "Guarded",
    "Member",
    "NotFound",
    "Refused",
    "Registrar",
    "Registration",
    "Reply",
    "Setting",
    "Stand",
    "Succeeded",
    "Unavailable",
    "Watch",
    "Word",
    "make_steady",
    "parse_nodes",
]


def __getattr__(name: str) -> Any:
    """Import the names that need Twisted on first use: a command that asks one question does not need them."""
    if name == "Registrar":
        from bender.client.registrar import Registrar  # noqa: PLC0415

        return Registrar
    if name in ("Stand", "Watch"):
        from bender.client import watch  # noqa: PLC0415

        return getattr(watch, name)
    if name == "make_steady":
        from bender.process.steady_clock import make_steady  # noqa: PLC0415

        return make_steady
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
