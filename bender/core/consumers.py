"""Consumers: programs that act on events, such as drivers of load balancers. Their progress and their reports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any

import msgspec

from bender.core.invalid import Invalid
from bender.core.model import NAME_CHARACTERS_MAX, decode_json

#: Ids, and backends, in one report, which has to fit a request.
REPORTED_MAX = 1000

#: Bytes of a report as JSON: a request has 64 KiB, and room for a cursor beside it.
REPORT_BYTES_MAX = 60 * 1024

#: Problems in one report, and characters of the reason of one.
PROBLEMS_MAX = 20
WHY_CHARACTERS_MAX = 2000

#: Settings in one report: those of the backends and frontends that changed last.
SETTINGS_MAX = 50

#: Hexadecimal digits of the digest of one setting.
DIGEST_CHARACTERS = 16

#: Instances of one name that are listed in one sentence.
LABELS_MAX = 5

#: Shown as the instance at a node of a release without instances.
UNKNOWN = "?"

#: An instance as clients may send it. It never equals one that a node derives from an address.
_INSTANCE = r"\A[A-Za-z0-9_-]{1,64}\Z"

_Instance = Annotated[str, msgspec.Meta(pattern=_INSTANCE)]
_Known = Annotated[str, msgspec.Meta(max_length=NAME_CHARACTERS_MAX, pattern=r"\A[!-~]*\Z")]
_Age = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]


class Counted(msgspec.Struct, frozen=True):
    """Requests that a load balancer has sent on since its driver started, and those of them that failed."""

    requests: _Count
    errors: _Count


class ReportedProblem(msgspec.Struct, frozen=True, omit_defaults=True, rename={"since_ms": "since"}):
    """Why a load balancer differs from the registry, since when (ms since the epoch, by the clock of its driver).

    `kind` is `refused` (the load balancer rejects the configuration), `held` (the driver leaves it alone for now),
    `unwritable` (a file cannot be written), `unreachable` (the load balancer does not answer) or `left-out` (`id`
    cannot be used, or a part of it). `instead` is a clause about what it serves meanwhile.
    """

    kind: Annotated[str, msgspec.Meta(pattern=r"\A[a-z-]{1,32}\Z")]
    why: Annotated[str, msgspec.Meta(max_length=WHY_CHARACTERS_MAX)]
    since_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
    id: Annotated[str, msgspec.Meta(max_length=2 * NAME_CHARACTERS_MAX)] | None = None
    instead: Annotated[str, msgspec.Meta(max_length=WHY_CHARACTERS_MAX)] | None = None


class ReportedSetting(msgspec.Struct, frozen=True):
    """A setting that a driver has received, by its `digest_of`, and whether its load balancer has it."""

    id: Annotated[str, msgspec.Meta(max_length=2 * NAME_CHARACTERS_MAX)]
    digest: Annotated[str, msgspec.Meta(pattern=rf"\A([0-9a-f]{{{DIGEST_CHARACTERS}}})?\Z")]
    applied: bool


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """A load balancer's report: `down` are the ids of the members that its own checks find down.

    `backends` are its counts by backend, and in each by version. Both are unset if it does not report them. `problems`
    are the reasons why it differs from the registry, and `settings` are those of the backends and frontends that
    changed last.
    """

    down: Annotated[tuple[str, ...], msgspec.Meta(max_length=REPORTED_MAX)] | msgspec.UnsetType = msgspec.UNSET
    backends: (
        Annotated[dict[_Name, dict[_Name, Counted]], msgspec.Meta(max_length=REPORTED_MAX)] | msgspec.UnsetType
    ) = msgspec.UNSET
    problems: Annotated[tuple[ReportedProblem, ...], msgspec.Meta(max_length=PROBLEMS_MAX)] = ()
    settings: Annotated[tuple[ReportedSetting, ...], msgspec.Meta(max_length=SETTINGS_MAX)] | msgspec.UnsetType = (
        msgspec.UNSET
    )

    @property
    def is_counting(self) -> bool:
        """Whether it reports anything about members or requests."""
        return self.found_down is not None or self.counted is not None

    @property
    def received(self) -> tuple[ReportedSetting, ...] | None:
        """The settings that changed last; None if it does not report them."""
        return None if self.settings is msgspec.UNSET else self.settings

    @property
    def found_down(self) -> tuple[str, ...] | None:
        """The ids of the members that its checks find down; None if it does not report them."""
        return None if self.down is msgspec.UNSET else self.down

    @property
    def counted(self) -> Mapping[str, Mapping[str, Counted]] | None:
        """Its counts; None if it does not report them."""
        return None if self.backends is msgspec.UNSET else self.backends


class ConsumerState(msgspec.Struct, frozen=True, rename={"at_ms": "at"}):
    """A consumer of the events of a node, as that node sees it.

    It has confirmed all events up to `cursor` (None: nothing yet), by `at_ms` since the epoch; `behind` is the number
    of later ones. `applied` says that it has acted on everything that was asked about. `instance` distinguishes several
    of one name; it is empty if the node does not know of instances. The consumer first appeared `age_s` seconds ago,
    and last sent anything `idle_s` ago.
    """

    name: str
    node: str
    connected: bool
    applied: bool
    cursor: str | None
    behind: int
    at_ms: int
    report: Report | None = None
    instance: _Known = ""
    age_s: _Age = 0.0
    idle_s: _Age = 0.0


class Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A consumer's confirmation that it has acted on all events up to a cursor, its report, and its instance.

    A consumer that has acted on nothing yet sends no cursor, and reports why. A report may have unknown fields, so that
    a driver of a later release is not refused because of fields that it adds.
    """

    cursor: str | None = None
    report: Report | None = None
    instance: _Instance | None = None


class AwaitedChange(msgspec.Struct, frozen=True, array_like=True):
    """A change that a node's consumers have to act on: that of a key in an incarnation's ledger at a version.

    They have `within_s` seconds for it. Without a key nothing is awaited.
    """

    key: str = ""
    incarnation: Annotated[int, msgspec.Meta(ge=0)] = 0
    version: Annotated[int, msgspec.Meta(ge=0)] = 0
    within_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0


_confirmation = msgspec.json.Decoder(Confirmation)


def parse_confirmation(document: bytes) -> Confirmation:
    """Parse the body of `PUT /consumers/NAME`."""
    confirmation: Confirmation = decode_json(_confirmation, document, "a confirmation")
    if confirmation.cursor is None and confirmation.report is None:
        raise Invalid("cursor", "is required, unless a report is sent")
    return confirmation


def report_of(report: object) -> Report | None:
    """Return a report, or None if there is none, or one that this release does not understand."""
    try:
        return None if report is None else msgspec.convert(report, Report)
    except msgspec.ValidationError:
        return None


def down_by_most(reports: Iterable[Report], ids: Iterable[str]) -> list[str]:
    """Return the members that are down in more than half of the reports that have results of checks."""
    all_down = [frozenset(report.found_down) for report in reports if report.found_down is not None]
    return [id_ for id_ in ids if 2 * sum(id_ in down for down in all_down) > len(all_down)]


def digest_of(settings: Mapping[str, Any] | None) -> str:
    """Return the digest of the settings of a backend or frontend in a report, empty for one that is removed.

    A client and a driver compute it from their own copies, whatever the order of the fields.
    """
    if settings is None:
        return ""
    # `location` is part of the answer to a request that creates a frontend, and not of the frontend.
    kept = {key: value for key, value in settings.items() if value is not None and key != "location"}
    return blake2b(msgspec.json.encode(kept, order="deterministic"), digest_size=DIGEST_CHARACTERS // 2).hexdigest()


def parse_instance(text: str) -> str:
    """Return the instance that a client sent. Raises `Invalid`."""
    if not re.match(_INSTANCE, text):
        raise Invalid("instance", "must be 1 to 64 ASCII letters, digits, dashes or underscores")
    return text


def labels(consumers: Sequence[tuple[str, str]]) -> list[str]:
    """Return a label for each name and instance: the name, with the instance if several have the name."""
    instances: dict[str, set[str]] = {}
    for name, instance in consumers:
        instances.setdefault(name, set()).add(instance)
    return [name if len(instances[name]) == 1 else f"{name} ({instance or UNKNOWN})" for name, instance in consumers]


def shared_names(instances: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the instances of names that several have, by name. An empty instance is unknown and does not count."""
    by_name: dict[str, set[str]] = {}
    for name, instance in instances:
        if instance:
            by_name.setdefault(name, set()).add(instance)
    return {name: sorted(by_name[name]) for name in sorted(by_name) if len(by_name[name]) > 1}


def same_name_problem(name: str, instances: list[str]) -> str:
    """Say that consumers have the same name, and what to do."""
    named = [f"{name} ({instance})" for instance in instances[:LABELS_MAX]]
    more = len(instances) - LABELS_MAX
    named += [f"{more} more"] if more > 0 else []
    return (
        f"the consumers {', '.join(named[:-1])} and {named[-1]} have the same name: give each program a name of its own"
    )
