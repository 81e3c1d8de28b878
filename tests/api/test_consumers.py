"""Consumers over HTTP: with and without a stream, and the names and addresses that identify them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from tests.api.conversation import NOW_MS, WEB, WEB_PATH, ApiCase, Connection, Response, parsed, request

REPORT = {"down": ["registration/web/1/h/1"], "backends": {"site": {"1": {"requests": 10, "errors": 2}}}}


class Confirming(ApiCase):
    def test_form(self) -> None:
        """The answer to a confirmation is the consumer, in the same form as in the list."""
        self.ask("POST", "/registrations", WEB)
        cursor = self.node.journal.cursor
        answer = self.ask("PUT", "/consumers/edge-1", {"cursor": cursor, "report": REPORT})
        consumer = {
            "name": "edge-1",
            "instance": "10.9.9.9",
            "node": "n1",
            "connected": True,
            "cursor": cursor,
            "behind": 0,
            "at": NOW_MS,
            "report": REPORT,
            "warning": None,
        }
        self.assertEqual((answer.status, answer.json), (200, consumer))
        self.ask("DELETE", WEB_PATH)
        self.assertEqual(self.ask("GET", "/consumers").json, [{**consumer, "behind": 1}])

    def test_none(self) -> None:
        """Without consumers the list is empty."""
        self.assertEqual(self.ask("GET", "/consumers").json, [])

    def test_what_is_refused(self) -> None:
        """The message names the invalid field, and an invalid request creates no consumer."""
        cursor = self.node.journal.cursor
        self.invalid("cursor", self.ask("PUT", "/consumers/edge", {"cursor": "k3f9-1"}))
        self.invalid("cursor", self.ask("PUT", "/consumers/edge", {}))
        self.invalid("report", self.ask("PUT", "/consumers/edge", {"cursor": cursor, "report": {"down": "all"}}))
        self.invalid("name", self.ask("PUT", f"/consumers/{'x' * 256}", {"cursor": cursor}))
        self.assertEqual(self.ask("GET", "/consumers").json, [])

    def test_a_report_before_anything_is_done(self) -> None:
        """A consumer can report why it has applied nothing yet; the report confirms nothing."""
        problem = {"kind": "unreachable", "why": "HAProxy does not answer", "since": NOW_MS, "instead": "nothing"}
        held = {"id": "backend/shop", "digest": "0123456789abcdef", "applied": False}
        report = {"problems": [problem], "settings": [held]}
        answer = self.ask("PUT", "/consumers/edge", {"report": report})
        self.assertEqual((answer.status, answer.json["cursor"], answer.json["report"]), (200, None, report))
        self.assertEqual([each["report"] for each in self.ask("GET", "/consumers").json], [report])

    def test_problems_that_are_none(self) -> None:
        """An invalid part of a report gets 400."""
        problem = {"kind": "refused", "why": "no", "since": NOW_MS}
        for bad in ({"kind": "Refused!"}, {"why": "x" * 2001}, {"since": -1}):
            report = {"problems": [problem | bad]}
            self.invalid("report", self.ask("PUT", "/consumers/edge", {"report": report}))
        report = {"settings": [{"id": "backend/a", "digest": "0", "applied": True}]}
        self.invalid("report", self.ask("PUT", "/consumers/edge", {"report": report}))

    def test_a_long_report(self) -> None:
        """A report may have a thousand ids; a longer one gets 400."""
        ids = [f"registration/web/1.2.0/10.0.{i // 256}.{i % 256}/8080" for i in range(1001)]
        said = {"cursor": self.node.journal.cursor, "report": {"down": ids[:1000]}}
        self.assertEqual(len(self.ask("PUT", "/consumers/edge", said).json["report"]["down"]), 1000)
        self.invalid("report", self.ask("PUT", "/consumers/edge", {**said, "report": {"down": ids}}))


class Streaming(ApiCase):
    def test_a_stream_with_a_name(self) -> None:
        """The client of a stream with a `name` is a connected consumer until the stream ends."""
        connection = self.connect()
        connection.send(request("GET", "/events?name=edge&snapshot=true", None, Accept="text/event-stream"))
        (consumer,) = self.ask("GET", "/consumers").json
        self.assertEqual((consumer["name"], consumer["connected"], consumer["cursor"]), ("edge", True, None))
        connection.lose()
        self.assertEqual([each["connected"] for each in self.ask("GET", "/consumers").json], [False])

    def test_a_name_that_is_none(self) -> None:
        """An invalid name of a consumer gets 400."""
        self.invalid("name", self.ask("GET", "/events?name=a%2Fb"))

    def test_an_instance_that_is_none(self) -> None:
        """An instance that is not a token of up to 64 letters, digits, dashes and underscores gets 400."""
        for query in (
            "name=edge&instance=",
            "name=edge&instance=a%2Fb",
            f"name=edge&instance={'x' * 65}",
        ):
            self.invalid("instance", self.ask("GET", f"/events?{query}"))
        for instance in ("", "a/b", "x" * 65, 7):
            said = {"cursor": self.node.journal.cursor, "instance": instance}
            self.invalid("instance", self.ask("PUT", "/consumers/edge", said))
        self.assertEqual(self.ask("GET", "/consumers").json, [])


class SharedNames(ApiCase):
    """Two programs with one name are listed separately, and a deregistration waits for both."""

    def follow(self, query: str, client: tuple[str, int] = ("10.9.9.9", 40_000)) -> Connection:
        connection = Connection(self.site, client)
        connection.send(request("GET", f"/events?{query}&snapshot=true", None, Accept="text/event-stream"))
        return connection

    def confirm(self, name: str = "edge", client: str = "10.9.9.9", **said: str) -> Any:
        connection = Connection(self.site, (client, 50_000))
        connection.send(request("PUT", f"/consumers/{name}", {"cursor": self.node.journal.cursor, **said}))
        (response,) = parsed(connection.received())
        return response.json

    def shown(self) -> list[tuple[str, bool, int]]:
        return [(each["instance"], each["connected"], each["behind"]) for each in self.ask("GET", "/consumers").json]

    def applied(self) -> Any:
        """Return the consumers that have applied a deregistration, and the missing ones, without a wait."""
        self.ask("POST", "/registrations", WEB)
        self.ask("DELETE", WEB_PATH)
        waiting = Deferred.fromCoroutine(self.node.until_applied(WEB_PATH.replace("/registrations", "registration"), 0))
        applied = self.successResultOf(waiting)
        return applied.consumers, applied.missing

    def test_each_confirms_for_itself(self) -> None:
        """The deregistration is applied when both consumers have confirmed it."""
        self.follow("name=edge&instance=a")
        self.follow("name=edge&instance=b")
        self.ask("POST", "/registrations", WEB)
        connection = self.connect()
        connection.send(request("DELETE", f"{WEB_PATH}?wait=5"))
        self.confirm(instance="a")
        self.assertEqual(connection.received(), b"")
        self.confirm(instance="b")
        expected = {"applied": ["n1"], "consumers": ["edge (a)", "edge (b)"], "missing": []}
        self.assertEqual(parsed(connection.received())[0].json, expected)

    def test_one_does_not_confirm(self) -> None:
        """A consumer that does not confirm is listed as missing, by its name and its instance."""
        self.follow("name=edge&instance=a")
        self.follow("name=edge&instance=b")
        self.ask("POST", "/registrations", WEB)
        connection = self.connect()
        connection.send(request("DELETE", f"{WEB_PATH}?wait=5"))
        self.confirm(instance="b")
        self.pass_time(5)
        expected = {"applied": ["n1"], "consumers": ["edge (b)"], "missing": ["edge (a)"]}
        self.assertEqual(parsed(connection.received())[0].json, expected)

    def test_a_warning(self) -> None:
        """Consumers with one name have a warning, in the list and in the answer to a confirmation; others have none."""
        self.follow("name=edge&instance=a")
        self.follow("name=edge&instance=b")
        self.follow("name=rim&instance=c")
        warning = "the consumers edge (a) and edge (b) have the same name: give each program a name of its own"
        self.assertEqual([each["warning"] for each in self.ask("GET", "/consumers").json], [warning, warning, None])
        self.assertEqual(self.confirm(instance="a")["warning"], warning)
        self.assertIsNone(self.confirm("rim", instance="c")["warning"])

    def test_streams_without_an_instance(self) -> None:
        """Streams without an instance are identified by their connections, and confirmations by the address."""
        first = self.follow("name=edge", ("10.0.0.1", 1000))
        self.follow("name=edge", ("10.0.0.2", 2000))
        self.ask("POST", "/registrations", WEB)
        self.assertEqual(self.shown(), [("10.0.0.1:1000", True, 1), ("10.0.0.2:2000", True, 1)])
        self.confirm(client="10.0.0.2")
        self.assertEqual(self.shown(), [("10.0.0.1:1000", True, 1), ("10.0.0.2:2000", True, 0)])
        first.lose()
        self.assertEqual(self.shown(), [("10.0.0.2:2000", True, 0)])

    def test_streams_of_one_address_without_an_instance(self) -> None:
        """With several streams from one address, a confirmation counts for the newest stream only."""
        self.follow("name=edge", ("10.0.0.1", 1000))
        self.follow("name=edge", ("10.0.0.1", 1001))
        self.confirm(client="10.0.0.1")
        self.assertEqual(self.applied(), ((), ("edge (10.0.0.1:1000)", "edge (10.0.0.1:1001)")))
        self.confirm(client="10.0.0.1")
        self.assertEqual([behind for _, _, behind in self.shown()], [2, 0])

    def test_polls_without_an_instance(self) -> None:
        """Each poll of a client without an instance has a connection of its own; all polls are one consumer."""
        for port in (1000, 1001, 1002):
            connection = Connection(self.site, ("10.0.0.1", port))
            connection.send(request("GET", "/events?name=edge"))
            self.assertEqual(parsed(connection.received())[0].status, 200)
            self.confirm(client="10.0.0.1")
            self.pass_time(1)
        self.assertEqual(self.shown(), [("10.0.0.1:1002", False, 0)])

    def test_confirmations_alone(self) -> None:
        """Confirmations without a stream and without an instance create one consumer for each address."""
        self.confirm(client="10.0.0.1")
        self.confirm(client="10.0.0.2")
        self.confirm(client="10.0.0.1")
        self.assertEqual(self.shown(), [("10.0.0.1", True, 0), ("10.0.0.2", True, 0)])

    def test_a_stream_with_an_instance_whose_client_confirms_without(self) -> None:
        """A confirmation without an instance counts for the only stream from its address, even if that has one."""
        self.follow("name=edge&instance=a")
        self.ask("POST", "/registrations", WEB)
        self.confirm()
        self.assertEqual(self.shown(), [("a", True, 0)])

    def test_a_restart(self) -> None:
        """A consumer whose stream has ended is replaced by the next instance with its name."""
        before = self.follow("name=edge&instance=a")
        self.confirm(instance="a")
        before.lose()
        self.assertEqual(self.shown(), [("a", False, 0)])
        self.pass_time(1)
        self.follow("name=edge&instance=b")
        self.assertEqual(self.shown(), [("b", True, 0)])

    def test_a_restart_with_a_stream_that_hangs(self) -> None:
        """Both instances are listed until the connection of the earlier one ends; then only the later one is listed."""
        before = self.follow("name=edge&instance=a")
        self.confirm(instance="a")
        self.pass_time(1)
        self.follow("name=edge&instance=b")
        self.assertEqual([instance for instance, _, _ in self.shown()], ["a", "b"])
        self.pass_time(30)
        self.confirm(instance="b")
        before.lose()
        self.assertEqual([instance for instance, _, _ in self.shown()], ["b"])

    def test_one_of_two_ends(self) -> None:
        """An instance that confirmed beside another one of its name stays listed, as missing, after it ends."""
        first = self.follow("name=edge&instance=a")
        self.follow("name=edge&instance=b")
        self.pass_time(5)
        self.confirm(instance="a")
        first.lose()
        self.assertEqual([(i, connected) for i, connected, _ in self.shown()], [("a", False), ("b", True)])
        self.ask("POST", "/registrations", WEB)
        connection = self.connect()
        connection.send(request("DELETE", f"{WEB_PATH}?wait=5"))
        self.confirm(instance="b")
        expected = {"applied": ["n1"], "consumers": ["edge (b)"], "missing": ["edge (a)"]}
        self.assertEqual(parsed(connection.received())[0].json, expected)

    def test_status_and_log(self) -> None:
        """The shared name is logged once, and `/status` shows the problem as long as both are connected."""
        with capturedLogs() as logs:
            first = self.follow("name=edge&instance=a")
            self.follow("name=edge&instance=b")
            self.pass_time(30)
        problem = "the consumers edge (a) and edge (b) have the same name: give each program a name of its own"
        said = [formatEvent(event) for event in logs if "have the same name" in str(formatEvent(event))]
        self.assertEqual(len(said), 1)
        self.assertEqual(self.ask("GET", "/status").json["problems"], {"consumer/edge": problem})
        first.lose()
        self.assertEqual(self.ask("GET", "/status").json["problems"], {})


class Quotas(ApiCase):
    """No client can prevent other clients from being consumers."""

    def put(self, name: str, client: str, **said: Any) -> Response:
        connection = Connection(self.site, (client, 40_000))
        connection.send(request("PUT", f"/consumers/{name}", {"cursor": self.node.journal.cursor, **said}))
        (response,) = parsed(connection.received())
        return response

    def follow(self, name: str, client: str) -> Connection:
        connection = Connection(self.site, (client, 40_000))
        connection.send(request("GET", f"/events?name={name}", None, Accept="text/event-stream"))
        return connection

    def test_confirmations_of_one_client(self) -> None:
        """A client above its quota gets 429 with the limit in the message; other clients do not."""
        answers = [self.put(f"x{number}", "10.0.0.1") for number in range(1000)]
        self.assertEqual([answer.status for answer in answers], [200] * 250 + [429] * 750)
        self.assertIn("10.0.0.1 has 250 consumers here", self.refused("BUSY", answers[-1]))
        self.assertEqual(self.put("edge", "10.0.0.2").status, 200)
        self.assertIn(b"200 OK", self.follow("rim", "10.0.0.3").received())
        self.assertEqual(len(self.ask("GET", "/consumers").json), 252)

    def test_streams_of_one_client(self) -> None:
        """Streams have the same quota, and replace consumers of the same client that have no stream."""
        self.put("early", "10.0.0.1")
        begun = [self.follow(f"x{number}", "10.0.0.1") for number in range(251)]
        self.assertEqual([b"429" in each.transport.value() for each in begun], [False] * 250 + [True])
        self.assertIn(b"10.0.0.1 has 250 consumers here", begun[-1].received())
        self.assertIn(b"200 OK", self.follow("edge", "10.0.0.2").received())
        self.assertNotIn("early", [each["name"] for each in self.ask("GET", "/consumers").json])

    def test_many_clients(self) -> None:
        """If the node is full, consumers with streams stay, and the client with the most consumers loses some."""
        for client, many in (("10.0.0.1", 250), ("10.0.0.2", 249), ("10.0.0.3", 249), ("10.0.0.4", 249)):
            for number in range(many):
                self.put(f"x{number}", client)
        streams = [self.follow(f"s{number}", "10.0.0.5") for number in range(100)]
        self.assertEqual([each for each in streams if b"200 OK" not in each.received()], [])
        self.assertEqual(self.put("edge", "10.0.0.6").status, 200)
        consumers = self.ask("GET", "/consumers").json
        self.assertEqual(len(consumers), 1000)
        self.assertEqual(len([each for each in consumers if each["name"].startswith("s")]), 100)

    def test_reports_of_one_client(self) -> None:
        """The bytes of the reports of one client are limited; a refused request changes nothing."""
        report = {"down": ["x" * 60] * 1000}
        answers = [self.put(f"x{number}", "10.0.0.1", report=report) for number in range(40)]
        self.assertEqual([answer.status for answer in answers], [200] * 16 + [429] * 24)
        self.assertIn("1048576 bytes", self.refused("BUSY", answers[-1]))
        self.assertEqual(len(self.ask("GET", "/consumers").json), 16)
        self.assertEqual(self.put("edge", "10.0.0.2", report=report).status, 200)
        self.assertEqual(self.put("x0", "10.0.0.1", report={"down": []}).status, 200)
        self.assertEqual(self.put("x40", "10.0.0.1", report=report).status, 200)

    def test_reports_of_many_clients(self) -> None:
        """The bytes of all reports are limited: some reports are dropped, and come with the next confirmations."""
        report = {"down": ["x" * 60] * 1000}
        for client in range(5):
            for number in range(16):
                self.assertEqual(self.put(f"x{number}", f"10.0.0.{client}", report=report).status, 200)
        self.assertEqual(self.put("edge", "10.0.1.1", report=report).status, 200)
        kept = [each for each in self.ask("GET", "/consumers").json if each["report"] is not None]
        self.assertEqual(sum(len(each["report"]["down"]) for each in kept), 1000 * 67)
        self.assertIn("edge", [each["name"] for each in kept])
        self.assertEqual(
            {each["instance"] for each in kept}, {f"10.0.0.{client}" for client in range(5)} | {"10.0.1.1"}
        )
