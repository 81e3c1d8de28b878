"""The facts that are recorded while a seed runs, each with its times on the machine's CLOCK_BOOTTIME, in seconds.

All namespaces and processes share that clock, and no fault moves it. If the exact time of a fact is not known, it has
two times: `sent_at` or `began_at` is the earliest possible one, `at` the latest. A history is a file with one JSON
object per line, in the order in which the facts were recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

Operation = Literal["register", "renew", "deregister", "configure", "remove"]


class Fact(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Something that happened, at `at` at the latest. Facts are ordered by this time."""

    at: float


class SeedTerms(Fact, frozen=True):
    """The terms of a seed, the first fact of all."""

    nodes: list[str]
    interval_s: float
    ttl_s: float
    #: The longest time for which a relay holds a message, in seconds.
    relay_delay_s_max: float


# Nodes.


class Started(Fact, frozen=True):
    """A node's process was started; `release` is the one that it runs."""

    node: str
    release: str


class FirstAnswer(Fact, frozen=True):
    """A started node, `incarnation`, answered for the first time, to a request of `sent_at`."""

    sent_at: float
    node: str
    incarnation: str


class Leaving(Fact, frozen=True):
    """A node was sent SIGTERM."""

    node: str


class Killed(Fact, frozen=True):
    """A node is about to get SIGKILL."""

    node: str


class Ended(Fact, frozen=True):
    """A node's process ended at `at` at the latest, with the exit status `status`."""

    node: str
    status: int


class Paused(Fact, frozen=True):
    """A node was sent SIGSTOP."""

    node: str


class Resumed(Fact, frozen=True):
    """A node was sent SIGCONT."""

    node: str


class Hindered(Fact, frozen=True):
    """A node lacks descriptors or memory from now on; `what` describes it."""

    node: str
    what: str


class Relieved(Fact, frozen=True):
    """A node is no longer hindered by `what`."""

    node: str
    what: str


class Struck(Fact, frozen=True):
    """A fault in spite of which all promises hold: a moved wall clock, a full disk. `what` describes it."""

    node: str
    what: str


# Network.


class Cut(Fact, frozen=True):
    """Packets between nodes get lost, from a time between `began_at` and `at` on.

    No packet gets from the first node of a pair to the second. If `requests` is true, only requests are lost, and
    answers still get there.
    """

    began_at: float
    name: str
    pairs: list[tuple[str, str]]
    requests: bool


class Healed(Fact, frozen=True):
    """A cut ended between `began_at` and `at`."""

    began_at: float
    name: str


class NetworkQuality(Fact, frozen=True):
    """From now on packets get lost (the fraction `loss`), messages are late or doubled; with zeros, none any more."""

    loss: float
    delay_s: float
    doubling: float


class Starved(Fact, frozen=True):
    """Processes waited for a processor between `began_at` and `at`: each node, and the watchdog for `late_s`."""

    began_at: float
    late_s: float
    nodes: dict[str, float]


# Requests of clients.


class ClientRequest(Fact, frozen=True):
    """A request of a client, and its answer. `status` is None if no answer came until the client closed at `at`, and 0
    if no connection was made.

    `unit` is the value that the client sent in `meta`, which differs in all requests. `body` is the description of the
    registration in the answer (`description_of`).
    """

    sent_at: float
    client: str
    node: str
    operation: Operation
    key: str
    status: int | None
    unit: str = ""
    ttl_s: float = 0.0
    body: str = ""
    reason: str = ""


# Observations of nodes.


class ReceivedEvent(Fact, frozen=True):
    """An event that a watcher received. `life` is the part of the cursor that names the node's incarnation."""

    node: str
    life: str
    cursor: str
    event: str
    key: str
    body: str
    reason: str
    snapshot: bool


class Synced(Fact, frozen=True):
    """A watcher has received the whole list of an incarnation, and receives every change from then on."""

    node: str
    life: str
    reset: bool


class WatcherDisconnected(Fact, frozen=True):
    """The connection of a watcher has ended."""

    node: str


class StatusAnswer(Fact, frozen=True):
    """A node's answer to `GET /status`; `ready` is None if it did not answer."""

    sent_at: float
    node: str
    incarnation: str = ""
    ready: bool | None = None
    digest: str = ""
    claims: int = 0
    held: int = 0


class ListAnswer(Fact, frozen=True):
    """A node's list of registrations: the body of each key."""

    sent_at: float
    node: str
    bodies: dict[str, str]


class HistoriesAnswer(Fact, frozen=True):
    """A node's histories: the settings of each backend, the newest first; None for a removal."""

    sent_at: float
    node: str
    settings: dict[str, list[str | None]]


class Note(Fact, frozen=True):
    """A text for readers of the history, and a count."""

    text: str
    count: int = 1


AnyFact = (
    SeedTerms
    | Started
    | FirstAnswer
    | Leaving
    | Killed
    | Ended
    | Paused
    | Resumed
    | Hindered
    | Relieved
    | Struck
    | Cut
    | Healed
    | NetworkQuality
    | Starved
    | ClientRequest
    | ReceivedEvent
    | Synced
    | WatcherDisconnected
    | StatusAnswer
    | ListAnswer
    | HistoriesAnswer
    | Note
)

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(AnyFact)


def description_of(registration: dict[str, object]) -> str:
    """Return a description of a registration, which is equal only for the same registration with the same terms.

    The first word is the `unit` in `meta`, the second the ttl; the last two are the node and the time of its beginning.
    """
    meta = registration.get("meta")
    unit = meta.get("unit", "-") if isinstance(meta, dict) else "-"
    instance, weight = registration.get("instance", "-"), registration.get("weight", 1)
    began = f"{registration.get('node')} {registration.get('registered')}"
    return f"{unit} {registration.get('ttl')} {weight} {instance} {began}"


def root_of(body: str) -> str:
    """Return the part of a description that identifies the registration. It does not depend on the terms."""
    *_, instance, node, registered = body.split(" ")
    return f"{instance} {node} {registered}"


def encode(fact: Fact) -> bytes:
    """Return a fact as a line."""
    return _ENCODER.encode(fact) + b"\n"


def decode(line: bytes) -> Fact:
    return _DECODER.decode(line)


def write(path: Path, facts: Iterable[Fact]) -> None:
    with path.open("wb") as file:
        file.writelines(map(encode, facts))


def read(path: Path) -> list[Fact]:
    with path.open("rb") as file:
        return [*map(decode, file)]
