"""The servers that must get no requests before one of HAProxy's own checks has found them up ("held back").

A process of HAProxy considers every server up until its checks fail. That includes a server that the previous process
had found down, and a server that was just added. So if a backend has health checks, the driver makes servers down until
a check succeeds: those that were down before HAProxy restarted, and those that are new, have another address or come
out of maintenance.

If a backend has only unchecked servers, they get requests at once, because an unchecked server is better than none. A
server that a check has found down still gets none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import define, evolve, field

from bender.haproxy.core.actual_state import CHECK_STATE, ActualServer, HaproxyProcess, servers_in
from bender.haproxy.core.rendering import fill_slots
from bender.haproxy.core.servers import DesiredServer
from bender.haproxy.core.topology import Pool

#: The columns of a state file that every version of HAProxy reads.
_COLUMNS = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord"
)

#: The status and the result of a check that has not run yet.
_UNCHECKED = 1, 0


def address_and_port(server: DesiredServer | ActualServer) -> tuple[str | None, int]:
    """Return the address and port of a server, which identify it in a slot."""
    return server.address, server.port


def held_back(pool: Pool, desired: Iterable[DesiredServer], last: Iterable[ActualServer]) -> frozenset[str]:
    """Return the names of the desired servers that must be down until a check finds them up.

    `last` has the servers of the pool as they were read last.
    """
    if pool.health is None:
        return frozenset()
    last = [*last]
    known, named = {address_and_port(each): each for each in last}, {each.name: each for each in last}
    failing: set[str] = set()
    unchecked: set[str] = set()
    serving = False
    for server in desired:
        before = named.get(server.name) if server.address is None else known.get(address_and_port(server))
        if server.state == "maint":
            continue
        if before is None or before.maint:
            unchecked.add(server.name)
        elif before.down:
            (failing if before.failing else unchecked).add(server.name)
        else:
            serving |= server.state == "up" and server.weight > 0
    return frozenset(failing | unchecked if serving else failing)


@define
class Findings:
    """The servers of each pool as they were read last, and the process of HAProxy that they were read from."""

    process: HaproxyProcess | None = None
    found: dict[str, Sequence[ActualServer]] = field(factory=dict)

    def last_known(self, process: HaproxyProcess, pool: str, found: Sequence[ActualServer]) -> list[ActualServer]:
        """Return the servers `found` in `process`, with the previous process's results where it has none yet.

        A process that was started with a state file has these results itself; other processes do not.
        """
        before = (
            {}
            if process.is_the_same(self.process)
            else {address_and_port(each): each for each in self.found.get(pool, ())}
        )
        return [_resumed(each, before.get(address_and_port(each))) for each in found]

    def remember(self, process: HaproxyProcess, found: Mapping[str, Sequence[ActualServer]]) -> None:
        """Remember the servers of some pools. If `process` is new, forget the servers of all other pools."""
        if not process.is_the_same(self.process):
            self.process, self.found = process, {}
        self.found |= found


def _resumed(found: ActualServer, before: ActualServer | None) -> ActualServer:
    if before is None or before.maint or not before.down or not found.unchecked or found.down:
        return found
    return evolve(found, down=True, check_status=before.check_status, check_result=before.check_result)


def state_file_text(pools: Iterable[Pool], servers: Mapping[str, Sequence[DesiredServer]], findings: Findings) -> str:
    """Return the text of the state file, from which HAProxy reads at its start which servers are down."""
    lines = ["1", f"# {_COLUMNS}"]
    for pool in pools:
        last = findings.found.get(pool.name, ())
        beginning = fill_slots(servers[pool.name], pool.slots)
        held = held_back(pool, beginning, last)
        known = {address_and_port(each): each for each in last}
        lines += [_line(pool, each, known.get(address_and_port(each))) for each in beginning if each.name in held]
    return "\n".join([*lines, ""])


def parse_findings(text: str) -> Findings:
    """Return the findings in a state file. Raises `Unreadable`."""
    found: dict[str, list[ActualServer]] = {}
    for each in servers_in(text):
        found.setdefault(each.pool, []).append(each)
    return Findings(found={**found})


def _line(pool: Pool, server: DesiredServer, before: ActualServer | None) -> str:
    failing = before is not None and before.failing
    status, result = (before.check_status, before.check_result) if before is not None and failing else _UNCHECKED
    weight = server.weight if server.state == "up" else 0
    return (
        f"0 {pool.name} 0 {server.name} {server.address} 0 0 {weight} {weight} 0 {status} {result} 0 {CHECK_STATE} 0 "
        f"0 0 - {server.port} -"
    )
