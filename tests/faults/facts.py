"""What is recorded of a seed: facts, each with its times on one clock, CLOCK_BOOTTIME of the machine in seconds.

All namespaces and processes share that clock, and no fault moves it. A fact that came about in a span has both ends:
`sent_at` or `at` is the earliest moment at which it can have happened, `done_at` the latest. A history is a file of one
JSON object per line, in the order in which they were recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

Operation = Literal["register", "renew", "deregister", "configure", "remove"]


class Fact(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Something that happened. `at` is when it was over at the latest, by which facts are put in order."""

    at: float


class Setting(Fact, frozen=True):
    """The terms of a seed, the first fact of all."""

    nodes: list[str]
    interval_s: float
    ttl_s: float
    #: How late a message may be that a relay has held, in seconds.
    held_s: float


# Nodes.


class Started(Fact, frozen=True):
    """A node's process was started; `release` is the one that it runs."""

    node: str
    release: str


class Answers(Fact, frozen=True):
    """A started node answered for the first time, as `incarnation`. It was asked at `sent_at`."""

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
    """A node's process has ended; nothing of it happened after `at`. `status` is that of the process."""

    node: str
    status: int


class Paused(Fact, frozen=True):
    """A node was sent SIGSTOP."""

    node: str


class Resumed(Fact, frozen=True):
    """A node was sent SIGCONT."""

    node: str


class Hindered(Fact, frozen=True):
    """A node cannot do what it needs from now on: descriptors, memory."""

    node: str
    what: str


class Relieved(Fact, frozen=True):
    """A node is no longer hindered by `what`."""

    node: str
    what: str


class Struck(Fact, frozen=True):
    """A fault that entitles a node to nothing: a moved wall clock, a full disk. `what` describes it."""

    node: str
    what: str


# The network.


class Cut(Fact, frozen=True):
    """Packets between nodes get lost. It took effect between `began_at` and `at`.

    Nothing gets from the first node of a pair to the second; with `requests` it still gets there as an answer.
    """

    began_at: float
    name: str
    pairs: list[tuple[str, str]]
    requests: bool


class Healed(Fact, frozen=True):
    """A cut is over. It ended between `began_at` and `at`."""

    began_at: float
    name: str


class Rough(Fact, frozen=True):
    """Messages get lost, doubled or late from now on, or no longer. `loss` is that of packets, a fraction."""

    loss: float
    delay_s: float
    doubling: float


class Starved(Fact, frozen=True):
    """Processes waited for a processor: each node, and the watchdog, for this long in the span that ends at `at`."""

    began_at: float
    late_s: float
    nodes: dict[str, float]


# Acts of clients and answers.


class Asked(Fact, frozen=True):
    """A request of a client, and its answer. `status` is None if there was none until the client closed at `at`, and 0
    if no connection was made.

    `unit` is what the client sent in `meta`, unique among all requests; `body` describes the registration, as
    `described` does, that was in the answer.
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


# Observations.


class Announced(Fact, frozen=True):
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
    """A watcher has received the whole list of an incarnation, and gets every change from now on."""

    node: str
    life: str
    reset: bool


class Cutoff(Fact, frozen=True):
    """The connection of a watcher ended."""

    node: str


class Looked(Fact, frozen=True):
    """What a node answered about itself; `ready` is None if it did not answer."""

    sent_at: float
    node: str
    incarnation: str = ""
    ready: bool | None = None
    digest: str = ""
    claims: int = 0
    held: int = 0


class Listed(Fact, frozen=True):
    """The registrations that a node listed: the body of each key."""

    sent_at: float
    node: str
    bodies: dict[str, str]


class Histories(Fact, frozen=True):
    """The settings of each backend that a node showed, the newest first; None for a removal."""

    sent_at: float
    node: str
    settings: dict[str, list[str | None]]


class Note(Fact, frozen=True):
    """Something for people: `text`, and how much of it there was."""

    text: str
    count: int = 1


AnyFact = (
    Setting
    | Started
    | Answers
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
    | Rough
    | Starved
    | Asked
    | Announced
    | Synced
    | Cutoff
    | Looked
    | Listed
    | Histories
    | Note
)

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(AnyFact)


def described(registration: dict[str, object]) -> str:
    """Return a text that is the same for two registrations only if they are one, with the same terms.

    The first word is the `unit` in `meta`, the second the ttl, the last two are where and when it began.
    """
    meta = registration.get("meta")
    unit = meta.get("unit", "-") if isinstance(meta, dict) else "-"
    instance, weight = registration.get("instance", "-"), registration.get("weight", 1)
    began = f"{registration.get('node')} {registration.get('registered')}"
    return f"{unit} {registration.get('ttl')} {weight} {instance} {began}"


def root_of(body: str) -> str:
    """Return what names the registration in a described body, whatever its terms are."""
    *_, instance, node, registered = body.split(" ")
    return f"{instance} {node} {registered}"


def encoded(fact: Fact) -> bytes:
    """Return a fact as a line."""
    return _ENCODER.encode(fact) + b"\n"


def decoded(line: bytes) -> Fact:
    return _DECODER.decode(line)


def write(path: Path, facts: Iterable[Fact]) -> None:
    with path.open("wb") as file:
        file.writelines(map(encoded, facts))


def read(path: Path) -> list[Fact]:
    with path.open("rb") as file:
        return [*map(decoded, file)]
