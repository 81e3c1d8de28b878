"""The progress and the reports of consumers: programs that act on events, such as drivers of load balancers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any

import msgspec

from bender.core.invalid import Invalid
from bender.core.model import NAME_CHARACTERS_MAX, decode_json

#: The largest number of ids, and of backends, in one report, which must fit into a request.
REPORTED_MAX = 1000

#: The largest size of a report as JSON, in bytes: a request may have 64 KiB, and also contains a cursor.
REPORT_BYTES_MAX = 60 * 1024

#: The largest number of problems in one report, and of characters in the explanation of a problem.
PROBLEMS_MAX = 20
WHY_CHARACTERS_MAX = 2000

#: The largest number of settings in one report: those of the backends and frontends that changed last.
SETTINGS_MAX = 50

#: The number of hexadecimal digits in the digest of a setting.
DIGEST_CHARACTERS = 16

#: The largest number of instances of one name that a sentence lists.
LABELS_MAX = 5

#: The label of the instance of a consumer at a node of a release that does not know instances.
UNKNOWN = "?"

#: The instances that clients may send. Such an instance never equals one that a node derives from an address.
_INSTANCE = r"\A[A-Za-z0-9_-]{1,64}\Z"

_Instance = Annotated[str, msgspec.Meta(pattern=_INSTANCE)]
_Known = Annotated[str, msgspec.Meta(max_length=NAME_CHARACTERS_MAX, pattern=r"\A[!-~]*\Z")]
_Age = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]


class Counted(msgspec.Struct, frozen=True):
    """The requests that a load balancer has passed on since its driver started, and how many of them failed."""

    requests: _Count
    errors: _Count


class ReportedProblem(msgspec.Struct, frozen=True, omit_defaults=True, rename={"since_ms": "since"}):
    """A reason why a load balancer differs from the registry, as its driver reports it.

    `kind` is `refused` (the load balancer rejects the configuration), `held` (the driver changes nothing for now),
    `unwritable` (a file cannot be written), `unreachable` (the load balancer does not answer) or `left-out` (the object
    `id`, or a part of it, cannot be used). `since_ms` is when the problem began, in milliseconds since the epoch by
    the clock of the driver. `instead` is a clause that says what the load balancer serves meanwhile.
    """

    kind: Annotated[str, msgspec.Meta(pattern=r"\A[a-z-]{1,32}\Z")]
    why: Annotated[str, msgspec.Meta(max_length=WHY_CHARACTERS_MAX)]
    since_ms: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
    id: Annotated[str, msgspec.Meta(max_length=2 * NAME_CHARACTERS_MAX)] | None = None
    instead: Annotated[str, msgspec.Meta(max_length=WHY_CHARACTERS_MAX)] | None = None


class ReportedSetting(msgspec.Struct, frozen=True):
    """The `digest_of` a setting that a driver has received, and whether its load balancer has applied the setting."""

    id: Annotated[str, msgspec.Meta(max_length=2 * NAME_CHARACTERS_MAX)]
    digest: Annotated[str, msgspec.Meta(pattern=rf"\A([0-9a-f]{{{DIGEST_CHARACTERS}}})?\Z")]
    applied: bool


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """A report about a load balancer.

    `down` has the ids of the members that its own checks find down, and `backends` has its counts by backend and
    version. `problems` are the reasons why it differs from the registry. `settings` are the settings of the backends
    and frontends that changed last. `down`, `backends` and `settings` are unset if the load balancer does not report
    them.
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
        """Whether the report has results of checks or counts of requests."""
        return self.found_down is not None or self.counted is not None

    @property
    def received(self) -> tuple[ReportedSetting, ...] | None:
        """The settings that changed last; None if the report has none."""
        return None if self.settings is msgspec.UNSET else self.settings

    @property
    def found_down(self) -> tuple[str, ...] | None:
        """The ids of the members that checks find down; None if the report has no results of checks."""
        return None if self.down is msgspec.UNSET else self.down

    @property
    def counted(self) -> Mapping[str, Mapping[str, Counted]] | None:
        """The counts by backend and version; None if the report has none."""
        return None if self.backends is msgspec.UNSET else self.backends


class ConsumerState(msgspec.Struct, frozen=True, rename={"at_ms": "at"}):
    """A consumer of the events of a node, as that node sees it.

    The consumer has confirmed all events up to `cursor` (None: it has confirmed none yet). `behind` is the number of
    later events. `at_ms` is the time of its last confirmation with a cursor, in milliseconds since the epoch; before
    the first one, the time at which it appeared. `applied` says that it has acted on the change that the request asked
    about. `instance` distinguishes consumers with the same name; it is empty if the node does not know instances. The
    consumer appeared `age_s` seconds ago, and last sent something `idle_s` seconds ago.
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

    A consumer that has not acted on any event yet sends a report without a cursor. A report may have unknown fields:
    drivers of later releases may add some.
    """

    cursor: str | None = None
    report: Report | None = None
    instance: _Instance | None = None


class AwaitedChange(msgspec.Struct, frozen=True, array_like=True):
    """A change on which the consumers of a node must act within `within_s` seconds.

    It is the change of `key` in the ledger of `incarnation` at `version`. An empty key means that no change is awaited.
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
    """Return a report from its JSON value; None if there is no report, or if this release cannot read it."""
    try:
        return None if report is None else msgspec.convert(report, Report)
    except msgspec.ValidationError:
        return None


def down_by_most(reports: Iterable[Report], ids: Iterable[str]) -> list[str]:
    """Return the ids that are down in more than half of the reports with results of checks."""
    all_down = [frozenset(report.found_down) for report in reports if report.found_down is not None]
    return [id_ for id_ in ids if 2 * sum(id_ in down for down in all_down) > len(all_down)]


def digest_of(settings: Mapping[str, Any] | None) -> str:
    """Return the digest by which a report names the settings of a backend or frontend; empty if it was removed.

    A client and a driver compute the same digest from their own copies, for any order of the fields.
    """
    if settings is None:
        return ""
    # `location` is a field of the answer to a request that creates a frontend, and not of the frontend.
    kept = {key: value for key, value in settings.items() if value is not None and key != "location"}
    return blake2b(msgspec.json.encode(kept, order="deterministic"), digest_size=DIGEST_CHARACTERS // 2).hexdigest()


def parse_instance(text: str) -> str:
    """Return the instance that a client sent. Raises `Invalid`."""
    if not re.match(_INSTANCE, text):
        raise Invalid("instance", "must be 1 to 64 ASCII letters, digits, dashes or underscores")
    return text


def labels(consumers: Sequence[tuple[str, str]]) -> list[str]:
    """Return a label for each name and instance: the name, followed by the instance if the name has several."""
    instances: dict[str, set[str]] = {}
    for name, instance in consumers:
        instances.setdefault(name, set()).add(instance)
    return [name if len(instances[name]) == 1 else f"{name} ({instance or UNKNOWN})" for name, instance in consumers]


def shared_names(instances: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the instances of each name that has several, by name. An empty instance is unknown and is not counted."""
    by_name: dict[str, set[str]] = {}
    for name, instance in instances:
        if instance:
            by_name.setdefault(name, set()).add(instance)
    return {name: sorted(by_name[name]) for name in sorted(by_name) if len(by_name[name]) > 1}


def same_name_problem(name: str, instances: list[str]) -> str:
    """Return the message that several consumers have the same name, and what to do. `instances` has two or more."""
    named = [f"{name} ({instance})" for instance in instances[:LABELS_MAX]]
    more = len(instances) - LABELS_MAX
    named += [f"{more} more"] if more > 0 else []
    return (
        f"the consumers {', '.join(named[:-1])} and {named[-1]} have the same name: give each program a name of its own"
    )
