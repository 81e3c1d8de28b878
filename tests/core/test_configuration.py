"""The laws of configuration, its history, and digests that tell what differs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.core.configuration import BUCKETS, SETTINGS_PER_KEY_MAX, Configuration, bucket
from bender.core.messages import Setting

NOW = 1000.0
DAY_S = 24 * 3600.0


def setting(rev: int, body: bytes | None = b"{}", key: str = "backend/web", incarnation: int = 1) -> Setting:
    return Setting(key, rev, incarnation, 1795447942248, "ops", body)


def configured(*settings: Setting) -> Configuration:
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
    def test_any_order(self, settings: list[Setting], data: st.DataObject) -> None:
        """Whatever the order, and however often, the same settings lead to the same state."""
        again = data.draw(st.permutations(settings + settings[:5]))
        self.assertEqual(state(configured(*settings)), state(configured(*again)))

    @given(st.lists(any_setting, max_size=30), st.lists(any_setting, max_size=30), st.lists(any_setting, max_size=30))
    def test_joined_in_parts(self, one: list[Setting], two: list[Setting], three: list[Setting]) -> None:
        """It does not matter which states were joined first."""
        left = configured(*self.kept(one, two), *three)
        right = configured(*one, *self.kept(two, three))
        self.assertEqual(state(left), state(right))

    @staticmethod
    def kept(*parts: list[Setting]) -> list[Setting]:
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


class LastingTests(SynchronousTestCase):
    """Some settings last for a while only."""

    def setUp(self) -> None:
        self.configuration = Configuration()
        for rev, day in ((1, 0), (2, 20)):
            self.configuration.join(Setting("state/x", rev, 1, 0, "ops", b"drain", DAY_S), day * DAY_S)

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
