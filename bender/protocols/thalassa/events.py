"""Thalassa's event socket: every connection is a subscriber of axon, and gets `online` and `offline` for all instances.

A subscriber filters the events itself and sends nothing. First it gets the events that it may have missed: `offline`
for instances that went offline in the last minutes, then `online` for all listed instances. It gets only events that
are certain: nothing before the node is ready, and no `offline` because the node leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from bender.core.replica import Full
from bender.net.eager_write import close_when_unresponsive, eager_writer, limit_unsent
from bender.net.fair_shares import FairShares, admit
from bender.net.fair_turns import Turns
from bender.node.consumer_limits import Origin, origin_of
from bender.node.event_selection import Selection, Subscription
from bender.node.journal import Entry
from bender.node.node import Node
from bender.node.watcher_stream import EventStream
from bender.protocols.thalassa.recent_ends import RecentEnds
from bender.protocols.thalassa.registrations import event_frame, offline_frame

#: Bytes that a subscriber may send. They are ignored: axon's subscribers send none.
RECEIVED_BYTES_MAX = 64 * 1024

#: Events whose frames are cached, because most events are sent to all subscribers at once.
FRAMES_KEPT = 256


class ThalassaEvents(Factory):
    """Sends the events of `node` to every connection. `turns` divides the reactor's time."""

    noisy = False

    def __init__(self, node: Node, reactor: IReactorTime, turns: Turns | None = None) -> None:
        self._node = node
        self._reactor = reactor
        self._turns = turns or Turns(reactor)
        self._ends = RecentEnds(reactor.seconds)
        node.journal.observe(self._ends.observe)
        #: Returns the frame of an event, which is made once for all subscribers.
        self.frame_of = lru_cache(FRAMES_KEPT)(event_frame)
        self._places: FairShares[ThalassaSubscriber] = FairShares(node.limits.values.connections)
        node.limits.bind_connections("thalassa_event_connections", self._places)

    def logPrefix(self) -> str:
        return "--thalassa events"

    def buildProtocol(self, addr: IAddress | None) -> ThalassaSubscriber | None:
        """Return the protocol of a new connection; None, which closes the connection, if there is no place for it."""
        origin = origin_of(addr)
        subscribe = partial(FrameSubscription, self._node, self._ends, self.frame_of)
        subscriber = ThalassaSubscriber(self._node, self._turns, self._reactor, origin, subscribe)
        subscriber.on_lost = partial(self._places.release, subscriber)
        return admit(subscriber, self._places, "the events of --thalassa")


class FrameSubscription:
    """The frames that a node must send to a subscriber: a snapshot of all registrations, then all events.

    Before each snapshot, the subscriber gets `offline` for the recent ends.
    """

    def __init__(self, node: Node, ends: RecentEnds, frame_of: Callable[[bytes], bytes]) -> None:
        self.selection = Selection(snapshot=True)
        self._events = Subscription(node, self.selection)
        self._ends = ends
        self._frame_of = frame_of
        # The ids of recent ends that are still to be sent, in reverse order, and the first piece of the snapshot, which
        # follows them.
        self._ends_to_send: list[str] = []
        self._first_piece: list[Entry] = []

    @property
    def owes_snapshot(self) -> bool:
        return self._events.owes_snapshot

    @property
    def cursor(self) -> str:
        return self._events.cursor

    def pass_over(self, number: int) -> None:
        self._events.pass_over(number)

    def take(self, bytes_max: int) -> list[Entry]:
        """Return the next entries to send, of about `bytes_max`. Unless `owes_snapshot`, none means that all is sent.

        An event that is not about a registration is an entry without bytes.
        """
        if self._ends_to_send:
            return self._take_ends(bytes_max)
        if self._first_piece:
            piece, self._first_piece = self._first_piece, []
            return piece
        owed_snapshot = self._events.owes_snapshot
        taken = [Entry(each.cursor, self._frame_of(each.line)) for each in self._events.take(bytes_max)]
        if owed_snapshot:  # the snapshot was made just now, so these are the ends before it
            self._ends_to_send = self._ends.keys()[::-1]
            if self._ends_to_send:
                self._first_piece = taken
                return self._take_ends(bytes_max)
        return taken

    def owed_bytes(self, enough: int) -> int:
        ends = sum(map(len, self._ends_to_send[:enough]))
        return ends + sum(entry.size for entry in self._first_piece) + self._events.owed_bytes(enough)

    def _take_ends(self, bytes_max: int) -> list[Entry]:
        taken: list[Entry] = []
        size = 0
        while self._ends_to_send and size < bytes_max:
            taken.append(Entry("", offline_frame(self._ends_to_send.pop())))
            size += taken[-1].size
        return taken


class ThalassaSubscriber(Protocol):
    """One connection. It is closed if its client does not read its events; axon then connects again."""

    _log = Logger()
    transport: Any  # ITransport, and a consumer and a producer as well, as all of Twisted's are
    #: Called when the connection is lost.
    on_lost: Callable[[], None] | None = None

    def __init__(
        self,
        node: Node,
        turns: Turns,
        clock: IReactorTime,
        origin: Origin,
        subscribe: Callable[[], FrameSubscription],
    ) -> None:
        self._node = node
        self._subscribe = subscribe
        self.client = origin.client
        self._origin = origin
        self._received_bytes = 0
        self._stream = EventStream(node, turns, clock, self, origin, ticks=False)

    # What Twisted calls.

    def connectionMade(self) -> None:
        tcp = ITCPTransport(self.transport, None)
        if tcp is not None:
            tcp.setTcpNoDelay(True)
        limit_unsent(self.transport)
        close_when_unresponsive(self.transport, self._node.limits.values.client_timeout_s)
        self._write = eager_writer(self.transport)
        self.transport.registerProducer(self._stream, streaming=True)
        try:
            self._stream.follow(self._subscribe())
        except Full as error:
            self._close(str(error))

    def dataReceived(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._received_bytes > RECEIVED_BYTES_MAX:
            self._close(f"it sent more than {RECEIVED_BYTES_MAX} bytes, and subscribers send none")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        self._stream.close()
        if self.on_lost is not None:
            self.on_lost()

    # What the stream calls.

    def send(self, entries: Sequence[Entry]) -> None:
        frames = b"".join([entry.line for entry in entries])
        if frames:
            self._write(frames)

    def on_caught_up(self) -> None:
        """Send nothing: axon has no message for the end of a snapshot."""

    def drop(self) -> None:
        self._close("it does not read its events")

    def end(self) -> None:
        self._stream.close()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def displace(self, reason: str) -> None:
        """End the connection, because another client needs its place."""
        self._close(reason)

    def _close(self, why: str) -> None:
        self._log.info(
            "Closing the connection of {client} to the events of --thalassa: {why}.", client=str(self._origin), why=why
        )
        self.abort()

    # What `admit` calls.

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abortConnection()
