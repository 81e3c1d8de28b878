"""A subscription on its way to a client, over whatever transport, as fast as the client reads and no faster.

No client ever slows the node: what it has not read waits in the journal, where it is anyway, and one that does not
read at all is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from bender.core.replica import Full
from bender.net.fair_turns import Turns, Urgency
from bender.node.consumer_limits import Origin
from bender.node.consumers import NOWHERE, ConsumerStream
from bender.node.event_selection import Selection
from bender.node.journal import Entry, event_line
from bender.node.node import Node

#: Seconds without an event until a tick is sent, so that a cut is noticed and a filtered watcher's cursor moves on.
TICK_S = 15

#: What may wait for a client that does not read.
WAITING_BYTES_MAX = 256 * 1024

#: A client that has taken nothing for so long does not read. One that reads may have more waiting, such as the rest of
#: a snapshot, or of a storm of events that was longer than the limit from the beginning.
STALLED_S = 1

#: Written at a time: 10 snapshots at once hold up the reactor for 1 ms per turn.
PIECE_BYTES = 32 * 1024

#: What a transport buffers before it asks for a pause. This waits for the client too.
TRANSPORT_BYTES = 64 * 1024

#: Looks per interval at whether a node that was not ready is, as often as it sweeps.
LOOKS_PER_INTERVAL = 4


#: No app has this name, so a listener to it receives nothing but the notice that the node stops.
NO_APP = ""


class Owed(Protocol):
    """The events that a stream sends: a `Subscription`, or one in the form of another protocol.

    The methods are those of `Subscription`.
    """

    @property
    def selection(self) -> Selection: ...

    @property
    def opening(self) -> bool: ...

    @property
    def cursor(self) -> str: ...

    def pass_over(self, number: int) -> None: ...

    def take(self, bytes_max: int) -> list[Entry]: ...

    def owed_bytes(self, enough: int) -> int: ...


class Outlet(Protocol):
    """The transport of a stream."""

    def send(self, entries: Sequence[Entry]) -> None:
        """Write these; if that is too much, the stream's `pauseProducing` is called."""

    def caught_up(self) -> None:
        """Note that nothing more is owed: the stream is `live`."""

    def drop(self) -> None:
        """Close the connection at once, because its client does not read."""

    def end(self) -> None:
        """Close the connection as soon as possible, because the node stops."""

    def displaced(self, why: str) -> None:
        """Close the connection at once, because another client needs its place; nothing more is owed."""


@implementer(IPushProducer)
class EventStream:
    """Follows one subscription after another and sends what they owe to `outlet`; its transport's producer.

    A subscription begins where the one before it is `live`, that is, was given all that it was owed: follow another
    only then, and nothing is missing or there twice. Call `close` when the connection is closed or lost.
    """

    #: A snapshot, or what a client has missed. What happens is sent to all at once.
    urgency = Urgency.QUERY

    def __init__(
        self, node: Node, turns: Turns, clock: IReactorTime, outlet: Outlet, origin: Origin = NOWHERE, *, ticks: bool
    ) -> None:
        self.live = False
        self._turns = turns
        self._resting = False
        self._node = node
        self._clock = clock
        self._outlet = outlet
        self._origin = origin
        self._subscription: Owed
        self._paused = False
        # How much more may wait for a client that has stalled, beyond what was counted; None while it reads.
        self._room_bytes: int | None = None
        self._counted = 0
        self._stalling: IDelayedCall | None = None
        self._giving_up: IDelayedCall | None = None
        self._looking: IDelayedCall | None = None
        self._ticking = clock.callLater(TICK_S, self._tick) if ticks else None
        #: What the client is as a consumer; None if it followed last without a name.
        self.consumer: ConsumerStream | None = None

    def follow(self, subscription: Owed) -> None:
        """Give the client what it is owed by this subscription. Raises `Full`."""
        selection = subscription.selection
        consumer = None if selection.name is None else self._connect(selection.name, selection)
        try:
            self._node.journal.listen(self, selection.app)
        except Full:
            if consumer is not None:
                consumer.end()
            raise
        self.leave()
        self.consumer = consumer
        self._subscription = subscription
        self._resting = False
        self.live = False
        self._give()

    def _connect(self, name: str, selection: Selection) -> ConsumerStream:
        return self._node.consumers.connect(name, selection, self._origin, selection.instance)

    def rest(self) -> None:
        """Give a client whose stream is live no more events, until another subscription is followed."""
        self._node.journal.listen(self, NO_APP)
        self.leave()
        self._resting = True

    def leave(self) -> None:
        """End the consumer; its client goes on as a watcher."""
        if self.consumer is not None:
            self.consumer.end()

    def close(self) -> None:
        """Forget the client."""
        self._node.journal.unlisten(self)
        self._turns.forget(self)
        self.leave()
        self.live = False
        self._paused = True
        self._cancel(self._stalling, self._giving_up, self._looking, self._ticking)
        self._stalling = self._giving_up = self._looking = self._ticking = None

    # What the journal calls.

    def on_events(self, since: int) -> None:
        """Pass on what is new, or leave it waiting."""
        if self.live:
            self._subscription.pass_over(since)
            self._give()
        elif self._room_bytes is not None:
            self._count(since)

    @property
    def client(self) -> str:
        """The client whose listeners are counted together."""
        return self._origin.client

    def closed(self) -> None:
        """End the stream, because the node stops."""
        self._outlet.end()

    def displaced(self, why: str) -> None:
        """End the stream, because another client needs its place."""
        self._node.counters.displaced += 1
        self._outlet.displaced(why)

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
        """Send a client at once the events still being sent to others; return True if it has all that it is owed."""
        if self.live and not self._resting:
            self.on_events(self._node.journal.delivered)
        return self.live

    @property
    def cursor(self) -> str:
        """The cursor after what was sent to the client; only for a live stream."""
        self._pass_over()
        return self._subscription.cursor

    # What the turns call.

    def work(self) -> bool:
        """Send a piece of what is owed. Return True if more is owed, and the transport takes it."""
        if self._paused:
            return False
        if self._subscription.opening:
            self.live = False
            if not self._node.ready:
                self._look_later()
                return False
        entries = self._subscription.take(PIECE_BYTES)
        if entries:
            self._send(entries)
            return not self._paused
        if self._subscription.opening:  # so slow that the journal went on without it
            return True
        if not self.live:
            self.live = True
            self._outlet.caught_up()
        return False

    def idle(self) -> None:
        """Do nothing: all is sent, or the transport has enough."""

    # The rest.

    def _pass_over(self) -> None:
        """Note what a client that is given everything at once was not concerned by."""
        journal = self._node.journal
        self._subscription.pass_over(journal.number if self._resting else journal.delivered)

    def _give(self) -> None:
        """Send what is owed until that is all, or the transport has enough.

        What a client missed, and a snapshot, are sent in turns; what the journal tells all clients of is little.
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
        self._counted = self._node.journal.number
        self._wait(self._subscription.owed_bytes(self._room_bytes))

    def _count(self, since: int) -> None:
        journal = self._node.journal
        entries = map(journal.entry, range(max(since, self._counted) + 1, journal.number + 1))
        self._counted = journal.number
        self._wait(sum(entry.size for entry in entries if entry and self._subscription.selection.admits(entry)))

    def _wait(self, size: int) -> None:
        """Let this much more wait for a client that has stalled, or drop it."""
        assert self._room_bytes is not None
        self._room_bytes -= size
        if self._room_bytes < 0:
            self._give_up()

    def _give_up(self) -> None:
        """Drop a client for which too much waits, or which has taken nothing for too long."""
        self._node.counters.dropped += 1
        self.close()
        self._outlet.drop()

    def _cancel(self, *calls: IDelayedCall | None) -> None:
        for call in calls:
            if call is not None and call.active():
                call.cancel()
