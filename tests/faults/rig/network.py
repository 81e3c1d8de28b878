"""Network namespaces: one for each node, and one for the programs of the test, with a bridge that connects all.

Names are unique to the process, and everything is removed at the end, also after a failure. Packets are dropped by
nftables in the namespace of the receiver, so a sender sees no difference from a network that loses them.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from attrs import define, field

ROOT = Path(__file__).parents[3]

#: The network of a run. Clients have their own addresses, so that a partition also separates clients.
PREFIX = "10.77.0"
CLIENTS = ("10.77.0.201", "10.77.0.202")
OBSERVER = "10.77.0.200"

API_PORT, EXCHANGE_PORT, EVENTS_PORT = 1729, 1730, 1731

#: The port of the relay in the namespace of each node, and the mark of its own connections.
RELAY_PORT, RELAY_MARK = 1799, 77

_CLONE_NEWNET = 0x40000000


class Missing(Exception):
    """A program that faults need is missing. The message has the remedy."""


def program(name: str) -> str:
    """Return the path of an installed program, or of a program that `make test-deps` has unpacked."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ROOT / f".deps/debian/{name}"
    if not Path(found).exists():
        raise Missing(f"{name} is missing: run `make test-deps`.")
    return str(found)


def address_of(number: int) -> str:
    """Return the address of a node by its number, counted from 0."""
    return f"{PREFIX}.{number + 1}"


def enter(namespace: str) -> None:
    """Move this thread into a network namespace, in which all its later sockets are opened."""
    with Path(f"/run/netns/{namespace}").open("rb") as file:
        _enter(file)


def _enter(file: BinaryIO) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, f"cannot enter a network namespace: {os.strerror(error)}")


@define
class Rules:
    """The packets that the firewalls of all nodes drop."""

    #: Pairs of numbers: packets from the first to the second are dropped, or all except answers.
    stopped: set[tuple[int, int]] = field(factory=set)
    unasked: set[tuple[int, int]] = field(factory=set)
    #: For each address of clients, the nodes that cannot be reached from there.
    unreachable: dict[str, set[int]] = field(factory=dict)
    #: The percentage of dropped packets between nodes.
    loss_percent: int = 0

    def of(self, number: int, nodes: int, *, relayed: bool) -> str:
        """Return the rules of one node in the language of nft."""
        drops = [f"ip saddr {address_of(a)} drop" for a, b in self.stopped if b == number]
        drops += [f"ip saddr {address_of(a)} tcp dport {EXCHANGE_PORT} drop" for a, b in self.unasked if b == number]
        drops += [f"ip saddr {client} drop" for client, where in self.unreachable.items() if number in where]
        if self.loss_percent:
            drops += [
                f"ip saddr {address_of(a)} numgen random mod 100 < {self.loss_percent} drop"
                for a in range(nodes)
                if a != number
            ]
        return "\n".join(
            [
                "table ip faults",
                "delete table ip faults",
                "table ip faults {",
                "chain arriving { type filter hook input priority 0;",
                *drops,
                "}",
                *(_redirection(nodes, number) if relayed else ()),
                "}\n",
            ]
        )


def _redirection(nodes: int, number: int) -> Iterable[str]:
    peers = ", ".join(address_of(a) for a in range(nodes) if a != number)
    yield "chain leaving { type nat hook output priority -100;"
    yield f"ip daddr {{ {peers} }} tcp dport {EXCHANGE_PORT} meta mark != {RELAY_MARK} redirect to :{RELAY_PORT}"
    yield "}"


class Network:
    """The namespaces of a run, and the rules of their firewalls. `close` removes all of them."""

    def __init__(self, nodes: int, *, relayed: bool) -> None:
        self.nodes = nodes
        self.relayed = relayed
        self.rules = Rules()
        self._ip, self._nft = program("ip"), program("nft")
        self._made: list[str] = []
        self._home = Path("/proc/thread-self/ns/net").open("rb")  # noqa: SIM115 - until `close`
        self._applied: dict[int, str] = {}
        self._applying = asyncio.Lock()
        tag = f"bf{os.getpid()}"
        self.hub = f"{tag}-hub"
        self.namespaces = [f"{tag}-n{number + 1}" for number in range(nodes)]

    def open(self) -> None:
        """Make the namespaces, the bridge and the links, and enter the namespace of the programs."""
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        for namespace in (self.hub, *self.namespaces):
            self._run("netns", "add", namespace)
            self._made.append(namespace)
            self._run("-n", namespace, "link", "set", "lo", "up")
        self._run("-n", self.hub, "link", "add", "bridge0", "type", "bridge")
        self._run("-n", self.hub, "link", "set", "bridge0", "up")
        for address in (OBSERVER, *CLIENTS):
            self._run("-n", self.hub, "addr", "add", f"{address}/24", "dev", "bridge0")
        for number, namespace in enumerate(self.namespaces):
            link = f"to-n{number + 1}"
            self._run("-n", self.hub, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            self._run("-n", self.hub, "link", "set", link, "master", "bridge0", "up")
            self._run("-n", namespace, "addr", "add", f"{address_of(number)}/24", "dev", "eth0")
            self._run("-n", namespace, "link", "set", "eth0", "up")
        enter(self.hub)

    async def apply(self) -> None:
        """Apply the rules at all nodes whose rules have changed, while everything else continues."""
        async with self._applying:
            changed = {number: self.rules.of(number, self.nodes, relayed=self.relayed) for number in range(self.nodes)}
            await asyncio.gather(
                *(self._load(number, rules) for number, rules in changed.items() if self._applied.get(number) != rules)
            )
            self._applied = changed

    async def _load(self, number: int, rules: str) -> None:
        loading = await asyncio.create_subprocess_exec(*self.inside(number, [self._nft, "-f", "-"]), stdin=PIPE)
        await loading.communicate(rules.encode())
        if loading.returncode:
            raise OSError(f"nft refuses the rules of n{number + 1}:\n{rules}")

    def inside(self, number: int, command: Sequence[str]) -> list[str]:
        """Return a command that runs `command` in the namespace of a node, with the same process id."""
        return [self._ip, "netns", "exec", self.namespaces[number], *command]

    def close(self) -> None:
        """Remove all namespaces with their processes, and with them the bridge and the links."""
        if not self._home.closed:
            _enter(self._home)
            self._home.close()
        for namespace in self._made:
            self._end_processes(namespace)
            with suppress(subprocess.CalledProcessError):
                self._run("netns", "delete", namespace)
        self._made.clear()

    def _end_processes(self, namespace: str) -> None:
        """End programs that an interrupted seed has left running."""
        listed = subprocess.run([self._ip, "netns", "pids", namespace], capture_output=True, text=True, check=False)
        for pid in map(int, listed.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._ip, *arguments], check=True)
