"""The rate of requests from each client."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from bender.net.request_rate import RequestRate


class Rates(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.25)
        self.rate = RequestRate(self.clock.seconds)
        self.rate.per_s = 4

    def take(self, count: int, client: str = "a") -> list[float]:
        return [round(self.rate.take(client), 3) for _ in range(count)]

    def test_no_limit(self) -> None:
        self.rate.per_s = 0
        self.assertEqual(self.take(1000), [0] * 1000)
        self.assertEqual((self.rate.highest_recent, self.rate.peak), (0, 0))

    def test_a_second_at_once(self) -> None:
        """A client may send the requests of one second at once; the next request has to wait."""
        self.assertEqual(self.take(6), [0, 0, 0, 0, 0.25, 0.25])
        self.clock.advance(0.25)
        self.assertEqual(self.take(2), [0, 0.25])
        self.clock.advance(100)
        self.assertEqual(self.take(5), [0, 0, 0, 0, 0.25])
        self.assertEqual(self.rate.refused, 4)

    def test_a_steady_client(self) -> None:
        """A client at exactly the permitted rate is never refused."""
        for _ in range(1000):
            self.assertEqual(self.take(1), [0])
            self.clock.advance(0.25)

    def test_clients_do_not_share(self) -> None:
        self.take(100)
        self.assertEqual(self.take(4, "b"), [0] * 4)

    def test_less_than_one_a_second(self) -> None:
        self.rate.per_s = 0.1
        self.assertEqual(self.take(2), [0, 10])
        self.clock.advance(10)
        self.assertEqual(self.take(1), [0])

    def test_given_back(self) -> None:
        """A request that was counted twice is given back, and costs one."""
        for _ in range(4):
            self.assertEqual(self.take(1), [0])
            self.rate.give_back("a")
            self.assertEqual(self.take(1), [0])
        self.assertEqual(self.take(1), [0.25])
        self.rate.give_back("nobody")

    def test_use(self) -> None:
        """The use is the highest rate of any client in this second or the last; the peak is that of all time."""
        self.take(3)
        self.take(7, "b")
        self.assertEqual((self.rate.highest_recent, self.rate.peak), (7, 7))
        self.clock.advance(1)
        self.take(1)
        self.assertEqual((self.rate.highest_recent, self.rate.peak), (7, 7))
        self.clock.advance(1)
        self.take(1)
        self.assertEqual((self.rate.highest_recent, self.rate.peak), (1, 7))
        self.clock.advance(5)
        self.assertEqual((self.rate.highest_recent, self.rate.peak), (0, 7))

    def test_the_log_names_the_client(self) -> None:
        """The log names the client at most once a second."""
        with capturedLogs() as logs:
            self.take(20)
            self.clock.advance(1)
            self.take(20, "b")
        self.assertEqual(
            [formatEvent(each) for each in logs],
            [f"{client} sends more than 4 requests a second, the maximum: some are refused." for client in "ab"],
        )

    def test_clients_are_forgotten(self) -> None:
        """A client with a full bucket is forgotten."""
        for number in range(1000):
            self.take(1, str(number))
        self.clock.advance(2)
        self.take(1)
        self.assertEqual(len(self.rate._full_at), 1)
