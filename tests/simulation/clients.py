"""Instances: they register at a node, renew there or elsewhere, fail over to other nodes, change, and end.

A client knows only the answers that it receives. What really happened is known only to the oracle, to which `front`
reports it: for instance that an answer was lost, or that a renewal waited in a paused node's inbox until after its
client had ended.
"""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Literal

from attrs import evolve

from bender.core.admin_state import key_of_state
from bender.core.reasons import CHECK_FAILED
from bender.core.replica import NotReady
from tests.simulation.front import Wanted, configure, deregister, lift_guard, register, renew, shorten, when_ready

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster, Node

#: The node to which a client sends its next renewal: always the same, the next one after a failure, always the next
#: one, or any.
Habit = Literal["stick", "fail over", "rotate", "wander"]

#: The app of all instances.
APP = "web"

Operation = Literal["register", "renew", "deregister"]


class Reach:
    """The nodes that clients can reach. During a partition each node and each client is on one side."""

    def __init__(self) -> None:
        self.sides: tuple[frozenset[str], frozenset[str]] | None = None


class Tokens:
    """The tokens of instances, and the random numbers that decide when one instance hands over to another."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self._given = 0

    def next(self) -> int:
        self._given += 1
        return self._given


def instance(number: int) -> str:
    """Return the key of the instance with this number."""
    return f"registration/{APP}/{number % 3}/10.0.0.{number}/80"


class Client:
    """One instance, which may end and begin again any number of times."""

    def __init__(
        self, cluster: Cluster, reach: Reach, number: int, *, hard: bool, tokens: Tokens | None = None
    ) -> None:
        """`number` is that of the instance. Several clients may have the same number, as two processes on one port do.

        With `tokens` the client has another token each time it begins, and sometimes begins before its predecessor
        ends.
        """
        random = cluster.random
        self.cluster = cluster
        self.reach = reach
        self.key = instance(number)
        habits: tuple[Habit, ...] = ("stick", "stick", "fail over", "rotate", "rotate", "wander")
        self.habit: Habit = random.choice(habits[2:] if hard else habits)
        self.home = random.randrange(16)
        self.side = random.randrange(2)
        ttl_s = cluster.timing.ttl_s
        self.wanted = Wanted(ttl_s if random.random() < 0.85 else ttl_s * random.choice([0.5, 2.0]))
        if self.wanted.ttl_s < 4 * cluster.interval_s:
            self.wanted = Wanted(ttl_s)
        self.period_s = self.wanted.ttl_s * random.choice([0.95, 0.97, 0.5] if hard else [0.3, 0.5, 0.95, 0.97])
        self.puts = random.random() < 0.4
        #: The seconds between the end of the connection and the end of a client with a session; None without a
        #: session.
        self.grace_s = random.choice([0.0, 1.0, 3.0]) * cluster.interval_s if random.random() < 0.15 else None
        self.habit = "stick" if self.grace_s is not None and random.random() < 0.5 else self.habit
        #: The node that last accepted a request of the client.
        self.last: Node | None = None
        self.doubles = random.random() < 0.15
        self._tokens = tokens
        #: The reason that the client sends with a deregistration.
        self.reason: str | None = None
        #: The number of intents that the client has had. The client drops what belongs to an earlier intent.
        self._intent = 0
        self._over = False

    # Intents.

    def begin(self) -> None:
        """Register and renew until an event ends the client."""
        if self._over:
            return
        cluster, random = self.cluster, self.cluster.random
        self._intent += 1
        intent = self._intent
        if self._tokens is not None:
            self.wanted = evolve(self.wanted, instance=self._tokens.next())
            self.reason = CHECK_FAILED if self._tokens.chance.random() < 0.3 else None
        self._attempt(intent, "register")
        if self.doubles:
            self._send(self._any(), "register", intent, follow=False)
        fate, interval_s = random.random(), cluster.interval_s
        at = cluster.now + random.uniform(4, 40) * interval_s
        if fate < 0.3:
            cluster.at(at, self._stop, intent)
        elif fate < 0.6:
            cluster.at(at, self._say_goodbye, intent)
        elif fate < 0.8:
            cluster.at(at, self._change, intent)

    def end(self) -> None:
        """End the client for ever."""
        self._over = True
        self._intent += 1

    def _stop(self, intent: int) -> None:
        if intent != self._intent:
            return
        self._intent += 1
        if self.grace_s is not None and self.last is not None:
            node = self.last
            self.cluster.deliver(node, node.boot, partial(self._end_session, node, self.grace_s))
        if self.cluster.random.random() < 0.3:
            self.cluster.after(self.cluster.random.uniform(1, 25) * self.cluster.interval_s, self.begin)

    def _end_session(self, node: Node, grace_s: float) -> None:
        if not node.left:
            shorten(self.cluster, node, self.key, grace_s)

    def _change(self, intent: int) -> None:
        if intent != self._intent:
            return
        self._want_something_else()
        self._send(self._next(), "register", intent, follow=False)

    def _want_something_else(self) -> None:
        random = self.cluster.random
        ttl_s = self.wanted.ttl_s
        if random.random() < 0.2:
            ttl_s = max(ttl_s * random.choice([0.5, 2.0]), 4 * self.cluster.interval_s)
        self.wanted = evolve(self.wanted, ttl_s=ttl_s, meta=self.wanted.meta + 1)
        self.period_s = min(self.period_s, 0.95 * ttl_s)

    def _say_goodbye(self, intent: int) -> None:
        if intent != self._intent:
            return
        random = self.cluster.random
        if self._tokens is not None and self._tokens.chance.random() < 0.5:
            self._hand_over(self._tokens.chance)
            return
        if random.random() < 0.5 and self.habit != "stick":
            self._send(self._next(), "register", intent, follow=False)
        elif random.random() < 0.5:  # Another node, which lacks the change, may then receive the end.
            self._want_something_else()
            self._send(self._any(), "register", intent, follow=False)
        self._intent += 1
        delay_s = random.choice([0.001, 0.02, 0.05, 0.5]) * self.cluster.interval_s
        self.cluster.after(delay_s, self._attempt, self._intent, "deregister")
        if random.random() < 0.3:
            self.cluster.after(random.uniform(1, 15) * self.cluster.interval_s, self.begin)

    def _hand_over(self, chance: Random) -> None:
        """Let another process take the client's place and deregister this client at any node."""
        before = self.wanted
        self.begin()
        delay_s = chance.choice([0.0, 0.001, 0.01, 0.5]) * self.cluster.interval_s
        node = self._node(chance.randrange(16))
        self.cluster.after(delay_s, self._send_for, before, node)

    def _send_for(self, before: Wanted, node: Node) -> None:
        call = Call(self, node, "deregister", self._intent, follow=False)
        call.wanted = before
        self.cluster.after(0.001, call.arrive)

    # Requests.

    def _attempt(self, intent: int, operation: Operation) -> None:
        if intent == self._intent:
            self._send(self._next(), operation, intent, follow=True)

    def _next(self) -> Node:
        if self.habit == "rotate":
            self.home += 1
        elif self.habit == "wander":
            self.home = self.cluster.random.randrange(16)
        return self._node(self.home)

    def _any(self) -> Node:
        return self._node(self.cluster.random.randrange(16))

    def _node(self, number: int) -> Node:
        nodes = [*self.cluster.nodes.values()]
        return nodes[number % len(nodes)]

    def _send(self, node: Node, operation: Operation, intent: int, *, follow: bool) -> None:
        """Send a request. With `follow` the client continues according to the answer."""
        call = Call(self, node, operation, intent, follow=follow)
        self.cluster.after(self.cluster.random.uniform(0.001, 0.01), call.arrive)

    def reaches(self, node: Node) -> bool:
        return self.reach.sides is None or node.name in self.reach.sides[self.side]

    # Answers.

    def answered(self, call: Call, *, found: bool) -> None:
        if call.intent != self._intent or not call.follow or call.operation == "deregister":
            return
        if found:
            self.last = call.node
        cluster = self.cluster
        if not found:
            cluster.after(0.001, self._send_again, call)
            return
        again = "renew" if self.puts else "register"
        cluster.at(max(call.sent_at + self.period_s, cluster.now), self._attempt, call.intent, again)

    def _send_again(self, call: Call) -> None:
        if call.intent == self._intent:
            self._send(call.node, "register", call.intent, follow=True)

    def failed(self, call: Call) -> None:
        if call.intent != self._intent or not call.follow:
            return
        if self.habit == "fail over":
            self.home += 1
        operation: Operation = "register" if call.operation == "renew" and not self.puts else call.operation
        self.cluster.after(0.3 * self.cluster.interval_s, self._attempt, call.intent, operation)


class Call:
    """One request of a client."""

    __slots__ = ("client", "follow", "intent", "life", "node", "operation", "over", "sent_at", "wanted")

    def __init__(self, client: Client, node: Node, operation: Operation, intent: int, *, follow: bool) -> None:
        self.client = client
        self.node = node
        self.operation = operation
        self.intent = intent
        self.follow = follow
        self.wanted = client.wanted
        self.sent_at = client.cluster.now
        self.life = node.life
        self.over = False

    def arrive(self) -> None:
        cluster, node = self.client.cluster, self.node
        if not node.up or node.left:
            self._answer(None)
            return
        if node.full or not self.client.reaches(node):
            cluster.after(2 * cluster.interval_s, self._answer, None)
            return
        self.life = node.life
        if node.paused_at is not None:
            if self.operation != "deregister":
                cluster.history.request_waits(node.life, self.client.key)
            if self.client.habit != "stick":
                cluster.after(2 * cluster.interval_s, self._answer, None)
        cluster.deliver(node, node.boot, partial(when_ready, cluster, node, self._serve))

    def _serve(self, ready: bool) -> None:
        """Let the node process the request, whether its client still waits or not."""
        cluster = self.client.cluster
        try:
            found = self._do(cluster) if ready else None
        except NotReady:
            found = None
        cluster.history.request_waits_no_more(self.life, self.client.key)
        if cluster.weather.loss and cluster.random.random() < cluster.weather.loss / 2:
            cluster.after(2 * cluster.interval_s, self._answer, None)  # The answer is lost.
        else:
            self._answer(found)

    def _do(self, cluster: Cluster) -> bool:
        node, key = self.node, self.client.key
        if self.operation == "register":
            register(cluster, node, key, self.wanted)
            return True
        if self.operation == "renew":
            return renew(cluster, node, key)
        return deregister(cluster, node, key, self.wanted.instance, self.client.reason)

    def _answer(self, found: bool | None) -> None:
        if self.over:
            return
        self.over = True
        if found is None:
            self.client.failed(self)
        else:
            self.client.answered(self, found=found)


class Operator:
    """Writes and removes a few configuration keys at various nodes, sometimes many times in a row.

    Among these keys are states of two of the instances, which last for a limited time.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.over = False
        self._written = 0

    def write(self, times: int) -> None:
        cluster, random = self.cluster, self.cluster.random
        if self.over:
            return
        node = random.choice([*cluster.nodes.values()])
        kind, number = random.choice(["backend", "frontend", "state"]), random.randint(0, 1)
        self._written += 1
        removes, lasts_s = random.random() < 0.15, None
        if kind == "state":
            key, body = key_of_state(instance(number)), random.choice([b"drain", b"maint"])
            lasts_s = random.uniform(1, 20) * cluster.interval_s
        else:
            key, body = f"{kind}/{number}", b"setting %d" % self._written
        if node.serving:
            when_ready(cluster, node, partial(self._configure, node, key, None if removes else body, lasts_s))
        if times > 1:
            cluster.after(random.uniform(0, 0.3) * cluster.interval_s, self.write, times - 1)

    def lift_guard(self, number: int) -> None:
        """Lift the guard from all instances at the node with this number, if it is running."""
        nodes = [*self.cluster.nodes.values()]
        node = nodes[number % len(nodes)]
        if node.serving and not self.over:
            when_ready(self.cluster, node, partial(self._lift_guard, node))

    def _lift_guard(self, node: Node, ready: bool) -> None:
        if ready:
            lift_guard(self.cluster, node, APP)

    def _configure(self, node: Node, key: str, body: bytes | None, lasts_s: float | None, ready: bool) -> None:
        replica, now = node.replica, self.cluster.clock(node)
        if body is None and lasts_s is not None:
            lasts_s = replica.configuration.removal_lasts_s(key, now)
            known = lasts_s > 0
        else:
            known = body is not None or replica.setting(key) is not None
        if ready and known:
            configure(self.cluster, node, key, body, lasts_s)
