"""`GET /events`, byte for byte: server-sent events and long polls."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.task import Clock

from bender.api import site
from bender.node.journal import Journal
from bender.node.limits import Limits
from bender.node.watcher_stream import STALLED_S
from tests.api.conversation import NOW_MS, ApiCase, Connection, Response, a_node, parsed, request
from tests.node.watched import Watched, named, never

STREAM = {"Accept": "text/event-stream"}


class WatchCase(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.watched = Watched(self.clock)
        self.node = self.watched.node
        self.site = site(self.node, self.clock)

    @property
    def cursor(self) -> str:
        return self.node.journal.cursor

    def poll(self, query: str = "") -> dict[str, Any]:
        """Return the answer to a poll that is answered at once."""
        response = self.ask("GET", f"/events{query}")
        self.assertEqual((response.status, [*response.json]), (200, ["events", "cursor"]))
        answer: dict[str, Any] = response.json
        return answer

    def asked(self, path: str, **headers: str) -> Connection:
        connection = self.connect()
        connection.send(request("GET", path, **headers))
        return connection

    def waiting(self, query: str) -> Connection:
        """Return the connection of a poll that is not answered at once."""
        connection = self.asked(f"/events{query}")
        self.assertEqual(connection.received(), b"")
        return connection

    def answered(self, connection: Connection) -> dict[str, Any]:
        (response,) = parsed(connection.received())
        answer: dict[str, Any] = response.json
        return answer


def streamed(received: bytes) -> tuple[Response, list[bytes]]:
    """Return the head of a response in chunks, and its chunks, without the last, empty one."""
    top, _, rest = received.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert headers["transfer-encoding"] == "chunked"
    return Response(int(first.split()[1]), headers, b""), chunks(rest)


def chunks(received: bytes) -> list[bytes]:
    found = []
    while received:
        size, _, rest = received.partition(b"\r\n")
        length = int(size, 16)
        if length:
            found.append(rest[:length])
        received = rest[length + 2 :]
    return found


def sent(found: list[bytes]) -> list[tuple[str, dict[str, Any]]]:
    """Return the id and the decoded data of each server-sent event, without comments."""
    *blocks, unfinished = b"".join(found).split(b"\n\n")
    assert unfinished == b""
    blocks = [block for block in blocks if not block.startswith(b":")]
    pairs = []
    for block in blocks:
        id_, data = block.decode().split("\n")
        assert (id_[:4], data[:6]) == ("id: ", "data: "), block
        pairs.append((id_[4:], msgspec.json.decode(data[6:])))
    return pairs


class Polling(WatchCase):
    def test_without_since(self) -> None:
        """A poll without `since` is answered at once with the present cursor and no events, even with `wait`."""
        self.watched.up()
        for query in ("", "?wait=30", "?app=web", "?app=web&wait=30"):
            self.assertEqual(self.poll(query), {"events": [], "cursor": self.cursor})

    def test_what_came_since(self) -> None:
        """All events since the cursor are returned at once, with the cursor to continue after."""
        start = self.cursor
        self.watched.up(port=1)
        self.watched.configure()
        self.watched.up("api", port=2)
        answer = self.poll(f"?since={start}&wait=30")
        self.assertEqual(
            named(answer["events"]), ["online 1", "created backend/site", "created frontend/edge", "online 2"]
        )
        self.assertEqual(answer["cursor"], self.cursor)
        self.assertEqual(answer["events"][0]["registration"]["port"], 1)
        self.assertEqual(self.poll(f"?since={answer['cursor']}"), {"events": [], "cursor": self.cursor})

    def test_filtered(self) -> None:
        """The cursor also moves past events that the filter excludes."""
        start = self.cursor
        self.watched.configure()
        self.watched.up("api", port=1)
        self.assertEqual(self.poll(f"?since={start}&app=web"), {"events": [], "cursor": self.cursor})
        self.assertEqual(named(self.poll(f"?since={start}&version=1")["events"]), ["online 1"])

    def test_waits_for_the_first_event(self) -> None:
        """A waiting poll is answered at the first event that the filter admits, with all events of the same moment."""
        connection = self.waiting(f"?since={self.cursor}&wait=30&app=web")
        self.clock.advance(20)
        self.watched.up("api", port=1)
        self.clock.advance(0)
        self.assertEqual(connection.received(), b"")
        self.watched.up("web", port=2)
        self.watched.up("web", port=3)
        self.clock.advance(0)
        answer = self.answered(connection)
        self.assertEqual((named(answer["events"]), answer["cursor"]), (["online 2", "online 3"], self.cursor))

    def test_waits_no_longer_than_asked(self) -> None:
        """When the wait ends without an event, the answer has no events and the present cursor."""
        connection = self.waiting(f"?since={self.cursor}&wait=30.5&app=web")
        self.watched.up("api")
        self.clock.advance(30.4)
        self.assertEqual(connection.received(), b"")
        self.clock.advance(0.2)
        self.assertEqual(self.answered(connection), {"events": [], "cursor": self.cursor})

    def test_waits_no_longer_than_a_minute(self) -> None:
        """A wait above 60 s is cut to 60 s."""
        for wait in ("61", "1000000", "9" * 1000):
            connection = self.waiting(f"?since={self.cursor}&wait={wait}")
            self.clock.advance(59.9)
            self.assertEqual(connection.received(), b"")
            self.clock.advance(0.2)
            self.assertEqual(self.answered(connection), {"events": [], "cursor": self.cursor})

    def test_does_not_wait_unless_asked(self) -> None:
        """The default of `wait` is 0."""
        for query in ("", "&wait=0", "&wait=0.0"):
            self.assertEqual(self.poll(f"?since={self.cursor}{query}")["events"], [])

    def test_an_unknown_cursor(self) -> None:
        """An unknown cursor is answered at once with `reset`, the snapshot and `synced`."""
        self.watched.configure()
        self.watched.up(port=1)
        everything = ["online 1", "created backend/site", "created frontend/edge"]
        for cursor in ("another-5", "", "%FF~", f"{self.cursor}~", f"{self.cursor}0"):
            answer = self.poll(f"?since={cursor}&wait=30")
            self.assertEqual(named(answer["events"]), ["reset", *everything, "synced"])
            self.assertEqual(answer["cursor"], answer["events"][-1]["cursor"])
            self.assertEqual(answer["cursor"], self.cursor)
        self.assertEqual(named(self.poll("?since=x&app=web")["events"]), ["reset", "online 1", "synced"])

    def test_a_snapshot(self) -> None:
        """A poll with `snapshot` and no cursor returns the present state; with a cursor it does not return it again."""
        self.watched.up(port=1)
        for snapshot in ("snapshot=true", "snapshot=1", "snapshot=", "snapshot"):
            self.assertEqual(named(self.poll(f"?{snapshot}&wait=30")["events"]), ["online 1", "synced"])
        for nothing in ("?snapshot=false", "?snapshot=0", f"?snapshot=true&since={self.cursor}"):
            self.assertEqual(self.poll(nothing)["events"], [])

    def test_a_long_answer(self) -> None:
        """A long answer is one JSON object in chunks, written at the speed of the client."""
        for port in range(1, 1001):
            self.watched.up(port=port)
        connection = self.asked("/events?snapshot=true")
        response, found = streamed(connection.received())
        self.assertEqual(response.headers["content-type"], "application/json")
        answer = msgspec.json.decode(b"".join(found))
        self.assertEqual((len(answer["events"]), answer["cursor"]), (1001, self.cursor))
        self.assertLess(max(map(len, found)), 100_000)

    def test_a_long_answer_that_is_read_slowly(self) -> None:
        """The cursor is that of the last event in the answer, even if this event happened while the answer was sent."""
        for port in range(1, 1001):
            self.watched.up(port=port)
        connection = self.asked(f"/events?since={self.cursor}&wait=10")
        channel: Any = connection.transport.producer
        for port in range(2001, 2501):
            self.watched.up(port=port)
            if port == 2450:
                channel.pauseProducing()
        self.clock.advance(0)
        received = connection.received()
        self.assertNotIn(b"]", received)
        channel.resumeProducing()
        received += connection.received()
        answer = msgspec.json.decode(b"".join(streamed(received)[1]))
        self.assertEqual((len(answer["events"]), answer["cursor"]), (500, self.cursor))

    def test_its_time_is_over_while_nothing_can_be_written(self) -> None:
        """A poll whose wait ends while the connection is paused is answered as soon as the connection is resumed."""
        connection = self.waiting(f"?since={self.cursor}&wait=30")
        channel: Any = connection.transport.producer
        channel.pauseProducing()
        self.clock.advance(30)
        self.assertEqual(connection.received(), b"")
        channel.resumeProducing()
        self.assertEqual(self.answered(connection), {"events": [], "cursor": self.cursor})

    def test_its_client_goes_away(self) -> None:
        """When the client closes the connection, no timer of its poll is left."""
        connection = self.waiting(f"?since={self.cursor}&wait=30")
        connection.lose()
        self.watched.up()
        self.assertEqual((connection.received(), self.clock.getDelayedCalls()), (b"", []))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_the_node_stops(self) -> None:
        """A waiting poll is answered at once when the journal closes."""
        connection = self.waiting(f"?since={self.cursor}&wait=30")
        self.node.journal.close()
        self.clock.advance(0)
        self.assertEqual(self.answered(connection), {"events": [], "cursor": self.cursor})

    def test_one_after_the_other(self) -> None:
        """A connection serves any number of polls, also pipelined ones, with other requests between them."""
        connection = self.connect()
        start = self.cursor
        connection.send(
            request("GET", f"/events?since={start}&wait=30") + request("DELETE", "/registrations/web/1/10.0.0.1/80")
        )
        connection.send(request("GET", f"/events?since={start}"))
        self.watched.up()
        self.clock.advance(0)
        first, deleted, second = parsed(connection.received())
        self.assertEqual(
            [named(each.json["events"]) for each in (first, second)], [["online 80"], ["online 80", "offline 80"]]
        )
        self.assertEqual(deleted.status, 204)


class ServerSent(WatchCase):
    def stream(self, query: str = "", **headers: str) -> Connection:
        """Return the connection of a stream whose response has begun."""
        connection = self.asked(f"/events{query}", **{**STREAM, **headers})
        self.assertIn(b"\r\n\r\n", connection.transport.value())
        return connection

    def sent(self, connection: Connection) -> list[str]:
        return named(said for _, said in self.pairs(connection))

    def pairs(self, connection: Connection) -> list[tuple[str, dict[str, Any]]]:
        received = connection.received()
        return sent(streamed(received)[1] if received.startswith(b"HTTP") else chunks(received))

    def test_begins_at_once(self) -> None:
        """A stream begins with a comment, so that a client behind a buffering proxy knows that it is connected."""
        response, found = streamed(self.stream().received())
        self.assertEqual((response.status, found), (200, [b": connected\n\n"]))
        self.assertEqual(response.headers["x-accel-buffering"], "no")
        self.assertEqual(response.headers["content-type"], "text/event-stream")
        self.assertEqual(response.headers["cache-control"], "no-store")

    def test_events(self) -> None:
        """An event has its cursor in `id:` and the JSON of the journal in `data:`, and no other field."""
        connection = self.stream()
        connection.received()
        self.watched.up()
        entry = self.node.journal.entry(1)
        assert entry is not None
        self.assertEqual(chunks(connection.received()), [b"id: %b\ndata: %b\n" % (self.cursor.encode(), entry.line)])

    def test_selection(self) -> None:
        """The query selects the same events as a line of the line protocol."""
        self.watched.configure()
        self.watched.up("web", "1", 1)
        start = self.cursor
        self.watched.up("web", "2", 2)
        self.watched.up("api", "1", 3)
        self.assertEqual(self.sent(self.stream("?snapshot=true&app=web")), ["online 1", "online 2", "synced"])
        self.assertEqual(self.sent(self.stream("?snapshot=1&version=1")), ["online 3", "online 1", "synced"])
        self.assertEqual(self.sent(self.stream(f"?since={start}")), ["online 2", "online 3"])
        self.assertEqual(self.sent(self.stream(f"?since={start}&app=api&snapshot=true")), ["online 3", "synced"])
        self.assertEqual(self.sent(self.stream("?since=x&app=api")), ["reset", "online 3", "synced"])

    def test_goes_on(self) -> None:
        """After the snapshot the stream sends the events that the filter admits, and ticks."""
        connection = self.stream("?snapshot=true&app=web")
        self.watched.up("api", port=1)
        self.watched.up("web", port=2)
        self.clock.advance(15)
        self.assertEqual(self.pairs(connection)[-1], (self.cursor, {"event": "tick", "cursor": self.cursor}))

    def test_escaped_names(self) -> None:
        """The query is percent-encoded UTF-8."""
        self.watched.up("ü b+c", "1", 1)
        for app in ("%C3%BC%20b%2Bc", "%c3%bc+b%2Bc"):
            self.assertEqual(self.sent(self.stream(f"?snapshot=true&app={app}")), ["online 1", "synced"])

    def test_resuming(self) -> None:
        """`Last-Event-ID` has priority over `since`, because a browser repeats its first query when it reconnects."""
        start = self.cursor
        self.watched.up(port=1)
        middle = self.cursor
        self.watched.up(port=2)
        for query in ("", "?snapshot=false", f"?since={start}", "?since=another-5"):
            self.assertEqual(self.sent(self.stream(query, Last_Event_ID=middle)), ["online 2"])
        self.assertEqual(self.sent(self.stream("?snapshot=true", Last_Event_ID=middle)), ["online 2", "synced"])
        self.assertEqual(self.sent(self.stream(f"?since={middle}", Last_Event_ID="")), ["online 2"])
        for strange in ("another-5", "\xff"):
            self.assertEqual(self.sent(self.stream(Last_Event_ID=strange)), ["reset", "online 1", "online 2", "synced"])

    def test_resuming_after_half_a_snapshot(self) -> None:
        """A cursor from within a snapshot leads to `reset` and another complete snapshot."""
        self.watched.up(port=1)
        (id_, _), *_ = self.pairs(self.stream("?snapshot=true"))
        self.assertEqual(self.sent(self.stream("?snapshot=true", Last_Event_ID=id_)), ["reset", "online 1", "synced"])

    def test_asked_for(self) -> None:
        """`Accept` selects a stream if it has the media type, in any case and in any list."""
        for accept in ("text/event-stream", "Text/Event-Stream; q=0.5", "application/json, text/event-stream;q=1"):
            self.assertEqual(self.sent(self.stream("?snapshot", Accept=accept)), ["synced"])

    def test_not_asked_for(self) -> None:
        """A request whose `Accept` does not name the media type is a poll."""
        for accept in ("*/*", "application/json", "text/*", "text/event-stream;q=0", "text/event-stream; q=0.00", ""):
            response = self.ask("GET", "/events", Accept=accept)
            self.assertEqual(response.json["events"], [])
        self.assertEqual(self.ask("GET", "/events", Last_Event_ID="x").json["events"], [])

    def test_its_client_goes_away(self) -> None:
        """When the client closes the connection, no timer of its stream is left."""
        connection = self.stream("?snapshot=true")
        connection.received()
        connection.lose()
        self.watched.up()
        self.assertEqual((connection.received(), self.clock.getDelayedCalls()), (b"", []))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_does_not_read(self) -> None:
        """A client with more than 256 KiB unread is disconnected; other streams go on."""
        stuck, other = self.stream(), self.stream()
        stuck_channel: Any = stuck.transport.producer
        stuck_channel.pauseProducing()
        for port in range(1, 1200):
            self.watched.up(port=port)
        self.assertEqual(len(self.sent(other)), 1199)
        self.assertLess(len(stuck.transport.value()), 1000)
        self.clock.advance(STALLED_S)
        self.assertTrue(stuck.transport.disconnected)
        stuck.lose()
        self.watched.up("api")
        self.assertEqual(self.sent(other), ["online 80"])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_reads_again(self) -> None:
        """A client that pauses below this limit gets the missed events when it reads again."""
        connection = self.stream()
        connection.received()
        channel: Any = connection.transport.producer
        channel.pauseProducing()
        self.watched.up(port=1)
        self.clock.advance(STALLED_S)
        self.assertEqual(connection.received(), b"")
        channel.resumeProducing()
        self.assertEqual(self.sent(connection), ["online 1"])

    def test_the_node_stops(self) -> None:
        """The stream ends with a complete response when the journal closes."""
        connection = self.stream()
        self.node.journal.close()
        self.assertTrue(connection.received().endswith(b"\r\n0\r\n\r\n"))
        self.watched.up()
        self.assertEqual(connection.received(), b"")


class Refusals(WatchCase):
    def test_invalid(self) -> None:
        """The message names the invalid field, for a poll and for a stream."""
        for field, values in (
            ("app", ("", "a/b", "a%2Fb", ".", "%00", "%FF", "x&app=y", "x" * 256)),
            ("version", ("", "..", "1%0A")),
            ("snapshot", ("yes", "TRUE", "2", "%FF")),
            ("since", ("x&since=y",)),
            ("wait", ("", "-1", "x", "nan", "inf", "1e1", "0x10", "1_0", "+1", "%D9%A3", "1%20", "30s", ".5")),
        ):
            for value in values:
                for headers in ({}, STREAM):
                    self.invalid(field, self.ask("GET", f"/events?{field}={value}", **headers))

    def test_unknown_fields_are_passed_over(self) -> None:
        """Unknown fields of the query are ignored, because JavaScript libraries add their own."""
        self.assertEqual(self.poll("?_=1795447942248&lastEventId=5&_=6")["events"], [])

    def test_too_many_watchers(self) -> None:
        """Above the limit, polls that wait and streams get 429; the present watchers are not affected."""
        self.watched.node.journal = Journal("few", lambda: NOW_MS, never, listeners_max=1)
        waiting = self.waiting(f"?since={self.cursor}&wait=30")
        for query, headers in (("", STREAM), ("?snapshot=true", STREAM), (f"?since={self.cursor}&wait=30", {})):
            self.refused("BUSY", self.ask("GET", f"/events{query}", **headers))
        self.watched.up()
        self.clock.advance(0)
        self.assertEqual(len(self.answered(waiting)["events"]), 1)
        self.assertEqual(self.poll(f"?since={self.cursor}")["events"], [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_place_for_another_client(self) -> None:
        """At the limit, a client with most watchers loses one to a client with fewer; its stream ends with the reason.

        A long poll is answered at once, with the cursor to continue from.
        """
        self.node.limits.change(Limits(subscribers=2))
        waiting = self.waiting(f"?since={self.cursor}&wait=30")
        stream = self.asked("/events", **STREAM)
        stream.received()
        for number in (2, 3):
            other = Connection(self.site, client=(f"10.0.0.{number}", 1))
            other.send(request("GET", f"/events?since={self.cursor}&wait=30"))
            self.assertEqual(other.received() == b"", number == 2)
        self.assertIn(b": this node has 2 subscribers, the maximum (--max-subscribers)", stream.received())
        self.assertEqual(waiting.received(), b"")
        self.watched.up()
        self.clock.advance(0)
        self.assertEqual(len(self.answered(waiting)["events"]), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_poll_that_makes_room(self) -> None:
        """A poll that makes room for another client is answered with its cursor, so its client misses no event."""
        self.node.limits.change(Limits(subscribers=2))
        cursor = self.cursor
        polls = [self.waiting(f"?since={cursor}&wait=30") for _ in range(2)]
        other = Connection(self.site, client=("10.0.0.2", 1))
        other.send(request("GET", f"/events?since={cursor}&wait=30"))
        self.assertEqual(self.answered(polls[1]), {"events": [], "cursor": cursor})
        self.watched.up()
        self.clock.advance(0)
        self.assertEqual([len(self.answered(each)["events"]) for each in (polls[0], other)], [1, 1])
        self.assertEqual(len(self.poll(f"?since={cursor}")["events"]), 1)

    def test_not_ready(self) -> None:
        """A node that is not ready answers 503."""
        self.site = site(a_node(Clock(), seeds=("peer:1730",)), self.clock)
        for headers in ({}, STREAM):
            self.refused("NOT_READY", self.ask("GET", "/events?snapshot=true", **headers))

    def test_other_methods(self) -> None:
        """A POST to `/events` gets 405."""
        self.refused("METHOD_NOT_ALLOWED", self.ask("POST", "/events"))


class Head(WatchCase):
    def test_headers_only(self) -> None:
        """A HEAD request gets the headers of a GET at once, without a wait."""
        for headers, content_type in (({}, "application/json"), (STREAM, "text/event-stream")):
            response = self.ask("HEAD", f"/events?snapshot=true&since={self.cursor}&wait=60", **headers)
            self.assertEqual((response.status, response.body), (200, b""))
            self.assertEqual(response.headers["content-type"], content_type)
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.getTime() > 60], [])

    def test_invalid(self) -> None:
        """An invalid HEAD request gets 400, like a GET."""
        self.assertEqual(self.ask("HEAD", "/events?wait=x").status, 400)
