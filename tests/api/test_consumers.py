"""Consumers over HTTP: those without a stream, those with one, and who they are."""

from __future__ import annotations

from tests.api.conversation import NOW_MS, WEB, WEB_PATH, ApiCase, request

REPORT = {"down": ["registration/web/1/h/1"], "backends": {"site": {"1": {"requests": 10, "errors": 2}}}}


class Confirming(ApiCase):
    def test_form(self) -> None:
        """The answer is the consumer, and so is each in the list."""
        self.ask("POST", "/registrations", WEB)
        cursor = self.node.journal.cursor
        answer = self.ask("PUT", "/consumers/edge-1", {"cursor": cursor, "report": REPORT})
        consumer = {
            "name": "edge-1",
            "node": "n1",
            "connected": True,
            "cursor": cursor,
            "behind": 0,
            "at": NOW_MS,
            "report": REPORT,
        }
        self.assertEqual((answer.status, answer.json), (200, consumer))
        self.ask("DELETE", WEB_PATH)
        self.assertEqual(self.ask("GET", "/consumers").json, [{**consumer, "behind": 1}])

    def test_none(self) -> None:
        """There is an empty list."""
        self.assertEqual(self.ask("GET", "/consumers").json, [])

    def test_what_is_refused(self) -> None:
        """The field is named, and nobody becomes a consumer by it."""
        cursor = self.node.journal.cursor
        self.invalid("cursor", self.ask("PUT", "/consumers/edge", {"cursor": "k3f9-1"}))
        self.invalid("cursor", self.ask("PUT", "/consumers/edge", {}))
        self.invalid("report", self.ask("PUT", "/consumers/edge", {"cursor": cursor, "report": {"down": "all"}}))
        self.invalid("name", self.ask("PUT", f"/consumers/{'x' * 256}", {"cursor": cursor}))
        self.assertEqual(self.ask("GET", "/consumers").json, [])

    def test_a_long_report(self) -> None:
        """A thousand ids fit, more are refused."""
        ids = [f"registration/web/1.2.0/10.0.{i // 256}.{i % 256}/8080" for i in range(1001)]
        said = {"cursor": self.node.journal.cursor, "report": {"down": ids[:1000]}}
        self.assertEqual(len(self.ask("PUT", "/consumers/edge", said).json["report"]["down"]), 1000)
        self.invalid("report", self.ask("PUT", "/consumers/edge", {**said, "report": {"down": ids}}))


class Streaming(ApiCase):
    def test_a_stream_with_a_name(self) -> None:
        """Its client is a consumer as long as it goes on."""
        connection = self.connect()
        connection.send(request("GET", "/events?name=edge&snapshot=true", None, Accept="text/event-stream"))
        (consumer,) = self.ask("GET", "/consumers").json
        self.assertEqual((consumer["name"], consumer["connected"], consumer["cursor"]), ("edge", True, None))
        connection.lose()
        self.assertEqual([each["connected"] for each in self.ask("GET", "/consumers").json], [False])

    def test_a_name_that_is_none(self) -> None:
        """It is refused."""
        self.invalid("name", self.ask("GET", "/events?name=a%2Fb"))
