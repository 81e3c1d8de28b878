"""A cluster for tests of the node-loss guard."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.core.cluster import Cluster

GUARD_S = 30.0

#: The time for which a claim counts after its node was last heard.
COUNTS_S = 13.0


def member(number: int, app: str = "web") -> str:
    return f"registration/{app}/1.0/10.0.0.{number}/80"


class GuardCase(SynchronousTestCase):
    """Nodes a, b and c; instances renew every four seconds at the node where they registered."""

    guard_s = GUARD_S
    names = "abc"

    def setUp(self) -> None:
        self.cluster = Cluster(self.names, guard_s=self.guard_s)
        self.homes: dict[str, str] = {}

    def live(self, name: str, *numbers: int, app: str = "web", ttl_s: float = 10.0) -> None:
        for number in numbers:
            self.cluster.register(name, member(number, app), ttl_s=ttl_s)
            self.homes[member(number, app)] = name

    def cut(self, *names: str) -> None:
        """Cut these nodes off from the others."""
        self.cluster.cut.update(names)

    def heal(self) -> None:
        self.cluster.cut.clear()

    def run_for(self, seconds: float) -> None:
        """Let time pass while each instance renews at its node."""
        until = self.cluster.now + seconds
        while self.cluster.now < until:
            for key, name in self.homes.items():
                self.cluster[name].renew(self.cluster.now, key)
            self.cluster.run(min(4.0, until - self.cluster.now))

    def listed(self, name: str = "a", app: str = "web") -> str:
        """Return the numbers of the listed members, with a question mark for suspects."""
        view = self.cluster[name].view
        keys = sorted(view.member_keys(app))
        return " ".join(key.split("/")[3][len("10.0.0.") :] + "?" * view.status(key).suspect for key in keys)

    def told(self, number: int = 1, name: str = "a") -> list[str]:
        """Return the events of a member."""
        return [
            f"{event.change} {event.reason}{' suspect' * event.status.suspect}"
            for event in self.cluster.events[name]
            if event.key == member(number)
        ]


class SuspectCase(GuardCase):
    """Two of three members are suspect because b is silent."""

    def setUp(self) -> None:
        super().setUp()
        self.live("b", 1, 2)
        self.live("a", 3)
        self.cut("b")
        self.run_for(COUNTS_S + 0.5)
        self.assertEqual(self.listed(), "1? 2? 3")
