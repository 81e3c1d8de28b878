"""Updates HAProxy's servers to the desired state, in one conversation with one of its processes.

Each conversation reads the actual state first. So it also corrects what an operator has changed, and updates a new
process like an old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field, frozen
from twisted.logger import Logger

from bender.haproxy.core.actual_state import (
    ActualServer,
    HaproxyProcess,
    Row,
    by_pool,
    pools_in,
    process_in,
    rows_in,
    servers_in,
)
from bender.haproxy.core.health import Findings
from bender.haproxy.core.pending_acks import ServerKey
from bender.haproxy.core.server_commands import CommandPlan, deletion_commands, plan_commands, refusal_in
from bender.haproxy.core.servers import DesiredServer
from bender.haproxy.core.topology import Pool
from bender.haproxy.runtime import Conversation

#: For at most this many pools, the servers of each pool are read by a command; for more, all servers by one command.
POOLS_MAX = 8

#: HAProxy 2.5 adds servers only in its experimental mode.
_EXPERIMENTAL = (2, 5)


@frozen
class ReconcileOutcome:
    """The state of the pools that were reconciled.

    - `leaving`: the servers that get no new requests and are to be deleted; `busy`: those of them that still have
      requests; `newly_drained`: those of them that got new requests until now.
    - `refused`: the commands that HAProxy refused, each with its answer.
    - `without_slot`: the ids of members for which there is no slot.
    - `previous`: the servers before this conversation, by the name of their pool.
    """

    leaving: frozenset[ServerKey]
    busy: frozenset[ServerKey]
    newly_drained: frozenset[ServerKey]
    refused: tuple[str, ...]
    without_slot: tuple[str, ...]
    previous: Mapping[str, Sequence[ActualServer]]


@define
class Reconciler:
    """One conversation. Calls `on_rows` with HAProxy's counts before servers are deleted."""

    conversation: Conversation
    on_rows: Callable[[Sequence[Row]], None] = lambda _rows: None
    _process: HaproxyProcess | None = None
    _refused: list[str] = field(factory=list)

    _log = Logger()

    async def process(self) -> HaproxyProcess:
        """Return the process that answers."""
        (answer,) = await self.conversation.ask(["show info"])
        self._process = process_in(answer)
        return self._process

    async def servers(self) -> dict[str, list[ActualServer]]:
        """Return all servers, by the name of their pool."""
        (state,) = await self.conversation.ask(["show servers state"])
        return by_pool(servers_in(state))

    def _answering(self) -> HaproxyProcess:
        assert self._process is not None, "call process() first"
        return self._process

    async def reconcile(
        self, pools: Sequence[Pool], servers: Mapping[str, Sequence[DesiredServer]], findings: Findings
    ) -> ReconcileOutcome:
        """Update the servers of these pools to `servers`, by name of the pool.

        `findings` has the servers that the previous process of HAProxy had found down.
        """
        there, found = await self._look(pools)
        present = [pool for pool in pools if pool.name in there]
        process = self._answering()
        previous = {pool.name: findings.last_known(process, pool.name, found.get(pool.name, ())) for pool in present}
        plans = {
            pool.name: plan_commands(pool, servers[pool.name], found.get(pool.name, ()), previous[pool.name])
            for pool in present
        }
        await self._do([command for pool in present for command in plans[pool.name].commands])
        leaving, busy = await self._delete(present, plans, found)
        out = {(pool, server.name) for pool, servers_ in found.items() for server in servers_ if server.is_out}
        return ReconcileOutcome(
            leaving=frozenset(leaving),
            busy=frozenset(busy),
            newly_drained=frozenset(
                {(name, each) for name, planned in plans.items() for each in planned.leaving} - out
            ),
            refused=(*self._refused,),
            without_slot=tuple(id_ for planned in plans.values() for id_ in planned.without_slot),
            previous=previous,
        )

    async def rows(self) -> list[Row]:
        """Return HAProxy's counts for all servers."""
        (answer,) = await self.conversation.ask(["show stat -1 4 -1"])
        return rows_in(answer)

    async def _look(self, pools: Sequence[Pool]) -> tuple[set[str], dict[str, list[ActualServer]]]:
        """Return the names of all pools in HAProxy, and by name the servers of `pools`."""
        if len(pools) > POOLS_MAX:
            backends, state = await self.conversation.ask(["show backend", "show servers state"])
            return pools_in(backends), by_pool(servers_in(state))
        asked = [f"show servers state {pool.name}" for pool in pools]
        backends, *states = await self.conversation.ask(["show backend", *asked])
        there = pools_in(backends)
        found = {pool.name: servers_in(state) for pool, state in zip(pools, states, strict=True) if pool.name in there}
        return there, found

    async def _delete(
        self, pools: Sequence[Pool], plans: Mapping[str, CommandPlan], found: Mapping[str, Sequence[ActualServer]]
    ) -> tuple[set[ServerKey], set[ServerKey]]:
        """Delete leaving servers without sessions. Return the servers that remain, and those of them with sessions."""
        left = [pool for pool in pools if plans[pool.name].leaving]
        if not left:
            return set(), set()
        asked = [f"show stat {found[pool.name][0].pool_id} 4 -1" for pool in left]
        rows = [row for answer in await self.conversation.ask(asked) for row in rows_in(answer)]
        self.on_rows(rows)
        sessions = {(row.pool, row.name): row.sessions for row in rows}
        leaving = {(pool.name, name) for pool in left for name in plans[pool.name].leaving}
        idle = {place for place in leaving if not sessions.get(place, 0)}
        commands = [
            command
            for pool in left
            for command in deletion_commands(pool, sorted(name for owner, name in idle if owner == pool.name))
        ]
        refused = await self._do(commands, report_refusals=False)
        gone = {place for place in idle if f"del server {'/'.join(place)}" not in refused}
        return leaving - gone, leaving - idle

    async def _do(self, commands: Sequence[str], *, report_refusals: bool = True) -> set[str]:
        """Send commands to HAProxy; return those that it refused."""
        if not commands:
            return set()
        if self._answering().version[:2] == _EXPERIMENTAL:
            commands = ["experimental-mode on", *commands]
        answers = await self.conversation.ask(commands)
        refused = set()
        for command, answer in zip(commands, answers, strict=True):
            self._log.info("{command}: {answer}", command=command, answer=answer)
            why = refusal_in(answer)
            if why is not None:
                refused.add(command)
                if report_refusals:
                    self._refused.append(f"{command}: {why}")
        return refused
