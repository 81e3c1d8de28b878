"""The commands that lead from HAProxy's actual servers to the desired ones, in their order.

New servers come first and leaving ones last, so that there are never fewer servers than before or after. A server is
removed in two steps: it is drained, and when it has no sessions any more it is put into maintenance and deleted.
HAProxy deletes no server that is in use, so after a deletion no request can be on its way there.

A server that is to start as down (`health`) is drained until it is down, because HAProxy considers every server up that
leaves maintenance.

Before version 2.5, servers can be neither added nor deleted. Then there are slots; a slot is in use if it is not in
maintenance, and its address alone shows which server is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve, frozen

from bender.haproxy.core.actual_state import ActualServer
from bender.haproxy.core.health import held_back, where
from bender.haproxy.core.rendering import parameters, place
from bender.haproxy.core.servers import DesiredServer
from bender.haproxy.core.topology import Pool

#: The beginnings of HAProxy's answers to commands that it has carried out.
_DONE = ("New server registered.", "Server deleted.", "IP changed", "port changed", "no need to change")


@frozen
class CommandPlan:
    """`commands` in their order; after them, `leaving` are servers that get no new requests and are to be deleted.

    `without_slot` are the ids of servers for which there is no slot.
    """

    commands: tuple[str, ...]
    leaving: tuple[str, ...] = ()
    without_slot: tuple[str, ...] = ()


def plan(
    pool: Pool,
    desired: Sequence[DesiredServer],
    found: Sequence[ActualServer],
    last: Sequence[ActualServer] | None = None,
) -> CommandPlan:
    """Return the commands that turn the servers `found` in a pool into those `desired`, except for deletions.

    `last` are the servers found last, where this process of HAProxy has them otherwise (`Findings.last`).
    """
    without_slot: list[str] = []
    if pool.slots:
        desired, without_slot = _in_slots([server for server in desired if server.address is not None], found)
    present = {server.name: server for server in found}
    names = {server.name for server in desired}
    held = held_back(pool, desired, found if last is None else last)
    commands: list[str] = []
    for server in desired:
        if server.name in present:
            commands += _changed(pool, server, present[server.name], held=server.name in held)
        elif server.address is not None:
            commands += _added(pool, server, held=server.name in held)
    leaving = [other for other in found if other.name not in names and not (pool.slots and other.maint)]
    commands += [f"set server {pool.name}/{other.name} state drain" for other in leaving if not other.out]
    return CommandPlan((*commands,), tuple(other.name for other in leaving), (*without_slot,))


def deletion(pool: Pool, idle: Iterable[str]) -> list[str]:
    """Return the commands that delete drained servers without sessions. A slot stays, for another server."""
    commands = []
    for name in idle:
        commands.append(f"set server {pool.name}/{name} state maint")
        if not pool.slots:
            commands.append(f"del server {pool.name}/{name}")
    return commands


def refusal(answer: str) -> str | None:
    """Return why HAProxy did not carry out a command of a plan; None if it did."""
    text = " ".join(answer.split())
    return None if not text or text.startswith(_DONE) else text


def _added(pool: Pool, server: DesiredServer, *, held: bool) -> Iterator[str]:
    name = f"{pool.name}/{server.name}"
    yield f"add server {name} {place(server)} {parameters(server, pool)}"
    if pool.health is not None:
        yield f"enable health {name}"
    if server.state != "maint":  # its state after being added
        yield from _out_of_maintenance(name, server, held=held)


def _changed(pool: Pool, server: DesiredServer, found: ActualServer, *, held: bool) -> Iterator[str]:
    """Change the address before the state, or the first requests would go to the old one."""
    name = f"{pool.name}/{server.name}"
    if held and not found.maint and not found.down:
        yield f"set server {name} health down"
    if server.address is not None and (server.address, server.port) != (found.address, found.port):
        yield f"set server {name} addr {server.address} port {server.port}"
    if server.weight != found.weight:
        yield f"set server {name} weight {server.weight}"
    if found.maint and server.state != "maint":
        yield from _out_of_maintenance(name, server, held=held)
    elif (server.state == "maint", server.state == "drain") != (found.maint, found.drain):
        yield _state(name, server)
    if pool.health is not None:
        if not found.checked:
            yield f"enable health {name}"
        if found.down and not (held or found.failing or found.maint):
            yield f"set server {name} health up"


def _out_of_maintenance(name: str, server: DesiredServer, *, held: bool) -> Iterator[str]:
    if held:
        yield f"set server {name} state drain"
        yield f"set server {name} health down"
    if not held or server.state != "drain":
        yield _state(name, server)


def _state(name: str, server: DesiredServer) -> str:
    return f"set server {name} state {'ready' if server.state == 'up' else server.state}"


def _in_slots(desired: Sequence[DesiredServer], found: Sequence[ActualServer]) -> tuple[list[DesiredServer], list[str]]:
    """Return servers named after their slots, each in the one with its address or a free one; and ids without one."""
    used = {where(slot): slot.name for slot in reversed(found)}
    kept = {server.name: used[where(server)] for server in desired if where(server) in used}
    free = [slot.name for slot in found if slot.maint and slot.name not in kept.values()]
    placed, without_slot = [], []
    for server in desired:
        name = kept.get(server.name) or (free.pop(0) if free else None)
        if name is None:
            without_slot.append(server.id)
        else:
            placed.append(evolve(server, name=name))
    return placed, without_slot
