"""A stream of a subscription's events to one client, over any transport, at the speed at which the client reads.

No client slows the node: the events that a client has not read wait in the journal, which keeps them anyway, and the
connection of a client that does not read at all is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from bender.core.replica import Full
from bender.net.fair_turns import Turns, Urgency
from bender.node.consumer_limits import Origin
from bender.node.consumers import LOCAL_ORIGIN, ConsumerStream
from bender.node.event_selection import Selection
from bender.node.journal import Entry, event_line
from bender.node.node import Node

#: Seconds without an event until a tick is sent: both ends notice a lost connection, and the cursor of a watcher that
#: selects few events advances.
TICK_S = 15

#: The bytes that may wait for a client that does not read.
WAITING_BYTES_MAX = 256 * 1024

#: Seconds without reading after which a client counts as not reading. More bytes may wait for a client that reads,
#: such as the rest of a snapshot.
STALLED_S = 1

#: The bytes of one write: ten snapshots at once occupy the reactor for 1 ms per turn.
PIECE_BYTES = 32 * 1024

#: The bytes that a transport buffers before it pauses its producer. These wait for the client too.
TRANSPORT_BYTES = 64 * 1024

#: Checks per interval whether a node has become ready: as often as it sweeps.
LOOKS_PER_INTERVAL = 4


#: No app has this name, so a listener to it receives no events, but is notified when the node stops.
NO_APP = ""


class StreamSource(Protocol):
    """The source of a stream's events: a `Subscription`, or one in the form of another protocol.

    The methods are those of `Subscription`.
    """

    @property
    def selection(self) -> Selection: ...

    @property
    def owes_snapshot(self) -> bool: ...

    @property
    def cursor(self) -> str: ...

    def pass_over(self, number: int) -> None: ...

    def take(self, bytes_max: int) -> list[Entry]: ...

    def owed_bytes(self, enough: int) -> int: ...


class Outlet(Protocol):
    """The transport of a stream."""

    def send(self, entries: Sequence[Entry]) -> None:
        """Write events; the transport calls the stream's `pauseProducing` if its buffer is full."""

    def on_caught_up(self) -> None:
        """Act on the stream having become `live`: nothing more is owed."""

    def drop(self) -> None:
        """Close the connection at once, because its client does not read."""

    def end(self) -> None:
        """Close the connection as soon as possible, because the node stops."""

    def displace(self, reason: str) -> None:
        """Close the connection at once, because another client needs its place. `reason` is for the client."""


@implementer(IPushProducer)
class EventStream:
    """Sends the events of a subscription to `outlet`, of whose transport it is the producer.

    Follow another subscription only while the stream is `live`, which means that the client was sent everything it was
    owed: then no event is missing and none is sent twice. Call `close` when the connection is closed or lost.
    """

    #: The urgency of snapshots and missed events. New events are sent at once, without turns.
    urgency = Urgency.QUERY

    def __init__(
        self,
        node: Node,
        turns: Turns,
        clock: IReactorTime,
        outlet: Outlet,
        origin: Origin = LOCAL_ORIGIN,
        *,
        ticks: bool,
    ) -> None:
        self.live = False
        self._turns = turns
        self._resting = False
        self._node = node
        self._clock = clock
        self._outlet = outlet
        self._origin = origin
        self._subscription: StreamSource
        self._paused = False
        # The bytes that may still wait for a stalled client, and the last event that was counted; None while it reads.
        self._room_bytes: int | None = None
        self._counted = 0
        self._stalling: IDelayedCall | None = None
        self._giving_up: IDelayedCall | None = None
        self._looking: IDelayedCall | None = None
        self._ticking = clock.callLater(TICK_S, self._tick) if ticks else None
        #: The client's stream as a consumer; None if its present selection has no name.
        self.consumer: ConsumerStream | None = None

    def follow(self, subscription: StreamSource) -> None:
        """Send the client the events of this subscription. Raises `Full`, and changes nothing then."""
        selection = subscription.selection
        consumer = None if selection.name is None else self._connect(selection.name, selection)
        try:
            self._node.journal.listen(self, selection.app)
        except Full:
            if consumer is not None:
                consumer.end()
            raise
        self.end_consumer()
        self.consumer = consumer
        self._subscription = subscription
        self._resting = False
        self.live = False
        self._give()

    def _connect(self, name: str, selection: Selection) -> ConsumerStream:
        return self._node.consumers.connect(name, selection, self._origin, selection.instance)

    def unsubscribe(self) -> None:
        """Send no more events to a client whose stream is live, until it follows another subscription."""
        self._node.journal.listen(self, NO_APP)
        self.end_consumer()
        self._resting = True

    def end_consumer(self) -> None:
        """End the client's stream as a consumer; the client remains a watcher."""
        if self.consumer is not None:
            self.consumer.end()

    def close(self) -> None:
        """End everything, because the connection is closed or lost."""
        self._node.journal.unlisten(self)
        self._turns.forget(self)
        self.end_consumer()
        self.live = False
        self._paused = True
        self._cancel(self._stalling, self._giving_up, self._looking, self._ticking)
        self._stalling = self._giving_up = self._looking = self._ticking = None

    # What the journal calls.

    def on_events(self, since: int) -> None:
        """Send new events, or count them as waiting for a stalled client."""
        if self.live:
            self._subscription.pass_over(since)
            self._give()
        elif self._room_bytes is not None:
            self._count(since)

    @property
    def client(self) -> str:
        """The client whose listeners are counted together."""
        return self._origin.client

    def end(self) -> None:
        """End the stream, because the node stops."""
        self._outlet.end()

    def displace(self, reason: str) -> None:
        """End the stream, because another client needs its place."""
        self._node.counters.displaced += 1
        self._outlet.displace(reason)

    # What the transport calls.

    def pauseProducing(self) -> None:
        if self._paused:
            return
        self._paused = True
        if self.live:
            self._pass_over()
            self.live = False
        self._stalling = self._clock.callLater(STALLED_S, self._stall)
        self._giving_up = self._clock.callLater(self._node.limits.values.client_timeout_s, self._give_up)

    def resumeProducing(self) -> None:
        if self._stalling is not None:
            self._cancel(self._stalling, self._giving_up)
            self._stalling = self._giving_up = None
            self._room_bytes = None
            self._paused = False
            self._give()

    def stopProducing(self) -> None:
        self.close()

    # What the outlet may ask.

    def catch_up(self) -> bool:
        """Send the client the events of the present round at once. Return True if it was sent everything it is owed."""
        if self.live and not self._resting:
            self.on_events(self._node.journal.last_delivered)
        return self.live

    @property
    def cursor(self) -> str:
        """The cursor after the last event that was sent to the client; valid only for a live stream."""
        self._pass_over()
        return self._subscription.cursor

    # What the turns call.

    def work(self) -> bool:
        """Send the next piece. Return True if more is owed and the transport takes more."""
        if self._paused:
            return False
        if self._subscription.owes_snapshot:
            self.live = False
            if not self._node.ready:
                self._look_later()
                return False
        entries = self._subscription.take(PIECE_BYTES)
        if entries:
            self._send(entries)
            return not self._paused
        if self._subscription.owes_snapshot:  # the client is so slow that the journal has dropped its events
            return True
        if not self.live:
            self.live = True
            self._outlet.on_caught_up()
        return False

    def idle(self) -> None:
        """Do nothing: everything is sent, or the transport's buffer is full."""

    # The rest.

    def _pass_over(self) -> None:
        """Pass over events that are not for a client whose stream is live."""
        journal = self._node.journal
        self._subscription.pass_over(journal.last_number if self._resting else journal.last_delivered)

    def _give(self) -> None:
        """Send what is owed until nothing is owed, or the transport's buffer is full.

        Snapshots and missed events are sent in turns with other work. New events are few, and are sent at once.
        """
        while self.live:
            if not self.work():
                return
        self._turns.run(self)

    def _send(self, entries: Sequence[Entry]) -> None:
        if self._ticking is not None:
            self._ticking.reset(TICK_S)
        self._outlet.send(entries)

    def _tick(self) -> None:
        self._ticking = self._clock.callLater(TICK_S, self._tick)
        if self.live:
            cursor = self.cursor
            self._outlet.send((Entry(cursor, event_line("tick", cursor=cursor)),))

    def _look_later(self) -> None:
        if self._looking is None:
            self._looking = self._clock.callLater(self._node.timing.interval_s / LOOKS_PER_INTERVAL, self._look)

    def _look(self) -> None:
        self._looking = None
        self._give()

    def _stall(self) -> None:
        self._room_bytes = WAITING_BYTES_MAX - TRANSPORT_BYTES
        self._counted = self._node.journal.last_number
        self._wait(self._subscription.owed_bytes(self._room_bytes))

    def _count(self, since: int) -> None:
        journal = self._node.journal
        entries = map(journal.entry, range(max(since, self._counted) + 1, journal.last_number + 1))
        self._counted = journal.last_number
        self._wait(sum(entry.size for entry in entries if entry and self._subscription.selection.admits(entry)))

    def _wait(self, size: int) -> None:
        """Count more bytes that wait for a stalled client; drop the client if they are too many."""
        assert self._room_bytes is not None
        self._room_bytes -= size
        if self._room_bytes < 0:
            self._give_up()

    def _give_up(self) -> None:
        """Drop a client for which too many bytes wait, or that has read nothing for too long."""
        self._node.counters.dropped += 1
        self.close()
        self._outlet.drop()

    def _cancel(self, *calls: IDelayedCall | None) -> None:
        for call in calls:
            if call is not None and call.active():
                call.cancel()
