"""Writing at once, on a connection whose system takes what it is told to."""

from __future__ import annotations

import socket

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from bender.prompt import UNSENT_BYTES_MAX, limit_unsent, prompt_writer


class Takes(Connection):
    """A TCP connection without a socket: the system takes up to `room` bytes."""

    connected = True
    disconnecting = False

    def __init__(self, room: float) -> None:
        self.room = room
        self.sent = b""
        self.later: list[bytes] = []
        self.lost = False
        self.dataBuffer = b""
        self._tempDataBuffer: list[bytes] = []
        self.socket = self  # type: ignore[assignment]

    def send(self, data: bytes) -> int:
        if self.lost:
            raise BrokenPipeError
        if not self.room:
            raise BlockingIOError
        taken = data[: int(min(self.room, len(data)))]
        self.sent += taken
        self.room -= len(taken)
        return len(taken)

    def write(self, data: bytes) -> None:
        self.later.append(data)
        self._tempDataBuffer.append(data)


class AtOnce(SynchronousTestCase):
    def written(self, connection: Takes, *pieces: bytes) -> tuple[bytes, list[bytes]]:
        """What the system has, and what Twisted is to send later."""
        write = prompt_writer(connection)
        for piece in pieces:
            write(piece)
        return connection.sent, connection.later

    def test_all_of_it(self) -> None:
        """Where the system takes it, nothing is left for later."""
        self.assertEqual(self.written(Takes(1000), b"abc", b"def"), (b"abcdef", []))

    def test_part_of_it(self) -> None:
        """The rest is for later, and all that comes after it waits behind it, whatever the system could take then."""
        connection = Takes(5)
        self.assertEqual(self.written(connection, b"abc", b"def"), (b"abcde", [b"f"]))
        connection.room = 1000
        self.assertEqual(self.written(connection, b"ghi"), (b"abcde", [b"f", b"ghi"]))

    def test_none_of_it(self) -> None:
        """Where the system takes nothing all is for later."""
        self.assertEqual(self.written(Takes(0), b"abc"), (b"", [b"abc"]))

    def test_behind_what_waits(self) -> None:
        """Also behind what Twisted is sending already."""
        connection = Takes(1000)
        connection.dataBuffer = b"first"
        self.assertEqual(self.written(connection, b"abc"), (b"", [b"abc"]))

    def test_to_nobody(self) -> None:
        """A connection that is lost or being closed is Twisted's matter."""
        for name, value in (("connected", False), ("disconnecting", True), ("lost", True)):
            connection = Takes(1000)
            setattr(connection, name, value)
            self.assertEqual(self.written(connection, b"abc"), (b"", [b"abc"]), name)

    def test_another_transport(self) -> None:
        """It is written to as ever."""
        transport = StringTransport()
        prompt_writer(transport)(b"abc")
        self.assertEqual(transport.value(), b"abc")


class LimitUnsent(SynchronousTestCase):
    def limited(self, end: socket.socket) -> Connection:
        """A connection with this end, which its client has connected to, and whose limit is set."""
        self.addCleanup(end.close)
        connection = Connection(end, Protocol())
        limit_unsent(connection)
        return connection

    def test_tcp(self) -> None:
        """The system has the limit."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname())
            self.addCleanup(client.close)
            connection = self.limited(listening.accept()[0])
        limit = connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        self.assertEqual(limit, UNSENT_BYTES_MAX)

    def test_not_tcp(self) -> None:
        """Another socket, and a transport without one, are left as they are."""
        client, end = socket.socketpair()
        self.addCleanup(client.close)
        self.limited(end)
        limit_unsent(StringTransport())
