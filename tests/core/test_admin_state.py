"""Operators' states of instances: they reach every node, last for their duration, and are forgotten after it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.core.admin_state import (
    LASTING_S,
    LASTING_S_MIN,
    Override,
    key_of_state,
    override_object,
    parse_override,
    registration_of,
)
from bender.core.invalid import Invalid
from bender.core.last_writer_wins import KEPT_LONGER_S, LASTING_S_MAX
from bender.core.messages import ConfigSetting
from tests.core.cluster import BODY, KEY, Cluster

STATE_KEY = key_of_state(KEY)


class ParsingTests(SynchronousTestCase):
    """The states that an operator can set, and their durations."""

    def test_words(self) -> None:
        """A state is one of three, and lasts a day by default."""
        self.assertEqual(parse_override(b'{"state": "drain"}'), Override("drain", LASTING_S))
        self.assertEqual(parse_override(b'{"state": "maint", "for": 60}'), Override("maint", 60.0))
        self.assertEqual(parse_override(b'{"state": "up", "for": null}'), Override("up", LASTING_S))

    def test_what_is_none(self) -> None:
        """An invalid state is refused, and the error names the field."""
        for field, document in (
            ("state", b"{}"),
            ("state", b'{"state": "down"}'),
            ("state", b'{"state": null}'),
            ("for", b'{"state": "drain", "for": 0}'),
            ("for", b'{"state": "drain", "for": "1h"}'),
            ("for", b'{"state": "drain", "for": %d}' % (LASTING_S_MAX + 1)),
            ("body", b""),
            ("body", b"[]"),
        ):
            with self.assertRaises(Invalid, msg=document) as caught:
                parse_override(document)
            self.assertEqual(caught.exception.field, field)

    def test_override_object(self) -> None:
        """The time that is left is rounded to the millisecond, and is not negative."""
        setting = ConfigSetting(STATE_KEY, 1, 1, 7, "ops", b"drain", 60.0)
        said = {"id": KEY, "state": "drain", "for": 60.0, "left": 0.123, "at": 7, "author": "ops"}
        self.assertEqual(override_object(KEY, setting, 0.12344), said)
        self.assertEqual(override_object(KEY, setting, -1.0), {**said, "left": 0.0})

    def test_limits(self) -> None:
        self.assertEqual((LASTING_S, LASTING_S_MIN), (86_400.0, 1.0))

    def test_keys(self) -> None:
        """The registration of a state is found from its key; other keys have none."""
        self.assertEqual(registration_of(STATE_KEY), KEY)
        self.assertEqual([registration_of(key) for key in ("backend/state", "state", "statement/a")], [None] * 3)


class OperatorCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.cluster = Cluster("abc")

    def say(self, name: str, state: str | None, lasts_s: float = LASTING_S) -> None:
        body = None if state is None else state.encode()
        self.cluster[name].configure(self.cluster.now, STATE_KEY, body, "ops", 0, lasts_s)
        self.cluster.settle()

    def states(self) -> str:
        return " ".join(replica.view.status(KEY).state for replica in self.cluster.replicas.values())

    def changes(self, name: str) -> list[str]:
        """Return the states of the events at a node."""
        return [event.status.state for event in self.cluster.events[name] if event.reason == "configured"]


class SpreadingTests(OperatorCase):
    """The operator's state of an instance is the same on all nodes, whatever happens to the instance."""

    def test_everywhere_at_once(self) -> None:
        """All nodes announce the state as a change of the registration, whose body stays the same."""
        self.cluster.register("a")
        self.say("b", "drain")
        self.assertEqual(self.states(), "drain drain drain")
        for name in "abc":
            (event,) = [event for event in self.cluster.events[name] if event.change == "changed"]
            self.assertEqual(
                (event.key, event.body, event.reason, event.status.state), (KEY, BODY, "configured", "drain")
            )

    def test_the_same_again(self) -> None:
        """The same state with another duration causes no event."""
        self.cluster.register("a")
        self.say("b", "drain", 5.0)
        self.say("c", "drain", 60.0)
        self.cluster.run(10.0)
        self.assertEqual((self.states(), self.changes("a")), ("drain drain drain", ["drain"]))

    def test_restarts_of_the_instance(self) -> None:
        """A state has no event while its instance is not listed, and is in the event when it comes back."""
        self.cluster.register("a")
        self.say("a", "maint")
        self.cluster.deregister("b")
        self.say("c", "drain")
        self.cluster.register("c")
        told = [(event.change, event.status.state) for event in self.cluster.events["b"]]
        self.assertEqual(told, [("online", "up"), ("changed", "maint"), ("offline", "maint"), ("online", "drain")])

    def test_taken_back(self) -> None:
        """A removed state does not come back from a node that was cut off."""
        self.cluster.register("a")
        self.say("a", "drain")
        self.cluster.cut.add("c")
        self.say("a", None)
        self.assertEqual(self.states(), "up up drain")
        self.cluster.cut.clear()
        self.cluster.run(2.0)
        self.assertEqual((self.states(), self.changes("c")), ("up up up", ["drain", "up"]))

    def test_a_node_that_starts(self) -> None:
        """A node that starts announces each instance with its state."""
        self.cluster.register("a")
        self.say("a", "drain")
        self.cluster.start("d", 9, "ab")
        self.cluster.run(3.0)
        self.assertEqual(
            [(event.change, event.status.state) for event in self.cluster.events["d"]], [("online", "drain")]
        )

    def test_what_another_node_does_not_know(self) -> None:
        """A state that only later releases have counts as up."""
        self.cluster.register("a")
        self.say("a", "half-open")
        self.assertEqual((self.states(), self.changes("a")), ("up up up", []))


class LastingTests(OperatorCase):
    """A state ends by itself on all nodes, without any wall clock."""

    def test_over(self) -> None:
        """When the duration is over, all nodes announce that the instance is up."""
        self.cluster.register("a", ttl_s=60.0)
        self.say("a", "drain", 5.0)
        self.cluster.run(4.5)
        self.assertEqual(self.states(), "drain drain drain")
        self.cluster.run(0.5)
        self.assertEqual((self.states(), self.changes("b")), ("up up up", ["drain", "up"]))
        self.assertIsNone(self.cluster["a"].expiring_setting(self.cluster.now, STATE_KEY))

    def test_what_is_left(self) -> None:
        """A node that starts later counts the remaining time, and not the whole duration."""
        self.cluster.register("a", ttl_s=60.0)
        self.say("a", "drain", 20.0)
        self.cluster.run(12.0)
        self.cluster.start("d", 9, "ab")
        self.cluster.run(2.0)
        left = [self.cluster[name].expiring_setting(self.cluster.now, STATE_KEY) for name in "ad"]
        self.assertEqual([each and each[1] for each in left], [6.0, 6.0])
        self.cluster.run(6.0)
        self.assertEqual(self.states(), "up up up up")

    def test_a_word_that_is_over_is_not_the_one_before(self) -> None:
        """When a state is over, an earlier one does not apply again."""
        self.cluster.register("a", ttl_s=60.0)
        self.say("a", "maint", 600.0)
        self.say("a", "drain", 5.0)
        self.cluster.run(6.0)
        self.assertEqual(self.states(), "up up up")

    def test_forgotten(self) -> None:
        """A state is forgotten when no node can have an older one that still lasts, removed or not."""
        before = self.cluster["a"].digest()
        self.say("a", "drain", 5.0)
        self.cluster[name := "b"].configure(self.cluster.now, key_of_state("registration/x/1/h/1"), None, "", 0, 5.0)
        self.cluster.settle()
        self.assertEqual(len(self.cluster[name].configuration), 2)
        self.cluster.now += LASTING_S_MAX + KEPT_LONGER_S
        for replica in self.cluster.replicas.values():
            replica.configuration.take_due_keys(self.cluster.now)
        self.assertEqual([len(replica.configuration) for replica in self.cluster.replicas.values()], [0, 0, 0])
        self.assertEqual(self.cluster["a"].digest(), before)

    def test_what_was_forgotten_does_not_come_back(self) -> None:
        """A forgotten state does not come back, because a node that still has it sends its age."""
        self.say("a", "drain", LASTING_S_MAX)
        told = self.cluster["a"].configuration.with_ages(
            self.cluster["a"].history(STATE_KEY), self.cluster.now + LASTING_S_MAX + KEPT_LONGER_S
        )
        fresh = Cluster("z")["z"].configuration
        self.assertEqual([fresh.join(each, 5.0) for each in told], [False])
        self.assertEqual(len(fresh), 0)
