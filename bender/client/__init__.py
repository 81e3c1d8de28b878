"""bender from Python: ask any node, follow what changes, and keep instances registered.

`Client` asks, `Client.watch` follows, `Registrar` keeps registrations alive. All of it runs on Twisted's reactor, goes
on at another node when one is away, and needs to be told of one node only.
"""

from bender.client.asking import Client
from bender.client.nodes import parse_nodes
from bender.client.registrar import Registrar
from bender.client.values import (
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
    Unavailable,
    Word,
)
from bender.client.watching import Stand, Watch

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
    "Unavailable",
    "Watch",
    "Word",
    "parse_nodes",
]
