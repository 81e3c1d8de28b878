"""Requests to nodes, some of which do not answer."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from bender.api import site
from bender.client import Client, NotFound, Refused, Unavailable, parse_nodes
from bender.client.node_list import NODES_MAX, NodeList
from bender.core.consumers import Confirmation, Report
from bender.core.model import RegistrationRequest
from bender.node.limits import Limits
from tests.client.cluster import ALL, ONE, THREE, TWO, ClientCase, Page
from tests.exchange.network import Stranger

WEB = ("web", "1", "10.9.9.9", 80)
WEB_ID = "registration/web/1/10.9.9.9/80"


class Names(SynchronousTestCase):
    def test_nodes(self) -> None:
        """Nodes are hosts with or without a port and a scheme."""
        for text, nodes in (
            ("a", ("a:1729",)),
            ("a:1, b:2,a:1", ("a:1", "b:2")),
            ("10.0.0.1", ("10.0.0.1:1729",)),
            ("::1", ("[::1]:1729",)),
            ("[::1]:9", ("[::1]:9",)),
            ("http://a", ("http://a:1729",)),
            ("https://A.:443/", ("https://a:443",)),
        ):
            self.assertEqual(parse_nodes(text), nodes)

    def test_no_nodes(self) -> None:
        """The error for an invalid address quotes it."""
        for text in ("", " , ", "a:b", "a:99999", "ftp://a", "http://a/b", "http://u@a", "a b", "a:0x1"):
            error = self.assertRaises(ValueError, parse_nodes, text)
            self.assertIn("node", str(error), text)


class Turns(SynchronousTestCase):
    def setUp(self) -> None:
        self.nodes = NodeList("abc", lambda _: None)

    def test_the_one_that_answered_last_comes_first(self) -> None:
        """The node that answered last is asked first, and then the nodes after it in the list."""
        self.assertEqual(self.nodes.in_turn(), ["a", "b", "c"])
        self.nodes.note_answer("b")
        self.assertEqual((self.nodes.in_turn(), self.nodes.last), (["b", "c", "a"], "b"))

    def test_what_was_learned_comes_last(self) -> None:
        """Learned nodes are asked last, and replace the nodes that were learned before."""
        self.nodes.learn(["d", "a", "e"])
        self.assertEqual(self.nodes.in_turn(), ["a", "b", "c", "d", "e"])
        self.nodes.learn(["e"])
        self.assertEqual(self.nodes.in_turn(), ["a", "b", "c", "e"])

    def test_there_is_one_at_least(self) -> None:
        """A client without nodes raises an error."""
        self.assertRaises(ValueError, NodeList, [], lambda _: None)


class Calls(ClientCase):
    def test_registrations(self) -> None:
        """Registrations can be added, renewed, read, listed and removed."""
        client = self.client(ONE)
        made = self.result(client.register(*WEB, ttl_s=30, weight=2, meta={"zone": "a"}))
        self.assertEqual(
            (made.id, made.ttl_s, made.weight, made.meta, made.node), (WEB_ID, 30.0, 2, {"zone": "a"}, "n1")
        )
        self.assertEqual(self.result(client.registration(WEB_ID)), made)
        for found in (
            client.registrations(),
            client.registrations("web"),
            client.registrations("web", "1", meta={"zone": "a"}),
        ):
            self.assertEqual(self.result(found), [made])
        self.assertEqual(self.result(client.registrations("web", meta={"zone": "b"})), [])
        self.assertEqual(self.result(client.renew(WEB_ID)), made)
        self.assertEqual(self.result(client.renew_all([WEB_ID, "x"])), ["x"])
        explained = self.result(client.explain(WEB_ID))
        self.assertEqual([node["node"] for node in explained["nodes"]], ["n1", "n2", "n3"])
        applied = self.result(client.deregister(WEB_ID, wait_s=5))
        assert applied is not None
        self.assertEqual((sorted(applied.applied), applied.missing), (["n1", "n2", "n3"], ()))

    def test_names_with_odd_characters(self) -> None:
        """Names with special characters are percent-encoded."""
        client = self.client(ONE)
        made = self.result(client.register("a b?", "1%2F#+ü", "::1", 80))
        self.assertEqual(made.id, "registration/a b?/1%2F#+ü/::1/80")
        self.assertEqual(self.result(client.registrations("a b?", "1%2F#+ü")), [made])
        self.assertIsNone(self.result(client.deregister(made.id)))
        self.assertEqual(self.result(client.registrations()), [])

    def test_a_node_at_an_address_of_ipv6(self) -> None:
        """An IPv6 address is the same with and without its brackets."""
        self.network.listenTCP(1729, site(self.node(ONE), self.network), interface="fd00::1")
        client = Client(self.network, ["[fd00::1]:1729"])
        self.assertEqual(self.result(client.status())["node"], "n1")

    def test_backends_and_frontends(self) -> None:
        """Backends and frontends can be set, read, listed and removed."""
        client = self.client(ONE)
        made = self.result(client.set_backend("shop", app="web", version="1", meta={"note": "x"}))
        self.assertEqual(
            (made.name, made.app, made.version, made.settings["meta"]), ("shop", "web", "1", {"note": "x"})
        )
        self.result(client.register(*WEB))
        self.assertEqual([member.id for member in self.result(client.members("shop"))], [WEB_ID])
        self.assertEqual(self.result(client.set_backend("shop", version="2", force=True)).version, "2")
        (listed,), alone = self.result(client.backends()), self.result(client.backend("shop"))
        self.assertEqual((listed.settings, listed.etag), (alone.settings, None))
        self.assertTrue(alone.etag)
        self.assertEqual(self.result(client.set_frontend("www", backend="shop")).backend, "shop")
        self.assertEqual(self.result(client.frontends())[0].settings, self.result(client.frontend("www")).settings)
        self.result(client.remove_frontend("www"))
        self.result(client.remove_backend("shop"))
        self.assertEqual((self.result(client.frontends()), self.result(client.backends())), ([], []))

    def test_deploys(self) -> None:
        """A backend can be set on conditions, has a history, and can be rolled back."""
        client = self.client(ONE)
        self.result(client.set_backend("shop", app="web", version="1"))
        seen = self.result(client.backend("shop"))
        self.assertEqual(self.failure(client.set_backend("shop", version="2", min_members=1), Refused).code, "CONFLICT")
        self.result(client.set_backend("shop", version="2", if_match=seen.etag))
        self.assertEqual(
            self.failure(client.set_backend("shop", version="3", if_match=seen.etag), Refused).code, "STALE"
        )
        self.assertEqual(self.result(client.roll_back_backend("shop")).version, "1")
        history = self.result(client.backend_history("shop"))
        self.assertEqual([each.settings and each.settings["version"] for each in history], ["1", "2", "1"])
        for backend in ("a", "b"):
            self.result(client.set_frontend("www", backend=backend))
        self.assertEqual(self.result(client.roll_back_frontend("www")).backend, "a")
        self.assertEqual(len(self.result(client.frontend_history("www"))), 3)

    def test_what_an_operator_says(self) -> None:
        """The state of an instance can be set, read and removed once."""
        client = self.client(ONE, TWO)
        self.result(client.register(*WEB))
        word = self.result(client.set_state(WEB_ID, "drain", for_s=60))
        self.assertEqual((word.id, word.state, word.lasts_s, word.left_s), (WEB_ID, "drain", 60.0, 60.0))
        self.assertEqual(self.result(client.state(WEB_ID)), word)
        self.assertEqual(self.result(client.registration(WEB_ID)).state, "drain")
        self.assertEqual(self.result(client.set_state(WEB_ID, "up")).lasts_s, 86_400.0)
        self.assertEqual([word.id for word in self.result(client.states())], [WEB_ID])
        self.result(client.take_back_state(WEB_ID))
        self.assertEqual(self.result(client.states()), [])
        self.failure(client.take_back_state(WEB_ID), NotFound)

    def test_consumers(self) -> None:
        """The consumers of all nodes are listed."""
        client = self.client(TWO)
        node = self.node(ONE)
        node.consumers.confirm("edge", Confirmation(node.journal.cursor, Report(("registration/web/1/h/1",))))
        (consumer,) = self.result(client.consumers())
        self.assertEqual((consumer.name, consumer.node, consumer.connected), ("edge", node.name, True))
        self.assertEqual(consumer.report, {"down": ["registration/web/1/h/1"]})

    def test_what_is_guarded(self) -> None:
        """Ending a guard without suspects is refused."""
        client = self.client(ONE, TWO)
        self.assertEqual(self.result(client.guarded()), [])
        error = self.failure(client.end_guard("a b"), NotFound)
        self.assertIn("no member of a b", str(error))

    def test_what_is_refused(self) -> None:
        """The error of a refused request has the message of the node, and no other node is asked."""
        client = self.client(ONE, TWO)
        error = self.failure(client.register("a/b", "1", "h", 1), Refused)
        self.assertEqual((error.status, error.code, error.node), (400, "INVALID", f"{ONE}:1729"))
        self.assertEqual(str(error)[:4], "app:")
        self.failure(client.registration(WEB_ID), NotFound)
        self.failure(client.deregister(WEB_ID), NotFound)
        self.failure(client.registrations(version="1"), ValueError)
        self.assertEqual(client.requests, 3)


class Nowhere(ClientCase):
    """Nodes that do not answer."""

    def test_one_that_refuses_connections(self) -> None:
        """If a node refuses the connection, the next node is asked, and stays the first one from then on."""
        client = self.client(ONE, TWO)
        self.machines[ONE].kill()
        self.result(client.register(*WEB))
        self.assertEqual((self.problems[0][0], client.nodes.last), (f"{ONE}:1729", f"{TWO}:1729"))
        self.result(client.renew(WEB_ID))
        self.assertEqual(client.requests, 3)

    def test_one_that_is_cut_off(self) -> None:
        """A node that is cut off has some seconds to answer."""
        self.network.cut = {ONE}
        client = self.client(ONE, TWO)
        self.assertEqual(self.result(client.register(*WEB), within_s=6).node, "n2")

    def test_one_that_does_not_speak_http(self) -> None:
        """The answer of a program without HTTP is not quoted, because it may be long and does not help."""
        self.network.listenTCP(1731, Stranger(b'{"event":"hello","cursor":"x-1"}\n'), interface=ONE)
        error = self.failure(Client(self.network, [f"{ONE}:1731"]).register(*WEB), Unavailable)
        self.assertEqual(str(error), "10.0.0.1:1731 does not answer (its answer is not HTTP)")

    def test_one_that_is_not_ready(self) -> None:
        """A node that is not ready counts as a node that does not answer."""
        self.machines[ONE].kill()
        self.machines[TWO].kill()
        self.start(ONE)
        client = self.client(ONE, THREE)
        self.assertEqual(self.result(client.register(*WEB)).node, "n3")
        self.assertIn("is not ready", self.problems[0][1])

    def test_one_that_is_full(self) -> None:
        """If a node has no room, another node is asked."""
        self.node(ONE).limits.change(Limits(registrations=0))
        client = self.client(ONE, TWO)
        self.assertEqual(self.result(client.register(*WEB)).node, "n2")
        self.assertEqual(self.problems, [(f"{ONE}:1729", "has reached a limit and takes no more (status 429)")])

    def test_one_that_uses_tls(self) -> None:
        """If a node uses TLS, another node is asked, which may not use TLS yet."""
        uses_tls = Page(426, b'{"code": "INVALID", "message": "this port uses TLS"}')
        self.network.listening[ONE, 1729] = Site(uses_tls, reactor=self.network)
        client = self.client(ONE, TWO)
        self.assertEqual(self.result(client.register(*WEB)).node, "n2")
        self.assertEqual(self.problems[0][0], f"{ONE}:1729")
        self.assertTrue(self.problems[0][1].startswith("uses TLS: give the CA"))

    def test_what_stands_before_one(self) -> None:
        """A refusal that is not from a node counts as no answer: another node is asked."""
        for body in (b"<html>no</html>", b'{"error": "no"}', b"[]"):
            self.network.listening[ONE, 1729] = Site(Page(403, body), reactor=self.network)
            client = self.client(ONE, TWO)
            self.result(client.register(*WEB))
            self.assertEqual(client.nodes.last, f"{TWO}:1729")
            self.assertEqual(
                self.problems.pop()[1],
                "answers with status 403, but not as a bender node does: it may be another program",
            )

    def test_nothing_is_learned_from_what_is_no_node(self) -> None:
        """No addresses are learned from a program that is not a node."""
        for body in (b"<html>welcome</html>", b"[]"):
            self.network.listening[ONE, 1729] = Site(Page(200, body), reactor=self.network)
            client = self.client(ONE)
            self.result(client.learn())
            self.assertEqual(client.nodes.in_turn(), [f"{ONE}:1729"])

    def test_all(self) -> None:
        """If all nodes fail, the error has each node with its reason."""
        for host in ALL:
            self.machines[host].kill()
        error = self.failure(self.client(ONE, TWO).status(), Unavailable)
        self.assertEqual([*error.problems], [f"{ONE}:1729", f"{TWO}:1729"])
        self.assertIn("does not answer (connection was refused by other side", str(error))

    def test_what_was_learned(self) -> None:
        """A client that was given one node finds all other nodes."""
        client = self.client(ONE)
        self.result(client.learn())
        self.assertEqual(client.nodes.in_turn(), [f"{host}:1729" for host in ALL])
        self.machines[ONE].kill()
        self.assertEqual(self.result(client.register(*WEB)).node, "n2")
        self.machines[TWO].kill()
        self.machines[THREE].kill()
        self.assertIsNone(self.result(client.learn()))

    def test_nothing_may_be_learned(self) -> None:
        """With `learns=False`, only the given nodes are asked."""
        client = self.client(ONE, learns=False)
        self.result(client.learn())
        self.assertEqual(client.nodes.in_turn(), [f"{ONE}:1729"])


class Strange(ClientCase):
    """JSON that no node sends."""

    def bodies(self) -> Iterator[bytes]:
        yield from (b"null", b"0", b'"x"', b"[[]]", b"[1]", b'{"x":1}', b'[{"id":1}]', b"NaN", b"\xff", b"[" * 5000)

    def questions(self, client: Client) -> Iterator[Coroutine[Any, Any, Any]]:
        yield from (client.register(*WEB), client.renew(WEB_ID), client.registration(WEB_ID), client.registrations())
        yield from (client.renew_all([WEB_ID]), client.deregister(WEB_ID), client.deregister(WEB_ID, wait_s=1))
        yield from (client.set_state(WEB_ID, "up"), client.state(WEB_ID), client.take_back_state(WEB_ID))
        yield from (client.guarded(), client.end_guard("web"), client.explain(WEB_ID), client.consumers())
        yield from (client.backends(), client.backend("x"), client.set_backend("x", app="a"), client.members("x"))
        yield from (client.backend_history("x"), client.remove_backend("x"), client.roll_back_backend("x"))
        yield from (client.frontends(), client.frontend("x"), client.set_frontend("x"), client.frontend_history("x"))
        yield from (client.remove_frontend("x"), client.roll_back_frontend("x"), client.status())

    def test_none_is_taken_for_an_answer(self) -> None:
        """Every method refuses an invalid answer, and the error has the reason."""
        for body in self.bodies():
            self.network.listening[ONE, 1729] = Site(Page(200, body), reactor=self.network)
            client = self.client(ONE, learns=False)
            for question in self.questions(client):
                error = self.failure(question, Unavailable)
                self.assertIn("sent an invalid answer (", str(error))
            self.result(client.close())

    def test_a_setting_without_anything_in_it(self) -> None:
        """An empty setting is not a removal, which is null."""
        for kind in ("backend", "frontend"):
            body = msgspec.json.encode([{"at": 1, "author": "a", kind: {}}])
            self.network.listening[ONE, 1729] = Site(Page(200, body), reactor=self.network)
            client = self.client(ONE)
            history = client.backend_history("x") if kind == "backend" else client.frontend_history("x")
            self.failure(history, Unavailable)

    def test_another_node_is_asked(self) -> None:
        """An invalid answer counts as no answer: another node is asked."""
        self.network.listening[ONE, 1729] = Site(Page(200, b"[{}]"), reactor=self.network)
        client = self.client(ONE, TWO)
        self.assertEqual(self.result(client.register(*WEB)).node, "n2")
        self.assertEqual(client.nodes.last, f"{TWO}:1729")

    def test_a_ttl_that_none_has(self) -> None:
        """A ttl outside the limits of nodes is invalid: renewals would come without a pause, or never."""
        made = self.result(self.client(ONE).register(*WEB))
        document = {**msgspec.to_builtins(made), "meta": {}}
        for ttl_s in (0, 0.1, -1, 3601, 1e300):
            body = msgspec.json.encode({**document, "ttl": ttl_s})
            self.network.listening[ONE, 1729] = Site(Page(200, body), reactor=self.network)
            self.failure(self.client(ONE).renew(WEB_ID), Unavailable)

    def test_nodes_that_are_none(self) -> None:
        """Invalid addresses are not learned, and the number of the others is limited."""
        peers = [{"node": "n", "state": "heard", "api": api} for api in ("a b", "x\x1b:1", "h:0", f"{TWO}:1729")]
        peers += [{"node": "n", "state": "heard", "api": f"h{number}:1"} for number in range(2 * NODES_MAX)]
        status = {**self.result(self.client(TWO).status()), "peers": peers}
        self.network.listening[ONE, 1729] = Site(Page(200, msgspec.json.encode(status)), reactor=self.network)
        client = self.client(ONE)
        self.result(client.learn())
        self.assertEqual(client.nodes.in_turn()[:3], [f"{ONE}:1729", f"{TWO}:1729", "h0:1"])
        self.assertEqual(len(client.nodes.in_turn()), 1 + NODES_MAX)


class Listed(ClientCase):
    def test_what_another_node_registered(self) -> None:
        """Every node returns the registrations of other nodes."""
        self.node(THREE).register(RegistrationRequest(*WEB))
        self.network.settle()
        self.assertEqual(self.result(self.client(ONE).registration(WEB_ID)).node, "n3")


class Authorities(ClientCase):
    """The authorities that signed the certificates of nodes."""

    def test_what_is_no_certificate_is_refused_at_once(self) -> None:
        """An invalid certificate is refused when the client is created, before any request."""
        broken = b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
        for pem, why in ((b"", "holds no certificate"), (b"nonsense", "no certificate"), (broken, "cannot be read")):
            error = self.assertRaises(ValueError, Client, self.network, ca=pem)
            self.assertIn(why, str(error))
