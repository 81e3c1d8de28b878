"""With whom rounds begin, and how long their answers may take."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from bender.core.contacts import Contacts
from bender.core.links import ALL_MAX, Link, Links, partners
from bender.core.messages import Counter, Message, Request, Sender, Setting
from bender.core.timing import Timing

ADDRESSES = [f"n{i}:1730" for i in range(100)]


class Partners(SynchronousTestCase):
    def test_few(self) -> None:
        """A small cluster talks all to all, in order and without chance."""
        self.assertEqual(partners(ADDRESSES[:ALL_MAX], list), ADDRESSES[:ALL_MAX])  # type: ignore[arg-type]

    def test_how_many(self) -> None:
        """Up to twenty are few."""
        self.assertEqual([len(partners(ADDRESSES[:n], lambda: 0.5)) for n in (20, 21)], [20, 5])

    def test_many(self) -> None:
        """In a large one each node begins rounds with √n others, each time with other ones, and with all in time."""
        chance = random.Random(1).random
        rounds = [partners(ADDRESSES, chance) for _ in range(200)]
        self.assertEqual({len({*each}) for each in rounds}, {10})
        self.assertEqual({address for each in rounds for address in each}, {*ADDRESSES})
        self.assertEqual(partners(ADDRESSES, lambda: 0.999_999)[0], ADDRESSES[-1])


class Limits(SynchronousTestCase):
    """A request's time limit is an interval, and longer where that has turned out to be too short."""

    def setUp(self) -> None:
        self.link = Link("n1:1730")

    def request(self, asked_at: float | None = 1000.0) -> Request:
        return Request("n1:1730", Message(Sender(1, "n2", "n2:1730"), ask=asked_at), 2.0)

    def lose(self, times: int) -> None:
        for _ in range(times):
            self.link.fail(self.request())

    def test_usually(self) -> None:
        self.assertEqual(self.link.limit(2.0), 2.0)
        self.link.succeed(self.request(), 1000.9)
        self.assertEqual(self.link.limit(2.0), 2.0)

    def test_at_first(self) -> None:
        """Before anything was answered it is the interval, however short."""
        self.assertEqual(self.link.limit(0.5), 0.5)

    def test_unanswered(self) -> None:
        """As many in a row as loss alone hardly brings about: the peer may be slow."""
        self.lose(3)
        self.assertEqual(self.link.limit(2.0), 2.0)
        self.lose(1)
        self.assertEqual(self.link.limit(2.0), 6.0)

    def test_answered_again(self) -> None:
        """The next ones have twice the time that the last answer took, but no less than an interval."""
        self.lose(9)
        self.link.succeed(self.request(), 1002.5)
        self.assertEqual(self.link.limit(2.0), 5.0)
        self.link.succeed(self.request(), 1000.1)
        self.assertEqual(self.link.limit(2.0), 2.0)
        self.lose(3)
        self.assertEqual(self.link.limit(2.0), 2.0)

    def test_at_most(self) -> None:
        """However long the last one took, as after a pause of this node itself."""
        self.link.succeed(self.request(), 1060.0)
        self.assertEqual(self.link.limit(2.0), 6.0)

    def test_a_push(self) -> None:
        """When it was made is not known, and its answer changes nothing about that time."""
        self.link.succeed(self.request(), 1002.0)
        self.link.succeed(self.request(None), 1002.1)
        self.assertEqual(self.link.limit(2.0), 4.0)


class Failing(SynchronousTestCase):
    """A link that failed has nothing under way and nothing to send, until a round is answered there."""

    def setUp(self) -> None:
        self.links = Links(1, "n1:1730", {})
        self.link = self.links["n2:1730"]
        self.request = Request("n2:1730", Message(Sender(1, "n1", "n1:1730"), ask=1000.0), 2.0)
        self.link.rounds.add(self.request)
        self.link.push = self.request
        self.link.unsent.append(Setting("backend/b", 1, 1, 0, "ops", b"{}"))

    def test_failed(self) -> None:
        self.link.fail(self.request)
        self.assertEqual((self.link.rounds, self.link.push, self.link.unsent), (set(), None, []))
        self.assertTrue(self.link.failed)

    def test_another_push(self) -> None:
        """The end of a round is not that of a push."""
        other = Request("n2:1730", Message(Sender(1, "n1", "n1:1730")), 2.0, push=True)
        self.link.push = other
        self.link.succeed(self.request, 1001.0)
        self.assertEqual((self.link.rounds, self.link.push), (set(), other))

    def test_answered(self) -> None:
        self.link.fail(self.request)
        self.assertIs(self.links.answered("n2:1730", 2), self.link)
        self.assertEqual((self.link.failed, self.link.incarnation), (False, 2))


class Where(SynchronousTestCase):
    """This node is 1 at n1; seeds stand for addresses, and behind these somebody is found, or not yet."""

    def setUp(self) -> None:
        self.links = Links(1, "n1:1730", {"nodes": ("n2:1730", "n3:1730"), "nowhere": ()})
        self.contacts = Contacts("n1:1730", Timing())

    def meet(self, incarnation: int, address: str) -> None:
        self.contacts.meet(Counter(incarnation, address, address, 1, 0.0, left=False), 1000.0)

    def test_unanswered(self) -> None:
        """A seed has answered when all its addresses have; one that stands for none has not."""
        self.links.answered("n2:1730", 2)
        self.assertEqual(self.links.unanswered(), ["nodes", "nowhere"])
        self.links.answered("n3:1730", 3)
        self.assertEqual(self.links.unanswered(), ["nowhere"])

    def test_expected(self) -> None:
        """What the incarnation before knew is waited for as seeds are."""
        self.links.expected = ("n4:1730",)
        self.assertEqual(self.links.unheard(), ["nodes", "nowhere", "n4:1730"])
        self.links.answered("n4:1730", 4)
        self.assertEqual(self.links.unheard(), ["nodes", "nowhere"])
        self.assertEqual(self.links.addresses(self.contacts), ["n2:1730", "n3:1730", "n4:1730"])

    def test_found(self) -> None:
        """All who answered, but for this node itself."""
        self.links.expected = ("n4:1730",)
        for address, incarnation in (("n2:1730", 1), ("n4:1730", 4)):
            self.links.answered(address, incarnation)
        self.assertEqual(self.links.found(), {4})

    def test_each_once(self) -> None:
        """A round goes to each node once, and none to this one."""
        self.assertEqual(self.links.addresses(self.contacts), ["n2:1730", "n3:1730"])
        self.links.answered("n2:1730", 2)
        self.links.answered("n3:1730", 2)
        self.meet(2, "n5:1730")
        self.meet(3, "n6:1730")
        self.assertEqual(self.links.addresses(self.contacts), ["n2:1730", "n6:1730"])
        self.links.answered("n2:1730", 1)
        self.assertEqual(self.links.addresses(self.contacts), ["n3:1730", "n6:1730"])

    def test_not_worth_trying(self) -> None:
        """Those that have left are not, nor who says that it is at this node's address."""
        self.meet(4, "n4:1730")
        self.meet(5, "n5:1730")
        self.meet(6, "n1:1730")
        gone, doubled = self.contacts.get(4), self.contacts.get(6)
        assert gone is not None
        assert doubled is not None
        gone.left, doubled.replaced = True, False
        self.assertEqual(self.links.addresses(self.contacts), ["n2:1730", "n3:1730", "n5:1730"])

    def test_forgotten(self) -> None:
        """Links go when neither seeds nor contacts have their address any more."""
        self.meet(4, "n4:1730")
        for number in (2, 4, 5):
            self.links.answered(f"n{number}:1730", number)
        self.links.forget(self.contacts)
        self.assertEqual([link.address for link in self.links], ["n2:1730", "n4:1730"])
