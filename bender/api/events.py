"""`GET /events`: the events of a node as server-sent events, or one answer at a time as a long poll.

`bender.node.event_selection` decides which events a client gets, and in what order. This module only puts them into the
form of HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from bender.access.tokens import AccessDenied, Tokens
from bender.api.responses import accepted_names, require_known, wait_s
from bender.api.server import HttpRequest
from bender.core.invalid import Invalid
from bender.net.eager_write import close_when_unresponsive, limit_unsent
from bender.net.fair_turns import Turns
from bender.node.consumer_limits import origin_of
from bender.node.event_selection import Selection, Subscription
from bender.node.journal import EVENTS_MAX, Entry
from bender.node.node import Node
from bender.node.watcher_stream import PIECE_BYTES, EventStream

#: The first bytes of an event stream: a comment, which is not an event for the client.
CONNECTED = b": connected\n\n"

_FIELDS = {"app", "version", "snapshot", "since", "last", "wait", "name", "instance"}

_LAST = re.compile(r"[0-9]{1,9}", re.ASCII)

#: Query fields that libraries for event streams add by themselves: against caches, and instead of `Last-Event-ID`.
_IGNORED_FIELDS = {"_", "lastEventId"}

_SNAPSHOTS: dict[str, bool | Literal["always"]] = {"": True, "true": True, "1": True, "false": False, "0": False}
_SNAPSHOTS["always"] = "always"

_log = Logger()


async def watch(node: Node, request: HttpRequest, reactor: IReactorTime, turns: Turns, tokens: Tokens) -> None:
    """Answer `GET` or `HEAD` of the events of a ready node; the caller finishes the request afterwards.

    The answer ends when the client's token may no longer read. Raises `Invalid` and `Full`, both before anything is
    written.
    """
    server_sent = _accepts_server_sent(request)
    fields = _fields(request)
    selection = _selection(request, fields, server_sent=server_sent)
    wait_s = _wait_s(fields)
    request.setHeader(b"Content-Type", b"text/event-stream" if server_sent else b"application/json")
    request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"Vary", b"Accept")
    if server_sent:
        request.setHeader(b"X-Accel-Buffering", b"no")  # by which nginx passes each event on at once
    if request.method == b"HEAD":
        return
    request.endless = server_sent
    if request.channel is not None:
        limit_unsent(request.channel.transport)
        close_when_unresponsive(request.channel.transport, node.limits.values.client_timeout_s)
    outlet = _ServerSent(node, turns, request, reactor) if server_sent else _Poll(node, turns, request, reactor, wait_s)
    request.registerProducer(outlet.stream, streaming=True)

    def tokens_changed() -> None:
        request.access = tokens.current_access(request.access)
        try:
            request.access.require_read()
        except AccessDenied:
            outlet.end()

    tokens.add_listener(tokens_changed)
    try:
        outlet.stream.follow(Subscription(node, selection))
        if server_sent:
            # A comment, so that a proxy passes on the headers and the client knows at once that it is connected.
            request.write(CONNECTED)
        await outlet.done
    finally:
        tokens.remove_listener(tokens_changed)
        outlet.close()
        if request.channel is not None:  # the client is still there
            request.unregisterProducer()


class _ServerSent:
    """An outlet for server-sent events: a response that ends when the client or the node closes it."""

    def __init__(self, node: Node, turns: Turns, request: HttpRequest, clock: IReactorTime) -> None:
        self.done: Deferred[None] = Deferred()
        self.stream = EventStream(node, turns, clock, self, origin_of(request.getClientAddress()), ticks=True)
        self._request = request

    def send(self, entries: Sequence[Entry]) -> None:
        self._request.write(b"".join([b"id: %b\ndata: %b\n" % (each.cursor.encode(), each.line) for each in entries]))

    def on_caught_up(self) -> None:
        """Do nothing: the response continues with new events."""

    def drop(self) -> None:
        _drop(self._request)

    def end(self) -> None:
        self.done.callback(None)

    def displace(self, reason: str) -> None:
        """End the response with a comment. The client reconnects with its cursor, and gets 429 until there is room."""
        self._request.write(b": %b\n\n" % reason.encode())
        self.done.callback(None)

    def close(self) -> None:
        self.stream.close()


class _Poll:
    """An outlet for a long poll: one answer with the events since the cursor, or the first ones within `wait_s`."""

    def __init__(self, node: Node, turns: Turns, request: HttpRequest, clock: IReactorTime, wait_s: float) -> None:
        self.done: Deferred[None] = Deferred()
        self.stream = EventStream(node, turns, clock, self, origin_of(request.getClientAddress()), ticks=False)
        self._node = node
        self._request = request
        self._clock = clock
        self._wait_s = wait_s
        self._waiting: IDelayedCall | None = None
        self._body = b'{"events":['
        self._separator = b""

    def send(self, entries: Sequence[Entry]) -> None:
        self._body += self._separator + b",".join([entry.line[:-1] for entry in entries])
        self._separator = b","
        if self._waiting is not None:
            # Not at once: more events may follow in this turn, and a listener must not call the node.
            self._waiting.reset(0)
        if len(self._body) > PIECE_BYTES:
            self._request.write(self._body)
            self._body = b""

    def on_caught_up(self) -> None:
        if self._wait_s and not self._separator:
            self._waiting = self._clock.callLater(self._wait_s, self._waited)
        else:
            self._finish()

    def drop(self) -> None:
        _drop(self._request)

    def end(self) -> None:
        """Answer now if the poll only waits. An answer that is being written is completed."""
        if self._waiting is not None:
            self._waiting.reset(0)

    def displace(self, reason: str) -> None:
        """Answer now, with the events so far. The client's next request gets 429 while no place is free."""
        del reason
        if self._waiting is not None:
            self._waiting.cancel()
            self._waited()

    def close(self) -> None:
        self.stream.close()
        if self._waiting is not None:
            self._waiting.cancel()

    def _waited(self) -> None:
        self._waiting = None
        self._wait_s = 0
        if self.stream.live:
            self._finish()

    def _finish(self) -> None:
        body = self._body + b'],"cursor":"%b"}' % self.stream.cursor.encode()
        if not self._request.startedWriting:
            self._request.setHeader(b"Content-Length", b"%d" % len(body))
        self._request.write(body)
        self.done.callback(None)


def _drop(request: HttpRequest) -> None:
    _log.info(
        "The watcher at {peer} does not read its events: closing its connection.", peer=request.getClientAddress()
    )
    transport: Any = request.channel.transport
    transport.abortConnection()


def _accepts_server_sent(request: HttpRequest) -> bool:
    """Return True if `Accept` names event streams. A client that accepts any type gets a long poll."""
    header = b",".join(request.requestHeaders.getRawHeaders(b"Accept", [])).decode("latin-1")
    return any(takes for media_type, takes in accepted_names(header) if media_type == "text/event-stream")


def _selection(request: HttpRequest, fields: Mapping[str, str], *, server_sent: bool) -> Selection:
    since = fields.get("since")
    text = fields.get("snapshot", "false")
    if text not in _SNAPSHOTS:
        raise Invalid("snapshot", "must be true, false or always")
    snapshot = _SNAPSHOTS[text]
    if server_sent:
        # A browser sends its last cursor in this header when it reconnects; the cursor in the URL is older.
        since = (request.getHeader(b"Last-Event-ID") or b"").decode("utf-8", "replace") or since
    elif since is not None:
        snapshot = False  # a poll needs no `synced` event: the end of the answer shows that nothing is missing
    return Selection(
        fields.get("app"),
        fields.get("version"),
        snapshot,
        since,
        fields.get("name"),
        fields.get("instance"),
        _last(fields, server_sent=server_sent),
    )


def _last(fields: Mapping[str, str], *, server_sent: bool) -> int | None:
    """Return the number of past events that a poll requests; None without any. `since` and `snapshot` exclude it."""
    text = fields.get("last")
    if text is None:
        return None
    if server_sent:
        raise Invalid("last", "is for a long poll, not for a stream: leave out Accept: text/event-stream")
    for other in ("since", "snapshot"):
        if other in fields:
            raise Invalid("last", f"must not be given with {other}")
    if not _LAST.fullmatch(text) or int(text) > EVENTS_MAX:
        raise Invalid("last", f"must be a number of events from 0 to {EVENTS_MAX}")
    return int(text)


def _wait_s(fields: Mapping[str, str]) -> float:
    """Return the seconds that a poll may wait for events: 0 without `since`, because it only requests a cursor then."""
    within_s = wait_s(fields.get("wait", "0"))
    return within_s if "since" in fields else 0


def _fields(request: HttpRequest) -> dict[str, str]:
    """Return the fields of the query. Text that is not UTF-8 is passed on, and refused as an invalid value later."""
    _, _, query = request.uri.decode("utf-8", "surrogateescape").partition("?")
    fields: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape"):
        if name in fields:
            raise Invalid(name, "must not be given more than once")
        if name not in _IGNORED_FIELDS:
            fields[name] = value
    require_known(fields, _FIELDS, changes=True)
    return fields
