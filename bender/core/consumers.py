"""Those who act on events, such as drivers of load balancers: how far each has got, and what it has to report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any

import msgspec

from bender.core.invalid import Invalid
from bender.core.model import NAME_CHARACTERS_MAX, decoded

#: Ids, and backends, in one report, which has to fit a request.
REPORTED_MAX = 1000

#: Bytes of a report as JSON: a request has 64 KiB, and room for a cursor beside it.
REPORT_BYTES_MAX = 60 * 1024

#: Problems in one report, and characters of the reason of one.
PROBLEMS_MAX = 20
WHY_CHARACTERS_MAX = 2000

#: Settings in one report: those of the backends and frontends that changed last.
SETTINGS_MAX = 50

#: Hexadecimal digits that stand for one setting.
DIGEST_CHARACTERS = 16

#: Those of a name that are listed in one sentence.
LABELS_MAX = 5

#: Stands for an instance at a node that does not know of instances.
UNKNOWN = "?"

#: An instance as clients may give it. It can never be one that a node makes up of an address.
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
    """Why a load balancer is not as the registry says, since when (ms since the epoch, by the clock of its driver).

    `kind` is `refused` (the load balancer does not take the configuration), `held` (the driver leaves it alone for
    now), `unwritable` (a file cannot be written), `unreachable` (the load balancer does not answer) or `left-out` (`id`
    cannot be used, or a part of it). `instead` is what it serves meanwhile, in a clause.
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
    """What a load balancer sees: the ids of the members that its own checks find `down`.

    `backends` are its counts by backend, and in each by version. Both are unset where it does not report them.
    `problems` are the reasons for which it is not as the registry says, and `settings` are those of the backends and
    frontends that changed last.
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
        """Whether it says anything of members or requests."""
        return self.found_down is not None or self.counted is not None

    @property
    def received(self) -> tuple[ReportedSetting, ...] | None:
        """The settings that changed last; None where it does not report them."""
        return None if self.settings is msgspec.UNSET else self.settings

    @property
    def found_down(self) -> tuple[str, ...] | None:
        """What its checks find down; None where it does not report that."""
        return None if self.down is msgspec.UNSET else self.down

    @property
    def counted(self) -> Mapping[str, Mapping[str, Counted]] | None:
        """Its counts; None where it does not report them."""
        return None if self.backends is msgspec.UNSET else self.backends


class ConsumerState(msgspec.Struct, frozen=True, rename={"at_ms": "at"}):
    """One who acts on the events of a node, as that node sees it.

    It has confirmed all events up to `cursor` (None: nothing yet), by `at_ms` since the epoch; `behind` are those that
    came later. `applied` says that nothing is missing of what was asked about. `instance` tells apart several of one
    name; it is empty if the node does not know of instances. It was first there `age_s` seconds ago, and anything last
    came from it `idle_s` ago.
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
    """What a consumer says: that it has acted on all up to a cursor, and what it sees; and which instance it is.

    A consumer that has acted on nothing yet gives no cursor, and reports why. A report may have fields that are not
    known here: a driver of a later release is not to be refused for what it adds.
    """

    cursor: str | None = None
    report: Report | None = None
    instance: _Instance | None = None


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
    said: Confirmation = decoded(_confirmation, document, "a confirmation")
    if said.cursor is None and said.report is None:
        raise Invalid("cursor", "is required, unless a report is sent")
    return said


def report_of(said: object) -> Report | None:
    """Return a report, or None where there is none, or one that this does not understand."""
    try:
        return None if said is None else msgspec.convert(said, Report)
    except msgspec.ValidationError:
        return None


def down_by_most(reports: Iterable[Report], ids: Iterable[str]) -> list[str]:
    """Return those of these members that more than half of those who report their checks find down."""
    all_down = [frozenset(report.found_down) for report in reports if report.found_down is not None]
    return [id_ for id_ in ids if 2 * sum(id_ in down for down in all_down) > len(all_down)]


def digest_of(settings: Mapping[str, Any] | None) -> str:
    """Return what stands for the settings of a backend or frontend in a report, empty for one that is removed.

    A client and a driver compute it from their own copies, whatever the order of the fields.
    """
    if settings is None:
        return ""
    # `location` is part of the answer to a request that creates a frontend, and not of the frontend.
    kept = {key: value for key, value in settings.items() if value is not None and key != "location"}
    return blake2b(msgspec.json.encode(kept, order="deterministic"), digest_size=DIGEST_CHARACTERS // 2).hexdigest()


def parse_instance(text: str) -> str:
    """Return what a client gives as its instance. Raises `Invalid`."""
    if not re.match(_INSTANCE, text):
        raise Invalid("instance", "must be 1 to 64 ASCII letters, digits, dashes or underscores")
    return text


def labels(consumers: Sequence[tuple[str, str]]) -> list[str]:
    """Return what to call each of these names and instances: the name, with the instance where several have it."""
    instances: dict[str, set[str]] = {}
    for name, instance in consumers:
        instances.setdefault(name, set()).add(instance)
    return [name if len(instances[name]) == 1 else f"{name} ({instance or UNKNOWN})" for name, instance in consumers]


def shared_names(instances: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the instances of the names that more than one has, by name; an empty instance is not known, and none."""
    by_name: dict[str, set[str]] = {}
    for name, instance in instances:
        if instance:
            by_name.setdefault(name, set()).add(instance)
    return {name: sorted(by_name[name]) for name in sorted(by_name) if len(by_name[name]) > 1}


def same_name(name: str, instances: list[str]) -> str:
    """Say that consumers have the same name, and what to do."""
    named = [f"{name} ({instance})" for instance in instances[:LABELS_MAX]]
    more = len(instances) - LABELS_MAX
    named += [f"{more} more"] if more > 0 else []
    return (
        f"the consumers {', '.join(named[:-1])} and {named[-1]} have the same name: give each program a name of its own"
    )
