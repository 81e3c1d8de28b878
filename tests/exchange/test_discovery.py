"""Looking up the addresses of seeds."""

from __future__ import annotations

from bender.exchange.discovery import LOOK_UP_INTERVAL_S, RETRY_INTERVAL_S, Seeds
from tests.exchange.network import ExchangeCase

SEED = "nodes.example:1730"


class SeedsCase(ExchangeCase):
    def start(self, *seeds: str) -> Seeds:
        service = Seeds(self.network, self.node, seeds)
        service.startService()
        self.network.settle()
        return service


class Addresses(SeedsCase):
    def test_an_address_is_told_at_once_and_not_looked_up(self) -> None:
        """An address as a seed is set at once, and is not looked up."""
        self.start("10.0.0.2:1730", "[fd00::2]:1731")
        self.assertEqual(
            self.node.seeds, [("10.0.0.2:1730", ["10.0.0.2:1730"]), ("[fd00::2]:1731", ["[fd00::2]:1731"])]
        )
        self.network.advance(LOOK_UP_INTERVAL_S)
        self.assertEqual(self.network.names.asked, [])
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_this_machine_is_one_machine(self) -> None:
        """`localhost` is one address, although it resolves to an IPv4 and an IPv6 address."""
        self.network.names.addresses["localhost"] = ["127.0.0.1", "::1"]
        self.start("localhost:1740")
        self.assertEqual(self.node.seeds, [("localhost:1740", ["localhost:1740"])])

    def test_a_seed_listed_twice_is_one(self) -> None:
        """A seed that is listed twice is set and looked up once."""
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.start(SEED, "10.0.0.3:1730", SEED, "10.0.0.3:1730")
        self.assertEqual(len(self.node.seeds), 2)
        self.assertEqual(self.network.names.asked, ["nodes.example"])


class Names(SeedsCase):
    def test_a_name_stands_for_all_its_addresses(self) -> None:
        """A name resolves to all its IPv4 and IPv6 addresses, and a round with them begins at once."""
        self.network.names.addresses["nodes.example"] = ["10.0.0.3", "10.0.0.2", "fd00::2"]
        self.start(SEED)
        found = ["10.0.0.2:1730", "10.0.0.3:1730", "[fd00::2]:1730"]
        self.assertEqual(self.node.seeds, [(SEED, found)])
        self.assertEqual(self.node.rounds, [found])
        self.assertEqual(self.lines, [f"{SEED} resolves to {', '.join(found)}."])

    def test_it_is_looked_up_again(self) -> None:
        """A name is looked up every half minute; changed addresses are set, and a round begins with new ones."""
        self.network.names.addresses["nodes.example"] = ["10.0.0.2", "10.0.0.3"]
        self.start(SEED)
        self.network.advance(LOOK_UP_INTERVAL_S)
        self.assertEqual(len(self.node.seeds), 1)
        self.network.names.addresses["nodes.example"] = ["10.0.0.3", "10.0.0.4"]
        self.network.advance(LOOK_UP_INTERVAL_S - 1)
        self.assertEqual(len(self.node.seeds), 1)
        self.network.advance(1)
        self.assertEqual(self.node.seeds[1:], [(SEED, ["10.0.0.3:1730", "10.0.0.4:1730"])])
        self.assertEqual(self.node.rounds[1:], [["10.0.0.4:1730"]])
        self.assertEqual(len(self.network.names.asked), 3)

    def test_what_it_stood_for_outlives_its_name_server(self) -> None:
        """The addresses of a name stay while it does not resolve, and the failure is logged once."""
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.start(SEED)
        self.network.names.addresses.clear()
        self.network.pump([LOOK_UP_INTERVAL_S, RETRY_INTERVAL_S, RETRY_INTERVAL_S])
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.network.pump([RETRY_INTERVAL_S])
        self.assertEqual(len(self.node.seeds), 1)
        self.assertEqual(self.lines[1:], [f"{SEED} does not resolve to any address."])

    def test_a_name_that_is_not_known_yet_is_tried_sooner(self) -> None:
        """A name that does not resolve is looked up again sooner, because its machine may be starting."""
        self.start(SEED)
        self.assertEqual((self.node.seeds, len(self.lines)), ([], 1))
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.network.advance(RETRY_INTERVAL_S)
        self.assertEqual(self.node.seeds, [(SEED, ["10.0.0.2:1730"])])

    def test_a_slow_name_holds_up_nobody(self) -> None:
        """A slow look-up does not delay others; it is given up after a while, and the name is looked up again."""
        names = self.network.names
        names.addresses.update({"slow.example": ["10.0.0.9"], "nodes.example": ["10.0.0.2"]})
        names.slow.add("slow.example")
        self.start("slow.example:1730", SEED)
        self.assertEqual([seed for seed, _ in self.node.seeds], [SEED])
        self.network.pump([LOOK_UP_INTERVAL_S, RETRY_INTERVAL_S])
        self.assertEqual(names.asked.count("slow.example"), 2)
        names.answer("slow.example")  # both look-ups, of which the first is answered too late
        self.network.settle()
        self.assertEqual([seed for seed, _ in self.node.seeds], [SEED, "slow.example:1730"])

    def test_a_fault_of_the_node_does_not_end_the_look_ups(self) -> None:
        """An exception of the node is logged, and look-ups go on."""

        def fail() -> None:
            raise RuntimeError("a fault")

        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.node.on_round = fail
        self.start(SEED)
        self.network.names.addresses["nodes.example"] = ["10.0.0.3"]
        self.network.advance(LOOK_UP_INTERVAL_S)
        self.assertEqual(self.node.seeds[-1], (SEED, ["10.0.0.3:1730"]))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_nor_does_one_of_the_resolver(self) -> None:
        """An exception of the resolver is logged, and the name is looked up again."""
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.network.names.broken = True
        self.start(SEED)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.network.names.broken = False
        self.network.advance(RETRY_INTERVAL_S)
        self.assertEqual(self.node.seeds, [(SEED, ["10.0.0.2:1730"])])

    def test_they_end_with_the_service(self) -> None:
        """After the stop no addresses are set, whether a look-up is under way or not, and no timer is left."""
        self.network.names.addresses.update({"slow.example": ["10.0.0.9"], "nodes.example": ["10.0.0.2"]})
        self.network.names.slow.add("slow.example")
        service = self.start("slow.example:1730", SEED)
        service.stopService()
        self.network.names.answer("slow.example")
        self.network.advance(LOOK_UP_INTERVAL_S)
        self.assertEqual([seed for seed, _ in self.node.seeds], [SEED])
        self.assertEqual(self.network.getDelayedCalls(), [])


class Replacing(SeedsCase):
    """Seeds are replaced while the node runs."""

    def test_addresses(self) -> None:
        """A round begins with a new address at once; an address that is left out is removed; others stay."""
        service = self.start("10.0.0.2:1730", "10.0.0.3:1730")
        self.node.seeds.clear()
        service.replace(["10.0.0.3:1730", "10.0.0.4:1730"])
        self.assertEqual(self.node.seeds, [("10.0.0.2:1730", []), ("10.0.0.4:1730", ["10.0.0.4:1730"])])
        self.assertEqual(self.node.rounds, [["10.0.0.4:1730"]])

    def test_names(self) -> None:
        """A new name is looked up from now on, and one that is left out is not looked up any more."""
        self.network.names.addresses |= {"nodes.example": ["10.0.0.2"], "others.example": ["10.0.0.3"]}
        service = self.start(SEED)
        service.replace(["others.example:1730"])
        self.network.settle()
        self.assertEqual(self.node.seeds[1:], [(SEED, []), ("others.example:1730", ["10.0.0.3:1730"])])
        self.assertEqual(self.node.rounds[1:], [["10.0.0.3:1730"]])
        self.network.names.asked.clear()
        self.network.advance(LOOK_UP_INTERVAL_S)
        self.assertEqual(self.network.names.asked, ["others.example"])
        service.stopService()
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_of_a_node_that_leaves(self) -> None:
        """After the stop, no name is looked up."""
        service = self.start()
        service.stopService()
        service.replace([SEED, "10.0.0.4:1730"])
        self.network.settle()
        self.assertEqual((self.node.seeds, self.network.names.asked, self.network.getDelayedCalls()), ([], [], []))
