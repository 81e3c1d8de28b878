"""The state that a driver keeps from the events of bender."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.registry import KEEP_S, Registry, kept_ids
from tests.haproxy.events import backend, frontend, offline, online


class RegistryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = Registry()
        self.registry.receive(backend("shop"), 0)
        self.registry.receive(online(1), 0)

    def ports(self, version: str = "1") -> list[int]:
        return [instance.port for instance in self.registry.registrations("web", version)]


class Instances(RegistryCase):
    def test_one_that_comes_and_goes(self) -> None:
        """Each change of an instance returns the backends that it affects."""
        self.assertEqual(self.registry.receive(online(2), 0), {"shop"})
        self.assertEqual(self.ports(), [1, 2])
        self.assertEqual(self.registry.receive(offline(1, "deregistered"), 1), {"shop"})
        self.assertEqual(self.registry.receive(offline(2, "expired"), 1), {"shop"})
        self.assertEqual(self.ports(), [])
        self.registry.receive(online(1), 2)
        self.assertEqual(self.registry.receive(offline(1, "check-failed"), 3), {"shop"})
        self.assertEqual(self.ports(), [])

    def test_one_that_is_not_heard_of_is_kept(self) -> None:
        """A hidden or missed instance is kept for a minute."""
        for reason in ("node-lost", "missed"):
            self.registry.receive(online(2), 0)
            self.assertEqual(self.registry.receive(offline(2, reason), 10), frozenset())
            self.assertEqual((self.ports(), [*kept_ids(self.registry)]), ([1, 2], ["registration/web/1/10.0.0.1/2"]))
            self.assertEqual(self.registry.due_at(), 10 + KEEP_S)
            self.assertEqual(self.registry.lapse(9.9 + KEEP_S), frozenset())
            self.assertEqual(self.registry.lapse(10 + KEEP_S), {"shop"})
            self.assertEqual((self.ports(), self.registry.due_at()), ([1], None))

    def test_one_that_is_not_heard_of_and_then_gone(self) -> None:
        """A hidden instance is removed at once when its end is reported."""
        self.registry.receive(offline(1, "node-lost"), 10)
        self.assertEqual(self.registry.receive(offline(1, "expired"), 11), {"shop"})
        self.assertEqual((self.ports(), self.registry.due_at()), ([], None))

    def test_one_that_is_heard_of_again(self) -> None:
        """A hidden instance that is online again stays."""
        self.registry.receive(offline(1, "node-lost"), 10)
        self.registry.receive(online(1), 20)
        self.assertEqual((self.registry.due_at(), self.ports()), (None, [1]))

    def test_without_any_node_no_time_counts(self) -> None:
        """The minute begins again when a node is followed again, because none could report the instance meanwhile."""
        self.registry.receive(offline(1, "node-lost"), 10)
        self.registry.restart_keep_times(500)
        self.assertEqual(self.registry.due_at(), 500 + KEEP_S)

    def test_what_goes_twice_or_was_never_there(self) -> None:
        """An end of an instance that is not known changes nothing."""
        self.registry.receive(offline(9, "expired"), 0)
        self.registry.receive(offline(9, "missed"), 0)
        self.assertEqual((self.ports(), self.registry.due_at()), ([1], None))


class Configuration(RegistryCase):
    def test_a_backend_is_switched(self) -> None:
        """After a backend is switched, only instances of the new app affect it."""
        self.registry.receive(backend("shop", "changed", app="api"), 0)
        self.assertEqual(self.registry.receive(online(2), 0), frozenset())
        self.assertEqual(self.registry.backends_of("api"), {"shop"})

    def test_what_is_removed_goes(self) -> None:
        """A backend or frontend that was removed by a request is removed."""
        self.registry.receive(frontend("www"), 0)
        self.registry.receive(backend("shop", "removed"), 0)
        self.registry.receive(frontend("www", "removed"), 0)
        self.assertEqual((self.registry.backends, self.registry.frontends), ({}, {}))
        self.assertEqual(self.registry.backends_of("web"), frozenset())

    def test_what_is_missing_stays(self) -> None:
        """A backend or frontend that is only missing on the nodes stays, because no client has removed it."""
        self.registry.receive(frontend("www"), 0)
        self.registry.receive(backend("shop", "removed", "missed"), 0)
        self.registry.receive(frontend("www", "removed", "missed"), 0)
        self.assertEqual((set(self.registry.backends), set(self.registry.frontends)), ({"shop"}, {"www"}))
        self.assertEqual([*kept_ids(self.registry)], ["backend/shop", "frontend/www"])
        self.registry.receive(backend("shop"), 0)
        self.assertEqual([*kept_ids(self.registry)], ["frontend/www"])
