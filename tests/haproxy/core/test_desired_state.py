"""The desired state of HAProxy, and the times at which it changes without an event."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.desired_state import BIND_CHECK_S, DesiredState
from bender.haproxy.core.listening import listening_places_in
from bender.haproxy.core.topology import Topology
from tests.haproxy.events import backend, frontend, online


class Addresses(SynchronousTestCase):
    """An address that cannot be listened on is tried again."""

    def test_until_it_can(self) -> None:
        """The frontend appears at the first check that finds the address free; after that, there are no more checks."""
        taken = {"*:80"}
        desired = DesiredState(lambda host: host, lambda bind: "taken" if bind in taken else None)
        desired.receive(frontend("www", bind="*:80"), 10.0)
        self.assertEqual(desired.topology(Topology(), 10.0).doors, ())
        desired.topology_changed = False
        self.assertEqual(desired.due_at(), 10.0 + BIND_CHECK_S)
        desired.pass_time(10.0 + BIND_CHECK_S - 0.1)
        self.assertFalse(desired.topology_changed)
        desired.pass_time(10.0 + BIND_CHECK_S)
        self.assertTrue(desired.topology_changed)
        taken.clear()
        self.assertEqual([door.title for door in desired.topology(Topology(), 15.0).doors], ["www"])
        self.assertEqual((desired.problems, desired.due_at()), ({}, None))

    def test_from_the_beginning(self) -> None:
        """If HAProxy's own addresses do not appear as used, a used address is left out before they are known."""
        for can_share_binds, doors in ((True, []), (False, ["www"])):
            desired = DesiredState(
                lambda host: host, lambda bind: None if bind == "*:0" else "taken", can_share_binds=can_share_binds
            )
            desired.receive(frontend("www", bind="*:80"), 10.0)
            self.assertEqual([door.title for door in desired.topology(None, 10.0).doors], doors)

    def test_a_foreign_address_from_the_beginning(self) -> None:
        """An address of another machine is left out, unless it is in HAProxy's file: this machine may have lost it."""
        for file, doors in (("", []), ("frontend www:in\n    bind [::2]:80\n", ["www"])):
            desired = DesiredState(lambda host: host, lambda _bind: "foreign")
            desired.set_listening_places(listening_places_in(file))
            desired.receive(frontend("www", bind="[::2]:80"), 10.0)
            self.assertEqual([door.title for door in desired.topology(None, 10.0).doors], doors)
            self.assertEqual(desired.due_at(), None if doors else 10.0 + BIND_CHECK_S)


class Itself(SynchronousTestCase):
    """Members at addresses where HAProxy or its driver listens are left out."""

    def test_this_machine_s_own_addresses(self) -> None:
        """Members of this machine conflict with a wildcard address of HAProxy, and with the driver's own address."""
        reserved_places = frozenset(
            evolve(each, owner="operators look") for each in listening_places_in("bind 10.0.0.1:1732")
        )
        desired = DesiredState(
            lambda host: host, is_local=lambda address: address == "10.0.0.1", reserved_places=reserved_places
        )
        for event in (backend("shop"), online(80), online(80, host="10.0.0.2"), online(1732), online(81)):
            desired.receive(event, 0)
        desired.changed.clear()
        desired.set_listening_places(listening_places_in("bind *:80"))
        self.assertEqual(desired.changed, {"shop"})
        self.assertEqual([each.name for each in desired.servers("shop", 0)], ["1:10.0.0.1:81", "1:10.0.0.2:80"])
        self.assertEqual(
            desired.all_problems,
            {
                "registration/web/1/10.0.0.1/1732": "10.0.0.1, port 1732, is where operators look",
                "registration/web/1/10.0.0.1/80": "10.0.0.1, port 80, is where HAProxy itself listens (bind *:80)",
            },
        )
        desired.receive(backend("shop", "removed"), 0)
        self.assertEqual(desired.all_problems, {})
