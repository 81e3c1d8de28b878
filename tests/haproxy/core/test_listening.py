"""The places where HAProxy listens, at which no server can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.listening import ListeningPlaces, listening_places_in

MINE = {"10.0.0.1", "2001:db8::1"}


def bind_problem(text: str, address: str, port: int) -> str | None:
    return ListeningPlaces(listening_places_in(text)).server_conflict(address, port, MINE.__contains__)


class Binds(SynchronousTestCase):
    def assert_at(self, text: str, *places: tuple[str, int]) -> None:
        for address, port in places:
            self.assertIsNotNone(bind_problem(text, address, port), (text, address, port))

    def assert_not_at(self, text: str, *places: tuple[str, int]) -> None:
        for address, port in places:
            self.assertIsNone(bind_problem(text, address, port), (text, address, port))

    def test_every_address_of_ipv4(self) -> None:
        """The wildcard of IPv4 covers loopback and this machine's IPv4 addresses, but no other machine and no IPv6."""
        for text in ("    bind *:80", "\tbind :80 ssl crt x", "bind 0.0.0.0:80", "bind ipv4@*:80"):
            self.assert_at(text, ("127.0.0.1", 80), ("127.9.9.9", 80), ("10.0.0.1", 80), ("::ffff:10.0.0.1", 80))
            self.assert_not_at(text, ("10.0.0.2", 80), ("127.0.0.1", 81), ("::1", 80), ("2001:db8::1", 80))

    def test_every_address(self) -> None:
        """The wildcard of IPv6 also covers IPv4, unless the line has `v6only` or `ipv6@`."""
        for text in ("bind [::]:80", "bind :::80"):
            self.assert_at(text, ("127.0.0.1", 80), ("10.0.0.1", 80), ("::1", 80), ("2001:db8::1", 80))
            self.assert_not_at(text, ("10.0.0.2", 80), ("2001:db8::2", 80))
        for text in ("bind [::]:80 v6only", "bind ipv6@*:80"):
            self.assert_at(text, ("::1", 80))
            self.assert_not_at(text, ("127.0.0.1", 80))

    def test_one_address(self) -> None:
        """An address is found in any notation."""
        for text in ("bind 10.0.0.1:80", "bind '10.0.0.1:80'", "bind ::ffff:10.0.0.1:80", "bind tcp4@10.0.0.1:80"):
            self.assert_at(text, ("10.0.0.1", 80), ("::ffff:10.0.0.1", 80))
            self.assert_not_at(text, ("127.0.0.1", 80), ("10.0.0.1", 81))
        self.assert_at("bind [0::1]:80", ("::1", 80))
        self.assert_at("bind localhost:80", ("127.0.0.1", 80), ("::1", 80))

    def test_several(self) -> None:
        """Several addresses, lines and ranges of ports are found, and sockets for commands."""
        text = "stats socket ipv4@127.0.0.1:9 level admin\n"
        text += "frontend a\n bind 10.0.0.1:80,10.0.0.1:90-92\nlisten b\n bind 10.0.0.1:100\n"
        self.assert_at(text, *(("10.0.0.1", port) for port in (80, 90, 91, 92, 100)), ("127.0.0.1", 9))
        self.assert_not_at(text, ("10.0.0.1", 89), ("10.0.0.1", 93))

    def test_no_port(self) -> None:
        """Unix sockets, host names, variables and lines that are not `bind` lines have no place."""
        for line in ("bind /run/x", "bind unix@/run/x", "bind abns@x", "bind fd@3", "bind $X:80", "bind a.example:80",
                     "bind quic4@:80", "bind *:0", "bind *:99999", "# bind *:80", "bindx *:80", "bind"):  # fmt: skip
            self.assertEqual(listening_places_in(line), frozenset(), line)

    def test_it_is_said_how_that_is_known(self) -> None:
        """The problem quotes the line of the configuration."""
        self.assertEqual(
            bind_problem("bind *:80", "127.0.0.1", 80),
            "127.0.0.1, port 80, is where HAProxy itself listens (bind *:80)",
        )

    @given(st.text("bind *:80[]0.,-@ipv46tcp\n' ", max_size=40))
    def test_anything(self, text: str) -> None:
        """No text after `bind` raises an error."""
        ListeningPlaces(listening_places_in(f"bind {text}")).server_conflict("127.0.0.1", 80, MINE.__contains__)
