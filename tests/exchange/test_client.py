"""The sending half of an exchange: rounds, requests that are reported exactly once, and peers that fail."""

from __future__ import annotations

import gzip
import json

from twisted.internet.defer import Deferred

from bender.core.messages import Message, OutgoingMessage, Sender
from bender.exchange.client import UNDER_WAY_MAX, GossipClient
from bender.exchange.connection_problems import FORGOTTEN_INTERVALS
from bender.exchange.transport import HEADERS_BYTES_MAX, IDLE_S_MAX, PeerTransport
from bender.exchange.wire import WIRE_VERSION, Wire
from tests.exchange.network import ExchangeCase, Stranger, http_answer

PEER = "10.0.0.2:1730"
ANSWER = Message(Sender(2, "n2", PEER), ask=5.0)

RESPONSE_BYTES_MAX = 100_000


def answer(message: Message = ANSWER, *, cluster: str = "bender", interval_s: float = 1.0) -> bytes:
    """Return the answer of a peer that works."""
    return http_answer("200 OK", "application/msgpack", Wire(cluster, interval_s).encode(message))


def refusal(status: str = "409 Conflict", **said: object) -> bytes:
    said = {"code": "CONFLICT", "message": "it would rather not", **said}
    return http_answer(status, "application/json", json.dumps(said).encode())


class ClientCase(ExchangeCase):
    def setUp(self) -> None:
        super().setUp()
        self.chances: list[float] = []
        self.client = self.speaking(self.wire)

    def speaking(self, wire: Wire) -> GossipClient:
        """Return a client with another wire than usual."""
        return GossipClient(
            self.network,
            self.node,
            wire,
            PeerTransport(self.network, RESPONSE_BYTES_MAX),
            self.conditions,
            lambda: self.chances.pop(0) if self.chances else 0.0,
        )

    def send(self, *requests: OutgoingMessage) -> None:
        self.client.send(list(requests))
        self.network.settle()


class Rounds(ClientCase):
    """The double of a node only records the time at which each round begins."""

    def setUp(self) -> None:
        super().setUp()
        self.begun: list[float] = []
        self.node.on_round = lambda: self.begun.append(self.network.seconds())

    def test_the_first_begins_at_once_and_then_one_each_interval(self) -> None:
        """The first round begins at once, because a node that starts must hear from its peers."""
        self.client.startService()
        self.network.pass_time(3)
        self.assertEqual(self.begun, [0, 1, 2, 3])

    def test_they_are_jittered(self) -> None:
        """Each round is late by a random part of a tenth of an interval, and does not delay later rounds."""
        self.chances = [0.625, 0.0, 0.3125]
        self.client.startService()
        self.network.pass_time(3.5)
        self.assertEqual(self.begun, [0, 1.0625, 2, 3.0625])

    def test_one_that_raises_does_not_end_them(self) -> None:
        """The fault is logged and counted, and the next round begins in time."""

        def fail() -> None:
            self.begun.append(self.network.seconds())
            raise RuntimeError("a fault")

        self.node.on_round = fail
        self.client.startService()
        self.network.pass_time(2)
        self.assertEqual(self.begun, [0, 1, 2])
        self.assertEqual(self.node.counters.rounds_failed, 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 3)

    def test_they_forget_what_is_long_past(self) -> None:
        """A problem of a peer that is no longer seen is forgotten after a while."""
        self.conditions.note_problem(PEER, "asks", "sends rubbish")
        self.client.startService()
        self.network.pass_time(FORGOTTEN_INTERVALS)
        self.assertEqual(self.node.problems, {PEER: None})

    def test_they_end_with_the_service(self) -> None:
        """After the stop no round begins, even a late one, and no timer is left."""
        self.chances = [1.0]
        self.client.startService()
        self.network.pass_time(1)
        self.successResultOf(self.client.stopService())
        self.network.pass_time(2)
        self.assertEqual(self.begun, [0])
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_requests_of_the_node_are_carried_from_the_start(self) -> None:
        """The requests of the first round are sent, too."""
        self.stranger(answer())
        request = self.request()
        self.node.on_round = lambda: self.client.send([request])
        self.client.startService()
        self.network.settle()
        self.assertEqual(self.node.reports, [(request, ANSWER)])


class Answers(ClientCase):
    def test_an_answer_is_handed_to_the_node(self) -> None:
        """The node gets the answer together with the request."""
        peer = self.stranger(answer())
        request = self.request()
        self.send(request)
        self.assertEqual(self.node.reports, [(request, ANSWER)])
        self.assertTrue(peer.requests[0].startswith(b"POST /exchange HTTP/1.1\r\n"))
        self.assertEqual(self.lines, [])

    def test_a_connection_is_kept_for_the_next_request(self) -> None:
        """Successive requests need only one connection."""
        self.stranger(answer())
        for _ in range(5):
            self.send(self.request())
        self.assertEqual((len(self.node.reports), self.network.connections), (5, 1))

    def test_idle_connections_are_few(self) -> None:
        """Idle connections beyond two are closed after a burst of requests."""
        peer = self.stranger(answer())
        self.send(*(self.request() for _ in range(6)))
        self.assertEqual(len(self.node.reports), 6)
        self.assertEqual(peer.connected, 2)

    def test_an_idle_connection_is_closed_in_time(self) -> None:
        """An idle connection is closed before the peer would close it during a request."""
        peer = self.stranger(answer())
        self.send(self.request())
        self.network.pass_time(IDLE_S_MAX - 1)
        self.assertEqual(peer.connected, 1)
        self.network.pass_time(1)
        self.assertEqual(peer.connected, 0)

    def test_a_peer_that_closed_a_connection_is_reached_by_another(self) -> None:
        """No request is lost when a peer closes the connection after each answer."""
        self.stranger(answer(), hanging_up=True)
        for _ in range(3):
            self.send(self.request())
        self.assertEqual([reply for _, reply in self.node.reports], [ANSWER] * 3)

    def test_a_fault_of_the_node_stops_nothing(self) -> None:
        """An exception of the node is logged, and the request counts as reported."""

        def fail() -> None:
            raise RuntimeError("a fault")

        self.node.on_report = fail
        self.stranger(answer())
        requests = [self.request(), self.request("10.0.0.3:1730"), self.request()]
        self.send(*requests)
        self.assertEqual({request for request, _ in self.node.reports}, set(requests))
        self.assertEqual(len(self.node.reports), 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 3)

    def test_an_address_of_ipv6_is_reached(self) -> None:
        """An IPv6 address is in brackets, as in a URL."""
        self.network.listening["::1", 1730] = Stranger(answer())
        self.send(self.request("[::1]:1730"))
        self.assertEqual(self.node.reports[0][1], ANSWER)

    def test_a_name_is_looked_up_an_address_is_not(self) -> None:
        """Names are looked up; addresses are not, so that they do not depend on a name server."""
        self.network.names.addresses["n2.example"] = ["10.0.0.2"]
        self.stranger(answer())
        self.send(self.request("n2.example:1730"), self.request(PEER))
        self.assertEqual(self.network.names.asked, ["n2.example"])
        self.assertEqual(len(self.node.reports), 2)

    def test_an_answer_with_another_interval_is_taken_and_named(self) -> None:
        """The node gets the answer, and the log has the difference of the intervals."""
        self.stranger(answer(interval_s=2.5))
        self.send(self.request())
        self.assertEqual(self.node.reports[0][1], ANSWER)
        self.assertEqual(self.lines, [f"Peer {PEER} has an interval of 2.5 s, but this node has 1 s."])


class Failures(ClientCase):
    """A request to a failing peer fails once, the failure is logged once, and the next request is sent anew."""

    def failed(self, peer: Stranger | None, line: str) -> None:
        """Expect that three requests to the peer fail, that their connections end, and that one line is logged."""
        for i in range(1, 4):
            request = self.request()
            self.send(request)
            self.network.pass_time(1)
            self.assertEqual([each for each, _ in self.node.reports].count(request), 1)
            self.assertEqual(len(self.failures()), i)
            if peer is not None:
                self.assertEqual(len(peer.requests), i)
                self.assertEqual(self.network.connections, i)
                self.assertEqual(peer.connected, 0)
        self.assertEqual(self.network.open, 0)
        self.assertEqual(self.lines, [f"Peer {PEER} {line}."])

    def test_nobody_listens(self) -> None:
        """A refused connection fails at once."""
        self.failed(None, "does not answer (connection was refused by other side)")

    def test_nobody_is_there(self) -> None:
        """A connection that is not established within the time limit fails."""
        self.network.cut.add("10.0.0.2")
        self.failed(None, "does not answer within 1 s")

    def test_a_name_that_stands_for_nothing(self) -> None:
        """A name that does not resolve fails."""
        request = self.request("nowhere.example:1730")
        self.send(request)
        self.assertEqual(self.node.reports, [(request, None)])

    def test_a_peer_that_hangs(self) -> None:
        """A peer that does not answer within the time limit fails, and its connection is closed."""
        self.failed(self.stranger(None), "does not answer within 1 s")

    def test_a_peer_that_hangs_in_the_middle(self) -> None:
        """An incomplete answer fails at the time limit."""
        self.failed(self.stranger(answer()[:-5]), "does not answer within 1 s")

    def test_a_peer_that_hangs_up(self) -> None:
        """A peer that closes the connection without an answer fails."""
        self.failed(self.stranger(b"", hanging_up=True), "does not answer (it closed the connection)")

    def test_a_peer_that_hangs_up_in_the_middle(self) -> None:
        """An incomplete answer fails when the connection is closed."""
        self.failed(
            self.stranger(answer()[:-5], hanging_up=True),
            "does not answer (it closed the connection)",
        )

    def test_a_body_without_an_end_of_its_own(self) -> None:
        """An answer without a length fails, because it may be incomplete."""
        body = self.wire.encode(ANSWER)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\n\r\n"
        self.failed(self.stranger(head + body, hanging_up=True), "does not give the length of its answer")

    def test_html(self) -> None:
        """An answer in HTML is not read, and its connection is aborted."""
        page = http_answer("200 OK", "text/html; charset=utf-8", b"<html>" * 10_000)
        self.failed(self.stranger(page), "answers with status 200 and text/html; charset=utf-8")
        self.assertTrue(all(end.aborted for end in self.network.ends))

    def test_another_status(self) -> None:
        """An answer with an error status in HTML, such as that of a proxy, fails."""
        page = http_answer("502 Bad Gateway", "text/html", b"<html>nginx</html>")
        self.failed(self.stranger(page), "answers with status 502 and text/html")

    def test_a_status_without_content(self) -> None:
        """An answer without content fails."""
        peer = self.stranger(b"HTTP/1.1 204 No Content\r\n\r\n")
        for _ in range(3):
            self.send(self.request())
        self.assertEqual(len(self.failures()), 3)
        self.assertEqual(len(peer.requests), 3)
        self.assertEqual(self.lines, [f"Peer {PEER} answers with status 204 and no content."])

    def test_a_redirect(self) -> None:
        """A redirect is not followed."""
        page = http_answer("302 Found", "text/html", b"moved", "Location: http://10.0.0.3:1730/exchange")
        other = self.stranger(answer(), host="10.0.0.3")
        self.failed(self.stranger(page), "answers with status 302 and text/html")
        self.assertEqual(other.requests, [])

    def test_no_http(self) -> None:
        """The greeting of another protocol fails."""
        self.failed(self.stranger(b"220 mail.example ESMTP\r\n"), "does not speak HTTP")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_control_characters(self) -> None:
        """Control characters of a peer are replaced in the log."""
        page = http_answer("200 OK", "text/\x1b[2Jhtml", b"page")
        self.failed(self.stranger(page), "answers with status 200 and text/?[2Jhtml")

    def test_no_message(self) -> None:
        """An answer of the right type with an invalid message fails."""
        page = http_answer("200 OK", "application/msgpack", b"<html>")
        self.send_until_named(page, "sends an invalid message (")

    def test_another_wire_version(self) -> None:
        """A refusal because of the wire version is logged with both versions."""
        page = refusal(
            message="the sender speaks wire version 1, but this node speaks 3", wire=WIRE_VERSION + 2, cluster="bender"
        )
        self.send_until_named(page, f"speaks wire version {WIRE_VERSION + 2}, but this node speaks {WIRE_VERSION}.")

    def test_another_cluster(self) -> None:
        """A refusal because of the cluster is logged with the name that the peer sends, without control characters."""
        page = refusal(message="the sender belongs to another", wire=WIRE_VERSION, cluster="green\n")
        self.send_until_named(page, "belongs to cluster 'green?', but this node belongs to 'bender'.")

    def test_another_cluster_that_answers_all_the_same(self) -> None:
        """A valid answer of another cluster is refused."""
        self.send_until_named(answer(cluster="green"), "belongs to cluster 'green', but this node belongs to 'bender'.")

    def test_another_reason(self) -> None:
        """The reason of any other refusal is logged in one line."""
        self.send_until_named(refusal("400 Bad Request"), "refuses this node: it would rather not.")

    def test_a_reason_that_is_none(self) -> None:
        """A refusal with invalid JSON is logged without a reason."""
        page = http_answer("500 Internal Server Error", "application/json", b"[" * 900)
        self.send_until_named(page, "refuses this node: without a reason.")

    def test_a_reason_without_end(self) -> None:
        """A refusal that is too long is not read to its end."""
        page = http_answer("500 Internal Server Error", "application/json", b"[" * 2000)
        self.failed(self.stranger(page), "sends an answer that does not end")

    def send_until_named(self, page: bytes, line: str) -> None:
        """Expect that requests with this answer fail, that it is read to its end, and that one line is logged."""
        peer = self.stranger(page)
        for _ in range(3):
            self.send(self.request())
        self.assertEqual(len(self.failures()), 3)
        self.assertEqual(len(peer.requests), 3)
        self.assertEqual(len(self.lines), 1)
        self.assertTrue(self.lines[0].startswith(f"Peer {PEER} {line}"), self.lines[0])


class Endlessness(ClientCase):
    """An answer is not read, and not decompressed, beyond its limit."""

    def failed(self, saying: bytes, line: str = "sends an answer that does not end") -> None:
        peer = self.stranger(saying)
        self.send(self.request())
        self.assertEqual(len(self.failures()), 1)
        self.assertEqual((peer.connected, len(peer.requests)), (0, 1))
        self.assertEqual(self.lines, [f"Peer {PEER} {line}."])

    def test_a_body_over_the_limit(self) -> None:
        """The connection is closed at a body above the limit."""
        self.failed(http_answer("200 OK", "application/msgpack", b"x" * (RESPONSE_BYTES_MAX + 1)))

    def test_a_body_in_chunks_without_end(self) -> None:
        """A chunked body is limited, too."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/msgpack\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.failed(head + b"3e8\r\n" + b"x" * 1000 + b"\r\n" + (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 200)

    def test_headers_without_end(self) -> None:
        """Headers are limited, too."""
        header = b"X-Header: " + b"x" * 1000 + b"\r\n"
        count = (RESPONSE_BYTES_MAX + HEADERS_BYTES_MAX) // len(header) + 1
        self.failed(b"HTTP/1.1 200 OK\r\n" + header * count)

    def test_the_limit_is_for_each_answer(self) -> None:
        """The limit applies to each answer, and not to all answers of a connection."""
        self.stranger(http_answer("200 OK", "application/msgpack", b"x" * (RESPONSE_BYTES_MAX // 2)))
        for _ in range(10):
            self.send(self.request())
        self.assertEqual(self.network.connections, 1)

    def test_deflated_content(self) -> None:
        """A compressed body is refused and not decompressed, because messages have a compression of their own."""
        body = gzip.compress(b"x" * 10_000_000)
        page = http_answer("200 OK", "application/msgpack", body, "Content-Encoding: gzip")
        self.failed(page, "answers with status 200 and application/msgpack")


class Company(ClientCase):
    def test_a_peer_that_hangs_delays_no_other(self) -> None:
        """Answers of other peers arrive while a request waits for a peer that hangs."""
        self.stranger(None, host="10.0.0.3")
        self.stranger(answer())
        self.send(self.request("10.0.0.3:1730"), self.request())
        self.assertEqual(len(self.node.reports), 1)
        self.assertEqual(self.node.reports[0][0].address, PEER)

    def test_what_waits_for_a_peer_is_bounded(self) -> None:
        """A request beyond the limit for one peer fails and is not sent."""
        peer = self.stranger(None)
        self.send(*(self.request() for _ in range(UNDER_WAY_MAX + 3)))
        self.assertEqual(len(peer.requests), UNDER_WAY_MAX)
        self.assertEqual(len(self.failures()), 3)
        self.network.pass_time(1)
        self.assertEqual(len(self.failures()), UNDER_WAY_MAX + 3)
        self.send(self.request())
        self.assertEqual(len(peer.requests), UNDER_WAY_MAX + 1)

    def test_nothing_is_reported_while_requests_are_handed_over(self) -> None:
        """No failure is reported during the call of `send`, because the node is not finished then."""
        requests = [self.request("h:99999"), self.request("10.0.0.3:1730")]
        requests += [self.request() for _ in range(UNDER_WAY_MAX + 1)]
        self.client.send(requests)
        self.assertEqual(self.node.reports, [])
        self.network.pass_time(1)
        self.assertEqual(sorted(map(id, self.failures())), sorted(map(id, requests)))

    def test_a_message_that_cannot_be_sent_fails(self) -> None:
        """A fault of this node is logged, and its request fails."""
        request = OutgoingMessage(PEER, Message(Sender(2**70, "n1", "h:1")), 1.0)
        self.send(request)
        self.assertEqual(self.node.reports, [(request, None)])
        self.assertEqual(len(self.flushLoggedErrors(OverflowError)), 1)

    def test_a_message_that_nobody_would_take_fails(self) -> None:
        """A message that is too large for peers is not sent, and is logged once."""
        peer = self.stranger(answer())
        self.client = self.speaking(Wire("bender", 1.0, payload_bytes_max=10))
        requests = [self.request(), self.request()]
        self.send(*requests)
        self.assertEqual(self.node.reports, [(request, None) for request in requests])
        self.assertEqual(peer.requests, [])
        self.assertEqual(len(self.lines), 1)
        self.assertIn("needs a message of", self.lines[0])


class Stopping(ClientCase):
    def stop(self) -> Deferred[None]:
        stopped = self.client.stopService()
        self.network.settle()
        return stopped

    def test_what_is_under_way_is_answered_first(self) -> None:
        """Requests under way, such as farewells, are answered before the stop is complete."""
        peer = self.stranger(None)
        self.client.startService()
        self.send(self.request())
        stopped = self.stop()
        self.network.pass_time(0.5)
        self.assertNoResult(stopped)
        peer.saying = answer()
        other = self.request()
        self.send(other)
        self.assertEqual(self.node.reports, [(other, ANSWER)])
        self.assertNoResult(stopped)
        self.network.pass_time(0.5)
        self.successResultOf(stopped)

    def test_what_is_not_answered_in_time_fails(self) -> None:
        """Requests that are not answered within an interval after the stop fail, once, and nothing is left open."""
        self.stranger(None)
        self.client.startService()
        first = self.request()
        self.send(first)
        stopped = self.stop()
        self.network.pass_time(0.875)
        late = self.request()
        self.send(late)
        self.network.pass_time(0.125)
        self.successResultOf(stopped)
        self.assertEqual(self.node.reports, [(first, None), (late, None)])
        self.assertEqual(self.network.open, 0)
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_an_impatient_end_is_an_end(self) -> None:
        """All requests fail at once when the stop is cancelled."""
        self.stranger(None)
        self.network.cut.add("10.0.0.3")
        self.stranger(answer()[:-3], host="10.0.0.4")
        self.client.startService()
        requests = [self.request(), self.request("10.0.0.3:1730"), self.request("10.0.0.4:1730")]
        self.send(*requests)
        stopped = self.stop()
        stopped.cancel()
        self.network.settle()
        self.successResultOf(stopped)
        self.assertEqual(sorted(map(id, self.failures())), sorted(map(id, requests)))
        self.assertEqual((len(self.node.reports), self.network.open), (3, 0))

    def test_what_comes_after_the_end_fails(self) -> None:
        """A request after the stop fails and is not sent."""
        peer = self.stranger(answer())
        self.client.startService()
        self.successResultOf(self.stop())
        request = self.request()
        self.send(request)
        self.assertEqual((self.node.reports, peer.requests), ([(request, None)], []))
