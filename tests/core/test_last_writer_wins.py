"""The laws of configuration, its history, and digests that show differences."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core import last_writer_wins as module
from bender.core.last_writer_wins import (
    BUCKETS,
    BYTES_MAX,
    DIGESTS_MAX,
    KEPT_LONGER_S,
    KEYS_MAX,
    LASTING_S_MAX,
    SETTINGS_PER_KEY_MAX,
    Configuration,
    bucket_of,
    digest_of,
)
from bender.core.messages import AGE_S_MAX, ALL_DIGESTS, ConfigSetting
from tests.core.settings import DAY_S, NOW, REPLACED_KEPT_S, configured, setting, state

any_setting = st.builds(
    # Two settings may have the same rev and incarnation, if a machine was cloned or set back to a snapshot.
    setting,
    st.integers(1, 30),
    st.sampled_from([None, b"1", b"2", b"3"]),
    st.sampled_from(["backend/a", "backend/b", "frontend/a"]),
    st.integers(1, 3),
)


class LawTests(SynchronousTestCase):
    """A join is a union with a rule for the settings that are dropped."""

    @given(st.lists(any_setting, max_size=60), st.data())
    def test_any_order(self, settings: list[ConfigSetting], data: st.DataObject) -> None:
        """The same settings lead to the same state, in any order and any number of times."""
        again = data.draw(st.permutations(settings + settings[:5]))
        self.assertEqual(state(configured(*settings)), state(configured(*again)))

    @given(st.lists(any_setting, max_size=30), st.lists(any_setting, max_size=30), st.lists(any_setting, max_size=30))
    def test_joined_in_parts(
        self, one: list[ConfigSetting], two: list[ConfigSetting], three: list[ConfigSetting]
    ) -> None:
        """The result does not depend on which states are joined first."""
        left = configured(*self.kept(one, two), *three)
        right = configured(*one, *self.kept(two, three))
        self.assertEqual(state(left), state(right))

    @staticmethod
    def kept(*parts: list[ConfigSetting]) -> list[ConfigSetting]:
        joined = configured(*(each for part in parts for each in part))
        return [each for key in joined for each in joined.settings(key)]


class CurrentTests(SynchronousTestCase):
    """The setting of the largest rank is current."""

    def test_latest(self) -> None:
        """The setting with the larger rev is current; of equal revs, that of the larger incarnation."""
        configuration = configured(setting(2, b"new"), setting(1, b"old"), setting(2, b"rival", incarnation=9))
        self.assertEqual(configuration.current("backend/web", NOW), setting(2, b"rival", incarnation=9))
        self.assertEqual(configuration.next_rev("backend/web"), 3)

    def test_written_twice(self) -> None:
        """Two settings with the same rev and incarnation are both kept, and one of them is current."""
        one, other = setting(1, b"one"), setting(1, b"other")
        for configuration in (configured(one, other), configured(other, one)):
            self.assertEqual(configuration.settings("backend/web"), (other, one))
        self.assertNotEqual(configured(one).digest, configured(other).digest)

    def test_removed(self) -> None:
        """A removed key has no setting and no history, but is remembered."""
        configuration = configured(setting(1), setting(2, None))
        self.assertIsNone(configuration.current("backend/web", NOW))
        self.assertEqual(configuration.settings("backend/web"), (setting(2, None),))
        self.assertIn("backend/web", configuration)
        self.assertEqual(configuration.next_rev("backend/web"), 3)

    def test_unknown(self) -> None:
        """An unknown key has no setting, and begins with rev 1."""
        self.assertIsNone(Configuration().current("backend/web", NOW))
        self.assertEqual(Configuration().next_rev("backend/web"), 1)

    def test_history(self) -> None:
        """The newest twenty settings are kept, newest first."""
        configuration = configured(*(setting(rev) for rev in range(1, 31)))
        revs = [each.rev for each in configuration.settings("backend/web")]
        self.assertEqual(revs, [*range(30, 30 - SETTINGS_PER_KEY_MAX, -1)])

    def test_older_than_a_removal(self) -> None:
        """A setting that is older than a removal is dropped."""
        configuration = configured(setting(5, None))
        self.assertFalse(configuration.join(setting(4), NOW))
        self.assertEqual(len(configuration), 1)


class WordTests(SynchronousTestCase):
    """Some settings have a duration."""

    def setUp(self) -> None:
        self.configuration = Configuration()
        for rev, day in ((1, 0), (2, 20)):
            self.configuration.join(ConfigSetting("state/x", rev, 1, 0, "ops", b"drain", DAY_S), day * DAY_S)

    def test_over(self) -> None:
        """When its duration is over, a setting is not current, and its key is due once."""
        self.assertIsNotNone(self.configuration.current("state/x", 20.9 * DAY_S))
        self.assertIsNone(self.configuration.current("state/x", 21 * DAY_S))
        self.assertEqual(self.configuration.take_due_keys(21 * DAY_S), ["state/x"])
        self.assertEqual(self.configuration.take_due_keys(21.1 * DAY_S), [])

    def test_remembered(self) -> None:
        """A key is forgotten thirty days and ten minutes after its last setting, and not earlier."""
        self.configuration.take_due_keys(21 * DAY_S)
        self.configuration.take_due_keys(30 * DAY_S + 700)
        self.assertIn("state/x", self.configuration)
        self.configuration.take_due_keys(50 * DAY_S + 599)
        self.assertIn("state/x", self.configuration)
        self.configuration.take_due_keys(50 * DAY_S + 601)
        self.assertNotIn("state/x", self.configuration)


class DigestTests(SynchronousTestCase):
    """Digests are equal if the settings are, and show where they differ."""

    def test_differing(self) -> None:
        """Only the buckets of differing keys are returned."""
        one = configured(setting(1), setting(1, key="frontend/f"))
        other = configured(setting(1), setting(2, key="frontend/f"))
        self.assertNotEqual(one.digest, other.digest)
        self.assertEqual(one.differing_buckets(other.bucket_digests), [bucket_of("frontend/f")])
        self.assertEqual(one.settings_in_bucket(bucket_of("frontend/f")), [setting(1, key="frontend/f")])

    def test_every_bucket(self) -> None:
        """A difference is found in any bucket."""
        keys = {bucket_of(key): key for key in (f"backend/{i}" for i in range(5000))}
        nothing = Configuration()
        for number in range(BUCKETS):
            one = configured(setting(1, key=keys[number]))
            self.assertEqual(one.differing_buckets(nothing.bucket_digests), [number])
            self.assertEqual(one.settings_in_bucket(number), [setting(1, key=keys[number])])

    def test_empty(self) -> None:
        """Without settings, the digest of every bucket is zero."""
        self.assertEqual(Configuration().bucket_digests, (0,) * BUCKETS)


class LimitTests(SynchronousTestCase):
    def test_two_settings_of_one_digest(self) -> None:
        """Two settings with the same digest, which a peer may have made, can both be replaced."""
        self.patch(module, "digest_of", lambda _: 1)
        configuration = configured(setting(1), setting(2))
        self.assertTrue(configuration.join(setting(3, None), NOW))
        self.assertEqual(configuration.settings("backend/web"), (setting(3, None),))

    def test_limits(self) -> None:
        """The limits are twenty settings of a hundred thousand keys, thirty days, and ten minutes."""
        self.assertEqual((SETTINGS_PER_KEY_MAX, KEYS_MAX), (20, 100_000))
        self.assertEqual((LASTING_S_MAX, KEPT_LONGER_S), (2_592_000.0, 600.0))

    def test_room(self) -> None:
        """A new key is refused at the limit; a known key never is."""
        configuration = Configuration(2)
        for key, author in (("backend/a", "one"), ("backend/b", "other")):
            made = ConfigSetting(key, 1, 1, 0, author, b"{}")
            self.assertIsNone(configuration.refusal_reason(made))
            configuration.join(made, NOW)
        self.assertIsNone(configuration.refusal_reason(setting(2, key="backend/a")))
        self.assertEqual(
            configuration.refusal_reason(setting(1, key="backend/c")),
            "this cluster already has the maximum of 2 names of backends and frontends (removed ones count, too): use "
            "one of these names",
        )
        self.assertIsNone(configuration.refusal_reason(ConfigSetting("state/x", 1, 1, 0, "ops", b"drain", 60.0)))
        self.assertEqual((configuration.keys_max, Configuration().digest), (2, 0))

    def test_bytes(self) -> None:
        """Backends and frontends have a quarter of a gigabyte, and so have states."""
        self.assertEqual((Configuration().bytes_max, BYTES_MAX), (BYTES_MAX, 256 * 1024 * 1024))

    def test_digests(self) -> None:
        """Digests have 64 bits, and are compared for all buckets."""
        configuration = configured(setting(1))
        self.assertEqual(len(configuration.bucket_digests), 256)
        self.assertLess(max(configuration.bucket_digests), 2**64)
        self.assertRaises(ValueError, configuration.differing_buckets, [0] * 255)


class WindowTests(SynchronousTestCase):
    """A bucket with many settings is compared in windows of their digests."""

    @staticmethod
    def crowded(count: int) -> Configuration:
        keys = [key for key in (f"backend/{i}" for i in range(256 * count // 10)) if bucket_of(key) == 7]
        return configured(*(setting(rev, key=key) for key in keys for rev in range(1, 21)))

    def test_one(self) -> None:
        """A window has all digests if these are few."""
        configuration = configured(setting(1), setting(2))
        number = bucket_of("backend/web")
        self.assertEqual((configuration.window_from(number, 0), ALL_DIGESTS), ((0, 2**64 - 1), (0, 2**64 - 1)))
        digests = sorted(map(digest_of, (setting(1), setting(2))))
        self.assertEqual((configuration.digests_in_bucket(number), configuration.count_in_bucket(number)), (digests, 2))
        for within, found in (
            ((digests[0], digests[1]), digests),
            ((digests[0] + 1, digests[1]), digests[1:]),
            ((digests[0], digests[1] - 1), digests[:1]),
            ((digests[1] + 1, 2**64 - 1), []),
        ):
            self.assertEqual(configuration.digests_in_bucket(number, within), found)
            self.assertEqual(sorted(map(digest_of, configuration.settings_in_bucket(number, (), within))), found)
        self.assertEqual(list(map(digest_of, configuration.settings_in_bucket(number, {digests[0]}))), digests[1:])

    def test_many(self) -> None:
        """Successive windows have each setting once, and a limited number each."""
        configuration = self.crowded(10_000)
        everything = configuration.digests_in_bucket(7)
        self.assertGreater(len(everything), 2 * DIGESTS_MAX)
        found, first, sizes = [], 0, []
        while True:
            window = configuration.window_from(7, first)
            found += configuration.digests_in_bucket(7, window)
            sizes.append(len(configuration.settings_in_bucket(7, (), window)))
            first = window[1] + 1
            if first == 2**64:
                break
        self.assertEqual(found, everything)
        self.assertEqual(sizes, [DIGESTS_MAX, DIGESTS_MAX, len(everything) - 2 * DIGESTS_MAX])

    @given(st.integers(0, 2**64 - 1))
    def test_anywhere(self, first: int) -> None:
        """A window begins at the given digest, and ends with the last possible one if no digests are left."""
        configuration = configured(*(setting(rev) for rev in range(1, 10)))
        self.assertEqual(configuration.window_from(bucket_of("backend/web"), first), (first, 2**64 - 1))

    def test_exactly_as_many(self) -> None:
        """A window has up to 8,192 digests, which take 64 KiB on the network."""
        self.assertEqual(DIGESTS_MAX, 8192)
        configuration = Configuration()
        digests: dict[int, ConfigSetting] = {digest: setting(digest) for digest in range(1, DIGESTS_MAX + 1)}
        configuration._buckets[3] = digests
        self.assertEqual(configuration.window_from(3, 0), ALL_DIGESTS)
        self.assertEqual(configuration.window_from(3, 1), (1, ALL_DIGESTS[1]))
        digests[0] = setting(1)
        self.assertEqual(configuration.window_from(3, 0), (0, DIGESTS_MAX - 1))
        self.assertEqual(configuration.window_from(3, 1), (1, ALL_DIGESTS[1]))


class LastingTests(SynchronousTestCase):
    """A setting with a duration ends by itself, and is forgotten when no node can have an older one."""

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
        """A setting is not current from the end of its duration on."""
        made = self.join(age_s=10.0)
        self.assertEqual(
            (self.configuration.age_s(made, NOW + 5.0), self.configuration.age_s(setting(1), NOW)), (15.0, 0.0)
        )
        self.assertEqual(self.configuration.current(self.key, NOW + 49.9), made)
        self.assertIsNone(self.configuration.current(self.key, NOW + 50.0))
        self.assertEqual([self.configuration.take_due_keys(NOW + s) for s in (49.9, 50.0)], [[], [self.key]])

    def test_due(self) -> None:
        """A key is due once at the end of the duration, in order with other keys."""
        self.join()
        self.join(key="state/other", lasts_s=30.0)
        self.join(key="state/third", lasts_s=90.0)
        self.assertEqual(self.configuration.take_due_keys(NOW + 29.9), [])
        self.assertEqual(self.configuration.take_due_keys(NOW + 30.0), ["state/other"])
        self.assertEqual(self.configuration.take_due_keys(NOW + 59.9), [])
        self.assertEqual(self.configuration.take_due_keys(NOW + 60.0), [self.key])
        self.assertEqual(self.configuration.take_due_keys(NOW + 89.9), [])
        self.assertEqual(self.configuration.take_due_keys(NOW + 95.0), ["state/third"])

    def test_another_after_it(self) -> None:
        """A later setting ends after its own duration."""
        self.join(lasts_s=30.0)
        self.join(2, at=NOW + 20.0)
        self.assertEqual(self.configuration.take_due_keys(NOW + 79.9), [])
        self.assertEqual(self.configuration.take_due_keys(NOW + 80.0), [self.key])

    def test_forgotten(self) -> None:
        """A key is forgotten thirty days and ten minutes after its last setting."""
        self.join()
        self.join(2, at=NOW + 10.0)
        self.configuration.take_due_keys(NOW + 100.0)
        self.assertEqual(self.configuration.take_due_keys(NOW + REPLACED_KEPT_S + 9.5), [])
        self.assertEqual(len(self.configuration), 1)
        self.assertEqual(self.configuration.take_due_keys(NOW + REPLACED_KEPT_S + 10.0), [self.key])
        self.assertEqual((len(self.configuration), self.configuration.digest), (0, 0))
        self.assertEqual(
            (self.configuration.settings_in_bucket(bucket_of(self.key)), self.configuration._made_at), ([], {})
        )
        self.assertEqual(self.configuration.take_due_keys(NOW + 2 * REPLACED_KEPT_S), [])

    def test_nearly_forgotten(self) -> None:
        """The first setting of a key is forgotten sooner, ten minutes after its end."""
        self.join(2, age_s=REPLACED_KEPT_S - 0.5)
        self.join(age_s=659.5, key="state/other")
        self.assertEqual(len(self.configuration), 2)
        self.assertEqual(self.configuration.take_due_keys(NOW + 0.5), [self.key, "state/other"])
        self.assertEqual(len(self.configuration), 0)

    def test_too_old(self) -> None:
        """A setting that is to be forgotten is dropped; the age does not matter without a duration."""
        old = ConfigSetting(self.key, 1, 1, 0, "ops", b"drain", 60.0, REPLACED_KEPT_S)
        self.assertFalse(self.configuration.join(old, NOW))
        self.assertTrue(self.configuration.join(ConfigSetting("b", 1, 1, 0, "ops", b"", None, REPLACED_KEPT_S), NOW))
        self.assertEqual(([*self.configuration], self.configuration._made_at), (["b"], {}))

    def test_too_old_here(self) -> None:
        """A first setting is dropped ten minutes after its end, and one that replaced another after thirty days."""
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
        """An old setting of a known key is kept, because digests must become equal."""
        self.join(5)
        old = ConfigSetting(self.key, 1, 1, 0, "ops", b"drain", 60.0, 5000.0)
        self.assertTrue(self.configuration.join(old, NOW))
        self.assertEqual([each.rev for each in self.configuration.settings(self.key)], [5, 1])
        self.assertEqual(self.configuration.removal_lasts_s(self.key, NOW), LASTING_S_MAX)

    def test_over_at_once(self) -> None:
        """A removal with a duration may follow a setting without one, and is forgotten at once if it is too old."""
        self.configuration.join(ConfigSetting("policy/x", 1, 1, 0, "ops", b"{}"), NOW)
        self.configuration.join(ConfigSetting("policy/x", 2, 1, 0, "ops", None, 60.0, 5000.0), NOW)
        self.assertEqual((len(self.configuration), self.configuration.digest, self.configuration._made_at), (0, 0, {}))

    def test_removal(self) -> None:
        """The removal of the first setting lasts as long as this would have, and is remembered for ten more minutes."""
        self.join(lasts_s=60.0, age_s=10.0)
        left_s = self.configuration.removal_lasts_s(self.key, NOW + 20.0)
        self.assertEqual((left_s, self.configuration.removal_lasts_s("state/other", NOW)), (30.0, 0.0))
        self.configuration.join(ConfigSetting(self.key, 2, 1, 0, "ops", None, left_s), NOW + 20.0)
        self.assertEqual(self.configuration.removal_lasts_s(self.key, NOW + 30.0), 20.0)
        self.configuration.take_due_keys(NOW + 20.0 + 30.0 + KEPT_LONGER_S - 0.1)
        self.assertIn(self.key, self.configuration)
        self.configuration.take_due_keys(NOW + 20.0 + 30.0 + KEPT_LONGER_S)
        self.assertNotIn(self.key, self.configuration)

    def taken_back(self, *settings: ConfigSetting) -> Configuration:
        """Return the configuration of a node that was cut off while these settings were removed elsewhere."""
        elsewhere = configured(*settings)
        for each in settings:
            self.configuration.join(each, NOW)
        left_s = self.configuration.removal_lasts_s(self.key, NOW + 60.0)
        rev = self.configuration.next_rev(self.key)
        self.configuration.join(ConfigSetting(self.key, rev, 1, 0, "ops", None, left_s), NOW + 60.0)
        return elsewhere

    def heal(self, elsewhere: Configuration, at: float) -> None:
        self.configuration.take_due_keys(at)
        elsewhere.take_due_keys(at)
        for each in elsewhere.with_ages(elsewhere.settings(self.key), at):
            self.configuration.join(each, at)

    def test_removal_of_a_later_one(self) -> None:
        """A removed setting from a node that was cut off does not replace a later one."""
        settings = [ConfigSetting(self.key, rev, 1, 0, "ops", b"drain", 3600.0) for rev in (1, 2)]
        elsewhere = self.taken_back(*settings)
        self.configuration.take_due_keys(NOW + 7000.0)
        self.join(self.configuration.next_rev(self.key), DAY_S, at=NOW + 7000.0)
        self.heal(elsewhere, NOW + 8000.0)
        self.assertIsNotNone(self.configuration.current(self.key, NOW + 8000.0))

    def test_removal_of_more_than_are_kept(self) -> None:
        """A removal also lasts long enough for settings that histories no longer have."""
        old = ConfigSetting(self.key, 1, 1, 0, "ops", b"drain", LASTING_S_MAX)
        elsewhere = configured(old)
        self.taken_back(old, *(ConfigSetting(self.key, rev, 1, 0, "ops", b"maint", 60.0) for rev in range(2, 30)))
        self.configuration.take_due_keys(NOW + 7000.0)
        self.heal(elsewhere, NOW + 8000.0)
        self.assertIsNone(self.configuration.current(self.key, NOW + 8000.0))

    def test_with_ages(self) -> None:
        """A setting with a duration is sent with its age, and another one as it is."""
        made, lasting = self.join(age_s=10.0), setting(1)
        self.assertEqual([each.age_s for each in self.configuration.with_ages([made, lasting], NOW + 5.0)], [15.0, 0.0])
        self.assertEqual(self.configuration.with_ages([made, lasting], NOW), (made, lasting))

    def test_an_end_of_what_lasts_for_ever(self) -> None:
        """An old removal with a duration, of a key without one, leaves nothing of the key."""
        self.configuration.join(setting(1, key="later/x"), NOW)
        removal = ConfigSetting("later/x", 2, 1, 0, "ops", None, 60.0, AGE_S_MAX)
        self.assertTrue(self.configuration.join(removal, NOW))
        self.assertNotIn("later/x", self.configuration)
        self.assertEqual(state(self.configuration), state(Configuration()))

    def test_with_ages_of_what_a_peer_made_very_old(self) -> None:
        """The sent age is cut to the maximum, because peers would refuse the message otherwise."""
        self.join()
        made = self.join(2, age_s=AGE_S_MAX)
        self.assertEqual([each.age_s for each in self.configuration.with_ages([made], NOW + 5.0)], [AGE_S_MAX])

    def test_known(self) -> None:
        """A setting that is present already changes nothing."""
        made = self.join()
        self.assertFalse(self.configuration.join(made, NOW + 10.0))
        self.assertEqual(self.configuration.age_s(made, NOW + 10.0), 10.0)
