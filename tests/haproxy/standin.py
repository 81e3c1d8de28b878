"""A fake HAProxy: the part of the Runtime API that a driver uses, and the servers in a configuration file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.error import ConnectionRefusedError as NobodyListens
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from bender.haproxy.config_file import ConfigFiles
from bender.haproxy.supervisor import ReloadFailed

COLUMNS = (
    "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    "srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    "bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr "
    "srv_agent_addr srv_agent_port"
)
_SERVER = re.compile(
    r"server (\S+) \[?([0-9a-f.:]+?)\]?:(\d+) weight (\d+)( check \S+ \S+ \S+ \S+ \S+ \S+)?( disabled)?"
)
_COMMANDS = {
    "ready": 0,
    "drain": 8,
    "maint": 1,
}


@define
class Server:
    """A server; a test sets its `sessions` and `requests`."""

    address: str
    port: int
    weight: int
    admin: int = 0
    checked: bool = False
    sessions: int = 0
    requests: int = 0
    status: str = "no check"
    down: bool = False
    #: HAProxy's number for the result of the last check: none was done, it failed, or it was passed.
    check_result: int = 0

    @property
    def check(self) -> str:
        return "L4CON" if self.status == "DOWN" else "L4OK"


@define
class HAProxy:
    """A HAProxy that may run; `changes` are the received commands that change anything, in order."""

    clock: Clock
    version: str = "2.6.12-1+deb12u4"
    pid: int = 100
    description: str = ""
    running: bool = False
    silent: bool = False
    pools: dict[str, dict[str, Server]] = field(factory=dict)
    changes: list[str] = field(factory=list)
    #: Called before each command that changes anything.
    on_command: Callable[[str], None] = lambda _command: None

    def load(self, text: str) -> None:
        """Start a new process with a configuration."""
        self.pid += 1
        self.running = True
        described = re.search(r"description '(.*)'", text)
        self.description = described[1] if described else ""
        self.pools = {}
        pool = ""
        for line in map(str.strip, text.splitlines()):
            if line.startswith("backend "):
                pool = line.split()[1]
                self.pools[pool] = {}
            elif match := _SERVER.match(line):
                name, address, port, weight, check, disabled = match.groups()
                self.pools[pool][name] = Server(address, int(port), int(weight), 5 if disabled else 0, bool(check))

    def servers(self, pool: str) -> dict[str, tuple[int, int]]:
        """Return the administrative state and the weight of each server."""
        return {name: (server.admin, server.weight) for name, server in self.pools[pool].items()}

    def commands(self) -> list[str]:
        """Return the commands that changed anything since the last call."""
        changes, self.changes = self.changes, []
        return changes

    # Answers of HAProxy.

    def answer(self, command: str) -> str:
        words = command.split()
        if words[0] == "show":
            return self._show(words[1:])
        if words[0] == "prompt":
            return ""
        self.on_command(command)
        self.changes.append(command)
        if words[0] == "experimental-mode":
            return ""
        place = words[1] if words[0] == "del" or words[0] == "set" else ""
        pool, _, name = (words[2] if words[1] in ("server", "health") else place).partition("/")
        if pool not in self.pools:
            return "No such backend.\n"
        return self._change(words, self.pools[pool], name)

    def _change(self, words: Sequence[str], servers: dict[str, Server], name: str) -> str:
        if words[0] == "add":
            if name in servers:
                return "Already exists a server with the same name in backend.\n"
            address, _, port = words[3].rpartition(":")
            servers[name] = Server(address.strip("[]"), int(port), int(words[5]), 1)
            return "New server registered.\n"
        if name not in servers:
            return "No such server.\n"
        server = servers[name]
        if words[0] == "del":
            if not server.admin & 1:
                return "Only servers in maintenance mode can be deleted.\n"
            if server.sessions:
                return "Server still has connections attached to it, cannot remove it.\n"
            del servers[name]
            return "Server deleted.\n"
        if words[0] == "enable":
            server.checked = True
        elif words[3] == "state":
            if server.admin & 1 and server.checked:
                server.down = False  # a checked server is up after maintenance, even if it was down before
            server.admin = _COMMANDS[words[4]]
        elif words[3] == "health":
            server.down = words[4] == "down"
        elif words[3] == "weight":
            server.weight = int(words[4])
        else:
            server.address, server.port = words[4], int(words[6])
            return "IP changed\n"
        return ""

    def _show(self, words: Sequence[str]) -> str:
        ids = {pool: i for i, pool in enumerate(self.pools, 2)}
        if words[0] == "info":
            fields = {"Version": self.version, "Pid": self.pid, "description": self.description, "Start_time_sec": 7}
            return "".join(f"{key}: {value}\n" for key, value in fields.items())
        if words[0] == "backend":
            return "\n".join(["# name", *self.pools, ""])
        if words[0] == "servers":
            if len(words) > 2 and words[2] not in self.pools:
                return "Can't find backend.\n"
            lines = [
                f"{ids[pool]} {pool} 1 {name} {each.address} {0 if each.down else 2} {each.admin} {each.weight} "
                f"1 0 1 {each.check_result} 0 "
                f"{6 if each.checked else 2} 0 0 0 - {each.port} - 0 0 - - 0"
                for pool in ([words[2]] if len(words) > 2 else self.pools)
                for name, each in self.pools[pool].items()
            ]
            return "\n".join(["1", f"# {COLUMNS}", *lines, ""])
        rows = [
            f"{pool},{name},0,{each.sessions},{each.requests},0,0,{each.status},2,{each.check},0,{each.requests},{each.weight},"
            f"{each.address}:{each.port},"
            for pool, servers in self.pools.items()
            if words[1] in ("-1", str(ids[pool]))
            for name, each in servers.items()
        ]
        head = "# pxname,svname,qcur,scur,stot,econ,eresp,status,type,check_status,hrsp_5xx,req_tot,uweight,addr,"
        return "\n".join([head, *rows, "", ""])


@implementer(IStreamClientEndpoint)
@define
class Endpoint:
    """The endpoint at which a HAProxy listens."""

    haproxy: HAProxy

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        if not self.haproxy.running:
            return fail(NobodyListens())
        protocol: Any = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        protocol.makeConnection(Transport(self.haproxy, protocol))
        return succeed(protocol)


class Transport:
    """A connection to a HAProxy. Answers come in pieces, in a later turn of the reactor."""

    def __init__(self, haproxy: HAProxy, protocol: Any) -> None:
        self._haproxy = haproxy
        self._protocol = protocol
        self._open = True
        self._pid = haproxy.pid

    def write(self, data: bytes) -> None:
        for line in data.decode().splitlines():
            self._haproxy.clock.callLater(0, self._answer, line)

    def _answer(self, command: str) -> None:
        if not self._open or self._haproxy.silent:
            return
        if not self._haproxy.running or self._haproxy.pid != self._pid:
            self.loseConnection()
            return
        answer = f"{self._haproxy.answer(command)}\n> ".encode()
        for piece in (answer[:1], answer[1:-1], answer[-1:]):
            if self._open:
                self._protocol.dataReceived(piece)

    def loseConnection(self) -> None:
        if self._open:
            self._open = False
            self._haproxy.clock.callLater(0, self._protocol.connectionLost, Failure(ConnectionDone()))

    abortConnection = loseConnection


@define
class Reload:
    """Makes a HAProxy load the configuration file, unless a test prevents it."""

    haproxy: HAProxy
    can_reload: bool = True
    works: bool = True
    start_count: int = 0
    reload_count: int = 0
    files: ConfigFiles | None = None
    ended: bool = False
    problem: str | None = None

    def start(self) -> None:
        if not self.start_count:
            self.start_count = 1
            self._load()

    async def reload(self, *, running: bool) -> None:
        if self.problem is not None:
            raise ReloadFailed(self.problem)
        if running:
            self.reload_count += 1
            self._load()

    async def check(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        self.ended = True

    def _load(self) -> None:
        if self.works and self.files is not None and self.files.written is not None:
            self.haproxy.load(self.files.written.text)
