"""Writing at once to connections without waiting for the reactor, as far as the system accepts the data."""

from __future__ import annotations

from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from bender.net.eager_write import UNSENT_BYTES_MAX, close_when_unresponsive, eager_writer, limit_unsent

# No test here has a socket, so the module `socket` is not imported.
AF_UNIX, AF_INET = 1, 2


class Takes(Connection):
    """A TCP connection without a socket: the system takes up to `room` bytes."""

    connected = True
    disconnecting = False

    def __init__(self, room: float) -> None:
        self.room = room
        self.sent = b""
        self.family = AF_INET
        self.options: list[int] = []
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

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options.append(value)

    def write(self, data: bytes) -> None:
        self.later.append(data)
        self._tempDataBuffer.append(data)


class AtOnce(SynchronousTestCase):
    def written(self, connection: Takes, *pieces: bytes) -> tuple[bytes, list[bytes]]:
        """Return the data that the system has accepted, and the data in Twisted's buffer."""
        write = eager_writer(connection)
        for piece in pieces:
            write(piece)
        return connection.sent, connection.later

    def test_all_of_it(self) -> None:
        """If the system accepts all data, nothing is buffered."""
        self.assertEqual(self.written(Takes(1000), b"abc", b"def"), (b"abcdef", []))

    def test_part_of_it(self) -> None:
        """If the system accepts a part of the data, the rest is buffered, and later data wait behind it."""
        connection = Takes(5)
        self.assertEqual(self.written(connection, b"abc", b"def"), (b"abcde", [b"f"]))
        connection.room = 1000
        self.assertEqual(self.written(connection, b"ghi"), (b"abcde", [b"f", b"ghi"]))

    def test_none_of_it(self) -> None:
        """If the system accepts nothing, all data are buffered."""
        self.assertEqual(self.written(Takes(0), b"abc"), (b"", [b"abc"]))

    def test_behind_what_waits(self) -> None:
        """Data wait behind the data that Twisted is sending."""
        connection = Takes(1000)
        connection.dataBuffer = b"first"
        self.assertEqual(self.written(connection, b"abc"), (b"", [b"abc"]))

    def test_to_nobody(self) -> None:
        """Data for a lost or closing connection are passed to Twisted."""
        for name, value in (("connected", False), ("disconnecting", True), ("lost", True)):
            connection = Takes(1000)
            setattr(connection, name, value)
            self.assertEqual(self.written(connection, b"abc"), (b"", [b"abc"]), name)

    def test_another_transport(self) -> None:
        """The `write` of another transport is used unchanged."""
        transport = StringTransport()
        eager_writer(transport)(b"abc")
        self.assertEqual(transport.value(), b"abc")


class LimitUnsent(SynchronousTestCase):
    def options(self, family: int) -> list[int]:
        """Return the options that are set on a socket of this family."""
        connection = Takes(1000)
        connection.family = family
        limit_unsent(connection)
        return connection.options

    def test_tcp(self) -> None:
        """The limit is set on a TCP connection."""
        self.assertEqual(self.options(AF_INET), [UNSENT_BYTES_MAX])

    def test_others(self) -> None:
        """Another socket, and a transport without a socket, stay unchanged."""
        self.assertEqual(self.options(AF_UNIX), [])
        limit_unsent(StringTransport())

    def test_beneath_tls(self) -> None:
        """The limit is set on the TCP connection below TLS."""
        connection = Takes(1000)
        limit_unsent(Over(connection))
        self.assertEqual(connection.options, [UNSENT_BYTES_MAX])


class Over:
    """A transport over another transport, as with TLS."""

    def __init__(self, transport: Takes) -> None:
        self.transport = transport


class EndWhenLost(SynchronousTestCase):
    def options(self, seconds: float, family: int = AF_INET) -> list[int]:
        connection = Takes(1000)
        connection.family = family
        close_when_unresponsive(Over(connection), seconds)
        return connection.options

    def test_probes(self) -> None:
        """The system probes a silent connection, and ends it after a minute without an answer.

        A connection whose data are not confirmed for a minute also ends.
        """
        on, idle_s, apart_s, count, milliseconds = self.options(60)
        self.assertEqual((on, idle_s + count * apart_s, milliseconds), (1, 60, 60_000))

    def test_a_short_time(self) -> None:
        on, idle_s, apart_s, count, milliseconds = self.options(2)
        self.assertEqual((on, idle_s, apart_s, count, milliseconds), (1, 2, 2, 1, 2000))

    def test_others(self) -> None:
        """A Unix socket, and a transport without a socket, stay unchanged."""
        self.assertEqual(self.options(60, AF_UNIX), [])
        close_when_unresponsive(StringTransport(), 60)
