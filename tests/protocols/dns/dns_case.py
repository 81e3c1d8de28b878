"""A node with DNS, without sockets. dnspython encodes the queries, and parses the answers strictly."""

from __future__ import annotations

from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bender.core.admin_state import Override
from bender.core.model import RegistrationRequest
from bender.core.registration_status import State
from bender.net.fair_turns import Turns
from bender.protocols.dns.members import MemberRecordsCache
from bender.protocols.dns.responder import AnswerLimit, Responder
from tests.api.conversation import a_node

DATAGRAM, STREAM = AnswerLimit(65_507, client_decides=True), AnswerLimit(65_535, client_decides=False)


class DnsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.start()

    def start(self, **options: Any) -> None:
        """Start a node that is alone, ready unless it has `seeds`."""
        self.clock = Clock()
        self.node = a_node(self.clock, **options)
        self.turns = Turns(self.clock)
        self.place = 0.0
        self.members = MemberRecordsCache(self.node.replica.view, self.turns)
        self.over_udp, self.over_tcp = self.responder(DATAGRAM), self.responder(STREAM)

    def responder(self, limit: AnswerLimit) -> Responder:
        return Responder(self.node, self.members, limit, lambda: self.place, bytes([192, 0, 2, 53]))

    # Changes at the node.

    def up(self, host: str = "10.0.0.5", port: int = 8080, app: str = "web", version: str = "1", **terms: Any) -> str:
        """Register an instance and return its id."""
        request = RegistrationRequest(app, version, host, port, **terms)
        self.node.register(request)
        return request.key

    def state(self, id_: str, state: State) -> None:
        self.node.set_state(id_, Override(state, 60.0), "operator")

    def backend(self, name: str = "shop", **fields: Any) -> None:
        body = {"id": f"backend/{name}", "resource": "Backend", "name": name, "app": "web", "version": "1", **fields}
        self.node.configure(f"backend/{name}", msgspec.json.encode(body), "operator")

    # Queries of a client.

    def ask(self, name: str, kind: str = "A", *, tcp: bool = False, **options: Any) -> dns.message.Message:
        """Return the answer to a query, which must arrive at once."""
        return self.answer(query(name, kind, **options), tcp=tcp)

    def answer(self, sent: dns.message.Message, *, tcp: bool = False) -> dns.message.Message:
        received = self.sent(sent.to_wire(), tcp=tcp)
        assert received is not None
        answer = dns.message.from_wire(received)
        self.assertTrue(sent.is_response(answer), answer)
        return answer

    def sent(self, message: bytes, *, tcp: bool = False) -> bytes | None:
        """Return the bytes of the immediate answer to a message."""
        answers: list[bytes | None] = []
        (self.over_tcp if tcp else self.over_udp).respond(message, answers.append)
        (answer,) = answers
        return answer

    def addresses(self, name: str = "web.app.bender.", kind: str = "A") -> list[str]:
        return addresses(self.ask(name, kind))

    def services(self, name: str = "_web._tcp.app.bender.") -> dict[str, int]:
        """Return the weights of a service by `target:port`."""
        return services(self.ask(name, "SRV", tcp=True))


def query(name: str, kind: str = "A", **options: Any) -> dns.message.Message:
    """Return a query whose name has escapes as in a zone file, with EDNS if there are `use_edns` or `payload`."""
    return dns.message.make_query(dns.name.from_text(name), kind, **options)


def addresses(answer: dns.message.Message) -> list[str]:
    return [record.to_text() for rrset in answer.answer for record in rrset]


def services(answer: dns.message.Message) -> dict[str, int]:
    records = [record for rrset in answer.answer for record in rrset if rrset.rdtype == dns.rdatatype.SRV]
    return {f"{record.target}:{record.port}": record.weight for record in records}


def is_truncated(answer: dns.message.Message) -> bool:
    return bool(answer.flags & dns.flags.TC)
