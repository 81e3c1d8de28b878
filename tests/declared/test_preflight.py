"""What a node would refuse of changes is found before the first of them."""

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
        """Return the ids of the changes that would be refused, each with why."""
        changes = change_set(document, self.there, prune=prune).changes
        return [f"{each.change.id}: {each.reason}" for each in refusals(changes, self.there, self.registered)]

    def objects(self, document: Document, *ids: str, prune: bool = False) -> None:
        self.assertEqual([each.partition(":")[0] for each in self.refused(document, prune=prune)], [*ids])


class Refusing(RehearsalCase):
    def test_a_version_without_members(self) -> None:
        """While another one serves, and with the figures that the registry would give."""
        (reason,) = self.refused(Document({"shop": {**SHOP, "version": "2"}}))
        self.assertIn("backend/shop: backend/shop serves web 1 with 1 member; web 2 has no members", reason)
        self.registered.append(instance("2"))
        self.objects(Document({"shop": {**SHOP, "version": "2"}}))
        self.registered[-1] = instance("2", weight=0)
        self.objects(Document({"shop": {**SHOP, "version": "2"}}), "backend/shop")

    def test_an_empty_registry(self) -> None:
        """Where nothing serves there is nothing to lose: a file is restored before its instances are back."""
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
        """One that serves, and would send to where nobody is; a backend of the same file counts."""
        self.objects(
            Document({"shop": SHOP, "new": {**SHOP, "version": "2"}}, {"www": {"backend": "new"}}), "frontend/www"
        )
        self.objects(Document({"shop": SHOP, "new": SHOP}, {"www": {"backend": "new"}}))
        self.objects(Document({}, {"www": {}}), "frontend/www")

    def test_a_backend_that_goes(self) -> None:
        """With the frontends that send to it, it may."""
        self.objects(Document({}, {"www": {"backend": "shop"}}), "backend/shop", prune=True)
        self.objects(Document(), prune=True)
        self.objects(Document({"new": SHOP}, {"www": {"backend": "new"}}), prune=True)

    def test_the_last_member(self) -> None:
        """It is not drained; of two that are, the second would be the last."""
        five, six = (f"registration/web/1/10.0.0.{host}/80" for host in (5, 6))
        both = Document({}, {}, {five: DeclaredState("drain", 60.0), six: DeclaredState("maint", 60.0)})
        self.objects(Document({}, {}, {five: DeclaredState("drain", 60.0)}), "state/web/1/10.0.0.5/80")
        self.registered.append(instance("1", 6))
        self.objects(Document({}, {}, {five: DeclaredState("drain", 60.0)}))
        self.objects(both, "state/web/1/10.0.0.6/80")
        self.registered[0] = instance("1", 5, state="drain")
        self.objects(Document({}, {}, {six: DeclaredState("drain", 60.0)}), "state/web/1/10.0.0.6/80")

    def test_a_state_that_goes(self) -> None:
        """The instance takes traffic again, so another one may be drained."""
        five, six = (f"registration/web/1/10.0.0.{host}/80" for host in (5, 6))
        self.there = evolve(self.there, states={five: Word(five, "drain", 60.0, 60.0, 0, "anna")})
        self.registered = [instance("1", 5, state="drain"), instance("1", 6)]
        document = Document({"shop": SHOP}, {"www": {"backend": "shop"}}, {six: DeclaredState("drain", 60.0)})
        self.objects(document, "state/web/1/10.0.0.6/80")
        self.objects(document, prune=True)

    def test_a_deploy_with_a_drain(self) -> None:
        """The new version serves by the time at which the last member of the old one is drained."""
        self.registered.append(instance("2"))
        old = "registration/web/1/10.0.0.5/80"
        self.objects(Document({"shop": {**SHOP, "version": "2"}}, {}, {old: DeclaredState("drain", 60.0)}))


class Concerned(RehearsalCase):
    def test_versions(self) -> None:
        """Those of backends before and after, of backends that frontends name, and of instances."""
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
        """Whether it is the last one depends on the members of the other version of its backend, too."""
        canary = {"shop": {**SHOP, "canary": {"version": "2", "percent": 10}}}
        self.there = Contents(canary, {"www": {"backend": "shop"}}, {}, 0)
        document = Document({}, {}, {"registration/web/1/10.0.0.5/80": DeclaredState("drain", 60.0)})
        changes = change_set(document, self.there, prune=False).changes
        self.assertEqual(versions_concerned(changes, self.there), {("web", "1"), ("web", "2")})


class Warned(RehearsalCase):
    """Of what is allowed, in the words of the registry, before anything is changed."""

    def warned(self, document: Document, *, prune: bool = False) -> list[str]:
        changes = change_set(document, self.there, prune=prune).changes
        return foreseen_warnings(changes, self.there, self.registered)

    def test_a_backend_without_members(self) -> None:
        """Also the frontend that sends to it would be warned of, in the same sentence, which is said once."""
        self.there = Contents({}, {}, {}, 0)
        lacking = ["backend shop has no members: requests get 503 until there are"]
        document = Document({"shop": {**SHOP, "version": "2"}}, {"www": {"backend": "shop"}})
        self.assertEqual(self.warned(document), lacking)
        self.assertEqual(self.warned(Document({"shop": {**SHOP, "version": "2"}})), lacking)
        self.registered.append(instance("2"))
        self.assertEqual(self.warned(document), [])

    def test_what_a_removal_leaves_behind(self) -> None:
        """A frontend that stays, and sends to a backend that goes."""
        broken = ["frontend www sends to backend shop: requests get 503"]
        self.assertEqual(self.warned(Document({}, {"www": {"backend": "shop"}}), prune=True), broken)
        self.assertEqual(self.warned(Document(), prune=True), [])

    def test_states_have_no_warnings(self) -> None:
        state = DeclaredState("drain", 60.0)
        self.assertEqual(self.warned(Document({}, {}, {"registration/web/1/10.0.0.5/80": state})), [])
