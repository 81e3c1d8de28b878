"""Applying a document to nodes in memory, while other clients also make changes."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from bender.client import Client, Reply, Unavailable
from bender.core.admin_state import Override
from bender.declared.apply import Applier, Interrupted, find_too_large
from bender.declared.config_diff import ChangeSet, change_set, export_document
from bender.declared.document import DeclaredState, Document
from bender.node.limits import Limits
from tests.client.cluster import ALL, ONE, TWO, ClientCase, Page

ID = "registration/web/1/10.9.9.9/80"
DOCUMENT = Document(
    {"shop": {"app": "web", "version": "1", "meta": {"a": None}}, "api": {"app": "api", "version": "1"}},
    {"www": {"backend": "shop", "rules": [{"path": "/api", "backend": "api"}]}},
    {ID: DeclaredState("drain", 3600.0)},
)


class ApplicationCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.asking = self.client(*ALL)
        self.applier = self.applies(self.asking)

    def applies(self, client: Client) -> Applier:
        network = self.network
        return Applier(client, lambda: int(network.seconds() * 1000), network.seconds, partial(deferLater, network))

    def compared(self, document: Document, *, prune: bool = False) -> ChangeSet:
        """Return the changes, with their tags."""
        there = self.result(self.applier.read_contents())
        return self.result(self.applier.with_tags(change_set(document, there, prune=prune)))

    def apply(self, document: Document, *, prune: bool = False) -> list[str]:
        """Apply a document, and return the ids of the changed objects."""
        changes = self.compared(document, prune=prune).changes
        self.result(self.applier.make_changes(changes, force=False))
        return [change.id for change in changes]

    def interrupted(self, changes: ChangeSet) -> Interrupted:
        return self.failure(self.applier.make_changes(changes.changes, force=False), Interrupted)


class Applying(ApplicationCase):
    def test_an_empty_registry(self) -> None:
        """In an empty registry, all declared objects and states are set; applying the file again changes nothing."""
        self.assertEqual(
            self.apply(DOCUMENT), ["state/web/1/10.9.9.9/80", "backend/api", "backend/shop", "frontend/www"]
        )
        found, _ = export_document(self.result(self.applier.read_contents()))
        self.assertEqual((found.backends, found.frontends), (DOCUMENT.backends, DOCUMENT.frontends))
        self.assertEqual(self.result(self.asking.register("web", "1", "10.9.9.9", 80)).state, "drain")
        self.assertEqual(self.apply(DOCUMENT), [])

    def test_all_nodes_are_stopped(self) -> None:
        """Applying an exported file restores the registry."""
        self.apply(DOCUMENT)
        document, _ = export_document(self.result(self.applier.read_contents()))
        for host in ALL:
            self.machines[host].kill()
        for host in ALL:
            self.start(host)
        self.network.pass_time(20)
        self.assertEqual(self.result(self.asking.backends()), [])
        self.apply(document)
        again, _ = export_document(self.result(self.applier.read_contents()))
        self.assertEqual((again.backends, again.frontends), (document.backends, document.frontends))
        (until, before) = (each.states[ID].until_ms for each in (again, document))
        assert until is not None
        assert before is not None
        self.assertLess(abs(until - before), 2000)

    def test_fields_are_taken_back(self) -> None:
        """Fields that the file does not have are removed from an object."""
        self.apply(DOCUMENT)
        self.apply(Document({"shop": {"app": "web", "version": "2"}}))
        self.assertNotIn("a", self.result(self.asking.backend("shop")).settings.get("meta") or {})
        self.assertEqual(self.result(self.asking.backend("shop")).version, "2")

    def test_prune(self) -> None:
        """With `prune`, undeclared objects and states are removed."""
        self.apply(DOCUMENT)
        self.assertEqual(
            self.apply(Document({"api": {"app": "api", "version": "1"}}), prune=True),
            ["state/web/1/10.9.9.9/80", "frontend/www", "backend/shop"],
        )
        there = self.result(self.applier.read_contents())
        self.assertEqual(({*there.backends}, {*there.frontends}, {*there.states}), ({"api"}, set(), set()))

    def test_a_node_of_an_earlier_release(self) -> None:
        """A node that lists no states is noted, and all other objects are applied."""
        page = Resource()
        for kind in ("backends", "frontends"):
            page.putChild(kind.encode(), Data(b"[]", "application/json"))
        page.putChild(b"states", Page(404, b'{"code": "NOT_FOUND", "message": "the API has no such path"}'))
        self.network.listenTCP(1729, Site(page), interface="10.0.0.9")
        found = self.result(self.applies(self.client("10.0.0.9")).read_contents())
        self.assertEqual((found.backends, found.frontends, found.states), ({}, {}, {}))
        self.assertIn(
            "10.0.0.9:1729 runs an earlier release, which does not list the states of instances", found.notes[0]
        )

    def test_names(self) -> None:
        """Names with special characters are percent-encoded."""
        names = ["a b?", "ü%2F#", "::1", "%"]
        declared = {name: {"app": name, "version": "1"} for name in names}
        self.apply(Document(declared))
        self.apply(Document({name: {**fields, "version": "2"} for name, fields in declared.items()}))
        self.assertEqual(
            {each.name: each.version for each in self.result(self.asking.backends())}, dict.fromkeys(names, "2")
        )


class Sizes(ApplicationCase):
    def test_an_object_that_the_node_does_not_accept(self) -> None:
        """A too large object is reported before anything is changed, by the limit of the answering node."""
        large = {"app": "web", "version": "1", "meta": {"text": "x" * 5000}}
        document = Document({"a": {"app": "web", "version": "1"}, "b": large}, {}, {})
        (problem,) = self.result(find_too_large(self.asking, self.compared(document).changes))
        self.assertEqual(problem.change.id, "backend/b")
        self.assertIn("a backend must not be larger than 4096 bytes of JSON (--max-entry of the node)", problem.reason)
        for host in ALL:
            self.node(host).limits.change(Limits(entry_bytes=12 * 1024))
        self.assertEqual(self.result(find_too_large(self.asking, self.compared(document).changes)), [])


class Meanwhile(ApplicationCase):
    """Another client changes an object at the same time."""

    def test_changed(self) -> None:
        """A changed object keeps its change, and later changes are not made until the file is applied again."""
        self.apply(DOCUMENT)
        wanted = Document(
            {"api": {"app": "api", "version": "2"}, "shop": {"app": "web", "version": "2"}}, {"www": {"backend": "api"}}
        )
        changes = self.compared(wanted)
        self.result(self.asking.set_backend("shop", version="3"))
        error = self.interrupted(changes)
        self.assertEqual([change.id for change in error.made], ["backend/api"])
        self.assertEqual([change.id for change in error.remaining], ["backend/shop", "frontend/www"])
        self.assertIn("backend/shop: another client has changed", str(error))
        self.assertEqual(self.result(self.asking.backend("shop")).version, "3")
        self.assertEqual(self.result(self.asking.frontend("www")).backend, "shop")
        self.assertEqual(self.apply(wanted), ["backend/shop", "frontend/www"])

    def test_created(self) -> None:
        """An object that exists by now is not overwritten, unless it is the same."""
        changes = self.compared(DOCUMENT)
        self.result(self.asking.set_backend("api", app="api", version="1"))
        self.result(self.asking.set_backend("shop", app="web", version="9"))
        error = self.interrupted(changes)
        self.assertEqual([change.id for change in error.remaining], ["backend/shop", "frontend/www"])
        self.assertEqual(self.result(self.asking.backend("shop")).version, "9")

    def test_removed(self) -> None:
        """A removed object is not created again; removing a removed object succeeds."""
        self.apply(DOCUMENT)
        changes = self.compared(Document({"shop": {"app": "web", "version": "2"}}), prune=True)
        for name in ("shop", "api"):
            self.result(self.asking.set_frontend("www", backend=None, rules=None))
            self.result(self.asking.remove_backend(name))
        error = self.interrupted(changes)
        self.assertEqual(error.remaining[0].id, "backend/shop")
        changes = self.compared(Document(), prune=True)
        self.result(self.asking.remove_frontend("www"))
        self.result(self.applier.make_changes(changes.changes, force=False))

    def test_a_state(self) -> None:
        """A state that was set or removed since the comparison is not changed."""
        changes = self.compared(Document({}, {}, {ID: DeclaredState("maint", 60.0)}))
        self.node(ONE).set_state(ID, Override("drain", 600.0), "anna")
        self.network.pass_time(2)
        self.assertIn("state/web/1/10.9.9.9/80: another client", str(self.interrupted(changes)))
        self.assertEqual(self.result(self.asking.state(ID)).state, "drain")
        changes = self.compared(Document({}, {}, {ID: DeclaredState("maint", 60.0)}))
        self.result(self.asking.take_back_state(ID))
        self.interrupted(changes)
        self.assertEqual(self.apply(Document({}, {}, {ID: DeclaredState("maint", 60.0)})), ["state/web/1/10.9.9.9/80"])

    def test_an_answer_is_lost(self) -> None:
        """If an answer is lost, the next node has the change already, which is not a conflict."""
        self.apply(DOCUMENT)
        changes = self.compared(Document({"api": {"app": "api", "version": "2"}, "new": {"app": "n", "version": "1"}}))
        for name, fields in (("api", {"version": "2"}), ("new", {"app": "n", "version": "1"})):
            settings: dict[str, Any] = fields
            self.result(self.asking.set_backend(name, **settings))
        self.result(self.applier.make_changes(changes.changes, force=False))

    def test_no_node_answers(self) -> None:
        """If no node answers, the error has the changes that were made before."""
        changes = self.compared(DOCUMENT)
        for host in ALL:
            self.machines[host].kill()
        error = self.failure(self.applier.make_changes(changes.changes, force=False), Interrupted, within_s=60)
        self.assertEqual((error.made, len(error.remaining)), ((), 4))

    def test_all_nodes_stop_meanwhile(self) -> None:
        """If all nodes stop, the error has the changes that were made before, although the last change is uncertain."""
        self.apply(DOCUMENT)
        changes = self.compared(
            Document(
                {"shop": {"app": "web", "version": "2"}, "api": {"app": "api", "version": "2"}},
                {"www": {"backend": "shop"}},
                {ID: DeclaredState("drain", 3600.0)},
            )
        )
        self.result(self.asking.set_backend("shop", version="3"))
        refused = self.asking.http.ask

        async def once(node: str, method: str, *more: Any) -> Reply:
            reply = await refused(node, method, *more)
            if reply.status == 412:
                for host in ALL:
                    self.machines[host].kill()
            return reply

        self.patch(self.asking.http, "ask", once)
        error = self.failure(self.applier.make_changes(changes.changes, force=False), Interrupted, within_s=60)
        self.assertEqual([change.id for change in error.made], ["backend/api"])
        self.assertIn("backend/shop: another client has changed", str(error))


class Readiness(ApplicationCase):
    def test_nodes_that_were_just_started(self) -> None:
        """Nothing is changed before reachable nodes are ready; nodes that do not answer do not matter."""
        for host in ALL:
            self.machines[host].kill()
        for host in (ONE, TWO):
            self.start(host)
        begun = self.network.seconds()
        self.failure(self.applies(self.client(ONE)).read_contents(), Unavailable)
        whys: list[str] = []
        self.result(self.applier.wait_until_ready(30, whys.append), within_s=30)
        self.assertEqual(whys, ["a node is not ready yet"])
        self.assertTrue(all(self.node(host).ready for host in (ONE, TWO)))
        self.assertLess(self.network.seconds() - begun, 31)
        self.result(self.applier.read_contents())
        self.result(self.applier.wait_until_ready(30, whys.append))
        self.assertEqual(len(whys), 1)

    def test_it_does_not_wait_for_ever(self) -> None:
        """After the time limit, applying continues, and the next request raises the error."""
        for host in ALL:
            self.machines[host].kill()
        whys: list[str] = []
        self.result(self.applier.wait_until_ready(5, whys.append), within_s=20)
        self.assertEqual(whys, ["no node answers yet"])
        self.failure(self.applier.read_contents(), Unavailable, within_s=60)

    def test_a_state_from_a_file_ends_in_time(self) -> None:
        """A state from a file lasts for its declared time from the moment at which it is set."""
        end_ms = int(self.network.seconds() * 1000) + 60_000
        self.apply(Document({}, {}, {ID: DeclaredState("maint", None, end_ms)}))
        found = self.node(ONE).override(ID)
        assert found is not None
        self.assertAlmostEqual(found[1], 60, delta=1)
        self.node(ONE).set_state(ID, Override("drain", 5.0), "anna")
        self.assertEqual(self.compared(Document({}, {}, {ID: DeclaredState("drain", 5.0)})).changes, ())
