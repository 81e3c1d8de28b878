"""Parses HAProxy's actual state from its answers to commands. Raises `Unreadable` for unexpected answers."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

#: Bits of `srv_admin_state`: maintenance and drain, each with all of its causes.
_MAINT = 0x01 | 0x02 | 0x20 | 0x40
_DRAIN = 0x08 | 0x10

#: A bit of `srv_check_state`, and all bits for a server with health checks.
_CHECK_ENABLED = 0x04
CHECK_STATE = 0x02 | _CHECK_ENABLED

#: Values of `srv_op_state` and `srv_check_result`.
_STOPPED = 0
_UNKNOWN, _FAILED = 0, 2

#: Values of `check_status` if no check has run, or the last one passed.
_WAITING = re.compile(r"INI|OK")

#: A number that `int` always accepts. `int` refuses some digits of `str.isdigit`, and numbers of thousands of digits.
_DIGITS = re.compile(r"[0-9]{1,18}")

#: The type of a row about a server.
_SERVER_ROW = "2"


class Unreadable(ValueError):
    """HAProxy gave an unexpected answer. The message is a clause that begins with a verb, and quotes it."""


@frozen
class HaproxyProcess:
    """One process of HAProxy, identified by its `pid` and start time. `stopping` is True while it is ending."""

    pid: int
    started_at_s: int
    version: tuple[int, ...]
    description: str
    stopping: bool

    def is_the_same(self, other: HaproxyProcess | None) -> bool:
        return other is not None and (self.pid, self.started_at_s) == (other.pid, other.started_at_s)


@frozen
class ActualServer:
    """A server as HAProxy has it. `pool_id` is HAProxy's number of its pool.

    `down` is True if the server gets no requests because of its checks or, before its first check, because of a
    command; it can be True also in maintenance. `check_status` and `check_result` are HAProxy's numbers for the result
    of the last check.
    """

    pool: str
    pool_id: int
    name: str
    address: str
    port: int
    weight: int
    maint: bool
    drain: bool
    checked: bool
    down: bool = False
    check_status: int = 0
    check_result: int = _UNKNOWN

    @property
    def unchecked(self) -> bool:
        """Whether this process of HAProxy has not checked the server yet."""
        return self.check_result == _UNKNOWN

    @property
    def failing(self) -> bool:
        """Whether the last check of the server failed."""
        return self.check_result == _FAILED

    @property
    def is_out(self) -> bool:
        """Whether the server gets no new requests."""
        return self.maint or self.drain


@frozen
class Row:
    """HAProxy's counts for a server. `sessions` is the present number, including the queue."""

    pool: str
    name: str
    sessions: int
    status: str
    weight: int
    address: str
    check: str
    requests: int
    errors: int

    @property
    def down(self) -> bool:
        """Whether HAProxy's own checks have found it down. A server that waits for its first checks is not down."""
        return bool(self.check) and self.status.startswith("DOWN") and not _WAITING.search(self.check)


@frozen
class Master:
    """The master process, and the number of its failed reloads."""

    pid: int
    failed_reloads: int


def process_in(answer: str) -> HaproxyProcess:
    """Parse the answer to `show info`."""
    fields = {key: value.strip() for key, _, value in (line.partition(":") for line in answer.splitlines())}
    try:
        return HaproxyProcess(
            int(fields["Pid"]),
            int(fields.get("Start_time_sec", 0)),
            version_in(fields["Version"]),
            fields.get("description", ""),
            fields.get("Stopping", "0") != "0",
        )
    except (KeyError, ValueError) as error:
        raise Unreadable(f"gives an unreadable answer to show info: {_excerpt(answer)}") from error


def version_in(text: str) -> tuple[int, ...]:
    """Return the numbers of a version such as `2.6.12-1+deb12u4`. Raises `ValueError`."""
    numbers = []
    for part in text.split("-", maxsplit=1)[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    if len(numbers) < 2:
        raise ValueError(text)
    return tuple(numbers)


def servers_in(answer: str) -> list[ActualServer]:
    """Parse the answer to `show servers state`."""
    lines = answer.splitlines()
    if len(lines) < 2 or lines[0] != "1":
        raise Unreadable(f"gives an unreadable answer to show servers state: {_excerpt(answer)}")
    names = lines[1].removeprefix("# ").split()
    try:
        return [_actual_server(dict(zip(names, line.split(), strict=True))) for line in lines[2:] if line]
    except (KeyError, ValueError) as error:
        raise Unreadable(f"gives an unreadable answer to show servers state: {_excerpt(answer)}") from error


def _actual_server(fields: Mapping[str, str]) -> ActualServer:
    admin = int(fields["srv_admin_state"])
    return ActualServer(
        fields["be_name"],
        int(fields["be_id"]),
        fields["srv_name"],
        fields["srv_addr"],
        int(fields["srv_port"]),
        int(fields["srv_uweight"]),
        bool(admin & _MAINT),
        bool(admin & _DRAIN),
        bool(int(fields["srv_check_state"]) & _CHECK_ENABLED),
        int(fields["srv_op_state"]) == _STOPPED,
        int(fields["srv_check_status"]),
        int(fields["srv_check_result"]),
    )


def pools_in(answer: str) -> set[str]:
    """Return the names of all backends in the answer to `show backend`."""
    first, _, rest = answer.lstrip().partition("\n")
    if first != "# name":
        raise Unreadable(f"gives an unreadable answer to show backend: {_excerpt(answer)}")
    return {*rest.split()}


def rows_in(answer: str) -> list[Row]:
    """Parse the rows of servers in the answer to `show stat`."""
    read = csv.DictReader(answer.removeprefix("# ").splitlines())
    try:
        return [*_rows(read)]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise Unreadable(f"gives an unreadable answer to show stat: {_excerpt(answer)}") from error


def _rows(read: csv.DictReader[str]) -> Iterator[Row]:
    if "type" not in (read.fieldnames or ()):
        raise KeyError("type")
    for row in read:
        if row["type"] == _SERVER_ROW:
            yield Row(
                row["pxname"],
                row["svname"],
                _number(row["scur"]) + _number(row["qcur"]),
                row["status"],
                _number(row["uweight"]),
                row["addr"],
                row["check_status"],
                _number(row["req_tot"]) or _number(row["stot"]),
                _number(row["econ"]) + _number(row["eresp"]) + _number(row["hrsp_5xx"]),
            )


def _number(text: str) -> int:
    return int(text) if text else 0


def master_in(answer: str) -> Master:
    """Parse the answer to `show proc`, which only the master process gives."""
    for line in answer.splitlines():
        words = line.split()
        if len(words) > 1 and words[1] == "master" and _DIGITS.fullmatch(words[0]):
            failed_reloads = line.partition("[failed:")[2].partition("]")[0].strip()
            return Master(int(words[0]), int(failed_reloads) if _DIGITS.fullmatch(failed_reloads) else 0)
    raise Unreadable(f"gives an unreadable answer to show proc: {_excerpt(answer)}")


def by_pool(found: Sequence[ActualServer]) -> dict[str, list[ActualServer]]:
    pools: dict[str, list[ActualServer]] = {}
    for server in found:
        pools.setdefault(server.pool, []).append(server)
    return pools


def _excerpt(answer: str) -> str:
    return repr(answer if len(answer) <= 100 else f"{answer[:97]}…")
