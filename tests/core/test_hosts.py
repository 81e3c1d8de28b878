"""Valid hosts and ports, and their canonical forms."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bender.core.hosts import canonical_host, parse_port
from bender.core.invalid import Invalid
from tests.core.model_case import ModelCase


class Hosts(ModelCase):
    def test_names(self) -> None:
        """A DNS name is kept in lower case without a final dot."""
        for host, canonical in {
            "localhost": "localhost",
            "Web1.Example.ORG.": "web1.example.org",
            "my_service-2": "my_service-2",
            "3com.example": "3com.example",
            "1.2.3.example": "1.2.3.example",
            "604512349876": "604512349876",  # a container's name, longer than any number that is an address
            "a" * 63: "a" * 63,
            ".".join(["abc"] * 63): ".".join(["abc"] * 63),
        }.items():
            self.assertEqual(canonical_host(host), canonical)

    def test_addresses(self) -> None:
        """An address is kept in the form that `ipaddress` gives it."""
        for host, canonical in {
            "10.0.0.5": "10.0.0.5",
            "::1": "::1",
            "2001:DB8:0:0::0001": "2001:db8::1",
            "FE80::1": "fe80::1",
        }.items():
            self.assertEqual(canonical_host(host), canonical)

    def test_neither(self) -> None:
        """Any other text is refused."""
        for host in (
            *("", ".", "..", "a..b", ".a", "a.b..", "-a", "a-", "a b", "a/b", "a:80", "é", "İ", "\u212a", "a\n", "a\0"),
            *(
                "[::1]",
                "::1%eth0",
                "fe80::1%1",
                "1::2::3",
                "10.0.0.256",
                "10.0.0",
                "010.0.0.1",
                "1",
                "4294967295",
                "a.1",
            ),
            *("a" * 64, ".".join(["abc"] * 64), "http://a", "user@a", "*", "*.a", "a,b", "%", "x" * 70_000),
        ):
            self.invalid("host", canonical_host, host)

    @given(st.ip_addresses())
    def test_every_address(self, address: Any) -> None:
        """Every spelling of an address is the same host."""
        for spelled in {str(address), address.exploded, address.exploded.upper()}:
            self.assertEqual(canonical_host(spelled), str(ip_address(str(address))))

    @given(st.text(max_size=20) | st.from_regex(r"\A[a-zA-Z0-9._-]{1,30}\Z"))
    def test_stays(self, host: str) -> None:
        """A canonical host stays as it is, and only `Invalid` is raised."""
        try:
            canonical = canonical_host(host)
        except Invalid:
            return
        self.assertEqual(canonical_host(canonical), canonical)
        self.assertEqual(canonical, canonical.lower())


class Ports(ModelCase):
    def test_ports(self) -> None:
        """A port in a path is a number from 1 to 65535 in ASCII digits."""
        self.assertEqual([parse_port(port) for port in ("1", "65535", "080")], [1, 65535, 80])
        for port in ("", "0", "65536", "-1", "+1", " 1", "1.0", "1e3", "\u0661", "²", "1_0", "0" * 5000, "9" * 5000):
            self.invalid("port", parse_port, port)
