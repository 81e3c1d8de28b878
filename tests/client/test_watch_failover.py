"""A watch continues at another node, and learns the addresses of nodes."""

from __future__ import annotations

from msgspec.structs import replace as evolve
from twisted.internet.defer import CancelledError, Deferred

from bender.client import Watch
from bender.client.sse import SILENCE_S_MAX
from bender.client.watch import FOLLOWED_ANSWER_S_MAX, LOOKS_PER_LEARN, STANDBY_INTERVAL_S, UNREAD_EVENTS_MAX
from tests.client.cluster import ALL, ONE, THREE, TWO, Watcher
from tests.client.watch_case import WatchCase, instance


class Surviving(WatchCase):
    """The followed node fails."""

    def setUp(self) -> None:
        super().setUp()
        self.up(1)
        self.watcher = self.watch()
        self.watcher.named()
        self.network.pass_time(6)  # so that the positions of the other nodes are known

    def test_killed(self) -> None:
        """The watcher continues at another node at once, without missing or repeated events."""
        self.up(2)
        self.machines[ONE].kill(settle=False)
        self.node(THREE).register(instance(3))
        self.down(3)
        self.up(4)
        self.network.pass_time(1)
        self.assertEqual(
            self.watcher.named(),
            ["online 2 registered", "online 3 registered", "offline 3 deregistered", "online 4 registered"],
        )
        self.assertEqual(self.watcher.watch.node, f"{TWO}:1729")

    def test_taking_leave(self) -> None:
        """The watcher also continues at another node when the followed node leaves."""
        self.machines[ONE].leave()
        self.up(2)
        self.network.pass_time(1)
        self.assertEqual(self.watcher.named(), ["online 2 registered"])

    def test_cut_off(self) -> None:
        """The watcher notices that the followed node no longer answers, and delivers all events since then."""
        self.network.cut = {ONE}
        self.up(2)
        self.network.pass_time(5)
        self.down(2)
        self.network.pass_time(STANDBY_INTERVAL_S + FOLLOWED_ANSWER_S_MAX)
        named = self.watcher.named()
        self.assertEqual(
            [each for each in named if each.split()[1] == "2"], ["online 2 registered", "offline 2 deregistered"]
        )
        self.assertIn(self.watcher.watch.node, (f"{TWO}:1729", f"{THREE}:1729"))

    def test_cut_off_where_there_is_no_other(self) -> None:
        """Without another node, the watcher keeps the connection until the time limit for silence."""
        for host in (TWO, THREE):
            self.machines[host].kill()
        self.network.pass_time(5)
        self.up(2, ONE)
        stream = self.watcher.watch._stream
        self.network.cut = {ONE}
        self.network.pass_time(SILENCE_S_MAX - 5)
        self.assertIs(self.watcher.watch._stream, stream)
        self.network.pass_time(15)
        self.assertIsNot(self.watcher.watch._stream, stream)

    def test_one_after_the_other(self) -> None:
        """The watch continues while one node after the other restarts and fails."""
        expected: list[str] = []
        told: list[str] = []
        for i in range(12):
            host, other = ALL[i % 3], ALL[(i + 1) % 3]
            self.machines[host].kill()
            self.up(100 + i, host=other)
            self.down(100 + i, host=other)
            self.network.pass_time(1)
            self.start(host)
            self.network.pass_time(8)
            expected += [f"online {100 + i} registered", f"offline {100 + i} deregistered"]
            told += [each for each in self.watcher.named() if each.split()[1] != "1"]
        self.assertEqual(told, expected)

    def test_one_that_was_restarted_meanwhile(self) -> None:
        """The restarted node is asked from its position after the restart, and sends the events since then."""
        for host in (TWO, THREE):
            self.machines[host].kill()
            self.start(host)
        self.network.pass_time(12)
        self.watcher.named()
        self.machines[ONE].kill(settle=False)
        self.node(THREE).register(instance(2))
        self.down(2)
        self.network.pass_time(2)
        told = [each for each in self.watcher.named() if each.split()[1] == "2"]
        self.assertEqual(told, ["online 2 registered", "offline 2 deregistered"])

    def test_all_of_them(self) -> None:
        """The watch continues when all nodes have failed and started again; missed changes are reported as missed."""
        for host in ALL:
            self.machines[host].kill()
        self.network.pass_time(10)
        for host in ALL:
            self.start(host)
        self.network.pass_time(3)
        self.up(2)
        self.network.pass_time(3)
        self.assertEqual(self.watcher.named(), ["offline 1 missed", "online 2 registered"])

    def test_replaced_meanwhile(self) -> None:
        """A slow program continues after its node was restarted: another node has the missed events."""
        taking, self.watcher.taking = self.watcher.taking, Deferred()
        taking.cancel()
        self.failureResultOf(taking, CancelledError)
        for port in range(1000, 1000 + 2 * UNREAD_EVENTS_MAX):
            self.node(ONE).register(evolve(instance(port), ttl_s=3600.0))
        self.network.pass_time(3)
        self.machines[ONE].kill()
        self.network.pass_time(1)
        self.start(ONE)
        self.network.pass_time(3)
        self.up(2)
        self.down(2)
        self.network.pass_time(1)
        watcher = Watcher(self.watcher.watch)
        self.watcher.taking = watcher.taking
        self.network.pass_time(5)
        self.assertEqual(
            [each for each in watcher.named() if len(each.split()[1]) == 1],
            ["offline 1 expired", "online 2 registered", "offline 2 deregistered"],
        )

    def test_who_watches_may_be_told(self) -> None:
        """`on_away` is called once each time that no node can be followed."""
        told: list[list[str]] = []
        self.watcher.watch.on_away = lambda problems: told.append([*problems])
        self.machines[ONE].kill()
        self.network.pass_time(5)
        self.assertEqual(told, [])
        for host in (TWO, THREE):
            self.machines[host].kill()
        self.network.pass_time(5)
        self.assertEqual([sorted(nodes) for nodes in told], [[f"{host}:1729" for host in ALL]])
        for host in ALL:
            self.start(host)
        self.network.pass_time(5)
        for host in ALL:
            self.machines[host].kill()
        self.network.pass_time(5)
        self.assertEqual(len(told), 2)

    def test_before_there_was_a_snapshot(self) -> None:
        """A watch whose node fails before the snapshot still delivers a snapshot."""
        self.machines[ONE].kill()
        watch: Watch = self.client(ONE, TWO).watch()
        watcher = Watcher(watch)
        self.addCleanup(self.end, watcher)
        self.network.pass_time(1)
        self.assertEqual(watcher.named(), ["online 1 snapshot", "synced snapshot"])


class Learning(WatchCase):
    def test_one_node_is_enough(self) -> None:
        """A watch that was given one node learns the others."""
        watcher = self.watch(self.client(ONE))
        self.network.pass_time(6)
        self.machines[ONE].kill()
        self.up(1)
        self.network.pass_time(1)
        self.assertEqual(watcher.named(), ["synced snapshot", "online 1 registered"])

    def test_nodes_that_took_their_leave(self) -> None:
        """Positions of nodes that have left are not used."""
        self.machines[THREE].leave()
        watcher = self.watch(self.client(ONE))
        self.network.pass_time(STANDBY_INTERVAL_S * LOOKS_PER_LEARN - 4)
        self.machines[TWO].leave()  # just before the client learns the nodes
        self.network.pass_time(8)
        self.machines[ONE].kill()
        self.start(ONE)
        self.network.pass_time(10)
        self.up(1, host=ONE)
        self.network.pass_time(5)
        self.assertEqual(watcher.named(), ["synced snapshot", "online 1 registered"])
