"""The amount of configuration that clients and peers may set."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.last_writer_wins import KEPT_LONGER_S, Configuration, size_of
from bender.core.ledger import NUMBER_MAX
from bender.core.messages import ConfigSetting
from tests.core.settings import NOW


class QuotaTests(SynchronousTestCase):
    """One client may use a fifth of each limit; present keys can always be changed and removed."""

    def setUp(self) -> None:
        self.configuration = Configuration(10)

    def made(
        self, key: str, author: str = "one", body: bytes | None = b"{}", lasts_s: float | None = None
    ) -> ConfigSetting:
        return ConfigSetting(key, self.configuration.next_rev(key), 1, 0, author, body, lasts_s)

    def join(self, *settings: ConfigSetting) -> None:
        for each in settings:
            self.assertTrue(self.configuration.join(each, NOW))

    def obstacle(self, key: str, author: str = "one", body: bytes | None = b"{}", lasts_s: float | None = None) -> str:
        return self.configuration.refusal_reason(self.made(key, author, body, lasts_s)) or ""

    def test_names(self) -> None:
        """With ten names, one client may have two, and removed names count."""
        self.join(self.made("backend/a"), self.made("frontend/a"))
        self.join(self.made("backend/a", body=None))
        problem = (
            "one has used 2 names of backends and frontends (removed ones count, too), the maximum for one client: use "
            "one of these names"
        )
        self.assertEqual(self.obstacle("backend/b"), problem)
        self.assertEqual(self.obstacle("backend/b", body=None), problem)
        for key in ("backend/a", "frontend/a"):
            self.assertEqual(self.obstacle(key), "")
        self.assertEqual(self.obstacle("backend/b", "other"), "")

    def test_names_that_others_go_on_with(self) -> None:
        """A name counts for the client that set it last."""
        self.join(self.made("backend/a"), self.made("backend/b"), self.made("backend/a", "other"))
        self.assertEqual(self.obstacle("backend/c"), "")
        self.join(self.made("backend/c", "other"))
        self.assertNotEqual(self.obstacle("backend/d", "other"), "")

    def test_names_with_histories(self) -> None:
        """A name counts once, however often it was set."""
        for _ in range(4):
            self.join(self.made("backend/a"))
        self.assertEqual(self.obstacle("backend/b"), "")
        self.join(self.made("backend/b"))
        self.assertNotEqual(self.obstacle("backend/c"), "")

    def test_size(self) -> None:
        """The size of a setting is that of its body, key and author, and 40 bytes."""
        self.assertEqual(size_of(ConfigSetting("backend/a", 1, 1, 0, "ops", b"body")), 4 + 9 + 3 + 40)
        self.assertEqual(size_of(ConfigSetting("backend/a", 1, 1, 0, "", None)), 9 + 40)

    def test_one_at_least(self) -> None:
        """A client may always have one name."""
        self.configuration = Configuration(4)
        self.assertEqual(self.obstacle("backend/a"), "")
        self.join(self.made("backend/a"))
        self.assertNotEqual(self.obstacle("backend/b"), "")

    def test_states(self) -> None:
        """States have limits of their own, for all clients and for each."""
        for author in "vwxyz":
            for number in "12":
                self.join(self.made(f"backend/{author}{number}", author))
        self.assertNotEqual(self.obstacle("backend/a", "new"), "")
        self.assertEqual(self.obstacle("state/a", "v", lasts_s=60.0), "")
        self.join(self.made("state/a", "v", b"drain", 60.0), self.made("state/b", "v", b"drain", 60.0))
        problem = "v has set 2 states of instances, the maximum for one client: try again when some of them have ended"
        self.assertEqual(self.obstacle("state/c", "v", lasts_s=60.0), problem)
        for author in "wxyz":
            for number in "12":
                self.join(self.made(f"state/{author}{number}", author, lasts_s=60.0))
        self.assertEqual(
            self.obstacle("state/c", "new", lasts_s=60.0),
            "this cluster already has the maximum of 10 states of instances: try again when some of them have ended",
        )

    def test_a_client_under_several_names(self) -> None:
        """The limits of a client depend on its address, and not on the name that it sends."""
        for number in "12":
            self.join(self.made(f"state/{number}", f"name{number} (10.0.0.7)", b"drain", 60.0))
        problem = (
            "10.0.0.7 has set 2 states of instances, the maximum for one client: try again when some of them have ended"
        )
        for author in ("10.0.0.7", "other (10.0.0.7)", "a (10.9.9.9) (10.0.0.7)"):
            self.assertEqual(self.obstacle("state/c", author, lasts_s=60.0), problem)
        self.assertEqual(self.obstacle("state/c", "name1 (10.0.0.8)", lasts_s=60.0), "")

    def test_states_that_are_over(self) -> None:
        """States free their room when they are forgotten."""
        self.join(self.made("state/a", lasts_s=60.0), self.made("state/b", lasts_s=60.0))
        self.configuration.take_due_keys(NOW + 60.0)
        self.assertNotEqual(self.obstacle("state/c", lasts_s=60.0), "")
        self.configuration.take_due_keys(NOW + 60.0 + KEPT_LONGER_S)
        self.assertEqual(self.obstacle("state/c", lasts_s=60.0), "")
        self.assertEqual((self.configuration._keys_of_client, self.configuration._bytes_of_client), ({}, {}))

    def test_bytes(self) -> None:
        """Histories count for the client that made each setting; removals are always accepted, and free room."""
        first = self.made("backend/a")
        self.configuration = Configuration(10, bytes_max=10 * size_of(first))
        self.join(first)
        self.assertEqual(self.obstacle("backend/a"), "")
        self.join(self.made("backend/a"))
        used = 2 * size_of(first)
        problem = f"one has set backends and frontends of {used} bytes, the maximum for one client: remove some of them"
        self.assertEqual(self.obstacle("backend/a"), problem)
        self.assertEqual(self.obstacle("backend/a", "other"), "")
        self.assertEqual(self.obstacle("backend/a", body=None), "")
        self.join(self.made("backend/a", "other"))
        self.assertEqual(self.obstacle("backend/a"), problem)
        self.join(self.made("backend/a", "other", None))
        self.assertEqual(self.obstacle("backend/a"), "")

    def test_all_bytes(self) -> None:
        """At the limit for all clients, no client may set more."""
        first = self.made("backend/a")
        self.configuration = Configuration(10, bytes_max=3 * size_of(first))
        self.join(first, self.made("backend/a", "two"), self.made("backend/a", "333"))
        total = 3 * size_of(first)
        self.assertEqual(
            self.obstacle("backend/b", "new"),
            f"the backends and frontends of this cluster and their histories take {total} bytes, the maximum: "
            "remove some of them",
        )
        self.assertEqual(self.obstacle("backend/a", "new", None), "")

    def test_bytes_of_states(self) -> None:
        """States have a limit of bytes of their own."""
        first = self.made("state/a", body=b"drain", lasts_s=60.0)
        self.configuration = Configuration(100, bytes_max=10 * size_of(first))
        self.join(first)
        self.join(*(ConfigSetting("state/a", rev, 1, 0, "one", b"drain", 60.0) for rev in range(2, 21)))
        self.assertEqual(self.obstacle("backend/a"), "")
        self.assertEqual(
            self.obstacle("state/a", "two", b"drain", 60.0),
            f"the states of this cluster and their histories take {10 * size_of(first)} bytes, the maximum: "
            "remove some of them",
        )
        self.configuration.bytes_max *= 10
        self.assertEqual(
            self.obstacle("state/b", body=b"drain", lasts_s=60.0),
            f"one has set states of {20 * size_of(first)} bytes, the maximum for one client: remove some of them",
        )
        self.assertEqual(self.obstacle("state/a", body=None, lasts_s=60.0), "")

    def test_rev(self) -> None:
        """After the largest rev, which only a peer can have set, a name cannot be changed."""
        self.join(ConfigSetting("backend/a", NUMBER_MAX - 1, 1, 0, "one", b"{}"))
        self.assertEqual(self.obstacle("backend/a"), "")
        self.join(self.made("backend/a"))
        problem = "backend/a has reached the maximum number of changes: use another name"
        self.assertEqual((self.obstacle("backend/a"), self.obstacle("backend/a", body=None)), (problem, problem))


class PeersTests(SynchronousTestCase):
    """Settings of peers are accepted up to twice the limits for clients."""

    def taken(self, configuration: Configuration, keys: str, count: int, lasts_s: float | None = None) -> int:
        made = (ConfigSetting(f"{keys}/{i}", 1, 1, 0, "ops", b"drain", lasts_s) for i in range(count))
        return sum(configuration.join(each, NOW) for each in made)

    def test_names(self) -> None:
        """Twice as many names are accepted from peers; known names can always be changed."""
        configuration = Configuration(10)
        self.assertEqual(self.taken(configuration, "backend", 30), 20)
        self.assertTrue(configuration.join(ConfigSetting("backend/0", 2, 1, 0, "ops", None), NOW))
        self.assertEqual(self.taken(configuration, "state", 30, 60.0), 20)
        self.assertTrue(configuration.join(ConfigSetting("state/0", 2, 1, 0, "ops", None, 60.0), NOW))
        self.assertEqual(len(configuration), 40)

    def test_bytes(self) -> None:
        """Twice as many bytes are accepted from peers, for states and for others."""
        size = size_of(ConfigSetting("backend/0", 1, 1, 0, "ops", b"drain"))
        configuration = Configuration(100, bytes_max=5 * size)
        self.assertEqual(self.taken(configuration, "backend", 10), 10)
        self.assertEqual(self.taken(configuration, "frontend", 10), 0)
        self.assertTrue(configuration.join(ConfigSetting("backend/0", 2, 1, 0, "ops", b"x"), NOW))
        self.assertGreater(self.taken(configuration, "state", 50, 60.0), 9)
        self.assertLess(len(configuration), 25)
