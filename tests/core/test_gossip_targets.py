"""The nodes with which rounds begin, and the time limits of requests."""

from __future__ import annotations

import random

from twisted.trial.unittest import SynchronousTestCase

from bender.core.gossip_targets import ALL_MAX, UNREACHED_MAX, Link, Links, partners
from bender.core.messages import ConfigSetting, Counter, Message, OutgoingMessage, Sender
from bender.core.peers import Peers
from bender.core.timing import Timing

ADDRESSES = [f"n{i}:1730" for i in range(100)]


class Partners(SynchronousTestCase):
    def test_few(self) -> None:
        """In a small cluster each node begins rounds with all others, in order and without chance."""
        self.assertEqual(partners(ADDRESSES[:ALL_MAX], list), ADDRESSES[:ALL_MAX])  # type: ignore[arg-type]

    def test_how_many(self) -> None:
        """Up to twenty nodes are a small cluster."""
        self.assertEqual([len(partners(ADDRESSES[:n], lambda: 0.5)) for n in (20, 21)], [20, 5])

    def test_many(self) -> None:
        """In a large cluster each node begins a round with √n others, different ones in each round."""
        chance = random.Random(1).random
        rounds = [partners(ADDRESSES, chance) for _ in range(200)]
        self.assertEqual({len({*each}) for each in rounds}, {10})
        self.assertEqual({address for each in rounds for address in each}, {*ADDRESSES})
        self.assertEqual(partners(ADDRESSES, lambda: 0.999_999)[0], ADDRESSES[-1])


class Limits(SynchronousTestCase):
    """The time limit of a request is an interval, or more if answers took longer."""

    def setUp(self) -> None:
        self.link = Link("n1:1730")

    def request(self, asked_at: float | None = 1000.0) -> OutgoingMessage:
        return OutgoingMessage("n1:1730", Message(Sender(1, "n2", "n2:1730"), ask=asked_at), 2.0)

    def lose(self, times: int) -> None:
        for _ in range(times):
            self.link.note_failure(self.request())

    def test_usually(self) -> None:
        self.assertEqual(self.link.time_limit_s(2.0), 2.0)
        self.link.note_answer(self.request(), 1000.9)
        self.assertEqual(self.link.time_limit_s(2.0), 2.0)

    def test_at_first(self) -> None:
        """Before any answer the time limit is the interval."""
        self.assertEqual(self.link.time_limit_s(0.5), 0.5)

    def test_unanswered(self) -> None:
        """The time limit is longer after several unanswered requests in a row, because the peer may be slow."""
        self.lose(3)
        self.assertEqual(self.link.time_limit_s(2.0), 2.0)
        self.lose(1)
        self.assertEqual(self.link.time_limit_s(2.0), 6.0)

    def test_answered_again(self) -> None:
        """The time limit is twice the time of the last answer, and at least an interval."""
        self.lose(9)
        self.link.note_answer(self.request(), 1002.5)
        self.assertEqual(self.link.time_limit_s(2.0), 5.0)
        self.link.note_answer(self.request(), 1000.1)
        self.assertEqual(self.link.time_limit_s(2.0), 2.0)
        self.lose(3)
        self.assertEqual(self.link.time_limit_s(2.0), 2.0)

    def test_at_most(self) -> None:
        """The time limit has a maximum, however long the last answer took."""
        self.link.note_answer(self.request(), 1060.0)
        self.assertEqual(self.link.time_limit_s(2.0), 6.0)

    def test_a_push(self) -> None:
        """The answer to a push does not change the time limit, because its time of sending is unknown."""
        self.link.note_answer(self.request(), 1002.0)
        self.link.note_answer(self.request(None), 1002.1)
        self.assertEqual(self.link.time_limit_s(2.0), 4.0)


class Failing(SynchronousTestCase):
    """A link that failed has no open requests and no unsent settings, until a round is answered."""

    def setUp(self) -> None:
        self.links = Links(1, "n1:1730", {})
        self.link = self.links["n2:1730"]
        self.request = OutgoingMessage("n2:1730", Message(Sender(1, "n1", "n1:1730"), ask=1000.0), 2.0)
        self.link.open_rounds.add(self.request)
        self.link.open_push = self.request
        self.link.unsent_settings.append(ConfigSetting("backend/b", 1, 1, 0, "ops", b"{}"))

    def test_failed(self) -> None:
        self.link.note_failure(self.request)
        self.assertEqual((self.link.open_rounds, self.link.open_push, self.link.unsent_settings), (set(), None, []))
        self.assertTrue(self.link.has_failed)

    def test_another_push(self) -> None:
        """The end of a round does not close a push."""
        other = OutgoingMessage("n2:1730", Message(Sender(1, "n1", "n1:1730")), 2.0, push=True)
        self.link.open_push = other
        self.link.note_answer(self.request, 1001.0)
        self.assertEqual((self.link.open_rounds, self.link.open_push), (set(), other))

    def test_answered(self) -> None:
        self.link.note_failure(self.request)
        self.assertIs(self.links.note_answer("n2:1730", 2), self.link)
        self.assertEqual((self.link.has_failed, self.link.incarnation), (False, 2))


class Where(SynchronousTestCase):
    """This node is 1 at n1; seeds resolve to addresses, at which nodes have answered or not."""

    def setUp(self) -> None:
        self.links = Links(1, "n1:1730", {"nodes": ("n2:1730", "n3:1730"), "nowhere": ()})
        self.peers = Peers("n1:1730", Timing())

    def meet(self, incarnation: int, address: str) -> None:
        self.peers.meet(Counter(incarnation, address, address, 1, 0.0, left=False), 1000.0)

    def test_unanswered(self) -> None:
        """A seed has answered when all its addresses have; a seed without addresses has not."""
        self.links.note_answer("n2:1730", 2)
        self.assertEqual(self.links.unanswered_seeds(), ["nodes", "nowhere"])
        self.links.note_answer("n3:1730", 3)
        self.assertEqual(self.links.unanswered_seeds(), ["nowhere"])

    def test_expected(self) -> None:
        """A node waits for the addresses that the former incarnation knew, as it does for seeds."""
        self.links.expected_addresses = ("n4:1730",)
        self.assertEqual(self.links.unreached(), ["nodes", "nowhere", "n4:1730"])
        self.links.note_answer("n4:1730", 4)
        self.assertEqual(self.links.unreached(), ["nodes", "nowhere"])
        self.assertEqual(self.links.addresses(self.peers), ["n2:1730", "n3:1730", "n4:1730"])

    def test_found(self) -> None:
        """The found incarnations are those that have answered, without this node itself."""
        self.links.expected_addresses = ("n4:1730",)
        for address, incarnation in (("n2:1730", 1), ("n4:1730", 4)):
            self.links.note_answer(address, incarnation)
        self.assertEqual(self.links.found_incarnations(), {4})

    def test_each_once(self) -> None:
        """A round has each node once, and not this one."""
        self.assertEqual(self.links.addresses(self.peers), ["n2:1730", "n3:1730"])
        self.links.note_answer("n2:1730", 2)
        self.links.note_answer("n3:1730", 2)
        self.meet(2, "n5:1730")
        self.meet(3, "n6:1730")
        self.assertEqual(self.links.addresses(self.peers), ["n2:1730", "n6:1730"])
        self.links.note_answer("n2:1730", 1)
        self.assertEqual(self.links.addresses(self.peers), ["n3:1730", "n6:1730"])

    def test_not_worth_trying(self) -> None:
        """Peers that left, and peers that advertise this node's address, are left out."""
        self.meet(4, "n4:1730")
        self.meet(5, "n5:1730")
        self.meet(6, "n1:1730")
        gone, doubled = self.peers.get(4), self.peers.get(6)
        assert gone is not None
        assert doubled is not None
        gone.left, doubled.replaced = True, False
        self.assertEqual(self.links.addresses(self.peers), ["n2:1730", "n3:1730", "n5:1730"])

    def test_forgotten(self) -> None:
        """A link is forgotten when no seed and no peer has its address."""
        self.meet(4, "n4:1730")
        for number in (2, 4, 5):
            self.links.note_answer(f"n{number}:1730", number)
        self.links.forget(self.peers)
        self.assertEqual([link.address for link in self.links], ["n2:1730", "n4:1730"])

    def test_not_forgotten(self) -> None:
        """A link stays while a request is open, and while a new incarnation waits for its address."""
        request = OutgoingMessage("n5:1730", Message(Sender(1, "n1", "n1:1730")), 2.0)
        self.links["n5:1730"].open_rounds.add(request)
        self.links["n6:1730"].open_push = request
        self.links.expected_addresses = ("n7:1730",)
        for number in (7, 8):
            self.links.note_answer(f"n{number}:1730", number)
        self.links.forget(self.peers)
        self.assertEqual([link.address for link in self.links], ["n5:1730", "n6:1730", "n7:1730"])


class Unreached(SynchronousTestCase):
    """Addresses that have never answered have a quota in each round, because they may not exist."""

    def setUp(self) -> None:
        self.links = Links(1, "n1:1730", {"nodes": ("seed:1730",)})
        self.peers = Peers("n1:1730", Timing())

    def meet(self, *incarnations: int) -> None:
        for i in incarnations:
            self.peers.meet(Counter(i, f"n{i}", f"n{i}:1730", 1, 0.0, left=False), 1000.0)

    def answered(self, *incarnations: int) -> None:
        for i in incarnations:
            self.links.note_answer(f"n{i}:1730", i)

    def lose(self, *addresses: str) -> None:
        for address in addresses:
            self.links[address].note_failure(
                OutgoingMessage(address, Message(Sender(1, "n1", "n1:1730"), ask=1000.0), 2.0)
            )

    def asked(self) -> list[str]:
        return self.links.addresses(self.peers)

    def test_few_nodes(self) -> None:
        """A round has twenty unreached addresses, and always the seeds."""
        self.meet(*range(2, 102))
        for _ in range(50):
            self.lose("seed:1730")
        self.assertEqual(self.asked(), ["seed:1730", *(f"n{i}:1730" for i in range(2, 22))])

    def test_as_many_as_were_found(self) -> None:
        """A round has as many unreached addresses as reached ones, so a large cluster is found fast."""
        self.meet(*range(2, 202))
        self.answered(*range(2, 52))
        asked = self.asked()
        self.assertEqual((len(asked), asked[:51]), (102, ["seed:1730", *(f"n{i}:1730" for i in range(2, 52))]))
        self.assertEqual(asked[51:], [f"n{i}:1730" for i in range(52, 103)])

    def test_in_turn(self) -> None:
        """Addresses with the fewest failures are first, so each address has its turn, and a new one is first."""
        self.meet(*range(2, 62))
        seen = []
        for _ in range(3):
            tried = self.asked()[1:]
            self.lose(*tried)
            seen += tried
        self.assertEqual(seen, [f"n{i}:1730" for i in range(2, 62)])
        self.meet(99)
        self.assertEqual(self.asked()[1], "n99:1730")

    def test_under_way(self) -> None:
        """Addresses with open requests also wait for their turn, because they may not exist."""
        self.meet(*range(2, 62))
        seen = []
        for _ in range(3):
            tried = self.asked()[1:]
            for address in tried:
                request = OutgoingMessage(address, Message(Sender(1, "n1", "n1:1730"), ask=1000.0), 2.0)
                self.links[address].open_rounds.add(request)
            seen += tried
        self.assertEqual(seen, [f"n{i}:1730" for i in range(2, 62)])

    def test_once_found(self) -> None:
        """An address that has answered is no longer unreached, even if it fails."""
        self.meet(*range(2, 62))
        self.answered(61)
        self.lose(*["n61:1730"] * 9)
        self.assertEqual(self.asked()[:3], ["seed:1730", "n61:1730", "n2:1730"])
        self.assertEqual([self.links.has_reached(f"n{i}:1730") for i in (61, 2, 99)], [True, False, False])

    def test_expected(self) -> None:
        """Addresses that the former incarnation knew are always tried, like seeds."""
        self.links.expected_addresses = tuple(f"e{i}:1730" for i in range(30))
        self.meet(*range(2, 102))
        self.assertEqual(self.asked()[:31], ["seed:1730", *self.links.expected_addresses])
        self.assertEqual(len(self.asked()), 62)

    def test_one_address_of_many(self) -> None:
        """An address counts once, however many peers advertise it."""
        for i in range(2, 42):
            self.peers.meet(Counter(i, f"n{i}", f"h{i % 2}:1730", 1, 0.0, left=False), 1000.0)
        self.peers.meet(Counter(50, "n50", "seed:1730", 1, 0.0, left=False), 1000.0)
        self.assertEqual(self.asked(), ["seed:1730", "h0:1730", "h1:1730"])

    def test_strangers(self) -> None:
        """Twenty unknown senders are asked until the next heartbeat; reached addresses are always asked."""
        self.answered(2)
        asked = [self.links.may_try(f"n{i}:1730") for i in range(3, 25)]
        self.assertEqual(asked, [True] * 20 + [False] * 2)
        self.assertTrue(self.links.may_try("n2:1730"))
        self.assertEqual((self.links.tried_count, UNREACHED_MAX), (22, 20))
