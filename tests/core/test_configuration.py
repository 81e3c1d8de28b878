"""The laws of configuration, its history, and digests that tell what differs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core import configuration as module
from bender.core.configuration import (
    BUCKETS,
    BYTES_MAX,
    DIGESTS_MAX,
    KEPT_LONGER_S,
    KEYS_MAX,
    LASTING_S_MAX,
    SETTINGS_PER_KEY_MAX,
    Configuration,
    bucket,
    digest_of,
    size_of,
)
from bender.core.ledger import NUMBER_MAX
from bender.core.messages import AGE_S_MAX, WHOLE, ConfigSetting

NOW = 1000.0
DAY_S = 24 * 3600.0

#: For how long a setting that ends by itself is kept if it has replaced another one.
REPLACED_KEPT_S = LASTING_S_MAX + KEPT_LONGER_S


def setting(rev: int, body: bytes | None = b"{}", key: str = "backend/web", incarnation: int = 1) -> ConfigSetting:
    return ConfigSetting(key, rev, incarnation, 1795447942248, "ops", body)


def configured(*settings: ConfigSetting) -> Configuration:
    configuration = Configuration()
    for each in settings:
        configuration.join(each, NOW)
    return configuration


def state(configuration: Configuration) -> object:
    everything = {key: configuration.settings(key) for key in configuration}
    return (everything, configuration.digest, configuration.bucket_digests)


any_setting = st.builds(
    # Two may have the same rev and incarnation: that of a machine that was cloned, or set back to a snapshot.
    setting,
    st.integers(1, 30),
    st.sampled_from([None, b"1", b"2", b"3"]),
    st.sampled_from(["backend/a", "backend/b", "frontend/a"]),
    st.integers(1, 3),
)


class LawTests(SynchronousTestCase):
    """Joining is a union with a rule for what may be dropped."""

    @given(st.lists(any_setting, max_size=60), st.data())
    def test_any_order(self, settings: list[ConfigSetting], data: st.DataObject) -> None:
        """Whatever the order, and however often, the same settings lead to the same state."""
        again = data.draw(st.permutations(settings + settings[:5]))
        self.assertEqual(state(configured(*settings)), state(configured(*again)))

    @given(st.lists(any_setting, max_size=30), st.lists(any_setting, max_size=30), st.lists(any_setting, max_size=30))
    def test_joined_in_parts(
        self, one: list[ConfigSetting], two: list[ConfigSetting], three: list[ConfigSetting]
    ) -> None:
        """It does not matter which states were joined first."""
        left = configured(*self.kept(one, two), *three)
        right = configured(*one, *self.kept(two, three))
        self.assertEqual(state(left), state(right))

    @staticmethod
    def kept(*parts: list[ConfigSetting]) -> list[ConfigSetting]:
        joined = configured(*(each for part in parts for each in part))
        return [each for key in joined for each in joined.settings(key)]


class CurrentTests(SynchronousTestCase):
    """The largest setting speaks."""

    def test_latest(self) -> None:
        """Of several settings the one with the larger rev speaks, of equals the one of the larger incarnation."""
        configuration = configured(setting(2, b"new"), setting(1, b"old"), setting(2, b"rival", incarnation=9))
        self.assertEqual(configuration.current("backend/web", NOW), setting(2, b"rival", incarnation=9))
        self.assertEqual(configuration.rev_next("backend/web"), 3)

    def test_written_twice(self) -> None:
        """What a clone wrote under the same rev is another setting: both are kept, and one of them speaks."""
        one, other = setting(1, b"one"), setting(1, b"other")
        for configuration in (configured(one, other), configured(other, one)):
            self.assertEqual(configuration.settings("backend/web"), (other, one))
        self.assertNotEqual(configured(one).digest, configured(other).digest)

    def test_removed(self) -> None:
        """A key that was removed has no setting, and its history is gone; but it is remembered."""
        configuration = configured(setting(1), setting(2, None))
        self.assertIsNone(configuration.current("backend/web", NOW))
        self.assertEqual(configuration.settings("backend/web"), (setting(2, None),))
        self.assertIn("backend/web", configuration)
        self.assertEqual(configuration.rev_next("backend/web"), 3)

    def test_unknown(self) -> None:
        """An unknown key has no setting, and would begin with rev 1."""
        self.assertIsNone(Configuration().current("backend/web", NOW))
        self.assertEqual(Configuration().rev_next("backend/web"), 1)

    def test_history(self) -> None:
        """The newest twenty settings are kept, newest first."""
        configuration = configured(*(setting(rev) for rev in range(1, 31)))
        revs = [each.rev for each in configuration.settings("backend/web")]
        self.assertEqual(revs, [*range(30, 30 - SETTINGS_PER_KEY_MAX, -1)])

    def test_older_than_a_removal(self) -> None:
        """What is older than a removal does not come back."""
        configuration = configured(setting(5, None))
        self.assertFalse(configuration.join(setting(4), NOW))
        self.assertEqual(len(configuration), 1)


class WordTests(SynchronousTestCase):
    """Some settings last for a while only."""

    def setUp(self) -> None:
        self.configuration = Configuration()
        for rev, day in ((1, 0), (2, 20)):
            self.configuration.join(ConfigSetting("state/x", rev, 1, 0, "ops", b"drain", DAY_S), day * DAY_S)

    def test_over(self) -> None:
        """When its time is over it does not speak any more, and its key is due once."""
        self.assertIsNotNone(self.configuration.current("state/x", 20.9 * DAY_S))
        self.assertIsNone(self.configuration.current("state/x", 21 * DAY_S))
        self.assertEqual(self.configuration.due(21 * DAY_S), ["state/x"])
        self.assertEqual(self.configuration.due(21.1 * DAY_S), [])

    def test_remembered(self) -> None:
        """The key is forgotten thirty days and ten minutes after its last setting, and no earlier."""
        self.configuration.due(21 * DAY_S)
        self.configuration.due(30 * DAY_S + 700)
        self.assertIn("state/x", self.configuration)
        self.configuration.due(50 * DAY_S + 599)
        self.assertIn("state/x", self.configuration)
        self.configuration.due(50 * DAY_S + 601)
        self.assertNotIn("state/x", self.configuration)


class DigestTests(SynchronousTestCase):
    """Digests are equal where settings are, and tell where they differ."""

    def test_differing(self) -> None:
        """Only the buckets of keys that differ are named."""
        one = configured(setting(1), setting(1, key="frontend/f"))
        other = configured(setting(1), setting(2, key="frontend/f"))
        self.assertNotEqual(one.digest, other.digest)
        self.assertEqual(one.differing(other.bucket_digests), [bucket("frontend/f")])
        self.assertEqual(one.bucket(bucket("frontend/f")), [setting(1, key="frontend/f")])

    def test_every_bucket(self) -> None:
        """A difference is found in whichever bucket it is."""
        keys = {bucket(key): key for key in (f"backend/{i}" for i in range(5000))}
        nothing = Configuration()
        for number in range(BUCKETS):
            one = configured(setting(1, key=keys[number]))
            self.assertEqual(one.differing(nothing.bucket_digests), [number])
            self.assertEqual(one.bucket(number), [setting(1, key=keys[number])])

    def test_empty(self) -> None:
        """Nothing at all has the digest zero in every bucket."""
        self.assertEqual(Configuration().bucket_digests, (0,) * BUCKETS)


class LimitTests(SynchronousTestCase):
    def test_two_settings_of_one_digest(self) -> None:
        """A peer may have made up two settings with the same digest: both can be replaced."""
        self.patch(module, "digest_of", lambda _: 1)
        configuration = configured(setting(1), setting(2))
        self.assertTrue(configuration.join(setting(3, None), NOW))
        self.assertEqual(configuration.settings("backend/web"), (setting(3, None),))

    def test_limits(self) -> None:
        """Twenty settings of a hundred thousand keys; thirty days, and ten minutes."""
        self.assertEqual((SETTINGS_PER_KEY_MAX, KEYS_MAX), (20, 100_000))
        self.assertEqual((LASTING_S_MAX, KEPT_LONGER_S), (2_592_000.0, 600.0))

    def test_room(self) -> None:
        """A new key has room while there are fewer than may be; a known one always has."""
        configuration = Configuration(2)
        for key, author in (("backend/a", "one"), ("backend/b", "other")):
            made = ConfigSetting(key, 1, 1, 0, author, b"{}")
            self.assertIsNone(configuration.obstacle(made))
            configuration.join(made, NOW)
        self.assertIsNone(configuration.obstacle(setting(2, key="backend/a")))
        self.assertEqual(
            configuration.obstacle(setting(1, key="backend/c")),
            "2 names of backends and frontends are kept, as many as can be",
        )
        self.assertIsNone(configuration.obstacle(ConfigSetting("state/x", 1, 1, 0, "ops", b"drain", 60.0)))
        self.assertEqual((configuration.keys_max, Configuration().digest), (2, 0))

    def test_bytes(self) -> None:
        """A quarter of a gigabyte for all that last for ever, and as much for states."""
        self.assertEqual((Configuration().bytes_max, BYTES_MAX), (BYTES_MAX, 256 * 1024 * 1024))

    def test_digests(self) -> None:
        """They are compared bucket by bucket, all of them, and have 64 bits."""
        configuration = configured(setting(1))
        self.assertEqual(len(configuration.bucket_digests), 256)
        self.assertLess(max(configuration.bucket_digests), 2**64)
        self.assertRaises(ValueError, configuration.differing, [0] * 255)


class QuotaTests(SynchronousTestCase):
    """One client may use a fifth of all that there is room for; what is there may be changed and removed always."""

    def setUp(self) -> None:
        self.configuration = Configuration(10)

    def made(
        self, key: str, author: str = "one", body: bytes | None = b"{}", lasts_s: float | None = None
    ) -> ConfigSetting:
        return ConfigSetting(key, self.configuration.rev_next(key), 1, 0, author, body, lasts_s)

    def join(self, *settings: ConfigSetting) -> None:
        for each in settings:
            self.assertTrue(self.configuration.join(each, NOW))

    def obstacle(self, key: str, author: str = "one", body: bytes | None = b"{}", lasts_s: float | None = None) -> str:
        return self.configuration.obstacle(self.made(key, author, body, lasts_s)) or ""

    def test_names(self) -> None:
        """Ten names may be kept, so one client may have two, of which removed ones count too."""
        self.join(self.made("backend/a"), self.made("frontend/a"))
        self.join(self.made("backend/a", body=None))
        problem = "2 names of backends and frontends were set from one, as many as one client may"
        self.assertEqual(self.obstacle("backend/b"), problem)
        self.assertEqual(self.obstacle("backend/b", body=None), problem)
        for key in ("backend/a", "frontend/a"):
            self.assertEqual(self.obstacle(key), "")
        self.assertEqual(self.obstacle("backend/b", "other"), "")

    def test_names_that_others_go_on_with(self) -> None:
        """A name is that of the client that set it last."""
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
        """A setting takes its body, key and author, and some more."""
        self.assertEqual(size_of(ConfigSetting("backend/a", 1, 1, 0, "ops", b"body")), 4 + 9 + 3 + 40)
        self.assertEqual(size_of(ConfigSetting("backend/a", 1, 1, 0, "", None)), 9 + 40)

    def test_one_at_least(self) -> None:
        """However few there may be."""
        self.configuration = Configuration(4)
        self.assertEqual(self.obstacle("backend/a"), "")
        self.join(self.made("backend/a"))
        self.assertNotEqual(self.obstacle("backend/b"), "")

    def test_states(self) -> None:
        """They have room of their own, for all clients and for each."""
        for author in "vwxyz":
            for number in "12":
                self.join(self.made(f"backend/{author}{number}", author))
        self.assertNotEqual(self.obstacle("backend/a", "new"), "")
        self.assertEqual(self.obstacle("state/a", "v", lasts_s=60.0), "")
        self.join(self.made("state/a", "v", b"drain", 60.0), self.made("state/b", "v", b"drain", 60.0))
        problem = "2 states were set from v, as many as one client may"
        self.assertEqual(self.obstacle("state/c", "v", lasts_s=60.0), problem)
        for author in "wxyz":
            for number in "12":
                self.join(self.made(f"state/{author}{number}", author, lasts_s=60.0))
        self.assertEqual(self.obstacle("state/c", "new", lasts_s=60.0), "10 states are kept, as many as can be")

    def test_a_client_under_several_names(self) -> None:
        """The name is what the client says: its limits go by its address."""
        for number in "12":
            self.join(self.made(f"state/{number}", f"name{number} (10.0.0.7)", b"drain", 60.0))
        problem = "2 states were set from 10.0.0.7, as many as one client may"
        for author in ("10.0.0.7", "other (10.0.0.7)", "a (10.9.9.9) (10.0.0.7)"):
            self.assertEqual(self.obstacle("state/c", author, lasts_s=60.0), problem)
        self.assertEqual(self.obstacle("state/c", "name1 (10.0.0.8)", lasts_s=60.0), "")

    def test_states_that_are_over(self) -> None:
        """Room is there again when they are forgotten."""
        self.join(self.made("state/a", lasts_s=60.0), self.made("state/b", lasts_s=60.0))
        self.configuration.due(NOW + 60.0)
        self.assertNotEqual(self.obstacle("state/c", lasts_s=60.0), "")
        self.configuration.due(NOW + 60.0 + KEPT_LONGER_S)
        self.assertEqual(self.obstacle("state/c", lasts_s=60.0), "")
        self.assertEqual((self.configuration._keys_of_client, self.configuration._bytes_of_client), ({}, {}))

    def test_bytes(self) -> None:
        """Histories count, for the client that made each setting; removals are taken always, and give room."""
        first = self.made("backend/a")
        self.configuration = Configuration(10, bytes_max=10 * size_of(first))
        self.join(first)
        self.assertEqual(self.obstacle("backend/a"), "")
        self.join(self.made("backend/a"))
        used = 2 * size_of(first)
        problem = (
            f"the backends and frontends that were set from one take {used} bytes, as many as those of one client may"
        )
        self.assertEqual(self.obstacle("backend/a"), problem)
        self.assertEqual(self.obstacle("backend/a", "other"), "")
        self.assertEqual(self.obstacle("backend/a", body=None), "")
        self.join(self.made("backend/a", "other"))
        self.assertEqual(self.obstacle("backend/a"), problem)
        self.join(self.made("backend/a", "other", None))
        self.assertEqual(self.obstacle("backend/a"), "")

    def test_all_bytes(self) -> None:
        """When all of them are used nobody may make more."""
        first = self.made("backend/a")
        self.configuration = Configuration(10, bytes_max=3 * size_of(first))
        self.join(first, self.made("backend/a", "two"), self.made("backend/a", "333"))
        total = 3 * size_of(first)
        self.assertEqual(
            self.obstacle("backend/b", "new"),
            f"the backends and frontends of this cluster and their histories take {total} bytes, as many as may be",
        )
        self.assertEqual(self.obstacle("backend/a", "new", None), "")

    def test_bytes_of_states(self) -> None:
        """They take none from backends, and are limited as well."""
        first = self.made("state/a", body=b"drain", lasts_s=60.0)
        self.configuration = Configuration(100, bytes_max=10 * size_of(first))
        self.join(first)
        self.join(*(ConfigSetting("state/a", rev, 1, 0, "one", b"drain", 60.0) for rev in range(2, 21)))
        self.assertEqual(self.obstacle("backend/a"), "")
        self.assertEqual(
            self.obstacle("state/a", "two", b"drain", 60.0),
            f"the states of this cluster and their histories take {10 * size_of(first)} bytes, as many as may be",
        )
        self.configuration.bytes_max *= 10
        self.assertEqual(
            self.obstacle("state/b", body=b"drain", lasts_s=60.0),
            f"the states that were set from one take {20 * size_of(first)} bytes, as many as those of one client may",
        )
        self.assertEqual(self.obstacle("state/a", body=None, lasts_s=60.0), "")

    def test_rev(self) -> None:
        """After the largest there is none. Only a peer can have made that up."""
        self.join(ConfigSetting("backend/a", NUMBER_MAX - 1, 1, 0, "one", b"{}"))
        self.assertEqual(self.obstacle("backend/a"), "")
        self.join(self.made("backend/a"))
        problem = "backend/a was changed too often to be changed again: use another name"
        self.assertEqual((self.obstacle("backend/a"), self.obstacle("backend/a", body=None)), (problem, problem))


class PeersTests(SynchronousTestCase):
    """What peers bring is taken beyond the limits for clients, but not without end."""

    def taken(self, configuration: Configuration, keys: str, count: int, lasts_s: float | None = None) -> int:
        made = (ConfigSetting(f"{keys}/{i}", 1, 1, 0, "ops", b"drain", lasts_s) for i in range(count))
        return sum(configuration.join(each, NOW) for each in made)

    def test_names(self) -> None:
        """Twice as many; what is known may be changed always."""
        configuration = Configuration(10)
        self.assertEqual(self.taken(configuration, "backend", 30), 20)
        self.assertTrue(configuration.join(ConfigSetting("backend/0", 2, 1, 0, "ops", None), NOW))
        self.assertEqual(self.taken(configuration, "state", 30, 60.0), 20)
        self.assertTrue(configuration.join(ConfigSetting("state/0", 2, 1, 0, "ops", None, 60.0), NOW))
        self.assertEqual(len(configuration), 40)

    def test_bytes(self) -> None:
        """Twice as many, of states and of others."""
        size = size_of(ConfigSetting("backend/0", 1, 1, 0, "ops", b"drain"))
        configuration = Configuration(100, bytes_max=5 * size)
        self.assertEqual(self.taken(configuration, "backend", 10), 10)
        self.assertEqual(self.taken(configuration, "frontend", 10), 0)
        self.assertTrue(configuration.join(ConfigSetting("backend/0", 2, 1, 0, "ops", b"x"), NOW))
        self.assertGreater(self.taken(configuration, "state", 50, 60.0), 9)
        self.assertLess(len(configuration), 25)


class WindowTests(SynchronousTestCase):
    """A bucket with many settings is looked through in windows of their digests."""

    @staticmethod
    def crowded(count: int) -> Configuration:
        keys = [key for key in (f"backend/{i}" for i in range(256 * count // 10)) if bucket(key) == 7]
        return configured(*(setting(rev, key=key) for key in keys for rev in range(1, 21)))

    def test_one(self) -> None:
        """All of the digests there are in one window, if these are few."""
        configuration = configured(setting(1), setting(2))
        number = bucket("backend/web")
        self.assertEqual((configuration.window(number, 0), WHOLE), ((0, 2**64 - 1), (0, 2**64 - 1)))
        digests = sorted(map(digest_of, (setting(1), setting(2))))
        self.assertEqual((configuration.digests(number), configuration.count(number)), (digests, 2))
        for within, found in (
            ((digests[0], digests[1]), digests),
            ((digests[0] + 1, digests[1]), digests[1:]),
            ((digests[0], digests[1] - 1), digests[:1]),
            ((digests[1] + 1, 2**64 - 1), []),
        ):
            self.assertEqual(configuration.digests(number, within), found)
            self.assertEqual(sorted(map(digest_of, configuration.bucket(number, (), within))), found)
        self.assertEqual(list(map(digest_of, configuration.bucket(number, {digests[0]}))), digests[1:])

    def test_many(self) -> None:
        """Following windows have each setting once, and not too many at a time."""
        configuration = self.crowded(10_000)
        everything = configuration.digests(7)
        self.assertGreater(len(everything), 2 * DIGESTS_MAX)
        found, first, sizes = [], 0, []
        while True:
            window = configuration.window(7, first)
            found += configuration.digests(7, window)
            sizes.append(len(configuration.bucket(7, (), window)))
            first = window[1] + 1
            if first == 2**64:
                break
        self.assertEqual(found, everything)
        self.assertEqual(sizes, [DIGESTS_MAX, DIGESTS_MAX, len(everything) - 2 * DIGESTS_MAX])

    @given(st.integers(0, 2**64 - 1))
    def test_anywhere(self, first: int) -> None:
        """A window begins wherever it is to begin, and ends with the last one where no more are left."""
        configuration = configured(*(setting(rev) for rev in range(1, 10)))
        self.assertEqual(configuration.window(bucket("backend/web"), first), (first, 2**64 - 1))

    def test_exactly_as_many(self) -> None:
        """A window holds 8,192: one of 64 KiB on the network."""
        self.assertEqual(DIGESTS_MAX, 8192)
        configuration = Configuration()
        digests: dict[int, ConfigSetting] = {digest: setting(digest) for digest in range(1, DIGESTS_MAX + 1)}
        configuration._buckets[3] = digests
        self.assertEqual(configuration.window(3, 0), WHOLE)
        self.assertEqual(configuration.window(3, 1), (1, WHOLE[1]))
        digests[0] = setting(1)
        self.assertEqual(configuration.window(3, 0), (0, DIGESTS_MAX - 1))
        self.assertEqual(configuration.window(3, 1), (1, WHOLE[1]))


class LastingTests(SynchronousTestCase):
    """A setting that lasts for a while is over by itself, and forgotten when no node can have an older one."""

    key = "state/web/1.0/h/80"

    def setUp(self) -> None:
        self.configuration = Configuration()

    def join(
        self, rev: int = 1, lasts_s: float = 60.0, age_s: float = 0.0, at: float = NOW, key: str = ""
    ) -> ConfigSetting:
        made = ConfigSetting(key or self.key, rev, 1, 0, "ops", b"drain", lasts_s, age_s)
        self.assertTrue(self.configuration.join(made, at))
        return made

    def test_over(self) -> None:
        """From the moment on at which its time is over it does not speak."""
        made = self.join(age_s=10.0)
        self.assertEqual(
            (self.configuration.age_s(made, NOW + 5.0), self.configuration.age_s(setting(1), NOW)), (15.0, 0.0)
        )
        self.assertEqual(self.configuration.current(self.key, NOW + 49.9), made)
        self.assertIsNone(self.configuration.current(self.key, NOW + 50.0))
        self.assertEqual([self.configuration.due(NOW + s) for s in (49.9, 50.0)], [[], [self.key]])

    def test_due(self) -> None:
        """Its key is told then, and once; those of others in their time."""
        self.join()
        self.join(key="state/other", lasts_s=30.0)
        self.join(key="state/third", lasts_s=90.0)
        self.assertEqual(self.configuration.due(NOW + 29.9), [])
        self.assertEqual(self.configuration.due(NOW + 30.0), ["state/other"])
        self.assertEqual(self.configuration.due(NOW + 59.9), [])
        self.assertEqual(self.configuration.due(NOW + 60.0), [self.key])
        self.assertEqual(self.configuration.due(NOW + 89.9), [])
        self.assertEqual(self.configuration.due(NOW + 95.0), ["state/third"])

    def test_another_after_it(self) -> None:
        """A later one is over in its own time."""
        self.join(lasts_s=30.0)
        self.join(2, at=NOW + 20.0)
        self.assertEqual(self.configuration.due(NOW + 79.9), [])
        self.assertEqual(self.configuration.due(NOW + 80.0), [self.key])

    def test_forgotten(self) -> None:
        """Thirty days and ten minutes after the last."""
        self.join()
        self.join(2, at=NOW + 10.0)
        self.configuration.due(NOW + 100.0)
        self.assertEqual(self.configuration.due(NOW + REPLACED_KEPT_S + 9.5), [])
        self.assertEqual(len(self.configuration), 1)
        self.assertEqual(self.configuration.due(NOW + REPLACED_KEPT_S + 10.0), [self.key])
        self.assertEqual((len(self.configuration), self.configuration.digest), (0, 0))
        self.assertEqual((self.configuration.bucket(bucket(self.key)), self.configuration._made_at), ([], {}))
        self.assertEqual(self.configuration.due(NOW + 2 * REPLACED_KEPT_S), [])

    def test_nearly_forgotten(self) -> None:
        """The first one of a key is forgotten sooner: ten minutes after its time is over."""
        self.join(2, age_s=REPLACED_KEPT_S - 0.5)
        self.join(age_s=659.5, key="state/other")
        self.assertEqual(len(self.configuration), 2)
        self.assertEqual(self.configuration.due(NOW + 0.5), [self.key, "state/other"])
        self.assertEqual(len(self.configuration), 0)

    def test_too_old(self) -> None:
        """What is to be forgotten is not taken; of what lasts for ever the age says nothing."""
        old = ConfigSetting(self.key, 1, 1, 0, "ops", b"drain", 60.0, REPLACED_KEPT_S)
        self.assertFalse(self.configuration.join(old, NOW))
        self.assertTrue(self.configuration.join(ConfigSetting("b", 1, 1, 0, "ops", b"", None, REPLACED_KEPT_S), NOW))
        self.assertEqual(([*self.configuration], self.configuration._made_at), (["b"], {}))

    def test_too_old_here(self) -> None:
        """The first of a key is too old ten minutes after its time; one that replaced another after thirty days."""
        for rev, age_s, taken in (
            (1, 659.9, True),
            (1, 660.0, False),
            (2, 660.0, True),
            (2, REPLACED_KEPT_S - 0.1, True),
            (2, REPLACED_KEPT_S, False),
        ):
            old = ConfigSetting(f"state/{rev}/{age_s}", rev, 1, 0, "ops", b"drain", 60.0, age_s)
            self.assertEqual(self.configuration.join(old, NOW), taken, (rev, age_s))
        removal = ConfigSetting("state/r", 7, 1, 0, "ops", None, 60.0, 660.0)
        self.assertFalse(self.configuration.join(removal, NOW))

    def test_too_old_of_a_known_key(self) -> None:
        """What other nodes keep with a key that is kept here, is taken: digests must become equal."""
        self.join(5)
        old = ConfigSetting(self.key, 1, 1, 0, "ops", b"drain", 60.0, 5000.0)
        self.assertTrue(self.configuration.join(old, NOW))
        self.assertEqual([each.rev for each in self.configuration.settings(self.key)], [5, 1])
        self.assertEqual(self.configuration.left_s(self.key, NOW), LASTING_S_MAX)

    def test_over_at_once(self) -> None:
        """Kinds that are not known here may last for ever or not: what is too old by then is forgotten at once."""
        self.configuration.join(ConfigSetting("policy/x", 1, 1, 0, "ops", b"{}"), NOW)
        self.configuration.join(ConfigSetting("policy/x", 2, 1, 0, "ops", None, 60.0, 5000.0), NOW)
        self.assertEqual((len(self.configuration), self.configuration.digest, self.configuration._made_at), (0, 0, {}))

    def test_removal(self) -> None:
        """That of the first of a key lasts for as long as it would have, and ten minutes more is it remembered."""
        self.join(lasts_s=60.0, age_s=10.0)
        left_s = self.configuration.left_s(self.key, NOW + 20.0)
        self.assertEqual((left_s, self.configuration.left_s("state/other", NOW)), (30.0, 0.0))
        self.configuration.join(ConfigSetting(self.key, 2, 1, 0, "ops", None, left_s), NOW + 20.0)
        self.assertEqual(self.configuration.left_s(self.key, NOW + 30.0), 20.0)
        self.configuration.due(NOW + 20.0 + 30.0 + KEPT_LONGER_S - 0.1)
        self.assertIn(self.key, self.configuration)
        self.configuration.due(NOW + 20.0 + 30.0 + KEPT_LONGER_S)
        self.assertNotIn(self.key, self.configuration)

    def taken_back(self, *settings: ConfigSetting) -> Configuration:
        """A node that was cut off and keeps these, which were removed elsewhere a minute after the first."""
        elsewhere = configured(*settings)
        for each in settings:
            self.configuration.join(each, NOW)
        left_s = self.configuration.left_s(self.key, NOW + 60.0)
        rev = self.configuration.rev_next(self.key)
        self.configuration.join(ConfigSetting(self.key, rev, 1, 0, "ops", None, left_s), NOW + 60.0)
        return elsewhere

    def heal(self, elsewhere: Configuration, at: float) -> None:
        self.configuration.due(at)
        elsewhere.due(at)
        for each in elsewhere.told(elsewhere.settings(self.key), at):
            self.configuration.join(each, at)

    def test_removal_of_a_later_one(self) -> None:
        """A node that was cut off keeps it, though it is over: it must not come before what was set meanwhile."""
        settings = [ConfigSetting(self.key, rev, 1, 0, "ops", b"drain", 3600.0) for rev in (1, 2)]
        elsewhere = self.taken_back(*settings)
        self.configuration.due(NOW + 7000.0)
        self.join(self.configuration.rev_next(self.key), DAY_S, at=NOW + 7000.0)
        self.heal(elsewhere, NOW + 8000.0)
        self.assertIsNotNone(self.configuration.current(self.key, NOW + 8000.0))

    def test_removal_of_more_than_are_kept(self) -> None:
        """What no history has any more may speak longest on a node that was cut off."""
        old = ConfigSetting(self.key, 1, 1, 0, "ops", b"drain", LASTING_S_MAX)
        elsewhere = configured(old)
        self.taken_back(old, *(ConfigSetting(self.key, rev, 1, 0, "ops", b"maint", 60.0) for rev in range(2, 30)))
        self.configuration.due(NOW + 7000.0)
        self.heal(elsewhere, NOW + 8000.0)
        self.assertIsNone(self.configuration.current(self.key, NOW + 8000.0))

    def test_told(self) -> None:
        """It is told with its age, and what lasts for ever as it is."""
        made, lasting = self.join(age_s=10.0), setting(1)
        self.assertEqual([each.age_s for each in self.configuration.told([made, lasting], NOW + 5.0)], [15.0, 0.0])
        self.assertEqual(self.configuration.told([made, lasting], NOW), (made, lasting))

    def test_an_end_of_what_lasts_for_ever(self) -> None:
        """Kinds that are not known here may have both. A removal that is long over leaves nothing of the key."""
        self.configuration.join(setting(1, key="later/x"), NOW)
        removal = ConfigSetting("later/x", 2, 1, 0, "ops", None, 60.0, AGE_S_MAX)
        self.assertTrue(self.configuration.join(removal, NOW))
        self.assertNotIn("later/x", self.configuration)
        self.assertEqual(state(self.configuration), state(Configuration()))

    def test_told_of_what_a_peer_made_very_old(self) -> None:
        """Its age is the largest that peers take, or they would refuse it and all that comes with it."""
        self.join()
        made = self.join(2, age_s=AGE_S_MAX)
        self.assertEqual([each.age_s for each in self.configuration.told([made], NOW + 5.0)], [AGE_S_MAX])

    def test_known(self) -> None:
        """A setting that is there already changes nothing."""
        made = self.join()
        self.assertFalse(self.configuration.join(made, NOW + 10.0))
        self.assertEqual(self.configuration.age_s(made, NOW + 10.0), 10.0)
