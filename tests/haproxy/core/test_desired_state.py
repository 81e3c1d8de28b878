"""What HAProxy is to be, and when that changes by itself."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.desired_state import BIND_AGAIN_S, DesiredState
from bender.haproxy.core.listening import listened_in
from bender.haproxy.core.topology import Topology
from tests.haproxy.said import backend, frontend, online


class Addresses(SynchronousTestCase):
    """An address that cannot be listened on is tried again."""

    def test_until_it_can(self) -> None:
        """Its frontend is there as soon as that is seen, and then nobody looks any more."""
        taken = {"*:80"}
        wanted = DesiredState(lambda host: host, lambda bind: "taken" if bind in taken else None)
        wanted.take(frontend("www", bind="*:80"), 10.0)
        self.assertEqual(wanted.shape(Topology(), 10.0).doors, ())
        wanted.reshaped = False
        self.assertEqual(wanted.due_at(), 10.0 + BIND_AGAIN_S)
        wanted.pass_time(10.0 + BIND_AGAIN_S - 0.1)
        self.assertFalse(wanted.reshaped)
        wanted.pass_time(10.0 + BIND_AGAIN_S)
        self.assertTrue(wanted.reshaped)
        taken.clear()
        self.assertEqual([door.title for door in wanted.shape(Topology(), 15.0).doors], ["www"])
        self.assertEqual((wanted.problems, wanted.due_at()), ({}, None))

    def test_from_the_beginning(self) -> None:
        """Where HAProxy's own addresses do not seem to be taken, which it has need not be known."""
        for shares, doors in ((True, []), (False, ["www"])):
            wanted = DesiredState(lambda host: host, lambda bind: None if bind == "*:0" else "taken", shares=shares)
            wanted.take(frontend("www", bind="*:80"), 10.0)
            self.assertEqual([door.title for door in wanted.shape(None, 10.0).doors], doors)

    def test_a_foreign_address_from_the_beginning(self) -> None:
        """It is left out, unless HAProxy may have it already by its file, as one that has moved away since."""
        for file, doors in (("", []), ("frontend www:in\n    bind [::2]:80\n", ["www"])):
            wanted = DesiredState(lambda host: host, lambda _bind: "foreign")
            wanted.avoid(listened_in(file))
            wanted.take(frontend("www", bind="[::2]:80"), 10.0)
            self.assertEqual([door.title for door in wanted.shape(None, 10.0).doors], doors)
            self.assertEqual(wanted.due_at(), None if doors else 10.0 + BIND_AGAIN_S)


class Itself(SynchronousTestCase):
    """A member that is where HAProxy or its driver listens."""

    def test_this_machine_s_own_addresses(self) -> None:
        """They count where all of them are listened at, and where the driver tells how things are."""
        beside = frozenset(evolve(each, owner="operators look") for each in listened_in("bind 10.0.0.1:1732"))
        wanted = DesiredState(lambda host: host, is_local=lambda address: address == "10.0.0.1", beside=beside)
        for event in (backend("shop"), online(80), online(80, host="10.0.0.2"), online(1732), online(81)):
            wanted.take(event, 0)
        wanted.changed.clear()
        wanted.avoid(listened_in("bind *:80"))
        self.assertEqual(wanted.changed, {"shop"})
        self.assertEqual([each.name for each in wanted.servers("shop", 0)], ["1:10.0.0.1:81", "1:10.0.0.2:80"])
        self.assertEqual(
            wanted.all_problems,
            {
                "registration/web/1/10.0.0.1/1732": "10.0.0.1, port 1732, is where operators look",
                "registration/web/1/10.0.0.1/80": "10.0.0.1, port 80, is where HAProxy itself listens (bind *:80)",
            },
        )
        wanted.take(backend("shop", "removed"), 0)
        self.assertEqual(wanted.all_problems, {})
