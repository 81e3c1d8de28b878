"""A node, its model, and a client that expects of the node what the model says."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from twisted.internet.task import Clock

from bender.api import site
from tests.api.conversation import Connection, Response, a_node, parsed, request
from tests.fuzz.machine.model import Event, Json, Model, of_an_app

CLIENT = "10.9.9.9"
STATUS_OF = {
    "INVALID": 400,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "STALE": 412,
    "TOO_LARGE": 413,
}

apps = st.sampled_from(["web", "api"])
versions = st.sampled_from(["1", "2"])
keys = st.builds(
    "registration/{}/{}/{}/{}".format, apps, versions, st.sampled_from(["10.0.0.1", "10.0.0.2"]), st.just(80)
)
forces = st.sampled_from(["", "", "?force", "?force=1"])


def path_of(key: str) -> str:
    return "/" + key.replace("registration/", "registrations/", 1)


class Conversing(RuleBasedStateMachine):
    """A node and its model."""

    #: The method and path of each request that any machine has sent.
    requests: ClassVar[set[tuple[str, str]]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.node = a_node(self.clock, "n1")
        self.site = site(self.node, self.clock)
        self.model = Model()
        self.cursor: str = self.ask("GET", "/events").json["cursor"]
        #: The place in the model's events to which the cursor belongs.
        self.seen = 0
        #: Answers that had a tag, by their path.
        self.tagged: dict[str, tuple[str, Any]] = {}
        #: A long poll that waits, with its app, its place in the events, and the time at which it ends.
        self.waiting: tuple[Connection, str | None, int, float] | None = None

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Response:
        connection = Connection(self.site, (CLIENT, 40_000))
        connection.send(request(method, path, body, **headers))
        (response,) = parsed(connection.received(), head=method == "HEAD")
        self.requests.add((method, path.partition("?")[0]))
        return response

    def refused(self, code: str, response: Response) -> None:
        """Expect an error."""
        assert response.status == STATUS_OF[code], (code, response)
        assert response.json["code"] == code and response.json["message"], response

    def got(self, status: int, body: Any, response: Response) -> None:
        """Expect an answer."""
        assert response.status == status, (status, response)
        assert response.json == body, (body, response.json)

    def look(self, path: str, body: Any) -> None:
        """Expect an object or list, and that its tag is worth something."""
        response = self.ask("GET", path)
        self.got(200, body, response)
        tag = response.headers["etag"]
        before = self.tagged.get(path)
        if before is not None:
            again = self.ask("GET", path, None, If_None_Match=before[0])
            assert again.status == 304 if before[0] == tag else again.status == 200, (before, again)
            assert before[0] != tag or before[1] == body, "another content has the same tag"
        self.tagged[path] = (tag, body)
        unchanged = self.ask("GET", path, None, If_None_Match=f'"other", W/{tag}')
        assert (unchanged.status, unchanged.body) == (304, b""), unchanged
        head = self.ask("HEAD", path)
        assert (head.status, head.headers["etag"], head.body) == (200, tag, b""), head

    def pass_seconds(self, seconds: int) -> None:
        self.check_long_poll()  # what has happened already is answered without what expires meanwhile
        for _ in range(seconds):
            self.clock.advance(1)
            self.node.sweep()
            self.model.pass_second()
            self.end_what_is_due()
            self.check_long_poll()

    def end_what_is_due(self) -> None:
        """Let the model end what the node has ended already, of what may end now."""
        for key in self.model.due():
            if self.ask("GET", path_of(key)).status == 404:
                self.model.deregister(key, "expired")

    def check_long_poll(self) -> None:
        """It is answered with the first events, or after its time, and not before."""
        self.clock.advance(0)
        if self.waiting is None:
            return
        connection, app, place, until = self.waiting
        expected = [*of_an_app(self.model.events[place:], app)]
        received = connection.received()
        if not expected and self.model.now < until:
            assert received == b"", received
            return
        (response,) = parsed(received)
        found = response.json["events"]
        if found or self.model.now < until:  # else its time was over just before they happened
            self.same_events(found, expected)
        self.waiting = None
        connection.lose()

    @staticmethod
    def same_events(found: list[Json], expected: list[Event]) -> None:
        """Those of one object must be in order; those of several at one moment may come in any."""
        told, wanted = defaultdict[str, list[Any]](list), defaultdict[str, list[Any]](list)
        for each in found:
            body = object_of(each)
            told[body["id"]].append((each["event"], each["reason"], body))
        for event in expected:
            wanted[event.id].append((event.event, event.reason, event.object))
        assert told == wanted, (told, wanted)


def object_of(event: Json) -> Json:
    """Return the registration, backend or frontend that an event is about."""
    found: Json = next(event[kind] for kind in ("registration", "backend", "frontend") if kind in event)
    return found
