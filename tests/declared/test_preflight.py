"""Changes that a node would refuse are found before the first change."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bender.client import Registration, Word
from bender.declared.config_diff import Contents, change_set
from bender.declared.document import DeclaredState, Document
from bender.declared.preflight import foreseen_warnings, refusals, versions_concerned

SHOP = {"app": "web", "version": "1"}


def instance(version: str, host: int = 5, **fields: Any) -> Registration:
    terms = {"ttl_s": 10.0, "weight": 1, "meta": {}, "registered_ms": 0, "node": "n1", **fields}
    return Registration(f"registration/web/{version}/10.0.0.{host}/80", "web", version, f"10.0.0.{host}", 80, **terms)


class RehearsalCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.there = Contents({"shop": SHOP}, {"www": {"backend": "shop"}}, {}, 0)
        self.registered = [instance("1")]

    def refused(self, document: Document, *, prune: bool = False) -> list[str]:
        """Return the ids of the changes that would be refused, each with its reason."""
        changes = change_set(document, self.there, prune=prune).changes
        return [f"{each.change.id}: {each.reason}" for each in refusals(changes, self.there, self.registered)]

    def objects(self, document: Document, *ids: str, prune: bool = False) -> None:
        self.assertEqual([each.partition(":")[0] for each in self.refused(document, prune=prune)], [*ids])


class Refusing(RehearsalCase):
    def test_a_version_without_members(self) -> None:
        """A version without members is refused while another version serves, with the registry's numbers."""
        (reason,) = self.refused(Document({"shop": {**SHOP, "version": "2"}}))
        self.assertIn("backend/shop: backend/shop serves web 1 with 1 member; web 2 has no members", reason)
        self.registered.append(instance("2"))
        self.objects(Document({"shop": {**SHOP, "version": "2"}}))
        self.registered[-1] = instance("2", weight=0)
        self.objects(Document({"shop": {**SHOP, "version": "2"}}), "backend/shop")

    def test_an_empty_registry(self) -> None:
        """If nothing serves, nothing is refused: a file can be restored before its instances return."""
        self.there = Contents({}, {}, {}, 0)
        document = Document(
            {"shop": {**SHOP, "canary": {"version": "2", "percent": 10}}},
            {"www": {"backend": "shop"}},
            {"registration/web/1/10.0.0.5/80": DeclaredState("drain", 60.0)},
        )
        self.objects(document)
        self.registered = []
        self.objects(document)

    def test_a_frontend(self) -> None:
        """A serving frontend must not send to a backend without members; backends of the same file count."""
        self.objects(
            Document({"shop": SHOP, "new": {**SHOP, "version": "2"}}, {"www": {"backend": "new"}}), "frontend/www"
        )
        self.objects(Document({"shop": SHOP, "new": SHOP}, {"www": {"backend": "new"}}))
        self.objects(Document({}, {"www": {}}), "frontend/www")

    def test_a_backend_that_goes(self) -> None:
        """A backend can be removed together with the frontends that send to it."""
        self.objects(Document({}, {"www": {"backend": "shop"}}), "backend/shop", prune=True)
        self.objects(Document(), prune=True)
        self.objects(Document({"new": SHOP}, {"www": {"backend": "new"}}), prune=True)

    def test_the_last_member(self) -> None:
        """The last member cannot be drained, nor the second of two members."""
        five, six = (f"registration/web/1/10.0.0.{host}/80" for host in (5, 6))
        both = Document({}, {}, {five: DeclaredState("drain", 60.0), six: DeclaredState("maint", 60.0)})
        self.objects(Document({}, {}, {five: DeclaredState("drain", 60.0)}), "state/web/1/10.0.0.5/80")
        self.registered.append(instance("1", 6))
        self.objects(Document({}, {}, {five: DeclaredState("drain", 60.0)}))
        self.objects(both, "state/web/1/10.0.0.6/80")
        self.registered[0] = instance("1", 5, state="drain")
        self.objects(Document({}, {}, {six: DeclaredState("drain", 60.0)}), "state/web/1/10.0.0.6/80")

    def test_a_state_that_goes(self) -> None:
        """An instance that takes traffic again allows draining another one."""
        five, six = (f"registration/web/1/10.0.0.{host}/80" for host in (5, 6))
        self.there = evolve(self.there, states={five: Word(five, "drain", 60.0, 60.0, 0, "anna")})
        self.registered = [instance("1", 5, state="drain"), instance("1", 6)]
        document = Document({"shop": SHOP}, {"www": {"backend": "shop"}}, {six: DeclaredState("drain", 60.0)})
        self.objects(document, "state/web/1/10.0.0.6/80")
        self.objects(document, prune=True)

    def test_a_deploy_with_a_drain(self) -> None:
        """The last member of the old version can be drained after the new version serves."""
        self.registered.append(instance("2"))
        old = "registration/web/1/10.0.0.5/80"
        self.objects(Document({"shop": {**SHOP, "version": "2"}}, {}, {old: DeclaredState("drain", 60.0)}))


class Concerned(RehearsalCase):
    def test_versions(self) -> None:
        """The versions are those of changed backends, of backends that frontends name, and of instances."""
        self.there = Contents(
            {"shop": SHOP, "api": {"app": "api", "version": "7"}, "other": {"app": "other", "version": "1"}},
            {"www": {"backend": "api"}},
            {},
            0,
        )
        canary = {"version": "3", "percent": 1}
        document = Document(
            {"shop": {**SHOP, "version": "2", "canary": canary}},
            {"www": {"backend": "shop"}},
            {"registration/db/1/h/1": DeclaredState("up")},
        )
        changes = change_set(document, self.there, prune=False).changes
        self.assertEqual(
            versions_concerned(changes, self.there),
            {("web", "1"), ("web", "2"), ("web", "3"), ("api", "7"), ("db", "1")},
        )

    def test_members_beside_one_with_a_state(self) -> None:
        """The members of the other version of a backend decide whether an instance is its last member."""
        canary = {"shop": {**SHOP, "canary": {"version": "2", "percent": 10}}}
        self.there = Contents(canary, {"www": {"backend": "shop"}}, {}, 0)
        document = Document({}, {}, {"registration/web/1/10.0.0.5/80": DeclaredState("drain", 60.0)})
        changes = change_set(document, self.there, prune=False).changes
        self.assertEqual(versions_concerned(changes, self.there), {("web", "1"), ("web", "2")})


class Warned(RehearsalCase):
    """Allowed changes cause the warnings of a node before anything is changed."""

    def warned(self, document: Document, *, prune: bool = False) -> list[str]:
        changes = change_set(document, self.there, prune=prune).changes
        return foreseen_warnings(changes, self.there, self.registered)

    def test_a_backend_without_members(self) -> None:
        """A warning about a backend and its frontend is returned once."""
        self.there = Contents({}, {}, {}, 0)
        lacking = ["backend shop has no members: requests get 503 until there are"]
        document = Document({"shop": {**SHOP, "version": "2"}}, {"www": {"backend": "shop"}})
        self.assertEqual(self.warned(document), lacking)
        self.assertEqual(self.warned(Document({"shop": {**SHOP, "version": "2"}})), lacking)
        self.registered.append(instance("2"))
        self.assertEqual(self.warned(document), [])

    def test_what_a_removal_leaves_behind(self) -> None:
        """A frontend that sends to a removed backend causes a warning."""
        broken = ["frontend www sends to backend shop: requests get 503"]
        self.assertEqual(self.warned(Document({}, {"www": {"backend": "shop"}}), prune=True), broken)
        self.assertEqual(self.warned(Document(), prune=True), [])

    def test_states_have_no_warnings(self) -> None:
        state = DeclaredState("drain", 60.0)
        self.assertEqual(self.warned(Document({}, {}, {"registration/web/1/10.0.0.5/80": state})), [])
