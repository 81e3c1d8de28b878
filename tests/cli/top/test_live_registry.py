"""The registry according to the events, and recent changes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.top.live_registry import EVENTS_MAX, RECENT_S, AppVersion, LiveRegistry, is_recent
from bender.client import Event
from tests.cli.top.shown import backend, instance, registry_of

WEB = ("web", "1.2.0")
ID = "registration/web/1.2.0/10.0.0.5/8080"


class Counts(SynchronousTestCase):
    def counts(self, registry: LiveRegistry, *names: str) -> list[int]:
        version = registry.versions[WEB]
        return [getattr(version, name) for name in names]

    def test_instances_are_counted_by_state(self) -> None:
        registry = registry_of(
            instance("web/1.2.0/a/1", weight=3),
            instance("web/1.2.0/b/1", state="drain"),
            instance("web/1.2.0/c/1", state="maint"),
            instance("web/1.2.0/d/1", suspect=True, weight=2),
            instance("web/1.2.0/e/1", weight=0),
            instance("other/1/e/1"),
        )
        self.assertEqual(registry.listed, 6)
        self.assertEqual(self.counts(registry, "listed", "up", "drain", "maint", "suspect"), [5, 2, 1, 1, 1])
        self.assertEqual(self.counts(registry, "in_rotation", "weight"), [2, 5])

    def test_a_change_replaces_what_was_counted(self) -> None:
        registry = registry_of(instance(weight=3))
        registry.apply(instance(event="changed", reason="state", state="drain", weight=3), 1.0)
        self.assertEqual(self.counts(registry, "listed", "up", "drain", "weight"), [1, 0, 1, 0])

    def test_what_is_gone_no_longer_counts(self) -> None:
        """An instance that is offline does not count, but is shown for a while with its version."""
        registry = registry_of(instance())
        registry.apply(instance(event="offline", reason="expired"), 1.0)
        self.assertEqual((registry.listed, self.counts(registry, "listed", "up", "weight")), (0, [0, 0, 0]))
        self.assertEqual(registry.instances[ID].state, "gone")

    def test_gone_twice_counts_once(self) -> None:
        registry = registry_of(instance())
        for at in (1.0, 2.0):
            registry.apply(instance(event="offline", reason="expired"), at)
        self.assertEqual(registry.listed, 0)


class Forgetting(SynchronousTestCase):
    def test_what_is_gone_is_forgotten_after_a_while(self) -> None:
        registry = registry_of(instance(), backend())
        registry.apply(instance(event="offline", reason="expired"), 1.0)
        registry.apply(backend(event="removed", reason="configured"), 1.0)
        self.assertFalse(registry.forget(1.0 + RECENT_S - 0.1))
        self.assertIn(ID, registry.instances)
        self.assertTrue(registry.forget(1.0 + RECENT_S))
        self.assertEqual((registry.instances, registry.versions, registry.backends), ({}, {}, {}))

    def test_what_returns_stays(self) -> None:
        registry = registry_of(instance(), backend())
        registry.apply(instance(event="offline", reason="expired"), 1.0)
        registry.apply(backend(event="removed", reason="configured"), 1.0)
        registry.apply(instance(event="online", reason="registered"), 2.0)
        registry.apply(backend(event="created", reason="configured"), 2.0)
        registry.forget(100.0)
        self.assertEqual((registry.listed, [*registry.instances], [*registry.backends]), (1, [ID], ["shop"]))

    def test_what_went_again_stays_as_long_as_that_is_recent(self) -> None:
        registry = registry_of(instance())
        for at, event in ((1.0, "offline"), (3.0, "online"), (5.0, "offline")):
            registry.apply(instance(event=event, reason="x"), at)
        registry.forget(5.0 + RECENT_S - 0.1)
        self.assertIn(ID, registry.instances)
        registry.forget(5.0 + RECENT_S)
        self.assertEqual(registry.instances, {})

    def test_an_app_with_other_instances_stays(self) -> None:
        registry = registry_of(instance("web/1.2.0/a/1"), instance("web/1.2.0/b/1"))
        registry.apply(instance("web/1.2.0/a/1", event="offline", reason="expired"), 1.0)
        registry.forget(100.0)
        self.assertEqual(registry.versions[WEB].listed, 1)


class Recent(SynchronousTestCase):
    def test_a_change_is_recent_for_a_while(self) -> None:
        """A change is recent for a while, and the snapshot is not a change."""
        registry = registry_of(instance())
        self.assertIsNone(registry.instances[ID].change)
        self.assertFalse(is_recent(None, 0.0))
        registry.apply(instance(event="changed", reason="state", state="drain"), 1.0)
        change = registry.instances[ID].change
        self.assertEqual(change, registry.versions[WEB].change)
        self.assertTrue(is_recent(change, 1.0 + RECENT_S - 0.1))
        self.assertFalse(is_recent(change, 1.0 + RECENT_S))

    def test_events_are_kept_up_to_a_limit(self) -> None:
        registry = registry_of(instance())
        for at in range(EVENTS_MAX + 5):
            registry.apply(instance(event="changed", reason="renewed", weight=at % 256), float(at))
        self.assertEqual(len(registry.events), EVENTS_MAX)
        self.assertEqual(registry.events[-1].number, EVENTS_MAX + 5)

    def test_the_rate_is_that_of_the_last_seconds(self) -> None:
        """The rate counts the events of the last ten seconds, without the snapshot."""
        registry = registry_of(*(instance(f"web/1/{host}/1") for host in range(50)))
        self.assertEqual(registry.events_per_s(0.0), 0.0)
        for number in range(30):
            registry.apply(instance(event="changed", reason="x", weight=number), 20.0 + number / 10)
        self.assertEqual(registry.events_per_s(23.0), 3.0)
        self.assertEqual(registry.events_per_s(31.0), 1.0)
        self.assertEqual(registry.events_per_s(40.0), 0.0)

    def test_it_is_synced_when_the_watch_says_so(self) -> None:
        registry = LiveRegistry()
        registry.apply(instance(), 0.0)
        self.assertFalse(registry.is_synced)
        registry.apply(Event("synced", "", "", "snapshot", 0, {}, "n"), 0.0)
        self.assertTrue(registry.is_synced)


class Backends(SynchronousTestCase):
    def test_its_members_are_those_that_take_traffic(self) -> None:
        """Members are the instances with traffic, of the version and the canary, and fixed servers."""
        registry = registry_of(
            instance("web/1.2.0/a/1"),
            instance("web/1.2.0/b/1", state="drain"),
            instance("web/1.3.0/c/1"),
            instance("web/1.4.0/d/1"),
            backend("shop", canary={"version": "1.3.0", "percent": 10}, servers=["10.0.0.1:80"]),
        )
        self.assertEqual(registry.members(registry.backends["shop"]), 3)

    def test_a_version_knows_its_backends(self) -> None:
        registry = registry_of(instance(), backend("a"), backend("b", canary={"version": "1.3.0", "percent": 1}))
        self.assertEqual(registry.served_by(registry.versions[WEB]), ["a", "b"])
        self.assertEqual(registry.served_by(AppVersion("web", "1.3.0")), ["b"])
        registry.apply(backend("a", event="removed", reason="configured"), 1.0)
        self.assertEqual(registry.served_by(registry.versions[WEB]), ["b"])

    def test_settings_that_no_client_could_set_do_no_harm(self) -> None:
        """Invalid settings, which a node of another release or a hostile node may send, do no harm."""
        registry = registry_of(backend("shop", canary="all", servers=7))
        self.assertEqual(registry.members(registry.backends["shop"]), 0)


class Copies(SynchronousTestCase):
    def test_later_events_do_not_change_a_copy(self) -> None:
        registry = registry_of(instance("web/1.2.0/a/1"), backend())
        registry.apply(instance("web/1.2.0/a/1", event="changed", reason="x", weight=2), 1.0)
        copy = registry.frozen()
        registry.apply(instance("web/1.2.0/b/1", reason="registered"), 2.0)
        registry.apply(instance("web/1.2.0/a/1", event="offline", reason="expired"), 2.0)
        registry.apply(backend(event="removed", reason="configured"), 2.0)
        registry.forget(100.0)
        self.assertEqual((copy.listed, copy.versions[WEB].listed, copy.versions[WEB].weight), (1, 1, 2))
        self.assertEqual([*copy.instances], ["registration/web/1.2.0/a/1"])
        self.assertEqual((len(copy.events), len(registry.events), [*copy.backends]), (1, 4, ["shop"]))
