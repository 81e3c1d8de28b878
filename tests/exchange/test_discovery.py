"""Where the peers are that people named."""

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
        """It stands for itself."""
        self.start("10.0.0.2:1730", "[fd00::2]:1731")
        self.assertEqual(
            self.node.seeds, [("10.0.0.2:1730", ["10.0.0.2:1730"]), ("[fd00::2]:1731", ["[fd00::2]:1731"])]
        )
        self.network.advance(LOOK_UP_INTERVAL_S)
        self.assertEqual(self.network.names.asked, [])
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_this_machine_is_one_machine(self) -> None:
        """Though its name has an address of either kind, at one of which nobody may listen."""
        self.network.names.addresses["localhost"] = ["127.0.0.1", "::1"]
        self.start("localhost:1740")
        self.assertEqual(self.node.seeds, [("localhost:1740", ["localhost:1740"])])

    def test_a_seed_listed_twice_is_one(self) -> None:
        """It is told, and looked up, once."""
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.start(SEED, "10.0.0.3:1730", SEED, "10.0.0.3:1730")
        self.assertEqual(len(self.node.seeds), 2)
        self.assertEqual(self.network.names.asked, ["nodes.example"])


class Names(SeedsCase):
    def test_a_name_stands_for_all_its_addresses(self) -> None:
        """Of either kind, and a round begins with them at once."""
        self.network.names.addresses["nodes.example"] = ["10.0.0.3", "10.0.0.2", "fd00::2"]
        self.start(SEED)
        found = ["10.0.0.2:1730", "10.0.0.3:1730", "[fd00::2]:1730"]
        self.assertEqual(self.node.seeds, [(SEED, found)])
        self.assertEqual(self.node.rounds, [found])
        self.assertEqual(self.lines, [f"{SEED} resolves to {', '.join(found)}."])

    def test_it_is_looked_up_again(self) -> None:
        """Every half minute; what changed is told, and a round begins with those that are new."""
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
        """While nothing is found the node is told nothing, and the log says so once."""
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.start(SEED)
        self.network.names.addresses.clear()
        self.network.pump([LOOK_UP_INTERVAL_S, RETRY_INTERVAL_S, RETRY_INTERVAL_S])
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.network.pump([RETRY_INTERVAL_S])
        self.assertEqual(len(self.node.seeds), 1)
        self.assertEqual(self.lines[1:], [f"{SEED} does not resolve to any address."])

    def test_a_name_that_is_not_known_yet_is_tried_sooner(self) -> None:
        """The machine behind it may just be starting."""
        self.start(SEED)
        self.assertEqual((self.node.seeds, len(self.lines)), ([], 1))
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.network.advance(RETRY_INTERVAL_S)
        self.assertEqual(self.node.seeds, [(SEED, ["10.0.0.2:1730"])])

    def test_a_slow_name_holds_up_nobody(self) -> None:
        """The others are found, it is given up after a while, and asked again after that."""
        names = self.network.names
        names.addresses.update({"slow.example": ["10.0.0.9"], "nodes.example": ["10.0.0.2"]})
        names.slow.add("slow.example")
        self.start("slow.example:1730", SEED)
        self.assertEqual([seed for seed, _ in self.node.seeds], [SEED])
        self.network.pump([LOOK_UP_INTERVAL_S, RETRY_INTERVAL_S])
        self.assertEqual(names.asked.count("slow.example"), 2)
        names.answer("slow.example")  # both, of which the first comes too late
        self.network.settle()
        self.assertEqual([seed for seed, _ in self.node.seeds], [SEED, "slow.example:1730"])

    def test_a_fault_of_the_node_does_not_end_the_look_ups(self) -> None:
        """It is logged, and they go on."""

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
        """It is logged as well, and the name tried again."""
        self.network.names.addresses["nodes.example"] = ["10.0.0.2"]
        self.network.names.broken = True
        self.start(SEED)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.network.names.broken = False
        self.network.advance(RETRY_INTERVAL_S)
        self.assertEqual(self.node.seeds, [(SEED, ["10.0.0.2:1730"])])

    def test_they_end_with_the_service(self) -> None:
        """Whether one is under way or waits for its time, none is told after that, and no timer is left."""
        self.network.names.addresses.update({"slow.example": ["10.0.0.9"], "nodes.example": ["10.0.0.2"]})
        self.network.names.slow.add("slow.example")
        service = self.start("slow.example:1730", SEED)
        service.stopService()
        self.network.names.answer("slow.example")
        self.network.advance(LOOK_UP_INTERVAL_S)
        self.assertEqual([seed for seed, _ in self.node.seeds], [SEED])
        self.assertEqual(self.network.getDelayedCalls(), [])


class Replacing(SeedsCase):
    """Other seeds than at the start, while the node runs."""

    def test_addresses(self) -> None:
        """A new one is told, and a round begins with it at once; one that is left out is removed; others stay."""
        service = self.start("10.0.0.2:1730", "10.0.0.3:1730")
        self.node.seeds.clear()
        service.replace(["10.0.0.3:1730", "10.0.0.4:1730"])
        self.assertEqual(self.node.seeds, [("10.0.0.2:1730", []), ("10.0.0.4:1730", ["10.0.0.4:1730"])])
        self.assertEqual(self.node.rounds, [["10.0.0.4:1730"]])

    def test_names(self) -> None:
        """A new one is looked up from now on, one that is left out not any more."""
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
        """No name is looked up any more."""
        service = self.start()
        service.stopService()
        service.replace([SEED, "10.0.0.4:1730"])
        self.network.settle()
        self.assertEqual((self.node.seeds, self.network.names.asked, self.network.getDelayedCalls()), ([], [], []))
