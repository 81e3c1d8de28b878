"""Following changes while nodes fail and return."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace as evolve
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.web.server import Site

from bender.client import Client, Refused, Stand, watch
from bender.client.sse import LINE_BYTES_MAX, SILENCE_S_MAX, UNREADABLE_MAX, SseStream
from bender.client.watch import RESPONSE_S_MAX, STANDBY_INTERVAL_S, UNREAD_EVENTS_MAX
from tests.client.cluster import ALL, ONE, THREE, TWO, Page, Watcher
from tests.client.watch_case import WatchCase, instance


class Following(WatchCase):
    def test_what_is_there_and_what_comes(self) -> None:
        """A watch delivers the snapshot, then `synced`, then every change."""
        self.up(1)
        self.node(ONE).configure("backend/x", b'{"id":"backend/x","name":"x","app":"web","version":"1"}', "me")
        watcher = self.watch()
        events = watcher.events
        self.assertEqual(watcher.named(), ["online 1 snapshot", "created x snapshot", "synced snapshot"])
        self.assertEqual((events[0].registration.port, events[0].node), (1, f"{ONE}:1729"))
        self.assertRaises(ValueError, getattr, events[1], "registration")
        self.up(2)
        self.down(1)
        self.assertEqual(watcher.named(), ["online 2 registered", "offline 1 deregistered"])

    def test_before_a_change(self) -> None:
        """An event of a change has the body before it; other events have none."""
        watcher = self.watch()
        for version in (b"1", b"2", b"3"):
            body = b'{"id":"backend/x","name":"x","app":"web","version":"%s"}' % version
            self.node(ONE).configure("backend/x", body, "me")
            self.network.pass_time(1)
        self.node(ONE).configure("backend/x", None, "me")
        self.network.pass_time(1)
        told = [(e.event, (e.previous or {}).get("version"), e.body.get("version")) for e in watcher.events]
        changes = [("created", None, "1"), ("changed", "1", "2"), ("changed", "2", "3"), ("removed", None, "3")]
        self.assertEqual(told, [("synced", None, None), *changes])

    def test_one_app_or_version(self) -> None:
        """A watch of one app or version delivers no other events."""
        self.up(1)
        self.up(2, version="2")
        watcher = self.watch(app="web", version="2")
        self.up(3)
        self.up(4, version="2")
        self.assertEqual(watcher.named(), ["online 2 snapshot", "synced snapshot", "online 4 registered"])

    def test_what_can_be_nothing(self) -> None:
        """An invalid app or version is refused."""
        watch = self.client_of_all.watch(app="a/b")
        error = self.failure(watch.__anext__(), Refused, within_s=1)
        self.assertEqual((error.status, str(error)[:4]), (400, "app:"))

    def test_it_ends_when_it_is_closed(self) -> None:
        """Closing a watch ends its loop and closes its connection."""
        before = len(self.network.server_ends)
        watcher = self.watch()
        self.end(watcher)
        self.network.pass_time(35)  # for idle connections
        self.assertFalse([end for end in self.network.server_ends[before:] if not end.disconnected])

    def test_within_a_block(self) -> None:
        """A watch is closed at the end of its block."""

        async def first() -> str:
            async with self.client_of_all.watch() as watch:
                async for event in watch:
                    return event.event
            raise AssertionError("it does not end by itself")

        self.assertEqual(self.result(first(), within_s=1), "synced")

    def test_closed_by_who_takes(self) -> None:
        """Events that arrived together with the last event are dropped when the program closes the watch."""
        for port in range(1, 50):
            self.up(port)
        watch = self.client_of_all.watch()

        async def two() -> list[int]:
            ports = []
            async for event in watch:
                ports.append(event.registration.port)
                if len(ports) == 2:
                    await watch.aclose()
            return ports

        self.assertEqual(len(self.result(two(), within_s=1)), 2)
        self.assertEqual(len(watch._unread), 0)

    def test_who_does_not_take(self) -> None:
        """The node waits for a slow program, which later continues without a missing event."""
        watch = self.client_of_all.watch()
        taking = Deferred.fromCoroutine(watch.__anext__())
        self.network.pass_time(1)
        self.assertEqual(self.successResultOf(taking).event, "synced")
        for port in range(1, 3 * UNREAD_EVENTS_MAX):
            self.node(ONE).register(evolve(instance(port), ttl_s=3600.0))
            if port % 100 == 0:
                self.network.pass_time(0.25)
        self.network.pass_time(5)
        self.assertLess(len(watch._unread), 3 * UNREAD_EVENTS_MAX - 100)
        watcher = Watcher(watch)
        self.addCleanup(self.end, watcher)
        self.network.pass_time(5)
        self.assertEqual([event.registration.port for event in watcher.events], [*range(1, 3 * UNREAD_EVENTS_MAX)])


class Standing(WatchCase):
    """The position up to which the program has read all events: a consumer confirms it."""

    def test_after_each_event(self) -> None:
        """The position is the node's cursor, and also changes without an event."""
        watcher = self.watch()
        told: list[object] = []
        watcher.watch.on_taken = lambda: told.append(watcher.watch.taken)
        self.up(1, host=ONE)
        self.down(1, host=ONE)
        journal = self.node(ONE).journal
        self.assertEqual(told[-1], Stand(f"{ONE}:1729", journal.cursor))
        self.assertEqual(len(told), 2)
        self.network.pass_time(16)
        self.assertGreater(len(told), 2)

    def test_what_waits_does_not_count(self) -> None:
        """The position does not include events that the program has not read."""
        watch = self.client_of_all.watch()
        self.up(1, host=ONE)
        self.up(2, host=ONE)
        taking = Deferred.fromCoroutine(watch.__anext__())
        self.network.pass_time(1)
        self.successResultOf(taking)
        self.assertIsNone(watch.taken)
        for _ in range(2):
            self.successResultOf(Deferred.fromCoroutine(watch.__anext__()))
        self.assertEqual(watch.taken, Stand(f"{ONE}:1729", self.node(ONE).journal.cursor))
        self.result(watch.aclose())

    def test_at_another_node(self) -> None:
        """The position is that of the new node when that node has sent all missed events."""
        watcher = self.watch()
        self.network.pass_time(6)
        self.machines[ONE].kill()
        self.network.pass_time(1)
        self.assertEqual(watcher.watch.taken, Stand(f"{TWO}:1729", self.node(TWO).journal.cursor))

    def test_a_name(self) -> None:
        """Only the followed node knows the name of the watcher."""
        watcher = Watcher(self.client_of_all.watch(name="edge 1"))
        self.addCleanup(self.end, watcher)
        self.network.pass_time(6)
        names = {host: [each.name for each in self.node(host).consumers.states()] for host in (ONE, TWO)}
        self.assertEqual(names, {ONE: ["edge 1"], TWO: []})

    def test_an_instance(self) -> None:
        """Two watchers with the same name have different instances; a watcher without a name has none."""
        watchers = [Watcher(self.client_of_all.watch(name="edge 1")) for _ in range(2)]
        watchers.append(Watcher(self.client_of_all.watch(name="edge 1", instance="own")))
        for watcher in watchers:
            self.addCleanup(self.end, watcher)
        self.network.pass_time(6)
        instances = [watcher.watch.instance for watcher in watchers]
        self.assertEqual((len({*instances}), instances[2]), (3, "own"))
        self.assertCountEqual([each.instance for each in self.node(ONE).consumers.states()], instances)
        self.assertIsNone(self.client_of_all.watch().instance)


class Elsewhere(WatchCase):
    """Other programs in the place of a node."""

    def test_it_is_passed_over(self) -> None:
        """The watcher skips a program that is not a node, and knows the positions of the other nodes."""
        self.machines[ONE].kill()
        for status, body in ((400, b"<html>what?</html>"), (200, b"<html>welcome</html>"), (200, b"[]")):
            self.network.listening[ONE, 1729] = Site(Page(status, body), reactor=self.network)
            watcher = self.watch(self.client(*ALL))
            self.network.pass_time(2)
            self.assertEqual(watcher.named(), ["synced snapshot"])
            self.network.pass_time(STANDBY_INTERVAL_S)
            self.assertIn(f"{THREE}:1729", watcher.watch._standbys)

    def test_a_node_that_uses_tls_is_passed_over(self) -> None:
        """A watcher without a CA continues at nodes that do not use TLS yet."""
        self.machines[ONE].kill()
        uses_tls = Page(426, b'{"code": "INVALID", "message": "this port uses TLS"}')
        self.network.listening[ONE, 1729] = Site(uses_tls, reactor=self.network)
        client = self.client(*ALL)
        watcher = self.watch(client)
        self.network.pass_time(2)
        self.assertEqual(watcher.named(), ["synced snapshot"])
        self.assertTrue(dict(self.problems)[f"{ONE}:1729"].startswith("uses TLS: give the CA"))

    def test_it_may_end_again_and_again(self) -> None:
        """A stream that ends again and again is requested with pauses."""
        for host in ALL:
            self.machines[host].kill()
        self.network.listening[ONE, 1729] = Site(
            Page(200, b'data: {"event": "tick", "cursor": "x"}\n'), reactor=self.network
        )
        watcher = self.watch(self.client(ONE, learns=False))
        self.network.pass_time(20)
        asked = [end for end in self.network.ends if end.peerAddress.port == 1729]
        self.assertLess(len(asked), 25)
        self.assertEqual(watcher.named(), [])

    def test_events_that_cannot_be_read(self) -> None:
        """Unreadable events are skipped, and the events around them are delivered."""
        heard: list[str] = []
        problems: list[str] = []
        stream = SseStream(self.network, lambda said, _: heard.append(said.event), lambda _, why: problems.append(why))
        stream.makeConnection(StringTransport())
        deep = b'{"event": "x", "backend": ' + b"[" * 100_000
        of_another_shape = (
            b"[]",
            b'{"event": 7}',
            b'{"event": "x", "at": 1e300}',
            b'{"event": "online", "registration": {}}',
        )
        no_json = (b"{", b"\xff", b'"\\ud800', deep)
        for document in (b'{"event": "tick"}', *of_another_shape, *no_json, b'{"event": "tock"}'):
            stream.dataReceived(b"data: " + document + b"\n")
        self.assertEqual((heard, len(problems), stream.ended.called), (["tick", "tock"], 8, False))

    def test_nothing_that_can_be_read(self) -> None:
        """A stream without readable events is ended after some time."""
        stream = SseStream(self.network, lambda *_: None)
        stream.makeConnection(StringTransport())
        stream.dataReceived(b"data: x\n" * UNREADABLE_MAX)
        self.assertFalse(stream.ended.called)
        stream.dataReceived(b"data: x\n")
        self.assertTrue(stream.ended.called and not stream.has_event)

    def test_what_it_tells_no_node_does(self) -> None:
        """After an event that no node sends, another node is followed, and the problem is reported once."""
        about = {"id": "registration/web/1/h/1", "app": "web", "version": "1", "host": "h", "port": 1, "ttl": 10}
        about |= {"weight": 1, "meta": {}, "registered": 1, "node": "n"}
        changes: tuple[dict[str, Any], ...] = (
            {"registration": {"id": about["id"]}},
            {"registration": {**about, "ttl": "x"}},
            {"registration": {**about, "meta": msgspec.json.decode(b"[" * 30 + b"]" * 30)}},
            {"at": 10**18},
            {"event": 1},
            {"cursor": "x" * 2000},
            {"registration": None, "backend": {"id": 1}},
            {"registration": None, "frontend": []},
        )
        for change in changes:
            said = {"event": "online", "cursor": "x", "at": 1, "snapshot": True, "registration": about, **change}
            page = Page(200, b"data: " + msgspec.json.encode(said) + b"\n\n")
            self.network.listening[ONE, 1729] = Site(page, reactor=self.network)
            watcher = self.watch(self.client(*ALL))
            self.network.pass_time(10)
            self.assertEqual(watcher.named(), ["synced snapshot"])
            self.assertEqual(watcher.watch.node, f"{TWO}:1729")
            self.assertEqual({node for node, _ in self.problems}, {f"{ONE}:1729"})
            self.assertIn("sent an invalid answer", self.problems[0][1])
            self.problems.clear()

    def test_more_than_any_node_lists(self) -> None:
        """A stream that lists more objects than a node can have is ended, and does not fill the memory."""
        self.patch(watch, "LISTED_MAX", 2)
        for port in (1, 2, 3):
            self.up(port)
        watcher = self.watch(self.client(ONE, learns=False))
        self.assertEqual(len(watcher.events), 2)
        self.assertIn((f"{ONE}:1729", "lists more objects than a node can have"), self.problems)

    def test_bytes_alone_say_nothing(self) -> None:
        """A stream with only some bytes or comments is left for another node."""
        for drop in (b"d", b": still here\n\n"):
            transport = StringTransport()
            stream = SseStream(self.network, lambda *_: None)
            stream.makeConnection(transport)
            for _ in range(4):
                self.assertFalse(stream.ended.called)
                stream.dataReceived(drop)
                self.network.pass_time(SILENCE_S_MAX / 4)
            self.assertTrue(stream.ended.called)

    def test_a_refusal_without_an_end(self) -> None:
        """The watcher does not wait for the end of a refusal."""
        self.network.listenTCP(1731, Factory.forProtocol(Endless), interface=ONE)
        client = Client(self.network, [f"{ONE}:1731"], learns=False)
        client.on_problem = lambda node, problem: self.problems.append((node, problem))
        watcher = Watcher(client.watch())
        self.addCleanup(self.end, watcher)
        self.network.pass_time(RESPONSE_S_MAX + 1)
        self.assertIn("does not answer within 5 s", self.problems[0][1])

    def test_a_line_without_an_end(self) -> None:
        """A line without an end is not kept in memory."""
        transport = StringTransport()
        stream = SseStream(self.network, lambda *_: None)
        stream.makeConnection(transport)
        for _ in range(LINE_BYTES_MAX // 1024):
            stream.dataReceived(bytes(1024))
        self.assertFalse(transport.disconnecting)
        stream.dataReceived(b"1")
        self.assertTrue(transport.disconnecting and stream.ended.called)

    def test_what_nobody_expected(self) -> None:
        """After an unexpected error, the other nodes are asked for their positions again."""
        client = self.client(*ALL, learns=False)
        learn, client.learn = client.learn, broken  # type: ignore[method-assign]
        watcher = self.watch(client)
        self.assertTrue(self.flushLoggedErrors(RuntimeError))
        client.learn = learn  # type: ignore[method-assign]
        self.network.pass_time(STANDBY_INTERVAL_S)
        self.assertEqual(len(watcher.watch._standbys), 2)


class Endless(Protocol):
    """A server that refuses all requests with an answer that does not end."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 400 no\r\nContent-Length: 9\r\n\r\nx")


async def broken() -> None:
    raise RuntimeError("a fault")
