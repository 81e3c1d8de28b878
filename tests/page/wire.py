"""A connection between a browser and a node, which a test cuts and restores while both continue to run."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Lock, Thread

from tests.e2e.nodes import PATIENCE_S

CHUNK_BYTES = 65_536


class Wire:
    """Forwards connections from the port `port` to another port of this machine."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._lock = Lock()
        self._ends: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._is_cut = False
        Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections, and each new one at once."""
        with self._lock:
            self._is_cut = True
            ends, self._ends = self._ends, set()
        for end in ends:
            _close(end)

    def mend(self) -> None:
        """Carry new connections again."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        self.cut()
        _close(self._listening)

    def _accept(self) -> None:
        with suppress(OSError):  # the listening socket was closed
            while True:
                client, _ = self._listening.accept()
                self._join(client)

    def _join(self, client: socket.socket) -> None:
        node = socket.create_connection(("127.0.0.1", self._to_port), PATIENCE_S)
        node.settimeout(None)
        with self._lock:
            self._ends |= {client, node}
            is_cut = self._is_cut
        if is_cut:
            return self.cut()
        for source, sink in ((client, node), (node, client)):
            Thread(target=_carry, args=(source, sink), daemon=True).start()
        return None


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            sink.sendall(chunk)
    _close(source)
    _close(sink)


def _close(end: socket.socket) -> None:
    """Close the socket, also for a thread that reads from it."""
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
