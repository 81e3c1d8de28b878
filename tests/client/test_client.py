"""Asking nodes, of which some are away."""

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
        """They are hosts, with or without a port or a scheme."""
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
        """What is wrong is named."""
        for text in ("", " , ", "a:b", "a:99999", "ftp://a", "http://a/b", "http://u@a", "a b", "a:0x1"):
            error = self.assertRaises(ValueError, parse_nodes, text)
            self.assertIn("node", str(error), text)


class Turns(SynchronousTestCase):
    def setUp(self) -> None:
        self.nodes = NodeList("abc", lambda _: None)

    def test_the_one_that_answered_last_comes_first(self) -> None:
        """Then those that follow it."""
        self.assertEqual(self.nodes.in_turn(), ["a", "b", "c"])
        self.nodes.note_answer("b")
        self.assertEqual((self.nodes.in_turn(), self.nodes.last), (["b", "c", "a"], "b"))

    def test_what_was_learned_comes_last(self) -> None:
        """And is forgotten when something else is learned."""
        self.nodes.learn(["d", "a", "e"])
        self.assertEqual(self.nodes.in_turn(), ["a", "b", "c", "d", "e"])
        self.nodes.learn(["e"])
        self.assertEqual(self.nodes.in_turn(), ["a", "b", "c", "e"])

    def test_there_is_one_at_least(self) -> None:
        """None is a mistake of the caller's."""
        self.assertRaises(ValueError, NodeList, [], lambda _: None)


class Calls(ClientCase):
    def test_registrations(self) -> None:
        """All that can be done with them."""
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
        """Everything is encoded that needs it."""
        client = self.client(ONE)
        made = self.result(client.register("a b?", "1%2F#+ü", "::1", 80))
        self.assertEqual(made.id, "registration/a b?/1%2F#+ü/::1/80")
        self.assertEqual(self.result(client.registrations("a b?", "1%2F#+ü")), [made])
        self.assertIsNone(self.result(client.deregister(made.id)))
        self.assertEqual(self.result(client.registrations()), [])

    def test_a_node_at_an_address_of_ipv6(self) -> None:
        """Its brackets are a matter of writing it down."""
        self.network.listenTCP(1729, site(self.node(ONE), self.network), interface="fd00::1")
        client = Client(self.network, ["[fd00::1]:1729"])
        self.assertEqual(self.result(client.status())["node"], "n1")

    def test_backends_and_frontends(self) -> None:
        """All that can be done with them."""
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
        """Under conditions, with a history, and back."""
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
        """It is said, read and taken back, once."""
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
        """Those of all nodes."""
        client = self.client(TWO)
        node = self.node(ONE)
        node.consumers.confirm("edge", Confirmation(node.journal.cursor, Report(("registration/web/1/h/1",))))
        (consumer,) = self.result(client.consumers())
        self.assertEqual((consumer.name, consumer.node, consumer.connected), ("edge", node.name, True))
        self.assertEqual(consumer.report, {"down": ["registration/web/1/h/1"]})

    def test_what_is_guarded(self) -> None:
        """Where there is nothing, an end of it is refused."""
        client = self.client(ONE, TWO)
        self.assertEqual(self.result(client.guarded()), [])
        error = self.failure(client.end_guard("a b"), NotFound)
        self.assertIn("no member of a b", str(error))

    def test_what_is_refused(self) -> None:
        """The error says what a node said, and nobody else is asked."""
        client = self.client(ONE, TWO)
        error = self.failure(client.register("a/b", "1", "h", 1), Refused)
        self.assertEqual((error.status, error.code, error.node), (400, "INVALID", f"{ONE}:1729"))
        self.assertEqual(str(error)[:4], "app:")
        self.failure(client.registration(WEB_ID), NotFound)
        self.failure(client.deregister(WEB_ID), NotFound)
        self.failure(client.registrations(version="1"), ValueError)
        self.assertEqual(client.requests, 3)


class Nowhere(ClientCase):
    """Nodes that are away."""

    def test_one_that_refuses_connections(self) -> None:
        """The next one is asked, and stays the one that is."""
        client = self.client(ONE, TWO)
        self.machines[ONE].kill()
        self.result(client.register(*WEB))
        self.assertEqual((self.problems[0][0], client.nodes.last), (f"{ONE}:1729", f"{TWO}:1729"))
        self.result(client.renew(WEB_ID))
        self.assertEqual(client.requests, 3)

    def test_one_that_is_cut_off(self) -> None:
        """It is given some seconds."""
        self.network.cut = {ONE}
        client = self.client(ONE, TWO)
        self.assertEqual(self.result(client.register(*WEB), within_s=6).node, "n2")

    def test_one_that_does_not_speak_http(self) -> None:
        """It is not quoted: that may be long, and is of no use to anybody."""
        self.network.listenTCP(1731, Stranger(b'{"event":"hello","cursor":"x-1"}\n'), interface=ONE)
        error = self.failure(Client(self.network, [f"{ONE}:1731"]).register(*WEB), Unavailable)
        self.assertEqual(str(error), "10.0.0.1:1731 does not answer (its answer is not HTTP)")

    def test_one_that_is_not_ready(self) -> None:
        """It answers, but not for the cluster."""
        self.machines[ONE].kill()
        self.machines[TWO].kill()
        self.start(ONE)
        client = self.client(ONE, THREE)
        self.assertEqual(self.result(client.register(*WEB)).node, "n3")
        self.assertIn("is not ready", self.problems[0][1])

    def test_one_that_is_full(self) -> None:
        """What it has no room for, another one may take."""
        self.node(ONE).limits.change(Limits(registrations=0))
        client = self.client(ONE, TWO)
        self.assertEqual(self.result(client.register(*WEB)).node, "n2")
        self.assertEqual(self.problems, [(f"{ONE}:1729", "has reached a limit and takes no more (status 429)")])

    def test_one_that_uses_tls(self) -> None:
        """Another one may not yet, while a cluster is moved to TLS."""
        uses_tls = Page(426, b'{"code": "INVALID", "message": "this port uses TLS"}')
        self.network.listening[ONE, 1729] = Site(uses_tls, reactor=self.network)
        client = self.client(ONE, TWO)
        self.assertEqual(self.result(client.register(*WEB)).node, "n2")
        self.assertEqual(self.problems[0][0], f"{ONE}:1729")
        self.assertTrue(self.problems[0][1].startswith("uses TLS: give the CA"))

    def test_what_stands_before_one(self) -> None:
        """What it refuses in words of its own no node has refused: another one is asked."""
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
        """Whatever it says of itself."""
        for body in (b"<html>welcome</html>", b"[]"):
            self.network.listening[ONE, 1729] = Site(Page(200, body), reactor=self.network)
            client = self.client(ONE)
            self.result(client.learn())
            self.assertEqual(client.nodes.in_turn(), [f"{ONE}:1729"])

    def test_all(self) -> None:
        """Each is named with the reason."""
        for host in ALL:
            self.machines[host].kill()
        error = self.failure(self.client(ONE, TWO).status(), Unavailable)
        self.assertEqual([*error.problems], [f"{ONE}:1729", f"{TWO}:1729"])
        self.assertIn("does not answer (connection was refused by other side", str(error))

    def test_what_was_learned(self) -> None:
        """One node knows of all."""
        client = self.client(ONE)
        self.result(client.learn())
        self.assertEqual(client.nodes.in_turn(), [f"{host}:1729" for host in ALL])
        self.machines[ONE].kill()
        self.assertEqual(self.result(client.register(*WEB)).node, "n2")
        self.machines[TWO].kill()
        self.machines[THREE].kill()
        self.assertIsNone(self.result(client.learn()))

    def test_nothing_may_be_learned(self) -> None:
        """Who says so asks the nodes that he named."""
        client = self.client(ONE, learns=False)
        self.result(client.learn())
        self.assertEqual(client.nodes.in_turn(), [f"{ONE}:1729"])


class Strange(ClientCase):
    """What no node answers, though it may be JSON."""

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
        """By whichever method, and what is wrong is said."""
        for body in self.bodies():
            self.network.listening[ONE, 1729] = Site(Page(200, body), reactor=self.network)
            client = self.client(ONE, learns=False)
            for question in self.questions(client):
                error = self.failure(question, Unavailable)
                self.assertIn("sent an invalid answer (", str(error))
            self.result(client.close())

    def test_a_setting_without_anything_in_it(self) -> None:
        """It is not what was removed, which is null."""
        for kind in ("backend", "frontend"):
            body = msgspec.json.encode([{"at": 1, "author": "a", kind: {}}])
            self.network.listening[ONE, 1729] = Site(Page(200, body), reactor=self.network)
            client = self.client(ONE)
            history = client.backend_history("x") if kind == "backend" else client.frontend_history("x")
            self.failure(history, Unavailable)

    def test_another_node_is_asked(self) -> None:
        """As if there had been no answer."""
        self.network.listening[ONE, 1729] = Site(Page(200, b"[{}]"), reactor=self.network)
        client = self.client(ONE, TWO)
        self.assertEqual(self.result(client.register(*WEB)).node, "n2")
        self.assertEqual(client.nodes.last, f"{TWO}:1729")

    def test_a_ttl_that_none_has(self) -> None:
        """Renewals would come without a pause, or never."""
        made = self.result(self.client(ONE).register(*WEB))
        document = {**msgspec.to_builtins(made), "meta": {}}
        for ttl_s in (0, 0.1, -1, 3601, 1e300):
            body = msgspec.json.encode({**document, "ttl": ttl_s})
            self.network.listening[ONE, 1729] = Site(Page(200, body), reactor=self.network)
            self.failure(self.client(ONE).renew(WEB_ID), Unavailable)

    def test_nodes_that_are_none(self) -> None:
        """What cannot be an address is not learned, and of the others not more than can be."""
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
        """It does not matter which is asked."""
        self.node(THREE).register(RegistrationRequest(*WEB))
        self.network.settle()
        self.assertEqual(self.result(self.client(ONE).registration(WEB_ID)).node, "n3")


class Authorities(ClientCase):
    """Who has signed the certificates of nodes."""

    def test_what_is_no_certificate_is_refused_at_once(self) -> None:
        """And not when the first node is asked."""
        broken = b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
        for pem, why in ((b"", "holds no certificate"), (b"nonsense", "no certificate"), (broken, "cannot be read")):
            error = self.assertRaises(ValueError, Client, self.network, ca=pem)
            self.assertIn(why, str(error))
