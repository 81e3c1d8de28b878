"""Find out whether a process of the command holds the port of the instance, or another process does.

If another process holds the port, its answers prove nothing about the command, and the instance must not get traffic
because of them. This is certain only if the command has held the port before, and another process holds it now. A
process that held the port before the command was started may be a proxy in front of the command, or the service for
which the command is a placeholder. In all other cases there is no conclusion: the process may be a forwarder of the
command, such as that of a container, or it may belong to another user, which hides its sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto

from attrs import frozen

from bender.run.local_address import is_local_address
from bender.run.process_table import ProcessTable
from bender.run.socket_table import SocketTable


class Holder(Enum):
    """The kind of process that holds the port."""

    COMMAND = auto()
    #: A process that is certainly not of the command.
    OTHER = auto()
    #: A process that held it before the command started: a proxy or service of the command, or a mistake.
    OTHER_BEFORE_IT = auto()
    #: Another process that holds it since the command started: a forwarder of the command, or a mistake.
    OTHER_SINCE = auto()
    #: No process now, but the command held it before.
    NOBODY = auto()
    UNKNOWN = auto()


@frozen
class Holding:
    """The holder of the port, and a clause that names its process if it is not of the command."""

    holder: Holder
    clause: str = ""


class PortHolder:
    """Find out which process holds a port. Create this object before you start the command.

    `is_local` returns True for an address of this machine.
    """

    def __init__(
        self,
        port: int,
        *,
        sockets: SocketTable | None = None,
        processes: ProcessTable | None = None,
        is_local: Callable[[str], bool] = is_local_address,
    ) -> None:
        self._port = port
        self._sockets = sockets or SocketTable()
        self._processes = processes or ProcessTable()
        self._is_local = is_local
        self._earlier_inodes = {each.inode for each in self._sockets.listeners(port)}
        # The command's socket at the port: its process, descriptor and inode. While it is open, the holder has not
        # changed. This check takes microseconds; reading the socket table can take milliseconds.
        self._command_socket: tuple[int, int, int] | None = None
        self._host = ""
        # The last clause and the sockets of which it names the process. Finding the process takes long.
        self._last_clause: tuple[set[int], str] = (set(), "")

    def find_holder(self, host: str, command_pids: Callable[[], Iterable[int] | None]) -> Holding:
        """Return the holder of the port at a host.

        `command_pids` returns the ids of all processes of the command, or None if they are unknown.
        """
        if host != self._host:
            self._host, self._command_socket = host, None
        if self._command_socket is not None and self._processes.has_socket(*self._command_socket):
            return Holding(Holder.COMMAND)
        inodes = {each.inode for each in self._sockets.listeners(self._port) if each.covers(host)}
        if not inodes and self._command_socket is not None:
            return Holding(Holder.NOBODY)
        processes = command_pids() if inodes and self._is_local(host) else None
        held = None if processes is None else self._sockets_of(processes)
        if held is None:
            return Holding(Holder.UNKNOWN)
        for inode in inodes & held.keys():
            self._command_socket = (*held[inode], inode)
            return Holding(Holder.COMMAND)
        if self._command_socket is not None:
            return Holding(Holder.OTHER, self._clause(inodes))
        if inodes <= self._earlier_inodes:
            return Holding(Holder.OTHER_BEFORE_IT, self._clause(inodes))
        return Holding(Holder.OTHER_SINCE)

    def bound_addresses(self) -> list[str]:
        """Return the known addresses at which any process accepts connections to the port."""
        return self._sockets.bound_addresses(self._port)

    def other_ports(self, command_pids: Callable[[], Iterable[int] | None]) -> list[int]:
        """Return the known ports at which the command accepts connections, if this port is not one of them."""
        processes = command_pids()
        held = None if processes is None else self._sockets_of(processes)
        found = {each.port for each in self._sockets.listeners() if each.inode in held} if held else set()
        return [] if self._port in found else sorted(found)

    def is_held_by(self, processes: Iterable[int]) -> bool:
        """Return True if one of these processes accepts connections to the port, or if that is unknown."""
        inodes = {each.inode for each in self._sockets.listeners(self._port)}
        held = self._sockets_of(processes)
        return bool(inodes if held is None else inodes & held.keys())

    def _sockets_of(self, processes: Iterable[int]) -> dict[int, tuple[int, int]] | None:
        """Return the sockets that these processes hold open: the process and its descriptor by inode.

        Returns None if this process may not read the sockets of one of them.
        """
        held: dict[int, tuple[int, int]] = {}
        for pid in processes:
            sockets = self._processes.sockets(pid)
            if sockets is None:
                return None
            held |= {inode: (pid, descriptor) for inode, descriptor in sockets.items()}
        return held

    def _clause(self, inodes: set[int]) -> str:
        if self._last_clause[0] != inodes:
            holder = self._processes.holder(inodes) or "another process"
            clause = f"port {self._port} is held by {holder}, which this command did not start"
            self._last_clause = (inodes, clause)
        return self._last_clause[1]
