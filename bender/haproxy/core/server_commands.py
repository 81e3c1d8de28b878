"""The commands that change HAProxy's actual servers to the desired ones, in their order.

Servers are added first and removed last, so that there are never fewer servers than before or after. A server is
removed in two steps: it is drained; when it has no sessions any more, it is put into maintenance and deleted. HAProxy
does not delete a server that is in use, so after a deletion no request can be on its way to the server.

A server that must start as down (`health`) is drained until it is down, because HAProxy considers every server up that
leaves maintenance.

Before version 2.5, HAProxy can neither add nor delete servers. Then a backend has slots. A slot is in use if it is not
in maintenance. Only its address shows which server uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve, frozen

from bender.haproxy.core.actual_state import ActualServer
from bender.haproxy.core.health import address_and_port, held_back
from bender.haproxy.core.rendering import parameters, place
from bender.haproxy.core.servers import DesiredServer
from bender.haproxy.core.topology import Pool

#: The beginnings of HAProxy's answers to commands that it has carried out.
_DONE = ("New server registered.", "Server deleted.", "IP changed", "port changed", "no need to change")


@frozen
class CommandPlan:
    """The `commands` in their order.

    `leaving` are the servers that get no new requests after these commands, and are to be deleted. `without_slot` are
    the ids of servers for which there is no slot.
    """

    commands: tuple[str, ...]
    leaving: tuple[str, ...] = ()
    without_slot: tuple[str, ...] = ()


def plan_commands(
    pool: Pool,
    desired: Sequence[DesiredServer],
    found: Sequence[ActualServer],
    last: Sequence[ActualServer] | None = None,
) -> CommandPlan:
    """Return the commands that change the servers `found` in a pool to the `desired` ones, without deletions.

    `last` has the same servers with the results of the last checks (`Findings.last_known`); by default it is `found`.
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
            commands += _change_commands(pool, server, present[server.name], held=server.name in held)
        elif server.address is not None:
            commands += _add_commands(pool, server, held=server.name in held)
    leaving = [other for other in found if other.name not in names and not (pool.slots and other.maint)]
    commands += [f"set server {pool.name}/{other.name} state drain" for other in leaving if not other.is_out]
    return CommandPlan((*commands,), tuple(other.name for other in leaving), (*without_slot,))


def deletion_commands(pool: Pool, idle: Iterable[str]) -> list[str]:
    """Return the commands that delete drained servers without sessions. A slot is not deleted, but free again."""
    commands = []
    for name in idle:
        commands.append(f"set server {pool.name}/{name} state maint")
        if not pool.slots:
            commands.append(f"del server {pool.name}/{name}")
    return commands


def refusal_in(answer: str) -> str | None:
    """Return the reason in HAProxy's answer why it did not carry out a command; None if it did."""
    text = " ".join(answer.split())
    return None if not text or text.startswith(_DONE) else text


def _add_commands(pool: Pool, server: DesiredServer, *, held: bool) -> Iterator[str]:
    name = f"{pool.name}/{server.name}"
    yield f"add server {name} {place(server)} {parameters(server, pool)}"
    if pool.health is not None:
        yield f"enable health {name}"
    if server.state != "maint":  # its state after being added
        yield from _end_maintenance_commands(name, server, held=held)


def _change_commands(pool: Pool, server: DesiredServer, found: ActualServer, *, held: bool) -> Iterator[str]:
    """Yield the commands that change a server. The address is first, or requests would go to the old address."""
    name = f"{pool.name}/{server.name}"
    if held and not found.maint and not found.down:
        yield f"set server {name} health down"
    if server.address is not None and (server.address, server.port) != (found.address, found.port):
        yield f"set server {name} addr {server.address} port {server.port}"
    if server.weight != found.weight:
        yield f"set server {name} weight {server.weight}"
    if found.maint and server.state != "maint":
        yield from _end_maintenance_commands(name, server, held=held)
    elif (server.state == "maint", server.state == "drain") != (found.maint, found.drain):
        yield _state_command(name, server)
    if pool.health is not None:
        if not found.checked:
            yield f"enable health {name}"
        if found.down and not (held or found.failing or found.maint):
            yield f"set server {name} health up"


def _end_maintenance_commands(name: str, server: DesiredServer, *, held: bool) -> Iterator[str]:
    if held:
        yield f"set server {name} state drain"
        yield f"set server {name} health down"
    if not held or server.state != "drain":
        yield _state_command(name, server)


def _state_command(name: str, server: DesiredServer) -> str:
    return f"set server {name} state {'ready' if server.state == 'up' else server.state}"


def _in_slots(desired: Sequence[DesiredServer], found: Sequence[ActualServer]) -> tuple[list[DesiredServer], list[str]]:
    """Return the servers that have a slot, named after it, and the ids of those that have none.

    A server gets the slot with its address, else a free slot.
    """
    used = {address_and_port(slot): slot.name for slot in reversed(found)}
    kept = {server.name: used[address_and_port(server)] for server in desired if address_and_port(server) in used}
    free = [slot.name for slot in found if slot.maint and slot.name not in kept.values()]
    placed, without_slot = [], []
    for server in desired:
        name = kept.get(server.name) or (free.pop(0) if free else None)
        if name is None:
            without_slot.append(server.id)
        else:
            placed.append(evolve(server, name=name))
    return placed, without_slot
