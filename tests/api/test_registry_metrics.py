"""The metrics of apps and backends agree with the lists of the API, and their number is bounded."""

from __future__ import annotations

from typing import Any

from bender.api.registry_metrics import backend_metrics, registration_metrics
from bender.core.model import RegistrationRequest
from bender.metrics.exposition import NAMES_MAX, OTHERS
from bender.node.listings import SLICE
from tests.api.conversation import ApiCase
from tests.api.scraping import named, scraped


class RegistryCase(ApiCase):
    def register(self, app: str, *ports: int, version: str = "1", **more: Any) -> None:
        for port in ports:
            self.node.register(RegistrationRequest(app, version, "10.0.0.1", port, **more))

    def set_state(self, app: str, port: int, state: str) -> None:
        path = f"/registrations/{app}/1/10.0.0.1/{port}/state?force"
        self.assertEqual(self.ask("PUT", path, {"state": state}).status, 200)

    def values(self, name: str) -> dict[str, float]:
        return named(scraped(self.node), f"bender_{name}")


class Apps(RegistryCase):
    def test_by_state(self) -> None:
        """Registrations are counted by app and state; states of unregistered instances do not count."""
        self.register("web", 1, 2, 3, 4)
        self.register("api", 1)
        self.set_state("web", 1, "drain")
        self.set_state("web", 2, "drain")
        self.set_state("web", 3, "maint")
        self.set_state("gone", 1, "drain")
        self.assertEqual(
            self.values("registrations"),
            {
                '{app="web",state="up"}': 1,
                '{app="web",state="drain"}': 2,
                '{app="web",state="maint"}': 1,
                '{app="api",state="up"}': 1,
            },
        )
        self.assertEqual(self.values("suspects"), {})

    def test_an_app_without_a_member_that_is_up(self) -> None:
        """An app whose members are all out of service is shown with 0 members that are up."""
        self.register("web", 1)
        self.set_state("web", 1, "maint")
        self.assertEqual(self.values("registrations"), {'{app="web",state="up"}': 0, '{app="web",state="maint"}': 1})

    def test_a_thousand_and_three(self) -> None:
        """The last apps in order of name are summed up, with their states."""
        for number in reversed(range(NAMES_MAX + 3)):
            self.register(f"app-{number:05}", *range(1, 1 + number % 3))
        self.register("app-00001", 9)
        self.register("zebra", 1, 2)
        self.set_state("zebra", 1, "drain")
        values = self.values("registrations")
        self.assertEqual(values['{app="app-00001",state="up"}'], 2)
        # One app in three has no instance.
        apps = sorted({claim.key.split("/")[1] for claim in self.node.claims()})
        self.assertLess(len(apps), NAMES_MAX)
        for number in range(NAMES_MAX - len(apps) + 2):
            self.register(f"app-x{number:05}", 1, 2, 3)
        apps = sorted({claim.key.split("/")[1] for claim in self.node.claims()})
        self.assertEqual((len(apps), apps[-1]), (NAMES_MAX + 2, "zebra"))
        values = self.values("registrations")
        self.assertEqual(len(values), NAMES_MAX + 2)
        self.assertEqual(values[f'{{app="{OTHERS}",state="up"}}'], 3 + 1)
        self.assertEqual(values[f'{{app="{OTHERS}",state="drain"}}'], 1)
        self.assertEqual(sum(values.values()), self.node.listed_count)

    def test_slices(self) -> None:
        """One step looks at as many registrations as a slice of a list has, at most."""
        for number in range(5 * SLICE):
            self.register(f"app-{number}", 1)
        families = [*registration_metrics(self.node)]
        self.assertEqual([family is None for family in families], [True] * 10 + [False] * 2)


class Members(RegistryCase):
    def setUp(self) -> None:
        super().setUp()
        self.register("web", *range(1, 6))
        self.register("web", 11, 12, version="2")

    def set_backend(self, **fields: Any) -> None:
        body = {"name": "shop", "app": "web", "version": "1", **fields}
        self.assertIn(self.ask("PUT", "/backends/shop?force", body).status, (200, 201))

    def assert_members(self, serving: int, out: int) -> None:
        """Expect these numbers of members, in the API and in the metrics."""
        members = self.ask("GET", "/backends/shop/members").json
        self.assertEqual(sum(member["weight"] > 0 for member in members), serving)
        self.assertEqual(len(members), serving + out)
        self.assertEqual(
            self.values("backend_members"),
            {'{backend="shop",rotation="in"}': serving, '{backend="shop",rotation="out"}': out},
        )
        self.assertEqual(self.values("backends_without_members"), {"": not serving})

    def test_states_and_weights(self) -> None:
        """A member that is drained, in maintenance or of weight 0 is out."""
        self.set_backend()
        self.assert_members(5, 0)
        self.set_state("web", 1, "drain")
        self.set_state("web", 2, "maint")
        self.register("web", 3, weight=0)
        self.assert_members(2, 3)
        self.set_state("web", 4, "drain")
        self.set_state("web", 5, "drain")
        self.assert_members(0, 5)

    def test_canaries(self) -> None:
        """Members of a canary count; at 0 % they are out, and at 100 % the members of the version are out."""
        for percent, expected in ((10, (7, 0)), (0, (5, 2)), (100, (2, 5))):
            self.set_backend(canary={"version": "2", "percent": percent})
            self.assert_members(*expected)

    def test_fixed_servers(self) -> None:
        """A fixed server that is registered as well counts once."""
        self.set_backend(servers=["10.0.0.1:1", "10.0.0.1:99", "10.0.0.1:11", "10.0.0.2:1"])
        self.assert_members(8, 0)
        self.set_backend(canary={"version": "2", "percent": 10})
        self.assert_members(9, 0)

    def test_a_backend_without_any(self) -> None:
        self.set_backend(version="3")
        self.assert_members(0, 0)

    def test_a_thousand_and_two(self) -> None:
        """The last backends in order of name are summed up; all backends without members are counted."""
        for number in range(NAMES_MAX + 1):
            body = b'{"name":"b%05d","app":"web","version":"%d"}' % (number, 1 + 2 * (number % 2))
            self.node.configure(f"backend/b{number:05}", body, "somebody")
        self.node.configure("backend/zebra", b'{"name":"zebra","app":"web","version":"3"}', "somebody")
        values = self.values("backend_members")
        self.assertEqual(len(values), 2 * (NAMES_MAX + 1))
        self.assertEqual(values[f'{{backend="{OTHERS}",rotation="in"}}'], 5)
        self.assertNotIn('{backend="zebra",rotation="in"}', values)
        self.assertEqual(self.values("backends_without_members"), {"": NAMES_MAX // 2 + 1})

    def test_slices(self) -> None:
        """One step looks at as many members as a slice of a list has, at most."""
        self.register("web", *range(1000, 1000 + 4 * SLICE))
        self.set_backend()
        slices = [family for family in backend_metrics(self.node) if family is None]
        self.assertEqual(len(slices), 4 + 1)

    def test_what_another_node_may_have_set(self) -> None:
        """A field of an invalid form, which another node may have stored, is ignored."""
        body = b'{"name":"shop","app":"web","version":"1","canary":7,"servers":{"a":1}}'
        self.node.configure("backend/shop", body, "somebody")
        self.assert_members(5, 0)
