"""Find which process holds the port of the instance: one that the command has started, or another one.

If another one does, its answers say nothing about the command, and the instance must not get traffic for them. That is
certain in one case only: a port that the command has held and holds no longer is lost to the process that holds it now.
A process that held the port before the command was started may be a proxy in front of the command, or the service for
which the command is a placeholder. In all other cases nothing is concluded: the process may be a forwarder that belongs
to the command, such as that of a container, or it may belong to another user, which hides its sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto

from attrs import frozen

from bender.run.local_address import is_local_address
from bender.run.process_table import ProcessTable
from bender.run.socket_table import SocketTable


class Holder(Enum):
    """The process that holds the port."""

    COMMAND = auto()
    #: Certainly not the command.
    OTHER = auto()
    #: A process that was there before: a proxy in front of the command, a service behind it, or a mistake.
    OTHER_BEFORE_IT = auto()
    #: A process that was not there before: a forwarder that belongs to the command, or a mistake.
    OTHER_SINCE = auto()
    #: No process now; the command held it before.
    NOBODY = auto()
    UNKNOWN = auto()


@frozen
class Holding:
    """The holder of the port; `clause` names the process if it is not of the command."""

    holder: Holder
    clause: str = ""


class PortHolder:
    """Find which process holds one port. Create it before the command is started.

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
        self._before = {each.inode for each in self._sockets.listeners(port)}
        # The command's socket at the port: its process, descriptor and inode. As long as it is open, nothing has
        # changed. That check takes microseconds; reading the table of sockets can take milliseconds.
        self._of_command: tuple[int, int, int] | None = None
        self._host = ""
        # The last clause, with the sockets that it is about: to find their process takes long.
        self._named: tuple[set[int], str] = (set(), "")

    def look(self, host: str, command: Callable[[], Iterable[int] | None]) -> Holding:
        """Return which process holds the port at a host.

        `command` returns the numbers of all processes of the command, or None where they are not known.
        """
        if host != self._host:
            self._host, self._of_command = host, None
        if self._of_command is not None and self._processes.holds(*self._of_command):
            return Holding(Holder.COMMAND)
        inodes = {each.inode for each in self._sockets.listeners(self._port) if each.covers(host)}
        if not inodes and self._of_command is not None:
            return Holding(Holder.NOBODY)
        processes = command() if inodes and self._is_local(host) else None
        held = None if processes is None else self._held(processes)
        if held is None:
            return Holding(Holder.UNKNOWN)
        for inode in inodes & held.keys():
            self._of_command = (*held[inode], inode)
            return Holding(Holder.COMMAND)
        if self._of_command is not None:
            return Holding(Holder.OTHER, self._clause(inodes))
        if inodes <= self._before:
            return Holding(Holder.OTHER_BEFORE_IT, self._clause(inodes))
        return Holding(Holder.OTHER_SINCE)

    def bound_addresses(self) -> list[str]:
        """Return the addresses at which some process accepts connections to the port, as far as that is known."""
        return self._sockets.bound_addresses(self._port)

    def other_ports(self, command: Callable[[], Iterable[int] | None]) -> list[int]:
        """Return the ports at which the command accepts connections instead of this one, as far as that is known."""
        processes = command()
        held = None if processes is None else self._held(processes)
        found = {each.port for each in self._sockets.listeners() if each.inode in held} if held else set()
        return [] if self._port in found else sorted(found)

    def is_held_by(self, processes: Iterable[int]) -> bool:
        """Return True if one of these processes accepts connections to the port, or may do so."""
        inodes = {each.inode for each in self._sockets.listeners(self._port)}
        held = self._held(processes)
        return bool(inodes if held is None else inodes & held.keys())

    def _held(self, processes: Iterable[int]) -> dict[int, tuple[int, int]] | None:
        """Return the sockets that these processes hold open, each inode with a process and its descriptor.

        Returns None if some of them do not show that.
        """
        held: dict[int, tuple[int, int]] = {}
        for pid in processes:
            sockets = self._processes.sockets(pid)
            if sockets is None:
                return None
            held |= {inode: (pid, descriptor) for inode, descriptor in sockets.items()}
        return held

    def _clause(self, inodes: set[int]) -> str:
        if self._named[0] != inodes:
            holder = self._processes.holder(inodes) or "another process"
            clause = f"port {self._port} is held by {holder}, which this command did not start"
            self._named = (inodes, clause)
        return self._named[1]
