"""Those who act on events, such as drivers of load balancers: how far each has got, and what it has to report."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bender.core.model import NAME_CHARACTERS_MAX, decoded

#: Ids, and backends, in one report, which has to fit a request.
REPORTED_MAX = 1000

#: Bytes of a report as JSON: a request has 64 KiB, and room for a cursor beside it.
REPORT_BYTES_MAX = 60 * 1024

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]


class Counted(msgspec.Struct, frozen=True):
    """Requests that a load balancer has sent on since its driver started, and those of them that failed."""

    requests: _Count
    errors: _Count


class Report(msgspec.Struct, frozen=True):
    """What a load balancer sees: the ids of the members that its own checks find `down`.

    `backends` are its counts by backend, and in each by version.
    """

    down: Annotated[tuple[str, ...], msgspec.Meta(max_length=REPORTED_MAX)] = ()
    backends: Annotated[dict[_Name, dict[_Name, Counted]], msgspec.Meta(max_length=REPORTED_MAX)] = {}


class Consumer(msgspec.Struct, frozen=True, rename={"at_ms": "at"}):
    """One who acts on the events of a node, as that node sees it.

    It has confirmed all events up to `cursor` (None: nothing yet), by `at_ms` since the epoch; `behind` are those that
    came later. `applied` says that nothing is missing of what was asked about.
    """

    name: str
    node: str
    connected: bool
    applied: bool
    cursor: str | None
    behind: int
    at_ms: int
    report: Report | None = None


class Confirmation(msgspec.Struct, frozen=True):
    """What a consumer says: that it has acted on all up to a cursor, and what it sees."""

    cursor: str
    report: Report | None = None


class Awaited(msgspec.Struct, frozen=True, array_like=True):
    """What a node's consumers are to have acted on: what the ledger of an incarnation says of a key at a version.

    They have `within_s` for it. Without a key nothing is waited for.
    """

    key: str = ""
    incarnation: Annotated[int, msgspec.Meta(ge=0)] = 0
    version: Annotated[int, msgspec.Meta(ge=0)] = 0
    within_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0


_confirmation = msgspec.json.Decoder(Confirmation)


def parse_confirmation(document: bytes) -> Confirmation:
    """The body of `PUT /consumers/NAME`."""
    return decoded(_confirmation, document)
