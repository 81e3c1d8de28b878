"""Crowded buckets of configuration, which do not fit into a message, are sent in pages until both nodes have all."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bender.core.last_writer_wins import BUCKETS, DIGESTS_MAX, SETTINGS_PER_KEY_MAX, bucket_of, size_of
from bender.core.ledger import DELTA_ENTRIES_MAX
from bender.core.messages import ALL_DIGESTS, ConfigSetting, Message, OutgoingMessage
from bender.core.setting_pages import SETTINGS_BYTES_MAX, SETTINGS_PER_MESSAGE_MAX
from bender.exchange import wire
from tests.core.cluster import Cluster

#: The crowded bucket, if there is only one.
NUMBER = 7

#: The maximum size of a message; peers accept eight times as much.
MESSAGE_BYTES_MAX = 2 * 1024 * 1024


def names(number: int, count: int, kind: str = "backend") -> list[str]:
    """Return keys of one bucket."""
    found: list[str] = []
    i = 0
    while len(found) < count:
        key = f"{kind}/{i}"
        if bucket_of(key) == number:
            found.append(key)
        i += 1
    return found


def settings(keys: Iterable[str], revs: int = 1, body: bytes = b"{}", incarnation: int = 9) -> list[ConfigSetting]:
    return [ConfigSetting(key, rev, incarnation, 0, "ops", body) for key in keys for rev in range(1, revs + 1)]


class Crowded(Cluster):
    """Nodes that push no settings; rounds of nodes in `asking`, and of z, arrive."""

    def __init__(self, names: str, *, page_entries_max: int = DELTA_ENTRIES_MAX) -> None:
        self.asking = names
        self.longest = 0
        self.answers: list[Message] = []
        self.encode = wire.Wire("bender", 1.0).encode
        super().__init__(names, page_entries_max=page_entries_max)
        self.sent.clear()

    def join(self, name: str, made: Iterable[ConfigSetting]) -> None:
        """Let a node have settings that it does not push."""
        for each in made:
            assert self[name].configuration.join(each, self.now)

    def carry(self, name: str, request: OutgoingMessage) -> None:
        if name in self.asking or name == "z" or request.push:
            super().carry(name, request)
        else:
            self[name].note_failure(self.now, request)

    def answer(self, request: OutgoingMessage) -> Message | None:
        answer = super().answer(request)
        if answer is not None:
            self.answers.append(answer)
        for message in filter(None, (request.message, answer)):
            assert len(message.settings) <= SETTINGS_PER_MESSAGE_MAX
            if sum(map(size_of, message.settings)) > SETTINGS_BYTES_MAX // 2 or len(message.known) > 1000:
                self.longest = max(self.longest, len(self.encode(message)))
        return answer

    def rounds_until_equal(self, most: int) -> int:
        """Return the number of rounds until all nodes have the same configuration."""
        for count in range(most):
            if len({replica.configuration.digest for replica in self.replicas.values()}) == 1:
                return count
            self.now += self.timing.interval_s
            self.rounds()
        raise AssertionError(f"not equal after {most} rounds")


class PagesTests(SynchronousTestCase):
    """Two nodes get the same configuration, whichever of them begins rounds."""

    def both(
        self, here: list[ConfigSetting], there: list[ConfigSetting], most: int, page_entries_max: int = 10
    ) -> None:
        for asking in ("ab", "a", "b"):
            cluster = Crowded("ab", page_entries_max=page_entries_max)
            cluster.asking = asking
            cluster.join("a", here)
            cluster.join("b", there)
            cluster.rounds_until_equal(most)
            for name in "ab":
                expected = {*here, *there}
                configuration = cluster[name].configuration
                self.assertEqual({each for key in configuration for each in configuration.settings(key)}, expected)

    def test_one_has_all(self) -> None:
        """Pages of ten that a node requests follow each other at once; pages that it sends come with its rounds."""
        self.both(settings(names(NUMBER, 55)), [], 7)

    def test_both_have_some(self) -> None:
        """Settings that both nodes have are not sent."""
        keys = names(NUMBER, 120)
        self.both(settings(keys[:80]), settings(keys[40:]), 8)

    def test_histories(self) -> None:
        """Names are sent with their histories."""
        keys = names(NUMBER, 6)
        self.both(settings(keys[:4], SETTINGS_PER_KEY_MAX), settings(keys[2:], SETTINGS_PER_KEY_MAX), 8)

    def test_several_buckets(self) -> None:
        """Some buckets are crowded at one node or at both, and others at none."""
        here = settings([*names(3, 40), *names(9, 5), *names(11, 30)])
        there = settings([*names(9, 60), *names(12, 3), *names(11, 30, "frontend")], incarnation=8)
        self.both(here, there, 12)

    def test_each_goes_over_once(self) -> None:
        """A node with a crowded bucket gets only the settings that it lacks, each once."""
        keys = names(NUMBER, 600)
        cluster = Crowded("ab")
        cluster.asking = "a"
        cluster.join("a", settings(keys[:500]))
        cluster.join("b", settings(keys[100:]))
        cluster.rounds_until_equal(3)
        answered = [each.key for answer in cluster.answers for each in answer.settings]
        self.assertEqual(sorted(answered), sorted(keys[500:]))
        brought = [each.key for request in cluster.sent for each in request.message.settings]
        self.assertEqual(sorted(brought), sorted(keys[:100]))

    def test_known_is_named(self) -> None:
        """A node sends digests of its settings if these do not fit into a message, and the settings otherwise."""
        cluster = Crowded("ab", page_entries_max=10)
        cluster.asking = "a"
        cluster.join("a", settings(names(NUMBER, 10)))
        cluster.rounds()
        (plain,) = [request.message for request in cluster.sent if request.message.buckets]
        self.assertEqual((len(plain.settings), plain.known, plain.window), (10, (), ALL_DIGESTS))
        self.assertEqual({answer.known for answer in cluster.answers}, {()})
        cluster.join("a", settings(names(NUMBER, 11)[10:]))
        cluster.sent.clear()
        cluster.rounds()
        (named,) = [request.message for request in cluster.sent if request.message.buckets]
        self.assertEqual((named.settings, named.window, named.buckets), ((), ALL_DIGESTS, (NUMBER,)))
        self.assertEqual(named.known, tuple(cluster["a"].configuration.digests_in_bucket(NUMBER)))


class BytesTests(SynchronousTestCase):
    """A message has at most a megabyte of settings in either direction, and at least one setting."""

    def halves(self, numbers: tuple[int, int], more: int) -> list[ConfigSetting]:
        """Return two settings in these buckets that fill a message exactly, or with `more` bytes too much each."""
        keys = [names(numbers[0], 1)[0], names(numbers[1], 2)[1]]
        empty = settings(keys, body=b"")
        lengths = [SETTINGS_BYTES_MAX // 2 - size_of(each) for each in empty]
        return [evolve(each, body=b"x" * (length + more)) for each, length in zip(empty, lengths, strict=True)]

    def asked(self, asking: str, numbers: tuple[int, int], more: int) -> tuple[OutgoingMessage, Message]:
        """Return the first second request of a node, if a has both settings, and its answer."""
        cluster = Crowded("ab")
        cluster.asking = asking
        cluster.answers.clear()
        cluster.join("a", self.halves(numbers, more))
        cluster[asking].start_round(cluster.now)
        (first,) = cluster[asking].take_requests()
        cluster.carry(asking, first)
        (second,) = cluster[asking].take_requests()
        answer = cluster.answer(second)
        assert answer is not None
        return second, answer

    def test_told(self) -> None:
        """The second request has all settings of as many buckets as fit."""
        for more, buckets in ((0, (3, NUMBER)), (1, (3,))):
            request, _ = self.asked("a", (3, NUMBER), more)
            self.assertEqual((request.message.buckets, len(request.message.settings)), (buckets, len(buckets)))

    def test_one_bucket_is_too_large(self) -> None:
        """A bucket of few settings that are too large is sent as digests."""
        for more, told in ((0, 2), (1, 0)):
            request, _ = self.asked("a", (3, 3), more)
            self.assertEqual((len(request.message.settings), len(request.message.known)), (told, 2 - told))

    def test_answered(self) -> None:
        """The answer has as many settings as fit, and is marked if it is partial."""
        for more, count in ((0, 2), (1, 1)):
            _, answer = self.asked("b", (3, NUMBER), more)
            self.assertEqual((len(answer.settings), answer.partial), (count, count < 2))

    def test_one_at_least(self) -> None:
        """A message has at least one setting, however large it is."""
        _, answer = self.asked("b", (3, NUMBER), SETTINGS_BYTES_MAX)
        self.assertEqual((len(answer.settings), answer.partial), (1, True))


class WindowsTests(SynchronousTestCase):
    """A bucket with more settings than a message has digests is compared window by window."""

    def test_two_buckets(self) -> None:
        """The windows of a bucket follow each other, even if other buckets come in between."""
        numbers = (3, NUMBER)
        keys = [key for number in numbers for key in names(number, DIGESTS_MAX // SETTINGS_PER_KEY_MAX + 20)]
        cluster = Crowded("ab")
        cluster.asking = "a"
        # The differences between the nodes are spread over all windows.
        for name, of in (("a", "here"), ("b", "there")):
            cluster.join(name, settings(keys, SETTINGS_PER_KEY_MAX))
            for number in numbers:
                cluster.join(name, settings(names(number, 8, of)))
        cluster.rounds_until_equal(5)
        windows = [
            (request.message.buckets, request.message.window) for request in cluster.sent if request.message.known
        ]
        for number in numbers:
            first, second = [window for of, window in windows if of == (number,)][:2]
            self.assertEqual((first[0], first[1] + 1, second[1]), (0, second[0], ALL_DIGESTS[1]))
        self.assertLess(cluster.longest, MESSAGE_BYTES_MAX)
        self.assertGreater(cluster.longest, 60_000)

    def test_no_agreement(self) -> None:
        """An equal window does not lead to agreement, because the rest of the bucket may differ."""
        cluster = Crowded("ab")
        cluster.asking = "a"
        cluster.join("a", settings(names(NUMBER, DIGESTS_MAX // SETTINGS_PER_KEY_MAX + 1), SETTINGS_PER_KEY_MAX))
        for _ in range(4):
            cluster.rounds()
        windows = [request for request in cluster.sent if request.message.known]
        self.assertEqual([request.message.window[0] == 0 for request in windows], [True, False, True, False])
        self.assertEqual([request.comparison_ask for request in windows], [None] * 4)


class TurnsTests(SynchronousTestCase):
    """A bucket that stays different does not delay other buckets."""

    def test_dropped(self) -> None:
        """A peer that drops all settings of one crowded bucket still gets all others in a few rounds."""
        cluster = Crowded("ab", page_entries_max=10)
        cluster.asking = "a"
        join = cluster["b"].configuration.join

        def drops(setting: ConfigSetting, now: float) -> bool:
            return bucket_of(setting.key) != 0 and join(setting, now)

        cluster["b"].configuration.join = drops  # type: ignore[method-assign]
        cluster.join("a", settings(names(0, 50)))
        cluster.join("a", settings([name for number in range(1, 40) for name in names(number, 3)]))
        for _ in range(20):
            cluster.now += 1.0
            cluster.rounds()
        differing = cluster["a"].configuration.differing_buckets(cluster["b"].configuration.bucket_digests)
        self.assertEqual(differing, [0])

    def test_begins_where_it_ended(self) -> None:
        """Each bucket has its turn, whichever was first."""
        cluster = Crowded("ab", page_entries_max=10)
        cluster.asking = "a"
        cluster["b"].configuration.join = lambda *_: False  # type: ignore[method-assign]
        cluster.join("a", settings([name for number in range(BUCKETS) for name in names(number, 2)]))
        for _ in range(60):
            cluster.rounds()
        asked = [number for request in cluster.sent for number in request.message.buckets]
        self.assertEqual(asked[:BUCKETS], [*range(BUCKETS)])
        self.assertEqual(asked[BUCKETS : BUCKETS + 20], [*range(20)])


class ReadinessTests(SynchronousTestCase):
    """A node that starts knows the whole configuration when it becomes ready."""

    def start(self, cluster: Crowded) -> int:
        """Start another node beside a, and return the number of calls until it is ready."""
        replica = cluster.start("z", 26, "a")
        replica.start_round(cluster.now)
        for count in range(1, 3000):
            requests = replica.take_requests()
            for request in requests:
                cluster.carry("z", request)
            if not requests:
                replica.sweep(cluster.now)
            if replica.is_ready:
                return count
        raise AssertionError("it does not become ready")

    def test_one_bucket(self) -> None:
        """Three hundred backends with full histories of 4 KiB each, in one bucket, are sent: 24 MB in pages of 1 MB."""
        cluster = Crowded("a")
        noise = Random(1).randbytes  # bytes that cannot be compressed
        for each in settings(names(NUMBER, 300), SETTINGS_PER_KEY_MAX):
            cluster.join("a", [evolve(each, body=noise(4000))])
        self.start(cluster)
        self.assertEqual(cluster["z"].configuration.digest, cluster["a"].configuration.digest)
        self.assertEqual(len(cluster["z"].settings("backend")), 300)
        self.assertLess(cluster.longest, MESSAGE_BYTES_MAX)

    def test_sizes(self) -> None:
        """A page has 256 settings or a megabyte, so that a node needs only some milliseconds for it."""
        self.assertEqual((SETTINGS_PER_MESSAGE_MAX, SETTINGS_BYTES_MAX), (256, 1_048_576))

    def test_not_before_the_last_page(self) -> None:
        """A partial answer does not lead to agreement."""
        cluster = Crowded("a", page_entries_max=10)
        cluster.join("a", settings(names(NUMBER, 35)))
        replica = cluster.start("z", 26, "a")
        replica.start_round(cluster.now)
        pages = 0
        while not replica.is_ready:
            (request,) = replica.take_requests()
            answer = cluster.answer(request)
            assert answer is not None
            replica.receive_answer(cluster.now, request, answer)
            if request.message.buckets:
                pages += 1
                self.assertEqual(answer.partial, pages < 4, pages)
                self.assertEqual(len(replica.configuration), min(10 * pages, 35))
                peer = replica.peers.get(1)
                self.assertEqual(peer and peer.agreed_at, float("-inf") if pages < 4 else cluster.now)
        self.assertEqual((pages, len(replica.settings("backend"))), (4, 35))

    def test_waits_while_pages_come(self) -> None:
        """A node waits while pages come, because missing backends would look like removed ones."""
        cluster = Crowded("a", page_entries_max=10)
        cluster.join("a", settings(names(NUMBER, 95)))
        replica = cluster.start("z", 26, "a")
        replica.start_round(cluster.now)
        while not replica.is_ready:
            cluster.now += 0.7
            replica.sweep(cluster.now)
            for request in replica.take_requests():
                cluster.carry("z", request)
            self.assertLess(cluster.now, 1100.0)
        self.assertEqual(len(replica.settings("backend")), 95)
