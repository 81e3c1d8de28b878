"""The addresses of host names, and the times at which names are looked up."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.name_resolution import FORGET_S, REFRESH_S, RETRY_S, AddressResolver
from tests.exchange.network import Network


class LookingUp(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = Network()
        self.addresses = AddressResolver(self.network)
        self.changed: list[str] = []
        self.addresses.on_change = self.changed.append
        self.names = self.network.names

    def ask(self, host: str = "shop.example") -> str | None:
        return self.addresses.address_of(host)

    def test_an_address(self) -> None:
        """An address is returned in the form that HAProxy writes too, without a look-up."""
        self.assertEqual((self.ask("10.0.0.1"), self.ask("0::1")), ("10.0.0.1", "::1"))
        self.network.pass_time(1)
        self.assertEqual(self.names.asked, [])

    def test_where_nobody_can_be(self) -> None:
        """Wildcard, multicast and link-local addresses are not addresses of a server."""
        for host in (
            "0.0.0.0",
            "::",
            "::ffff:0.0.0.0",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "fe80::1%x; show env",
        ):
            self.assertIsNone(self.ask(host), host)
        self.names.addresses["shop.example"] = ["0.0.0.0", "::", "fe80::1%eth0", "10.0.0.7"]
        self.ask()
        self.network.pass_time(1)
        self.assertEqual(self.ask(), "10.0.0.7")

    def test_a_name(self) -> None:
        """The address of a name is not known at first; `on_change` is called when it is."""
        self.names.addresses["shop.example"] = ["10.0.0.2", "10.0.0.1"]
        self.assertIsNone(self.ask())
        self.network.pass_time(1)
        self.assertEqual((self.ask(), self.changed), ("10.0.0.1", ["shop.example"]))

    def test_it_moves(self) -> None:
        """A new address is noticed at the next look-up; an address is kept as long as the name still has it."""
        self.names.addresses["shop.example"] = ["10.0.0.2"]
        self.ask()
        self.network.pass_time(1)
        self.names.addresses["shop.example"] = ["10.0.0.1", "10.0.0.2"]
        self.network.pass_time(REFRESH_S)
        self.assertEqual((self.ask(), len(self.changed)), ("10.0.0.2", 1))
        self.names.addresses["shop.example"] = ["10.0.0.3"]
        self.network.pass_time(REFRESH_S)
        self.assertEqual((self.ask(), len(self.changed)), ("10.0.0.3", 2))

    def test_it_is_not_found(self) -> None:
        """A name without an address is looked up again soon, and its last address stays."""
        self.ask()
        self.network.pass_time(1)
        self.names.addresses["shop.example"] = ["10.0.0.1"]
        self.network.pass_time(RETRY_S)
        self.assertEqual(self.ask(), "10.0.0.1")
        del self.names.addresses["shop.example"]
        self.network.pass_time(REFRESH_S)
        self.assertEqual(self.ask(), "10.0.0.1")

    def test_a_lookup_fails(self) -> None:
        """A defect is logged, and the name is looked up again soon."""
        self.names.addresses["shop.example"] = ["not an address"]
        self.ask()
        self.network.pass_time(1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.names.addresses["shop.example"] = ["10.0.0.1"]
        self.network.pass_time(RETRY_S)
        self.assertEqual(self.ask(), "10.0.0.1")

    def test_nobody_asks_any_more(self) -> None:
        """A name that has not been requested for a while is no longer looked up."""
        self.names.addresses["shop.example"] = ["10.0.0.1"]
        self.ask()
        self.network.pass_time(FORGET_S + 2 * REFRESH_S)
        count = len(self.names.asked)
        self.network.pass_time(FORGET_S)
        self.assertEqual(len(self.names.asked), count)
        self.assertIsNone(self.ask())
        self.network.pass_time(1)
        self.assertEqual(self.ask(), "10.0.0.1")
        self.addresses.close()
